"""Forward and backward passes of one minibatch on several cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tedg.envs.groups import split

MIN_SHARD = 64  # samples; smaller parts cost more in calls than a further core brings

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Shards:
    """Threads that each compute a contiguous part of a minibatch, with one core per operation.

    torch's own way to use several cores splits every single operation, and most operations of a
    minibatch are too small for that. Parts of a minibatch go through the network independently;
    what needs all of it, the losses, is computed in between.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads - 1, "shard") if threads > 1 else None

    def split(self, samples: int) -> tuple[slice, ...]:
        """How a minibatch is cut: into at most `threads` parts of at least MIN_SHARD samples."""
        return split(slice(0, samples), max(1, min(self._threads, samples // MIN_SHARD)))

    def run(self, work: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
        """`work` of every item, in their order; the first one's runs in the calling thread."""
        if self._pool is None or len(items) == 1:
            return [work(item) for item in items]
        others = [self._pool.submit(work, item) for item in items[1:]]
        first = work(items[0])
        return [first, *(other.result() for other in others)]
