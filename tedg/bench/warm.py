"""Training processes that are kept ready, so that settings take turns without starting anew.

All are forked from a process that has imported everything, as the cells of a sweep are. One that is not at
work waits for its pipe and takes no time.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import NoReturn

from tedg.bench.candidates import Candidate
from tedg.bench.jobs import MeasurementError
from tedg.bench.resources import Memory, family, memory, memory_alone
from tedg.config.run_config import RunConfig
from tedg.errors import CONFIG, ConfigError, TedgError
from tedg.sweep.machine import Slot

_CLOSE_SECONDS = 10
_ENDLESS = float("inf")


class Warm:
    """The processes of a candidate, one per cell, after their first rollout and update."""

    def __init__(self, candidate: Candidate) -> None:
        """Start them; MeasurementError, or ConfigError where the configuration is to blame."""
        os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # CUDA does not survive a fork
        context = get_context("forkserver")
        context.set_forkserver_preload(["tedg.bench.workbench", "tedg.envs.vector", "torch_geometric.nn"])
        self._processes, self._pipes = [], []
        config = candidate.configs[0]
        self._steps = config.env["num_envs"] * config.ppo.num_steps
        try:
            for own, slot in zip(candidate.configs, candidate.slots, strict=True):
                ours, theirs = context.Pipe()
                process = context.Process(target=_serve, args=(theirs, own, slot))
                process.start()
                theirs.close()
                self._processes.append(process)
                self._pipes.append(ours)
            for pipe in self._pipes:
                self._receive(pipe)
        except BaseException:
            self.close()
            raise

    def memory_alone(self) -> int:
        """Bytes that the first would have if the others were not there to share pages with."""
        pid = self._processes[0].pid
        assert pid is not None  # it was started
        return memory_alone(pid)

    def memory_together(self) -> Memory:
        """Of all, their shared pages counted once."""
        return memory([pid for process in self._processes for pid in family(process.pid)])

    def turn(self, seconds: float) -> float:
        """Env steps per second of the only process in so many seconds, or in one update if that is longer."""
        self._pipes[0].send(seconds)
        stamps = [self._receive(self._pipes[0]), self._receive(self._pipes[0])]
        while stamps[-1] - stamps[0] < seconds:
            stamps.append(self._receive(self._pipes[0]))
        return self._rate(stamps)

    def side_by_side(self, seconds: float) -> tuple[float, float]:
        """Env steps per second of all together in the two halves of twice so many seconds, or of two updates.

        None stops before all have done so, so that each has the others beside it all the time. Afterwards
        they only wait to be closed.
        """
        stamps: dict[Connection, list[float]] = {pipe: [] for pipe in self._pipes}
        for pipe in self._pipes:
            pipe.send(_ENDLESS)
        while any(len(own) < 3 or own[-1] - own[0] < 2 * seconds for own in stamps.values()):
            arrived = wait(self._pipes)
            for pipe in self._pipes:
                if pipe in arrived:
                    stamps[pipe].append(self._receive(pipe))
        halves = [(own[: len(own) // 2 + 1], own[len(own) // 2 :]) for own in stamps.values()]
        first, second = (sum(self._rate(half) for half in part) for part in zip(*halves, strict=True))
        return first, second

    def close(self) -> None:
        """End the processes, and theirs."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join(_CLOSE_SECONDS)
            process.kill()
            process.join()
        for pipe in self._pipes:
            pipe.close()

    def _rate(self, stamps: Sequence[float]) -> float:
        return (len(stamps) - 1) * self._steps / (stamps[-1] - stamps[0])

    def _receive(self, pipe: Connection) -> float:
        try:
            said = pipe.recv()
        except (EOFError, ConnectionResetError):
            process = self._processes[self._pipes.index(pipe)]
            process.join(_CLOSE_SECONDS)
            code = process.exitcode or 0
            ending = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            raise MeasurementError(ending) from None
        if isinstance(said, float):
            return said
        code, message = said
        raise ConfigError(message) if code == CONFIG else MeasurementError(message)


@contextmanager
def warm(candidate: Candidate) -> Iterator[Warm]:
    """A candidate's processes, which end with the block."""
    processes = Warm(candidate)
    try:
        yield processes
    finally:
        processes.close()


def _serve(pipe: Connection, config: RunConfig, slot: Slot) -> None:
    """In the child: train for as many seconds as the pipe asks, and tell when each update was done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends this process
    signal.signal(signal.SIGTERM, _end)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no result
    os.sched_setaffinity(0, slot.cores)
    if slot.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = slot.gpu
    try:
        from tedg.bench.workbench import workbench  # imports torch, which the parent never needs

        with workbench(config) as bench:
            bench.update(bench.collect())
            pipe.send(time.monotonic())
            while True:
                _train(pipe, lambda: bench.update(bench.collect()), pipe.recv())
    except (EOFError, OSError):
        return  # the parent is gone
    except TedgError as error:
        pipe.send((error.exit_code, str(error)))
    except Exception as error:
        pipe.send((None, f"{type(error).__name__}: {error}"))


def _train(pipe: Connection, update: Callable[[], None], seconds: float) -> None:
    stamps = [time.monotonic()]
    pipe.send(stamps[0])
    while stamps[-1] - stamps[0] < seconds or len(stamps) == 1:
        update()
        stamps.append(time.monotonic())
        pipe.send(stamps[-1])


def _end(signum: int, frame: FrameType | None) -> NoReturn:
    sys.exit()
