"""The command line of `python -m tedg.bench`, checked without importing torch."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tedg.errors import ConfigError
from tedg.files import unwritable

PARTS = {
    "env": "games alone, random legal actions, every feature computed",
    "policy": "acting alone, at the batch of one group of environments",
    "learner": "updates alone, on a stored rollout",
    "end-to-end": "rollout and update in turn: speed, where the time goes, memory",
    "scaling": "end to end over num_envs and num_workers, for the first variant",
    "limit": "counted FLOPs, rates of the machine, and the share reached",
}

_ABOUT = """\
Measure how fast training is: its parts, the whole, and how much of what the
machine allows that is. Nothing else should run meanwhile.

It measures every fusion with every vision, the configuration's own choice
first. Overrides are those of tedg.train, and choose variants where they name a
group or list values, as in fusion=concat,cross_attn. Each measurement is a
process of its own, variants take turns, and tables show medians over the
rounds.

--advise trains one configuration under a few settings instead. It says which
threads and env.num_workers are best for one run on this machine, and how many
cells of a sweep to train at once."""

_MORE = """\
examples:
  a first look, in minutes:
    python -m tedg.bench --quick
  settings for this machine, in about a minute:
    python -m tedg.bench --advise fusion=concat
  the fusions against each other:
    python -m tedg.bench --only end-to-end vision=glyph
  games alone, in two sizes:
    python -m tedg.bench --only env --num-envs 64,256 --json env.json

exit codes:
  0         done
  1         some measurements failed; the others are shown
  2         wrong usage or configuration
  4         the JSON file could not be written
  130, 143  stopped by Ctrl-C or SIGTERM (the JSON file holds what was finished)"""


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure, and how long."""

    parts: tuple[str, ...]
    rounds: int
    seconds: float  # of each measurement in each round, at least
    num_envs: tuple[int, ...]
    num_workers: tuple[int, ...]
    json: Path | None
    overrides: tuple[str, ...]
    advise: bool = False  # instead of the parts


def read_flags(arguments: Sequence[str]) -> Options:
    """The options that `arguments` ask for. Raises ConfigError for what cannot be; `--help` exits."""
    flags = _parser().parse_intermixed_args(list(arguments))
    if flags.advise:
        _refuse_beside_advise(flags)
    if flags.json is not None and (reason := _unwritable_file(flags.json)) is not None:
        raise ConfigError(f"--json {flags.json}: {reason}")
    return Options(
        parts=tuple(part for part in PARTS if not flags.only or part in flags.only),
        rounds=flags.rounds or (1 if flags.quick else 3),
        seconds=flags.seconds or (0.2 if flags.quick else 2.0 if flags.advise else 5.0),
        num_envs=flags.num_envs or ((16, 64) if flags.quick else (16, 32, 64, 128, 256, 512)),
        num_workers=flags.num_workers or _default_workers(),
        json=flags.json,
        overrides=(*flags.overrides, *([f"device={flags.device}"] if flags.device else ())),
        advise=flags.advise,
    )


def _refuse_beside_advise(flags: argparse.Namespace) -> None:
    for name in ("only", "rounds", "quick", "num_envs", "num_workers"):
        if getattr(flags, name):
            flag = f"--{name.replace('_', '-')}"
            raise ConfigError(f"--advise with {flag}: {flag} is for the parts; leave one of the two out")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message} (--help lists every flag)")


def _parser() -> _Parser:
    parser = _Parser(
        prog="python -m tedg.bench",
        description=_ABOUT,
        epilog="\n".join(["parts:", *(f"  {part:<12}{what}" for part, what in PARTS.items()), "", _MORE]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("overrides", nargs="*", metavar="key=value", help="configuration, as for tedg.train")
    add("--advise", action="store_true", help="in about a minute: which settings are best on this machine")
    add("--only", action="append", choices=PARTS, metavar="PART", help="measure this part; may be repeated")
    add("--rounds", type=_whole(1), metavar="N", help="times that each measurement is made (default 3)")
    add("--seconds", type=_positive, metavar="S", help="length of a measurement (default 5; --advise 2)")
    add("--quick", action="store_true", help="one round, 0.2 s each, fewer sizes; figures are rough")
    add("--num-envs", type=_list(_whole(1)), metavar="N,N", help="sizes for env and scaling (16 to 512)")
    add(
        "--num-workers",
        type=_list(_whole(0)),
        metavar="N,N",
        help="worker processes for env and scaling (0, 1, 2, 4, ... cores; 0: none)",
    )
    add("--device", choices=("auto", "cpu", "cuda"), help="where to learn (default: the configuration's)")
    add("--json", type=Path, metavar="FILE", help="write everything measured to FILE")
    return parser


def _whole(least: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        if not text.isascii() or not text.isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
        return int(text)

    return convert


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return value


def _list(convert: Callable[[str], int]) -> Callable[[str], tuple[int, ...]]:
    return lambda text: tuple(dict.fromkeys(convert(part.strip()) for part in text.split(",")))


def _default_workers() -> tuple[int, ...]:
    cores = len(os.sched_getaffinity(0))
    doubling = [2**power for power in range(cores.bit_length()) if 2**power < cores]
    return (0, *doubling, cores)


def _unwritable_file(path: Path) -> str | None:
    if path.is_dir():
        return "is a directory; name a file"
    if not path.absolute().parent.is_dir():
        return f"there is no directory {path.parent}"
    return unwritable(path.absolute().parent)
