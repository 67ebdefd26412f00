"""What a page is made of: sections of text, claims, lists, figures and tables, in no form yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    form: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class Listing:
    """Short sentences, one below the other."""

    form: ClassVar[str] = "listing"
    items: tuple[str, ...]


@dataclass(frozen=True)
class Claim:
    """The verdict on one contrast. `kind` is a word of `Verdict` or `none`; `role` says how much it counts.

    `claim` is the beginning of its sentence and `rest` what follows; `notes` stand below.
    """

    form: ClassVar[str] = "claim"
    kind: str
    role: str
    claim: str
    rest: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Column:
    """One column; numbers are set right, and `12.3 [10.1, 14.5]` is broken before its interval alone."""

    title: str
    number: bool = True


@dataclass(frozen=True)
class Table:
    """`rows` are as long as `columns`; the first cell of each names it."""

    form: ClassVar[str] = "table"
    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Drawing:
    """A figure. `alt` says what it shows to whoever cannot see it."""

    form: ClassVar[str] = "drawing"
    name: str
    caption: str
    alt: str
    svg: str
    pdf: bytes


Block = Text | Listing | Claim | Table | Drawing


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Page:
    """A whole page; the first section is the verdict."""

    study: str
    question: str
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]

    def drawings(self) -> list[Drawing]:
        """All figures, in their order."""
        return [one for section in self.sections for one in section.blocks if isinstance(one, Drawing)]


def columns(first: str, *numbers: str) -> tuple[Column, ...]:
    """A column that names the rows, then numbers."""
    return (Column(first, number=False), *map(Column, numbers))


def section(anchor: str, title: str, blocks: Sequence[Block], lacking: str) -> Section:
    """A section; one without content says in a sentence what is `lacking`."""
    return Section(anchor, title, tuple(blocks) or (Text(lacking),))
