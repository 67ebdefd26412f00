"""Was the part that a contrast names alive? If it was dead by construction, the contrast is void.

Dead is what shows exactly nothing in every run of an arm for which there is a figure. What is inactive in
some runs has learned to be: it is reported with its share, since leaving such runs out would choose by the
outcome. A figure that is missing says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tedg.compare.find import few
from tedg.store.record import RunRecord

MAX_LOG_RATIO = 1e-5
MIN_INFLUENCE = 1e-3  # nats, as in conf/check: below it a stream hardly takes part

# Routings that may become one-hot by learning, and pass no gradient then; for runs without that figure.
_MAY_SATURATE = ("Sparsemax", "AnnealedEntmax", "TopKSoftmax")
_NO_ROUTER = ("Uniform", "Symbolic")  # nothing is learnt by a router there, and that is the arm's point

_OF_STATES = ("influence/vision", "influence/logic", "attention/variation")  # compare states

Says = Callable[[RunRecord], bool | None]  # whether a run shows a part dead; None: it has no such figure
Excused = Callable[[RunRecord], bool]  # whether learning could have brought that about


@dataclass(frozen=True)
class Finding:
    """What the figures of one arm say of a part. `runs` are those that show it, of `of` with the figure."""

    part: str
    arm: str
    reason: str
    runs: tuple[str, ...]
    of: int
    void: bool

    def __str__(self) -> str:
        if self.void:
            several = f"{len(self.runs)} of {self.of} runs" if len(self.runs) > 1 else "run"
            return f"{self.part} of {self.arm} is dead: {self.reason} ({several}: {few(self.runs, 2)})"
        return f"{self.part} of {self.arm} is inactive in {len(self.runs)} of {self.of} seeds: {self.reason}"


def findings(
    variant: Sequence[RunRecord], baseline: Sequence[RunRecord], names: tuple[str, str]
) -> list[Finding]:
    """What is dead or inactive in the parts in which two arms differ; `names` are those of the arms."""
    found: list[Finding] = []
    if not variant or not baseline:
        return found
    parts = named_parts(variant[0].config, baseline[0].config)
    for name, runs in zip(names, (variant, baseline), strict=True):
        for part in parts:
            found += _judged(part, name, runs)
    if "gate" in parts:
        found += _gates(variant, baseline, names)
    for name, runs in zip(names, (variant, baseline), strict=True):
        found += _log_ratio(name, runs)
    return found


def unknown(variant: Sequence[RunRecord], baseline: Sequence[RunRecord], names: tuple[str, str]) -> list[str]:
    """A sentence for each arm whose runs have no figures of liveness, which is not the same as being dead."""
    said = []
    for name, runs in zip(names, (variant, baseline), strict=True):
        lacking = [run for run in runs if _figure(run, "influence/logic") is None]
        if lacking:
            why = next((run.liveness["missing"] for run in lacking if run.liveness.get("missing")), None)
            said.append(
                f"whether the parts of {name} were alive is not known of {len(lacking)} of {len(runs)} runs"
                + (f": {why}" if why else "")
            )
    return said


def named_parts(variant: Mapping[str, Any], baseline: Mapping[str, Any]) -> list[str]:
    """The parts that two configurations are a contrast of."""
    if variant["fusion"].get("_target_") != baseline["fusion"].get("_target_"):
        parts = ["attention", "vision", "logic"]  # a fusion of a dead stream is none
    else:
        parts = ["attention"] if variant["fusion"] != baseline["fusion"] else []
        parts += ["gate"] if variant["fusion"].get("gate") != baseline["fusion"].get("gate") else []
    parts += [part for part in ("vision", "logic") if variant[part] != baseline[part] and part not in parts]
    if (variant["stage"], variant["policy"]) != (baseline["stage"], baseline["policy"]) or _routing(
        variant
    ) != _routing(baseline):
        parts.append("router")
    return parts


def _judged(part: str, arm: str, runs: Sequence[RunRecord]) -> Iterator[Finding]:
    """The first of several signs of the same death."""
    for reason, says, excused in _signs(part, runs[0]):
        known = [(run, dead) for run in runs if (dead := says(run)) is not None]
        shown = [run for run, dead in known if dead]
        if shown:
            void = len(shown) == len(known) and not all(map(excused, shown))
            yield Finding(part, arm, reason, tuple(run.run_id for run in shown), len(known), void)
            return
    if part in ("vision", "logic") and not _off(part, runs[0]):
        key = f"influence/{part}"
        values = [(run.run_id, value) for run in runs if (value := _figure(run, key)) is not None]
        low = tuple(name for name, value in values if value < MIN_INFLUENCE)
        if low:
            yield Finding(part, arm, f"{key} is below {MIN_INFLUENCE:g} nats", low, len(values), False)


def _signs(part: str, run: RunRecord) -> Iterator[tuple[str, Says, Excused]]:
    """(what is wrong, whether a run shows it, whether learning could have brought it about)."""
    if _off(part, run):
        return
    if part == "attention":
        if run.config["fusion"].get("gate") is not None:
            constant = "attention over one key is the constant 1"
            yield constant, _equals("attention/keys", 1), _never
            constant = "attention over one kept key is the constant 1"
            yield constant, _equals("attention/promised_keys", 1), _never
        for name in ("W_Q", "W_K"):
            yield f"the gradient of {name} is exactly 0", _equals(f"gradient/{name}", 0), _one_key
        yield "attention is the same in all states", _equals("attention/variation", 0), _one_key
    elif part == "router":
        reason = "no gradient of the policy reaches the router (gradient/router is 0)"
        yield reason, _equals("gradient/router", 0), _one_expert
    elif part in ("vision", "logic"):
        reason = f"exchanging its inputs between states changes nothing (influence/{part} is 0)"
        yield reason, _equals(f"influence/{part}", 0), _never
        if part == "vision":
            reason = "exchanging the map between states changes nothing (influence/map is 0)"
            yield reason, _equals("influence/map", 0), _never
    elif part == "gate":
        yield "it was to drop keys and dropped none", _broken_gate, _never


def _never(run: RunRecord) -> bool:
    return False


def _one_key(run: RunRecord) -> bool:
    """Whether a gate that goes by the scores kept one key of each query, in every state."""
    return _figure(run, "attention/promised_keys") is None and _figure(run, "attention/kept_keys") == 1


def _one_expert(run: RunRecord) -> bool:
    """Whether a routing that goes by the scores chose one expert in every state."""
    routing = _routing(run.config)[-1]
    one_hot = _figure(run, "router/one_hot")
    if one_hot is None:
        return _class(routing) in _MAY_SATURATE
    return bool(one_hot == 1 and routing.get("k") != 1)


def _off(part: str, run: RunRecord) -> bool:
    """Whether the arm has no such part on purpose."""
    if part == "logic":
        return _class(run.config["logic"]) == "NoLogic"
    if part == "router":
        return _class(_routing(run.config)[-1]) in _NO_ROUTER or run.config["policy"]["num_experts"] == 1
    return False


def _gates(
    variant: Sequence[RunRecord], baseline: Sequence[RunRecord], names: tuple[str, str]
) -> list[Finding]:
    """A gate that keeps every key is none. As the baseline of one that drops some it may stand for that.

    Against no gate it is void as well, but for one that was told to keep all: they are to be the same.
    """
    arms = list(zip(names, (variant, baseline), strict=True))
    keeping = [(name, runs) for name, runs in arms if runs and all(map(_keeps_all, runs))]
    gates = [(name, runs) for name, runs in keeping if _has_gate(runs[0])]
    if not gates or (len(keeping) == 1 and gates[0][0] == names[1]):
        return []
    name, runs = gates[0]
    told = not all(_has_gate(side[0]) for side in (variant, baseline)) and _told_to_keep_all(runs[0])
    excused = told or all(map(_weighs_otherwise, runs))
    return [Finding("gate", name, "it keeps every key", _ids(runs), len(runs), not excused)]


def _ids(runs: Sequence[RunRecord]) -> tuple[str, ...]:
    return tuple(run.run_id for run in runs)


def _keeps_all(run: RunRecord) -> bool:
    keys, kept = run.liveness.get("attention/keys"), run.liveness.get("attention/kept_keys")
    promised = run.liveness.get("attention/promised_keys")
    return bool(keys is not None and keys > 1 and keys == kept and promised in (None, keys))


def _told_to_keep_all(run: RunRecord) -> bool:
    return run.config["fusion"]["gate"].get("keep") == 1


def _weighs_otherwise(run: RunRecord) -> bool:
    """Whether it is no softmax even of all keys, and may learn to drop some."""
    return _class(run.config["fusion"]["gate"]) == "EntmaxGate"


def _broken_gate(run: RunRecord) -> bool | None:
    keys, promised = run.liveness.get("attention/keys"), run.liveness.get("attention/promised_keys")
    kept = run.liveness.get("attention/kept_keys")
    return None if keys is None or promised is None or kept is None else bool(promised < keys == kept)


def _has_gate(run: RunRecord) -> bool:
    gate = run.config["fusion"].get("gate")
    return gate is not None and _class(gate) != "NoGate"


def _log_ratio(arm: str, runs: Sequence[RunRecord]) -> Iterator[Finding]:
    values = [(run.run_id, run.max_log_ratio) for run in runs if run.max_log_ratio is not None]
    over = tuple(name for name, value in values if value > MAX_LOG_RATIO)
    if over:
        most = max(value for _, value in values)
        reason = (
            f"|log ratio| is up to {most:.2g} before the first step (limit {MAX_LOG_RATIO:g}), so the "
            "policy that learns is not the one that acted"
        )
        yield Finding("the learner", arm, reason, over, len(values), True)


def _routing(config: Mapping[str, Any]) -> list[Any]:
    """The routing of every stage, in their order."""
    stages = list(config["stage"].get("phases", {"": config["stage"]}).values())
    own = config.get("routing") or {}
    return [own if own.get("_target_") else stage["routing"] for stage in stages]


def _class(node: Mapping[str, Any]) -> str:
    return str(node.get("_target_") or "").rpartition(".")[2]


def _figure(run: RunRecord, key: str) -> Any:
    """A figure of liveness; None where it is not known.

    Earlier versions compared a single state with itself where no games were played, and called that 0.
    """
    one_state = run.config["eval"]["games"] == 0 and key in _OF_STATES
    return None if one_state else run.liveness.get(key)


def _equals(key: str, value: float) -> Says:
    def says(run: RunRecord) -> bool | None:
        found = _figure(run, key)
        return None if found is None else bool(found == value)

    return says
