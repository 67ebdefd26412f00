"""Visual encoders: an observation's map and state vector become tokens and, where read, one vector."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tedg.envs.glyphs import STONE
from tedg.envs.observation import EnvSpec, Observation
from tedg.envs.sizes import BLOCK_COLUMNS, BLOCK_ROWS
from tedg.models.distinct import distinct
from tedg.models.maps import cell_features
from tedg.models.norm import RunningNorm
from tedg.models.tokens import DenseTokens, ProjectedTokens, Tokens

CROP_TOKEN, OVERVIEW_TOKEN, STATE_TOKEN = range(3)  # kinds of tokens
CELLS_PER_BLOCK = BLOCK_ROWS * BLOCK_COLUMNS


class VisualOutput(NamedTuple):
    """What a visual encoder returns. The head is built only where something reads it."""

    tokens: Tokens  # num_tokens of width token_dim
    h_vis: Float[Tensor, "batch vision_dim"]  # of the head, or the token mean where nothing reads a head


class Region(NamedTuple):
    """The cells of the map that a token stands for, or parts of cells; it may see some around them too."""

    around_hero: bool  # rows and columns count from the hero, else from the map's upper left corner
    top: float
    left: float
    rows: float
    columns: float


class VisualEncoder(nn.Module):
    """The contract of a visual encoder: sizes for the parts built after it, and `VisualOutput` when called.

    It is built with `spec`, `glyph_attributes` [glyphs, attributes], `with_head` (whether something
    reads h_vis, so that the head is worth building) and `hide_symbols` (zero the state features that
    are read from the hypergraph), followed by the settings of its YAML file, among them `head_dim`, the
    width of h_vis where there is a head.
    """

    inputs: ClassVar[tuple[str, ...]]  # observation fields it reads
    num_tokens: int
    token_dim: int
    vision_dim: int  # width of h_vis

    def regions(self) -> list[Region | None]:
        """Where each token lies on the map, for whoever draws it; None: nowhere."""
        return [None] * self.num_tokens


class _StateInput(nn.Module):
    """The state vector, standardised, with the features that a policy must not see set to zero."""

    keep: Tensor

    def __init__(self, spec: EnvSpec, hide_symbols: bool) -> None:
        super().__init__()
        self.hide_symbols = hide_symbols
        keep = torch.as_tensor(~spec.symbolic_state, dtype=torch.get_default_dtype())
        self.register_buffer("keep", keep, persistent=False)
        self.norm = RunningNorm(spec.state_dim)

    def forward(self, state: Float[Tensor, "batch features"]) -> Float[Tensor, "batch features"]:
        features: Tensor = self.norm(state.to(self.keep.dtype))
        return features * self.keep if self.hide_symbols else features


class GlyphEncoder(VisualEncoder):
    """A convolutional network over the map: 9 x 9 crop tokens, whole-map tokens and a state token.

    Glyphs enter by a fixed table of attributes (what a glyph is: its category, the monster's kind and
    strength, ...) under a learned linear map. This is a learned embedding whose gradient is a matrix
    product instead of a scatter over thousands of rows, and glyphs never seen share what they have in
    common with those seen.

    The crop keeps every cell; the whole map enters as counts of terrain classes in blocks of 3 x 4
    cells, with the hero's block marked, through a strided convolution.
    """

    inputs: ClassVar[tuple[str, ...]] = ("crop", "overview", "hero", "state")
    attributes: Tensor
    token_kind: Tensor
    plane_scale: Tensor
    block_size: Tensor
    last_block: Tensor

    def __init__(
        self,
        spec: EnvSpec,
        glyph_attributes: npt.NDArray[np.float32],
        with_head: bool,
        hide_symbols: bool,
        token_dim: int,
        channels: int,
        head_dim: int,
    ) -> None:
        super().__init__()
        rows, columns, classes = spec.overview_shape
        self.crop_size = spec.crop_size
        self.grid = grid = ((rows + 1) // 2, (columns + 1) // 2)
        cells = spec.crop_size**2
        self.token_dim = token_dim
        self.num_tokens = cells + grid[0] * grid[1] + 1
        # Relative to bare stone, so that the parts of the map that were never seen contribute nothing.
        attributes = torch.as_tensor(
            glyph_attributes - glyph_attributes[STONE], dtype=torch.get_default_dtype()
        )
        self.register_buffer("attributes", attributes, persistent=False)
        self.crop_embedding = nn.Linear(attributes.shape[1], channels)
        self.crop_conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.overview_conv = nn.Conv2d(classes + 1, channels, 3, stride=2, padding=1)
        scale = torch.tensor([*[1 / CELLS_PER_BLOCK] * classes, 1.0]).view(1, -1, 1, 1)
        self.register_buffer("plane_scale", scale, persistent=False)
        self.register_buffer("block_size", torch.tensor([BLOCK_ROWS, BLOCK_COLUMNS]), persistent=False)
        self.register_buffer("last_block", torch.tensor([rows - 1, columns - 1]), persistent=False)
        self.state_input = _StateInput(spec, hide_symbols)
        self.state_mlp = nn.Sequential(nn.Linear(spec.state_dim, 2 * token_dim), nn.ReLU())
        self.map_token = nn.Linear(channels, token_dim)
        self.state_token = nn.Linear(2 * token_dim, token_dim)
        self.type_embedding = nn.Parameter(0.1 * torch.randn(3, token_dim))
        self.position_embedding = nn.Parameter(0.1 * torch.randn(self.num_tokens, token_dim))
        counts = {CROP_TOKEN: cells, OVERVIEW_TOKEN: grid[0] * grid[1], STATE_TOKEN: 1}
        kinds = torch.cat([torch.full((count,), kind) for kind, count in counts.items()])
        self.register_buffer("token_kind", kinds, persistent=False)
        self.vision_dim = head_dim if with_head else token_dim
        self.head: nn.Module | None = None
        if with_head:
            # The head reads the tokens themselves, so it sees all that attention would see. A narrow
            # layer before flattening keeps every cell but not every channel of it.
            narrow = token_dim // 4
            self.narrow = nn.Linear(token_dim, narrow)
            flat = (self.num_tokens - 1) * narrow + token_dim
            self.head = nn.Sequential(nn.Linear(flat, head_dim), nn.ReLU(), RunningNorm(head_dim))
        init_layers(self)

    def forward(self, observation: Observation) -> VisualOutput:
        state = self.state_token(self.state_mlp(self.state_input(observation.state)))
        place = self.position_embedding + self.type_embedding.index_select(0, self.token_kind)
        # The projection's bias counts among the offsets of the tokens that it makes.
        bias = self.map_token.bias * (self.token_kind != STATE_TOKEN).unsqueeze(1)
        features = self._map_features(observation.crop, observation.overview, observation.hero)
        tokens = ProjectedTokens(features, self.map_token.weight, state, place + bias)
        return VisualOutput(tokens, tokens.mean() if self.head is None else self._read(tokens))

    def regions(self) -> list[Region | None]:
        """The crop's cells, then tiles around the blocks that the strided convolution is centred on."""
        half = self.crop_size // 2
        near = [
            Region(True, row - half, column - half, 1, 1)
            for row in range(self.crop_size)
            for column in range(self.crop_size)
        ]
        rows, columns = 2 * BLOCK_ROWS, 2 * BLOCK_COLUMNS
        far = [
            Region(False, rows * row - BLOCK_ROWS / 2, columns * column - BLOCK_COLUMNS / 2, rows, columns)
            for row in range(self.grid[0])
            for column in range(self.grid[1])
        ]
        return [*near, *far, None]

    def _map_features(
        self, crop: Tensor, overview: Tensor, hero: Tensor
    ) -> Float[Tensor, "batch cells channels"]:
        """Both convolutions. Each distinct glyph of the crop is embedded once."""
        glyphs, places = distinct(crop, len(self.attributes))
        table = torch.relu(self.crop_embedding(self.attributes.index_select(0, glyphs)))
        near, far = self.crop_conv, self.overview_conv
        weight = far.weight * self.plane_scale  # counts become shares here: it is the smaller tensor
        block = self._hero_block(hero)
        assert near.bias is not None
        assert far.bias is not None
        return cell_features(table, places, overview, block, near.weight, near.bias, weight, far.bias)

    def _hero_block(self, hero: Tensor) -> Int[Tensor, "batch 2"]:
        """Row and column of the overview's block in which the hero stands."""
        return torch.minimum(hero.long().clamp_min(0) // self.block_size, self.last_block)

    def _read(self, tokens: ProjectedTokens) -> Tensor:
        """The head on all tokens; its narrow layer is folded into the tokens' projection."""
        assert self.head is not None
        weight = self.narrow.weight
        own = tokens.offset[:-1] @ weight.t() + self.narrow.bias
        flat = torch.relu(tokens.features @ (weight @ tokens.projection).t() + own).flatten(1)
        return self.head(torch.cat([flat, tokens.last + tokens.offset[-1]], dim=1))


class StateEncoder(VisualEncoder):
    """An MLP on the state vector: one token and, where read, one vector.

    With a single token attention has nothing to choose from: its weight is the constant 1.
    """

    inputs: ClassVar[tuple[str, ...]] = ("state",)
    num_tokens = 1

    def __init__(
        self,
        spec: EnvSpec,
        glyph_attributes: npt.NDArray[np.float32],
        with_head: bool,
        hide_symbols: bool,
        token_dim: int,
        hidden_dim: int,
        head_dim: int,
    ) -> None:
        super().__init__()
        self.token_dim = token_dim
        self.vision_dim = head_dim if with_head else token_dim
        self.state_input = _StateInput(spec, hide_symbols)
        self.body = nn.Sequential(
            nn.Linear(spec.state_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, hidden_dim), nn.ReLU()
        )
        self.token = nn.Linear(hidden_dim, token_dim)
        self.head: nn.Module | None = None
        if with_head:
            self.head = nn.Sequential(nn.Linear(token_dim, head_dim), nn.ReLU(), RunningNorm(head_dim))
        init_layers(self)

    def forward(self, observation: Observation) -> VisualOutput:
        token = self.token(self.body(self.state_input(observation.state)))
        tokens = DenseTokens(token.unsqueeze(1))
        return VisualOutput(tokens, token if self.head is None else self.head(token))


def init_layers(module: nn.Module) -> None:
    """Orthogonal weights with gain sqrt(2) and zero biases, as usual for ReLU networks in PPO."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.orthogonal_(layer.weight, 2**0.5)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
