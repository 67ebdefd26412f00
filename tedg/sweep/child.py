"""What the process of a cell does: trains its run, on its own cores, and tells its driver how that goes."""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from tedg import startup, streams
from tedg.config.compose import Composed
from tedg.config.run_config import RunConfig
from tedg.errors import FAILED, INTERRUPTED, Stopped, TedgError
from tedg.inert import inert
from tedg.signals import StopFlag
from tedg.sweep.machine import Slot
from tedg.sweep.report import Report, Reporter

_PR_SET_PDEATHSIG = 1  # of prctl(2)
LIMITED = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Errand:
    """What a cell's process needs to know."""

    composed: Composed
    log: str
    slot: Slot
    report: int  # pipe to the driver
    driver: int  # its process
    attempt: int
    place: str  # among the cells: `3 of 12`


def begin() -> NoReturn:
    """In a new interpreter: read the errand from the standard input, and do it."""
    serve(pickle.load(sys.stdin.buffer))


def serve(errand: Errand) -> NoReturn:
    """Do the errand and end the process; never returns. Signals are blocked until handlers are in place."""

    def work() -> int:
        _settle_in(errand)
        return train_cell(errand.composed, Reporter(errand.report), errand.place)

    end_with(work)


def end_with(work: Callable[[], int]) -> NoReturn:
    """Work, and end the process with the exit code that comes of it, whatever happens."""
    code = FAILED
    try:
        code = work()
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        startup.leave(code)


def print_to(log: str | Path) -> None:
    """Let all that this process prints from now on go to the end of `log`."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(file, 1)
    os.dup2(file, 2)
    streams.secure()


def _settle_in(errand: Errand) -> None:
    """Cut what ties this process to the driver, but for one thing: it saves and ends when that dies."""
    os.setpgid(0, 0)  # Ctrl-C is for the driver, which passes it on
    startup.leave_on_signals()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, startup.EXIT_CODES)
    if os.getppid() != errand.driver:
        startup.leave(INTERRUPTED)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    print_to(errand.log)
    os.sched_setaffinity(0, errand.slot.cores)
    os.environ.update(dict.fromkeys(LIMITED, str(len(errand.slot.cores))))
    # The driver asks SLURM once for all its cells.
    os.environ.pop("SLURM_JOB_ID", None)
    if errand.slot.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = errand.slot.gpu
    cores = ", ".join(map(str, errand.slot.cores))
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    print(f"--- {now}, attempt {errand.attempt}, process {os.getpid()}, cores {cores}", flush=True)


def train_cell(composed: Composed, reporter: Report, place: str) -> int:
    """Run the cell, whose `place` among all is `3 of 12`; its exit code, as that of a single run would be."""
    from tedg.run.app import run  # imports torch
    from tedg.run.next_steps import title

    def train(config: RunConfig, run_dir: Path, weights_of: Path | None, stop: StopFlag) -> dict[str, Any]:
        from tedg.learn.trainer import train
        from tedg.sweep.cell_console import CellConsole

        return train(config, run_dir, weights_of, CellConsole(reporter, title(composed, place)), stop)

    try:
        run(composed, train, say=lambda text: print(inert(text), flush=True))
    except Stopped as error:
        return error.exit_code
    except TedgError as error:
        print(inert(f"error: {error}"), file=sys.stderr, flush=True)
        reporter.ended(type(error).__name__, str(error))
        return error.exit_code
    except SystemExit as error:
        reporter.ended("SystemExit", f"something called sys.exit({error.code!r})")
        return error.code if isinstance(error.code, int) else FAILED
    except BaseException as error:
        print(inert(traceback.format_exc()), file=sys.stderr, flush=True)
        reporter.ended(type(error).__name__, f"{type(error).__name__}: {error}")
        return FAILED
    return 0
