"""Which `_target_` a configuration may name: decided from its text and source files, importing nothing."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from tedg.spelling import did_you_mean

_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def allowed_packages() -> tuple[str, ...]:
    """`tedg` and the packages that the environment variable TEDG_ALLOW names, separated by commas."""
    named = (part.strip() for part in os.environ.get("TEDG_ALLOW", "").split(","))
    return ("tedg", *(part for part in named if part))


def is_allowed(dotted: str) -> bool:
    """Whether a module or object of this dotted name lies inside an allowed package."""
    return any(dotted == package or dotted.startswith(f"{package}.") for package in allowed_packages())


def refusal(target: object) -> str | None:
    """Why `target` may not be built, in words for its user; None where nothing speaks against it.

    A target is `package.module.Name`, with Name defined at the top of that module's source: a longer path
    could walk through a module's own imports (`tedg.run.app.os.system`).
    """
    if not isinstance(target, str) or not _DOTTED.fullmatch(target):
        return "must be the dotted path of a class, like tedg.models.fusion.ConcatFusion"
    if not is_allowed(target):
        packages = ", ".join(f"{package}.*" for package in allowed_packages())
        return f"refused: only {packages} may be built; name your own package in TEDG_ALLOW"
    module, _, name = target.rpartition(".")
    source = _source_of(module)
    if source is None:
        return f"there is no module {module}"
    if source.suffix != ".py":
        return None
    names = sorted(set(_top_level_names(source)))
    if name in names:
        return None
    near = did_you_mean(name, names, f"; did you mean {module}.{{}}?")
    return f"{module} has no {name}{near}"


def package_places(package: str) -> list[Path]:
    """The folder of a package or the file of a single module, found without importing it.

    None for one that is not there, and several where folders without an `__init__.py` form one package.
    """
    spec = _spec_of(package)
    if spec is None:
        return []
    folders = spec.submodule_search_locations
    return [Path(place) for place in dict.fromkeys([spec.origin or ""] if folders is None else folders)]


def _source_of(module: str) -> Path | None:
    spec = _spec_of(module)
    return Path(spec.origin) if spec is not None and spec.origin is not None else None


def _spec_of(module: str) -> ModuleSpec | None:
    """Where a module lies, found without importing its parents."""
    parts = module.split(".")
    spec = importlib.util.find_spec(parts[0])  # a package without parents: finding it imports nothing
    for part in parts[1:]:
        if spec is None:
            return None
        # By its last name alone: for a folder without an `__init__.py` the full one would need its parents.
        spec = PathFinder.find_spec(part, list(spec.submodule_search_locations or []))
    return spec


def _top_level_names(source: Path) -> Iterator[str]:
    for node in ast.parse(source.read_bytes()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
