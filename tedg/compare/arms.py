"""The arms of a study: its runs by the option of a group, or by a key of the configuration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tedg.config.typed import show
from tedg.errors import ConfigError
from tedg.spelling import did_you_mean
from tedg.store.record import RunRecord

_PARTS = ("env", "vision", "logic", "fusion", "routing")
Arms = dict[str, list[RunRecord]]
_ASIDE = ("name", "seed", "plan", "paths", "run_dir", "device", "threads", "logger", "check", "init_from")


def group(records: Sequence[RunRecord], by: str) -> Arms:
    """Runs by the option of group `by`, or by the value of a dotted key. ConfigError for neither."""
    if by == "seed":
        raise ConfigError("--by seed: runs are paired by their seeds, so seeds cannot be the arms")
    arms: Arms = {}
    values = values_of(records, by)
    missing = values.count(None)
    for record, arm in zip(records, values, strict=True):
        arms.setdefault(arm or "", []).append(record)
    if missing:
        known = dict.fromkeys((*records[0].options, *flat(records[0].config)))
        raise ConfigError(
            f"--by {by}: {missing} of {len(records)} runs have no such group or key"
            f"{did_you_mean(by, known)}; groups: {', '.join(records[0].options)}"
        )
    return arms


def choose(records: Sequence[RunRecord]) -> str:
    """The group whose options differ between the runs; ConfigError where it is not one."""
    names = dict.fromkeys((*(name for record in records for name in record.options), *_PARTS))
    values = {name: values_of(records, name) for name in names}
    found = [
        name for name, own in values.items() if name not in _ASIDE and None not in own and len(set(own)) > 1
    ]
    # `arm` decides other groups, and fusion whether there is a gate.
    if "arm" in found:
        return "arm"
    outer = [name for name in found if name.rpartition("/")[0] not in found]
    if len(outer) == 1:
        return outer[0]
    what = f"they differ in {', '.join(outer)}" if outer else "no option of a group differs between them"
    raise ConfigError(f"what are the arms? say --by GROUP or --by KEY: of {len(records)} runs, {what}")


def values_of(records: Sequence[RunRecord], by: str) -> list[str | None]:
    """Each run's option, else class, of the group `by`, or its value of that key; None where it has none.

    A run of an earlier version may not know its option: then all go by the classes of their parts.
    """
    if all(by in record.options for record in records):
        return [record.options[by] for record in records]
    found = []
    for record in records:
        values = flat(record.config)
        target = values.get(f"{by.replace('/', '.')}._target_")
        value = target.rpartition(".")[2] if isinstance(target, str) else values.get(by)
        found.append(None if value is None and by not in values else show(value))
    return found


def also_differ(variant: RunRecord, baseline: RunRecord, by: str) -> list[str]:
    """Keys outside of what tells the arms apart in which two runs differ, and should not."""
    if by == "arm":
        return []
    own, other = flat(variant.config), flat(baseline.config)
    inside = by.replace("/", ".")
    keys = [key for key in dict.fromkeys((*own, *other)) if own.get(key) != other.get(key)]
    return [key for key in keys if not aside(key) and key != inside and not key.startswith(f"{inside}.")]


def aside(key: str) -> bool:
    """Whether a dotted key tells runs apart without being part of what they learn."""
    return key.partition(".")[0] in _ASIDE


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
