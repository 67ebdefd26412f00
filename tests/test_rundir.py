"""A run directory after a process was killed at any moment of its making."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from tedg.envs.observation import EpisodeEnd
from tedg.errors import ConfigError, StorageError
from tedg.files import read_json, write_json, write_text
from tedg.store import rundir
from tedg.store.games import read_games, write_games
from tedg.store.results import read_result


class Killed(BaseException):
    """Stands for SIGKILL: no handler of the code under test may run on it."""


def begin(path: Path) -> None:
    """What a run does before it trains."""
    rundir.make(path)
    with rundir.owned(path):
        write_text(path / rundir.CONFIG, "seed: 0\n")
        write_json(path / rundir.PROVENANCE, {"run_id": "x"})


@pytest.mark.parametrize(
    "pid", [os.getpid(), 2**22 + 1], ids=["the same id again", "an id that Linux never gives"]
)
def test_a_run_begins_wherever_an_earlier_process_was_killed(
    pid: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content: set[str] = set()
    for n in range(1, 40):
        path = tmp_path / str(n)
        seen: list[str] = []
        with monkeypatch.context() as patch:
            for name in ("mkdir", "write", "fsync", "replace", "open", "close"):
                patch.setattr(os, name, _dying(getattr(os, name), name, n, seen))
            patch.setattr(os, "getpid", lambda: pid)
            try:
                begin(path)
            except Killed:
                killed = True
            else:
                killed = False
        content |= {re.sub(r"\d+", "", entry.name) for entry in path.iterdir()} if path.is_dir() else set()
        begin(path)
        assert sorted(entry.name for entry in path.iterdir()) == ["config.yaml", "lock", "provenance.json"]
        assert (path / rundir.CONFIG).read_text() == "seed: 0\n"
        if not killed:
            break
    assert n > 8
    assert not killed
    assert {"config.yaml.tmp-", "provenance.json.tmp-"} < content


def _dying(original: Any, name: str, n: int, seen: list[str]) -> Any:
    def operation(*args: Any, **kwargs: Any) -> Any:
        seen.append(name)
        if len(seen) == n:
            raise Killed
        return original(*args, **kwargs)

    return operation


def test_what_somebody_else_put_there_is_neither_removed_nor_taken_over(tmp_path: Path) -> None:
    (tmp_path / "config.yaml.tmp-7").touch()
    (tmp_path / "thesis.tex.tmp-7").touch()
    with pytest.raises(ConfigError, match="has files but is no run directory"):
        rundir.make(tmp_path)
    with rundir.owned(tmp_path):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "thesis.tex.tmp-7"]


def test_a_loser_removes_nothing_of_the_owner(tmp_path: Path) -> None:
    with rundir.owned(tmp_path):
        (tmp_path / "config.yaml.tmp-7").touch()
        rundir.make(tmp_path)
        with pytest.raises(ConfigError, match="in use by host"), rundir.owned(tmp_path):
            pass
        assert (tmp_path / "config.yaml.tmp-7").exists()


def test_a_lock_of_any_content(tmp_path: Path) -> None:
    (tmp_path / "lock").write_bytes(b"\xff\x1b[31m\0" * 100)
    with (
        rundir.owned(tmp_path),
        pytest.raises(ConfigError, match=rf"in use by host .* pid {os.getpid()}"),
        rundir.owned(tmp_path),
    ):
        pass
    (tmp_path / "lock").unlink()
    (tmp_path / "lock").symlink_to("/dev/full")
    with pytest.raises(StorageError, match="cannot write in"), rundir.owned(tmp_path):
        pass


def test_a_link_out_of_the_root_is_no_run_of_it(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "outputs", tmp_path / "elsewhere-abc"
    for path in (root, elsewhere):
        path.mkdir()
        (path / "config.yaml").touch()
    (root / "mine-abc").symlink_to(elsewhere)
    assert rundir.find([root], "abc") is None
    with pytest.raises(ConfigError, match="is a link to a place outside"):
        rundir.named(root, "mine", "abc")
    (root / "loop-abc").symlink_to("loop-abc")
    with pytest.raises(ConfigError, match="cannot be made"):
        rundir.make(root / "loop-abc")
    (root / "whole-abc").mkdir()
    (root / "whole-abc" / "config.yaml").touch()
    assert rundir.find([root], "abc") == root / "whole-abc"


def test_a_link_that_leads_to_the_very_run_is_followed(tmp_path: Path) -> None:
    """As after a move to another disk. One that leads to another run is not, and stays where it is."""
    root, archive = tmp_path / "root", tmp_path / "archive"
    root.mkdir()
    archive.mkdir()
    (archive / "config.yaml").touch()
    write_json(archive / "provenance.json", {"run_id": "abc", "sessions": [{}]})
    (root / "mine-abc").symlink_to(archive)
    (root / "mine-def").symlink_to(archive)
    assert rundir.find([root], "abc") == root / "mine-abc"
    assert rundir.find([root], "def") is None
    with pytest.raises(ConfigError, match="does not hold this run; rename the link"):
        rundir.named(root, "mine", "def")


@pytest.mark.parametrize("name", ["..", "../x", "/x", "x\n", "a\0b", "x" * 300, "", "a/b"])
def test_a_name_is_no_path(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be 1 to 80 letters"):
        rundir.named(tmp_path, name, "abc")


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"[" * 100_000, b"9" * 5000])
def test_damaged_json_is_a_storage_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_bytes(content)
    with pytest.raises(StorageError, match=r"result\.json"):
        read_json(tmp_path / "result.json")


@pytest.mark.parametrize(
    "content",
    [
        b"null",
        b"{}",
        b'{"status": "done"}',
        b'{"status": ["finished"]}',
        b'{"status": "finished", "rollbacks": "two"}',
        b'{"status": "finished", "updates": true}',
        b'{"status": "finished", "evaluation": [1]}',
        b'{"status": "finished", "evaluation": {"policy": {"games": 2}}}',
        b'{"status": "finished", "evaluation": {"policy": null}}',
        b'{"status": "finished", "liveness": {"influence/vision": "0.1"}}',
        b'{"status": "finished", "liveness": {"influence/vision": NaN}}',
        b'{"status": "finished", "warnings": 3}',
    ],
)
def test_a_result_that_no_run_writes_is_a_storage_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_bytes(content)
    with pytest.raises(StorageError, match=r"result\.json"):
        read_result(tmp_path)


@pytest.mark.parametrize("content", [b"", b"[1]", b"a: [", b"\xff", b"eval: 3", b"x\0"])
def test_a_damaged_config_is_a_storage_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(StorageError, match=r"config\.yaml"):
        rundir.read_config(tmp_path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (",1.5,", ",nan,"),
        ("death", "deadly"),
        ("policy,", 'policy,"'),
        ("death,\n", "death,"),
        ("\npolicy", "\n\npolicy"),
    ],
)
def test_a_damaged_table_of_games_is_a_storage_error(old: str, new: str, tmp_path: Path) -> None:
    game = EpisodeEnd(env=0, seed=5, length=3, episode_return=1.5, score=1.5, depth=1, turns=3, end="death")
    write_games(tmp_path, {"policy": {5: game}})
    assert read_games(tmp_path) == {"policy": {5: game}}
    path = tmp_path / "games.csv"
    changed = path.read_text().replace(old, new)
    assert changed != path.read_text()
    path.write_text(changed)
    with pytest.raises(StorageError, match=r"games\.csv"):
        read_games(tmp_path)
