"""The hypergraph encoder equals its naive form, scores what it should, and trains in every part."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import yaml
from support.naive_gat import naive_forward, operator_embeddings
from torch import Tensor

from tedg.envs.observation import Observation
from tedg.hypergraph.schema import MAX_CONDITIONS, Hypergraph, load_hypergraph
from tedg.models.logic import MAX_REMEMBERED, HypergraphEncoder, NoLogic, remembering
from tedg.models.norm import observing

NETHACK = load_hypergraph("nethack")
SMALL = {
    "version": "1",
    "num_actions": 3,
    "atoms": [{"name": name} for name in ("unused", "a", "b", "c")],
    "experts": ["One", "Two"],
    "operators": [
        {
            "id": "1",
            "name": "p",
            "expert": "One",
            "preconditions": ["a", "-b"],
            "scene": ["-c"],
            "actions": [0],
        },
        {"id": "2", "name": "q", "expert": "Two", "preconditions": ["c"], "actions": [1, 2]},
    ],
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Hypergraph:
    path: Path = tmp_path_factory.mktemp("hypergraph") / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    return load_hypergraph(path)


def make(hypergraph: Hypergraph = NETHACK, freeze: bool = False, seed: int = 0) -> HypergraphEncoder:
    torch.manual_seed(seed)
    return HypergraphEncoder(hypergraph, embedding_dim=16, num_heads=4, output_dim=24, freeze=freeze).double()


def states(count: int, num_atoms: int = len(NETHACK.atoms), seed: int = 0) -> Tensor:
    """States that share most of their bits, as those of neighbouring steps do."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.rand(4, num_atoms, generator=generator) < 0.3
    flips = torch.rand(count, num_atoms, generator=generator) < 0.1
    return base[torch.randint(4, (count,), generator=generator)] ^ flips


def encode(encoder: HypergraphEncoder, atoms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    output = encoder(Observation(atoms=atoms))
    return output.h_logic, output.operator_scores, operator_embeddings(encoder, atoms)


@pytest.mark.parametrize("name", ["nethack", "small"])
def test_compact_form_equals_one_graph_per_state(name: str, small: Hypergraph) -> None:
    hypergraph = NETHACK if name == "nethack" else small
    encoder, atoms = make(hypergraph), states(6, len(hypergraph.atoms))
    with observing(encoder):  # statistics under which the norm is not the identity
        encode(encoder, states(20, len(hypergraph.atoms), seed=1))
    compact, naive = encode(encoder, atoms), naive_forward(encoder, hypergraph, atoms)
    generator = torch.Generator().manual_seed(1)
    probes = [torch.randn(part.shape, generator=generator, dtype=torch.float64) for part in naive]
    parameters = dict(encoder.named_parameters())
    gradients = []
    for parts in (compact, naive):
        loss = sum((part * probe).sum() for part, probe in zip(parts, probes, strict=True))
        gradients.append(torch.autograd.grad(loss, list(parameters.values())))
    for ours, expected in zip(compact, naive, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)
    for parameter, ours, expected in zip(parameters, *gradients, strict=True):
        torch.testing.assert_close(
            ours, expected, rtol=1e-9, atol=1e-10, msg=lambda text, p=parameter: f"{p}: {text}"
        )


def test_score_without_head_is_the_share_of_satisfied_preconditions(small: Hypergraph) -> None:
    encoder = make(small)
    torch.nn.init.zeros_(encoder.score.weight)
    atoms = torch.tensor([[0, 1, 0, 1], [0, 1, 1, 0], [0, 0, 1, 1], [1, 0, 0, 0]]).bool()
    satisfied_p, satisfied_q = [2, 1, 0, 1], [1, 0, 1, 0]
    expected = [
        [math.log((p + 0.5) / 2.5), math.log((q + 0.5) / 1.5)]
        for p, q in zip(satisfied_p, satisfied_q, strict=True)
    ]
    torch.testing.assert_close(encode(encoder, atoms)[1], torch.tensor(expected, dtype=torch.float64))


def test_readout_weighs_embeddings_by_softmax_of_scores() -> None:
    encoder = make()
    h_logic, scores, embeddings = encode(encoder, states(5))
    pooled = torch.einsum("bo,bod->bd", scores.softmax(1), embeddings)
    torch.testing.assert_close(h_logic, encoder.norm(pooled @ encoder.readout.weight.T))


def test_negated_literal_holds_when_its_atom_is_false(small: Hypergraph) -> None:
    encoder = make(small)
    pairs = encoder.pairs(torch.tensor([[0, 1, 0, 1]]).bool()) - encoder.first_pair
    assert pairs.tolist() == [[0b011, 0b1]]  # a holds, -b holds, -c does not; c holds
    # Rows are literals in the order a, -b, -c, c, off and on, first as preconditions, then as scene.
    neighbours = encoder.pair_neighbours[pairs[0, 0] + encoder.first_pair[0]]
    features = torch.cat([encoder.literal_features()] * 2)[neighbours]
    atoms, states = encoder.atom_embedding.weight[:3], encoder.literal_state_embedding.weight[[3, 1, 0]]
    torch.testing.assert_close(features, atoms + states)


def test_longest_allowed_operator_keeps_every_pattern_apart(tmp_path: Path) -> None:
    names = [f"a{i}" for i in range(MAX_CONDITIONS)]
    operator = {"id": "1", "name": "p", "expert": "One", "preconditions": names, "actions": [0]}
    atoms = [{"name": name} for name in names]
    document = {"version": "1", "num_actions": 1, "atoms": atoms, "experts": ["One"], "operators": [operator]}
    path = tmp_path / "long.yaml"
    path.write_text(yaml.safe_dump(document))
    patterns = torch.cat([torch.eye(MAX_CONDITIONS), 1 - torch.eye(MAX_CONDITIONS)]).bool()
    encoder = make(load_hypergraph(path))
    neighbours = encoder.pair_neighbours[encoder.pairs(patterns)[:, 0]]
    assert torch.equal(neighbours % 2 == 1, patterns)


def test_too_many_patterns_are_refused(small: Hypergraph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tedg.models.logic.MAX_PAIRS", 9)
    with pytest.raises(ValueError, match="10 on/off patterns of its operators' conditions, at most 9"):
        make(small)


@pytest.mark.parametrize("limit", [MAX_REMEMBERED, 9])
def test_remembering_changes_only_rounding(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tedg.models.logic.MAX_REMEMBERED", limit)
    encoder, atoms = make(), states(20)
    with torch.no_grad():
        expected = encode(encoder, atoms)
        with remembering(encoder):
            remembered = encode(encoder, atoms)
        encoder.operator_embedding.weight += 1.0
        after = encode(encoder, atoms)
    for ours, reference, changed in zip(remembered, expected, after, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-12, atol=1e-12)
        assert not torch.allclose(changed, reference)


def test_only_atoms_in_use_are_embedded(small: Hypergraph) -> None:
    used = {x.atom for o in NETHACK.operators for x in o.preconditions + o.scene}
    assert make().atom_embedding.num_embeddings == len(used) < len(NETHACK.atoms)
    encoder, atoms = make(small), states(3, 4)
    unused_flipped = atoms.clone()
    unused_flipped[:, 0] ^= True
    for ours, expected in zip(encode(encoder, unused_flipped), encode(encoder, atoms), strict=True):
        assert torch.equal(ours, expected)


def test_every_condition_of_an_operator_changes_its_embedding() -> None:
    encoder, conditions = make(), NETHACK.conditions()
    base = torch.zeros(1, len(NETHACK.atoms), dtype=torch.bool)
    before = encode(encoder, base)[2][0]
    for atom in set(conditions.atom[conditions.valid].tolist()):
        flipped = base.clone()
        flipped[0, atom] = True
        changed = (encode(encoder, flipped)[2][0] != before).any(1)
        reads = ((conditions.atom == atom) & conditions.valid).any(1)
        assert changed.tolist() == reads.tolist(), NETHACK.atoms[atom]


def test_rows_do_not_depend_on_the_rest_of_the_batch() -> None:
    encoder, atoms = make(), states(40)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(2))
    whole = encode(encoder, atoms)
    shuffled = encode(encoder, atoms[order])
    alone = encode(encoder, atoms[7:8])
    for full, mixed, single in zip(whole, shuffled, alone, strict=True):
        torch.testing.assert_close(mixed, full[order], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(single[0], full[7], rtol=1e-12, atol=1e-12)


def test_equal_batches_give_equal_bits() -> None:
    encoder, atoms = make().float(), states(64)
    runs = []
    for _ in range(2):
        output = encoder(Observation(atoms=atoms))
        gradient = torch.autograd.grad(output.h_logic.square().sum(), list(encoder.parameters()))
        runs.append((output.h_logic, output.operator_scores, *gradient))
    assert all(torch.equal(first, second) for first, second in zip(*runs, strict=True))


def test_gradient_reaches_every_parameter_through_h_logic() -> None:
    encoder = make()
    h_logic = encode(encoder, states(64))[0]
    probe = torch.randn(h_logic.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    (h_logic * probe).sum().backward()
    largest = {name: parameter.grad.abs().max().item() for name, parameter in encoder.named_parameters()}
    floor = 1e-9 * max(largest.values())
    assert [name for name, value in largest.items() if not value > floor] == []


def test_every_embedding_row_is_trained_once_its_pattern_occurs(small: Hypergraph) -> None:
    encoder = make(small)
    atoms = torch.cartesian_prod(*[torch.tensor([False, True])] * 4)
    h_logic = encode(encoder, atoms)[0]
    probe = torch.randn(h_logic.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    (h_logic * probe).sum().backward()
    for table in (encoder.atom_embedding, encoder.literal_state_embedding, encoder.operator_embedding):
        assert (table.weight.grad.abs().amax(1) > 0).all()


def test_output_shapes_and_buffers() -> None:
    encoder = make().float()
    output = encoder(Observation(atoms=states(4)))
    assert output.h_logic.shape == (4, encoder.output_dim) == (4, 24)
    assert output.operator_scores.shape == (4, encoder.num_operators) == (4, 78)
    assert output.h_logic.dtype == output.operator_scores.dtype == torch.float32
    assert encoder.inputs == ("atoms",)
    names = [NETHACK.experts[k] for k in encoder.expert_of_operator.tolist()]
    assert names == [operator.expert for operator in NETHACK.operators]
    statistics = {f"norm.{name}" for name in ("mean", "variance", "batches")}
    assert set(encoder.state_dict()) == {name for name, _ in encoder.named_parameters()} | statistics


def test_freeze_leaves_nothing_to_train() -> None:
    encoder = make(freeze=True)
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert not encoder(Observation(atoms=states(4))).h_logic.requires_grad


def test_wrong_sizes_are_named() -> None:
    with pytest.raises(ValueError, match="127 atoms given, the hypergraph has 128"):
        make()(Observation(atoms=states(2, 127)))
    with pytest.raises(ValueError, match="num_heads=3 must divide embedding_dim=16"):
        HypergraphEncoder(NETHACK, embedding_dim=16, num_heads=3, output_dim=8, freeze=False)


def test_control_says_the_same_in_every_state() -> None:
    torch.manual_seed(0)
    control = NoLogic(NETHACK, output_dim=24)
    output = control(Observation(mask=torch.ones(5, 23, dtype=torch.bool)))
    assert output.h_logic.shape == (5, control.output_dim)
    assert (output.h_logic == output.h_logic[0]).all()
    assert output.h_logic.any()
    assert output.operator_scores is None
    output.h_logic.sum().backward()
    assert torch.equal(control.constant.grad, torch.full((24,), 5.0))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_cpu() -> None:
    encoder, atoms = make(), states(64)
    expected = [part.detach() for part in encode(encoder, atoms)]
    for ours, reference in zip(encode(encoder.cuda(), atoms.cuda()), expected, strict=True):
        torch.testing.assert_close(ours.cpu(), reference, rtol=1e-10, atol=1e-10)
