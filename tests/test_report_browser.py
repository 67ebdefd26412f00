"""The page of a report in a browser: it asks for nothing, says nothing, and fits screen, phone and paper."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.browser import Browser
from support.reporting import hostile, quickly_reported, rich, study

pytestmark = pytest.mark.browser

A4 = (round(176 / 25.4 * 96), round(261 / 25.4 * 96))  # within its margins, in pixels of a page
# What sticks out to the right, but for tables in their own box; and figures that are not shown or too high.
OUTSIDE = """[...document.querySelectorAll('main *, header *')].filter(e => !e.closest('.scroll *')
    && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(e => e.outerHTML)"""
UNSEEN = "[...document.images].filter(e => !e.complete || !e.naturalWidth).length"
TALLEST = "Math.max(...[...document.querySelectorAll('figure, .claim, tr')].map(e => e.offsetHeight))"
CUT = """[...document.querySelectorAll('figure, .claim, tr')].filter(
    e => getComputedStyle(e).breakInside != 'avoid').length"""
WIDEST = "Math.max(...[...document.querySelectorAll('table')].map(e => e.scrollWidth))"


def test_the_browser_tells_what_a_page_does(shown: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    policy = "<meta http-equiv='Content-Security-Policy' content=\"style-src 'none'\">"
    page.write_text(
        f"{policy}<script>alert(1)</script><p style='color:red'>x<img src='http://a.invalid/b.png'>"
    )
    shown.open(f"file://{page}", 390)
    assert "http://a.invalid/b.png" in shown.requests()
    said = " ".join(shown.said())
    assert "a dialog opened" in said
    assert "Content Security Policy" in said
    page.write_text("<main><p><img src='none.png' width=2000></main>")
    shown.open(f"file://{page}", 390)
    assert shown.ask(OUTSIDE)
    assert shown.ask(UNSEEN) == 1


@pytest.mark.parametrize("kind", ["fine", "hostile"])
def test_a_report(shown: Browser, tmp_path: Path, kind: str) -> None:
    if kind == "hostile":
        made = hostile(tmp_path)
    else:
        study(tmp_path, rich())
        made = quickly_reported(tmp_path)
    address = (made / "report.html").as_uri()
    for width in (1280, 390):
        shown.open(address, width)
        assert {one for one in shown.requests() if not one.startswith("data:image/svg+xml;base64,")} == {
            address
        }
        assert shown.said() == []
        assert shown.ask("document.documentElement.scrollWidth") <= width
        assert shown.ask(OUTSIDE) == []
        assert shown.ask(UNSEEN) == 0
    shown.open(address, *A4)
    shown.call("Emulation.setEmulatedMedia", media="print")
    assert shown.ask(TALLEST) < A4[1]
    assert shown.ask(CUT) == 0
    if kind == "fine":  # long names make wide tables
        assert shown.ask(WIDEST) <= A4[0]
    shown.call("Emulation.setEmulatedMedia", media="")
    shown.pdf(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
