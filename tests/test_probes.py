"""Learning on games with known solutions: collector, learner and policy together reach them.

Each probe is there for one kind of mistake; see `tedg/envs/toys/probes.py`.
"""

from __future__ import annotations

import pytest
from probes_for_tests import FULL, SOLVED, VALUE_TOLERANCE, VALUES, solve

VARIANTS = {"V3": "fusion=concat", "V4": "fusion=cross_attn"}
POLICY_PROBES = ("action", "context", "masked", "visual_only", "logic_only", "four_experts")


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("probe", VALUES)
def test_values_are_the_known_ones(probe, variant):
    figures = solve(probe, VARIANTS[variant])
    assert figures.value_error is not None
    assert figures.value_error <= VALUE_TOLERANCE, figures


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("probe", POLICY_PROBES)
def test_the_policy_is_the_known_one(probe, variant):
    figures = solve(probe, VARIANTS[variant])
    assert figures.reward >= SOLVED * figures.best, figures
    assert figures.illegal == 0


@pytest.mark.parametrize(
    ("probe", "without"),
    [("visual_only", "vision=state"), ("logic_only", "logic=none"), ("needle", "logic=none")],
)
@pytest.mark.parametrize("variant", VARIANTS)
def test_without_the_stream_that_tells_it_stays_at_chance(probe, without, variant):
    figures = solve(probe, VARIANTS[variant], without, updates=8)
    assert figures.reward == pytest.approx(figures.chance, abs=0.08)


@pytest.mark.slow
def test_symbols_find_the_needle():
    """Cross-attention from symbols to the map finds the named cell."""
    figures = solve("needle", VARIANTS["V4"], updates=100, settings=FULL)
    assert figures.reward >= SOLVED * figures.best, figures
