"""The check after a run: what its records say about its health, line by line, with what to try.

Everything is read from a run directory, so that a finished run can be judged again, by other thresholds
too. A line passes, fails, cannot tell (inconclusive), or is about something that the run does not have.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from tedg.config.run_config import CheckConfig
from tedg.store.metrics import ENTROPIES
from tedg.watch import remedies
from tedg.watch.evidence import Evidence
from tedg.watch.trends import Sample, difference, first_and_last_games, last_third, trend

Verdict = Literal["pass", "fail", "inconclusive", "not applicable"]
ROUNDING = 1e-3  # relative; figures are means of float32 over many states


@dataclass(frozen=True, slots=True)
class Line:
    """One question about a run and its answer."""

    name: str
    verdict: Verdict
    figures: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """All lines of a check."""

    lines: tuple[Line, ...]
    thresholds: CheckConfig

    @property
    def failed(self) -> int:
        """How many lines failed."""
        return sum(line.verdict == "fail" for line in self.lines)

    def text(self) -> Iterator[str]:
        """The table for people."""
        for line in self.lines:
            shown = line.verdict.upper() if line.verdict == "fail" else line.verdict
            yield f"{shown:<16}{line.name:<31}{line.figures}"
            if line.remedy is not None:
                yield f"{'':<47}{line.remedy}"
        counts = Counter(line.verdict for line in self.lines)
        yield ", ".join(f"{counts[verdict]} {verdict}" for verdict in get_args(Verdict))

    def content(self) -> dict[str, Any]:
        """The same for a JSON file."""
        return {
            "passed": not self.failed,
            "thresholds": asdict(self.thresholds),
            "lines": [asdict(line) for line in self.lines],
        }


def judge(evidence: Evidence, limits: CheckConfig) -> Report:
    """Every line of the check, most basic first."""
    score = _score(evidence, limits)
    more_rewards = score.verdict == "pass"
    lines = [
        _finite(evidence),
        _loss(evidence, limits, "value loss falls", "loss/value", more_rewards),
        _total_loss(evidence, limits, more_rewards),
        _gradient(evidence, limits),
        _ratio(evidence, limits),
        _experts(evidence, limits),
        _router_entropy(evidence, limits),
        _policy_entropy(evidence, limits),
        *_attention(evidence, limits),
        _influence(evidence, limits),
        score,
        _explained_variance(evidence, limits),
    ]
    return Report(tuple(lines), limits)


def _finite(evidence: Evidence) -> Line:
    name = "no NaN, no rollback"
    # JSON has no NaN: the tables hold null. Other figures may be undefined for good reasons.
    bad = sorted(
        {
            key
            for row in evidence.rows
            for key, value in row.items()
            if value is None and key.startswith(("loss/", "gradient/", *ENTROPIES))
        }
    )
    rollbacks = int(evidence.result.get("rollbacks", 0))
    figures = f"{rollbacks} rollbacks in {evidence.result.get('updates', len(evidence.rows))} updates"
    if bad:
        figures += f"; not finite: {', '.join(bad)}"
    if evidence.diverged:
        figures += "; the run diverged"
    elif not bad and not rollbacks:
        return Line(name, "pass", figures)
    return Line(name, "fail", figures, evidence.remedies.slower())


def _loss(evidence: Evidence, limits: CheckConfig, name: str, key: str, more_rewards: bool) -> Line:
    """A fall passes. A rise fails if it is large, unless the policy finds more rewards: then there is more
    to predict, and errors grow with it.
    """
    found = trend(values := evidence.series(key))
    if found is None:
        return Line(name, "inconclusive", f"{len(values)} updates are too few", evidence.longer())
    figures = f"median of the updates' first third {found.first:.3g}, last third {found.last:.3g}"
    if found.p_falls < limits.max_p_value:
        return Line(name, "pass", f"{figures} (p {found.p_falls:.2g})")
    grown = found.last - found.first > limits.max_loss_growth * abs(found.first)
    if found.p_rises < limits.max_p_value and grown:
        figures += f" (p {found.p_rises:.2g})"
        if more_rewards:
            return Line(name, "inconclusive", f"{figures}, as the score does")
        return Line(name, "fail", figures, evidence.remedies.slower())
    return Line(name, "inconclusive", f"{figures} (p of a fall {found.p_falls:.2g})", evidence.longer())


def _total_loss(evidence: Evidence, limits: CheckConfig, more_rewards: bool) -> Line:
    """The weighted sum says something only where the weights stay: entropies are part of it."""
    name = "total loss falls"
    first, last = evidence.stage["alpha_entropy_coef"]
    if len({row["stage"] for row in evidence.rows}) > 1 or first != last:
        return Line(name, "not applicable", "its weights change during the run")
    return _loss(evidence, limits, name, "loss/total", more_rewards)


def _gradient(evidence: Evidence, limits: CheckConfig) -> Line:
    """After the first third: a spike while running statistics still form is no illness, and is clipped."""
    values = evidence.series("gradient/norm")
    settled = values[len(values) // 3 :]
    return _bounded("gradient norm", settled, limits.max_grad_norm, evidence.remedies.slower())


def _ratio(evidence: Evidence, limits: CheckConfig) -> Line:
    remedy = evidence.remedies.same_policy()
    values = evidence.series("train/initial_log_ratio")
    return _bounded("ratio 1 before learning", values, limits.max_log_ratio, remedy)


def _bounded(name: str, values: Sequence[float], limit: float, remedy: str) -> Line:
    """A figure that must stay below a limit in each of these updates."""
    if not values:
        return Line(name, "inconclusive", "no update has it")
    figures = f"at most {max(values):.3g}, limit {limit:g}"
    over = sum(value >= limit for value in values)
    if not over:
        return Line(name, "pass", figures)
    return Line(name, "fail", f"{figures}, passed in {over} of {len(values)} updates", remedy)


def _experts(evidence: Evidence, limits: CheckConfig) -> Line:
    name = "every expert used"
    series = [evidence.series(key) for key in evidence.usage_keys]
    if not all(series):
        return Line(name, "inconclusive", "no update has all shares")
    shares = [float(np.mean(last_third(values))) for values in series]
    if len(shares) < 2:
        return Line(name, "not applicable", "there is one expert")
    figures = f"shares {' '.join(f'{share:.2f}' for share in shares)}"
    if min(shares) >= limits.min_expert_share:
        return Line(name, "pass", figures)
    idle = [str(k) for k, share in enumerate(shares) if share < limits.min_expert_share]
    figures += f"; under {limits.min_expert_share:g}: {', '.join(idle)}"
    return Line(name, "fail", figures, evidence.remedies.balance())


def _router_entropy(evidence: Evidence, limits: CheckConfig) -> Line:
    name = "router entropy"
    experts = len(evidence.usage_keys)
    if experts < 2:
        return Line(name, "not applicable", "there is one expert")
    # A stage that minimises it wants it at 0.
    wanted = evidence.stage["alpha_entropy"] == "maximise"
    least = limits.min_router_entropy * math.log(experts) if wanted else 0.0
    remedy = evidence.remedies.undecided()
    return _within(evidence, name, "router/entropy", (least, math.log(experts)), remedy)


def _policy_entropy(evidence: Evidence, limits: CheckConfig) -> Line:
    name = "policy entropy"
    actions = evidence.result.get("num_actions")
    if actions is None:
        return Line(name, "inconclusive", "the number of actions was not recorded")
    most = math.log(actions)
    remedy = evidence.remedies.explore()
    return _within(evidence, name, "policy/entropy", (limits.min_policy_entropy * most, most), remedy)


def _attention(evidence: Evidence, limits: CheckConfig) -> Iterator[Line]:
    """Sparsity and effective keys against what the gate promises for the number of keys there are."""
    names = ("attention sparsity", "effective keys")
    if not evidence.series("attention/sparsity"):
        yield from (Line(name, "not applicable", "this fusion has no attention") for name in names)
        return
    alive = evidence.result.get("liveness") or {}
    keys = int(alive.get("attention/keys") or 0)
    gate = evidence.config.fusion.get("gate")
    if keys == 0:
        yield from (Line(n, "inconclusive", "keys are counted when a run is finished") for n in names)
        return
    if keys == 1 and gate is None:
        yield from (Line(n, "not applicable", "this fusion attends to one pooled token") for n in names)
        return
    if keys == 1:
        constant = "attention over one key is the constant 1"
        yield from (Line(n, "fail", constant, remedies.more_tokens()) for n in names)
        return
    if "attention/promised_keys" not in alive:
        earlier = "the result is of a version that did not write what the gate promises"
        yield from (Line(n, "inconclusive", earlier) for n in names)
        return
    promised = None if alive["attention/promised_keys"] is None else int(alive["attention/promised_keys"])
    narrow = (
        evidence.remedies.keep_more() if gate is not None and "keep" in gate else evidence.remedies.slower()
    )
    # If the scores decide how many keys stay, any number is possible.
    most, least = (promised, promised) if promised is not None else (keys, 1)
    about = f"; {promised if promised is not None else 'any number'} of {keys} keys kept"
    if least == keys:
        yield Line(names[0], "not applicable", "the gate drops nothing")
    else:
        borders = (1 - most / keys, 1 - (1 - limits.max_negligible_share) * least / keys)
        yield _within(evidence, names[0], "attention/sparsity", borders, narrow, about, hard="low")
    borders = (min(limits.min_effective_keys, most), most)
    yield _within(evidence, names[1], "attention/effective_keys", borders, evidence.remedies.slower(), about)


def _within(
    evidence: Evidence,
    name: str,
    key: str,
    borders: tuple[float, float],
    remedy: str,
    about: str = "",
    hard: Literal["low", "high"] = "high",
) -> Line:
    """A figure between two borders.

    No update can cross the `hard` one unless something is broken. A run can cross the other one and come
    back, so there the median of the last third counts.
    """
    values = evidence.series(key)
    if not values:
        return Line(name, "inconclusive", "no update has it")
    low, high = borders
    slack = ROUNDING * max(abs(high), abs(low))
    now = float(np.median(last_third(values)))
    figures = f"{now:.3g}, range {low:.3g} to {high:.3g}{about}"
    extreme, border = (max(values), high) if hard == "high" else (min(values), low)
    if (extreme - border) * (1 if hard == "high" else -1) > slack:
        return Line(name, "fail", f"{figures}; it was {extreme:.3g}", remedies.broken())
    if not low - slack <= now <= high + slack:
        return Line(name, "fail", figures, remedy)
    return Line(name, "pass", figures)


def _influence(evidence: Evidence, limits: CheckConfig) -> Line:
    """A network whose units have died acts alike in every state, though its losses fall and its entropies are
    in range. It shows when a stream's inputs are exchanged with those of other states: nothing changes.
    """
    name = "policy reads its inputs"
    found = evidence.result.get("liveness") or {}
    streams = {s: found[key] for s in ("vision", "logic") if found.get(key := f"influence/{s}") is not None}
    if not streams:
        reason = found.get("missing") or "it is measured when a run is finished"
        return Line(name, "inconclusive", str(reason))
    figures = ", ".join(f"{stream} {value:.2g}" for stream, value in streams.items())
    figures = f"influence of {figures} nats, at least {limits.min_influence:g} of one"
    if max(streams.values()) >= limits.min_influence:
        return Line(name, "pass", figures)
    return Line(name, "fail", figures, evidence.remedies.slower())


def _score(evidence: Evidence, limits: CheckConfig) -> Line:
    """The last games against the first, and held-out games against a player that picks any legal action.

    The second is the fairer comparison, because a new policy is nearly that player and all games are new.
    """
    found = {}
    config = evidence.config
    steps = int(evidence.result.get("env_steps", 0)) // config.env["num_envs"]
    first, last = first_and_last_games(evidence.episodes, steps, config.env["max_episode_steps"])
    if (early := Sample.of(first)) is not None and (late := Sample.of(last)) is not None:
        found["last games over first"] = difference(late, early, limits.confidence)
    own, other = (_held_out(evidence, player) for player in ("policy", "random_legal"))
    if own is not None and other is not None:
        found["held-out over random_legal"] = difference(own, other, limits.confidence)
    figures = "; ".join(f"{name} {gap}" for name, gap in found.items()) or "too few games"
    if any(gap.high < 0 for gap in found.values()):
        return Line("score rises", "fail", figures, evidence.remedies.slower())
    if any(gap.low > 0 for gap in found.values()):
        return Line("score rises", "pass", figures)
    return Line("score rises", "inconclusive", figures, evidence.longer())


def _held_out(evidence: Evidence, player: str) -> Sample | None:
    row = (evidence.result.get("evaluation") or {}).get(player)
    if row is None or row["standard_error"] is None:
        return None
    return Sample(row["mean_score"], row["standard_error"], row["games"])


def _explained_variance(evidence: Evidence, limits: CheckConfig) -> Line:
    """Never fails: so early, what the value function explains is mostly noise."""
    name = "explained variance (optional)"
    found = trend(values := evidence.series("train/explained_variance"))
    if found is None:
        return Line(name, "inconclusive", f"{len(values)} updates are too few")
    figures = f"median of the first third {found.first:.3g}, last third {found.last:.3g}"
    return Line(name, "pass" if found.p_rises < limits.max_p_value else "inconclusive", figures)
