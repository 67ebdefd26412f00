"""The tables of README.md, from the records beside it.

    .venv/bin/python experiments/learning/table.py

Intervals are Student's t over seeds. A line's difference is that of the mean of V3 and V4, seed by seed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import yaml

from tedg.files import read_json
from tedg.statistics.aggregates import mean

HERE = Path(__file__).parent
CAPS = (500, 5000)
SHARES = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)  # of the budget
# Folder, what is changed in it, and the line that it is changed from.
LINES = [
    ("cap_5000", "none: the default of then, training games of at most 5,000 steps", None),
    ("no_auxiliary_losses", "without auxiliary losses", "cap_5000"),
    ("gamma_0.999", "`ppo.gamma=0.999`", "cap_5000"),
    ("rollouts_16", "`ppo.num_steps=16`", "cap_5000"),
    ("ways", "features lead along known ways, runs leave no frontier behind", "cap_5000"),
    ("bonus_0.3", "with it `env.exploration_bonus=0.3`", "ways"),
    ("bonus_0.3_lambda_0.9", "with both `ppo.gae_lambda=0.9`", "ways"),
    ("bonus_0.3_lambda_0.8", "`ppo.gae_lambda=0.8` instead", "bonus_0.3_lambda_0.9"),
    ("bonus_1_lambda_0.9", "`env.exploration_bonus=1` instead", "bonus_0.3_lambda_0.9"),
    ("v2", "no bonus for the first view of a game: `preset=v2`", "bonus_0.3_lambda_0.9"),
]


def scores(folder: Path) -> pd.DataFrame:
    """Mean held-out score by arm, seed and cap."""
    rows = []
    for path in sorted(folder.glob("runs/*/record.json")):
        record = read_json(path)
        assert record is not None
        arm = arm_of(path.parent)
        for table in record["evaluations"]:
            if table["player"] == "policy" and table["cap"] in CAPS:
                column = table["columns"].index("score")
                score = float(np.mean([game[column] for game in table["games"]]))
                rows.append({"arm": arm, "seed": record["seed"], "cap": table["cap"], "score": score})
    return pd.DataFrame(rows, columns=["arm", "seed", "cap", "score"])


def cell(values: pd.Series) -> str:
    """Mean, with its interval from two seeds on; a dash without any."""
    if values.empty:
        return "-"
    found = mean(values.to_numpy(float))
    return f"{found.value:.1f}" + ("" if len(values) < 2 else f" ({found.low:.1f} to {found.high:.1f})")


def of_both(found: pd.DataFrame, cap: int) -> pd.Series:
    """The mean of V3 and V4 by seed, where both are there."""
    table = found[found["cap"] == cap].pivot_table(index="seed", columns="arm", values="score")
    return table.dropna().mean(axis=1) if len(table.columns) == 2 else pd.Series(dtype=float)


def arm_of(run: Path) -> str:
    """V3 or V4."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    return "V4" if config["fusion"]["_target_"].endswith("CrossAttentionFusion") else "V3"


def by_level(line: str) -> pd.DataFrame:
    """Games at the cap of 5,000 by the deepest level that was reached: share, mean score, median turn."""
    games = pd.concat(
        pd.read_csv(path).assign(arm=arm_of(path.parent))
        for path in sorted((HERE / line).glob("runs/*/games.csv"))
    )
    games["level"] = games["depth"].clip(upper=6)
    groups = games[games["player"] == "policy"].groupby(["arm", "level"])
    found = groups.agg(
        games=("score", "size"), score=("score", "mean"), turn=("turns", "median")
    ).reset_index()
    found["share"] = found["games"] / found.groupby("arm")["games"].transform("sum")
    return found


def specialisation(line: str) -> dict[str, list[float]]:
    """I(expert; state) by arm at `SHARES` of the budget: means of runs, over the tenth of it before."""
    found: dict[str, list[npt.NDArray[np.float64]]] = {}
    for path in sorted((HERE / line).glob("runs/*/record.json")):
        record = read_json(path)
        assert record is not None
        steps = np.array(record["training"]["env_steps"]) / record["env_steps"]
        values = np.array(record["training"]["figures"]["router/specialisation"])
        means = [values[(steps > share - 0.1) & (steps <= share + 1e-3)].mean() for share in SHARES]
        found.setdefault(arm_of(path.parent), []).append(np.array(means))
    return {arm: np.mean(runs, axis=0).tolist() for arm, runs in sorted(found.items())}


def main() -> None:
    """Print the tables as Markdown."""
    arms = [f"{arm}, cap {cap:,}" for cap in CAPS for arm in ("V3", "V4")]
    less = ("both less the line it is changed from, cap 500", "cap 5,000")
    print(f"| {' | '.join(['change', 'seeds', *arms, *less])} |")
    print(f"|---|{'--:|' * (len(arms) + 3)}")
    known = {name: scores(HERE / name) for name, _, _ in LINES}
    for name, change, base in LINES:
        found = known[name]
        cells = [
            cell(found[(found["arm"] == arm) & (found["cap"] == cap)]["score"])
            for cap in CAPS
            for arm in ("V3", "V4")
        ]
        less = (
            ["", ""]
            if base is None
            else [cell((of_both(found, cap) - of_both(known[base], cap)).dropna()) for cap in CAPS]
        )
        print(f"| {change} | {found['seed'].nunique()} | {' | '.join(cells)} | {' | '.join(less)} |")
    found = known["v2"].pivot_table(index=["cap", "arm"], columns="seed", values="score")
    print(f"\n| `preset=v2`, steps at most | {' | '.join(str(seed) for seed in found)} | mean (95 %) |")
    print(f"|---|{'--:|' * (len(found.columns) + 1)}")
    for (cap, arm), row in found.iterrows():
        title = f"{arm} `{'concat' if arm == 'V3' else 'cross_attn'}`, {cap:,}"
        print(f"| {title} | {' | '.join(f'{score:.1f}' for score in row)} | {cell(row)} |")
    for cap in CAPS:
        less = found.loc[cap, "V4"] - found.loc[cap, "V3"]
        print(f"| V4 less V3, {cap:,} | {' | '.join(f'{d:.1f}' for d in less)} | {cell(less)} |")
    print("\n| variant | deepest level | share of games | mean score | median turn of the end |")
    print("|---|--:|--:|--:|--:|")
    for row in by_level("v2").itertuples():
        level = "6 or more" if row.level == 6 else row.level
        print(f"| {row.arm} | {level} | {row.share:.0%} | {row.score:.0f} | {row.turn:.0f} |")
    print(f"\n| line | variant | {' | '.join(f'{share:.0%}' for share in SHARES)} |")
    print(f"|---|---|{'--:|' * len(SHARES)}")
    for line in ("cap_5000", "no_auxiliary_losses", "v2"):
        for arm, values in specialisation(line).items():
            print(f"| `{line}` | {arm} | {' | '.join(f'{value:.3f}' for value in values)} |")


if __name__ == "__main__":
    main()
