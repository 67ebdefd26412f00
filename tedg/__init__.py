"""tedg: Hydra-configured ablations of neuro-symbolic reinforcement learning on NetHack."""

import os
import sys
from typing import Any

from tedg import startup

__version__ = "0.1.0"

# First of all: the imports of a command take seconds, and a signal may come meanwhile.
startup.begin_command(getattr(sys, "argv", []), sys.orig_argv)

# Before torch loads OpenMP: waiting threads sleep instead of spinning. Spinning gains little here, and on
# a machine that runs anything else beside it makes training several times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Before NumPy loads OpenBLAS, which begins threads at once: nothing here uses them, and a process that has
# threads cannot be forked safely, as a sweep does it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def runs(study: Any, root: Any = "multirun", experiments: Any = "experiments") -> Any:
    """A study's runs, curves, episodes and held-out games as pandas frames; see `tedg.study.frames.runs`."""
    from tedg.study import frames  # imports pandas

    return frames.runs(study, root, experiments)


def load(run: Any, env: Any = None, *, weights: Any = "last", greedy: bool = False) -> Any:
    """A run's policy, to act in a gymnasium env of NLE; see `tedg.play.policy.load`."""
    from tedg.play import policy  # imports torch

    return policy.load(run, env, weights=weights, greedy=greedy)


def record(run: Any, seed: int, cap: int | None = None) -> Any:
    """One game of a run's policy, step by step; see `tedg.play.record.record`."""
    from tedg.play import record as recorder  # imports torch

    return recorder.record(run, seed, cap)
