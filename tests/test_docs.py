"""The commands of README.md and docs/ work as they stand there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.doc_commands import ROOT, Block, Checkout, blocks, overlooked

DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
GRAPH = {  # the smallest that docs/converting-hypergraphs.md could speak of
    "nodes": [
        {"id": number, "label": f"{command}_1", "type": "operator"}
        for number, command in enumerate(("move", "attack_melee", "eat", "wait", "pray"))
    ]
    + [{"id": 5, "label": "hp_full", "type": "condition"}],
    "edges": [[5, number, "satisfies"] for number in range(5)],
}


def quick_or_slow(path: Path) -> Any:
    """Whoever extends the framework trains contracts, which takes minutes; others run in seconds."""
    marks = pytest.mark.slow if path.name == "extending.md" else ()
    return pytest.param(path, id=path.name, marks=marks)


@pytest.mark.more
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("document", [quick_or_slow(path) for path in DOCUMENTS])
def test_every_command_of_a_document(document: Path, tmp_path: Path) -> None:
    text = document.read_text()
    checkout = Checkout(tmp_path, text)
    (tmp_path / "graph.json").write_text(json.dumps(GRAPH))  # what a reader brings along
    (tmp_path / "old.json").write_text(json.dumps(GRAPH))
    for block in blocks(text):
        checkout.try_block(block)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_no_command_is_overlooked(document: Path) -> None:
    assert list(overlooked(document.read_text())) == []


def test_commands_in_fences_and_of_other_programs_are_overlooked() -> None:
    text = """    make smoke

```
make demo
3.1 of 4
```

    pip install tensorboard
    10 of 10 parts work
"""
    assert list(overlooked(text)) == ["make demo", "pip install tensorboard"]


def test_commands_are_found_where_they_stand() -> None:
    text = """# A title

    make smoke     # a comment

<!-- long -->

    TEDG_ALLOW=x .venv/bin/python -m tedg.train fusion=concat
    .venv/bin/python a.py

Or `python -m tedg.bench --quick`, which is `fast`.

    no command

```
    make nothing
```
"""
    assert list(blocks(text)) == [
        Block(("make smoke     # a comment",), False),
        Block(("TEDG_ALLOW=x .venv/bin/python -m tedg.train fusion=concat", ".venv/bin/python a.py"), True),
        Block(("python -m tedg.bench --quick",), True),
    ]


@pytest.mark.more
@pytest.mark.parametrize(
    "line",
    [
        "make smok",
        ".venv/bin/python -m tedg.train -m fusion=concat,cross_atn",
        "TEDG_ALLOW=my_lab .venv/bin/python -m tedg.train fusion/gate=threshold",
        ".venv/bin/python -m tedg.bench --quik",
        ".venv/bin/python tests/no_such_script.py",
        "uv run something",
    ],
)
def test_a_wrong_command_is_noticed(line: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        Checkout(tmp_path).look_at(line)
