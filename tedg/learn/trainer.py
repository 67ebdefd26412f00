"""The shared trainer: every variant and every stage runs through this loop."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from tedg.config import RunConfig
from tedg.envs.observation import EpisodeEnd
from tedg.envs.vector import training_seeds
from tedg.errors import DivergedError, Stopped
from tedg.learn import figures
from tedg.learn.final import evaluate_all, first_episodes
from tedg.learn.liveness import liveness
from tedg.learn.ppo import Learner, UpdateResult
from tedg.learn.rollout import Collector, Rollout
from tedg.learn.saving import RunState, find, load_weights, resume, save, write_debug_bundle
from tedg.learn.setup import make_device, make_env, make_hypergraph, make_policy, set_threads
from tedg.learn.stages import Settings, Stage, make_schedule
from tedg.models.build import parameters_per_part
from tedg.track.console import Console, Progress
from tedg.track.diagnostics import Warnings, dead_attention_warning
from tedg.track.metrics import read_episodes
from tedg.track.runlog import RunLog
from tedg.track.signals import StopFlag


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
        self.warnings = Warnings(config.diagnostics, phases="phases" in config.stage)

        num_envs = config.env["num_envs"]
        saved = find(run_dir, console.warn)
        self.state = RunState([0] * num_envs) if saved is None else RunState.saved_in(saved)
        # Games that an earlier process started are not played again: the next ones follow.
        self.env = make_env(config, training_seeds(config.seed, self.state.games_started))
        self.policy = make_policy(config, self.env, make_hypergraph(config), self.device)
        self.generators = {
            "sampling": torch.Generator(self.device).manual_seed(config.seed),
            "minibatches": torch.Generator().manual_seed(config.seed),
        }
        self.learner = Learner(
            self.policy, config.ppo, num_envs, self.generators["minibatches"], self._learner_threads()
        )
        if saved is not None:
            resume(saved, self.learner, self.generators)
            console.note(f"resumed after update {self.state.update}, {self.state.env_steps:,} env steps")
        elif initial_weights is not None:
            load_weights(self.policy, initial_weights)
            console.note(f"weights taken from {initial_weights}")
        self.log = RunLog(
            run_dir, self.state.update, self.state.env_steps, config.logger.tensorboard, console.warn
        )
        self._episodes = [_episode(row) for row in read_episodes(run_dir / "episodes.csv")]
        self._last: tuple[Rollout, Settings] | None = None

    def _learner_threads(self) -> int:
        return self.threads if self.device.type == "cpu" else 1

    def close(self) -> None:
        """Release games, files and the console."""
        self.console.close()
        self.log.close()
        self.learner.close()
        self.env.close()

    @property
    def done(self) -> int:
        """How much of the budget is spent, in its unit."""
        return self.budget.done(self.state.episodes, self.state.env_steps)

    def run(self) -> dict[str, Any]:
        """The whole run; returns what goes into result.json."""
        self.console.start(self._summary())
        if (warning := dead_attention_warning(self.policy.fusion, self.policy.vision.num_tokens)) is not None:
            self.console.warn(warning)
        if (reason := self.learner.alignment_off) is not None:
            self.console.note(f"the alignment loss is off: {reason}")
        collector: Collector | None = None
        for number, stage in enumerate(self.stages):
            while self.done < stage.end:
                if collector is None:
                    collector = Collector(
                        self.env,
                        self.policy,
                        self.config.ppo.num_steps,
                        self.device,
                        self.generators["sampling"],
                    )
                    self.state.games_started = [n + 1 for n in self.state.games_started]
                self._update(stage, collector, number)
        self._save()
        return self._finish()

    def _summary(self) -> dict[str, str]:
        parts = parameters_per_part(self.policy)
        return {
            "run": str(self.run_dir),
            "device": f"{self.device}, {self.threads} threads",
            "stages": " -> ".join(stage.name for stage in self.stages),
            "budget": f"{self.budget.total:,} {self.budget.unit.replace('_', ' ')}",
            "parameters": ", ".join(f"{part} {count:,}" for part, count in parts.items()),
        }

    def _update(self, stage: Stage, collector: Collector, number: int) -> None:
        state = self.state
        settings = stage.settings(self.done)
        extra: dict[str, float] = {}
        if self._last is not None and self._last[1].stage != settings.stage:
            extra["stage/border_kl"] = figures.border_kl(self.policy, *self._last, settings)
        start, env_before = time.monotonic(), collector.env_seconds
        rollout = collector.collect(settings)
        collected = time.monotonic()
        result = self.learner.update(rollout, settings)
        learned = time.monotonic()
        state.update += 1
        state.env_steps += rollout.num_samples
        state.episodes += len(rollout.episodes)
        for end in rollout.episodes:
            state.games_started[end.env] += 1
        self._episodes += rollout.episodes
        self._count(result, rollout, stage)
        env_seconds = collector.env_seconds - env_before
        timing = {
            "time/env": env_seconds,
            "time/policy": collected - start - env_seconds,
            "time/learning": learned - collected,
            "time/steps_per_second": rollout.num_samples / (learned - start),
        }
        metrics = {**extra, **self._metrics(rollout, result, settings, number)}
        self.log.append(state.update, state.env_steps, metrics, timing, rollout.episodes)
        self._report(stage, metrics, timing)
        self._last = (rollout, settings)
        if state.update % self.config.checkpoint.every_updates == 0:
            self._save()
        if self.stop.requested:
            self._save()
            raise Stopped(self.stop.exit_code)

    def _count(self, result: UpdateResult, rollout: Rollout, stage: Stage) -> None:
        state = self.state
        if result.fault is None:
            state.rollbacks_in_a_row = 0
            state.updates_per_stage[stage.name] = state.updates_per_stage.get(stage.name, 0) + 1
            return
        state.rollbacks += 1
        state.rollbacks_in_a_row += 1
        self.console.warn(
            f"update {state.update}: {result.fault}; went back to the weights, optimiser and normaliser "
            f"before it ({state.rollbacks_in_a_row} of {self.config.ppo.max_rollbacks} in a row)"
        )
        if state.rollbacks_in_a_row >= self.config.ppo.max_rollbacks:
            bundle = write_debug_bundle(self.run_dir, rollout)
            self._save()
            raise DivergedError(
                f"{state.rollbacks_in_a_row} updates in a row were not finite ({result.fault}); the last "
                f"good weights are in {self.run_dir / 'checkpoints'}, the rollout in {bundle}. "
                "A lower learning rate or ppo.max_grad_norm may help.",
                self._totals(),
            )

    def _metrics(
        self, rollout: Rollout, result: UpdateResult, settings: Settings, number: int
    ) -> dict[str, float | str]:
        metrics: dict[str, float | str] = {
            "stage": settings.stage,
            "stage/number": number,
            "stage/temperature": settings.temperature,
            "train/learning_rate": settings.learning_rate,
            "train/rollbacks": self.state.rollbacks,
            "episodes": self.state.episodes,
            **figures.recent_figures(self._episodes),
            **figures.rollout_figures(rollout),
            **figures.policy_figures(result.probe),
            **result.metrics,
        }
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

    def _save(self) -> None:
        self.log.sync()
        save(self.run_dir, self.state, self.learner, self.generators, self.config.checkpoint.keep)
        self.console.saved()

    def _totals(self) -> dict[str, Any]:
        return {
            "updates": self.state.update,
            "updates_per_stage": self.state.updates_per_stage,
            "rollbacks": self.state.rollbacks,
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
        evaluation, states = evaluate_all(self.config, self.policy, settings, self.device, self.stop)
        generator = torch.Generator(self.device).manual_seed(self.config.seed)
        return {
            **self._totals(),
            "training": {
                "all": figures.episode_figures(self._episodes),
                "first_100_episodes": first_episodes(self._episodes, 100),
                "first_300_episodes": first_episodes(self._episodes, 300),
            },
            "evaluation": evaluation,
            "liveness": liveness(self.policy, states, settings, generator),
            "warnings": self.console.warnings,
        }


def _episode(row: dict[str, Any]) -> EpisodeEnd:
    return EpisodeEnd(**{name: row[name] for name in EpisodeEnd.__dataclass_fields__})
