"""A daemon whose wall clock is so many seconds off: `shifted_daemon.py SECONDS stockaded ...`."""

import sys
import time


def main() -> None:
    shift, real = int(sys.argv[1]) * 10**9, time.time_ns
    sys.argv = sys.argv[2:]
    time.time_ns = lambda: real() + shift
    from daemon.main import main as serve

    serve()


if __name__ == "__main__":
    main()
