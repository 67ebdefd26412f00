"""What a run that diverged leaves behind for whoever looks into it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import safetensors.torch
import torch

from tedg.errors import StorageError
from tedg.files import write_json
from tedg.learn.rollout import Rollout
from tedg.learn.stages import Settings


def write_debug_bundle(run_dir: Path, update: int, fault: str, rollout: Rollout, settings: Settings) -> Path:
    """The rollout that no update survived, the fault and the stage's settings, in `run_dir/debug`.

    The weights before the update are those of the newest checkpoint. Raises StorageError.
    """
    tensors = {
        name: value.detach().cpu().contiguous()
        for name in rollout.__dataclass_fields__
        if isinstance(value := getattr(rollout, name), torch.Tensor)
    }
    tensors |= {
        f"observation.{name}": value.cpu().contiguous() for name, value in rollout.observation.items()
    }
    folder = run_dir / "debug"
    try:
        folder.mkdir(exist_ok=True)
        safetensors.torch.save_file(tensors, folder / "rollout.safetensors")
    except (OSError, safetensors.SafetensorError) as error:
        raise StorageError(f"cannot write {folder}: {error}") from error
    what = {
        "update": update,
        "fault": fault,
        "settings": {**asdict(settings), "routing": repr(settings.routing)},
    }
    write_json(folder / "fault.json", what)
    return folder
