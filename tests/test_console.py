"""What a run prints: plain lines at a pace, one panel on a terminal, and never an exception."""

from __future__ import annotations

import io
import re
import sys

import pytest
from rich.console import Console as Terminal

from tedg.watch import console
from tedg.watch.console import PlainConsole, Progress, QuietConsole, make_console
from tedg.watch.panel import LiveConsole
from tedg.watch.progress import Pace

METRICS = {
    "stage": "warmup",
    "rollout/mean_return": 8.06,
    "rollout/mean_score": 9.25,
    "rollout/best_score": 31.0,
    "rollout/deepest": 3.0,
    "policy/entropy": 2.914,
    "train/kl": 0.00412,
    "router/usage_0": 0.4,
    "router/usage_1": 0.3,
    "router/usage_2": 0.2,
    "router/usage_3": 0.1,
    "router/usage_entropy": 1.3,
    "attention/effective_keys": 20.5,
}
TIMING = {"time/env": 2.0, "time/policy": 1.0, "time/learning": 1.0, "time/steps_per_second": 1843.2}


def progress(update=1, fraction=0.25, metrics=METRICS):
    return Progress(update, "warmup", update * 4096, 8 * update, fraction, metrics, TIMING)


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_plain_line_by_hand():
    out, clock = io.StringIO(), Clock()
    plain = PlainConsole(out, clock)
    plain.start({"run": "outputs/x", "parameters": "vision 1,234"})
    plain.saved()
    clock.now += 75
    plain.update(progress())
    assert out.getvalue().splitlines() == [
        "run         outputs/x",
        "parameters  vision 1,234",
        "update 1 | warmup | 4,096 steps | 25.0% | time left unknown | 1,843 steps/s | "
        "env 50% policy 25% learning 25% | return 8.1 | score 9.2 | depth 3 | entropy 2.91 | kl 0.0041 | "
        "experts 40%/30%/20%/10% | saved 1m15s ago",
    ]


def test_held_out_games_are_counted_after_the_last_line_of_training():
    out, clock = io.StringIO(), Clock()
    plain = PlainConsole(out, clock)
    plain.update(progress(1))
    plain.update(progress(2, 1.0))
    for games in range(1, 101):
        clock.now += 1
        plain.played("policy", games, 1000)
    plain.close()
    lines = out.getvalue().splitlines()
    assert [line.split(" |")[0] for line in lines[:2]] == ["update 1", "update 2"]
    assert lines[2] == "held-out games of policy | 10 of 1,000"
    assert (len(lines), lines[-1]) == (12, "held-out games of policy | 100 of 1,000")
    screen = io.StringIO()
    live = LiveConsole(Terminal(file=screen, force_terminal=True, width=80), Clock())
    live.start({})
    live.update(progress(2, 1.0))
    live.played("policy", 3, 4)
    live.close()
    last = screen.getvalue()
    assert "held-out games" in last
    assert "3 of 4" in last


def test_plain_lines_keep_their_distance_and_the_last_one_is_printed():
    out, clock = io.StringIO(), Clock()
    plain = PlainConsole(out, clock)
    for update in range(1, 31):
        plain.update(progress(update, update / 40))
        clock.now += 1
    plain.warn("look out")
    plain.close()
    plain.close()
    lines = out.getvalue().splitlines()
    assert [line.split(" |")[0] for line in lines] == [
        "update 1",
        "update 11",
        "update 21",
        "warning: look out",
        "update 30",
    ]
    assert plain.warnings == ["look out"]


def test_time_left():
    clock = Clock()
    pace = Pace(clock)
    pace.see(0.5)  # a resumed run: its earlier half says nothing about this process's pace
    assert pace.left() == "time left unknown"
    clock.now += 100
    pace.see(0.6)
    assert pace.left() == "6m40s left"
    clock.now += 36000
    pace.see(0.61)
    assert re.fullmatch(r"\d+h\d\dm left", pace.left())
    pace.see(1.0)
    assert pace.left() == "0s left"


def test_missing_figures_are_left_out():
    out = io.StringIO()
    plain = PlainConsole(out)
    plain.update(Progress(1, "finetune", 10, 0, 0.0, {"train/kl": None, "rollout/deepest": 2.0}, {}))
    assert "update 1 | finetune | 10 steps | 0.0% | time left unknown | depth 2" in out.getvalue()
    LiveConsole(Terminal(file=io.StringIO())).update(Progress(1, "finetune", 10, 0, 0.0, {}, {}))


class FullDisk(io.StringIO):
    def write(self, text):
        raise OSError("No space left on device")


@pytest.mark.parametrize("kind", ["closed", "full"])
def test_a_lost_stream_never_stops_a_run(kind):
    stream = FullDisk() if kind == "full" else io.StringIO()
    if kind == "closed":
        stream.close()
    plain = PlainConsole(stream)
    for message in ("one", "two"):
        plain.warn(message)
        plain.note(message)
        plain.update(progress())
    plain.close()
    assert plain.warnings == ["one", "two"]


def test_a_stream_without_unicode_gets_what_it_can_show():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    PlainConsole(stream).note("é → ∞ ok")
    assert raw.getvalue() == b"? ? ? ok\n"


def draw(updates, encoding="utf-8"):
    raw = io.BytesIO()
    terminal = Terminal(
        file=io.TextIOWrapper(raw, encoding=encoding, write_through=True), force_terminal=True, width=100
    )
    live = LiveConsole(terminal, Clock())
    live.start({"run": "outputs/[x]"})
    updates(live)
    live.close()
    live.close()
    return raw.getvalue().decode(encoding), live


def test_panel_shows_everything():
    def updates(live):
        live.update(progress())
        live.saved()
        live.note("resumed [after] update 3")
        live.warn("experts [0, 1] do not specialise")
        live.update(progress(2, 0.5))

    text, live = draw(updates)
    for part in (
        "outputs/[x]",
        "warmup",
        "50.0%",
        "8,192 steps, 16 episodes, update 2",
        "1,843 steps/s, env 50% policy 25% learning 25%",
        "return 8.1, score 9.2, best score 31, depth 3",
        "entropy 2.91, kl 0.0041",
        "██████░░░░░░░░ 40%",
        "effective keys 20.5",
        "none yet",
        "0s ago",
        "resumed [after] update 3",
        "experts [0, 1] do not specialise",
    ):
        assert part in text
    assert live.warnings == ["experts [0, 1] do not specialise"]
    assert "\x1b[?25h" in text  # the cursor is back


def test_panel_without_unicode():
    text, _ = draw(lambda live: live.update(progress()), encoding="ascii")
    assert "######........ 40%" in text


def test_a_lost_terminal_never_stops_a_run():
    terminal = Terminal(file=io.StringIO(), force_terminal=True, width=80)
    live = LiveConsole(terminal)
    live.start({"run": "x"})
    terminal.file.close()
    live.update(progress())
    live.warn("w")
    live.note("n")
    live.update(progress(2))
    live.close()
    assert live.warnings == ["w"]


def test_nor_does_a_reader_that_went_away(monkeypatch):
    def leave(terminal):  # as Rich does after a BrokenPipeError, but for what it does to standard output
        raise SystemExit(1)

    class Left(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(Terminal, "on_broken_pipe", leave)
    live = LiveConsole(Terminal(file=Left(), force_terminal=True, width=80))
    live.start({"run": "x"})
    live.update(progress())
    live.warn("w")
    live.close()
    assert live.warnings == ["w"]


def test_the_terminal_decides(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert isinstance(make_console(), PlainConsole)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert isinstance(make_console(), LiveConsole)


def test_quiet_console_remembers_warnings(capsys):
    quiet: console.Console = QuietConsole()
    quiet.start({"run": "x"})
    quiet.update(progress())
    quiet.warn("w")
    quiet.note("n")
    quiet.saved()
    quiet.close()
    assert quiet.warnings == ["w"]
    assert capsys.readouterr().out == ""
