"""Starts worker processes that play games in shared memory, and waits for them without spinning."""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

from tedg.envs.block import GameSettings
from tedg.envs.groups import split
from tedg.envs.memory import GameMemory
from tedg.envs.seeds import Seeds
from tedg.envs.worker import RESET, STEP, Setup, serve
from tedg.processes import Child, ChildFailure, WorkerError, end, launch

START_SECONDS = 600  # to import, compile the kernels when they are not yet on disk, and begin every game
_DOING = {RESET: "starting the games of", STEP: "stepping"}


@dataclass(slots=True)
class _Worker:
    number: int
    blocks: dict[int, slice]  # its environments in each group
    child: Child
    commands: deque[tuple[int, int]] = field(default_factory=deque)  # (kind, group) not yet answered

    def __str__(self) -> str:
        games = ", ".join(f"{rows.start} to {rows.stop - 1}" for rows in self.blocks.values())
        return f"worker {self.number} (process {self.child.process.pid}, games {games})"


def _heap() -> dict[str, str]:
    """Pages of 2 MB for the heap, unless the user has set otherwise; systems without glibc ignore it.

    Each game strews small objects over it, and the processor looks up fewer pages' addresses then.
    """
    return {"GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")}


class Crew:
    """Worker processes that share the games of every group evenly among them.

    The memory is an anonymous file that nobody but these processes can open, and it ends with the last of
    them. `step_seconds` bounds a step of one group.
    """

    def __init__(
        self,
        settings: GameSettings,
        seeds: Seeds,
        groups: Sequence[slice],
        num_workers: int,
        step_seconds: int,
    ) -> None:
        self._settings, self._seeds, self._groups = settings, seeds, groups
        self._num_envs = groups[-1].stop
        self._num_workers = min(num_workers, max(rows.stop - rows.start for rows in groups))
        self._step_seconds = step_seconds
        self._workers: list[_Worker] = []
        spec = settings.spec
        size = GameMemory.size(spec, self._num_envs)
        self._memory_file = os.memfd_create("tedg-games")
        os.ftruncate(self._memory_file, size)
        self.memory = GameMemory.over(mmap.mmap(self._memory_file, size), spec, self._num_envs)
        self._folder = tempfile.mkdtemp(prefix="tedg-games-")  # what a killed worker leaves is in here
        # Runs at the latest when the interpreter ends, so that no worker is left waiting for its games.
        self.close = weakref.finalize(self, _end, self._workers, self._memory_file, self._folder)

    def reset(self, group: int, slot: int) -> None:
        """Have a group's games begin anew; see `GameBlock.reset`."""
        self._require_alive()
        if not self._workers:
            self._start()
        self._command(RESET, group, slot)

    def step(self, group: int, slot: int) -> None:
        """Have a group's games take the actions in memory; see `GameBlock.step`."""
        self._command(STEP, group, slot)

    def wait(self, group: int) -> None:
        """Return when every worker has done what it was told for the group. Raises WorkerError."""
        self._require_alive()
        for worker in self._workers:
            while any(waiting == group for _, waiting in worker.commands):
                self._receive(worker)

    def _command(self, kind: int, group: int, slot: int) -> None:
        self._require_alive()
        for worker in self._workers:
            if group in worker.blocks:
                worker.commands.append((kind, group))
                try:
                    worker.child.send(bytes([kind, group, slot]))
                except OSError:
                    self._receive(worker)  # tells what became of it

    def _require_alive(self) -> None:
        if not self.close.alive:
            raise WorkerError("the worker processes are closed, or one of them was lost before")

    def _receive(self, worker: _Worker) -> None:
        """Take one answer, in the order of the commands."""
        try:
            worker.child.receive(START_SECONDS if worker.commands[0][0] == RESET else self._step_seconds)
        except ChildFailure as failure:
            self._fail(worker, failure)
        worker.commands.popleft()

    def _fail(self, worker: _Worker, failure: ChildFailure) -> NoReturn:
        doing = self._doing(worker)
        for other in self._workers:
            other.child.process.kill()
        self.close()
        details = f"\n\n{failure.details}" if failure.details else ""
        raise WorkerError(f"{worker} {failure.manner} while {doing}{details}") from None

    def _doing(self, worker: _Worker) -> str:
        kind, group = worker.commands[0]
        rows = worker.blocks[group]
        playing = rows.start + np.flatnonzero(self.memory.playing[rows])
        game = "".join(f", in game {env} with seed {self.memory.seed[env]}" for env in playing)
        return f"{_DOING[kind]} group {group}{game}"

    def _start(self) -> None:
        shares = [split(rows, self._num_workers) for rows in self._groups]
        for number in range(self._num_workers):
            own = {group: share[number] for group, share in enumerate(shares)}
            blocks = {group: rows for group, rows in own.items() if rows.start < rows.stop}
            self._workers.append(self._launch(number, blocks))

    def _launch(self, number: int, blocks: dict[int, slice]) -> _Worker:
        def setup(channel: int) -> Setup:
            return Setup(
                settings=self._settings,
                seeds=self._seeds,
                num_envs=self._num_envs,
                blocks=blocks,
                channel=channel,
                memory=self._memory_file,
                folder=self._folder,
                start_seconds=START_SECONDS,
                step_seconds=self._step_seconds,
            )

        return _Worker(number, blocks, launch(serve, setup, [self._memory_file], _heap()))


def _end(workers: list[_Worker], memory_file: int, folder: str) -> None:
    os.close(memory_file)
    end([worker.child for worker in workers])
    shutil.rmtree(folder, ignore_errors=True)
