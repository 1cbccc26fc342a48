"""Kinds of denoiser that model directories know: how each is described, and built from its description."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from torch import nn

from xappa.diffusion.gaussian import GaussianDenoiser, GaussianPrior
from xappa.diffusion.preconditioning import Denoiser
from xappa.errors import ModelError
from xappa.models.dated import DatedCorrection, DatedSpec
from xappa.models.graph_transformer import GraphTransformer, GraphTransformerSpec
from xappa.models.local import LocalCorrection, LocalCorrections, LocalSpec
from xappa.models.residual import Residual, ResidualSpec
from xappa.models.transformer import Transformer, TransformerSpec


def describe(denoiser: nn.Module) -> dict[str, Any]:
    """What `build` needs to make a denoiser of the same kind and size: numbers and words.

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
            **_describe_local(denoiser.local),
            **({"dated": dataclasses.asdict(denoiser.dated.spec)} if denoiser.dated else {}),  # type: ignore[call-overload]
        }
    if isinstance(denoiser, Denoiser) and isinstance(denoiser.backbone, Transformer):
        return {"kind": "transformer", "backbone": dataclasses.asdict(denoiser.backbone.spec)}
    if isinstance(denoiser, Denoiser) and isinstance(denoiser.backbone, GraphTransformer):
        return {"kind": "graph-transformer", "backbone": dataclasses.asdict(denoiser.backbone.spec)}
    raise ModelError(f"{type(denoiser).__name__} cannot be written; expected one of {', '.join(BUILDERS)}.")


def build(record: dict[str, Any], window: int, latent_shape: tuple[int, int, int]) -> nn.Module:
    """The denoiser that `record` describes, on windows (window, *latent_shape), with parameters of no meaning.

    Raises
    ------
    ModelError
        If its kind is not known.
    """
    if record["kind"] not in BUILDERS:
        raise ModelError(f"Unknown kind of denoiser {record['kind']!r}; expected one of {', '.join(BUILDERS)}.")
    return BUILDERS[record["kind"]](record, window, latent_shape)


def _gaussian(record: dict[str, Any], window: int, latent_shape: tuple[int, int, int]) -> nn.Module:
    prior = GaussianPrior(window, latent_shape, record["patterns"], record["joint"])
    residual = Residual(ResidualSpec(**tuples(record["residual"])))
    dated = DatedCorrection(DatedSpec(**tuples(record["dated"]))) if "dated" in record else None
    return GaussianDenoiser(prior, residual, _local(record.get("local")), dated)


def _describe_local(local: nn.Module | None) -> dict[str, Any]:
    """One correction by its specification, several by a list of them."""
    if isinstance(local, LocalCorrection):
        return {"local": dataclasses.asdict(local.spec)}
    if isinstance(local, LocalCorrections):
        return {"local": [dataclasses.asdict(part.spec) for part in local]}  # type: ignore[call-overload,arg-type]
    return {}


def _local(record: dict[str, Any] | list[dict[str, Any]] | None) -> nn.Module | None:
    if isinstance(record, list):
        return LocalCorrections(LocalCorrection(LocalSpec(**tuples(spec))) for spec in record)
    return LocalCorrection(LocalSpec(**tuples(record))) if record else None


def _transformer(record: dict[str, Any], window: int, latent_shape: tuple[int, int, int]) -> nn.Module:
    return Denoiser(Transformer(TransformerSpec.from_config(record["backbone"])))


def _graph_transformer(record: dict[str, Any], window: int, latent_shape: tuple[int, int, int]) -> nn.Module:
    return Denoiser(GraphTransformer(GraphTransformerSpec.from_config(record["backbone"])))


def tuples(values: dict[str, Any]) -> dict[str, Any]:
    """Lists, as JSON has them, as tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


BUILDERS: dict[str, Callable[[dict[str, Any], int, tuple[int, int, int]], nn.Module]] = {
    "gaussian-residual": _gaussian,
    "transformer": _transformer,
    "graph-transformer": _graph_transformer,
}
"""Kinds of denoiser, by the names that model directories give them."""
