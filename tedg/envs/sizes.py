"""Sizes of the map and of what is shown of it, for real games and toys alike."""

from __future__ import annotations

from tedg.envs.glyphs import NUM_TERRAIN_CLASSES

MAP_ROWS = 21
MAP_COLUMNS = 79
CROP = 9  # side of the egocentric crop
BLOCK_ROWS, BLOCK_COLUMNS = 3, 4  # cells of the map in one cell of the overview
OVERVIEW_SHAPE = (7, 20, NUM_TERRAIN_CLASSES)  # covers 21 x 80 cells
