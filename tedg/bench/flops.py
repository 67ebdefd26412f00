"""Counts the floating-point operations of matrix products and convolutions while they are executed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within it every product counts, 2 m n k for [m, k] by [k, n], by torch's own formulas.

    It sees what autograd functions, backward passes and einsum call in the end. torch has no formula for
    the product of a matrix and a single vector; it is added here. Unlike `FlopCounterMode` it does not
    count by module: the hooks for that refuse some of the tensors that pass between modules.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops: Counter[str] = Counter()  # by operation

    @property
    def total(self) -> int:
        """All operations together."""
        return self.flops.total()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run `func`, in parts where it has parts, and count it."""
        kwargs = kwargs or {}
        operation = func.overloadpacket
        counted = operation in flop_registry or operation is torch.ops.aten.mv
        if not counted:
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        if operation is torch.ops.aten.mv:
            self.flops[str(operation)] += 2 * args[0].numel()
        elif counted:
            self.flops[str(operation)] += flop_registry[operation](*args, **kwargs, out_val=result)
        return result
