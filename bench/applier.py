"""Another program that puts policies in force: connected once, told by a line when to begin.

Run by `bench.measures.activation` as `python -m bench.applier HOME TIMES COUNT`; says a line when
it is ready. A set of so many policies and one of the default ones take turns: of a set that is
known from before nothing would have to be done.
"""

import sys
from pathlib import Path

from bench.policies import policy_files
from stockade.client import Client
from stockade.home import Home
from stockade.v1 import policy_pb2


def messages(count: int) -> list[policy_pb2.PolicyFile]:
    """So many policies; of none, the default ones."""
    files = policy_files(count)
    return [policy_pb2.PolicyFile(name=name, text=text) for name, text in files.items()]


def main(home: str, times: str, count: str) -> None:
    """Puts them in force in turn, each `times` times."""
    sets = [messages(0), messages(int(count))]
    with Client.open(Home.under(Path(home)), by_socket=False) as client:
        client.who_am_i()
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(2 * int(times)):
            client.apply_policy(sets[number % 2])


if __name__ == "__main__":
    main(*sys.argv[1:])
