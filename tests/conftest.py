"""Shared by all tests: checks of types and shapes, one thread, and fixtures."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import pytest  # noqa: E402  after the limits

# Before the hook below, under which they would be compiled anew: nobody keeps its bytecode of other packages.
import torch_geometric.nn  # noqa: E402, F401
from jaxtyping import install_import_hook  # noqa: E402

pytest.register_assert_rewrite("support")  # its failures explain themselves as those of tests do

import support.type_checks  # noqa: E402  the hook finds it by its name

# Where tensors are passed around, every annotation of a called function is checked, shapes included.
install_import_hook(["tedg.models", "tedg.learn"], f"{support.type_checks.__name__}.check")

from support import browser  # noqa: E402  after the hook
from support.browser import Browser  # noqa: E402  after the hook
from support.settings import TINY  # noqa: E402  after the hook

from tedg.config.compose import Composed, compose  # noqa: E402  after the hook
from tedg.config.run_config import RunConfig  # noqa: E402


@pytest.fixture(scope="module")
def shown(request: pytest.FixtureRequest) -> Iterator[Browser]:
    """A browser; the tests are skipped where there is none."""
    if "browser" in request.config.getoption("markexpr") and (why := browser.install()):
        pytest.skip(why)
    if browser.program() is None:
        pytest.skip("no chromium here; make test-browser installs it")
    with browser.browser() as started:
        yield started


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


@pytest.fixture
def quick_figures(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What decides nothing takes most of the time: test_aggregates.py and test_verdict.py look at it."""
    from tedg.statistics import aggregates, power

    monkeypatch.setattr(aggregates, "RESAMPLES", 100)
    monkeypatch.setattr(power, "_FEW_PAIRS", 1)
    yield
    for cached in (power.minimal_effect, power.pairs_needed):
        cached.cache_clear()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of all temporary files of this test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[Any]]:
    """All processes that the test and what it calls start through `subprocess`, in that order."""
    processes: list[subprocess.Popen[Any]] = []

    class Recorded(subprocess.Popen[Any]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            processes.append(self)

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    return processes


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--part`: what the contract suite is about instead of the options in conf/."""
    overrides = "overrides that choose a part, e.g. 'fusion=mine hydra.searchpath=[file:///my/conf]'"
    parser.addoption("--part", action="append", default=[], metavar="OVERRIDES", help=overrides)


def pytest_configure(config: pytest.Config) -> None:
    """PyTorch Geometric's own import warns under this torch; every other warning stays an error."""
    config.addinivalue_line(
        "filterwarnings", r"ignore:`torch\.jit\.(script|script_method)` is deprecated:DeprecationWarning"
    )


@pytest.hookimpl(tryfirst=True)  # before pytest picks tests by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark `more` what `more_than_first(count)` says: a test keeps its first cases in the first tier."""
    seen: dict[str, int] = {}
    for item in items:
        marker = item.get_closest_marker("more_than_first")
        if marker is not None:
            test = item.nodeid.partition("[")[0]
            seen[test] = seen.get(test, 0) + 1
            if seen[test] > marker.args[0]:
                item.add_marker("more")
