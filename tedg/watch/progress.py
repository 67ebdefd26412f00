"""Where a run stands, and the short texts that say so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Clock = Callable[[], float]  # seconds that never run backwards


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands after an update. Figures that are missing are left out of the display."""

    update: int
    stage: str
    env_steps: int
    episodes: int
    fraction: float  # of the budget, 0 to 1
    metrics: Mapping[str, Any]  # `rollout/…`, `train/…`, `router/…`, `attention/…`
    timing: Mapping[str, float]  # seconds `time/env`, `time/policy`, `time/learning`; `time/steps_per_second`


class Pace:
    """Time left, and time since the last checkpoint."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._first: tuple[float, float] | None = None
        self._last = (0.0, 0.0)
        self._saved_at: float | None = None

    def see(self, fraction: float) -> None:
        """Take in the share of the budget that is spent now."""
        self._last = (self._clock(), fraction)
        self._first = self._first or self._last

    def left(self) -> str:
        """`4m10s left`, at the pace since the first `see`, of which there must have been one."""
        assert self._first is not None
        seconds, share = (after - before for after, before in zip(self._last, self._first, strict=True))
        return (
            "time left unknown" if share <= 0 else f"{duration(seconds / share * (1 - self._last[1]))} left"
        )

    def saved(self) -> None:
        """A checkpoint was just written."""
        self._saved_at = self._clock()

    def save_age(self) -> str | None:
        """Time since the last checkpoint; None before the first."""
        return None if self._saved_at is None else duration(self._clock() - self._saved_at)


_LABELS = {
    "rollout/mean_return": ("return", "{:.1f}"),
    "rollout/mean_score": ("score", "{:.1f}"),
    "rollout/best_score": ("best score", "{:.0f}"),
    "rollout/deepest": ("depth", "{:.0f}"),
    "policy/entropy": ("entropy", "{:.2f}"),
    "train/kl": ("kl", "{:.4f}"),
    "train/clip_fraction": ("clipped", "{:.0%}"),
    "train/explained_variance": ("explained variance", "{:.2f}"),
    "attention/effective_keys": ("effective keys", "{:.1f}"),
    "attention/sparsity": ("sparsity", "{:.0%}"),
}


def figures(progress: Progress, names: tuple[str, ...]) -> list[str]:
    """The named metrics that are there, each with a label and a fitting number of digits."""
    present = [(name, progress.metrics.get(name)) for name in names]
    return [
        f"{_LABELS[name][0]} {_LABELS[name][1].format(value)}" for name, value in present if value is not None
    ]


def usage(progress: Progress) -> list[float]:
    """Mean share of every expert, in order."""
    prefix = "router/usage_"
    shares = {k.removeprefix(prefix): v for k, v in progress.metrics.items() if k.startswith(prefix)}
    return [shares[k] for k in sorted((k for k in shares if k.isdigit()), key=int)]


def steps(progress: Progress) -> str:
    """Its env steps, and those with the stages before it where there are any."""
    total = progress.metrics.get("total_env_steps")
    return f"{progress.env_steps:,} steps" + (f" ({total:,} in all)" if total is not None else "")


def losses(progress: Progress) -> str:
    """Processes that were lost and started again, and episodes that went with them; empty for none."""
    processes, episodes = (
        int(progress.metrics.get(f"lost/{what}") or 0) for what in ("processes", "episodes")
    )
    if not processes and not episodes:
        return ""
    return f"{processes:,} processes, {episodes:,} episodes lost"


def speed(progress: Progress) -> list[str]:
    """Steps per second, and how the time splits between environments, acting and learning."""
    timing = progress.timing
    parts = {name: timing.get(f"time/{name}", 0.0) for name in ("env", "policy", "learning")}
    total = sum(parts.values())
    fields = []
    if "time/steps_per_second" in timing:
        fields.append(f"{timing['time/steps_per_second']:,.0f} steps/s")
    if total > 0:
        fields.append(" ".join(f"{name} {seconds / total:.0%}" for name, seconds in parts.items()))
    return fields


def duration(seconds: float) -> str:
    """Seconds as people say them: `1h05m`, `4m10s`, `7s`."""
    minutes, rest = divmod(round(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
