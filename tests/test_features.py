"""The 115 state features: names, ranges on real states, meanings, and the page that documents them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from support.nethack_games import empty_frames, moments, update

from tedg.envs.atoms import ATOMS, AtomTracker
from tedg.envs.features import (
    GOALS,
    STATE_DIM,
    STATE_FEATURES,
    STATE_HIGH,
    STATE_LOW,
    SYMBOLIC_STATE,
    feature_table,
    goal_index,
)
from tedg.envs.masks import legal_actions
from tedg.envs.state import StateBuilder
from tedg.hypergraph.schema import load_hypergraph

INDEX = {feature.name: i for i, feature in enumerate(STATE_FEATURES)}


def state_of(frames, tracker=None, goal="score"):
    tracker = AtomTracker(len(frames.blstats)) if tracker is None else tracker
    view = update(frames, tracker)
    state = np.full((len(frames.blstats), STATE_DIM), np.nan, np.float32)
    legal = legal_actions(view, frames.blstats)
    rows = np.arange(len(state))
    StateBuilder(load_hypergraph("nethack"), goal).compute(
        view, tracker.history, frames.blstats, legal, rows, state
    )
    return state


def test_blocks_and_names():
    blocks = Counter(feature.block for feature in STATE_FEATURES)
    assert blocks == {
        "belief": 50, "preconditions": 15, "scene": 15, "effect": 8, "rules": 10, "confidence": 1, "goal": 16,
    }  # fmt: skip
    assert list(dict.fromkeys(f.block for f in STATE_FEATURES)) == list(blocks)
    assert len(INDEX) == STATE_DIM == 115
    assert all(feature.description for feature in STATE_FEATURES)


def test_symbolic_blocks_can_be_zeroed_and_leave_belief_and_goal():
    state = np.ones(STATE_DIM)
    state[SYMBOLIC_STATE] = 0
    left = {f.block for f, value in zip(STATE_FEATURES, state, strict=True) if value}
    assert left == {"belief", "goal"}
    assert SYMBOLIC_STATE.sum() == 49


@pytest.mark.parametrize("player", ["random", "random_legal", "script"])
def test_every_feature_stays_in_its_range(player):
    low, high = np.full(STATE_DIM, np.inf), np.full(STATE_DIM, -np.inf)
    for moment in moments(player, 150, first_seed=60_000):
        low, high = np.minimum(low, moment.state.min(0)), np.maximum(high, moment.state.max(0))
    outside = [
        f.name for f, a, b in zip(STATE_FEATURES, low, high, strict=True) if not f.low <= a <= b <= f.high
    ]
    assert not outside
    if player == "script":
        moving = {f.block for f, a, b in zip(STATE_FEATURES, low, high, strict=True) if a < b}
        assert moving == {f.block for f in STATE_FEATURES} - {"goal"}


def test_extreme_frames_stay_in_range():
    frames = empty_frames(2)
    frames.blstats[0, 2:23] = 10**7
    frames.blstats[0, 21:23] = 6, 5
    frames.blstats[0, 25] = 0x1FFF
    frames.blstats[1, 2:21] = -(10**4)
    state = state_of(frames)
    assert np.isfinite(state).all()
    assert (state >= STATE_LOW).all()
    assert (state <= STATE_HIGH).all()


def value(state, name, env=0):
    return float(state[env, INDEX[name]])


def test_vital_signs():
    frames = empty_frames(2)
    frames.blstats[:, 10:12] = 6, 24
    frames.blstats[:, 21] = 3, 6  # weak, starved: an enumeration
    frames.blstats[:, 16] = 4  # armour class
    state = state_of(frames)
    assert value(state, "hp_fraction") == 0.25
    assert value(state, "hunger") == 0.5
    assert value(state, "hunger", 1) == 1.0
    assert value(state, "armour") == pytest.approx(0.3)


def test_landmarks_point_the_way():
    frames = empty_frames(1)
    frames.glyphs[0, 12, 36] = 2383  # stairs down: two rows south, four columns west
    state = state_of(frames)
    assert value(state, "stairs_down_proximity") == pytest.approx(1 / 5)
    assert value(state, "stairs_down_dx") == -1.0
    assert value(state, "stairs_down_dy") == 0.5
    assert value(state, "hostile_proximity") == 0.0  # the hero is no hostile


def test_trodden_counts_visits_and_walls():
    frames, tracker = empty_frames(1), AtomTracker(1)
    frames.glyphs[0, 10, 39:42] = 2378, 333, 2378
    state_of(frames, tracker)
    frames.glyphs[0, 10, 39:42] = 2378, 2378, 333
    frames.glyphs[0, 9, 41] = 2360
    frames.blstats[0, 0] = 41
    state = state_of(frames, tracker)
    assert value(state, "trodden_w") == pytest.approx(1 / 3)
    assert value(state, "trodden_n") == 1.0
    assert value(state, "trodden_e") == 0.0


def test_effects_compare_with_the_frame_before():
    frames, tracker = empty_frames(1), AtomTracker(1)
    first = state_of(frames, tracker)
    frames.blstats[0, [9, 10, 20]] = 20, 5, 3
    state = state_of(frames, tracker)
    assert value(first, "hp_change") == value(first, "score_change") == value(first, "time_passed") == 0
    assert value(state, "hp_change") == pytest.approx(-0.5)
    assert value(state, "score_change") == pytest.approx(0.5)
    assert value(state, "time_passed") == pytest.approx(2 / 3)


def test_hypergraph_features_equal_a_plain_count():
    graph = load_hypergraph("nethack")
    moment = next(iter(moments("random_legal", 1)))
    for env in range(3):
        truth = dict(zip(ATOMS, moment.view.atoms[env].tolist(), strict=True))

        def holds(literals, truth=truth):
            return [truth[x.atom] == x.positive for x in literals]

        rows = [(o.expert, holds(o.preconditions), holds(o.scene)) for o in graph.operators]
        for prefix, expert in (("all", None), *((f"expert{k}", e) for k, e in enumerate(graph.experts))):
            group = [(p, s) for e, p, s in rows if expert in (None, e)]
            scenes = [np.mean(s) if s else 0.0 for p, s in group if all(p)]
            expected = {
                "applicable": np.mean([all(p) for p, _ in group]),
                "satisfied": np.mean([np.mean(p) for p, _ in group]),
                "nearly": np.mean([p.count(False) == 1 for p, _ in group]),
                "scene_best": max(scenes, default=0.0),
                "scene_mean": np.mean(scenes) if scenes else 0.0,
                "scene_full": np.mean([all(p) and bool(s) and all(s) for p, s in group]),
            }
            for name, figure in expected.items():
                assert value(moment.state, f"{prefix}_{name}", env) == pytest.approx(figure, abs=1e-6), name
        best = max(sum(p + s) / (len(p + s) + 1) for _, p, s in rows if all(p))
        assert value(moment.state, "confidence", env) == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("goal", GOALS)
def test_goal_is_one_hot(goal):
    block = state_of(empty_frames(1), goal=goal)[0, -len(GOALS) :]
    assert block.sum() == 1
    assert block[GOALS.index(goal)] == 1


def test_unknown_goal_is_named():
    with pytest.raises(ValueError, match=r"'scroe'.*score"):
        goal_index("scroe")


def test_documentation_is_the_tables():
    page = Path(__file__).parents[1] / "docs" / "state-features.md"
    assert page.read_text() == feature_table(), "write feature_table() to docs/state-features.md"
