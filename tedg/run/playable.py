"""Whether a run has weights to play with, and what makes those that it has not."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from tedg.config.run_config import RunConfig
from tedg.errors import ConfigError
from tedg.store import rundir
from tedg.store.results import read_result
from tedg.store.study import read_study


def require_weights(directory: Path, config: RunConfig, steps: int | None) -> None:
    """Raises ConfigError for a run that has no such weights, or none yet, and StorageError.

    `steps` are those of a milestone; None: the last or the best weights of a run that has ended.
    """
    result = read_result(directory)
    milestone = directory / rundir.MILESTONES / f"ckpt-{steps or 0:012d}"
    if steps is not None and milestone.is_dir():
        return
    if not (directory / rundir.PROVENANCE).is_file() or not (directory / rundir.CHECKPOINTS).is_dir():
        if steps is None:
            raise ConfigError(f"{directory} has no weights: they were removed, or its result alone was kept")
    elif result is None:
        raise ConfigError(f"{directory} has not ended: go on with it first; its milestones can play already")
    if steps is None:
        if result is not None and result["status"] != "finished":
            raise ConfigError(f"{directory} is {result['status']}: it has no last weights to measure")
        return
    end = config.budget.env_steps or (result or {}).get("env_steps") or steps
    if not 1 <= steps <= end:
        raise ConfigError(f"--at {steps}: must be within the run's {end:,} env steps")
    raise ConfigError(
        f"{directory} has not kept its weights after {steps:,} env steps (eval.milestones); to train it "
        f"again with them: {_command(directory, config, steps)}"
    )


def _command(directory: Path, config: RunConfig, steps: int) -> str:
    """What trains the run again, elsewhere, and keeps its weights after `steps`."""
    more = [f"eval.milestones={sorted({*config.eval.milestones, steps})}".replace(" ", "")]
    study = read_study(directory.parent)
    cell = study["cells"].get(directory.name, {})
    if cell.get("arguments"):
        more.append(f"paths.study={config.paths.study}_milestones")
        if cell.get("parent") and study["commands"]:  # it needs the stages before it
            return f"{study['commands'][-1]} {shlex.join(more)}"
        return shlex.join([sys.executable, "-m", "tedg.train", *cell["arguments"], *more])
    provenance = rundir.read_provenance(directory)
    before = (provenance or {"sessions": [{}]})["sessions"][0].get("command", "python -m tedg.train ...")
    # Elsewhere, but where its parent stage is found: that is looked for in paths.output_dir.
    return f"{before} {shlex.join([*more, f'run_dir={directory}_milestones'])}"
