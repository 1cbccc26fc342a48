"""The transformer on an icosphere: its mesh, its attention, its names."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xappa.errors import ModelError
from xappa.model.networks import graph_attention
from xappa.model.networks.graph_attention import GraphAttention, Neighbours
from xappa.model.networks.graph_transformer import GraphTransformer, GraphTransformerSpec
from xappa.model.networks.icosphere import build_icosphere, find_hop_edges, to_unit_vectors

SPEC = GraphTransformerSpec(
    input_channels=3,
    hidden_channels=8,
    hidden_blocks=2,
    heads=2,
    ico_divisions=1,
    mod_features=4,
    self_attention_hops=2,
    cross_attention_hops=1,
)
DATE = torch.tensor([[2021, 3, 21, h] for h in range(4)])


def network(spec: GraphTransformerSpec = SPEC) -> GraphTransformer:
    torch.manual_seed(0)
    made = GraphTransformer(spec)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made.requires_grad_(False)


@pytest.mark.parametrize("divisions", [0, 1, 2, 3])
def test_icosphere(divisions: int) -> None:
    nodes = build_icosphere(divisions)
    assert nodes.shape == (10 * 4**divisions + 2, 2)
    points = to_unit_vectors(nodes)
    torch.testing.assert_close(points.norm(dim=1), torch.ones(len(nodes)))
    torch.testing.assert_close(points.sum(0), torch.zeros(3), atol=1e-4, rtol=0)
    assert len(torch.unique((points * 1e4).round(), dim=0)) == len(nodes)
    if divisions:
        torch.testing.assert_close(nodes[: 10 * 4 ** (divisions - 1) + 2], build_icosphere(divisions - 1))


@pytest.mark.parametrize(("divisions", "neighbours"), [(0, {5: 12}), (1, {5: 12, 6: 30}), (2, {5: 12, 6: 150})])
def test_one_hop_is_the_mesh(divisions: int, neighbours: dict[int, int]) -> None:
    """Twelve nodes have five neighbours, all others six; whoever sees is seen."""
    edges = find_hop_edges(build_icosphere(divisions), 1)
    _, count = torch.unique(edges[:, 0], return_counts=True)
    sizes, number = torch.unique(count - 1, return_counts=True)
    assert dict(zip(sizes.tolist(), number.tolist(), strict=True)) == neighbours
    pairs = set(map(tuple, edges.tolist()))
    assert {(b, a) for a, b in pairs} == pairs and all((n, n) in pairs for n in range(len(count)))


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**31), st.booleans())
@settings(max_examples=15)
def test_attention_is_that_of_a_dense_mask(times: int, heads: int, seed: int, chunked: bool) -> None:
    """Each node sees its neighbours of one kind at its own time, those of another at all others."""
    torch.manual_seed(seed)
    nodes, channels = 7, 4 * heads
    own, cross = (torch.rand(nodes, nodes) < 0.4 for _ in range(2))
    own |= torch.eye(nodes, dtype=torch.bool)
    layer = GraphAttention(channels, heads).requires_grad_(False)
    x = torch.randn(2, times, nodes, channels)
    limit, graph_attention.CHUNK = graph_attention.CHUNK, 64 if chunked else graph_attention.CHUNK
    try:
        found = layer(x, Neighbours.from_edges(nodes, own.nonzero(), cross.nonzero()))
    finally:
        graph_attention.CHUNK = limit
    same = torch.eye(times, dtype=torch.bool).repeat_interleave(nodes, 0).repeat_interleave(nodes, 1)
    mask = torch.where(same, own.repeat(times, times), cross.repeat(times, times))
    q, k, v = (
        part.flatten(1, 2).unflatten(-1, (heads, -1)).transpose(1, 2)
        for part in (layer.q_proj(x), *layer.kv_proj(x).chunk(2, -1))
    )
    q, k = (y / (y.square().mean(-1, keepdim=True) + 1e-5).sqrt() for y in (q, k))
    weight = ((q @ k.mT) / 2).masked_fill(~mask, -torch.inf).softmax(-1)
    expected = layer.out_proj((weight @ v).transpose(1, 2).flatten(2)).unflatten(1, (times, nodes))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_without_hops_all_see_all() -> None:
    spec = replace(SPEC, self_attention_hops=None, cross_attention_hops=None)
    everywhere = replace(SPEC, self_attention_hops=9, cross_attention_hops=9)
    x, t = torch.randn(2, 4, 42, 3), torch.tensor([0.3, -2.0])
    whole, near = network(spec), network(everywhere)
    near.load_state_dict(whole.state_dict(), strict=False)
    torch.testing.assert_close(whole(x, t, DATE), near(x, t, DATE), atol=1e-5, rtol=1e-4)
    assert not [name for name in whole.state_dict() if name.endswith("edges")]


def test_windows_of_any_length_and_batches() -> None:
    model = network()
    x = torch.randn(3, 2, 42, 3)
    y = model(x, torch.tensor([1.0, 2.0, 3.0]), DATE[:2])
    one = model(x[1:2], torch.tensor(2.0), DATE[None, :2])
    torch.testing.assert_close(y[1:2], one, atol=1e-5, rtol=1e-4)
    far = x.clone()
    far[:, 1] += torch.randn(1, 42, 3)
    assert (model(far, torch.tensor(1.0), DATE[:2])[:, 0] != y[:, 0]).any()


def test_edges_of_the_file_count() -> None:
    """Ties between distances are broken by rounding: a file may hold other edges than are made here."""
    model, state = network(), network().state_dict()
    for name in [key for key in state if key.endswith("cross_edges")]:
        state[name] = state[name][state[name][:, 0] == state[name][:, 1]]
    x, t = torch.randn(1, 4, 42, 3), torch.tensor(0.5)
    before = model(x, t, DATE)
    model.load_state_dict(state)
    assert model.blocks[1].get_buffer("cross_edges").shape == (42, 2)
    assert not torch.allclose(model(x, t, DATE), before)


def test_place_and_date_count() -> None:
    model = network()
    x = torch.zeros(1, 4, 42, 3)
    y = model(x, torch.tensor(0.0), DATE)
    assert float(y.std(dim=2).min()) > 0
    assert not torch.allclose(model(x, torch.tensor(0.0), DATE + torch.tensor([0, 3, 0, 6])), y)


def test_specification() -> None:
    config = {"name": "graphdit", "hidden_channels": 8, "hidden_blocks": 2, "heads": 2, "mod_features": 4}
    hops = {"self_attention_hops": 2, "cross_attention_hops": 1, "use_xfa": True}
    assert GraphTransformerSpec.from_config(config | hops, input_channels=3, ico_divisions=[3, 1]) == SPEC
    assert GraphTransformerSpec.from_config(asdict(SPEC)) == SPEC
    assert SPEC.nodes == 42
    with pytest.raises(ModelError, match="without input_channels, ico_divisions"):
        GraphTransformerSpec.from_config(config)
    with pytest.raises(ModelError, match="3 heads; mod_features 5"):
        replace(SPEC, heads=3, mod_features=5)
    with pytest.raises(ModelError, match="expected both or none"):
        replace(SPEC, self_attention_hops=None)


def test_gradients_reach_the_input() -> None:
    model, x = network(), torch.randn(1, 4, 42, 3, requires_grad=True)
    model(x, torch.tensor(0.0), DATE)[0, 0, 0, 0].backward()
    assert x.grad is not None and np.isfinite(x.grad.numpy()).all()
    node = int(find_hop_edges(build_icosphere(1), 2)[0, 1])
    assert float(x.grad[0, 0, node].abs().sum()) > 0
