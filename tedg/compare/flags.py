"""The flags with which a command asks for a comparison."""

from __future__ import annotations

import argparse
from contextlib import suppress


def add_flags(parser: argparse.ArgumentParser) -> None:
    """STUDY, what is asked of it, and where it lies."""
    add = parser.add_argument
    add("study", metavar="STUDY")
    add("--by", metavar="GROUP", help="the group or key that tells arms apart: fusion, arm, fusion.gate.keep")
    add("--baseline", metavar="ARM", help="compare every other arm with this one")
    add("--metric", help="score, return, length or depth of held-out games (default: the plan's, else score)")
    add("--cap", type=_count, help="env steps of a held-out game (default: the plan's, else as in training)")
    add("--at", type=_count, metavar="STEP", help="a milestone, instead of the end of training")
    add("--peek", action="store_true", help="look before all runs have ended; gives no verdict")
    add("--detect", type=_points, metavar="POINTS", help="the difference that a study should be able to see")
    add("--root", default="multirun", help="folder of the studies (default: multirun)")
    add("--experiments", default="experiments", help="folder of kept results (default: experiments)")


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
