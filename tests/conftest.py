"""Shared by all tests: checks of types and shapes, one thread, small configurations."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import pytest  # noqa: E402  after the limits
from jaxtyping import install_import_hook  # noqa: E402

# Where tensors are passed around, every annotation of a called function is checked, shapes included.
install_import_hook(["tedg.models", "tedg.learn"], "type_checks.check")

from tedg.compose import Composed, compose  # noqa: E402  after the hook
from tedg.config import RunConfig  # noqa: E402

TINY = (
    "env=fake",
    "env.num_envs=4",
    "env.max_episode_steps=10",
    "logic.embedding_dim=8",
    "logic.output_dim=16",
    "vision.head_dim=16",
    "vision.token_dim=8",
    "policy.router_hidden=[16]",
    "policy.expert_hidden=[16]",
    "policy.critic_hidden=[16]",
    "ppo.num_steps=16",
    "ppo.num_epochs=1",
    "ppo.minibatch_size=32",
    "budget.env_steps=128",
    "eval.games=2",
    "eval.players=[random]",
    "checkpoint.every_updates=1",
    "logger=none",
    "device=cpu",
    "threads=1",
)


@pytest.fixture
def compose_tiny(tmp_path: Path) -> Callable[..., Composed]:
    """Composes a run of a second on the toy environment, writing below `tmp_path`; takes overrides."""

    def make(*overrides: str, sweep: bool = False) -> Composed:
        paths = (f"paths.output_dir={tmp_path}/outputs", f"paths.multirun_dir={tmp_path}/multirun")
        return compose([*TINY, *paths, *overrides])

    return make


@pytest.fixture
def tiny_config(compose_tiny: Callable[..., Composed]) -> RunConfig:
    """The checked configuration of such a run."""
    return compose_tiny().config


def pytest_configure(config: pytest.Config) -> None:
    """PyTorch Geometric's own import warns under this torch; every other warning stays an error."""
    config.addinivalue_line(
        "filterwarnings", r"ignore:`torch\.jit\.(script|script_method)` is deprecated:DeprecationWarning"
    )
