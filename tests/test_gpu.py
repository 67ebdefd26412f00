"""CUDA graphs on a real GPU: what `test_capture.py` shows with a stand-in. `make test-gpu` runs these."""

from __future__ import annotations

import math

import pytest
import torch
from support.training import Training, close, compare

from tedg.learn.capture import CudaGraphs, Plain

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def captured(*overrides, **settings):
    """(training with graphs, without, what could not be captured)."""
    told = []
    graphs = Training(CudaGraphs(told.append), *overrides, device="cuda", **settings)
    return graphs, Training(Plain(), *overrides, device="cuda", **settings), told


@pytest.mark.parametrize("routing", ["stage", "entmax", "topk_softmax", "symbolic", "uniform"])
@pytest.mark.parametrize("fusion", ["cross_attn", "cross_attn_headgate", "concat", "concat_tokens"])
def test_graphs_do_what_plain_functions_do(fusion, routing):
    graphs, plain, told = captured(f"fusion={fusion}", f"routing={routing}", "stage=curriculum")
    compare(graphs, plain, (0.1, 0.2, 0.5, 0.6, 0.9))
    assert told == []


@pytest.mark.parametrize("gate", ["none", "entmax", "random_topk"])
def test_gates(gate):
    graphs, plain, told = captured("fusion=cross_attn", f"fusion/gate={gate}", "policy.dropout=0.1")
    compare(graphs, plain, (0.1, 0.2))
    assert told == []


def test_the_first_gradient_in_float32():
    graphs, plain, _ = captured(double=False)
    for training in (graphs, plain):
        for parameter in training.policy.parameters():  # biases of 0 would put bare stone on relu's kink
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
            parameter.data += 0.01 * noise.to("cuda")
    settings = plain.settings(0.1)
    rollout = plain.collector.collect(settings)
    found = [training.learner.update(rollout, settings) for training in (graphs, plain)]
    ours, expected = (one.metrics["gradient/norm"] for one in found)
    assert ours == pytest.approx(expected, rel=1e-5)


def test_a_fault_is_rolled_back_and_graphs_go_on():
    def spoil(rollout):
        rollout.reward[3, 1] = math.nan

    graphs, plain, _ = captured()
    compare(graphs, plain, (0.1,))
    compare(graphs, plain, (0.2,), spoil=spoil)
    compare(graphs, plain, (0.3,))


def test_a_state_goes_to_the_cpu_and_back():
    graphs, plain, _ = captured()
    compare(graphs, plain, (0.1, 0.2))
    cpu = Training(Plain())
    cpu.learner.restore(graphs.learner.state())
    close(cpu.learner.parameters.value, graphs.learner.parameters.value.cpu())
    plain.learner.restore(cpu.learner.state())
    compare(graphs, plain, (0.3,))


def test_a_function_that_looks_at_a_value_runs_plainly():
    told, seen = [], []
    value = torch.ones(1, device="cuda")

    def looks():
        value.add_(1)
        seen.append(value.item())

    function = CudaGraphs(told.append)(looks, lambda: [value])
    function()
    function()
    assert seen[-2:] == [2.0, 3.0]
    assert len(told) == 1
