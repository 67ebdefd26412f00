"""The comparison with peers: what is timed, what is refused, and what is made of the figures."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
sys.path.append(str(BENCHMARKS))  # its scripts are no package: they run in two environments

import peer_env  # noqa: E402
import peers  # noqa: E402
import tedg_run  # noqa: E402
import work  # noqa: E402
import yardstick  # noqa: E402
import yardsticks  # noqa: E402
from comparison import Comparison, Spread, tables  # noqa: E402
from learning import Learnt  # noqa: E402
from work import CYCLE_STEPS, GRADIENT_STEPS, WARM_UP_CYCLES, Timing, Window  # noqa: E402

from tedg.config.compose import Composed  # noqa: E402
from tedg.envs.players import make_player  # noqa: E402
from tedg.envs.vector import NetHackVectorEnv, held_out_seeds  # noqa: E402
from tedg.learn.evaluation import play  # noqa: E402
from tedg.signals import StopFlag  # noqa: E402

TIMING = {
    "cycles": 2,
    "seconds": 4.0,
    "checked_cycles": 2,
    "gradient_steps": 2 * GRADIENT_STEPS,
    "parameters": 10,
    "settings": {},
    "versions": {},
}


def test_the_work_is_four_epochs_of_four_minibatches():
    assert GRADIENT_STEPS == 16


def test_window_times_whole_cycles_after_the_warm_up():
    now = 0.0
    window = Window(steps=CYCLE_STEPS + 1, clock=lambda: now)
    opened = []
    for cycle in range(WARM_UP_CYCLES + 4):
        now += 100.0 if cycle < WARM_UP_CYCLES else 2.0
        window.cycle_ended()
        opened.append(window.opens)
        assert window.closed == (cycle >= WARM_UP_CYCLES + 1)
    assert opened.index(True) == WARM_UP_CYCLES - 1
    assert sum(opened) == 1
    assert (window.cycles, window.seconds) == (2, 4.0)


def test_a_timing_survives_its_file(tmp_path):
    timing = Timing(**TIMING)
    timing.write(tmp_path / "timing.json")
    assert Timing.read(tmp_path / "timing.json") == timing
    assert timing.steps_per_second == 2 * CYCLE_STEPS / 4


@pytest.mark.parametrize("fault", [{"gradient_steps": 2 * GRADIENT_STEPS - 1}, {"checked_cycles": 0}])
def test_a_run_that_learnt_too_little_is_refused(tmp_path, fault):
    Timing(**{**TIMING, **fault}).write(tmp_path / "timing.json")
    with pytest.raises(RuntimeError, match="gradient steps"):
        Timing.read(tmp_path / "timing.json")


def test_gradient_steps_are_counted_and_must_move_parameters():
    model = torch.nn.Linear(4, 4)
    adam = torch.optim.Adam(model.parameters())

    def learnt() -> Learnt:
        return Learnt.of(model.parameters(), adam.state_dict())

    before = learnt()
    for _ in range(3):
        adam.zero_grad()
        model(torch.ones(4)).sum().backward()
        adam.step()
    after = learnt()
    assert len(after.parameters) == 20
    assert after.gradient_steps_since(before) == 3
    with pytest.raises(RuntimeError, match="only 0% of the parameters"):
        after.gradient_steps_since(after)
    with torch.no_grad():
        model.bias[0] = torch.nan
    with pytest.raises(RuntimeError, match="not finite"):
        learnt().gradient_steps_since(before)


@pytest.mark.more
def test_tedg_does_the_work_that_is_timed(compose_tiny: Callable[..., Composed], monkeypatch):
    for module in (work, tedg_run):
        monkeypatch.setattr(module, "CYCLE_STEPS", 128)  # for speed; still 16 minibatches
    overrides = ("vision=state", "ppo.num_steps=32", "ppo.num_epochs=4", "ppo.minibatch_size=32")
    timing = tedg_run.time_training(compose_tiny(*overrides).config, Window(128))
    assert timing.cycles == timing.checked_cycles == 1
    assert timing.gradient_steps == GRADIENT_STEPS
    assert timing.seconds > 0


def test_ratios_are_taken_within_rounds():
    # Both get slower by the same factor: the ratio must not notice.
    comparison = Comparison.of({"mine": [100.0, 10.0, 40.0], "other": [200.0, 20.0, 40.0]}, peers=["other"])
    assert comparison.speeds["mine"] == Spread(40.0, 10.0, 100.0)
    assert comparison.ratios == {"mine": {"other": Spread(0.5, 0.5, 1.0)}}


def test_a_comparison_without_peers_has_no_ratios():
    comparison = Comparison.of({"mine": [3.0]}, peers=["other"])
    assert comparison.ratios == {"mine": {}}
    assert _text(comparison, {"mine": "Mine"}).count("median") == 1


def test_tables_show_every_figure():
    text = _text(Comparison.of({"a": [1500.0], "b": [3000.0]}, ["b"]), {"a": "Ours", "b": "Theirs"})
    for shown in ("1,500", "3,000", "0.50", "Ours / Theirs"):
        assert shown in text


def test_runs_alternate_and_are_written_down(tmp_path, monkeypatch, capsys):
    order = tmp_path / "order"
    contestants = {
        name: peers.Contestant(
            name, str(_script(tmp_path, name, f"open({str(order)!r}, 'a').write('{name} ')"))
        )
        for name in ("a", "b")
    }
    monkeypatch.setattr(peers, "CONTESTANTS", contestants)
    assert peers.main(["--only", "a", "b", "--rounds", "2", "--json", str(tmp_path / "out.json")]) == 0
    assert order.read_text().split() == ["a", "b", "a", "b"]
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["speeds"]["a"]["median"] == CYCLE_STEPS / 2
    assert [run["gradient_steps"] for run in written["runs"]["b"]] == [2 * GRADIENT_STEPS] * 2
    assert "round 2 of 2: b" in capsys.readouterr().out


def test_a_failed_run_says_why(tmp_path, monkeypatch, capsys):
    script = _script(tmp_path, "broken", "raise SystemExit('no such game')")
    monkeypatch.setattr(peers, "CONTESTANTS", {"broken": peers.Contestant("Broken", str(script))})
    assert peers.main(["--only", "broken"]) == 1
    error = capsys.readouterr().err
    assert "Broken ended with exit code 1" in error
    assert "no such game" in error


@pytest.mark.more
def test_a_run_that_hangs_is_ended_with_its_processes(tmp_path):
    child = tmp_path / "child"
    body = (
        "import subprocess, time; p = subprocess.Popen(['sleep', '600']);"
        f"open({str(child)!r}, 'w').write(str(p.pid)); time.sleep(600)"
    )
    hanging = peers.Contestant("Hanging", str(_script(tmp_path, "hanging", body)))
    with pytest.raises(peer_env.PeerError, match="was not done after 2 s"):
        peers.run_once(hanging, Path(sys.executable), CYCLE_STEPS, 2)
    assert _ends(int(child.read_text()))


def test_an_installed_environment_is_used_as_it_is(tmp_path, monkeypatch):
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.touch()
    commands = []
    monkeypatch.setattr(peer_env, "_run", lambda *command: commands.append(command))
    assert peer_env.interpreter(tmp_path) == python  # made
    made = len(commands)
    assert made == 3
    assert peer_env.interpreter(tmp_path) == python
    assert len(commands) == made
    changed = tmp_path / "requirements.txt"
    changed.write_text("something-else\n")
    monkeypatch.setattr(peer_env, "REQUIREMENTS", changed)
    peer_env.interpreter(tmp_path)
    assert len(commands) == 2 * made


def test_an_environment_that_cannot_be_made_is_one_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(peer_env.PeerError, match=r"venv .* failed"):
        peer_env.interpreter(tmp_path / "file" / "env")


def _text(comparison: Comparison, titles: dict[str, str]) -> str:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(tables(comparison, titles))
    return capture.get()


def _script(folder: Path, name: str, body: str) -> Path:
    """A contestant that runs `body` and then hands in TIMING."""
    script = folder / f"{name}.py"
    result = "__import__('pathlib').Path(__import__('sys').argv[-1])"
    script.write_text(f"{body}\n{result}.write_text({json.dumps(json.dumps(TIMING))})\n")
    return script


def _ends(process: int) -> bool:
    """Whether a process that is no child of ours is gone, or dead, within seconds."""
    for _ in range(100):
        try:
            os.kill(process, 0)
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False


def test_yardsticks_play_the_games_that_evaluation_plays():
    seeds = held_out_seeds(700_000, 60, 50)
    env = NetHackVectorEnv("NetHackScore", "score", "nethack", 50, 60, "legal", seeds)
    player = make_player("random_legal", 50, 700_000, env.spec)
    played = play(env, player, 60, StopFlag())
    env.close()
    assert yardstick.held_out("random_legal", None, 700_000, 60, 60) == [end.score for end in played]


def test_yardsticks_are_made_once_and_trained_ones_have_seeds_for_a_spread(tmp_path, monkeypatch, capsys):
    def make(python, path, asked, games):
        made.append(asked)
        score = float(asked[2]) if len(asked) > 1 else 7.0
        scores = {"500": [score, score + 2], "5000": [10 * score, 10 * score + 2]}
        path.write_text(json.dumps({"player": asked[0], "scores": scores}))

    made = []
    monkeypatch.setattr(yardsticks, "_make", make)
    monkeypatch.setattr(yardsticks, "interpreter", lambda folder: folder)
    monkeypatch.setattr(
        sys, "argv", ["yardsticks.py", "--into", str(tmp_path), "--seeds", "1", "3", "--steps", "9"]
    )
    assert yardsticks.main() == 0
    assert ["maskable_ppo", "--seed", "3", "--steps", "9"] in made
    assert len(made) == 3 + 2 * 2
    printed = capsys.readouterr().out
    assert "| script | - | 8.0 (-4.7 to 20.7) | 71.0 (58.3 to 83.7) |" in printed  # over its games
    assert "| sb3-contrib MaskablePPO | 2 | 3.0 (-9.7 to 15.7) | 21.0 (-106.1 to 148.1) |" in printed
    assert yardsticks.main() == 0
    assert len(made) == 7
