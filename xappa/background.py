"""Options of ``background=``: uses of a background (first guess of the state) in an analysis.

Two ways. `WarmStart` begins the sampling at the background instead of at pure noise; what the model knows about the
atmosphere and the background's large scales are kept, small ones are drawn anew. `LatentObservation` treats the
background as one more observation, of the latent states, with an error covariance: the background term of variational
assimilation.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import xarray as xr

from xappa.argument_types import find_option_type_errors
from xappa.errors import OptionError, is_number

__all__ = ["COVARIANCES", "LatentObservation", "WarmStart"]

ENSEMBLE = 4
"""Members from which a covariance may be estimated."""

COVARIANCES = ("auto", "nmc", "ensemble", "autoencoder")
"""Names that choose where the error covariance of a background comes from."""
TIMES = ("first", "all")

BackgroundFields = str | xr.Dataset
"""``"ds"``, for the values of the Dataset itself, or a Dataset of fields."""


@dataclass(frozen=True, eq=False)
class WarmStart:
    r"""Start from the background, with noise of level :math:`\sigma_k`, instead of from noise alone.

    A member starts from :math:`z_b + \sigma_k \epsilon`. Where the prior has variance 1, denoising leaves a variance
    of :math:`\sigma_k^2 / (1 + \sigma_k^2)`; by default that is made equal to the variance of the background's error.

    Parameters
    ----------
    fields : "ds" or Dataset, default "ds"
        All variables and levels of the model, with or without members, at all times that are analysed. Member i starts
        from the background's member i, counted round.
    sigma : float, optional
        Noise level, in standard deviations of the latents.
    error : float, optional
        Deviation of the background's error, in the same units, between 0 and 1. Default: the spread of the
        background's members; of a single one, what the model's own forecasts of `lead` are wrong by.
    lead : str or timedelta, optional
        See `LatentObservation`.
    samples : int, default 16
        See `LatentObservation`.

    References
    ----------
    Meng et al. (2022), SDEdit: Guided image synthesis and editing with stochastic differential equations,
    https://arxiv.org/abs/2108.01073
    """

    fields: BackgroundFields = field(default="ds", repr=False)
    sigma: float | None = None
    error: float | None = None
    lead: str | np.timedelta64 | None = None
    samples: int = 16

    def __post_init__(self) -> None:
        wrong = find_option_type_errors(self) or [
            *_find_field_problems(self.fields),
            *_find_sample_problems(self.samples),
        ]
        if self.sigma is not None and not _is_number_between(self.sigma, 0, np.inf):
            wrong.append(f"sigma={self.sigma!r}: expected a noise level above 0")
        if self.error is not None and not _is_number_between(self.error, 0, 1):
            wrong.append(f"error={self.error!r}: expected a share of the latents' deviation, above 0 and below 1")
        if self.sigma is not None and self.error is not None:
            wrong.append("both sigma= and error=: expected one, since either gives the other")
        _refuse("WarmStart", wrong)


@dataclass(frozen=True, eq=False)
class LatentObservation:
    r"""The background as an observation of the latents, :math:`z_b = z + e`, :math:`e \sim N(0, B)`.

    :math:`B = D C D`: deviations D, and correlations along each row and in time. D varies with row and channel; of an
    ensemble of 4 members or more half of its variance is its own at each point.

    Parameters
    ----------
    fields : "ds" or Dataset, default "ds"
        All variables and levels of the model, at one time of the analysis or more. The mean of its members is taken.
    covariance : {"auto", "nmc", "ensemble", "autoencoder"}, default "auto"
        ``"ensemble"``: from the members. ``"nmc"``: from differences of two forecasts of the model, of `lead` and of
        half of it, that are valid at one time. ``"autoencoder"``: only what encoding and decoding changes; for fields
        that are right. ``"auto"``: ``"ensemble"`` of 4 members or more, else ``"nmc"``.
    scale : float, default 1.0
        Multiplies the deviations.
    times : {"first", "all"}, default "first"
        At which times the background is used. ``"first"``, as in 4D-Var: its errors at later times follow from those at
        the first.
    lead : str or timedelta, optional
        Lead of the background's forecast, such as ``"24h"``, for ``"nmc"``. Default: 24 hours, or as far as one window
        of the model reaches.
    samples : int, default 16
        Pairs of forecasts, for ``"nmc"``.
    each : bool, default False
        Give member i of the analysis the background's member i, counted round, instead of the mean of all: for members
        that are states in their own right, from which forecasts start.

    References
    ----------
    Parrish and Derber (1992), The National Meteorological Center's spectral statistical-interpolation analysis system,
    Mon. Wea. Rev. 120, https://doi.org/10.1175/1520-0493(1992)120<1747:TNMCSS>2.0.CO;2
    """

    fields: BackgroundFields = field(default="ds", repr=False)
    covariance: str = "auto"
    scale: float = 1.0
    times: str = "first"
    lead: str | np.timedelta64 | None = None
    samples: int = 16
    each: bool = False

    def __post_init__(self) -> None:
        wrong = find_option_type_errors(self) or [
            *_find_field_problems(self.fields),
            *_find_sample_problems(self.samples),
        ]
        if self.covariance not in COVARIANCES:
            wrong.append(f"covariance={self.covariance!r}: expected one of {', '.join(map(repr, COVARIANCES))}")
        if not _is_number_between(self.scale, 0, np.inf):
            wrong.append(f"scale={self.scale!r}: expected a number above 0")
        if self.times not in TIMES:
            wrong.append(f"times={self.times!r}: expected one of {', '.join(map(repr, TIMES))}")
        _refuse("LatentObservation", wrong)


Background = WarmStart | LatentObservation


def choose_background(background: BackgroundFields | Background | None) -> Background | None:
    """The object that a background means: fields become a `LatentObservation`.

    Raises
    ------
    OptionError
        If it means none.
    """
    if background is None or isinstance(background, WarmStart | LatentObservation):
        return background
    if isinstance(background, xr.Dataset) or (isinstance(background, str) and background == "ds"):
        return LatentObservation(background)
    raise OptionError(
        f"background={background!r}: expected 'ds', a Dataset of fields, xappa.background.WarmStart(...) or "
        "xappa.background.LatentObservation(...)"
    )


def drop_fields(background: Background) -> Background:
    """The options alone, which a task carries."""
    return replace(background, fields="ds")


def _find_field_problems(fields: object) -> list[str]:
    if isinstance(fields, xr.Dataset) or (isinstance(fields, str) and fields == "ds"):
        return []
    return [f"fields={fields!r}: expected 'ds' or a Dataset (a file is opened with xr.open_dataset)"]


def _find_sample_problems(samples: int) -> list[str]:
    right = isinstance(samples, int) and not isinstance(samples, bool) and samples >= 2
    return [] if right else [f"samples={samples!r}: expected a number of forecasts, at least 2"]


def _is_number_between(value: object, low: float, high: float) -> bool:
    return is_number(value) and low < float(value) < high


def _refuse(kind: str, wrong: list[str]) -> None:
    if wrong:
        raise OptionError(f"{kind}: {'; '.join(wrong)}")


def count_lead_steps(lead: str | np.timedelta64 | None, step: np.timedelta64, window: int) -> int:
    """Steps of the model that `lead` is; the default is a day, or what one window holds.

    Raises
    ------
    OptionError
        If it is no multiple of the step, less than two steps, or more than a window reaches.
    """
    if lead is None:
        return max(1, min(int(np.timedelta64(24, "h") / step), window - 1))
    count = parse_timedelta("lead", lead) / step
    if count != int(count) or not 2 <= count <= window - 1:
        hours = int(step / np.timedelta64(1, "h"))
        raise OptionError(
            f"lead={lead!r} of the background's forecasts; expected a multiple of the model's step of {hours} h, from "
            f"{2 * hours} h to {(window - 1) * hours} h, what one window of the model reaches"
        )
    return int(count)


def parse_timedelta(name: str, value: object) -> np.timedelta64:
    """A length of time given as text, timedelta or timedelta64, in seconds.

    Raises
    ------
    OptionError
        If it is none.
    """
    import pandas as pd

    try:
        # A timedelta64 is an integer to numpy.
        if isinstance(value, bool | int | float | np.number) and not isinstance(value, np.timedelta64):
            raise ValueError("a number has no unit")
        found = pd.Timedelta(value)  # type: ignore[arg-type]
    except (ValueError, TypeError) as error:
        raise OptionError(f"{name}={value!r} ({error}); expected a length of time such as '24h' or '3D'") from error
    if found is pd.NaT:
        raise OptionError(f"{name}={value!r}; expected a length of time such as '24h' or '3D'")
    return np.timedelta64(round(found.total_seconds()), "s")
