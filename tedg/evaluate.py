"""`python -m tedg.evaluate`: more held-out games of runs that have ended, beside players without learning."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tedg.config.run_config import SEED_LIMIT, RunConfig
from tedg.errors import INTERRUPTED, ConfigError, Stopped, TedgError
from tedg.files import expanded
from tedg.inert import inert
from tedg.run.find import RUNS, STUDIES
from tedg.run.modality import modality_of_run
from tedg.run.playable import require_weights
from tedg.run.record import keep_record
from tedg.run.saved import read_run_config
from tedg.run.summary import modality_lines
from tedg.signals import StopFlag, stop_on_signals
from tedg.spelling import did_you_mean_path
from tedg.store import rundir
from tedg.store.conditions import (
    Condition,
    Games,
    budget_of,
    in_words,
    read_condition,
    read_yardsticks,
    write_condition,
    write_yardsticks,
    yardsticks,
)
from tedg.store.games import POLICY, read_games
from tedg.store.results import read_result
from tedg.study.cells import studies_in
from tedg.study.played import NAMED, Row, content, figures, lines
from tedg.watch.composing import Composing

PLAYERS = ("random", "random_legal", "script")
SAVE_SECONDS = 30.0  # so much is lost where the command is killed

_MORE = """\
Games that were played before are not played again; Ctrl-C keeps what was
played. docs/evaluation.md says what is kept, and where.

example:
  python -m tedg.evaluate first_look --games 200 --cap 5000

exit codes:
  0         done
  1         processes were lost again and again
  2         wrong usage, or a run that cannot play
  4         a file cannot be read or written
  130, 143  stopped; the same command plays the rest"""


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Do what is asked; returns the exit code."""
    parser = _parser()
    given = parser.parse_args(list(arguments))
    try:
        # All are looked at before the first plays.
        asked = _all_asked(given)
        with stop_on_signals() as stop:
            rows: list[Row] = []
            for one in asked:
                rows += _rows(one, stop)
                if read_result(one.directory) is not None:
                    keep_record(one.directory, _complain)
    except TedgError as error:
        _complain(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    rows = list({(row.table, row.player): row for row in rows}.values())  # runs share their yardsticks
    if given.json:
        print(json.dumps([content(row) for row in rows], indent=2))
    else:
        for line in (*lines(rows), *_modality_lines(rows)):
            print(inert(line))
    return 0


def _modality_lines(rows: Sequence[Row]) -> Iterator[str]:
    """What moves the policy of each run; of many runs only a line that says where it is kept."""
    measured = [(row.run, row.figures["modality"]) for row in rows if row.figures.get("modality")]
    if len(measured) > NAMED:
        yield f"streams, experts and operators of {len(measured)} runs: in their records, or name one run"
        return
    for run, modality in measured:
        for line in modality_lines(modality):
            yield f"{run}: {line}"


def _complain(text: str) -> None:
    print(inert(text), file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tedg.evaluate",
        description="Play more held-out games: runs that have ended, beside players without learning.",
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("runs", metavar="RUN", nargs="+", help="a run's directory, a folder of runs, or a study in multirun/")
    add("--games", type=int, metavar="N", default=200, help="how many held-out games (default: 200)")
    add(
        "--first-seed", type=int, metavar="SEED", help="the first game's (default: the run's eval.first_seed)"
    )
    add("--cap", type=int, metavar="STEPS", help="env steps of a game (default: as in training)")
    add("--greedy", action="store_true", help="take the likeliest action (default: draw one)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--best", action="store_true", help="with the best checkpoint (default: the last)")
    which.add_argument(
        "--at", type=int, metavar="STEP", help="with the weights of this milestone (eval.milestones)"
    )
    add("--json", action="store_true", help="print JSON")
    return parser


def _runs(name: str) -> list[Path]:
    """The run that a directory is, or those in it or in the study of this name. Raises ConfigError."""
    path = expanded(name)
    if not path.is_dir() and (STUDIES / name).is_dir():
        path = STUDIES / name
    if (path / rundir.CONFIG).is_file():
        return [path]
    if not path.is_dir():
        near = did_you_mean_path(name, [str(RUNS)], studies_in(STUDIES))
        raise ConfigError(f"there is no directory {name}, and no such study in {STUDIES}{near}")
    found = sorted(config.parent for config in path.glob(f"*/{rundir.CONFIG}"))
    if not found:
        raise ConfigError(f"{path} is no directory of a run, and has none: there is no {rundir.CONFIG}")
    return found


@dataclass(frozen=True, slots=True)
class _Asked:
    """What one run is to play."""

    directory: Path
    config: RunConfig
    condition: Condition
    seeds: range

    @property
    def as_in_training(self) -> bool:
        """Whether these are the conditions of the games that ended the training."""
        return self.condition == Condition("last", "sample", self.config.env.get("max_episode_steps") or 0)

    @classmethod
    def of(cls, directory: Path, given: argparse.Namespace) -> _Asked:
        """Raises ConfigError for a run that cannot play it, and StorageError."""
        config = read_run_config(directory)
        first = config.eval.first_seed if given.first_seed is None else given.first_seed
        for flag, value, least in (("--games", given.games, 1), ("--first-seed", first, 0)):
            if value < least:
                raise ConfigError(f"{flag} {value}: must be at least {least}")
        if first + given.games > SEED_LIMIT:
            raise ConfigError(f"--first-seed {first}: the last game's seed must be below {SEED_LIMIT}")
        cap = config.env.get("max_episode_steps")
        if given.cap is not None:
            if cap is None:
                raise ConfigError(f"--cap {given.cap}: the game of {directory} has no max_episode_steps")
            if given.cap < 1:
                raise ConfigError(f"--cap {given.cap}: must be at least 1")
            cap = given.cap
        weights = "best" if given.best else "last" if given.at is None else str(given.at)
        condition = Condition(weights, "greedy" if given.greedy else "sample", cap or 0)
        require_weights(directory, config, given.at)
        return cls(directory, config, condition, range(first, first + given.games))


def _all_asked(given: argparse.Namespace) -> list[_Asked]:
    """What is to be played. Runs of a folder that cannot play are named and left out. Raises ConfigError."""
    asked: dict[Path, _Asked] = {}
    refused: list[ConfigError] = []
    for name in given.runs:
        directories = _runs(name)
        for directory in directories:
            try:
                asked[directory] = _Asked.of(directory, given)
            except ConfigError as error:
                if directories == [expanded(name)]:
                    raise
                refused.append(error)
    if not asked:
        raise refused[0]
    for reason in refused:
        _complain(f"left out: {reason}")
    return list(asked.values())


def _rows(asked: _Asked, stop: StopFlag) -> Iterator[Row]:
    """Play what is missing, and tell of all games that were asked for."""
    told: dict[str, Any] = {}
    with rundir.owned(asked.directory):
        stage, games = _policy_games(asked, stop)
        if asked.as_in_training:
            told["modality"] = modality_of_run(asked.directory, asked.config, stop)
    budget = budget_of(asdict(asked.config.budget), asked.config.stage)
    condition = asked.condition
    yield Row(
        *(asked.directory.name, POLICY, condition.weights, condition.mode, condition.cap),
        *(in_words(condition.weights, budget), stage, str(condition.table(asked.directory))),
        figures(games, asked.seeds) | told,
    )
    path = yardsticks(asked.directory, asked.config.env, condition.cap)
    for name, played in _yardstick_games(asked, path, stop).items():
        yield Row("", name, "", "", condition.cap, "", None, str(path), figures(played, asked.seeds))


def _policy_games(asked: _Asked, stop: StopFlag) -> tuple[str, Games]:
    directory, config, condition = asked.directory, asked.config, asked.condition
    stage, known = read_condition(directory, condition)
    others: Games = {}
    if asked.as_in_training:
        others = (read_games(directory) or {}).get(POLICY, {})  # the run's own, under these very conditions
    for games in (known, others):
        _forget_lost(games, asked.seeds)
    missing = [seed for seed in asked.seeds if seed not in known and seed not in others]
    if not missing:
        return stage or config.phases[-1]["name"], {**others, **known}
    from tedg.learn.measuring import play_list, policy_under, with_cap  # imports torch
    from tedg.learn.setup import set_threads

    config = with_cap(config, condition.cap) if condition.cap else config
    set_threads(config)
    player, stage = policy_under(config, directory, condition)
    with _kept(
        f"{directory.name}, {condition.weights}",
        known,
        len(missing),
        lambda: write_condition(directory, condition, stage, known),
    ) as ended:
        play_list(config, missing, lambda _: player, stop, ended)
    return stage, {**others, **known}


def _yardstick_games(asked: _Asked, path: Path, stop: StopFlag) -> dict[str, Games]:
    """The shared games of the players without learning; one command alone plays those that are missing."""
    path.parent.mkdir(exist_ok=True)
    with rundir.alone(path.parent):
        games = read_yardsticks(path)
        for name in PLAYERS:
            known = games.setdefault(name, {})
            _forget_lost(known, asked.seeds)
            missing = [seed for seed in asked.seeds if seed not in known]
            if not missing:
                continue
            from tedg.learn.measuring import MeasuredYardstick, play_list, with_cap

            config = with_cap(asked.config, asked.condition.cap) if asked.condition.cap else asked.config
            try:
                with _kept(name, known, len(missing), lambda: write_yardsticks(path, games)) as ended:
                    play_list(config, missing, partial(MeasuredYardstick, name), stop, ended)
            except ConfigError as error:
                _complain(f"{name} is left out: {error}")
    return {name: played for name, played in games.items() if played}


def _forget_lost(games: Games, seeds: range) -> None:
    """A game that went with its process is played anew: its outcome had no part in that."""
    for seed in seeds:
        if seed in games and games[seed].end == "lost":
            del games[seed]


@contextmanager
def _kept(what: str, known: Games, total: int, write: Callable[[], None]) -> Iterator[Callable[[Any], None]]:
    """Gives what takes each game into `known`, shows how many there are, and writes them, also at the end."""
    shown, begun = Composing(text=f"{what}: {{:,}} of {{:,}} games"), len(known)
    written = time.monotonic()

    def ended(game: Any) -> None:
        nonlocal written
        known[game.seed] = game
        shown(len(known) - begun, total)
        if time.monotonic() - written > SAVE_SECONDS:
            write()
            written = time.monotonic()

    try:
        yield ended
    except Stopped as error:
        count = f"{len(known) - begun} of {total} games of {what}"
        message = f"stopped after {count}, which are kept; the same command plays the rest"
        raise Stopped(error.exit_code, message) from None
    finally:
        shown.close()
        if len(known) > begun:
            write()


if __name__ == "__main__":
    main()
