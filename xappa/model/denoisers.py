"""Kinds of denoiser that model directories know: how each is described, and built from its description."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from xappa.diffusion.gaussian import GaussianDenoiser, GaussianPrior
from xappa.diffusion.preconditioning import Denoiser
from xappa.errors import ModelError
from xappa.model.corrections.local import LocalCorrection, LocalSpec
from xappa.model.corrections.residual import ResidualNetwork, ResidualSpec
from xappa.model.corrections.seasonal_diurnal import SeasonalDiurnalCorrection, SeasonalDiurnalSpec
from xappa.model.networks.graph_transformer import GraphTransformer, GraphTransformerSpec
from xappa.model.networks.transformer import Transformer, TransformerSpec
from xappa.model.schema import from_json


def describe(denoiser: nn.Module) -> dict[str, Any]:
    """Arguments by which `build` makes a denoiser of the same kind and size: numbers and words.

    Raises
    ------
    ModelError
        If it is of a kind that has no description.
    """
    if isinstance(denoiser, GaussianDenoiser):
        if denoiser.residual is None:
            raise ModelError("A model needs a residual network beside the Gaussian prior; found none. Train one first.")
        return {
            "kind": "gaussian-residual",
            "patterns": denoiser.prior.patterns.shape[2],
            "joint": denoiser.prior.joint,
            "residual": dataclasses.asdict(denoiser.residual.spec),  # type: ignore[call-overload]
            **_describe_corrections(denoiser.corrections),
        }
    if isinstance(denoiser, Denoiser) and isinstance(denoiser.backbone, Transformer):
        return {"kind": "transformer", "backbone": dataclasses.asdict(denoiser.backbone.spec)}
    if isinstance(denoiser, Denoiser) and isinstance(denoiser.backbone, GraphTransformer):
        return {"kind": "graph-transformer", "backbone": dataclasses.asdict(denoiser.backbone.spec)}
    raise ModelError(f"{type(denoiser).__name__} cannot be written; expected one of {', '.join(BUILDERS)}.")


def build(record: Mapping[str, Any], window: int, latent_shape: tuple[int, int, int]) -> nn.Module:
    """The denoiser that `record` describes, on windows (window, *latent_shape), with parameters of no meaning.

    Raises
    ------
    ModelError
        If its kind is not known, or entries are missing, not known, or of another type.
    """
    kind = record.get("kind")
    if not isinstance(kind, str) or kind not in BUILDERS:
        raise ModelError(f"Unknown kind of denoiser {kind!r}; expected one of {', '.join(BUILDERS)}.")
    values = {key: value for key, value in record.items() if key != "kind"}
    return BUILDERS[kind](values, window, latent_shape)


def _require_windows(spec: ResidualSpec | LocalSpec | TransformerSpec | SeasonalDiurnalSpec, *expected: object) -> None:
    """Complain about a network that is made for other windows (K, h, w, C) than the state and autoencoder give."""
    if isinstance(spec, TransformerSpec):
        found: tuple[object, ...] = (spec.blanket_size, (*spec.shape, spec.in_channels))
    else:
        found = (spec.window, spec.shape) if not isinstance(spec, SeasonalDiurnalSpec) else (expected[0], spec.shape)
    if found != expected:
        name = type(spec).__name__.removesuffix("Spec").lower()
        raise ModelError(f"denoiser: the {name} takes (window, latents) {found}; state and autoencoder give {expected}")


@dataclass(frozen=True)
class _GaussianRecord:
    """Description of a Gaussian prior with its networks."""

    patterns: int
    joint: int
    residual: ResidualSpec
    local: tuple[LocalSpec, ...] = ()
    dated: SeasonalDiurnalSpec | None = None


@dataclass(frozen=True)
class _TransformerRecord:
    backbone: TransformerSpec


@dataclass(frozen=True)
class _GraphTransformerRecord:
    backbone: GraphTransformerSpec


def _build_gaussian(values: dict[str, Any], window: int, latent_shape: tuple[int, int, int]) -> nn.Module:
    record = from_json(_GaussianRecord, values, "denoiser")
    dated = () if record.dated is None else (record.dated,)
    for spec in (record.residual, *record.local, *dated):
        _require_windows(spec, window, latent_shape)
    prior = GaussianPrior(window, latent_shape, record.patterns, record.joint)
    corrections = (*map(LocalCorrection, record.local), *map(SeasonalDiurnalCorrection, dated))
    return GaussianDenoiser(prior, ResidualNetwork(record.residual), corrections)


def _describe_corrections(corrections: nn.ModuleList) -> dict[str, Any]:
    """Specifications by the entries of a description."""
    local = [dataclasses.asdict(part.spec) for part in corrections if isinstance(part, LocalCorrection)]
    dated = [dataclasses.asdict(part.spec) for part in corrections if isinstance(part, SeasonalDiurnalCorrection)]
    return ({"local": local} if local else {}) | ({"dated": dated[0]} if dated else {})


def _build_transformer(values: dict[str, Any], window: int, latent_shape: tuple[int, int, int]) -> nn.Module:
    spec = from_json(_TransformerRecord, values, "denoiser").backbone
    _require_windows(spec, window, latent_shape)
    return Denoiser(Transformer(spec))


def _build_graph_transformer(values: dict[str, Any], window: int, latent_shape: tuple[int, int, int]) -> nn.Module:
    return Denoiser(GraphTransformer(from_json(_GraphTransformerRecord, values, "denoiser").backbone))


BUILDERS: dict[str, Callable[[dict[str, Any], int, tuple[int, int, int]], nn.Module]] = {
    "gaussian-residual": _build_gaussian,
    "transformer": _build_transformer,
    "graph-transformer": _build_graph_transformer,
}
"""Kinds of denoiser, by the names that model directories give them."""
