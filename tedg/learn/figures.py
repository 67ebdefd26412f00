"""The figures of one update, by their names in metrics.jsonl."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from tedg.envs.observation import EpisodeEnd
from tedg.learn.ppo import explained_variance
from tedg.learn.rollout import Rollout
from tedg.learn.stages import Settings
from tedg.models.policy import MoEPolicy, PolicyOutput, masked_log_probs
from tedg.watch import diagnostics


def episode_figures(episodes: Sequence[EpisodeEnd]) -> dict[str, float]:
    """Means and bests over finished episodes, in raw game units; empty for no episodes."""
    if not episodes:
        return {}
    returns = [e.episode_return for e in episodes]
    scores = [e.score for e in episodes]
    return {
        "mean_return": float(np.mean(returns)),
        "best_return": float(max(returns)),
        "mean_score": float(np.mean(scores)),
        "best_score": float(max(scores)),
        "nonzero_score_share": float(np.mean([s > 0 for s in scores])),
        "episode_length": float(np.mean([e.length for e in episodes])),
        "deepest": float(max(e.depth for e in episodes)),
        "deaths": float(np.mean([e.end == "death" for e in episodes])),
    }


def recent_figures(episodes: Sequence[EpisodeEnd]) -> dict[str, float]:
    """`episode_figures` of the last 100 finished episodes, because an update may finish none."""
    return {f"rollout/{name}": value for name, value in episode_figures(episodes[-100:]).items()}


def rollout_figures(rollout: Rollout) -> dict[str, float]:
    """Figures of the value function and the rewards of a rollout."""
    assert rollout.value_target is not None
    return {
        "train/explained_variance": explained_variance(rollout.value, rollout.value_target),
        "rollout/mean_reward": float(rollout.reward.mean()),
        "rollout/finished_episodes": float(len(rollout.episodes)),
    }


def policy_figures(probe: PolicyOutput) -> dict[str, float]:
    """Figures of router, attention and context on one minibatch of states."""
    figures = diagnostics.router_figures(probe.alpha)
    figures["context/norm"] = float(probe.context_vector.norm(dim=1).mean())
    if probe.attention_weights is not None:
        figures |= diagnostics.attention_figures(probe.attention_weights)
    return figures


@torch.no_grad()
def border_kl(policy: MoEPolicy, rollout: Rollout, before: Settings, after: Settings) -> float:
    """KL(policy at the end of a stage || same weights at the start of the next), nats, mean over states."""
    observation = rollout.observation.map(lambda x: x[-1])
    old, new = (
        masked_log_probs(policy(observation, s.routing, s.temperature).policy_logits, observation.mask)
        for s in (before, after)
    )
    return float((old.exp() * (old - new)).sum(dim=1).mean())
