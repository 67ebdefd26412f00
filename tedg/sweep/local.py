"""Cells as processes of this machine, forked from one that has imported everything already.

Importing torch, numba and the rest takes seconds, which each cell would pay anew. A fork is safe here because
this process has a single thread and has not touched CUDA: `tedg/__init__.py` sees to the first, `gpus_for` to
the second. A process that has threads after all (of a package of the user's own) is not forked: its cells are
new interpreters.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module

from tedg import startup
from tedg.sweep.cell import Cell
from tedg.sweep.child import Errand, serve
from tedg.sweep.launcher import Ended, Progress
from tedg.sweep.machine import Slot, fitted
from tedg.sweep.report import Reading

# What a cell needs, with what libraries import at their first use only.
_MODULES = (
    *("numba.experimental", "numba.typed", "tensorboardX.event_file_writer", "torch_geometric.nn"),
    *("tedg.envs.vector", "tedg.learn.final", "tedg.learn.trainer", "tedg.run.app", "tedg.watch.console"),
)


def import_all() -> None:
    """What each cell would do first."""
    # A library that asks torch for GPUs while it is imported would otherwise begin to use CUDA.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    for name in _MODULES:
        import_module(name)


@dataclass(slots=True)
class _Process:
    pid: int
    slot: Slot
    reading: Reading
    begun: float
    kind: str = ""
    message: str = ""


class LocalLauncher:
    """One process per cell, on the cores and GPU of its slot, in a process group of its own."""

    detached = False

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._free = list(slots)
        self._running: dict[Cell, _Process] = {}
        import_all()
        gc.freeze()  # what is shared with the cells stays shared

    def has_room(self) -> bool:
        """Whether a slot is free."""
        return bool(self._free)

    def start(self, cell: Cell) -> None:
        """Fork a process that runs the cell; its output goes to its log."""
        slot = self._free.pop(0)
        reading, writing = os.pipe()
        composed = fitted(cell.composed, slot)
        errand = Errand(composed, str(cell.log), slot, writing, os.getpid(), cell.attempts, cell.place)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        # A signal between the fork and the child's own handlers would act on a copy of this process.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, startup.EXIT_CODES)
        alone = len(os.listdir("/proc/self/task")) == 1
        pid = os.fork()
        if pid == 0:
            serve(errand) if alone else _become_new(errand)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(writing)
        self._running[cell] = _Process(pid, slot, Reading(reading), time.monotonic())

    def news(self) -> Iterator[Progress | Ended]:
        """How far each is, and which have ended."""
        for cell, process in list(self._running.items()):
            ended, status = os.waitpid(process.pid, os.WNOHANG)
            for line in process.reading.lines():  # after the look: a last line is not missed
                if "kind" in line:
                    process.kind, process.message = line["kind"], line["message"]
                else:
                    yield Progress(cell, line["fraction"], line["env_steps"], line["score"])
            if ended:
                process.reading.close()
                del self._running[cell]
                self._free.append(process.slot)
                yield _ended(cell, process, os.waitstatus_to_exitcode(status))

    def stop(self) -> None:
        """SIGINT to each, whatever this process was sent: SIGTERM and SIGUSR1 can have other meanings."""
        self._send(signal.SIGINT)

    def stop_cell(self, cell: Cell) -> None:
        """SIGINT to this one."""
        os.kill(self._running[cell].pid, signal.SIGINT)

    def save(self) -> None:
        """SIGTERM, which only announces something where this process was sent it in such a meaning."""
        self._send(signal.SIGTERM)

    def _send(self, number: signal.Signals) -> None:
        for process in self._running.values():
            os.kill(process.pid, number)  # it is not waited for yet, so the number is still its own


def _ended(cell: Cell, process: _Process, code: int) -> Ended:
    seconds = time.monotonic() - process.begun
    if code >= 0:
        return Ended(cell, code, "", process.kind, process.message, seconds)
    return Ended(cell, None, signal.Signals(-code).name, process.kind, process.message, seconds)


def _become_new(errand: Errand) -> None:
    """In the child: become a new interpreter for the same errand."""
    reading, writing = os.pipe()
    content = pickle.dumps(errand)
    os.set_inheritable(errand.report, True)
    if os.fork() == 0:  # writes what may be longer than a pipe holds
        with os.fdopen(writing, "wb") as file:
            file.write(content)
        os._exit(0)
    os.dup2(reading, 0)
    path = os.pathsep.join(place or os.getcwd() for place in sys.path)
    code = "from tedg.sweep.child import begin as b; b()"
    os.execve(sys.executable, [sys.executable, "-P", "-c", code], {**os.environ, "PYTHONPATH": path})
