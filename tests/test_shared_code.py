"""The games' libraries share their code, and only where that is safe."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from nle.nethack import nethack as nle_nethack
from support.nethack_games import OneGame

from tedg.envs import shared_code
from tedg.envs.shared_code import SharedCode


def code_mappings():
    """(first address, size, file) of the executable parts of NLE's libraries."""
    found = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, access, _, _, _, *path = line.split(maxsplit=5)
        if "x" in access and path and ("nle.so" in path[0] or "libnethack.so" in path[0]):
            first, end = (int(bound, 16) for bound in span.split("-"))
            found.append((first, end - first, path[0]))
    return found


def play(game, steps=60):
    seen = []
    game.start(5)
    for action in np.random.default_rng(0).integers(1, 17, size=steps):
        step, frames = game.step(action), game.frames
        seen.append((step, frames.glyphs.tobytes(), frames.blstats.tobytes(), frames.message.tobytes()))
    return seen


def test_every_game_runs_the_original_and_plays_on_as_before(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(SharedCode, "share", lambda self: False)
        game = OneGame()
        alone = play(game)
        game.close()
    games = [OneGame() for _ in range(3)]
    assert [play(game) for game in games] == [alone] * 3
    assert [play(game) for game in games] == [alone] * 3  # NLE loads its copies anew
    mappings = code_mappings()
    assert len(mappings) == 3
    assert len({first for first, _, _ in mappings}) == 3
    assert {path for *_, path in mappings} == {nle_nethack.DLPATH}
    for game in games:
        game.close()
    assert code_mappings() == []


@pytest.fixture
def shared(monkeypatch):
    """What every attempt to share a game's code came to."""
    attempts, share = [], SharedCode.share
    monkeypatch.setattr(SharedCode, "share", lambda self: attempts.append(share(self)) or attempts[-1])
    return attempts


def test_a_copy_that_differs_keeps_its_code(shared):
    game = OneGame()
    open_files = Path("/proc/self/fd").iterdir()
    (path,) = [file for file in open_files if "nle.so" in os.path.realpath(file)]
    with path.open("r+b") as copy:
        copy.seek(0x250)  # in the identity of the build, which nothing reads
        changed = bytes([copy.read(1)[0] ^ 1])
        copy.seek(0x250)
        copy.write(changed)
    game.start(1)
    assert shared == [False]
    assert [path for *_, path in code_mappings()] == ["/memfd:nle.so (deleted)"]
    game.close()


@pytest.mark.parametrize("missing", ["_libc", "_original"])
def test_other_systems_play_without(monkeypatch, missing, shared):
    monkeypatch.setattr(shared_code, missing, lambda: None)
    game = OneGame()
    game.start(1)
    assert shared == [False]
    game.step(22)
    game.close()


def test_a_library_that_is_not_loaded_is_left_alone():
    assert not SharedCode(nle_nethack.DLPATH).share()


@pytest.mark.parametrize("head", [b"", b"\xcf\xfa\xed\xfe" + bytes(4092), bytes(4096)])
def test_files_of_another_kind_have_nothing_to_share(head):
    assert shared_code._read_only_segments(head) == []


def test_only_what_nobody_writes_is_shared():
    head = Path(nle_nethack.DLPATH).read_bytes()[:4096]
    segments = shared_code._read_only_segments(head)
    writable = bytearray(head)
    for header in range(64, 64 + 56 * 9, 56):
        writable[header + 4] |= 2
    assert len(segments) >= 2
    assert shared_code._read_only_segments(bytes(writable)) == []
