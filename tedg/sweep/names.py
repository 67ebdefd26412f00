"""What tells the cells of a sweep apart: a label for each, and a readable name for its directory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from tedg.config.compose import Composed

_LONGEST = 80  # characters of a name, see `files.SLUG`


def varied(overrides: Sequence[Sequence[str]]) -> list[dict[str, str]]:
    """For each job the keys, with their values as typed, in which the jobs of a sweep differ."""
    each = [dict(line.lstrip("+").partition("=")[::2] for line in job) for job in overrides]
    keys = dict.fromkeys(key for job in each for key in job)
    differ = [key for key in keys if len({job.get(key) for job in each}) > 1]
    return [{key: job[key] for key in differ if key in job} for job in each]


def label(differing: dict[str, str]) -> str:
    """`fusion=concat seed=3`."""
    return " ".join(f"{key}={value}" for key, value in differing.items())


def with_telling_name(job: Composed, differing: dict[str, str]) -> Composed:
    """The job with what differs in its name, as in `cross_attn-curriculum-s3-keep0.3`; no part of its id.

    Seeds and values that the name has already are left out, and what would make it too long.
    """
    name = job.config.name
    for key, value in differing.items():
        short = re.sub(r"[^A-Za-z0-9._]+", "_", value).strip("_")
        if key == "seed" or f"-{short}-" in f"-{name}-":
            continue
        longer = f"{name}-{re.split('[./@]', key)[-1]}{short}"
        name = longer if len(longer) <= _LONGEST else name
    if name == job.config.name:
        return job
    named = {"name": name}
    return replace(
        job,
        config=replace(job.config, name=name),
        resolved=job.resolved | named,
        saved=job.saved | named,
    )
