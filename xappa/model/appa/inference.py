"""Hyper-parameters that can be read off the tensors of official checkpoints."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

Tensors = Mapping[str, Tensor]


def infer_autoencoder_values(tensors: Tensors, config: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of section ``ae`` that the weights of a convolutional autoencoder give.

    Parameters
    ----------
    tensors : mapping of str to Tensor
    config : mapping
        What is known; of channels and patch size, one gives the other.
    """
    levels = 1 + max((level for level, _ in _find_indices(tensors, r"encoder\.descent\.(\d+)\.(\d+)\.")), default=-1)
    blocks, hidden = [], []
    for level in range(levels):
        normed = _find_indices(tensors, rf"encoder\.descent\.({level})\.(\d+)\.norm\.eps")
        blocks.append(len(normed))
        entry = f"encoder.descent.{level}.0"
        hidden.append(_infer_size(tensors, f"{entry}.weight", 0) or _infer_size(tensors, f"{entry}.1.weight", 0))
    if not levels or None in hidden:
        return {}
    values: dict[str, Any] = {"hid_channels": hidden, "hid_blocks": blocks}
    values["pixel_shuffle"] = levels == 1 or "encoder.descent.1.0.1.weight" in tensors
    values["lat_channels"] = _infer_size(tensors, f"encoder.descent.{levels - 1}.{blocks[-1] + 1}.weight", 0)
    wide = next((k for k in tensors if k.startswith("encoder.") and k.endswith(".ffn.0.weight")), "")
    if wide:
        values["ffn_factor"] = tensors[wide].shape[0] // tensors[wide].shape[1]
    entering = _infer_size(tensors, "encoder.descent.0.0.weight", 1)
    if entering and "patch_size" in config:
        values["in_channels"] = entering // math.prod(config["patch_size"])
    elif entering and entering == config.get("in_channels"):
        values["patch_size"] = (1, 1)
    return {key: value for key, value in values.items() if value is not None}


def infer_transformer_values(tensors: Tensors, channels: int) -> dict[str, Any]:
    """Entries of section ``backbone`` that the weights of a transformer give.

    Parameters
    ----------
    tensors : mapping of str to Tensor
    channels : int
        Channels of the latents.
    """
    hidden, entering = (_infer_size(tensors, "in_proj.weight", axis) for axis in (0, 1))
    leaving = _infer_size(tensors, "out_proj.weight", 0)
    if not (hidden and entering and leaving):
        return {}
    volume = max(leaving // channels, 1)
    values: dict[str, Any] = {
        "hid_channels": hidden,
        "hid_blocks": _count_blocks(tensors),
        "mod_features": _infer_size(tensors, "blocks.0.ada_zero.0.weight", 0) or 0,
        "ffn_factor": (_infer_size(tensors, "blocks.0.ffn.0.weight", 0) or 4 * hidden) // hidden,
        "rope": "blocks.0.theta" in tensors,
        "blanket_size": (entering // volume - channels) // 4,
    }
    return values | ({"patch_size": (1, 1, 1)} if volume == 1 else {})


def infer_graph_transformer_values(tensors: Tensors) -> dict[str, Any]:
    """Entries of section ``backbone`` that the weights of a graph transformer give."""
    hidden = _infer_size(tensors, "in_proj.weight", 0)
    if not hidden:
        return {}
    nodes = _infer_size(tensors, "grid_coord", 0)
    values = {
        "input_channels": _infer_size(tensors, "in_proj.weight", 1),
        "hidden_channels": hidden,
        "hidden_blocks": _count_blocks(tensors),
        "mod_features": _infer_size(tensors, "blocks.0.modulation.0.weight", 0),
        "ffn_factor": (_infer_size(tensors, "blocks.0.ffn.0.weight", 0) or 4 * hidden) // hidden,
        "ico_divisions": None if nodes is None or nodes < 12 else round(math.log((nodes - 2) / 10, 4)),
    }
    return {key: value for key, value in values.items() if value is not None}


def _count_blocks(tensors: Tensors) -> int:
    return 1 + max((block for (block,) in _find_indices(tensors, r"blocks\.(\d+)\.")), default=-1)


def _find_indices(tensors: Tensors, pattern: str) -> set[tuple[int, ...]]:
    matches = (re.match(pattern, name) for name in tensors)
    return {tuple(map(int, match.groups())) for match in matches if match}


def _infer_size(tensors: Tensors, name: str, axis: int) -> int | None:
    return int(tensors[name].shape[axis]) if name in tensors and tensors[name].ndim > axis else None
