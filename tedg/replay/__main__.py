"""`python -m tedg.replay`: a game of a trained policy as a page to look at, step by step."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tedg.errors import DONE, INTERRUPTED, ConfigError, TedgError
from tedg.files import expanded, unwritable, write_text
from tedg.inert import inert
from tedg.play.checks import check_game, checked_run
from tedg.signals import StopFlag, stop_on_signals
from tedg.watch.composing import Composing

if TYPE_CHECKING:
    from tedg.play.policy import LoadedPolicy
    from tedg.play.recording import Recording
    from tedg.replay.choose import Kind

_MORE = """\
The game is played again with the run's last weights, as python -m tedg.evaluate
plays it. The page is one file that needs no network; docs/replay.md explains
what it shows.

examples:
  python -m tedg.replay outputs/cross_attn-warmup-s0-9d25f8a4e1 --best
  python -m tedg.replay 9d25f8a4e1 --seed 500003 --against 5f0c2b7e11

exit codes:
  0         the page was written
  2         wrong usage, or a run that cannot play
  4         a file cannot be read or written
  130, 143  stopped; nothing was written"""


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Do what is asked; returns the exit code."""
    given = _parser().parse_args(list(arguments))
    try:
        with stop_on_signals() as stop:
            _write(given, stop)
    except TedgError as error:
        print(inert(f"error: {error}"), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tedg.replay",
        description="Write a game of a trained policy as a page to watch, step by step.",
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("run", metavar="RUN", help="a run's directory, or its name or id in outputs/ or multirun/")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--seed", type=int, metavar="N", help="the game's seed (default: eval.first_seed of the run)"
    )
    for kind, what in (
        ("best", "the held-out game with the largest score"),
        ("worst", "the one with the smallest"),
        ("death", "the first that ends in death"),
    ):
        which.add_argument(f"--{kind}", dest="kind", action="store_const", const=kind, help=what)
    add("--cap", type=int, metavar="N", help="env steps after which it is cut off (default: as in training)")
    add("--against", metavar="RUN2", help="another run's policy on the same game, side by side")
    add("--out", metavar="FILE", help="the page (default: replay/<seed>.html in the run's directory)")
    return parser


def _write(given: argparse.Namespace, stop: StopFlag) -> None:
    """Find the runs, choose the game, play and write."""
    runs = [checked_run(name) for name in (given.run, given.against) if name is not None]
    directories, configs = zip(*runs, strict=True)
    tasks = {config.env["task"]: None for config in configs}
    if len(tasks) > 1:
        raise ConfigError(f"the runs play {' and '.join(tasks)}: no game is the same for both")
    seed = configs[0].eval.first_seed if given.seed is None else given.seed
    cap = configs[0].env["max_episode_steps"] if given.cap is None else given.cap
    check_game(seed, cap)
    out = None if given.out is None else expanded(given.out)
    if out is not None and out.is_dir():
        raise ConfigError(f"--out {out}: is a directory; name a file in it")
    place = directories[0] / "replay" if out is None else out.absolute().parent
    if (why := unwritable(place)) is not None:
        raise ConfigError(f"the page cannot lie in {place}: {why}; --out names another file")
    begun = time.monotonic()
    recordings = _recordings(directories, seed if given.kind is None else given.kind, cap, stop)
    first = recordings[0].about
    if out is None:
        beside = f"-against-{directories[1].name}" if len(directories) > 1 else ""
        out = place / f"{first.seed}{beside}.html"
    from tedg.replay.page import page  # imports jinja2

    out.parent.mkdir(parents=True, exist_ok=True)
    text = page(recordings)
    write_text(out, text)
    for one in recordings:
        end = one.about.end
        how = {"death": f"death ({end.cause})", "success": "aim reached", "truncated": "cut off"}[end.end]
        print(
            inert(f"{one.about.run}: game {end.seed}, score {end.score:g} after {end.length:,} steps, {how}")
        )
    seconds = time.monotonic() - begun
    print(inert(f"page: {out} ({len(text.encode()) / 1e6:.1f} MB, made in {seconds:.0f} s)"))


def _recordings(directories: Sequence[Path], game: int | Kind, cap: int, stop: StopFlag) -> list[Recording]:
    """The game of a seed, or the first run's game of a kind, played by the policy of each run."""
    from tedg.learn.setup import set_threads  # imports torch
    from tedg.play.policy import load
    from tedg.play.record import record_with

    policies = [load(directory) for directory in directories]
    set_threads(policies[0].config)
    seed = game if isinstance(game, int) else _chosen(policies[0], game, cap, stop)
    recordings = []
    for policy in policies:
        with _counting(f"{policy.run_dir.name}: {{:,}} of at most {{:,}} steps") as progress:
            recordings.append(record_with(policy, seed, cap, stop, progress))
    return recordings


def _chosen(policy: LoadedPolicy, kind: Kind, cap: int, stop: StopFlag) -> int:
    from tedg.replay.choose import chosen_seed

    with _counting(f"{policy.run_dir.name}: {{:,}} of {{:,}} games to choose from") as progress:
        return chosen_seed(policy, kind, cap, stop, progress)


@contextmanager
def _counting(text: str) -> Iterator[Callable[[int, int], None]]:
    shown = Composing(text=text)
    try:
        yield shown
    finally:
        shown.close()


if __name__ == "__main__":
    main()
