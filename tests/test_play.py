"""A trained policy in somebody's own loop, and games recorded step by step."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import gymnasium
import nle  # noqa: F401  its envs register themselves
import numpy as np
import pytest
import torch
from nle.env import tasks
from support.settings import ON_NETHACK, TINY
from support.stand_ins import Lines

import tedg
from tedg.config.compose import compose
from tedg.envs.actions import GO_DOWN
from tedg.envs.observation import EnvSpec, EpisodeEnd, Observation
from tedg.envs.players import make_player
from tedg.envs.seeds import listed_seeds
from tedg.errors import ConfigError, StorageError
from tedg.learn.measuring import Answer, policy_under, with_cap
from tedg.learn.setup import make_env
from tedg.play.policy import LoadedPolicy, check_env
from tedg.play.record import record_with
from tedg.play.recording import Recording
from tedg.run import app
from tedg.run.find import find_run
from tedg.run.saved import read_run_config
from tedg.store.conditions import Condition

SEED, STEPS = 500_013, 40  # this game has a full moon, whatever the day
FRESH = """
import sys, numpy as np
from nle.env import tasks
with np.load(sys.argv[1]) as file:
    kept = {name: file[name] for name in file.files}
env = tasks.NetHackScore(observation_keys=("chars", "colors", "blstats", "message"), fix_moon_phase=True)
env.seed(int(sys.argv[2]), int(sys.argv[2]), reseed=False)
shown, _ = env.reset()
for t, action in enumerate(kept["action"]):
    for name in shown:
        assert np.array_equal(shown[name], kept[name][t]), (t, name)
    shown, reward, *_ = env.step(int(action))
    assert np.float32(reward) == kept["reward"][t], t
"""


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("played")
    settings = (*TINY, *ON_NETHACK, "env.num_workers=0", "eval.games=0", f"paths.output_dir={root}/outputs")
    return app.run(compose(settings), say=Lines()).run_dir


@pytest.fixture(scope="module")
def policy(run_dir: Path) -> LoadedPolicy:
    loaded = tedg.load(run_dir)
    assert isinstance(loaded, LoadedPolicy)
    return loaded


@pytest.fixture(scope="module")
def recording(run_dir: Path) -> Recording:
    recorded = tedg.record(run_dir, SEED)
    assert isinstance(recorded, Recording)
    return recorded


def env_for(policy: LoadedPolicy, **settings: Any) -> Any:
    return gymnasium.make("NetHackScore-v0", **{"observation_keys": policy.observation_keys, **settings})


def evaluated(run_dir: Path, recorded: Recording, cap: int) -> tuple[EpisodeEnd, dict[str, Any]]:
    """How evaluation's own env and player end a game, and what its player says on the way."""
    config = with_cap(read_run_config(run_dir), cap)
    player, _ = policy_under(config, run_dir, Condition())
    # Beside another game, as most are.
    env = make_env(config, listed_seeds([SEED + 1, recorded.about.seed], 2), 2)
    said: dict[str, list[Any]] = {
        "attention": [],
        "operator_scores": [],
        "alpha": [],
        "value": [],
        "legal": [],
    }
    shown = env.reset()
    try:
        while True:
            answer = player.answer(shown)
            output = answer.output
            assert output.attention_weights is not None
            assert output.operator_scores is not None
            said["attention"].append(output.attention_weights[1, :, 0])
            said["operator_scores"].append(output.operator_scores[1])
            said["alpha"].append(output.alpha[1])
            said["value"].append(output.value[1])
            said["legal"].append(torch.as_tensor(shown.mask[1].copy()))
            step = env.step(answer.actions)
            for end in step.episodes:
                if end.env == 1:
                    return end, {name: torch.stack(rows).numpy() for name, rows in said.items()}
            shown = step.observation
    finally:
        env.close()


def assert_as_evaluated(run_dir: Path, recorded: Recording, cap: int) -> None:
    end, said = evaluated(run_dir, recorded, cap)
    own = recorded.about.end
    for name in ("seed", "length", "score", "depth", "turns", "end", "cause"):
        assert getattr(own, name) == getattr(end, name), name
    assert own.episode_return == pytest.approx(end.episode_return, abs=1e-4)
    for name, rows in said.items():
        assert np.allclose(getattr(recorded, name), rows, atol=1e-4), name


def test_a_recorded_game_is_the_one_of_evaluation(run_dir: Path, recording: Recording) -> None:
    assert len(recording) == STEPS
    assert recording.about.end.end == "truncated"
    assert_as_evaluated(run_dir, recording, STEPS)
    # Its draws are those of the probabilities that it says.
    chosen = recording.probabilities[np.arange(STEPS), recording.action]
    assert (chosen > 0).all()
    assert recording.probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert not recording.probabilities[~recording.legal].any()
    assert recording.attention.sum(axis=2) == pytest.approx(1, abs=1e-5)
    assert len(set(recording.action.tolist())) > 3


@pytest.mark.more
def test_a_game_that_ends_in_death_is_the_one_of_evaluation(run_dir: Path) -> None:
    deaths = (tedg.record(run_dir, seed, cap=200) for seed in (500_012, 500_019, 500_021))
    recorded = next(one for one in deaths if one.about.end.end == "death")  # on another day not each is one
    assert recorded.about.end.cause == "died"
    assert_as_evaluated(run_dir, recorded, 200)


class Scripted:
    """The script in the place of a policy, which goes down stairs sooner."""

    def __init__(self, policy: LoadedPolicy, spec: EnvSpec) -> None:
        self.policy, self._script = policy.player.policy, make_player("script", 1, 0, spec)

    def answer(self, observation: Observation) -> Answer:
        nothing, shares = torch.zeros(1), torch.full((1, 23), 1 / 23, dtype=torch.float64)
        output = SimpleNamespace(attention_weights=None, operator_scores=None, value=nothing, alpha=shares)
        actions = self._script.act(observation)
        return cast(Answer, SimpleNamespace(actions=actions, probabilities=shares, output=output))


def test_conditions_follow_the_hero_down_and_into_the_next_game(run_dir: Path, policy: LoadedPolicy) -> None:
    cap, went_down = 80, 0
    config = with_cap(read_run_config(run_dir), cap)
    loaded = LoadedPolicy(run_dir, config, policy.player, "warmup")
    for seed in (500_035, 500_031, 500_000):
        env = make_env(config, listed_seeds([seed], 1), 1)
        loaded.player = cast(Any, Scripted(policy, env.spec))
        recorded = record_with(loaded, seed)
        shown, ends = env.reset(), []
        for atoms, action in zip(recorded.atoms, recorded.action, strict=True):
            assert np.array_equal(shown.atoms[0], atoms)
            step = env.step(np.array([action]))
            ends += step.episodes
            shown = step.observation
        env.close()
        (end,) = ends
        assert replace(recorded.about.end, episode_return=0) == replace(end, episode_return=0)
        depths = recorded.blstats[:, 12]
        went_down += bool(((np.diff(depths) > 0) & (recorded.action[:-1] == GO_DOWN)).any())
    assert went_down > 0  # on another day not each


def test_actions_and_seed_give_the_same_game_in_a_fresh_process(recording: Recording, tmp_path: Path) -> None:
    recording.save(tmp_path / "game.npz")
    command = [sys.executable, "-c", FRESH, str(tmp_path / "game.npz"), str(SEED)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_recording_is_read_as_it_was_written(recording: Recording, tmp_path: Path) -> None:
    recording.save(tmp_path / "game.npz")
    again = Recording.load(tmp_path / "game.npz")
    assert again.about == recording.about
    for name, array in recording.arrays().items():
        other = again.arrays()[name]
        assert (other.dtype, other.tobytes()) == (array.dtype, array.tobytes()), name
    (tmp_path / "other.npz").write_bytes(b"PK")
    with pytest.raises(StorageError, match=r"other.npz is no recording"):
        Recording.load(tmp_path / "other.npz")


def test_it_acts_in_an_env_of_somebody_else(policy: LoadedPolicy, recording: Recording) -> None:
    env = env_for(policy, fix_moon_phase=True)
    check_env(env)
    env.unwrapped.seed(SEED, SEED, reseed=False)
    for _ in range(2):  # the second episode knows nothing of the first
        policy.reset(SEED)
        shown, _ = env.reset()
        actions = []
        for _ in range(5):
            actions.append(policy.act(shown))
            shown, *_ = env.step(actions[-1])
        assert actions == recording.action[:5].tolist()
        heads, keys = recording.attention.shape[1:]
        said = policy.said
        assert said.attention is not None
        assert said.operator_scores is not None
        assert (said.attention.shape, said.alpha.shape) == ((heads, keys), recording.alpha.shape[1:])
        assert said.operator_scores.shape == recording.operator_scores.shape[1:]
        env.unwrapped.seed(SEED, SEED, reseed=False)
    with pytest.raises(RuntimeError, match="another game has begun"):
        policy.act(env.reset()[0])
    policy.reset()
    with pytest.raises(RuntimeError, match="has not acted"):
        _ = policy.said
    with pytest.raises(RuntimeError, match="is over"):
        policy.act({name: np.zeros_like(value) for name, value in shown.items()})
    env.close()


def test_what_does_not_fit_is_refused_by_name(policy: LoadedPolicy, run_dir: Path, tmp_path: Path) -> None:
    env = gymnasium.make("NetHackScore-v0")
    policy.reset()
    with pytest.raises(ConfigError, match="the observation lacks misc; make the env with"):
        policy.act(env.reset()[0])
    with pytest.raises(ConfigError, match="the env's observations lack misc"):
        tedg.load(run_dir, env)
    env.close()
    other = env_for(policy, actions=(*tasks.TASK_ACTIONS[:21], tasks.nethack.Command.PRAY))
    with pytest.raises(ConfigError, match="it has 22, and action 21 is PRAY, not eat; make it with actions="):
        tedg.load(run_dir, other)
    other.close()
    with pytest.raises(ConfigError, match="has 86, and action 0 is N, not more"):
        check_env(gymnasium.make("NetHack-v0"))
    with pytest.raises(ConfigError, match="no env of NLE"):
        check_env(gymnasium.make("CartPole-v1"))
    with pytest.raises(ConfigError, match="weights='worst': must be"):
        tedg.load(run_dir, weights="worst")
    with pytest.raises(ConfigError, match="cap 0"):
        tedg.record(run_dir, SEED, cap=0)
    with pytest.raises(ConfigError, match="seed 1073741824: must be from 0 to 1073741823"):
        tedg.record(run_dir, 2**30)
    toy = Path(shutil.copytree(run_dir, tmp_path / "toy"))
    text = (toy / "config.yaml").read_text()
    (toy / "config.yaml").write_text(
        text.replace("tedg.envs.vector.NetHackVectorEnv", "tedg.envs.toys.fake.make")
    )
    with pytest.raises(ConfigError, match=r"plays make, which is not NetHack|holds no configuration"):
        tedg.load(toy)


def test_a_run_is_found_by_directory_name_or_id(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run_dir.parents[1])
    name = run_dir.name
    for named in (run_dir, f"outputs/{name}", name, *name.rpartition("-")[::2]):
        assert find_run(named).resolve() == run_dir.resolve()
    with pytest.raises(ConfigError, match=f"did you mean outputs/{name}"):
        find_run(name[:-1])
    with pytest.raises(ConfigError, match=f"did you mean outputs/{name}"):
        find_run(f"output/{name}")
    with pytest.raises(ConfigError, match=f"outputs is a folder of runs, name one of them: {name}"):
        find_run("outputs")
    with pytest.raises(ConfigError, match=r"there is no config.yaml in it"):
        find_run(tmp_path)


@pytest.mark.more
def test_the_notebook_of_the_documents(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (Path(__file__).parents[1] / "docs" / "notebooks.md").read_text()
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.M | re.S))
    code, count = re.subn(r'"outputs/[\w-]+"', repr(str(run_dir)), code)
    assert count == 2
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["policy"].said.attention.shape == names["game"].attention.shape[1:]
    assert (tmp_path / "game.npz").is_file()
