"""Networks: official numbers and names, and exact properties of the options of our own."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.official.window_mask import window_mask
from xappa.diffusion.preconditioning import Denoiser
from xappa.diffusion.schedule import SCHEDULES, LogLinear, Rectified
from xappa.errors import ModelError, OptionError
from xappa.model.dates import date_codes, local_time, to_date_tensor
from xappa.model.networks.attention import Attention
from xappa.model.networks.autoencoder import AutoencoderSpec, ConvAutoencoder
from xappa.model.networks.embedding import rope, sine_encoding
from xappa.model.networks.layers import ChannelNorm, Conv, patchify, unpatchify
from xappa.model.networks.transformer import Transformer, TransformerSpec

OFFICIAL_AE = {
    "name": "cae_f32c64",
    "in_channels": 71,
    "context_channels": 6,
    "shape": [721, 1440],
    "resize": 32,
    "lat_channels": 64,
    "hid_channels": [64, 128, 256, 512, 768, 1024],
    "hid_blocks": [3, 3, 3, 3, 3, 3],
    "pixel_shuffle": True,
    "ffn_factor": 1,
    "patch_size": [1, 1],
    "dropout": 0.0,
}
OFFICIAL_VIT = {
    "arch": "vit",
    "blanket_size": 24,
    "mod_features": 256,
    "hid_channels": 1024,
    "hid_blocks": 16,
    "ffn_factor": 4,
    "attention_heads": 8,
    "qk_norm": True,
    "rope": True,
    "patch_size": [2, 1, 1],
    "window_size": None,
    "checkpointing": True,
}
BUILD: dict[str, Callable[[], torch.nn.Module]] = {
    "cae_f32": lambda: ConvAutoencoder(AutoencoderSpec.from_config(OFFICIAL_AE)),
    "vit_large": lambda: Transformer(TransformerSpec.from_config(OFFICIAL_VIT, in_channels=64, shape=(23, 47))),
}
OURS = AutoencoderSpec(
    in_channels=3,
    lat_channels=5,
    shape=(8, 16),
    resize=4,
    hid_channels=(6, 8),
    hid_blocks=(1, 2),
    patch_size=(2, 2),
    padding="longitude",
    wrap=False,
)
TINY = TransformerSpec(
    in_channels=3, blanket_size=2, shape=(3, 4), hid_channels=16, hid_blocks=2, attention_heads=2, mod_features=8
)
DATE = torch.tensor([[2021, 3, 1, 6], [2021, 3, 1, 12]])


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize(
    "folder",
    [
        "cae_f32_tiny",
        "cae_f4_strided_periodic",
        "cae_f8_patch2",
        "cae_f8_tiny",
        "vidit_tiny",
        "vidit_tiny_norope_noqknorm",
        "vidit_tiny_window",
        "dates",
        "rope",
        "saturations",
        "schedules",
        "window_mask",
    ],
)
def test_official_outputs(shared, check_recorded, folder):
    rows = check_recorded(shared(f"fixtures/{folder}"))
    assert rows
    assert not [row for row in rows if not row.ok]


@pytest.mark.parametrize("which", BUILD)
def test_official_names_and_shapes(shared, which):
    with torch.device("meta"):
        network = BUILD[which]()
    lines = shared(f"fixtures/state_dict_keys_{which}.txt").read_text().splitlines()
    expected = {key: ast.literal_eval(shape) for key, shape, _ in (line.split("\t") for line in lines)}
    assert {key: tuple(value.shape) for key, value in network.state_dict().items()} == expected


def test_official_latent_grid():
    spec = AutoencoderSpec.from_config(OFFICIAL_AE)
    assert spec.pads == (32, 32, 7, 8)
    assert spec.latent_shape == (23, 47, 64)


@pytest.mark.parametrize(
    ("padding", "rest"),
    [
        ("zeros", {}),
        ("longitude", {"linear_skip": True, "static_channels": 2}),
        ("circular", {"pixel_shuffle": False, "wrap": True}),
        ("longitude", {"places": True}),
        ("zeros", {"places": True, "wrap": True}),
    ],
)
def test_decode_jvp_is_adjoint_to_vjp(padding, rest):
    network = differing(ConvAutoencoder(replace(OURS, padding=padding, **rest)).double())
    z, u = torch.randn(2, 2, *network.spec.latent_shape, dtype=torch.float64)
    forward = torch.func.jvp(network.decode, (z,), (u,))[1]
    pull = torch.func.vjp(network.decode, z)[1]
    v = torch.randn_like(forward)
    torch.testing.assert_close((forward * v).sum(), (u * pull(v)[0]).sum(), rtol=1e-12, atol=1e-12)
    step = (network.decode(z + 1e-6 * u) - network.decode(z - 1e-6 * u)) / 2e-6
    torch.testing.assert_close(forward, step, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("linear", [False, True])
def test_longitude_is_round(linear):
    network = ConvAutoencoder(replace(OURS, linear_skip=linear)).double()
    x = torch.randn(1, 3, *OURS.shape, dtype=torch.float64)
    z, turned = network.encode(x), network.encode(x.roll(OURS.resize, -1))
    torch.testing.assert_close(turned, z.roll(1, 2), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(network.decode(turned), network.decode(z).roll(OURS.resize, -1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("stride", [1, 2])
def test_longitude_padding_is_zeros_in_latitude(stride):
    layer = Conv(1, 1, stride=stride, padding="longitude").double()
    x = torch.randn(1, 1, 6, 8, dtype=torch.float64)
    widened = torch.nn.functional.pad(torch.cat((x[..., -1:], x, x[..., :1]), -1), (0, 0, 1, 1))
    expected = torch.nn.functional.conv2d(widened, layer.weight, layer.bias, stride=stride)
    torch.testing.assert_close(layer(x), expected)


def test_circular_padding_is_torch_circular():
    layer = Conv(2, 3, padding="circular")
    x = torch.randn(1, 2, 5, 7)
    widened = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="circular")
    torch.testing.assert_close(layer(x), torch.nn.functional.conv2d(widened, layer.weight, layer.bias))


def test_linear_skip_with_all_components_is_exact():
    size = 3 * 4 * 4
    spec = replace(OURS, lat_channels=size, linear_skip=True, saturation=None, static_channels=1)
    network = ConvAutoencoder(spec).double()
    components = torch.linalg.qr(torch.randn(size, size, dtype=torch.float64)).Q
    scales = torch.linspace(0.1, 3, size, dtype=torch.float64)
    network.set_linear(components, scales)
    with torch.no_grad():
        for parameter in (*network.encoder.last.parameters(), *network.decoder.last.parameters()):
            parameter.zero_()
    x = torch.randn(2, 3, *spec.shape, dtype=torch.float64)
    z = network.encode(x)
    patch = x[1, :, 4:8, 8:12].reshape(-1)
    torch.testing.assert_close(z[1, 1, 2], components.T @ patch / scales)
    torch.testing.assert_close(network.decode(z), x)


def test_static_fields_reach_both_parts():
    network = ConvAutoencoder(replace(OURS, static_channels=2))
    x = torch.randn(1, 3, *OURS.shape)
    z = network.encode(x)
    y = network.decode(z)
    network.static.copy_(torch.randn(2, *OURS.shape))
    assert "static" in network.state_dict()
    assert not torch.allclose(network.encode(x), z)
    assert not torch.allclose(network.decode(z), y)


def differing(network: ConvAutoencoder) -> ConvAutoencoder:
    """The network, with factors and offsets that differ from place to place, where it has some."""
    for name, value in network.decoder.named_parameters():
        if name.startswith("places"):
            torch.nn.init.normal_(value, std=0.3)
    return network


def test_places_begin_as_the_identity_and_keep_all_other_names():
    spec = replace(OURS, places=True)
    plain, placed = ConvAutoencoder(OURS), ConvAutoencoder(spec)
    named = placed.state_dict()
    added = set(named) - set(plain.state_dict())
    levels, shape = 1 + spec.hid_blocks[-1], (spec.hid_channels[-1], *spec.latent_shape[:2])
    assert added == {f"decoder.places.{k}.{part}" for k in range(levels) for part in ("factor", "offset")}
    assert {tuple(named[name].shape) for name in added} == {shape}
    placed.load_state_dict({**named, **plain.state_dict()})
    z = torch.randn(2, *spec.latent_shape)
    torch.testing.assert_close(placed.decode(z), plain.decode(z))


def test_an_offset_is_seen_where_it_is():
    network = ConvAutoencoder(replace(OURS, places=True, shape=(8 * OURS.resize, 16 * OURS.resize)))
    z = torch.randn(1, 8, 16, OURS.lat_channels)
    before = network.decode(z)
    with torch.no_grad():
        network.decoder.places[-1].offset[:, 2, 3] += 1
    changed = (network.decode(z) - before).abs().amax((0, 1)) > 1e-6
    cells = changed.unflatten(1, (16, OURS.resize)).unflatten(0, (8, OURS.resize)).any(-1).any(1)
    assert cells[2, 3] and not cells[:, 8:14].any(), cells


def test_linear_skip_begins_with_small_nonlinear_part():
    torch.manual_seed(1)
    plain = ConvAutoencoder(OURS)
    torch.manual_seed(1)
    skipping = ConvAutoencoder(replace(OURS, linear_skip=True))
    torch.testing.assert_close(skipping.encoder.last.weight, 0.1 * plain.encoder.last.weight)
    torch.testing.assert_close(skipping.decoder.last.weight, 0.1 * plain.decoder.last.weight)


def test_channel_norm_divides_by_channels_less_one():
    x = torch.tensor([1.0, 2.0, 6.0], dtype=torch.float64).view(1, 3, 1, 1)
    expected = torch.tensor([-2.0, -1.0, 3.0], dtype=torch.float64) / (14 / 2 + 1e-5) ** 0.5
    torch.testing.assert_close(ChannelNorm().double()(x).flatten(), expected, rtol=1e-9, atol=0)


def test_channel_norm_of_16_bit_is_computed_in_32():
    x = (1e4 * torch.randn(1, 8, 2, 2)).to(torch.float16)
    found = ChannelNorm()(x)
    assert found.dtype == torch.float16
    torch.testing.assert_close(found, ChannelNorm()(x.float()).half())


@pytest.mark.parametrize(
    "network",
    [OURS, replace(OURS, linear_skip=True, static_channels=1), replace(OURS, places=True)],
    ids=["plain", "skip", "places"],
)
def test_memory_format_and_autocast(network):
    network = differing(ConvAutoencoder(network))
    x = torch.randn(2, 3, *OURS.shape)
    z = network.encode(x)
    y = network.decode(z)
    network = network.to(memory_format=torch.channels_last)
    torch.testing.assert_close(network.encode(x.contiguous(memory_format=torch.channels_last)), z)
    torch.testing.assert_close(network.decode(z), y)
    with torch.autocast("cpu", torch.bfloat16):
        assert ((network.decode(z) - y).norm() / y.norm()).item() < 0.03


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
def test_patches_hold_channel_row_column(channels, p, q, h, w):
    x = torch.arange(channels * p * h * q * w).view(1, channels, p * h, q * w).float()
    patches = patchify(x, (p, q))
    for c in range(channels):
        for i in range(p):
            for j in range(q):
                assert torch.equal(patches[0, (c * p + i) * q + j], x[0, c, i::p, j::q])
    assert torch.equal(unpatchify(patches, (p, q)), x)


def test_specifications_survive_their_dictionaries():
    assert AutoencoderSpec.from_config(asdict(OURS)) == OURS
    assert TransformerSpec.from_config(asdict(TINY)) == TINY
    windowed = replace(TINY, window_size=(1, 3, 3), mod_features=0)
    assert TransformerSpec.from_config(asdict(windowed)) == windowed


def test_wrong_specifications_are_explained():
    with pytest.raises(ModelError, match=r"(?s)lat_channels is missing.*kernel_size is 5"):
        AutoencoderSpec.from_config({k: v for k, v in OFFICIAL_AE.items() if k != "lat_channels"} | {"kernel_size": 5})
    with pytest.raises(ModelError, match=r"shape \(7, 16\) is not divisible .*wrap=True"):
        replace(OURS, shape=(7, 16))
    with pytest.raises(OptionError, match="did you mean 'softclip"):
        replace(OURS, saturation="softclip3")
    with pytest.raises(OptionError, match="'zeros', 'circular', 'longitude'"):
        replace(OURS, padding="polar")
    with pytest.raises(ModelError, match="without in_channels, shape"):
        TransformerSpec.from_config(OFFICIAL_VIT)
    with pytest.raises(ModelError, match=r"(?s)patch_size \(3, 1, 1\).*heads"):
        replace(TINY, patch_size=(3, 1, 1), attention_heads=3)


def test_attention_is_the_softmax_formula():
    msa = Attention(16, heads=2, qk_norm=False).double()
    x = torch.randn(1, 5, 16, dtype=torch.float64)
    q, k, v = (part.view(5, 2, 8) for part in (x[0] @ msa.qkv_proj.weight.T).chunk(3, -1))
    weights = torch.softmax(torch.einsum("ihc,jhc->hij", q, k) / 8**0.5, -1)
    expected = torch.einsum("hij,jhc->ihc", weights, v).reshape(5, 16)
    torch.testing.assert_close(msa(x)[0], expected @ msa.y_proj.weight.T + msa.y_proj.bias)


def test_window_one_token_wide_sees_itself_only():
    assert torch.equal(window_mask((2, 3, 4), (1, 1, 1)), torch.eye(24, dtype=torch.bool))


def test_tokens_outside_the_window_have_no_influence():
    network = Transformer(replace(TINY, window_size=(1, 1, 1), hid_blocks=3))
    x = torch.randn(1, 2, 3, 4, 3)
    t = torch.tensor(0.5)
    changed = x.clone()
    changed[0, 1, 2, 3] += 1
    difference = (network(changed, t, DATE) - network(x, t, DATE)).abs().amax(-1)[0]
    assert difference[1, 2, 3] > 1e-3
    difference[1, 2, 3] = 0
    assert difference.max() < 1e-5


@pytest.mark.parametrize("window", [None, (1, 3, 3)])
def test_gradient_can_be_taken_twice(window):
    network = Transformer(replace(TINY, window_size=window)).double().requires_grad_(False)
    x, u = torch.randn(2, 1, 2, 3, 4, 3, dtype=torch.float64)
    x.requires_grad_()
    t = torch.tensor([1.5], dtype=torch.float64)
    y = network(x, t, DATE)
    v, w = torch.randn(2, *y.shape, dtype=torch.float64)
    pulled = [torch.autograd.grad(y, x, direction, retain_graph=True)[0] for direction in (v, w, v + w)]
    torch.testing.assert_close(pulled[0] + pulled[1], pulled[2])
    step = (network(x + 1e-6 * u, t, DATE) - network(x - 1e-6 * u, t, DATE)) / 2e-6
    torch.testing.assert_close((pulled[0] * u).sum(), (step * v).sum(), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("features", [0, 8])
def test_denoiser_takes_every_shape_of_sigma(features):
    denoiser = Denoiser(Transformer(replace(TINY, mod_features=features)))
    x = torch.randn(2, 2, 3, 4, 3)
    expected = denoiser(x, torch.tensor([[0.3], [0.3]]), DATE)
    for sigma in (torch.tensor(0.3), torch.tensor([0.3]), torch.tensor([0.3, 0.3])):
        torch.testing.assert_close(denoiser(x, sigma, DATE.expand(2, -1, -1)), expected)
    mixed = denoiser(x, torch.tensor([0.3, 5.0]), DATE)
    torch.testing.assert_close(mixed[:1], expected[:1])
    torch.testing.assert_close(mixed[1:], denoiser(x[1:], torch.tensor(5.0), DATE))


def test_denoiser_of_perfect_white_data_is_linear():
    """For x ~ N(0, 1) the mean of x given x_t is x_t / (1 + sigma^2): the network has nothing to add."""
    denoiser = Denoiser(_Zero())
    x = torch.randn(2, 2, 3, 4, 3)
    torch.testing.assert_close(denoiser(x, torch.tensor(2.0), DATE), x / 5)


class _Zero(torch.nn.Module):
    def forward(self, x, t, date):
        return torch.zeros_like(x)


def test_rope_turns_pairs_and_keeps_lengths():
    x = torch.tensor([[1.0, 0.0, 0.0, 2.0]])
    turned = rope(x, torch.tensor([[torch.pi / 2, torch.pi]]))
    torch.testing.assert_close(turned, torch.tensor([[0.0, 1.0, 0.0, -2.0]]), atol=1e-6, rtol=0)


def test_sine_encoding_has_sines_first():
    codes = sine_encoding(torch.tensor([0.0, 1.0]), 4)
    expected = [[0, 0, 1, 1], [np.sin(1), np.sin(0.01), np.cos(1), np.cos(0.01)]]
    torch.testing.assert_close(codes, torch.tensor(expected, dtype=torch.float32))


@pytest.mark.parametrize("unit", ["h", "s", "us", "ns"])
def test_dates_of_any_unit(unit):
    times = pd.to_datetime(["1969-12-31T23", "2000-02-29T12", "2018-11-02T00", "2021-12-31T18"])
    expected = np.stack([times.year, times.month, times.day, times.hour], -1)
    found = to_date_tensor(times.to_numpy().astype(f"datetime64[{unit}]"))
    assert found.dtype == torch.int64
    np.testing.assert_array_equal(found.numpy(), expected)


def test_date_codes_are_single_precision_whatever_the_default():
    torch.set_default_dtype(torch.float64)
    try:
        assert date_codes(DATE).dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)
    assert date_codes(DATE).shape == (8,)
    assert date_codes(DATE.expand(3, -1, -1)).shape == (3, 8)


def test_local_time_turns_with_the_earth():
    noon_at_dateline = local_time(torch.tensor([2021, 3, 1, 0]), torch.tensor([180.0, -180.0, 0.0]))
    torch.testing.assert_close(noon_at_dateline, torch.tensor([[0.0, -1], [0, -1], [0, 1]]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_rise_between_their_ends(name):
    schedule = SCHEDULES[name](sigma_min=0.01, sigma_max=80.0)
    sigma = schedule(torch.linspace(0, 1, 33, dtype=torch.float64))
    assert (sigma.diff() > 0).all()
    middle = float(sigma[16])
    assert middle == pytest.approx(1.0 if name == "rectified" else 0.8**0.5, rel=0.02)


def test_schedule_ends_and_errors():
    torch.testing.assert_close(LogLinear()(torch.tensor([0.0, 1.0])), torch.tensor([1e-3, 1e3]), rtol=1e-5, atol=0)
    assert float(Rectified()(0.0)) == pytest.approx(1e-3)
    assert Rectified(bfloat16=True).t_max == 1 - 1 / 256
    with pytest.raises(OptionError, match="sigma_min is 2.0 and sigma_max 1.0"):
        Rectified(sigma_min=2.0, sigma_max=1.0)
