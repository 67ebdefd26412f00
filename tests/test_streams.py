"""What a command prints goes where it can, and is lost without a word where it cannot."""

from __future__ import annotations

import fcntl
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tedg import streams

REPOSITORY = Path(__file__).resolve().parent.parent


def full_pipe():
    """The end of a pipe that nobody reads and that waits for nobody, and the end to keep open."""
    kept, number = os.pipe()
    os.set_blocking(number, False)
    fcntl.fcntl(number, fcntl.F_SETPIPE_SZ, 4096)
    os.write(number, bytes(4096))
    return number, kept


def left_pipe():
    kept, number = os.pipe()
    os.close(kept)
    return (number,)


def full_disk():
    return (os.open("/dev/full", os.O_WRONLY),)


def read_only():
    return (os.open(os.devnull, os.O_RDONLY),)


def closed():
    number = os.dup(2)
    os.close(number)
    return (number,)


@pytest.mark.parametrize("make", [full_pipe, left_pipe, full_disk, read_only, closed])
@pytest.mark.parametrize("unbuffered", [False, True])
def test_nothing_that_is_printed_fails(make, unbuffered):
    number, *others = make()
    like = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=unbuffered)
    stream = streams.lenient(number, like)
    for text in ("a", "b" * 100_000, "\n"):
        print(text, file=stream, flush=True)
    stream.close()  # does not close the number
    for one in (number, *others) if make is not closed else ():
        os.close(one)


@pytest.mark.parametrize("unbuffered", [False, True])
def test_what_can_be_written_is_written(tmp_path, unbuffered):
    with (tmp_path / "out").open("wb") as file:
        like = io.TextIOWrapper(file, encoding="latin-1", write_through=unbuffered)
        stream = streams.lenient(file.fileno(), like)
        print("é → \udc80", file=stream, flush=True)
        assert (tmp_path / "out").read_bytes() == "é \\u2192 \\udc80\n".encode("latin-1")


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path):
    program = f"""
import os, sys
for number in (0, 1, 2): os.close(number)
from tedg import streams
streams.secure()
file = open({str(tmp_path / "file")!r}, "w")
print("to nobody"); print("to nobody", file=sys.stderr)
os.system("echo to nobody; echo to nobody >&2")
file.write(str(file.fileno() > 2))
"""
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True, timeout=60)
    assert (tmp_path / "file").read_text() == "True"


@pytest.mark.more_than_first(3)
@pytest.mark.parametrize("where", [">/dev/full 2>/dev/full", ">&- 2>&-", "2>&1 | true"])
@pytest.mark.parametrize(
    "arguments",
    ["tedg.smoke --help", "tedg.train --hydra-help", "tedg.bench --rounds=0", "tedg.hypergraph.convert"],
)
def test_the_exit_code_of_a_command_is_its_own(arguments, where):
    line = f"{sys.executable} -m {arguments} {where}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0 if "help" in arguments else 2, "", "")
