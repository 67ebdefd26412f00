"""The plan of a study: what it is to find out and how that will be judged, fixed before there are data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

from tedg.config.typed import Faults, Range

Arms = tuple[str, str]  # (variant, baseline)
_Count = Annotated[int, Range(low=1)]
_Points = Annotated[float, Range(above=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanConfig:
    """Which arms are compared, by which figure, with which seeds. It changes nothing that is learnt."""

    question: str  # in a sentence
    by: str  # the group or key that tells the arms apart: fusion, arm, fusion.gate.keep
    primary: tuple[Arms, ...]  # one family for Holm's correction
    secondary: tuple[Arms, ...] = ()  # another one
    metric: Literal["score", "return", "length", "depth"] = "score"
    cap: _Count | None = None  # env steps of a held-out game; None: as in training
    milestones: tuple[_Count, ...] = ()  # env steps whose weights are judged beside the last ones
    seeds: Annotated[tuple[int, ...], Range(low=0)]  # in the order in which `stop: anytime` takes them
    alpha: Annotated[float, Range(above=0, below=1)] = 0.05
    delta: _Points | None = None  # a smaller difference is none; None: nothing is called equivalent
    detect: _Points | None = None  # the difference that the study is for
    stop: Literal["fixed", "anytime"] = "fixed"
    allow: tuple[Literal["code", "device", "precision"], ...] = ()  # in which the runs of a pair may differ

    def validate(self, key: str, faults: Faults) -> None:
        """Every family has to hold contrasts of two arms that these seeds can decide."""
        if not self.primary:
            faults.add(f"{key}.primary", [], "must hold at least one contrast: [[variant, baseline]]")
        if len(set(self.seeds)) < len(self.seeds):
            faults.add(f"{key}.seeds", list(self.seeds), "names a seed twice")
        known: set[Arms] = set()
        for name in ("primary", "secondary"):
            for variant, baseline in (family := getattr(self, name)):
                if variant == baseline or {(variant, baseline), (baseline, variant)} & known:
                    faults.add(
                        f"{key}.{name}", [variant, baseline], "must be two arms, and no contrast twice"
                    )
                known.add((variant, baseline))
            self._decidable(f"{key}.{name}", len(family), faults)

    def _decidable(self, key: str, contrasts: int, faults: Faults) -> None:
        from tedg.statistics.sign_flip import seeds_to_decide  # imports numpy and scipy

        tests = contrasts * (1 + len(self.milestones))
        if tests and (least := seeds_to_decide(tests, self.alpha)) > len(self.seeds):
            n = len(self.seeds)
            faults.report(
                f"{key}: {n} seed{'s' * (n != 1)} can never decide {_tests(tests)} at alpha {self.alpha:g}: "
                f"the least p is 2/2^{n} = {min(1.0, 2 / 2**n):.2g}, needed {self.alpha / tests:.2g}; at "
                f"least {least} seeds{', fewer contrasts' * (tests > 1)}, or plan=none, which explores "
                "without a verdict"
            )

    def differing(self, other: PlanConfig) -> Iterator[str]:
        """The keys in which two plans differ."""
        own, others = asdict(self), asdict(other)
        yield from (key for key, value in own.items() if value != others[key])


def _tests(count: int) -> str:
    return "a contrast" if count == 1 else f"any of {count} contrasts"
