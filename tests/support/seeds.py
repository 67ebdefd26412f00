"""Plans of seeds, plain ones and ones that misbehave in workers, which import this module to read them."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field

from tedg.envs.vector import training_seeds


def numbered_seeds(env, episode):
    """Seeds that tell which game they are for."""
    return 1000 * env + episode


@dataclass
class Misbehaving:
    """The training games of run seed 3, but for one game, which no worker can begin."""

    env: int
    episode: int
    creator: int = field(default_factory=os.getpid)

    def __call__(self, env, episode):
        if (env, episode) == (self.env, self.episode) and os.getpid() != self.creator:
            self.misbehave()
        return training_seeds(3)(env, episode)


class Failing(Misbehaving):
    def misbehave(self):
        raise LookupError(f"no game for environment {self.env}")


class Hanging(Misbehaving):
    def misbehave(self):
        while True:
            pass


class Deadly(Misbehaving):
    def misbehave(self):
        os.kill(os.getpid(), signal.SIGSEGV)
