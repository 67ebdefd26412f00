"""Trains every variant on every probe and says which reach the known value or policy.

    python tests/every_probe.py
    python tests/every_probe.py --needle    # every fusion and gate on `needle`, at full width and equal steps

A variant that lacks the stream by which a probe tells its context cannot solve it and must stay at chance.
Takes about a quarter of an hour on two cores, so it is no part of the test suite. Exits with 1 if a variant
that can solve a probe does not, or one that cannot does.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import sys

from support.probes import solve
from support.settings import FULL_WIDTH_PROBE

from tedg.config.compose import group_options

# What tells a probe's context, where not everything does.
TOLD_BY_MAP, TOLD_BY_ATOMS = ("visual_only",), ("logic_only", "four_experts")
NEEDLE_UPDATES = 100  # of 1,024 env steps
AT_CHANCE = 1.15  # times what random legal actions earn; a policy without the stream earns no more


def fusions_and_gates():
    """Overrides of every fusion, and of every gate of cross-attention but the default one."""
    options = group_options()[1]
    gates = [name for name in options["fusion/gate"] if name not in ("topk", "none")]
    return [[f"fusion={name}"] for name in options["fusion"]] + [[f"fusion/gate={name}"] for name in gates]


def variants():
    """Every fusion and gate with every vision and logic, then every routing and kind of experts."""
    options = group_options()[1]
    streams = itertools.product(("glyph", "state"), ("hypergraph_gat", "none"))
    for fusion, (vision, logic) in itertools.product(fusions_and_gates(), list(streams)):
        yield [*fusion, f"vision={vision}", f"logic={logic}"]
    yield from ([f"routing={name}"] for name in options["routing"])
    yield from ([f"policy={name}"] for name in options["policy"] if name != "default")


def can(variant, probe):
    """Whether a variant sees what a probe tells."""
    if probe in TOLD_BY_MAP:
        return "vision=state" not in variant
    return probe not in TOLD_BY_ATOMS or "logic=none" not in variant


def seek(fusion):
    """(fusion, its figures on `needle`); training ends early once it is solved."""
    return fusion, solve("needle", *fusion, updates=NEEDLE_UPDATES, settings=FULL_WIDTH_PROBE)


def attempt(task):
    """(task, its figures)."""
    variant, probe = task
    small = ["vision.hidden_dim=32"] if "vision=state" in variant else []
    return task, solve(probe, *variant, *small)


def verdict(variant, probe, figures):
    """(as it should be, a word for the table)."""
    known = figures.value_error
    shown = f"{figures.reward / figures.best:.2f}" if known is None else f"V{known:.2f}"
    if can(variant, probe):
        return figures.solved, shown
    return figures.reward <= AT_CHANCE * figures.chance, f"({shown})"


def main() -> int:
    """Solve, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--needle", action="store_true", help="the game `needle` instead of the probes")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        return needle(pool) if options.needle else all_probes(pool)


def needle(pool):
    """Print the share of the best reward that each fusion reaches; 1 if cross_attn does not solve it."""
    solved = False
    for (fusion,), figures in pool.imap(seek, fusions_and_gates()):
        share = figures.reward / figures.best
        print(
            f"{fusion:<28} {share:.3f} after {figures.env_steps:,} steps, {figures.seconds:.0f} s", flush=True
        )
        solved = solved or (fusion == "fusion=cross_attn" and figures.solved)
    return 0 if solved else 1


def all_probes(pool):
    """Print what every variant makes of every probe; 1 if one is not as it should be."""
    games = group_options(["env=probe"])[1]["env/game"]
    probes = [name for name in games if name not in ("fake", "needle", "sparse_needle")]
    rows = list(variants())
    tasks = [(variant, probe) for variant in rows for probe in probes]
    print(f"{len(rows)} variants, {len(probes)} probes: {', '.join(probes)}", flush=True)
    print("a share of the best reward, or V and the largest error of the value; (in brackets: cannot)")
    counts = {"solved": 0, "at chance, as it must be": 0, "WRONG": 0}
    words, steps = [], 0
    for (variant, probe), figures in pool.imap(attempt, tasks):
        good, shown = verdict(variant, probe, figures)
        kind = "WRONG" if not good else "solved" if can(variant, probe) else "at chance, as it must be"
        counts[kind] += 1
        words.append(f"{probe} {shown}{'' if good else ' WRONG'}")
        steps += figures.env_steps
        if probe == probes[-1]:
            print(f"{' '.join(variant)}: {', '.join(words)}; {steps:,} steps", flush=True)
            words, steps = [], 0
    print(", ".join(f"{count} {kind}" for kind, count in counts.items()))
    return 1 if counts["WRONG"] else 0


if __name__ == "__main__":
    sys.exit(main())
