"""A page as one HTML file that asks nobody for anything and runs no script."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from tedg.inert import inert
from tedg.report.page import Page

WORDS = {  # what a kind of verdict is called, with a sign that does not need its colour
    "better": "▲ better",
    "worse": "▼ worse",
    "equivalent": "≈ equivalent",
    "inconclusive": "? inconclusive",
    "void": "∅ void",
    "none": "\N{EN DASH} no verdict",
}
_BREAKS = re.compile(r"(?<=\w)([._/])(?=[A-Za-z])")


def html(page: Page) -> str:
    """The whole file. Text is escaped by the templates, and control characters are written out."""
    style = _environment.get_template("page.css").render()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    template = _environment.get_template("page.html")
    return template.render(page=page, style=Markup(style), digest=digest, words=WORDS)


def _cell(text: str) -> Markup:
    """A number and its interval, between which alone a line may be broken; with a true minus."""
    value, bracket, limits = _minus(text).partition(" [")
    parts = [value, f"[{limits}"] if bracket else [value]
    return Markup(" ").join(Markup("<span>{}</span>").format(inert(part)) for part in parts)


def _minus(text: str) -> str:
    """A hyphen before a digit is a minus; elsewhere it is none."""
    return "".join(
        "\N{MINUS SIGN}" if one == "-" and after.isdigit() and not before.isalnum() else one
        for before, one, after in zip(f" {text}", text, f"{text[1:]} ", strict=False)
    )


def _picture(svg: str) -> str:
    """An SVG file as an address that has it inside."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def _broken(text: str) -> Markup:
    """A long word may be broken after its dots, slashes and underscores, where a letter follows."""
    return Markup(_BREAKS.sub(r"\1<wbr>", str(escape(inert(text)))))


def _shown(value: Any) -> Any:
    """Text from outside cannot turn letters around, nor hide any."""
    return inert(value) if type(value) is str else value


_environment = Environment(
    loader=PackageLoader("tedg.report"),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=_shown,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters |= {"cell": _cell, "minus": _minus, "picture": _picture, "broken": _broken}
