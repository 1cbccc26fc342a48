"""Steps that all tasks share before computing: members, methods, surface height, provenance."""

from __future__ import annotations

import itertools
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import dask.utils
import xarray as xr

from xappa.errors import OptionError, choose, is_whole_number
from xappa.model.registry import load
from xappa.observations.qc import flag_counts
from xappa.observations.qc.control import NOT_CHECKED
from xappa.observations.qc.counts import COUNTS, encode_flag_counts
from xappa.options import get_options
from xappa.tasks.effort import DEFAULT, EFFORTS

if TYPE_CHECKING:
    from xappa.model.protocol import GenerativeModel, ModelLike
    from xappa.sampling.spec import SamplingSpec

LARGEST_SEED = 2**63
LARGEST_MEMBER = 2**31
MOST_MEMBERS = 100_000
"""Members of one call: their numbers alone are a part of every task."""


def list_member_numbers(members: int | Iterable[int]) -> tuple[int, ...]:
    """Numbers of the members asked for: ``4`` means 0, 1, 2, 3.

    Raises
    ------
    OptionError
        If there are none, too many, a number is negative, or one comes twice.
    """
    given = [members] if isinstance(members, (str, bytes)) or not isinstance(members, Iterable) else _to_list(members)
    if not all(is_whole_number(m) and abs(m) <= LARGEST_MEMBER for m in given):
        raise OptionError(
            f"members={members!r}: expected a number of members, or the member numbers, as in range(8, 16)."
        )
    if len(given) > MOST_MEMBERS or (not isinstance(members, Iterable) and int(members) > MOST_MEMBERS):
        raise OptionError(f"members={members!r} asks for more than {MOST_MEMBERS}; ask for some after others.")
    numbers = tuple(map(int, given)) if isinstance(members, Iterable) else tuple(range(int(members)))
    if not numbers:
        raise OptionError(f"members={members!r} asks for no member; expected at least 1.")
    if min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise OptionError(f"members={members!r}: expected different numbers, none negative.")
    return numbers


def _to_list(members: Iterable[int]) -> list[int]:
    """Members as a list, cut where they are certainly too many."""
    return list(itertools.islice(members, MOST_MEMBERS + 1))


def get_model_address(model: ModelLike | None, loaded: GenerativeModel | None = None) -> str | GenerativeModel:
    """Address by which a worker loads a model: its name, the absolute path of its files, or the object itself.

    The path stays right when the working directory changes. `loaded` is the model, where it is loaded already.
    """
    name = get_options().default_model if model is None else model
    if not isinstance(name, str | Path):
        return load(name) if loaded is None else loaded
    path = Path(name)
    return str(path.resolve()) if path.is_dir() or path.suffix == ".pth" else str(name)


def format_address(model: str | GenerativeModel) -> str:
    """The address of a model, for attributes."""
    return model if isinstance(model, str) else model.address


def choose_seed(seed: int | None) -> int:
    """`seed`, or one that is drawn now.

    Raises
    ------
    OptionError
        If it is no whole number from 0 to 2**63 - 1.
    """
    if seed is None:
        return secrets.randbelow(2**31)
    if not is_whole_number(seed) or not 0 <= seed < LARGEST_SEED:
        raise OptionError(f"seed={seed!r}: expected a whole number from 0 to 2**63 - 1, or None to draw one")
    return int(seed)


def choose_memory(memory: str | float | None) -> float | None:
    """Bytes of a text such as ``"6GB"`` or as a number.

    Raises
    ------
    OptionError
        If it is no amount of memory.
    """
    if memory is None:
        return None
    try:
        if isinstance(memory, bool):
            raise ValueError
        found = float(dask.utils.parse_bytes(memory))
    except (ValueError, TypeError, AttributeError):
        found = 0.0
    if not 0 < found < float("inf"):
        raise OptionError(f"memory={memory!r}: expected a number of bytes, a text such as '6GB', or None")
    return found


def choose_guidance(guidance: str | object | None, static_prior: bool = True, effort: str = DEFAULT) -> Any:
    """The guidance that was named, or the object itself.

    Parameters
    ----------
    guidance : str, object or None
        None: what `effort` says.
    static_prior : bool
        Whether the model's denoiser knows a covariance (``Model.static_prior``).
    effort : str
        A key of `EFFORTS`.

    Raises
    ------
    OptionError
        If there is no such guidance, or the model lacks what it needs.
    """
    from xappa.diffusion.guidance import GUIDANCE, JacobianFree

    if not static_prior and (guidance == "jacobian-free" or isinstance(guidance, JacobianFree)):
        raise OptionError(
            "Guidance 'jacobian-free' needs the covariance of a static prior, and this model has none: use 'mmps'"
        )
    settings = choose("effort", effort, EFFORTS)
    if guidance is None:
        kind, options = settings.guidance, settings.guidance_options
        if not static_prior:
            kind, options = settings.without_prior, settings.without_prior_options
        return GUIDANCE[kind](**options)
    if isinstance(guidance, str):
        return choose("guidance", guidance, GUIDANCE)()
    if not hasattr(guidance, "guide") or isinstance(guidance, type):
        raise OptionError(f"guidance={guidance!r}: expected one of {sorted(GUIDANCE)} or an object of xappa.guidance.")
    return guidance


def choose_sampler(sampler: str | object | None, steps: int | None, effort: str = DEFAULT) -> Any:
    """The sampler that was named, or that of `effort`, with as many steps as asked, or the object itself."""
    from xappa.diffusion.samplers import SAMPLERS

    settings = choose("effort", effort, EFFORTS)
    if sampler is None:
        options = dict(settings.sampler_options) | ({} if steps is None else {"steps": steps})
        return SAMPLERS[settings.sampler](**options)
    if isinstance(sampler, str):
        kind: Any = choose("sampler", sampler, SAMPLERS)
        return kind() if steps is None else kind(steps=steps)
    if not callable(sampler) or not is_dataclass(sampler) or isinstance(sampler, type):
        raise OptionError(f"sampler={sampler!r}: expected one of {sorted(SAMPLERS)} or an object of xappa.samplers.")
    return sampler if steps is None else replace(sampler, steps=steps)


def choose_stitching(stitching: str) -> str:
    """`stitching`, if there is such a way to join windows."""
    from xappa.diffusion.composition import STITCHING

    choose("stitching", stitching, STITCHING)
    return stitching


def choose_time_chunk(chunks: str | int | Mapping[str, int] | None) -> int | None:
    """Times a chunk of the result; None leaves it to the graph.

    Raises
    ------
    OptionError
        If these are no chunks, or some that cannot be honoured.
    """
    return _choose_chunk(chunks, "time")


def choose_member_chunk(chunks: str | int | Mapping[str, int] | None) -> int | None:
    """Members that are sampled together; None leaves it to the graph."""
    return _choose_chunk(chunks, "member") if isinstance(chunks, Mapping) else None


def _choose_chunk(chunks: str | int | Mapping[str, int] | None, axis: str) -> int | None:
    if chunks is None or (isinstance(chunks, str) and chunks == "auto"):
        return None
    size = chunks.get(axis) if isinstance(chunks, Mapping) else chunks
    sizes = dict(chunks) if isinstance(chunks, Mapping) else {}
    if whole := [str(name) for name in sizes if name not in ("time", "member")]:
        raise OptionError(
            f"chunks={chunks!r}: {', '.join(map(repr, whole))} cannot be split, since whole states are decoded; "
            "expected 'time' (times a chunk) and 'member' (members that are sampled together). Rechunk the result, or "
            "give xappa.to_zarr the chunks of the store"
        )
    if any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in (sizes.values() if sizes else (size,))):
        raise OptionError(
            f"chunks={chunks!r}: expected 'auto', a number of times, or a mapping such as {{'time': 4, 'member': 8}}."
        )
    return size  # type: ignore[return-value]


def make_counts_dataset(obs: xr.Dataset | None) -> xr.Dataset:
    """Reports by variable and status, as a Dataset; an empty one where nothing was observed."""
    if obs is None:
        return xr.Dataset()
    table = flag_counts(obs)
    data = xr.Dataset(
        {"reports": (("variable", "status"), table.to_numpy())},
        {"variable": table.index.to_numpy(object), "status": table.columns.to_numpy(object)},
    )
    data["reports"].attrs = {"long_name": "Reports used ('good') or rejected, by reason", "units": "1"}
    if NOT_CHECKED in obs.attrs:
        counts = json.loads(obs.attrs[NOT_CHECKED])
        about = {
            "long_name": "Reports of which the climatology says nothing, so that nothing was checked",
            "units": "1",
        }
        data["not_checked"] = ("variable", [counts.get(name, 0) for name in table.index], about)
    return data


def make_provenance(
    model: GenerativeModel,
    plan: SamplingSpec,
    operator: str,
    token: str,
    obs: xr.Dataset | None,
    title: str = "Analysis",
    effort: str = "",
) -> dict[str, Any]:
    """Attributes that say where an analysis comes from; all of them can be stored in a file."""
    from xappa import __version__

    about: dict[str, Any] = {
        "title": f"{title} sampled by xappa",
        "source": f"xappa {__version__}, model {model.name}",
        "xappa_version": __version__,
        "xappa_model": model.name,
        "xappa_model_digest": model.digest,
        "xappa_model_address": format_address(plan.model),
        "xappa_guidance": _format_method(plan.guidance),
        "xappa_sampler": _format_method(plan.sampler),
        "xappa_effort": effort,
        "xappa_stitching": plan.stitching,
        "xappa_segments": "" if plan.segments is None else repr(plan.segments),
        "xappa_seed": plan.seed,
        "xappa_dressed": str(plan.dress),
        "xappa_clipped": str(plan.clip),
        "xappa_precision": plan.precision,
        "xappa_background": "; ".join(repr(part.use) for part in plan.fixed_states),
        "xappa_run": token,
    }
    if obs is None:
        return about
    return about | {
        "xappa_operator": operator,
        "xappa_observations": dask.base.tokenize(obs),
        COUNTS: encode_flag_counts(flag_counts(obs)),
        "xappa_height_correction": str(obs.attrs.get("height_correction", "")),
    }


def _format_method(method: Any) -> str:
    options = {f.name: getattr(method, f.name) for f in fields(method)} if is_dataclass(method) else {}
    return f"{type(method).__name__}({json.dumps(options)})"
