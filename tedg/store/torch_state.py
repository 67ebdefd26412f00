"""Optimisers and random generators as tensors and JSON, and back, bit for bit."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tedg.errors import StorageError

RandomSource = torch.Generator | np.random.Generator | np.random.RandomState | random.Random


def differences(own: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> list[str]:
    """One line for every tensor that only one of them has, or that has another shape or type in the other."""
    found = [f"{name}: not in the checkpoint" for name in own.keys() - saved.keys()]
    found += [f"{name}: only in the checkpoint" for name in saved.keys() - own.keys()]
    for name in own.keys() & saved.keys():
        here, there = (
            f"{list(x.shape)} {str(x.dtype).removeprefix('torch.')}" for x in (own[name], saved[name])
        )
        if here != there:
            found.append(f"{name}: {here} here, {there} in the checkpoint")
    return sorted(found)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State of Adam or AdamW: tensors named `<parameter index>.<key>`, and the groups' settings as JSON."""
    content = optimizer.state_dict()
    tensors = {
        f"{index}.{key}": value for index, entry in content["state"].items() for key, value in entry.items()
    }
    return tensors, {"param_groups": content["param_groups"]}


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], state: Mapping[str, Any]
) -> None:
    """Undo `optimizer_tensors`; StorageError if the optimiser has other parameters than the saved one."""
    own = optimizer.state_dict()["param_groups"]
    if [group["params"] for group in state["param_groups"]] != [group["params"] for group in own]:
        raise StorageError("the saved optimiser has other parameter groups than this one")
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    entries: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        if tensor.ndim and tensor.shape != parameters[int(index)].shape:
            raise StorageError(
                f"saved optimiser tensor {name} is {list(tensor.shape)}, "
                f"its parameter {list(parameters[int(index)].shape)}"
            )
        entries.setdefault(int(index), {})[key] = tensor
    groups = [
        # JSON has no tuples; Adam's betas are one.
        {k: tuple(v) if isinstance(mine.get(k), tuple) else v for k, v in saved.items()}
        for saved, mine in zip(state["param_groups"], own, strict=True)
    ]
    optimizer.load_state_dict({"state": entries, "param_groups": groups})


def process_generators() -> dict[str, RandomSource]:
    """The generators that torch, NumPy and Python use on the CPU where code names none, by name."""
    return {"torch": torch.default_generator, "numpy": np.random.mtrand._rand, "python": random._inst}


def rng_tensors(sources: Mapping[str, RandomSource]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """States of named generators: torch's as byte tensors, NumPy's and Python's as JSON."""
    tensors: dict[str, Tensor] = {}
    state: dict[str, Any] = {}
    for name, source in sources.items():
        if isinstance(source, torch.Generator):
            tensors[name] = source.get_state()
        elif isinstance(source, np.random.Generator):
            state[name] = source.bit_generator.state
        elif isinstance(source, np.random.RandomState):
            _, keys, *rest = source.get_state(legacy=True)
            state[name] = [np.asarray(keys).tolist(), *rest]
        else:
            state[name] = source.getstate()
    return tensors, state


def restore_rng(
    sources: Mapping[str, RandomSource], tensors: Mapping[str, Tensor], state: Mapping[str, Any]
) -> None:
    """Undo `rng_tensors` in place; StorageError if the names differ: no generator is left as it was.

    A generator of the CPU cannot take the state of a GPU's, nor the other way round. It is seeded from that
    state then, so that what it draws is new, and still the same each time.
    """
    saved = {*tensors, *state}
    if saved != set(sources):
        raise StorageError(f"saved random states {sorted(saved)} are not those needed, {sorted(sources)}")
    for name, source in sources.items():
        if isinstance(source, torch.Generator) and tensors[name].shape != source.get_state().shape:
            digest = hashlib.sha256(tensors[name].numpy().tobytes()).digest()
            source.manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        elif isinstance(source, torch.Generator):
            source.set_state(tensors[name])
        elif isinstance(source, np.random.Generator):
            source.bit_generator.state = state[name]
        elif isinstance(source, np.random.RandomState):
            source.set_state(("MT19937", *state[name]))
        else:
            version, internal, gauss = state[name]
            source.setstate((version, tuple(internal), gauss))
