"""What `make setup` says when it cannot install: one sentence that names the cure."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"


def install(environment: Path, *arguments: str, **variables: str) -> str:
    """What the installer writes as an error; it must end with code 1 and without a traceback."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "install.py"), str(environment), *arguments],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.more
def test_no_network(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text(
        "".join(
            line
            for line in LOCK.read_text().splitlines(keepends=True)
            if not line.startswith(("torch==", " "))
        )
    )
    lock.write_text(lock.read_text() + "torch==2.13.0\nno-such-package-of-ours==1.0\n")
    nowhere = {
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_FIND_LINKS": "",
    }
    said = install(tmp_path / "venv", "--lock", str(lock), **nowhere)
    assert "the package index cannot be reached: check the network" in said


@pytest.mark.more
def test_a_lock_that_does_not_fit(tmp_path: Path) -> None:
    text = LOCK.read_text()
    environment = tmp_path / "venv"
    for old, new, reason in (
        (
            "hydra-core==1.3.8",
            "hydra-core==1.4.0",
            "it says hydra-core==1.4.0, pyproject.toml hydra-core<1.4",
        ),
        ("pytest-xdist==", "pytest-xdisk==", "it does not name pytest-xdist>=3.6"),
    ):
        assert text.count(old) == 1
        (tmp_path / "lock").write_text(text.replace(old, new))
        said = install(environment, "--lock", str(tmp_path / "lock"))
        assert f"lock does not fit pyproject.toml ({reason}" in said
        assert "renew it with `make lock`" in said


def test_an_environment_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "remove it if it exists" in install(tmp_path / "file", "--lock", str(LOCK))


@pytest.mark.more
def test_a_wheel_has_the_sweeper_the_configuration_and_the_templates(tmp_path: Path) -> None:
    built = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(built, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    assert {path.name for path in (tmp_path / "site/tedg/report/templates").iterdir()} == {
        "page.css",
        "page.html",
    }
    assert not (tmp_path / "site/hydra_plugins/__init__.py").exists()  # others' plugins are found beside ours
    code = "from tedg import files, train; assert 'site' in str(files.PACKAGE); train.main()"
    asked = ["-m", "seed=0,1", "hydra/launcher=site", "hydra.launcher.n_jobs=0"]
    done = subprocess.run(
        [sys.executable, "-c", code, *asked],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "error: hydra.launcher.n_jobs=0: must be 1 or more" in done.stderr  # by the launcher itself
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("python", "sentence"),
    [("no-such-python", "there is no no-such-python"), ("{0}/python2", "is Python 2.7.18; name another")],
)
def test_a_wrong_python(python: str, sentence: str, tmp_path: Path) -> None:
    old = tmp_path / "python2"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 2.7.18 && exit\nexit 1\n')
    old.chmod(0o755)
    command = ["make", "-B", "setup", "INSTALLED=nowhere", f"PYTHON={python.format(tmp_path)}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
