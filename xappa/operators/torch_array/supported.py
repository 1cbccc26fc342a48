"""Examples of what a plain function of a Dataset may do; every row is tested, in value and in gradient.

In the examples ``t`` is a field over (time, level, latitude, longitude), ``u`` and ``v`` are fields over (time,
latitude, longitude), positive throughout, and ``ds`` is the Dataset of all three.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """A kind of computation, and lines that do it.

    Parameters
    ----------
    what : str
        In words.
    code : tuple of str
        Expressions in ``t, u, v, ds, np, xr`` and the module ``operators``.
    """

    what: str
    code: tuple[str, ...]


SUPPORTED: tuple[Example, ...] = (
    Example(
        "arithmetic",
        (
            "u + v",
            "u - 2 * v",
            "u * v / 3",
            "(u**2 + v**2) ** 0.5",
            "2**u",
            "-u",
            "abs(u - v)",
            "u % 2",
            "1 / u",
            "u @ v",
        ),
    ),
    Example(
        "numpy's functions, elementwise",
        (
            "np.sqrt(u)",
            "np.exp(-u)",
            "np.log(u)",
            "np.log10(u) + np.log1p(v)",
            "np.sin(u) * np.cos(v)",
            "np.arctan2(u, v)",
            "np.hypot(u, v)",
            "np.tanh(u - v)",
            "np.maximum(u, v)",
            "np.minimum(u, 1.5)",
            "np.fmax(u, v)",
            "np.abs(u - v)",
            "np.square(u)",
            "np.deg2rad(u)",
        ),
    ),
    Example(
        "comparisons and choices",
        (
            "xr.where(u > v, u, 2 * v)",
            "u.where(u > v)",
            "u.where(u > v, 0.0)",
            "u.where((u > v) & ~(v > 2))",
            "u.clip(1.0, 1.5)",
            "u.where(u > v).fillna(v)",
            "u.where(u > v).isnull() * v",
            "(u > v).astype(float) * u",
        ),
    ),
    Example(
        "selection by label and position",
        (
            "t.sel(level=500)",
            "t.sel(level=[300, 850])",
            "t.sel(level=slice(500, 850))",
            "u.sel(latitude=3.0, longitude=100.0, method='nearest')",
            "u.isel(time=-1)",
            "u.isel(latitude=slice(None, None, -1))",
            "u.isel(latitude=slice(None, None, -2), time=[0, 1])",
            "u.isel(latitude=xr.DataArray([0, 2], dims='point'), longitude=xr.DataArray([1, 3], dims='point'))",
            "t.isel(level=t.argmax('level'))",
            "u.head(latitude=2)",
            "u.thin(longitude=2)",
            "u.drop_vars('time')",
            "u.sortby('latitude')",
            "u.reindex(latitude=[-30.0, 0.0, 30.0])",
        ),
    ),
    Example(
        "reduction over named dimensions (NaN skipped, or not)",
        (
            "u.sum('longitude')",
            "u.mean(['latitude', 'longitude'])",
            "u.mean()",
            "u.mean('time', skipna=False)",
            "u.where(u > v).mean('longitude')",
            "u.where(u > v).sum('longitude', min_count=1)",
            "t.std('level')",
            "t.var('level', ddof=1)",
            "t.max('level')",
            "t.min('level', skipna=False)",
            "u.prod('time')",
            "t.median('longitude')",
            "t.quantile(0.3, 'longitude')",
            "u.cumsum('longitude')",
            "u.cumprod('time')",
        ),
    ),
    Example(
        "integrals, derivatives, differences",
        (
            "t.integrate('level')",
            "t.cumulative_integrate('level')",
            "t.differentiate('latitude')",
            "t.differentiate('level', edge_order=2)",
            "operators.differentiate(t, 'level')",
            "u.differentiate('time', datetime_unit='h')",
            "u.diff('longitude')",
            "t.diff('level', label='lower')",
            "u.roll(longitude=1)",
            "u.roll(longitude=-2, roll_coords=True)",
            "u.shift(latitude=1)",
            "u.shift(latitude=-1, fill_value=0.0)",
        ),
    ),
    Example(
        "interpolation",
        (
            "operators.interp(t, {'level': 700.0})",
            "operators.interp(t, {'level': [350.0, 600.0]}, method='log')",
            "operators.interp(u, {'latitude': 12.0, 'longitude': 77.0})",
        ),
    ),
    Example(
        "weights and products",
        (
            "u.weighted(np.cos(np.deg2rad(u.latitude))).mean(['latitude', 'longitude'])",
            "u.weighted(np.cos(np.deg2rad(u.latitude))).sum('latitude')",
            "t.weighted(t.level).mean('level')",
            "xr.dot(u, v, dim='longitude')",
            "t.dot(t.level)",
        ),
    ),
    Example(
        "joining and shaping",
        (
            "xr.concat([u, 2 * v], dim='part')",
            "xr.concat([u.isel(longitude=[0]), v], dim='longitude')",
            "xr.broadcast(u.isel(time=0), v)[0]",
            "u.transpose('longitude', 'time', 'latitude')",
            "u.expand_dims(part=2)",
            "u.squeeze()",
            "u.isel(time=[0]).squeeze()",
            "u.stack(place=('latitude', 'longitude'))",
            "u.stack(place=('latitude', 'longitude')).unstack('place')",
            "ds.to_dataarray('part')",
            "u.pad(longitude=1, mode='wrap')",
            "u.pad(latitude=1, mode='edge')",
        ),
    ),
    Example(
        "windows",
        (
            "u.rolling(longitude=3, center=True).mean()",
            "u.rolling(longitude=2).sum()",
            "u.rolling(longitude=3).construct('window').mean('window')",
            "u.coarsen(longitude=2).mean()",
            "u.coarsen(latitude=2, longitude=2, boundary='trim').max()",
        ),
    ),
    Example(
        "whole Datasets",
        (
            "ds.mean('longitude')['u']",
            "(ds[['u', 'v']] ** 2).sum('time')['v']",
            "ds.assign(w=ds.u * ds.v)['w']",
            "ds.isel(time=0).map(np.sqrt)['u']",
            "ds.rename(u='a')['a']",
            "xr.apply_ufunc(lambda a, b: np.sqrt(a * b), u, v)",
            "u.pipe(lambda x: x * 2)",
        ),
    ),
)

REFUSED: tuple[tuple[str, str], ...] = (
    ("t.interp(level=700.0)", "xappa.operators.interp"),
    ("u.interpolate_na('longitude')", "fillna"),
    ("u.polyfit('longitude', 1)", "xr.dot"),
    ("u.values", "DataArray itself"),
    ("u.to_numpy()", "DataArray itself"),
    ("u.mean().item()", "0-dimensional"),
    ("float(u.mean())", "0-dimensional"),
    ("u.astype(int)", "integers have none"),
    ("u.round()", "round"),
    ("np.asarray(u)", "DataArray itself"),
    ("np.interp(u, [0.0, 1.0], [0.0, 2.0])", "np.interp"),
    ("np.fft.fft(u.data)", "np.fft"),
    ("np.spacing(u)", "np.spacing"),
    ("u.load().compute().values", "DataArray itself"),
    ("u.data.__setitem__(0, 1.0)", "xr.where"),
    ("__import__('scipy.ndimage').ndimage.gaussian_filter(u.data, 1)", "scipy"),
)
"""Expressions that are refused, and a word of the advice given."""
