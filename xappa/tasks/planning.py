"""What tasks share before anything is computed: members, methods, surface height, provenance."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import xarray as xr

from xappa.errors import OptionError, choose
from xappa.observations.quality import flag_counts
from xappa.options import get_options

if TYPE_CHECKING:
    from xappa.models.model import Model
    from xappa.streaming.plan import Plan

DEFAULT_GUIDANCE, DEFAULT_SAMPLER = "jacobian-free", "lms"


def member_numbers(members: int | Iterable[int]) -> tuple[int, ...]:
    """Numbers of the members asked for: ``4`` means 0, 1, 2, 3.

    Raises
    ------
    OptionError
        If there are none, a number is negative, or one comes twice.
    """
    if isinstance(members, bool) or not isinstance(members, (int, np.integer, Iterable)):
        raise OptionError(
            f"members={members!r}: expected a number of members, or the member numbers, as in range(8, 16)."
        )
    numbers = tuple(range(int(members))) if isinstance(members, (int, np.integer)) else tuple(int(m) for m in members)
    if not numbers:
        raise OptionError(f"members={members!r} asks for no member; expected at least 1.")
    if min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise OptionError(f"members={members!r}: expected different numbers, none negative.")
    return numbers


def model_address(model: str | Path | None) -> str:
    """Name of a model, or the absolute path of its folder, which stays right when the working directory changes."""
    name = get_options().default_model if model is None else model
    return str(Path(name).resolve()) if Path(name).is_dir() else str(name)


def choose_guidance(guidance: str | object | None) -> Any:
    """The guidance that was named, or the object itself."""
    from xappa.diffusion.guidance import GUIDANCE

    if guidance is None or isinstance(guidance, str):
        return choose("guidance", guidance or DEFAULT_GUIDANCE, GUIDANCE)()
    if not hasattr(guidance, "guide"):
        raise OptionError(f"guidance={guidance!r}: expected one of {sorted(GUIDANCE)} or an object of xappa.guidance.")
    return guidance


def choose_sampler(sampler: str | object | None, steps: int | None) -> Any:
    """The sampler that was named, with as many steps as asked, or the object itself."""
    from xappa.diffusion.samplers import SAMPLERS

    if sampler is None or isinstance(sampler, str):
        kind: Any = choose("sampler", sampler or DEFAULT_SAMPLER, SAMPLERS)
        return kind() if steps is None else kind(steps=steps)
    if not callable(sampler) or not is_dataclass(sampler) or isinstance(sampler, type):
        raise OptionError(f"sampler={sampler!r}: expected one of {sorted(SAMPLERS)} or an object of xappa.samplers.")
    return sampler if steps is None else replace(sampler, steps=steps)


def choose_stitching(stitching: str) -> str:
    """`stitching`, if there is such a way to join windows."""
    from xappa.diffusion.composition import STITCHING

    choose("stitching", stitching, STITCHING)
    return stitching


def time_chunk(chunks: str | int | Mapping[str, int] | None) -> int | None:
    """Times a chunk of the result; None leaves it to the graph."""
    if chunks is None or chunks == "auto":
        return None
    size = chunks.get("time") if isinstance(chunks, Mapping) else chunks
    if size is None:
        return None
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise OptionError(f"chunks={chunks!r}: expected 'auto', a number of times, or a mapping such as {{'time': 4}}.")
    return size


def counts_dataset(obs: xr.Dataset) -> xr.Dataset:
    """Reports by variable and status, as a Dataset."""
    table = flag_counts(obs)
    data = xr.Dataset(
        {"reports": (("variable", "status"), table.to_numpy())},
        {"variable": table.index.to_numpy(object), "status": table.columns.to_numpy(object)},
    )
    data["reports"].attrs = {"long_name": "Reports used ('good') or rejected, by reason", "units": "1"}
    return data


def provenance(model: Model, plan: Plan, operator: str, token: str, obs: xr.Dataset) -> dict[str, Any]:
    """Attributes that say where an analysis comes from; all of them can be stored in a file."""
    from xappa import __version__

    return {
        "title": "Analysis sampled by xappa",
        "source": f"xappa {__version__}, model {model.name}",
        "xappa_version": __version__,
        "xappa_model": model.name,
        "xappa_model_digest": model.digest,
        "xappa_operator": operator,
        "xappa_guidance": _text(plan.guidance),
        "xappa_sampler": _text(plan.sampler),
        "xappa_stitching": plan.stitching,
        "xappa_seed": plan.seed,
        "xappa_dressed": str(plan.dress),
        "xappa_clipped": str(plan.clip),
        "xappa_observations": dask.base.tokenize(obs),
        "xappa_height_correction": str(obs.attrs.get("height_correction", "")),
        "xappa_run": token,
    }


def _text(method: Any) -> str:
    options = {f.name: getattr(method, f.name) for f in fields(method)} if is_dataclass(method) else {}
    return f"{type(method).__name__}({json.dumps(options)})"
