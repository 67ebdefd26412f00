"""`python -m tedg.train`: train one run, or with -m a sweep, from Hydra overrides."""

from __future__ import annotations

import os
import sys
import traceback
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from tedg import errors
from tedg.config import completion
from tedg.config.compose import Composed, compose_all, compose_for_show, from_hydra, search_space
from tedg.config.hydra_api import COMPOSE_ERRORS, flags_parser, start
from tedg.config.module_schemas import has_own_parts
from tedg.config.search import SearchSettings
from tedg.config.sources import Sources
from tedg.inert import inert
from tedg.store.wandb import require_package
from tedg.watch.composing import Composing
from tedg.watch.folding import folded


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run())


def run() -> int:
    """Validate the configuration, then hand it to Hydra; returns the exit code (see `--help`).

    Everything is composed and validated first, every job of a sweep too. So a refused configuration costs a
    second, imports no torch and leaves nothing on the disk.
    """
    failures: list[Exception] = []
    jobs: list[Composed] = []
    swept: list[int] = []
    try:
        flags = _flags()
        if flags.help:
            from tedg.config.help_text import help_text

            print(help_text(flags.overrides, Sources.asked_for(flags)))
            return errors.DONE
        _refuse_flags(flags)
        if flags.shell_completion and (text := completion.script(flags.overrides)) is not None:
            print(text)
            return errors.DONE
        sources = Sources.asked_for(flags)
        jobs = _validate(flags, sources)
        # Hydra would print a shortened traceback and exit with 1 for every error; exit codes are ours.
        os.environ["HYDRA_FULL_ERROR"] = "1"
        start(
            flags,
            sources,
            _job(failures, sources, len(jobs)),
            _sweep(jobs, tuple(flags.overrides), sources, swept),
        )
    except errors.TedgError as error:
        _complain(_again(error, failures, len(jobs)))
        return error.exit_code
    except KeyboardInterrupt:
        return errors.INTERRUPTED
    except Exception as error:
        if isinstance(error, COMPOSE_ERRORS) and not jobs:
            _complain(str(error))
            return errors.CONFIG
        if error not in failures:
            _tell(traceback.format_exc())
        _complain(_again(error, failures, len(jobs)))
        return errors.FAILED
    return swept[0] if swept else errors.DONE


def _again(error: Exception, failures: list[Exception], jobs: int) -> str:
    """What to print of an error that ends the command: a failed job of a sweep has spoken already."""
    return f"{len(failures)} of {jobs} jobs failed" if error in failures else str(error)


def _tell(text: str) -> None:
    print(inert(text), file=sys.stderr, flush=True)


def _say(text: str) -> None:
    print(folded(inert(text)), flush=True)


def _complain(message: str) -> None:
    _tell(f"error: {message}")


def _flags() -> Namespace:
    """Hydra's flags, with the overrides, in any order; ConfigError for any other flag."""
    flags, others = flags_parser().parse_known_intermixed_args()
    if others:
        raise errors.ConfigError(f"there is no flag {others[0]}; --help and --hydra-help list all of them")
    return flags


def _refuse_flags(flags: Namespace) -> None:
    """ConfigError for flags that do not go together, and for one that is dangerous."""
    if flags.experimental_rerun:
        raise errors.ConfigError("--experimental-rerun reads a pickle, which can run any code; refused")
    kinds = ("run", "multirun", "cfg", "info", "shell_completion")
    given = [f"--{kind.replace('_', '-')}" for kind in kinds if getattr(flags, kind)]
    if len(given) > 1:
        raise errors.ConfigError(f"{' and '.join(given)} exclude each other; give one of them")
    for flag in ("resolve", "package"):
        if getattr(flags, flag) and not flags.cfg:
            raise errors.ConfigError(
                f"--{flag} says how --cfg shows a configuration; write --cfg job --{flag}"
            )


def _validate(flags: Namespace, sources: Sources) -> list[Composed]:
    """Compose and validate what would run; only compose where Hydra shows it."""
    if flags.cfg or flags.info:
        compose_for_show(flags.overrides, sources, flags.package)
    if flags.cfg or flags.info or flags.hydra_help or flags.shell_completion:
        return []
    composing = Composing()
    try:
        jobs = compose_all(flags.overrides, flags.multirun, sources, composing)
    finally:
        composing.close()
    for job in jobs:
        require_package(job.config.logger)
    _try_own_parts(jobs)
    return jobs


def _try_own_parts(jobs: Sequence[Composed]) -> None:
    """Have parts that tedg has no schema for refuse their settings themselves; seeds make no difference."""
    own = {
        repr(replace(job.config, seed=0, name="")): job.config for job in jobs if has_own_parts(job.resolved)
    }
    for config in own.values():
        from tedg.learn.setup import try_parts  # imports torch

        try_parts(config)


def _sweep(
    jobs: Sequence[Composed], overrides: Sequence[str], sources: Sources, swept: list[int]
) -> Callable[..., None]:
    """What our sweepers call for all jobs; the exit code is left in `swept`."""

    def sweep(
        retries: int,
        make_launcher: Any,
        environment: Mapping[str, str],
        settings: SearchSettings | None = None,
    ) -> None:
        from tedg.sweep.drive import Sweep, sweep

        os.environ.update(environment)  # for the cells, as Hydra does it for its jobs
        asked = Sweep(jobs, overrides, retries, make_launcher)
        space = search_space(overrides, sources) if settings is not None else None
        if settings is None or space is None:
            swept.append(sweep(asked))
            return
        from tedg.sweep.search import search  # imports Optuna

        swept.append(search(asked, space, settings))

    return sweep


def _job(failures: list[Exception], sources: Sources, jobs: int) -> Callable[[DictConfig], Any]:
    """What Hydra calls for each job; each failure is printed when it happens and kept in `failures`."""

    def job(cfg: DictConfig) -> Any:
        from tedg.run.app import run as run_app  # imports torch

        hydra = HydraConfig.get()
        sweep = hydra.mode == RunMode.MULTIRUN
        cell = f"{hydra.job.num + 1} of {jobs}" if sweep else ""
        try:
            return run_app(from_hydra(cfg, sources), say=_say, cell=cell)
        except errors.Stopped as error:
            # The signal was meant for the whole sweep; after an Exception Hydra would start the next job.
            raise SystemExit(error.exit_code) from None
        except errors.TedgError as error:
            _complain(str(error))
            failures.append(error)
            if sweep:
                raise
            raise SystemExit(error.exit_code) from None
        except Exception as error:
            _tell(traceback.format_exc())
            failures.append(error)
            raise

    return job


if __name__ == "__main__":
    main()
