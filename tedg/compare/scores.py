"""What one run scores: the mean of a figure over its held-out games."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tedg.errors import ConfigError
from tedg.spelling import did_you_mean
from tedg.statistics.pairs import Floats
from tedg.store.record import Evaluation, RunRecord

METRICS = {"score": "score", "return": "episode_return", "length": "length", "depth": "depth"}
LAST = "last"


@dataclass(frozen=True)
class Measure:
    """A figure of games: `cap` in env steps (None: as in training), `at` a milestone (None: the end)."""

    metric: str
    cap: int | None = None
    at: int | None = None

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            near = did_you_mean(self.metric, METRICS)
            raise ConfigError(f"--metric {self.metric}: must be one of {', '.join(METRICS)}{near}")

    def cap_of(self, record: RunRecord) -> int:
        """The cap of the games that count for this run; 0 where its game has none."""
        return self.cap if self.cap is not None else record.config["env"].get("max_episode_steps") or 0

    @property
    def weights(self) -> str:
        """As an evaluation names them."""
        return LAST if self.at is None else str(self.at)

    def games(self, record: RunRecord, player: str = "policy") -> Evaluation | None:
        """The games that count: of the policy sampling with the weights asked for, or of another player."""
        weights, mode = (self.weights, "sample") if player == "policy" else ("", "")
        cap = self.cap_of(record)
        for one in record.evaluations:
            if (one.player, one.weights, one.mode, one.cap) == (player, weights, mode, cap) and seeds(one):
                return one
        return None

    def values(self, evaluation: Evaluation) -> Floats:
        """The figure of every game, in the order of seeds."""
        own = [getattr(game, METRICS[self.metric]) for game in evaluation.games if game.end != "lost"]
        return np.array(own, float)

    def of(self, record: RunRecord) -> float | None:
        """The run's mean; None where the games have not been played."""
        found = self.games(record)
        return None if found is None else float(self.values(found).mean())

    def named(self, records: Sequence[RunRecord]) -> str:
        """`score (games of 500 steps) at a budget of 1,000,000 env steps`; a milestone is called after.

        Runs of several budgets have all of them in the name.
        """
        budgets = " and ".join(spelt_budgets(records))
        several = "s" if " and " in budgets else ""
        when = f"at {'' if several else 'a '}budget{several} of {budgets}"
        if self.at is not None:
            unit = "" if all("env_steps" in run.budget for run in records) else " env steps"
            when = f"after {self.at:,}{unit} of {budgets}"
        return f"{self.metric} ({_games(self.cap_of(records[0]))}) {when}"

    def lacked(self, record: RunRecord) -> str:
        """The games that this run lacks, and what it has instead."""
        when = "" if self.at is None else f" after {self.at:,} env steps"
        caps = [
            one.cap
            for one in record.evaluations
            if (one.player, one.weights, one.mode) == ("policy", self.weights, "sample")
        ]
        instead = f" (there are {', '.join(map(_games, caps))})" if caps else ""
        return f"held-out {_games(self.cap_of(record))}{when}{instead}"

    def kept(self, record: RunRecord) -> bool:
        """Whether training kept the weights that are asked for."""
        return self.at is None or self.at in (record.config["eval"].get("milestones") or ())

    def remedy(self, record: RunRecord, place: str, command: str | None, games: str = "") -> str:
        """How to come by games that this run lacks, while its weights are there; `games` says which.

        `command` trained the run, None where that is not known.
        """
        if not games and self.at is not None and not self.kept(record):
            if self.at > (end := record.budget.get("env_steps", record.env_steps)):
                return f"there is no env step {self.at:,} in a run that ends after {end:,}"
            wanted = ",".join(map(str, sorted({*(record.config["eval"].get("milestones") or ()), self.at})))
            study = Path(place.strip("'")).name.replace(" ", "_")
            more = f"'eval.milestones=[{wanted}]' paths.study={study}_milestones"
            again = f"{command} {more}" if command else f"the command that trained the study, with {more}"
            return f"weights after {self.at:,} env steps were not kept; to train again and keep them: {again}"
        at = "" if self.at is None else f" --at {self.at}"
        cap = self.cap_of(record)
        flags = f"{f' {games}' if games else ''}{at}{f' --cap {cap}' if cap else ''}"
        return f"to play missing games: python -m tedg.evaluate {place}{flags}"


def _games(cap: int) -> str:
    return f"games of {cap:,} steps" if cap else "whole games"


def spelt_budgets(records: Iterable[RunRecord]) -> list[str]:
    """`1,000,000 env steps`: each budget that there is, the smallest first."""
    budgets = {next(iter(run.budget.items())) for run in records}
    return [f"{number:,} {unit.replace('_', ' ')}" for unit, number in sorted(budgets)]


def seeds(evaluation: Evaluation) -> tuple[int, ...]:
    """Seeds of the games that were not lost."""
    return tuple(game.seed for game in evaluation.games if game.end != "lost")
