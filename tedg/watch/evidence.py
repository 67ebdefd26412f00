"""What the judgement of a run is based on: what it left behind."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tedg.config.run_config import RunConfig
from tedg.errors import StorageError
from tedg.store.tables import read_episodes, read_metrics
from tedg.watch.remedies import Remedies

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
        path = run_dir / "metrics.jsonl"
        rows = read_metrics(path)
        for row in rows:
            if (fault := _fault(row)) is not None:
                raise StorageError(f"{path} has a damaged row, that of update {row.get('update')}: {fault}")
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
    def remedies(self) -> Remedies:
        """What to try, in the stage that the run ended in."""
        return Remedies(self.config, self.rows[-1]["stage"] if self.rows else None)

    @property
    def stage(self) -> Mapping[str, Any]:
        """The settings of that stage."""
        return self.remedies.node

    def longer(self) -> str | None:
        """The remedy against too few figures; None where more of the same would be no remedy."""
        return None if self.diverged else self.remedies.longer()


def _fault(row: Mapping[str, Any]) -> str | None:
    """What no update would write; None where all is well. Null stands for what is not finite."""
    if not isinstance(row.get("stage"), str):
        return "no stage"
    for name, value in row.items():
        if name != "stage" and value is not None and type(value) not in (int, float):
            return f"{name} is no number"
    return None
