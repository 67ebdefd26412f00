"""Functions that run again and again: on a GPU as one CUDA graph each, elsewhere as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

Function = Callable[[], None]
Changes = Callable[[], Iterable[Tensor]]  # what a function writes and later calls read

WARM_UP = 2  # calls before a capture: libraries choose their algorithms and allocate memory in them


@runtime_checkable
class Capture(Protocol):
    """Makes a function of another one that does the same, and may do it by replaying a recording.

    If it is `fixed`, the function must read and write tensors that stay where they are, and may never look at
    a value on the host: both would go into the recording.
    """

    fixed: bool

    def __call__(self, function: Function, changes: Changes) -> Function:
        """Before the first call `function` may be tried out; `changes` are then put back."""
        ...


class Plain:
    """Functions run as they are."""

    fixed = False

    def __call__(self, function: Function, changes: Changes) -> Function:
        """The function itself."""
        del changes
        return function


class CudaGraphs:
    """Functions are captured at their first call, and replayed with one launch instead of hundreds."""

    fixed = True

    def __call__(self, function: Function, changes: Changes) -> Function:
        """The function as a graph."""
        graph: torch.cuda.CUDAGraph | None = None

        def call() -> None:
            nonlocal graph
            if graph is None:
                graph = _captured(function, changes)
            graph.replay()

        return call


def _captured(function: Function, changes: Changes) -> torch.cuda.CUDAGraph:
    kept = [(tensor, tensor.clone()) for tensor in changes()]
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            function()
    torch.cuda.current_stream().wait_stream(stream)
    put_back(kept)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    # Other threads may use the device meanwhile: pinned memory is allocated by one.
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        function()
    return graph


@torch.no_grad()
def put_back(kept: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Give tensors the values they had."""
    for tensor, value in kept:
        tensor.copy_(value)


def make_capture(device: torch.device) -> Capture:
    """What suits a device."""
    return CudaGraphs() if device.type == "cuda" else Plain()
