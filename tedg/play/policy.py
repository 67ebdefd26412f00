"""`tedg.load`: a run's policy, to act in any gymnasium env of NLE."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from nle import nethack as nh

from tedg.config.run_config import RunConfig
from tedg.envs.actions import ACTION_KEYS, ACTION_NAMES
from tedg.envs.block import GameSettings
from tedg.envs.frames import FRAME_KEYS
from tedg.envs.memory import GameMemory
from tedg.envs.observer import Observer
from tedg.errors import ConfigError
from tedg.hypergraph.schema import load_hypergraph
from tedg.learn.measuring import MeasuredPolicy, policy_under
from tedg.models.vision import Region
from tedg.play.checks import checked_run
from tedg.store.conditions import Condition

_ROW = np.zeros(1, np.int64)  # the only row of a batch of one game


@dataclass(frozen=True, slots=True)
class Said:
    """What a policy said of one state, in numpy arrays (K experts, H heads, T keys, O operators, A atoms)."""

    action: int
    probabilities: npt.NDArray[np.float64]  # [actions], 0 where the action is illegal
    legal: npt.NDArray[np.bool_]  # [actions]
    value: float  # the critic's
    alpha: npt.NDArray[np.float32]  # [K] the experts' shares
    attention: npt.NDArray[np.float32] | None  # [H, T], rows sum to 1, dropped keys are 0; None without it
    operator_scores: npt.NDArray[np.float32] | None  # [O]; None without a hypergraph
    atoms: npt.NDArray[np.bool_]  # [A] which conditions of the hypergraph hold


class LoadedPolicy:
    """Acts as in `python -m tedg.evaluate`: the same weights, stage, mask and draws.

    `reset` begins an episode, and `act` answers its observations one after another. `said` has what the
    policy said of the last one. `observation_keys` are what `act` needs of an env.
    """

    observation_keys = FRAME_KEYS

    def __init__(self, run_dir: Path, config: RunConfig, player: MeasuredPolicy, stage: str) -> None:
        self.run_dir, self.config, self.player, self.stage = run_dir, config, player, stage
        self.hypergraph = load_hypergraph(config.env["hypergraph"])
        node = {key: config.env[key] for key in ("task", "goal", "max_episode_steps", "action_mask")}
        settings = GameSettings(hypergraph=self.hypergraph, **node)
        size = GameMemory.size(settings.spec, 1)
        self._memory = GameMemory.over(np.zeros(size, np.uint8).data, settings.spec, 1)
        restricted = settings.action_mask == "legal"
        self._observer = Observer(
            self.hypergraph, settings.goal, restricted, self._memory.frames, self._memory.observations[:1]
        )
        self._said: Said | None = None
        self.reset()

    @property
    def said(self) -> Said:
        """What the policy said of the last observation. RuntimeError before the first."""
        if self._said is None:
            raise RuntimeError("the policy has not acted in this episode yet")
        return self._said

    @property
    def regions(self) -> list[Region | None]:
        """Where each of attention's T keys lies on the map."""
        return self.player.policy.vision.regions()

    def reset(self, seed: int | None = None) -> None:
        """Begin an episode: forget the last one. `seed` names the draws of actions; None: any.

        The seed of the game itself gives the game of `python -m tedg.evaluate`.
        """
        self._observer.forget(0)
        self._memory.action[:] = 0
        self._memory.episodes["seed"] = secrets.randbits(31) if seed is None else seed
        self._memory.episodes["length"] = 0
        self._turn = -1
        self._said = None

    def act(self, observation: Mapping[str, Any]) -> int:
        """The action's index (0 to 22) for NLE's own observation.

        Raises ConfigError for an observation that lacks a key, and RuntimeError for one of a game that is
        over or not the one that was begun.
        """
        memory = self._memory
        self._take(observation)
        turn, alive = (int(memory.frames.blstats[0, place]) for place in (nh.NLE_BL_TIME, nh.NLE_BL_HPMAX))
        if not alive:
            raise RuntimeError("this game is over: reset the env, and the policy with reset()")
        if turn < self._turn:
            raise RuntimeError("another game has begun: tell the policy with reset()")
        self._turn = turn
        episodes, (shown, *_) = memory.episodes, memory.observations
        self._observer.observe(_ROW, 0, memory.action, episodes["seed"], episodes["length"])
        answer = self.player.answer(shown)
        output = answer.output
        attention = None if output.attention_weights is None else output.attention_weights.flatten(1, 2)
        self._said = Said(
            action=int(answer.actions[0]),
            probabilities=_array(answer.probabilities),
            legal=shown.mask[0].copy(),
            value=float(output.value),
            alpha=_array(output.alpha),
            attention=None if attention is None else _array(attention),
            operator_scores=None if output.operator_scores is None else _array(output.operator_scores),
            atoms=shown.atoms[0].copy(),
        )
        memory.action[0] = self._said.action
        episodes["length"] += 1
        return self._said.action

    def _take(self, observation: Mapping[str, Any]) -> None:
        """Copy NLE's arrays, which it writes over in the next step."""
        missing = [name for name in FRAME_KEYS if name not in observation]
        if missing:
            raise ConfigError(
                f"the observation lacks {', '.join(missing)}; make the env with "
                f"observation_keys=policy.observation_keys, or with these among its own"
            )
        for name, row in self._memory.frames.row(0).items():
            if np.shape(observation[name]) != row.shape:
                raise ConfigError(
                    f"the observation's {name} must be {row.shape}, not {np.shape(observation[name])}"
                )
            row[:] = observation[name]


def load(
    run: str | Path, env: Any = None, *, weights: str | int = "last", greedy: bool = False
) -> LoadedPolicy:
    """The policy of a run, by its directory, name or id; on the CPU.

    `weights` is "last", "best", or the env steps of a milestone; `greedy` takes the likeliest action instead
    of a draw. An `env` that is given is refused at once where it does not fit. ConfigError, StorageError.
    """
    directory, config = checked_run(run, weights)
    if env is not None:
        check_env(env)
    precision = "float32" if config.precision == "tf32" else config.precision
    config = replace(config, device="cpu", compile=False, precision=precision)
    condition = Condition(str(weights), "greedy" if greedy else "sample")
    return LoadedPolicy(directory, config, *policy_under(config, directory, condition))


def check_env(env: Any) -> None:
    """Raises ConfigError where an env has other actions than NetHackScore, or lacks an observation key."""
    own = getattr(env, "unwrapped", env)
    if not hasattr(own, "actions"):
        raise ConfigError(f"{own} is no env of NLE: it has no actions")
    keys = [int(action) for action in own.actions]
    if keys != list(ACTION_KEYS):
        wrong = next(
            (n for n, pair in enumerate(zip(keys, ACTION_KEYS, strict=False)) if len({*pair}) > 1), None
        )
        what = f"it has {len(keys)}"
        if wrong is not None:
            action = own.actions[wrong]
            what += f", and action {wrong} is {getattr(action, 'name', action)}, not {ACTION_NAMES[wrong]}"
        raise ConfigError(
            f"the env's actions are not NetHackScore's {len(ACTION_KEYS)}: {what}; make it with "
            "actions=nle.env.tasks.TASK_ACTIONS"
        )
    missing = [name for name in FRAME_KEYS if name not in own.observation_space.spaces]
    if missing:
        raise ConfigError(
            f"the env's observations lack {', '.join(missing)}; add them to its observation_keys"
        )


def _array(tensor: Any) -> npt.NDArray[Any]:
    """The only row, as an array of its own."""
    array = tensor[0].detach().cpu().numpy()
    return array.astype(np.float64 if array.dtype == np.float64 else np.float32)
