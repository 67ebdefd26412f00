"""Learning on games with known solutions: collector, learner and policy together reach them.

Each probe is there for one kind of mistake; see `tedg/envs/toys/probes.py`.
"""

from __future__ import annotations

import pytest
from support.probes import VALUES, solve
from support.settings import FULL_WIDTH_PROBE

VARIANTS = {"V3": "fusion=concat", "V4": "fusion=cross_attn"}
PROBES = (*VALUES, "action", "context", "masked", "visual_only", "logic_only", "four_experts")


# Few probes look at a part in which V3 and V4 differ; where none does, V4 is enough for every change. What
# the easy ones find wrong, harder ones would find too.
DIFFER = ("context", "four_experts")
EASY = ("constant", "endless", "action")
CASES = [
    pytest.param(
        *(probe, variant),
        marks=pytest.mark.slow if probe in EASY or (variant == "V3" and probe not in DIFFER) else (),
    )
    for probe in PROBES
    for variant in VARIANTS
]


@pytest.mark.more
@pytest.mark.parametrize(("probe", "variant"), CASES)
def test_the_known_solution_is_learnt(probe, variant):
    figures = solve(probe, VARIANTS[variant])
    assert (figures.value_error is None) == (probe not in VALUES)
    assert figures.solved, figures


@pytest.mark.more
@pytest.mark.parametrize(
    ("probe", "without"),
    [("visual_only", "vision=state"), ("logic_only", "logic=none"), ("needle", "logic=none")],
)
@pytest.mark.parametrize("variant", [pytest.param("V3", marks=pytest.mark.slow), "V4"])
def test_without_the_stream_that_tells_it_stays_at_chance(probe, without, variant):
    figures = solve(probe, VARIANTS[variant], without, updates=8)
    assert figures.reward == pytest.approx(figures.chance, abs=0.08)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_symbols_find_the_needle():
    """Cross-attention from symbols to the map, at full width, looks where the symbols point."""
    figures = solve("needle", VARIANTS["V4"], updates=300, settings=FULL_WIDTH_PROBE)
    assert figures.solved, figures
