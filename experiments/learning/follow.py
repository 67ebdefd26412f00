"""How far a script gets that goes where the state features lead: to stairs, else to the nearest frontier.

    .venv/bin/python experiments/learning/follow.py

It is the script player, but for its moves at random: nine of ten follow the features where they show a way.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tedg.envs.actions import SEARCH
from tedg.envs.observation import Observation
from tedg.envs.players import ScriptPlayer
from tedg.envs.state import COLUMN
from tedg.envs.vector import NetHackVectorEnv, held_out_seeds
from tedg.envs.ways import DIRECTION_COLUMNS, DIRECTION_ROWS
from tedg.learn.evaluation import play
from tedg.signals import StopFlag
from tedg.statistics.aggregates import mean

GAMES, FIRST_SEED, NUM_ENVS = 200, 700_000, 50
STEPS = {
    step: 1 + k
    for k, step in enumerate(zip(DIRECTION_ROWS.tolist(), DIRECTION_COLUMNS.tolist(), strict=True))
}
MOVES = (*range(1, 17), SEARCH)


class Follower(ScriptPlayer):
    """The script player, led by the features."""

    def act(self, observation: Observation) -> npt.NDArray[np.int64]:
        """Actions [B] for a batch of B games."""
        actions = super().act(observation)
        for env, state in enumerate(observation.state):
            free = observation.mask[env, 1:17].any() and not observation.hostile_dirs[env].any()
            if free and actions[env] in MOVES and self._rngs[env].random() < 0.9:
                actions[env] = led(state) or actions[env]
        return actions


def led(state: npt.NDArray[np.float32]) -> int | None:
    """The step that the features of a state [115] advise; None without any."""
    for first in (COLUMN.stairs_down_proximity, COLUMN.frontier_proximity):
        if 0 < state[first] < 1:
            step = round(float(state[first + 2])), round(float(state[first + 1]))
            return STEPS.get(step)
    return None


def main() -> None:
    """Play and print."""
    for cap in (500, 5000):
        seeds = held_out_seeds(FIRST_SEED, GAMES, NUM_ENVS)
        env = NetHackVectorEnv("NetHackScore", "score", "nethack", NUM_ENVS, cap, "legal", seeds)
        played = play(env, Follower(NUM_ENVS, FIRST_SEED), GAMES, StopFlag())
        env.close()
        score = mean(np.array([end.score for end in played]))
        first = np.mean([end.depth == 1 for end in played])
        print(
            f"cap {cap:,}: mean score {score.value:.1f} ({score.low:.1f} to {score.high:.1f})"
            f" over {GAMES} games, {first:.0%} of which ended on the first level"
        )


if __name__ == "__main__":
    main()
