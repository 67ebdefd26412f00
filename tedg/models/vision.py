"""Visual encoders: an observation's map and state vector become tokens and, where read, one vector."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor, nn

from tedg.envs.glyphs import STONE
from tedg.envs.observation import EnvSpec, Observation
from tedg.models.norm import RunningNorm


class VisualOutput(NamedTuple):
    """What a visual encoder returns. The head is built only where something reads it."""

    tokens: Float[Tensor, "batch tokens token_dim"]
    h_vis: Float[
        Tensor, "batch vision_dim"
    ]  # the head's output, or the token mean where nothing reads a head


class VisualEncoder(nn.Module):
    """The contract of a visual encoder: sizes for the parts built after it, and `VisualOutput` when called.

    It is built with `spec`, `glyph_attributes` [glyphs, attributes], `with_head` (whether something
    reads h_vis, so that the head is worth building) and `hide_symbols` (zero the state features that
    are read from the hypergraph), followed by the settings of its YAML file.
    """

    inputs: ClassVar[tuple[str, ...]]  # observation fields it reads
    num_tokens: int
    token_dim: int
    vision_dim: int  # width of h_vis


class _StateInput(nn.Module):
    """The state vector, standardised, with the features that a policy must not see set to zero."""

    keep: Tensor

    def __init__(self, spec: EnvSpec, hide_symbols: bool) -> None:
        super().__init__()
        keep = ~spec.symbolic_state if hide_symbols else np.ones(spec.state_dim, bool)
        self.register_buffer("keep", torch.as_tensor(keep, dtype=torch.get_default_dtype()), persistent=False)
        self.norm = RunningNorm(spec.state_dim)

    def forward(self, state: Float[Tensor, "batch features"]) -> Float[Tensor, "batch features"]:
        return self.norm(state.to(self.keep.dtype)) * self.keep


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

    def __init__(
        self,
        spec: EnvSpec,
        glyph_attributes: npt.NDArray[np.float32],
        with_head: bool,
        hide_symbols: bool,
        token_dim: int,
        channels: int,
        hidden_dim: int,
    ) -> None:
        super().__init__()
        rows, columns, classes = spec.overview_shape
        grid = ((rows + 1) // 2, (columns + 1) // 2)
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
        self.state_input = _StateInput(spec, hide_symbols)
        self.state_mlp = nn.Sequential(nn.Linear(spec.state_dim, 2 * token_dim), nn.ReLU())
        self.map_token = nn.Linear(channels, token_dim)
        self.state_token = nn.Linear(2 * token_dim, token_dim)
        self.type_embedding = nn.Parameter(0.1 * torch.randn(3, token_dim))
        self.position_embedding = nn.Parameter(0.1 * torch.randn(self.num_tokens, token_dim))
        kinds = torch.cat([torch.full((n,), k) for k, n in enumerate((cells, grid[0] * grid[1], 1))])
        self.register_buffer("token_kind", kinds, persistent=False)
        self.vision_dim = hidden_dim if with_head else token_dim
        self.head: nn.Module | None = None
        if with_head:
            # The head reads the tokens themselves, so it sees all that attention would see. A narrow
            # layer before flattening keeps every cell but not every channel of it.
            narrow = token_dim // 4
            self.narrow = nn.Linear(token_dim, narrow)
            flat = (self.num_tokens - 1) * narrow + token_dim
            self.head = nn.Sequential(nn.Linear(flat, hidden_dim), nn.ReLU(), RunningNorm(hidden_dim))
        init_layers(self)

    def forward(self, observation: Observation) -> VisualOutput:
        crop, overview = observation.crop, observation.overview
        batch = crop.shape[0]
        channels = self.crop_conv.out_channels
        embedded = torch.relu(self.crop_embedding(self.attributes[crop.long()]))  # [B, 9, 9, C]
        near = torch.relu(self.crop_conv(embedded.permute(0, 3, 1, 2)))
        near = near.permute(0, 2, 3, 1).reshape(batch, -1, channels)
        far = torch.relu(self.overview_conv(self._overview_planes(overview, observation.hero)))
        far = far.permute(0, 2, 3, 1).reshape(batch, -1, channels)
        cells = torch.cat([near, far], dim=1)
        state = self.state_mlp(self.state_input(observation.state))
        tokens = torch.cat([self.map_token(cells), self.state_token(state).unsqueeze(1)], dim=1)
        tokens = tokens + (self.position_embedding + self.type_embedding[self.token_kind])
        if self.head is None:
            return VisualOutput(tokens, tokens.mean(dim=1))
        flat = torch.relu(self.narrow(tokens[:, :-1])).flatten(1)
        return VisualOutput(tokens, self.head(torch.cat([flat, tokens[:, -1]], dim=1)))

    def _overview_planes(self, overview: Tensor, hero: Tensor) -> Tensor:
        """[B, classes + 1, rows, columns]: share of each class per block, and where the hero stands."""
        rows, columns = overview.shape[1:3]
        share = overview.to(self.attributes.dtype).permute(0, 3, 1, 2) / 12.0
        here = torch.zeros_like(share[:, :1])
        block = (hero[:, 0].long() // 3).clamp(0, rows - 1) * columns + (hero[:, 1].long() // 4).clamp(
            0, columns - 1
        )
        here.flatten(1).scatter_(1, block.unsqueeze(1), 1.0)
        return torch.cat([share, here], dim=1)


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
    ) -> None:
        super().__init__()
        self.token_dim = token_dim
        self.vision_dim = hidden_dim if with_head else token_dim
        self.state_input = _StateInput(spec, hide_symbols)
        self.body = nn.Sequential(
            nn.Linear(spec.state_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, hidden_dim), nn.ReLU()
        )
        self.token = nn.Linear(hidden_dim, token_dim)
        self.head: nn.Module | None = None
        if with_head:
            self.head = nn.Sequential(nn.Linear(token_dim, hidden_dim), nn.ReLU(), RunningNorm(hidden_dim))
        init_layers(self)

    def forward(self, observation: Observation) -> VisualOutput:
        token = self.token(self.body(self.state_input(observation.state)))
        return VisualOutput(token.unsqueeze(1), token if self.head is None else self.head(token))


def init_layers(module: nn.Module) -> None:
    """Orthogonal weights with gain sqrt(2) and zero biases, as usual for ReLU networks in PPO."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.orthogonal_(layer.weight, 2**0.5)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
