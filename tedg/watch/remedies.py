"""What to try against the ills of a run, in the same words for warnings during it and for the check after it.

Each remedy begins with `try` and an override. `stage` is the key of the stage in force (`stage_key`).
"""

from __future__ import annotations

import math


def stage_key(stage: str, phases: bool) -> str:
    """The key under which a stage's settings lie; `phases` in a run that goes through several stages."""
    return f"stage.phases.{stage}" if phases else "stage"


def balance(stage: str) -> str:
    """Against experts that are not used."""
    return f"try {stage}.load_balance_coef=0.05 (warmup has 0.02)"


def diversity(stage: str) -> str:
    """Against experts that are all alike."""
    return f"try {stage}.diversity_coef=0.02 (warmup has 0.01)"


def alignment(stage: str) -> str:
    """Against a router that does not follow the operators."""
    return f"try {stage}.alignment_coef=0.15 (default 0.1)"


def keep_more() -> str:
    """Against a gate that leaves attention too little to choose from."""
    return "try fusion.gate.keep=0.5 (default 0.3)"


def real_attention() -> str:
    """Against attention that is dead by construction."""
    return "try fusion=cross_attn"


def more_tokens() -> str:
    """Against attention that has a single key."""
    return "try vision=glyph"


def same_policy(precision: str = "float32") -> str:
    """Against a policy that is no longer the one that acted before anything was learnt."""
    override = "device=cpu" if precision == "float32" else "precision=float32"
    return f"try {override}, and if that does not help, something in the forward pass is random or stale"


def slower(stage: str, learning_rate: float) -> str:
    """Against updates that are too large; `learning_rate` is the present one, NaN where it is not known."""
    if math.isnan(learning_rate):
        return f"try {stage}.learning_rate=half its value"
    return f"try {stage}.learning_rate={learning_rate / 2:g} (now {learning_rate:g})"


def explore(stage: str, entropy_coef: float) -> str:
    """Against a policy that has settled on few actions; `entropy_coef` is the present one."""
    return f"try {stage}.entropy_coef={max(2 * entropy_coef, 0.01):g} (now {entropy_coef:g})"


def undecided(stage: str) -> str:
    """Against a router that is certain too early."""
    return f"try {stage}.alpha_entropy_coef=[0.2,0.2] (warmup has [0.1,0.1])"


def longer(unit: str, total: int) -> str:
    """Against a run too short to tell; `total` is its budget in `unit`."""
    return f"try budget.{unit}={3 * total}"


def broken() -> str:
    """Against figures that no setting explains."""
    return "no setting should do that; python -m tedg.smoke tries every part"
