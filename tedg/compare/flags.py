"""The flags with which a command asks for a comparison."""

from __future__ import annotations

import argparse
from contextlib import suppress


def add_flags(parser: argparse.ArgumentParser) -> None:
    """STUDY, what is asked of it, and where it lies."""
    add = parser.add_argument
    add("study", metavar="STUDY", help="a folder in --root or --experiments, or a directory of runs")
    add(
        "--by", metavar="GROUP", help="what tells arms apart, a group or a key: fusion, arm, fusion.gate.keep"
    )
    add("--baseline", metavar="ARM", help="compare every other arm with this one")
    add("--metric", metavar="NAME", help="score, return, length or depth (default: the plan's, else score)")
    add(
        "--cap",
        type=_count,
        metavar="STEPS",
        help="env steps of a game (default: the plan's, else as in training)",
    )
    add("--at", type=_count, metavar="STEP", help="compare at this milestone, not at the end of training")
    add("--peek", action="store_true", help="look before all runs have ended; gives no verdict")
    add("--detect", type=_points, metavar="POINTS", help="the difference that a study should be able to see")
    kept = "folder of kept results (default: experiments)"
    add("--root", metavar="FOLDER", default="multirun", help="folder of the studies (default: multirun)")
    add("--experiments", metavar="FOLDER", default="experiments", help=kept)


def _count(text: str) -> int:
    with suppress(ValueError):
        if (value := int(text)) > 0:
            return value
    raise argparse.ArgumentTypeError(f"{text} is no positive number of steps")


def _points(text: str) -> float:
    with suppress(ValueError):
        if 0 < (value := float(text)) < float("inf"):
            return value
    raise argparse.ArgumentTypeError(f"{text} is no positive number")
