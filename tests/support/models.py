"""Real policies on the toy environment, and batches of observations for them."""

from __future__ import annotations

import torch

from support.seeds import numbered_seeds
from tedg.config.compose import compose
from tedg.learn.setup import make_env, make_hypergraph, make_policy

FUSIONS = ("concat", "cross_attn", "cross_attn_dense")
STAGES = ("warmup", "transition", "finetune")


def toy(*overrides):
    """(config, environment, policy) of a composed configuration on the toy environment."""
    config = compose(["env=fake", "device=cpu", "logger=none", *overrides]).config
    env = make_env(config, numbered_seeds)
    policy = make_policy(config, env, make_hypergraph(config), torch.device("cpu"))
    return config, env, policy


def batch(env, policy, steps=8):
    """A batch of observations that random legal actions lead to."""
    observation = env.reset()
    rows = []
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        rows.append(observation.select(policy.inputs).to("cpu"))
        legal = torch.as_tensor(observation.mask).float()
        action = torch.multinomial(legal, 1, generator=generator).squeeze(1)
        observation = env.step(action.numpy()).observation
    names = [name for name, _ in rows[0].items()]
    return type(rows[0])(**{n: torch.cat([getattr(row, n) for row in rows]) for n in names})
