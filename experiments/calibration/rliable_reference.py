"""Figures of rliable 1.2 for made-up scores, which tests/test_aggregates.py holds tedg.statistics to.

    python rliable_reference.py

Writes rliable_reference.json. rliable needs an environment of its own, with Python 3.11:

    pip install 'rliable==1.2.0' 'pandas<3' 'arch<8'
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
from rliable import library, metrics


def main() -> None:
    rng = np.random.default_rng(7)
    cases = []
    for seeds, tasks in ((5, 1), (8, 1), (10, 3), (20, 2)):
        # Whole numbers, so that some scores are equal.
        baseline = np.round(rng.lognormal(2.0, 0.5, (seeds, tasks)))
        variant = np.round(rng.lognormal(2.2, 0.6, (seeds, tasks)))
        taus = np.linspace(0, 25, 11)
        share, _ = library.create_performance_profile({"variant": variant}, taus, reps=10)
        cases.append(
            {
                "baseline": baseline.tolist(),
                "variant": variant.tolist(),
                "iqm": [metrics.aggregate_iqm(baseline), metrics.aggregate_iqm(variant)],
                "improvement": metrics.probability_of_improvement(variant, baseline),
                "taus": taus.tolist(),
                "profile": share["variant"].tolist(),
            }
        )
    content = {"rliable": version("rliable"), "cases": cases}
    Path(__file__).with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
