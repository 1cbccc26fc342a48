"""Regridding weights: files of ESMF and CDO, torch, the memory of what was made, the bridge to xESMF."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.sparse import coo_matrix

import xappa
from tests import cdo
from tests.even_grids import as_curvilinear, even, on, untied
from xappa.errors import DatasetError, MissingDependency, OptionError
from xappa.grids.regrid import Grid, Weights, get_weights, polygons, read_weights
from xappa.grids.regrid.build import KEPT, WeightsCache
from xappa.grids.regrid.conservative import compute_conservative_weights
from xappa.grids.regrid.curvilinear import compute_patch_weights
from xappa.grids.regrid.torch_weights import Regrid

DATA = cdo.RECORD.parent
METHODS = ("bilinear", "conservative", "nearest")
THREE = cdo.lonlat(*even(60, 120))
COARSE = cdo.lonlat(*even(48, 96))
ESMF = {"bilinear": "bilinear", "conservative": "conservative", "nearest": "nearest_s2d"}


def esmf(shared, method: str) -> str:
    return str(shared(f"esmf/weights_{ESMF[method]}_120x60_96x48.nc"))


@pytest.fixture
def analytic(shared) -> xr.Dataset:
    with xr.open_dataset(shared("esmf/analytic.nc"), engine="netcdf4") as ds:
        return ds.load()


# --- weights of ESMF --------------------------------------------------------------------------------------------------


def test_files_of_esmf_give_what_xesmf_gave(shared, analytic):
    ds = THREE.assign(f=(("lat", "lon"), analytic["f"].values))
    for method, name in (("bilinear", "f_bil"), ("conservative", "f_con")):
        out = ds.appa.regrid(COARSE, weights=esmf(shared, method))["f"]
        np.testing.assert_allclose(out, analytic[name], rtol=0, atol=1e-14)
        assert out.dims == ("lat", "lon") and np.array_equal(out.lat, COARSE.lat)
    with xr.open_dataset(shared("esmf/locstream200.nc"), engine="netcdf4") as opened:
        places = opened.load()
    out = ds.appa.regrid(places, weights=shared("esmf/weights_bilinear_120x60_locstream200.nc"))["f"]
    np.testing.assert_allclose(out, analytic["f_bilinear"], rtol=0, atol=1e-14)
    assert out.dims == ("obs",)


def test_bilinear_between_points_in_three_dimensions_is_that_of_esmf(shared):
    theirs = read_weights(esmf(shared, "bilinear"), (60, 120), (48, 96)).matrix
    ours = compute_patch_weights(as_curvilinear(THREE), Grid.from_dataset(COARSE)).matrix
    assert abs(ours - theirs).max() < 1e-12
    # On rows and columns weights are linear in latitude and longitude instead: the difference is of second order.
    flat = get_weights(Grid.from_dataset(THREE), Grid.from_dataset(COARSE)).matrix
    assert 1e-4 < abs(flat - theirs).max() < 3e-3
    with xr.open_dataset(shared("esmf/locstream200.nc"), engine="netcdf4") as opened:
        places = Grid.from_dataset(opened.load())
    theirs = read_weights(shared("esmf/weights_bilinear_120x60_locstream200.nc"), (60, 120), (200,)).matrix
    assert abs(compute_patch_weights(as_curvilinear(THREE), places).matrix - theirs).max() < 1e-12


def test_conservative_with_great_circles_is_that_of_esmf(shared, monkeypatch):
    theirs = read_weights(esmf(shared, "conservative"), (60, 120), (48, 96)).matrix
    monkeypatch.setattr(polygons, "STRETCH", 360.0)
    monkeypatch.setattr(polygons, "_bulge", lambda width: 0 * width)
    ours = polygons.compute_overlap_weights(Grid.from_dataset(THREE), Grid.from_dataset(COARSE))
    assert abs(ours - theirs).max() < 1e-11
    # Parallels are another matter, of about a thousandth here.
    assert (
        1e-4
        < abs(compute_conservative_weights(Grid.from_dataset(THREE), Grid.from_dataset(COARSE)).matrix - theirs).max()
        < 2e-3
    )


def test_polygons_with_points_along_parallels_come_near_parallels():
    # Octants have great circles for edges, and are cells of rows and columns as well.
    source, octants = (
        Grid.from_dataset(cdo.lonlat(*even(11, 22))),
        cdo.lonlat(np.array([-45.0, 45]), np.arange(45.0, 360, 90)),
    )
    exact = compute_conservative_weights(source, Grid.from_dataset(octants)).matrix
    pole, west = np.repeat([-90.0, 90], 4), np.tile(np.arange(4) * 90.0, 2)
    bounds = np.stack([0 * pole, 0 * pole, pole], 1), np.stack([west, west + 90, west], 1)
    listed = Grid("points", pole / 2, west + 45, (8,), ("cell",), *bounds)
    assert abs(compute_conservative_weights(source, listed).matrix - exact).max() < 1e-8
    assert abs(compute_conservative_weights(listed, source).total - 1).max() < 1e-12


def test_nearest_is_that_of_esmf_but_for_ties(shared):
    theirs = read_weights(esmf(shared, "nearest"), (60, 120), (48, 96)).matrix
    ours = get_weights(Grid.from_dataset(THREE), Grid.from_dataset(COARSE), "nearest").matrix
    kept = untied(THREE, COARSE).ravel()
    assert kept.mean() > 0.7
    assert (abs(ours - theirs)[kept]).nnz == 0


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_files_are_read_as_they_were_written(tmp_path, method):
    ds = on(*even(9, 12), np.random.default_rng(0).normal(size=(9, 12)))
    target = cdo.lonlat(*even(7, 10, pole=True))
    weights = xappa.regrid_weights(ds, target, method)
    xappa.write_weights(weights, tmp_path / "w.nc")
    assert [p.name for p in tmp_path.iterdir()] == ["w.nc"]
    with xr.open_dataset(tmp_path / "w.nc", engine="netcdf4") as raw:
        assert raw["row"].min() == 1 and raw["col"].max() <= 108 and set(raw["S"].dims) == {"n_s"}
    back = read_weights(tmp_path / "w.nc")
    assert (back.source_shape, back.target_shape) == ((9, 12), (7, 10))
    assert abs(back.matrix - weights.matrix).max() == 0
    expected = ds.appa.regrid(target, method)["f"].values
    for given in (tmp_path / "w.nc", back, weights):
        out = ds.appa.regrid(weights=given)
        assert out["f"].dims == ("latitude", "longitude") and np.allclose(out.longitude, target.lon)
        np.testing.assert_allclose(out["f"], expected, rtol=1e-12)
        np.testing.assert_allclose(ds.appa.regrid(target, weights=given)["f"], expected, rtol=1e-12)


def test_a_file_is_whole_or_as_before(tmp_path, monkeypatch):
    weights = xappa.regrid_weights(on(*even(5, 6), np.zeros((5, 6))), 45)
    path = tmp_path / "w.nc"
    xappa.write_weights(weights, path)
    before = path.read_bytes()

    def broken(self, where, **options):
        open(where, "w").close()
        raise OSError("disk full")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", broken)
    with pytest.raises(OSError, match="disk full"):
        xappa.write_weights(weights, path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(("method", "name"), [("bilinear", "genbil"), ("conservative", "gencon")])
def test_files_of_cdo(method, name):
    path = DATA / f"cdo_{name}_r12x7_r6x4.nc"
    held = read_weights(path)
    assert (held.source_shape, held.target_shape) == ((7, 12), (4, 6))
    ds = on(np.linspace(-90, 90, 7), np.arange(12) * 30.0, np.random.default_rng(1).normal(size=(7, 12)))
    out = ds.appa.regrid(weights=path)
    target = cdo.lonlat(out.latitude.values, out.longitude.values)
    assert np.allclose(out.longitude, np.arange(6) * 60) and np.allclose(out.latitude, [-67.5, -22.5, 22.5, 67.5])
    ours = ds.appa.regrid(target, method)["f"].values
    np.testing.assert_allclose(out["f"].values, ours, atol=1e-9)
    turned = ds.isel(lat=slice(None, None, -1))
    with pytest.raises(DatasetError, match="another source: its point 0 is at latitude -90"):
        turned.appa.regrid(weights=path)


@pytest.mark.skipif(not cdo.available(), reason="CDO is not on the PATH (apt install cdo)")
@pytest.mark.parametrize(("method", "name"), [("bilinear", "genbil"), ("conservative", "gencon"), ("nearest", "gennn")])
def test_files_that_cdo_makes_now(tmp_path, method, name):
    ds, path = cdo.source("gaussian"), tmp_path / "weights.nc"
    ds.to_netcdf(tmp_path / "in.nc", engine="netcdf4")
    subprocess.run(["cdo", "-s", "-f", "nc4", f"{name},n16", str(tmp_path / "in.nc"), str(path)], check=True)
    out = ds.appa.regrid(weights=path)["f"]
    ours = ds.appa.regrid(cdo.lonlat(out.latitude.values, out.longitude.values), method)["f"]
    kept = np.abs(out.latitude.values) < 65
    if method == "nearest":
        kept = kept[:, None] & untied(ds, cdo.lonlat(out.latitude.values, out.longitude.values))
    np.testing.assert_allclose(out.values[kept], ours.values[kept], atol=1e-6)


def test_the_rows_of_a_file_are_taken_as_they_are():
    # Sums, not means: a file may scale. A row without entries is no zero.
    full = coo_matrix(([2.0, 1.0, 0.5], ([0, 0, 1], [0, 1, 2])), shape=(3, 3)).tocsr()
    weights = Weights((3,), (3,), full=full, normalize=False)
    assert np.array_equal(weights.apply(np.array([1.0, 2, 4])), [4, 2, np.nan], equal_nan=True)
    assert np.array_equal(weights.apply(np.array([1.0, np.nan, 4])), [3, 2, np.nan], equal_nan=True)
    assert np.array_equal(weights.apply(np.array([np.nan, 2.0, 4])), [np.nan, 2, np.nan], equal_nan=True)


def test_files_that_do_not_fit(tmp_path, shared):
    ds = on(*even(9, 12), np.zeros((9, 12)))
    ds.to_netcdf(tmp_path / "fields.nc", engine="netcdf4")
    with pytest.raises(DatasetError, match=r"no weights: found the variables .*row, col, S .*src_address"):
        ds.appa.regrid(weights=tmp_path / "fields.nc")
    with pytest.raises(DatasetError, match="belongs to other grids: its source has addresses up to 7200"):
        ds.appa.regrid(COARSE, weights=esmf(shared, "bilinear"))
    with pytest.raises(DatasetError, match="source has 7 x 12; expected 9 x 12"):
        ds.appa.regrid(weights=DATA / "cdo_genbil_r12x7_r6x4.nc")
    with pytest.raises(DatasetError, match="does not say how large the target grid is"):
        THREE.assign(f=(("lat", "lon"), np.zeros((60, 120)))).appa.regrid(weights=esmf(shared, "bilinear"))
    with pytest.raises(DatasetError, match="Found weights for 108 sources and 40 targets"):
        THREE.assign(f=(("lat", "lon"), np.zeros((60, 120)))).appa.regrid(weights=xappa.regrid_weights(ds, 45.0))
    with pytest.raises(OptionError, match="both weights= and backend="):
        ds.appa.regrid(weights=tmp_path / "fields.nc", backend="xesmf")


# --- made once --------------------------------------------------------------------------------------------------------


def test_weights_are_made_once_and_kept_within_bounds(monkeypatch):
    KEPT.clear()
    ds = on(*even(9, 12), np.zeros((9, 12)))
    first = get_weights(Grid.from_dataset(ds), Grid.from_dataset(COARSE))
    assert get_weights(Grid.from_dataset(ds.copy()), Grid.from_dataset(COARSE)) is first
    assert get_weights(Grid.from_dataset(ds), Grid.from_dataset(COARSE), "nearest") is not first
    assert get_weights(Grid.from_dataset(ds.isel(lat=slice(None, None, -1))), Grid.from_dataset(COARSE)) is not first
    kept = WeightsCache(limit=2.5 * first.nbytes)
    for key in range(4):
        kept.get((key,), lambda: Weights(first.source_shape, first.target_shape, list(first.parts)))
    assert len(kept) == 2 and kept.nbytes <= kept.limit
    assert kept.get((3,), _unwanted) and KEPT.nbytes <= KEPT.limit
    KEPT.clear()


def _unwanted() -> Weights:
    raise AssertionError("made again")


def test_a_matrix_by_factors_is_the_matrix():
    grids = Grid.from_dataset(cdo.lonlat(*even(20, 40))), Grid.from_dataset(cdo.lonlat(*even(33, 50, pole=True)))
    fields = np.random.default_rng(2).normal(size=(3, 20, 40))
    for method in ("bilinear", "conservative"):
        weights = get_weights(*grids, method)
        whole = Weights(weights.source_shape, weights.target_shape, full=weights.matrix)
        assert weights.parts and weights.nbytes > 0
        np.testing.assert_allclose(weights.apply(fields), whole.apply(fields), atol=1e-13)
        np.testing.assert_allclose(weights.total, whole.total, atol=1e-13)
        sent = pickle.loads(pickle.dumps(weights))
        assert sent.digest == weights.digest and np.array_equal(sent.apply(fields), weights.apply(fields))
        assert len(pickle.dumps(weights)) < 120_000


# --- torch ------------------------------------------------------------------------------------------------------------


def torch_cases() -> list[tuple[str, Weights]]:
    regular, pole = cdo.lonlat(*even(9, 12)), cdo.lonlat(*even(7, 10, pole=True))
    curved = cdo.rotated(np.arange(-18.0, 19, 6), np.arange(-20.0, 23, 6))
    cases = [(method, get_weights(Grid.from_dataset(regular), Grid.from_dataset(pole), method)) for method in METHODS]
    cases += [
        (f"curved {method}", get_weights(Grid.from_dataset(regular), Grid.from_dataset(curved), method))
        for method in METHODS
    ]
    cases.append(("vector", get_weights(Grid.from_dataset(regular), Grid.from_dataset(pole), "bilinear", vector=True)))
    cases.append(("file", read_weights(DATA / "cdo_gencon_r12x7_r6x4.nc")))
    return cases


@pytest.mark.parametrize("weights", [w for _, w in torch_cases()], ids=[name for name, _ in torch_cases()])
def test_torch_is_numpy_and_linear(weights):
    rng = np.random.default_rng(3)
    fields = rng.normal(size=(2, 3, *weights.source_shape))
    operator = Regrid(weights, dtype=torch.float64)
    x = torch.from_numpy(fields)
    np.testing.assert_allclose(operator(x).numpy(), weights.apply(fields), atol=1e-12)
    holed = np.where(rng.random(fields.shape) < 0.3, np.nan, fields)
    for share in (0.0, 0.4, 1.0):
        ours = Regrid(weights, min_valid=share, dtype=torch.float64)(torch.from_numpy(holed)).numpy()
        np.testing.assert_allclose(ours, weights.apply(holed, share), atol=1e-12)
    # The adjoint is the transpose, with and without missing values.
    for missing, values in ((False, x), (True, torch.from_numpy(holed))):
        operator = Regrid(weights, missing=missing, dtype=torch.float64)
        values = values.clone().requires_grad_()
        out = operator(values)
        y = torch.from_numpy(rng.normal(size=out.shape)).where(~torch.isnan(out), 0.0)
        (gradient,) = torch.autograd.grad((out.nan_to_num() * y).sum(), values)
        assert torch.isfinite(gradient).all()
        left, right = (out.nan_to_num() * y).sum(), (values.nan_to_num() * gradient).sum()
        assert left.item() == pytest.approx(right.item(), rel=1e-11)


def test_torch_functions():
    weights = get_weights(
        Grid.from_dataset(cdo.lonlat(*even(9, 12))), Grid.from_dataset(cdo.target("curvilinear")), "conservative"
    )
    x, v = torch.randn(2, 4, 9, 12, dtype=torch.float64)
    operator = Regrid(weights, missing=False, dtype=torch.float64)
    y, tangent = torch.func.jvp(operator, (x,), (v,))
    torch.testing.assert_close(tangent, operator(v))
    torch.testing.assert_close(torch.func.vmap(operator)(x), y)
    torch.testing.assert_close(torch.func.vjp(operator, x)[1](y)[0].shape, x.shape)
    single = xappa.to_torch(weights)(x.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), y, atol=1e-5, rtol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("weights", [w for _, w in torch_cases()], ids=[name for name, _ in torch_cases()])
def test_torch_on_cuda(weights):
    x = torch.randn(4, *weights.source_shape, dtype=torch.float64)
    operator = Regrid(weights, dtype=torch.float64)
    on_device = Regrid(weights, dtype=torch.float64).cuda()
    torch.testing.assert_close(on_device(x.cuda()).cpu(), operator(x), equal_nan=True)
    cotangent = torch.randn(4, *weights.target_shape, dtype=torch.float64)
    gradients = []
    for _ in range(2):
        z = x.cuda().requires_grad_()
        (on_device(z).nan_to_num() * cotangent.cuda()).sum().backward()
        gradients.append(z.grad.cpu())
    assert torch.equal(*gradients)


# --- xESMF ------------------------------------------------------------------------------------------------------------


def test_without_xesmf_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "xesmf", None)
    with pytest.raises(MissingDependency, match="conda install -c conda-forge xesmf"):
        on(*even(9, 12), np.zeros((9, 12))).appa.regrid(45, backend="xesmf")


@pytest.mark.parametrize("method", METHODS)
def test_the_bridge_hands_over_grids_and_takes_weights(shared, analytic, monkeypatch, method):
    """A stand-in with xESMF's interface gives back the weights that xESMF itself made for these grids."""
    asked = {}

    def regridder(source, target, method, periodic=False, locstream_out=False):
        asked.update(source=source, target=target, method=method, periodic=periodic, locstream_out=locstream_out)
        made = read_weights(esmf(shared, asked["ours"]), (60, 120), (48, 96)).matrix.tocoo()
        return SimpleNamespace(weights=SimpleNamespace(data=SimpleNamespace(to_scipy_sparse=lambda: made)))

    fake = ModuleType("xesmf")
    fake.Regridder = regridder
    monkeypatch.setitem(sys.modules, "xesmf", fake)
    asked["ours"] = method
    ds = THREE.assign(f=(("lat", "lon"), analytic["f"].values))
    out = ds.appa.regrid(COARSE, method, backend="xesmf")
    assert asked["method"] == ESMF[method] and not asked["locstream_out"]
    assert asked["periodic"] == (method != "conservative")
    assert np.array_equal(asked["source"]["lat"], THREE.lat) and np.array_equal(asked["target"]["lon"], COARSE.lon)
    if method == "conservative":
        assert np.allclose(asked["source"]["lat_b"], np.arange(-90, 91, 3.0))
        assert np.allclose(np.diff(asked["source"]["lon_b"]), 3) and asked["source"]["lon_b"].size == 121
        assert np.allclose(asked["source"]["lon_b"][:2].mean(), asked["source"]["lon"][0])
    if method != "nearest":
        np.testing.assert_allclose(out["f"], analytic["f_bil" if method == "bilinear" else "f_con"], atol=1e-14)
    with pytest.raises(DatasetError, match="leave backend out"):
        ds.stack(point=("lat", "lon")).reset_index("point").appa.regrid(COARSE, method, backend="xesmf")


@pytest.mark.parametrize("method", METHODS)
def test_xesmf_itself(method):
    pytest.importorskip("xesmf", reason="xESMF is not installed: conda install -c conda-forge xesmf")
    field = np.cos(np.radians(THREE.lat)) * np.sin(np.radians(2 * THREE.lon)) + np.sin(np.radians(THREE.lat))
    ds = THREE.assign(f=field.transpose("lat", "lon"))
    ours, theirs = (ds.appa.regrid(COARSE, method, backend=backend)["f"].values for backend in (None, "xesmf"))
    kept = untied(THREE, COARSE) if method == "nearest" else np.ones((48, 96), bool)
    assert np.abs(ours - theirs)[kept].max() < 1e-3
    curved = cdo.rotated(np.arange(-18.0, 19, 6), np.arange(-20.0, 23, 6))
    ours, theirs = (ds.appa.regrid(curved, method, backend=backend)["f"].values for backend in (None, "xesmf"))
    assert np.abs(ours - theirs).max() < (0.1 if method == "nearest" else 1e-2)


# --- memory -----------------------------------------------------------------------------------------------------------


def test_weights_of_a_quarter_degree_grid_take_little_memory():
    code = """
import resource, numpy as np, xarray as xr, xappa
from tests import cdo
ds = cdo.lonlat(np.linspace(-90, 90, 721), np.arange(1440) * 0.25)
ds["f"] = (("lat", "lon"), np.ones((721, 1440), "f4"))
xappa.regrid_weights(cdo.lonlat(np.array([-45.0, 45]), np.arange(4) * 90.0), 90.0)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
for goal in (cdo.lonlat(np.linspace(-88.125, 88.125, 48), np.arange(96) * 3.75), 1.0):
    for method in ("bilinear", "conservative", "nearest"):
        assert float(ds.appa.regrid(goal, method)["f"].mean()) == 1
print(peak() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=DATA.parents[1],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 100, f"{done.stdout} MiB"  # the matrices of conservative weights alone take 30 MB
