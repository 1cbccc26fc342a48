"""Checks of the networks and of their parts: cae, vidit, saturations, rope, dates, window_mask, schedules."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from tests.official.runner import Fixture, ResultRow, compare, load, load_weights, register
from tests.official.window_mask import window_mask
from xappa.diffusion.preconditioning import Denoiser
from xappa.diffusion.schedule import SCHEDULES
from xappa.errors import DatasetError
from xappa.model.dates import date_codes, local_time, to_date_tensor, year_progress
from xappa.model.networks.autoencoder import AutoencoderSpec, ConvAutoencoder
from xappa.model.networks.embedding import list_grid_coordinates, rope
from xappa.model.networks.layers import SATURATIONS
from xappa.model.networks.transformer import Transformer, TransformerSpec

Outputs = dict[str, Callable[[], Tensor]]
Network = TypeVar("Network", bound=nn.Module)


def _rows(folder: Path, tensors: dict[str, Tensor], outputs: Outputs) -> Iterator[ResultRow]:
    """Compare those of `outputs` that the folder holds; float32 and float64 versions count as outputs of their own."""
    for name, make in outputs.items():
        if name in tensors:
            with torch.no_grad():
                yield compare(folder, name, make(), tensors[name])


def _precisions(network: Network) -> dict[torch.dtype, Network]:
    """A network, and its copy in double precision."""
    return {torch.float32: network, torch.float64: copy.deepcopy(network).double()}


def autoencoder(folder: Path) -> ConvAutoencoder:
    """Autoencoder of a fixture folder, float32."""
    network = ConvAutoencoder(AutoencoderSpec.from_config(Fixture(folder).config))
    network.load_state_dict(load_weights(folder))
    return network.eval()


def transformer(folder: Path) -> Transformer:
    """Transformer of a fixture folder, float32."""
    network = Transformer(TransformerSpec.from_config(Fixture(folder).config))
    network.load_state_dict(load_weights(folder))
    return network.eval()


@register("cae", recognise=lambda f: {"lat_channels", "hid_channels", "resize"} <= f.config.keys())
def check_autoencoder(folder: Path, network: ConvAutoencoder | None = None) -> Iterator[ResultRow]:
    """Encode, decode and what lies between; states are (B, H*W, C) and latents (B, h*w, C) in the folder."""
    _, io = load(folder)
    networks = _precisions(autoencoder(folder) if network is None else network)
    spec = networks[torch.float32].spec

    def image(x: Tensor) -> Tensor:
        return x.unflatten(1, spec.shape).permute(0, 3, 1, 2)

    def encode(dtype: torch.dtype) -> Tensor:
        return networks[dtype].encode(image(io["x"]).to(dtype)).flatten(1, 2)

    def decode(z: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        z = z.unflatten(1, spec.latent_shape[:2]).to(dtype)
        return networks[dtype].decode(z).permute(0, 2, 3, 1).flatten(1, 2)

    single = networks[torch.float32]
    outputs: Outputs = {
        "x_padded": lambda: single.pad(image(io["x"])),
        "z_presat": lambda: single.encode_unsaturated(single.pad(image(io["x"]))),
        "z": lambda: encode(torch.float32),
        "z_f64": lambda: encode(torch.float64),
        "x_dec": lambda: decode(io["z_in"]),
        "x_dec_f64": lambda: decode(io["z_in"], torch.float64),
        "x_rec": lambda: decode(encode(torch.float32)),
    }
    return _rows(folder, io, outputs)


@register("vidit", recognise=lambda f: f.config.get("arch") == "vit")
def check_transformer(folder: Path, network: Transformer | None = None) -> Iterator[ResultRow]:
    """Transformer, denoiser and their parts; windows are flattened (time, latitude, longitude, channel)."""
    _, io = load(folder)
    networks = _precisions(transformer(folder) if network is None else network)
    single, date = networks[torch.float32], io["date"]
    spec = single.spec
    window = (spec.blanket_size, *spec.shape, spec.in_channels)

    def evaluate(dtype: torch.dtype) -> Tensor:
        return networks[dtype](io["x"].unflatten(1, window).to(dtype), io["t"].to(dtype), date).flatten(1)

    def first() -> Tensor:
        return single(io["x"][:1].unflatten(1, window), io["t"][0], date[:1]).flatten(1)

    def denoise(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
        denoiser, x = Denoiser(networks[dtype]), io["den_x_over"].unflatten(1, window)
        noisy = [(x * torch.sqrt(1 + s**2)).to(dtype) for s in io["sigma"]]
        sigmas = [s.to(dtype).expand(shape) for s in io["sigma"]]
        return torch.stack([denoiser(x_t, s, date).flatten(1) for x_t, s in zip(noisy, sigmas, strict=True)])

    batch = len(date)
    outputs: Outputs = {
        "coords": lambda: list_grid_coordinates(spec.tokens),
        "mask": lambda: window_mask(spec.tokens, spec.window_size or spec.tokens),
        "pos_emb": single.embed_positions,
        "mod": lambda: single.embed_noise_level(io["t"]),
        "date_map_00": lambda: date_codes(date),
        "y": lambda: evaluate(torch.float32),
        "y_f64": lambda: evaluate(torch.float64),
        "y_first_scalar_t": first,
        "den_out": lambda: denoise((batch, 1)),
        "den_out_f64": lambda: denoise((batch, 1), torch.float64),
        "den_out_scalar_sigma": lambda: denoise(()),
    }
    return _rows(folder, io, outputs)


@register("dates", recognise=lambda f: {"dates", "year_progress"} <= f.keys)
def check_dates(folder: Path) -> Iterator[ResultRow]:
    """Codes of dates, and the dates of trajectories."""
    _, io = load(folder)
    trajectories = {name: lambda name=name: _trajectory(name) for name in io if name.startswith("traj_")}  # type: ignore[misc]
    outputs: Outputs = {
        "year_progress": lambda: year_progress(io["dates"]),
        "local_time": lambda: local_time(io["dates"], io["longitudes"]),
        "local_time_lon0": lambda: local_time(io["dates"]),
    }
    return _rows(folder, io, outputs | trajectories)


def _trajectory(output: str) -> Tensor:
    """Dates that an output called ``traj_<year>_<month>_<day>_<hour>h_dt<hours>_<count>`` stands for."""
    year, month, day, hour, step, count = re.findall(r"\d+", output)
    hours = int(hour) + int(step) * np.arange(int(count))
    return to_date_tensor(np.datetime64(f"{year}-{month}-{day}", "h") + hours.astype("timedelta64[h]"))


@register("rope", recognise=lambda f: {"q", "k", "theta"} <= f.keys)
def check_rope(folder: Path) -> Iterator[ResultRow]:
    """Rotary embedding."""
    _, io = load(folder)
    return _rows(folder, io, {f"{n}_out": lambda n=n: rope(io[n], io["theta"]) for n in "qk"})  # type: ignore[misc]


@register("saturations", recognise=lambda f: "softclip2" in f.keys)
def check_saturations(folder: Path) -> Iterator[ResultRow]:
    """Saturations of latents."""
    config, io = load(folder)
    bound = config["bound"]
    return _rows(folder, io, {str(n): lambda s=s: s(io["z"], bound) for n, s in SATURATIONS.items()})  # type: ignore[misc]


@register("window_mask", recognise=lambda f: {"coords_0", "window_0"} <= f.keys)
def check_window_mask(folder: Path) -> Iterator[ResultRow]:
    """Token coordinates and window masks of several grids."""
    _, io = load(folder)
    for n in range(sum(name.startswith("window_") for name in io)):
        shape = tuple(io[f"shape_{n}"].tolist())
        window = tuple(io[f"window_{n}"].tolist())
        outputs: Outputs = {
            f"coords_{n}": lambda shape=shape: list_grid_coordinates(shape),  # type: ignore[misc]
            f"mask_{n}": lambda shape=shape, window=window: window_mask(shape, window),  # type: ignore[misc]
        }
        yield from _rows(folder, io, outputs)


@register("schedules", recognise=lambda f: "rectified_default" in f.keys)
def check_schedules(folder: Path) -> Iterator[ResultRow]:
    """Noise schedules."""
    config, io = load(folder)
    for output, expected in io.items():
        if output not in ("t", "t_f64"):
            yield compare(folder, output, _scheduled(output, config, io).reshape(expected.shape), expected)


def _scheduled(output: str, config: dict[str, Any], io: dict[str, Tensor]) -> Tensor:
    """What an output called ``<schedule>_<range>[_f64 | _tmax]`` or ``<schedule>_bfloat16_[sigma_]tmax`` stands for."""
    name, _, rest = output.partition("_")
    case, _, what = rest.partition("_")
    if name not in SCHEDULES:
        raise DatasetError(f"{output} begins with no schedule's name; expected one of {', '.join(SCHEDULES)}")
    low, high = config["default" if case == "bfloat16" else case]
    options: dict[str, Any] = {"spread": config["loglogit_spread"]} if name == "loglogit" else {}
    schedule = SCHEDULES[name](sigma_min=low, sigma_max=high, **options)
    if case == "bfloat16":
        schedule = replace(schedule, bfloat16=True)
    if what == "tmax":
        return torch.tensor(schedule.t_max) if case == "bfloat16" else schedule(schedule.t_max)
    if what == "sigma_tmax":
        return schedule(schedule.t_max)
    return schedule(io["t_f64" if what == "f64" else "t"])
