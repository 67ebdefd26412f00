"""A game of NetHack in a process of its own, which may crash, or hang, without the doctor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator

from tedg.doctor.line import Line

SECONDS = 60  # that a game may take; the first one compiles kernels
STEPS = 500
_CODE = "from tedg.doctor.game import play; play()"


def begin() -> subprocess.Popen[str]:
    """Start a game; it needs a core and a few seconds."""
    path = os.pathsep.join(one or os.getcwd() for one in sys.path)
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _CODE],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


def lines(process: subprocess.Popen[str]) -> Iterator[Line]:
    """Reset and step, when the game is over."""
    remedy = "make setup; if it stays, send this line with a bug report"
    try:
        out, err = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        yield Line("bad", "NLE", f"no game within {SECONDS} s", remedy)
        return
    if process.returncode != 0:
        last = (err.strip().splitlines() or ["nothing"])[-1]
        yield Line("bad", "NLE", f"a game ended with code {process.returncode}: {last[:200]}", remedy)
        return
    told = json.loads(out)
    said = f"{told['version']}, reset {told['reset']:.0f} ms, {told['steps']:,.0f} steps/s in one process"
    yield Line("ok", "NLE", said)


def play() -> None:
    """In the process: games of random keys, as training plays them; prints how long they took."""
    from importlib.metadata import version

    import numpy as np

    from tedg.envs.actions import NUM_ACTIONS
    from tedg.envs.frames import Frames
    from tedg.envs.games import Games
    from tedg.envs.rewards import EPISODE

    games = Games("NetHackScore", 10**6, Frames.allocate(1), np.zeros(1, EPISODE), np.zeros(1, bool))
    rows, keys = np.zeros(1, np.int64), np.random.default_rng(0).integers(NUM_ACTIONS, size=STEPS)
    reward, terminated, truncated = np.zeros(1, np.float32), np.zeros(1, bool), np.zeros(1, bool)
    games.start(0, 0, 1)
    games.step(rows, keys[:1], reward, terminated, truncated)  # compiles, or loads what was compiled
    begun = time.perf_counter()
    games.start(0, 0, 2)
    reset = time.perf_counter() - begun
    seconds = 0.0
    for step in range(STEPS):
        begun = time.perf_counter()
        games.step(rows, keys[step : step + 1], reward, terminated, truncated)
        seconds += time.perf_counter() - begun
        if terminated[0]:
            games.start(0, 0, 3 + step)
    games.close()
    print(json.dumps({"version": version("nle"), "reset": 1e3 * reset, "steps": STEPS / seconds}))
