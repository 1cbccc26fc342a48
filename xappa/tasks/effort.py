"""Named settings of the effort of an analysis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Effort:
    """Settings that a name stands for; names and numbers only.

    Parameters
    ----------
    guidance : str
        Name of the guidance, for models that know a static prior.
    sampler : str
        Name of the sampler.
    guidance_options, sampler_options : mapping
        Their options, where they are not the defaults.
    without_prior : str
        Name of the guidance for other models.
    without_prior_options : mapping
    """

    guidance: str
    sampler: str
    guidance_options: Mapping[str, Any] = field(default_factory=dict)
    sampler_options: Mapping[str, Any] = field(default_factory=dict)
    without_prior: str = "mmps"
    without_prior_options: Mapping[str, Any] = field(default_factory=dict)


# `MMPS.official()`, in names and numbers: this module is imported where there is no torch yet.
_REFERENCE = {
    "iterations": 2, "tolerance": None, "warm_start": False, "whiten": False, "probes": 0, "tangent": False,
}  # fmt: skip

EFFORTS: dict[str, Effort] = {
    "preview": Effort(
        "jacobian-free",
        "dpm",
        {"iterations": 6, "tolerance": 0.2},
        {"steps": 6},
        without_prior_options={"iterations": 2, "tolerance": 0.2, "probes": 4},
    ),
    "standard": Effort(
        "mmps",
        "dpm",
        {"tolerance": 0.2},
        without_prior_options={"iterations": 4, "tolerance": 0.2, "probes": 4},
    ),
    # The schedule of Appa's assimilation: 32 x (1 + 2) evaluations, two cold iterations each.
    "reference": Effort("mmps", "pc", _REFERENCE, without_prior_options=_REFERENCE),
}
"""Names that choose how much work is done. What each costs and gives is measured in ``docs/benchmarks.md``."""

DEFAULT = "standard"
