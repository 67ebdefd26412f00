"""Commands in the documents: found, run in a copy of the checkout, or only looked at where they take long."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from numba.core.caching import _CacheLocator

ROOT = Path(__file__).parents[2]
LONG = "<!-- long -->"  # before a block: its commands are only looked at
_FENCED = re.compile(r"^```.*?^```\n", re.M | re.S)
_BLOCK = re.compile(rf"^({LONG}\n\n)?((?:    .*\n)+)", re.M)
_BEGINS = re.compile(r"(export |eval |[A-Z_]+=|\.venv/bin/|python |make )")
_SHOWN = re.compile(
    r"(\$ |>>> )?(export |eval |[A-Z_]+=\S+ |\S*bin/|python3? |make |pip |git |bash |tensorboard )"
)
_INLINE = re.compile(r"`((?:[A-Z_]+=\S+ )?(?:(?:\.venv/bin/)?python|make) [^`]+)`")
_FILE = re.compile(r"^`([\w/.]+)`:\n\n```\w+\n(.*?)^```", re.M | re.S)
_COMPOSE = """
from tedg.config.compose import compose_all
from tedg.config.hydra_api import flags_parser
from tedg.config.sources import Sources
flags = flags_parser().parse_intermixed_args()
compose_all(flags.overrides, flags.multirun, Sources.asked_for(flags))
"""


@dataclass(frozen=True, slots=True)
class Block:
    """Lines of commands that follow each other, and whether they take too long to be run."""

    lines: tuple[str, ...]
    long: bool


def blocks(text: str) -> Iterator[Block]:
    """The indented blocks of commands in a document, then the commands within sentences and tables."""
    text = _FENCED.sub("", text)
    for match in _BLOCK.finditer(text):
        lines = tuple(line.strip() for line in match[2].splitlines())
        if _BEGINS.match(lines[0]):
            yield Block(lines, match[1] is not None)
    yield from (Block((line,), True) for line in _INLINE.findall(_BLOCK.sub("", text)))


def overlooked(text: str) -> Iterator[str]:
    """Lines of a document, in fences or indented, that look like commands and are none of `blocks`."""
    found = {line for block in blocks(text) for line in block.lines}
    fenced = [line.strip() for fence in _FENCED.findall(text) for line in fence.splitlines()]
    indented = [line.strip() for line in _FENCED.sub("", text).splitlines() if line.startswith("    ")]
    yield from (line for line in [*fenced, *indented] if _SHOWN.match(line) and line not in found)


class Checkout:
    """A folder in which a document's commands are tried, with every file that it shows whole.

    The checkout is linked into it, and copied where the document adds to it.
    """

    def __init__(self, folder: Path, text: str = "") -> None:
        self.folder = folder
        files = _FILE.findall(text)
        adds = any(name.startswith(("tedg/", "conf/")) for name, _ in files)
        rooms = ("conf", "hydra_plugins", "tests", "benchmarks", "experiments", "tools")
        for name in (*rooms, *(["tedg"] if adds else [])):
            if adds and name != "experiments":  # which is only read
                shutil.copytree(ROOT / name, folder / name)
                _move_kernels(folder / name)
            else:
                (folder / name).symlink_to(ROOT / name)
        for name in ("Makefile", "pyproject.toml", "requirements.lock", "requirements-docs.lock"):
            shutil.copy2(ROOT / name, folder / name)
        self.environment = {**os.environ, "PYTHONPATH": str(folder if adds else ROOT)}
        for name, content in files:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    def try_block(self, block: Block) -> None:
        """Run the commands of a block, or look at each; AssertionError with what it said where one fails."""
        if not block.long:
            self._run(
                [
                    "bash",
                    "-ec",
                    "\n".join(block.lines).replace(".venv/bin/", f"{Path(sys.executable).parent}/"),
                ]
            )
            return
        for line in block.lines:
            self.look_at(line)

    def look_at(self, line: str) -> None:
        """A run's configuration composes, tests are found, a make target and the flags of a script exist."""
        words = shlex.split(re.sub(r"<[^>]*>", "x", line), comments=True)
        words = [word for word in words if word != "&"]
        while words and (words[0] == "export" or re.match(r"[A-Z_]+=", words[0])):
            name, _, value = words.pop(0).partition("=")
            self.environment |= {name: value} if value else {}
        if words[:1] == ["make"]:
            self._run(["make", "-n", *words[1:]])
            return
        if not words or words == ["wait"]:
            return
        assert words.pop(0).removeprefix(".venv/bin/") == "python", f"what is this? {line}"
        if words[:2] == ["-m", "tedg.train"]:
            if "--help" not in words:
                self._python("-c", _COMPOSE, *words[2:])
        elif words[:2] == ["-m", "pytest"]:
            self._python(*words, "--collect-only", "-q", "-p", "no:cacheprovider")
        else:
            count = 2 if words[0] == "-m" else 1
            known = self._python(*words[:count], "--help")
            for flag in (word for word in words[count:] if word.startswith("--")):
                assert flag in known, f"there is no {flag}: {line}"

    def _python(self, *arguments: str) -> str:
        return self._run([sys.executable, *arguments])

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout


def _move_kernels(copied: Path) -> None:
    """Let numba find the copies of its compiled functions, which it keeps by the place of their sources."""
    for kept in [*copied.glob("*/__pycache__/kernels-*/*_*")]:
        place = _CacheLocator.get_suitable_cache_subpath(str(kept.parents[2] / "any.py"))
        kept.rename(kept.with_name(place))
