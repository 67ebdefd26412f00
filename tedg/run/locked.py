"""Whether the versions of requirements.lock are installed, and which differ.

The promise that a run ends byte-equal holds for equal versions, so a run's provenance says which it had.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tedg.files import PACKAGE

# Beside the package in a checkout, inside it in a wheel.
PLACES = (PACKAGE.parent / "requirements.lock", PACKAGE / "requirements.lock")


def environment() -> dict[str, Any]:
    """{"locked": whether every package that runs need is as locked, "differs": {name: both versions}}.

    `locked` is None where there is no lock to compare with. An installed version is None where the package
    is missing. PyTorch's CUDA packages are in no lock: PyTorch itself pins them.
    """
    path = lock()
    if path is None:
        return {"locked": None, "differs": {}}
    pins = locked_versions(path.read_text())
    differs = {
        name: {"locked": pins[name], "installed": installed}
        for name in sorted(_needed("tedg", set()) & pins.keys())
        if (installed := _installed(name)) != pins[name]
    }
    return {"locked": not differs, "differs": differs}


def lock() -> Path | None:
    """The lock's file; None where there is none."""
    return next((place for place in PLACES if place.is_file()), None)


def locked_versions(text: str) -> dict[str, str]:
    """{canonical name: version} of a lock's lines that hold for this Python and system."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    pins = [Requirement(line) for line in lines if line]
    return {
        canonicalize_name(pin.name): next(iter(pin.specifier)).version
        for pin in pins
        if pin.marker is None or pin.marker.evaluate()
    }


def _needed(name: str, seen: set[str]) -> set[str]:
    """`name` and all that it requires without extras, installed or not."""
    if name not in seen:
        seen.add(name)
        for requirement in _requirements(name):
            _needed(canonicalize_name(requirement.name), seen)
    return seen


def _requirements(name: str) -> Iterator[Requirement]:
    try:
        lines = distribution(name).requires or []
    except PackageNotFoundError:
        return
    for requirement in map(Requirement, lines):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement


def _installed(name: str) -> str | None:
    """The version without its build tag: the CPU's and CUDA's builds of PyTorch are one version."""
    try:
        return Version(distribution(name).version).public
    except PackageNotFoundError:
        return None
