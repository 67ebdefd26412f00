"""Which of a run's held-out games is shown: one by its seed, or the best, the worst or a deadly one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from tedg.envs.observation import EpisodeEnd
from tedg.errors import ConfigError
from tedg.learn.measuring import play_list, with_cap
from tedg.play.policy import LoadedPolicy
from tedg.signals import StopFlag
from tedg.store.conditions import Condition, Games, read_condition

Kind = Literal["best", "worst", "death"]
GAMES = 32  # that are played where evaluation has played none


def chosen_seed(
    policy: LoadedPolicy, kind: Kind, cap: int, stop: StopFlag, progress: Callable[[int, int], None]
) -> int:
    """The seed of the game with the largest or the smallest score, or of the first that ends in death.

    They are those of `python -m tedg.evaluate` with this cap; without any, the run's first held-out games are
    played, and `progress` is told how many. The games that closed the training are others: their draws hung
    on what was played beside them. Raises ConfigError where no game ends in death, StorageError and Stopped.
    """
    _, games = read_condition(policy.run_dir, Condition(cap=cap))
    games = {seed: game for seed, game in games.items() if game.end != "lost"}
    if not games:
        games = _played(policy, cap, stop, progress)
    in_order = [games[seed] for seed in sorted(games)]
    if kind == "death":
        found = next((game for game in in_order if game.end == "death"), None)
        if found is None:
            raise ConfigError(
                f"none of {len(games)} games of {policy.run_dir} ends in death within {cap} env steps; "
                "a larger --cap gives them time"
            )
        return found.seed
    best = max if kind == "best" else min
    return best(in_order, key=lambda game: game.score).seed


def _played(policy: LoadedPolicy, cap: int, stop: StopFlag, progress: Callable[[int, int], None]) -> Games:
    games: Games = {}
    config = with_cap(policy.config, cap)
    first = config.eval.first_seed

    def ended(game: EpisodeEnd) -> None:
        games[game.seed] = game
        progress(len(games), GAMES)

    play_list(config, range(first, first + GAMES), lambda _: policy.player, stop, ended)
    return games
