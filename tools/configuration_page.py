"""Writes docs/configuration.md, the reference of all groups, options and keys, from conf/ and the schemas.

    .venv/bin/python tools/configuration_page.py

What a key is for is the comment beside it in conf/, or else beside its field in the schema. The lists of
options are conf/'s files with the sentence that each begins with. Nothing of it needs torch, NetHack or a
composed configuration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any, get_args

from conf_files import Option, options_of
from schema_words import allowed, fields_of

from hydra_plugins.tedg_sweeps import local_launcher, optuna_sweeper, resume_sweeper, slurm_launcher
from tedg.config import run_config
from tedg.config.module_schemas import SLOTS
from tedg.config.plan import PlanConfig
from tedg.run.identity import MEASURED, VOLATILE, VOLATILE_ENV

PAGE = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"
_ABOUT = """\
# Configuration reference

Every group, option and key. This page is made from `conf/` and the schemas by
`tools/configuration_page.py`, and a test holds it to them. `.venv/bin/python -m tedg.train --help` shows
the same in short, `--cfg job` a whole configuration with its values.

A **group** is a folder of `conf/`, and an option is a file in it: `fusion=concat`. A **key** is set by
its dotted name: `ppo.gamma=0.99`. Keys marked ° do not count in a [run's
id](running.md#a-run-is-its-configuration): they say how a run is stored, shown, measured or spread over a
machine. Where an option is named before a default, the key has it there; keys without such a name are
there for every option. Whole numbers may be written as fractions (`1e6`).
"""


@dataclass(frozen=True, slots=True)
class Section:
    """A group, or keys of config.yaml: those of conf/, and the schema of their keys."""

    key: str  # under which its keys lie; empty: at the top
    about: str
    group: str = ""  # with options of its own
    schema: type[Any] | None = None
    default_of: str = ""  # the only option whose values are defaults
    open: bool = False  # has keys that no schema names


_SECTIONS = (
    Section("", "What a single run is, beside its groups.", schema=run_config.RunConfig),
    Section("budget", "How long to train.", schema=run_config.BudgetConfig),
    Section("eval", "Held-out games at the end of training.", schema=run_config.EvalConfig),
    Section("checkpoint", "What is kept to go on from.", schema=run_config.CheckpointConfig),
    Section("paths", "Where results lie.", schema=run_config.PathsConfig),
    Section("preset", "Numbers that belong together.", "preset", run_config.PresetConfig, open=True),
    Section("env", "The task.", "env"),
    Section(
        "env.game", "The game of a toy environment ([toy-environments.md](toy-environments.md)).", "env/game"
    ),
    Section("vision", "How the map is seen.", "vision"),
    Section("logic", "How the symbols are seen.", "logic"),
    Section("fusion", "How the two streams are joined.", "fusion"),
    Section("fusion.gate", "Which keys of attention take part.", "fusion/gate"),
    Section("routing", "How the experts are mixed, in every stage.", "routing"),
    Section(
        "stage",
        "Schedules. A pair is (value at the start, value at the end). A curriculum has these keys for each "
        "of its stages: `stage.phases.warmup.temperature`.",
        "stage",
        run_config.StageConfig,
    ),
    Section("policy", "Router, experts and critic.", "policy", run_config.PolicyConfig),
    Section("ppo", "The learner.", "ppo", run_config.PPOConfig),
    Section(
        "logger", "Where curves are shown ([loggers.md](loggers.md)).", "logger", run_config.LoggerConfig
    ),
    Section("diagnostics", "When a warning is printed.", "diagnostics", run_config.DiagnosticsConfig),
    Section("check", "What `+experiment=check` judges by.", "check", run_config.CheckConfig),
    Section(
        "plan", "What a study is to find out ([comparing.md](comparing.md)).", "plan", PlanConfig, "default"
    ),
    Section("", "Changes of several groups, to be compared ([variants.md](variants.md)).", "arm"),
    Section("", "Whole studies, and single ones of their cells: `+experiment=v3_vs_v4`.", "experiment"),
    Section("", "Added after an experiment, to try it out: `+budget=tiny`.", "budget"),
)
_SWEEPS = (
    (
        "hydra.sweeper",
        "hydra/sweeper",
        "resume",
        "Trains what is missing of a sweep.",
        resume_sweeper.ResumeSweeperConf,
    ),
    ("hydra.sweeper", "hydra/sweeper", "optuna", "Searches for numbers.", optuna_sweeper.OptunaSweeperConf),
    ("hydra.launcher", "hydra/launcher", "local", "A process per cell.", local_launcher.LocalLauncherConf),
    (
        "hydra.launcher",
        "hydra/launcher",
        "slurm",
        "Cells are jobs of a cluster.",
        slurm_launcher.SlurmLauncherConf,
    ),
)


def page() -> str:
    """The page's text."""
    (top,) = options_of("").values()
    chosen = top.defaults
    lines = [_ABOUT]
    for section in _SECTIONS:
        lines += _section(section, top, chosen)
    lines.append("## Sweeps\n\nWhat `-m` does ([sweeps.md](sweeps.md)).\n")
    for key, group, option, about, schema in _SWEEPS:
        lines.append(f"### `{group}={option}`\n\n{about}\n")
        rows = [
            _row(f"{key}.{name}", f"`{field.default}`", allowed(field.hint), field.comment)
            for name, field in fields_of(schema).items()
            if name != "_target_"
        ]
        lines.append(_table(("key", "default", "allowed", "what it is"), rows))
    return "\n".join(lines)


def _section(section: Section, top: Option, chosen: Mapping[str, str]) -> Iterator[str]:
    options = options_of(section.group) if section.group else {}
    added = "+" * bool(options and section.group not in chosen and "/" not in section.group)
    title = f"`{added}{section.group or section.key}`" if section.group or section.key else "The run"
    yield f"## {title}\n\n{section.about}\n"
    default = chosen.get(section.group, section.default_of)
    if options:
        rows = []
        for name, option in sorted(options.items(), key=lambda one: (one[0] != default, one[0])):
            target = f"`{option.target.rpartition('.')[2]}`" if option.target else ""
            called = f"`{added}{section.group}={name}`{' (default)' * (name == default)}"
            rows.append((called, _plain(option.about), target))
        with_class = any(row[2] for row in rows)
        yield _table(
            ("option", "what it is", "class")[: 2 + with_class], [row[: 2 + with_class] for row in rows]
        )
    rows = [*(_keys_of_options(section, options, default) if options else _keys_of_top(section, top))]
    if rows:
        yield _table(("key", "default", "allowed", "what it is"), rows)


def _keys_of_top(section: Section, top: Option) -> Iterator[Sequence[str]]:
    """Keys that config.yaml itself has."""
    for name, field in fields_of(section.schema).items():
        key = f"{section.key}.{name}" if section.key else name
        found = top.keys.get(key)
        if found is not None and not found.group:
            yield _row(key, f"`{found.value}`", allowed(field.hint), found.comment or field.comment)


def _keys_of_options(section: Section, options: Mapping[str, Option], first: str) -> Iterator[Sequence[str]]:
    """Keys that options have, each with its value in each."""
    own = {name: option for name, option in options.items() if not option.is_global}
    schemas = {}
    for name in sorted(own, key=lambda name: name != first):
        schema = SLOTS.get(section.key, {}).get(own[name].target or "", section.schema)
        schemas[name] = fields_of(schema) if schema is not None else {}
    known = dict.fromkeys(name for fields in schemas.values() for name in fields)
    if section.open:
        known |= dict.fromkeys(key for option in own.values() for key in option.keys if "." not in key)
    for field_name in known:
        fields = {option: of[field_name] for option, of in schemas.items() if field_name in of}
        holders = list(fields or schemas)
        found = {option: key for option in holders if (key := own[option].keys.get(field_name)) is not None}
        comments = [*(key.comment for key in found.values()), *(field.comment for field in fields.values())]
        values = {option: key.value for option, key in found.items()}
        values |= {option: place for option in holders if (place := own[option].defaults.get(field_name))}
        if section.default_of:
            values = {option: value for option, value in values.items() if option == section.default_of}
        everywhere = bool(section.default_of) or len(holders) == len(own)
        kinds = dict.fromkeys(allowed(field.hint) for field in fields.values()) or ("keys",)
        meaning = next((comment for comment in comments if comment), "")
        yield _row(
            f"{section.key}.{field_name}", _defaults(values, own, everywhere), "; ".join(kinds), meaning
        )
        for field in fields.values():
            yield from _keys_below(f"{section.key}.{field_name}", field_name, field.hint, own)
            break


def _keys_below(key: str, name: str, hint: Any, options: Mapping[str, Option]) -> Iterator[Sequence[str]]:
    """Keys of a schema within a schema."""
    for schema in (one for one in get_args(hint) if isinstance(one, type) and is_dataclass(one)):
        for inner, field in fields_of(schema).items():
            found = {
                option: held
                for option, one in options.items()
                if (held := one.keys.get(f"{name}.{inner}")) is not None
            }
            meaning = next((held.comment for held in found.values() if held.comment), field.comment)
            values = {option: held.value for option, held in found.items()}
            yield _row(f"{key}.{inner}", _defaults(values, options, False), allowed(field.hint), meaning)


def _defaults(values: Mapping[str, str], options: Mapping[str, Option], everywhere: bool) -> str:
    by_value: dict[str, list[str]] = {}
    for option in sorted(values):
        by_value.setdefault(values[option], []).append(option)
    if everywhere and len(by_value) == 1:
        return f"`{next(iter(by_value))}`"
    return "; ".join(f"{_together(names, options)}: `{value}`" for value, names in by_value.items())


def _together(names: Sequence[str], options: Mapping[str, Option]) -> str:
    """Names of options, `nethack_*` for all that begin so."""
    short: dict[str, None] = {}
    for name in names:
        begin = f"{name.partition('_')[0]}_"
        alike = {other for other in options if other.startswith(begin)}
        short[f"{begin}\\*" if len(alike) > 2 and alike <= {*names} else name] = None
    return ", ".join(short)


def _row(key: str, default: str, kinds: str, meaning: str) -> Sequence[str]:
    if not meaning:
        raise SystemExit(f"error: {key} has no comment, in conf/ or in its schema: write what it is for")
    parts = key.split(".")
    uncounted = (
        parts[0] in VOLATILE or (parts[0] == "env" and parts[-1] in VOLATILE_ENV) or parts[0] in MEASURED
    )
    return f"`{key}`{'&nbsp;°' if uncounted else ''}", default or "", kinds, _plain(meaning)


def _plain(text: str) -> str:
    """A comment as Markdown, where <name> would be an element."""
    return text.replace("<", "&lt;").replace("*", "\\*")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
