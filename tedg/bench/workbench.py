"""Everything that a training loop consists of, made from a configuration as the trainer makes it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import torch

from tedg.config.run_config import RunConfig
from tedg.envs.observation import VectorEnv
from tedg.envs.seeds import training_seeds
from tedg.learn.capture import Capture, make_capture
from tedg.learn.ppo import Learner
from tedg.learn.rollout import Collector, Rollout
from tedg.learn.setup import make_device, make_env, make_hypergraph, make_policy, set_threads
from tedg.learn.stages import Settings, make_schedule
from tedg.models.policy import MoEPolicy


@dataclass(frozen=True, slots=True)
class Workbench:
    """The parts of a training loop, under the settings at the start of the first stage."""

    device: torch.device
    env: VectorEnv
    policy: MoEPolicy
    capture: Capture
    collector: Collector
    learner: Learner
    settings: Settings

    def collect(self) -> Rollout:
        """The next rollout."""
        rollout = self.collector.collect(self.settings)
        self.synchronise()
        return rollout

    def update(self, rollout: Rollout) -> None:
        """Learn from a rollout; raises RuntimeError for an update that was rolled back."""
        fault = self.learner.update(rollout, self.settings).fault
        self.synchronise()
        if fault is not None:
            raise RuntimeError(f"the update was rolled back: {fault}")

    def synchronise(self) -> None:
        """Wait for a GPU; the CPU is done at once."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


@contextmanager
def workbench(config: RunConfig) -> Iterator[Workbench]:
    """A workbench whose processes end with the block."""
    device = make_device(config)
    threads = set_threads(config) if device.type == "cpu" else 1
    with ExitStack() as closing:
        env = make_env(config, training_seeds(config.seed))
        closing.callback(env.close)
        policy = make_policy(config, env, make_hypergraph(config), device)
        sampling = torch.Generator(device).manual_seed(config.seed)
        minibatches = torch.Generator().manual_seed(config.seed)
        capture = make_capture(device, config.cuda_graphs, partial(print, file=sys.stderr))
        learner = Learner(policy, config.ppo, env.num_envs, minibatches, threads, capture)
        closing.callback(learner.close)
        yield Workbench(
            device=device,
            env=env,
            policy=policy,
            capture=capture,
            collector=Collector(env, policy, config.ppo.num_steps, device, sampling, capture=capture),
            learner=learner,
            settings=make_schedule(config)[0][0].settings(0),
        )
