"""What the schemas of a configuration say, in words: what a type allows, and the comments of fields."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import textwrap
import tokenize
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from tedg.config.typed import Range, show
from tedg.files import SLUG_RULE

_ONE = {int: "whole number", float: "number", str: "text", bool: "`true`, `false`", Any: "anything"}
_MANY = {int: "whole numbers", float: "numbers", str: "texts"}


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a schema: its type, its default as a user would write it, and the comment beside it."""

    hint: Any
    default: str
    comment: str


def fields_of(schema: Any) -> dict[str, Field]:
    """The fields of a dataclass, those that it inherits first."""
    comments = {}
    for base in reversed(schema.__mro__):
        comments |= _comments(base) if dataclasses.is_dataclass(base) else {}
    hints = get_type_hints(schema, include_extras=True)
    return {
        one.name: Field(hints[one.name], _default(one), comments.get(one.name, ""))
        for one in dataclasses.fields(schema)
    }


def allowed(hint: Any) -> str:
    """The values of a type, in words."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        rules = [_rule(rule) for rule in inner[1:]]
        plain = allowed(inner[0])
        if inner[0] is int or inner[0] is float or plain.startswith(("list", "pair")):
            return ", ".join([plain, *rules])
        return rules[0]
    if origin in (Union, UnionType):
        kinds = [allowed(one) for one in inner if one is not NoneType]
        return ", or ".join([*kinds, *(["`null`"] if NoneType in inner else [])])
    if origin is Literal:
        return "`null`" if inner == (None,) else ", ".join(f"`{one}`" for one in inner)
    if origin in (tuple, list):
        one = inner[0]
        if inner[-1] is not Ellipsis and origin is tuple:
            return f"{'pair' if len(inner) == 2 else len(inner)} of {_several(one)}"
        return f"list of {_several(one)}"
    if origin is dict or hint is dict or dataclasses.is_dataclass(hint):
        return "keys"
    return _ONE[hint]


def _several(hint: Any) -> str:
    if get_origin(hint) is Annotated:
        inner, *rules = get_args(hint)
        return ", ".join([_several(inner), *(_rule(rule) for rule in rules)])
    return _MANY.get(hint) or allowed(hint).replace("pair of", "pairs of")


def _rule(rule: Any) -> str:
    """A rule of an Annotated type, in words."""
    if isinstance(rule, Range):
        return str(rule)
    known = {
        "Slug": SLUG_RULE.removeprefix("must be "),
        "Device": "`auto`, `cpu`, `cuda`",
        "Slot": "a part: `_target_` and its keys",
        "PairPerStage": "a pair for each stage",
        "Phases": "stages by their names",
    }
    return known[type(rule).__name__]


def _default(one: Any) -> str:
    if one.default_factory is not dataclasses.MISSING:
        return "[]" if one.default_factory is list else "{}"
    return "" if one.default is dataclasses.MISSING else show(one.default)


def _comments(schema: type[Any]) -> dict[str, str]:
    """Comments beside the fields in the source of a dataclass."""
    try:
        source = textwrap.dedent(inspect.getsource(schema))
    except (OSError, TypeError):
        return {}  # made by make_dataclass
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
    alone = {n for n, line in enumerate(source.splitlines(), 1) if line.lstrip().startswith("#")}
    (tree,) = ast.parse(source).body
    found = {}
    for node in getattr(tree, "body", ()):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            numbers = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            told = [lines[n] for n in numbers if n in lines and not lines[n].startswith("type:")]
            above = node.lineno - 1
            if not told and above in alone:
                told = [lines[above].rstrip(".")]
            found[node.target.id] = " ".join(told)
    return found
