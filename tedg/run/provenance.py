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

from packaging.version import Version

from tedg.config.targets import allowed_packages, package_places
from tedg.files import PACKAGE, conf_dir
from tedg.run.locked import environment

# What a policy's weights depend on, in tedg/.
TRAINING = ("envs", "models", "learn", "hypergraph", "compiled.py", "processes.py")
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
    """SHA-256 over all code: the package's sources and data, conf/, hydra_plugins/, packages of one's own.

    The dependencies' versions are part of it, without build tags.
    """
    return code_digests()[0]


def training_digest() -> str:
    """SHA-256 over the code that a policy's weights depend on, with the dependencies' versions.

    It stays when only reports, displays or the handling of files change, so that runs from before and after
    such a change can still be compared. Settings are no part of it: they are in a run's id.
    """
    return code_digests()[1]


def code_digests() -> tuple[str, str]:
    """`code_digest` and `training_digest`, from one reading of the files."""
    # The same version built for the CPU or for CUDA is one version.
    plain = {name: found and Version(found).public for name, found in versions().items()}
    code, training = hashlib.sha256(repr(plain).encode()), hashlib.sha256(repr(plain).encode())
    for name, path in _code_files():
        line = f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode()
        code.update(line)
        if _trains(name):
            training.update(line)
    return code.hexdigest(), training.hexdigest()


def _trains(name: str) -> bool:
    """Whether a file can change what is learnt. Packages of one's own may hold any part of a policy."""
    place = name.split("/")
    own = place[0] not in ("tedg", "conf", "hydra_plugins")
    return own or (place[0] == "tedg" and place[1] in TRAINING)


def versions() -> dict[str, str | None]:
    """Installed versions of tedg and the dependencies that can change a result."""
    return {name: _version(name) for name in ("tedg", *DEPENDENCIES)}


def session(device: str, threads: int) -> dict[str, Any]:
    """One start of a run: when, by which command, with what code, on what machine."""
    code, training_code = code_digests()
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(sys.orig_argv),
        "directory": str(Path.cwd()),
        "code": code,
        "training_code": training_code,
        "commit": commit(),
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
    roots = [("tedg", PACKAGE), ("conf", conf_dir()), ("hydra_plugins", PACKAGE.parent / "hydra_plugins")]
    for package in dict.fromkeys(allowed_packages()[1:]):
        roots += [(package, place) for place in package_places(package)]
    for name, root in roots:
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            inside = path.relative_to(root)
            packaged_conf = name == "tedg" and inside.parts[:1] == ("conf",)
            if path.suffix in (".py", ".yaml", ".json") and path.is_file() and not packaged_conf:
                yield f"{name}/{inside.as_posix()}", path


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def commit() -> str | None:
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
