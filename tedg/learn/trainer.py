"""The shared trainer: every variant and every stage runs through this loop."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tedg.config.run_config import RunConfig
from tedg.envs.observation import EpisodeEnd
from tedg.envs.vector import training_seeds
from tedg.errors import DivergedError, Stopped
from tedg.learn import figures
from tedg.learn.capture import make_capture
from tedg.learn.debug import write_debug_bundle
from tedg.learn.final import evaluate_all, first_episodes, summaries
from tedg.learn.liveness import liveness
from tedg.learn.milestones import Milestones
from tedg.learn.modality import modality
from tedg.learn.origin import Origin
from tedg.learn.ppo import Learner, UpdateResult
from tedg.learn.recording import Recorder
from tedg.learn.rollout import Collector, CollectorState, Rollout
from tedg.learn.setup import make_device, make_env, make_hypergraph, make_policy, set_threads
from tedg.learn.snapshot import RunState, find, load_weights, resume, save
from tedg.learn.stages import Settings, Stage, make_schedule
from tedg.models.build import parameters_per_part
from tedg.models.flops import forward_flops
from tedg.signals import StopFlag
from tedg.store.checkpoint import Checkpoint, best, latest
from tedg.store.games import asked_games, write_games
from tedg.store.rundir import CHECKPOINTS
from tedg.store.tables import read_episodes
from tedg.store.torch_state import RandomSource, process_generators
from tedg.watch.console import Console, Progress
from tedg.watch.diagnostics import Warnings, dead_attention_warning
from tedg.watch.remedies import Remedies
from tedg.watch.short_budget import short_budget_warning


def train(
    config: RunConfig, run_dir: Path, initial_weights: Path | None, console: Console, stop: StopFlag
) -> dict[str, Any]:
    """Train from the newest checkpoint in `run_dir`, or from the start, and evaluate; returns the result.

    `initial_weights` is the run directory whose weights a fresh run starts from. Raises Stopped after
    saving when `stop` was requested, DivergedError, StorageError and ConfigError.
    """
    trainer = Trainer(config, run_dir, initial_weights, console, stop)
    try:
        return trainer.run()
    finally:
        trainer.close()


class Trainer:
    """One run: collect a rollout under the stage's settings, update, log, until the budget is spent."""

    def __init__(
        self,
        config: RunConfig,
        run_dir: Path,
        initial_weights: Path | None,
        console: Console,
        stop: StopFlag,
    ) -> None:
        self.config, self.run_dir, self.console, self.stop = config, run_dir, console, stop
        self.device = make_device(config)
        self.threads = set_threads(config)
        self.stages, self.budget = make_schedule(config)
        self.warnings = Warnings(config)

        self.origin = Origin.of(run_dir)
        saved = find(run_dir, console.warn)
        self.env = make_env(config, training_seeds(config.seed))
        self.policy = make_policy(config, self.env, make_hypergraph(config), self.device)
        self.sampling = torch.Generator(self.device).manual_seed(config.seed)
        minibatches = torch.Generator().manual_seed(config.seed)
        own: dict[str, RandomSource] = {"sampling": self.sampling, "minibatches": minibatches}
        self.capture = make_capture(self.device, config.cuda_graphs, console.note)
        self.generators = own | process_generators()
        random.seed(config.seed)
        np.random.seed(config.seed)  # noqa: NPY002  for code that names no generator
        self.learner = Learner(
            self.policy,
            config.ppo,
            self.env.num_envs,
            minibatches,
            self._learner_threads(),
            self.capture,
        )
        self.state = RunState()
        self.collector: Collector | None = None  # none while no games are played
        self._games: CollectorState | None = None  # as the checkpoint that the run goes on from has them
        if saved is not None:
            self._go_on_from(saved)
        elif initial_weights is not None:
            fresh = load_weights(self.policy, initial_weights, config.init_except)
            console.note(f"weights taken from {initial_weights}")
            if fresh:
                console.note(f"left fresh by init_except: {', '.join(fresh)}")
        self.milestones = Milestones(run_dir, config.eval.milestones, self.origin.meta, self.state.env_steps)
        for steps in self.milestones.missed:
            console.warn(
                f"eval.milestones: the run is past {steps:,} env steps and cannot keep their weights"
            )
        self.recorder = Recorder(
            run_dir, config, self.state.update, self.state.env_steps, self._save, console.warn
        )
        self._episodes = [_episode(row) for row in read_episodes(run_dir / "episodes.csv")]

    def _go_on_from(self, saved: Checkpoint) -> None:
        self.origin.check(saved, self.console.warn)
        self.state, self._games = resume(saved, self.learner, self.generators)
        self.console.note(f"resumed after update {self.state.update}, {self.state.env_steps:,} env steps")

    def _learner_threads(self) -> int:
        return self.threads if self.device.type == "cpu" else 1

    def close(self) -> None:
        """Release games, files and the console."""
        self.recorder.close()  # may warn
        self.console.close()
        self.learner.close()
        self.env.close()

    @property
    def done(self) -> int:
        """How much of the budget is spent, in its unit."""
        return self.budget.done(self.state.episodes, self.state.env_steps)

    def run(self) -> dict[str, Any]:
        """The whole run; returns what goes into result.json."""
        self.console.start(self._summary())
        try:
            return self._run()
        except DivergedError as error:
            if error.result:
                raise
            # Where the policy acted, or a save, met what is not finite: no update could be undone.
            stage = next((stage for stage in self.stages if self.done < stage.end), self.stages[-1])
            place = self.run_dir / CHECKPOINTS
            where = f"; the last good weights are in {place}" if latest(place) is not None else ""
            raise DivergedError(f"{error}{where}; {self._slower(stage.name)}", self._totals()) from None

    def _run(self) -> dict[str, Any]:
        if (warning := dead_attention_warning(self.policy.fusion, self.policy.vision.num_tokens)) is not None:
            self.console.warn(warning)
        if (warning := short_budget_warning(self.config)) is not None:
            self.console.warn(warning)
        if (reason := self.learner.alignment_off) is not None:
            self.console.note(f"the alignment loss is off: {reason}")
        for number, stage in enumerate(self.stages):
            while self.done < stage.end:
                if self.collector is None:
                    self.collector = self._begin_games()
                self._update(stage, self.collector, number)
        self.recorder.save(self.state.update, scheduled=True)
        return self._finish()

    def _begin_games(self) -> Collector:
        envs, steps = self.env.num_envs, self.config.ppo.num_steps
        self.console.note(f"{envs} games begin; an update every {envs * steps:,} env steps")
        return Collector(self.env, self.policy, steps, self.device, self.sampling, self._games, self.capture)

    def _summary(self) -> dict[str, str]:
        parts = parameters_per_part(self.policy)
        return {
            "run": str(self.run_dir),
            "device": f"{self.device}, {self.threads} thread{'s' * (self.threads > 1)}",
            "stages": " -> ".join(stage.name for stage in self.stages),
            "budget": f"{self.budget.total:,} {self.budget.unit.replace('_', ' ')}",
            "parameters": ", ".join(f"{part} {count:,}" for part, count in parts.items()),
        }

    def _update(self, stage: Stage, collector: Collector, number: int) -> None:
        state = self.state
        settings = stage.settings(self.done)
        start, env_before = time.monotonic(), collector.env_seconds
        rollout = collector.collect(settings)
        collected = time.monotonic()
        result = self.learner.update(rollout, settings)
        learned = time.monotonic()
        state.update += 1
        state.env_steps += rollout.num_samples
        state.episodes += len(rollout.episodes)
        self._episodes += rollout.episodes
        self._count_lost(rollout, result)
        self._count(result, settings.stage)
        self.milestones.note(state.env_steps, state.update, settings.stage, self.done, self.policy)
        env_seconds = collector.env_seconds - env_before
        timing = {
            "time/env": env_seconds,
            "time/policy": collected - start - env_seconds,
            "time/learning": learned - collected,
            "time/storage": self.recorder.seconds,  # for the update before
            "time/steps_per_second": rollout.num_samples / (learned - start),
        }
        metrics = self._metrics(rollout, result, settings, number)
        state.border_kl = self._border_kl(rollout, settings, number)
        urgent = self.stop.save
        self.recorder.note(state.update, state.env_steps, metrics, timing, rollout.episodes, urgent)
        self._report(stage, metrics, timing)
        if state.rollbacks_in_a_row >= self.config.ppo.max_rollbacks:
            self._give_up(result.fault, rollout, settings)
        if self.stop.requested:
            self.recorder.save(state.update, scheduled=False)
            raise Stopped(self.stop.exit_code)

    def _border_kl(self, rollout: Rollout, settings: Settings, number: int) -> float | None:
        """What the border does that the next update crosses, if it crosses one."""
        done = self.done
        after = next((stage for stage in self.stages[number:] if done < stage.end), None)
        if after is None or after.name == settings.stage:
            return None
        return figures.border_kl(self.policy, rollout, settings, after.settings(done))

    def _count_lost(self, rollout: Rollout, result: UpdateResult) -> None:
        """Games and processes that were lost: the run goes on without them, and says so."""
        state = self.state
        for incident in rollout.incidents:
            self.console.warn(f"{incident}\nit was replaced; its games count as cut off")
        for incident in result.incidents:
            self.console.warn(f"{incident}\nthe update was begun anew; nothing is lost")
        state.incidents += len(rollout.incidents) + len(result.incidents)
        if lost := sum(end.end == "lost" for end in rollout.episodes):
            state.lost_episodes += lost
            self.console.warn(f"update {state.update}: {lost} episodes lost ({state.lost_episodes} so far)")

    def _count(self, result: UpdateResult, stage: str) -> None:
        """Updates that worked, and those that did not."""
        state = self.state
        if result.fault is None:
            state.rollbacks_in_a_row = 0
            state.updates_per_stage[stage] = state.updates_per_stage.get(stage, 0) + 1
            return
        state.rollbacks += 1
        state.rollbacks_in_a_row += 1
        self.console.warn(
            f"update {state.update}: {result.fault}; went back to the weights, optimiser and normaliser "
            f"before it ({state.rollbacks_in_a_row} of {self.config.ppo.max_rollbacks} in a row)"
        )

    def _give_up(self, fault: str | None, rollout: Rollout, settings: Settings) -> None:
        count = self.state.rollbacks_in_a_row
        bundle = write_debug_bundle(self.run_dir, self.state.update, str(fault), rollout, settings)
        self.recorder.save(self.state.update, scheduled=False)
        raise DivergedError(
            f"{count} updates in a row had to be undone ({fault}); the last good weights are in "
            f"{self.run_dir / CHECKPOINTS}, the rollout is in {bundle}. "
            f"{self._slower(settings.stage)}",
            self._totals(),
        )

    def _slower(self, stage: str) -> str:
        norm = self.config.ppo.max_grad_norm
        return f"{Remedies(self.config, stage).slower()}, or ppo.max_grad_norm={norm / 2:g} (now {norm:g})"

    def _metrics(
        self, rollout: Rollout, result: UpdateResult, settings: Settings, number: int
    ) -> dict[str, float | str]:
        metrics: dict[str, float | str] = {
            "stage": settings.stage,
            "stage/number": number,
            "stage/temperature": float(settings.temperature),
            "train/learning_rate": settings.learning_rate,
            "train/rollbacks": self.state.rollbacks,
            "episodes": self.state.episodes,
            "lost/episodes": self.state.lost_episodes,
            "lost/processes": self.state.incidents,
            **figures.recent_figures(self._episodes),
            **figures.rollout_figures(rollout),
            **figures.policy_figures(result.probe),
            **result.metrics,
        }
        if self.origin.env_steps_before:
            metrics["total_env_steps"] = self.origin.env_steps_before + self.state.env_steps
        if self.state.border_kl is not None:
            metrics["stage/border_kl"] = self.state.border_kl
        norm = float(metrics["context/norm"])
        if self.state.initial_context_norm is None:
            self.state.initial_context_norm = norm
        metrics["context/drift"] = norm / self.state.initial_context_norm
        return metrics

    def _report(self, stage: Stage, metrics: dict[str, Any], timing: dict[str, float]) -> None:
        self.console.update(
            Progress(
                update=self.state.update,
                stage=stage.name,
                env_steps=self.state.env_steps,
                episodes=self.state.episodes,
                fraction=min(self.done / self.budget.total, 1.0),
                metrics=metrics,
                timing=timing,
            )
        )
        for warning in self.warnings.check(metrics, min(self.done / self.budget.total, 1.0)):
            self.console.warn(warning)

    def _save(self, scheduled: bool) -> None:
        assert self.collector is not None
        self.milestones.write()
        save(
            self.run_dir,
            self.state,
            self.learner,
            self.generators,
            self.collector.state(),
            keep=self.config.checkpoint.keep,
            meta=self.origin.meta,
            # Others are not written in every run of this configuration, and must not be its best.
            quality=figures.recent_figures(self._episodes).get("rollout/mean_return") if scheduled else None,
        )
        self.stop.save = False
        self.console.saved()

    def _totals(self) -> dict[str, Any]:
        return {
            "updates": self.state.update,
            "updates_per_stage": self.state.updates_per_stage,
            "rollbacks": self.state.rollbacks,
            "lost_episodes": self.state.lost_episodes,
            "lost_processes": self.state.incidents,
            "env_steps": self.state.env_steps,
            "episodes": self.state.episodes,
            "num_actions": self.env.spec.num_actions,
            "parameters": parameters_per_part(self.policy),
        }

    def _finish(self) -> dict[str, Any]:
        last = self.stages[-1]
        settings = last.settings(last.end)
        self.env.close()  # its memory is better spent on the held-out games
        self.console.note("evaluating on held-out games")
        asked = asked_games(self.config.eval)
        for player, seeds in asked.items():
            if seeds:
                self.console.played(player, 0, len(seeds))
        games, seen = evaluate_all(
            self.config, self.policy, settings, self.device, self.capture, self.stop, self.console.played
        )
        write_games(self.run_dir, games)
        evaluation = summaries(games, asked) if games else {}
        for player, summary in evaluation.items():
            if summary["lost"]:
                self.console.warn(f"{summary['lost']} held-out games of {player} were lost and do not count")
        self.recorder.note_held_out(evaluation)
        states = seen.before.select(self.policy.inputs)
        seed = self.config.seed
        generator, own = torch.Generator(self.device).manual_seed(seed), torch.Generator().manual_seed(seed)
        return {
            **self._totals(),
            "training": {
                "all": figures.episode_figures(self._episodes),
                "first_100_episodes": first_episodes(self._episodes, 100),
                "first_300_episodes": first_episodes(self._episodes, 300),
            },
            "evaluation": evaluation,
            "flops": forward_flops(self.policy, states, settings.routing),
            "liveness": liveness(self.policy, states, settings, generator),
            "modality": modality(self.policy, seen, settings, make_hypergraph(self.config), own),
            "best_checkpoint": self._best(),
            "warnings": self.console.warnings,
        }

    def _best(self) -> dict[str, Any] | None:
        """The checkpoint with the highest mean return of the last 100 training episodes before it."""
        found = best(self.run_dir / CHECKPOINTS)
        return None if found is None else {"name": found[0].name, "mean_return": found[1]}


def _episode(row: dict[str, Any]) -> EpisodeEnd:
    return EpisodeEnd(**{name: row[name] for name in EpisodeEnd.__dataclass_fields__ if name in row})
