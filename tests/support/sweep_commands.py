"""Sweeps as users start them, with a fusion that meets with mishaps."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.prepared import REPOSITORY, Command
from support.settings import FASTEST, TINY

# What becomes of a cell stands in a file named by its seed, and takes place at the 50th state batch that its
# process looks at: in its second update, after a checkpoint. A fate with `once` does not come again.
MISHAPS = """
import json, os, signal, sys, threading
from pathlib import Path
import torch
from tedg.models.fusion import ConcatFusion

if "THREADED" in os.environ:
    threading.Thread(target=threading.Event().wait, daemon=True).start()

class Fusion(ConcatFusion):
    def __init__(self, vision_dim: int, token_dim: int, num_tokens: int, logic_dim: int) -> None:
        super().__init__(vision_dim, token_dim, num_tokens, logic_dim)
        self.fate, self.calls = Path(os.environ["FATES"]) / str(torch.initial_seed()), 0
        names = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "SLURM_JOB_ID")
        seen = {name: os.environ.get(name) for name in names}
        seen |= {"cores": sorted(os.sched_getaffinity(0)), "forked": sys.argv[0] != "-c"}
        self.fate.with_suffix(".json").write_text(json.dumps(seen | {"group": os.getpgid(0) == os.getpid()}))

    def forward(self, tokens, h_vis, h_logic, noise):
        self.calls += 1
        given = super().forward(tokens, h_vis, h_logic, noise)
        if self.calls < 50 or not self.fate.exists():
            return given
        fate = self.fate.read_text()
        if "once" in fate:
            self.fate.unlink()
        if "kill" in fate:
            os.kill(os.getpid(), signal.SIGKILL)
        if "raise" in fate:
            raise LookupError("nobody is at home")
        if "exit" in fate:
            sys.exit(0)
        return given._replace(context=given.context * float("nan"))
"""


class Sweep:
    """`python -m tedg.train -m` in one place, again and again."""

    mishaps = MISHAPS

    def __init__(self, root: Path, *overrides: str, **variables: str) -> None:
        self.root, self.overrides = root, overrides
        (root / "fates").mkdir()
        (root / "mishaps.py").write_text(self.mishaps)
        own = {"PYTHONPATH": f"{root}:{REPOSITORY}", "TEDG_ALLOW": "mishaps", "FATES": f"{root}/fates"}
        self.variables = {**os.environ, **own, **variables}
        self.processes: list[subprocess.Popen[str]] = []

    def start(self) -> subprocess.Popen[str]:
        faulty = "fusion._target_=mishaps.Fusion"
        settings = [*TINY, *FASTEST, faulty, "budget.env_steps=256", "paths.study=mine"]
        self.processes.append(
            Command(
                [sys.executable, "-m", "tedg.train", "-m", *settings, *self.overrides],
                cwd=self.root,
                env=self.variables,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        return self.processes[-1]

    def run(self) -> tuple[int, str]:
        return self.end(self.start())

    def end(self, process: subprocess.Popen[str]) -> tuple[int, str]:
        output, _ = process.communicate(timeout=200)
        return process.returncode, output

    def fate(self, seed: int, fate: str) -> None:
        (self.root / "fates" / str(seed)).write_text(fate)

    @property
    def study(self) -> Path:
        return self.root / "multirun" / "mine"

    def seen(self, seed: int) -> dict[str, Any]:
        """What the last process of a cell found."""
        found: dict[str, Any] = json.loads((self.root / "fates" / f"{seed}.json").read_text())
        return found

    def states(self) -> dict[str, str]:
        cells = json.loads((self.study / "study.json").read_text())["cells"]
        return {cell["label"]: cell["state"] for cell in cells.values()}

    def logs(self) -> dict[str, str]:
        return {path.stem: path.read_text() for path in (self.study / "logs").iterdir()}

    def pids(self) -> list[int]:
        return [
            int(pid) for log in self.logs().values() for pid in re.findall(r"^---.* process (\d+)", log, re.M)
        ]

    def wait_for(self, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + 120
        while not condition():
            assert self.processes[-1].poll() is None, self.processes[-1].communicate()[0]
            assert time.monotonic() < end
            time.sleep(0.05)


def table(output: str) -> dict[str, str]:
    """State of each cell in the last table."""
    rows = output.rpartition("\ncell ")[2].splitlines()[1:]
    found = [re.match(r"(\S+=\S+(?: \S+=\S+)*)  +\d+  (\w+)", row) for row in rows]
    return {match[1]: match[2] for match in found if match is not None}
