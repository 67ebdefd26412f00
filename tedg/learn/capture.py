"""Functions that run again and again: on a GPU as one CUDA graph each, elsewhere as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

Function = Callable[[], None]
Changes = Callable[[], Iterable[Tensor]]  # what a function writes and later calls read
Tell = Callable[[str], None]

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
    """Functions are captured at their first call, and replayed with one launch instead of hundreds.

    One that cannot be captured runs as it is, and the user is told why.
    """

    fixed = True

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def __call__(self, function: Function, changes: Changes) -> Function:
        """The function as a graph."""
        return recorded_once(function, changes, cuda_graph, self._tell)


def recorded_once(
    function: Function, changes: Changes, record: Callable[[Function, Function], Function], tell: Tell
) -> Function:
    """A function that has `record` make another one of `function` when it is first called, and calls that.

    `record` is given `function`, and what undoes a call of it; it may call both. Where it raises RuntimeError
    the function runs as it is, and `tell` is told why.
    """
    run: Function | None = None

    def call() -> None:
        nonlocal run
        if run is None:
            kept = [(tensor, tensor.clone()) for tensor in changes()]
            undo = partial(_put_back, kept)
            try:
                run = record(function, undo)
            except RuntimeError as error:
                run = function
                undo()
                tell(
                    f"not captured as a CUDA graph, and slower for it: {_first_line(error)} "
                    "(a part must not look at values on the host, see docs/performance.md)"
                )
        run()

    return call


def cuda_graph(function: Function, undo: Function) -> Function:
    """Try `function` out and capture it; returns what replays it. RuntimeError where that cannot be done."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            function()
            undo()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    # Another thread may use the device meanwhile: the one that allocates pinned memory.
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        function()
    return graph.replay


@torch.no_grad()
def _put_back(kept: Iterable[tuple[Tensor, Tensor]]) -> None:
    for tensor, value in kept:
        tensor.copy_(value)


def _first_line(error: RuntimeError) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def make_capture(device: torch.device, cuda_graphs: bool, tell: Tell) -> Capture:
    """What suits a device, if graphs are wanted."""
    return CudaGraphs(tell) if cuda_graphs and device.type == "cuda" else Plain()
