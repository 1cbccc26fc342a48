"""Attention within a window, tile by tile: the same as with the mask, never the square of all tokens."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from tests.official.window_mask import window_mask
from tests.toy import seeded
from xappa.model.networks.attention import Tiles, attend_within
from xappa.model.networks.transformer import Transformer, TransformerSpec

OFFICIAL_TOKENS = (12, 23, 47)
SMALL = TransformerSpec(
    in_channels=2, blanket_size=24, shape=(23, 47), hid_channels=8, hid_blocks=1, attention_heads=1, mod_features=4,
    patch_size=(2, 1, 1),
)  # fmt: skip
_seed = pytest.fixture(autouse=True)(seeded)


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=3).flatmap(
        lambda shape: st.tuples(st.just(shape), st.lists(st.integers(1, 9), min_size=len(shape), max_size=len(shape)))
    )
)
@settings(max_examples=60)
def test_tiles_see_what_the_mask_allows(case):
    shape, window = case
    tiles = Tiles.from_window(shape, window)
    seen = torch.zeros(prod(shape), prod(shape), dtype=torch.bool)
    for query, key in zip(tiles.query, tiles.key, strict=True):
        assert len(set(key.tolist())) == len(key)
        seen[query[:, None], key] |= tiles.mask
    assert torch.equal(seen, window_mask(shape, window))
    assert torch.equal(tiles.query.flatten()[tiles.place], torch.arange(prod(shape)))


@pytest.mark.parametrize("window", [(1, 1, 1), (3, 5, 5), (2, 9, 3), (9, 9, 99)])
def test_attention_by_tiles_is_attention_with_the_mask(window, monkeypatch):
    shape = (4, 5, 7)
    q, k, v = torch.randn(3, 2, 2, prod(shape), 8, dtype=torch.float64)
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=window_mask(shape, window))
    monkeypatch.setattr("xappa.model.networks.attention.CHUNK", 20_000)  # several rounds
    torch.testing.assert_close(
        attend_within(q, k, v, Tiles.from_window(shape, window)), expected, rtol=1e-12, atol=1e-12
    )


class Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that is made."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, torch.Tensor):
                self.numbers = max(self.numbers, tensor.numel())
        return out


@pytest.mark.parametrize("window", [None, (3, 5, 5)])
def test_nothing_is_as_large_as_the_square_of_the_official_number_of_tokens(window):
    tokens = prod(OFFICIAL_TOKENS)
    assert tokens == 12_972
    x = torch.randn(1, 24, 23, 47, 2)
    date = torch.tensor([[2021, 3, 1, hour] for hour in range(24)])
    with torch.no_grad(), Largest() as largest:
        network = Transformer(replace(SMALL, window_size=window))
        assert network(x, torch.tensor(0.5), date).shape == x.shape
    assert largest.numbers < tokens**2 / 10
