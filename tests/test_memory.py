"""Memory that processes share: where arrays lie in it, and what games leave there."""

from __future__ import annotations

import mmap
import os
from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from support.nethack_games import SPEC

from tedg.envs.memory import GameMemory
from tedg.envs.observation import EpisodeEnd
from tedg.shared_memory import Layout, part

ARRAYS = {
    "flags": np.array([True, False, True]),
    "number": np.array(7, np.int64),
    "part.none": np.zeros((0, 4), np.float32),
    "part.reals": np.arange(6, dtype=np.float32).reshape(2, 3),
    "bytes": np.arange(65, dtype=np.uint8),
    "record": np.array([(1, 2.5)], [("a", np.int16), ("b", np.float64)]),
    "last": np.array([], np.int64),
}


def test_arrays_neither_overlap_nor_share_a_cache_line():
    layout = Layout.of(ARRAYS)
    memory = np.zeros(layout.size, np.uint8)
    found = layout.over(memory.data)
    for name, array in ARRAYS.items():
        assert (found[name].shape, found[name].dtype) == (array.shape, array.dtype)
        found[name][...] = array
    start, places = memory.ctypes.data, []
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)  # nobody wrote over it
        if array.size:
            first = found[name].ctypes.data - start
            places.append((first // 64, (first + array.nbytes - 1) // 64))
            assert first % 64 == 0
    assert all(last < following for (_, last), (following, _) in pairwise(places))
    assert places[-1][1] < layout.size // 64


def test_two_maps_of_one_file_hold_the_same_tensors():
    layout = Layout.of(ARRAYS)
    file = os.memfd_create("test")
    os.ftruncate(file, layout.size)
    one, other = (layout.over(mmap.mmap(file, layout.size)) for _ in range(2))
    os.close(file)
    torch.from_numpy(one["part.reals"]).fill_(3.5)
    torch.from_numpy(one["flags"])[1] = True
    assert (other["part.reals"] == 3.5).all()
    assert other["flags"].tolist() == [False, True, False]
    assert list(part(other, "part")) == ["none", "reals"]


def test_a_memory_of_too_few_bytes_is_refused():
    layout = Layout.of(ARRAYS)
    with pytest.raises((TypeError, ValueError)):
        layout.over(bytearray(layout.size // 2))


def test_how_an_episode_ended_comes_back_whole():
    memory = GameMemory.over(bytearray(GameMemory.size(SPEC, 3)), SPEC, 3)
    values = {"int": 2**40, "float": 1 / 3, "str": "truncated"}
    end = EpisodeEnd(**{field.name: values[field.type] for field in fields(EpisodeEnd)})
    memory.note_end(1, end)
    found = memory.end(1, env=17)
    assert found == replace(end, env=17)
    assert [type(getattr(found, field.name)).__name__ for field in fields(EpisodeEnd)] == [
        field.type for field in fields(EpisodeEnd)
    ]
