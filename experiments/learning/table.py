"""The table of README.md, from the records beside it.

    .venv/bin/python experiments/learning/table.py

Intervals are Student's t over seeds. A line's difference is that of the mean of V3 and V4, seed by seed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from tedg.files import read_json
from tedg.statistics.aggregates import mean

HERE = Path(__file__).parent
CAPS = (500, 5000)
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
        config = yaml.safe_load((path.parent / "config.yaml").read_text())
        arm = "V4" if config["fusion"]["_target_"].endswith("CrossAttentionFusion") else "V3"
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


def main() -> None:
    """Print the table as Markdown."""
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


if __name__ == "__main__":
    main()
