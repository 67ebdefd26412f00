"""The tables of README.md, from the records in runs/.

    .venv/bin/python experiments/presets/table.py

A setting's figure is the mean of V3 and V4 of one seed; intervals are Student's t over seeds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from scipy import stats

from tedg.files import read_json

RUNS = Path(__file__).parent / "runs"
SETTING = ["games", "minibatch", "steps", "learning rate", "epochs"]
DEFAULT = (256, 2048, 32, 7e-4, 4)
SMALL = (32, 256, 64, 7e-4, 4)


def records() -> pd.DataFrame:
    """One row per run of a million steps: setting, arm, seed, scores at both step limits."""
    rows = []
    for directory in sorted(RUNS.iterdir()):
        config = yaml.safe_load((directory / "config.yaml").read_text())
        if config["budget"]["env_steps"] != 1_000_000:
            continue
        result = read_json(directory / "result.json")
        longer = read_json(directory / "cap_5000.json")
        assert result is not None
        rows.append(
            {
                "games": config["env"]["num_envs"],
                "minibatch": config["ppo"]["minibatch_size"],
                "steps": config["ppo"]["num_steps"],
                "learning rate": config["stage"]["phases"]["warmup"]["learning_rate"],
                "epochs": config["ppo"]["num_epochs"],
                "arm": "V4" if config["fusion"]["_target_"].endswith("CrossAttentionFusion") else "V3",
                "seed": config["seed"],
                "score": result["evaluation"]["policy"]["mean_score"],
                "longer": longer["mean_score"] if longer is not None else np.nan,
            }
        )
    return pd.DataFrame(rows)


def interval(values: pd.Series) -> str:
    """Mean and 95 % t-interval; the mean alone where there is one value, a dash where there is none."""
    if values.empty:
        return "-"
    mean, half = values.mean(), values.sem() * stats.t.ppf(0.975, len(values) - 1)
    return f"{mean:.1f}" if len(values) < 2 else f"{mean:.1f} ({mean - half:.1f} to {mean + half:.1f})"


def main() -> None:
    """Print all tables as Markdown."""
    runs = records()
    by_seed = runs.pivot_table(index=[*SETTING, "seed"], columns="arm", values="score")
    print(f"| {' | '.join(SETTING)} | seeds | V3 | V4 | mean of both |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    for setting, found in by_seed.groupby(level=SETTING):
        cells = [interval(found[arm].dropna()) for arm in ("V3", "V4")]
        both = found.dropna().mean(axis=1)
        known = ", ".join(f"{value:g}" for value in setting).replace(", ", " | ")
        print(f"| {known} | {found.notna().sum().max()} | {' | '.join(cells)} | {interval(both)} |")
    print("\nThe default by seed:\n")
    for arm, name in (("V3", "V3 `concat`"), ("V4", "V4 `cross_attn`")):
        of_arm = by_seed.loc[DEFAULT][arm].dropna()
        print(f"| {name} | {' | '.join(f'{score:.1f}' for score in of_arm)} | {interval(of_arm)} |")
    print("\nBeside the default, seed by seed (mean of both arms):\n")
    default = by_seed.loc[DEFAULT].mean(axis=1)
    for setting, found in by_seed.dropna().groupby(level=SETTING):
        difference = (found.droplevel(SETTING).mean(axis=1) - default).dropna()
        if setting != DEFAULT:
            print(f"| {' | '.join(f'{value:g}' for value in setting)} | {interval(difference)} |")
    for column, limit in (("score", 500), ("longer", 5000)):
        v4 = runs[runs.arm == "V4"].pivot_table(index="seed", columns=SETTING, values=column)
        difference = (v4[DEFAULT] - v4[SMALL]).dropna()
        print(f"\nV4, steps at most {limit}: default {interval(v4[DEFAULT].dropna())}, ", end="")
        print(f"small {interval(v4[SMALL].dropna())}, difference {interval(difference)}")


if __name__ == "__main__":
    main()
