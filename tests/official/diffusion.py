"""Checks of diffusion: gmres, adams_bashforth, samplers, guidance, guidance_decoder, trajectory, trajectory_denoiser.

States in these folders are flattened: windows (time, latitude, longitude, channel), physical states (pixel, channel).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from tests.official.networks import autoencoder, transformer
from tests.official.runner import Fixture, ResultRow, compare, load, register
from xappa.diffusion.adams_bashforth import adams_bashforth
from xappa.diffusion.composition import TrajectoryDenoiser, fold, unfold
from xappa.diffusion.gmres import gmres
from xappa.diffusion.guidance import MMPS, SDA, W2C, Guidance, Observation
from xappa.diffusion.guidance.covariance import extract_variances
from xappa.diffusion.preconditioning import Denoiser
from xappa.diffusion.samplers import DDIM, DDPM, LMS, PC, Denoise, Noise, Rewind, Sampler
from xappa.diffusion.schedule import SCHEDULES

Tensors = dict[str, Tensor]
OFFICIAL = ("symmetrical", "causal", "average")
"""Stitchings in the folders."""


def tolerance(expected: Tensor, single: float) -> float:
    """Largest error of a network's output: `single` in float32, 1e-6 in float64."""
    return 1e-6 if expected.dtype == torch.float64 else single


@register("gmres")
def check_gmres(folder: Path) -> Iterator[ResultRow]:
    """Solutions after some iterations, ``x_<iterations>``, of general and of symmetric (``spd``) systems."""
    _, io = load(folder)

    def solve(matrix: Tensor, b: Tensor, iterations: str, x0: Tensor | None = None) -> Tensor:
        return gmres(lambda v: (matrix @ v[..., None])[..., 0], b, x0, iterations=int(iterations)).x

    for name, expected in io.items():
        if found := re.fullmatch(r"x_(spd_)?(\d+)(_from_x0)?", name):
            matrix = io["A_spd"] if found[1] else io["A"]
            x = solve(matrix, io["b"], found[2], io["x0"] if found[3] else None)
        elif found := re.fullmatch(r"x1d_(\d+)", name):
            x = solve(io["A"][0], io["b"][0], found[1])
        else:
            continue
        yield compare(folder, name, x, expected)


@register("adams_bashforth")
def check_adams_bashforth(folder: Path) -> Iterator[ResultRow]:
    """Coefficients of every step, padded with NaN."""
    _, io = load(folder)
    for name, expected in io.items():
        if found := re.fullmatch(r"coeffs_steps(\d+)_order(\d+)", name):
            steps, order = map(int, found.groups())
            rows = torch.full((steps, order), torch.nan, dtype=torch.float64)
            for i in range(1, steps + 1):
                weights = adams_bashforth(io[f"sigmas_{steps}"], i, order)
                rows[i - 1, : len(weights)] = weights
            yield compare(folder, name, rows, expected)


def sibling(folder: Path, key: str, usual: str) -> Path:
    """Folder of the network that config.json names by its path (entry `key`, or ``weights``), or the usual one."""
    config = Fixture(folder).config
    if isinstance(config.get(key), str):
        return folder / config[key]
    return (folder / config["weights"]).parent if key == "vit" and "weights" in config else folder.parent / usual


def network(folder: Path, date: Tensor, dtype: torch.dtype = torch.float32) -> Denoise:
    """Denoiser of windows in any flattening: the transformer that `folder` names, on `date`."""
    backbone = transformer(sibling(folder, "vit", "vidit_tiny")).requires_grad_(False).to(dtype)
    spec, denoiser = backbone.spec, Denoiser(backbone)
    window = (spec.blanket_size, *spec.shape, spec.in_channels)
    return lambda x, sigma: denoiser(x.reshape(-1, *window), sigma, date).reshape(x.shape)


def sampler(name: str, delta: float = 0.1) -> Sampler | None:
    """Sampler that an output such as ``lms_s8_o3`` stands for; `delta` is that of predictor-corrector ones."""
    if not (found := re.match(r"(ddim|ddpm|lms|pc(\d+)|rewind_(jump|small))_s(\d+)(?:_[or](\d+))?", name)):
        return None
    kind, corrections, rewind, steps, number = found.groups()
    if kind.startswith("pc"):
        return PC(int(steps), corrections=int(corrections), delta=delta)
    if rewind:
        return Rewind(int(steps), depth=int(number), jump=rewind == "jump")
    return LMS(int(steps), int(number)) if kind == "lms" else {"ddim": DDIM, "ddpm": DDPM}[kind](int(steps))


def recorded(draws: Tensor | None) -> Noise:
    """Noise that was written down, (draw, B, ...); no sampler asks for it where there is none."""
    return lambda k: torch.empty(0) if draws is None else draws[k]


@register("samplers")
def check_samplers(folder: Path) -> Iterator[ResultRow]:
    """Samples from a given start, with given noise."""
    config, io = load(folder)
    delta = config.get("pc", {}).get("delta", 0.1)
    for name, expected in io.items():
        sample = sampler(name, delta)
        if sample is None or name.endswith("_noise"):
            continue
        denoiser, x = network(folder, io["date"], expected.dtype), io["x1"].to(expected.dtype)
        schedule = SCHEDULES[next((s for s in SCHEDULES if name.endswith(s)), "rectified")]()
        found = sample(denoiser, x, recorded(io.get(f"{name}_noise")), schedule)
        yield compare(folder, name, found, expected, tolerance(expected, 1e-4))


def guided(name: str) -> Guidance | None:
    """Guidance that an output such as ``mmps_..._it2_tw1`` or ``sda_..._g0.05`` stands for; None: ``den_...``."""
    kind = name.partition("_")[0]
    if kind == "mmps":
        iterations, tweedie = re.findall(r"_(?:it|tw)(\d+)", name)
        return replace(MMPS.official(), iterations=int(iterations), tweedie=tweedie == "1")
    gamma = re.search(r"_g([\d.]+)", name)
    return None if kind == "den" else {"sda": SDA, "w2c": W2C}[kind](float(gamma[1]) if gamma else 1.0)


def guidance_row(
    folder: Path, name: str, io: Tensors, over: str, observation: Observation, dtype: torch.dtype | None = None
) -> ResultRow:
    """Compare the output of a (guided) denoiser, called ``..._s<sigma>...``, at the scaled state `over`.

    It is computed in `dtype`, unless told that of the recorded output.
    """
    expected, level = io[name], re.search(r"_s([\d.]+)", name)
    dtype = dtype or expected.dtype
    sigma = torch.tensor(float(level[1]) if level else 1.0)
    x_t, denoiser = io[over] * torch.sqrt(1 + sigma**2), network(folder, io["date"], dtype)
    if (guidance := guided(name)) is not None:
        y, variance = observation.y.to(dtype), extract_variances(observation.variance).to(dtype)
        denoiser = guidance.guide(denoiser, replace(observation, y=y, variance=variance))
    with torch.no_grad():
        found = denoiser(x_t.to(dtype), sigma.to(dtype))
    return compare(folder, name, found, expected, tolerance(expected, 1e-5))


@register("guidance")
def check_guidance(folder: Path) -> Iterator[ResultRow]:
    """Guided denoisers, with a linear operator and equal errors or a non-linear one and different errors."""
    _, io = load(folder)

    def linear(x: Tensor) -> Tensor:
        return x[:, io["idx"]]

    def curved(x: Tensor) -> Tensor:
        return linear(x) ** 2 + 0.3 * torch.sin(linear(x))

    observations = Observation(io["y"], linear, io["var_y"]), Observation(io["y"], curved, io["var_y_het"])
    for name in io:
        if re.match(r"(den|mmps|sda|w2c)_", name):
            yield guidance_row(folder, name, io, "xt_over", observations["nonlin" in name])


class Decoding:
    """Operator of the official experiments: decode times of a window, pick pixels and channels.

    Order: time, then stations before satellite, then pixel, then channel.

    Parameters
    ----------
    folder : Path
        Fixture folder with the autoencoder beside it.
    io : dict of Tensor
    times : sequence of int
        Times seen, counted from the begin of the trajectory.
    first : int
        Time at which the window begins.
    prefix : str
        What the names of stations and satellite pixels begin with.
    """

    def __init__(self, folder: Path, io: Tensors, times: Sequence[int], first: int = 0, prefix: str = "") -> None:
        self.network = autoencoder(sibling(folder, "cae", "cae_f32_tiny")).requires_grad_(False)
        self.io, self.times, self.frames, self.prefix = io, times, [t - first for t in times], prefix

    def pick(self, x: Tensor, time: int) -> Tensor:
        """Observed values (B, M) of a state (B, pixel, channel)."""
        pixels = self.io[f"{self.prefix}stations"], self.io[f"{self.prefix}sat_{time}"]
        channels = self.io["station_vars"], self.io["sat_vars"]
        return torch.cat([x[:, p][:, :, c].flatten(1) for p, c in zip(pixels, channels, strict=True)], 1)

    def __call__(self, x: Tensor) -> Tensor:
        """Observed values (B, M) of windows (B, ...) of standardised latents."""
        window, decode = (-1, *self.network.spec.latent_shape), self.network.to(x.dtype).decode
        z = x.reshape(window) * self.io["latent_std"].to(x) + self.io["latent_mean"].to(x)
        z = z.unflatten(0, (len(x), -1))[:, self.frames]
        states = decode(z.flatten(0, 1)).flatten(2).mT.unflatten(0, z.shape[:2])
        return torch.cat([self.pick(states[:, i], time) for i, time in enumerate(self.times)], 1)


@register("guidance_decoder")
def check_guidance_decoder(folder: Path) -> Iterator[ResultRow]:
    """Observed pixels, and denoisers guided through the decoder."""
    _, io = load(folder)
    for name in io:
        if found := re.fullmatch(r"mask_state_y_(\d+)", name):
            state = Decoding(folder, io, []).pick(io["x_phys"][[int(found[1])]], int(found[1]))
            yield compare(folder, name, state[0], io[name], 0.0)
        elif found := re.match(r"(?:A_x_lat|mmps|sda|w2c)_L(\d+)", name):
            x, operator = f"x_lat_L{found[1]}", Decoding(folder, io, range(int(found[1])))
            if name.startswith("A_"):
                yield compare(folder, name, operator(io[x])[0], io[name])
            else:
                observation = Observation(io[f"y_L{found[1]}"], operator, io[f"var_y_L{found[1]}"])
                # The gradient of the decoder far from the reports amplifies float32's rounding a hundredfold, beyond
                # the tolerance on some processors. In float64 what is left is the rounding of the recorded output.
                steep = name.startswith(("sda", "w2c"))
                yield guidance_row(folder, name, io, x, observation, torch.float64 if steep else None)


@register("trajectory")
def check_trajectory(folder: Path) -> Iterator[ResultRow]:
    """Windows of a trajectory, and trajectories of windows."""
    config, io = load(folder)
    x = io["x"].unflatten(1, (-1, config["state_size"]))
    for window, stride in config["K_S"]:
        case, overlap = f"k{window}_s{stride}", window - stride
        windows = unfold(x, window, overlap)
        yield compare(folder, f"unfold_x_{case}", windows.flatten(0, 1).flatten(1), io[f"unfold_x_{case}"], 0.0)
        dates = unfold(io["d"], window, overlap).flatten(0, 1)
        yield compare(folder, f"unfold_d_{case}", dates, io[f"unfold_d_{case}"])
        marked = windows + 1000 * torch.arange(windows.shape[1])[:, None, None]
        for stitching in OFFICIAL:
            name = f"fold_{stitching}_{case}"
            yield compare(folder, name, fold(marked, overlap, stitching).flatten(1), io[name], 0.0)


@register("trajectory_denoiser")
def check_trajectory_denoiser(folder: Path) -> Iterator[ResultRow]:
    """Denoised trajectories, and whole assimilations with the official guidance."""
    config, io = load(folder)
    e2e = config["e2e"]
    window, overlap, times = e2e["blanket"], e2e["blanket"] - e2e["stride"], io["date"].shape[1]
    priors = [network(folder, date) for date in unfold(io["date"], window, overlap).unbind(1)]
    posteriors = [posterior(folder, io, e2e, n, prior) for n, prior in enumerate(priors)]
    samplers = {
        # the folder does not say how many steps this one took
        "lms": LMS(4),
        "pc": PC(e2e["steps"], corrections=e2e["corrections"], delta=e2e["delta"]),
    }
    x, start, noise = (io[name].unflatten(-1, (times, -1)) for name in ("x", "e2e_x1", "e2e_noise"))
    for name in io:
        stitching = next((known for known in OFFICIAL if known in name), "")
        if found := re.fullmatch(r"[a-z]+_s([\d.]+)", name):
            sigma = torch.tensor(float(found[1]))
            with torch.no_grad():
                x_hat = TrajectoryDenoiser(priors, window, overlap, stitching)(x * torch.sqrt(1 + sigma**2), sigma)
            yield compare(folder, name, x_hat.flatten(1), io[name])
        elif found := re.match(r"e2e_(lms|pc)_", name):
            denoiser = TrajectoryDenoiser(posteriors, window, overlap, stitching)
            sample = samplers[found[1]](denoiser, start, recorded(noise), SCHEDULES["rectified"]())
            yield compare(folder, name, sample.flatten(1), io[name], 1e-3)


def posterior(folder: Path, io: Tensors, e2e: dict[str, int], n: int, prior: Denoise) -> Denoise:
    """Denoiser of the n-th window, guided by what is observed in it."""
    begin = n * e2e["stride"]
    seen = range(begin, min(begin + e2e["blanket"], e2e["assimilation_length"]))
    observation = Observation(io[f"e2e_y_{n}"], Decoding(folder, io, seen, begin, "e2e_"), io[f"e2e_var_{n}"])
    return replace(MMPS.official(), iterations=e2e["mmps_iterations"]).guide(prior, observation)
