"""What a policy is shown of games, computed from their frames: the same for a vector of games and for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tedg.envs.actions import NUM_ACTIONS
from tedg.envs.atoms import ATOMS, AtomTracker, View
from tedg.envs.frames import Frames
from tedg.envs.masks import legal_actions
from tedg.envs.noise import step_noise
from tedg.envs.observation import Observation
from tedg.envs.state import StateBuilder
from tedg.hypergraph.schema import Hypergraph


class Observer:
    """Computes observations of the games whose frames are the rows of `frames`, B of them.

    They are written into one of `slots`, and what later ones need of earlier frames is kept. With
    `restricted` the mask is what the rules allow, else all actions count as legal.
    """

    def __init__(
        self,
        hypergraph: Hypergraph,
        goal: str,
        restricted: bool,
        frames: Frames,
        slots: Sequence[Observation],
    ) -> None:
        num_envs = len(frames.blstats)
        self._frames, self._slots, self._restricted = frames, slots, restricted
        self._states = StateBuilder(hypergraph, goal)
        # Columns of the hypergraph's atoms among ours; None where they are the same.
        same = hypergraph.atoms == ATOMS
        self._atoms = None if same else np.array([ATOMS.index(name) for name in hypergraph.atoms], np.int64)
        self._tracker = AtomTracker(num_envs)
        self._legal = np.zeros((num_envs, NUM_ACTIONS), np.bool_)
        view = View.allocate(num_envs)
        self._views = [self._view_into(observation, view) for observation in slots]

    def _view_into(self, observation: Observation, view: View) -> View:
        """`view`, with the arrays that observations show taken from `observation`."""
        shown = {name: getattr(observation, name) for name in ("crop", "overview", "hostile_dirs")}
        atoms = observation.atoms if self._atoms is None else view.atoms
        return replace(view, atoms=atoms, **shown)

    def forget(self, row: int) -> None:
        """The next frame in this row is the first of another game."""
        self._tracker.reset(row)

    def observe(
        self,
        rows: npt.NDArray[np.int64],
        slot: int,
        actions: npt.NDArray[np.int64],
        seeds: npt.NDArray[np.int64],
        lengths: npt.NDArray[np.int64],
    ) -> None:
        """Fill `rows` of a slot from the frames there.

        Of all B games: `actions` [B] led to their frames, `seeds` [B] name them, `lengths` [B] are the steps
        so far. The last two make the steps' random numbers.
        """
        frames, view, into = self._frames, self._views[slot], self._slots[slot]
        self._tracker.update(frames, actions, rows, view)
        legal_actions(view, frames.blstats, rows, self._legal)
        self._states.compute(view, self._tracker.history, frames.blstats, self._legal, rows, into.state)
        if self._atoms is not None:
            into.atoms[rows] = view.atoms[np.ix_(rows, self._atoms)]
        which = rows if len(rows) < len(self._legal) else slice(None)  # slices are copied much faster
        into.mask[which] = self._legal[which] if self._restricted else True
        into.hero[which] = frames.blstats[which, 1::-1]  # y, x
        into.noise[which] = step_noise(seeds[which], lengths[which])
