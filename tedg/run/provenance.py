"""Which code, on which machine, under which versions: what a result depends on beside its configuration."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tedg.files import PACKAGE, conf_dir
from tedg.run.locked import environment

DEPENDENCIES = (
    "torch",
    "torch-geometric",
    "nle",
    "gymnasium",
    "numpy",
    "numba",
    "scipy",
    "hydra-core",
    "omegaconf",
    "safetensors",
)


def code_digest() -> str:
    """SHA-256 over the package's sources and data, conf/, hydra_plugins/ and the dependencies' versions."""
    digest = hashlib.sha256(repr(versions()).encode())
    for name, path in _code_files():
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{name}\0{content}\0".encode())
    return digest.hexdigest()


def versions() -> dict[str, str | None]:
    """Installed versions of tedg and the dependencies that can change a result."""
    return {name: _version(name) for name in ("tedg", *DEPENDENCIES)}


def session(device: str, threads: int) -> dict[str, Any]:
    """One start of a run: when, by which command, with what code, on what machine."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(sys.orig_argv),
        "directory": str(Path.cwd()),
        "code": code_digest(),
        "commit": _commit(),
        "python": platform.python_version(),
        "versions": versions(),
        "environment": environment(),
        "host": platform.node(),
        "system": platform.platform(),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "device": device,
        "threads": threads,
    }


def _code_files() -> Iterator[tuple[str, Path]]:
    """Every file that is part of the code, by a name that is the same in a checkout and a wheel."""
    roots = {"tedg": PACKAGE, "conf": conf_dir(), "hydra_plugins": PACKAGE.parent / "hydra_plugins"}
    for name, root in roots.items():
        for path in sorted(root.rglob("*")):
            inside = path.relative_to(root)
            packaged_conf = name == "tedg" and inside.parts[0] == "conf"
            if path.suffix in (".py", ".yaml", ".json") and path.is_file() and not packaged_conf:
                yield f"{name}/{inside.as_posix()}", path


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The checkout's commit, with `+` appended where files differ from it; None outside a checkout."""
    if not (PACKAGE.parent / ".git").exists():
        return None
    try:
        head = _git(PACKAGE, "rev-parse", "HEAD")
        return head + ("+" if _git(PACKAGE, "status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(directory: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(directory), *arguments], capture_output=True, text=True, timeout=10, check=True
    ).stdout.strip()


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()
