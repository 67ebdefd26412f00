"""Two digests of code: of all of it, and of what a policy's weights depend on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tedg.files import PACKAGE
from tedg.run import provenance


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package that the digests are taken of."""
    copy = tmp_path / "tedg"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "conf"))
    monkeypatch.setattr(provenance, "PACKAGE", copy)
    return copy


def digests() -> tuple[str, str]:
    return provenance.code_digest(), provenance.training_digest()


@pytest.mark.more_than_first(3)
@pytest.mark.parametrize(
    ("place", "trains"),
    [
        ("watch/panel.py", False),
        ("run/summary.py", False),
        ("learn/losses.py", True),
        ("envs/toys/probes.py", True),
        ("hypergraph/nethack.yaml", True),
        ("models/gate.py", True),
        ("compiled.py", True),
    ],
)
def test_a_change_counts_where_it_can_change_what_is_learnt(place: str, trains: bool, package: Path) -> None:
    code, training = digests()
    with (package / place).open("a") as file:
        file.write("# changed\n")
    assert digests()[0] != code
    assert (digests()[1] != training) is trains


@pytest.mark.parametrize(
    ("name", "packages"),
    [("mylab.py", ()), ("mylab/gates.py", ("mylab",)), ("mylab/parts/gates.py", ())],
    ids=["module", "package", "folders without __init__.py"],
)
def test_packages_of_ones_own_count(
    name: str, packages: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / name
    place.parent.mkdir(parents=True, exist_ok=True)
    for package in packages:
        (tmp_path / package / "__init__.py").touch()
    place.write_text("KEEP = 0.3\n")
    monkeypatch.syspath_prepend(tmp_path)
    without = digests()
    monkeypatch.setenv("TEDG_ALLOW", "mylab, no_such_package")
    before = digests()
    place.write_text("KEEP = 0.5\n")
    after = digests()
    assert all(len({*found}) == 3 for found in zip(without, before, after, strict=True))


def test_a_build_tag_is_no_other_version(monkeypatch: pytest.MonkeyPatch) -> None:
    found = provenance.versions()
    assert found["torch"] is not None
    plain = found["torch"].partition("+")[0]
    for build, same in (("+cpu", True), ("+cu130", True), (".post1", False)):
        monkeypatch.setattr(provenance, "versions", lambda: {**found, "torch": plain})
        before = digests()
        monkeypatch.setattr(provenance, "versions", lambda build=build: {**found, "torch": plain + build})
        assert (digests() == before) is same


def test_a_start_reads_every_source_once(monkeypatch):
    read = []
    original = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (read.append(path), original(path))[1])
    now = provenance.session("cpu", 1)
    sources = [path for path in read if path.suffix in (".py", ".yaml", ".json")]
    assert len(sources) == len(set(sources)) > 50
    assert (now["code"], now["training_code"]) == (provenance.code_digest(), provenance.training_digest())
