"""Measures tedg beside Stable-Baselines3 and Sample Factory: the same work, one machine, alternating runs."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from comparison import Comparison, tables
from contestants import COMPARED, CONTESTANTS, Contestant
from peer_env import PeerError, interpreter
from rich.console import Console
from work import CYCLE_STEPS, GRADIENT_STEPS, WARM_UP_CYCLES, Timing

from tedg import streams
from tedg.run.provenance import session

FOLDER = Path(__file__).resolve().parent
REPOSITORY = FOLDER.parent
SHOWN_LINES = 30  # of a failed run's output


def main(argv: Sequence[str] | None = None) -> int:
    """Run every contestant in every round and show the figures; returns the exit code."""
    arguments = parse(argv)
    # A run is in a session of its own, so it must be ended whenever this process is.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console()
    names: list[str] = arguments.only
    try:
        timings = run_all(names, arguments, console)
    except PeerError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    peers = [name for name in names if CONTESTANTS[name].peer]
    speeds = {name: [timing.steps_per_second for timing in runs] for name, runs in timings.items()}
    comparison = Comparison.of(speeds, peers)
    console.print(tables(comparison, {name: CONTESTANTS[name].title for name in names}))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report(timings, comparison), indent=2) + "\n")
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=_positive, default=3, help="runs of each contestant (default 3)")
    parser.add_argument(
        "--steps",
        type=_positive,
        default=16 * CYCLE_STEPS,
        help="env steps timed per run, after the warm-up; the default is the least that holds"
        " an episode of every game of every contestant (default %(default)s)",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=CONTESTANTS,
        default=list(COMPARED),
        metavar="NAME",
        help=f"some of {', '.join(CONTESTANTS)} (default the first {len(COMPARED)})",
    )
    parser.add_argument(
        "--env",
        type=Path,
        default=REPOSITORY / ".venv-peers",
        metavar="DIR",
        help="virtual environment of the peers, made if missing (default %(default)s)",
    )
    parser.add_argument(
        "--timeout", type=_positive, default=600, help="most seconds of one run (default 600)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write all figures")
    return parser.parse_args(argv)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be positive")
    return number


def run_all(names: Sequence[str], arguments: argparse.Namespace, console: Console) -> dict[str, list[Timing]]:
    """Timings by contestant, one per round: A B C A B C ..., so that a busy machine disturbs all alike."""
    timings: dict[str, list[Timing]] = defaultdict(list)
    pythons = {False: Path(sys.executable)}
    if any(CONTESTANTS[name].peer for name in names):
        pythons[True] = interpreter(arguments.env.absolute())
    for number in range(arguments.rounds):
        for name in names:
            contestant = CONTESTANTS[name]
            timing = run_once(contestant, pythons[contestant.peer], arguments.steps, arguments.timeout)
            timings[name].append(timing)
            speed = f"{timing.steps_per_second:,.0f} steps/s"
            console.print(f"round {number + 1} of {arguments.rounds}: {contestant.title}: {speed}")
    return timings


def run_once(contestant: Contestant, python: Path, steps: int, timeout: int) -> Timing:
    """One run in processes of its own. Raises PeerError with the end of its output if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        result, log = Path(folder) / "result.json", Path(folder) / "log"
        command = [str(python), str(FOLDER / contestant.script), *contestant.arguments]
        command += ["--steps", str(steps), "--result", str(result)]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        with log.open("w") as output:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code: int | None = process.wait(timeout)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                _end(process)
        if code == 0:
            try:
                return Timing.read(result)
            except RuntimeError as error:
                raise PeerError(f"{contestant.title}: {error}") from error
        why = f"was not done after {timeout} s" if code is None else f"ended with exit code {code}"
        lines = log.read_text(errors="replace").splitlines()[-SHOWN_LINES:]
        raise PeerError("\n".join([f"{contestant.title} {why}; its last lines:", *lines]))


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what the run may have left: the processes that it started are in its session."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def report(timings: dict[str, list[Timing]], comparison: Comparison) -> dict[str, Any]:
    """All figures, and what they were measured on."""
    return {
        "machine": session("cpu", len(os.sched_getaffinity(0))),
        "work": {
            "cycle_steps": CYCLE_STEPS,
            "gradient_steps_per_cycle": GRADIENT_STEPS,
            "warm_up_cycles": WARM_UP_CYCLES,
        },
        **comparison.as_dict(),
        "runs": {
            name: [{**asdict(timing), "steps_per_second": timing.steps_per_second} for timing in runs]
            for name, runs in timings.items()
        },
    }


if __name__ == "__main__":
    streams.secure()  # hours of measuring do not end because nobody reads along
    sys.exit(main())
