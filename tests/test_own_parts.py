"""Settings of parts that tedg has no schema for are refused like its own, before anything starts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.settings import FASTEST, TINY
from support.stand_ins import FakeTraining, Lines

from tedg.config import own_parts
from tedg.config.compose import compose
from tedg.errors import ConfigError
from tedg.files import PACKAGE
from tedg.learn.setup import try_parts
from tedg.run import app

LAB = """
from __future__ import annotations
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal
from tedg.config.typed import Faults, Range
from tedg.models.fusion import ConcatFusion
from tedg.models.gate import Gate, TopKGate
from tedg.models.routing import Softmax
from tedg.models.vision import StateEncoder
if TYPE_CHECKING:
    from nowhere import Nothing

@dataclass(frozen=True, slots=True)
class Shifted(TopKGate):
    shift: float

class Warm(Softmax):
    def __init__(
        self, heat: float | str, steps: Sequence[int] = (), mode: Literal["up", "down"] = "up"
    ) -> None:
        if heat == 13:
            raise ValueError("heat must not be 13")

class Gated(ConcatFusion):
    def __init__(self, vision_dim: int, token_dim: int, num_tokens: int, logic_dim: int, gate: Gate) -> None:
        super().__init__(vision_dim, token_dim, num_tokens, logic_dim)

class Untyped(ConcatFusion):
    def __init__(self, vision_dim, token_dim, num_tokens, logic_dim, rank: "Nothing"):
        super().__init__(vision_dim, token_dim, num_tokens, logic_dim + rank)

class Described(StateEncoder):
    @dataclass(frozen=True)
    class Settings:
        token_dim: int
        hidden_dim: Annotated[int, Range(low=1)]
        head_dim: int = 16

        def validate(self, key: str, faults: Faults) -> None:
            if self.hidden_dim < self.token_dim:
                right = f"must be at least token_dim={self.token_dim}"
                faults.add(f"{key}.hidden_dim", self.hidden_dim, right)
"""
OPTIONS = {
    "fusion/gate/shifted": "Shifted\nkeep: 0.5\nshift: 1",
    "routing/warm": "Warm\nheat: 2.0\nsteps: [1, 2]\nmode: down",
    "fusion/gated": "Gated\ngate: {_target_: tedg.models.gate.TopKGate, keep: 0.5}",
    "fusion/untyped": "Untyped\nrank: 2",
    "vision/described": "Described\ntoken_dim: 8\nhidden_dim: 8\nhead_dim: 16",
}


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[str, ...]]:
    """A package beside tedg with its own YAML files; gives the overrides that choose one of its parts."""
    (tmp_path / "parts_lab.py").write_text(LAB)
    for option, content in OPTIONS.items():
        file = tmp_path / "conf" / f"{option}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"_target_: parts_lab.{content}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("TEDG_ALLOW", "parts_lab")
    monkeypatch.delitem(sys.modules, "parts_lab", raising=False)
    search = f"hydra.searchpath=[file://{tmp_path}/conf]"
    return lambda *overrides: (search, *TINY, *FASTEST, f"paths.output_dir={tmp_path}/outputs", *overrides)


GATE = ("fusion=cross_attn", "fusion/gate=shifted")


@pytest.mark.more_than_first(4)
@pytest.mark.parametrize(
    ("overrides", "faults"),
    [
        ((*GATE, "fusion.gate.shift=x"), ["fusion.gate.shift=x: must be a finite number"]),
        ((*GATE, "~fusion.gate.keep"), ["fusion.gate.keep: is missing"]),
        (("routing=warm", "routing.heat=[1]"), ["routing.heat=[1]: must be a finite number"]),
        (
            ("routing=warm", "routing.steps=[1,a]", "routing.mode=upp", "+routing.stepps=3"),
            [
                "routing.stepps=3: no such key; did you mean routing.steps?",
                "routing.steps[1]=a: must be a whole number",
                "routing.mode=upp: must be one of up, down; did you mean up?",
            ],
        ),
        (("fusion=gated", "fusion.gate.keep=2"), ["fusion.gate.keep=2.0: must be above 0 and at most 1"]),
        (("vision=described", "vision.hidden_dim=4"), ["vision.hidden_dim=4: must be at least token_dim=8"]),
        (("vision=described", "vision.hidden_dim=0"), ["vision.hidden_dim=0: must be at least 1"]),
    ],
)
def test_annotations_and_own_schemas_refuse(
    overrides: tuple[str, ...], faults: list[str], lab: Callable[..., tuple[str, ...]]
) -> None:
    with pytest.raises(ConfigError) as refused:
        compose(lab(*overrides))
    assert [line.strip() for line in str(refused.value).splitlines()[1:]] == faults


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ((*GATE, "fusion.gate.keep=7"), r"parts_lab.Shifted: keep must be in \(0, 1\], not 7"),
        (("routing=warm", "routing.heat=13"), "parts_lab.Warm: heat must not be 13"),
        (("fusion=untyped", "fusion.rank=a"), r"parts_lab.Untyped: TypeError: .*parts_lab.py, line 31\)"),
    ],
)
def test_constructors_refuse(
    overrides: tuple[str, ...], words: str, lab: Callable[..., tuple[str, ...]]
) -> None:
    config = compose(lab(*overrides)).config
    with pytest.raises(ConfigError, match=words):
        try_parts(config)


def test_sound_settings_are_kept_as_they_were_written(lab: Callable[..., tuple[str, ...]]) -> None:
    chosen = (*GATE, "routing=warm", "routing.steps=[1,2.0]", "vision=described", "~vision.head_dim")
    config = compose(lab(*chosen)).config
    assert config.fusion["gate"] == {"_target_": "parts_lab.Shifted", "keep": 0.5, "shift": 1}
    assert type(config.fusion["gate"]["shift"]) is int  # as it counted in ids before there were annotations
    assert config.routing["steps"] == [1, 2]
    assert config.routing["heat"] == 2.0
    assert config.vision == {"_target_": "parts_lab.Described", "token_dim": 8, "hidden_dim": 8}
    assert compose(lab("routing=warm", "routing.heat=hot")).config.routing["heat"] == "hot"


def test_nothing_is_imported_where_something_else_is_wrong(
    lab: Callable[..., tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_parts, "locate", lambda target: pytest.fail(f"{target} was imported"))
    with pytest.raises(ConfigError, match=r"1 fault.*\n  budget.env_steps=-3: must be at least 1"):
        compose(lab(*GATE, "fusion.gate.shift=x", "budget.env_steps=-3"))


def test_a_module_that_cannot_be_imported_says_why(
    lab: Callable[..., tuple[str, ...]], tmp_path: Path
) -> None:
    (tmp_path / "parts_lab.py").write_text("import no_such_thing\n\nclass Warm: ...\n")
    with pytest.raises(ConfigError, match=r"cannot be imported: ModuleNotFoundError: .*parts_lab.py, line 1"):
        compose(lab("routing=warm"))


def test_a_finished_run_tells_that_a_part_of_ones_own_has_changed(
    lab: Callable[..., tuple[str, ...]], tmp_path: Path
) -> None:
    composed = compose(lab("routing=warm"))
    app.run(composed, FakeTraining(), Lines())
    with (tmp_path / "parts_lab.py").open("a") as file:
        file.write("# changed\n")
    said = Lines()
    assert not app.run(composed, FakeTraining(), said).trained
    assert said.has("the code has changed since")


@pytest.mark.more
def test_the_command_starts_no_job_of_a_sweep_where_one_is_refused(
    lab: Callable[..., tuple[str, ...]], tmp_path: Path
) -> None:
    overrides = lab("fusion=cross_attn", "fusion/gate=shifted", "fusion.gate.keep=0.5,7")
    place = f"paths.multirun_dir={tmp_path}/multirun"
    done = subprocess.run(
        [sys.executable, "-m", "tedg.train", "-m", *overrides, place],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), str(tmp_path)])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: _target_=parts_lab.Shifted: keep must be in (0, 1], not 7"
    assert not (tmp_path / "multirun").exists()
