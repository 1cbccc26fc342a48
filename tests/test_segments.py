"""Long time axes: where they are cut, how pieces are joined, and that seams do not show."""

from __future__ import annotations

import functools

import dask
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import xappa
from xappa.diffusion.composition import TrajectoryDenoiser
from xappa.diffusion.guidance import JacobianFree
from xappa.diffusion.noise import Noise
from xappa.diffusion.samplers import LMS
from xappa.diffusion.schedule import LogLinear
from xappa.errors import OptionError
from xappa.sampling import sampling_tasks
from xappa.sampling.background_terms import make_context_term
from xappa.segments import Chain, Independent, choose_segments
from xappa.streaming.graph.segments import Segment, cut_trajectory, list_pieces

pytestmark = pytest.mark.usefixtures("nothing_on_disk")


class TestCutting:
    """Whole windows, all times, shares that add up to 1."""

    @given(
        st.integers(1, 400), st.integers(2, 12), st.integers(2, 5), st.integers(0, 10), st.booleans(), st.integers(1, 9)
    )
    def test_every_time_is_covered_once(self, windows, window, overlap, more, chained, size) -> None:
        stride = window - window // 2
        length = window + (windows - 1) * stride
        overlap += chained
        way = (Chain if chained else Independent)(2 * overlap + more, overlap)
        found = cut_trajectory(length, window, stride, way)
        assert found[0].start == 0
        assert found[-1].stop == length
        for segment in found:
            assert segment.start % stride == 0
            assert (segment.stop - segment.start - window) % stride == 0
            assert 1 + (segment.stop - segment.start - window) // stride <= way.windows
        total = np.zeros(length)
        chunks = list_pieces(found, np.arange(length), size)
        assert len(chunks) == -(-length // size)
        for number, chunk in enumerate(chunks):
            for piece in chunk:
                times = number * size + np.array(piece.rows)
                np.testing.assert_array_equal(np.array(piece.frames), times - found[piece.segment].start)
                total[times] += piece.weights
        np.testing.assert_allclose(total, 1)

    def test_links_of_a_chain_take_over_in_the_middle(self) -> None:
        found = cut_trajectory(28, 4, 2, Chain(6))
        assert found == (Segment(0, 14), Segment(6, 20, 2), Segment(12, 26, 2), Segment(18, 28, 2))
        chunk = list_pieces(found, np.arange(28), 28)[0]
        assert [(piece.frames[0], piece.frames[-1]) for piece in chunk] == [(0, 11), (4, 11), (4, 11), (4, 9)]
        # 3 of 10 of the six times that two links share, less those where the later one is held, are blended
        assert chunk[1].weights == pytest.approx((2 / 9, 7 / 9, 1, 1, 1, 1, 7 / 9, 2 / 9))

    def test_short_axes_are_not_cut(self) -> None:
        assert cut_trajectory(34, 4, 2, Independent(16, 3)) == (Segment(0, 34),)
        assert len(cut_trajectory(36, 4, 2, Independent(16, 3))) == 2
        assert cut_trajectory(3600, 4, 2, None) == (Segment(0, 3600),)

    def test_options(self) -> None:
        assert choose_segments("chain") == Chain()
        assert choose_segments(Independent(8, 2)) == Independent(8, 2)
        for wrong in (
            lambda: Independent(5, 3), lambda: Independent(8, 1), lambda: Chain(0), lambda: Chain(True),
            lambda: Chain(8, 2),
        ):  # fmt: skip
            with pytest.raises(OptionError, match="expected a number of windows"):
                wrong()
        with pytest.raises(OptionError, match=r"Unknown segments 'chained'.*did you mean 'chain'"):
            choose_segments("chained")
        with pytest.raises(OptionError, match="segments=3"):
            choose_segments(3)


WINDOW, MEMBERS, PLACES = 8, 4, 4000
SAMPLES = MEMBERS * PLACES


def process(scale: float) -> torch.Tensor:
    """Covariance of a window of a Gaussian process."""
    lag = np.arange(WINDOW)
    return torch.tensor(np.exp(-np.abs(lag[:, None] - lag) / scale), dtype=torch.float32)


@functools.cache
def sampled(way: Independent | Chain | None, scale: float, length: int) -> tuple[np.ndarray, tuple[Segment, ...]]:
    """Trajectories (member, time, place) of the process, by an analytic denoiser, segment by segment as tasks do."""
    values, vectors = torch.linalg.eigh(process(scale))

    def apply(weights: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return torch.einsum("ij,bj...->bi...", (vectors * weights) @ vectors.T, x)

    def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return apply(values / (values + sigma**2), x)

    def covariance(v: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return apply(sigma**2 * values / (values + sigma**2), v)

    stride, schedule = WINDOW // 2, LogLinear(1e-3, 50.0)
    segments = cut_trajectory(length, WINDOW, stride, way)
    found: list[torch.Tensor] = []
    for k, segment in enumerate(segments):
        noise = Noise(1, tuple(range(MEMBERS)), tuple(range(segment.start, segment.stop)), (PLACES,))
        before = None
        if segment.overlap:
            first = segment.start - segments[k - 1].start
            known = found[-1][:, first : first + segment.overlap]
            before = make_context_term(known, range(segment.overlap))
        windows = []
        for start in range(0, segment.stop - segment.start - WINDOW + 1, stride):
            seen = None if before is None else before.make_observation(start, WINDOW)
            exact = JacobianFree(iterations=24, tolerance=1e-3)
            windows.append(denoise if seen is None else exact.guide(denoise, seen, covariance))
        composed = TrajectoryDenoiser(windows, WINDOW, WINDOW // 2)
        start_x = schedule(torch.ones(1)).item() * noise.start()
        found.append(LMS(steps=24, final=True)(composed, start_x, noise, schedule))
    out = np.zeros((MEMBERS, length, PLACES), "f4")
    for piece in list_pieces(segments, np.arange(length), length)[0]:
        weights = np.array(piece.weights, "f4")[:, None]
        out[:, list(piece.rows)] += weights * found[piece.segment][:, list(piece.frames)].numpy()
    return out, segments


def seams(segments: tuple[Segment, ...]) -> np.ndarray:
    """Steps from one time to the next between which the share of some segment changes."""
    length = segments[-1].stop
    shares = np.zeros((len(segments), length))
    for piece in list_pieces(segments, np.arange(length), length)[0]:
        shares[piece.segment, list(piece.rows)] = piece.weights
    return np.flatnonzero(np.abs(np.diff(shares, axis=1)).max(0) > 0)


class TestProcess:
    """A Gaussian process whose statistics are known: an analytic denoiser, exact guidance."""

    length = 8 + 4 * 21  # 22 windows
    inner = slice(WINDOW, -WINDOW)

    @pytest.mark.parametrize("scale", [2.0, 8.0])
    @pytest.mark.parametrize("way", [Independent(9, 3), Chain(9, 3)])
    def test_segments_are_the_whole(self, way, scale) -> None:
        whole, _ = sampled(None, scale, self.length)
        parts, segments = sampled(way, scale, self.length)
        assert len(segments) == 4
        np.testing.assert_allclose(parts, whole, atol=0.15)
        assert np.sqrt(np.square(parts - whole).mean()) < 0.005

    @pytest.mark.parametrize("way", [Independent(9, 3), Chain(9, 3)])
    def test_seams_do_not_show(self, way) -> None:
        """Variance at, and jumps across, the seams, against those of the same process sampled whole."""
        whole, _ = sampled(None, 4.0, self.length)
        parts, segments = sampled(way, 4.0, self.length)
        steps = seams(segments)
        jump, expected = (np.square(np.diff(x, axis=1)).mean((0, 2)) for x in (parts, whole))
        variance, wanted = (np.square(x).mean((0, 2)) for x in (parts, whole))
        # 16,000 samples a step: deviations of a mean square are 1.1 %, of the mean over the seams less
        level = 0.01 + 3 * np.sqrt(2 / (SAMPLES * len(steps)))
        # a step's place in its windows counts: composed windows jump more from one to the next
        alike = np.isin(np.arange(self.length) % (WINDOW // 2), steps % (WINDOW // 2))[self.inner]
        assert jump[steps].mean() / expected[self.inner][alike[:-1]].mean() == pytest.approx(1, abs=level)
        assert variance[steps].mean() / wanted[self.inner][alike].mean() == pytest.approx(1, abs=level)
        # the same noise on both sides: step by step, there is nothing to tell
        np.testing.assert_allclose(jump[steps], expected[steps], rtol=0.01)
        np.testing.assert_allclose(variance[steps], wanted[steps], rtol=0.01)

    @pytest.mark.parametrize("way", [Independent(9, 3), Chain(9, 3)])
    def test_covariances_across_seams(self, way) -> None:
        whole, _ = sampled(None, 4.0, self.length)
        parts, segments = sampled(way, 4.0, self.length)
        for seam in seams(segments):
            for lag in (1, 2, 4, 6):
                if seam + lag < self.length:
                    found, expected = ((x[:, seam] * x[:, seam + lag]).mean() for x in (parts, whole))
                    assert found == pytest.approx(expected, abs=0.01)


def jumps(field: xr.DataArray) -> np.ndarray:
    """Mean square of the differences from each time to the next."""
    differences = np.square(field.compute().diff("time"))
    return differences.mean([dim for dim in differences.dims if dim != "time"]).values


def require_no_larger(jump: np.ndarray, steps: np.ndarray) -> None:
    """Jumps at the seams are no larger than elsewhere, at the 1 % level, by the spread from step to step."""
    elsewhere = np.setdiff1d(np.arange(len(jump)), steps)
    spread = jump[elsewhere].std(ddof=1) * np.sqrt(1 / len(steps) + 1 / len(elsewhere))
    assert len(elsewhere) > 20
    assert jump[steps].mean() - jump[elsewhere].mean() < 2.33 * spread


class TestModel:
    """The tiny model, through the whole of the graph."""

    def analysis(self, tiny_model, **options):
        obs = pd.DataFrame(
            {
                "time": pd.date_range("2001-03-13", periods=30, freq="12h").repeat(3),
                "lat": [10.0, -33.0, 60.0] * 30,
                "lon": [5.0, 200.0, 100.0] * 30,
                "variable": "2m_temperature",
                "observation": 285.0,
                "error": 1.0,
            }
        )
        ds = xappa.template("2001-03-13T00", "2001-03-27T18", model=tiny_model)
        settings = {"model": tiny_model, "members": 4, "seed": 3, "steps": 5, "sampler": "lms", "quality": "none"}
        return ds.appa.assimilate(obs, **(settings | options))["temperature"]

    @pytest.mark.parametrize("way", [Independent(6, 3), Chain(6)])
    def test_jumps_across_seams_are_no_larger_than_elsewhere(self, tiny_model, way) -> None:
        require_no_larger(jumps(self.analysis(tiny_model, segments=way)), seams(cut_trajectory(60, 4, 2, way)))

    def test_independent_segments_give_nearly_what_the_whole_gives(self, tiny_model) -> None:
        whole = self.analysis(tiny_model, segments=Independent(64, 3)).compute()
        parts = self.analysis(tiny_model, segments=Independent(8, 3)).compute()
        assert float(np.sqrt(np.square(parts - whole).mean())) < 0.05 * float(whole.std())

    def test_memory_is_that_of_a_segment(self, tiny_model, monkeypatch) -> None:
        sizes = []
        whole = sampling_tasks._sample
        monkeypatch.setattr(
            sampling_tasks, "_sample", lambda plan, *args: sizes.append(len(plan.times)) or whole(plan, *args)
        )
        sampling_tasks._CACHE.clear()
        self.analysis(tiny_model, segments=Independent(6, 3), members=2, steps=1).compute()
        assert max(sizes) == 4 + 5 * 2
        assert len(sizes) == len(cut_trajectory(60, 4, 2, Independent(6, 3)))

    def test_the_way_is_in_the_attributes(self, tiny_model) -> None:
        ds = xappa.template("2001-03-13T00", "2001-03-13T18", model=tiny_model)
        found = ds.appa.sample(model=tiny_model, segments="chain", seed=0)
        assert found.attrs["xappa_segments"] == repr(Chain())


class TestEmbeddedModel:
    """The model that comes with the package, with the fewest steps that it is used with."""

    @pytest.mark.slow
    def test_seams_do_not_show(self) -> None:
        ds = xappa.template("2001-03-13T00", "2001-03-22T18", model="speedy")
        found = {}
        for way in (Independent(64), Independent(6, 3), Chain(6)):
            # Four members' weather: that of one has larger jumps at these steps by chance, seams or none.
            result = ds.appa.sample(members=4, effort="preview", segments=way, seed=1, device="cpu")
            fields = result[["temperature", "u_component_of_wind"]].sel(level=[500], method="nearest")
            found[way] = [jumps(field) for field in dask.compute(fields, scheduler="synchronous")[0].values()]
        whole = found.pop(Independent(64))
        for way, parts in found.items():
            steps = seams(cut_trajectory(40, 8, 4, way))
            assert len(steps)
            for jump, expected in zip(parts, whole, strict=True):
                # with the same noise, what is sampled whole has the same jumps: weather needn't be averaged over
                assert (jump / expected)[steps].mean() == pytest.approx(1, abs=0.03)
                require_no_larger(jump, steps)
