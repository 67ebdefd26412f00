"""`python -m tedg.report`: a study as a page to read, to print and to cite from, verdict first."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from tedg.compare.flags import add_flags
from tedg.errors import DONE, INTERRUPTED, ConfigError, TedgError
from tedg.files import expanded, kept_in, unwritable
from tedg.inert import inert

_MORE = """\
The verdicts are those of python -m tedg.compare with the same flags.
docs/reading-a-report.md explains every figure.

example:
  python -m tedg.report v3_vs_v4

exit codes:
  0  the report was written
  2  wrong usage, or nothing can be compared yet
  4  a file cannot be read or written"""


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Do what is asked; returns the exit code."""
    given = _parser().parse_args(list(arguments))
    from tedg.compare.find import find
    from tedg.study.cells import find_study

    try:
        root, experiments = expanded(given.root), expanded(given.experiments)
        place = _place(find_study(root, given.study, experiments), experiments, given.out)
        if (why := unwritable(place)) is not None:
            raise ConfigError(f"the report cannot lie in {place}: {why}; --out names another folder")
        from tedg.report.reported import read_reported  # before the study, which takes longer to read

        reported = None if given.reported is None else read_reported(expanded(given.reported))
        study = find(root, given.study, experiments)
        from tedg.compare.judging import compare  # imports scipy and statsmodels
        from tedg.compare.questions import Asked

        asked = Asked.of(given)
        report = compare(study, asked)
        from tedg.report.build import build  # imports matplotlib and jinja2
        from tedg.report.material import gathered
        from tedg.report.write import write

        command = f"python -m tedg.report {shlex.join(arguments)}"
        for what, path in write(build(gathered(study, report, asked, reported, command)), place):
            print(inert(f"{what}: {path}"))
        for outcome in report.outcomes:
            role = "" if outcome.sentence.lower().startswith(f"{outcome.role}:") else f"{outcome.role}: "
            print(inert(f"{role}{outcome.sentence}"))
    except TedgError as error:
        print(inert(f"error: {error}"), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    return DONE


def _place(study: Path, experiments: Path, out: str | None) -> Path:
    """Where the report goes: `report/` in the study's folder, which may be that of kept runs alone."""
    if out is not None:
        return expanded(out)
    return (study if study.is_dir() else kept_in(experiments, study.name).parent) / "report"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tedg.report",
        description="Write a study as a page to read, to print and to cite from, verdict first.",
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_flags(parser)
    parser.add_argument(
        "--out", metavar="DIR", help="where the report goes (default: report/ in the study's folder)"
    )
    parser.add_argument("--reported", metavar="FILE.json", help="figures from elsewhere to show beside these")
    return parser


if __name__ == "__main__":
    main()
