"""A client of its own process: asks at given moments, however long the answers take.

Run by `bench.measures.load` as `python -m bench.caller HOME START PER_SECOND SECONDS`; prints JSON.
Each time counts from the moment at which the call should have been made, so that a daemon that
falls behind is not asked less often.
"""

import json
import sys
import time
from collections import Counter
from pathlib import Path

from bench.daemon import WORKSPACE
from stockade.client import Client
from stockade.errors import StockadeError
from stockade.home import Home
from stockade.v1 import call_pb2

ARGUMENTS = {"command": "true", "workspace": WORKSPACE}


def main(home: str, start: str, per_second: str, seconds: str) -> None:
    """The calls, each denied by a forbid of the default policy."""
    times: list[float] = []
    failed: Counter[str] = Counter()
    with Client.open(Home.under(Path(home)), by_socket=False) as client:
        client.who_am_i()
        for number in range(round(float(per_second) * float(seconds))):
            due = float(start) + number / float(per_second)
            time.sleep(max(0.0, due - time.time()))
            try:
                last = list(client.call("run_shell", ARGUMENTS))[-1].finished
                if last.state != call_pb2.CALL_STATE_DENIED:
                    failed[last.reason] += 1
            except StockadeError as error:
                failed[error.reason] += 1
            times.append(time.time() - due)
        ended = time.time()
    print(json.dumps({"times": times, "failed": failed, "ended": ended}))


if __name__ == "__main__":
    main(*sys.argv[1:])
