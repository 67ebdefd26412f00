"""Weights & Biases as a tracker, in a process of its own.

Its client starts threads and processes, and installs hooks that may wait for a server without end when the
interpreter exits. Here the run's process only writes lines to a pipe, and can leave at any moment.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tedg.config.run_config import LoggerConfig, WandbConfig
from tedg.errors import ConfigError, StorageError
from tedg.store.rundir import read_config, read_provenance
from tedg.store.trackers import Ended

FOLDER = "wandb"  # in the run's directory; the client puts its own files there too
_LOG = "tedg.log"  # what the process says
_PROCESS = Path(__file__).with_name("wandb_process.py")


def require_package(logger: LoggerConfig) -> None:
    """Raises ConfigError where the package is wanted and missing. Nothing is imported."""
    if logger.wandb is not None and find_spec("wandb") is None:
        raise ConfigError(
            f"logger=wandb needs a package that is not installed: {sys.executable} -m pip install wandb; "
            "logger=tensorboard needs none"
        )


class WeightsAndBiases:
    """Sends scalars to Weights & Biases, or to files for `wandb sync`.

    Raises OSError, and Ended with what the client said where its process has ended.
    """

    def __init__(self, run_dir: Path, settings: WandbConfig) -> None:
        """A run that goes on is found again there by its id."""
        greeting = _greeting(run_dir, settings)
        self._log = run_dir / FOLDER / _LOG
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", os.fspath(_PROCESS)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
                start_new_session=True,  # Ctrl-C is meant for the run
            )
        self._send(greeting)

    def write(self, step: int, wall_time: float, figures: Mapping[str, float]) -> None:
        """All figures at the step; blocks while the process does not read."""
        self._send({"step": step, "figures": {**figures, "_timestamp": wall_time}})

    def close(self) -> None:
        """Wait until all has arrived, however long that takes."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        if self._process.wait() != 0:
            raise Ended(self._said())

    def abandon(self) -> None:
        """Kill the process, and those that it has started."""
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    def _send(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self._process.wait()
            raise Ended(self._said()) from None

    def _said(self) -> str:
        """The last line that the process said, which names its error."""
        with suppress(OSError):
            lines = self._log.read_text(errors="replace").split("\n")
            for line in reversed(lines):
                if line.strip():
                    return f"{line.strip()[:300]} (all of it is in {self._log})"
        return f"its process ended with code {self._process.returncode}"


def _greeting(run_dir: Path, settings: WandbConfig) -> dict[str, Any]:
    """What the client is started with. The configuration is that of config.yaml, which holds no secrets."""
    provenance = read_provenance(run_dir)
    config: dict[str, Any] = {}
    with suppress(StorageError):
        config = read_config(run_dir)
    return {
        "project": settings.project,
        "entity": settings.entity,
        "mode": settings.mode,
        "id": run_dir.name if provenance is None else provenance["run_id"],
        "name": run_dir.name,
        "group": run_dir.resolve().parent.name,
        "dir": os.fspath(run_dir.resolve()),
        "config": config,
    }
