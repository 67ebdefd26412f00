"""The hypergraph of operators: atoms, signed literals, operators, and the validation of its data file."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tedg.hypergraph.checker import SUGGESTION, Checker, describe, told
from tedg.hypergraph.document import MAX_BYTES, DocumentError, join, read_document
from tedg.spelling import did_you_mean, did_you_mean_path

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MAX_ATOMS = 4096
MAX_OPERATORS = 4096
MAX_CONDITIONS = 16  # of one operator, scene included; the encoder lists all their on/off patterns
MAX_ACTIONS = 1024

_EARLIER = re.compile(rb'"(nodes|edges)"\s*:\s*\[')
_ATOM_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What was read last from a file, with the file's state then: a sweep asks for the same one in every job.
_READ: dict[Path, tuple[tuple[int, ...], Hypergraph]] = {}


class HypergraphError(ValueError):
    """A hypergraph file is missing or faulty; the message lists every fault by its place, one a line."""


@dataclass(frozen=True, slots=True)
class Literal:
    """An atom that must be (or becomes) true, or false when `positive` is not set."""

    atom: str
    positive: bool

    @classmethod
    def parse(cls, text: str) -> Literal:
        """`hp_low` or `-hp_low`; raises ValueError for anything that is not a name with at most one sign."""
        name = text.removeprefix("-")
        if not _ATOM_NAME.fullmatch(name):
            raise ValueError(
                f"{text[:60]!r} is not a literal: write an atom's name, or -name for its negation"
            )
        return cls(name, positive=not text.startswith("-"))

    def __str__(self) -> str:
        return self.atom if self.positive else f"-{self.atom}"


@dataclass(frozen=True, slots=True)
class Atom:
    """One observable condition; `rare` marks those nearly constant in early training."""

    name: str
    rare: bool
    formula: str


@dataclass(frozen=True, slots=True)
class Operator:
    """One hyperedge: preconditions gate it, scene raises its relevance, effects are what it promises."""

    id: str
    name: str
    expert: str
    preconditions: tuple[Literal, ...]
    scene: tuple[Literal, ...]
    effects: tuple[Literal, ...]
    actions: tuple[int, ...]
    target: str


@dataclass(frozen=True, slots=True)
class Conditions:
    """Preconditions, then scene, of O operators as arrays padded to the longest list, L."""

    atom: npt.NDArray[np.int64]  # [O, L] index into the atoms; 0 where padded
    positive: npt.NDArray[np.bool_]  # [O, L] the literal's sign; False where padded
    valid: npt.NDArray[np.bool_]  # [O, L] False where padded
    is_precondition: npt.NDArray[np.bool_]  # [O, L] False for scene literals and padding
    expert: npt.NDArray[np.int64]  # [O] index into the experts


@dataclass(frozen=True)
class Hypergraph:
    """A valid hypergraph; the order of atoms, experts and operators is the file's."""

    name: str
    version: str
    num_actions: int
    atom_table: tuple[Atom, ...]
    experts: tuple[str, ...]
    operators: tuple[Operator, ...]

    @cached_property
    def atoms(self) -> tuple[str, ...]:
        """Names of the atoms, in the order of an observation's bits."""
        return tuple(atom.name for atom in self.atom_table)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the content: neither the file's name nor its comments and layout count."""
        content = {key: value for key, value in asdict(self).items() if key != "name"}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def conditions(self) -> Conditions:
        """The operators' conditions as padded arrays, for vectorised evaluation."""
        import numpy as np  # takes a while, which validation of the file must not wait for

        atom_index = {name: i for i, name in enumerate(self.atoms)}
        expert_index = {name: i for i, name in enumerate(self.experts)}
        length = max(len(o.preconditions) + len(o.scene) for o in self.operators)
        shape = (len(self.operators), length)
        atom = np.zeros(shape, np.int64)
        positive, valid, is_precondition = (np.zeros(shape, np.bool_) for _ in range(3))
        for row, operator in enumerate(self.operators):
            for column, literal in enumerate(operator.preconditions + operator.scene):
                atom[row, column] = atom_index[literal.atom]
                positive[row, column] = literal.positive
                valid[row, column] = True
                is_precondition[row, column] = column < len(operator.preconditions)
        expert = np.array([expert_index[o.expert] for o in self.operators], np.int64)
        return Conditions(atom, positive, valid, is_precondition, expert)


def load_hypergraph(name_or_path: str | Path) -> Hypergraph:
    """Read and validate a hypergraph: a bare name is one of the package's own, else a YAML or JSON path.

    Raises HypergraphError, whose message names the file and lists every fault by its place.
    """
    path = _locate(name_or_path)
    state = path.stat()
    signature = (state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
    if path not in _READ or _READ[path][0] != signature:
        _READ[path] = (signature, _read(path))
    return _READ[path][1]


def _read(path: Path) -> Hypergraph:
    if _is_earlier(path):
        made = shlex.join([sys.executable, "-m", "tedg.hypergraph.convert", str(path), f"{path.stem}.yaml"])
        raise HypergraphError(f"{path.name}: is a graph of the earlier project; convert it: {made}")
    try:
        document = read_document(path)
    except DocumentError as error:
        raise HypergraphError(told(path.name, error.faults)) from None
    check = Checker()
    hypergraph = _hypergraph(check, path.stem, document)
    if check.faults:
        raise HypergraphError(told(path.name, check.faults))
    return hypergraph


def _is_earlier(path: Path) -> bool:
    """Whether a file looks like the earlier project's graph, which may be too large to be read whole here."""
    try:
        with path.open("rb") as file:
            head = file.read(MAX_BYTES)
    except OSError:
        return False  # reported where the file is read
    return head.lstrip().startswith(b"{") and _EARLIER.search(head) is not None


def _locate(name_or_path: str | Path) -> Path:
    shipped = Path(__file__).parent
    text = str(name_or_path)
    bare = re.fullmatch(r"[A-Za-z0-9_\-]+", text) is not None
    path = shipped / f"{text}.yaml" if bare else Path(text)
    try:
        path = path.expanduser()
        exists = path.exists()
    except (OSError, ValueError, RuntimeError):  # too long for the system, with a NUL, below no user's home
        exists = False
    if not exists:
        names = sorted(file.stem for file in shipped.glob("*.yaml"))
        near = did_you_mean(text, names, SUGGESTION) if bare else did_you_mean_path(text, form=SUGGESTION)
        raise HypergraphError(
            f"{path}: no such hypergraph file; give one of the names {', '.join(names)},"
            " or the path of a .yaml or .json file, as python -m tedg.hypergraph.convert makes from the"
            f" earlier project's graph{near}"
        )
    return path


def _hypergraph(check: Checker, name: str, document: Any) -> Hypergraph:
    keys = ("version", "num_actions", "atoms", "experts", "operators")
    top = check.mapping(document, "", required=keys)
    version = check.text(top["version"], "version") if "version" in top else ""
    num_actions = 0
    if "num_actions" in top:
        num_actions = check.integer(top["num_actions"], "num_actions", 1, MAX_ACTIONS)
    atoms, experts, operators = [], [], []
    if "atoms" in top:
        atoms = check.sequence(top["atoms"], "atoms", partial(_atom, check), 1, MAX_ATOMS)
        check.distinct([atom.name for atom in atoms], "atoms", ".name")
    if "experts" in top:
        experts = check.sequence(top["experts"], "experts", check.text, 1, MAX_OPERATORS)
        check.distinct(experts, "experts", "")
    if "operators" in top:
        names = dict.fromkeys(atom.name for atom in atoms)
        operator = partial(_operator, check, names, experts, num_actions)
        operators = check.sequence(top["operators"], "operators", operator, 1, MAX_OPERATORS)
        check.distinct([o.id for o in operators], "operators", ".id")
        check.distinct([o.name for o in operators], "operators", ".name")
        used = {o.expert for o in operators}
        for index, expert in enumerate(experts):
            if expert and expert not in used:
                check.fault(f"experts[{index}]", f'expert "{expert}" has no operator')
    return Hypergraph(name, version, num_actions, tuple(atoms), tuple(experts), tuple(operators))


def _atom(check: Checker, value: Any, place: str) -> Atom:
    entry = check.mapping(value, place, required=("name",), optional=("rare", "formula"))
    name = check.text(entry["name"], join(place, "name")) if "name" in entry else ""
    if name and not _ATOM_NAME.fullmatch(name):
        check.fault(
            join(place, "name"), f'"{name[:60]}" must be letters, digits and _, and not begin with a digit'
        )
    rare = entry.get("rare", False)
    if not isinstance(rare, bool):
        check.fault(join(place, "rare"), f"must be true or false, got {describe(rare)}")
    formula = check.text(entry.get("formula", ""), join(place, "formula"), empty=True)
    return Atom(name, rare is True, formula)


def _operator(
    check: Checker, atoms: Mapping[str, Any], experts: list[str], num_actions: int, value: Any, place: str
) -> Operator:
    required = ("id", "name", "expert", "preconditions", "actions")
    entry = check.mapping(value, place, required=required, optional=("scene", "effects", "target"))

    def text(key: str, empty: bool = False) -> str:
        return check.text(entry[key], join(place, key), empty) if key in entry else ""

    def literals(key: str, least: int) -> tuple[Literal, ...]:
        return _literals(check, atoms, entry[key], join(place, key), least) if key in entry else ()

    operator = Operator(
        id=text("id"),
        name=text("name"),
        expert=text("expert"),
        preconditions=literals("preconditions", 1),
        scene=literals("scene", 0),
        effects=literals("effects", 0),
        actions=_actions(check, entry["actions"], join(place, "actions"), num_actions)
        if "actions" in entry
        else (),
        target=text("target", empty=True),
    )
    if operator.expert and operator.expert not in experts:
        hint = check.did_you_mean(operator.expert, experts) or f", the experts are {', '.join(experts)[:200]}"
        check.fault(join(place, "expert"), f'unknown expert "{operator.expert[:60]}"{hint}')
    if len(operator.preconditions) + len(operator.scene) > MAX_CONDITIONS:
        check.fault(place, f"more than {MAX_CONDITIONS} preconditions and scene literals together")
    gates = {literal.atom for literal in operator.preconditions}
    for index, literal in enumerate(operator.scene):
        if literal.atom and literal.atom in gates:
            check.fault(f"{place}.scene[{index}]", f'atom "{literal.atom}" is a precondition already')
    return operator


def _actions(check: Checker, value: Any, place: str, num_actions: int) -> tuple[int, ...]:
    def action(item: Any, where: str) -> int:
        return check.integer(item, where, 0, (num_actions if num_actions > 0 else MAX_ACTIONS) - 1)

    actions = check.sequence(value, place, action, 1, MAX_ACTIONS)
    check.distinct([str(number) if number >= 0 else "" for number in actions], place, "")
    return tuple(actions)


def _literals(
    check: Checker, atoms: Mapping[str, Any], value: Any, place: str, least: int
) -> tuple[Literal, ...]:
    def literal(item: Any, where: str) -> Literal:
        text = check.text(item, where)
        try:
            found = Literal.parse(text)
        except ValueError as error:
            if text:
                check.fault(where, str(error))
            return Literal("", positive=True)
        if found.atom not in atoms:
            check.fault(where, f'unknown atom "{found.atom}"{check.did_you_mean(found.atom, atoms)}')
        return found

    literals = check.sequence(value, place, literal, least, MAX_CONDITIONS)
    first: dict[str, Literal] = {}
    for index, found in enumerate(literals):
        earlier = first.get(found.atom)
        if earlier is not None:
            how = "contradicts" if earlier.positive != found.positive else "repeats"
            check.fault(f"{place}[{index}]", f'"{found}" {how} "{earlier}" in the same list')
        elif found.atom:
            first[found.atom] = found
    return tuple(literals)
