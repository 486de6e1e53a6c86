"""`python -m bench.latencies`: every call's time, by tier, and their distributions as a plot.

Writes docs/latencies.json (all samples, in milliseconds, with the machine) and, where matplotlib is
installed (`pip install --group plot`), docs/latencies.png from it. `--plot` only draws.
"""

import argparse
import json
import os
import time
from pathlib import Path

from bench.daemon import TOOL, finish
from bench.machine import commit, machine
from bench.measures import engines
from bench.measures.calls import PAUSE_SECONDS
from bench.plan import Bench, bench
from bench.sampling import Samples, Step, interleaved
from stockade.v1 import call_pb2

DOCS = Path(__file__).parents[1] / "docs"


def main() -> int:
    """Measures, writes, draws."""
    parser = argparse.ArgumentParser(prog="python -m bench.latencies")
    parser.add_argument("--times", type=int, default=60)
    parser.add_argument("--plot", action="store_true", help="only draw what was measured")
    chosen = parser.parse_args()
    found = DOCS / "latencies.json"
    if not chosen.plot:
        before = os.getloadavg()[0]
        with bench(None) as run:
            samples = {"call.process.true": _process(run, chosen.times)}
            for tier in ("container", "gvisor"):
                samples |= engines.collect(run, tier, chosen.times)
        said = {
            "machine": machine(),
            "commit": commit(),
            "load": [before, os.getloadavg()[0]],
            "milliseconds": {name: _rounded(one) for name, one in samples.items()},
        }
        found.write_text(json.dumps(said, indent=1) + "\n")
    draw(json.loads(found.read_text())["milliseconds"], found.with_suffix(".png"))
    return 0


def _process(run: Bench, times: int) -> Samples:
    with run.daemon.client() as client:
        step = Step(
            lambda: finish(client, TOOL, {}, call_pb2.CALL_STATE_SUCCEEDED),
            before=lambda: time.sleep(PAUSE_SECONDS),
        )
        return interleaved(times, 5, step)[0]


def _rounded(samples: Samples) -> list[float]:
    return sorted(round(seconds * 1000, 2) for seconds in samples.seconds)


def draw(samples: dict[str, list[float]], path: Path) -> None:
    """One line for each name: the part of its calls that took at most so long."""
    try:
        from matplotlib import pyplot as plt
    except ImportError:
        print("matplotlib is not installed: nothing was drawn")
        return
    figure, axes = plt.subplots(figsize=(9, 5), dpi=120)
    for name, times in samples.items():
        parts = [(number + 1) / len(times) for number in range(len(times))]
        style = ":" if name.startswith("bare") else "--" if name.endswith("cold") else "-"
        axes.step(times, parts, style, where="post", label=name)
    axes.set(xscale="log", xlabel="milliseconds, from sending the call to its end", ylabel="calls")
    axes.set_ylim(0, 1.01)
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    raise SystemExit(main())
