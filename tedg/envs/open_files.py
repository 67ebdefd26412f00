"""How many files a process may have open: each game of NetHack holds two."""

from __future__ import annotations

import resource

PER_GAME = 2
_OTHERS = 128  # libraries, sockets, tables


def raise_limit() -> None:
    """Let this process and its children open as many files as the system allows without further rights."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most_games() -> int | None:
    """Games that one process can play when the limit is raised; None where there is no limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if hard == resource.RLIM_INFINITY else max((hard - _OTHERS) // PER_GAME, 0)
