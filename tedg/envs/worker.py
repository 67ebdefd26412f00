"""A process that plays games for the one that started it. Imports no torch and little else.

Commands and answers are a few bytes over a socket; everything else lies in memory that both map.
"""

from __future__ import annotations

import gc
import mmap
import os
import signal
import socket
import tempfile
from contextlib import suppress
from dataclasses import dataclass

from tedg.envs.block import GameBlock, GameSettings
from tedg.envs.memory import GameMemory
from tedg.envs.observation import Position
from tedg.envs.seeds import Seeds
from tedg.processes import MESSAGE_BYTES, attach, serving

# Begin at the positions of the setup, begin at the beginning of the plan, or take one step.
BEGIN, RESET, STEP = range(3)


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker needs to know, pickled into its standard input."""

    settings: GameSettings
    seeds: Seeds
    num_envs: int  # of the whole vector
    blocks: dict[int, slice]  # this worker's environments in each group
    positions: dict[int, tuple[Position, ...]]  # where they begin
    channel: int  # socket to the parent
    memory: int  # file that holds the GameMemory of the whole vector
    folder: str  # for the games' temporary files
    start_seconds: float  # most CPU time for making or resetting games
    step_seconds: float  # most CPU time for a step of one group


def serve() -> None:
    """Obey the parent until its end of the socket is closed, by itself or because it died."""
    setup: Setup = attach()
    with serving(setup.channel) as channel:
        _serve(setup, channel)
    with suppress(OSError):  # a dead parent does not remove it; the last worker can
        os.rmdir(setup.folder)


def _serve(setup: Setup, channel: socket.socket) -> None:
    tempfile.tempdir = setup.folder
    spec = setup.settings.spec
    shared = mmap.mmap(setup.memory, GameMemory.size(spec, setup.num_envs))
    os.close(setup.memory)
    memory = GameMemory.over(shared, spec, setup.num_envs)
    blocks: dict[int, GameBlock] = {}
    try:
        _limit(setup.start_seconds)
        for group, rows in setup.blocks.items():
            blocks[group] = GameBlock(setup.settings, setup.seeds, rows.start, memory.rows(rows))
        gc.freeze()  # what the games consist of lives as long as they: no need to search it for garbage
        while command := channel.recv(MESSAGE_BYTES):
            kind, group, slot = command
            _limit(setup.step_seconds if kind == STEP else setup.start_seconds)
            if kind == STEP:
                blocks[group].step(slot)
            else:
                positions = setup.positions[group]
                blocks[group].begin(slot, positions if kind == BEGIN else [Position()] * len(positions))
            channel.send(bytes([group]))
    finally:
        _limit(setup.start_seconds)
        for block in blocks.values():
            block.close()


def _limit(seconds: float) -> None:
    """Let the kernel end this process by SIGPROF when from now on it has computed for so long.

    A game that hangs would outlive its parent otherwise: it neither sees the closed socket nor lets Python
    handle a signal. CPU time stands still while the process waits for a command or is stopped by Ctrl-Z.
    """
    signal.setitimer(signal.ITIMER_PROF, seconds)
