"""docs/configuration.md says what conf/ and the schemas say."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import configuration_page

    return configuration_page


def change(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, old: str, new: str) -> None:
    """Let the page be made of a copy of conf/ in which a file is another."""
    shutil.copytree(ROOT / "conf", folder / "conf")
    file = folder / "conf" / name
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))
    monkeypatch.setattr(sys.modules["conf_files"], "CONF", folder / "conf")


def test_the_page_is_made_of_the_configuration(tool: Any) -> None:
    found = tool.PAGE.read_text()
    assert found == tool.page(), "write it anew: .venv/bin/python tools/configuration_page.py"


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "gamma: 0.995",
            "gamma: 0.9",
            "| `ppo.gamma` | `0.9` | number, above 0 and at most 1 | discount of a step |",
        ),
        ("# discount of a step", "# the <discount>", "at most 1 | the &lt;discount> |"),
        ("# Proximal policy", "# Quite another", "| `ppo=default` (default) | Quite another optimisation"),
    ],
)
def test_whatever_changes_changes_the_page(
    old: str, new: str, line: str, tool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert line not in tool.PAGE.read_text()
    change(monkeypatch, tmp_path, "ppo/default.yaml", old, new)
    assert line in tool.page()


def test_a_key_that_nobody_explains_is_refused(
    tool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(monkeypatch, tmp_path, "ppo/default.yaml", " # discount of a step", "")
    with pytest.raises(SystemExit, match=r"ppo\.gamma has no comment"):
        tool.page()
