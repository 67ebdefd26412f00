"""Which game each environment plays: training games and held-out games never meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

# (environment, episode) -> seed of the game. Plans for games in worker processes must be picklable.
Seeds = Callable[[int, int], int]
FIRST_TRAINING_SEED = 2**30


def training_seeds(run_seed: int) -> Seeds:
    """Games of a training run, drawn from [2**30, 2**31) by the run's seed.

    A game depends on the environment and the episode only, so any number of workers plays the same games.
    """
    return _TrainingSeeds(run_seed)


def held_out_seeds(first_seed: int, games: int, num_envs: int) -> Seeds:
    """The games first_seed, first_seed + 1, ...: environment i plays number i, i + num_envs, and so on.

    Past the last game the list begins anew. Raises ValueError unless all seeds are in [0, 2**30), which
    training never uses.
    """
    if games < 1 or first_seed < 0 or first_seed + games > FIRST_TRAINING_SEED:
        raise ValueError(
            f"held-out seeds {first_seed} to {first_seed + games - 1} must be at least one,"
            f" in 0 to {FIRST_TRAINING_SEED - 1}"
        )
    return listed_seeds(range(first_seed, first_seed + games), num_envs)


def listed_seeds(seeds: Sequence[int], num_envs: int) -> Seeds:
    """The games of a list: environment i plays number i, i + num_envs, and so on; then the list begins anew.

    Raises ValueError for an empty list.
    """
    if not seeds:
        raise ValueError("a list of games needs at least one seed")
    return _ListedSeeds(seeds, num_envs)


@dataclass(frozen=True, slots=True)
class _TrainingSeeds:
    run_seed: int

    def __call__(self, env: int, episode: int) -> int:
        word = np.random.SeedSequence(self.run_seed, spawn_key=(env, episode)).generate_state(1)[0]
        return FIRST_TRAINING_SEED + int(word) % FIRST_TRAINING_SEED


@dataclass(frozen=True, slots=True)
class _ListedSeeds:
    seeds: Sequence[int]
    num_envs: int

    def __call__(self, env: int, episode: int) -> int:
        return self.seeds[(env + episode * self.num_envs) % len(self.seeds)]
