"""Copies what a comparison of runs needs to experiments/<study>/runs/, without weights and machine paths."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tedg.errors import ConfigError, InUse, StorageError
from tedg.files import read_json, write_text
from tedg.run.record import make_record
from tedg.store.games import GAMES, POLICY, read_games
from tedg.store.kept import read_kept
from tedg.store.record import RECORD, Game, RunRecord, read_record, record_text
from tedg.store.results import read_result
from tedg.store.rundir import CHECK, CONFIG, PROVENANCE, RESULT, owned, read_provenance

_MAY_CHANGE = (GAMES, CHECK, RECORD, RESULT)  # of a run that is kept already
LEFT = ("differs", "damaged", "in use")  # what was not kept though it has ended
# An absolute path, or one in somebody's home, where a word begins.
_PATH = re.compile(r"""(?:(?<=[\s"'=\[(,:])|^)(?:~[\w.-]*)?/[^\s"',:;\])]+""", re.M)


@dataclass(frozen=True, slots=True)
class Kept:
    """What was done about one run."""

    name: str  # of its directory
    what: (
        str  # kept, updated (more games, another check), kept already, not done, moved aside, or one of LEFT
    )
    reason: str = ""
    bytes: int = 0  # of its folder now


def keep(cells: Sequence[Mapping[str, Any]], folder: Path) -> list[Kept]:
    """Keep in `folder` all runs that have ended. Raises StorageError where it cannot be written."""
    return [_keep(Path(cell["directory"]), folder) for cell in cells if not cell["kept"]]


def _keep(directory: Path, folder: Path) -> Kept:
    name, target = directory.name, folder / directory.name
    if not (directory / RESULT).exists():
        return Kept(name, "not done")
    try:
        with owned(directory):  # nobody plays more games meanwhile
            files = _files(directory)
        if files is None:
            return Kept(name, "moved aside")
        before = {file: _text(target / file) for file in files}
        if before[RESULT] is not None and (reason := _conflict(directory, files[RESULT], target)):
            return Kept(name, "differs", f"{reason}; to keep this one instead, remove {target} first")
    except InUse as error:
        return Kept(name, "in use", str(error))
    except (ConfigError, StorageError) as error:
        return Kept(name, "damaged", str(error))
    if (record := before[RECORD]) is not None and _says_no_more(files[RECORD], record):
        files[RECORD] = record
    # The others say how the same result was reached when it was kept first.
    changed = [
        f for f, text in files.items() if text != before[f] and (f in _MAY_CHANGE or before[f] is None)
    ]
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make {target}: {error.strerror}") from None
    for file in changed:  # the result is last: where it is, the others are
        write_text(target / file, files[file])
    what = "kept already" if not changed else "kept" if before[RESULT] is None else "updated"
    return Kept(name, what, bytes=sum(len(text.encode()) for text in files.values()))


def _files(directory: Path) -> dict[str, str] | None:
    """What is kept of a run; None for a directory whose name does not end in its run's id."""
    result, provenance = read_result(directory), read_provenance(directory)
    assert result is not None
    ids = {result.get("run_id"), provenance["run_id"] if provenance else result.get("run_id")}
    if len(ids) != 1:
        raise StorageError(f"{directory}: {RESULT} and {PROVENANCE} are of two runs")
    if ids != {directory.name.rpartition("-")[2]}:
        return None
    sessions = provenance["sessions"] if provenance else []
    places = {str(directory.absolute()), str(Path.home()), *(one.get("directory") or "" for one in sessions)}
    hide = _hider(sorted((place for place in places if len(place) > 1), key=len, reverse=True))
    files = {CONFIG: hide(_read(directory / CONFIG))}
    for file, content in ((PROVENANCE, provenance), (CHECK, read_json(directory / CHECK))):
        if content is not None:
            files[file] = _json(_hidden(content, hide))
    if read_games(directory) is not None:
        files[GAMES] = _read(directory / GAMES)
    files[RECORD] = hide(record_text(make_record(directory)))
    return {**files, RESULT: _json(_hidden(result, hide))}


def _conflict(directory: Path, result: str, target: Path) -> str:
    """Why the run is not the one that is kept; nothing where it is, with as many games or more."""
    old, new = read_kept(target), json.loads(result)
    games, known = read_games(directory), read_games(target)
    evaluation, evaluation_before = new.pop("evaluation", None), old.pop("evaluation", None)
    if "modality" not in old:  # which may be measured later
        new.pop("modality", None)
    if differing := [key for key in {**old, **new} if old.get(key) != new.get(key)]:
        return f"another result is kept in {target}: {', '.join(differing)} differ"
    if known is None:
        return (
            ""
            if evaluation == evaluation_before
            else f"{target} has no {GAMES} to compare held-out games with"
        )
    for player, played in known.items():
        if any((games or {}).get(player, {}).get(seed) != end for seed, end in played.items()):
            return f"{target} has held-out games of {player} that this run has not, or that ended otherwise"
    kept, here = (_own_games(record) for record in (read_record(target), make_record(directory)))
    for conditions, games_before in kept.items():
        if any(here.get(conditions, {}).get(seed) != game for seed, game in games_before.items()):
            told = " ".join(map(str, conditions))
            return f"{target} has held-out games ({told}) that this run has not, or that ended otherwise"
    return ""


def _says_no_more(new: str, old: str) -> bool:
    """Whether a record differs at most in how the same result was reached: on which machine, how fast."""
    measured = ("schema", "evaluations", "learns", "modality")
    contents = [json.loads(text) for text in (new, old)]
    return len({json.dumps([content.get(name) for name in measured]) for content in contents}) == 1


def _own_games(record: RunRecord | None) -> dict[tuple[str, str, int], dict[int, Game]]:
    """The policy's games by weights, mode and cap; those of other players may have been played anew."""
    evaluations = record.evaluations if record is not None else ()
    return {
        (one.weights, one.mode, one.cap): {game.seed: game for game in one.games}
        for one in evaluations
        if one.player == POLICY
    }


def _hider(places: Sequence[str]) -> Callable[[str], str]:
    """What leaves of a path in a text no more than its last part."""

    def hide(text: str) -> str:
        for place in places:
            text = text.replace(place, "...")
        return _PATH.sub(lambda found: f".../{found[0].rstrip('/').rpartition('/')[2]}", text)

    return hide


def _hidden(value: Any, hide: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {key: _hidden(item, hide) for key, item in value.items()}
    if isinstance(value, list):
        return [_hidden(item, hide) for item in value]
    return hide(value) if isinstance(value, str) else value


def _json(content: Any) -> str:
    return json.dumps(content, indent=2) + "\n"


def _read(path: Path) -> str:
    text = _text(path)
    if text is None:
        raise StorageError(f"{path} is missing")
    return text


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} cannot be read: {error}") from None
