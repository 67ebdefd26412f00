"""What the game's message line says: prompts and events, looked up once per distinct message."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tedg.compiled import kernel, kernel_part
from tedg.envs.actions import ACTION_KEYS, NUM_ACTIONS

# Atom -> texts, any of which makes it true (NetHack 3.6.7's own wording).
MESSAGE_TEXTS: dict[str, tuple[bytes, ...]] = {
    "q_dir": (b"In what direction?",),
    "q_eat_item": (b"want to eat?",),
    "q_eat_floor": (b" here; eat ",),
    "q_attack": (b"Really attack",),
    "q_cont_eat": (b"Continue eating?",),
    "m_see_item": (b"You see here", b"You feel here", b"objects here"),
    "m_stairs": (b"There is a staircase", b"There is a ladder"),
    "m_wall": (b"It's a wall", b"solid stone", b"It's a tree"),
    "m_blocked": (
        *(b"blocks your path", b"is in the way", b"You stop", b"cannot pass"),
        *(b"can't move diagonally", b"but in vain"),
    ),
    "m_locked": (b"This door is locked",),
    "m_door_open": (b"door opens", b"crashes open", b"shatters to pieces"),
    "m_door_fail": (b"WHAMM", b"The door resists"),
    "m_you_hit": (b"You hit", b"You strike", b"You bash", b"You smite", b"You kick the", b"You bite"),
    "m_you_kill": (b"You kill", b"You destroy"),
    "m_you_miss": (b"You miss",),
    "m_attacked": (
        *(b" bites!", b" hits!", b" stings!", b" kicks!", b" butts!", b" touches you!"),
        *(b" misses", b" explodes!", b"swallows you", b"engulfs you"),
    ),
    "m_levelup": (b"Welcome to experience level",),
    "m_trap": (
        *(b"You fall into", b"bear trap", b"trap door", b"You land on"),
        *(b"iron spikes", b"You fall through"),
    ),
    "m_hear": (b"You hear",),
    "m_pet_swap": (b"swap places",),
    "m_shop": (b"!  Welcome to ", b"!  Welcome again to "),
    "m_noop": (b"Unknown command", b"Never mind", b"You can't go", b"You don't have anything to eat"),
}
MESSAGE_ATOMS: tuple[str, ...] = (*MESSAGE_TEXTS, "m_pickup")

MESSAGE_BYTES = 256
_WORDS = MESSAGE_BYTES // 8
_NOWHERE = -1
_CAPACITY = 1 << 15  # distinct messages kept; the table starts anew beyond it


def message_atoms(message: bytes) -> list[bool]:
    """Truth of MESSAGE_ATOMS for one message, without its zero padding."""
    # Autopickup reports "$ - 12 gold pieces." or "k - a scroll labeled FOO."
    return [any(t in message for t in texts) for texts in MESSAGE_TEXTS.values()] + [message[1:4] == b" - "]


def offered_actions(message: bytes) -> list[bool]:
    """Actions whose key is a letter that a prompt such as `What do you want to eat? [b-eh or ?*]` offers."""
    offer = message.split(b"[")[-1].split(b" or ?*")[0]
    letters = set(offer) - {ord("-")}
    for position in range(1, len(offer) - 1):
        if offer[position] == ord("-"):  # NetHack writes runs of letters as first-last
            letters.update(range(offer[position - 1], offer[position + 1] + 1))
    return [key in letters for key in ACTION_KEYS]


class MessageTable:
    """Facts about every distinct message seen; NetHack repeats itself, so reading each once is enough.

    `atoms` [N, 23] bool and `offers` [N, 23] bool are indexed by what `lookup` returns.
    """

    def __init__(self) -> None:
        self.atoms = np.zeros((_CAPACITY, len(MESSAGE_ATOMS)), np.bool_)
        self.offers = np.zeros((_CAPACITY, NUM_ACTIONS), np.bool_)
        self._texts = np.zeros((_CAPACITY, _WORDS), np.uint64)  # the messages, eight bytes in a number
        self._places = np.full(2 * _CAPACITY, _NOWHERE)  # hash table of rows in the three tables
        self._size = 0

    def lookup(self, messages: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Rows in the tables of the messages [B, 256] named by `rows`; valid until the next lookup."""
        if self._size + len(rows) > _CAPACITY:
            self._places[:] = _NOWHERE
            self._size = 0
        found = np.empty(len(rows), np.int64)
        before = self._size
        self._size = _look_up(rows, messages, self._texts, self._places, before, found)
        for new in range(before, self._size):
            message = self._texts[new].tobytes().split(b"\0", 1)[0]
            self.atoms[new] = message_atoms(message)
            self.offers[new] = offered_actions(message)
        return found


@kernel
def _look_up(
    rows: npt.NDArray[np.int64],
    messages: npt.NDArray[np.uint8],
    texts: npt.NDArray[np.uint64],
    places: npt.NDArray[np.int64],
    size: int,
    found: npt.NDArray[np.int64],
) -> int:
    """Find the messages in the first `size` texts and append those that are missing; return the new size."""
    for i, r in enumerate(rows):
        words = messages[r].view(np.uint64)
        digest = np.uint64(0)
        for word in words:
            digest = (digest ^ word) * np.uint64(0x9E3779B97F4A7C15)  # odd, so that no bit is lost
            digest ^= digest >> np.uint64(32)
        place = np.int64(digest % np.uint64(len(places)))
        while places[place] != _NOWHERE and not _same(texts[places[place]], words):
            place = (place + 1) % len(places)  # never full: there are twice as many places as texts
        if places[place] == _NOWHERE:
            texts[size] = words
            places[place] = size
            size += 1
        found[i] = places[place]
    return size


@kernel_part
def _same(text: npt.NDArray[np.uint64], other: npt.NDArray[np.uint64]) -> bool:
    k = 0
    while k < _WORDS and text[k] == other[k]:
        k += 1
    return k == _WORDS
