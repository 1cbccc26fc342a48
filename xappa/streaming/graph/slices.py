"""The layer between sampling and decoding: each chunk's latents, cut out of the segments that were sampled."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from dask.highlevelgraph import HighLevelGraph, Layer, MaterializedLayer
from dask.typing import Key

from xappa._compat.dask import List, Task, TaskRef
from xappa.streaming.graph.segments import Piece

if TYPE_CHECKING:
    from dask.delayed import Delayed

    from xappa.sampling.sampled import SamplingResult


class SliceLayer(Layer):
    """Tasks (member, chunk of times) that are written out only as far as they are needed.

    Parameters
    ----------
    name : str
    rows : tuple of (int, int)
        Batch of each member, and its place there.
    chunks : tuple of tuple of Piece
        Pieces of segments that make up each chunk of times.
    keys : tuple of tuple of str
        Sampling task of each batch and segment.
    rank : int
        Dimensions of a latent state.
    """

    def __init__(
        self,
        name: str,
        rows: tuple[tuple[int, int], ...],
        chunks: tuple[tuple[Piece, ...], ...],
        keys: tuple[tuple[str, ...], ...],
        rank: int,
    ) -> None:
        super().__init__()
        self.name, self.rows, self.chunks, self.sampled, self.rank = name, rows, chunks, keys, rank

    def __reduce__(self) -> tuple:
        return SliceLayer, (self.name, self.rows, self.chunks, self.sampled, self.rank)

    def __getitem__(self, key: Key) -> Task:
        if not self._contains(key):
            raise KeyError(key)
        (batch, position), pieces = self._locate(key)
        refs = [TaskRef(self.sampled[batch][piece.segment]) for piece in pieces]
        return Task(key, _extract_latents, position, pieces, List(*refs))

    def __iter__(self) -> Iterator[Key]:
        for i, j in itertools.product(range(len(self.rows)), range(len(self.chunks))):
            yield (self.name, i, j, *(0,) * self.rank)

    def __len__(self) -> int:
        return len(self.rows) * len(self.chunks)

    def __contains__(self, key: object) -> bool:
        return self._contains(key)

    def _contains(self, key: Any) -> bool:
        return (
            isinstance(key, tuple)
            and len(key) == 3 + self.rank
            and key[0] == self.name
            and 0 <= key[1] < len(self.rows)
            and 0 <= key[2] < len(self.chunks)
        )

    def _locate(self, key: Any) -> tuple[tuple[int, int], tuple[Piece, ...]]:
        return self.rows[key[1]], self.chunks[key[2]]

    @property
    def has_legacy_tasks(self) -> bool:
        """Whether some tasks are tuples. Dask would write all of them out to see."""
        return False

    def is_materialized(self) -> bool:
        """Whether the tasks are written out: never."""
        return False

    def get_output_keys(self) -> set:
        """Keys that other layers may need."""
        return set(self)

    def get_dependencies(self, key: Key, all_hlg_keys: Collection[Key]) -> set:
        """Sampling tasks that a chunk needs."""
        (batch, _), pieces = self._locate(key)
        return {self.sampled[batch][piece.segment] for piece in pieces}

    def cull(self, keys: set[Key], all_hlg_keys: Collection[Key]) -> tuple[Layer, Mapping[Key, set[Key]]]:
        """The tasks of some keys alone."""
        kept = {key: self[key] for key in keys if self._contains(key)}
        return MaterializedLayer(kept), {key: self.get_dependencies(key, all_hlg_keys) for key in kept}


def list_latent_axes(rank: int) -> tuple[str, ...]:
    """Indices of the dimensions of a latent state, as `dask.array.blockwise` names them."""
    return tuple(f"z{k}" for k in range(rank))


def build_slices(
    name: str,
    rows: tuple[tuple[int, int], ...],
    chunks: tuple[tuple[Piece, ...], ...],
    sizes: Sequence[int],
    sampled: Sequence[Sequence[Delayed]],
    shape: tuple[int, ...],
) -> da.Array:
    """Latents (member, time, *latent) of sampling tasks (batch, segment), a chunk a member and as many times as asked.

    Parameters
    ----------
    name, rows, chunks
        See `SliceLayer`.
    sizes : sequence of int
        Times of each chunk.
    sampled : sequence of sequence of Delayed
    shape : tuple of int
        Shape of a latent state.
    """
    keys = tuple(tuple(task.key for task in tasks) for tasks in sampled)
    graphs = [task.dask for tasks in sampled for task in tasks]
    layers: dict[str, Any] = {}
    dependencies: dict[str, set] = {}
    for graph in graphs:
        layers |= graph.layers
        dependencies |= graph.dependencies
    layers[name] = SliceLayer(name, rows, chunks, keys, len(shape))
    dependencies[name] = {layer for tasks in sampled for task in tasks for layer in task.__dask_layers__()}
    sizes_by_axis = ((1,) * len(rows), tuple(sizes), *((n,) for n in shape))
    return da.Array(
        HighLevelGraph(layers, dependencies), name, sizes_by_axis, "f4", meta=np.empty((0,) * (2 + len(shape)), "f4")
    )


def _extract_latents(position: int, pieces: Sequence[Piece], sampled: Sequence[SamplingResult]) -> np.ndarray:
    """Latents (1, time, *latent) of one member; where segments share times, their weighted mean."""
    count = 1 + max(row for piece in pieces for row in piece.rows)
    out = np.zeros((1, count, *sampled[0].latents.shape[2:]), "f4")
    for piece, found in zip(pieces, sampled, strict=True):
        weight = np.array(piece.weights, "f4").reshape(-1, *(1,) * (out.ndim - 2))
        values = found.latents[position, list(piece.frames)]
        out[0, list(piece.rows)] += values if (weight == 1).all() else weight * values
    return out
