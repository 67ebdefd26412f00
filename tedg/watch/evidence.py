"""What the judgement of a run is based on: what it left behind."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tedg.config.run_config import RunConfig
from tedg.store.tables import read_episodes, read_metrics
from tedg.watch import remedies

USAGE = re.compile(r"router/usage_(\d+)")


@dataclass(frozen=True, slots=True)
class Evidence:
    """A run's configuration, the rows of its metrics.jsonl and episodes.csv, and its result.json."""

    config: RunConfig
    rows: Sequence[Mapping[str, Any]]
    episodes: Sequence[Mapping[str, Any]]
    result: Mapping[str, Any]

    @staticmethod
    def read(config: RunConfig, run_dir: Path, result: Mapping[str, Any]) -> Evidence:
        """The evidence of a run that has ended with `result`. Raises StorageError."""
        rows = read_metrics(run_dir / "metrics.jsonl")
        return Evidence(config, rows, read_episodes(run_dir / "episodes.csv"), result)

    def series(self, name: str) -> list[float]:
        """A figure over the updates that have it."""
        return [float(row[name]) for row in self.rows if row.get(name) is not None]

    @property
    def usage_keys(self) -> list[str]:
        """Names of the experts' shares, in the experts' order."""
        found = {int(m[1]): m[0] for row in self.rows for key in row if (m := USAGE.fullmatch(key))}
        return [found[k] for k in sorted(found)]

    @property
    def diverged(self) -> bool:
        """Whether training was given up."""
        return bool(self.result.get("status") == "diverged")

    @property
    def stage(self) -> Mapping[str, Any]:
        """The settings of the stage that the run ended in."""
        name = self.rows[-1]["stage"] if self.rows else None
        return next((node for node in self.config.phases if node["name"] == name), self.config.phases[0])

    @property
    def stage_key(self) -> str:
        """Where these settings lie in the configuration."""
        return remedies.stage_key(self.stage["name"], "phases" in self.config.stage)

    def slower(self) -> str:
        """The remedy against updates that are too large."""
        return remedies.slower(self.stage_key, float(self.stage["learning_rate"]))

    def longer(self) -> str | None:
        """The remedy against too few figures; None where more of the same would be no remedy."""
        if self.diverged:
            return None
        budget = self.config.budget
        if budget.env_steps is not None:
            return remedies.longer("env_steps", budget.env_steps)
        episodes = budget.episodes or sum(node["episodes"] for node in self.config.phases)
        return remedies.longer("episodes", episodes)
