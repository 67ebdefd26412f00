"""Makes the virtual environment that everything else runs in: `make setup` and `make test-latest` call it.

    python3 tools/install.py .venv --lock requirements.lock
    python3 tools/install.py .venv-latest
    python3 tools/install.py .venv-docs --lock requirements-docs.lock --group docs

With a lock, exactly its versions are installed; without one, the newest that pyproject.toml allows. With a
group, only what this group of pyproject.toml needs, without tedg. Whatever goes wrong ends with code 1 and
one sentence that says what to do. It runs before anything is installed, so it needs nothing but Python 3.11
or later.
"""

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What pip writes where no index answered at all. Its last line then says only that no version was found.
UNREACHABLE = (
    "Failed to establish a new connection",
    "NameResolutionError",
    "Max retries exceeded",
    "ReadTimeout",
)
UNREACHABLE += ("connection broken by", "ProxyError", "Network is unreachable")
NO_SPACE = "No space left on device"
# Runs inside the new environment, which has packaging's rules in pip's own copy of it.
FITS = """
import sys, tomllib
from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.utils import canonicalize_name
whole = tomllib.load(open("pyproject.toml", "rb"))
project, group = whole["project"], sys.argv[2]
of_tedg = project["dependencies"] + project["optional-dependencies"]["dev"]
lines = whole["dependency-groups"][group] if group else of_tedg
asked = [Requirement(line) for line in lines]
pins = [Requirement(line) for line in open(sys.argv[1]) if line.strip() and not line.lstrip().startswith("#")]
pins = {canonicalize_name(pin.name): pin for pin in pins if pin.marker is None or pin.marker.evaluate()}
for one in asked:
    pin = pins.get(canonicalize_name(one.name))
    if pin is None:
        sys.exit(f"it does not name {one}")
    if not one.specifier.contains(next(iter(pin.specifier)).version, prereleases=True):
        sys.exit(f"it says {pin.name}{pin.specifier}, pyproject.toml {one}")
"""


def main() -> None:
    """Install into the directory named on the command line."""
    parser = argparse.ArgumentParser(description="install tedg into a virtual environment")
    parser.add_argument("environment", help="directory of the environment, made if it is missing")
    parser.add_argument("--lock", help="file of exact versions; without it: the newest allowed")
    parser.add_argument("--group", default="", help="only this group of pyproject.toml, by its lock")
    arguments = parser.parse_args()
    if arguments.group and not arguments.lock:
        parser.error("--group needs --lock")
    python = str(ROOT / arguments.environment / "bin" / "python")
    size = "" if arguments.group else " (PyTorch is large; this takes minutes, once)"
    print(f"installing into {arguments.environment}{size}", flush=True)
    if _run(sys.executable, "-m", "venv", str(ROOT / arguments.environment)).returncode:
        _fail(f"cannot make {arguments.environment}: remove it if it exists, and try again")
    if arguments.lock:
        fits = _run(python, "-c", FITS, arguments.lock, arguments.group)
        if fits.returncode:
            why = fits.stderr.strip().splitlines()[-1]
            _fail(f"{arguments.lock} does not fit pyproject.toml ({why}): renew it with `make lock`")
        _pip(python, "-r", arguments.lock)
        if not arguments.group:
            # The build backend is locked too, so nothing else is looked for.
            _pip(python, "--no-deps", "--no-build-isolation", "-e", ".")
    else:
        _pip(python, "--upgrade", "-e", ".[dev]")


def _pip(python: str, *arguments: str) -> None:
    command = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "2")
    done = _run(*command, *arguments)
    if not done.returncode:
        return
    if any(sign in done.stderr for sign in UNREACHABLE):
        _fail("the package index cannot be reached: check the network or `pip config list`, and try again")
    if NO_SPACE in done.stderr:
        _fail("the disk is full: 2 GB are needed with PyTorch for the CPU, 8 GB with CUDA; free some")
    sys.stderr.write(done.stderr)
    _fail("pip could not install what is above")


def _run(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, check=False)


def _fail(message: str) -> None:
    sys.exit(f"error: {message}")


if __name__ == "__main__":
    main()
