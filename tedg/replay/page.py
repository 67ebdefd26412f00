"""A page that plays recorded games: one file that asks nobody for anything."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tedg.inert import inert
from tedg.play.recording import Recording
from tedg.replay.marks import Mark, marks, parting
from tedg.replay.pack import packed

_SCRIPTS = ("data.js", "map.js", "timeline.js", "panels.js", "main.js")


def page(recordings: Sequence[Recording]) -> str:
    """The file for one recording, or for two of one game. Text is escaped, and no text is ever run."""
    part = parting(*recordings) if len(recordings) == 2 else None
    told = [_with_part(marks(recording), part) for recording in recordings]
    folder = files("tedg.replay") / "page"
    parts = "\n".join((folder / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    script = f'(() => {{\n"use strict";\n{parts}}})();'
    style = (folder / "page.css").read_text(encoding="utf-8")
    games = [_in_brief(*pair) for pair in zip(recordings, told, strict=True)]
    data = packed(list(zip(recordings, told, strict=True)))
    return _environment.get_template("page.html").render(
        games=games,
        script=Markup(script),
        script_digest=_digest(script),
        style=Markup(style),
        style_digest=_digest(style),
        data=base64.b64encode(data).decode(),
    )


def _with_part(found: list[Mark], part: int | None) -> list[Mark]:
    own = [] if part is None else [Mark(part, "part", "here the two part")]
    return sorted((*own, *found), key=lambda mark: mark.step)


def _in_brief(recording: Recording, told: Sequence[Mark]) -> Mapping[str, Any]:
    """What can be read of a game without a script."""
    about, last = recording.about, recording.chars[-1]
    return {
        "run": about.run,
        "stage": about.stage,
        "task": about.task,
        "seed": about.seed,
        "score": f"{about.end.score:g}",
        "length": f"{about.end.length:,}",
        "ended": next(mark.text for mark in reversed(told) if mark.kind == "end"),
        "marks": told,
        "last_map": "\n".join(bytes(row).decode("latin-1").rstrip() for row in last),
    }


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _shown(value: Any) -> Any:
    """Text from outside cannot turn letters around, nor hide any."""
    return inert(value) if type(value) is str else value


_environment = Environment(
    loader=PackageLoader("tedg.replay", "page"),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=_shown,
    trim_blocks=True,
    lstrip_blocks=True,
)
