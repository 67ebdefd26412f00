"""In which settings the arms differ, and which controls nobody ran."""

from __future__ import annotations

from typing import Any

from tedg.compare.arms import aside, flat
from tedg.config.typed import show
from tedg.report.material import Material
from tedg.report.page import Column, Listing, Section, Table, section
from tedg.report.words import NONE

_ABSENT = object()


def differences(material: Material) -> Section:
    """A row for each key whose values are not the same in all arms."""
    own = {arm: [flat(run.config) for run in runs] for arm, runs in material.arms.items()}
    keys = dict.fromkeys(
        key for configs in own.values() for config in configs for key in config if not aside(key)
    )
    rows = []
    for key in keys:
        cells = {arm: _values(key, configs) for arm, configs in own.items()}
        if len(set(cells.values())) > 1:
            rows.append((key, *cells.values()))
    blocks = [
        Table(
            "differences",
            "Settings in which the arms differ",
            tuple(Column(title, number=False) for title in ("key", *own)),
            tuple(rows),
            "Seeds, paths and how a run was spread over a machine are left out.",
        )
    ]
    return section(
        "differences", "What differs between the arms", blocks if rows else (), "No setting differs."
    )


def _values(key: str, configs: list[dict[str, Any]]) -> str:
    """All values of one arm's runs."""
    values = dict.fromkeys(
        NONE if (value := config.get(key, _ABSENT)) is _ABSENT else show(value) for config in configs
    )
    return " or ".join(values)


def controls(material: Material) -> Section:
    """Arms that would tell an effect from what comes with it."""
    items = list(material.missing)
    if not material.report.controls:
        items.append(
            "no player that learns nothing has played these games; python -m tedg.evaluate lets them play"
        )
    return section(
        "controls",
        "Controls that are missing",
        (Listing(tuple(items)),) if items else (),
        "None that this comparison knows of. docs/variants.md lists what each control isolates.",
    )
