"""The virtual environment that the peers run in, made when it is missing."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("peers-requirements.txt")
NLE = "nle==1.3.0"
NEWEST_PYTHON = (3, 12)  # Sample Factory's numpy has no wheels for a newer one


class PeerError(Exception):
    """The peers' environment cannot be made, or a run failed."""


def interpreter(folder: Path) -> Path:
    """The environment's python; it is installed first where `folder` does not hold what is required.

    Raises PeerError with the reason when that fails.
    """
    python = folder / "bin" / "python"
    mark = folder / ".installed"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + NLE.encode()).hexdigest()
    if mark.is_file() and mark.read_text() == wanted and python.exists():
        return python
    if sys.version_info[:2] > NEWEST_PYTHON:
        raise PeerError(f"the peers need Python {NEWEST_PYTHON[0]}.{NEWEST_PYTHON[1]} or older")
    print(f"installing the peers into {folder} (PyTorch is large; this takes minutes, once)", flush=True)
    _run(sys.executable, "-m", "venv", str(folder))
    pip = (str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    _run(*pip, "-r", str(REQUIREMENTS))
    _run(*pip, "--no-deps", NLE)
    mark.write_text(wanted)
    return python


def _run(*command: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise PeerError(f"{' '.join(command)} failed:\n{done.stdout.strip()}")
