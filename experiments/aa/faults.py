"""How often V3 is called better or worse than itself: judged as it should be, and with faults put in.

    .venv/bin/python experiments/aa/faults.py

Takes some minutes, draws the same splits every time, writes results.json and the table of README.md, and ends
with exit code 1 if a bar is missed. Splits and verdicts are those of `python -m tedg.compare --aa`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tedg.compare.scores import Measure
from tedg.files import write_json, write_text
from tedg.statistics.aa import FalsePositives, limits, resplit
from tedg.statistics.pairs import Floats
from tedg.statistics.verdict import Rules
from tedg.store.games import POLICY
from tedg.store.record import RunRecord, read_records

HERE = Path(__file__).parent
MARK = "<!-- table: written by faults.py -->"
GAMES = 40  # of each list
OWN, OTHER = 500_000, 600_000  # the lists' first seeds
RULES = Rules("score")
HONEST, FAULT, NONE = "at most 5 %", "above 5 %", "none"


class Case(NamedTuple):
    """What each run scores in the first arm and in the second, as `resplit` takes it, and the bar."""

    name: str
    bar: str
    first: Floats
    second: Floats


def scores(
    records: Sequence[RunRecord], weights: str = "last", mode: str = "sample", first: int = OWN
) -> Floats:
    """[runs, games]: the score of every game of one list."""
    asked, measure, rows = (POLICY, weights, mode), Measure("score"), []
    for record in records:
        (found,) = [one for one in record.evaluations if (one.player, one.weights, one.mode) == asked]
        games = tuple(game for game in found.games if first <= game.seed < first + GAMES)
        rows.append(measure.values(replace(found, games=games)))
    return np.array(rows)


def cases(records: Sequence[RunRecord]) -> Iterator[Case]:
    """The pipeline as it is, then its faults; those of one arm are in the second."""
    own, other, greedy = scores(records), scores(records, first=OTHER), scores(records, mode="greedy")
    last, best = own.mean(1), scores(records, "best").mean(1)
    few, other_few = own[:, :10].mean(1), other[:, :10].mean(1)
    whole = np.concatenate((own, other), 1).mean(1)
    yield Case("none, 40 games", HONEST, last, last)
    yield Case("none, the other 40 games", HONEST, other.mean(1), other.mean(1))
    yield Case("none, all 80 games, as `--aa` takes them", HONEST, whole, whole)
    yield Case("none, the first 10 games", HONEST, few, few)
    yield Case("none, 40 greedy games", HONEST, greedy.mean(1), greedy.mean(1))
    yield Case("games as the unit: 480 pairs from 12 runs", NONE, own, own)
    yield Case("games as the unit, greedy", FAULT, greedy, greedy)
    yield Case("`--best` in one arm", NONE, last, best)
    yield Case(
        "the better of last and `--best` in these games, in one arm", FAULT, last, np.maximum(last, best)
    )
    yield Case("other games in one arm, 40 in each", FAULT, last, other.mean(1))
    yield Case("other games in one arm, the first 10 of each", FAULT, few, other_few)


def with_lists_drawn(records: Sequence[RunRecord], number: int, times: int) -> FalsePositives:
    """Other games in one arm, whichever they are: each split draws two lists of `number` out of all games."""
    games = np.concatenate((scores(records), scores(records, first=OTHER)), 1)
    rng, found = np.random.default_rng(number), 0
    for n in range(times):
        drawn = rng.permutation(games.shape[1])
        first, second = games[:, drawn[:number]].mean(1), games[:, drawn[number : 2 * number]].mean(1)
        found += resplit(first, second, RULES, times=1, seed=n).found
    return limits(found, times)


def rates(records: Sequence[RunRecord], times: int = 2000, of_games: int = 200) -> list[dict[str, Any]]:
    """A row for each case: its rate of better or worse, and the mean difference of the arms in points."""
    rows = []
    for case in cases(records):
        rate = resplit(case.first, case.second, RULES, times=of_games if case.first.ndim > 1 else times)
        difference = float(case.second.mean() - case.first.mean())
        rows.append({"fault": case.name, "bar": case.bar, "difference": difference, **asdict(rate)})
    for number in (40, 10):
        name = f"other games in one arm, {number} in each, lists drawn anew for each split"
        rate = with_lists_drawn(records, number, times)
        rows.append({"fault": name, "bar": NONE, "difference": None, **asdict(rate)})
    return rows


def unlike(games: Floats) -> float:
    """F of [runs, games]: 1 where runs differ by no more than the chance of their games, games apart."""
    runs = games.mean(1)
    rest = games - runs[:, None] - games.mean(0) + games.mean()
    freedom = (games.shape[0] - 1) * (games.shape[1] - 1)
    return float(runs.var(ddof=1) * games.shape[1] / ((rest**2).sum() / freedom))


def missed(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The cases that miss their bar: an interval wholly above 5 % is above, all else is at most 5 %."""
    bars: dict[str, Callable[[dict[str, Any]], bool]] = {
        HONEST: lambda row: row["low"] <= 0.05,
        FAULT: lambda row: row["low"] > 0.05,
        NONE: lambda row: True,
    }
    return [row["fault"] for row in rows if not bars[row["bar"]](row)]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = ["| fault | bar | difference | splits | better or worse | share | 95 % limits |"]
    lines.append("|---|---|--:|--:|--:|--:|--:|")
    for row in rows:
        difference = "-" if row["difference"] is None else f"{row['difference']:+.2f}"
        lines.append(
            f"| {row['fault']} | {row['bar']} | {difference} | {row['studies']:,} | {row['found']:,} | "
            f"{row['rate']:.1%} | {row['low']:.1%} to {row['high']:.1%} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Judge, write, and say which bars are missed."""
    records = read_records(HERE / "runs")
    rows = rates(records)
    f = {mode: unlike(scores(records, mode=mode)) for mode in ("sample", "greedy")}
    write_json(HERE / "results.json", {"rates": rows, "F of runs": f})
    told = ", ".join(f"{value:.2f} ({mode})" for mode, value in f.items())
    text = f"{table(rows)}\n\nF of runs against the chance of their games: {told}."
    readme = HERE / "README.md"
    write_text(readme, f"{readme.read_text(encoding='utf-8').partition(MARK)[0]}{MARK}\n\n{text}\n")
    print(text)
    for name in (gone := missed(rows)):
        print(f"missed its bar: {name}")
    sys.exit(bool(gone))


if __name__ == "__main__":
    main()
