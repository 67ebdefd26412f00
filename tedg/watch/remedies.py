"""What to try against the ills of a run, in the same words for warnings during it and for the check after it.

Each remedy begins with `try` and an override that changes something: it starts from the present value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from tedg.config.run_config import RunConfig


@dataclass(frozen=True, slots=True)
class Remedies:
    """The remedies for a run, in the stage of that name; any other name stands for its first stage."""

    config: RunConfig
    stage: str | None = None

    @property
    def node(self) -> Mapping[str, Any]:
        """The settings of the stage."""
        phases = self.config.phases
        return next((node for node in phases if node["name"] == self.stage), phases[0])

    @property
    def key(self) -> str:
        """Where these settings lie in the configuration."""
        return f"stage.phases.{self.node['name']}" if "phases" in self.config.stage else "stage"

    def balance(self) -> str:
        """Against experts that are not used."""
        return self._more("load_balance_coef", 0.05)

    def diversity(self) -> str:
        """Against experts that are all alike."""
        return self._more("diversity_coef", 0.02)

    def alignment(self) -> str:
        """Against a router that does not follow the operators."""
        return self._more("alignment_coef", 0.15, factor=1.5)

    def explore(self) -> str:
        """Against a policy that has settled on few actions."""
        return self._more("entropy_coef", 0.01)

    def undecided(self) -> str:
        """Against a router that is certain too early."""
        now = self.node["alpha_entropy_coef"]
        more = ",".join(f"{max(2 * value, 0.2):g}" for value in now)
        return f"try {self.key}.alpha_entropy_coef=[{more}] (now [{','.join(f'{v:g}' for v in now)}])"

    def slower(self) -> str:
        """Against updates that are too large."""
        now = float(self.node["learning_rate"])
        return f"try {self.key}.learning_rate={now / 2:g} (now {now:g})"

    def keep_more(self) -> str:
        """Against a gate that leaves attention too little to choose from."""
        gate = self.config.fusion.get("gate") or {}
        keep, exponent = gate.get("keep"), gate.get("exponent")
        if keep is not None and keep < 1:
            return f"try fusion.gate.keep={min(max(1.5 * keep, 0.5), 1):g} (now {keep:g})"
        if exponent is not None:  # softmax, which drops nothing, is at 1
            return f"try fusion.gate.exponent={(1 + exponent) / 2:g} (now {exponent:g})"
        return "try fusion=cross_attn_dense"

    def same_policy(self) -> str:
        """Against a policy that is no longer the one that acted before anything was learnt."""
        config = self.config
        last = "something in the forward pass is random or stale"
        if config.precision != "float32":
            override = "precision=float32"
        elif config.compile:
            override = "compile=false"
        elif config.device == "cuda" or (config.device == "auto" and torch.cuda.is_available()):
            override = "device=cpu"
        else:
            return last
        return f"try {override}, and if that does not help, {last}"

    def longer(self) -> str:
        """Against a run too short to tell."""
        budget = self.config.budget
        if budget.env_steps is not None:
            return f"try budget.env_steps={3 * budget.env_steps}"
        episodes = budget.episodes or sum(node["episodes"] for node in self.config.phases)
        return f"try budget.episodes={3 * episodes}"

    def _more(self, name: str, least: float, factor: float = 2) -> str:
        """A larger weight of a loss: `least`, or `factor` times the present one where that is more."""
        now = float(self.node[name])
        return f"try {self.key}.{name}={max(factor * now, least):g} (now {now:g})"


def real_attention() -> str:
    """Against attention that is dead by construction."""
    return "try fusion=cross_attn"


def more_tokens() -> str:
    """Against attention that has a single key."""
    return "try vision=glyph"


def broken() -> str:
    """Against figures that no setting explains."""
    return "no setting should do that; python -m tedg.smoke tries every part"
