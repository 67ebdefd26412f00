"""The text of `python -m tedg.train --help`, made from the configuration itself."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path

import yaml
from omegaconf import DictConfig, OmegaConf

from tedg.config.compose import group_files
from tedg.config.hydra_api import search_path_of
from tedg.config.sources import Sources

_ABOUT = """\
Train a neuro-symbolic NetHack policy, play held-out games with it, and keep
everything in one directory.

usage: python -m tedg.train [key=value ...]       one run
       python -m tedg.train -m [key=a,b,c ...]    a sweep of all combinations

examples:
  python -m tedg.train fusion=cross_attn stage=warmup budget.env_steps=100000
  python -m tedg.train fusion=concat stage=transition seed=3
  python -m tedg.train -m fusion=concat,cross_attn seed=0,1 paths.study=first
"""

_RUNS = """\
runs:
  A run is its configuration. Its directory is <paths.output_dir>/<name>-<id>,
  where the id is a hash of the configuration, so the same settings always mean
  the same directory. Start a half-done run again and it goes on as if it had
  never stopped; start a finished one and it shows its result. Ctrl-C and
  SIGTERM save and stop, and a second one stops at once. SIGUSR1 and SIGUSR2 do
  the same, for a scheduler that needs the machine. With init_from=auto a stage
  takes the weights of the stage before it, if there is a finished run of that
  stage with the same settings.

files of your own (groups and options as in tedg's conf/):
  --config-dir FOLDER, or 'hydra.searchpath=[FOLDER]'   beside tedg's
  --config-path FOLDER, or the variable TEDG_CONF_DIR   instead of tedg's
  --config-name NAME                                    instead of config.yaml
  Commands that are printed repeat these. A file that sets keys of several
  groups begins with the line: # @package _global_

values from the environment:
  'seed="${oc.decode:${oc.env:SLURM_ARRAY_TASK_ID}}"'   a number
  'name="${oc.env:NAME}"'                               text
  config.yaml records numbers and options. Other text may be a secret and stays
  as it was written.

looking without running:
  --cfg job             print the composed configuration
  --cfg job --resolve   the same with values filled in
  --info defaults       print where each part comes from
  --hydra-help          Hydra's own flags

Tab completion of groups, options and keys, in bash:
  eval "$(python -m tedg.train -sc install=bash)"

exit codes:
  0    done
  1    processes were lost again and again, or a bug
  2    wrong configuration or usage (nothing was started)
  3    training diverged
  4    a file could not be written or read
  5    the run is done and its check failed (+experiment=check)
  75   stopped by SIGUSR1 or SIGUSR2
  130  stopped by Ctrl-C
  143  stopped by SIGTERM"""

_OPTION_COLUMN = 25  # where the meanings of options begin
_KEY_COLUMN = 31
_SENTENCE_ENDS = re.compile(r"\. ")

_KEYS = {
    "seed": "seed of weights, sampling and training games",
    "device": "auto, cpu or cuda",
    "threads": "processes that share the learner's work; null: one per core",
    "precision": "float32, tf32 (on a GPU) or bfloat16, of matrix products",
    "cuda_graphs": "capture what runs again and again, on a GPU",
    "compile": "torch.compile the network",
    "budget.env_steps": "how long to train, in env steps over all environments",
    "budget.episodes": "or in finished episodes; both null: the stage's own number of episodes",
    "init_from": "auto, none, or a run directory or checkpoint to take the first weights from",
    "init_except": "beginnings of the names of parameters that stay fresh all the same",
    "env.num_envs": "games played side by side",
    "env.num_workers": "processes that play them; null: one per core; 0: none of their own",
    "env.max_episode_steps": "longest training game",
    "env.exploration_bonus": "reward for each cell seen for the first time, in training",
    "env.action_mask": "legal: illegal actions are masked; none",
    "ppo.num_steps": "steps per environment between two updates",
    "ppo.minibatch_size": "samples per gradient step",
    "stage.learning_rate": "Adam's learning rate (of a single stage)",
    "eval.games": "held-out games at the end",
    "paths.output_dir": "where single runs lie",
    "paths.study": "name of a sweep; its runs lie in <paths.multirun_dir>/<study>",
    "paths.experiments_dir": "results kept in <this>/<paths.study>/runs count as done; null: they do not",
    "run_dir": "an exact run directory instead",
}


def help_text(overrides: Sequence[str] = (), sources: Sources | None = None) -> str:
    """What the command does, its groups and main keys with their defaults, and its exit codes.

    They are those of `sources` and of the search path in `overrides`; ConfigError where these are wrong.
    """
    config, groups = group_files(search_path_of(overrides), sources)
    width = shutil.get_terminal_size().columns
    lines = [_ABOUT, "groups (group=option; * is the default):", *_group_lines(config, groups, width)]
    lines.append("  Groups with a + are only there when you name them: +experiment=check.")
    lines += ["", "main keys (all of them: --cfg job):"]
    for key, meaning in _KEYS.items():
        value = OmegaConf.select(config, key)
        plain = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        default = yaml.safe_dump(plain).splitlines()[0]
        lines.append(_row(f"  {key}={default}", _KEY_COLUMN, meaning, width))
    return "\n".join([*lines, "", _RUNS])


def _group_lines(config: DictConfig, groups: dict[str, dict[str, Path | None]], width: int) -> Iterator[str]:
    chosen = config.hydra.runtime.choices
    for group, options in groups.items():
        if group in chosen and len(options) < 2:
            continue
        yield f"  {group}" if group in chosen else f"  +{group}"
        about = {option: _about(file) for option, file in options.items()}
        for option, text in about.items():
            mark = "*" if chosen.get(group) == option else " "
            if text or mark == "*":
                yield _row(f"   {mark} {option}", _OPTION_COLUMN, text, width)
        if others := [option for option, text in about.items() if not text and chosen.get(group) != option]:
            yield _row("", 5, ", ".join(others), width)


def _about(file: Path | None) -> str:
    """The first sentence of the comment that an option's file begins with."""
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file is not None else []
    begin = takewhile(lambda line: line.startswith("#"), lines)
    comments = [text for line in begin if not (text := line.removeprefix("#").strip()).startswith("@")]
    return _SENTENCE_ENDS.split(" ".join(comments), maxsplit=1)[0].rstrip(".")


def _row(name: str, column: int, text: str, width: int) -> str:
    """A name and what it means, which begins at `column` and goes on there in the next lines."""
    if not text:
        return name
    indent = " " * column
    folded = textwrap.fill(
        text,
        max(width, column + 20),
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return f"{name}\n{folded}" if len(name) >= column else name + folded[len(name) :]
