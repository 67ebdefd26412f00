"""Plans of seeds that misbehave; in a module of their own, so that worker processes can import them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Failing:
    """Fails in one environment when its second episode begins."""

    env: int

    def __call__(self, env, episode):
        if (env, episode) == (self.env, 1):
            raise LookupError(f"no game for environment {env}")
        return 1000 * env + episode


@dataclass
class Hanging:
    """Computes for ever in one environment when its second episode begins."""

    env: int

    def __call__(self, env, episode):
        while (env, episode) == (self.env, 1):
            pass
        return 1000 * env + episode
