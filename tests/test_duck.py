"""Tensors as xarray's arrays: every row of the table of supported methods, and what is refused."""

from __future__ import annotations

import math
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from xappa import operators
from xappa.errors import OperatorError
from xappa.operators.torch_array.array import TensorArray
from xappa.operators.torch_array.supported import REFUSED, SUPPORTED
from xappa.operators.torch_array.ufuncs import FLAT, IGNORING_NAN, LOGICAL, SMOOTH

COORDS = {
    "time": np.datetime64("2021-01-01", "s") + np.arange(2) * np.timedelta64(6, "h"),
    "level": [300.0, 500.0, 850.0],
    "latitude": [-30.0, -10.0, 5.0, 30.0],
    "longitude": np.arange(0, 360, 60.0),
}
DIMS = {"t": tuple(COORDS), "u": ("time", "latitude", "longitude"), "v": ("time", "latitude", "longitude")}
rng = np.random.default_rng(0)
VALUES = {name: rng.uniform(1, 3, [len(COORDS[d]) for d in dims]) for name, dims in DIMS.items()}
CODES = [code for example in SUPPORTED for code in example.code]


def dataset(wrap, values=VALUES) -> xr.Dataset:
    return xr.Dataset({name: (dims, wrap(values[name])) for name, dims in DIMS.items()}, COORDS)


def evaluate(code: str, ds: xr.Dataset):
    names = {"ds": ds, "t": ds.t, "u": ds.u, "v": ds.v, "np": np, "xr": xr, "operators": operators}
    return eval(code, names)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.filterwarnings("ignore")
def test_supported(code: str) -> None:
    expected = evaluate(code, dataset(lambda a: a))
    leaves = {name: torch.tensor(value, requires_grad=True) for name, value in VALUES.items()}
    found = evaluate(code, dataset(TensorArray, leaves))
    assert isinstance(found.data, TensorArray)
    assert found.dims == expected.dims and found.shape == expected.shape
    assert set(found.coords) == set(expected.coords)
    np.testing.assert_allclose(found.data.tensor.detach(), expected.values, rtol=1e-11, atol=1e-11)

    # The derivative in one direction, against central differences of numpy's own result.
    direction = {name: np.random.default_rng(1).standard_normal(value.shape) for name, value in VALUES.items()}
    probe = np.random.default_rng(2).standard_normal(expected.shape)

    def along(step: float) -> float:
        moved = {name: VALUES[name] + step * direction[name] for name in VALUES}
        return float(np.nansum(evaluate(code, dataset(lambda a: a, moved)).values * probe))

    difference = (along(1e-6) - along(-1e-6)) / 2e-6
    tensor = found.data.tensor
    total = (torch.where(tensor.isnan(), 0, tensor) * torch.from_numpy(probe)).sum()
    gradients = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    assert all(g is None or torch.isfinite(g).all() for g in gradients)
    slope = sum(
        float((g * torch.from_numpy(d)).sum())
        for g, d in zip(gradients, direction.values(), strict=True)
        if g is not None
    )
    assert slope == pytest.approx(difference, rel=1e-6, abs=1e-6)
    assert any(g is not None for g in gradients)


# An index that depends on values has to be a number, which the tensors of torch.func are not.
@pytest.mark.parametrize("code", [code for code in CODES if "argmax" not in code])
@pytest.mark.filterwarnings("ignore")
def test_forward_mode_and_single_precision(code: str) -> None:
    values = [torch.tensor(value, dtype=torch.float32) for value in VALUES.values()]

    def function(*tensors: torch.Tensor) -> torch.Tensor:
        result = evaluate(code, dataset(TensorArray, dict(zip(VALUES, tensors, strict=True))))
        return torch.nan_to_num(result.data.tensor)

    direction = [torch.randn(v.shape, generator=torch.Generator().manual_seed(1)) for v in values]
    out, slope = torch.func.jvp(function, tuple(values), tuple(direction))
    probe = torch.randn(out.shape, generator=torch.Generator().manual_seed(2))
    back = torch.func.vjp(function, *values)[1](probe.to(out))
    left = float((slope.double() * probe.double()).sum())
    right = sum(float((b.double() * d.double()).sum()) for b, d in zip(back, direction, strict=True))
    assert left == pytest.approx(right, rel=1e-4, abs=1e-4)
    if "float)" not in code:
        assert out.dtype == torch.float32


@pytest.mark.parametrize(("code", "advice"), REFUSED)
def test_refused(code: str, advice: str) -> None:
    ds = dataset(lambda a: TensorArray(torch.tensor(a, requires_grad=True)))
    with pytest.raises(OperatorError, match=re.escape(advice)):
        evaluate(code, ds)


@pytest.mark.parametrize("name", sorted(SMOOTH | FLAT | IGNORING_NAN | LOGICAL))
def test_elementwise_functions(name: str) -> None:
    ufunc = getattr(np, name)
    kinds = [bool] if "bitwise" in name or name == "invert" else [float]
    for kind in kinds:
        numbers = rng.uniform(0.1, 0.9, (2, 5)) if kind is float else rng.random((2, 5)) > 0.5
        numbers = 1 + numbers if name == "arccosh" else numbers
        inputs = list(numbers[: ufunc.nin])
        found = ufunc(*[TensorArray(torch.tensor(x)) for x in inputs])
        np.testing.assert_allclose(found.tensor.numpy(), ufunc(*inputs), rtol=1e-14)
        if kind is float:
            mixed = ufunc(TensorArray(torch.tensor(inputs[0], dtype=torch.float32)), *inputs[1:])
            assert mixed.dtype in (np.float32, bool)


class TestHoles:
    """NaN where there is no value must not reach the gradients of what has one."""

    def gradients(self, function) -> tuple[torch.Tensor, torch.Tensor]:
        sea = torch.tensor([290.0, math.nan, 292.0], requires_grad=True)
        air = torch.tensor([280.0, 281.0, 282.0], requires_grad=True)
        ds = xr.Dataset({"sea": ("x", TensorArray(sea, holes=True)), "air": ("x", TensorArray(air))})
        out = function(ds).data.tensor
        torch.where(out.isnan(), 0, out).sum().backward()
        return sea.grad, air.grad

    @pytest.mark.parametrize(
        "function",
        [
            lambda ds: ds.sea * ds.air,
            lambda ds: np.exp(-ds.sea / 300) * np.sqrt(ds.air),
            lambda ds: (ds.sea * ds.air).sum(),
            lambda ds: (ds.air**2 / ds.sea).mean(),
            lambda ds: xr.where(ds.sea.isnull(), ds.air, ds.sea * ds.air),
            lambda ds: (ds.sea - ds.air).fillna(0.0) * ds.air,
            lambda ds: np.hypot(ds.sea, ds.air).std(),
        ],
    )
    def test_gradients_are_numbers(self, function) -> None:
        sea, air = self.gradients(function)
        assert torch.isfinite(sea).all() and torch.isfinite(air).all()
        assert sea[1] == 0 and sea[0] != 0 and air[0] != 0

    def test_what_stands_in_keeps_its_gradient(self) -> None:
        _, air = self.gradients(lambda ds: xr.where(ds.sea.isnull(), 2 * ds.air, ds.sea * ds.air))
        np.testing.assert_allclose(air, [290, 2, 292])


def test_printing_needs_no_numbers() -> None:
    ds = dataset(lambda a: TensorArray(torch.tensor(a, requires_grad=True)))
    assert "TensorArray" in repr(ds) and "TensorArray" in repr(ds.u)


def test_indexing_is_numpys() -> None:
    array = np.arange(60.0).reshape(3, 4, 5)
    duck = TensorArray(torch.tensor(array))
    keys = [0, -1, (0, 1), slice(None, None, -1), (slice(2, 0, -1), slice(None), slice(4, None, -2)), (..., 2)]
    keys += [(None, 1), ([0, 2],), (slice(None), np.array([True, False, True, True])), (slice(None, None, -1), [0, 2])]
    keys += [
        (np.array([0, 1]), slice(None, None, -1), np.array([1, 2])),
        (slice(0, 0),),
        (Ellipsis, slice(None, None, -2)),
    ]
    for key in keys:
        np.testing.assert_array_equal(duck[key].tensor, array[key])


def test_masks_become_numpy_arrays() -> None:
    mask = TensorArray(torch.tensor([1.0, 2.0], requires_grad=True)) > 1.5
    np.testing.assert_array_equal(np.asarray(mask), [False, True])


class TestCalculus:
    ds = dataset(lambda a: a)

    def test_interp_is_xarrays(self) -> None:
        found = operators.interp(self.ds, {"latitude": [0.0, 20.0], "longitude": 100.0})
        xr.testing.assert_allclose(found, self.ds.interp(latitude=[0.0, 20.0], longitude=100.0).transpose(*found.dims))

    def test_interp_point_by_point(self) -> None:
        places = {"latitude": xr.DataArray([0.0, 20.0], dims="p"), "longitude": xr.DataArray([10.0, 77.0], dims="p")}
        found = operators.interp(self.ds.u, places)
        xr.testing.assert_allclose(found, self.ds.u.interp(places).transpose(*found.dims))

    def test_interp_in_time(self) -> None:
        when = self.ds.time.values[0] + np.timedelta64(2, "h")
        xr.testing.assert_allclose(operators.interp(self.ds.u, {"time": when}), self.ds.u.interp(time=when))

    def test_interp_outside_is_missing(self) -> None:
        assert operators.interp(self.ds.t, {"level": [200.0, 400.0]}).isnull().any(
            ["time", "latitude", "longitude"]
        ).values.tolist() == [True, False]

    def test_log(self) -> None:
        ds = xr.Dataset({"z": ("level", np.log([1000.0, 500.0]))}, {"level": [1000.0, 500.0]})
        assert float(operators.interp(ds.z, {"level": 700.0}, method="log")) == pytest.approx(math.log(700))

    @pytest.mark.parametrize("levels", [[300.0, 500.0, 850.0], [850.0, 500.0, 300.0]])
    def test_nearest(self, levels: list[float]) -> None:
        wanted = [300.0, 399.0, 400.0, 401.0, 675.0, 850.0]
        found = operators.interp(self.ds.t.sel(level=levels), {"level": wanted}, method="nearest")
        expected = self.ds.t.sel(level=levels).interp(level=wanted, method="nearest")
        xr.testing.assert_allclose(found, expected.transpose(*found.dims))

    def test_unknown(self) -> None:
        with pytest.raises(OperatorError, match="'height'.*expected a one-dimensional"):
            operators.interp(self.ds, {"height": 2.0})
        with pytest.raises(ValueError, match="'cubic'.*'linear'"):
            operators.interp(self.ds, {"level": 700.0}, method="cubic")


def test_the_documented_table_is_the_tested_one() -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "operators.md").read_text()
    table = page.partition("<!-- supported -->")[2].partition("<!-- /supported -->")[0]
    for example in SUPPORTED:
        row = next((line for line in table.splitlines() if line.startswith(f"| {example.what} |")), "")
        assert re.findall(r"`` ?(.*?) ?``", row) == [code.replace("|", "\\|") for code in example.code], example.what


def test_pickled() -> None:
    array = pickle.loads(pickle.dumps(TensorArray(torch.ones(2), holes=True)))
    assert array.holes and array.shape == (2,)
