"""The figures of a comparison of real runs are those of a script that knows their records and no tedg."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.experiments import EXPERIMENTS, script

from tedg.compare.__main__ import run

STUDY = EXPERIMENTS / "recomputed"


def test_figures_are_those_of_the_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([str(STUDY), "--json", f"{tmp_path}/out.json", "--root", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "out.json").read_text())
    assert [one["verdict"] for one in report["outcomes"]] == ["inconclusive"] * 2
    recompute = script("recomputed", "recompute")
    own, theirs = recompute.recomputed(), recompute.compared(report)
    assert len(own) == 35
    assert own == pytest.approx(theirs, rel=0, abs=1e-9)
    # A weaker copy of one figure's law would pass both: other draws, more of them, the same effect.
    effect = theirs["cross_attn - concat, end: detectable"] / report["outcomes"][1]["difference"]["deviation"]
    assert recompute.detectable(7, 0.025, studies=5000, seed=1) == pytest.approx(effect, rel=0.03)
    # The document shows what the command prints.
    shown = (EXPERIMENTS.parent / "docs/comparing.md").read_text()
    _, _, shown = shown.partition("    python -m tedg.compare recomputed\n\nprints\n\n```\n")
    assert capsys.readouterr().out == shown.partition("```\n")[0]
