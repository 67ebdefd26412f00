"""Players without learning, measured beside every policy: random, random among the legal, and a script."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from tedg.envs.actions import CANCEL, EAT, GO_DOWN, NO, SEARCH, YES
from tedg.envs.atoms import ATOMS
from tedg.envs.observation import EnvSpec, Observation, Player


def _generators(num_envs: int, seed: int) -> list[np.random.Generator]:
    """One generator per game; game i's is the same whatever the number of games."""
    return [np.random.default_rng([seed, env]) for env in range(num_envs)]


class RandomPlayer:
    """Uniform over all actions, legal or not."""

    def __init__(self, num_envs: int, seed: int) -> None:
        self._rngs = _generators(num_envs, seed)

    def act(self, observation: Observation) -> npt.NDArray[np.int64]:
        """Actions [B] for a batch of B games."""
        num_actions = observation.mask.shape[1]
        return np.array([rng.integers(num_actions) for rng in self._rngs], np.int64)


class RandomLegalPlayer:
    """Uniform over the legal actions."""

    def __init__(self, num_envs: int, seed: int) -> None:
        self._rngs = _generators(num_envs, seed)

    def act(self, observation: Observation) -> npt.NDArray[np.int64]:
        """Actions [B] for a batch of B games."""
        pairs = zip(self._rngs, observation.mask, strict=True)
        return np.array([_pick(np.flatnonzero(legal), rng) for rng, legal in pairs], np.int64)


class ScriptPlayer:
    """A few fixed rules on NetHack's atoms, first match wins.

    Answer prompts (eat fresh safe corpses, never attack the peaceful, else any offered answer); attack an
    adjacent hostile unless a passive one is near; descend on stairs down unless low on hit points; eat when
    hungry and something edible is at hand; search when low on hit points and nobody is near; else move or
    run in a random legal direction, and search one time in ten. `atoms` names the bits of
    `Observation.atoms`; raises ValueError if one that the rules read is not among them.
    """

    def __init__(self, num_envs: int, seed: int, atoms: Iterable[str] = ATOMS) -> None:
        self._rngs = _generators(num_envs, seed)
        columns = {name: column for column, name in enumerate(atoms)}
        missing = [name for name in _SCRIPT_ATOMS if name not in columns]
        if missing:
            raise ValueError(f"the script player needs the atoms {', '.join(missing)}")
        self._columns = [columns[name] for name in _SCRIPT_ATOMS]

    def act(self, observation: Observation) -> npt.NDArray[np.int64]:
        """Actions [B] for a batch of B games."""
        bits = observation.atoms[:, self._columns].tolist()
        games = zip(bits, observation.mask, observation.hostile_dirs, self._rngs, strict=True)
        return np.array(
            [
                _script(dict(zip(_SCRIPT_ATOMS, row, strict=True)), legal, hostile, rng)
                for row, legal, hostile, rng in games
            ],
            np.int64,
        )


_SCRIPT_ATOMS = (
    *("prompt", "q_eat_floor", "q_attack", "corpse_fresh_here", "bad_corpse_here", "hostile_adj"),
    *("passive_adj", "on_down", "hp_low", "food_typable", "food_here", "hungry", "weak", "fainting"),
    *("t_frozen_4", "hostile_near"),
)


def _script(
    atom: dict[str, bool],
    legal: npt.NDArray[np.bool_],
    hostile: npt.NDArray[np.bool_],
    rng: np.random.Generator,
) -> int:
    """One game's action by the rules above; `hostile` [8] are the directions of actions 1..8."""
    safe_corpse = atom["corpse_fresh_here"] and not atom["bad_corpse_here"]
    if atom["prompt"]:
        if atom["q_eat_floor"]:
            return YES if safe_corpse else NO
        if atom["q_attack"]:
            return NO
        answers = np.flatnonzero(legal)
        answers = answers[answers != CANCEL]
        return _pick(answers, rng) if len(answers) else CANCEL
    if atom["hostile_adj"] and not atom["passive_adj"]:
        return 1 + int(np.argmax(hostile))
    if atom["on_down"] and not atom["hp_low"]:
        return GO_DOWN
    hungry = atom["hungry"] or atom["weak"] or atom["fainting"]
    edible = atom["food_typable"] or atom["food_here"] or safe_corpse
    if hungry and edible and not atom["t_frozen_4"]:
        return EAT
    if atom["hp_low"] and not atom["hostile_near"]:
        return SEARCH
    moves = 1 + np.flatnonzero(legal[1:17])  # steps and runs
    return _pick(moves, rng) if len(moves) and rng.random() > 0.1 else SEARCH


def _pick(choices: npt.NDArray[np.int64], rng: np.random.Generator) -> int:
    return int(choices[rng.integers(len(choices))])


def make_player(name: str, num_envs: int, seed: int, spec: EnvSpec) -> Player:
    """The named player for `num_envs` games; `script` is the environment's own, where it has one.

    Raises ValueError for an unknown name, and for `script` where the atoms are not NetHack's.
    """
    if name == "random":
        return RandomPlayer(num_envs, seed)
    if name == "random_legal":
        return RandomLegalPlayer(num_envs, seed)
    if name != "script":
        raise ValueError(f"player is {name!r}, must be one of random, random_legal, script")
    if spec.script is not None:
        return spec.script
    if spec.num_atoms != len(ATOMS):
        raise ValueError(
            f"the script player reads NetHack's {len(ATOMS)} atoms, {spec.name} has {spec.num_atoms}"
        )
    return ScriptPlayer(num_envs, seed)
