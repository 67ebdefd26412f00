"""The figures of a comparison, computed again from the records of its runs; nothing of tedg is used.

    .venv/bin/python -m tedg.compare recomputed --json comparison.json
    .venv/bin/python experiments/recomputed/recompute.py comparison.json

prints each figure beside tedg's, and ends with exit code 1 where two are further apart than 1e-9.
"""

from __future__ import annotations

import itertools
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy import optimize, stats

RUNS = Path(__file__).parent / "runs"
ALPHA, CAP = 0.05, 500
Figures = dict[str, float]
Curve = tuple[list[int], list[float]]


def recomputed(folder: Path = RUNS) -> Figures:
    """Every figure by its name: "cross_attn - concat, end: p"."""
    runs = [json.loads(path.read_text()) for path in sorted(folder.glob("*/record.json"))]
    plan = runs[0]["config"]["plan"]
    arms: dict[str, list[Any]] = {}
    for run in sorted(runs, key=lambda run: run["seed"]):
        arms.setdefault(run["options"]["fusion"], []).append(run)
    found: Figures = {}
    p: dict[str, float] = {}
    family = [(at, *contrast) for at in (*plan["milestones"], None) for contrast in plan["primary"]]
    for at, variant, baseline in family:
        x, y = (np.array([score(run, at) for run in arms[name]]) for name in (variant, baseline))
        d, n = x - y, len(x)
        half = stats.t.ppf(1 - ALPHA / 2, n - 1) * d.std(ddof=1) / n**0.5
        signs = np.array(list(itertools.product((-1, 1), repeat=n)))
        curves = [curve(run, at) for name in (variant, baseline) for run in arms[name]]
        what = f"{variant} - {baseline}, {at or 'end'}: "
        p[what] = float((abs(signs @ d) >= abs(d.sum()) - 1e-9).mean())
        found |= {
            f"{what}difference": d.mean(),
            f"{what}low": d.mean() - half,
            f"{what}high": d.mean() + half,
            f"{what}rho": np.corrcoef(x, y)[0, 1],
            f"{what}p": p[what],
            f"{what}IQM difference": middle(x) - middle(y),
            f"{what}P(better)": ((x[:, None] > y).mean() + (x[:, None] >= y).mean()) / 2,
            f"{what}detectable": detectable(n, ALPHA / len(family)) * d.std(ddof=1),
        }
        if min(len(x) for x, _ in curves) > 1:
            found[f"{what}curve area"] = np.subtract(areas(curves)[:n], areas(curves)[n:]).mean()
    worst = 0.0
    for rank, what in enumerate(sorted(p, key=p.__getitem__)):
        worst = max(worst, (len(p) - rank) * p[what])
        found[f"{what}p Holm"] = min(1.0, worst)
    for at, (name, own) in itertools.product((*plan["milestones"], None), arms.items()):
        scores = np.array([score(run, at) for run in own])
        half = stats.t.ppf(0.975, len(scores) - 1) * scores.std(ddof=1) / len(scores) ** 0.5
        found |= {
            f"{name}, {at or 'end'}: mean": scores.mean(),
            f"{name}, {at or 'end'}: low": scores.mean() - half,
            f"{name}, {at or 'end'}: high": scores.mean() + half,
            f"{name}, {at or 'end'}: IQM": middle(scores),
        }
    return {name: float(value) for name, value in found.items()}


def score(run: Any, at: int | None) -> float:
    """The mean score of a run's held-out games with its last weights, or with those of a milestone."""
    wanted = ("policy", "last" if at is None else str(at), "sample", CAP)
    (own,) = [e for e in run["evaluations"] if (e["player"], e["weights"], e["mode"], e["cap"]) == wanted]
    column = own["columns"].index("score")
    return sum(game[column] for game in own["games"]) / len(own["games"])


def curve(run: Any, at: int | None) -> Curve:
    """Env steps, up to a milestone, and scores of the points that have any."""
    points = zip(run["curve"]["env_steps"], run["curve"]["mean_score"], strict=True)
    own = [(x, y) for x, y in points if y is not None and x <= (at or x)]
    return [x for x, _ in own], [y for _, y in own]


def areas(curves: list[Curve]) -> list[float]:
    """The mean height of each learning curve over the env steps that all have, by trapezoids."""
    first, last = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    found = []
    for x, y in curves:
        grid = sorted({first, last, *(step for step in x if first < step < last)})
        found.append(float(np.trapezoid(np.interp(grid, x, y), grid)) / (last - first))
    return found


def middle(scores: Any) -> float:
    """The mean without a quarter at each end, rounded down."""
    cut = len(scores) // 4
    return float(np.mean(sorted(scores)[cut : len(scores) - cut]))


@cache
def detectable(n: int, level: float, studies: int = 2000, seed: int = 0) -> float:
    """The mean difference, in its standard deviations, that the test of n pairs sees in 80 % of studies."""
    noise = np.random.default_rng(seed).standard_normal((studies, n))
    signs = np.array(list(itertools.product((-1, 1), repeat=n))).T

    def power(effect: float) -> float:
        d = noise + effect
        p = (abs(d @ signs) >= abs(d.sum(axis=1, keepdims=True)) - 1e-9).mean(axis=1)
        return float((p <= level).mean())

    return float(optimize.bisect(lambda effect: power(effect) - 0.8, 0, 50, xtol=1e-3))


def compared(report: Any) -> Figures:
    """The same figures in the JSON that tedg.compare writes."""
    found: Figures = {}
    for one in report["outcomes"]:
        what = f"{one['variant']} - {one['baseline']}, {one['at'] or 'end'}: "
        found |= {
            f"{what}difference": one["difference"]["mean"],
            **{f"{what}{name}": one["difference"][name] for name in ("low", "high", "rho")},
            f"{what}p": one["p"],
            f"{what}p Holm": one["p_holm"],
            f"{what}IQM difference": one["iqm_difference"]["value"],
            f"{what}P(better)": one["improvement"]["value"],
            f"{what}detectable": one["outlook"]["points"],
        }
        if one["curves"] is not None:
            found[f"{what}curve area"] = one["curves"]["area"]["mean"]
    for one in report["arms"]:
        after = one["measure"].partition(" after ")[2].partition(" of ")[0].replace(",", "")
        what = f"{one['name']}, {after or 'end'}: "
        found |= {f"{what}{name}": one["mean"][key] for name, key in (("mean", "value"), ("low", "low"))}
        found |= {f"{what}high": one["mean"]["high"], f"{what}IQM": one["iqm"]["value"]}
    return found


def main() -> int:
    own, theirs = recomputed(), compared(json.loads(Path(sys.argv[1]).read_text()))
    print("| figure | recomputed | tedg.compare | apart |\n|---|--:|--:|--:|")
    for name, value in own.items():
        print(f"| {name} | {value:.6g} | {theirs[name]:.6g} | {abs(value - theirs[name]):.0e} |")
    return int(own.keys() != theirs.keys() or any(abs(own[name] - theirs[name]) > 1e-9 for name in own))


if __name__ == "__main__":
    sys.exit(main())
