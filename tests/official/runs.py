"""Checks of official files: run_dir (a whole run directory), state_dict_keys (names and shapes at full size)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from tests.official import networks
from tests.official.latent_dump import LatentWindows
from tests.official.runner import Fixture, ResultRow, compare, load_weights, recognise, register
from xappa.diffusion.preconditioning import Denoiser
from xappa.errors import DatasetError
from xappa.model.appa import find_run, inference, read_run
from xappa.model.latent_normalisation import ChannelLatents
from xappa.model.model import Model
from xappa.model.networks.autoencoder import AutoencoderSpec, ConvAutoencoder
from xappa.model.networks.transformer import Transformer, TransformerSpec
from xappa.model.normalisation import ChannelNormalisation

PATCH = (2, 1, 1)
"""Patch of the official transformer, which its weights do not say."""


@register("run_dir", recognise=lambda f: (f.path / "autoencoders").is_dir())
def check_run(folder: Path) -> Iterator[ResultRow]:
    """A run directory is found and read; its statistics and networks are those of the files.

    Fixture folders beside it whose weights are those of the run are checked again, with the networks that were read.
    """
    for checkpoint in ("best", "last"):
        files = find_run(folder, checkpoint)
        with warnings.catch_warnings():
            # A state of a few channels, and no masks: both are said to users, and are as they should be here.
            warnings.simplefilter("ignore", UserWarning)
            model = read_run(files)
        parts: dict[str, tuple[nn.Module, Path]] = {"autoencoder": (model.autoencoder, files.autoencoder_weights)}
        if isinstance(model.denoiser, Denoiser):
            parts["denoiser"] = (model.denoiser.backbone, files.denoiser_weights)
        for part, (network, file) in parts.items():
            yield _same_tensors(folder, f"{checkpoint}/{part}", network, file)
        yield from _beside(folder, checkpoint, [network for network, _ in parts.values()])
    yield from _statistics(folder, model, files.statistics)
    yield from _latent_statistics(folder, model, files.latent_statistics)


def _same_tensors(folder: Path, output: str, network: nn.Module, file: Path) -> ResultRow:
    expected = torch.load(file, map_location="cpu", weights_only=True)
    found = network.state_dict()
    if found.keys() != expected.keys():
        return compare(folder, output, torch.tensor(len(found)), torch.tensor(-1))
    return compare(folder, output, _flat(found), _flat(expected), 0.0)


def _flat(tensors: dict[str, Tensor]) -> Tensor:
    return torch.cat([tensors[name].detach().double().flatten() for name in sorted(tensors)])


def _beside(folder: Path, checkpoint: str, read: list[nn.Module]) -> Iterator[ResultRow]:
    """Outputs of fixture folders beside the run that have its weights."""
    checks: dict[str, Callable[..., Iterable[ResultRow]]] = {
        "cae": networks.check_autoencoder,
        "vidit": networks.check_transformer,
    }
    for path in sorted(folder.resolve().parent.glob("*/weights.safetensors")):
        if (check := checks.get(recognise(path.parent) or "")) is None:
            continue
        weights = load_weights(path.parent)
        for network in read:
            own = network.state_dict()
            if own.keys() == weights.keys() and all(torch.equal(own[name], weights[name]) for name in own):
                for row in check(path.parent, network):
                    yield replace(
                        row, folder=Fixture(folder).name, output=f"{checkpoint}/{path.parent.name}/{row.output}"
                    )


def _statistics(folder: Path, model: Model, store: Path) -> Iterator[ResultRow]:
    """Means and deviations of the channels, against the store read by its labels."""
    if not isinstance(model.normalisation, ChannelNormalisation):
        raise DatasetError(f"{folder}: the model is not standardised by channel")
    stored = xr.open_zarr(store, consolidated=False)
    found = {"mean": model.normalisation.channel_mean, "std": model.normalisation.channel_deviation}
    for statistic, values in found.items():
        at = stored.sel(statistic=statistic)
        expected = [float(at[n] if level is None else at[n].sel(level=level)) for n, level in model.spec.channels]
        yield compare(folder, f"statistics/{statistic}", torch.from_numpy(values), torch.tensor(expected))


def _latent_statistics(folder: Path, model: Model, file: Path) -> Iterator[ResultRow]:
    """Statistics of latents: as read, and recomputed from the dump where there is one."""
    expected = torch.load(file, map_location="cpu", weights_only=True)
    if not isinstance(model.latents, ChannelLatents):
        raise DatasetError(f"{folder}: the latents are not standardised by channel")
    found = {"mean": model.latents.mean, "std": model.latents.deviation}
    for name, values in found.items():
        yield compare(folder, f"latents/{name}", torch.from_numpy(np.asarray(values)), expected[name])
    for dump in sorted(file.parent.glob("*.h5")):
        windows = LatentWindows(dump, model.latents, model.spec.window)
        for name, value in zip(found, windows.statistics(), strict=True):
            yield compare(folder, f"{dump.name}/{name}", value, expected[name])


@register("state_dict_keys")
def check_keys(file: Path) -> Iterator[ResultRow]:
    """Names, shapes and types of the tensors of a full-size network, built without memory: the share that differs."""
    lines = [line.split("\t") for line in file.read_text().splitlines() if line.strip()]
    expected = {name: (shape.replace(" ", ""), kind) for name, shape, kind in lines}
    with torch.device("meta"):
        tensors = {
            name: torch.empty([int(n) for n in shape.strip("()").split(",") if n])
            for name, (shape, _) in expected.items()
        }
        found = {
            name: (str(tuple(value.shape)).replace(" ", ""), str(value.dtype))
            for name, value in _full_size(tensors).state_dict().items()
        }
    wrong = sum(found.get(name) != expected.get(name) for name in found.keys() | expected.keys())
    yield ResultRow(
        Fixture(file).name, "keys", wrong / max(len(expected), 1), 0.0, f"{wrong} tensors differ" if wrong else ""
    )


def _full_size(tensors: dict[str, Tensor]) -> nn.Module:
    """The network whose tensors these are, as far as tensors tell."""
    if any(name.startswith("encoder.") for name in tensors):
        values = inference.infer_autoencoder_values(tensors, {"patch_size": (1, 1)})
        factor = 2 ** (len(values["hid_channels"]) - 1)
        config = {**values, "patch_size": (1, 1), "shape": (721, 1440), "resize": factor}
        return ConvAutoencoder(AutoencoderSpec.from_config(config))
    channels = tensors["out_proj.weight"].shape[0] // int(np.prod(PATCH))
    values = inference.infer_transformer_values(tensors, channels)
    # Neither heads nor the latent grid shape any tensor.
    config = {**values, "patch_size": PATCH, "attention_heads": 1}
    return Transformer(TransformerSpec.from_config(config, in_channels=channels, shape=(23, 47)))
