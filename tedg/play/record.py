"""`tedg.record`: plays one game with a run's policy and keeps everything that a replay draws."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from nle import nethack as nh
from nle.env import tasks

from tedg import scratch
from tedg.envs.actions import ACTION_NAMES
from tedg.envs.frames import FRAME_KEYS
from tedg.envs.nethack import HOW
from tedg.envs.observation import EpisodeEnd
from tedg.errors import Stopped
from tedg.models.logic import remembering
from tedg.play.checks import check_game
from tedg.play.policy import LoadedPolicy, Said, load
from tedg.play.recording import About, Recording, rules_of
from tedg.signals import StopFlag

NO_LIMIT = 2**31 - 1  # NLE's own step limit would end a game as a death
_DRAWN = ("chars", "colors")  # of the frame, beside what the policy reads
_KEPT = ("chars", "colors", "blstats", "message")


def record(run: str | Path, seed: int, cap: int | None = None) -> Recording:
    """Play the game of a seed with a run's last weights, as `python -m tedg.evaluate` plays it.

    The game is cut off after `cap` env steps, by default as in training. Raises ConfigError, StorageError.
    """
    return record_with(load(run), seed, cap)


def record_with(
    policy: LoadedPolicy,
    seed: int,
    cap: int | None = None,
    stop: StopFlag | None = None,
    progress: Callable[[int, int], None] = lambda done, cap: None,
) -> Recording:
    """As `record`, with a policy that is loaded; `progress` is told of steps and cap.

    Raises Stopped when `stop` is requested.
    """
    cap = int(policy.config.env["max_episode_steps"] if cap is None else cap)
    check_game(seed, cap)
    task = policy.config.env["task"]
    with scratch.temporary_files():
        env = getattr(tasks, task)(
            observation_keys=(*FRAME_KEYS, *_DRAWN), fix_moon_phase=True, max_episode_steps=NO_LIMIT
        )
        try:
            with remembering(policy.player.policy):
                rows, end = _play(env, policy, seed, cap, stop or StopFlag(), progress)
        finally:
            env.close()
    graph = policy.hypergraph
    about = About(
        run=policy.run_dir.resolve().name,
        stage=policy.stage,
        seed=seed,
        cap=cap,
        task=task,
        end=end,
        actions=ACTION_NAMES,
        atoms=graph.atoms,
        experts=graph.experts,
        operators=rules_of(graph),
        regions=tuple(policy.regions),
    )
    return Recording(about=about, **{name: np.stack([row[name] for row in rows]) for name in rows[0]})


def _play(
    env: Any,
    policy: LoadedPolicy,
    seed: int,
    cap: int,
    stop: StopFlag,
    progress: Callable[[int, int], None],
) -> tuple[list[dict[str, npt.NDArray[Any]]], EpisodeEnd]:
    """The rows of all steps, and how the game ended."""
    env.seed(seed, seed, reseed=False)
    policy.reset(seed)
    shown, _ = env.reset()
    rows: list[dict[str, npt.NDArray[Any]]] = []
    last, depth, over = shown["blstats"].copy(), int(shown["blstats"][nh.NLE_BL_DEPTH]), False
    told: dict[str, Any] = {}
    while not over and len(rows) < cap:
        if stop.requested:
            raise Stopped(stop.exit_code, f"stopped after {len(rows)} steps; nothing was written")
        frame = {name: shown[name].copy() for name in _KEPT} | {"blstats": shown["blstats"].astype(np.int32)}
        action = policy.act(shown)
        shown, reward, over, _, told = env.step(action)
        rows.append(frame | _row(policy.said, reward))
        if not over:
            last = shown["blstats"].copy()
            depth = max(depth, int(last[nh.NLE_BL_DEPTH]))
        progress(len(rows), cap)
    how, cause = "truncated", ""
    if over:
        aimed = told["end_status"].name == "TASK_SUCCESSFUL" or told["is_ascended"]
        how, cause = ("success", "") if aimed else ("death", HOW[int(env.nethack.how_done())])
    end = EpisodeEnd(
        env=0,
        seed=seed,
        length=len(rows),
        episode_return=float(sum(float(row["reward"]) for row in rows)),
        score=float(last[nh.NLE_BL_SCORE]),
        depth=depth,
        turns=int(last[nh.NLE_BL_TIME]),
        end=how,
        cause=cause,
    )
    return rows, end


def _row(said: Said, reward: float) -> dict[str, npt.NDArray[Any]]:
    scores, attention = said.operator_scores, said.attention
    return {
        "action": np.array(said.action, np.uint8),
        "reward": np.array(reward, np.float32),
        "legal": said.legal,
        "probabilities": said.probabilities.astype(np.float32),
        "value": np.array(said.value, np.float32),
        "alpha": said.alpha,
        "atoms": said.atoms,
        "operator_scores": np.zeros(0, np.float32) if scores is None else scores,
        "attention": np.zeros((0, 0), np.float32) if attention is None else attention,
    }
