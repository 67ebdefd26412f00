"""Where the figures come from: the plan, the code, the machines, the seeds, and the commands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from tedg.compare.scores import spelt_budgets
from tedg.errors import StorageError
from tedg.report.material import Material
from tedg.report.page import Column, Section, Table, section
from tedg.report.words import listed, several
from tedg.store.rundir import read_provenance


def provenance(material: Material) -> Section:
    """A row for each thing that a reader must know to make the figures again."""
    runs = [run for own in material.arms.values() for run in own]
    sessions = list(_sessions(material))
    rows = [
        ("plan", _plan(material)),
        (
            "seeds",
            "; ".join(f"{arm}: {_numbers(run.seed for run in own)}" for arm, own in material.arms.items()),
        ),
        ("budget", listed(spelt_budgets(runs)) if runs else ""),
        ("code that training depends on", _counted(run.training_code[:12] for run in runs)),
        ("all code", _counted(run.code[:12] for run in runs)),
        ("commit", _counted(str(one.get("commit") or "")[:13] for one in sessions)),
        ("devices", _counted(f"{run.device} {run.precision}" for run in runs)),
        ("machines", _counted(_machine(one) for one in sessions)),
        ("versions", "; ".join(_versions(sessions))),
        ("locked environment", _counted(_locked(one) for one in sessions)),
        ("hours of training", _hours([run.seconds for run in runs])),
        ("trained by", material.study.command or "not known"),
        ("this page by", material.command),
    ]
    titles = (Column("what", number=False), Column("of these runs", number=False))
    kept = tuple(row for row in rows if row[1])
    return section(
        "provenance", "Provenance", (Table("provenance", "Where the figures come from", titles, kept),), ""
    )


def _plan(material: Material) -> str:
    planned = material.report.plan
    if planned is None:
        return "none: verdicts are exploratory"
    written = f", written {planned.written}" if planned.written else ", carried by the runs"
    before = (
        f", after {several(planned.runs_done_before, 'run')} had ended" if planned.runs_done_before else ""
    )
    law = f"stop: {material.report.stop}; alpha {material.report.alpha:g}"
    return f"{planned.digest[:12]}{written}{before}; {law}"


def _sessions(material: Material) -> Iterable[dict[str, Any]]:
    """The last session of every run that tells of it."""
    for runs in material.arms.values():
        for run in runs:
            directory = material.study.directories.get(run.run_id)
            with suppress(StorageError):
                told = read_provenance(directory) if directory is not None else None
                if told is not None:
                    yield told["sessions"][-1]


def _machine(session: dict[str, Any]) -> str:
    known = [str(session[key]) for key in ("host", "cpu", "system") if session.get(key)]
    return ", ".join(known)


def _versions(sessions: Iterable[dict[str, Any]]) -> Iterable[str]:
    """Every library with its versions; more than one where the runs do not agree."""
    found: dict[str, dict[str, None]] = {}
    for session in sessions:
        own = {"python": session.get("python"), **(session.get("versions") or {})}
        for name, version in own.items():
            if version:
                found.setdefault(str(name), {})[str(version)] = None
    yield from (f"{name} {' or '.join(versions)}" for name, versions in found.items())


def _locked(session: dict[str, Any]) -> str:
    environment = session.get("environment")
    if not isinstance(environment, dict):
        return ""
    return "as locked" if environment.get("locked") else "differs from the lock"


def _hours(seconds: list[float | None]) -> str:
    known = [value for value in seconds if value is not None]
    return f"{sum(known) / 3600:,.1f} over {several(len(known), 'run')}" if known else ""


def _counted(values: Iterable[str]) -> str:
    """`a`, or `a (9 runs); b (1 run)` where the runs do not agree."""
    counts = Counter(value for value in values if value)
    if len(counts) < 2:
        return "".join(counts)
    return "; ".join(f"{value} ({several(count, 'run')})" for value, count in counts.most_common())


def _numbers(seeds: Iterable[int]) -> str:
    """`0 to 9`, or one by one where there are gaps."""
    own = sorted(set(seeds))
    if len(own) > 2 and own == list(range(own[0], own[-1] + 1)):
        return f"{own[0]} to {own[-1]}"
    return ", ".join(map(str, own))
