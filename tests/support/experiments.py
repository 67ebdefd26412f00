"""Scripts of experiments/, which are no part of a package, as modules."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

EXPERIMENTS = Path(__file__).parent.parent.parent / "experiments"


def script(study: str, name: str) -> Any:
    """The module of `experiments/<study>/<name>.py`."""
    spec = importlib.util.spec_from_file_location(name, EXPERIMENTS / study / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
