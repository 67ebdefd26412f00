"""What stands around a run instead of the real thing: a training that trains nothing, and a listener."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tedg.config.run_config import RunConfig
from tedg.signals import StopFlag
from tedg.store import checkpoint


class FakeTraining:
    """Stands where the trainer is; remembers how it was called and saves weights."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.calls: list[tuple[Path, Path | None]] = []

    def __call__(
        self, config: RunConfig, run_dir: Path, weights_of: Path | None, stop: StopFlag
    ) -> dict[str, Any]:
        import torch

        self.calls.append((run_dir, weights_of))
        weights = {"model": {"w": torch.full((2,), float(len(str(run_dir))))}}
        checkpoint.save(run_dir / "checkpoints", len(self.calls), weights, {})
        if self.error is not None:
            raise self.error
        return {"updates": 3, "loss": float("nan")}  # of no held-out games, so none are missing


class Lines(list[str]):
    """Collects what a run says."""

    def __call__(self, text: str) -> None:
        self.extend(text.splitlines())

    def has(self, part: str) -> bool:
        """Whether any line has this part."""
        return any(part in line for line in self)
