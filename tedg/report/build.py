"""From what is known of a study to its page: which sections there are, in which order."""

from __future__ import annotations

from tedg.compare.scores import spelt_budgets
from tedg.report.material import Material
from tedg.report.page import Page, Table
from tedg.report.sections.arms import arms
from tedg.report.sections.attention import attention
from tedg.report.sections.differences import controls, differences
from tedg.report.sections.earlier import earlier
from tedg.report.sections.learning import curves, shares
from tedg.report.sections.liveness import liveness
from tedg.report.sections.modality import modality
from tedg.report.sections.provenance import provenance
from tedg.report.sections.routing import entropy, experts
from tedg.report.sections.trouble import trouble
from tedg.report.sections.verdict import secondary, verdict
from tedg.report.words import listed

_SECTIONS = (
    verdict,
    arms,
    curves,
    shares,
    secondary,
    experts,
    entropy,
    attention,
    modality,
    earlier,
    trouble,
    differences,
    controls,
    liveness,
    provenance,
)
_RESULTS = ("contrasts", "secondary", "arms")  # tables that a paper has


def build(material: Material) -> Page:
    """The whole page."""
    return Page(
        material.study.name,
        material.report.question or "",
        tuple(_facts(material)),
        tuple(make(material) for make in _SECTIONS),
    )


def results(page: Page) -> list[Table]:
    """The tables of results: contrasts, arms and players."""
    tables = [one for section in page.sections for one in section.blocks if isinstance(one, Table)]
    return [one for one in tables if one.name.partition("-")[0] in _RESULTS]


def _facts(material: Material) -> list[tuple[str, str]]:
    runs = [run for own in material.arms.values() for run in own]
    planned = material.report.plan
    plan = "none, so verdicts are exploratory"
    if planned is not None:
        plan = planned.digest[:10] + (f", written {planned.written[:10]}" if planned.written else "")
    return [
        ("Arms", f"{len(material.arms)} by {material.report.by}"),
        ("Runs", str(len(runs))),
        ("Seeds", str(len({run.seed for run in runs}))),
        ("Budget", listed(spelt_budgets(runs)) if runs else ""),
        ("Plan", plan),
    ]
