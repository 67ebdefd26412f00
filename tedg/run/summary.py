"""A result as lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# Shown elsewhere, or too long for a line.
_HIDDEN = (
    "run_id",
    "status",
    "reason",
    "num_actions",
    "parameters",
    "flops",
    "training",
    "evaluation",
    "warnings",
    "liveness",
    "modality",
)


def result_lines(values: Mapping[str, Any]) -> Iterator[str]:
    """What a run reached: totals, then a table of the players on the held-out games."""
    yield f"status {values.get('status')}"
    alone = values.get("total_env_steps") == values.get("env_steps")
    for key, value in values.items():
        if alone and key.startswith("total_"):
            continue
        if key not in _HIDDEN and value is not None:
            yield f"{key.replace('_', ' ')}: {_text(value)}"
    players = values.get("evaluation")
    if isinstance(players, Mapping) and players:
        yield f"{'player':<16}{'games':>7}{'mean score':>12}{'95 % interval':>18}{'best':>8}{'deepest':>9}"
        for name, row in players.items():
            yield _player(name, row)
    yield from modality_lines(values.get("modality") or {})
    warnings = values.get("warnings")
    if warnings:
        yield f"warnings: {len(warnings)}, listed in result.json"


def modality_lines(figures: Mapping[str, float | None]) -> Iterator[str]:
    """What moves the policy, a line for each part that it has (docs/evaluation.md says what it means)."""
    known = {name: value for name, value in figures.items() if value is not None}
    parts = ("kl/vision", "kl/logic", "value/vision", "value/logic")
    if any(name in known for name in parts):
        kl_vision, kl_logic, value_vision, value_logic = (_short(known.get(name)) for name in parts)
        yield (
            f"streams: exchanged, vision moves the policy by {kl_vision} nats and its value by "
            f"{value_vision}, logic by {kl_logic} and {value_logic}; "
            f"share of vision {_short(known.get('share/vision'))}"
        )
    if "router/effective_experts" in known:
        rate, chance = (_percent(known.get(f"router/switch_{name}")) for name in ("rate", "chance"))
        yield (
            f"experts: {known['router/effective_experts']:.1f} effective, "
            f"{known['router/specialisation']:.2g} nats of them told by the state; another one on top after "
            f"{rate} of steps (by chance {chance})"
        )
    if "deletion/top" in known:
        yield (
            f"attention: without its {known['deletion/keys']:.1f} most attended keys the policy moves by "
            f"{known['deletion/top']:.2g} nats, without as many random ones by {known['deletion/random']:.2g}"
        )
    if "effects/promised" in known:
        rate, base = (_percent(known[f"effects/{name}"]) for name in ("came_true", "base_rate"))
        yield (
            f"operators: {rate} of {known['effects/promised']:,.0f} promised effects came true with the next "
            f"step (on any step {base})"
        )


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"


def _player(name: str, row: Mapping[str, Any]) -> str:
    interval = f"{_number(row.get('low'))} to {_number(row.get('high'))}"
    return (
        f"{name:<16}{row.get('games', 0):>7}{_number(row.get('mean_score')):>12}{interval:>18}"
        f"{_number(row.get('best_score')):>8}{row.get('deepest', 0):>9}"
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(_text(item) for item in value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
