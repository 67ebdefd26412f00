"""A stand-in for CUDA graphs: records the operations of a function once and replays them on the same memory.

As in a graph, addresses and numbers of the recording stay: what the host computed meanwhile, from values or
from anything that changes, goes into it and does not change any more. Loops that torch does not see are not
recorded at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from tedg.learn.capture import Changes, Function, recorded_once
from tedg.models.formulas import fixed_shapes

FORBIDDEN = ("aten::_local_scalar_dense", "aten::equal", "aten::lift_fresh", "aten::is_nonzero")


class Looked(RuntimeError):
    """The host looked at a value, or shapes follow from one, within a function that is to be captured."""


@dataclass(frozen=True, slots=True)
class _Operation:
    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    made: list[tuple[int, Tensor]]  # of the outputs' leaves, those in memory of their own

    def replay(self) -> None:
        leaves = pytree.tree_leaves(self.function(*self.args, **self.kwargs))
        for number, tensor in self.made:
            tensor.copy_(leaves[number])


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.operations: list[_Operation] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = function._schema.name
        follows = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(function.tags)
        if name == "aten::index":  # its shape follows from values only where places are marked, not numbered
            follows = any(places is not None and places.dtype == torch.bool for places in args[1])
        if follows or name in FORBIDDEN:
            raise Looked(name)
        result = function(*args, **kwargs)
        given = {_memory(x) for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        made = [
            (number, leaf)
            for number, leaf in enumerate(pytree.tree_leaves(result))
            if isinstance(leaf, Tensor) and leaf.numel() and _memory(leaf) not in given
        ]
        self.operations.append(_Operation(function, args, kwargs, made))
        return result


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


class Tape:
    """A `Capture` for the CPU, by the formulas of other devices."""

    fixed = True

    def __init__(self) -> None:
        self.told: list[str] = []
        self.recorded = 0  # functions

    def __call__(self, function: Function, changes: Changes) -> Function:
        """Recorded at the first call, replayed in all."""
        call = recorded_once(function, changes, self._record, self.told.append)

        def by_the_formulas_of_a_gpu() -> None:
            with fixed_shapes():
                call()

        return by_the_formulas_of_a_gpu

    def _record(self, function: Function, undo: Function) -> Function:
        function()
        undo()
        with _Recorder() as recorder:
            function()
        undo()
        self.recorded += 1
        return partial(_replay, recorder.operations)


@torch.no_grad()
def _replay(operations: Sequence[_Operation]) -> None:
    for operation in operations:
        operation.replay()
