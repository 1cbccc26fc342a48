"""The Dask graphs of encoding and decoding: one task a state, in which alone fields and latents meet the networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dask
import dask.array as da
import numpy as np
import torch
from dask.core import flatten
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph
from dask.typing import Key

from xappa._compat.dask import Task, TaskRef
from xappa._typing import Array
from xappa.devices import lock
from xappa.errors import IntegrityError
from xappa.model.protocol import GenerativeModel
from xappa.model.registry import load
from xappa.state.indexing import take_entries
from xappa.state.to_model import StateAssembly
from xappa.streaming.graph.retry import retry_once
from xappa.streaming.graph.slices import list_latent_axes
from xappa.vocabulary import VARIABLES
from xappa.workers import VersionGuard


@dataclass(frozen=True)
class Coder(VersionGuard):
    """A model, as a task names it.

    Parameters
    ----------
    model : str or GenerativeModel
        As `xappa.load` takes it.
    digest : str
        The model's hash.
    device : str or None
    precision : str
        Precision of its networks.
    """

    model: str | GenerativeModel
    digest: str
    device: str | None = None
    precision: str = "float32"

    def load(self) -> GenerativeModel:
        """The model.

        Raises
        ------
        IntegrityError
            If it is not the one that was meant.
        """
        found = load(self.model, device=self.device, precision=self.precision)
        if found.digest != self.digest:
            raise IntegrityError(
                f"Model {self.model!r} has digest {found.digest[:12]}; expected {self.digest[:12]}, of the model that "
                "the latents belong to. Use the same files, or name their model with model=."
            )
        return found


def encode(
    fields: Sequence[da.Array], assembly: StateAssembly, times: Array, coder: Coder, shape: tuple[int, ...], dtype: str
) -> da.Array:
    """Latents of fields, a task a state.

    Parameters
    ----------
    fields : sequence of dask array, ([member,] time, [level,] latitude, longitude)
        One chunk a state.
    assembly : StateAssembly
        How they become states.
    times : array of datetime64, (time,)
    coder : Coder
    shape : tuple of int
        Shape of a latent state.
    dtype : str

    Returns
    -------
    dask array, ([member,] time, *latent)
        NaN where the state has missing values other than of variables that are missing over land.
    """
    lead = fields[0].ndim - 2 - (assembly.parts[0].levels is not None)
    arguments: list = [_to_seconds(times), "t"]
    for number, field in enumerate(fields):
        own = tuple(f"{axis}{number}" for axis in range(field.ndim - lead))
        arguments += [field, ("m", "t")[2 - lead :] + own]
    inner = list_latent_axes(len(shape))
    out = (*("m", "t")[2 - lead :], *inner)
    token = dask.base.tokenize(
        coder.digest, coder.precision, assembly, times.astype("M8[s]").astype("i8"), [f.name for f in fields], dtype
    )
    return da.blockwise(
        _encode, out, *arguments, name=f"xappa-encode-{token}", new_axes=dict(zip(inner, shape, strict=True)),
        concatenate=True, align_arrays=False, meta=np.empty((0,) * len(out), dtype), dtype=np.dtype(dtype),
        coder=coder, assembly=assembly, lead=lead, kept=dtype,
    )  # fmt: skip


def make_sea_mask(fields: Sequence[da.Array], assembly: StateAssembly, masked: Sequence[str]) -> da.Array | None:
    """Where the variables that are missing over land are there at the first time: (latitude, longitude), lazy."""
    chosen = [k for k, part in enumerate(assembly.parts) if part.name in masked]
    if not chosen:
        return None
    parts = tuple(assembly.parts[k] for k in chosen)
    first = [
        fields[k][0] if fields[k].ndim == 4 + (assembly.parts[k].levels is not None) else fields[k] for k in chosen
    ]
    needed = [field[:1].rechunk(-1) for field in first]
    # Not by `dask.delayed`, which would go through the graphs of all states.
    name = f"xappa-sea-{dask.base.tokenize(parts, assembly, [field.name for field in needed])}"
    refs = [TaskRef(next(flatten(field.__dask_keys__()))) for field in needed]
    graph: dict[Key, Any] = {name: Task(name, _is_present, parts, assembly, *refs)}
    task = Delayed(name, HighLevelGraph.from_collections(name, graph, dependencies=needed))
    return da.from_delayed(task, assembly.shape[1:], bool)


def decode(latents: da.Array, times: Array, coder: Coder, part: tuple[Array, Array, Array], clip: bool) -> da.Array:
    """Fields of latents, a task a state.

    Parameters
    ----------
    latents : dask array, (member, time, *latent)
    times : array of datetime64, (time,)
    coder : Coder
    part : tuple of array of int
        Channels, rows and columns that are kept, in their order.
    clip : bool
        Whether quantities that cannot be negative are clipped at 0.

    Returns
    -------
    dask array of float32, (member, time, channel, latitude, longitude)
        Physical units; NaN where a channel does not exist.
    """
    latents = latents.rechunk((1, 1, *(-1,) * (latents.ndim - 2)))
    identity = (coder.digest, coder.precision)
    token = dask.base.tokenize(*identity, times.astype("M8[s]").astype("i8"), latents.name, part, clip)
    own = ("m", "t", *list_latent_axes(latents.ndim - 2))
    return da.blockwise(
        _decode, tuple("mtvyx"), _to_seconds(times), "t", latents, own, name=f"xappa-decode-{token}",
        new_axes=dict(zip("vyx", map(len, part), strict=True)), concatenate=True, align_arrays=False,
        meta=np.empty((0,) * 5, "f4"), dtype=np.dtype("f4"), coder=coder, part=part, clip=clip,
    )  # fmt: skip


def _to_seconds(times: Array) -> da.Array:
    return da.from_array(times.astype("M8[s]").astype("i8"), chunks=1)


@retry_once
@torch.no_grad()
def _encode(seconds: Array, *blocks: Array, coder: Coder, assembly: StateAssembly, lead: int, kept: str) -> Array:
    model, times = coder.load(), seconds.astype("M8[s]")
    states = assembly(*(block.reshape(-1, *block.shape[lead:]) for block in blocks))
    surface = [i for name in model.spec.masked for i in model.spec.of(name)]
    needed = model.mask.copy()
    needed[surface] = False
    missing = (np.isnan(states) & needed).any(axis=(1, 2, 3))
    states = np.where(model.mask, states, np.float32(np.nan))
    with lock(model.device):
        standardised = torch.from_numpy(model.standardise(states, times)).to(model.device)
        latents = model.encode(standardised, times).float().cpu().numpy()
    latents[missing] = np.nan
    return latents.reshape((1,) * lead + latents.shape[1:]).astype(kept)


@retry_once
@torch.no_grad()
def _decode(seconds: Array, latents: Array, coder: Coder, part: tuple[Array, Array, Array], clip: bool) -> Array:
    model, times = coder.load(), seconds.astype("M8[s]")
    channels, rows, columns = part
    with lock(model.device):
        fields = model.decode(torch.from_numpy(latents.astype("f4")).to(model.device), times).float().cpu().numpy()
    values = take_entries(
        take_entries(take_entries(model.destandardise(fields, times), channels, 2), rows, 3), columns, 4
    )
    values = np.ascontiguousarray(values)  # so that the whole state is not kept for the sake of a region
    if clip:
        names = [model.spec.channels[k][0] for k in channels]
        positive = [i for i, name in enumerate(names) if name in VARIABLES and VARIABLES[name].positive]
        values[:, :, positive] = np.maximum(values[:, :, positive], 0)
    return values


def _is_present(parts: tuple, assembly: StateAssembly, *blocks: Array) -> Array:
    rows, columns = np.ix_(assembly.rows, assembly.columns)
    there = [np.isfinite(block[..., rows, columns]).reshape(-1, *assembly.shape[1:]).all(axis=0) for block in blocks]
    return np.logical_and.reduce(there)
