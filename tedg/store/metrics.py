"""What every logged figure is: its name, meaning, unit and window. docs/metrics.md is made of this."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

# Earlier versions called entropies losses. Their rows and records are read under the names of today.
RENAMED = {"loss/entropy": "policy/entropy", "loss/alpha_entropy": "router/soft_entropy"}
ENTROPIES = tuple(RENAMED.values())


def renamed(row: Mapping[str, T]) -> dict[str, T]:
    """A row of figures by the names of today."""
    return {RENAMED.get(name, name): value for name, value in row.items()}


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure, or a family of figures: a part of its name in <angle brackets> stands for many."""

    name: str
    meaning: str
    unit: str
    window: str

    def matches(self, name: str) -> bool:
        """Whether a figure of this name is one of these."""
        pattern = "".join(
            r"[\w.-]+" if part.startswith("<") else re.escape(part)
            for part in re.split(r"(<\w+>)", self.name)
        )
        return re.fullmatch(pattern, name) is not None


@dataclass(frozen=True, slots=True)
class Group:
    """Figures that lie in one place."""

    title: str
    place: str
    metrics: tuple[Metric, ...]

    def strange(self, row: Mapping[str, Any]) -> list[str]:
        """Names in a row that are no figures of this group."""
        return [name for name in row if not any(metric.matches(name) for metric in self.metrics)]


_EPISODES = "last 100 training episodes"
_ROLLOUT = "the update's rollout"
_PROBE = "first minibatch, before its gradient step"
_STEPS = "mean over the update's minibatches"
_NOW = "at the update"
_SO_FAR = "since the run began"
_NATS = "nats"
_LEVEL = "dungeon level"

UPDATES = Group(
    "Every update",
    """\
A row of `metrics.jsonl` has them, and every tracker draws them over `env_steps` (`total_env_steps` where a
run begins with another one's weights). A figure is missing where a policy has no such part. An update that
was undone (`train/rollbacks` grew) has no figures of minibatches. `null` stands for NaN and infinities.""",
    (
        Metric("update", "number of the update, from 1", "count", _SO_FAR),
        Metric("env_steps", "steps of all environments together", "env steps", _SO_FAR),
        Metric(
            "total_env_steps",
            "the same, with those of runs its weights come from",
            "env steps",
            "all runs",
        ),
        Metric("episodes", "training episodes that have ended", "count", _SO_FAR),
        Metric("stage", "stage of the curriculum", "name", _NOW),
        Metric("stage/number", "its place in this run's stages, from 0", "count", _NOW),
        Metric("stage/temperature", "what router logits are divided by", "1", _NOW),
        Metric(
            "stage/border_kl",
            "KL(policy by the old stage's settings, by the new one's), in the first update of a stage",
            _NATS,
            "last states of the rollout before",
        ),
        Metric("lost/episodes", "episodes lost with the process that played them", "count", _SO_FAR),
        Metric("lost/processes", "processes that were lost and replaced", "count", _SO_FAR),
        Metric("rollout/mean_return", "mean sum of an episode's rewards", "raw reward", _EPISODES),
        Metric("rollout/best_return", "largest of them", "raw reward", _EPISODES),
        Metric(
            "rollout/mean_score", "mean in-game score at the last living observation", "points", _EPISODES
        ),
        Metric("rollout/best_score", "largest of them", "points", _EPISODES),
        Metric("rollout/nonzero_score_share", "episodes with a score above 0", "share", _EPISODES),
        Metric("rollout/episode_length", "mean length", "env steps", _EPISODES),
        Metric("rollout/deepest", "deepest level that one of them reached", _LEVEL, _EPISODES),
        Metric("rollout/deaths", "episodes that ended with a death", "share", _EPISODES),
        Metric(
            "rollout/mean_reward",
            "mean reward of a step, with `env.exploration_bonus`",
            "raw reward",
            _ROLLOUT,
        ),
        Metric("rollout/finished_episodes", "episodes that ended", "count", _ROLLOUT),
        Metric("policy/entropy", "entropy of the policy over legal actions", _NATS, _STEPS),
        Metric("router/entropy", "E[H(alpha)]: how undecided the router is in a state", _NATS, _PROBE),
        Metric("router/usage_entropy", "H(E[alpha]): how evenly all states use the experts", _NATS, _PROBE),
        Metric("router/specialisation", "I(expert; state): usage entropy minus entropy", _NATS, _PROBE),
        Metric("router/dead_experts", "experts with a mean share below 0.01", "count", _PROBE),
        Metric("router/usage_<k>", "mean share of expert k in the policy", "share", _PROBE),
        Metric(
            "router/soft_entropy",
            "entropy of the softmax of the router's logits; losses read that, whatever the routing",
            _NATS,
            _STEPS,
        ),
        Metric("attention/sparsity", "weights below 0.1 / number of keys", "share", _PROBE),
        Metric("attention/sparsity_0.01", "weights below 0.01", "share", _PROBE),
        Metric("attention/effective_keys", "1 / Σ A²: from 1 to the number of keys", "keys", _PROBE),
        Metric("attention/entropy", "entropy of a head's weights over keys", _NATS, _PROBE),
        Metric(
            "attention/kept_similarity",
            "Jaccard overlap of the keys that the gate keeps in two states, mean over pairs",
            "share",
            _PROBE,
        ),
        Metric("context/norm", "mean length of the context vector", "1", _PROBE),
        Metric("context/drift", "the same over that of the first update", "ratio", _PROBE),
        Metric("train/learning_rate", "of the optimiser", "1", _NOW),
        Metric("train/rollbacks", "updates that were undone", "count", _SO_FAR),
        Metric(
            "train/initial_log_ratio",
            "mean |log ratio| between the policy that learns and the one that acted; above 1e-5 they differ",
            _NATS,
            _PROBE,
        ),
        Metric("train/kl", "E[r - 1 - log r], r being new over old probability of the action", _NATS, _STEPS),
        Metric("train/clip_fraction", "samples whose ratio is outside the clip range", "share", _STEPS),
        Metric(
            "train/explained_variance",
            "1 - Var(target - value) / Var(target): 1 is a perfect value function, 0 a constant",
            "1",
            _ROLLOUT,
        ),
        Metric("gradient/norm", "norm of the whole gradient before it is clipped", "1", _STEPS),
        Metric(
            "gradient/<part>",
            "the same of `router`, or of a parameter that decides where attention looks (`W_Q`, `W_K`)",
            "1",
            _STEPS,
        ),
        Metric("loss/policy", "PPO's clipped loss of the policy", "1", _STEPS),
        Metric("loss/value", "½ (value - target)², in normalised rewards", "1", _STEPS),
        Metric(
            "loss/<auxiliary>",
            "one of the auxiliary losses, not weighted (`tedg/learn/losses.py` has a function of each name)",
            "1; alignment: nats",
            _STEPS,
        ),
        Metric(
            "loss/total",
            "what is minimised: all of them weighted, less the entropies with their weights",
            "1",
            _STEPS,
        ),
    ),
)

TIMES = Group(
    "Every update, by the clock",
    """\
A row of `timing.jsonl` has them, so that `metrics.jsonl` of two equal runs is equal. Trackers draw both.""",
    (
        Metric("update", "as in `metrics.jsonl`", "count", _SO_FAR),
        Metric("env_steps", "as in `metrics.jsonl`", "env steps", _SO_FAR),
        Metric("time/env", "waiting for games", "seconds", _ROLLOUT),
        Metric("time/policy", "choosing actions", "seconds", _ROLLOUT),
        Metric("time/learning", "minibatches and advantages", "seconds", "the update"),
        Metric("time/storage", "writing rows and a checkpoint", "seconds", "the update before"),
        Metric("time/steps_per_second", "env steps over all but storage", "env steps / second", "the update"),
    ),
)

_GAMES = "all games asked for"
HELD_OUT = Group(
    "Held-out games",
    """\
Under `evaluation` in `result.json`, by player; trackers have them as `held_out/<player>/<name>`, at the last
env step. `<player>` is `policy`, or one of the yardsticks in `eval.players`.""",
    (
        Metric("games", "games that count: all but the lost ones", "count", _GAMES),
        Metric("lost", "games lost with the process that played them", "count", _GAMES),
        Metric("mean_score", "mean in-game score of the last living observation", "points", _GAMES),
        Metric("standard_error", "of the mean score, over games", "points", _GAMES),
        Metric("low", "lower end of the mean score's 95 % interval over games", "points", _GAMES),
        Metric("high", "upper end of it", "points", _GAMES),
        Metric("median_score", "median score", "points", _GAMES),
        Metric("best_score", "largest score", "points", _GAMES),
        Metric("nonzero_share", "games with a score above 0", "share", _GAMES),
        Metric("mean_return", "mean sum of a game's rewards", "raw reward", _GAMES),
        Metric("mean_length", "mean length", "env steps", _GAMES),
        Metric("deepest", "deepest level of any game", _LEVEL, _GAMES),
        Metric("deaths", "games that ended with a death", "count", _GAMES),
    ),
)

_STATES = "states of the policy's held-out games"
_SOME = "512 of these states"
LIVENESS = Group(
    "Is every part at work?",
    "Under `liveness` in `result.json`, from the trained policy. `missing` says why a figure is not there.",
    (
        Metric(
            "gradient/<part>",
            "norm of the gradient of the mean log-probability of sampled actions in the same parts as above",
            "1",
            _STATES,
        ),
        Metric("router/one_hot", "states in which one expert acts alone", "share", _STATES),
        Metric("attention/keys", "keys that there are", "keys", _STATES),
        Metric("attention/kept_keys", "keys with a weight above 0", "keys", _STATES),
        Metric("attention/effective_keys", "1 / Σ A²", "keys", _STATES),
        Metric(
            "attention/promised_keys",
            "keys that the gate promises; null where scores decide",
            "keys",
            "-",
        ),
        Metric(
            "attention/variation",
            "standard deviation of a weight over states, mean over weights: 0 where attention is blind",
            "1",
            _STATES,
        ),
        Metric(
            "influence/<stream>",
            "KL(policy, policy with the inputs of `vision`, `logic` or the `map` taken from another state)",
            _NATS,
            _STATES,
        ),
        Metric("missing", "why influence or variation is not there", "text", "-"),
    ),
)

MODALITY = Group(
    "What moves the policy?",
    """\
Under `modality` in `result.json`; [evaluation.md](evaluation.md#what-moves-a-policy) says how each is
measured. `null` where a policy has no such part, or states do not tell.""",
    (
        Metric("states", "states that were asked", "count", _STATES),
        Metric("alone", "states left out: no other one has their level and turn", "count", _STATES),
        Metric("kl/<stream>", "KL(policy, policy with that stream of another state)", _NATS, _STATES),
        Metric("share/vision", "vision's part of the two", "share", _STATES),
        Metric("value/<stream>", "mean |change of the value| by the same", "normalised reward", _STATES),
        Metric("router/specialisation", "I(expert; state)", _NATS, _STATES),
        Metric("router/effective_experts", "exp H(E[alpha])", "experts", _STATES),
        Metric("router/switch_rate", "steps after which another expert is on top", "share", _STATES),
        Metric("router/switch_chance", "the same, if each step drew its top expert anew", "share", _STATES),
        Metric("deletion/top", "KL(policy, policy without its most attended keys)", _NATS, _SOME),
        Metric("deletion/random", "KL(policy, policy without random kept keys)", _NATS, _SOME),
        Metric("deletion/keys", "keys that were deleted in a head", "keys", _SOME),
        Metric("effects/promised", "effects that the best operators promised", "count", _STATES),
        Metric("effects/came_true", "of these, true after the next step", "share", _STATES),
        Metric("effects/base_rate", "the same effects after any step", "share", _STATES),
    ),
)

GROUPS = (UPDATES, TIMES, HELD_OUT, LIVENESS, MODALITY)


_HEAD = """\
# Metrics

What each logged figure is, its unit, and what it is taken over. This page is made of
`tedg/store/metrics.py`, and a test holds what runs log to it.

`alpha` are the experts' shares in a state. A share goes from 0 to 1; the unit 1 is a number without one.
Entropies are no losses: the policy's is rewarded, and a stage may reward the router's or charge for it.
Earlier versions had other names, and their runs are read by today's:
"""


def page() -> str:
    """docs/metrics.md."""
    old = ", ".join(f"`{before}` is `{now}`" for before, now in RENAMED.items())
    lines = [f"{_HEAD}{old}."]
    for group in GROUPS:
        lines += ["", f"## {group.title}", "", group.place, "", "| name | what it is | unit | over |"]
        lines += ["|---|---|---|---|"]
        for one in group.metrics:
            meaning = one.meaning.replace("|", "\\|")
            lines.append(f"| `{one.name}` | {meaning} | {one.unit} | {one.window} |")
    return "\n".join(lines) + "\n"
