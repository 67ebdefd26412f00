"""Makes a run's device, environments and policy from its configuration."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict

import torch

from tedg.config.instantiate import build
from tedg.config.run_config import RunConfig
from tedg.envs.observation import VectorEnv
from tedg.envs.seeds import training_seeds
from tedg.errors import ConfigError
from tedg.heap import keep_freed_memory
from tedg.hypergraph.schema import Hypergraph, load_hypergraph
from tedg.learn.stages import make_schedule
from tedg.models.build import build_policy
from tedg.models.policy import MoEPolicy


def make_device(config: RunConfig) -> torch.device:
    """The device to learn on; `auto` takes a GPU where there is one. ConfigError for a missing GPU."""
    found = torch.cuda.is_available()
    if config.device == "cuda" and not found:
        raise ConfigError("device=cuda: torch finds no GPU; use device=auto or device=cpu")
    device = torch.device(("cuda" if found else "cpu") if config.device == "auto" else config.device)
    if config.precision == "tf32" and device.type == "cpu":
        raise ConfigError("precision=tf32: needs a GPU; use float32 or bfloat16")
    if device.type == "cuda":  # torch would round the inputs of convolutions unasked
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = config.precision == "tf32"
    return device


def set_threads(config: RunConfig) -> int:
    """Have torch leave the cores to the learner, and return how many it may use (`learner_threads`).

    torch itself gets one: operations are too small to be split, so minibatches are (see `Shards`), and
    while the policy acts the other cores play the games. Tensors use memory that others gave back.
    """
    torch.set_num_threads(1)
    keep_freed_memory()
    return learner_threads(config)


def learner_threads(config: RunConfig) -> int:
    """How many cores the learner may use: `threads`, or all that this process may use."""
    return config.threads or len(os.sched_getaffinity(0))


def make_hypergraph(config: RunConfig) -> Hypergraph:
    """The hypergraph that the environment names."""
    return load_hypergraph(config.env["hypergraph"])


def make_env(config: RunConfig, seeds: Callable[[int, int], int], num_envs: int | None = None) -> VectorEnv:
    """The configured vector of environments; `seeds(env, episode)` names each game before it starts."""
    node = {**config.env, "num_envs": num_envs or config.env["num_envs"]}
    env: VectorEnv = build(node, seeds=seeds)
    return env


def try_parts(config: RunConfig) -> None:
    """Build every part once, before anything is started; ConfigError where one refuses its settings.

    torch gets no threads for it: a sweep forks its cells from this process.
    """
    torch.set_num_threads(1)
    env = make_env(config, training_seeds(config.seed), num_envs=1)
    try:
        make_policy(config, env, make_hypergraph(config), torch.device("cpu"))
    finally:
        env.close()


def make_policy(config: RunConfig, env: VectorEnv, hypergraph: Hypergraph, device: torch.device) -> MoEPolicy:
    """The configured policy, initialised from the run's seed alone."""
    torch.manual_seed(config.seed)
    nodes = {
        "vision": config.vision,
        "logic": config.logic,
        "fusion": config.fusion,
        "policy": asdict(config.policy),
    }
    stages, _ = make_schedule(config)
    with_router = any(stage.routing.source == "router" for stage in stages)
    policy = build_policy(nodes, env.spec, hypergraph, with_router).to(device)
    policy.mixed_precision = config.precision == "bfloat16"
    if config.compile:
        policy.compile_parts()
    return policy
