"""Generated nonsense: every input file and override is taken whole, or refused in words.

The cases are the same in every run. TEDG_FUZZ=10 tries ten times as many.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import pickle
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from support.forgery import Payload
from support.hypergraphs import VALID
from support.settings import TINY

from tedg.config.compose import compose, group_options
from tedg.config.hydra_api import COMPOSE_ERRORS
from tedg.config.module_schemas import SLOTS
from tedg.config.typed import Faults
from tedg.config.validation import validate
from tedg.envs.observation import EpisodeEnd
from tedg.errors import ConfigError, StorageError
from tedg.hypergraph.schema import HypergraphError, load_hypergraph
from tedg.store import checkpoint
from tedg.store.tables import EpisodesLog, MetricsLog, read_episodes, read_metrics

T = TypeVar("T")
SCALE = int(os.environ.get("TEDG_FUZZ", "1"))


def many(test: Any) -> Any:
    return pytest.mark.slow(pytest.mark.timeout(7200)(test))


def cases(number: int) -> settings:
    return settings(
        max_examples=number * SCALE,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory of a test, so that whatever is written by mistake is seen."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECRET", "s3cret")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Hydra's own, about spellings of a default
        yield tmp_path


def attempt(call: Callable[[], T], *kinds: type[Exception]) -> tuple[T | None, Exception | None]:
    """What `call` returns, or which error of these `kinds` it raises; others fail the test."""
    try:
        return call(), None
    except kinds as error:
        return None, error


# --- overrides ---


def keys_of(node: Any, key: str = "") -> Iterator[str]:
    for name, item in node.items():
        place = f"{key}.{name}" if key else str(name)
        yield place
        if isinstance(item, dict):
            yield from keys_of(item, place)


CONFIG, GROUPS = group_options()
KNOWN = [key for key in keys_of(OmegaConf.to_container(CONFIG)) if key.split(".")[0] != "hydra"]
HYDRA = [
    *("hydra", "hydra.mode", "hydra.run.dir", "hydra.sweep.dir", "hydra.job.name", "hydra.launcher"),
    *("hydra.searchpath", "hydra.sweeper.params", "hydra.output_subdir", "hydra/launcher", "hydra.verbose"),
]
KEYS = st.sampled_from([*KNOWN, *GROUPS, "fusion._target_", "stage.phases", "stage.routing.k", "routing.k"])
ODD_KEYS = st.sampled_from(HYDRA) | st.text(max_size=8) | st.tuples(KEYS, st.text(max_size=3)).map("".join)
OPTIONS = [option for options in GROUPS.values() for option in options]
PIECES = [
    *("", "null", "true", "off", "-0", "1e400", "-1", "0.5", "3.0", "nan", "-.inf", "???", "9" * 30),
    *("9" * 400, "0x" + "f" * 30, "1e-400", "9" * 5000, "1_0", "1,2", "range(3)", "glob(*)", "int(x)"),
    *("${seed}", "${..seed}", "${nowhere}", "${oc.env:SECRET}", "${oc.env:NOWHERE}", "${oc.decode:'[1,2'}"),
    *("${hydra:runtime.cwd}", "${hydra:nowhere}", "${now:%Y}", "${a", "${}", "${oc.create:{a:1}}", "${ppo}"),
    *("${oc.select:seed}", "${oc.dict.keys:ppo}", "${paths.${name}}", "'${name}'", "${oc.deprecated:seed}"),
    *("[]", "[1.0,2.0]", "[1.0,nan]", "[[1]]", "{}", "{a:1}", "{1:2}", "{a:{b:[null]}}", "shuffle([1,2])"),
    *("{_target_:os.system}", '"', "-", "--cfg", "=", "==", "@", "x@y=z", "{", "]", "'", "os.system"),
    *("tedg.run.app.run", "tedg.models.gate.TopKGate", "tedg.models.logic.NoLogic", "\\~nobody/x", "a\\,b"),
    *("../x", "/proc/x", "/etc/hostname/x", "'a\0b'", "'a\nb'", "'x\n'", "x" * 300),
    *("'\x1b[31m'", "'\u202e'", "é", "'[bold]'", "auto", "none", "nethack", "needle", "probe"),
]
PIECE = st.sampled_from([*PIECES, *OPTIONS])
TREE = st.recursive(
    PIECE | st.integers().map(str) | st.floats().map(str),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | st.dictionaries(st.sampled_from(["a", "_target_", "name", "1"]), inner, max_size=2).map(
            lambda items: "{" + ",".join(f"{key}:{item}" for key, item in items.items()) + "}"
        )
    ),
    max_leaves=4,
)
VALUES = PIECE | PIECE | TREE | st.text(max_size=8) | st.integers().map(str) | st.floats().map(str)
OVERRIDE = st.tuples(
    st.sampled_from(["", "", "", "", "+", "++", "~"]), KEYS | KEYS | KEYS | ODD_KEYS, VALUES
).map(lambda parts: f"{parts[0]}{parts[1]}={parts[2]}")
OVERRIDES = st.lists(OVERRIDE | OVERRIDE | OVERRIDE | st.text(max_size=12), min_size=1, max_size=3)


def taken_or_refused(overrides: list[str]) -> None:
    # The command turns both kinds of error into the same exit code.
    composed, error = attempt(lambda: compose(overrides), ConfigError, *COMPOSE_ERRORS)
    if isinstance(error, ConfigError):
        assert all(len(line) < 1100 for line in str(error).splitlines())
    elif composed is not None:
        assert "s3cret" not in json.dumps(composed.saved)
        OmegaConf.to_yaml(OmegaConf.create(composed.saved))
    assert os.listdir() == []


@pytest.mark.more
@cases(25)
@given(OVERRIDES)
def test_overrides(overrides: list[str]) -> None:
    taken_or_refused(overrides)


@many
@cases(1500)
@given(OVERRIDES)
def test_many_overrides(overrides: list[str]) -> None:
    taken_or_refused(overrides)


# The same without Hydra, which takes most of the time: any values in a configuration that is resolved.


@st.composite
def changed_configurations(draw: Callable[..., Any]) -> dict[str, Any]:
    """A sound configuration with nodes dropped, replaced or added at up to three places."""
    node: Any = copy.deepcopy(draw(st.sampled_from(SOUND)))
    for _ in range(draw(st.integers(1, 3))):
        *outer, last = draw(st.sampled_from(list(keys_of(node)))).split(".")
        group = node
        for name in outer:
            group = group[name]
        how = draw(st.sampled_from(["replace", "replace", "replace", "drop", "add"]))
        if how == "drop":
            group.pop(last, None)
        elif how == "add":
            name = draw(st.text(max_size=4) | st.sampled_from(["_target_", "phases", "k"]))
            group[name] = draw(CONFIG_JUNK)
        else:
            group[last] = draw(CONFIG_JUNK)
    return dict(node)


SOUND = [
    compose([*TINY, "env.hypergraph=needle", *more]).resolved
    for more in ([], ["stage=curriculum", "routing=entmax"], ["fusion=concat_matched"])
]
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
CONFIG_JUNK = st.recursive(
    PLAIN
    | st.sampled_from(OPTIONS)
    | st.sampled_from(
        [10**400, -(10**400), -(10**30), 5e-324, "auto", "cuda", "..", "x\n", "a\0b", "x" * 300]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["_target_", "name", "k", "keep", "a\n"]), inner, max_size=3)
        | st.fixed_dictionaries({"_target_": st.sampled_from([t for slot in SLOTS.values() for t in slot])})
    ),
    max_leaves=5,
)


def checked_or_faulty(node: dict[str, Any]) -> None:
    faults = Faults()
    config = validate(node, faults, sweep="preset" in node)
    assert (config is None) == bool(faults.lines)
    assert not any("\n" in line or len(line) > 1100 for line in faults.lines)
    assert os.listdir() == []


@pytest.mark.more
@cases(1000)
@given(changed_configurations())
def test_configurations(node: dict[str, Any]) -> None:
    checked_or_faulty(node)


@many
@cases(10_000)
@given(changed_configurations())
def test_many_configurations(node: dict[str, Any]) -> None:
    checked_or_faulty(node)


# --- hypergraph files ---

JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([10**400, "x" * 1001, "NaN", "-a", "a", "\u202e", "<b>", "__proto__"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def changed_documents(draw: Callable[..., Any]) -> bytes:
    """The small document with nodes dropped, repeated or replaced, as JSON."""
    document: Any = copy.deepcopy(VALID)
    for _ in range(draw(st.integers(1, 4))):
        node, path = document, draw(st.integers(1, 5))
        for _ in range(path):
            places = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not places:
                break
            place = draw(st.sampled_from(places))
            if isinstance(node[place], dict | list) and node[place] and draw(st.booleans()):
                node = node[place]
                continue
            how = draw(st.sampled_from(["drop", "repeat", "replace", "wrap"]))
            if how == "drop":
                del node[place]
            elif how == "replace":
                node[place] = draw(JUNK)
            elif how == "wrap":
                node[place] = [node[place]]
            elif isinstance(node, list):
                node.append(copy.deepcopy(node[place]))
            else:
                node[f"{place}{draw(st.text(max_size=2))}"] = node[place]
            break
    text = json.dumps(document, ensure_ascii=draw(st.booleans()))
    if draw(st.integers(0, 9)) == 0:  # the same key twice
        text = text.replace("{", '{"version": "1", ', 1)
    return text.encode("utf-8", "surrogatepass")


@st.composite
def damaged(draw: Callable[..., Any], content: bytes) -> bytes:
    """`content` with bytes changed, cut out, put in or repeated."""
    found = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(found)))
        end = min(len(found), start + draw(st.integers(0, 12)))
        how = draw(st.sampled_from(["put", "flip", "cut", "repeat", "truncate"]))
        if how == "put":
            words = [b"[" * 5000, b"- ", b"&a ", b"*a ", b"!!int ", b"<<: "]
            found[start:end] = draw(st.binary(max_size=6) | st.sampled_from(words))
        elif how == "flip" and start < len(found):
            found[start] ^= 1 << draw(st.integers(0, 7))
        elif how == "cut":
            del found[start:end]
        elif how == "repeat":
            found[start:start] = found[start:end] * draw(st.integers(1, 50))
        elif how == "truncate":
            del found[start:]
    return bytes(found)


def loads_or_is_refused(content: bytes) -> None:
    path = Path("h.yaml")
    path.write_bytes(content)
    hypergraph, error = attempt(lambda: load_hypergraph(path), HypergraphError)
    if hypergraph is None:
        assert all(line.startswith("h.yaml: ") for line in str(error).split("\n")), str(error)
    else:
        assert len(hypergraph.digest) == 64
        assert len(hypergraph.conditions().atom) == len(hypergraph.operators)
    assert os.listdir() == ["h.yaml"]


@pytest.mark.more
@cases(1000)
@given(changed_documents())
def test_hypergraphs_of_other_nodes(content: bytes) -> None:
    loads_or_is_refused(content)


@many
@cases(10_000)
@given(changed_documents())
def test_many_hypergraphs_of_other_nodes(content: bytes) -> None:
    loads_or_is_refused(content)


DAMAGED_HYPERGRAPHS = damaged(json.dumps(VALID, indent=1).encode()) | damaged(
    OmegaConf.to_yaml(OmegaConf.create(VALID)).encode()
)


@pytest.mark.more
@cases(1000)
@given(DAMAGED_HYPERGRAPHS)
def test_hypergraphs_of_damaged_bytes(content: bytes) -> None:
    loads_or_is_refused(content)


@many
@cases(10_000)
@given(DAMAGED_HYPERGRAPHS)
def test_many_hypergraphs_of_damaged_bytes(content: bytes) -> None:
    loads_or_is_refused(content)


# --- checkpoints ---


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("checkpoints")
    for step in (1, 2):
        tensors = {
            "model": {"w": torch.full((3, 2), float(step))},
            "optim": {"0.step": torch.tensor(float(step))},
            "rng": {"cpu": torch.arange(8, dtype=torch.uint8)},
        }
        checkpoint.save(directory, step, tensors, {"step": step, "names": ["a", "é"]}, {"config": "x"})
    return directory


REPLACEMENTS = st.binary(max_size=40) | st.sampled_from(
    [
        b"",
        b"{}",
        b"null",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"step": 1e999}',
        b"9" * 5000,
        pickle.dumps(Payload(), 0),
        pickle.dumps(Payload()),
        (2**60).to_bytes(8, "little") + b"{}",
    ]
)


@st.composite
def damages(draw: Callable[..., Any]) -> Callable[[Path], None]:
    """One thing that can happen to a directory of two checkpoints."""
    kinds = ["damage", "damage", "replace", "delete", "swap", "other's", "directory", "add", "move", "empty"]
    how = draw(st.sampled_from(kinds))
    first, second = draw(st.integers(0, 100)), draw(st.integers(0, 100))
    content, seed = draw(REPLACEMENTS), draw(st.integers(0, 2**32))
    name = draw(st.sampled_from(["ckpt-000000000003", "ckpt-1", "ckpt-000000000002.tmp-1", "other"]))

    def apply(directory: Path) -> None:
        files = sorted(path for path in directory.rglob("*") if path.is_file())
        folders = sorted(path for path in directory.iterdir() if path.is_dir())
        if not files or not folders:
            return
        one, two = files[first % len(files)], files[second % len(files)]
        folder = folders[first % len(folders)]
        if how == "damage":
            one.write_bytes(_damage(one.read_bytes(), seed))
        elif how == "replace":
            one.write_bytes(content)
        elif how == "delete":
            one.unlink()
        elif how == "swap":
            before = one.read_bytes()
            one.write_bytes(two.read_bytes())
            two.write_bytes(before)
        elif how == "other's":
            one.write_bytes(two.read_bytes())
        elif how == "directory":
            one.unlink()
            one.mkdir()
        elif how == "add" and not (folder / f"{name}.safetensors").is_dir():
            (folder / f"{name}.safetensors").write_bytes(content)
        elif how == "move" and not (directory / name).exists():
            folder.rename(directory / name)
        elif how == "empty":
            shutil.rmtree(folder)
            folder.mkdir()

    return apply


def _damage(content: bytes, seed: int) -> bytes:
    """Bytes flipped, cut off or added, as a failing disk or a torn write leaves them."""
    found, kind = bytearray(content), seed % 3
    place = seed // 3 % max(len(found), 1)
    if kind == 0 and found:
        found[place] ^= 1 << seed // 7 % 8
    elif kind == 1:
        del found[place:]
    else:
        found += seed.to_bytes(5, "little")
    return bytes(found)


def digests(directory: Path) -> dict[str, str]:
    files = (path for path in sorted(directory.rglob("*")))
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "" for path in files
    }


def is_one_of_those_saved(found: checkpoint.Checkpoint) -> bool:
    step = found.state["step"]
    return (
        step in (1, 2)
        and found.state == {"step": step, "names": ["a", "é"]}
        and found.step == step
        and torch.equal(found.tensors["model"]["w"], torch.full((3, 2), float(step)))
        and torch.equal(found.tensors["optim"]["0.step"], torch.tensor(float(step)))
        and torch.equal(found.tensors["rng"]["cpu"], torch.arange(8, dtype=torch.uint8))
    )


def whole_or_refused(saved: Path, changes: list[Callable[[Path], None]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place) / "checkpoints"
        shutil.copytree(saved, directory)
        for change in changes:
            change(directory)
        before = digests(directory)
        newest, error = attempt(lambda: checkpoint.latest(directory, lambda _: None), StorageError)
        if newest is not None:
            assert is_one_of_those_saved(checkpoint.load(newest))
        elif error is None:  # a fresh start
            names = [path.name for path in directory.iterdir() if path.is_dir()]
            assert not [name for name in names if name.startswith("ckpt-0") and len(name) == 17]
        for path in directory.glob("ckpt-*"):
            found, _ = attempt(partial(checkpoint.load, path), StorageError)
            assert found is None or is_one_of_those_saved(found)
        assert digests(directory) == before
    assert os.listdir() == []  # no payload ran


@pytest.mark.more
@cases(600)
@given(st.lists(damages(), min_size=1, max_size=4))
def test_checkpoints(saved: Path, changes: list[Callable[[Path], None]]) -> None:
    whole_or_refused(saved, changes)


@many
@cases(10_000)
@given(st.lists(damages(), min_size=1, max_size=4))
def test_many_checkpoints(saved: Path, changes: list[Callable[[Path], None]]) -> None:
    whole_or_refused(saved, changes)


# --- tables ---

EPISODE = EpisodeEnd(
    env=3, seed=17, length=500, episode_return=12.25, score=13.0, depth=2, turns=480, end="truncated"
)
TAILS = (
    st.binary(max_size=40)
    | st.sampled_from(
        [b"{}\n", b"[" * 100_000 + b"\n", b"9" * 5000 + b"\n", b"\xff\n", b'"\n', b"1,2\n", b"\r\n", b"\0\n"]
    )
    | st.text(alphabet=',"\n\r0a', max_size=30).map(str.encode)
)


def whole_rows_or_refused(cut: int, tail: bytes) -> None:
    metrics, episodes = Path("metrics.jsonl"), Path("episodes.csv")
    for path in (metrics, episodes):
        path.unlink(missing_ok=True)
    log, table = MetricsLog(metrics), EpisodesLog(episodes)
    for update in (1, 2, 3):
        log.add({"update": update, "env_steps": 10 * update, "train/kl": 0.1})
        log.flush()
        table.add(update, 10 * update, [EPISODE])
        table.flush()
    for path, log_kind, read in ((metrics, MetricsLog, read_metrics), (episodes, EpisodesLog, read_episodes)):
        rows, content = read(path), path.read_bytes()
        kept = content[: len(content) - cut]
        path.write_bytes(kept + tail)
        whole = rows[: kept.count(b"\n") - (path == episodes)]
        found, _ = attempt(partial(read, path), StorageError)
        if found is None:
            assert b"\n" in tail  # a torn row alone is no reason to refuse the others
        else:
            assert found[: len(whole)] == whole
            assert len(found) == len(whole) or b"\n" in tail
        reopened, _ = attempt(partial(log_kind, path), StorageError)
        if reopened is not None:
            attempt(partial(reopened.truncate_after, 2), StorageError)


@pytest.mark.more
@cases(1000)
@given(st.integers(0, 60), TAILS)
def test_tables(cut: int, tail: bytes) -> None:
    whole_rows_or_refused(cut, tail)


@many
@cases(10_000)
@given(st.integers(0, 60), TAILS)
def test_many_tables(cut: int, tail: bytes) -> None:
    whole_rows_or_refused(cut, tail)
