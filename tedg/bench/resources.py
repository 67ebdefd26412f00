"""CPU time and memory of this process and its children, read from /proc."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
SAMPLE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of several processes together. RSS counts a shared page once for every process that has it."""

    bytes: int
    source: str  # "PSS (smaps_rollup)", "PSS (smaps)" or "RSS"


def family(root: int | None = None, proc: Path = PROC) -> list[int]:
    """A process (this one) and its children, theirs included."""
    children: dict[int, list[int]] = {}
    for entry in proc.iterdir():
        if entry.name.isdigit() and (stat := _stat(entry)) is not None:
            children.setdefault(int(stat[1]), []).append(int(entry.name))
    found = [os.getpid() if root is None else root]
    for pid in found:
        found += children.get(pid, [])
    return found


def cpu_seconds(pids: Sequence[int], proc: Path = PROC) -> float:
    """User and system time of the processes since they began; those that are gone count nothing."""
    stats = [_stat(proc / str(pid)) for pid in pids]
    ticks = sum(int(stat[11]) + int(stat[12]) for stat in stats if stat is not None)
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(pids: Sequence[int], proc: Path = PROC) -> Memory:
    """Proportional set sizes summed, which count every shared page once; RSS where there are none."""
    for file in ("smaps_rollup", "smaps"):
        sizes = [_kibibytes(proc / str(pid) / file, "Pss") for pid in pids]
        # Some kernels have the line and leave it at zero.
        if all(sizes):
            return Memory(1024 * sum(sizes), f"PSS ({file})")
    return Memory(1024 * sum(_kibibytes(proc / str(pid) / "status", "VmRSS") for pid in pids), "RSS")


def memory_alone(pid: int, proc: Path = PROC) -> int:
    """Bytes of a forked process and its children as if no sibling shared pages with them.

    What siblings share is what their parent has: it is counted whole instead of in proportion. Resident sizes
    of the process itself would not do, because they count a page again wherever a game maps it.
    """
    seen = memory(family(pid, proc), proc)
    stat = _stat(proc / str(pid))
    if stat is None or not seen.source.startswith("PSS"):
        return seen.bytes
    parent = proc / stat[1] / "smaps_rollup"
    return seen.bytes + 1024 * (_kibibytes(parent, "Rss") - _kibibytes(parent, "Pss"))


class MemoryPeak:
    """The most memory that this process and its children were seen to have."""

    def __init__(self) -> None:
        self.most = Memory(0, "")

    def sample(self) -> None:
        """Look now."""
        self.most = max(self.most, memory(family()), key=lambda seen: seen.bytes)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look often while something else runs; looking takes time from it."""
        done = threading.Event()

        def look() -> None:
            while not done.wait(SAMPLE_SECONDS):
                self.sample()

        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()


def _stat(process: Path) -> list[str] | None:
    """The fields of /proc/PID/stat after the name: state, parent, ...; None if the process is gone."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _kibibytes(file: Path, key: str) -> int:
    try:
        return sum(int(size) for size in re.findall(rf"^{key}:\s+(\d+) kB", file.read_text(), re.MULTILINE))
    except OSError:
        return 0
