"""`python -m tedg.compare`: which arm of a study is better, by runs that are paired by seed."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence

from tedg.compare.flags import add_flags
from tedg.errors import DONE, INTERRUPTED, TedgError
from tedg.files import expanded, write_text
from tedg.inert import inert

_MORE = """\
A contrast that is planned has a verdict once all planned seeds are there. In a
study without a plan verdicts are exploratory. A contrast outside of the plan
has figures and no verdict. docs/comparing.md says how a verdict comes about.

example:
  python -m tedg.compare v3_vs_v4

exit codes:
  0  a report was made
  2  wrong usage, or nothing can be compared yet
  4  a file cannot be read or written"""


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Do what is asked; returns the exit code."""
    given = _parser().parse_args(list(arguments))
    from tedg.compare.find import find

    try:
        study = find(expanded(given.root), given.study, expanded(given.experiments))
        from tedg.compare import pilot, same, text  # import scipy and statsmodels
        from tedg.compare.judging import compare
        from tedg.compare.questions import Asked
        from tedg.compare.report import content

        asked = Asked.of(given)
        if given.power:
            found = pilot.needs(study, asked)
            said, data = list(found.lines()), content(found)
        elif given.aa is not None:
            rate = same.against_itself(study, given.aa, asked)
            said, data = [str(rate)], content(rate)
        else:
            report = compare(study, asked)
            width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
            said, data = list(text.lines(report, width)), content(report)
        for line in said:
            print(inert(line))
        if given.json is not None:
            write_text(expanded(given.json), json.dumps(data, indent=2, allow_nan=False) + "\n")
    except TedgError as error:
        print(inert(f"error: {error}"), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tedg.compare",
        description="Which arm of a study is better? Runs are paired by seed.",
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_flags(parser)
    other = parser.add_mutually_exclusive_group()
    other.add_argument(
        "--power",
        action="store_true",
        help="take STUDY as a pilot: how many seeds and hours does --detect take?",
    )
    other.add_argument(
        "--aa", metavar="ARM", help="compare this arm with itself: how often is it better or worse?"
    )
    parser.add_argument(
        "--json", metavar="FILE", help="also write everything to FILE, with performance profiles"
    )
    return parser


if __name__ == "__main__":
    main()
