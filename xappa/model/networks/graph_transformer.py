"""Diffusion transformer over windows of latents on an icosphere (appa's spatio-temporal graph DiT)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xappa.errors import ModelError
from xappa.model.dates import local_time, year_progress
from xappa.model.networks.embedding import SineEncoding
from xappa.model.networks.graph_attention import GraphAttention, Neighbours
from xappa.model.networks.icosphere import build_icosphere, find_hop_edges, to_unit_vectors
from xappa.model.schema import from_json
from xappa.model.state import DEEPEST, describe_non_positive

_CONTEXT = 7  # year and local time, each a point on a circle, and the node's on the unit sphere
_ALIASES = {"latent_channels": "input_channels"}


FINEST = 9
"""Divisions of an icosphere beyond which its points are closer than 0.1 degree."""


@dataclass(frozen=True)
class GraphTransformerSpec:
    """Hyper-parameters, named as in official configurations (section ``backbone``).

    Parameters
    ----------
    input_channels : int
        Channels C of the latents (``ae.latent_channels``).
    hidden_channels, hidden_blocks : int
        Width and depth.
    heads : int
    ico_divisions : int
        Divisions of the icosphere that the latents live on: 10 * 4**divisions + 2 nodes.
    mod_features : int
        Features of the code of the noise level.
    self_attention_hops, cross_attention_hops : int or None
        Steps along the mesh within which a node sees others, at its own time and at all others; None: it sees all.
    ffn_factor : int
        Widening of the feed-forward layers.

    Raises
    ------
    ModelError
        If the values do not fit together; all problems are named.
    """

    input_channels: int
    hidden_channels: int
    hidden_blocks: int
    heads: int
    ico_divisions: int
    mod_features: int = 256
    self_attention_hops: int | None = None
    cross_attention_hops: int | None = None
    ffn_factor: int = 4

    def __post_init__(self) -> None:
        """Check that the values fit together."""
        names = ("input_channels", "hidden_channels", "heads", "ffn_factor")
        if problems := describe_non_positive(**{name: getattr(self, name) for name in names}):
            raise ModelError(f"Graph transformer that cannot be built; correct its sizes: {'; '.join(problems)}")
        problems = []
        if self.hidden_channels % self.heads:
            problems.append(f"hidden_channels {self.hidden_channels} is not a multiple of {self.heads} heads")
        if self.mod_features < 2 or self.mod_features % 2:
            problems.append(f"mod_features {self.mod_features}; expected an even number above zero")
        if (self.self_attention_hops is None) != (self.cross_attention_hops is None):
            problems.append("one of self_attention_hops and cross_attention_hops is null; expected both or none")
        if self.hidden_blocks > DEEPEST:
            problems.append(f"hidden_blocks {self.hidden_blocks}; expected at most {DEEPEST}")
        if self.ico_divisions > FINEST:
            problems.append(f"ico_divisions {self.ico_divisions}; expected at most {FINEST}")
        if problems:
            raise ModelError(f"Graph transformer that cannot be built; correct its sizes: {'; '.join(problems)}")

    @classmethod
    def from_config(
        cls,
        config: Mapping[str, Any],
        input_channels: int | None = None,
        ico_divisions: int | Sequence[int] | None = None,
    ) -> GraphTransformerSpec:
        """Specification from a configuration; entries that do not shape the network are ignored.

        Parameters
        ----------
        config : mapping
            Section ``backbone`` of an official configuration, or ``dataclasses.asdict(spec)``.
        input_channels : int, optional
            Latent channels, which official configurations leave to the autoencoder's.
        ico_divisions : int or sequence of int, optional
            Divisions of the latents' icosphere; of a sequence (``ae.ico_divisions``) the last.

        Raises
        ------
        ModelError
            If entries are missing or of another type.
        """
        names = {f.name for f in fields(cls)}
        values = {_ALIASES.get(key, key): value for key, value in config.items()}
        values = {key: value for key, value in values.items() if key in names}
        given = {"input_channels": input_channels, "ico_divisions": ico_divisions}
        values |= {key: value for key, value in given.items() if value is not None}
        required = ("input_channels", "hidden_channels", "hidden_blocks", "heads", "ico_divisions")
        missing = [key for key in required if values.get(key) is None]
        if missing:
            raise ModelError(f"Graph transformer configuration without {', '.join(missing)}; found {', '.join(config)}")
        divisions = values["ico_divisions"]
        last = divisions[-1] if isinstance(divisions, list | tuple) and divisions else divisions
        return from_json(cls, values | {"ico_divisions": last}, "backbone")

    @property
    def nodes(self) -> int:
        """Nodes N of the icosphere."""
        return 10 * 4**self.ico_divisions + 2


class _Sine(nn.Module):
    """sin(30 (W x + b)).

    References
    ----------
    Sitzmann et al. (2020), Implicit neural representations with periodic activation functions,
    https://arxiv.org/abs/2006.09661
    """

    def __init__(self, features: int, channels: int):
        super().__init__()
        self.linear = nn.Linear(features, channels)
        bound = 1 / features if features == _CONTEXT else (6 / features) ** 0.5 / 30
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(30 * self.linear(x))


class _Context(nn.Module):
    """Network of place and time of a node."""

    def __init__(self, channels: int):
        super().__init__()
        self.siren = nn.Sequential(_Sine(_CONTEXT, channels), _Sine(channels, channels), nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.siren(x)


class GraphBlock(nn.Module):
    """Attention and feed-forward layer, modulated by the noise level, with one gated residual.

    With (a, b, c) from the code of the noise level and e the embedding of place and time::

        y = (1 + a) norm(x + e) + b
        y = y + attention(y)
        y = feed_forward(y)
        y = (x + c y) / sqrt(1 + c^2)
    """

    def __init__(self, spec: GraphTransformerSpec, edges: tuple[Tensor, Tensor] | None):
        super().__init__()
        channels, features = spec.hidden_channels, spec.mod_features
        self.context_embedding = _Context(channels)
        last = nn.Linear(features, 3 * channels)
        self.modulation = nn.Sequential(nn.Linear(features, features), nn.SiLU(), last)
        with torch.no_grad():
            last.weight.mul_(0.01)
        self.attn = GraphAttention(channels, spec.heads)
        self.ffn = nn.Sequential(
            nn.Linear(channels, spec.ffn_factor * channels), nn.SiLU(), nn.Linear(spec.ffn_factor * channels, channels)
        )
        # Official state dicts hold the edges with every block.
        for name, pairs in zip(("self_edges", "cross_edges"), edges or (), strict=False):
            self.register_buffer(name, pairs)

    def forward(self, x: Tensor, mod: Tensor, context: Tensor, neighbours: Neighbours | None) -> Tensor:
        """Nodes (B, K, N, channels), code (B or 1, mod_features), context (B or 1, K, N, 7) to nodes."""
        a, b, c = self.modulation(mod).unflatten(-1, (3, 1, 1, -1)).unbind(-4)
        y = (1 + a) * F.layer_norm(x + self.context_embedding(context), x.shape[-1:]) + b
        y = y + self.attn(y, neighbours)
        y = self.ffn(y)
        return (x + c * y) * torch.rsqrt(1 + c * c)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Take the edges as they come: rounding decides ties between distances, so that counts may differ."""
        for name in ("self_edges", "cross_edges"):
            edges = state_dict.get(prefix + name)
            if edges is not None and name in self._buffers:
                self._buffers[name] = self.get_buffer(name).new_empty(edges.shape)
        super()._load_from_state_dict(state_dict, prefix, *rest)


class GraphTransformer(nn.Module):
    """Transformer on windows of latents on an icosphere; parameters are named as in official state dicts.

    Parameters
    ----------
    spec : GraphTransformerSpec
    """

    grid_coord: Tensor
    in_longitudes: Tensor

    def __init__(self, spec: GraphTransformerSpec):
        super().__init__()
        self.spec, grid = spec, build_icosphere(spec.ico_divisions)
        edges = None
        if spec.self_attention_hops is not None and spec.cross_attention_hops is not None:
            edges = find_hop_edges(grid, spec.self_attention_hops), find_hop_edges(grid, spec.cross_attention_hops)
        self.in_proj = nn.Linear(spec.input_channels, spec.hidden_channels)
        self.out_proj = nn.Linear(spec.hidden_channels, spec.input_channels)
        self.diffusion_time_encoder = SineEncoding(spec.mod_features)
        self.blocks = nn.ModuleList(GraphBlock(spec, edges) for _ in range(spec.hidden_blocks))
        self.register_buffer("grid_coord", to_unit_vectors(grid))
        self.register_buffer("in_longitudes", grid[:, 1].clone())
        self._tables: list[tuple[tuple[Tensor, Tensor], Neighbours]] = []

    def forward(self, x: Tensor, t: Tensor, date: Tensor) -> Tensor:
        """One evaluation.

        Parameters
        ----------
        x : Tensor (B, K, N, C)
            Windows of scaled noisy latents, of any length K.
        t : Tensor () or (B,) or (1,)
            Code of the noise level.
        date : integer Tensor (K, 4) or (B, K, 4)
            Year, month, day, hour of each time.

        Returns
        -------
        Tensor (B, K, N, C)
        """
        mod = self.diffusion_time_encoder(t.reshape(-1)).to(x.dtype)
        context = self.embed_dates(date.to(x.device)).to(x.dtype)
        y = self.in_proj(x)
        for block in self.blocks:
            y = block(y, mod, context, self._get_neighbours(block))
        return self.out_proj(y)

    def embed_dates(self, date: Tensor) -> Tensor:
        """Codes of year and local time, and places: dates (..., K, 4) to (1 or B, K, N, 7), float32."""
        date = date.reshape(-1, *date.shape[-2:])
        local = local_time(date, self.in_longitudes)
        year = year_progress(date)[:, :, None].expand_as(local)
        return torch.cat((year, local, self.grid_coord.float().expand(*local.shape[:3], 3)), -1)

    def _get_neighbours(self, block: nn.Module) -> Neighbours | None:
        """Tables of a block's edges, made at first use; blocks with the same edges share them."""
        if "self_edges" not in block._buffers:
            return None
        edges = block.get_buffer("self_edges"), block.get_buffer("cross_edges")
        for known, table in self._tables:
            if all(a.device == b.device and torch.equal(a, b) for a, b in zip(known, edges, strict=True)):
                return table
        table = Neighbours.from_edges(self.spec.nodes, *edges)
        self._tables.append((edges, table))
        return table
