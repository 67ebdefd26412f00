"""Kills training runs with SIGKILL at random moments, and checks what the runs that go on end with.

    python tests/kill_loop.py --kills 100

One run is trained without a stop. Then the same run is begun elsewhere, killed, and started again until it
is finished, and so on until there were enough kills. About half of the kills come at a moment drawn evenly
from the length of a run; the other half wait until a checkpoint is being written. Checked are:

- every start after a kill goes on from a checkpoint, and no update is lost but those since the last one due;
- no process of a killed run is left, and nothing of it in shared memory;
- a finished run's newest checkpoint, metrics.jsonl, episodes.csv and games.csv are byte-equal to those of the
  run without a stop, and its result.json is equal.

It prints a line per kill and a summary, and ends with exit code 1 if anything was otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.settings import LONG_ENOUGH_TO_STOP

REPOSITORY = Path(__file__).resolve().parent.parent
GONE_SECONDS = 30  # for the processes of a killed run to end


class Wrong(Exception):
    """A promise was not kept."""


class Runs:
    """One configuration, started again and again in one place."""

    def __init__(self, root: Path, environment: str, fork: bool) -> None:
        self.root, self.fork = root, fork
        self.overrides = list(LONG_ENOUGH_TO_STOP[environment])

    def start(self, place: str) -> int:
        """Begin or go on in `place`; returns the process."""
        arguments = [*self.overrides, f"paths.output_dir={self.root / place}"]
        output = (self.root / f"{place}.log").open("ab")
        pid = os.fork()
        if pid:
            output.close()
            return pid
        os.setsid()  # its processes can be told from all others
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        os.chdir(self.root)
        if not self.fork:
            os.environ["PYTHONPATH"] = str(REPOSITORY)
            os.execv(sys.executable, [sys.executable, "-m", "tedg.train", *arguments])
        sys.argv = ["train", *arguments]
        from tedg.train import run

        code = 70
        try:
            code = run()
        finally:
            sys.stdout.flush()
            os._exit(code)

    def directory(self, place: str) -> Path | None:
        """Where the run is, once it has begun."""
        found = [path.parent for path in (self.root / place).glob("*/config.yaml")]
        return found[0] if found else None

    def tail(self, place: str) -> str:
        """The end of what it said."""
        return (self.root / f"{place}.log").read_text()[-2000:]


def wait(pid: int, seconds: float = 600) -> int:
    """Exit code, or minus the signal; Wrong if it takes longer."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    raise Wrong(f"a run took longer than {seconds:.0f} s")


def left_of(session: int) -> list[int]:
    """Processes of a session that still live."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, number = path.read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(number) == session and state != "Z":
            found.append(int(path.parent.name))
    return found


def contents(run_dir: Path) -> dict[str, bytes]:
    """What must be equal, by file."""
    newest = max((run_dir / "checkpoints").glob("ckpt-" + "[0-9]" * 12))
    found = {path.name: path.read_bytes() for path in newest.iterdir()}
    result = json.loads((run_dir / "result.json").read_text())
    del result["warnings"]  # of the last session alone
    found["result.json"] = json.dumps(result, sort_keys=True).encode()
    tables = ("metrics.jsonl", "episodes.csv", "games.csv")
    return found | {name: (run_dir / name).read_bytes() for name in tables}


def updates(run_dir: Path) -> tuple[int, int]:
    """The last update that metrics.jsonl has, and that of the newest checkpoint; 0 without one."""
    metrics = run_dir / "metrics.jsonl"
    whole = metrics.read_bytes().split(b"\n")[:-1] if metrics.exists() else []
    saved = sorted((run_dir / "checkpoints").glob("ckpt-" + "[0-9]" * 12))
    return len(whole), int(saved[-1].name[5:]) if saved else 0


def unfinished(run_dir: Path | None) -> list[Path]:
    """Checkpoints that are being written, or were."""
    return [] if run_dir is None else list((run_dir / "checkpoints").glob("*.tmp-*"))


def kill_somewhere(runs: Runs, place: str, length: float, chance: random.Random) -> str | None:
    """Start or go on, and kill; where it was hit, or None if it finished before."""
    pid = runs.start(place)
    aimed = chance.random() < 0.5
    deadline = time.monotonic() + (length * 10 if aimed else chance.uniform(0, length))
    saves = chance.randint(1, 4)
    seen: set[str] = set()
    while time.monotonic() < deadline:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            code = os.waitstatus_to_exitcode(status)
            if code:
                raise Wrong(f"it ended with exit code {code}:\n{runs.tail(place)}")
            return None
        if aimed:
            seen |= {path.name for path in unfinished(runs.directory(place))}
            if len(seen) >= saves:
                time.sleep(chance.choice([0, 0, 0.001, 0.003, 0.01]))
                break
            time.sleep(0.0002)
        else:
            time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    end = time.monotonic() + GONE_SECONDS
    while (left := left_of(pid)) and time.monotonic() < end:
        time.sleep(0.05)
    if left:
        raise Wrong(f"processes {left} are left {GONE_SECONDS} s after the kill")
    run_dir = runs.directory(place)
    if run_dir is None:
        return "before it had begun"
    if unfinished(run_dir):
        return "in a checkpoint's writing"
    if not updates(run_dir)[0]:
        return "before the first update"
    return "in training or evaluation"


def compare(runs: Runs, place: str, expected: dict[str, bytes]) -> None:
    """Raises Wrong for any file that is not as it would be without a stop."""
    run_dir = runs.directory(place)
    assert run_dir is not None
    found = contents(run_dir)
    different = [name for name in expected if found.get(name) != expected[name]]
    if different or found.keys() != expected.keys():
        raise Wrong(f"{place}: {', '.join(different)} differ from the run without a stop")


@contextmanager
def working_directory(named: str | None) -> Iterator[Path]:
    """A folder for the runs, removed afterwards unless it was named."""
    root = Path(named or tempfile.mkdtemp(prefix="tedg-kills-")).absolute()
    root.mkdir(parents=True, exist_ok=True)
    yield root
    if named is None:
        shutil.rmtree(root)


def main() -> int:
    """Run the loop; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100, help="how many runs to kill (default 100)")
    parser.add_argument("--env", choices=LONG_ENOUGH_TO_STOP, default="nethack", help="what they play")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--fork", action="store_true", help="fork the runs: saves the imports of each start")
    parser.add_argument("--directory", help="for the runs, kept afterwards (default: a temporary one)")
    options = parser.parse_args()
    chance, where = random.Random(options.seed), Counter[str]()
    if options.fork:
        sys.path.insert(0, str(REPOSITORY))
        import tedg.learn.trainer
        import tedg.run.app
        import tedg.watch.console  # noqa: F401  so that no run has to
    with working_directory(options.directory) as root:
        runs = Runs(root, options.env, options.fork)
        shared = set(os.listdir("/dev/shm"))
        start = time.monotonic()
        if code := wait(runs.start("whole")):
            raise SystemExit(f"the run without a stop ended with exit code {code}:\n{runs.tail('whole')}")
        length = time.monotonic() - start
        whole = runs.directory("whole")
        assert whole is not None
        expected, total = contents(whole), updates(whole)[0]
        print(f"the run without a stop: {total} updates, {length:.1f} s", flush=True)
        every = int(next(o for o in runs.overrides if "every_updates" in o).partition("=")[2])
        place, finished, before = "run-0", 0, 0
        try:
            while sum(where.values()) < options.kills:
                hit = kill_somewhere(runs, place, length, chance)
                if hit is None:
                    compare(runs, place, expected)
                    finished, before = finished + 1, 0
                    place = f"run-{finished}"
                    continue
                where[hit] += 1
                run_dir = runs.directory(place)
                done, saved = (0, 0) if run_dir is None else updates(run_dir)
                print(f"kill {sum(where.values())}: {place}, {hit}, update {done}, saved {saved}", flush=True)
                if saved < before:
                    raise Wrong(f"{place}: the checkpoint of update {before} is gone")
                # The one due may be in the making.
                if done - saved > every:
                    raise Wrong(f"{place}: of {done} updates the newest checkpoint has {saved}")
                before = saved
            while code := wait(runs.start(place)):
                raise Wrong(f"{place} ended with exit code {code}:\n{runs.tail(place)}")
            compare(runs, place, expected)
            if left := set(os.listdir("/dev/shm")) - shared:
                raise Wrong(f"left in shared memory: {sorted(left)}")
        except Wrong as wrong:
            print(f"after {sum(where.values())} kills: {wrong}\nthe runs are in {root}", file=sys.stderr)
            return 1
    print(f"{sum(where.values())} kills, {finished + 1} runs finished, all byte-equal to the first")
    for hit, count in where.most_common():
        print(f"  {count:4} {hit}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
