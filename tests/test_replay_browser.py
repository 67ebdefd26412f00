"""The page of a replay in a browser: it plays what was recorded, asks for nothing, and runs no text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from support.browser import Browser
from support.reporting import EVIL
from support.settings import FASTEST, ON_NETHACK, TINY
from support.stand_ins import Lines

import tedg
from tedg.config.compose import compose
from tedg.play.recording import Recording, Rule
from tedg.replay.marks import marks, parting
from tedg.replay.page import page
from tedg.run import app

pytestmark = pytest.mark.browser

GROUND, KEPT = np.array([16, 19, 24]), np.array([132, 102, 255])
EXPERTS = ((86, 180, 233), (230, 159, 0), (0, 158, 115), (204, 121, 167))
PLAYED = ("env.num_workers=0", "eval.games=0")


@pytest.fixture(scope="module")
def recordings(shown: Browser, tmp_path_factory: pytest.TempPathFactory) -> list[Recording]:
    """One game of a V4 and of a V3 policy. After two updates experts are alike: their shares are made up."""
    del shown  # nothing is trained where nothing can be shown
    root = tmp_path_factory.mktemp("replayed")
    common = (*TINY, *ON_NETHACK, *PLAYED, f"paths.output_dir={root}")
    runs = [app.run(compose([*common, *more]), say=Lines()).run_dir for more in ((), FASTEST)]
    games = [tedg.record(run, 500_002, cap=cap) for run, cap in zip(runs, (120, 60), strict=True)]
    for game in games:
        game.chars[31:, 0, :16] = np.arange(ord("A"), ord("A") + 16)  # every colour, which few games show
        game.colors[31:, 0, :16] = np.arange(16)
    return [replace(game, alpha=made_up_shares(len(game))) for game in games]


def made_up_shares(steps: int) -> npt.NDArray[np.float32]:
    """[steps, 4], one expert after another in the lead; one is at 0 sometimes."""
    phase = np.arange(steps)[:, None] / 25 + np.arange(4) * np.pi / 2
    shares = np.maximum(0, 0.2 + np.cos(phase))
    return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def address(recordings: list[Recording], tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(tmp_path_factory.mktemp("page") / "one.html", recordings[:1])


def written(path: Path, games: list[Recording]) -> str:
    path.write_text(page(games))
    return path.as_uri()


def open_page(shown: Browser, address: str, width: int = 1280, step: int = 0) -> None:
    shown.open("about:blank", width)  # another step of the same page would load nothing
    shown.open(f"{address}#step={step}", width)
    shown.wait("document.body.dataset.ready === 'yes'")


def step_of(shown: Browser) -> int:
    return int(shown.ask("document.body.dataset.step"))


def reach(shown: Browser, step: int) -> None:
    """Wait for a step that was asked for."""
    shown.wait(f"document.body.dataset.step === '{step}'")


def go(shown: Browser, step: int) -> None:
    shown.ask(f"location.hash = '#step={step}'")
    reach(shown, step)


def choose(shown: Browser, name: str, value: object) -> None:
    """An option of a select."""
    shown.ask(f"""(() => {{
        const select = document.getElementById({name!r});
        select.value = {str(value)!r};
        select.dispatchEvent(new Event("change"));
    }})()""")


def text(shown: Browser, selector: str) -> list[str]:
    """Of all elements that are shown."""
    found: list[str] = shown.ask(
        f"[...document.querySelectorAll({selector!r})].filter(e => !e.hidden).map(e => e.textContent)"
    )
    return found


def cells(shown: Browser, selector: str = ".map") -> npt.NDArray[np.uint8]:
    """The map's pixels [21, columns, height, width, 3], borders of cells left out."""
    drawn = shown.pixels(selector)
    columns = int(shown.ask(f"document.querySelector({selector!r}).dataset.columns"))
    width, height = drawn.shape[1] / columns, drawn.shape[0] // 21
    left = [round(width * column) for column in range(columns)]
    inner = int(width)
    return np.stack(
        [np.stack([drawn[y * height : (y + 1) * height, x : x + inner] for x in left]) for y in range(21)]
    )


def assert_map(shown: Browser, recording: Recording, step: int, selector: str = ".map") -> None:
    """Each letter is there in its colour, and nothing else."""
    drawn = cells(shown, selector).astype(int) - GROUND
    columns = drawn.shape[1]
    first = int(shown.ask(f"document.querySelector({selector!r}).dataset.left"))
    palette = COLOURS - GROUND
    x, y = recording.blstats[step, :2]
    for row in range(21):
        for column in range(columns):
            char = recording.chars[step, row, first + column]
            if (row, first + column) == (y, x):
                continue  # in its frame
            pixels = drawn[row, column, 3:-3, 2:-2].reshape(-1, 3)
            strongest = pixels[np.abs(pixels).sum(axis=1).argmax()]
            if char == 32:
                assert not strongest.any(), (row, column)
                continue
            colour = palette[recording.colors[step, row, first + column]]
            share = strongest @ colour / (colour @ colour)
            assert share > 0.2, (row, column, chr(char))
            assert np.abs(strongest - share * colour).max() < 16, (row, column, chr(char), strongest)


COLOURS = np.array(
    [
        [int(code[i : i + 2], 16) for i in (0, 2, 4)]
        for code in (
            *("7a8494", "e8604f", "45b352", "b98a45", "6b98ff", "cf74da", "35b8b8", "c6cad0"),
            *("949ba6", "ff9f45", "83e372", "f4e15a", "93b4ff", "f096f2", "86e8e8", "ffffff"),
        )
    ]
)


def test_it_plays_what_was_recorded(shown: Browser, recordings: list[Recording], address: str) -> None:
    recording = recordings[0]
    last = len(recording) - 1
    open_page(shown, address, step=7)
    assert step_of(shown) == 7
    # Keys, also while the slider has the focus; a mark before; a click on a bookmark and on the timeline.
    for key, step in (("ArrowRight", 8), ("ArrowLeft", 7), ("End", last), ("ArrowRight", last), ("Home", 0)):
        shown.press(key)
        assert step_of(shown) == step, key
        assert shown.ask("location.hash") == f"#step={step}"
    shown.ask("document.getElementById('scrub').focus()")
    shown.press("ArrowRight")
    assert step_of(shown) == 1
    found = marks(recording)
    assert {"switch", "end"} <= {mark.kind for mark in found}
    shown.press("]")
    assert step_of(shown) == next(mark.step for mark in found if mark.step > 1)
    shown.click("#marks a.kind-end")
    reach(shown, last)
    assert text(shown, ".ended")[0].startswith(f"ended after {len(recording)} steps: {found[-1].text}")
    shown.press("[")
    assert step_of(shown) == [mark.step for mark in found if mark.step < last][-1]
    shown.click(".timeline", along=0.25)
    assert step_of(shown) == int(0.25 * len(recording))
    # It plays, and stops where it is told to.
    shown.press("Home")
    shown.ask("document.getElementById('play').focus()")
    shown.press("+")
    shown.click("#play")
    shown.wait("Number(document.body.dataset.step) > 3")
    shown.press("k")
    stopped = step_of(shown)
    assert text(shown, "#play") == ["▶ Play"]
    shown.ask("new Promise(done => setTimeout(done, 100))")
    assert step_of(shown) == stopped
    assert shown.said() == []
    assert {one.partition("#")[0] for one in shown.requests()} == {address}


def test_what_is_drawn_is_what_was_recorded(
    shown: Browser, recordings: list[Recording], address: str
) -> None:
    recording = recordings[0]
    open_page(shown, address)
    choose(shown, "head", "off")
    steps = range(1, len(recording) - 1)
    kept, broken = (
        next(step for step in steps if any(sign in one for one in promises(recording, step)[1]))
        for sign in ("came true", "did not")
    )
    for step in (0, 31, kept, broken, len(recording) - 1):
        go(shown, step)
        assert_map(shown, recording, step)
        assert_words(shown, recording, step)
    choose(shown, "which", "near")
    for head, step in ((0, 12), (1, 40)):
        choose(shown, "head", head)
        go(shown, step)
        assert_overlay(cells(shown), recording, head, step)
    choose(shown, "which", "far")
    assert_tiles(shown.pixels(".map").astype(int), recording, head, step)
    assert_shares(shown.pixels(".timeline"), recording, step=70)


def assert_words(shown: Browser, recording: Recording, step: int) -> None:
    about = recording.about
    message = bytes(recording.message[step]).split(b"\0")[0].decode("latin-1")
    assert text(shown, ".message") == [message or "\u00a0"]
    turn, hp = recording.blstats[step, [20, 10]]
    assert f"HP:{hp}(" in text(shown, ".status")[0]
    assert f"T:{turn} " in text(shown, ".status")[0]
    assert text(shown, "dd.action") == [about.actions[recording.action[step]]]
    assert text(shown, ".taken .name") == [about.actions[recording.action[step]]]
    figures = text(shown, "ul.actions .figure")
    for legal, share, figure in zip(
        recording.legal[step], recording.probabilities[step], figures, strict=True
    ):
        right = "illegal" if not legal else "<1 %" if 0 < share < 0.005 else f"{int(100 * share + 0.5)} %"
        assert figure == right
    on = [name for name, holds in zip(about.atoms, recording.atoms[step], strict=True) if holds]
    assert text(shown, ".atom") == on
    shares = [f"{int(100 * share + 0.5)} %" for share in recording.alpha[step]]
    assert text(shown, "ul.experts .figure") == shares
    best, outcomes = promises(recording, step)
    assert text(shown, ".operator .name")[0].startswith(f"{best.name} ({about.experts[best.expert]}), score ")
    assert text(shown, ".operator .effects")[0] == f"promises {', '.join(outcomes)}"


def promises(recording: Recording, step: int) -> tuple[Rule, list[str]]:
    """The best operator among the available ones, and whether its effects came true."""
    about = recording.about

    def literals(at: int) -> set[str]:
        atoms = zip(about.atoms, recording.atoms[at], strict=True)
        return {name if holds else f"¬{name}" for name, holds in atoms}

    now, over = literals(step), step + 1 == len(recording)
    later = set() if over else literals(step + 1)
    available = [n for n, rule in enumerate(about.operators) if now >= set(rule.preconditions)]
    best = about.operators[max(available, key=lambda n: recording.operator_scores[step, n])]

    def outcome(effect: str) -> str:
        if effect in now:
            return "= held already"
        return "? the game ended" if over else "✓ came true" if effect in later else "✗ did not"

    return best, [f"{effect} ({outcome(effect)})" for effect in best.effects]


def assert_overlay(drawn: npt.NDArray[np.uint8], recording: Recording, head: int, step: int) -> None:
    """Kept keys are as strong as their weight beside the head's largest, dropped ones struck through."""
    weights = recording.attention[step, head]
    column, row = recording.blstats[step, :2]
    checked = {"kept": 0, "dropped": 0}
    for key, region in enumerate(recording.about.regions):
        if region is None or not region.around_hero:
            continue
        y, x = int(row + region.top), int(column + region.left)
        if not (0 <= y < 21 and 0 <= x < 79) or recording.chars[step, y, x] != 32:
            continue
        cell = drawn[y, x].astype(int)
        height, width = cell.shape[:2]
        middle, corner = cell[height // 2 - 2 : height // 2 + 3, 2:-2], cell[3, 3]
        if weights[key] > 0:
            strength = 0.18 + 0.72 * weights[key] / weights.max()
            right = GROUND + strength * (KEPT - GROUND)
            assert np.abs(corner - right).max() <= 3, (key, corner, right)
            checked["kept"] += 1
        else:
            assert np.abs(corner - GROUND).max() <= 1, key
            assert (np.abs(middle - GROUND).sum(axis=2) > 60).any(), key
            checked["dropped"] += 1
        assert width > 6
    assert min(checked.values()) > 0, checked


def assert_tiles(drawn: npt.NDArray[np.int64], recording: Recording, head: int, step: int) -> None:
    """The same of the keys of the whole map, fainter; a point of each that no letter is on is looked at."""
    weights, checked = recording.attention[step, head], {True: 0, False: 0}
    height, width = drawn.shape[0] / 21, drawn.shape[1] / 79
    for key, region in enumerate(recording.about.regions):
        if region is None or region.around_hero:
            continue
        kept = bool(weights[key] > 0)
        strength = 0.55 * (0.18 + 0.72 * weights[key] / weights.max()) if kept else 0
        for row in range(max(0, int(region.top) + 1), min(21, int(region.top + region.rows))):
            column = int(region.left) + 2
            if 0 <= column < 79 and (recording.chars[step, row, column - 1 : column + 2] == 32).all():
                point = drawn[int((row + 0.5) * height), int((column + 0.5) * width)]
                right = GROUND + strength * (KEPT - GROUND)
                assert np.abs(point - right).max() <= 3, (key, row, column)
                checked[kept] += 1
    assert min(checked.values()) > 0, checked


def assert_shares(drawn: npt.NDArray[np.uint8], recording: Recording, step: int) -> None:
    """The column of a step in the experts' lane: the first expert on top, each as high as its share."""
    top, height = 23, 64
    column = drawn[top : top + height, int((step + 0.5) / len(recording) * drawn.shape[1])].astype(int)
    nearest = np.array([[np.abs(pixel - colour).sum() for colour in EXPERTS] for pixel in column]).argmin(
        axis=1
    )
    assert (np.diff(nearest) >= 0).all()
    shares = np.bincount(nearest, minlength=len(EXPERTS)) / height
    assert shares == pytest.approx(recording.alpha[step], abs=1.5 / height)


def test_two_policies_on_one_game(shown: Browser, recordings: list[Recording], tmp_path: Path) -> None:
    place = written(tmp_path / "two.html", recordings)
    part = parting(*recordings)
    assert part is not None
    open_page(shown, place)
    shown.click("#marks a.kind-part")
    reach(shown, part)
    choose(shown, "head", "off")
    for step in (part + 1, len(recordings[1]) + 5):  # the second has ended by then
        go(shown, step)
        for place_of, recording in enumerate(recordings, 1):
            own = min(step, len(recording) - 1)
            assert_map(shown, recording, own, f".board:nth-child({place_of}) .map")
    assert [bool(words) for words in text(shown, ".ended")] == [False, True]
    assert text(shown, ".board .without-heads") == ["This policy has none."]
    assert shown.said() == []
    for width in (1280, 390):
        open_page(shown, place, width)
        assert shown.ask("document.documentElement.scrollWidth") <= width
        tops = shown.ask("[...document.querySelectorAll('.left')].map(b => b.getBoundingClientRect().top)")
        assert (tops[0] == tops[1]) == (width == 1280)


def test_on_a_phone_the_map_follows_the_hero(
    shown: Browser, recordings: list[Recording], address: str
) -> None:
    open_page(shown, address, 390, step=20)
    assert shown.ask("document.documentElement.scrollWidth") <= 390
    choose(shown, "head", "off")
    for step in (0, 50):
        go(shown, step)
        left, columns = (
            int(shown.ask(f"document.querySelector('.map').dataset.{n}")) for n in ("left", "columns")
        )
        assert left <= recordings[0].blstats[step, 0] < left + columns < 79 + 1
        assert columns < 60
        assert_map(shown, recordings[0], step)
    shown.click("#whole")
    assert shown.ask("document.querySelector('.map').dataset.columns") == "79"
    assert shown.ask("document.documentElement.scrollWidth") <= 390


def test_names_and_messages_are_only_text(
    shown: Browser, recordings: list[Recording], tmp_path: Path
) -> None:
    recording = recordings[0]
    rules = tuple(replace(rule, name=EVIL) for rule in recording.about.operators)
    about = replace(recording.about, run=EVIL, stage=EVIL, experts=(EVIL,) * 4, operators=rules)
    message = np.zeros_like(recording.message)
    evil = EVIL.encode("latin-1", "replace")
    message[:, : len(evil)] = np.frombuffer(evil, np.uint8)
    place = written(tmp_path / "evil.html", [replace(recording, about=about, message=message)])
    open_page(shown, place)
    assert shown.said() == []
    assert {one.partition("#")[0] for one in shown.requests()} == {place}
    assert shown.ask("document.scripts.length") == 2
    assert text(shown, ".message")[0].startswith("</script><script>alert(1)</script>")
    assert text(shown, ".operator .name")[0].startswith("</script><script>")
    assert text(shown, ".board .run")[0].startswith("</script><script>")


def test_without_a_script_it_says_what_happened(
    shown: Browser, recordings: list[Recording], address: str
) -> None:
    shown.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        shown.open("about:blank", 390)
        shown.open(address, 390)
        said = shown.ask("document.body.innerText")
        assert shown.ask("document.documentElement.scrollWidth") <= 390
    finally:
        shown.call("Emulation.setScriptExecutionDisabled", value=False)
    assert "yours is switched off" in said
    assert marks(recordings[0])[-1].text in said
    assert "|" in said
    assert "▶ Play" not in said
