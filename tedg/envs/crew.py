"""Starts worker processes that play games in shared memory, and waits for them without spinning."""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tedg.envs.block import GameSettings
from tedg.envs.groups import split
from tedg.envs.memory import GameMemory
from tedg.envs.seeds import Seeds
from tedg.envs.worker import FAILED, MESSAGE_BYTES, RESET, STEP, Setup

START_SECONDS = 600  # to import, compile the kernels when they are not yet on disk, and begin every game
CLOSE_SECONDS = 10
_DOING = {RESET: "starting the games of", STEP: "stepping"}


class WorkerError(RuntimeError):
    """A worker process died, hung or failed; the message says which, how, and what it was doing."""


@dataclass(slots=True)
class _Worker:
    number: int
    blocks: dict[int, slice]  # its environments in each group
    process: subprocess.Popen[bytes]
    channel: socket.socket
    commands: deque[tuple[int, int]] = field(default_factory=deque)  # (kind, group) not yet answered

    def __str__(self) -> str:
        games = ", ".join(f"{rows.start} to {rows.stop - 1}" for rows in self.blocks.values())
        return f"worker {self.number} (process {self.process.pid}, games {games})"


class Crew:
    """Worker processes that share the games of every group evenly among them.

    The memory is an anonymous file that nobody but these processes can open, and it ends with the last of
    them. Workers are new interpreters, not forks, so they hold none of this process's locks or threads.
    They do not hear SIGINT and SIGTERM, which are for this process to handle, and end when it does: they
    see their socket closed, whatever this process died of. `step_seconds` bounds a step of one group.
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
                    worker.channel.send(bytes([kind, group, slot]))
                except OSError:
                    self._receive(worker)  # tells what became of it

    def _require_alive(self) -> None:
        if not self.close.alive:
            raise WorkerError("the worker processes are closed, or one of them was lost before")

    def _receive(self, worker: _Worker) -> None:
        """Take one answer, in the order of the commands."""
        seconds = START_SECONDS if worker.commands[0][0] == RESET else self._step_seconds
        # Counted in short waits: a process that was stopped by Ctrl-Z must not take its own sleep for theirs.
        for _ in range(seconds):
            try:
                message = worker.channel.recv(MESSAGE_BYTES)
            except TimeoutError:
                continue
            except ConnectionResetError:
                # Told ahead of the last answer if commands were left unread; the answer can still be read.
                continue
            if not message:
                self._fail(worker, _manner_of_death(worker.process))
            if message[0] == FAILED:
                self._fail(worker, "failed", message[1:].decode(errors="replace"))
            worker.commands.popleft()
            return
        self._fail(worker, f"gave no answer for {seconds} s")

    def _fail(self, worker: _Worker, what: str, details: str = "") -> None:
        doing = self._doing(worker)
        for other in self._workers:
            other.process.kill()
        self.close()
        raise WorkerError(f"{worker} {what} while {doing}" + (f"\n\n{details}" if details else ""))

    def _doing(self, worker: _Worker) -> str:
        kind, group = worker.commands[0]
        rows = worker.blocks[group]
        playing = rows.start + np.flatnonzero(self.memory.playing[rows])
        game = "".join(f", in game {env} with seed {self.memory.seed[env]}" for env in playing)
        return f"{_DOING[kind]} group {group}{game}"

    def _start(self) -> None:
        shares = [split(rows, self._num_workers) for rows in self._groups]
        blocked = {signal.SIGINT, signal.SIGTERM}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)  # workers inherit the mask
        try:
            for number in range(self._num_workers):
                own = {group: share[number] for group, share in enumerate(shares)}
                blocks = {group: rows for group, rows in own.items() if rows.start < rows.stop}
                self._workers.append(self._launch(number, blocks))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _launch(self, number: int, blocks: dict[int, slice]) -> _Worker:
        # A sequence of packets: a message arrives whole or not at all.
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        setup = Setup(
            settings=self._settings,
            seeds=self._seeds,
            num_envs=self._num_envs,
            blocks=blocks,
            channel=theirs.fileno(),
            memory=self._memory_file,
            folder=self._folder,
            start_seconds=START_SECONDS,
            step_seconds=self._step_seconds,
        )
        with theirs:
            content = pickle.dumps(setup)
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", "from tedg.envs.worker import serve; serve()"],
                stdin=subprocess.PIPE,
                pass_fds=(theirs.fileno(), self._memory_file),
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
                    "OMP_NUM_THREADS": "1",
                },
            )
        ours.settimeout(1.0)
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin:  # the first answer will tell
            process.stdin.write(content)
        return _Worker(number, blocks, process, ours)


def _manner_of_death(process: subprocess.Popen[bytes]) -> str:
    try:
        code = process.wait(CLOSE_SECONDS)
    except subprocess.TimeoutExpired:
        return "closed its socket"
    if code >= 0:
        return f"exited with code {code}"
    name = signal.Signals(-code).name
    reasons = {"SIGPROF": " (it used up the CPU time that it had)", "SIGKILL": " (was memory short?)"}
    return f"was killed by {name}{reasons.get(name, '')}"


def _end(workers: list[_Worker], memory_file: int, folder: str) -> None:
    os.close(memory_file)
    for worker in workers:
        worker.channel.close()
    for worker in workers:
        try:
            worker.process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()
    shutil.rmtree(folder, ignore_errors=True)
