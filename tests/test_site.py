"""The pages of docs/: each has its place in the site, and every link leads to something."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder, pattern in (("", "*.md"), ("docs", "*.md"), ("experiments", "**/README.md"))
    for path in (ROOT / folder).glob(pattern)
)
PAGES_IN_SITE = ["index.md" if page == "README.md" else page.removeprefix("docs/") for page in PAGES]
_FENCED = re.compile(r"^```.*?^```$", re.M | re.S)
_LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.M)


class _Loader(yaml.SafeLoader):
    """Reads the settings of MkDocs, whose functions do not matter here."""


_Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def test_every_page_has_a_place_in_the_site() -> None:
    settings = yaml.load((ROOT / "mkdocs.yml").read_text(), _Loader)
    named = list(leaves(settings["nav"]))
    assert sorted(named) == sorted(PAGES_IN_SITE), "mkdocs.yml has a list of pages, nav"


def leaves(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for inner in nav.values() if isinstance(nav, dict) else nav:
            yield from leaves(inner)


def anchors(page: Path) -> set[str]:
    """Of the headings, as a repository page has them."""
    found = (re.sub(r"[^\w\- ]", "", title.lower()) for title in _HEADING.findall(page.read_text()))
    return {title.replace(" ", "-") for title in found}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    for link in _LINK.findall(_FENCED.sub("", page.read_text())):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = page.parent / path if path else page
        assert target.exists(), f"{name}: there is no {path}"
        assert not anchor or anchor in anchors(target), f"{name}: there is no {link}"


def test_the_lock_of_the_site_fits() -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["docs"]
    lines = (ROOT / "requirements-docs.lock").read_text().splitlines()
    pins = dict(line.split(" ;")[0].split("==") for line in lines if line.strip()[:1] not in ("", "#"))
    for one in map(Requirement, asked):
        assert one.specifier.contains(pins[one.name]), one
