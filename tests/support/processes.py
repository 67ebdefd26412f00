"""Which processes live, and whose children they are, as /proc tells it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path


def alive(pid: int) -> bool:
    """Whether there is such a process, and it has not ended yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid: int | None = None) -> list[int]:
    """The processes that this one, or another, has started and that are not gone."""
    threads = Path(f"/proc/{os.getpid() if pid is None else pid}/task").iterdir()
    return [int(child) for thread in threads for child in (thread / "children").read_text().split()]


def wait_until_gone(pids: Iterable[int], seconds: float = 20) -> list[int]:
    """Wait until none is alive, at most so long; returns those that still are."""
    end = time.monotonic() + seconds
    left = list(pids)
    while (left := [pid for pid in left if alive(pid)]) and time.monotonic() < end:
        time.sleep(0.05)
    return left
