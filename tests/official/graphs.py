"""Checks of the graph transformer and of its mesh: graphdit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import torch

from tests.official.runner import ResultRow, compare, load, load_weights, register
from xappa.model.networks.graph_transformer import GraphTransformer, GraphTransformerSpec
from xappa.model.networks.icosphere import build_icosphere, find_hop_edges


@register("graphdit", recognise=lambda f: {"self_attention_hops", "cross_attention_hops"} <= f.config.keys())
def check_graph_transformer(folder: Path) -> Iterator[ResultRow]:
    """Nodes and edges of icospheres, and the transformer on them; windows are flattened (time, node, channel)."""
    config, io = load(folder)
    spec = GraphTransformerSpec.from_config(config)
    network = GraphTransformer(spec)
    network.load_state_dict(load_weights(folder))
    for name, expected in io.items():
        if found := re.fullmatch(r"ico(\d+)_latlon", name):
            yield compare(folder, name, build_icosphere(int(found[1])), expected)
        elif name in ("self_edges", "cross_edges") and (hops := config[name.replace("edges", "attention_hops")]):
            yield compare(folder, name, find_hop_edges(build_icosphere(spec.ico_divisions), hops), expected)
        elif name in ("y", "y_f64"):
            made = network.double() if name == "y_f64" else network.float()
            x, t = (io[k].to(expected.dtype) for k in ("x", "t"))
            with torch.no_grad():
                y = made(x.unflatten(1, (-1, spec.nodes, spec.input_channels)), t, io["date"])
            yield compare(folder, name, y.flatten(1), expected, 1e-6 if name == "y_f64" else None)
