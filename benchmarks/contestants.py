"""Who is measured: tedg, its peers, and the peers under other settings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Contestant:
    """A script that times one run."""

    title: str
    script: str
    arguments: tuple[str, ...] = ()
    peer: bool = False  # runs in the peers' environment


def _tedg(title: str, *arguments: str) -> Contestant:
    return Contestant(f"tedg V4, {title}", "tedg_run.py", arguments)


def _sb3(title: str, *arguments: str) -> Contestant:
    return Contestant(f"Stable-Baselines3 PPO, {title}", "sb3_run.py", arguments, peer=True)


def _sample_factory(title: str, *arguments: str) -> Contestant:
    return Contestant(f"Sample Factory APPO, {title}", "sample_factory_run.py", arguments, peer=True)


COMPARED = {
    "glyph": _tedg("vision=glyph", "--vision", "glyph"),
    "state": _tedg("vision=state", "--vision", "state"),
    "sb3": _sb3("MLP"),
    "sample_factory": _sample_factory("MLP"),
}
# Other settings of the peers, measured only when named: whether theirs are the fastest on a machine.
VARIANTS = {
    "sb3_threads": _sb3("2 torch threads", "--threads", "2"),
    "sb3_separate": _sb3("an MLP each for policy and value", "--networks", "separate"),
    "sf_32": _sample_factory("32 games per environment", "--games", "32"),
    "sf_128": _sample_factory("128 games per environment", "--games", "128"),
    "sf_single": _sample_factory("1 game per environment", "--games", "1", "--num_envs_per_worker=16"),
    "sf_rollout": _sample_factory("rollouts of 64", "--rollout=64"),
    "sf_raw": _sample_factory("no input normaliser", "--normalize_input=False"),
}
CONTESTANTS = COMPARED | VARIANTS
