"""Checkpoints as somebody who means harm would write them: pickles inside, and all digests right."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tedg.store import checkpoint


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path | str = "marker") -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.marker),))


def reseal(path: Path, **changes: Any) -> None:
    """Write the manifest that fits the files of a checkpoint as they are now, with some values changed."""
    manifest = json.loads((path / "manifest.json").read_text())
    manifest.update(changes)
    for name in manifest["files"]:
        content = (path / name).read_bytes()
        manifest["files"][name] = {"sha256": checkpoint._digest(content), "bytes": len(content)}
    manifest["sha256"] = checkpoint._own_digest(manifest)
    (path / "manifest.json").write_text(json.dumps(manifest))
