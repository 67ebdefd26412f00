"""What is too large for the machine is refused before anything is made, with a number that would do."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from support.stand_ins import FakeTraining, Lines

from tedg.config.compose import Composed, compose
from tedg.errors import ConfigError
from tedg.learn import room
from tedg.run import app

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("overrides", "fits"),
    [
        (("env=fake", "env.num_envs=300000"), r"env\.num_envs=\d+"),
        (("ppo.num_steps=2000000", "env=fake"), r"ppo\.num_steps=\d+"),
        (("env=fake", "vision=state", "env.num_envs=900000"), r"env\.num_envs=\d+"),
    ],
)
def test_a_rollout_larger_than_memory(
    overrides: tuple[str, ...], fits: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number that the message names fits."""
    monkeypatch.setattr(room, "free_memory", lambda: 2 * 2**30)
    with pytest.raises(ConfigError, match=r"GiB of memory or more, and 2\.0 GiB are free") as error:
        room.require_room(compose(overrides).config, CPU)
    assert "\n" not in str(error.value)
    (smaller,) = re.findall(fits, str(error.value).partition("at most")[2])
    room.require_room(compose([*overrides, smaller]).config, CPU)


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("policy.critic_hidden=[64,90000000]", r"policy\.critic_hidden\[1\]=90000000"),
        ("logic.output_dim=900000000", r"logic\.output_dim=900000000"),
        ("eval.games=30000000", r"eval\.games=30000000"),
    ],
)
def test_a_single_setting_larger_than_memory(
    override: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "free_memory", lambda: 2 * 2**30)
    with pytest.raises(ConfigError, match=rf"^{key}: needs .*; at most \d+$"):
        room.require_room(compose(["env=fake", override]).config, CPU)


def test_more_games_than_a_process_may_have_files_for(
    compose_tiny: Callable[..., Composed], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the run's directory is made."""
    monkeypatch.setattr(room, "most_games", lambda: 10)
    composed = compose_tiny("env=nethack_score", "env.num_envs=33", "env.num_workers=3")
    with pytest.raises(ConfigError, match=r"one process plays 11 games.* play 10; at most 30") as error:
        app.run(composed, FakeTraining(), Lines())
    assert error.value.exit_code == 2
    assert not composed.root.exists()
    room.require_room(compose_tiny("env=nethack_score", "env.num_envs=30", "env.num_workers=3").config, CPU)
