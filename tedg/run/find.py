"""Where the run is that somebody names."""

from __future__ import annotations

from pathlib import Path

from tedg.errors import ConfigError
from tedg.files import expanded
from tedg.spelling import did_you_mean, did_you_mean_path
from tedg.store.rundir import CONFIG

RUNS, STUDIES = Path("outputs"), Path("multirun")


def find_run(named: str | Path) -> Path:
    """The directory of a run by its path, or by its name or id in outputs/ or in a study of multirun/.

    A name is the whole one of the directory, or that without the id: what `name` was in the configuration.
    ConfigError where it is not one, naming those that come near.
    """
    path = expanded(named)
    if (path / CONFIG).is_file():
        return path
    name = str(named)
    around = path.parent.glob(f"*/{CONFIG}") if path.parent.is_dir() else ()
    configs = (*RUNS.glob(f"*/{CONFIG}"), *STUDIES.glob(f"*/*/{CONFIG}"))
    known = {place.parent.resolve(): place.parent for place in (*configs, *around)}
    found = [one for one in known.values() if name in (one.name, *one.name.rpartition("-")[::2])]
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigError(f"{name} is several runs: {', '.join(map(str, found))}; name one by its directory")
    inside = sorted(one.parent.name for one in path.glob(f"*/{CONFIG}")) if path.is_dir() else []
    if inside:
        more = f" and {len(inside) - 3} more" if len(inside) > 3 else ""
        raise ConfigError(f"{name} is a folder of runs, name one of them: {', '.join(inside[:3])}{more}")
    if path.is_dir():
        raise ConfigError(f"{name} is no directory of a run: there is no {CONFIG} in it")
    if (STUDIES / name).is_dir():
        return find_run(STUDIES / name)  # says which runs it has
    near = "" if path.name == name else did_you_mean_path(name)
    names = {short: one for one in known.values() for short in (one.name, one.name.rpartition("-")[0])}
    if not near and (short := did_you_mean(path.name, names, "{}")):
        near = f"; did you mean {names[short]}?"
    raise ConfigError(f"there is no run {name}, here or in {RUNS} or {STUDIES}{near}")
