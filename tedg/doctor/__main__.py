"""`python -m tedg.doctor`: what of this machine and installation would stop or slow a run."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence

from tedg.doctor.line import Line, found
from tedg.doctor.place import place
from tedg.doctor.show import Shown
from tedg.errors import DONE, FAILED, INTERRUPTED, TedgError
from tedg.inert import inert

_MORE = """\
Each line is ok, warn (runs work, but slower or not as promised) or bad (runs
fail), and says below what to do. The whole output can be pasted into a bug
report; look at the paths in it first.

exit codes:
  0  no line is bad
  1  some line is bad
  2  wrong usage"""


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Look at this machine, or at a run; returns the exit code."""
    given = _parser().parse_args(list(arguments))
    begun = time.monotonic()
    try:
        shown = Shown()
        if given.run is not None:
            path = place(given.run)
            from tedg.doctor import contents  # imports torch

            shown.show(found("this run", lambda: contents.lines(path)))
        else:
            _look_at_all(shown)
        shown.end(time.monotonic() - begun)
    except TedgError as error:
        print(inert(f"error: {error}"), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    return FAILED if shown.counts["bad"] else DONE


def _look_at_all(shown: Shown) -> None:
    from tedg.doctor import game, installation, machine

    playing = game.begin()  # beside what follows
    shown.show(found("versions", installation.lines))
    shown.show(found("machine", machine.lines))
    shown.show(found("NLE", lambda: game.lines(playing)))
    shown.show(found("PyTorch", _arithmetic))


def _arithmetic() -> Iterable[Line]:
    from tedg.doctor import arithmetic  # imports torch, which may be what fails

    return arithmetic.lines()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tedg.doctor",
        description="Say what on this machine would stop or slow a run; takes seconds.",
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--run",
        metavar="DIR",
        help="say instead what is in a run's directory or a checkpoint, and whether it is whole",
    )
    return parser


if __name__ == "__main__":
    main()
