"""What the machine has: cores, memory, room on disks, folders that can be written, SLURM."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tedg.doctor.line import Line, Verdict
from tedg.files import unwritable
from tedg.processes import free_memory
from tedg.slurm import COMMANDS

GIB = 2**30
LEAST_MEMORY, GOOD_MEMORY = 1 * GIB, 4 * GIB
LEAST_ROOM, GOOD_ROOM = 1 * GIB, 10 * GIB
GOOD_SHARED = 64 * 2**20  # bytes; what containers give unasked
RESULTS = ("outputs", "multirun")
SHARED = Path("/dev/shm")
SLURM_SECONDS = 5


def lines() -> Iterator[Line]:
    """Cores, memory, folders, SLURM."""
    yield cores(len(os.sched_getaffinity(0)), os.getloadavg()[0])
    yield memory(free_memory())
    for name in RESULTS:
        yield folder(f"{name}/", Path(name))
    yield folder("temporary", Path(tempfile.gettempdir()))
    yield shared_memory(SHARED)
    yield slurm()


def cores(number: int, load: float) -> Line:
    """Cores that this process may use, and how many processes want them."""
    said = f"{number} for this process, load {load:.1f}"
    if load > number + 1:
        return Line("warn", "cores", said, "other processes use them too: training is slower until they end")
    return Line("ok", "cores", said)


def memory(free: int) -> Line:
    """Memory that new processes can have."""
    remedy = "end other processes, or train with preset=small, env.num_envs=16 and env.num_workers=0"
    return _enough("memory", free, "free", (LEAST_MEMORY, GOOD_MEMORY), remedy)


def folder(name: str, path: Path) -> Line:
    """Whether a folder can be written, or made, and the room on its disk."""
    if (fault := unwritable(path)) is not None:
        choose = "set TMPDIR to another one" if name == "temporary" else "or name it: paths.output_dir=..."
        return Line("bad", name, fault.partition(";")[0], f"make it writable, {choose}")
    place = path.absolute()
    while not place.exists():
        place = place.parent
    remedy = "make room: python -m tedg.study prune removes checkpoints of runs that have ended"
    if name == "temporary":
        remedy = "make room, or set TMPDIR to another folder"
    return _enough(name, shutil.disk_usage(place).free, "free, writable", (LEAST_ROOM, GOOD_ROOM), remedy)


def shared_memory(path: Path) -> Line:
    """/dev/shm, which tedg itself does not need: its processes share memory without a name."""
    remedy = "docker run --shm-size=1g; tedg does without, but libraries beside it may not"
    if (fault := unwritable(path)) is not None:
        return Line("warn", str(path), fault.partition(";")[0], remedy)
    size = shutil.disk_usage(path).free
    return Line("ok" if size > GOOD_SHARED else "warn", str(path), _gib(size, "free"), remedy)


def slurm() -> Line:
    """Whether hydra/launcher=slurm could submit jobs from here."""
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if len(missing) == len(COMMANDS):
        return Line("ok", "SLURM", "none here; only hydra/launcher=slurm needs it")
    remedy = "use another login node, or train with hydra/launcher=local"
    if missing:
        return Line("warn", "SLURM", f"there is no {', '.join(missing)}", remedy)
    try:
        subprocess.run(
            ["squeue", "--noheader", f"--user={os.getuid()}"],
            capture_output=True,
            text=True,
            timeout=SLURM_SECONDS,
            check=True,
        )
    except subprocess.TimeoutExpired:
        return Line("warn", "SLURM", f"squeue gave no answer for {SLURM_SECONDS} s", remedy)
    except (OSError, subprocess.CalledProcessError) as error:
        said = str(getattr(error, "stderr", None) or error).strip().partition("\n")[0]
        return Line("warn", "SLURM", f"squeue fails: {said.removeprefix('squeue: error: ')}", remedy)
    return Line("ok", "SLURM", f"{', '.join(COMMANDS)}; squeue answers")


def _enough(name: str, free: int, what: str, limits: tuple[int, int], remedy: str) -> Line:
    least, good = limits
    verdict: Verdict = "bad" if free < least else "warn" if free < good else "ok"
    said = _gib(free, what)
    return Line(verdict, name, said, remedy if verdict != "ok" else "")


def _gib(size: int, what: str) -> str:
    return f"{size / GIB:,.1f} GiB {what}"
