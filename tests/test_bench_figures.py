"""What the benchmark reads and reckons: /proc, counted operations, ratios, the limit, replayed games."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from support.models import toy
from support.seeds import numbered_seeds
from support.settings import NARROW
from torch import nn

from tedg.bench.arithmetic import flops
from tedg.bench.flops import FlopCounter
from tedg.bench.jobs import Job
from tedg.bench.plan import Measurement
from tedg.bench.replay import Replay, random_legal
from tedg.bench.resources import Memory, MemoryPeak, cpu_seconds, family, memory, memory_alone
from tedg.bench.results import limit, parts
from tedg.config.compose import compose
from tedg.learn.rollout import Collector
from tedg.learn.setup import make_env
from tedg.learn.stages import make_schedule


def process(proc, pid, parent, name="python", ticks=(0, 0), **files):
    folder = proc / str(pid)
    folder.mkdir()
    zeros = " ".join(["0"] * 9)
    (folder / "stat").write_text(f"{pid} ({name}) S {parent} {zeros} {ticks[0]} {ticks[1]} 0 0 20")
    for file, text in files.items():
        (folder / file).write_text(text)


def test_a_family_is_the_process_and_all_below_it(tmp_path):
    for pid, parent, name in (
        (10, 1, "a"),
        (11, 10, "b) S 1 ("),
        (12, 11, "c d"),
        (13, 1, "e"),
        (9, 12, "f"),
    ):
        process(tmp_path, pid, parent, name)
    (tmp_path / "self").mkdir()
    assert sorted(family(10, tmp_path)) == [9, 10, 11, 12]
    assert family()[0] == os.getpid()


def test_cpu_time_is_user_and_system_of_those_that_live(tmp_path):
    process(tmp_path, 10, 1, ticks=(200, 50))
    process(tmp_path, 11, 10, ticks=(30, 20))
    assert cpu_seconds([10, 11, 12], tmp_path) == 300 / os.sysconf("SC_CLK_TCK")


ROLLUP = "5-6 ---p 0 00:00 0 [rollup]\nRss:  900 kB\nPss:  {} kB\nPss_Dirty:  7 kB\nSwapPss:  9 kB\n"
MAPS = "5-6 r--p\nRss:  4 kB\nPss:  1 kB\n6-7 r--p\nRss:  4 kB\nPss:  2 kB\n"
STATUS = "VmHWM:  99 kB\nVmRSS:  70 kB\n"


def test_memory_is_the_sum_of_proportional_shares(tmp_path):
    process(tmp_path, 10, 1, smaps_rollup=ROLLUP.format(100), smaps=MAPS, status=STATUS)
    process(tmp_path, 11, 10, smaps_rollup=ROLLUP.format(20), smaps=MAPS, status=STATUS)
    assert memory([10, 11], tmp_path) == Memory(120 * 1024, "PSS (smaps_rollup)")


@pytest.mark.parametrize(
    "rollup", [{}, {"smaps_rollup": "Rss:  900 kB\n"}, {"smaps_rollup": ROLLUP.format(0)}]
)
def test_without_a_rollup_the_maps_are_summed_and_without_those_rss_is_marked(tmp_path, rollup):
    process(tmp_path, 10, 1, smaps=MAPS, status=STATUS, **rollup)
    assert memory([10], tmp_path) == Memory(3 * 1024, "PSS (smaps)")
    process(tmp_path, 11, 1, status=STATUS, **rollup)
    assert memory([10, 11], tmp_path) == Memory(140 * 1024, "RSS")


def test_alone_a_forked_process_has_what_it_shares_with_its_siblings_for_itself(tmp_path):
    process(
        tmp_path, 10, 1, smaps_rollup=ROLLUP.format(300), status=STATUS
    )  # the parent: 600 of 900 kB are shared
    process(tmp_path, 11, 10, smaps_rollup=ROLLUP.format(400), status=STATUS)
    process(tmp_path, 12, 11, smaps_rollup=ROLLUP.format(20), status=STATUS)
    assert memory_alone(11, tmp_path) == 1024 * (400 + 20 + 600)


def test_the_peak_remembers_what_is_gone():
    peak = MemoryPeak()
    peak.sample()
    before = peak.most.bytes
    held = np.ones(200 * 2**20, np.uint8)  # far more than other processes' sharing of pages can hide
    peak.sample()
    del held
    peak.sample()
    assert before + 100 * 2**20 < peak.most.bytes


def counted(action):
    with FlopCounter() as counter:
        action()
    return counter.total


def test_a_small_net_is_counted_exactly():
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 4 * 6, 7))
    x = torch.randn(2, 3, 6, 8)
    convolution, linear = 2 * 2 * 5 * 4 * 6 * 3 * 9, 2 * 2 * 120 * 7
    assert counted(lambda: net(x)) == convolution + linear
    with torch.inference_mode():  # here operations arrive whole
        assert counted(lambda: net(x)) == convolution + linear
    # Backward: both gradients of the linear layer, but none for the convolution's input.
    assert counted(lambda: net(x).sum().backward()) == 2 * convolution + 3 * linear


class Product(torch.autograd.Function):
    """A product with a backward pass of its own."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w

    @staticmethod
    def backward(ctx, grad):
        x, w = ctx.saved_tensors
        return grad @ w.t(), x.t() @ grad


def test_every_kind_of_product_is_counted():
    a, b, c = torch.randn(4, 2, 3), torch.randn(4, 3, 5), torch.randn(4, 2, 5)
    assert counted(lambda: torch.bmm(a, b)) == 2 * 4 * 2 * 3 * 5
    assert counted(lambda: torch.baddbmm(c, a, b)) == 2 * 4 * 2 * 3 * 5
    assert counted(lambda: torch.einsum("bij,bjk->bik", a, b)) == 2 * 4 * 2 * 3 * 5
    assert counted(lambda: torch.addmm(c[0], a[0], b[0])) == 2 * 2 * 3 * 5
    assert counted(lambda: a[0] @ b[0][:, 0]) == 2 * 2 * 3
    x, w = torch.randn(2, 3, requires_grad=True), torch.randn(3, 5, requires_grad=True)
    assert counted(lambda: Product.apply(x, w).sum().backward()) == 3 * 2 * 2 * 3 * 5


@pytest.mark.more
def test_every_epoch_counts_as_much_as_the_one_before():
    def learning(epochs):
        lines = ["env=fake", "device=cpu", "logger=none", "fusion=concat", "vision=state", "logic=none"]
        config = compose([*NARROW, *lines, f"ppo.num_epochs={epochs}"]).config
        return flops(config)["learning_flops"]

    first, second, third = (learning(epochs) for epochs in (1, 2, 3))
    assert third - second == pytest.approx(second - first)
    assert second - first > 0.5 * first


def test_the_limit_is_the_time_of_game_and_products_together():
    assert limit(1000.0, 1e9, 1e6) == pytest.approx(500.0)
    assert limit(1000.0, 1e9, 0.0) == pytest.approx(1000.0)


def measured(part, rates, **labels):
    return Measurement(part, labels, Job("", "", {}), [{"steps_per_second": rate} for rate in rates])


def test_variants_are_compared_with_the_first_round_by_round():
    # The machine is half as fast in the second round; the ratio does not change.
    rows = parts([measured("policy", [100, 50], variant="a"), measured("policy", [300, 150], variant="b")])
    assert [row["relative"]["rounds"] for row in rows["policy"]] == [[1, 1], [3, 3]]
    speed = rows["policy"][0]["steps_per_second"]
    assert (speed["median"], speed["low"], speed["high"]) == (75, 50, 100)


def test_sizes_are_compared_with_the_fastest_of_their_kind():
    sizes = [("num_envs", 100), ("num_envs", 200), ("num_workers", 50), ("num_workers", 40)]
    rows = parts([measured("scaling", [rate], over=over) for over, rate in sizes])["scaling"]
    assert [row["relative"]["median"] for row in rows] == [0.5, 1.0, 1.0, 0.8]


def test_the_share_is_of_what_the_same_run_reached_end_to_end():
    counts = Measurement(
        "limit", {"variant": "a"}, Job("", "", {}), [{"acting_flops": 4e5, "learning_flops": 6e5}]
    )
    matrix = Measurement("limit", {"rate": "matrix"}, Job("", "", {}), [{"flops_per_second": 1e9}])
    machine = [measured("limit", [900, 1000, 1100], rate="NLE"), matrix, counts]
    with_loop = parts([measured("end-to-end", [100], variant="a"), *machine])["limit"]["variants"][0]
    assert with_loop["limit_steps_per_second"] == pytest.approx(500)
    assert with_loop["share"] == pytest.approx(0.2)
    assert parts(machine)["limit"]["variants"][0]["share"] is None
    assert "share" not in parts([counts])["limit"]["variants"][0]


def test_random_actions_are_legal_and_all_of_them():
    mask = np.random.default_rng(0).random((5, 23)) < 0.3
    mask[:, 4] = True
    rng = np.random.default_rng(1)
    actions = np.stack([random_legal(rng, mask) for _ in range(500)])
    for row, legal in enumerate(mask):
        assert set(actions[:, row]) == set(np.flatnonzero(legal))


def test_a_replay_repeats_what_was_played_and_can_be_collected_from():
    config, env, policy = toy(*NARROW, "env.max_episode_steps=6")
    replay = Replay(env, 8, seed=0)
    again = make_env(config, numbered_seeds)  # what the toy shows depends on no action
    again.reset()
    played = [again.step(np.zeros(8, np.int64)) for _ in range(8)]
    first = replay.reset()
    assert len(first) == env.num_envs
    for step in (*played, *played):
        received = replay.step(np.ones(8, np.int64))
        np.testing.assert_array_equal(received.observation.state, step.observation.state)
        np.testing.assert_array_equal(received.truncated, step.truncated)
    collector = Collector(replay, policy, 16, torch.device("cpu"), torch.Generator().manual_seed(0))
    rollout = collector.collect(make_schedule(config)[0][0].settings(0))
    np.testing.assert_array_equal(rollout.observation.atoms[0].numpy(), first.atoms)
    np.testing.assert_array_equal(rollout.observation.atoms[9].numpy(), rollout.observation.atoms[1].numpy())
    assert rollout.truncated.any()
