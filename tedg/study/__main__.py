"""`python -m tedg.study`: what the studies of sweeps hold, what failed in them, and what to do about it."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tedg.errors import CONFIG, DONE, FAILED, INTERRUPTED, ConfigError, TedgError
from tedg.files import kept_in
from tedg.inert import inert
from tedg.store.study import read_study
from tedg.study import text
from tedg.study.cells import cells, checkpoint_bytes, find_cell, find_study, log_end, studies
from tedg.study.prune import prunable, prune

WATCH_SECONDS = 5.0
_MOVING = ("pending", "running")
_BAD = ("failed", "lost", "diverged", "blocked")

_MORE = """\
STUDY is the name of a folder in --root, or a path. CELL is a label as `show`
prints it, a part of it that fits one cell only ('seed=3'), the name of a run's
directory, or a run's id.

Every command takes --root FOLDER, --experiments FOLDER and --json, and prune
takes --yes; `python -m tedg.study COMMAND --help` lists them.

examples:
  python -m tedg.study show first_look
  python -m tedg.study retry first_look 'fusion=concat seed=3'

exit codes:
  0  done
  1  the cell that was tried again failed, or keep left something out
  2  wrong usage
  3  the cell that was tried again diverged
  4  a file cannot be read or written"""


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Do what is asked; returns the exit code."""
    given = _parser().parse_args(list(arguments))
    root, kept = Path(given.root).expanduser(), Path(given.experiments).expanduser()
    try:
        if given.what == "list":
            return _list(root, kept, given.json)
        study = find_study(root, given.study, kept)
        if given.what == "retry":
            return _retry(study, kept, given.cell, given.json)
        if given.what == "prune":
            return _prune(study, kept, given.yes, given.json)
        if given.what == "watch":
            return _watch(study, kept, given.json)
        if given.what == "keep":
            return _keep(study, kept, given.json)
        return _failed(study, kept, given.json) if given.what == "failed" else _show(study, kept, given.json)
    except TedgError as error:
        print(inert(f"error: {error}"), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tedg.study",
        description="What the studies of sweeps hold, what failed in them, and what to do about it.",
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    each = parser.add_subparsers(dest="what", required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--root", metavar="FOLDER", default="multirun", help="folder of the studies (default: multirun)"
    )
    own = "folder of kept results (default: experiments)"
    common.add_argument("--experiments", metavar="FOLDER", default="experiments", help=own)
    common.add_argument("--json", action="store_true", help="print JSON")
    each.add_parser("list", parents=[common], help="all studies", description="All studies.")
    for name, what in (
        ("show", "the cells of a study and how they stand"),
        ("failed", "what failed, was lost, diverged or is blocked, with the ends of the logs"),
        ("retry", "train one cell again: from its newest checkpoint, or anew if it diverged"),
        (
            "keep",
            "copy the small files of runs to experiments/STUDY/runs, where they count as done",
        ),
        ("prune", "remove the checkpoints of finished cells; asks first"),
        ("watch", "show a study again and again until nothing in it moves"),
    ):
        command = each.add_parser(
            name, parents=[common], help=what, description=f"{what[0].upper()}{what[1:]}."
        )
        command.add_argument("study", metavar="STUDY", help="a folder in --root, or a path")
        if name == "retry":
            command.add_argument(
                "cell", metavar="CELL", help="its label, a part of it, its directory's name, or its id"
            )
        if name == "prune":
            command.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def _say(line: str) -> None:
    print(inert(line), flush=True)


def _print(content: Any) -> None:
    print(json.dumps(content, indent=2), flush=True)


def _list(root: Path, kept: Path, as_json: bool) -> int:
    found = {study.name: cells(study, kept) for study in studies(root, kept)}
    sizes = {name: sum(cell["bytes"] for cell in every) for name, every in found.items()}
    if as_json:
        _print(
            [
                {"study": name, "states": Counter(cell["state"] for cell in every), "bytes": sizes[name]}
                for name, every in found.items()
            ]
        )
        return DONE
    content = [
        (name, str(len(every)), text.state_counts(every), text.size(sizes[name]))
        for name, every in found.items()
    ]
    for line in text.rows(("study", "cells", "states", "disk"), content):
        _say(line)
    return DONE


def _show(study: Path, kept: Path, as_json: bool) -> int:
    every = cells(study, kept)
    commands = read_study(study)["commands"]
    if as_json:
        _print({"study": study.name, "commands": commands, "cells": every})
        return DONE
    for line in text.cell_rows(every):
        _say(line)
    _say(f"{len(every)} cells: {text.state_counts(every)}; {text.size(sum(c['bytes'] for c in every))}")
    if commands and any(cell["state"] not in ("done", "diverged", "pruned") for cell in every):
        _say(f"what is missing is done by: {commands[-1]}")
    return DONE


def _failed(study: Path, kept: Path, as_json: bool) -> int:
    bad = [cell for cell in cells(study, kept) if cell["state"] in _BAD or cell["check_failed"]]
    if as_json:
        _print([{**cell, "log_end": log_end(cell)} for cell in bad])
        return DONE
    for cell in bad:
        state = "check failed" if cell["state"] == "done" else cell["state"]
        _say(f"{cell['label']}: {state}: {cell['reason']}" if cell["reason"] else f"{cell['label']}: {state}")
        _say(f"  directory {cell['directory']}")
        if cell["log"]:
            _say(f"  the end of {cell['log']}:")
        for line in log_end(cell):
            _say(f"    {line}")
    if not bad:
        _say(f"no cell of {study.name} has failed")
    return DONE


def _retry(study: Path, kept: Path, asked: str, as_json: bool) -> int:
    cell = find_cell(study, asked, kept)
    if cell["state"] in _MOVING:
        raise ConfigError(f"{cell['label']} is {cell['state']} ({cell['reason']})")
    if cell["kept"]:
        raise ConfigError(
            f"the result of {cell['label']} is kept in {cell['kept']}; to train it anew, remove that"
        )
    if cell["state"] == "done" and not cell["check_failed"]:
        raise ConfigError(f"{cell['label']} is done; to train it anew, move {cell['directory']} away first")
    if not cell["arguments"]:
        raise ConfigError(
            f"study.json does not say what {cell['label']} was started with; use its own command"
        )
    if cell["state"] == "diverged":
        directory = Path(cell["directory"])
        aside = _aside(directory)
        directory.rename(aside)
        _say(f"it had diverged, and begins anew; what it left is in {aside}")
    command = [sys.executable, "-m", "tedg.train", *cell["arguments"]]
    there = cell["working_directory"]
    cwd = there if there is not None and Path(there).is_dir() else None  # what paths were relative to
    done = subprocess.run(command, check=False, cwd=cwd, stdout=sys.stderr if as_json else None)
    if as_json:
        _print(find_cell(study, cell["name"], kept))
    return done.returncode if done.returncode >= 0 else CONFIG


def _aside(directory: Path) -> Path:
    numbers = iter(range(1, 1000))
    return next(
        path for n in numbers if not (path := directory.with_name(f"{directory.name}.diverged-{n}")).exists()
    )


def _prune(study: Path, kept: Path, agreed: bool, as_json: bool) -> int:
    found = prunable(cells(study, kept))
    total = sum(map(checkpoint_bytes, found))
    if found and not agreed:
        print(
            f"remove the checkpoints of {len(found)} finished cells of {study.name}, {text.size(total)}? "
            "Nothing can begin from their weights then, and no more held-out games be played. [y/N] ",
            end="",
            file=sys.stderr,
            flush=True,
        )
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise ConfigError("nothing was removed; answer y, or give --yes")
    freed = prune(found)
    if as_json:
        _print({"cells": [cell["name"] for cell in found], "bytes": freed})
    else:
        _say(f"{len(found)} cells, {text.size(freed)} freed" if found else "there is nothing to remove")
    return DONE


def _keep(study: Path, kept: Path, as_json: bool) -> int:
    from tedg.study.keep import LEFT, keep  # imports numpy

    found = keep(cells(study, kept), kept_in(kept, study.name))
    if as_json:
        _print([asdict(one) for one in found])
    else:
        for one in found:
            if one.what in LEFT:
                _say(f"{one.name}: {one.what}: {one.reason}")
        total = sum(one.bytes for one in found)
        counts = ", ".join(f"{number} {what}" for what, number in Counter(one.what for one in found).items())
        _say(f"{counts or 'no runs'}; {text.size(total)} in {kept_in(kept, study.name)}")
    return FAILED if any(one.what in LEFT for one in found) else DONE


def _watch(study: Path, kept: Path, as_json: bool) -> int:
    while True:
        every = cells(study, kept)
        if sys.stdout.isatty() and not as_json:
            print("\x1b[H\x1b[2J", end="")
        _show(study, kept, as_json)
        if not any(cell["state"] in _MOVING for cell in every):
            return DONE
        time.sleep(WATCH_SECONDS)


if __name__ == "__main__":
    main()
