"""The live panel as it looks on terminals of usual sizes."""

from __future__ import annotations

import re
import sys

import pytest
from support.screens import Screen
from test_console import METRICS, TIMING, Clock

from tedg.watch.folding import folded
from tedg.watch.panel import LiveConsole
from tedg.watch.progress import Progress

SIZES = pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30)])
FIRST = (
    "stage warmup has 1.2 updates, each of 16,384 env steps (env.num_envs=256 times ppo.num_steps=64), too "
    "few to learn much; try budget.env_steps=100000 or preset=small"
)
WARNINGS = (
    "the router has collapsed: usage entropy 0.212 nats is below 0.3; "
    "try stage.load_balance_coef=0.05 (now 0.02)",
    "worker process 3 (pid 12345) died with SIGKILL\nit was replaced; its games count as cut off",
    "experts do not specialise: I(expert; state) is 0.0012 nats, below 0.005, with 52% of the budget spent; "
    "try stage.phases.finetune.diversity_coef=0.02 (now 0.01)",
    "the gate keeps the same keys in every state (overlap 0.998); try fusion.gate.keep=0.75 (now 0.5)",
    "the alignment loss is not falling: the router does not follow the operators; "
    "try stage.alignment_coef=0.15",
    "the context's norm is 7.1 times that at the start; try stage.learning_rate=0.00015 (now 0.0003)",
    "before the first gradient step the policy already differs from the one that acted: mean |log ratio| "
    "0.02 is above 0.0001; try device=cpu, and if that does not help, something in the forward pass "
    "is random or stale",
)
MORE = {
    "train/clip_fraction": 0.12,
    "train/explained_variance": -0.52,
    "attention/sparsity": 0.61,
    "lost/processes": 2,
    "lost/episodes": 13,
    "total_env_steps": 3_123_456,
}


def trained(width, height, warnings=WARNINGS):
    """A screen after a run that had so much to say, and its console."""
    screen, clock = Screen(width, height), Clock()
    live = LiveConsole(screen.terminal, clock, "cross_attn, seed 3, cell 2 of 12")
    live.start({"run": "multirun/first_look/cross_attn-warmup-s3-0123456789", "device": "cpu, 2 threads"})
    live.warn(FIRST)
    for update in range(1, len(warnings) + 3):
        clock.now += 7
        live.update(Progress(update, "warmup", update * 16384, update, update / 20, METRICS | MORE, TIMING))
        if update <= len(warnings):
            live.warn(warnings[update - 1])
    return screen, clock, live


def flat(lines):
    """The words without borders, labels and line breaks."""
    inside = (re.sub(r"^│ (.{10}  )?|│$", "", line) for line in lines)
    return " ".join(" ".join(inside).split())


@SIZES
def test_a_warning_stands_in_one_place_with_all_its_words(width, height):
    screen, _, live = trained(width, height)
    live.close()
    lines = screen.lines()
    assert max(map(len, lines)) <= width
    text = flat(lines)
    for message in (FIRST, *WARNINGS):
        assert text.count(" ".join(message.split())) == 1, message
    top = next(i for i, line in enumerate(lines) if line.startswith("╭"))
    assert len(lines) - 1 - top < height
    assert lines[-2].startswith("╰")  # nothing was cut off
    assert "warning     before the first gradient step" in "\n".join(
        lines[top:]
    )  # the newest is in the panel
    assert live.warnings == [FIRST, *WARNINGS]


@SIZES
def test_what_the_panel_says_of_a_run(width, height):
    screen, _, live = trained(width, height, ())
    live.saved()
    live.close()
    text = "\n".join(screen.lines())
    for part in (
        "─ cross_attn, seed 3, cell 2 of 12, stage warmup ─",
        "10.0%, 2m06s left",
        "32,768 steps (3,123,456 in all), 2 episodes, update 2",
        "1,843 steps/s, env 50% policy 25% learning 25%",
        "return 8.1, score 9.2, best score 31, depth 3",
        "entropy 2.91, kl 0.0041, clipped 12%, explained variance -0.52",
        "effective keys 20.5, sparsity 61%",
        "checkpoint  0s ago",
        "2 processes, 13 episodes lost",
    ):
        assert part in text
    (experts,) = (line for line in screen.lines() if "experts" in line)
    bars = re.findall(r"([█░]+) (\d+)%", experts)
    assert [int(share) for _, share in bars] == [40, 30, 20, 10]
    assert min(len(bar) for bar, _ in bars) > 6


def test_many_experts_share_rows_evenly():
    screen, clock = Screen(80, 24), Clock()
    live = LiveConsole(screen.terminal, clock)
    live.start({})
    live.update(Progress(1, "warmup", 1, 1, 0.1, {f"router/usage_{k}": 1 / 6 for k in range(6)}, {}))
    live.close()
    rows = [line.count("17%") for line in screen.lines() if "17%" in line]
    assert rows == [3, 3]


def test_a_warning_that_comes_again_takes_the_place_of_the_first():
    screen, _, live = trained(80, 24, ())
    for norm in (11.5, 12.0, 1e3):
        live.warn(f"gradient norm {norm:.3g} is above 10; try stage.learning_rate=0.00015 (now 0.0003)")
    live.close()
    text = "\n".join(screen.lines())
    assert text.count("gradient norm") == 1
    assert "warning 3x  gradient norm 1e+03 is above 10" in text
    assert len(live.warnings) == 4


@SIZES
def test_held_out_games_have_a_panel_of_their_own_below_the_last_of_training(width, height):
    screen, clock, live = trained(width, height)
    for player in ("policy", "random_legal"):
        live.played(player, 0, 40)
    for games in range(1, 41):
        clock.now += 2
        live.played("policy", games, 40)
    for games in range(1, 11):
        clock.now += 1
        live.played("random_legal", games, 40)
    live.warn("1 held-out games of policy were lost and do not count")
    live.close()
    lines = screen.lines()
    assert sum("stage warmup ─" in line for line in lines) == 1
    *_, title, policy, other, warning, _, _ = lines
    assert "─ held-out games of cross_attn, seed 3, cell 2 of 12 ─" in title
    assert f"policy        {'█' * 24} 40 of 40 " in policy
    assert f"random_legal  {'█' * 6}{'░' * 18} 10 of 40, 30s left " in other
    assert "1 held-out games of policy were lost" in warning


def test_results_are_folded_between_words_and_commands_never(monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "40")
    prose = "experts: 4.0 effective, 0.0011 nats of them told by the state"
    command = "  evaluate  python -m tedg.evaluate outputs/cross_attn-warmup-s0-5471731c9b --games 200"
    first, second, third = folded(f"{prose}\n{command}").split("\n")
    assert f"{first} {second.strip()}" == prose
    assert max(len(first), len(second)) <= 40
    assert third == command
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    assert folded(prose) == prose
