"""Matrices of all places, fitted by patterns that the places share."""

from __future__ import annotations

import torch

from xappa.training import moments, patterns


def test_patterns_give_what_the_metric_asks_for() -> None:
    # One place, two outputs that ask for opposite things, and a rank of one: the one that counts is got right.
    inputs = 3
    square = torch.eye(inputs)[None]
    product = torch.tensor([[[1.0, 0.0], [0.0, 1.2], [0.0, 0.0]]])
    for counts, row in (((1.0, 1e-3), 0), ((1e-3, 1.0), 1)):
        metric = torch.diag(torch.tensor(counts, dtype=torch.float64))[None]
        weights, inward, outward = patterns.fit_patterns(moments.Moments(square, product), metric, 1, 1e-6, 200)
        matrix = (inward.mT * weights) @ outward
        assert abs(matrix[row, row] - product[0, row, row]) < 0.02
        assert matrix[1 - row].abs().max() < 0.05


def test_enough_patterns_give_the_ridge_regression_of_every_place() -> None:
    rng = torch.Generator().manual_seed(0)
    a = torch.randn(4, 50, 3, generator=rng)
    b = torch.randn(4, 50, 2, generator=rng)
    found = moments.Moments(a.mT @ a / 50, a.mT @ b / 50)
    metric = torch.eye(2, dtype=torch.float64).expand(4, 2, 2)
    weights, inward, outward = patterns.fit_patterns(found, metric, 8, 1e-9, 0)
    matrices = (inward.mT * weights[:, None]) @ outward
    expected = torch.stack([*map(torch.linalg.solve, found.square, found.product)])
    torch.testing.assert_close(matrices, expected, rtol=1e-3, atol=1e-4)
