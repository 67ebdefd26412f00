"""Milestones: the weights of the first update at or after so many env steps, whatever stops the run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.runs import assert_equal, contents, run
from support.settings import FASTEST

from tedg.config.compose import compose
from tedg.config.run_config import RunConfig
from tedg.errors import ConfigError, StorageError
from tedg.learn.milestones import Milestones, stage_of
from tedg.store import checkpoint

MORE = ("stage=curriculum", "budget.env_steps=320", "eval.games=0", "checkpoint.every_updates=2")


def kept(run_dir: Path) -> dict[str, tuple[bytes, dict[str, object]]]:
    """Weights and place of every milestone."""
    return {
        path.name: ((path / "model.safetensors").read_bytes(), json.loads((path / "state.json").read_text()))
        for path in sorted((run_dir / "milestones").iterdir())
    }


@pytest.fixture
def config(compose_tiny) -> RunConfig:
    return compose_tiny(*FASTEST, *MORE, "eval.milestones=[256,100,129]").config


@pytest.mark.more
def test_they_are_the_weights_of_their_update_whatever_stops_the_run(
    config: RunConfig, compose_tiny, tmp_path: Path
) -> None:
    run(config, tmp_path / "whole")
    whole = kept(tmp_path / "whole")
    # An update is 64 env steps; warmup is done after 64 of 320, transition after 192.
    assert {
        name: (place["env_steps"], place["update"], place["stage"]) for name, (_, place) in whole.items()
    } == {
        "ckpt-000000000100": (128, 2, "transition"),
        "ckpt-000000000129": (192, 3, "transition"),
        "ckpt-000000000256": (256, 4, "finetune"),
    }
    for name, update in (("ckpt-000000000100", 2), ("ckpt-000000000256", 4)):
        saved = tmp_path / "whole/checkpoints" / f"ckpt-{update:012d}" / "model.safetensors"
        assert whole[name][0] == saved.read_bytes()
    assert stage_of(tmp_path / "whole/milestones/ckpt-000000000129") == ("transition", 192.0)
    # Stopped after three updates, and killed after the fourth, which had written its milestone.
    run(config, tmp_path / "stopped", stop_after=3)
    later = tmp_path / "stopped/milestones/ckpt-000000000256"
    checkpoint.save(later.parent, 256, {"model": {}}, {"env_steps": 256})
    run(config, tmp_path / "stopped")
    assert kept(tmp_path / "stopped") == whole
    # A run that keeps none is the same run but for them.
    run(compose_tiny(*FASTEST, *MORE).config, tmp_path / "none")
    assert not (tmp_path / "none/milestones").exists()
    assert_equal(contents(tmp_path / "none"), contents(tmp_path / "whole"))


@pytest.mark.more
def test_one_that_the_run_is_past_is_told(config: RunConfig, compose_tiny, tmp_path: Path) -> None:
    run(compose_tiny(*FASTEST, *MORE).config, tmp_path / "run", stop_after=2)
    _, console = run(config, tmp_path / "run")
    (told,) = [text for text in console.warnings if "milestones" in text]
    assert "past 100 env steps" in told
    assert len(kept(tmp_path / "run")) == 2


def test_what_cannot_be_written_waits(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch import nn

    milestones = Milestones(tmp_path, (5,), {}, 0)
    policy = nn.Linear(1, 1)
    milestones.note(6, 1, "warmup", 6, policy)
    before = policy.weight.detach().clone()
    nn.init.constant_(policy.weight, 7.0)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_write", _refuse)
        with pytest.raises(StorageError):
            milestones.write()
    milestones.note(7, 2, "warmup", 7, policy)
    milestones.write()
    saved = checkpoint.load(tmp_path / "milestones/ckpt-000000000005")
    assert (saved.tensors["model"]["weight"], saved.state["env_steps"]) == (before, 6)


def _refuse(*_: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("eval.milestones=[5,5]", "twice"),
        ("eval.milestones=[0]", "eval.milestones"),
        ("eval.milestones=[2000]", "is past the run's end, budget.env_steps=1000"),
    ],
)
def test_others_are_refused(override: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        compose(["budget.env_steps=1000", override])
