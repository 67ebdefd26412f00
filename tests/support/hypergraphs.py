"""A small hypergraph document in which nothing is wrong, for tests that spoil it."""

from __future__ import annotations

from typing import Any

VALID: dict[str, Any] = {
    "version": "1",
    "num_actions": 5,
    "atoms": [{"name": "hp_low"}, {"name": "prompt", "rare": True, "formula": "x>0"}, {"name": "on_up"}],
    "experts": ["One", "Two"],
    "operators": [
        {
            "id": "A",
            "name": "rest",
            "expert": "One",
            "preconditions": ["hp_low", "-prompt"],
            "scene": ["on_up"],
            "effects": ["-hp_low"],
            "actions": [0, 4],
            "target": "anywhere",
        },
        {"id": "B", "name": "leave", "expert": "Two", "preconditions": ["on_up"], "actions": [1]},
    ],
}
