"""GMRES and Adams-Bashforth against dense algebra, exact integrals and recorded outputs."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from xappa.diffusion.adams_bashforth import adams_bashforth
from xappa.diffusion.gmres import BLOCK, dot, gmres


class Systems:
    """Random systems, with a product of which no bit depends on the size of the batch (as of BLAS, it may)."""

    def __init__(self, batch: int, size: int, seed: int = 0, spd: bool = False, dtype=torch.float64):
        draw = torch.Generator().manual_seed(seed)
        a = torch.randn(batch, size, size, generator=draw, dtype=torch.float64) / size**0.5
        scale = torch.logspace(-1, 1, batch, dtype=torch.float64)[:, None, None]  # some are harder than others
        self.matrix = ((a @ a.mT if spd else a) * scale + torch.eye(size, dtype=torch.float64)).to(dtype)
        self.b = torch.randn(batch, size, generator=draw, dtype=torch.float64).to(dtype)
        self.guess = torch.randn(batch, size, generator=draw, dtype=torch.float64).to(dtype)

    def matvec(self, rows: slice = slice(None)):
        matrix = self.matrix[rows]
        return lambda v: (matrix * v[:, None]).sum(-1)

    def residual(self, x: Tensor) -> Tensor:
        return (self.b - self.matvec()(x)).norm(dim=-1) / self.b.norm(dim=-1)


@pytest.mark.parametrize("folder", ["gmres", "adams_bashforth"])
def test_recorded_outputs_are_reproduced(shared, check_recorded, folder):
    rows = check_recorded(shared(f"fixtures/{folder}"))
    assert len(rows) >= 8
    assert [row for row in rows if not row.ok] == []


@pytest.mark.parametrize("guess", [False, True])
@pytest.mark.parametrize("tolerance", [None, 1e-10])
def test_as_many_iterations_as_unknowns_solve(guess, tolerance):
    systems = Systems(5, 12)
    x0 = systems.guess if guess else None
    found = gmres(systems.matvec(), systems.b, x0, iterations=12, tolerance=tolerance)
    torch.testing.assert_close(found.x, torch.linalg.solve(systems.matrix, systems.b), rtol=1e-8, atol=1e-8)
    assert found.residual.max() < 1e-9


def test_residual_is_that_of_the_solution_and_smallest():
    systems = Systems(4, 20, spd=True)
    for iterations in (1, 2, 5):
        found = gmres(systems.matvec(), systems.b, iterations=iterations)
        torch.testing.assert_close(found.residual, systems.residual(found.x))
        krylov = [systems.b]
        for _ in range(iterations):
            krylov.append(systems.matvec()(krylov[-1]))
        images = torch.stack(krylov[1:], -1)
        best = torch.linalg.lstsq(images, systems.b[..., None], driver="gelsd").solution
        smallest = (systems.b[..., None] - images @ best).norm(dim=(1, 2)) / systems.b.norm(dim=-1)
        torch.testing.assert_close(found.residual, smallest)
        assert found.iterations.tolist() == [iterations] * 4


@settings(deadline=None, max_examples=40)
@given(
    batch=st.integers(2, 6),
    size=st.integers(1, 16),
    seed=st.integers(0, 1000),
    tolerance=st.floats(1e-6, 0.9),
    guess=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_a_system_is_solved_alike_alone_and_in_a_batch(batch, size, seed, tolerance, guess, dtype):
    systems = Systems(batch, size, seed, spd=True, dtype=dtype)
    x0 = systems.guess if guess else None
    solve = partial(gmres, iterations=size + 1, tolerance=tolerance)
    together = solve(systems.matvec(), systems.b, x0)
    for i in range(batch):
        row = slice(i, i + 1)
        alone = solve(systems.matvec(row), systems.b[row], None if x0 is None else x0[row])
        assert torch.equal(alone.x, together.x[row])
        assert torch.equal(alone.residual, together.residual[row])
        assert torch.equal(alone.iterations, together.iterations[row])


def test_each_system_stops_when_it_is_solved():
    systems = Systems(5, 30, spd=True)
    found = gmres(systems.matvec(), systems.b, iterations=30, tolerance=0.1)
    assert found.residual.max() <= 0.1
    assert found.iterations.min() < found.iterations.max()
    torch.testing.assert_close(found.residual, systems.residual(found.x))
    calls = []

    def counted(v: Tensor) -> Tensor:
        calls.append(v)
        return systems.matvec()(v)

    gmres(counted, systems.b, iterations=30, tolerance=0.1)
    assert len(calls) == found.iterations.max()


def test_a_guess_is_scaled_with_a_tolerance_and_taken_as_it_is_without():
    systems = Systems(3, 10, spd=True)
    solution = torch.linalg.solve(systems.matrix, systems.b)
    scaled = gmres(systems.matvec(), systems.b, 1e3 * solution, iterations=5, tolerance=1e-8)
    assert scaled.iterations.tolist() == [0, 0, 0]
    torch.testing.assert_close(scaled.x, solution)
    bad = gmres(systems.matvec(), systems.b, 1e3 * systems.guess, iterations=1, tolerance=1e-8)
    assert bad.residual.max() <= 1
    official = gmres(systems.matvec(), systems.b, 1e3 * systems.guess, iterations=1)
    assert official.residual.min() > 1


@pytest.mark.parametrize("tolerance", [None, 0.1])
@pytest.mark.parametrize("guess", [False, True])
def test_nothing_to_solve_gives_zero(tolerance, guess):
    systems = Systems(3, 6)
    b = systems.b.clone()
    b[1] = 0
    x0 = systems.guess if guess and tolerance else None
    found = gmres(systems.matvec(), b, x0, iterations=6, tolerance=tolerance)
    assert torch.equal(found.x[1], torch.zeros(6, dtype=torch.float64))
    assert found.residual[1] == 0
    assert found.x.isfinite().all() and found.residual.isfinite().all()


def test_more_iterations_than_unknowns_do_no_harm():
    systems = Systems(3, 4)
    found = gmres(systems.matvec(), systems.b, iterations=12)
    torch.testing.assert_close(found.x, torch.linalg.solve(systems.matrix, systems.b))


def test_leading_dimensions_and_dtypes_are_kept():
    systems = Systems(6, 5, dtype=torch.float32)
    seen = []

    def matvec(v: Tensor) -> Tensor:
        seen.append(v.dtype)
        return (systems.matrix.view(2, 3, 5, 5) @ v[..., None])[..., 0]

    found = gmres(matvec, systems.b.view(2, 3, 5), iterations=5)
    assert found.x.shape == (2, 3, 5) and found.x.dtype == torch.float32
    assert found.residual.shape == found.iterations.shape == (2, 3)
    assert set(seen) == {torch.float32}
    single = gmres(lambda v: systems.matrix[0] @ v, systems.b[0], iterations=5)
    torch.testing.assert_close(single.x, found.x[0, 0])


@pytest.mark.parametrize("length", [1, BLOCK, BLOCK + 1, 3 * BLOCK + 5])
def test_inner_products_do_not_depend_on_the_number_of_rows(length):
    u, v = torch.randn(2, 3, length, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    together = dot(u, v)
    torch.testing.assert_close(together, (u * v).sum(-1))
    for i in range(3):
        assert torch.equal(dot(u[i : i + 1], v[i : i + 1]), together[i : i + 1])


@settings(deadline=None)
@given(
    order=st.integers(1, 5),
    i=st.integers(1, 8),
    seed=st.integers(0, 100),
)
def test_adams_bashforth_integrates_polynomials_exactly(order, i, seed):
    draw = torch.Generator().manual_seed(seed)
    grid = 2 - torch.cumsum(0.1 + torch.rand(9, generator=draw, dtype=torch.float64), 0) / 4
    weights = adams_bashforth(grid, i, order)
    used = min(order, i)
    assert weights.shape == (used,)
    for degree in range(used):
        exact = (grid[i] ** (degree + 1) - grid[i - 1] ** (degree + 1)) / (degree + 1)
        torch.testing.assert_close(weights @ grid[i - used : i] ** degree, exact, rtol=1e-9, atol=1e-9)
