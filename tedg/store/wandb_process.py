"""The process that speaks to Weights & Biases. Its input has a line that begins a run, then one per update.

Started as a file, so that it imports nothing but the client.
"""

from __future__ import annotations

import json
import signal
import sys

LINGER_SECONDS = 600  # that it may need after the run's process is gone


def main() -> None:
    """Send what is read until there is no more."""
    greeting = json.loads(sys.stdin.readline())
    import wandb

    settings = wandb.Settings(console="off", silent=True, disable_git=True, disable_code=True)
    run = wandb.init(**greeting, resume="allow", settings=settings)
    for line in sys.stdin:
        row = json.loads(line)
        run.log(row["figures"], step=row["step"])
    signal.alarm(LINGER_SECONDS)
    run.finish()


if __name__ == "__main__":
    main()
