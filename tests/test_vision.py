"""Visual encoders: what tokens there are, what each of them sees, and when h_vis has a head."""

from __future__ import annotations

import copy

import pytest
import torch

from tedg.envs.features import SYMBOLIC_STATE
from tedg.envs.glyphs import GLYPH_ATTRIBUTES, STONE
from tedg.envs.observation import EnvSpec, Observation
from tedg.envs.sizes import OVERVIEW_SHAPE
from tedg.models.vision import GlyphEncoder, StateEncoder

SPEC = EnvSpec("test", 23, 128, 115, OVERVIEW_SHAPE, 9, SYMBOLIC_STATE)
CROP, OVERVIEW = 81, 40
JACKAL = 12


def make(kind="glyph", with_head=False, hide_symbols=False):
    torch.manual_seed(0)
    if kind == "glyph":
        return GlyphEncoder(SPEC, GLYPH_ATTRIBUTES, with_head, hide_symbols, 8, 6, 16)
    return StateEncoder(SPEC, GLYPH_ATTRIBUTES, with_head, hide_symbols, 8, 16, 16)


def unseen(count=1):
    """Heroes in the middle of maps of which nothing was seen."""
    return Observation(
        crop=torch.full((count, 9, 9), STONE, dtype=torch.int16),
        overview=torch.zeros((count, *OVERVIEW_SHAPE), dtype=torch.uint8),
        hero=torch.tensor([[10, 40]] * count, dtype=torch.int16),
        state=torch.zeros(count, 115),
    )


def monster(row, column):
    observation = unseen()
    observation.crop[0, row, column] = JACKAL
    return observation


def random_observation(count=4):
    generator = torch.Generator().manual_seed(1)
    return Observation(
        crop=torch.randint(5976, (count, 9, 9), generator=generator).to(torch.int16),
        overview=torch.randint(13, (count, *OVERVIEW_SHAPE), generator=generator).to(torch.uint8),
        hero=torch.stack([torch.arange(count) * 5, torch.arange(count) * 19], dim=1).to(torch.int16),
        state=torch.rand(count, 115, generator=generator),
    )


def changed(encoder, first, second):
    """Indices of the tokens that differ between two single observations."""
    with torch.no_grad():
        difference = (encoder(first).tokens.dense() - encoder(second).tokens.dense())[0].abs().amax(dim=1)
    return difference.nonzero().flatten().tolist()


def around(row, column):
    """Indices of the crop tokens in the 3 x 3 cells around one."""
    return [
        9 * r + c
        for r in range(max(row - 1, 0), min(row + 2, 9))
        for c in range(max(column - 1, 0), min(column + 2, 9))
    ]


def test_tokens_are_the_crop_the_whole_map_and_the_state():
    encoder = make()
    assert encoder.num_tokens == CROP + OVERVIEW + 1
    output = encoder(random_observation())
    assert output.tokens.dense().shape == (4, 122, encoder.token_dim)
    kinds = encoder.token_kind.bincount().tolist()
    assert kinds == [CROP, OVERVIEW, 1]
    state = unseen()
    state.state[0, 3] = 1.0
    assert changed(encoder, unseen(), state) == [121]


@pytest.mark.parametrize("kind", ["glyph", "state"])
def test_a_head_exists_only_where_something_reads_it(kind):
    without, with_head = make(kind), make(kind, with_head=True)
    observation = random_observation()
    output = without(observation)
    assert without.head is None
    assert not [name for name in without.state_dict() if name.startswith(("head", "narrow"))]
    assert without.vision_dim == without.token_dim == output.h_vis.shape[1]
    torch.testing.assert_close(output.h_vis, output.tokens.dense().mean(dim=1))
    assert with_head.vision_dim == 16 == with_head(observation).h_vis.shape[1]


def test_the_head_sees_every_token():
    encoder = make(with_head=True)
    encoder(random_observation(32)).h_vis.square().sum().backward()
    # Each token has a row of this table added to it, whose gradient is thus the token's.
    assert (encoder.position_embedding.grad != 0).any(dim=1).all()


@pytest.mark.parametrize("cell", [(4, 4), (0, 0), (8, 3), (5, 8)])
def test_a_monster_is_seen_by_the_tokens_around_it_only(cell):
    assert changed(make(), unseen(), monster(*cell)) == around(*cell)


def test_a_step_of_a_monster_changes_only_its_neighbourhoods():
    encoder = make()
    found = changed(encoder, monster(4, 4), monster(4, 5))
    assert set(found) <= set(around(4, 4)) | set(around(4, 5))
    assert {9 * 4 + 4, 9 * 4 + 5} <= set(found)


def test_the_crop_is_read_alike_everywhere():
    """A monster one cell further east changes the tokens one cell further east, by the same amounts."""
    encoder = make()
    with torch.no_grad():
        nothing, here, there = (
            encoder(x).tokens.dense()[0, :CROP].view(9, 9, -1)
            for x in (unseen(), monster(4, 3), monster(4, 4))
        )
    torch.testing.assert_close((there - nothing)[:, 1:], (here - nothing)[:, :-1])


def test_what_was_never_seen_contributes_nothing():
    encoder = make()
    assert not encoder.attributes[STONE].any()
    encoder(unseen()).tokens.dense().square().sum().backward()
    assert not encoder.crop_embedding.weight.grad.any()
    encoder(monster(4, 4)).tokens.dense().square().sum().backward()
    assert encoder.crop_embedding.weight.grad.any()


def overview(encoder, observation):
    """Features of the whole map's tokens."""
    return encoder(observation).tokens.features[:, CROP:]


def read(encoder, planes):
    """What they are for these planes: a share of each kind per block, and last where the hero is."""
    return torch.relu(encoder.overview_conv(planes)).flatten(2).transpose(1, 2)


@pytest.mark.parametrize(("hero", "block"), [((10, 40), (3, 10)), ((0, 0), (0, 0)), ((20, 78), (6, 19))])
def test_the_heros_block_of_the_whole_map_is_marked(hero, block):
    encoder, observation = make(), unseen(2)
    observation.hero[1] = torch.tensor(hero)
    planes = torch.zeros(2, OVERVIEW_SHAPE[2] + 1, *OVERVIEW_SHAPE[:2])
    planes[0, -1, 3, 10] = planes[1, -1, *block] = 1
    torch.testing.assert_close(overview(encoder, observation), read(encoder, planes))
    moved = changed(encoder, unseen(), observation[1:])
    assert all(CROP <= token < CROP + OVERVIEW for token in moved)
    assert bool(moved) is (hero != (10, 40))


def test_the_whole_map_enters_as_shares_of_its_blocks():
    encoder, observation = make(), unseen()
    observation.overview[0, 2, 7, 5] = 6
    planes = torch.zeros(1, OVERVIEW_SHAPE[2] + 1, *OVERVIEW_SHAPE[:2])
    planes[0, 5, 2, 7] = 6 / 12
    planes[0, -1, 3, 10] = 1  # the hero
    torch.testing.assert_close(overview(encoder, observation), read(encoder, planes))
    tokens = changed(encoder, unseen(), observation)
    assert tokens
    assert all(CROP <= token < CROP + OVERVIEW for token in tokens)


def test_the_state_encoder_has_one_token_and_sees_no_map():
    encoder = make("state")
    assert encoder.num_tokens == 1
    assert encoder.inputs == ("state",)
    assert encoder(Observation(state=torch.rand(4, 115))).tokens.dense().shape == (4, 1, 8)


@pytest.mark.parametrize("kind", ["glyph", "state"])
def test_symbols_are_hidden_where_the_control_asks_for_it(kind):
    symbols = torch.as_tensor(SYMBOLIC_STATE)
    observation, other = random_observation(), copy.deepcopy(random_observation())
    other.state[:, symbols] = 0.123
    for hide in (True, False):
        encoder = make(kind, hide_symbols=hide)
        equal = torch.equal(encoder(observation).tokens.dense(), encoder(other).tokens.dense())
        assert equal is hide


@pytest.mark.parametrize("kind", ["glyph", "state"])
@pytest.mark.parametrize("with_head", [True, False])
def test_works_in_float64(kind, with_head):
    encoder = make(kind, with_head)
    outputs = []
    for dtype in (torch.float32, torch.float64):
        output = encoder.to(dtype)(random_observation())
        outputs.append((output.tokens.dense(), output.h_vis))
    for narrow, wide in zip(*outputs, strict=True):
        assert wide.dtype == torch.float64
        torch.testing.assert_close(wide.float(), narrow, rtol=1e-4, atol=1e-5)
