"""NetHackScore's 23 actions: their keys, and those that the rules speak of."""

from __future__ import annotations

# The key that each of NetHackScore's 23 actions sends.
ACTION_KEYS = b"\r" + b"kljhunby" + b"KLJHUNBY" + b"<>.\x04es"
NUM_ACTIONS = len(ACTION_KEYS)
ACTION_NAMES = (
    "more",
    *("north", "east", "south", "west", "northeast", "southeast", "southwest", "northwest"),
    *("run north", "run east", "run south", "run west"),
    *("run northeast", "run southeast", "run southwest", "run northwest"),
    *("up", "down", "wait", "kick", "eat", "search"),
)

# By the names of their keys' commands; in a prompt two of the moves say yes and no.
CANCEL, NO, YES, GO_UP, GO_DOWN, KICK, EAT, SEARCH = 0, 6, 8, 17, 18, 20, 21, 22
