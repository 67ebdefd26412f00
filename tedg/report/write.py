"""The files of a report: the page, its tables for papers, its figures for print."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tedg.errors import StorageError
from tedg.files import write_bytes, write_text
from tedg.report.build import results
from tedg.report.html import html
from tedg.report.latex import latex
from tedg.report.markdown import markdown
from tedg.report.page import Page

PAGE = "report.html"
FIGURES = "figures"


def write(page: Page, folder: Path) -> Iterator[tuple[str, Path]]:
    """Write all files; yields what each is, and where. The page comes last. Raises StorageError."""
    figures = folder / FIGURES
    try:
        figures.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make {figures}: {error.strerror}") from None
    tables = results(page)
    for name, text in (("results.tex", latex(tables)), ("results.md", markdown(tables))):
        write_text(folder / name, text)
        yield ("LaTeX tables" if name.endswith("tex") else "Markdown tables"), folder / name
    for one in page.drawings():
        write_text(figures / f"{one.name}.svg", one.svg)
        write_bytes(figures / f"{one.name}.pdf", one.pdf)
    yield "figures as SVG and PDF", figures
    write_text(folder / PAGE, html(page))
    yield "page", folder / PAGE
