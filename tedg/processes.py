"""Child processes: new interpreters that share a file with this one and obey it over a socket.

A new interpreter holds none of this process's locks or threads. It does not hear the signals that ask for
the end: they are for this process to handle. It ends when this process does, whatever that died of, because
it sees its socket closed.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from tedg import scratch, streams
from tedg.errors import FAILED, TedgError

CLOSE_SECONDS = 10
MESSAGE_BYTES = 1 << 16
FAILURE = 255  # first byte of an answer: the child could not go on, and says why


class WorkerError(TedgError):
    """Child processes died, hung or failed too often; the message says which, how, and doing what."""

    def __init__(self, message: str) -> None:
        super().__init__(message, FAILED)


class ChildFailure(Exception):
    """What became of a child, for its parent to tell: `manner` fits after the child's name."""

    def __init__(self, manner: str, details: str = "") -> None:
        super().__init__(manner, details)
        self.manner, self.details = manner, details


@dataclass(slots=True)
class Child:
    """A child process and the socket to it."""

    process: subprocess.Popen[bytes]
    channel: socket.socket

    def send(self, message: bytes) -> None:
        """Raises OSError when the child is gone; `receive` then tells what became of it."""
        self.channel.send(message)

    def receive(self, seconds: int) -> bytes:
        """The child's next answer. Raises ChildFailure if there is none within `seconds`."""
        # In short waits: while Ctrl-Z holds this process, its own sleep must not count as the child's.
        for _ in range(seconds):
            try:
                message = self.channel.recv(MESSAGE_BYTES)
            except TimeoutError:
                continue
            except ConnectionResetError:
                # Comes first where the child left commands unread; its last answer can still be read.
                continue
            if not message:
                raise ChildFailure(_manner_of_death(self.process))
            if message[0] == FAILURE:
                raise ChildFailure("failed", message[1:].decode(errors="replace"))
            return message
        raise ChildFailure(f"gave no answer for {seconds} s")


def free_memory() -> int:
    """Bytes that new processes can have without swapping, within the limits of a container."""
    found = [
        1024 * int(line.split()[1])
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith("MemAvailable")
    ]
    root = Path("/sys/fs/cgroup")
    for most, used in (
        (root / "memory.max", root / "memory.current"),
        (root / "memory/memory.limit_in_bytes", root / "memory/memory.usage_in_bytes"),
    ):
        try:
            found.append(int(most.read_text()) - int(used.read_text()))
        except (OSError, ValueError):  # another kind of container, or "max"
            continue
    return max(min(found, default=2**63), 0)


def launch(
    serve: Callable[[], None],
    make_setup: Callable[[int], Any],
    files: Sequence[int],
    environment: Mapping[str, str] | None = None,
) -> Child:
    """Start an interpreter that calls `serve`, a module's function, which begins with `attach`.

    `make_setup` makes what the child reads first, given the number of its socket; `files` stay open in it.
    `environment` adds variables to this process's own.
    """
    # A sequence of packets: a message arrives whole or not at all.
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    blocked = {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2}
    with theirs:
        folder = scratch.handle()
        content = pickle.dumps(folder) + pickle.dumps(make_setup(theirs.fileno()))
        inherited = [theirs.fileno(), *files, *(() if folder[1] is None else (folder[1],))]
        before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)  # children inherit the mask
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", f"from {serve.__module__} import {serve.__name__} as s; s()"],
                stdin=subprocess.PIPE,
                pass_fds=inherited,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
                    "OMP_NUM_THREADS": "1",
                    **(environment or {}),
                },
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    ours.settimeout(1.0)
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin:  # the first answer will tell
        process.stdin.write(content)
    return Child(process, ours)


def end(children: Sequence[Child]) -> None:
    """Close the sockets and wait for the processes; those that do not end by themselves are killed."""
    for child in children:
        child.channel.close()
    for child in children:
        try:
            child.process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()


def attach() -> Any:
    """In a child: what `make_setup` made."""
    streams.secure()
    scratch.adopt(pickle.load(sys.stdin.buffer))
    return pickle.load(sys.stdin.buffer)


@contextlib.contextmanager
def serving(number: int) -> Iterator[socket.socket]:
    """In a child: the socket; an error inside is told to the parent, and the child ends with code 1."""
    with socket.socket(fileno=number) as channel:
        try:
            yield channel
        except (BrokenPipeError, ConnectionResetError):
            pass  # the parent died meanwhile
        except Exception:
            text = traceback.format_exc().encode()
            with contextlib.suppress(OSError):
                channel.send(bytes([FAILURE]) + text[-MESSAGE_BYTES + 1 :])
            sys.exit(1)


def _manner_of_death(process: subprocess.Popen[bytes]) -> str:
    used = _reap(process)
    code = process.returncode
    if code is None:
        return "closed its socket"
    if code >= 0:
        return f"exited with code {code}"
    name = signal.Signals(-code).name
    reasons = {"SIGPROF": ["it used up the CPU time that it had"], "SIGKILL": ["was memory short?"]}
    memory = [f"it had used {used:,} MiB of memory at most"] if used is not None else []
    return f"was killed by {name} ({'; '.join([*reasons.get(name, []), *memory, f'code {code}'])})"


def _reap(process: subprocess.Popen[bytes]) -> int | None:
    """Wait for a process to end; returns the MiB that it had used at most, which Popen does not tell."""
    end = time.monotonic() + CLOSE_SECONDS
    while process.returncode is None and time.monotonic() < end:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return usage.ru_maxrss // 1024
        time.sleep(0.01)
    return None


def split(rows: slice, parts: int) -> tuple[slice, ...]:
    """`rows` cut into `parts` runs, as equal as can be; some are empty where there are too few rows."""
    count = rows.stop - rows.start
    bounds = [rows.start + count * part // parts for part in range(parts + 1)]
    return tuple(slice(first, end) for first, end in pairwise(bounds))
