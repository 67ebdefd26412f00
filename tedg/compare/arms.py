"""The arms of a study: its runs by the option of a group, or by a key of the configuration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tedg.config.typed import show
from tedg.errors import ConfigError
from tedg.spelling import did_you_mean
from tedg.store.record import RunRecord

Arms = dict[str, list[RunRecord]]
# What tells runs apart without being part of what they learn.
_ASIDE = ("name", "seed", "plan", "paths", "run_dir", "device", "threads", "logger", "check", "init_from")


def group(records: Sequence[RunRecord], by: str) -> Arms:
    """Runs by the option of group `by`, or by the value of a dotted key. ConfigError for neither."""
    arms: Arms = {}
    missing = []
    for record in records:
        arm = value_of(record, by)
        if arm is None:
            missing.append(record.name)
        else:
            arms.setdefault(arm, []).append(record)
    if missing:
        known = dict.fromkeys((*records[0].options, *flat(records[0].config)))
        raise ConfigError(
            f"--by {by}: {len(missing)} of {len(records)} runs have no such group or key"
            f"{did_you_mean(by, known)}; groups: {', '.join(records[0].options)}"
        )
    return arms


def choose(records: Sequence[RunRecord]) -> str:
    """The group whose options differ between the runs; ConfigError where it is not one."""
    names = dict.fromkeys(name for record in records for name in record.options)
    found = [name for name in names if len({record.options.get(name) for record in records}) > 1]
    # `arm` decides other groups, and fusion whether there is a gate.
    if "arm" in found:
        return "arm"
    outer = [name for name in found if name.rpartition("/")[0] not in found]
    if len(outer) == 1:
        return outer[0]
    what = f"they differ in {', '.join(outer)}" if outer else "no option of a group differs between them"
    raise ConfigError(f"what are the arms? say --by GROUP or --by KEY: of {len(records)} runs, {what}")


def value_of(record: RunRecord, by: str) -> str | None:
    """The run's option or value; None where it has none."""
    if by in record.options:
        return record.options[by]
    values = flat(record.config)
    return show(values[by]) if by in values else None


def also_differ(variant: RunRecord, baseline: RunRecord, by: str) -> list[str]:
    """Keys outside of what tells the arms apart in which two runs differ, and should not."""
    if by == "arm":
        return []
    own, other = flat(variant.config), flat(baseline.config)
    inside = by.replace("/", ".")
    keys = [key for key in dict.fromkeys((*own, *other)) if own.get(key) != other.get(key)]
    return [
        key
        for key in keys
        if key.partition(".")[0] not in _ASIDE and key != inside and not key.startswith(f"{inside}.")
    ]


def flat(node: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """{dotted key: value}."""
    return dict(_leaves(node, before))


def _leaves(node: Mapping[str, Any], before: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def by_seed(records: Iterable[RunRecord]) -> dict[int, list[RunRecord]]:
    """Runs of one arm by their seeds; more than one where something else differs."""
    found: dict[int, list[RunRecord]] = {}
    for record in records:
        found.setdefault(record.seed, []).append(record)
    return found
