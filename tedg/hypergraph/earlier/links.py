"""What the edges of one operator of the earlier graph become: literals of ours, or a reason why not.

What that graph calls an operator is one command in many situations, with the conditions of all of them in one
list. Two rules follow. Labels of one quantity that stand together (`has_gold` beside `no_gold`) mean either,
so they are left out. In such an operator a condition that belongs to no quantity (`confused`) held in some of
the situations only, so it cannot gate and moves to the scene.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from tedg.hypergraph.earlier.meanings import CONDITIONS, EFFECTS, QUANTITIES, Meaning, why_not
from tedg.hypergraph.schema import MAX_CONDITIONS, Literal

MOVED = "from precondition to scene: held in some of the operator's situations only"
SAME_LITERAL = "another label of the operator became the same literal"
EITHER = "stands beside another value of the same quantity"
CONTRADICTED = "its negation is a condition of the same operator"
CUT = f"beyond the {MAX_CONDITIONS} conditions that an operator may have"


class Outcome(StrEnum):
    """What became of a node or an edge."""

    MAPPED = "mapped"  # says the same as before
    CHANGED = "changed"  # is there, but says something slightly different
    MERGED = "merged"  # is part of one that was there already
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Fate:
    """The outcome, and why it is not `mapped`."""

    outcome: Outcome
    why: str = ""

    @classmethod
    def of(cls, *differences: str) -> Fate:
        """Mapped, or changed where any of the differences is not empty."""
        why = "; ".join(difference for difference in differences if difference)
        return cls(Outcome.CHANGED, why) if why else cls(Outcome.MAPPED)

    @classmethod
    def dropped(cls, why: str) -> Fate:
        """Not part of the result."""
        return cls(Outcome.DROPPED, why)

    @classmethod
    def merged(cls, why: str) -> Fate:
        """Part of something that is there already."""
        return cls(Outcome.MERGED, why)

    @property
    def survives(self) -> bool:
        """Whether it is part of the result."""
        return self.outcome is not Outcome.DROPPED


@dataclass(frozen=True, slots=True)
class Link:
    """An operator's distinct edge: `literal` is what it adds to the operator, None where it adds nothing."""

    type: str
    label: str
    fate: Fate
    literal: Literal | None = None
    gates: bool = False  # the literal is a precondition

    def without(self, fate: Fate) -> Link:
        """The link with another fate, adding nothing."""
        return replace(self, fate=fate, literal=None)


def condition_links(edges: Iterable[tuple[str, str]], order: Mapping[str, int], room: int) -> list[Link]:
    """Links of an operator's distinct condition edges, (type, label) pairs; at most `room` have a literal.

    Those with a literal come first, preconditions before scene, each in the order of the atoms, `order`.
    Where there are more than fit, that order decides which stay.
    """
    edges = sorted(edges)
    links = _translated(edges)
    signs: dict[str, set[bool]] = {}
    for link in links:
        if link.literal is not None:
            signs.setdefault(link.literal.atom, set()).add(link.literal.positive)

    kept: dict[Literal, Link] = {}
    left_out = []
    for link in sorted(links, key=lambda link: _rank(link, order)):
        if link.literal is None:
            left_out.append(link)
        elif len(signs[link.literal.atom]) > 1:
            left_out.append(link.without(Fate.dropped(CONTRADICTED)))
        elif link.literal in kept:
            left_out.append(link.without(Fate.merged(SAME_LITERAL)))
        elif len(kept) == room:
            left_out.append(link.without(Fate.dropped(CUT)))
        else:
            kept[link.literal] = link
    return [*kept.values(), *left_out]


def _translated(edges: Iterable[tuple[str, str]]) -> list[Link]:
    values: dict[str, set[str]] = {}
    for _, label in edges:
        if label in QUANTITIES:
            values.setdefault(QUANTITIES[label], set()).add(CONDITIONS.get(label, Meaning(label)).literal)
    either = {quantity for quantity, literals in values.items() if len(literals) > 1}

    links = []
    for kind, label in edges:
        meaning, quantity = CONDITIONS.get(label), QUANTITIES.get(label)
        if quantity in either:
            links.append(Link(kind, label, Fate.dropped(EITHER)))
        elif meaning is None:
            links.append(Link(kind, label, Fate.dropped(why_not(label))))
        else:
            moved = kind == "satisfies" and bool(either) and quantity is None
            fate = Fate.of(meaning.difference, MOVED if moved else "")
            gates = kind == "satisfies" and not moved
            links.append(Link(kind, label, fate, Literal.parse(meaning.literal), gates))
    return links


def _rank(link: Link, order: Mapping[str, int]) -> tuple[bool, int, bool]:
    """Preconditions first; of labels with the same literal, one that says exactly this."""
    atom = order[link.literal.atom] if link.literal is not None else -1
    return not link.gates, atom, link.fate.outcome is not Outcome.MAPPED


def effect_links(edges: Iterable[tuple[str, str]], order: Mapping[str, int]) -> list[Link]:
    """Links of an operator's distinct `leads_to` edges, in the order of the atoms."""
    links = []
    for kind, label in sorted(edges):
        meaning = EFFECTS.get(label)
        if meaning is None:
            links.append(Link(kind, label, Fate.dropped(why_not(label))))
        else:
            links.append(Link(kind, label, Fate.of(meaning.difference), Literal.parse(meaning.literal)))

    seen: set[Literal | None] = set()
    found = []
    for link in sorted(links, key=lambda link: _rank(link, order)):
        again = link.literal is not None and link.literal in seen
        found.append(link.without(Fate.merged(SAME_LITERAL)) if again else link)
        seen.add(link.literal)
    return found
