"""Ten probes: the smallest games that show whether one thing is learnt right. Each has a known solution.

After Andy Jones, "Debugging RL, Without the Agonizing Pain" (2021), with probes for what is special here:
truncation, the legality mask, the two streams and the experts.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from tedg.envs.observation import Observation
from tedg.envs.toys.draws import Draws
from tedg.envs.toys.game import Game, Ints, Verdict, allow_only, glyph_of

GLYPHS = np.array([glyph_of(name) for name in ("GOLD", "FOUNTAIN", "TREE", "GRAVE")], np.int16)
FIRST_ACTION = 1  # action FIRST_ACTION + k is the right one in context k
_CENTRE = 4  # of the crop


class Probe(Game):
    """A game whose frames show one of `contexts` contexts, in every stream unless the class says otherwise.

    Context k is atom k, a crop full of glyph k and a 1 in state feature k. Only the actions that answer a
    context are legal, and every episode takes one turn, unless the class says otherwise.
    """

    atoms: ClassVar[tuple[str, ...]] = ("context_0", "context_1", "context_2", "context_3")
    contexts: ClassVar[int] = 1
    answers: ClassVar[int] = 2  # legal actions, from FIRST_ACTION on
    told_by: ClassVar[tuple[str, ...]] = ("atoms", "crop", "state")

    def context(self, turn: Ints, draws: Draws) -> Ints:
        """Which context [n] the games show on their turn: one at random."""
        return draws.integers(self.contexts)

    def deal(self, frame: Observation, turn: Ints, draws: Draws) -> None:
        """Show the context."""
        context = self.context(turn, draws)
        games = np.arange(len(frame))
        if "atoms" in self.told_by:
            frame.atoms[games, context] = True
        if "crop" in self.told_by:
            frame.crop[:] = GLYPHS[context, None, None]
        if "state" in self.told_by:
            frame.state[games, context] = 1
        allow_only(frame, FIRST_ACTION + np.arange(self.answers))

    def judge(self, frame: Observation, turn: Ints, action: Ints, draws: Draws) -> Verdict:
        """The reward; one turn is all."""
        return self.reward(frame, action).astype(np.float32), np.ones(len(action), np.bool_)

    def reward(self, frame: Observation, action: Ints) -> npt.NDArray[np.generic]:
        """[n] 1 for the best action."""
        return action == self.act(frame)

    def act(self, observation: Observation) -> Ints:
        """The action that answers the context."""
        if "atoms" in self.told_by:
            return FIRST_ACTION + observation.atoms.argmax(axis=1)
        return FIRST_ACTION + (observation.crop[:, _CENTRE, _CENTRE, None] == GLYPHS).argmax(axis=1)


class Constant(Probe):
    """Reward 1, whatever is seen and done: V = 1. It fails where the critic does not learn at all."""

    name: ClassVar[str] = "constant"

    def reward(self, frame: Observation, action: Ints) -> npt.NDArray[np.generic]:
        """Always 1."""
        return np.ones(len(action))


class Seen(Probe):
    """Reward 1 in context 0 and -1 in context 1: V = 1 and -1. It fails where the critic sees nothing."""

    name: ClassVar[str] = "seen"
    contexts: ClassVar[int] = 2

    def reward(self, frame: Observation, action: Ints) -> npt.NDArray[np.generic]:
        """1 or -1."""
        return np.where(frame.atoms[:, 0], 1, -1)


class TwoStep(Probe):
    """Reward 1 on the second of two turns: V = gamma, then 1. It fails where discounting is wrong."""

    name: ClassVar[str] = "two_step"
    contexts: ClassVar[int] = 2

    def context(self, turn: Ints, draws: Draws) -> Ints:
        """The turn."""
        return turn

    def judge(self, frame: Observation, turn: Ints, action: Ints, draws: Draws) -> Verdict:
        """The second turn pays and ends it."""
        return turn.astype(np.float32), turn == 1


class Endless(Probe):
    """Reward 1 for ever, cut off by the step limit alone: V = 1 / (1 - gamma) in every state.

    It fails where a truncation is taken for a death (V stays below the step limit), and where the critic
    is asked about another observation than the last one of the episode.
    """

    name: ClassVar[str] = "endless"

    def judge(self, frame: Observation, turn: Ints, action: Ints, draws: Draws) -> Verdict:
        """Always 1, never over."""
        return np.ones(len(action), np.float32), np.zeros(len(action), np.bool_)


class Action(Probe):
    """One of all 23 actions earns 1, always the same. It fails where the policy does not learn at all."""

    name: ClassVar[str] = "action"
    answers: ClassVar[int] = 22

    def deal(self, frame: Observation, turn: Ints, draws: Draws) -> None:
        """Everything is legal."""
        super().deal(frame, turn, draws)
        frame.mask[:] = True


class Context(Probe):
    """What is seen says which of two actions earns 1. It fails where action and observation are mixed up."""

    name: ClassVar[str] = "context"
    contexts: ClassVar[int] = 2


class Masked(Probe):
    """Action 1 would earn 1 and is never legal; action 2 earns 1/2, the other legal one nothing.

    The best that can be had is 1/2. It fails where an illegal action can be taken, and where the update
    does not mask what acting masked.
    """

    name: ClassVar[str] = "masked"

    def deal(self, frame: Observation, turn: Ints, draws: Draws) -> None:
        """Actions 2 and 3 are legal."""
        super().deal(frame, turn, draws)
        allow_only(frame, [2, 3])

    def reward(self, frame: Observation, action: Ints) -> npt.NDArray[np.generic]:
        """1, 1/2 or 0."""
        return np.select([action == 1, action == 2], [1.0, 0.5], 0.0)

    def act(self, observation: Observation) -> Ints:
        """The better of the legal ones."""
        return np.where(observation.mask[:, 1], 1, 2)


class VisualOnly(Context):
    """`Context`, told by the glyphs of the crop alone: a policy that sees no map stays at chance, 1/2."""

    name: ClassVar[str] = "visual_only"
    told_by: ClassVar[tuple[str, ...]] = ("crop",)


class LogicOnly(Context):
    """`Context`, told by atoms alone: a policy without symbols stays at chance, 1/2."""

    name: ClassVar[str] = "logic_only"
    told_by: ClassVar[tuple[str, ...]] = ("atoms",)


class FourExperts(Probe):
    """Four contexts, each with an action of its own, told by atoms of which every expert owns one.

    Operator k of the probes' hypergraph holds in context k and belongs to expert k, so the alignment loss
    asks for a router that gives each context to the expert that owns it. Chance is 1/4.
    """

    name: ClassVar[str] = "four_experts"
    contexts: ClassVar[int] = 4
    answers: ClassVar[int] = 4
    told_by: ClassVar[tuple[str, ...]] = ("atoms",)
