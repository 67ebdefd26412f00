"""A budget of only a few rollouts is said to be one, with what would fit."""

from __future__ import annotations

import re

import pytest

from tedg.config.compose import compose
from tedg.watch.short_budget import short_budget_warning


def warning(*overrides: str) -> str | None:
    return short_budget_warning(compose([*overrides, "device=cpu"]).config)


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (["budget.env_steps=20000"], "stage warmup has 2.4 updates, each of 8,192 env steps"),
        (["budget.env_steps=150000", "stage=curriculum"], "stage warmup has 3.7 updates"),
        (["budget.env_steps=4000", "preset=small"], "stage warmup has 2.0 updates, each of 2,048 env steps"),
        (["budget.episodes=100"], "stage warmup ends after 100 episodes of env.num_envs=256 games"),
        (["budget.episodes=1000", "stage=curriculum"], "stage warmup ends after 200 episodes"),
        (["budget.env_steps=100", "env=probe"], "stage warmup has 0.0 updates, each of 2,048"),
    ],
)
def test_a_short_budget_is_named_and_what_is_to_be_tried_is_long_enough(budget: list[str], said: str) -> None:
    text = str(warning(*budget))
    assert said in text
    tried = re.findall(r"(?:budget|env)\.\w+=\d+", text.split("; try ")[1])
    assert tried
    for override in tried:
        key = override.partition("=")[0]
        assert warning(*[one for one in budget if not one.startswith(key)], override) is None


def test_preset_small_is_named_only_where_it_is_smaller() -> None:
    assert "or preset=small" in str(warning("budget.env_steps=20000"))
    assert "preset" not in str(warning("budget.env_steps=4000", "preset=small"))


@pytest.mark.parametrize(
    "budget",
    [
        ["budget.env_steps=65536"],
        ["budget.env_steps=330000", "stage=curriculum"],
        ["stage=warmup"],
        ["stage=curriculum"],
        ["budget.episodes=100", "preset=small"],
        ["+experiment=check"],
        ["+experiment=learns"],
    ],
)
def test_a_long_one_is_not(budget: list[str]) -> None:
    assert warning(*budget) is None
