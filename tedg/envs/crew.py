"""Starts worker processes that play games in shared memory, and replaces those that are lost."""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tedg import scratch
from tedg.envs.block import GameSettings
from tedg.envs.memory import GameMemory
from tedg.envs.observation import Position
from tedg.envs.seeds import Seeds
from tedg.envs.worker import BEGIN, RESET, STEP, Setup, serve
from tedg.processes import Child, ChildFailure, WorkerError, end, launch, split

START_SECONDS = 600  # to import, compile the kernels when they are not yet on disk, and begin every game
# When more workers of a crew are lost, or one worker is lost more often in a row, it is no accident.
MAX_REPLACED, MAX_IN_A_ROW = 20, 3
_DOING = {BEGIN: "starting the games of", RESET: "starting the games of", STEP: "stepping"}


@dataclass(frozen=True, slots=True)
class _Command:
    kind: int
    group: int
    slot: int

    @property
    def message(self) -> bytes:
        return bytes([self.kind, self.group, self.slot])


@dataclass(slots=True)
class _Worker:
    number: int
    blocks: dict[int, slice]  # its environments in each group
    positions: dict[int, tuple[Position, ...]]  # where they began when this process started
    child: Child
    commands: deque[_Command] = field(default_factory=deque)  # not yet answered
    # Groups whose games were lost with an earlier process.
    idle: set[int] = field(default_factory=set)  # their next games have not begun yet
    replaced: set[int] = field(default_factory=set)  # their next games began instead of a step
    failures: int = 0  # since the last answer

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
    them. `step_seconds` bounds a step of one group. A worker that dies, hangs or fails is replaced by a new
    one that begins the next game of each of its environments, within the limits above.
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
        self._replaced = 0
        self._incidents: list[str] = []
        spec = settings.spec
        size = GameMemory.size(spec, self._num_envs)
        self._memory_file = os.memfd_create("tedg-games")
        os.ftruncate(self._memory_file, size)
        self.memory = GameMemory.over(mmap.mmap(self._memory_file, size), spec, self._num_envs)
        # Files that a killed worker leaves behind are in here.
        self._folder = tempfile.mkdtemp(prefix="games-", dir=scratch.folder())
        # Runs at the latest when the interpreter ends, so that no worker is left waiting for its games.
        self.close = weakref.finalize(self, _end, self._workers, self._memory_file, self._folder)

    def begin(self, slot: int, positions: Sequence[Position] | None) -> None:
        """Have all games begin, at their positions or, with None, at the beginning; see `GameBlock.begin`."""
        self._require_alive()
        if positions is not None or not self._workers:
            end([worker.child for worker in self._workers])
            self._workers.clear()
            self._start(positions or [Position()] * self._num_envs)
            kind = BEGIN
        else:
            kind = RESET
        for worker in self._workers:
            for group in worker.blocks:
                worker.idle.discard(group)
                worker.replaced.discard(group)
                self._tell(worker, _Command(kind, group, slot))

    def step(self, group: int, slot: int) -> None:
        """Have a group's games take the actions in memory; see `GameBlock.step`."""
        self._require_alive()
        for worker in self._workers:
            if group in worker.idle:
                worker.idle.remove(group)
                worker.replaced.add(group)
                self._tell(worker, _Command(BEGIN, group, slot))
            elif group in worker.blocks:
                self._tell(worker, _Command(STEP, group, slot))

    def wait(self, group: int) -> list[int]:
        """Wait until every worker has done what it was told for the group.

        Returns the environments whose games were lost instead of stepped. Their observations are the first
        ones of their next games. Raises WorkerError when too many workers were lost.
        """
        self._require_alive()
        lost: list[int] = []
        for worker in self._workers:
            while any(command.group == group for command in worker.commands):
                self._receive(worker)
            if group in worker.replaced:
                worker.replaced.remove(group)
                rows = worker.blocks[group]
                lost += range(rows.start, rows.stop)
        return lost

    def take_incidents(self) -> list[str]:
        """What became of the workers that were replaced since the last call."""
        incidents, self._incidents = self._incidents, []
        return incidents

    def _require_alive(self) -> None:
        if not self.close.alive:
            raise WorkerError("the worker processes are closed, or too many of them were lost before")

    def _tell(self, worker: _Worker, command: _Command) -> None:
        worker.commands.append(command)
        try:
            worker.child.send(command.message)
        except OSError:
            self._receive(worker)  # tells what became of it

    def _receive(self, worker: _Worker) -> None:
        """Take one answer, in the order of the commands; a worker without one is replaced."""
        seconds = self._step_seconds if worker.commands[0].kind == STEP else START_SECONDS
        try:
            worker.child.receive(seconds)
        except ChildFailure as failure:
            self._replace(worker, failure)
        else:
            worker.commands.popleft()
            worker.failures = 0

    def _replace(self, worker: _Worker, failure: ChildFailure) -> None:
        """Let a new process go on with the next game of each of a worker's environments."""
        details = f"\n\n{failure.details}" if failure.details else ""
        incident = f"{worker} {failure.manner} while {self._doing(worker)}{details}"
        self._replaced += 1
        worker.failures += 1
        if self._replaced > MAX_REPLACED or worker.failures > MAX_IN_A_ROW:
            for other in self._workers:
                other.child.process.kill()
            self.close()
            raise WorkerError(f"{incident}\nworkers were replaced {self._replaced - 1} times before that")
        self._incidents.append(incident)
        worker.child.process.kill()
        end([worker.child])
        unfinished = {command.group: command for command in worker.commands}  # the last one of each group
        worker.positions = {
            group: self._positions_after(worker, group, unfinished.get(group)) for group in worker.blocks
        }
        for rows in worker.blocks.values():
            self.memory.playing[rows] = False
        worker.child = self._launch(worker.number, worker.blocks, worker.positions)
        worker.commands.clear()
        worker.idle |= worker.blocks.keys() - unfinished.keys()
        for command in unfinished.values():
            if command.kind == STEP:
                worker.replaced.add(command.group)
            self._tell(worker, _Command(BEGIN, command.group, command.slot))

    def _positions_after(self, worker: _Worker, group: int, command: _Command | None) -> tuple[Position, ...]:
        """Where a group's environments go on after their worker was lost before it had done `command` there.

        A lost step loses the running games, so every environment goes on with its next game. A lost start
        loses one game at most: the one that the worker was busy with. There the next game begins;
        everywhere else the games begin as planned.
        """
        rows = worker.blocks[group]
        if command is None or command.kind == STEP or group in worker.replaced:
            return tuple(Position(number + 1) for number in self.memory.episodes["number"][rows].tolist())
        count = rows.stop - rows.start
        begun = worker.positions[group] if command.kind == BEGIN else (Position(),) * count
        busy = self.memory.playing[rows].tolist()
        return tuple(Position(p.episode + 1) if b else p for p, b in zip(begun, busy, strict=True))

    def _doing(self, worker: _Worker) -> str:
        command = worker.commands[0]
        rows = worker.blocks[command.group]
        episodes = self.memory.episodes
        playing = rows.start + np.flatnonzero(self.memory.playing[rows])
        game = "".join(f", in game {env} with seed {episodes['seed'][env]}" for env in playing)
        return f"{_DOING[command.kind]} group {command.group}{game}"

    def _start(self, positions: Sequence[Position]) -> None:
        shares = [split(rows, self._num_workers) for rows in self._groups]
        for number in range(self._num_workers):
            own = {group: share[number] for group, share in enumerate(shares)}
            blocks = {group: rows for group, rows in own.items() if rows.start < rows.stop}
            places = {group: tuple(positions[rows]) for group, rows in blocks.items()}
            self._workers.append(_Worker(number, blocks, places, self._launch(number, blocks, places)))

    def _launch(
        self, number: int, blocks: dict[int, slice], positions: dict[int, tuple[Position, ...]]
    ) -> Child:
        def setup(channel: int) -> Setup:
            return Setup(
                settings=self._settings,
                seeds=self._seeds,
                num_envs=self._num_envs,
                blocks=blocks,
                positions=positions,
                channel=channel,
                memory=self._memory_file,
                folder=self._folder,
                start_seconds=START_SECONDS,
                step_seconds=self._step_seconds,
            )

        os.makedirs(self._folder, exist_ok=True)  # the last worker to end removes it
        return launch(serve, setup, [self._memory_file], _heap())


def _end(workers: list[_Worker], memory_file: int, folder: str) -> None:
    os.close(memory_file)
    end([worker.child for worker in workers])
    shutil.rmtree(folder, ignore_errors=True)
