"""What a configuration asks of the machine that shows without torch: processes, and a compiler."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from typing import Any

from tedg.config.typed import Faults

PER_CORE = 4  # processes; more only wait for each other, and each takes memory


def validate_machine(node: Mapping[str, Any], faults: Faults) -> None:
    """Adds a fault for what this machine cannot give."""
    env = node.get("env")
    asked = {"threads": node.get("threads")}
    if isinstance(env, Mapping):
        asked["env.num_workers"] = env.get("num_workers")
    cores = os.cpu_count() or 1
    for key, number in asked.items():
        if isinstance(number, int | float) and number > PER_CORE * cores:
            right = f"must be at most {PER_CORE * cores}: this machine has {cores} cores, {cores} is best"
            faults.add(key, number, right)
    if node.get("compile") is True and (missing := _missing_compiler(node.get("device"))) is not None:
        faults.add(
            "compile", True, f"needs a compiler, and there is no {missing} on PATH; take compile=false"
        )


def _missing_compiler(device: Any) -> str | None:
    """The compiler that torch would look for in vain; None where there is one."""
    cpp = os.environ.get("CXX") or "g++"
    c = [os.environ["CC"]] if os.environ.get("CC") else ["gcc", "clang", "cc"]
    if shutil.which(cpp) or (device != "cpu" and any(map(shutil.which, c))):
        return None  # on a GPU it takes the one for C
    return cpp
