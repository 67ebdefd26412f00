"""Only classes of allowed packages are built from a configuration."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tedg.config.instantiate import build
from tedg.config.module_schemas import SLOTS
from tedg.config.targets import refusal
from tedg.errors import ConfigError
from tedg.models.fusion import CrossAttentionFusion
from tedg.models.gate import TopKGate

SIZES = {"vision_dim": 8, "token_dim": 8, "num_tokens": 5, "logic_dim": 8}


def test_nested_nodes_are_built_first_and_sizes_go_to_the_outermost() -> None:
    node = {
        "_target_": "tedg.models.fusion.CrossAttentionFusion",
        "gate": {"_target_": "tedg.models.gate.TopKGate", "keep": 0.5},
        "num_heads": 2,
        "head_dim": 4,
    }
    fusion = build(node, **SIZES)
    assert isinstance(fusion, CrossAttentionFusion)
    assert fusion.gate == TopKGate(0.5)


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.exec",
        "pathlib.Path.write_text",
        "subprocess.Popen",
        "hydra.utils.call",
        "tedg.config.targets.os.system",  # through a module that tedg imports
        "tedg.config.targets.os",
        "tedg.config.targets.Path",  # imported there, at home elsewhere
        "tedg.run.provenance.version",
        "tedgx.evil.Run",
        "tedg",
        "tedg.models..gate",
        "",
        None,
        3,
    ],
)
def test_hostile_targets_are_refused(target: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for node in (
        {"_target_": target},
        {"_target_": "tedg.models.gate.TopKGate", "keep": {"_target_": target}},
    ):
        with pytest.raises(ConfigError, match="_target_="):
            build(node)
    assert list(tmp_path.iterdir()) == []


def test_an_own_package_is_built_once_it_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ownlab.py").write_text("class Thing:\n    def __init__(self, width): self.width = width\n")
    monkeypatch.syspath_prepend(tmp_path)
    node = {"_target_": "ownlab.Thing", "width": 3}
    with pytest.raises(ConfigError, match="TEDG_ALLOW"):
        build(node)
    assert "ownlab" not in sys.modules
    monkeypatch.setenv("TEDG_ALLOW", "ownlab")
    assert build(node).width == 3


def test_folders_without_an_init_file_are_a_package_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bare_lab" / "parts" / "gates").mkdir(parents=True)
    (tmp_path / "bare_lab/parts/gates/hard.py").write_text("class Hard: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("TEDG_ALLOW", "bare_lab")
    assert refusal("bare_lab.parts.gates.hard.Hard") is None
    assert refusal("bare_lab.parts.gates.hard.Soft") == "bare_lab.parts.gates.hard has no Soft"
    assert refusal("bare_lab.parts.hard.Hard") == "there is no module bare_lab.parts.hard"
    assert type(build({"_target_": "bare_lab.parts.gates.hard.Hard"})).__name__ == "Hard"


def test_wrong_arguments_name_the_target() -> None:
    with pytest.raises(ConfigError, match=r"TopKGate: got an unexpected keyword argument 'kep'"):
        build({"_target_": "tedg.models.gate.TopKGate", "keep": 0.5, "kep": 0.5})


def test_every_target_with_a_schema_exists() -> None:
    for slot in SLOTS.values():
        for target in slot:
            assert refusal(target) is None, target
