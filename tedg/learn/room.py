"""Whether a run fits this machine, asked before anything is made: memory, and open files.

The estimates are of what surely is needed, so that nothing is refused that could work.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import torch

from tedg.config.instantiate import locate
from tedg.config.run_config import RunConfig
from tedg.envs.memory import GameMemory
from tedg.envs.open_files import most_games
from tedg.envs.seeds import held_out_seeds
from tedg.errors import ConfigError
from tedg.learn.setup import make_env
from tedg.processes import free_memory

GIB = 2**30
_WEIGHT = 16  # bytes: itself, its gradient, and two averages of Adam, in float32
_GAME = 300  # bytes of a held-out game in memory, at least
_SMALL = 2**14  # bytes; no step of an environment of ours takes more


def require_room(config: RunConfig, device: torch.device) -> None:
    """Raises ConfigError, in one line with a number that would do, where memory or files are too few."""
    free = free_memory()
    for key, value, need in _needs(config):
        if need > free:
            raise ConfigError(f"{key}={value}: {_too_much(need, free)}; at most {int(value * free / need)}")
    _require_rollout(config, device, free)
    _require_files(config)


def _needs(config: RunConfig) -> Iterator[tuple[str, int, int]]:
    """(key, value, bytes that it takes at least) of single settings that can be far too large."""
    rows = config.ppo.minibatch_size
    policy = config.policy
    layers: dict[str, tuple[tuple[int, ...], int]] = {
        "policy.router_hidden": (policy.router_hidden, 1),
        "policy.expert_hidden": (policy.expert_hidden, policy.num_experts),
        "policy.critic_hidden": (policy.critic_hidden, 1),
    }
    for key, (sizes, copies) in layers.items():
        before = 1
        for place, size in enumerate(sizes):
            need = size * copies * (before * _WEIGHT + 4 * rows)
            yield ("policy.num_experts", copies, need) if copies > size else (f"{key}[{place}]", size, need)
            before = size
    for group in ("vision", "logic", "fusion"):
        for name, size in getattr(config, group).items():
            if name.endswith("_dim") or name in ("channels", "num_heads"):
                yield f"{group}.{name}", size, size * _WEIGHT
    yield "eval.games", config.eval.games, config.eval.games * _GAME * (1 + len(config.eval.players))


def _require_rollout(config: RunConfig, device: torch.device, free: int) -> None:
    """Games, and the rollout of all of them, which on a GPU lies in its memory."""
    envs, steps = config.env["num_envs"], config.ppo.num_steps
    if envs * (steps + 1) * _SMALL < free and device.type == "cpu":
        return  # surely fits: no need to make an environment
    game, kept = _bytes_per_step(config)
    step = kept + 4 * (8 + 3 * config.policy.num_experts)  # with what the policy did and what came of it
    if device.type == "cuda":
        _require_envs(config, game, 0, free, "memory")
        _require_envs(config, 0, step, int(torch.cuda.mem_get_info(device)[0]), "GPU memory")
    else:
        _require_envs(config, game, step, free, "memory")


def _require_envs(config: RunConfig, game: int, step: int, free: int, kind: str) -> None:
    envs, steps = config.env["num_envs"], config.ppo.num_steps
    need = envs * (game + (steps + 1) * step)
    if need <= free:
        return
    fitting = [f"env.num_envs={free // (game + (steps + 1) * step)}"]
    if step and (most := (free // envs - game) // step - 1) > 0:
        fitting.append(f"ppo.num_steps={most}")
    fitting = [setting for setting in fitting if not setting.endswith("=0")]
    raise ConfigError(
        f"env.num_envs={envs} with ppo.num_steps={steps}: {_too_much(need, free, kind)}; "
        f"at most {' or '.join(fitting) or 'less of both'} fits"
    )


def _bytes_per_step(config: RunConfig) -> tuple[int, int]:
    """Bytes of a running game in memory, and of one of its observations as far as this policy reads it."""
    env = make_env(config, held_out_seeds(config.eval.first_seed, 1, 1), 1)
    env.close()
    size = GameMemory.size(env.spec, 1)
    observation = GameMemory.over(np.zeros(size, np.uint8).data, env.spec, 1).observations[0]
    read = {"mask", "state"}
    for part in (config.vision, config.logic, config.fusion):
        names = getattr(locate(part["_target_"]), "inputs", ())
        read |= set(names) if isinstance(names, tuple) else set()
    return size, sum(np.asarray(value).nbytes for name, value in observation.items() if name in read)


def _require_files(config: RunConfig) -> None:
    """Only NetHack's environment has workers, and its games hold files."""
    if "num_workers" not in config.env or (most := most_games()) is None:
        return
    envs, workers = config.env["num_envs"], config.env["num_workers"]
    processes = max(len(os.sched_getaffinity(0)) if workers is None else workers, 1)
    games = -(-envs // processes)  # of the process that plays most
    if games > most:
        raise ConfigError(
            f"env.num_envs={envs}: with env.num_workers={workers} one process plays {games} games, and the "
            f"limit of open files (ulimit -Hn) lets it play {most}; at most {most * processes}"
        )


def _too_much(need: int, free: int, kind: str = "memory") -> str:
    return f"needs {need / GIB:,.1f} GiB of {kind} or more, and {free / GIB:,.1f} GiB are free"
