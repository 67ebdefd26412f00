"""The hypergraph's data file holds what it should, and a faulty file is refused by place and reason."""

from __future__ import annotations

import contextlib
import copy
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.hypergraphs import VALID

from tedg.hypergraph.document import MAX_BYTES
from tedg.hypergraph.schema import MAX_ATOMS, MAX_CONDITIONS, HypergraphError, Literal, load_hypergraph

NETHACK = load_hypergraph("nethack")


def write(path: Path, document: Any) -> Path:
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document, sort_keys=False))
    return path


def changed(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    document = copy.deepcopy(VALID)
    change(document)
    return document


def put(*keys: Any) -> Callable[[dict[str, Any]], None]:
    """Set the value named by all but the last key; the last is the value."""
    *path, last, value = keys

    def change(document: dict[str, Any]) -> None:
        node: Any = document
        for key in path:
            node = node[key]
        node[last] = value

    return change


def test_nethack_file_has_the_expected_content() -> None:
    assert len(NETHACK.atoms) == len(set(NETHACK.atoms)) == 128
    assert sum(atom.rare for atom in NETHACK.atom_table) == 32
    assert all(atom.formula for atom in NETHACK.atom_table)
    assert NETHACK.atoms[:3] == ("hp_full", "hp_low", "hp_mid")
    assert NETHACK.atoms[94] == "prompt"
    assert NETHACK.atoms[127] == "late_turn"
    assert NETHACK.experts == ("Survival", "Combat", "Exploration", "General")
    assert Counter(o.expert for o in NETHACK.operators) == dict(
        zip(NETHACK.experts, (21, 19, 26, 12), strict=True)
    )
    assert NETHACK.num_actions == 23
    assert {action for o in NETHACK.operators for action in o.actions} <= set(range(23))
    first = NETHACK.operators[0]
    assert (first.id, first.name, first.actions) == ("S01", "retreat_step", tuple(range(1, 9)))
    assert [str(literal) for literal in first.preconditions] == [
        "hostile_near",
        "hp_low",
        "-boxed_in",
        "-prompt",
    ]
    assert [str(literal) for literal in first.effects] == ["-hostile_adj", "-hp_lost"]


def test_conditions_are_preconditions_then_scene(tmp_path: Path) -> None:
    conditions = load_hypergraph(write(tmp_path / "h.yaml", VALID)).conditions()
    assert conditions.atom.tolist() == [[0, 1, 2], [2, 0, 0]]
    assert conditions.positive.tolist() == [[True, False, True], [True, False, False]]
    assert conditions.valid.tolist() == [[True, True, True], [True, False, False]]
    assert conditions.is_precondition.tolist() == [[True, True, False], [True, False, False]]
    assert conditions.expert.tolist() == [0, 1]
    assert conditions.atom.dtype == conditions.expert.dtype == np.int64
    assert NETHACK.conditions().valid.sum() == sum(
        len(o.preconditions) + len(o.scene) for o in NETHACK.operators
    )


def test_literals_parse_and_print() -> None:
    for text, literal in (("hp_low", Literal("hp_low", True)), ("-hp_low", Literal("hp_low", False))):
        assert Literal.parse(text) == literal
        assert str(literal) == text
    for text in ("", "-", "--a", "+a", "a b", "a-b", "1a", "¬a", "a\n"):
        with pytest.raises(ValueError, match="is not a literal"):
            Literal.parse(text)


def test_digest_follows_the_content_alone(tmp_path: Path) -> None:
    plain = load_hypergraph(write(tmp_path / "plain.yaml", VALID))
    commented = write(tmp_path / "commented.yaml", "# a comment\n" + yaml.safe_dump(VALID, sort_keys=True))
    as_json = write(tmp_path / "other.json", json.dumps(VALID, indent=1))
    assert plain.digest == load_hypergraph(commented).digest == load_hypergraph(as_json).digest
    assert load_hypergraph(commented).name == "commented"
    for change in (
        put("operators", 0, "actions", [4, 0]),
        put("operators", 0, "preconditions", ["hp_low", "prompt"]),
        put("operators", 0, "effects", []),
        put("atoms", 1, "rare", False),
        put("version", "2"),
    ):
        assert load_hypergraph(write(tmp_path / "changed.yaml", changed(change))).digest != plain.digest


FAULTS: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (
        put("operators", 0, "preconditions", ["hp_low", "-promt"]),
        'operators[0].preconditions[1]: unknown atom "promt", did you mean "prompt"?',
    ),
    (put("operators", 0, "scene", ["zzz"]), 'operators[0].scene[0]: unknown atom "zzz"'),
    (put("operators", 0, "effects", ["zzz"]), 'operators[0].effects[0]: unknown atom "zzz"'),
    (put("operators", 1, "expert", "Too"), 'operators[1].expert: unknown expert "Too", did you mean "Two"?'),
    (put("operators", 1, "expert", "One"), 'experts[1]: expert "Two" has no operator'),
    (put("operators", 1, "id", "A"), 'operators[1].id: "A" is already operators[0].id'),
    (put("operators", 1, "name", "rest"), 'operators[1].name: "rest" is already operators[0].name'),
    (put("atoms", 2, "name", "prompt"), 'atoms[2].name: "prompt" is already atoms[1].name'),
    (put("experts", ["One", "Two", "One"]), 'experts[2]: "One" is already experts[0]'),
    (put("operators", 1, "preconditions", []), "operators[1].preconditions: must not be empty"),
    (put("operators", 1, "actions", []), "operators[1].actions: must not be empty"),
    (
        put("operators", 0, "preconditions", ["prompt", "-prompt"]),
        'operators[0].preconditions[1]: "-prompt" contradicts "prompt" in the same list',
    ),
    (
        put("operators", 0, "effects", ["prompt", "prompt"]),
        'operators[0].effects[1]: "prompt" repeats "prompt" in the same list',
    ),
    (
        put("operators", 0, "scene", ["-hp_low"]),
        'operators[0].scene[0]: atom "hp_low" is a precondition already',
    ),
    (put("operators", 0, "scene", ["not it"]), "operators[0].scene[0]: 'not it' is not a literal"),
    (put("operators", 0, "actions", [0, 5]), "operators[0].actions[1]: must be from 0 to 4, got 5"),
    (put("operators", 0, "actions", [-1]), "operators[0].actions[0]: must be from 0 to 4, got -1"),
    (
        put("operators", 0, "actions", [1, 1]),
        'operators[0].actions[1]: "1" is already operators[0].actions[0]',
    ),
    (put("operators", 0, "actions", [True]), "operators[0].actions[0]: must be an integer, got bool 'True'"),
    (put("operators", 0, "actions", "1-8"), "operators[0].actions: must be a list, got str '1-8'"),
    (put("operators", 0, "actions", [1.5]), "operators[0].actions[0]: 1.5 reads as float"),
    (put("operators", 0, "name", 7), "operators[0].name: must be text, got int '7'"),
    (put("operators", 0, "name", ""), "operators[0].name: must not be empty"),
    (put("operators", 0, "target", None), "operators[0].target: must be text, got nothing"),
    (put("operators", 0, "target", "x" * 2000), "operators[0].target: is 2,000 characters long"),
    (put("operators", 0, "preconditions", {"hp_low": True}), "operators[0].preconditions: must be a list"),
    (put("operators", 0, ["hp_low"]), "operators[0]: must be a mapping"),
    (
        put("operators", 0, "precondition", ["hp_low"]),
        'operators[0]: unknown key "precondition", did you mean "preconditions"?',
    ),
    (lambda document: document["operators"][0].pop("id"), 'operators[0]: the key "id" is missing'),
    (lambda document: document.pop("atoms"), 'h.yaml: the key "atoms" is missing'),
    (put("extra", 1), 'h.yaml: unknown key "extra"'),
    (put("operators", []), "operators: must not be empty"),
    (put("operators", None), "operators: must be a list, got nothing"),
    (put("num_actions", 0), "num_actions: must be from 1 to"),
    (put("version", 1), "version: must be text, got int '1'"),
    (put("atoms", 0, "name", "-hp"), 'atoms[0].name: "-hp" must be letters'),
    (put("atoms", 0, "rare", "no, never"), "atoms[0].rare: must be true or false"),
    (put("atoms", 0, "colour", "red"), 'atoms[0]: unknown key "colour"'),
    (put("atoms", [{"name": f"a{i}"} for i in range(MAX_ATOMS + 1)]), "atoms: holds 4,097 entries"),
]


@pytest.mark.parametrize(("change", "expected"), FAULTS, ids=[expected[:60] for _, expected in FAULTS])
def test_fault_is_named_by_its_place(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], expected: str
) -> None:
    path = write(tmp_path / "h.yaml", changed(change))
    with pytest.raises(HypergraphError) as error:
        load_hypergraph(path)
    lines = str(error.value).splitlines()
    assert all(line.startswith("h.yaml: ") for line in lines)
    assert any(expected in line for line in lines), str(error.value)


def test_all_faults_are_reported_together(tmp_path: Path) -> None:
    document = changed(put("operators", 0, "preconditions", ["hp_lo", "-promt"]))
    document["operators"][1]["actions"] = [9]
    document["colour"] = "red"
    with pytest.raises(HypergraphError) as error:
        load_hypergraph(write(tmp_path / "h.yaml", document))
    assert str(error.value).splitlines() == [
        'h.yaml: unknown key "colour", the keys are version, num_actions, atoms, experts, operators',
        'h.yaml: operators[0].preconditions[0]: unknown atom "hp_lo", did you mean "hp_low"?',
        'h.yaml: operators[0].preconditions[1]: unknown atom "promt", did you mean "prompt"?',
        "h.yaml: operators[1].actions[0]: must be from 0 to 4, got 9",
    ]


def test_operator_with_too_many_conditions_is_refused(tmp_path: Path) -> None:
    names = [f"a{i}" for i in range(MAX_CONDITIONS + 1)]
    document = changed(put("atoms", [*VALID["atoms"], *({"name": name} for name in names)]))
    document["operators"][1].update(preconditions=names[:10], scene=names[10:])
    with pytest.raises(HypergraphError, match=r"operators\[1\]: more than 16 preconditions and scene"):
        load_hypergraph(write(tmp_path / "h.yaml", document))


BAD_TEXTS = {
    "empty": ("", "the file is empty"),
    "comment": ("# nothing\n", "the file is empty"),
    "scalar": ("just text", "must be a mapping with the keys"),
    "null": ("null", "must be a mapping"),
    "syntax": ("atoms: [a, b", "not valid YAML"),
    "tab": ("atoms:\n\t- a", "not valid YAML"),
    "control": ("atoms: \x01", "not valid YAML"),
    "two documents": ("a: 1\n---\nb: 2\n", "holds more than one document"),
    "tag": ("version: !!python/object/apply:os.system ['true']", "version: the tag"),
    "scalar tag": ("version: !!binary aGVsbG8=", "version: the tag"),
    "alias": ("a: &x [1]\nb: *x\n", "b: aliases (*name) are not allowed"),
    "recursive alias": ("a: &x [*x]\n", "a[0]: aliases"),
    "merge key": ("<<: {version: '1'}", "<< reads as merge"),
    "same key twice": ("version: '1'\nversion: '2'\n", "the key 'version' is given twice"),
    "key not text": ("1: a\n", "the key 1 must be text"),
    "list as key": ("? [a]\n: b\n", "must be text"),
    "date": ("version: 2024-13-45\n", "version: 2024-13-45 reads as timestamp"),
    "huge integer": ("num_actions: " + "9" * 5000, "reads as int"),
    "deep": ("a: " + "[" * 100_000, "nested more than 20 levels deep"),
    "deep blocks": ("- " * 100_000, "nested more than 20 levels deep"),
}


@pytest.mark.parametrize(("text", "expected"), BAD_TEXTS.values(), ids=BAD_TEXTS.keys())
def test_unreadable_document_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(HypergraphError) as error:
        load_hypergraph(write(tmp_path / "h.yaml", text))
    assert expected in str(error.value)
    assert len(str(error.value)) < 2000


def test_alias_bomb_is_refused_at_once(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    with pytest.raises(HypergraphError, match="aliases"):
        load_hypergraph(write(tmp_path / "h.yaml", "\n".join(lines)))


def test_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (MAX_BYTES + 1))
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"version: \xff\xfe")
    for target, expected in (
        (large, "large.yaml: larger than 2,000,000 bytes"),
        (binary, "binary.yaml: not UTF-8 text: byte 9 is 0xff"),
        (tmp_path, "not a regular file"),
        (
            tmp_path / "none.yaml",
            "none.yaml: no such hypergraph file; give one of the names needle, nethack, probe, sparse_needle",
        ),
        (
            "nethak",
            'no such hypergraph file; give one of the names .*, sparse_needle.*did you mean "nethack"',
        ),
        ("x" * 5000, "no such hypergraph file"),
        ("a\0b", "no such hypergraph file"),
    ):
        with pytest.raises(HypergraphError, match=expected):
            load_hypergraph(target)


def test_message_length_is_bounded(tmp_path: Path) -> None:
    document = changed(put("operators", [{"id": str(i)} for i in range(500)]))
    with pytest.raises(HypergraphError) as error:
        load_hypergraph(write(tmp_path / "h.yaml", document))
    lines = str(error.value).splitlines()
    assert len(lines) == 51
    assert lines[-1] == "h.yaml: and 1952 more faults"


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["hp_low", "-prompt", "One"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PLACES = [
    ("version",),
    ("num_actions",),
    ("atoms",),
    ("atoms", 1),
    ("experts",),
    ("operators",),
    ("operators", 0),
    *(
        ("operators", 1, key)
        for key in ("id", "name", "expert", "preconditions", "scene", "actions", "target")
    ),
]
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def load_or_refuse(path: Path) -> None:
    """Anything but a hypergraph or a HypergraphError fails the test."""
    with contextlib.suppress(HypergraphError):
        hypergraph = load_hypergraph(path)
        hypergraph.conditions()
        assert hypergraph.digest


@pytest.mark.more
@FUZZ
@given(text=st.text() | st.binary())
def test_fuzz_any_bytes(tmp_path: Path, text: str | bytes) -> None:
    path = tmp_path / "h.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    load_or_refuse(path)


@FUZZ
@given(place=st.sampled_from(PLACES), junk=JUNK)
def test_fuzz_any_value_anywhere(tmp_path: Path, place: tuple[Any, ...], junk: Any) -> None:
    load_or_refuse(write(tmp_path / "h.json", json.dumps(changed(put(*place, junk)))))


@FUZZ
@given(start=st.integers(0, 700), length=st.integers(0, 30), insert=st.text(max_size=5))
def test_fuzz_damaged_text(tmp_path: Path, start: int, length: int, insert: str) -> None:
    text = yaml.safe_dump(VALID, sort_keys=False)
    path = tmp_path / "h.yaml"
    path.write_bytes((text[:start] + insert + text[start + length :]).encode("utf-8", "surrogatepass"))
    load_or_refuse(path)


def test_loading_needs_no_torch() -> None:
    code = "import sys; from tedg.hypergraph.schema import load_hypergraph; load_hypergraph('nethack');"
    check = code + "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True, cwd=Path(__file__).parents[1])
