"""The earlier project's graphs become valid hypergraphs, and every node and edge is accounted for."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.models import batch, toy
from support.settings import NARROW

from tedg.hypergraph.earlier.conversion import convert_graph
from tedg.hypergraph.earlier.convert import hypergraph_text, run
from tedg.hypergraph.earlier.graph import EDGE_TYPES, MAX_BYTES, EarlierGraph, Edge, Node
from tedg.hypergraph.earlier.links import condition_links, effect_links
from tedg.hypergraph.earlier.listing import report
from tedg.hypergraph.earlier.meanings import (
    COMMANDS,
    CONDITIONS,
    EFFECTS,
    NOT_COMMANDS,
    QUANTITIES,
    command_name,
)
from tedg.hypergraph.schema import MAX_CONDITIONS, Hypergraph, Literal, Operator, load_hypergraph

NETHACK = load_hypergraph("nethack")
DOCS = Path(__file__).parents[1] / "docs" / "converting-hypergraphs.md"
OUTCOMES = ("mapped", "changed", "merged", "dropped")
# Operator: labels it has under satisfies, context_of and leads_to.
Stated = dict[str, tuple[str, str, str]]
FOUR_EXPERTS: Stated = {
    "move_1234abcd": ("hp_full hunger_normal", "dlvl_1", "got_gold"),
    "attack_melee_rule_1234abcd": ("monster_alive", "adjacent_to_monster", "killed destroyed"),
    "eat_1234abcd": ("hunger_hungry", "", ""),
    "wait_1234abcd": ("player_alive", "rule_based", "turn_consumed"),
    "pray_1234abcd": ("hp_low", "", ""),
}


def document(stated: Stated) -> dict[str, Any]:
    """A file's content in the earlier project's format."""
    ids: dict[tuple[str, str], int] = {}
    edges: list[list[Any]] = []
    for operator, lists in stated.items():
        owner = ids.setdefault(("operator", operator), len(ids))
        for (kind, ends), labels in zip(EDGE_TYPES.items(), lists, strict=True):
            other_type = "effect" if kind == "leads_to" else "condition"
            for label in labels.split():
                other = ids.setdefault((other_type, label), len(ids))
                edges.append([owner, other, kind] if ends[0] == "operator" else [other, owner, kind])
    nodes = [{"id": number, "label": label, "type": kind} for (kind, label), number in ids.items()]
    return {"meta": {"total_nodes": len(nodes)}, "nodes": nodes, "edges": edges}


def graph_of(content: dict[str, Any]) -> EarlierGraph:
    nodes = {entry["id"]: Node(**entry) for entry in content["nodes"]}
    edges = tuple(Edge(nodes[source], nodes[target], kind) for source, target, kind in content["edges"])
    return EarlierGraph(tuple(nodes.values()), edges)


def written(path: Path, content: Any) -> str:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def converted(tmp_path: Path, stated: Stated) -> tuple[Hypergraph, dict[str, Any]]:
    """The loaded result and the JSON report of the command."""
    source = written(tmp_path / "earlier.json", document(stated))
    output, account = tmp_path / "out.yaml", tmp_path / "report.json"
    assert run([source, str(output), "--report", str(account)]) == 0
    return load_hypergraph(output), json.loads(account.read_text())


def only(tmp_path: Path, *lists: str, label: str = "move_1") -> Operator:
    """The first operator of a graph with one operator that has these lists of labels."""
    satisfies, context_of, leads_to = (*lists, "", "", "")[:3]
    return converted(tmp_path, {label: (satisfies, context_of, leads_to)})[0].operators[0]


def literals(found: tuple[Literal, ...]) -> str:
    return " ".join(map(str, found))


def test_tables_name_only_atoms_experts_and_actions_that_exist() -> None:
    formulas = {atom.name: atom.formula for atom in NETHACK.atom_table}
    for label, meaning in (CONDITIONS | EFFECTS).items():
        assert formulas[Literal.parse(meaning.literal).atom], label
    for command in COMMANDS.values():
        assert command.expert in NETHACK.experts
        assert set(command.actions) <= set(range(NETHACK.num_actions))
    assert {command.expert for command in COMMANDS.values()} == set(NETHACK.experts)
    assert not set(COMMANDS) & set(NOT_COMMANDS)


def test_commands_mean_what_the_shipped_operators_do() -> None:
    actions = {operator.name: operator.actions for operator in NETHACK.operators}
    pairs = {
        "move": "step_in_room",
        "search": "search_dead_end",
        "wait": "rest_wait",
        "kick": "start_kick_door",
        "eat": "open_food_menu",
        "go_down": "descend",
        "go_up": "return_upstairs",
        "attack_melee": "melee_attack",
        "open_door": "open_door",
    }
    for command, shipped in pairs.items():
        assert set(COMMANDS[command].actions) == set(actions[shipped]), command


def test_effects_can_stand_in_one_list() -> None:
    signs = {Literal.parse(meaning.literal) for meaning in EFFECTS.values()}
    assert len({literal.atom for literal in signs}) == len(signs) <= MAX_CONDITIONS


def test_quantities_name_no_label_that_is_none() -> None:
    assert set(QUANTITIES) <= {*CONDITIONS, "has_gold", "no_gold", "power_full"}


@pytest.mark.parametrize(
    ("label", "command"),
    [
        ("move_ac717ec4", "move"),
        ("move_no_pickup_ac717ec4", "move_no_pickup"),
        ("attack_melee_rule_15f7a59c", "attack_melee"),
        ("melee_attack_vs_newt", "melee_attack"),
        ("eat_autoascend_dlvl_5", "eat"),
        ("wait", "wait"),
        ("waiting", None),
        ("dance_ac717ec4", None),
        ("pickup_ac717ec4", "pickup"),
    ],
)
def test_the_longest_command_at_a_labels_start_counts(label: str, command: str | None) -> None:
    assert command_name(label) == command


def test_a_graph_becomes_a_hypergraph_that_says_the_same(tmp_path: Path) -> None:
    hypergraph, account = converted(tmp_path, FOUR_EXPERTS)
    assert hypergraph.atom_table == NETHACK.atom_table
    assert hypergraph.experts == NETHACK.experts
    assert hypergraph.num_actions == 23
    move, attack, eat, wait = hypergraph.operators
    assert (move.name, move.expert, move.actions) == ("move_1234abcd", "Exploration", tuple(range(1, 9)))
    assert literals(move.preconditions) == "hp_full not_hungry -prompt"
    assert literals(move.scene) == "depth_1"
    assert literals(move.effects) == "gold_up"
    assert (attack.expert, literals(attack.preconditions), literals(attack.scene)) == (
        "Combat",
        "-prompt",
        "hostile_adj",
    )
    assert literals(attack.effects) == "m_you_kill"
    assert (eat.expert, literals(eat.preconditions), eat.actions) == ("Survival", "hungry -prompt", (21,))
    assert (wait.expert, literals(wait.preconditions), wait.actions) == ("General", "-prompt", (19,))
    assert account["nodes"]["operator"] == {"total": 5, "mapped": 3, "changed": 1, "merged": 0, "dropped": 1}
    assert account["added"] == []
    assert account["operators_written"] == 4
    assert account["patterns"] == 2**4 + 2**2 + 2**2 + 2**1
    assert account["edges"]["satisfies"]["kept_share"] == pytest.approx(3 / 6)
    assert account["edges"]["context_of"]["kept_share"] == pytest.approx(2 / 3)
    assert account["edges"]["leads_to"] == {
        "total": 4,
        "mapped": 3,
        "changed": 0,
        "merged": 1,
        "dropped": 0,
        "kept_share": 1.0,
    }


def test_two_values_of_one_quantity_cancel_and_what_held_in_part_only_moves(tmp_path: Path) -> None:
    gates = "has_gold no_gold power_full power_empty hp_full confused"
    hypergraph, account = converted(tmp_path, {"move_1": (gates, "ac_poor ac_good", "")})
    operator = hypergraph.operators[0]
    assert literals(operator.preconditions) == "hp_full -prompt"
    assert literals(operator.scene) == "c_conf"
    counts = account["edges"]["satisfies"]
    assert [counts[outcome] for outcome in OUTCOMES] == [1, 1, 0, 4]
    assert literals(only(tmp_path_of(tmp_path, "two"), "hp_full confused").preconditions) == (
        "hp_full c_conf -prompt"
    )


def tmp_path_of(tmp_path: Path, name: str) -> Path:
    path = tmp_path / name
    path.mkdir()
    return path


def test_levels_that_become_one_atom_do_not_cancel(tmp_path: Path) -> None:
    assert literals(only(tmp_path, "", "dlvl_5 dlvl_7").scene) == "depth_5_9"
    assert literals(only(tmp_path_of(tmp_path, "two"), "", "dlvl_5 dlvl_10 on_upstairs").scene) == "on_up"


def test_no_atom_stands_twice_in_an_operator(tmp_path: Path) -> None:
    operator = only(tmp_path, "blind not_blind not_full see_monster on_upstairs", "monsters_present")
    assert literals(operator.preconditions) == "-satiated on_up hostile_seen -prompt"
    assert literals(operator.scene) == ""


def test_conditions_beyond_the_limit_are_cut_from_the_end_and_named(tmp_path: Path) -> None:
    gates = "hp_full hunger_normal confused stunned hallucinating has_food has_potion has_wand on_upstairs"
    scene = "exp_1 dlvl_1 ac_good adjacent_to_trap adjacent_to_item monsters_present is_locked"
    hypergraph, account = converted(tmp_path, {"move_1": (gates, scene, "")})
    operator = hypergraph.operators[0]
    assert len(operator.preconditions) + len(operator.scene) == MAX_CONDITIONS
    assert len(operator.preconditions) == len(gates.split()) + 1
    assert literals(operator.scene) == "xl_1 ac_good depth_1 trap_adj item_adj hostile_seen"
    assert [one["cut"] for one in account["labels"] if one["label"] == "move_1"] == [["is_locked"]]
    assert {"type": "context_of", "outcome": "dropped", "count": 1}.items() <= account["edge_reasons"][
        -1
    ].items()


def test_operators_that_become_equal_are_one_with_the_effects_of_both(tmp_path: Path) -> None:
    hypergraph, account = converted(
        tmp_path,
        {"move_1": ("hp_full", "", "missed"), "move_no_pickup_1": ("hp_full power_full", "", "hit")},
    )
    assert [one.name for one in hypergraph.operators if one.expert == "Exploration"] == ["move_1"]
    assert literals(hypergraph.operators[0].effects) == "m_you_hit m_you_miss"
    merged = next(one for one in account["labels"] if one["label"] == "move_no_pickup_1")
    assert (merged["outcome"], merged["into"]) == ("merged", "move_1")
    assert account["edges"]["leads_to"]["merged"] == 1
    assert account["edges"]["satisfies"]["dropped"] == 1


def test_an_operator_that_keeps_no_condition_is_dropped(tmp_path: Path) -> None:
    hypergraph, account = converted(
        tmp_path, {"move_1": ("has_weapon any_hp", "", ""), "wait_1": ("any_hp", "", "")}
    )
    assert "move_1" not in {one.name for one in hypergraph.operators}
    dropped = next(one for one in account["labels"] if one["label"] == "move_1")
    assert (dropped["outcome"], dropped["why"]) == ("dropped", "none of its conditions has an atom")


def test_an_expert_without_operators_gets_the_first_shipped_one(tmp_path: Path) -> None:
    hypergraph, account = converted(tmp_path, {"move_1": ("hp_full", "", "")})
    assert {one.expert for one in hypergraph.operators} == set(NETHACK.experts)
    assert account["added"] == ["retreat_step", "melee_attack", "cancel_prompt"]


LABELS = st.sampled_from(
    [*list(CONDITIONS)[:20], "on_upstairs", "has_gold", "no_gold", "power_full", "any_hp", "strategy_eat"]
)
STATED = st.dictionaries(
    st.sampled_from(["move_1", "move_2", "move_no_pickup_1", "eat_1", "pray_1", "dance", "open_door"]),
    st.tuples(
        st.lists(LABELS, max_size=24).map(" ".join),
        st.lists(LABELS, max_size=24).map(" ".join),
        st.lists(st.sampled_from([*EFFECTS, "nonsense"]), max_size=24).map(" ".join),
    ),
    min_size=1,
)


@pytest.mark.more
@settings(max_examples=60, deadline=None)
@given(STATED, st.randoms())
def test_every_graph_converts_counts_add_up_and_edge_order_is_nothing(
    stated: Stated, order: random.Random
) -> None:
    content = document(stated)
    conversion = convert_graph(graph_of(content), NETHACK)
    account = report(conversion)
    types = [entry["type"] for entry in content["nodes"]]
    for kind, counts in account["nodes"].items():
        assert counts["total"] == sum(counts[one] for one in OUTCOMES) == types.count(kind)
    for kind, counts in account["edges"].items():
        total = sum(edge[2] == kind for edge in content["edges"])
        assert counts["total"] == sum(counts[one] for one in OUTCOMES) == total
        for outcome in OUTCOMES[1:]:
            told = [
                one for one in account["edge_reasons"] if (one["type"], one["outcome"]) == (kind, outcome)
            ]
            assert sum(one["count"] for one in told) == counts[outcome]
    counts = account["nodes"]["operator"]
    assert account["operators_written"] == counts["mapped"] + counts["changed"] + len(account["added"])

    # What the edges add is what the operators hold; -prompt and operators added are on top.
    if not account["added"] and counts["merged"] == 0:
        held = sum(len(one.preconditions) - 1 + len(one.scene) for one in conversion.operators)
        edges = account["edges"]
        assert held == sum(edges[kind][one] for kind in ("satisfies", "context_of") for one in OUTCOMES[:2])

    order.shuffle(content["edges"])
    shuffled = convert_graph(graph_of(content), NETHACK)
    assert hypergraph_text(shuffled, NETHACK) == hypergraph_text(conversion, NETHACK)
    assert report(shuffled) == account


def test_of_equal_literals_one_that_says_the_same_stays_whatever_the_order() -> None:
    order = {name: index for index, name in enumerate(NETHACK.atoms)}
    edges = [("satisfies", "dlvl_2"), ("satisfies", "dlvl_3"), ("context_of", "dlvl_3")]
    found = condition_links(edges, order, room=15)
    assert found == condition_links(edges[::-1], order, room=15)
    assert [(one.type, one.label) for one in found if one.literal] == [("satisfies", "dlvl_2")]
    effects = effect_links([("leads_to", "destroyed"), ("leads_to", "killed")], order)
    assert [one.label for one in effects if one.literal] == ["killed"]


def test_repeated_edges_count_once_and_are_told_apart(tmp_path: Path) -> None:
    stated = {"eat_autoascend_dlvl_5": ("autoascend_ai " * 3, "dlvl_5 " * 5, "")}
    _, account = converted(tmp_path, stated)
    assert account["edges"]["satisfies"]["dropped"] == 3
    assert account["edges"]["context_of"] == {
        "total": 5,
        "mapped": 0,
        "changed": 1,
        "merged": 4,
        "dropped": 0,
        "kept_share": 1.0,
    }


def test_a_policys_logic_encoder_builds_from_a_converted_file_and_trains(tmp_path: Path) -> None:
    converted(tmp_path, FOUR_EXPERTS)
    path = tmp_path / "out.yaml"
    config, env, policy = toy(*NARROW, "fusion=cross_attn", f"env.hypergraph={path}")
    assert config.env["hypergraph"] == str(path)
    assert policy.logic.num_operators == 4
    output = policy.logic(batch(env, policy))
    assert output.operator_scores.shape == (batch(env, policy).atoms.shape[0], 4)
    (output.h_logic * torch.randn_like(output.h_logic)).sum().backward()
    assert torch.isfinite(output.h_logic).all()
    assert (policy.logic.operator_embedding.weight.grad.abs().sum(1) > 0).all()


def nodes(*entries: Any) -> dict[str, Any]:
    return {"nodes": list(entries), "edges": []}


def edge(*entry: Any) -> dict[str, Any]:
    return {**document({"move_1": ("hp_full", "", "killed")}), "edges": [list(entry)]}


MOVE = {"id": 0, "label": "move_1", "type": "operator"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not valid JSON"),
        ("nodes: []", "not valid JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"nodes": [], "nodes": []}', "the key 'nodes' is given twice"),
        ("[]", "must be a mapping with the keys nodes, edges, got a list"),
        ({"nodes": [MOVE]}, 'the key "edges" is missing'),
        ({"edges": []}, 'the key "nodes" is missing'),
        ({"nodes": [MOVE], "edges": [], "egdes": []}, 'unknown key "egdes", did you mean "edges"?'),
        ({"nodes": {}, "edges": []}, "nodes: must be a list, got a mapping"),
        ({"nodes": [], "edges": []}, "nodes: must not be empty"),
        (nodes({"id": 0, "label": "move_1"}), 'nodes[0]: the key "type" is missing'),
        (nodes({**MOVE, "id": "0"}), "nodes[0].id: must be an integer, got str '0'"),
        (nodes({**MOVE, "id": True}), "nodes[0].id: must be an integer"),
        (nodes({**MOVE, "id": -1}), "nodes[0].id: must be from 0 to"),
        (nodes({**MOVE, "label": 3}), "nodes[0].label: must be text"),
        (nodes({**MOVE, "label": "a\ud800"}), "nodes[0].label: must be at most 200 printable characters"),
        (nodes({**MOVE, "label": "move_" * 60}), "nodes[0].label: must be at most 200 printable"),
        (nodes({**MOVE, "type": "action"}), "nodes[0].type: must be one of condition, operator, effect"),
        (nodes(MOVE, {**MOVE, "label": "move_2"}), 'nodes[1].id: "0" is already nodes[0].id'),
        (nodes(MOVE, {**MOVE, "id": 1}), 'nodes[1]: "operator move_1" is already nodes[0]'),
        (edge(7, 0, "satisfies"), "edges[0][0]: there is no node with the id 7"),
        (edge(1, 9, "satisfies"), "edges[0][1]: there is no node with the id 9"),
        (edge("1", 0, "satisfies"), "edges[0][0]: must be a node's id, got str '1'"),
        (edge(1, 0), "edges[0]: must be a list of three"),
        (edge(1, 0, "causes"), "edges[0][2]: must be one of satisfies, context_of, leads_to"),
        (edge(0, 1, "satisfies"), "edges[0]: satisfies leads from condition to operator, not from operator"),
        (nodes({**MOVE, "label": "pray_1"}), "none of its 1 operators can be converted"),
        (nodes({**MOVE, "type": "effect"}), "none of its 0 operators can be converted"),
        (" " * (MAX_BYTES + 1), "larger than 16,000,000 bytes"),
    ],
)
def test_bad_input_ends_with_one_message_and_nothing_written(
    content: Any, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = written(tmp_path / "earlier.json", content)
    output = tmp_path / "out.yaml"
    assert run([source, str(output), "--report", str(tmp_path / "report.json")]) == 2
    printed, said = capsys.readouterr()
    assert said.startswith("error: ")
    assert said.count(message) == 1, said
    assert "earlier.json" in said
    assert printed == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["earlier.json"]


@pytest.mark.more
def test_more_operators_than_a_hypergraph_may_have_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = ["hp_full", "hunger_normal", "confused", "stunned", "hallucinating", "blind", "on_upstairs"]
    labels += ["has_food", "has_potion", "has_wand", "exp_1", "dlvl_1", "adjacent_to_trap"]
    stated = {
        f"move_{number}": (" ".join(x for bit, x in enumerate(labels) if number >> bit & 1), "", "")
        for number in range(1, 4200)
    }
    source = written(tmp_path / "earlier.json", document(stated))
    assert run([source, str(tmp_path / "out.yaml")]) == 2
    assert "at most 4,096 are allowed" in capsys.readouterr().err
    assert not (tmp_path / "out.yaml").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "the following arguments are required"),
        (["none.json", "{tmp}/out.yaml"], "none.json: no such file"),
        (["{tmp}", "{tmp}/out.yaml"], "not a regular file"),
        (["{tmp}/earlier.json", "{tmp}/out"], "ends in .yaml or .yml"),
        (["{tmp}/earlier.json", "{tmp}/none/out.yaml"], "there is no directory"),
        (["{tmp}/earlier.json", "{tmp}/old.yaml"], "old.yaml: exists already; name another file"),
        (["{tmp}/earlier.json", "{tmp}/out.yaml", "--report", "{tmp}/old.yaml"], "--report"),
        (
            ["{tmp}/earlier.json", "{tmp}/out.yaml", "--report", "{tmp}/earlier.json", "--force"],
            "is the same file as INPUT.json",
        ),
        (["{tmp}/earlier.json", "{tmp}/out.yaml", "--fast"], "unrecognized arguments: --fast"),
    ],
)
def test_wrong_usage_ends_with_one_message_and_nothing_written(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = written(tmp_path / "earlier.json", document(FOUR_EXPERTS))
    before = Path(source).read_text()
    written(tmp_path / "old.yaml", "old")
    assert run([flag.format(tmp=tmp_path) for flag in flags]) == 2
    printed, said = capsys.readouterr()
    assert said.startswith("error: ")
    assert said.count(message) == 1, said
    assert printed == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["earlier.json", "old.yaml"]
    assert ((tmp_path / "old.yaml").read_text(), Path(source).read_text()) == ("old", before)


def test_force_replaces_and_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    source = written(tmp_path / "earlier.json", document(FOUR_EXPERTS))
    output = tmp_path / "out.yaml"
    output.write_text("old")
    assert run([source, str(output), "--force"]) == 0
    first = output.read_bytes()
    assert run([source, str(output), "--force"]) == 0
    assert output.read_bytes() == first


def test_the_command_prints_tables_and_how_to_go_on_without_torch(tmp_path: Path) -> None:
    source = written(tmp_path / "earlier.json", document(FOUR_EXPERTS))
    code = (
        "import sys; from tedg.hypergraph.earlier.convert import run;"
        "assert run(sys.argv[1:]) == 0; assert 'torch' not in sys.modules"
    )
    output = str(tmp_path / "out.yaml")
    done = subprocess.run(
        [sys.executable, "-c", code, source, output], check=True, capture_output=True, text=True
    )
    for part in ("hunger_hungry", "bl[21]==2", "pray_1234abcd", "its key is not among the 23 actions"):
        assert part in done.stdout
    assert f"env.hypergraph={output}" in done.stdout
    assert done.stderr == ""


def test_help_says_what_goes_in_and_what_comes_out(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run(["--help"])
    assert not left.value.code
    text = capsys.readouterr().out
    for part in ("INPUT.json", "OUTPUT.yaml", "--report", "--force", "env.hypergraph=", "exit codes"):
        assert part in text


def test_the_documentation_lists_the_tables() -> None:
    rows = [line for line in DOCS.read_text().splitlines() if line.startswith("| `")]
    single = {label: meaning for label, meaning in CONDITIONS.items() if QUANTITIES.get(label) != "depth"}
    for label, meaning in [*single.items(), *EFFECTS.items()]:
        start, end = f"| `{label}` | `{meaning.literal}` |", f"| {meaning.difference} |"
        assert any(row.startswith(start) and row.endswith(end) for row in rows), label
    for label, command in COMMANDS.items():
        start, end = f"| `{label}` | {command.expert} |", f"| {command.difference} |"
        assert any(row.startswith(start) and row.endswith(end) for row in rows), label
    assert len(rows) == len(single) + len(EFFECTS) + len(COMMANDS)
