"""`--reported FILE`: figures that were reported elsewhere, shown beside those of the study.

    {"source": "Table 2 of the earlier report", "reported": {"cross_attn": {"mean_return": 12.5}}}

`source` says in a line where they come from. A name is that of an arm; others have a row of their own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tedg.errors import ConfigError
from tedg.spelling import did_you_mean, did_you_mean_path

FIGURES = {
    "mean_return": "mean return",
    "best_return": "best return",
    "mean_score": "mean score",
    "best_score": "best score",
    "nonzero_share": "episodes with score > 0",
}
_MOST_BYTES = 1_000_000


@dataclass(frozen=True)
class Reported:
    """Numbers by name and figure."""

    source: str
    figures: Mapping[str, Mapping[str, float]]


def read_reported(path: Path) -> Reported:
    """The file's content. Raises ConfigError that says what is wrong with it."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ConfigError(f"--reported {path}: it has more than {_MOST_BYTES:,} bytes")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        near = did_you_mean_path(str(path))
        raise ConfigError(f"--reported {path}: it cannot be read: {error.strerror}{near}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"--reported {path}: it is no JSON: {error}") from None
    fault = _fault(content)
    if fault is not None:
        form = '{"source": "...", "reported": {"cross_attn": {"mean_return": 12.5}}}'
        raise ConfigError(f"--reported {path}: {fault}; it must be like {form}")
    return Reported(content["source"], content["reported"])


def _fault(content: Any) -> str | None:
    if not isinstance(content, dict):
        return "it holds no object"
    for key in content:
        if key not in ("source", "reported"):
            return f"there is no key {key[:60]}{did_you_mean(key, ('source', 'reported'))}"
    if not isinstance(content.get("source"), str) or not content["source"].strip():
        return "source must say in a line where the figures come from"
    names = content.get("reported")
    if not isinstance(names, dict) or not names:
        return "reported must name at least one arm"
    for name, figures in names.items():
        if not isinstance(figures, dict) or not figures:
            return f"reported.{name[:60]} must be figures by their names"
        for key, value in figures.items():
            if key not in FIGURES:
                near = did_you_mean(key, FIGURES)
                return f"reported.{name[:60]} has no figure {key[:60]}{near}; there are {', '.join(FIGURES)}"
            if type(value) not in (int, float) or not math.isfinite(value):
                return f"reported.{name[:60]}.{key} must be a number"
    return None
