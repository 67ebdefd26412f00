"""`python -m tedg.train` as a real process that need not import anything: forked from one that has.

Importing takes five seconds, and tests of kills and signals start a hundred commands. What only a new
interpreter can show (signals while it imports, exit codes of its streams) is tested with one elsewhere.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
_SERVE = "from support.prepared import serve; serve()"


@cache
def _server(owner: int) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """A process that forks commands, and the way to it; one for each process of tests, gone with it."""
    ours, theirs = socket.socketpair()
    path = f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'tests'}"
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE],
        stdin=theirs,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
    )
    theirs.close()
    return ours, process


def _ask(question: dict[str, Any], files: list[int]) -> Any:
    server, _ = _server(os.getpid())
    content = json.dumps(question).encode()
    socket.send_fds(server, [len(content).to_bytes(4, "big")], files)
    server.sendall(content)
    return json.loads(server.recv(1000))


class Command(subprocess.Popen[str]):
    """As `subprocess.Popen` for a command of `python -m`; no other process than its server waits for it."""

    def _execute_child(self, args: list[str], *rest: Any) -> None:  # type: ignore[override]
        names = "executable preexec_fn close_fds pass_fds cwd env startupinfo creationflags shell p2cread"
        names += " p2cwrite c2pread c2pwrite errread errwrite restore_signals gid gids uid umask new_session"
        given = dict(zip(names.split(), rest, strict=False))
        assert args[1] == "-m"
        nothing = os.open(os.devnull, os.O_RDWR)
        files = [
            nothing if given[name] == -1 else given[name] for name in ("p2cread", "c2pwrite", "errwrite")
        ]
        question = {
            "args": args,
            "cwd": os.fspath(given["cwd"] or os.getcwd()),
            "env": dict(given["env"] or os.environ),
            "session": given["new_session"],
        }
        self.pid = _ask(question, files)
        self._child_created = True
        for file in {nothing, *(file for file in files if file > 2)}:
            os.close(file)

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        if self.returncode is None and (status := _ask({"wait": self.pid}, [])) is not None:
            self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        end = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            time.sleep(0.02)
        return self.returncode


def run(args: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run` with what is printed captured."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with Command(args, **pipes, **options) as command:
        try:
            out, err = command.communicate(timeout=200)
        except BaseException:
            command.kill()
            raise
    return subprocess.CompletedProcess(args, command.returncode, out, err)


def serve() -> None:
    """Fork commands, and tell their ends, until nobody asks any more."""
    from tedg.sweep.local import import_all

    import_all()
    asking = socket.socket(fileno=os.dup(0))
    while True:
        length, files, _, _ = socket.recv_fds(asking, 4, 3)
        if not length:
            return
        question = json.loads(asking.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL))
        if "wait" in question:
            ended, status = os.waitpid(question["wait"], os.WNOHANG)
            asking.sendall(json.dumps(status if ended else None).encode())
            continue
        pid = os.fork()
        if pid == 0:
            asking.close()
            _become(question, files)
        for file in files:
            os.close(file)
        asking.sendall(json.dumps(pid).encode())


def _become(question: dict[str, Any], files: list[int]) -> None:
    """What a new interpreter would be, and run the module."""
    from tedg import startup

    if question["session"]:
        os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.closerange(3, max([3, *files]) + 1)
    os.chdir(question["cwd"])
    os.environ.clear()
    os.environ.update(question["env"])
    places = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [question["cwd"], *filter(None, places), *sys.path]
    sys.orig_argv[:] = question["args"]
    sys.argv[:] = ["-m", *question["args"][3:]]
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    startup.begin_command(sys.argv, sys.orig_argv)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    code = 1
    try:
        runpy.run_module(question["args"][2], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        startup.leave(_ended(code))


def _ended(code: int) -> int:
    import atexit

    atexit._run_exitfuncs()  # as an interpreter does that ends
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return code
