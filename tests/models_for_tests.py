"""Small real policies and batches for the tests of models and learner."""

from __future__ import annotations

import torch

from tedg.compose import compose
from tedg.learn.setup import make_env, make_hypergraph, make_policy

FUSIONS = ("concat", "cross_attn", "cross_attn_dense")
STAGES = ("warmup", "transition", "finetune")
# Narrow layers and short rollouts: what is tested does not depend on width.
SMALL = (
    "logic.output_dim=16",
    "vision.token_dim=8",
    "vision.head_dim=16",
    "policy.router_hidden=[16]",
    "policy.expert_hidden=[16]",
    "policy.critic_hidden=[16]",
    "ppo.num_steps=16",
    "ppo.num_epochs=1",
    "ppo.minibatch_size=32",
)


def seeds(env, episode):
    return 1000 * env + episode


def toy(*overrides):
    """(config, environment, policy) of a composed configuration on the toy environment."""
    config = compose(["env=fake", "device=cpu", "logger=none", *overrides]).config
    env = make_env(config, seeds)
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
