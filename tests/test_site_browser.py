"""The site of `make docs` opened from the disk: it needs no network, fits a phone, and can be searched."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.browser import Browser

SITE = Path(__file__).parents[1] / "site"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (SITE / "index.html").exists(), reason="no site here; make docs makes it"),
]
FOUND = "document.querySelectorAll('.md-search-result__item').length"
TO_THE_RIGHT = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
UNSEEN = "[...document.images].filter(e => e.complete && !e.naturalWidth).length"
SEARCH = """const box = document.querySelector('.md-search__input');
box.focus(); box.value = 'verdict'; box.dispatchEvent(new Event('keyup', {bubbles: true}));
box.dispatchEvent(new Event('input', {bubbles: true}))"""


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize(
    "page", ["index", "tutorial", "configuration", "comparing", "experiments/presets/index"]
)
def test_a_page_from_the_disk(shown: Browser, page: str, width: int) -> None:
    shown.open(f"file://{SITE / page}.html", width)
    assert [address for address in shown.requests() if not address.startswith(("file:", "data:"))] == []
    assert shown.said() == []
    assert shown.ask(TO_THE_RIGHT) <= 0
    assert shown.ask(UNSEEN) == 0


def test_the_search_works_from_the_disk(shown: Browser) -> None:
    shown.open(f"file://{SITE / 'experiments/presets/index.html'}", 1280)
    shown.ask(SEARCH)
    shown.wait(f"{FOUND} > 3")
    assert all(address.startswith(("file:", "data:", "about:")) for address in shown.requests())
