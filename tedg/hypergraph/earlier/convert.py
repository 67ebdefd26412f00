"""What `python -m tedg.hypergraph.convert` does: the earlier project's graph as a hypergraph file of ours."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml
from rich.console import Console

from tedg import errors, scratch
from tedg.files import unwritable, write_json, write_text
from tedg.hypergraph.earlier.conversion import Conversion, convert_graph
from tedg.hypergraph.earlier.graph import EarlierGraphError, read_earlier_graph
from tedg.hypergraph.earlier.listing import report, tables
from tedg.hypergraph.schema import Hypergraph, HypergraphError, load_hypergraph
from tedg.inert import inert

try:
    from yaml import CSafeDumper as Dumper
except ImportError:  # PyYAML without libyaml: slower, same result
    from yaml import SafeDumper as Dumper  # type: ignore[assignment]

SHIPPED = "nethack"
PLAIN_WIDTH = 160  # columns where the output is no terminal

_ABOUT = """\
Convert the hypergraph of the earlier project into a hypergraph file for
env.hypergraph=PATH.

INPUT.json holds `nodes`, objects with id, label and type (condition, operator
or effect), and `edges`, lists [source id, target id, type] with the type
satisfies, context_of or leads_to. Labels are translated into our atoms, experts
and actions by fixed tables; what has no counterpart is left out. Everything
that was changed, merged or left out is listed, with the reason."""

_MORE = """\
example:
  python -m tedg.hypergraph.convert graph.json earlier.yaml --report new.json
  python -m tedg.train env.hypergraph=earlier.yaml

exit codes:
  0         done
  2         wrong usage or input (nothing was written)
  4         a file could not be written
  130, 143  stopped by Ctrl-C or SIGTERM"""


@dataclass(frozen=True, slots=True)
class Options:
    """What to read and where to write."""

    input: Path
    output: Path
    report: Path | None
    force: bool


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise errors.ConfigError(f"{message} (--help lists every flag)")


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Convert what the arguments name; returns the exit code (see `--help`)."""
    try:
        _convert(_read_flags(arguments))
    except errors.TedgError as error:
        print(inert(f"error: {error}"), file=sys.stderr)
        return error.exit_code
    return errors.DONE


def _read_flags(arguments: Sequence[str]) -> Options:
    parser = _Parser(
        prog="python -m tedg.hypergraph.convert",
        description=_ABOUT,
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("input", type=Path, metavar="INPUT.json", help="the earlier project's graph")
    parser.add_argument("output", type=Path, metavar="OUTPUT.yaml", help="the hypergraph file to write")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the report as JSON, too")
    parser.add_argument("--force", action="store_true", help="replace files that exist")
    flags = parser.parse_args(list(arguments))
    options = Options(flags.input, flags.output, flags.report, flags.force)
    _check_places(options)
    return options


def _check_places(options: Options) -> None:
    if options.output.suffix not in (".yaml", ".yml"):
        raise errors.ConfigError(f"{options.output}: the name of a hypergraph file ends in .yaml or .yml")
    places = {"INPUT.json": options.input, "OUTPUT.yaml": options.output, "--report": options.report}
    written: dict[Path, str] = {}
    for name, path in places.items():
        if path is None:
            continue
        if name != "INPUT.json" and (reason := _not_to_be_written(path, options.force)) is not None:
            raise errors.ConfigError(f"{name} {path}: {reason}")
        if (other := written.setdefault(_resolved(path), name)) != name:
            raise errors.ConfigError(f"{name} {path}: is the same file as {other}; name another one")


def _not_to_be_written(path: Path, force: bool) -> str | None:
    if path.is_dir():
        return "is a directory; name a file"
    if not path.absolute().parent.is_dir():
        return f"there is no directory {path.parent}"
    if (reason := unwritable(path.absolute().parent)) is not None:
        return reason
    if os.path.lexists(path) and not force:
        return "exists already; name another file, or replace it with --force"
    return None


def _resolved(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _convert(options: Options) -> None:
    try:
        graph = read_earlier_graph(options.input)
    except EarlierGraphError as error:
        raise errors.ConfigError(str(error)) from None
    shipped = load_hypergraph(SHIPPED)
    conversion = convert_graph(graph, shipped)
    account = {"input": str(options.input), "output": str(options.output), **report(conversion)}
    total, written = account["nodes"]["operator"]["total"], len(conversion.operators)
    if not written:
        raise errors.ConfigError(
            f"{options.input}: none of its {total:,} operators can be converted; an operator's label begins"
            " with a command such as move_, eat_ or attack_, and one of its conditions has an atom"
        )
    text = hypergraph_text(conversion, shipped)
    _check_text(options.input, text)
    write_text(options.output, text)
    if options.report is not None:
        write_json(options.report, account)
    terminal = Console() if sys.stdout.isatty() else Console(width=PLAIN_WIDTH)
    for table in tables(account, shipped):
        terminal.print(table)
    for line in _last_lines(options, account):
        print(inert(line))


def hypergraph_text(conversion: Conversion, shipped: Hypergraph) -> str:
    """The hypergraph file's text; atoms, experts and actions are those of `shipped`."""
    document: dict[str, Any] = {
        "version": f"{shipped.version}, converted",
        "num_actions": shipped.num_actions,
        "atoms": [
            {"name": atom.name, "rare": atom.rare, "formula": atom.formula} for atom in shipped.atom_table
        ],
        "experts": list(shipped.experts),
        "operators": [
            {
                "id": operator.id,
                "name": operator.name,
                "expert": operator.expert,
                "preconditions": [str(literal) for literal in operator.preconditions],
                "scene": [str(literal) for literal in operator.scene],
                "effects": [str(literal) for literal in operator.effects],
                "actions": list(operator.actions),
                "target": operator.target,
            }
            for operator in conversion.operators
        ],
    }
    head = "# Made by python -m tedg.hypergraph.convert. An operator's id is N and the number of its node.\n"
    body = yaml.dump(document, Dumper=Dumper, sort_keys=False, default_flow_style=None, width=110)
    return head + body


def _check_text(source: Path, text: str) -> None:
    """ConfigError where the result is beyond what a hypergraph file may hold."""
    with tempfile.TemporaryDirectory(dir=scratch.folder()) as directory:
        path = Path(directory) / "result.yaml"
        path.write_text(text)
        try:
            load_hypergraph(path)
        except HypergraphError as error:
            raise errors.ConfigError(f"{source}: cannot be converted as a whole: {error}") from None


def _last_lines(options: Options, account: dict[str, Any]) -> list[str]:
    operators = account["nodes"]["operator"]
    lines = [
        f"{account['operators_written']:,} operators from {operators['total']:,} "
        f"({operators['merged']:,} merged, {operators['dropped']:,} dropped), "
        f"{account['patterns']:,} on/off patterns of their conditions",
        f"written to {options.output}; use it with env.hypergraph={options.output}",
    ]
    if account["added"]:
        lines.append(
            "an expert without operators got one of the shipped hypergraph's: " + ", ".join(account["added"])
        )
    if options.report is not None:
        lines.append(f"the report is in {options.report}")
    return lines


if __name__ == "__main__":
    main()
