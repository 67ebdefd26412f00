"""Validates plain data against annotated dataclasses and collects every fault, not just the first."""

from __future__ import annotations

import dataclasses
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    Protocol,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    runtime_checkable,
)

from tedg.errors import ConfigError
from tedg.spelling import did_you_mean

T = TypeVar("T")

LARGEST_WHOLE = 2**53  # where floats begin to skip whole numbers
NO_SUCH_KEY = ": no such key"
SMALLEST_SINGLE, LARGEST_SINGLE = 2.0**-126, (2 - 2.0**-23) * 2.0**127  # of normal float32 numbers
LONGEST_LINE = 1000  # characters of a fault that are shown


@dataclass(slots=True)
class Faults:
    """What is wrong with a configuration: one line each, in the order found, none twice."""

    lines: dict[str, None] = field(default_factory=dict)
    count: int = 0  # with repetitions, so that a fault seen before still counts where it is found again
    importing: bool = True  # whether classes may be imported for what they say of their settings

    def report(self, line: str) -> None:
        """Add a line; line breaks in it are written out, and what is too long for anyone to read is cut."""
        line = "\\n".join(line.splitlines())
        if len(line) > LONGEST_LINE:
            line = f"{line[: LONGEST_LINE // 2]} ... {line[-LONGEST_LINE // 2 :]}"
        self.lines[line] = None
        self.count += 1

    def add(self, key: str, value: Any, right: str) -> None:
        """Report `key`, the `value` it has, and what would be right."""
        self.report(f"{key}={show(value)}: {right}")

    def unknown(self, key: str, known: Iterable[str], written: str | None = None) -> None:
        """Report a key that does not exist (as `written`, with its value), and the nearest one that does."""
        self.report(f"{written or key}{NO_SUCH_KEY}{did_you_mean(key, known)}")

    def take(self, other: Faults) -> None:
        """Add the lines of another one."""
        for line in other.lines:
            self.report(line)

    def explain(self, fault: str, line: str) -> None:
        """Put `line` where a line is that begins with `fault`, if one does."""
        self.lines = dict.fromkeys(line if known.startswith(fault) else known for known in self.lines)

    def raise_if_any(self) -> None:
        """Raise one ConfigError with all faults."""
        if self.lines:
            number = len(self.lines)
            head = f"{number} fault{'s' if number > 1 else ''} in the configuration; nothing was started:"
            raise ConfigError("\n  ".join([head, *self.lines]))


class Rule(Protocol):
    """Metadata of an `Annotated` type that validates a value, and may replace it by its proper form."""

    def validate(self, value: Any, key: str, faults: Faults) -> Any:
        """The value to use; faults are added under `key`."""
        ...


@runtime_checkable
class Validated(Protocol):
    """A schema whose keys depend on each other."""

    def validate(self, key: str, faults: Faults) -> None:
        """Adds faults under the dotted `key`."""
        ...


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`; `above` and `below` exclude the border itself.

    `single`: the number is used in float32, so it has to be inside there too, and may not become 0.
    """

    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    single: bool = False

    def validate(self, value: Any, key: str, faults: Faults) -> Any:
        """Every number of a single value or a tuple has to lie inside."""
        for number in value if isinstance(value, tuple) else (value,):
            if not self._holds(number):
                faults.add(key, value, f"must be {self}")
                break
            if self.single and not ((rounded := _float32(number)) is not None and self._holds(rounded)):
                size = f"{SMALLEST_SINGLE:.3g} to {LARGEST_SINGLE:.3g}"
                faults.add(key, value, f"must be {self} in float32 too, which networks use ({size})")
                break
        return value

    def _holds(self, number: float) -> bool:
        return (
            (self.low is None or number >= self.low)
            and (self.high is None or number <= self.high)
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
        )

    def __str__(self) -> str:
        named = [("at least", self.low), ("above", self.above), ("at most", self.high), ("below", self.below)]
        return " and ".join(f"{word} {exact(border)}" for word, border in named if border is not None)


def _float32(number: float) -> float | None:
    """The number as float32 has it; None where that is infinite, or 0 though the number is not."""
    if number and not SMALLEST_SINGLE <= abs(number) <= LARGEST_SINGLE:
        return None
    rounded: float = struct.unpack("f", struct.pack("f", number))[0]
    return rounded


def read(
    schema: type[T], node: Any, key: str, faults: Faults, earlier: tuple[Mapping[str, Any], T] | None = None
) -> T | None:
    """`node` as an instance of the dataclass `schema`, or None after adding faults under the dotted `key`.

    A whole number is taken for a float, and a float without a fraction for a whole number, so that equal
    settings become equal values however they were written. What several keys must fulfil together is up to
    the schema's own `validate(key, faults)`. A field with a default may be left out. `earlier` is another
    node with what was read from it: values that both nodes share are not read again.
    """
    if not isinstance(node, Mapping):
        faults.add(key, node, f"must be a group of keys: {', '.join(_hints(schema))}")
        return None
    before = faults.count
    hints = _hints(schema)
    known = [_join(key, name) for name in hints]
    for name in node:
        if name not in hints:
            place = _join(key, str(name))
            faults.unknown(place, known, f"{place}={show(node[name])}")
    values = {}
    optional = {field.name for field in dataclasses.fields(schema) if _has_default(field)}  # type: ignore[arg-type]
    for name, hint in hints.items():
        if earlier is not None and name in node and node[name] is earlier[0].get(name, earlier):
            values[name] = getattr(earlier[1], name)
        elif name in node:
            values[name] = convert(hint, node[name], _join(key, name), faults)
        elif name not in optional:
            faults.report(f"{_join(key, name)}: is missing")
    if faults.count > before:
        return None
    made = schema(**values)
    if isinstance(made, Validated):
        made.validate(key, faults)
    return made if faults.count == before else None


def convert(hint: Any, value: Any, key: str, faults: Faults) -> Any:
    """`value` in the form that the type `hint` asks for; faults are added under `key`."""
    origin = get_origin(hint)
    if origin is Annotated:
        inner, *rules = get_args(hint)
        before = faults.count
        value = convert(inner, value, key, faults)
        for rule in rules:
            if faults.count == before:
                value = rule.validate(value, key, faults)
        return value
    if origin in (Union, UnionType):
        return _union(get_args(hint), value, key, faults)
    if origin is Literal:
        if value not in get_args(hint):
            options = [str(option) for option in get_args(hint)]
            faults.add(key, value, f"must be one of {', '.join(options)}{did_you_mean(str(value), options)}")
        return value
    if origin in (tuple, list, Sequence):
        return _sequence(hint, value, key, faults)
    if dataclasses.is_dataclass(hint):
        return read(hint, value, key, faults)  # type: ignore[arg-type]
    return _scalar(hint, value, key, faults)


def words(hint: Any) -> Iterator[str]:
    """Every text that a type, or one inside it, names as a `Literal`."""
    if get_origin(hint) is Literal:
        yield from (option for option in get_args(hint) if isinstance(option, str))
    # A rule of an Annotated type may be an instance of a dataclass, and names nothing.
    elif isinstance(hint, type) and dataclasses.is_dataclass(hint):
        for inner in _hints(hint).values():
            yield from words(inner)
    else:
        for inner in get_args(hint):
            yield from words(inner)


def exact(number: float) -> str:
    """A limit with all its digits: `0.5`, `100`, `2**30 = 1073741824`."""
    if number != int(number):
        return repr(number)
    whole = int(number)
    power = whole.bit_length() - 1
    return f"2**{power} = {whole}" if power >= 20 and whole == 2**power else str(whole)


def written_as_fractions(node: Mapping[str, Any], config: Any) -> dict[str, int]:
    """{dotted key: whole number} of the values of `node` that are fractions there and whole in `config`.

    `config` is the dataclass, or mapping, that `node` was read as.
    """
    found: dict[str, int] = {}
    for name, value in node.items():
        known = config[name] if isinstance(config, Mapping) else getattr(config, name)
        if isinstance(value, Mapping) and known is not None:
            inner = written_as_fractions(value, known)
            found |= {f"{name}.{key}": number for key, number in inner.items()}
        elif isinstance(value, float) and isinstance(known, int):
            found[name] = known
    return found


def show(value: Any) -> str:
    """A value as a user would write it."""
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)


def _scalar(hint: Any, value: Any, key: str, faults: Faults) -> Any:
    if hint is bool and not isinstance(value, bool):
        faults.add(key, value, f"must be true or false{_as_text(key, value)}")
    elif hint is str and not isinstance(value, str):
        faults.add(key, value, "must be text")
    elif hint in (int, float):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        # NaN and infinity are not within any limit.
        if not number or not abs(value) <= sys.float_info.max or (hint is int and value != int(value)):
            faults.add(
                key, value, f"must be a {'whole ' if hint is int else 'finite '}number{_as_text(key, value)}"
            )
        elif hint is int and abs(value) > LARGEST_WHOLE:
            faults.add(key, value, f"must be at most 2**53 = {LARGEST_WHOLE}")
        else:
            return hint(value)
    elif hint is dict and not isinstance(value, Mapping):
        faults.add(key, value, "must be a group of keys")
    return value


def _as_text(key: str, value: Any) -> str:
    """What to say of text that would be right as what it reads like."""
    if not isinstance(value, str):
        return ""
    try:
        float(value)
    except ValueError:
        if value.lower() not in ("true", "false", "null") and value[:1] not in ("[", "{"):
            return ""
    number = f'{key}="${{oc.decode:${{oc.env:NAME}}}}"'
    return f"; this is text: leave out its quotes, or where it is from the environment write '{number}'"


def _union(hints: tuple[Any, ...], value: Any, key: str, faults: Faults) -> Any:
    """The value under the first of the types that it fits; the faults are those under the first of all."""
    if value is None and NoneType in hints:
        return None
    first, *others = [hint for hint in hints if hint is not NoneType]
    for hint in (first, *others):
        found = Faults()
        converted = convert(hint, value, key, found)
        if not found.lines:
            return converted
    return convert(first, value, key, faults)


def _sequence(hint: Any, value: Any, key: str, faults: Faults) -> Any:
    inner = get_args(hint)
    length = len(inner) if get_origin(hint) is tuple and inner[-1] is not ... else None
    if not isinstance(value, list | tuple) or (length is not None and len(value) != length):
        faults.add(
            key,
            value,
            f"must be a list of {'' if length is None else f'{length} '}values: [a, b]{_as_text(key, value)}",
        )
        return value
    each = inner if length is not None else [inner[0]] * len(value)
    return tuple(
        convert(hint, item, f"{key}[{i}]", faults)
        for i, (hint, item) in enumerate(zip(each, value, strict=True))
    )


def _has_default(field: Any) -> bool:
    missing = dataclasses.MISSING
    return field.default is not missing or field.default_factory is not missing


def _hints(schema: Any) -> dict[str, Any]:
    return _read_hints(schema)


@lru_cache(maxsize=256)
def _read_hints(schema: Any) -> dict[str, Any]:
    return get_type_hints(schema, include_extras=True)


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name
