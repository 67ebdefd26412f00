"""Which formulas a network computes by: compiled loops on the CPU, tensors of fixed shapes elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

_fixed_shapes_everywhere = False


def loops_serve(tensor: Tensor) -> bool:
    """Whether compiled loops compute with `tensor`: on the CPU, but not within `fixed_shapes`.

    Elsewhere shapes may not follow from values: to look at a value the host waits for the device, and what
    is captured as a graph cannot wait.
    """
    return tensor.device.type == "cpu" and not _fixed_shapes_everywhere


@contextmanager
def fixed_shapes() -> Iterator[None]:
    """Within it the CPU uses the formulas of other devices, so that they can be tried without one."""
    global _fixed_shapes_everywhere
    before, _fixed_shapes_everywhere = _fixed_shapes_everywhere, True
    try:
        yield
    finally:
        _fixed_shapes_everywhere = before
