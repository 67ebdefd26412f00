"""Training runs that are stopped and go on, and what they promise to end with."""

from __future__ import annotations

import json
import math
import signal

from tedg.errors import Stopped
from tedg.learn.trainer import train
from tedg.signals import StopFlag
from tedg.store import checkpoint
from tedg.watch.console import QuietConsole


class Stopping(QuietConsole):
    """Asks for the end after so many updates of this session."""

    def __init__(self, after):
        super().__init__()
        self.flag, self.left, self.notes = StopFlag(), after, []

    def update(self, progress):
        self.left -= 1
        if self.left <= 0:
            self.flag.request(signal.SIGTERM)

    def note(self, message):
        self.notes.append(message)


def run(config, run_dir, stop_after=math.inf, weights_of=None):
    """(result, console) of a session of a run; the result is None if it was stopped."""
    run_dir.mkdir(exist_ok=True)
    console = Stopping(stop_after)
    try:
        return train(config, run_dir, weights_of, console, console.flag), console
    except Stopped:
        return None, console


def contents(run_dir):
    """All that a run promises to end with: its newest checkpoint and its tables, byte for byte."""
    newest = checkpoint.latest(run_dir / "checkpoints")
    files = [*newest.iterdir(), run_dir / "metrics.jsonl", run_dir / "episodes.csv"]
    found = {path.name: path.read_bytes() for path in files}
    # The checks of types that tests run with draw from Python's own generator, as they like.
    state = json.loads(found["state.json"])
    del state["rng"]["python"], found["manifest.json"]
    return {**found, "state.json": json.dumps(state).encode()}


def assert_equal(one, other):
    """Fails with the names of the files that differ."""
    assert one.keys() == other.keys()
    assert [name for name in one if one[name] != other[name]] == []
