"""How often verdicts of tedg.statistics are wrong, what they see, and what its intervals hold, by simulation.

    .venv/bin/python experiments/calibration/simulate.py

Takes a few minutes on one core, draws the same numbers every time, writes results.json and the tables of
README.md, and ends with exit code 1 if a bar is missed. Verdicts are those of tedg.statistics.verdict itself.
"""

from __future__ import annotations

import argparse
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from tedg.files import write_json, write_text
from tedg.statistics import aggregates, power, sign_flip
from tedg.statistics.aa import limits
from tedg.statistics.crossing import crossing
from tedg.statistics.curves import Curve
from tedg.statistics.pairs import Floats, Pairs, mean_difference
from tedg.statistics.skewed import mean_of_games
from tedg.statistics.verdict import Contrast, Judgement, Rules, Stop, Verdict, judge

HERE = Path(__file__).parent
DIFFERENT = (Verdict.BETTER, Verdict.WORSE)
PLANNED = tuple(range(100))
CROSS = 1_200_000
MARK = "<!-- tables: written by simulate.py -->"

Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]
SHAPES: dict[str, Draw] = {  # all with mean 0 and standard deviation 1
    "normal": lambda rng, size: rng.standard_normal(size),
    "lognormal": lambda rng, size: (rng.lognormal(0, 1, size) - np.exp(0.5)) / np.sqrt((np.e - 1) * np.e),
    "bimodal": lambda rng, size: (
        (2.0 * rng.integers(0, 2, size) - 1 + 0.2 * rng.standard_normal(size)) / np.sqrt(1.04)
    ),
}


def studies(rules: Rules, baseline: Floats, variant: Floats) -> Iterator[list[Judgement]]:
    """Judge scores [studies, contrasts, seeds]."""
    seeds = PLANNED[: baseline.shape[-1]]
    for left, right in zip(baseline, variant, strict=True):
        family = [Contrast("b", "a", Pairs(seeds, a, b)) for a, b in zip(left, right, strict=True)]
        yield judge(family, rules)


def decided(rules: Rules, baseline: Floats, variant: Floats) -> list[bool]:
    """Which studies call any of their contrasts better or worse."""
    families = studies(rules, baseline, variant)
    return [any(one.verdict in DIFFERENT for one in family) for family in families]


def draw(case: str, shape: str, size: tuple[int, ...], other: str | None = None) -> tuple[Floats, Floats]:
    """Scores of two arms; the numbers depend on the case's name alone."""
    rng = np.random.default_rng(zlib.crc32(case.encode()))
    return SHAPES[shape](rng, size), SHAPES[other or shape](rng, size)


def rules_of(stop: Stop, **more: Any) -> Rules:
    return Rules("score", stop=stop, planned=PLANNED if stop is Stop.ANYTIME else (), **more)


def rate(found: int, count: int, **about: Any) -> dict[str, Any]:
    """A row with a rate and its 95 % limits."""
    of = limits(found, count)
    return {**about, "studies": count, "found": int(found), "rate": of.rate, "low": of.low, "high": of.high}


def false_positives(count: int) -> list[dict[str, Any]]:
    """Both arms from one distribution: any better or worse in the family is false."""
    rows = []
    designs = ((Stop.FIXED, 6, 1), (Stop.FIXED, 10, 1), (Stop.FIXED, 20, 1), (Stop.FIXED, 10, 5))
    for stop, n, contrasts in (*designs, (Stop.ANYTIME, 30, 1)):
        for shape in SHAPES:
            scores = draw(f"null {stop} {n} {contrasts} {shape}", shape, (count, contrasts, n))
            found = sum(decided(rules_of(stop), *scores))
            bar = {"bar": "rate at most 5 %" if stop is Stop.ANYTIME else "upper limit at most 6 %"}
            rows.append(rate(found, count, stop=str(stop), pairs=n, contrasts=contrasts, scores=shape, **bar))
    return rows


def looks(count: int) -> list[dict[str, Any]]:
    """Whether some look after some pair decides is what the last look says: p never rises."""
    baseline, variant = draw("looks", "bimodal", (count, 1, 30))
    rules = rules_of(Stop.ANYTIME)
    early = [decided(rules, baseline[:, :, :n], variant[:, :, :n]) for n in range(1, 31)]
    unlike = int((np.any(early, axis=0) != early[-1]).sum())
    return [{"studies": count, "looks": 30, "unlike the last look": unlike, "bar": "none"}]


def unlike_shapes(count: int) -> list[dict[str, Any]]:
    """Equal means and deviations, but a normal and a lognormal arm: no sign is a fair coin."""
    rows = []
    for stop, n in ((Stop.FIXED, 6), (Stop.FIXED, 10), (Stop.FIXED, 20), (Stop.ANYTIME, 30)):
        scores = draw(f"unlike {stop} {n}", "normal", (count, 1, n), other="lognormal")
        rows.append(rate(sum(decided(rules_of(stop), *scores)), count, stop=str(stop), pairs=n))
    return rows


def false_equivalents(count: int) -> list[dict[str, Any]]:
    """A true difference of exactly delta, given in standard deviations of the difference."""
    rows = []
    sizes = ((6, 1.0), (10, 0.5), (10, 0.75), (10, 1.0), (20, 0.5), (20, 0.75))
    designs = [(Stop.FIXED, n, 1, delta) for n, delta in sizes]
    for stop, n, contrasts, delta in (*designs, (Stop.FIXED, 10, 5, 1.0), (Stop.ANYTIME, 30, 1, 1.0)):
        for shape in SHAPES:
            case = f"delta {stop} {n} {contrasts} {delta} {shape}"
            baseline, variant = draw(case, shape, (count, contrasts, n))
            points = delta * np.sqrt(2)
            rules = rules_of(stop, delta=points)
            called = shown = 0
            for family in studies(rules, baseline, variant + points):
                called += any(one.verdict is Verdict.EQUIVALENT for one in family)
                shown += any(one.p_equivalent <= rules.alpha for one in family)  # type: ignore[operator]
            about = {"stop": str(stop), "pairs": n, "contrasts": contrasts, "delta": delta, "scores": shape}
            rows.append(rate(called, count, **about, tost=shown / count, bar="rate at most 5 %"))
    return rows


def powers(count: int) -> list[dict[str, Any]]:
    """Normal differences; `expected` is what tedg.statistics.power says, `t` the t test's power."""
    rows = []
    for effect in (0.5, 1.0, 1.5):
        for stop, n in (
            (Stop.FIXED, 6),
            (Stop.FIXED, 10),
            (Stop.FIXED, 20),
            (Stop.ANYTIME, 20),
            (Stop.ANYTIME, 40),
        ):
            baseline, variant = draw(f"power {effect} {stop} {n}", "normal", (count, 1, n))
            variant = variant + effect * np.sqrt(2)
            found = sum(
                family[0].verdict is Verdict.BETTER for family in studies(rules_of(stop), baseline, variant)
            )
            chance = power.fixed_power if stop is Stop.FIXED else power.anytime_power
            t_test = power.TTestPower().power(effect, n, 0.05) if stop is Stop.FIXED else None
            rows.append(
                rate(
                    found,
                    count,
                    effect=effect,
                    stop=str(stop),
                    pairs=n,
                    expected=chance(effect, n, 0.05),
                    t=t_test,
                )
            )
    return rows


def costs() -> list[dict[str, Any]]:
    """Pairs for power 0.8, and the least effect that n pairs see."""
    rows = []
    for level in (0.05, 0.01):
        for effect in (0.3, 0.5, 0.75, 1.0, 1.5, 2.0):
            fixed = power.pairs_needed(effect, level)
            early = power.pairs_needed(effect, level, at_any_time=True)
            rows.append(
                {
                    "level": level,
                    "effect": effect,
                    "fixed": fixed,
                    "anytime": early,
                    "ratio": None if fixed is None or early is None else early / fixed,
                }
            )
    return rows


def detectable() -> list[dict[str, Any]]:
    """The d_z that n pairs see with power 0.8 at level 0.05; the t test's beside it."""
    return [
        {
            "pairs": n,
            "smallest p": sign_flip.smallest_p(n),
            "fixed": power.minimal_effect(n, 0.05),
            "anytime": power.minimal_effect(n, 0.05, at_any_time=True),
            "t": float(power.TTestPower().solve_power(nobs=n, alpha=0.05, power=0.8)),
        }
        for n in (5, 6, 7, 8, 10, 15, 20, 30)
    ]


def coverage(count: int) -> list[dict[str, Any]]:
    """How often a nominal 95 % interval holds the true value; bootstraps in a twentieth of the studies."""
    rows = []

    def row(what: str, shape: str, n: int, held: list[bool]) -> None:
        rows.append(rate(sum(held), len(held), interval=what, scores=shape, n=n))

    def holds(interval: Any, truth: float) -> bool:
        return bool(interval.low <= truth <= interval.high)

    for shape in ("normal", "lognormal"):
        for n in (3, 5, 10, 20):
            arms = draw(f"t {shape} {n}", shape, (count, n))
            held = [holds(mean_difference(Pairs(PLANNED[:n], a, b)), 0) for a, b in zip(*arms, strict=True)]
            row("t, mean paired difference", shape, n, held)
    few = max(count // 20, 1)
    for n in (5, 10, 20):
        first, second = draw(f"iqm {n}", "normal", (few, n))
        row("IQM", "normal", n, [holds(aggregates.iqm(a), 0) for a in first])
        arms = list(zip(first, second, strict=True))
        row("IQM difference", "normal", n, [holds(aggregates.iqm_difference(a, b), 0) for a, b in arms])
        row(
            "probability of improvement",
            "normal",
            n,
            [holds(aggregates.improvement(a, b), 0.5) for a, b in arms],
        )
        percentile = [holds(_bootstrapped(a, "percentile"), 0) for a in first]
        row("mean, percentile bootstrap", "normal", n, percentile)
        row("mean, BCa", "normal", n, [holds(_bootstrapped(a, "BCa"), 0) for a in first])
    for n in (5, 20, 50, 200):
        games = np.random.default_rng(n).lognormal(0, 1, (count, n))
        truth = np.exp(0.5)
        row(
            "mean of games, on the log scale", "lognormal", n, [holds(mean_of_games(g), truth) for g in games]
        )
        errors = games.std(axis=1, ddof=1) / np.sqrt(n) * stats.t.ppf(0.975, n - 1)
        row("mean of games, plain t", "lognormal", n, list(np.abs(games.mean(axis=1) - truth) <= errors))
        row(
            "mean of games, BCa", "lognormal", n, [holds(_bootstrapped(g, "BCa"), truth) for g in games[:few]]
        )
    return rows


def crossings(count: int) -> list[dict[str, Any]]:
    """Noisy learning curves of arms that cross after 1,200,000 of 2,000,000 env steps, and of equal arms."""
    rows = []
    for n in (5, 10, 20):
        rng = np.random.default_rng(n)
        crossed = [crossing(*_curves(n, rng, 2e-5)) for _ in range(count)]
        told = [one for one in crossed if one is not None]
        held = sum(one.low <= CROSS <= one.high for one in told)
        bar = {"bar": "upper limit at least 95 %", "width": float(np.mean([o.high - o.low for o in told]))}
        rows.append(rate(held, len(told), what="the interval holds the crossing", pairs=n, **bar))
        equal = sum(crossing(*_curves(n, rng, 0)) is not None for _ in range(count))
        bar = {"bar": "rate at most 5 %", "width": None}
        rows.append(rate(equal, count, what="equal arms are said to cross", pairs=n, **bar))
    return rows


def _curves(n: int, rng: np.random.Generator, slope: float) -> tuple[list[Curve], list[Curve]]:
    """Points of two arms; seeds lie apart as runs do, and so do points."""
    x = np.arange(1, 201) * 10_000.0
    one = 60 * (1 - np.exp(-x / 5e5)) + rng.normal(0, 4, (n, 1)) + rng.normal(0, 8, (n, 200))
    other = one + slope * (x - CROSS) + rng.normal(0, 3, (n, 1)) + rng.normal(0, 8, (n, 200))
    return [(x, y) for y in one], [(x, y) for y in other]


def _bootstrapped(scores: Floats, method: str) -> Any:
    rng = np.random.default_rng(0)
    return stats.bootstrap((scores,), np.mean, n_resamples=1000, method=method, rng=rng).confidence_interval


def missed(results: dict[str, list[dict[str, Any]]]) -> list[str]:
    """The rows that miss their bar."""
    bars = {
        "upper limit at most 6 %": lambda row: row["high"] <= 0.06,
        "rate at most 5 %": lambda row: row["rate"] <= 0.05,
        "upper limit at least 95 %": lambda row: row["high"] >= 0.95,
        "none": lambda row: row["unlike the last look"] == 0,
    }
    rows = [row for part in results.values() for row in part if "bar" in row]
    return [str(row) for row in rows if not bars[row["bar"]](row)]


def tables(results: dict[str, list[dict[str, Any]]]) -> str:
    """All parts as Markdown."""
    lines = []
    for name, rows in results.items():
        titles = list(rows[0])
        lines += [f"### {name}", "", f"| {' | '.join(titles)} |", "|" + "--:|" * len(titles)]
        lines += [f"| {' | '.join(_cell(row[title]) for title in titles)} |" for row in rows] + [""]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None or value == np.inf:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def main() -> int:
    parser = argparse.ArgumentParser(description="Calibrates the verdicts of tedg.statistics.")
    parser.add_argument(
        "--studies", type=int, default=10_000, help="per case; fewer than 10,000 are not written"
    )
    count = parser.parse_args().studies
    parts: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "False better or worse": lambda: false_positives(count),
        "Looks after every pair": lambda: looks(max(count // 50, 1)),
        "Equal means, unlike shapes": lambda: unlike_shapes(count),
        "False equivalent": lambda: false_equivalents(count),
        "Power": lambda: powers(count),
        "Pairs for power 0.8": costs,
        "Least effect seen with power 0.8": detectable,
        "Coverage of 95 % intervals": lambda: coverage(count),
        "Crossing of learning curves": lambda: crossings(max(count // 20, 1)),
    }
    results = {}
    for name, part in parts.items():
        start = time.process_time()
        results[name] = part()
        print(f"{name}: {time.process_time() - start:.0f} s", flush=True)
    if count >= 10_000:
        write_json(HERE / "results.json", results)
        readme = HERE / "README.md"
        write_text(readme, f"{readme.read_text().split(MARK)[0]}{MARK}\n\n{tables(results)}")
    else:
        print(tables(results))
    failures = missed(results)
    print("\n".join(f"missed: {row}" for row in failures) or "every bar is met")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
