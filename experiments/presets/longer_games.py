"""Held-out games of finished runs under another step limit than they were trained with.

    .venv/bin/python experiments/presets/longer_games.py RUN_DIR... --max-episode-steps 5000

The games are those of the run's own `eval`. Each summary goes to `cap_<limit>.json` in the run's directory.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from tedg.config.run_config import RunConfig
from tedg.files import write_json
from tedg.learn.final import play_missing, summaries
from tedg.run.saved import read_run_config
from tedg.signals import StopFlag
from tedg.store.games import POLICY, asked_games


def main() -> None:
    """Play, print each mean, and write the summaries."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN_DIR")
    parser.add_argument("--max-episode-steps", type=int, required=True)
    arguments = parser.parse_args()
    limit = arguments.max_episode_steps
    for run_dir in arguments.runs:
        config = configuration(run_dir, limit)
        asked = {POLICY: asked_games(config.eval)[POLICY]}
        games = play_missing(config, run_dir, {}, asked, StopFlag())
        summary = summaries(games, asked)[POLICY]
        write_json(run_dir / f"cap_{limit}.json", summary)
        print(f"{run_dir}: {summary['mean_score']:.1f} (standard error {summary['standard_error']:.1f})")


def configuration(run_dir: Path, limit: int) -> RunConfig:
    """The run's configuration, but for the step limit of its games. Raises ConfigError and StorageError."""
    config = read_run_config(run_dir)
    return replace(config, env={**config.env, "max_episode_steps": limit})


if __name__ == "__main__":
    main()
