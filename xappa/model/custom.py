"""Custom priors as models: what they leave out is filled in, and what they return is checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor, nn

from xappa.diffusion.schedule import NoiseLevels
from xappa.errors import ModelError, OptionError
from xappa.model.checkpointed_map import map_states
from xappa.model.prior_checks import find_problems
from xappa.model.protocol import REQUIRED, Covariance, Denoise, Prior, list_missing
from xappa.model.state import StateSpec
from xappa.tokens import tokenize_object

KEPT = 4 * 2**30
"""Bytes that graphs of decoded states may take together, as for models of directories."""
GRAPH = 16
"""Bytes of the graph of a decoded state over those of the state itself, where nobody says."""
ADDRESS = "object:"
"""How addresses of objects begin; they hold in the process that made them."""

_LIVE: WeakValueDictionary[str, CustomModel] = WeakValueDictionary()


@dataclass(eq=False)
class CustomModel:
    """A custom prior with the interface of a model; see `xappa.model.protocol.Prior` for what it fills in.

    Parameters
    ----------
    prior : Prior
    digest : str
        Hash of all that its results depend on.
    graph_budget : int
        See `GenerativeModel`.
    """

    prior: Prior
    digest: str
    graph_budget: int = KEPT

    precision = "float32"

    def __repr__(self) -> str:
        channels, height, width = self.spec.shape
        return (
            f"<xappa model of {type(self.prior).__name__}: {channels} channels on {height} x {width} points, every "
            f"{self.spec.step_hours} h, windows of {self.spec.window}, latents {self.latent_shape}, "
            f"digest {self.digest[:12]}>"
        )

    def __dask_tokenize__(self) -> tuple[str, str]:
        return ("xappa.CustomModel", self.digest)

    def __reduce__(self) -> tuple[Any, ...]:
        # A process that has the object already goes on with that one.
        return _restore_model, (self.prior, self.digest, self.graph_budget)

    @property
    def name(self) -> str:
        """See `GenerativeModel.name`."""
        return str(self._get_optional("name", type(self.prior).__name__))

    @property
    def address(self) -> str:
        """See `GenerativeModel.address`."""
        return f"{ADDRESS}{self.digest}"

    @property
    def spec(self) -> StateSpec:
        """See `Prior.spec`."""
        return self.prior.spec

    @property
    def schedule(self) -> NoiseLevels:
        """See `Prior.schedule`."""
        return self.prior.schedule

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """See `Prior.latent_shape`."""
        return tuple(int(size) for size in self.prior.latent_shape)

    @property
    def latent_dims(self) -> tuple[str, ...]:
        """See `GenerativeModel.latent_dims`."""
        return tuple(self._get_optional("latent_dims", [f"latent_{k}" for k in range(len(self.latent_shape))]))

    @property
    def zonal_latents(self) -> bool:
        """See `GenerativeModel.zonal_latents`."""
        return bool(self._get_optional("zonal_latents", False))

    @property
    def device(self) -> torch.device:
        """Where the prior says that it is, or its parameters are; the CPU without either."""
        told = self._get_optional("device", None)
        if told is not None:
            return torch.device(told)
        return next((x.device for network in self._find_networks for x in network.parameters()), torch.device("cpu"))

    @property
    def _find_networks(self) -> list[nn.Module]:
        held = [self.prior, *vars(self.prior).values()] if hasattr(self.prior, "__dict__") else [self.prior]
        return [part for part in held if isinstance(part, nn.Module)]

    @property
    def nbytes(self) -> int:
        """See `GenerativeModel.nbytes`."""
        tensors = {id(x): x for n in self._find_networks for x in (*n.parameters(), *n.buffers())}
        return sum(x.nbytes for x in tensors.values())

    @property
    def graph_bytes(self) -> int:
        """See `GenerativeModel.graph_bytes`."""
        return int(self._get_optional("graph_bytes", GRAPH * 4 * int(np.prod(self.spec.shape))))

    @property
    def states_per_batch(self) -> int:
        """See `GenerativeModel.states_per_batch`."""
        return max(1, self.graph_budget // self.graph_bytes)

    @cached_property
    def scale(self) -> np.ndarray:
        """See `GenerativeModel.scale`."""
        return self._read_field("scale", 1.0, np.float32)

    @cached_property
    def mask(self) -> np.ndarray:
        """See `GenerativeModel.mask`."""
        return self._read_field("mask", True, np.bool_)

    @cached_property
    def error(self) -> np.ndarray | None:
        """See `GenerativeModel.error`."""
        return None if self._get_optional("error", None) is None else self._read_field("error", 0.0, np.float32)

    @cached_property
    def surface_height(self) -> np.ndarray | None:
        """See `GenerativeModel.surface_height`."""
        told = self._get_optional("surface_height", None)
        if told is None:
            return None
        height = np.asarray(told, np.float32)
        if height.shape != self.spec.shape[1:]:
            raise ModelError(
                f"{self.name}.surface_height: found the shape {height.shape}, expected {self.spec.shape[1:]}"
            )
        return height

    @property
    def constant_mean(self) -> bool:
        """See `GenerativeModel.constant_mean`."""
        return self._get_optional("mean", None) is None

    @property
    def statistics(self) -> Mapping[str, np.ndarray]:
        """Nothing else is known."""
        return {}

    @property
    def static_prior(self) -> bool:
        """See `GenerativeModel.static_prior`."""
        return self.covariance is not None

    @property
    def covariance(self) -> Covariance | None:
        """See `GenerativeModel.covariance`."""
        return self._get_optional("covariance", None)

    @property
    def has_linear_decoder(self) -> bool:
        """See `GenerativeModel.has_linear_decoder`."""
        return self._get_optional("linear_decode", None) is not None

    @property
    def latent_noise(self) -> np.ndarray | None:
        """Latents have no noise."""
        return None

    def to(self, device: torch.device | str) -> CustomModel:
        """See `GenerativeModel.to`.

        Raises
        ------
        OptionError
            If the prior is elsewhere, and has no method ``to``.
        """
        if self.device == torch.device(device):
            return self
        if self._get_optional("to", None) is None:
            raise OptionError(
                f"device={str(device)!r}: {self.name} is on {self.device} and has no method 'to'; give it one, or "
                "leave out device="
            )
        self._get_optional("to", None)(device)
        return self

    def with_precision(self, precision: str) -> CustomModel:
        """Itself; it chooses its precision.

        Raises
        ------
        OptionError
            If another than float32 is asked for.
        """
        if precision != self.precision:
            raise OptionError(
                f"precision={precision!r}: {self.name} is a custom prior, which is called with float32: let its "
                "denoise() use another precision inside"
            )
        return self

    def with_graph_budget(self, graph_budget: int) -> CustomModel:
        """See `GenerativeModel.with_graph_budget`."""
        return self if graph_budget == self.graph_budget else replace(self, graph_budget=graph_budget)

    def to_linear(self) -> CustomModel:
        """The same model, whose denoiser is that of its covariance."""
        return replace(self, prior=cast(Prior, _LinearPrior(self.prior)))

    def make_window_denoisers(self) -> _CustomWindowDenoisers:
        """See `GenerativeModel.make_window_denoisers`."""
        return _CustomWindowDenoisers(self)

    def denoise(self, x: Tensor, sigma: Tensor, times: np.ndarray) -> Tensor:
        """See `Prior.denoise`."""
        return self._check_output(self.prior.denoise(x, sigma, times), x.shape, "denoise").to(x.dtype)

    def encode(self, fields: Tensor, times: np.ndarray) -> Tensor:
        """See `Prior.encode`."""
        expected = (*fields.shape[:-3], *self.latent_shape)
        return self._check_output(self.prior.encode(fields, times), expected, "encode")

    def decode(self, latents: Tensor, times: np.ndarray) -> Tensor:
        """See `Prior.decode`."""
        lead = latents.shape[: latents.ndim - len(self.latent_shape)]
        return self._check_output(self.prior.decode(latents, times), (*lead, *self.spec.shape), "decode")

    def linear_decode(self, latents: Tensor, times: np.ndarray) -> Tensor:
        """See `GenerativeModel.linear_decode`."""
        lead = latents.shape[: latents.ndim - len(self.latent_shape)]
        made = self._get_optional("linear_decode", None)(latents, times)
        return self._check_output(made, (*lead, *self.spec.shape), "linear_decode")

    def decode_by_time(
        self, latents: Tensor, times: np.ndarray, reads: Sequence[Callable[[Tensor], Tensor]]
    ) -> list[Tensor]:
        """See `GenerativeModel.decode_by_time`."""

        def decoded(k: int, read: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
            return lambda batch: read(self.decode(batch[:, None], times[k : k + 1])[:, 0])

        return [map_states(decoded(k, read), latents[:, k], self.states_per_batch) for k, read in enumerate(reads)]

    def compute_sum_covariance(
        self, weight: Tensor, channel: Tensor, row: Tensor, column: Tensor, times: np.ndarray
    ) -> Tensor | None:
        """It is not known."""
        return None

    def climatology(self, times: np.ndarray) -> np.ndarray:
        """See `GenerativeModel.climatology`."""
        shape = (len(times), *self.spec.shape)
        if self.constant_mean:
            return np.broadcast_to(np.float32(0), shape)
        mean = np.asarray(self._get_optional("mean", None)(times))
        try:
            return np.broadcast_to(mean, shape)
        except ValueError:
            raise ModelError(f"{self.name}.mean: found the shape {mean.shape}, expected {shape}") from None

    def destandardise(self, fields: np.ndarray, times: np.ndarray) -> np.ndarray:
        """See `GenerativeModel.destandardise`."""
        return np.where(self.mask, fields * self.scale + self.climatology(times), np.float32(np.nan)).astype("f4")

    def standardise(self, fields: np.ndarray, times: np.ndarray) -> np.ndarray:
        """See `GenerativeModel.standardise`."""
        return np.nan_to_num((fields - self.climatology(times)) / self.scale).astype("f4")

    def _get_optional(self, name: str, default: Any) -> Any:
        return getattr(self.prior, name, default)

    def _read_field(self, name: str, default: Any, dtype: Any) -> np.ndarray:
        values = np.asarray(self._get_optional(name, default))
        try:
            return np.broadcast_to(values.astype(dtype), self.spec.shape)
        except ValueError:
            raise ModelError(
                f"{self.name}.{name}: found the shape {values.shape}, expected one that broadcasts to "
                f"{self.spec.shape}, (channel, latitude, longitude)"
            ) from None

    def _check_output(self, made: Any, shape: Sequence[int], method: str) -> Tensor:
        if not isinstance(made, Tensor) or tuple(made.shape) != tuple(shape):
            found = f"{type(made).__name__} {tuple(getattr(made, 'shape', ()))}"
            raise ModelError(f"{self.name}.{method} returned {found}; expected a tensor {tuple(shape)}")
        return made


class _LinearPrior:
    """A prior whose denoiser is the linear one of its covariance."""

    def __init__(self, prior: Prior) -> None:
        self.prior = prior

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "prior":
            raise AttributeError(name)
        return getattr(self.prior, name)

    def denoise(self, x: Tensor, sigma: Tensor, times: np.ndarray) -> Tensor:
        return self.prior.covariance(x, sigma) / sigma**2  # type: ignore[attr-defined]


class _CustomWindowDenoisers:
    """See `WindowDenoisers`."""

    def __init__(self, model: CustomModel) -> None:
        self.model = model

    def make_denoiser(self, times: np.ndarray) -> Denoise:
        return lambda x, sigma: self.model.denoise(x, sigma, times)


def wrap_prior(prior: Any) -> CustomModel:
    """A custom prior as a model; the same one for the same object with the same weights.

    Raises
    ------
    ModelError
        If it lacks what a prior needs; all of it is named.
    OptionError
        If it is neither a name nor a prior.
    """
    lacking = list_missing(prior)
    if lacking and not hasattr(prior, "spec"):
        raise OptionError(
            f"model={_abbreviate_repr(prior)}: expected a name that xappa.models() lists, the path of a model's files, "
            f"or an object with {', '.join(REQUIRED)}; this one lacks {', '.join(lacking)}"
        )
    if problems := find_problems(prior):
        raise ModelError(
            f"model={_abbreviate_repr(prior)} cannot be used:" + "".join(f"\n- {text}" for text in problems)
        )
    return _restore_model(prior, tokenize_object(prior), KEPT)


def find_live_model(address: str) -> CustomModel:
    """The model of an object that this process has.

    Raises
    ------
    ModelError
        If it does not have it.
    """
    found = _LIVE.get(address.removeprefix(ADDRESS))
    if found is None:
        raise ModelError(
            f"The model {address[: len(ADDRESS) + 12]!r} is a prior of someone's own, and this process does not have "
            "it: make the object again and give it as model="
        )
    return found


def _restore_model(prior: Prior, digest: str, kept: int) -> CustomModel:
    found = _LIVE.get(digest)
    if found is None:
        found = _LIVE[digest] = CustomModel(prior, digest)
    return found.with_graph_budget(kept)


def _abbreviate_repr(prior: Any) -> str:
    text = repr(prior)
    return text if len(text) <= 100 else f"<{type(prior).__name__}>"
