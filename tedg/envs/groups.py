"""Groups of environments that are stepped apart from each other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tedg.envs.observation import Observation, Step, VectorEnv


def step_groups(env: VectorEnv, actions: npt.NDArray[np.int64]) -> Step:
    """One step of every group, as one: what `VectorEnv.step` promises."""
    for group, rows in enumerate(env.groups):
        env.send(group, actions[rows])
    steps = [env.receive(group) for group in range(len(env.groups))]
    finals = [step.final_observation for step in steps if step.final_observation is not None]
    ended = [rows.start + step.final_index for rows, step in zip(env.groups, steps, strict=True)]
    return Step(
        observation=Observation.concatenate([step.observation for step in steps]),
        reward=np.concatenate([step.reward for step in steps]),
        terminated=np.concatenate([step.terminated for step in steps]),
        truncated=np.concatenate([step.truncated for step in steps]),
        final_index=np.concatenate(ended),
        final_observation=Observation.concatenate(finals) if finals else None,
        episodes=[end for step in steps for end in step.episodes],
        incidents=[incident for step in steps for incident in step.incidents],
    )
