"""Fields in physical units, and as networks see them: of mean zero and unit variance."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Self

import numpy as np

from xappa.errors import ModelError
from xappa.model.climatology import Climatology
from xappa.model.state import StateSpec


class Normalisation(ABC):
    """A map, affine at each time and grid point, between physical and standardised fields.

    Attributes
    ----------
    kind : str
        Name in model directories (`NORMALISATIONS`).
    scale : array (channel, lat, lon)
        Physical units a standardised unit; may be a broadcast view.
    mask : array of bool (channel, lat, lon)
        True where a channel exists; may be a broadcast view.
    error : array (channel, lat, lon) or None
        Error deviation of the autoencoder, standardised units; None where it was never measured.
    constant_mean : bool
        Whether the mean state is the same at all times; `mean` may then be a view, which takes no memory.
    """

    kind: ClassVar[str]
    constant_mean: ClassVar[bool] = False
    scale: np.ndarray
    mask: np.ndarray
    error: np.ndarray | None

    @abstractmethod
    def mean(self, times: np.ndarray) -> np.ndarray:
        """Mean state at `times` (datetime64): (time, channel, lat, lon), physical units."""

    @abstractmethod
    def to_arrays(self) -> dict[str, np.ndarray]:
        """Everything that `from_arrays` needs, by name."""

    @classmethod
    @abstractmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], spec: StateSpec) -> Self:
        """The normalisation of a state that `to_arrays` wrote; other arrays are ignored."""

    def destandardise(self, fields: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Standardised fields (..., time, channel, lat, lon) in physical units; NaN where a channel does not exist."""
        values = fields * self.scale + self.mean(times)
        return np.where(self.mask, values, np.float32(np.nan))

    def standardise(self, fields: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Physical fields (..., time, channel, lat, lon), standardised; 0 where missing."""
        return np.nan_to_num((fields - self.mean(times)) / self.scale).astype("f4")


@dataclass(eq=False)
class AnomalyNormalisation(Normalisation):
    """Anomalies from a climatology, over a deviation at every grid point: as in our own models.

    Parameters
    ----------
    climatology : Climatology
    scale : array (channel, lat, lon)
    present : array (channel, lat, lon)
        Not zero where a channel exists.
    error : array (channel, lat, lon)
    """

    climatology: Climatology
    scale: np.ndarray
    present: np.ndarray
    error: np.ndarray | None

    kind = "anomaly"

    @cached_property
    def mask(self) -> np.ndarray:  # type: ignore[override]
        """True where a channel exists: (channel, lat, lon)."""
        return self.present.astype(bool)

    def mean(self, times: np.ndarray) -> np.ndarray:
        """See `Normalisation.mean`."""
        return self.climatology(times)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """See `Normalisation.to_arrays`."""
        c = self.climatology
        harmonics = {"annual": c.annual, "diurnal": c.diurnal, "diurnal_channels": c.diurnal_channels}
        error = {} if self.error is None else {"error": self.error}
        return {**harmonics, "scale": self.scale, "mask": self.present, **error}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], spec: StateSpec) -> Self:
        """See `Normalisation.from_arrays`."""
        harmonics = Climatology(*(arrays[name] for name in ("annual", "diurnal", "diurnal_channels")))
        return cls(harmonics, arrays["scale"], arrays["mask"], arrays.get("error"))


@dataclass(eq=False)
class ChannelNormalisation(Normalisation):
    """One mean and one deviation a channel, for all places and times: as in official models.

    Parameters
    ----------
    channel_mean, channel_deviation : array of float32 (channel,)
        Physical units.
    spec : StateSpec
    sea : array of bool (lat, lon), optional
        True where the variables ``spec.masked`` exist. Default: everywhere, for want of knowledge.
    """

    channel_mean: np.ndarray
    channel_deviation: np.ndarray
    spec: StateSpec
    sea: np.ndarray | None = None

    kind = "channel"
    constant_mean = True
    error = None

    def __post_init__(self) -> None:
        """Check the sizes.

        Raises
        ------
        ModelError
            If they are not those of the state.
        """
        channels, *grid = self.spec.shape
        sizes = {"mean": self.channel_mean.shape, "deviation": self.channel_deviation.shape}
        problems = [f"{k} has the shape {v}, expected {(channels,)}" for k, v in sizes.items() if v != (channels,)]
        if self.sea is not None and self.sea.shape != tuple(grid):
            problems.append(f"the sea mask has the shape {self.sea.shape}, expected {tuple(grid)}")
        if problems:
            raise ModelError("Statistics that do not fit the state: " + "; ".join(problems))

    @property
    def scale(self) -> np.ndarray:  # type: ignore[override]
        """The deviations, at every grid point: a view (channel, lat, lon)."""
        return np.broadcast_to(self.channel_deviation[:, None, None], self.spec.shape)

    @cached_property
    def mask(self) -> np.ndarray:  # type: ignore[override]
        """True where a channel exists: (channel, lat, lon)."""
        if self.sea is None:
            return np.broadcast_to(np.True_, self.spec.shape)
        mask = np.ones(self.spec.shape, bool)
        mask[[i for name in self.spec.masked for i in self.spec.of(name)]] = self.sea
        return mask

    def mean(self, times: np.ndarray) -> np.ndarray:
        """The means, at all times: a view (time, channel, lat, lon)."""
        return np.broadcast_to(self.channel_mean[:, None, None], (len(times), *self.spec.shape))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """See `Normalisation.to_arrays`."""
        sea = {} if self.sea is None else {"sea": self.sea}
        return {"channel_mean": self.channel_mean, "channel_deviation": self.channel_deviation, **sea}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], spec: StateSpec) -> Self:
        """See `Normalisation.from_arrays`."""
        sea = arrays["sea"].astype(bool) if "sea" in arrays else None
        return cls(arrays["channel_mean"], arrays["channel_deviation"], spec, sea)


NORMALISATIONS: dict[str, type[Normalisation]] = {
    kind.kind: kind for kind in (AnomalyNormalisation, ChannelNormalisation)
}
"""Kinds of normalisation of fields, by the names that model directories give them."""
