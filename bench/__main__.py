"""`python -m bench [--only PREFIX] [--times N] [--out FILE]`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.machine import commit, machine, versions
from bench.measures import ALL
from bench.plan import bench
from bench.report import OUT, document, heading, remarks, row, write
from bench.result import Result


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints as it goes, and writes the JSON."""
    arguments = _parser().parse_args(argv)
    measures = [measure for measure in ALL if measure.wanted(arguments.only)]
    if not measures:
        names = "\n  ".join(name for measure in ALL for name in measure.names)
        print(f"no benchmark begins with {arguments.only!r}; there are\n  {names}", file=sys.stderr)
        return 2
    where = machine()
    results: list[Result] = []
    print(heading(), flush=True)
    with bench(arguments.times) as run:
        for measure in measures:
            for result in measure.run(run):
                results.append(result)
                print(row(result), flush=True)
    for line in remarks(results):
        print(line)
    said = document(results, machine=where, versions=versions(), commit=commit())
    write(said, arguments.out)
    print(f"written to {arguments.out}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures Stockade.")
    parser.add_argument("--only", default="", metavar="PREFIX", help="names that begin so")
    parser.add_argument(
        "--times", type=_positive, metavar="N", help="no more repetitions than this, of anything"
    )
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE", help="where the JSON goes")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


if __name__ == "__main__":
    raise SystemExit(main())
