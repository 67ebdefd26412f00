"""Trains every cell of fusion x gate x vision x logic x routing x stage for a few updates, or says why not.

    python tests/every_cell.py --env fake
    python tests/every_cell.py --env nethack_score
    python tests/every_cell.py --env fake --captured    # with what a GPU captures recorded and replayed

Takes about twenty minutes per environment on two cores, so it is no part of the test suite. Exits with 1
if a cell that composes does not train.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import math
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

from support.settings import ONE_CELL

from tedg.config.compose import compose, group_options
from tedg.errors import ConfigError
from tedg.run.identity import run_id

AXES = ("vision", "logic", "routing", "stage")  # beside fusion and gate
STEPS = 320  # five rollouts: the curriculum's stages get one, two and two


def fusions_and_gates(options):
    """Overrides of every pair that composes, and (how many pairs, why) of those that do not."""
    pairs, refused = [], Counter()
    for fusion in options["fusion"]:
        pairs.append([f"fusion={fusion}"])
        for gate in options["fusion/gate"]:
            pair = [f"fusion={fusion}", f"fusion/gate={gate}"]
            try:
                compose(pair)
                pairs.append(pair)
            except ConfigError as error:
                refused[_reason(error)] += 1
    return pairs, refused


def settle(overrides):
    """(run id, configuration, None) of a cell, or (None, None, why it is refused)."""
    try:
        config = compose(overrides).config
        return run_id(config, None), config, None
    except ConfigError as error:
        return None, None, _reason(error)


def _reason(error):
    return str(error).splitlines()[1].strip()


def train_cell(config, captured=False):
    """None if the cell trains through every stage with finite losses; else what went wrong."""
    import torch
    from support.tape import Tape

    from tedg.learn import trainer
    from tedg.signals import StopFlag
    from tedg.store.tables import read_metrics
    from tedg.watch.console import QuietConsole

    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    tape = Tape()
    if captured:
        trainer.make_capture = lambda *_: tape
    try:
        with tempfile.TemporaryDirectory() as folder:
            result = trainer.train(config, Path(folder), None, QuietConsole(), StopFlag())
            rows = read_metrics(Path(folder) / "metrics.jsonl")
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    stages = {stage["name"] for stage in config.phases}
    if set(result["updates_per_stage"]) != stages:
        return f"updates only in {result['updates_per_stage']}"
    losses, ratios = ([row[name] for row in rows] for name in ("loss/total", "train/initial_log_ratio"))
    if result["rollbacks"] or not all(math.isfinite(loss) for loss in losses):
        return f"{result['rollbacks']} rollbacks, losses {losses}"
    if max(ratios) > 1e-5:
        return f"learns another policy than the one that acted: {ratios}"
    if captured and (tape.told or not tape.recorded):
        return f"{tape.recorded} functions captured; {tape.told}"
    return None


def main() -> int:
    """Count, train, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--env", default="fake")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--captured", action="store_true")
    parser.add_argument("--every", type=int, default=1, help="only each n-th distinct run")
    options = parser.parse_args()
    groups = group_options()[1]
    pairs, refused_pairs = fusions_and_gates(groups)
    others = [[f"{axis}={option}" for option in groups[axis]] for axis in AXES]
    fixed = [f"env={options.env}", f"budget.env_steps={STEPS}", "init_from=none", *ONE_CELL]
    fixed += ["env.num_workers=0"] if options.env.startswith("nethack") else []
    cells = [[*pair, *rest, *fixed] for pair in pairs for rest in itertools.product(*others)]
    per_pair = math.prod(len(other) for other in others)
    refused = Counter({reason: count * per_pair for reason, count in refused_pairs.items()})
    runs = {}
    os.environ["OMP_NUM_THREADS"] = "1"
    pool = multiprocessing.get_context("spawn").Pool(options.jobs)
    settled = pool.imap(settle, cells, chunksize=8)
    for cell, (identity, config, reason) in zip(cells, settled, strict=True):
        if reason is not None:
            refused[reason] += 1
        else:
            runs.setdefault(identity, (cell, config))
    total = len(cells) + per_pair * sum(refused_pairs.values())
    print(f"{total} cells, {total - sum(refused.values())} compose to {len(runs)} distinct runs; refused:")
    for reason, count in refused.most_common():
        print(f"{count:6} x {reason}", flush=True)
    todo = list(runs.values())[:: options.every]
    start, faults = time.monotonic(), 0
    with pool:
        train = partial(train_cell, captured=options.captured)
        found = pool.imap(train, [config for _, config in todo], chunksize=4)
        for number, ((cell, _), fault) in enumerate(zip(todo, found, strict=True), 1):
            if fault is not None:
                faults += 1
                print(f"FAILED {' '.join(cell[:6])}: {fault}", flush=True)
            if number % 50 == 0:
                print(f"{number} of {len(todo)}, {time.monotonic() - start:.0f} s", flush=True)
    print(f"{options.env}: {len(todo) - faults} of {len(todo)} runs train, {time.monotonic() - start:.0f} s")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
