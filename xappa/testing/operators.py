r"""Whether an observation operator is differentiated correctly: the tangent-linear and the adjoint test.

With :math:`J` the derivative of H at x,

.. math::
   \| H(x + \epsilon d) - H(x) - \epsilon J d \| = O(\epsilon^2), \qquad
   \langle J d, y \rangle = \langle d, J^T y \rangle .

Forward mode gives :math:`J d`, reverse mode :math:`J^T y`.

References
----------
Talagrand and Courtier (1987), Variational assimilation of meteorological observations with the adjoint vorticity
equation, Q. J. R. Meteorol. Soc. 113, 1311-1328, https://doi.org/10.1002/qj.49711347812
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.autograd import forward_ad

from xappa.diffusion.guidance.linearised import Linearised
from xappa.errors import OperatorError
from xappa.grids.axes import Layout, recognise
from xappa.operators.chain import ComposedFunction, OperatorChain
from xappa.operators.columns import Columns
from xappa.operators.context import StateContext
from xappa.operators.forward.dataset_function import call_function, label_fields
from xappa.operators.forward.functions import make_whitened_operator
from xappa.operators.forward.reference_atmosphere import compute_moments
from xappa.operators.match_outputs import name_fields
from xappa.operators.nearest import GridPoints
from xappa.operators.sources import choose_operator
from xappa.state import derive_spec, get_surface_height, to_array

if TYPE_CHECKING:
    from xappa.operators.sources import Choice

Map = Callable[[Tensor], Tensor]

TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}
STEPS = tuple(0.5**k for k in range(2, 9))
ORDER = 1.9
ROUNDING = 1e-11  # of what is observed: a remainder below is that of a linear operator


@dataclass(frozen=True)
class OperatorReport:
    """Result of the tests of an operator.

    Parameters
    ----------
    operator : str
    reports : int
        Number that could be read.
    remainder : tuple of float
        Of the tangent-linear test, relative to what is observed, at steps of 1/4, 1/8, ... standard deviations.
    order : float
        At which it falls; infinite if there is none.
    adjoint : dict
        Relative difference of the two products, by precision.
    """

    operator: str
    reports: int
    remainder: tuple[float, ...]
    order: float
    adjoint: Mapping[str, float]

    @property
    def ok(self) -> bool:
        """Whether both tests are passed."""
        return not self.find_problems()

    def find_problems(self) -> list[str]:
        """Problems: found and expected."""
        found = []
        if self.order < ORDER:
            found.append(
                f"tangent-linear test: the remainder falls with order {self.order:.2f}, expected at least {ORDER}: the "
                "derivative is wrong, or the operator has a kink (an absolute value, a choice) where it was tried"
            )
        for dtype, tolerance in TOLERANCE.items():
            name = str(dtype).removeprefix("torch.")
            if not self.adjoint[name] <= tolerance:
                found.append(
                    f"adjoint test in {name}: products differ by {self.adjoint[name]:.1e}, expected {tolerance:g}"
                )
        return found

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        order = "none: linear" if np.isinf(self.order) else f"order {self.order:.2f}"
        products = ", ".join(f"{value:.1e} in {name}" for name, value in self.adjoint.items())
        return f"{self.operator}: {self.reports} reports; tangent-linear remainder {order}; adjoint {products}"


def check_operator(
    operator: Choice | Mapping[str, Choice],
    ds: xr.Dataset,
    obs: xr.Dataset | None = None,
    *,
    reports: int = 30,
    seed: int = 0,
) -> OperatorReport:
    """Run the tangent-linear and the adjoint test of an operator around the fields of a Dataset.

    Parameters
    ----------
    operator : str, operator, function, or dict of these
        As for `assimilate`.
    ds : Dataset
        Fields (time, [level,] latitude, longitude), without members.
    obs : Dataset, optional
        Observations in the schema, of which the places count. Default: at random places, the poles and the date line
        among them.
    reports : int, default 30
        Number of random places.
    seed : int
        Of places and directions.

    Returns
    -------
    OperatorReport

    Raises
    ------
    OperatorError
        If a test is not passed, with what was found and expected.

    Examples
    --------
    >>> print(xappa.testing.check_operator(wind_speed, ds))  # doctest: +SKIP
    """
    chosen = choose_operator(operator)
    layout = recognise(ds)
    spec, height = derive_spec(ds, layout), get_surface_height(ds, derive_spec(ds, layout), layout)
    times, fields = np.atleast_1d(ds[layout.time].values), to_array(ds, spec, layout).astype(float)
    mask = np.isfinite(fields).all(axis=0)
    state = StateContext(spec, times, height, mask, layout)
    rng = np.random.default_rng(seed)
    if obs is None:
        obs = _make_random_reports(chosen, state, reports, rng)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The height of the model's surface")
        rows, _ = chosen(_with_errors(obs), state)
    if not len(rows):
        raise OperatorError(f"{chosen!r}: none of {obs.sizes['obs']} reports can be read; give obs= inside the Dataset")
    scale = np.broadcast_to(compute_moments(spec)[1][:, None, None], spec.shape)
    maps = {dtype: make_whitened_operator(rows, np.nan_to_num(fields), scale, dtype=dtype) for dtype in TOLERANCE}
    frames = maps[torch.float64].frames
    shape = (1, len(frames), *spec.shape)
    direction = torch.from_numpy(rng.standard_normal(shape) * mask)
    order, remainder = _test_tangent_linear(maps[torch.float64], direction)
    y = torch.from_numpy(rng.standard_normal((1, len(rows))))
    adjoint = {
        str(dtype).removeprefix("torch."): _test_adjoint(reading, direction.to(dtype), y.to(dtype))
        for dtype, reading in maps.items()
    }
    report = OperatorReport(repr(chosen), len(rows), remainder, order, adjoint)
    if problems := report.find_problems():
        raise OperatorError(
            f"{chosen!r} is not differentiated correctly:" + "".join(f"\n- {text}" for text in problems)
        )
    return report


def _test_tangent_linear(operator: Map, direction: Tensor) -> tuple[float, tuple[float, ...]]:
    """Order at which the remainder falls, and the remainders."""
    zero = torch.zeros_like(direction)
    value, slope = _forward(operator, zero, direction)
    with torch.no_grad():
        left = [float((operator(e * direction) - value - e * slope).norm()) for e in STEPS]
        size = float(max(operator(direction).norm(), value.norm(), slope.norm(), torch.tensor(1e-300)))
    remainder = tuple(r / size for r in left)
    known = [(e, r) for e, r in zip(STEPS, remainder, strict=True) if r > ROUNDING]
    if len(known) < 3:
        return np.inf, remainder
    # The smallest steps are nearest to the limit.
    steps, rest = np.log([known[-3:][k] for k in range(3)]).T
    return float(np.polyfit(steps, rest, 1)[0]), remainder


def _forward(operator: Map, point: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Value and derivative in a direction, by forward mode."""
    with torch.no_grad(), forward_ad.dual_level():
        value, slope = forward_ad.unpack_dual(operator(forward_ad.make_dual(point, direction)))
        return value, torch.zeros_like(value) if slope is None else slope.clone()


def _test_adjoint(operator: Map, direction: Tensor, y: Tensor) -> float:
    """Difference of the products, relative to the sizes of what is multiplied."""
    image = _forward(operator, torch.zeros_like(direction), direction)[1].double()
    back = Linearised(operator, torch.zeros_like(direction)).adjoint(y).double()
    left, right = float((image * y.double()).sum()), float((direction.double() * back).sum())
    size = max(float(image.norm() * y.double().norm()), float(direction.double().norm() * back.norm()))
    return abs(left - right) / size if size else 0.0


def _make_random_reports(operator: Any, state: StateContext, number: int, rng: np.random.Generator) -> xr.Dataset:
    spec, times = state.spec, state.times
    latitude = np.degrees(np.arcsin(rng.uniform(-1, 1, number)))
    longitude = rng.uniform(-180, 360, number)
    latitude[:4], longitude[4:8] = [90, -90, 0, 0][: len(latitude[:4])], [180, -180, 0, 360][: len(longitude[4:8])]
    levels = spec.levels or (500,)
    seconds = rng.uniform(0, max(float((times[-1] - times[0]) / np.timedelta64(1, "s")), 0.0), number)
    coords = {
        "time": ("obs", times[0] + seconds.astype("m8[s]")),
        "latitude": ("obs", latitude),
        "longitude": ("obs", longitude),
        "level": ("obs", rng.uniform(min(levels), max(levels), number)),
        "altitude": ("obs", np.full(number, 20000.0)),
    }
    names = [str(name) for name in spec.variables]
    made = operator.physics if isinstance(operator, OperatorChain) else (operator,) if operator.whole_state else ()
    if made:
        names = ["observed"]
        result = made[0].output if isinstance(made[0], Columns) else _make_report(made, state)
        if isinstance(result, xr.Dataset):
            names = list(name_fields(result, repr(operator)))
        if "channel" in result.dims:
            coords["channel"] = ("obs", rng.choice(result["channel"].values, number))
    chain = operator if isinstance(operator, OperatorChain) or not made else OperatorChain((operator,))
    if isinstance(chain.geometry if isinstance(chain, OperatorChain) else chain, GridPoints):
        coords["latitude"] = ("obs", rng.choice(spec.latitude, number))
        coords["longitude"] = ("obs", rng.choice(spec.longitude, number))
    return xr.Dataset({name: ("obs", np.zeros(number)) for name in names}, coords)


def _make_report(made: tuple[Any, ...], state: StateContext) -> Any:
    from xappa.operators.forward.reference_atmosphere import make_plausible_fields

    fields = make_plausible_fields(state.spec, len(state.times))
    return call_function(ComposedFunction(made), label_fields(state, fields, state.times))


def _with_errors(obs: xr.Dataset) -> xr.Dataset:
    names = [name for name in obs.data_vars if not str(name).endswith(("_error", "_flag"))]
    return obs.assign({f"{name}_error": ("obs", np.ones(obs.sizes["obs"])) for name in names})


__all__ = ["Layout", "OperatorReport", "check_operator"]
