"""What a GPU captures: recorded once and replayed on other inputs, it does what plain functions do.

`Tape` stands in for CUDA graphs. What the host computes within a captured function stays as it was at the
recording, so where that happens the results differ from those of plain functions.
"""

from __future__ import annotations

import math
import signal

import pytest
import torch
from scipy import stats
from support.models import batch, toy
from support.settings import NARROW, TINY
from support.tape import Tape
from support.training import SMALL, Training, close, compare

from tedg.config.compose import compose, group_options
from tedg.errors import Stopped
from tedg.learn import held, trainer
from tedg.learn.capture import Plain
from tedg.learn.evaluation import PolicyPlayer
from tedg.learn.stages import make_schedule
from tedg.models import distinct
from tedg.models.formulas import fixed_shapes
from tedg.models.routing import Softmax
from tedg.signals import StopFlag
from tedg.watch.console import QuietConsole

CPU = torch.device("cpu")

FUSIONS = (
    ("fusion=cross_attn",),
    ("fusion=concat",),
    ("fusion=cross_attn", "fusion/gate=entmax"),
    ("fusion=cross_attn_headgate",),
    ("fusion=concat_tokens",),
    ("fusion=cross_attn", "fusion/gate=random_topk"),
    ("fusion=cross_attn_dense",),
    ("fusion=concat_matched",),
    ("fusion=cross_attn", "fusion/gate=none"),
)
ROUTINGS = ("stage", "entmax", "sparsemax", "symbolic", "topk_softmax", "uniform", "softmax")
STAGES = ("curriculum", "warmup", "transition", "finetune")


def cells(count):
    """Every option of every group beside several of each other group."""
    for number in range(count):
        routing = ROUTINGS[number % len(ROUTINGS)]
        yield (
            *FUSIONS[number % len(FUSIONS)],
            f"routing={routing}",
            f"stage={STAGES[number % len(STAGES)]}",
            "vision=state" if number % 3 == 2 else "vision=glyph",
            "logic=none" if number % 5 == 4 and routing != "symbolic" else "logic=hypergraph_gat",
            "policy.dropout=0.1" if number % 4 == 3 else "policy.dropout=0",
        )


# Six of them name most options; tests/every_cell.py --captured tries all cells.
TIERS = (*[pytest.mark.more] * 6, *[pytest.mark.slow] * 22)
CELLS = [pytest.param(c, id=" ".join(c), marks=tier) for c, tier in zip(cells(28), TIERS, strict=True)]


def test_cells_are_of_all_options():
    """`tests/every_cell.py --captured` tries all that compose."""
    _, options = group_options()
    names = {override for cell in cells(28) for override in cell}
    for group in ("fusion", "fusion/gate", "routing", "vision", "logic", "stage"):
        missing = {f"{group}={option}" for option in options[group]} - names
        assert missing <= {"fusion/gate=topk"}, missing  # cross_attn's own


@pytest.mark.parametrize("cell", CELLS)
def test_replayed_updates_equal_plain_ones(cell):
    tape = Tape()
    whole = "stage=curriculum" in cell
    compare(Training(tape, *cell), Training(Plain(), *cell), (0.1, 0.5, 0.6, 0.9) if whole else (0.2, 0.7))
    assert tape.told == []
    assert (
        tape.recorded >= 5
    )  # two groups of games, the value, before, with and after minibatches of two sizes


@pytest.mark.more
def test_an_annealed_exponent_is_read_anew(monkeypatch):
    """The same recording serves all exponents between softmax and sparsemax; this is what shows a leak."""
    overrides = ("routing=entmax", "stage=transition")
    tape = Tape()
    captured, plain = Training(tape, *overrides), Training(Plain(), *overrides)
    compare(captured, plain, (0.3,))
    recorded = tape.recorded
    compare(captured, plain, (0.6,))
    assert tape.recorded == recorded
    numbers = held.HeldSettings.take
    monkeypatch.setattr(held.HeldSettings, "take", lambda own, settings: own._held or numbers(own, settings))
    with pytest.raises(AssertionError):
        compare(captured, plain, (0.9,))


def nan_rewards(rollout):
    """A fault."""
    rollout.reward[3, 1] = math.nan


@pytest.mark.more
def test_a_fault_rolls_a_captured_update_back():
    captured, plain = Training(Tape()), Training(Plain())
    compare(captured, plain, (0.1,))
    before = captured.learner.parameters.value.detach().clone()
    compare(captured, plain, (0.2,), spoil=nan_rewards)
    assert torch.equal(captured.learner.parameters.value, before)
    compare(captured, plain, (0.3,))


@pytest.mark.more
@pytest.mark.parametrize(("first", "second"), [(Tape, Plain), (Plain, Tape), (Tape, Tape)])
def test_a_state_moves_between_captured_and_plain_learners(first, second):
    """What a checkpoint holds; the games of the new ones are others, so both get the same rollouts."""
    one, other = Training(first()), Training(second())
    compare(one, one, ())
    for done in (0.1, 0.2):
        one.update(done)
    other.learner.restore(one.learner.state())
    other.learner.generator.set_state(one.learner.generator.get_state())
    settings = one.settings(0.3)
    with fixed_shapes():
        rollout = one.collector.collect(settings)
        results = [training.learner.update(rollout, settings) for training in (one, other)]
    close(other.learner.parameters.value, one.learner.parameters.value)
    assert results[0].metrics == pytest.approx(results[1].metrics, rel=1e-9, abs=1e-12)


@pytest.mark.more
def test_what_cannot_be_captured_runs_plainly_and_says_so(monkeypatch):
    """As with a hypergraph of more pairs than are all computed with."""
    monkeypatch.setattr(distinct, "MAX_FIXED", 1000)
    monkeypatch.setattr("tedg.models.logic.MAX_REMEMBERED", 1000)
    tape = Tape()
    compare(Training(tape), Training(Plain()), (0.1, 0.2))
    assert any("not captured as a CUDA graph" in line and "nonzero" in line for line in tape.told)


def test_captured_games_are_played_alike():
    """The player of held-out games."""
    config, env, policy = toy(*SMALL)
    stages, _ = make_schedule(config)
    settings = stages[0].settings(0)
    players = [PolicyPlayer(policy, settings, CPU, 3, capture) for capture in (Tape(), Plain())]
    observation = env.reset()
    with fixed_shapes():
        for _ in range(5):
            actions, expected = (player.act(observation) for player in players)
            assert actions.tolist() == expected.tolist()
            observation = env.step(actions).observation


def test_every_step_has_draws_of_its_own():
    config, env, policy = toy(*SMALL)
    player = PolicyPlayer(policy, make_schedule(config)[0][0].settings(0), CPU, 3)
    observation = env.reset()
    assert len({tuple(player.act(observation)) for _ in range(20)}) > 10


def test_the_race_draws_from_the_policy():
    generator = torch.Generator().manual_seed(0)
    probs = torch.tensor([0.5, 0.3, 0.15, 0.05, 0.0], dtype=torch.float64)
    race = torch.empty(100_000, 5).exponential_(generator=generator)
    counts = torch.bincount((probs / race).argmax(dim=1), minlength=5)
    assert counts[4] == 0
    assert stats.chisquare(counts[:4], 100_000 * probs[:4]).pvalue > 1e-4


@pytest.mark.more_than_first(1)
@pytest.mark.parametrize("fusion", ["cross_attn", "concat"])
def test_formulas_of_a_gpu_give_the_cpus_values_and_gradients(fusion):
    _, env, policy = toy(*NARROW, f"fusion={fusion}")
    policy.double()
    for parameter in policy.parameters():  # biases of 0 would put bare stone on relu's kink
        parameter.data += 0.01 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    observation = batch(env, policy)
    results = []
    for formulas in (fixed_shapes, torch.enable_grad):
        policy.zero_grad()
        with formulas():
            output = policy(observation, Softmax(), 1.0)
            (output.policy_logits.square().sum() + output.value.square().sum()).backward()
        gradients = [p.grad for p in policy.parameters() if p.grad is not None]
        results.append([output.policy_logits.detach(), output.value.detach(), *gradients])
    assert len(results[0]) == len(results[1]) > 20
    for ours, expected in zip(*results, strict=True):
        close(ours, expected)


@pytest.mark.more
def test_a_captured_run_that_was_stopped_goes_on_where_it_was(tmp_path, monkeypatch):
    """Games, weights and evaluation, through the trainer."""
    tapes = []

    def taped(*_):
        tapes.append(Tape())
        return tapes[-1]

    monkeypatch.setattr(trainer, "make_capture", taped)
    config = compose([*TINY, "budget.env_steps=256", "init_from=none"]).config
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    for run_dir in (whole, stopped):
        run_dir.mkdir()
    trainer.train(config, whole, None, QuietConsole(), StopFlag())
    stop = StopFlag()
    with pytest.raises(Stopped):
        trainer.train(config, stopped, None, Stopping(stop, 2), stop)
    trainer.train(config, stopped, None, QuietConsole(), StopFlag())
    for name in ("metrics.jsonl", "games.csv"):
        assert (stopped / name).read_bytes() == (whole / name).read_bytes()
    assert all(tape.recorded and tape.told == [] for tape in tapes)


class Stopping(QuietConsole):
    """Asks for the end after some updates."""

    def __init__(self, stop, after):
        super().__init__()
        self.stop, self.left = stop, after

    def update(self, progress):
        self.left -= 1
        if not self.left:
            self.stop.request(signal.SIGTERM)
