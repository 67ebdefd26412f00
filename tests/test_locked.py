"""The lock names every package, and a run says whether it had those versions."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tedg.run import locked

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "requirements.lock").read_text()


def test_every_requirement_has_a_version_that_fits() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = locked.locked_versions(TEXT)
    for line in project["dependencies"] + project["optional-dependencies"]["dev"]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(pins[canonicalize_name(wanted.name)]), line


@pytest.mark.parametrize("python", ["3.11.0", "3.12.4", "3.13.1"])
def test_every_python_gets_one_version_of_each(python: str) -> None:
    environment = {"python_full_version": python, "python_version": python.rpartition(".")[0]}
    lines = [Requirement(line) for line in TEXT.splitlines() if line.lstrip()[:1] not in ("", "#")]
    names = [pin.name for pin in lines if pin.marker is None or pin.marker.evaluate(environment)]
    assert len(names) == len(set(names)) > 80
    assert {"torch", "nle", "numpy", "scipy", "networkx", "pytest"} <= set(names)


def test_pytorch_is_free_to_be_any_build() -> None:
    """No build tag and no hash; the CUDA packages, which a CPU build lacks, are PyTorch's own affair."""
    assert "+" not in TEXT
    assert "--hash" not in TEXT
    assert "://" not in TEXT
    assert not [line for line in TEXT.splitlines() if line.startswith(("nvidia", "cuda", "triton"))]


def test_what_differs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pins = {"rich": "1.0", "torch": "2.10.0", "yarl": "0.1", "pytest": "1.0", "nobody-needs": "1.0"}
    (tmp_path / "lock").write_text("".join(f"{name}=={version}\n" for name, version in pins.items()))
    monkeypatch.setattr(locked, "PLACES", (tmp_path / "missing", tmp_path / "lock"))
    found = locked.environment()
    assert found["locked"] is False
    # Of tedg itself, and of what it needs in turn (yarl, by way of torch-geometric); not of the tests.
    assert sorted(found["differs"]) == ["rich", "torch", "yarl"]
    assert found["differs"]["rich"]["locked"] == "1.0"
    assert found["differs"]["rich"]["installed"].count(".") == 2
    assert "+" not in found["differs"]["torch"]["installed"]


def test_a_missing_package_and_a_missing_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lock").write_text("rich==1.0\n")
    monkeypatch.setattr(locked, "PLACES", (tmp_path / "lock",))
    monkeypatch.setattr(locked, "_installed", lambda name: None)
    assert locked.environment() == {
        "locked": False,
        "differs": {"rich": {"locked": "1.0", "installed": None}},
    }
    monkeypatch.setattr(locked, "PLACES", ())
    assert locked.environment() == {"locked": None, "differs": {}}
