"""Checks of the parts of a custom prior before anything is computed; all problems are listed at once."""

from __future__ import annotations

from xappa.errors import ModelError
from xappa.model.protocol import Prior, list_missing
from xappa.model.state import StateSpec

PREFIX = "latent_"
"""Prefix of the names of the dimensions of latents."""


def find_problems(prior: Prior) -> list[str]:
    """Problems of the parts of a prior."""
    if isinstance(prior, type):
        return ["it is a class; expected an object of it"]
    if not isinstance(prior.spec, StateSpec):
        return [f"spec is {type(prior.spec).__name__}; expected a xappa.StateSpec"]
    if lacking := list_missing(prior):
        return [f"it lacks {', '.join(lacking)}"]
    found = []
    try:
        prior.spec.require_sensible()
    except ModelError as error:
        found.append(f"spec: {error}")
    shape: object = prior.latent_shape
    sizes = shape if isinstance(shape, tuple | list) else ()
    if not sizes or not all(isinstance(n, int) and n > 0 for n in sizes):
        found.append(f"latent_shape is {shape!r}; expected sizes, such as (48, 96, 16) or (10242, 8)")
    dims = getattr(prior, "latent_dims", None)
    if dims is not None and (len({*dims}) != len(sizes) or not all(str(dim).startswith(PREFIX) for dim in dims)):
        found.append(f"latent_dims are {dims!r}; expected {len(sizes)} names that begin with {PREFIX!r}")
    schedule = prior.schedule
    if not callable(schedule) or not hasattr(schedule, "sigma_min") or not hasattr(schedule, "sigma_max"):
        found.append(
            f"schedule is {type(schedule).__name__}; expected one of xappa.diffusion.schedule, or a function of t with "
            "the attributes sigma_min and sigma_max"
        )
    elif not 0 < schedule.sigma_min < schedule.sigma_max:
        found.append(f"sigma_min is {schedule.sigma_min}, sigma_max {schedule.sigma_max}; expected 0 < min < max")
    token = getattr(prior, "token", None)
    if token is not None and not isinstance(token, str):
        found.append(f"token is {type(token).__name__}; expected text")
    found += [
        f"{name} is no method"
        for name in ("encode", "decode", "denoise", "mean", "linear_decode", "covariance", "to")
        if getattr(prior, name, None) is not None and not callable(getattr(prior, name))
    ]
    return found
