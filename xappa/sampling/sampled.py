"""What sampling tasks give: latents of some members, and what the run learned of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class SamplingResult:
    """Latents of some members, and what the run learned of itself.

    Parameters
    ----------
    members : tuple of int
    latents : array (member, time, h, w, C), float32
        Standardised.
    diagnostics : dict of arrays
        ``sigma`` (step,), ``residual`` and ``iterations`` (step, member), worst of the windows; those of `fit.fit`;
        ``seconds`` ().
    """

    members: tuple[int, ...]
    latents: np.ndarray
    diagnostics: dict[str, np.ndarray]

    @property
    def nbytes(self) -> int:
        """Bytes of the latents."""
        return self.latents.nbytes

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Members, latents and diagnostics as arrays by name, for files."""
        return {"members": np.array(self.members), "latents": self.latents} | {
            f"diagnostics.{name}": np.asarray(values) for name, values in self.diagnostics.items()
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> SamplingResult:
        """The inverse of `to_arrays`."""
        diagnostics = {k.partition(".")[2]: v for k, v in arrays.items() if k.startswith("diagnostics.")}
        return cls(tuple(arrays["members"].tolist()), arrays["latents"], diagnostics)
