"""A model's denoiser as samplers call it, with all that does not change from call to call computed once."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from xappa._typing import Denoise
from xappa.model.dates import to_date_tensor
from xappa.model.precision import autocast, with_scaled_gradients


class DenoiserModel(Protocol):
    """A model whose denoiser is a network."""

    @property
    def denoiser(self) -> nn.Module:
        """``denoiser(x_t, sigma, date (K, 4))``."""

    @property
    def device(self) -> torch.device:
        """Where it is."""

    @property
    def precision(self) -> str:
        """In which it is evaluated."""


class WindowDenoiser:
    """Denoisers of windows, for one run of a sampler.

    What depends on places alone (embedding of positions, rotary angles) is computed once, what depends on dates once a
    window. Numbers have the same bits as those of ``model.denoiser``, in float32.

    Parameters
    ----------
    model : Model
        Its denoiser is evaluated in the precision ``model.precision``.
    """

    def __init__(self, model: DenoiserModel) -> None:
        self.model = model
        self._windows: dict[bytes, Denoise] = {}

    def make_denoiser(self, times: np.ndarray) -> Denoise:
        """The denoiser of a window at `times` (K,), datetime64."""
        key = times.astype("datetime64[s]").tobytes()
        if key not in self._windows:
            self._windows[key] = self._denoiser(times)
        return self._windows[key]

    @cached_property
    def _shared_inputs(self) -> Any:
        return self.model.denoiser.backbone.compute_shared()  # type: ignore[operator, union-attr]

    def _denoiser(self, times: np.ndarray) -> Denoise:
        model = self.model
        date: Any = to_date_tensor(times).to(model.device)
        if prepare := getattr(getattr(model.denoiser, "backbone", None), "prepare", None):
            date = prepare(date, self._shared_inputs)

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            with autocast(model.device, model.precision):
                return model.denoiser(x, sigma, date)

        if model.precision == "float16":
            return lambda x, sigma: with_scaled_gradients(lambda x: denoise(x, sigma), x)
        return denoise
