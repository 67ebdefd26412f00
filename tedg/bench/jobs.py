"""Runs one measurement in a fresh interpreter, so that none inherits another's memory or threads."""

from __future__ import annotations

import json
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tedg.errors import CONFIG, ConfigError

Figures = dict[str, Any]  # what a measurement returns, by names that end in the unit


class MeasurementError(Exception):
    """A measurement's process failed; the message is how, and the last thing that it said."""


@dataclass(frozen=True, slots=True)
class Job:
    """A call of `function(**arguments)` in a module of this package."""

    module: str
    function: str
    arguments: dict[str, Any]


def run(job: Job) -> Figures:
    """What the job measures. Raises MeasurementError, or ConfigError where the configuration is to blame."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tedg.bench.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with child:
        try:
            answer, errors = child.communicate(pickle.dumps(job))
        except BaseException:  # Ctrl-C: the measurement ends as well, and takes its temporary files with it
            child.terminate()
            raise
    if child.returncode == 0:
        figures: Figures = json.loads(answer)
        return figures
    said = errors.decode(errors="replace").strip()
    if child.returncode == CONFIG:
        raise ConfigError(said)
    code = child.returncode
    ending = f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    raise MeasurementError(f"{ending}: {said.splitlines()[-1]}" if said else ending)


def repeat(action: Callable[[], object], seconds: float) -> tuple[int, float]:
    """Call `action` until `seconds` have passed, at least once; returns (calls, seconds they took)."""
    calls, start = 0, time.perf_counter()
    while True:
        action()
        calls += 1
        taken = time.perf_counter() - start
        if taken >= seconds:
            return calls, taken
