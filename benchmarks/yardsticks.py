"""Other players on the games and env steps of a study: three without learning, and Stable-Baselines3's PPO.

    .venv/bin/python benchmarks/yardsticks.py --into experiments/yardsticks/runs

Each player and seed is a file; those that are there are not made again. Then the table is printed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from argparse import ArgumentParser
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from peer_env import PeerError, interpreter
from yardstick import CAPS, TRAINED, UNTRAINED

from tedg.statistics.aggregates import mean

HERE = Path(__file__).parent
TITLES = {
    "random": "random",
    "random_legal": "random among the legal",
    "script": "script",
    "ppo": "Stable-Baselines3 PPO, no mask",
    "maskable_ppo": "sb3-contrib MaskablePPO",
}


def main() -> int:
    """Make what is missing and print the table."""
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--into", type=Path, required=True, help="folder for the files")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)), help="of training")
    parser.add_argument("--steps", type=int, default=1_000_000, help="env steps of training")
    parser.add_argument("--games", type=int, default=200, help="held-out games at each cap")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="runs side by side")
    parser.add_argument("--env", type=Path, default=HERE.parent / ".venv-peers", help="peers' environment")
    given = parser.parse_args()
    given.into.mkdir(parents=True, exist_ok=True)
    wanted = {given.into / f"{name}.json": [name] for name in UNTRAINED}
    for seed in given.seeds:
        for name in TRAINED:
            asked = [name, "--seed", str(seed), "--steps", str(given.steps)]
            wanted[given.into / f"{name}-s{seed}.json"] = asked
    missing = {path: asked for path, asked in wanted.items() if not path.exists()}
    try:
        if missing:
            python = interpreter(given.env)
            with ThreadPoolExecutor(given.jobs) as pool:
                list(pool.map(lambda path: _make(python, path, missing[path], given.games), missing))
    except PeerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(table(given.into))
    return 0


def _make(python: Path, path: Path, asked: list[str], games: int) -> None:
    print(f"{' '.join(asked)} ...", flush=True)
    command = [str(python), str(HERE / "yardstick.py"), *asked, "--games", str(games), "--result", str(path)]
    variables = {**os.environ, "PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PeerError(f"{' '.join(command)} failed:\n{done.stderr.strip()}")


def table(folder: Path) -> str:
    """Mean scores as Markdown: with 95 % t-intervals, over seeds, or over games where nothing is trained."""
    lines = ["| player | seeds | cap 500 | cap 5,000 |", "|---|--:|--:|--:|"]
    for name, title in TITLES.items():
        files = [json.loads(path.read_text()) for path in sorted(folder.glob(f"{name}*.json"))]
        runs = [entry["scores"] for entry in files if entry["player"] == name]
        if runs:
            cells = [_cell([run[str(cap)] for run in runs]) for cap in CAPS]
            lines.append(f"| {title} | {len(runs) if name in TRAINED else '-'} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(scores: list[list[float]]) -> str:
    found = mean(np.array(scores[0] if len(scores) == 1 else [np.mean(run) for run in scores]))
    return f"{found.value:.1f} ({found.low:.1f} to {found.high:.1f})"


if __name__ == "__main__":
    sys.exit(main())
