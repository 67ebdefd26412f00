"""The process of one measurement: a pickled job on standard input, its figures as JSON on standard output."""

from __future__ import annotations

import importlib
import json
import os
import pickle
import sys

from tedg.bench.jobs import Job
from tedg.errors import TedgError


def main() -> int:
    """Measure; returns the exit code."""
    # What libraries print must not come between the figures.
    results = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    job: Job = pickle.load(sys.stdin.buffer)
    try:
        module = importlib.import_module(f"tedg.bench.{job.module}")
        figures = getattr(module, job.function)(**job.arguments)
    except TedgError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    with results:
        json.dump(figures, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
