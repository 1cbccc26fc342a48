"""``ds.appa``: the questions that can be asked of a Dataset. Each method calls the function of the same name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

if TYPE_CHECKING:
    import pandas as pd

    from xappa.observations.errors_table import Deviation
    from xappa.tasks.check import Report


@xr.register_dataset_accessor("appa")
class AppaAccessor:
    """Data assimilation on a Dataset; made by xarray, used as ``ds.appa``.

    Parameters
    ----------
    ds : xarray.Dataset
        Fields, or just the times and variables that are wanted (`xappa.template` makes such a Dataset).
    """

    def __init__(self, ds: xr.Dataset) -> None:
        self._obj = ds

    def assimilate(
        self,
        obs: xr.Dataset | pd.DataFrame,
        operator: str | None = None,
        *,
        model: str | Path | None = None,
        error: Mapping[str, float] | str | None = None,
        members: int | Iterable[int] = 1,
        guidance: str | object | None = None,
        sampler: str | object | None = None,
        steps: int | None = None,
        stitching: str = "symmetrical",
        seed: int | None = None,
        device: str | None = None,
        chunks: str | int | Mapping[str, int] | None = "auto",
        progress: bool | None = None,
        drop_unknown: bool = False,
    ) -> xr.Dataset:
        """Reanalysis: the trajectories over the times of this Dataset that the observations allow.

        Returns at once. The sampling runs when values are asked for (``.compute()``, ``.plot()``,
        `xappa.to_zarr`), and only for what is asked for. Reports that cannot be used are never an error: they
        are rejected, and counted by reason in `xappa.diagnostics`.

        Parameters
        ----------
        obs : xarray.Dataset or pandas.DataFrame
            Reports: one dimension ``obs``; ``time``, ``latitude`` (degrees north), ``longitude`` (degrees east,
            any convention), where they exist ``level`` (hPa), ``altitude`` (m above sea level) and ``station``;
            one variable a quantity with its ``units``, NaN where not reported. `xappa.read_observations` makes
            such a Dataset of files and tables.
        operator : str, optional
            How a state is turned into what was observed. ``"interpolate"``, the default: bilinear on the sphere,
            linear in the logarithm of pressure and in time; 2 m temperature is brought to the station's height.
        model : str or Path, optional
            Name (see `xappa.models`) or folder of the prior. Default: the option ``default_model``.
        error : mapping of str to float, or str, optional
            Standard deviation of the observation error, a variable, in the variable's units; or the name of a
            table (see `xappa.observation_errors`). It is used where the reports bring no error of their own.
            Default: the general table.
        members : int or iterable of int, default 1
            Number of members, or the member numbers: ``range(8, 16)`` continues what ``8`` began.
        guidance : str or object, optional
            How the observations bend the denoiser: ``"mmps"``, ``"jacobian-free"``, ``"sda"``, ``"w2c"`` or an object
            of ``xappa.guidance``, which carries its options, such as ``xappa.guidance.MMPS(iterations=2)``.
        sampler : str or object, optional
            ``"lms"``, ``"pc"``, ``"ddim"``, ``"ddpm"``, ``"rewind"`` or an object of ``xappa.samplers``.
        steps : int, optional
            Number of noise levels. More is slower and closer to the exact posterior.
        stitching : str, default "symmetrical"
            How windows are joined where the times are more than one window of the model: ``"symmetrical"``,
            ``"causal"`` or ``"blended"``.
        seed : int, optional
            The noise is a function of (seed, member, time). Default: drawn now, and kept in the attributes.
        device : str, optional
            In torch's words, such as ``"cpu"``. Default: an accelerator where there is one.
        chunks : str, int or mapping, default "auto"
            Dask chunks of the result.
        progress : bool, optional
            Whether a progress bar is shown. Default: the option ``progress``.
        drop_unknown : bool, default False
            Whether variables that the model lacks are left out; otherwise they are an error that names them.

        Returns
        -------
        xarray.Dataset
            The variables of this Dataset on the model's grid, with dimensions ``member``, ``time``, ``level``
            where it applies, ``latitude``, ``longitude``; Dask-backed; names, order of latitude, convention of
            longitude, and units as in this Dataset. Model, options and seed are in the attributes.

        Raises
        ------
        xappa.errors.DatasetError
            If axes, times or variables are not as needed; all reasons at once.
        xappa.errors.ObservationError
            If no observation lies within the times, or `obs` lacks a coordinate.
        xappa.errors.UnitsError
            If units are unknown or cannot be converted.
        xappa.errors.ModelError
            If there is no such model; those known are listed.
        xappa.errors.OptionError
            If an option has a value that is not valid, such as ``members=0``.

        Examples
        --------
        >>> ds = xappa.template("2018-11-01T00", "2018-11-02T18")  # doctest: +SKIP
        >>> analysis = ds.appa.assimilate(obs, members=8, seed=0)  # doctest: +SKIP
        >>> analysis["2m_temperature"].std("member").isel(time=-1).plot()  # doctest: +SKIP
        """
        from xappa.tasks.assimilate import assimilate

        return assimilate(
            self._obj,
            obs,
            operator,
            model=model,
            error=error,
            members=members,
            guidance=guidance,
            sampler=sampler,
            steps=steps,
            stitching=stitching,
            seed=seed,
            device=device,
            chunks=chunks,
            progress=progress,
            drop_unknown=drop_unknown,
        )

    def observe(
        self,
        where: xr.Dataset | pd.DataFrame,
        operator: str = "interpolate",
        error: Mapping[str, Deviation] | Deviation | None = None,
        seed: int | None = None,
    ) -> xr.Dataset:
        """What a network would have reported of this Dataset.

        Parameters
        ----------
        where : xarray.Dataset or pandas.DataFrame
            Observations, in any form that `assimilate` takes; their places, times and variables count, their
            values do not. What is missing or rejected there is missing here; of a variable that is missing everywhere,
            all is observed.
        operator : str, default "interpolate"
            As for `assimilate`.
        error : mapping, str or float, optional
            Standard deviation of the Gaussian noise that is added: by variable, a number in the variable's units or a
            text such as ``"1 K"``; or the name of a table; or one deviation, if there is one variable. Default: no
            noise.
        seed : int, optional
            Seed of the noise. Default: drawn now, and kept in the attributes.

        Returns
        -------
        xarray.Dataset
            Observations: dimension ``obs`` (and ``member``, if this Dataset has it), units and errors in place; NaN
            outside the grid or the times.

        Raises
        ------
        xappa.errors.DatasetError, xappa.errors.ObservationError, xappa.errors.UnitsError
            As for `assimilate`.

        Examples
        --------
        >>> reports = truth.appa.observe(stations, error={"2m_temperature": 1.0}, seed=0)  # doctest: +SKIP
        """
        from xappa.tasks.observe import observe

        return observe(self._obj, where, operator=operator, error=error, seed=seed)

    def verify(
        self,
        reference: xr.Dataset | pd.DataFrame,
        metrics: Sequence[str] | None = None,
        baselines: Mapping[str, xr.Dataset] | None = None,
    ) -> xr.Dataset:
        """How good this Dataset is, against fields or (withheld) observations.

        Parameters
        ----------
        reference : xarray.Dataset or pandas.DataFrame
            Fields on this Dataset's grid (any order of rows, any convention of longitude), or observations, to which
            this Dataset is brought by ``"interpolate"``. Rejected reports do not count.
        metrics : sequence of str, optional
            Any of ``"rmse"`` (of the mean over members), ``"bias"``, ``"crps"`` (the fair form), ``"spread"`` and
            ``"spread_skill"`` (1 is calibrated, less is overconfident); against reports also ``"error"`` (of the
            reports), ``"expected"`` (the root of spread² + error²: what rmse is if the members are calibrated) and
            ``"count"``. Default: all that apply. Fields are weighted by the cosine of latitude.
        baselines : mapping of str to xarray.Dataset, optional
            Others, scored beside this Dataset under their names: fields, or, against reports, values at the reports.

        Returns
        -------
        xarray.Dataset
            One variable a quantity, in its units, with dimension ``metric`` (and ``level`` where it applies, and
            ``source``, ``"analysis"`` first, where baselines are given).

        Raises
        ------
        xappa.errors.DatasetError
            If the two have no variable or no time in common, or are on different grids.
        xappa.errors.OptionError
            If a metric is unknown, or needs members that are not there.
        xappa.errors.UnitsError
            If units cannot be converted.

        Examples
        --------
        >>> analysis.appa.verify(truth)["2m_temperature"].sel(metric="rmse")  # doctest: +SKIP
        """
        from xappa.verification.verify import verify

        return verify(self._obj, reference, metrics=metrics, baselines=baselines)

    def check(self, model: str | Path | None = None) -> Report:
        """Whether a model can use this Dataset, and every reason why not.

        Parameters
        ----------
        model : str or Path, optional
            Name or folder of a model. Default: the option ``default_model``.

        Returns
        -------
        Report
            True where nothing is wrong; printed, a list of what was found, what was expected and what to do.

        Raises
        ------
        xappa.errors.ModelError
            If there is no such model; those known are listed.

        Examples
        --------
        >>> print(ds.appa.check())  # doctest: +SKIP
        """
        from xappa.tasks.check import check

        return check(self._obj, model=model)
