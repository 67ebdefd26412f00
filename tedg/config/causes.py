"""Likely causes of a fault that its key does not show: how a file was read, which job has which part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from tedg.config.hydra_api import Loader
from tedg.config.run_config import RunConfig
from tedg.config.typed import NO_SUCH_KEY, Faults

_GLOBAL = "# @package _global_"
_BOM = b"\xef\xbb\xbf"


def explain_missing_package(loader: Loader, choices: Mapping[str, Any], faults: Faults) -> None:
    """Say so if a file of a group that is no part of a run was read without its package line.

    Its keys then lie under the group's own name, where none of them is known.
    """
    known = {field.name for field in fields(RunConfig)} | {"hydra"}
    for group, choice in choices.items():
        top = str(group).split("/")[0]
        for option in [choice] if isinstance(choice, str) else choice or ():
            name = f"{group}/{option}"
            file = loader.file_of(name) if top not in known else None
            if file is None or loader.package_of(name) is not None:
                continue
            cause = f"{file}: its keys were put under {top!r}; its first line must be {_GLOBAL!r}"
            if file.read_bytes().startswith(_BOM):
                cause += ", and a byte order mark (BOM) hides it: save the file as UTF-8 without one"
            faults.explain(f"{top}=", cause)


def explain_keys_of_some_jobs(jobs: Sequence[Sequence[str]], each: Sequence[Faults]) -> None:
    """If only some jobs of a sweep have a key, name those without it instead of `no such key`.

    The values that a key has in other jobs make no difference: a misspelt key is in no job.
    """
    without: dict[str, list[int]] = {}
    for i, faults in enumerate(each):
        for line in faults.lines:
            if NO_SUCH_KEY in line:
                without.setdefault(line.partition(NO_SUCH_KEY)[0], []).append(i)
    missing: dict[str, set[int]] = {}
    for written, failed in without.items():
        missing.setdefault(_key(written), set()).update(failed)
    for written, failed in without.items():
        key = _key(written)
        if all(i in missing[key] for i, job in enumerate(jobs) if any(_key(line) == key for line in job)):
            continue
        group = written.partition("=")[0].lstrip("+").split(".")[0]
        chosen = {line for i in failed for line in jobs[i] if line.startswith((f"{group}=", f"{group}/"))}
        cause = no_key_in(written, sorted(chosen))
        for i in failed:
            each[i].explain(f"{written}{NO_SUCH_KEY}", cause)


def _key(line: str) -> str:
    return line.partition("=")[0].lstrip("+")


def no_key_in(override: str, choices: Sequence[str]) -> str:
    """The fault of an override for a key that jobs with these `choices` do not have."""
    those = f" with {', '.join(choices)}" if choices else ""
    return (
        f"{override}: the jobs{those} have no such key; give them a sweep of their own without it "
        "(runs of one paths.study share a folder)"
    )
