"""The record of a run: all that comparisons of runs read, small enough to be committed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SCHEMA = 1
RECORD = "record.json"


@dataclass(frozen=True, slots=True)
class Curve:
    """Training over env steps: at most 400 points, evenly spaced, each with the mean of what ended since."""

    env_steps: tuple[int, ...]  # since the run's own start
    mean_score: tuple[float | None, ...]  # of the games that ended since the point before; None: none did
    mean_return: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Game:
    """One held-out game of one player."""

    seed: int
    score: float
    episode_return: float
    length: int  # env steps
    depth: int
    end: str  # death, success, truncated or lost
    cause: str | None = None  # of death, where the game told it


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Held-out games of one player under one set of conditions."""

    player: str  # policy, random, random_legal or script
    weights: str  # last, best, or the number of env steps of a milestone; "" for a yardstick player
    mode: str  # sample or greedy; "" for a yardstick player
    cap: int  # env steps after which a game is cut off
    stage: str | None  # whose settings the policy played under
    games: tuple[Game, ...]  # by seed


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What a run was, and what came of it."""

    run_id: str
    name: str
    seed: int
    status: str  # finished or diverged
    parent: str | None
    code: str  # digest of the package
    training_code: str  # digest of what training depends on
    options: dict[
        str, str
    ]  # the option chosen for every group: {"fusion": "cross_attn", "fusion/gate": "topk"}
    config: dict[str, Any]  # as in config.yaml, without paths
    budget: dict[str, int]  # by unit: {"env_steps": 1000000}
    env_steps: int
    total_env_steps: int | None  # with all stages before it
    curve: Curve
    evaluations: tuple[Evaluation, ...]
    liveness: dict[str, Any]  # as in result.json
    max_log_ratio: float | None  # largest |log ratio| before the first step of an update
    parameters: dict[str, int]  # by part
    flops: int | None  # of a forward pass of one state
    seconds: float | None  # of training, all sessions
    device: str
    precision: str
    learns: bool | None  # whether its check for learning passed; None where none was made
