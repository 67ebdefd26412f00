"""Checkpoints survive crashes at every step of a save, damage to files, and hostile content."""

from __future__ import annotations

import errno
import json
import os
import pickle
import random

import numpy as np
import pytest
import torch
from support.forgery import Payload, reseal

from tedg.errors import DivergedError, StorageError
from tedg.store import checkpoint
from tedg.store.checkpoint import clean, latest, load, save
from tedg.store.torch_state import optimizer_tensors, restore_optimizer, restore_rng, rng_tensors


def groups(value=1.0):
    return {
        "model": {"w": torch.full((3, 2), value), "steps": torch.tensor(7)},
        "rng": {"cpu": torch.zeros(4)},
    }


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_round_trip_is_bit_equal(tmp_path):
    tensors = {
        "model": {
            "half": torch.randn(4, 3).bfloat16(),
            "double": torch.randn(5, dtype=torch.float64),
            "scalar": torch.tensor(3),
            "empty": torch.zeros(0, 2),
            "strided": torch.randn(4, 6).t()[::2],
            "mask": torch.tensor([True, False]),
        },
        "rng": {"bytes": torch.arange(256, dtype=torch.uint8)},
        "nothing": {},
    }
    state = {"episodes": 12, "best": 0.1 + 0.2, "names": ["a", "é"], "none": None}
    path = save(tmp_path / "checkpoints", 40, tensors, state, {"config": "abc"})
    assert path == tmp_path / "checkpoints" / "ckpt-000000000040"
    assert latest(path.parent) == path
    loaded = load(path)
    assert loaded.step == 40
    assert loaded.state == state
    assert loaded.meta == {"config": "abc"}
    assert loaded.tensors.keys() == tensors.keys()
    for group, named in tensors.items():
        assert loaded.tensors[group].keys() == named.keys()
        for name, tensor in named.items():
            assert loaded.tensors[group][name].dtype == tensor.dtype
            assert torch.equal(loaded.tensors[group][name], tensor)


def test_tied_weights_can_be_saved(tmp_path):
    weight = torch.randn(3, 3)
    loaded = load(save(tmp_path, 1, {"model": {"a": weight, "b": weight}}, {})).tensors["model"]
    assert torch.equal(loaded["a"], weight)
    assert torch.equal(loaded["b"], weight)


def test_no_checkpoint_yet(tmp_path):
    assert latest(tmp_path) is None
    assert latest(tmp_path / "missing") is None
    (tmp_path / "ckpt-000000000009.tmp-1").mkdir()
    (tmp_path / "ckpt-last").mkdir()
    assert latest(tmp_path) is None


def test_newest_first_and_pruned(tmp_path):
    for step in (5, 100, 20, 30):
        save(tmp_path, step, groups(), {}, keep=10)
    assert latest(tmp_path).name == "ckpt-000000000100"
    save(tmp_path, 110, groups(), {}, keep=2)
    assert names(tmp_path) == ["ckpt-000000000100", "ckpt-000000000110"]


def test_a_step_is_written_once(tmp_path):
    path = save(tmp_path, 5, groups(1.0), {})
    assert save(tmp_path, 5, groups(2.0), {}) == path
    assert load(path).tensors["model"]["w"][0, 0] == 1.0
    (path / "state.json").unlink()
    save(tmp_path, 5, groups(2.0), {})
    assert load(path).tensors["model"]["w"][0, 0] == 2.0


def test_falling_back_from_a_broken_newer_one_keeps_what_is_good(tmp_path):
    for step in (10, 20):
        save(tmp_path, step, groups(), {}, keep=1)
    (tmp_path / "ckpt-000000000020").rename(tmp_path / "ckpt-000000000099")
    (tmp_path / "ckpt-000000000099" / "state.json").write_text("")
    save(tmp_path, 30, groups(), {}, keep=1)
    assert latest(tmp_path, lambda _: None).name == "ckpt-000000000030"


class Killed(BaseException):
    """Stands for SIGKILL: no handler of the code under test may run on it."""


@pytest.fixture
def fail_at(monkeypatch):
    """Make the n-th file operation of a save raise; returns the operations seen so far."""

    def install(n, error):
        seen = []
        for module, name in ((checkpoint, "_write"), (os, "fsync"), (os, "rename"), (os, "close")):
            original = getattr(module, name)

            def operation(*args, _original=original, _name=name):
                seen.append(_name)
                if len(seen) == n:
                    if _name == "_write":
                        args[0].write_bytes(args[1][: len(args[1]) // 2])  # torn in the middle
                    raise error
                return _original(*args)

            monkeypatch.setattr(module, name, operation)
        return seen

    yield install
    monkeypatch.undo()


@pytest.mark.parametrize("error", [Killed(), OSError(errno.ENOSPC, "No space left on device")])
def test_a_crash_or_full_disk_at_any_operation_leaves_a_whole_checkpoint(
    tmp_path, fail_at, monkeypatch, error
):
    outcomes = []
    for n in range(1, 40):
        directory = tmp_path / str(n)
        save(directory, 1, groups(1.0), {"step": 1}, keep=1)
        seen = fail_at(n, error)
        try:
            save(directory, 2, groups(2.0), {"step": 2}, keep=1)
        except (Killed, StorageError):
            finished = False
        else:
            finished = len(seen) < n
        monkeypatch.undo()
        found = load(latest(directory, pytest.fail))  # no half-written one is ever seen
        assert found.state["step"] == found.step == found.tensors["model"]["w"][0, 0]
        outcomes.append(found.step)
        save(directory, 3, groups(3.0), {"step": 3}, keep=1)
        assert load(latest(directory)).step == 3
        assert names(directory) == ["ckpt-000000000003"]
        if finished:
            break
    assert finished
    assert len(outcomes) > 10
    assert outcomes == sorted(outcomes)
    assert outcomes[0] == 1
    assert outcomes[-1] == 2


def test_a_full_disk_is_a_storage_error_and_leaves_nothing_behind(tmp_path, fail_at):
    save(tmp_path, 1, groups(), {})
    fail_at(2, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(StorageError, match="No space left") as caught:
        save(tmp_path, 2, groups(), {})
    assert caught.value.exit_code == 4
    assert names(tmp_path) == ["ckpt-000000000001"]


def test_leftovers_of_dead_writers_are_removed_and_of_live_ones_kept(tmp_path):
    alive, dead, own = os.getppid(), 2**22 + 1, os.getpid()  # above the largest process id of Linux
    for pid in (alive, dead, own):
        (tmp_path / f"ckpt-000000000001.tmp-{pid}").mkdir()
    (tmp_path / "notes.tmp-4194305").mkdir()
    clean(tmp_path)
    assert names(tmp_path) == [f"ckpt-000000000001.tmp-{alive}", "notes.tmp-4194305"]


FILES = ["model.safetensors", "rng.safetensors", "state.json", "manifest.json"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "missing"])
def test_damage_is_named_and_the_previous_one_is_used(tmp_path, name, damage):
    save(tmp_path, 1, groups(1.0), {"episodes": 3})
    path = save(tmp_path, 2, groups(2.0), {"episodes": 5})
    content = bytearray((path / name).read_bytes())
    if damage == "missing":
        (path / name).unlink()
    else:
        content[len(content) // 2] ^= 4
        cut = {"truncated": len(content) - 3, "empty": 0, "flipped": len(content)}[damage]
        (path / name).write_bytes(content[:cut])
    lines = []
    assert latest(tmp_path, lines.append).name == "ckpt-000000000001"
    assert len(lines) == 1
    assert "ckpt-000000000002" in lines[0]
    if damage == "missing":
        assert name in lines[0]
    with pytest.raises(StorageError, match="ckpt-000000000002 is broken"):
        load(path)


def test_every_single_bit_flip_of_a_weight_is_noticed(tmp_path):
    path = save(tmp_path, 1, groups(), {})
    good = (path / "model.safetensors").read_bytes()
    rng = np.random.default_rng(0)
    for position in rng.integers(0, 8 * len(good), 50):
        bad = bytearray(good)
        bad[position // 8] ^= 1 << (position % 8)
        (path / "model.safetensors").write_bytes(bad)
        with pytest.raises(StorageError, match=r"model\.safetensors was altered"):
            load(path)


def test_none_valid_is_an_error_never_a_fresh_start(tmp_path, capsys):
    for step in (1, 2):
        (save(tmp_path, step, groups(), {}) / "manifest.json").write_text("{}")
    with pytest.raises(StorageError, match="none of the 2 checkpoints") as caught:
        latest(tmp_path)
    assert caught.value.exit_code == 4
    err = capsys.readouterr().err
    assert "ckpt-000000000001" in err
    assert "ckpt-000000000002" in err


@pytest.mark.parametrize("name", ["model.safetensors", "state.json", "model.pt", "../model.safetensors"])
def test_a_pickle_is_refused_and_never_run(tmp_path, name):
    path = save(tmp_path / "checkpoints", 1, groups(), {})
    (path / name).write_bytes(pickle.dumps(Payload(tmp_path / "marker")))
    reseal(path, files={**dict.fromkeys(FILES[:3]), name: None})
    kind = "is broken" if name in FILES else "is not a kind of file that checkpoints hold"
    with pytest.raises(StorageError, match=kind):
        load(path)
    assert not (tmp_path / "marker").exists()


def test_an_edited_manifest_is_noticed(tmp_path):
    path = save(tmp_path, 1, groups(), {}, {"config": "abc"})
    text = (path / "manifest.json").read_text()
    (path / "manifest.json").write_text(text.replace("abc", "abd"))
    with pytest.raises(StorageError, match=r"manifest\.json was altered"):
        load(path)


def test_another_schema_is_refused(tmp_path):
    path = save(tmp_path, 1, groups(), {})
    reseal(path, schema=99)
    with pytest.raises(StorageError, match="schema 99, this version reads 1 to 3"):
        load(path)


@pytest.mark.parametrize("group", ["model", "optim"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_weights_are_never_saved(tmp_path, group, value):
    with pytest.raises(DivergedError, match=f"{group} tensor w"):
        save(tmp_path, 1, {group: {"w": torch.tensor([1.0, value])}}, {})
    assert names(tmp_path) == []


@pytest.mark.parametrize("group", ["../evil", "Model", "", "a.b"])
def test_group_names_are_plain(tmp_path, group):
    with pytest.raises(ValueError, match="name for a group"):
        save(tmp_path, 1, {group: {}}, {})


def train(model, optimizer, steps, generator):
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(8, 4, generator=generator)).square().mean().backward()
        optimizer.step()


def make(kind, **kwargs):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Linear(5, 1))
    rest = {"params": model[1].parameters(), "lr": 3e-4, "betas": (0.8, 0.95)}
    return model, kind([{"params": model[0].parameters()}, rest], lr=1e-3, eps=1e-5, **kwargs)


@pytest.mark.parametrize(
    ("kind", "kwargs"),
    [(torch.optim.Adam, {}), (torch.optim.Adam, {"fused": True}), (torch.optim.AdamW, {"amsgrad": True})],
)
def test_a_restored_optimiser_continues_bit_equal(tmp_path, kind, kwargs):
    model, optimizer = make(kind, **kwargs)
    generator = torch.Generator().manual_seed(1)
    train(model, optimizer, 5, generator)
    optim, settings = optimizer_tensors(optimizer)
    random_bytes, _ = rng_tensors({"data": generator})
    tensors = {"model": model.state_dict(), "optim": optim, "rng": random_bytes}
    path = save(tmp_path, 5, tensors, {"optim": settings})
    train(model, optimizer, 5, generator)

    loaded = load(path)
    other, other_optimizer = make(kind, **kwargs)
    other.load_state_dict(loaded.tensors["model"])
    restore_optimizer(other_optimizer, loaded.tensors["optim"], loaded.state["optim"])
    other_generator = torch.Generator()
    restore_rng({"data": other_generator}, loaded.tensors["rng"], {})
    train(other, other_optimizer, 5, other_generator)

    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    one, two = optimizer.state_dict(), other_optimizer.state_dict()
    assert one["param_groups"] == two["param_groups"]
    for index, entry in one["state"].items():
        assert entry.keys() == two["state"][index].keys()
        assert all(torch.equal(entry[key], two["state"][index][key]) for key in entry)


def test_a_fresh_optimiser_round_trips():
    _, optimizer = make(torch.optim.Adam)
    tensors, settings = optimizer_tensors(optimizer)
    assert tensors == {}
    restore_optimizer(optimizer, tensors, json.loads(json.dumps(settings)))
    assert optimizer.param_groups[1]["betas"] == (0.8, 0.95)


def test_an_optimiser_for_other_parameters_is_refused():
    model, optimizer = make(torch.optim.Adam)
    train(model, optimizer, 1, None)
    tensors, settings = optimizer_tensors(optimizer)
    with pytest.raises(StorageError, match="other parameter groups"):
        restore_optimizer(torch.optim.Adam(model.parameters()), tensors, settings)
    tensors["0.exp_avg"] = torch.zeros(2, 2)
    with pytest.raises(StorageError, match=r"0\.exp_avg is \[2, 2\], its parameter \[5, 4\]"):
        restore_optimizer(optimizer, tensors, settings)


def test_random_generators_continue_where_they_were(tmp_path):
    def sources(seed):
        return {
            "torch": torch.Generator().manual_seed(seed),
            "numpy": np.random.default_rng(seed),
            "python": random.Random(seed),
        }

    def draw(named):
        return [
            torch.rand(3, generator=named["torch"]).tolist(),
            named["numpy"].normal(size=3).tolist(),
            named["numpy"].integers(0, 7, 3, dtype=np.uint32).tolist(),
            named["python"].gauss(0, 1),
        ]

    mine = sources(1)
    draw(mine)
    tensors, state = rng_tensors(mine)
    path = save(tmp_path, 1, {"rng": tensors}, {"rng": state})
    expected = [draw(mine), draw(mine)]
    other, loaded = sources(2), load(path)
    restore_rng(other, loaded.tensors["rng"], loaded.state["rng"])
    assert [draw(other), draw(other)] == expected


def test_a_missing_random_state_is_an_error():
    tensors, state = rng_tensors({"a": torch.Generator()})
    with pytest.raises(StorageError, match="random states"):
        restore_rng({"a": torch.Generator(), "b": random.Random()}, tensors, state)


def test_a_generator_of_another_device_begins_anew_from_the_saved_state():
    """A GPU's state has 16 bytes, the CPU's some thousand."""
    drawn = []
    for first in (3, 3, 4):
        saved = torch.arange(first, first + 16, dtype=torch.uint8)
        generator = torch.Generator()
        restore_rng({"sampling": generator}, {"sampling": saved}, {})
        drawn.append(torch.rand(4, generator=generator).tolist())
    assert drawn[0] == drawn[1] != drawn[2]
