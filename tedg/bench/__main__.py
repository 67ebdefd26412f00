"""`python -m tedg.bench`: measure speed and memory of the parts, of the whole, and against the limit."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from types import FrameType
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table

from tedg import errors
from tedg.bench import jobs, results
from tedg.bench.advise import advise
from tedg.bench.advise import document as advise_document
from tedg.bench.flags import Options, read_flags
from tedg.bench.plan import Measurement, in_turns, plan
from tedg.bench.printing import headline, tables
from tedg.bench.printing_advice import advice_lines
from tedg.bench.variants import Variant, find_variants
from tedg.files import write_json
from tedg.run.provenance import session

SCHEMA = 1  # of the JSON file
PLAIN_WIDTH = 160  # columns where the output is no terminal


def main() -> None:
    """Run the command line and exit with its code."""
    # As exceptions from here on, so that the measurement under way is ended too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _end)
    sys.exit(run(sys.argv[1:]))


def _end(signum: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(errors.TERMINATED)


def run(arguments: Sequence[str]) -> int:
    """Measure what the arguments ask for; returns the exit code (see `--help`)."""
    try:
        options = read_flags(arguments)
        return _advise(options) if options.advise else _measure(options)
    except errors.TedgError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except jobs.MeasurementError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return errors.INTERRUPTED


def _measure(options: Options) -> int:
    variants = find_variants(options.overrides)
    measurements = plan(options, variants)
    found = jobs.run(jobs.Job("arithmetic", "describe", {"configs": [one.config for one in variants]}))
    machine = {**session(found["device"], found["threads"]), **found}
    document = _document(options, variants, machine, measurements)
    _save(options, document)
    turns = list(in_turns(measurements, options.rounds))
    start = time.monotonic()
    for number, one in enumerate(turns, start=1):
        try:
            one.rounds.append(jobs.run(one.job))
            said = headline(one.rounds[-1])
        except jobs.MeasurementError as error:
            one.failures.append(str(error))
            said = f"failed: {error}"
        print(f"{number}/{len(turns)}  {time.monotonic() - start:.0f} s  {one}  {said}", flush=True)
        document = _document(options, variants, machine, measurements)
        _save(options, document)
    _print(tables(document))
    if document["failures"]:
        print(f"{len(document['failures'])} of {len(turns)} measurements failed", file=sys.stderr)
    return 1 if document["failures"] else errors.DONE


def _advise(options: Options) -> int:
    found = advise(options)
    if options.json is not None:
        write_json(options.json, {"schema": SCHEMA, **advise_document(options, found)})
    _print(advice_lines(found))
    return 1 if found.failures else errors.DONE


def _print(lines: Iterable[Table | str]) -> None:
    terminal = Console() if sys.stdout.isatty() else Console(width=PLAIN_WIDTH)
    for line in lines:
        terminal.print(line, markup=False, highlight=False)


def _document(
    options: Options,
    variants: Sequence[Variant],
    machine: Mapping[str, Any],
    measurements: Sequence[Measurement],
) -> dict[str, Any]:
    """Everything measured so far, as the JSON file has it."""
    parameters = machine["parameters"]
    return {
        "schema": SCHEMA,
        "machine": {name: value for name, value in machine.items() if name != "parameters"},
        "settings": {**asdict(options), "json": None if options.json is None else os.fspath(options.json)},
        "variants": [
            {"name": one.name, "overrides": one.overrides, "parameters": counts}
            for one, counts in zip(variants, parameters, strict=True)
        ],
        **results.parts(measurements),
        "failures": [
            {"part": one.part, **one.labels, "message": message}
            for one in measurements
            for message in one.failures
        ],
    }


def _save(options: Options, document: Mapping[str, Any]) -> None:
    if options.json is not None:
        write_json(options.json, document)


if __name__ == "__main__":
    main()
