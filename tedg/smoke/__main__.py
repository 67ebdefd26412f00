"""`python -m tedg.smoke`: does everything work? Seven parts of the networks, and training by each variant."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

_MORE = """\
exit codes:
  0         every part works
  1         some part does not
  2         wrong usage
  130, 143  stopped by Ctrl-C or SIGTERM"""


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Try all parts; returns the exit code. `--help` and wrong arguments exit before anything is imported."""
    argparse.ArgumentParser(
        prog="python -m tedg.smoke",
        description="Try seven parts of the networks, then two updates of each variant (a minute).",
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(list(arguments))
    from tedg.smoke.parts import try_all  # imports torch

    return try_all()


if __name__ == "__main__":
    main()
