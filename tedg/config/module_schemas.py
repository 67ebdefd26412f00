"""Schemas of the modules that a configuration picks by `_target_`, and the validation of such a node."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from tedg.config.own_parts import read_own
from tedg.config.targets import is_allowed, refusal
from tedg.config.typed import Faults, Range, convert, read
from tedg.hypergraph.schema import HypergraphError, load_hypergraph
from tedg.spelling import did_you_mean

Count = Annotated[int, Range(low=1)]
Natural = Annotated[int, Range(low=0)]


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in the configuration that holds a module: the schemas of the targets known to fit there.

    Any other target has to lie in an allowed package; what its settings may be follows from its class.
    """

    name: str
    optional: bool = False  # `_target_: null` is allowed

    def validate(self, value: Any, key: str, faults: Faults) -> dict[str, Any]:
        """The node with its numbers in their proper form."""
        node = dict(value)
        target = node.get("_target_")
        known = SLOTS.get(self.name, _ALL_TARGETS)  # a part of somebody's own may hold parts of any kind
        place = f"{key}._target_"
        if target is None and self.optional:
            settings = {name: item for name, item in node.items() if name != "_target_"}
            for name in settings:
                faults.report(f"{key}.{name}: no such key without a _target_")
        elif isinstance(target, str) and target in known:
            settings = {name: item for name, item in node.items() if name != "_target_"}
            valid = read(known[target], settings, key, faults)
            if valid is not None:
                return {"_target_": target, **_shallow(valid)}
        elif isinstance(target, str) and target in _ALL_TARGETS:
            faults.add(place, target, f"does not fit here; one of {', '.join(known)} does")
        else:
            reason = refusal(target)
            if reason is not None:
                near = did_you_mean(str(target), known) if "did you mean" not in reason else ""
                faults.add(place, target, reason + near)
            settings = self._nested(node, key, faults)
            if reason is None and faults.importing:
                settings = read_own(str(target), settings, GIVEN.get(self.name, ()), key, faults)
            return {"_target_": target, **settings}
        return node

    def _nested(self, node: Mapping[str, Any], key: str, faults: Faults) -> dict[str, Any]:
        """The settings of a part of somebody's own, those that are parts themselves validated."""
        settings = {name: item for name, item in node.items() if name != "_target_"}
        for name, item in settings.items():
            if isinstance(item, Mapping) and "_target_" in item:
                settings[name] = Slot(f"{self.name}.{name}").validate(item, f"{key}.{name}", faults)
                continue
            for place, target in _targets(item, f"{key}.{name}"):  # parts in lists and groups
                if (reason := refusal(target)) is not None:
                    faults.add(place, target, reason)
        return settings


@dataclass(frozen=True, slots=True)
class NoSettings:
    """A module that takes nothing."""


@dataclass(frozen=True, slots=True)
class NetHackEnv:
    """tedg.envs.vector.NetHackVectorEnv."""

    task: Literal[
        "NetHackScore",
        "NetHackStaircase",
        "NetHackStaircasePet",
        "NetHackOracle",
        "NetHackGold",
        "NetHackEat",
        "NetHackScout",
    ]
    goal: Literal["score", "staircase", "pet", "gold", "eat", "scout", "oracle", "needle", "fake"]
    hypergraph: str
    num_envs: Count
    num_workers: Natural | None
    max_episode_steps: Count
    action_mask: Literal["legal", "none"]
    exploration_bonus: Annotated[float, Range(low=0.0)] = 0.0

    def validate(self, key: str, faults: Faults) -> None:
        """A task that rewards exploration needs no bonus for it."""
        if self.exploration_bonus and self.task == "NetHackScout":
            place = f"{key}.exploration_bonus"
            faults.add(place, self.exploration_bonus, "must be 0: NetHackScout rewards exploration itself")


_PROBES = (
    *("Constant", "Seen", "TwoStep", "Endless", "Action", "Context", "Masked", "VisualOnly", "LogicOnly"),
    "FourExperts",
)
# The toy games, and the hypergraph that has a game's atoms; None where any will do.
_GAMES = {
    "tedg.envs.toys.fake.Fake": None,
    "tedg.envs.toys.needle.Needle": "needle",
    "tedg.envs.toys.needle.SparseNeedle": "sparse_needle",
    **{f"tedg.envs.toys.probes.{name}": "probe" for name in _PROBES},
}


@dataclass(frozen=True, slots=True)
class ToyEnv:
    """tedg.envs.toys.env.ToyVectorEnv."""

    # The option of group env/game.
    game: Annotated[dict, Slot("env.game")]  # type: ignore[type-arg]
    hypergraph: str
    num_envs: Count
    max_episode_steps: Count
    action_mask: Literal["legal", "none"]

    def validate(self, key: str, faults: Faults) -> None:
        """A game that computes atoms needs a hypergraph of just these."""
        own = _GAMES.get(self.game["_target_"])
        if own is None or self.hypergraph == own:
            return
        try:
            atoms = load_hypergraph(self.hypergraph).atoms
        except HypergraphError:
            return  # reported where every environment's hypergraph is read
        if atoms != load_hypergraph(own).atoms:
            faults.add(f"{key}.hypergraph", self.hypergraph, f"must have the game's atoms, as {own} has")


@dataclass(frozen=True, slots=True)
class GlyphVision:
    """tedg.models.vision.GlyphEncoder."""

    token_dim: Count
    channels: Count
    head_dim: Count


@dataclass(frozen=True, slots=True)
class StateVision:
    """tedg.models.vision.StateEncoder."""

    token_dim: Count
    hidden_dim: Count
    head_dim: Count


@dataclass(frozen=True, slots=True)
class GraphLogic:
    """tedg.models.logic.HypergraphEncoder."""

    embedding_dim: Count
    num_heads: Count
    output_dim: Count
    freeze: bool

    def validate(self, key: str, faults: Faults) -> None:
        """Every head gets an equal share of the embedding."""
        if self.embedding_dim % self.num_heads:
            faults.add(
                f"{key}.embedding_dim",
                self.embedding_dim,
                f"must be a multiple of num_heads={self.num_heads}",
            )


@dataclass(frozen=True, slots=True)
class NoLogic:
    """tedg.models.logic.NoLogic."""

    output_dim: Count


@dataclass(frozen=True, slots=True)
class CrossAttention:
    """tedg.models.fusion.CrossAttentionFusion."""

    # The option of group fusion/gate.
    gate: Annotated[dict, Slot("fusion.gate")]  # type: ignore[type-arg]
    num_heads: Count
    head_dim: Count


@dataclass(frozen=True, slots=True)
class HeadGate:
    """tedg.models.fusion.HeadGateFusion."""

    num_heads: Count
    head_dim: Count
    keep: Annotated[float, Range(above=0, high=1, single=True)]


@dataclass(frozen=True, slots=True)
class MatchedConcat:
    """tedg.models.fusion.MatchedConcatFusion."""

    # The fusion whose size it takes.
    size_of: Annotated[dict, Slot("fusion")]  # type: ignore[type-arg]


@dataclass(frozen=True, slots=True)
class EntmaxGate:
    """tedg.models.gate.EntmaxGate."""

    exponent: Annotated[float, Range(above=1, high=2, single=True)]


@dataclass(frozen=True, slots=True)
class TopK:
    """tedg.models.gate.TopKGate."""

    keep: Annotated[float, Range(above=0, high=1, single=True)]


@dataclass(frozen=True, slots=True)
class PairPerStage:
    """A mapping from stages' names to (value at the start, value at the end)."""

    range: Range

    def validate(self, value: Mapping[str, Any], key: str, faults: Faults) -> dict[str, Any]:
        """The pairs with their numbers in their proper form."""
        pair = Annotated[tuple[float, float], self.range]
        return {str(stage): convert(pair, item, f"{key}.{stage}", faults) for stage, item in value.items()}


@dataclass(frozen=True, slots=True)
class AnnealedEntmax:
    """tedg.models.routing.AnnealedEntmax."""

    exponent: Annotated[dict, PairPerStage(Range(low=1, high=2, single=True))]  # type: ignore[type-arg]


@dataclass(frozen=True, slots=True)
class TopKSoftmax:
    """tedg.models.routing.TopKSoftmax."""

    k: Count


NO_LOGIC = "tedg.models.logic.NoLogic"
SYMBOLIC_ROUTING = "tedg.models.routing.Symbolic"
SLOTS: dict[str, dict[str, type[Any]]] = {
    "env": {"tedg.envs.vector.NetHackVectorEnv": NetHackEnv, "tedg.envs.toys.env.ToyVectorEnv": ToyEnv},
    "env.game": dict.fromkeys(_GAMES, NoSettings),
    "vision": {
        "tedg.models.vision.GlyphEncoder": GlyphVision,
        "tedg.models.vision.StateEncoder": StateVision,
    },
    "logic": {"tedg.models.logic.HypergraphEncoder": GraphLogic, NO_LOGIC: NoLogic},
    "fusion": {
        "tedg.models.fusion.ConcatFusion": NoSettings,
        "tedg.models.fusion.ConcatTokensFusion": NoSettings,
        "tedg.models.fusion.MatchedConcatFusion": MatchedConcat,
        "tedg.models.fusion.CrossAttentionFusion": CrossAttention,
        "tedg.models.fusion.HeadGateFusion": HeadGate,
    },
    "fusion.gate": {
        "tedg.models.gate.TopKGate": TopK,
        "tedg.models.gate.NoGate": NoSettings,
        "tedg.models.gate.EntmaxGate": EntmaxGate,
        "tedg.models.gate.RandomTopKGate": TopK,
    },
    "routing": {
        "tedg.models.routing.Softmax": NoSettings,
        "tedg.models.routing.Sparsemax": NoSettings,
        "tedg.models.routing.AnnealedEntmax": AnnealedEntmax,
        "tedg.models.routing.TopKSoftmax": TopKSoftmax,
        "tedg.models.routing.Uniform": NoSettings,
        SYMBOLIC_ROUTING: NoSettings,
    },
}
_ALL_TARGETS = {target: schema for slot in SLOTS.values() for target, schema in slot.items()}
# What a part is given when it is built, beside its settings.
GIVEN: dict[str, tuple[str, ...]] = {
    "env": ("seeds",),
    "vision": ("spec", "glyph_attributes", "with_head", "hide_symbols"),
    "logic": ("hypergraph",),
    "fusion": ("vision_dim", "token_dim", "num_tokens", "logic_dim"),
}


def has_own_parts(node: Mapping[str, Any]) -> bool:
    """Whether something is to be built that tedg has no schema for."""
    return any(target not in (None, *_ALL_TARGETS) for _, target in _targets(node, ""))


def refuse_foreign_targets(node: Mapping[str, Any], faults: Faults) -> None:
    """Adds a fault for every `_target_` outside the places that hold modules."""
    for key, target in _targets(node, ""):
        place = key.removesuffix("._target_")
        if not any(place == slot or place.startswith(f"{slot}.") for slot in _places(node)):
            faults.add(key, target, "refused: nothing is built from this place")


def refuse_foreign_launchers(hydra: Mapping[str, Any], faults: Faults) -> None:
    """Adds a fault for every `_target_` in Hydra's own settings that is no plugin, and for `()` factories.

    Python's logging configuration, which Hydra takes, calls whatever `()` names.
    """
    for key, target in _targets(hydra, "hydra", ("_target_", "()")):
        plugin = str(target).startswith(("hydra._internal.core_plugins.", "hydra_plugins."))
        if key.endswith("()") or not (plugin or is_allowed(str(target))):
            faults.add(key, target, "refused: only Hydra's plugins may be built here")


def _places(node: Mapping[str, Any]) -> Iterator[str]:
    yield from ("env", "vision", "logic", "fusion", "routing", "stage.routing")
    stage = node.get("stage")
    phases = stage.get("phases") if isinstance(stage, Mapping) else None
    if isinstance(phases, Mapping):
        yield from (f"stage.phases.{name}.routing" for name in phases)


def _targets(node: Any, key: str, names: tuple[str, ...] = ("_target_",)) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        for name, item in node.items():
            place = f"{key}.{name}" if key else str(name)
            if name in names:
                yield place, item
            yield from _targets(item, place, names)
    elif isinstance(node, list | tuple):
        for i, item in enumerate(node):
            yield from _targets(item, f"{key}[{i}]", names)


def _shallow(settings: Any) -> dict[str, Any]:
    return {item.name: getattr(settings, item.name) for item in dataclasses.fields(settings)}
