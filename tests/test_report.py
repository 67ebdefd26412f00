"""`python -m tedg.report`: what the page says, in which order, and that nothing from outside acts on it."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt
from support.comparing import changed, two
from support.records import arm, write
from support.reporting import EVIL, hostile, reported, study

from tedg.report import latex, markdown, words
from tedg.report.__main__ import run
from tedg.report.html import html
from tedg.report.page import Claim, Column, Drawing, Listing, Page, Section, Table, Text

TITLES = (
    *("Verdict", "On this page", "Arms and players", "Learning curves", "Performance profiles"),
    *("Secondary contrasts", "Expert use over stages", "Router entropy", "Attention", "Modalities"),
    *("Figures of earlier reports", "Failed, unfinished, diverged and void", "What differs between the arms"),
    *("Controls that are missing", "Liveness", "Provenance"),
)


class Read(HTMLParser):
    """Elements of a page with their attributes, and the text of each kind of element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in ("meta", "link", "img", "wbr"):
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self._open):
            self.texts[tag][-1] += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile(tmp_path_factory.mktemp("evil"))


@pytest.fixture(scope="module")
def page(evil: Path) -> tuple[str, Read]:
    text = (evil / "report.html").read_text()
    return text, Read(text)


def test_every_form_writes_markup_out() -> None:
    names = (EVIL, EVIL)
    table = Table("x", EVIL, (Column(EVIL, number=False), Column(EVIL)), (names,), EVIL)
    claim = Claim("void", EVIL, EVIL, EVIL, (EVIL,))
    made = Section(
        "verdict", EVIL, (Text(EVIL), Listing((EVIL,)), claim, table, Drawing("x", EVIL, EVIL, "<svg/>", b""))
    )
    read = Read(html(Page(EVIL, EVIL, ((EVIL, EVIL),), (made,))))
    assert "script" not in {tag for tag, _ in read.elements}
    assert not [own for _, own in read.elements if {*own} & {"onload", "onerror", "style"}]
    plain = EVIL.replace("\u202e", "\\u202e")
    counts = {"title": 1, "h1": 1, "h2": 1, "p": 6, "li": 3, "td": 1, "th": 3, "caption": 1}
    assert {tag: sum(plain in own for own in read.texts[tag]) for tag in counts} == counts
    piece = r"\\text\w+\{\}|\{'\}|\\[{}$&#%_]|\$-\$|[^\\{}$&#%_^~<>|\"`']"
    assert re.fullmatch(f"(?:{piece})*", latex.escaped(EVIL), re.S)
    assert latex.escaped("a\\b_{c}") == r"a\textbackslash{}b\_\{c\}"
    assert _shown(markdown.markdown([table])) == {"h2", "table", "thead", "tbody", "tr", "th", "td", "p"}


def _shown(text: str) -> set[str]:
    """The elements that Markdown with tables and HTML makes of a text."""
    made = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)
    return {tag for tag, _ in Read(made).elements}


@pytest.mark.more
def test_text_from_outside_is_shown_and_does_nothing(evil: Path, page: tuple[str, Read]) -> None:
    text, read = page
    allowed = {
        *("html", "head", "meta", "title", "link", "style", "body", "a", "header", "main", "section", "nav"),
        *("footer", "p", "h1", "h2", "dl", "div", "dt", "dd", "ul", "ol", "li", "strong", "span", "figure"),
        *("img", "figcaption", "table", "caption", "thead", "tbody", "tr", "th", "td", "wbr"),
    }
    assert {tag for tag, _ in read.elements} <= allowed
    attributes = {name for _, own in read.elements for name in own}
    assert not {name for name in attributes if name.startswith("on") or name == "style"}
    addresses = [own[name] for _, own in read.elements for name in ("src", "href") if name in own]
    assert all(
        re.match(r"#|data:(image/svg\+xml;base64|,)|figures/[\w-]+\.(svg|pdf)$", one) for one in addresses
    )
    assert "\u202e" not in text
    assert EVIL.replace("\u202e", "\\u202e") in read.texts["p"][1]  # the question, as it was written
    for tag in ("h1", "li", "td", "th", "figcaption"):
        assert any("alert(1)" in own for own in read.texts[tag]), tag
    drawings = [base64.b64decode(own["src"].partition(",")[2]) for own in read.all("img")]
    for drawing in (*drawings, *(file.read_bytes() for file in (evil / "figures").glob("*.svg"))):
        elements = {one.tag.rpartition("}")[2] for one in ElementTree.fromstring(drawing).iter()}
        assert not elements & {"script", "a", "image", "foreignObject", "animate", "set"}
    assert len(list((evil / "figures").glob("*.pdf"))) == len(read.all("img")) >= 7


@pytest.mark.more
def test_tables_for_papers_show_hostile_text(evil: Path) -> None:
    tex = (evil / "results.tex").read_text()
    assert tex.count(r"\toprule") == tex.count(r"\bottomrule") == 2
    cells = [line for line in tex.splitlines() if line.endswith(r" \\")]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in cells} == {10, 6}
    shown = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    read = Read(shown.render((evil / "results.md").read_text()))
    assert {tag for tag, _ in read.elements} == {"h2", "table", "thead", "tbody", "tr", "th", "td", "p"}
    plain = EVIL.replace("\u202e", "\\u202e")
    assert f"B $x^$ {plain} against A $x^$ {plain}" in read.texts["td"]


@pytest.mark.more
def test_the_page_can_be_read_by_everybody(page: tuple[str, Read]) -> None:
    _, read = page
    assert (len(read.texts["h1"]), tuple(read.texts["h2"])) == (1, TITLES)
    assert read.all("html") == [{"lang": "en"}]
    assert read.all("a")[0] == {"class": "skip", "href": "#verdict"}
    identities = [own["id"] for _, own in read.elements if "id" in own]
    assert len(identities) == len(set(identities))
    named = [own["aria-labelledby"] for _, own in read.elements if "aria-labelledby" in own]
    assert {*named, *(own["href"][1:] for own in read.all("a") if own["href"][0] == "#")} <= {*identities}
    assert all(len(own["alt"]) > 30 for own in read.all("img"))
    assert all(own.get("scope") in ("row", "col") for own in read.all("th"))
    assert len(read.all("caption")) == len(read.all("table"))
    scrolled = [own for own in read.all("div") if own.get("class") == "scroll"]
    assert len(scrolled) == len(read.all("table"))
    assert all(own["tabindex"] == "0" and own["role"] == "region" for own in scrolled)
    (policy,) = (
        own["content"] for own in read.all("meta") if own.get("http-equiv") == "Content-Security-Policy"
    )
    digest = base64.b64encode(hashlib.sha256(read.texts["style"][0].encode()).digest()).decode()
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split("; ")}
    assert rules == {
        "default-src": ["'none'"],
        "style-src": [f"'sha256-{digest}'"],
        "img-src": ["data:"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
    }
    assert "url(" not in read.texts["style"][0]


@pytest.mark.usefixtures("quick_figures")
def test_verdicts_are_those_of_a_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = two()
    folder = reported_of(tmp_path, records)
    printed = capsys.readouterr().out.splitlines()
    assert printed[3] == f"page: {folder}/report.html"
    assert printed[4].startswith("primary: cross_attn is better than concat in score (games of 500 steps) at")
    read = Read((folder / "report.html").read_text())
    claim, rest = read.texts["p"][3:5]
    assert f"primary: {claim[:-1]}: {rest[0].lower()}{rest[1:]}" == printed[4]
    # Runs of an earlier version: each section says in a line that it has nothing to show.
    old = [own for own in read.texts["p"] if "earlier version" in own]
    assert len(old) == 4
    assert "The records of these runs hold no figures of modalities." in read.texts["p"]


def reported_of(root: Path, records: Any, *arguments: str, **content: Any) -> Path:
    study(root, records, **content)
    return reported(root, *arguments)


@pytest.mark.usefixtures("quick_figures")
def test_what_is_missing_is_said(tmp_path: Path) -> None:
    dead = {"liveness": two()[-1].liveness | {"gradient/W_Q": 0.0}}
    records = [replace(one, **dead) if one.options["fusion"] == "cross_attn" else one for one in two()]
    cells = {
        "lost-1": {"label": "fusion=concat seed=11", "state": "lost", "reason": "killed by signal 9"},
        "late-2": {"label": "fusion=concat seed=12", "state": "queued", "reason": ""},
    }
    folder = reported_of(tmp_path, changed(records, 3, status="diverged"), cells=cells)
    read = Read((folder / "report.html").read_text())
    assert "∅ void" in read.texts["strong"]
    text = read.texts["main"][0]
    for told in (
        "killed by signal 9",
        "diverged",
        "void: cross_attn against concat",
        "attention of cross_attn is dead",
    ):
        assert told in text
    rows = [own for own in read.texts["tr"] if "fusion=concat seed=1" in own]
    assert [own.split()[2] for own in rows] == ["lost", "queued"]
    assert "concat_matched is missing" in text


@pytest.mark.usefixtures("quick_figures")
def test_wrong_use_ends_with_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = ["--root", f"{tmp_path}/multirun", "--experiments", f"{tmp_path}/experiments"]
    write(tmp_path / "multirun/mine", two())
    write(tmp_path / "experiments/kept/runs", arm("concat", [1.0]))
    told = tmp_path / "told.json"

    def refused(*arguments: str) -> str:
        assert run([*arguments, *root]) == 2
        printed = capsys.readouterr()
        assert printed.err.startswith("error: ")
        assert printed.err.count("\n") == 1
        return printed.err

    assert "there is no study mien" in (said := refused("mien"))
    assert said.endswith("; did you mean mine?\n")
    assert "there is one arm only" in refused("kept", "--by", "fusion")
    assert "did you mean fusion?" in refused("mine", "--by", "fusoin")
    for content, fault in (
        ("{", "it is no JSON"),
        ("[]", "it holds no object"),
        ('{"sourc": "x"}', "there is no key sourc; did you mean source?"),
        ('{"reported": {"a": {"mean_return": 1}}}', "source must say in a line"),
        ('{"source": "x", "reported": {}}', "reported must name at least one arm"),
        ('{"source": "x", "reported": {"a": 1}}', "reported.a must be figures by their names"),
        ('{"source": "x", "reported": {"a": {"mean_retrun": 1}}}', "did you mean mean_return?"),
        (
            '{"source": "x", "reported": {"a": {"mean_return": true}}}',
            "reported.a.mean_return must be a number",
        ),
        (
            '{"source": "x", "reported": {"a": {"mean_return": NaN}}}',
            "reported.a.mean_return must be a number",
        ),
    ):
        told.write_text(content)
        assert fault in refused("mine", "--reported", str(told))
    assert "cannot be read: No such file" in refused("mine", "--reported", f"{tmp_path}/none.json")
    told.write_text("x")
    assert "is a file, not a directory" in refused("mine", "--out", f"{told}/in")
    assert not (tmp_path / "multirun/mine/report").exists()


def test_numbers_have_the_digits_that_their_interval_deserves() -> None:
    assert words.interval(1234.567, 1000.2, 1500.9) == "1,235 [1,000, 1,501]"
    assert words.interval(-2.449, -7.61, 2.7) == "-2.4 [-7.6, 2.7]"
    assert words.interval(-0.0004, -0.01, 0.02) == "0.00 [-0.01, 0.02]"
    assert words.interval(0.01942, 0.0185, 0.0204) == "0.0194 [0.0185, 0.0204]"
    assert words.interval(0.5, 0.2, 0.8) == "0.50 [0.20, 0.80]"
    assert words.interval(0.25, 0.25, 0.25) == "0.25 [0.25, 0.25]"
    assert words.interval(3.14159, float("-inf"), float("inf")) == "3.14"
    assert [words.p_value(p) for p in (None, 0.0312, 1e-9)] == [words.NONE, "0.031", "< 0.0001"]
