"""Windows of trajectories: there and back, recorded outputs, and composed denoisers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from xappa.diffusion.composition import (
    STITCHING,
    TrajectoryDenoiser,
    compute_padded_length,
    count_windows,
    fold,
    unfold,
)
from xappa.errors import OptionError

SIGMA = torch.tensor(0.5)


@st.composite
def coverings(draw) -> tuple[int, int, int]:
    """Times wanted, window, overlap."""
    window = draw(st.integers(1, 12))
    return draw(st.integers(1, 40)), window, draw(st.integers(0, window - 1))


@pytest.mark.parametrize(("folder", "outputs"), [("trajectory", 25), ("trajectory_denoiser", 10)])
def test_recorded_outputs_are_reproduced(shared, check_recorded, folder, outputs):
    rows = check_recorded(shared(f"fixtures/{folder}"))
    assert len(rows) == outputs
    assert [row for row in rows if not row.ok] == []


@given(coverings())
def test_the_fewest_windows_cover_all_times(covering):
    times, window, overlap = covering
    count, length = count_windows(*covering), compute_padded_length(*covering)
    assert length >= times
    assert length == window + (count - 1) * (window - overlap)
    assert count == 1 or length - (window - overlap) < times
    assert compute_padded_length(length, window, overlap) == length


@given(coverings(), st.sampled_from(sorted(STITCHING)), st.lists(st.integers(1, 3), max_size=3))
def test_there_and_back_is_the_identity(covering, stitching, shape):
    times, window, overlap = covering
    x = torch.randn(
        2, compute_padded_length(times, window, overlap), *shape, generator=torch.Generator().manual_seed(0)
    )
    windows = unfold(x, window, overlap)
    assert windows.shape == (2, count_windows(*covering), window, *shape)
    for n in range(windows.shape[1]):
        assert torch.equal(windows[:, n], x[:, n * (window - overlap) :][:, :window])
    torch.testing.assert_close(fold(windows, overlap, stitching), x)


def test_which_window_gives_which_time():
    windows = torch.arange(3)[None, :, None].expand(1, 3, 6).double()
    assert fold(windows, 4, "symmetrical")[0].tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 2, 2]
    assert fold(windows, 4, "causal")[0].tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 2, 2]
    assert fold(windows, 4, "average")[0].tolist() == [0, 0, 0.5, 0.5, 1, 1, 1.5, 1.5, 2, 2]


def test_a_blend_leans_to_the_window_that_has_a_time_in_its_middle():
    windows = torch.arange(3)[None, :, None].expand(1, 3, 6).double()
    found = fold(windows, 4, "blended")[0]
    shares = torch.tensor([1, 16, 81], dtype=torch.float64)  # distances 1, 2, 3 to the fourth power
    assert found[:2].tolist() == [0, 0] and found[-2:].tolist() == [2, 2]
    torch.testing.assert_close(found[2], shares[0] / (shares[0] + shares[2]))
    torch.testing.assert_close(found[4], (shares[2] + 2 * shares[0]) / shares.sum())
    assert (found.diff() >= 0).all()


@pytest.mark.parametrize("stitching", STITCHING)
def test_composition_of_a_denoiser_that_knows_no_time_is_the_denoiser(stitching):
    def denoise(x_t: Tensor, sigma: Tensor) -> Tensor:
        return torch.tanh(x_t) / (1 + sigma)

    x = torch.randn(3, 11, 2, 4, generator=torch.Generator().manual_seed(0))
    composed = TrajectoryDenoiser([denoise] * 4, 5, 3, stitching)
    assert composed.length == 11
    torch.testing.assert_close(composed(x, SIGMA), denoise(x, SIGMA))


def test_each_window_has_its_own_denoiser():
    seen = []

    def marking(n: int):
        def denoise(x_t: Tensor, sigma: Tensor) -> Tensor:
            seen.append((n, x_t.shape, float(sigma)))
            return torch.full_like(x_t, n)

        return denoise

    out = TrajectoryDenoiser([marking(n) for n in range(3)], 4, 2, "causal")(torch.zeros(2, 8, 5), SIGMA)
    assert seen == [(n, (2, 4, 5), 0.5) for n in range(3)]
    assert out[0, :, 0].tolist() == [0, 0, 0, 0, 1, 1, 2, 2]


def test_one_window_is_left_as_it_is():
    x = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(0))
    for stitching in STITCHING:
        assert torch.equal(TrajectoryDenoiser([lambda x_t, sigma: x_t], 4, 2, stitching)(x, SIGMA), x)


def test_wrong_options_say_what_is_expected():
    with pytest.raises(OptionError, match=r"Unknown stitching 'casual'.*did you mean 'causal'"):
        TrajectoryDenoiser([], 4, 2, "casual")
    with pytest.raises(OptionError, match="overlap=4 of windows of 4 times; expected from 0 to 3"):
        count_windows(8, 4, 4)
    with pytest.raises(OptionError, match="7 times are not covered .* expected 8 times"):
        unfold(torch.zeros(1, 7), 4, 2)
    with pytest.raises(OptionError, match="Trajectory of 7 times; expected 8 for 3 windows"):
        TrajectoryDenoiser([lambda x_t, sigma: x_t] * 3, 4, 2)(torch.zeros(1, 7), SIGMA)
