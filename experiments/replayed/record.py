"""Has `python -m tedg.evaluate` play held-out games, and writes each with its actions to games.csv.

    .venv/bin/python experiments/replayed/record.py multirun/recomputed/*-s0-*

takes directories of runs that have ended and have not played these games yet. The players without learning
play the same ones.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tedg import evaluate
from tedg.envs.noise import step_noise
from tedg.learn.measuring import MeasuredPolicy, MeasuredYardstick
from tedg.run.saved import read_run_config
from tedg.store.conditions import Condition, Games, read_condition, read_yardsticks, yardsticks

GAMES, FIRST, CAP = 25, 500_000, 1000
LETTERS = "abcdefghijklmnopqrstuvw"  # of the actions 0 to 22
Actions = dict[tuple[int, int], int]  # by (seed of the game, step)


def noted(act: Callable[..., Any], into: Callable[[Any], Actions]) -> Callable[..., Any]:
    """The same method, which keeps each action: the number drawn for a step tells its game and step."""
    seeds, steps = np.meshgrid(np.arange(FIRST, FIRST + GAMES), np.arange(CAP), indexing="ij")
    numbers = step_noise(seeds.ravel(), steps.ravel()).tolist()
    places = dict(zip(numbers, zip(seeds.ravel().tolist(), steps.ravel().tolist(), strict=True), strict=True))

    def acts(self: Any, observation: Any) -> Any:
        actions = act(self, observation)
        for number, action in zip(observation.noise.tolist(), actions.tolist(), strict=True):
            into(self).setdefault(places[number], action)
        return actions

    return acts


def main() -> None:
    played: dict[str, Actions] = {}
    tables: dict[str, Games] = {}
    for name in sys.argv[1:]:
        run = Path(name)
        player = run.name.partition("-")[0]
        own = played.setdefault(player, {})
        MeasuredPolicy.act = noted(POLICY, lambda _, own=own: own)  # type: ignore[method-assign]
        MeasuredYardstick.act = noted(  # type: ignore[method-assign]
            YARDSTICK, lambda one: played.setdefault(one._name, {})
        )
        if evaluate.run([name, "--games", str(GAMES), "--first-seed", str(FIRST), "--cap", str(CAP)]):
            sys.exit(1)
        tables[player] = read_condition(run, Condition(cap=CAP))[1]
        tables |= read_yardsticks(yardsticks(run, read_run_config(run).env, CAP))
    with (Path(__file__).parent / "games.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("player", "seed", "length", "end", "cause", "score", "return", "actions"))
        for player, games in tables.items():
            for seed, one in sorted(games.items()):
                keys = "".join(LETTERS[played[player][seed, step]] for step in range(one.length))
                figures = (one.length, one.end, one.cause, f"{one.score:.0f}", one.episode_return)
                rows.writerow((player, seed, *figures, keys))


POLICY, YARDSTICK = MeasuredPolicy.act, MeasuredYardstick.act

if __name__ == "__main__":
    main()
