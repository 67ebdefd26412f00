"""How every figure looks: small, without ornament, told apart by colour and by marker and line.

The colours are Okabe and Ito's, which colour-blind readers can tell apart; markers and lines do so in grey.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from tedg.inert import inert
from tedg.report.page import Drawing

WIDTH = 4.8  # inches: as wide as the text of a paper, and still to be read on a phone
GREY = "#5f6368"
_LONGEST = 28  # characters of a name in a figure
_LOOKS = (
    ("#0072B2", "o", "-"),
    ("#D55E00", "s", (0, (5, 1.5))),
    ("#009E73", "^", (0, (5, 1.5, 1, 1.5))),
    ("#CC79A7", "D", (0, (1.2, 1.2))),
    ("#000000", "v", (0, (8, 2))),
    ("#E69F00", "P", (0, (3, 1, 1, 1, 1, 1))),
    ("#56B4E9", "X", (0, (2, 2))),
)
_STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so figures are the same everywhere
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8,
    "axes.labelcolor": "#222222",
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.5,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": "#222222",
    "ytick.labelcolor": "#222222",
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.5,
    "lines.markersize": 4,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "legend.handlelength": 3.2,
    "text.parse_math": False,  # a name may have a dollar sign
    "svg.fonttype": "path",
    "svg.hashsalt": "tedg",
    "pdf.fonttype": 42,
    "savefig.transparent": False,
    "figure.facecolor": "white",
}


@dataclass(frozen=True)
class Look:
    """What one name looks like in every figure of a page."""

    colour: str
    marker: str
    dashes: Any


def looks(names: Iterable[str]) -> dict[str, Look]:
    """A look for each name; the eighth has the colour of the first and the line of the second."""
    kinds = len(_LOOKS)
    return {
        name: Look(
            _LOOKS[n % kinds][0], _LOOKS[(n + n // kinds) % kinds][1], _LOOKS[(n + n // kinds) % kinds][2]
        )
        for n, name in enumerate(dict.fromkeys(names))
    }


@contextmanager
def styled() -> Iterator[None]:
    """What is drawn within has the style; a letter that the font lacks is a box and no warning."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        yield


def figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure; sizes in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def drawn(name: str, made: Figure, caption: str, alt: str) -> Drawing:
    """The figure as SVG and PDF, the same bytes for the same figure. Call it within `styled`."""
    svg, pdf = io.BytesIO(), io.BytesIO()
    made.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    made.set_layout_engine("none")  # where all things lie is settled by now
    made.savefig(pdf, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
    return Drawing(name, caption, alt, svg.getvalue().decode(), pdf.getvalue())


def short(name: str) -> str:
    """A name as it fits into a figure."""
    plain = inert(" ".join(name.split()))
    return plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 1]}…"


def legend(made: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """One legend above all panels."""
    names = [short(label) for label in labels]
    across = min(len(names), max(1, 77 // (8 + max(map(len, names)))))
    made.legend(handles, names, loc="outside upper left", ncols=across)
