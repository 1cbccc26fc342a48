"""Networks of official runs, from a configuration and a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from xappa.diffusion.preconditioning import Denoiser
from xappa.diffusion.schedule import SCHEDULES, Schedule
from xappa.errors import ModelError, XappaError, choose, translate_read_errors
from xappa.model.appa import inference
from xappa.model.appa.checkpoints import read_tensors
from xappa.model.appa.configuration import Configuration, read_configuration
from xappa.model.integrity import require_finite
from xappa.model.meta_init import load_network
from xappa.model.networks.autoencoder import AutoencoderSpec, ConvAutoencoder
from xappa.model.networks.graph_transformer import GraphTransformer, GraphTransformerSpec
from xappa.model.networks.transformer import Transformer, TransformerSpec

AUTOENCODER = (
    *("in_channels", "lat_channels", "shape", "resize", "hid_channels", "hid_blocks", "pixel_shuffle", "patch_size"),
    *("ffn_factor", "saturation", "noise_level"),
)
TRANSFORMER = (
    *("blanket_size", "hid_channels", "hid_blocks", "mod_features", "ffn_factor", "attention_heads", "qk_norm"),
    *("rope", "patch_size", "window_size"),
)
GRAPH_TRANSFORMER = (
    *("input_channels", "hidden_channels", "hidden_blocks", "heads", "ico_divisions", "mod_features", "ffn_factor"),
    *("self_attention_hops", "cross_attention_hops"),
)
TRAIN = ("blanket_dt", "noise_schedule", "sigma_min", "sigma_max")


def read_autoencoder(config: Path, weights: Path) -> ConvAutoencoder:
    """The autoencoder of a run.

    Parameters
    ----------
    config : Path
        YAML with a section ``ae``; what it lacks is inferred from the weights, where they say.
    weights : Path
        ``.pth`` of the whole autoencoder.

    Raises
    ------
    ModelError
        If a file cannot be read, entries are missing, tensors do not fit (all are listed), or the autoencoder is one on
        a graph.
    """
    read = read_configuration(config)
    entries, tensors = read.get_section("ae"), read_tensors(weights)
    name = str(entries.get("name", ""))
    convolutional = any(key.startswith("encoder.descent.") for key in tensors)
    if "ico" in name or ("cae" not in name and not convolutional):
        raise ModelError(
            f"{config} is of the graph autoencoder {name!r}, which xappa does not have yet; expected a convolutional "
            "one ('cae...'). Its denoiser can be read by itself, with xappa.model.appa.read_denoiser."
        )
    with _with_file_in_errors(config, "ae"):
        values = {**inference.infer_autoencoder_values(tensors, entries), **entries}
        _require(read, "ae", AUTOENCODER, values)
        values["noise_level"] = _parse_number(read, "ae.noise_level", values["noise_level"])
        spec = AutoencoderSpec.from_config(values)
    stated = entries.get("latent_shape")
    if stated is not None and list(spec.latent_shape) != stated:
        raise ModelError(
            f"{config}: ae.latent_shape is {stated}, but the other entries of 'ae' make {spec.latent_shape}; "
            "correct shape, resize, hid_channels, patch_size or lat_channels."
        )
    require_finite(tensors, str(weights))
    return load_network(lambda: ConvAutoencoder(spec), tensors, str(weights))


def read_denoiser(config: Path, weights: Path, latent_shape: tuple[int, int, int] | None = None) -> Denoiser:
    """The denoiser of a run: a transformer on the latents of a convolutional or of a graph autoencoder.

    Parameters
    ----------
    config : Path
        YAML with a section ``backbone``; what it lacks is inferred from the weights, where they say.
    weights : Path
        ``.pth`` of the backbone alone.
    latent_shape : (int, int, int), optional
        (latitude, longitude, channel) of the latents; not needed for a graph transformer.

    Raises
    ------
    ModelError
        If a file cannot be read, entries are missing, or tensors do not fit (all are listed).
    """
    read = read_configuration(config)
    entries, tensors = read.get_section("backbone"), read_tensors(weights)
    build: Callable[[], nn.Module]
    if is_graph(read):
        with _with_file_in_errors(config, "backbone"):
            values = {**inference.infer_graph_transformer_values(tensors), **entries}
            _require(read, "backbone", GRAPH_TRANSFORMER, values)
            build = partial(GraphTransformer, GraphTransformerSpec.from_config(values))
    else:
        if latent_shape is None:
            raise ModelError(f"{config} is of a transformer on a grid, which needs latent_shape=(h, w, C).")
        *shape, channels = latent_shape
        trained = {k: v for k, v in read.get_section("train").items() if k == "blanket_size"}
        with _with_file_in_errors(config, "backbone"):
            values = {**inference.infer_transformer_values(tensors, channels), **trained, **entries}
            _require(read, "backbone", TRANSFORMER, values)
            spec = TransformerSpec.from_config(values, in_channels=channels, shape=(shape[0], shape[1]))
            build = partial(Transformer, spec)
    require_finite(tensors, str(weights))
    return Denoiser(load_network(build, tensors, str(weights))).eval().requires_grad_(False)


@contextmanager
def _with_file_in_errors(config: Path, section: str) -> Iterator[None]:
    """Errors of a configuration's values, with its file."""
    try:
        with translate_read_errors(
            f"section {section!r}", "sizes of a network", ModelError, "Correct it, or copy the run again."
        ):
            yield
    except XappaError as error:
        text = str(error)
        raise ModelError(text if str(config) in text else f"{config}: {text}") from error


def read_schedule(config: Path) -> tuple[Schedule, int]:
    """Noise schedule of a denoiser's training, and the hours between the times of its windows.

    Raises
    ------
    ModelError
        If entries of section ``train`` are missing or not valid.
    """
    read = read_configuration(config)
    entries = read.get_section("train")
    _require(read, "train", TRAIN, entries)
    hours = _parse_number(read, "train.blanket_dt", entries["blanket_dt"])
    if hours < 1 or hours != int(hours):
        raise ModelError(f"{config}: train.blanket_dt is {hours:g}; expected a whole number of hours.")
    try:
        kind = choose("noise_schedule", str(entries["noise_schedule"]), SCHEDULES)
        low, high = (_parse_number(read, f"train.{key}", entries[key]) for key in ("sigma_min", "sigma_max"))
        return kind(low, high), int(hours)
    except XappaError as error:
        raise ModelError(f"{config}: {error}") from error


def is_graph(config: Configuration) -> bool:
    """Whether a configuration is one of a graph transformer."""
    entries = config.get_section("backbone")
    return any("graphdit" in str(entries.get(key, "")) for key in ("name", "arch"))


def _require(config: Configuration, section: str, keys: Iterable[str], values: Mapping[str, Any]) -> None:
    """Refuse values without some of the keys, which neither the configuration nor the weights gave."""
    missing = [f"{section}.{key}" for key in keys if key not in values]
    if missing:
        raise ModelError(
            f"{config.file} lacks {', '.join(missing)}, and the weights do not say: add "
            f"{'it' if len(missing) == 1 else 'them'} to the file."
        )


def _parse_number(config: Configuration, key: str, value: Any) -> float:
    """A finite number, also of YAML such as ``1e-3``, which is text there."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ModelError(f"{config.file}: {key} is {str(value)[:80]!r}; expected a number.")
    return number
