"""One timed run of Stable-Baselines3's PPO on the 115 state features."""

from __future__ import annotations

import os
from importlib.metadata import version

import torch
from feature_games import make_games
from learning import Learnt
from sb3_games import NETWORKS, FeatureVecEnv
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from work import CYCLE_STEPS, MINIBATCH_SIZE, NUM_EPOCHS, Timing, Window, run_parser

NUM_ENVS = 256


class _Stopwatch(BaseCallback):
    """Ends training when the window closes. A rollout's start is the end of the cycle before it."""

    def __init__(self, window: Window) -> None:
        super().__init__()
        self._window = window
        self._started = False
        self.before: Learnt | None = None

    def _on_rollout_start(self) -> None:
        if self._started:
            self._window.cycle_ended()
            if self._window.opens:
                self.before = learnt(self.model)
        self._started = True

    def _on_step(self) -> bool:
        return not self._window.closed


def learnt(model: PPO) -> Learnt:
    """Where the learning of `model` stands."""
    return Learnt.of(model.policy.parameters(), model.policy.optimizer.state_dict())


def main() -> None:
    """Train until the window closes, and write down the timing."""
    parser = run_parser(__doc__)
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--networks", choices=NETWORKS, default="shared")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    workers = len(os.sched_getaffinity(0))
    window = Window(arguments.steps)
    stopwatch = _Stopwatch(window)
    env = FeatureVecEnv(make_games(NUM_ENVS, workers, seed=0))
    try:
        model = PPO(
            "MlpPolicy",
            env,
            n_steps=CYCLE_STEPS // NUM_ENVS,
            batch_size=MINIBATCH_SIZE,
            n_epochs=NUM_EPOCHS,
            policy_kwargs=NETWORKS[arguments.networks],
            device="cpu",
            seed=0,
        )
        model.learn(10**12, callback=stopwatch)
    finally:
        env.close()
    assert stopwatch.before is not None
    after = learnt(model)
    Timing(
        cycles=window.cycles,
        seconds=window.seconds,
        checked_cycles=window.cycles,
        gradient_steps=after.gradient_steps_since(stopwatch.before),
        parameters=len(after.parameters),
        settings={
            "envs": NUM_ENVS,
            "workers": workers,
            "torch threads": arguments.threads,
            "networks": arguments.networks,
        },
        versions={name: version(name) for name in ("stable-baselines3", "torch", "numpy", "gymnasium")},
    ).write(arguments.result)


if __name__ == "__main__":
    main()
