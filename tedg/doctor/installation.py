"""What is installed: tedg, Python, and the versions of requirements.lock."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from tedg import __version__
from tedg.doctor.line import Line
from tedg.run.locked import environment, lock, locked_versions
from tedg.run.provenance import commit

_MOST_NAMED = 6  # packages in one line
_SETUP = "make setup installs the locked versions"


def lines() -> Iterator[Line]:
    """tedg, Python, versions, lock."""
    own = commit()
    yield Line("ok", "tedg", __version__ + (f", commit {own[:12]}{'+' * own.endswith('+')}" if own else ""))
    try:
        about = metadata("tedg")
    except PackageNotFoundError:
        yield Line("bad", "installed", "tedg is not, in this Python", "make setup, then .venv/bin/python")
        return
    yield _python(about["Requires-Python"] or "", platform.python_version())
    needed = (Requirement(line) for line in about.get_all("Requires-Dist") or [])
    direct: set[str] = {
        canonicalize_name(one.name)
        for one in needed
        if one.marker is None or one.marker.evaluate({"extra": ""})
    }
    yield from _versions(direct)


def _python(wanted: str, here: str) -> Line:
    if SpecifierSet(wanted).contains(Version(here)):
        return Line("ok", "Python", f"{here} ({platform.platform()})")
    return Line("bad", "Python", f"{here}, and tedg needs {wanted}", "make setup PYTHON=python3.12")


def _versions(direct: set[str]) -> Iterator[Line]:
    place = lock()
    if place is None:
        remedy = "use a checkout; without a lock, runs cannot say whether they had its versions"
        yield Line("warn", "versions", "there is no requirements.lock to compare with", remedy)
        return
    differs: Mapping[str, Mapping[str, str | None]] = environment()["differs"]
    missing = [name for name, both in differs.items() if both["installed"] is None]
    other = [f"{name} {both['installed']} (locked {both['locked']})" for name, both in differs.items()]
    pins = locked_versions(place.read_text())
    if missing:
        yield Line("bad", "versions", f"not installed: {_some(missing)}", _SETUP)
    elif other:
        remedy = f"{_SETUP}; with others, runs work but need not end byte-equal to those of another machine"
        yield Line("warn", "versions", f"not as locked: {_some(other)}", remedy)
    else:
        yield Line("ok", "versions", f"all as in {place.name}, {len(pins)} lines")
    if unlocked := sorted(direct - pins.keys()):
        remedy = "make lock writes it anew; git checkout requirements.lock brings back the one of this commit"
        yield Line("bad", "lock", f"{place.name} has no line for {_some(unlocked)}", remedy)


def _some(names: list[str]) -> str:
    rest = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")
