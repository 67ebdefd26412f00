"""One timed run of Sample Factory's asynchronous PPO on the 115 state features."""

from __future__ import annotations

import os
import sys
import tempfile
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from feature_games import ACTIONS, OBSERVATIONS, make_games
from gymnasium.spaces import Dict
from learning import Learnt
from sample_factory.algo.runners.runner import AlgoObserver, Runner
from sample_factory.algo.utils.misc import ExperimentStatus
from sample_factory.cfg.arguments import parse_full_cfg, parse_sf_args
from sample_factory.envs.env_utils import register_env
from sample_factory.train import make_runner
from work import CYCLE_STEPS, MINIBATCH_SIZE, NUM_EPOCHS, Timing, Window, run_parser

NAME = "feature_games"
HIDDEN = ["256", "256"]
GAMES_PER_ENV = 64
# A process per core plays, each two environments in turn: one steps while the policy acts in the other.
SETTINGS = {
    "batched_sampling": "True",
    "num_envs_per_worker": "2",
    "worker_num_splits": "2",
    "rollout": "32",
}


class FeatureGames(gymnasium.Env[Any, Any]):
    """Games side by side, which Sample Factory calls the agents of one environment. Ended games restart."""

    observation_space = Dict(obs=OBSERVATIONS)
    action_space = ACTIONS
    is_multiagent = True
    render_mode = None

    def __init__(self, num_games: int, seed: int) -> None:
        self.num_agents = num_games
        self._nothing: list[dict[str, Any]] = [{}] * num_games  # to be known beside that
        self._games = make_games(num_games, num_workers=0, seed=seed)

    def reset(self, **_: Any) -> tuple[Any, Any]:
        """First observations, [B, 115]."""
        return {"obs": self._games.reset().state}, self._nothing

    def step(self, actions: npt.NDArray[np.int32]) -> tuple[Any, Any, Any, Any, Any]:
        """Observations, rewards, and whether games ended, [B]."""
        step = self._games.step(actions.astype(np.int64))
        return {"obs": step.observation.state}, step.reward, step.terminated, step.truncated, self._nothing

    def close(self) -> None:
        """Release the games."""
        self._games.close()


def make_env(
    num_games: int, _name: str, _cfg: Any = None, env_config: Any = None, render_mode: str | None = None
) -> FeatureGames:
    """What Sample Factory calls for each environment, and once without its number to learn the spaces."""
    return FeatureGames(num_games, seed=(env_config.env_id or 0) if env_config else 0)


class _Stopwatch(AlgoObserver):
    """Ends training when the window closes; it is told of the end of every cycle."""

    def __init__(self, window: Window) -> None:
        self._window = window

    def on_training_step(self, runner: Runner, training_iteration_since_resume: int) -> None:
        self._window.cycle_ended()
        if training_iteration_since_resume == 1:
            runner.save_periodic.emit()  # a first checkpoint, for the last one to be compared with
        if self._window.closed:
            runner.cfg.train_for_env_steps = 0  # looked at next, see Runner._after_training_iteration


def command_line(folder: str, workers: int, others: list[str]) -> list[str]:
    """Sample Factory's, for the work that everyone does; `others` come last and so count."""
    settings = {
        **SETTINGS,
        "env": NAME,
        "experiment": NAME,
        "train_dir": folder,
        "device": "cpu",
        "seed": "0",
        "use_rnn": "False",
        "num_workers": str(workers),
        "batch_size": str(MINIBATCH_SIZE),
        "num_batches_per_epoch": str(CYCLE_STEPS // MINIBATCH_SIZE),
        "num_epochs": str(NUM_EPOCHS),
        "train_for_env_steps": str(10**12),
        "keep_checkpoints": "1000",
    }
    named = [f"--{name}={value}" for name, value in settings.items()]
    return [*named, "--encoder_mlp_layers", *HIDDEN, *others]


def checked(folder: Path) -> tuple[int, Learnt, Learnt]:
    """Cycles between the first and the last checkpoint, and where learning stood at both."""
    paths = sorted(folder.glob("checkpoint_p0/checkpoint_*.pth"))
    # Written by this run a moment ago. They hold NumPy's numbers, which would not count as weights.
    first, last = (torch.load(path, weights_only=False) for path in (paths[0], paths[-1]))
    cycles = (last["env_steps"] - first["env_steps"]) // CYCLE_STEPS
    return cycles, _learnt(first), _learnt(last)


def _learnt(checkpoint: dict[str, Any]) -> Learnt:
    trained = {name: value for name, value in checkpoint["model"].items() if "normalizer" not in name}
    return Learnt.of(trained.values(), checkpoint["optimizer"])


def main() -> None:
    """Train until the window closes, and write down the timing."""
    parser = run_parser(f"{__doc__} Further arguments go to Sample Factory.")
    parser.add_argument("--games", type=int, default=GAMES_PER_ENV, help="games per environment")
    arguments, others = parser.parse_known_args()
    workers = len(os.sched_getaffinity(0))
    register_env(NAME, partial(make_env, arguments.games))
    window = Window(arguments.steps)
    with tempfile.TemporaryDirectory() as folder:
        command = command_line(folder, workers, others)
        its_parser, _ = parse_sf_args(command)
        _, runner = make_runner(parse_full_cfg(its_parser, command))
        runner.register_observer(_Stopwatch(window))
        status = runner.init()
        if status == ExperimentStatus.SUCCESS:
            status = runner.run()
        if status != ExperimentStatus.SUCCESS or not window.closed:
            sys.exit(f"training ended early with status {status}")
        cycles, before, after = checked(Path(folder) / NAME)
    Timing(
        cycles=window.cycles,
        seconds=window.seconds,
        checked_cycles=cycles,
        gradient_steps=after.gradient_steps_since(before),
        parameters=len(after.parameters),
        settings={"command line": command, "games per env": arguments.games},
        versions={name: version(name) for name in ("sample-factory", "torch", "numpy", "gymnasium")},
    ).write(arguments.result)


if __name__ == "__main__":
    main()
