"""The verdict, first on the page: a sentence for each contrast that the study is about, and every seed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tedg.compare.questions import Role
from tedg.compare.report import Arm, Outcome
from tedg.compare.text import crossing_told
from tedg.report.draw.seeds import Scores, seeds
from tedg.report.material import Material
from tedg.report.page import Block, Claim, Column, Drawing, Listing, Section, Table, Text, columns, section
from tedg.report.words import difference, digits, estimate, number, p_value
from tedg.statistics.aggregates import Estimate

_LEADS = (Role.PRIMARY, Role.EXPLORATORY)
_NO_VERDICT = "none"
_COLUMNS = (
    "Differences are variant minus baseline, paired by seed. Brackets are 95% intervals over seeds, not "
    "corrected for several contrasts. p is that of the exact sign-flip test; Holm's correction decides. "
    "IQM is the mean of the middle half of seeds. P(better) is the chance that a run of the variant beats "
    "one of the baseline. Curve area is the difference of mean heights of training curves. Detectable is "
    "the true difference that so many seeds would have shown with power 0.8. Rho is the correlation of the "
    "arms over seeds."
)


def verdict(material: Material) -> Section:
    """The contrasts that the study is about."""
    own = lead(material)
    blocks: list[Block] = [claim(one) for one in own]
    remedies = tuple(dict.fromkeys(told for one in own for told in one.remedies))
    if remedies:
        blocks.append(Listing(remedies))
    if any(one.kind == "inconclusive" for one in blocks if isinstance(one, Claim)):
        blocks.append(
            Text(
                "Inconclusive does not mean that the arms are alike. It means that so few seeds cannot "
                "tell them apart; each sentence says how many could."
            )
        )
    blocks += drawings(material, own)
    if own:
        blocks.append(table("contrasts", "The contrasts in figures", own, _COLUMNS))
    return section("verdict", "Verdict", blocks, "The study has no contrast to judge.")


def secondary(material: Material) -> Section:
    """All other contrasts, which are judged as a family of their own, or not at all."""
    first = lead(material)
    own = [one for one in material.report.outcomes if one not in first]
    blocks: list[Block] = [claim(one) for one in own]
    if own:
        blocks += drawings(material, own)
        blocks.append(
            table("secondary", "Secondary contrasts in figures", own, "Columns are those of the table above.")
        )
    return section("secondary", "Secondary contrasts", blocks, "There are no others than those above.")


def lead(material: Material) -> list[Outcome]:
    """The contrasts of the first family; all of them where none is primary."""
    every = list(material.report.outcomes)
    return [one for one in every if one.role in _LEADS] or every


def claim(one: Outcome) -> Claim:
    """The sentence of a contrast, taken apart where its claim ends."""
    plain = one.sentence.removeprefix("Exploratory: ")
    begin, *more = re.split(r"; |: ", plain, maxsplit=1)
    rest = "".join(more)
    if rest.startswith("difference "):
        begin, rest = f"{begin}.", rest[:1].upper() + rest[1:]
    elif rest:
        begin += ":"
    role = str(one.role) if plain == one.sentence else "exploratory"
    told = [*one.notes, *crossing_told(one)]
    if one.verdict is not None:
        told += [note for note in one.liveness if note not in one.sentence]
    return Claim(kind(one), role, begin, rest, tuple(told))


def kind(one: Outcome) -> str:
    """The word of a verdict, `none` where there is none."""
    return _NO_VERDICT if one.verdict is None else str(one.verdict)


def table(name: str, caption: str, own: Sequence[Outcome], note: str) -> Table:
    """The figures of `tedg.compare`, a row for each contrast."""
    titles = columns(
        "contrast", "pairs", "mean difference", "p", "p (Holm)", "IQM difference", "P(better)", "curve area",
        "detectable", "rho",
    )  # fmt: skip
    return Table(
        name,
        caption,
        (titles[0], Column("verdict", number=False), *titles[1:]),
        tuple(_row(one) for one in own),
        note,
    )


def _row(one: Outcome) -> tuple[str, ...]:
    at = "" if one.at is None else f" after {one.at:,}"
    return (
        f"{one.variant} against {one.baseline}{at}",
        kind(one),
        str(len(one.seeds)),
        difference(one.difference),
        p_value(one.p),
        p_value(one.p_holm),
        estimate(one.iqm_difference),
        estimate(one.improvement),
        difference(one.curves.area if one.curves is not None else None),
        digits(one.outlook.points if one.outlook is not None else None),
        number(one.difference.rho if one.difference is not None else None, ".2f"),
    )


def drawings(material: Material, own: Sequence[Outcome]) -> Iterator[Drawing]:
    """A figure of all seeds for each contrast that has any."""
    for n, one in enumerate(material.report.outcomes):
        found = [_scores(material.report.arms, name, one.measure) for name in (one.baseline, one.variant)]
        sides = [side for side in found if side is not None]
        if one in own and len(sides) == 2:
            (baseline, low), (variant, high) = sides
            yield seeds(
                f"seeds-{n + 1}",
                one,
                (baseline, variant),
                (low, high),
                material.looks,
                material.report.delta,
                material.measure.metric,
            )


def _scores(arms: Sequence[Arm], name: str, measure: str) -> tuple[Scores, Estimate] | None:
    """The scores of an arm's seeds; None where it has none, or several runs of one seed."""
    for arm in arms:
        if (arm.name, arm.measure) == (name, measure) and len(set(arm.seeds)) == len(arm.seeds):
            return dict(zip(arm.seeds, arm.scores, strict=True)), arm.mean
    return None
