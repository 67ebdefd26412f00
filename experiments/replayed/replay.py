"""Plays the games of games.csv again in NLE alone, and reads their scores there; nothing of tedg is used.

    .venv/bin/python experiments/replayed/replay.py

writes results.csv, says how the scores differ, and ends with exit code 1 where a game is another one: its
last living frame has another score, its rewards another sum, or it ends at another step.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from nle import nethack
from nle.env.tasks import NetHackScore

HERE = Path(__file__).parent
LETTERS = "abcdefghijklmnopqrstuvw"  # of the actions 0 to 22


class Replayed(NamedTuple):
    """What NLE says of a game. `points` and `death` are those of its xlogfile, of a game that has ended."""

    steps: int
    over: bool
    score: int  # NLE_BL_SCORE of the last frame in which the game was alive
    gold: int  # gained by then
    total: float  # of NLE's rewards
    points: int | None
    death: str


def replay(seed: int, actions: Sequence[int]) -> Replayed:
    """Play these actions until they, or the game, end."""
    with tempfile.TemporaryDirectory() as folder:
        env = NetHackScore(
            observation_keys=("blstats",),
            max_episode_steps=10**9,
            fix_moon_phase=True,  # as tedg does: the same game on any day
            savedir=f"{folder}/nle",
            save_ttyrec_every=1,
        )
        env.seed(seed, seed, reseed=False)
        frame, _ = env.reset()
        first = frame["blstats"].copy()
        last, total, steps, over = first, 0.0, 0, False
        for action in actions:
            frame, reward, over, _, _ = env.step(action)
            steps, total = steps + 1, total + reward
            if over:
                break
            last = frame["blstats"].copy()  # the next step writes into the same array
        env.close()
        log = "".join(path.read_text() for path in Path(folder, "nle").glob("*.xlogfile"))
    score, gold = int(last[nethack.NLE_BL_SCORE]), int((last - first)[nethack.NLE_BL_GOLD])
    if not over:
        return Replayed(steps, over, score, gold, total, None, "")
    fields = dict(field.split("=", 1) for field in log.strip().split("\t"))
    return Replayed(steps, over, score, gold, total, int(fields["points"]), fields["death"])


def games(path: Path = HERE / "games.csv") -> list[dict[str, str]]:
    """The rows of games.csv."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def unlike(game: dict[str, str], found: Replayed) -> bool:
    """Whether what was replayed is another game than the one that was played."""
    same = (found.steps, found.over, found.score) == (
        *(int(game["length"]), game["end"] == "death", int(game["score"])),
    )
    return not same or abs(found.total - float(game["return"])) > 1e-9


def main() -> int:
    rows, apart, wrong, tax = [], {}, 0, 0
    for game in games():
        found = replay(int(game["seed"]), [LETTERS.index(letter) for letter in game["actions"]])
        wrong += unlike(game, found)
        more = "" if found.points is None else found.points - found.score
        played = [game[name] for name in ("player", "seed", "length", "end", "score")]
        rows.append([*played, found.score, found.gold, found.points, more, found.death])
        if found.points is not None:
            apart.setdefault(game["player"], []).append(found.points - found.score)
            tax += found.points == found.score - max(0, found.gold) // 10
    with (HERE / "results.csv").open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(
            (
                "player",
                "seed",
                "length",
                "end",
                "score",
                "replayed",
                "gold",
                "points",
                "points-score",
                "death",
            )
        )
        out.writerows(rows)
    print(f"{len(rows)} games replayed, {wrong} unlike what was played")
    print(
        f"in {tax} of {sum(map(len, apart.values()))} deaths, points = score less a tenth of the gold gained"
    )
    print("| player | deaths | points = score | least | 5 % | 25 % | median | 75 % | 95 % | most |")
    print("|---|" + "--:|" * 9)
    for player, own in [*apart.items(), ("all", [one for some in apart.values() for one in some])]:
        places = np.quantile(own, (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1))
        print(f"| {player} | {len(own)} | {Counter(own)[0]} | {' | '.join(f'{one:.4g}' for one in places)} |")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
