"""``ds.appa``: the questions that can be asked of a Dataset. Each method calls the function of the same name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

if TYPE_CHECKING:
    from datetime import timedelta

    import numpy as np
    import pandas as pd

    from xappa.background import Background
    from xappa.grids.regrid.weights import Weights
    from xappa.labels.region import Region
    from xappa.models.protocol import ModelLike
    from xappa.observations.errors_table import Deviation, Errors
    from xappa.observations.quality import Quality
    from xappa.observations.quality.table import Summary
    from xappa.observations.read import Source
    from xappa.operators.sources import Choice
    from xappa.segments import Segments
    from xappa.tasks.check import Report
    from xappa.tasks.plan import Cost
    from xappa.verification.result import Scores


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

    def __repr__(self) -> str:
        from xappa.observations import is_one_form

        if not is_one_form(self._obj):
            return f"<xappa on a Dataset of {len(self._obj.data_vars)} variables>"
        from xappa.observations.quality.counts import heading

        return heading(self._obj)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(repr(self))}</pre>{self._obj._repr_html_()}"

    def assimilate(
        self,
        obs: Source,
        operator: Choice | Mapping[str, Choice] | None = None,
        *,
        model: ModelLike | None = None,
        error: Errors | None = None,
        background: str | xr.Dataset | Background | None = None,
        members: int | Iterable[int] = 1,
        effort: str = "standard",
        guidance: str | object | None = None,
        sampler: str | object | None = None,
        steps: int | None = None,
        stitching: str = "symmetrical",
        segments: str | Segments = "independent",
        quality: str | Quality = "standard",
        grid: str = "model",
        seed: int | None = None,
        device: str | None = None,
        memory: str | float | None = None,
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
        obs : xarray.Dataset, pandas.DataFrame or path of a file; or a dict or list of these
            Reports: one dimension ``obs``; ``time``, ``latitude`` (degrees north), ``longitude`` (degrees east,
            any convention), where they exist ``level`` (hPa), ``altitude`` (m above sea level) and ``station``;
            one variable a quantity with its ``units``, NaN where not reported. `xappa.read_observations` makes
            such a Dataset of files and tables.
        operator : str, operator, function, or dict of these, optional
            How a state is turned into what was observed. ``"interpolate"``, the default: bilinear on the sphere,
            linear in the logarithm of pressure and in time; 2 m temperature is brought to the station's height. Other
            names, objects of `xappa.operators`, and any plain function of a Dataset, which is differentiated, or
            compositions such as ``Footprint(radius=25) @ wind_speed``. A dict by source, if `obs` is one.
        model : str, Path or Prior, optional
            Name (see `xappa.models`) or folder of the prior. Default: the option ``default_model``.
        error : mapping of str to float, float, or str, optional
            Standard deviation of the observation error, a variable, in the variable's units; or the name of a
            table (see `xappa.observation_errors`). It is used where the reports bring no error of their own.
            Default, and for quantities that it does not name: the general table, and what that implies. Reports of
            which nothing tells the error are left out, with one warning.
        background : "ds", xarray.Dataset or object, optional
            A first guess: ``"ds"``, the values of this Dataset, or other fields, with all variables and levels of the
            model at one of the times or more, on any global grid, with or without members. It counts as an observation
            of the latent state at its first time, with errors estimated from its members (4 or more) or from the
            model's own forecasts. ``xappa.background.LatentObservation`` and ``xappa.background.WarmStart`` carry
            options.
        members : int or iterable of int, default 1
            Number of members, or the member numbers: ``range(8, 16)`` continues what ``8`` began.
        effort : str, default "standard"
            ``"preview"``, ``"standard"`` or ``"reference"``: settings of guidance, sampler and steps, which an explicit
            argument overrides.
        guidance : str or object, optional
            How the observations bend the denoiser: ``"mmps"``, ``"jacobian-free"``, ``"sda"``, ``"w2c"``, ``"dps"``,
            ``"repaint"``, ``"latent-optimisation"``, or an object of ``xappa.guidance``, which carries its options,
            such as ``xappa.guidance.MMPS(iterations=2)``; a name stands for that method's own defaults, whatever
            `effort` is. Default: that of `effort`.
        sampler : str or object, optional
            ``"dpm"``, ``"lms"``, ``"pc"``, ``"ddim"``, ``"ddpm"``, ``"rewind"`` or an object of ``xappa.samplers``.
            Default: that of `effort`.
        steps : int, optional
            Number of noise levels. More is slower and closer to the exact posterior.
        stitching : str, default "symmetrical"
            How windows are joined where the times are more than one window of the model: ``"symmetrical"``,
            ``"causal"``, ``"blended"`` or ``"average"``.
        segments : str or object, default "independent"
            How a time axis of many windows is split into pieces that are sampled one by one: ``"independent"`` ones
            overlap and are blended, so that December can be had without January; of a ``"chain"`` each continues the
            one before. Or an object of ``xappa.segments``, such as ``xappa.segments.Independent(windows=32)``.
        quality : str or Quality, default "standard"
            Which reports are not believed: ``"none"``, ``"standard"``, ``"strict"`` or an object `xappa.Quality`. They
            are compared with the model's climatology, with each other, and with the heights of the model's surface.
        grid : str, default "model"
            ``"model"``: the result is on the model's grid; where this Dataset is a region, on the part of it that
            covers the region. ``"ds"``: on this Dataset's, bilinear, as lazily.
        seed : int, optional
            The noise is a function of (seed, member, time). Default: drawn now, and kept in the attributes.
        device : str, optional
            In torch's words, such as ``"cpu"``. Default: an accelerator where there is one.
        memory : str or float, optional
            What sampling may use on the device, the model's weights included: ``"6GB"``, or bytes. Members are taken
            in parts, and what is not kept is computed anew, so that it suffices; results agree to rounding. Default:
            most of what is free.
        chunks : str, int or mapping, default "auto"
            Dask chunks of the result: the number of times in one, or ``{"time": 4, "member": 2}``, where ``member``
            is the number of members that are sampled together. Default: one time, and up to 8 members.
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
            background=background,
            members=members,
            effort=effort,
            guidance=guidance,
            sampler=sampler,
            steps=steps,
            stitching=stitching,
            segments=segments,
            quality=quality,
            grid=grid,
            seed=seed,
            device=device,
            memory=memory,
            chunks=chunks,
            progress=progress,
            drop_unknown=drop_unknown,
        )

    def filter(
        self,
        obs: Source,
        operator: Choice | Mapping[str, Choice] | None = None,
        *,
        model: ModelLike | None = None,
        error: Errors | None = None,
        background: str | xr.Dataset | Background | None = None,
        members: int | Iterable[int] = 1,
        effort: str = "standard",
        guidance: str | object | None = None,
        sampler: str | object | None = None,
        steps: int | None = None,
        stitching: str = "symmetrical",
        segments: str | Segments = "independent",
        quality: str | Quality = "standard",
        grid: str = "model",
        seed: int | None = None,
        device: str | None = None,
        memory: str | float | None = None,
        chunks: str | int | Mapping[str, int] | None = "auto",
        progress: bool | None = None,
        drop_unknown: bool = False,
    ) -> xr.Dataset:
        """The state now, at the last time of this Dataset, given observations up to then.

        As `assimilate`, but later reports are rejected, and of the trajectory only the last state is returned.

        Parameters
        ----------
        obs, operator, model, error, background, members, effort, guidance, sampler, steps, stitching, segments, \
        quality, grid, seed, device, memory, chunks, progress, drop_unknown
            As for `assimilate`. Reports count from the first time of this Dataset on: one with the last time alone has
            no past.

        Returns
        -------
        xarray.Dataset
            As of `assimilate`, with one time.

        Raises
        ------
        xappa.errors.XappaError
            As `assimilate`.

        Examples
        --------
        >>> past = xappa.template("2018-11-01T00", "2018-11-02T12")  # doctest: +SKIP
        >>> now = past.appa.filter(obs, members=8, seed=0)  # doctest: +SKIP
        """
        from xappa.tasks.filter import filter

        return filter(
            self._obj,
            obs,
            operator,
            model=model,
            error=error,
            background=background,
            members=members,
            effort=effort,
            guidance=guidance,
            sampler=sampler,
            steps=steps,
            stitching=stitching,
            segments=segments,
            quality=quality,
            grid=grid,
            seed=seed,
            device=device,
            memory=memory,
            chunks=chunks,
            progress=progress,
            drop_unknown=drop_unknown,
        )

    def forecast(
        self,
        lead: str | timedelta | np.timedelta64 | Sequence[str | timedelta | np.timedelta64],
        *,
        obs: Source | None = None,
        operator: Choice | Mapping[str, Choice] | None = None,
        model: ModelLike | None = None,
        error: Errors | None = None,
        background: str | xr.Dataset | Background | None = None,
        mode: str = "autoregressive",
        members: int | Iterable[int] = 1,
        effort: str = "standard",
        guidance: str | object | None = None,
        sampler: str | object | None = None,
        steps: int | None = None,
        stitching: str = "symmetrical",
        quality: str | Quality = "standard",
        grid: str = "model",
        seed: int | None = None,
        device: str | None = None,
        memory: str | float | None = None,
        chunks: str | int | Mapping[str, int] | None = "auto",
        progress: bool | None = None,
        drop_unknown: bool = False,
    ) -> xr.Dataset:
        """What follows this Dataset, or the analysis of observations at its times.

        Without `obs` the forecast starts from this Dataset's states (the last ones, up to half a window of the model):
        all variables and levels of the model, on any global grid. They are held to within the error of the model's
        autoencoder; member i starts from the Dataset's member i, counted round. With `obs` the values of this Dataset
        are not used, and members of the forecast continue members of the analysis.

        Parameters
        ----------
        lead : str, timedelta, or a sequence of these
            ``"48h"``: all model times up to 48 hours ahead. ``["24h", "48h"]``: these two. At most 366 days.
        obs : xarray.Dataset or pandas.DataFrame, optional
            As for `assimilate`. Reports later than the last time of this Dataset are rejected.
        mode : str, default "autoregressive"
            ``"autoregressive"``: a window of the model at a time, each given the last states of the one before.
            ``"all-at-once"``: the whole trajectory, all its windows together.
        operator, model, error, background, members, effort, guidance, sampler, steps, stitching, quality, grid, seed, \
        device, memory, chunks, progress, drop_unknown
            As for `assimilate`; operator, error, background and quality are for `obs`.

        Returns
        -------
        xarray.Dataset
            As of `assimilate`, at the times ahead, with the coordinate ``lead_time`` along time.

        Raises
        ------
        xappa.errors.OptionError
            If a lead is not ahead, no multiple of the model's step, or too long.
        xappa.errors.XappaError
            As `assimilate`. States with missing values are found when they are computed.

        Examples
        --------
        >>> ahead = analysis.appa.forecast("5D", members=8, seed=1)  # doctest: +SKIP
        >>> ahead = past.appa.forecast(["24h", "48h"], obs=obs, members=8, seed=0)  # doctest: +SKIP
        """
        from xappa.tasks.forecast import forecast

        return forecast(
            self._obj,
            lead,
            obs=obs,
            operator=operator,
            model=model,
            error=error,
            background=background,
            mode=mode,
            members=members,
            effort=effort,
            guidance=guidance,
            sampler=sampler,
            steps=steps,
            stitching=stitching,
            quality=quality,
            grid=grid,
            seed=seed,
            device=device,
            memory=memory,
            chunks=chunks,
            progress=progress,
            drop_unknown=drop_unknown,
        )

    def sample(
        self,
        *,
        model: ModelLike | None = None,
        members: int | Iterable[int] = 1,
        effort: str = "standard",
        sampler: str | object | None = None,
        steps: int | None = None,
        stitching: str = "symmetrical",
        segments: str | Segments = "independent",
        grid: str = "model",
        seed: int | None = None,
        device: str | None = None,
        memory: str | float | None = None,
        chunks: str | int | Mapping[str, int] | None = "auto",
        progress: bool | None = None,
        drop_unknown: bool = False,
    ) -> xr.Dataset:
        """Trajectories that the model holds possible at the times of this Dataset, without observations.

        Parameters
        ----------
        model, members, effort, sampler, steps, stitching, segments, grid, seed, device, memory, chunks, progress, \
        drop_unknown
            As for `assimilate`.

        Returns
        -------
        xarray.Dataset
            As of `assimilate`.

        Raises
        ------
        xappa.errors.DatasetError, xappa.errors.ModelError, xappa.errors.OptionError
            As `assimilate`.

        Examples
        --------
        >>> free = xappa.template("2018-01-01", "2018-01-10").appa.sample(members=4, seed=0)  # doctest: +SKIP
        """
        from xappa.tasks.sample import sample

        return sample(
            self._obj,
            model=model,
            members=members,
            effort=effort,
            sampler=sampler,
            steps=steps,
            stitching=stitching,
            segments=segments,
            grid=grid,
            seed=seed,
            device=device,
            memory=memory,
            chunks=chunks,
            progress=progress,
            drop_unknown=drop_unknown,
        )

    def plan(
        self,
        obs: Source | None = None,
        operator: Choice | Mapping[str, Choice] | None = None,
        *,
        task: str | None = None,
        lead: str | timedelta | np.timedelta64 | Sequence[str | timedelta | np.timedelta64] | None = None,
        mode: str = "autoregressive",
        model: ModelLike | None = None,
        error: Errors | None = None,
        background: str | xr.Dataset | Background | None = None,
        members: int | Iterable[int] = 1,
        effort: str = "standard",
        guidance: str | object | None = None,
        sampler: str | object | None = None,
        steps: int | None = None,
        stitching: str = "symmetrical",
        segments: str | Segments = "independent",
        quality: str | Quality = "standard",
        grid: str = "model",
        seed: int | None = None,
        device: str | None = None,
        memory: str | float | None = None,
        chunks: str | int | Mapping[str, int] | None = "auto",
        drop_unknown: bool = False,
    ) -> Cost:
        """What a run will cost: evaluations, FLOP, memory, seconds, chunks and tasks. It is not run.

        The networks' arithmetic is counted and their memory metered without doing anything; seconds come from a small
        run of some seconds on the device. Reports are read and checked as for the run itself.

        Parameters
        ----------
        obs, operator
            As for `assimilate`. Default: no observations.
        task : str, optional
            ``"assimilate"``, ``"filter"``, ``"forecast"`` or ``"sample"``. Default: ``"forecast"`` if `lead` is given,
            ``"sample"`` without observations, else ``"assimilate"``.
        lead, mode
            As for `forecast`.
        model, error, background, members, effort, guidance, sampler, steps, stitching, segments, quality, grid, seed, \
        device, memory, chunks, drop_unknown
            As for `assimilate`.

        Returns
        -------
        Cost
            Shown as a table; its numbers are attributes, such as ``.seconds`` and ``.flop``.

        Raises
        ------
        xappa.errors.XappaError
            Whatever the task itself would raise when it is called.

        Examples
        --------
        >>> ds.appa.plan(obs, members=8)  # doctest: +SKIP
        """
        from xappa.tasks.plan import plan

        return plan(
            self._obj,
            obs,
            operator,
            task=task,
            lead=lead,
            mode=mode,
            model=model,
            error=error,
            background=background,
            members=members,
            effort=effort,
            guidance=guidance,
            sampler=sampler,
            steps=steps,
            stitching=stitching,
            segments=segments,
            quality=quality,
            grid=grid,
            seed=seed,
            device=device,
            memory=memory,
            chunks=chunks,
            drop_unknown=drop_unknown,
        )

    def observe(
        self,
        where: xr.Dataset | pd.DataFrame,
        operator: Choice | Mapping[str, Choice] = "interpolate",
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
        operator : str, operator, function, or dict of these, default "interpolate"
            As for `assimilate`.
        error : mapping, str or float, optional
            Standard deviation of the Gaussian noise that is added: by variable, a number in the variable's units or a
            text such as ``"1 K"``; or the name of a table; or one deviation, if there is one variable; or
            ``"reported"``: the deviations that `where` brings. It is correlated where `where` says so. Variables that a
            mapping does not name get no noise, with a warning. Default: no noise.
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

    def regrid(
        self,
        target: xr.Dataset | xr.DataArray | float | str | Path | None = None,
        method: str = "bilinear",
        *,
        backend: str | None = None,
        weights: Weights | str | Path | None = None,
        min_valid: float = 0.5,
    ) -> xr.Dataset:
        """Bring this Dataset onto another grid.

        Grids are regular, Gaussian (full, or reduced as one list of points) or curvilinear (2-D latitude and
        longitude); fields of staggered grids are read where their ``coordinates`` attribute puts them. Weights are made
        once for two grids, and kept. Dask-backed fields stay lazy, with each horizontal field in one chunk. A variable
        ``mask`` (1 where the grid has values, 0 elsewhere), here or in the target, is honoured.

        Parameters
        ----------
        target : xarray.Dataset, xarray.DataArray, float, str or Path, optional
            Anything on the grid that is wanted; or so many degrees, up to 90 (rows on both poles, or, if 180 is no
            multiple, counted from the equator; a column at 0); or a Gaussian grid, such as ``"F48"``; or ``"model"``
            for the default model's grid, or a model's name or folder. May be left out where a file of weights tells it.
        method : str, default "bilinear"
            ``"bilinear"``; ``"conservative"``, which keeps area means; or ``"nearest"``.
        backend : str, optional
            ``"xesmf"``: weights made by xESMF, where it is installed. Default: our own.
        weights : Weights, str or Path, optional
            Weights of `xappa.regrid_weights`, or a file of them: of ESMF or xESMF (``row``, ``col``, ``S``), or of CDO
            or SCRIP (``src_address``, ``dst_address``, ``remap_matrix``). `method` then has no effect.
        min_valid : float, default 0.5
            Share of a target's weight that must fall on values; the values that are there then make up for those that
            are missing. 0: any value will do. 1: one missing value is enough to have none.

        Returns
        -------
        xarray.Dataset
            NaN where this Dataset does not reach. Types of floats are kept. What describes the old grid, or cannot be
            regridded, is left out, and listed in the attribute ``regrid_left_out``.

        Raises
        ------
        xappa.errors.DatasetError
            If there is no usable grid, or variables or weights do not fit it.
        xappa.errors.MissingDependency
            If the backend is not installed; the message says how to install it.
        xappa.errors.ModelError, xappa.errors.OptionError
            If there is no such model, method, backend or number of degrees.

        Examples
        --------
        >>> coarse = ds.appa.regrid(1.5, "conservative")  # doctest: +SKIP
        >>> same = forecast.appa.regrid(ds)  # doctest: +SKIP
        """
        from xappa.tasks.regrid import regrid

        return regrid(self._obj, target, method, backend=backend, weights=weights, min_valid=min_valid)

    def verify(
        self,
        reference: xr.Dataset | xr.DataArray | pd.DataFrame,
        metrics: Sequence[str] | None = None,
        baselines: Mapping[str, xr.Dataset | xr.DataArray] | None = None,
        by: str | Sequence[str] | None = None,
    ) -> Scores:
        """How good this Dataset is, against fields or (withheld) observations.

        Forecasts along starts and leads are compared at their valid time, start plus lead; `xappa` recognises them as
        WeatherBench2, earth2studio, earthkit, cfgrib, climpred and CF write them. Fields are weighted by the cosine of
        latitude. What is missing in the reference, in this Dataset or in a baseline is left out of all scores alike;
        where single members are missing, the others are scored. What is left out is told by a `GapWarning`, by the
        metric ``"count"`` and by the attribute ``left_out``.

        Parameters
        ----------
        reference : xarray.Dataset, xarray.DataArray or pandas.DataFrame
            Fields on this Dataset's grid or a region of it (any order of rows, any convention of longitude), which are
            compared at common times and levels; or observations, to which this Dataset is brought by ``"interpolate"``,
            amounts and extremes over their periods too. Reports that bring no error have the one that the analysis
            assumed. Rejected reports do not count. A DataArray is the variable of its name.
        metrics : sequence of str, optional
            Any of ``"rmse"`` (of the mean over members), ``"bias"``, ``"mae"``, ``"crps"`` (the fair form),
            ``"spread"``, ``"spread_skill"`` (1 is calibrated, less is overconfident), ``"count"`` (of values);
            ``"acc"`` and ``"reliability"``, which need a baseline called ``"climatology"``; ``"rank_histogram"``;
            against reports also ``"error"`` (of the reports) and ``"expected"`` (sqrt((M + 1) / M spread² + error²):
            what rmse is if members are calibrated). Default: all that apply but mae, acc, reliability and the rank
            histogram.
        baselines : mapping of str to xarray.Dataset or xarray.DataArray, optional
            Others, scored beside this Dataset under their names: fields, forecasts (at the same leads), a climatology
            by hour, day of the year or month, a mean without time, or, against reports, values along ``obs``.
        by : str or sequence of str, optional
            What scores are kept along; means are over all else but levels. Any of ``"lead"``, ``"init"`` (start),
            ``"time"`` (valid time), ``"region"`` (bands of latitude), ``"season"``, ``"level"``, or this Dataset's own
            names of start and lead. Default: the lead, where forecasts overlap or give no valid time of their own.

        Returns
        -------
        xarray.Dataset
            One variable a quantity, in its units, with dimension ``metric`` (and ``level`` where it applies, those of
            `by` under this Dataset's names, and ``source``, ``"analysis"`` first, where baselines are given).
            Histograms and reliability are variables of their own, ``<name>_rank_histogram`` and the like. Lazy where
            this Dataset is; ``print`` computes it and shows a table.

        Raises
        ------
        xappa.errors.DatasetError
            If the two have no variable, time or level in common, or are on different grids; if times are ambiguous, a
            dimension is not understood, or extremes or means over a period meet values of instants; or if a DataArray
            has no name.
        xappa.errors.OptionError
            If a metric is unknown or lacks what it needs, or `by` does not apply.
        xappa.errors.UnitsError
            If units cannot be converted, or values without units are none of the quantity's, as wherever fields are
            read; the latter, where a Dataset is lazy, when scores are computed.

        Examples
        --------
        >>> analysis.appa.verify(truth)["2m_temperature"].sel(metric="rmse")  # doctest: +SKIP
        >>> forecast.appa.verify(era5, by=("lead", "region"), baselines={"climatology": normals})  # doctest: +SKIP
        """
        from xappa.verification.verify import verify

        return verify(self._obj, reference, metrics=metrics, baselines=baselines, by=by)

    def summary(self) -> Summary:
        """How many reports there are, by variable and by what became of them.

        On observations (from `xappa.read_observations`, `xappa.quality_control`, …) and on an analysis alike, but for
        an analysis of reports that Dask reads, whose counts are in `xappa.diagnostics`.

        Returns
        -------
        Summary
            A pandas.DataFrame: a row for each variable; the column ``good`` and one for each reason that occurs, such
            as ``out_of_range``. Printed, it shows units, as read and as kept, too, and what was left out.

        Raises
        ------
        xappa.errors.ObservationError
            If this Dataset is neither, or an analysis of reports that Dask reads.

        Examples
        --------
        >>> obs.appa.summary()  # doctest: +SKIP
        """
        from xappa.observations import summary

        return summary(self._obj)

    def encode(
        self, model: ModelLike | None = None, *, dtype: str = "float16", device: str | None = None
    ) -> xr.Dataset:
        """The latent form of this Dataset: hundreds of times fewer numbers (532 at 0.25 degrees).

        Returns at once; states are encoded one by one when values are asked for. Fields may be in any order and
        convention, in convertible units, with more variables and levels than the model's, and on another grid
        (they are regridded: bilinear, or conservative where the model's grid is at least twice as coarse).

        Parameters
        ----------
        model : str, Path or Prior, optional
            Name (see `xappa.models`) or folder of the model. Default: the option ``default_model``.
        dtype : str, default "float16"
            In what they are stored: ``"float16"`` or ``"float32"`` (NetCDF knows no float16, Zarr does). They are
            handed out in float32, so that statistics do not overflow.
        device : str, optional
            In torch's words, such as ``"cpu"``. Default: an accelerator where there is one.

        Returns
        -------
        xarray.Dataset
            ``latent`` ([member,] time, latent_y, latent_x, latent_channel), of mean about 0 and deviation about 1;
            NaN for a state with missing values, except of sea surface temperature. ``sea_mask`` (latitude, longitude):
            where that is there at the first time. The coordinates of the fields, in this Dataset's names, order and
            conventions; model, its hash, and names and units of the variables in the attributes.

        Raises
        ------
        xappa.errors.DatasetError
            If variables, levels, times or places that the model needs are missing; all reasons at once.
        xappa.errors.UnitsError
            If only units are wrong, or precipitation is over other hours than the model's.
        xappa.errors.OptionError
            If `dtype` is neither of the two.

        Examples
        --------
        >>> xappa.to_zarr(era5.appa.encode(), "latents.zarr")  # doctest: +SKIP
        """
        from xappa.tasks.latents import encode

        return encode(self._obj, model, dtype=dtype, device=device)

    def decode(
        self,
        variables: str | Sequence[str] | None = None,
        region: Region | None = None,
        *,
        model: ModelLike | None = None,
        device: str | None = None,
    ) -> xr.Dataset:
        """The fields of latents that `encode` made, or of some of their times, members, rows, columns and levels.

        Returns at once; states are decoded one by one when values are asked for, and of each only what is wanted is
        kept.

        Parameters
        ----------
        variables : str or sequence of str, optional
            Names as in the Dataset that was encoded, or WeatherBench names. Default: all of the model's.
        region : mapping or pair, optional
            ``{"latitude": slice(30, 60), "longitude": slice(-10, 40), "level": (500, 850)}``: slices or pairs of
            bounds, any of the three, by these or the Dataset's own names; or ``((30, 60), (-10, 40))`` for latitudes
            and longitudes. Both bounds belong to the region. Bounds of latitude and level come in any order; those of
            longitude go eastwards from the first to the second, in any convention. Degrees; levels in the Dataset's
            units. Where the region lies across the seam of the longitudes, these ascend from its western bound.
            Default: everything.
        model : str, Path or Prior, optional
            Where the model of the latents is found, if no longer under the name or in the folder of then.
        device : str, optional
            As for `encode`.

        Returns
        -------
        xarray.Dataset
            ([member,] time, [level,] latitude, longitude); names, units, order and conventions as in the Dataset that
            was encoded, missing where its sea surface temperature was missing.

        Raises
        ------
        xappa.errors.DatasetError
            If this Dataset does not hold whole latent states.
        xappa.errors.IntegrityError
            If `model` is not the one that made the latents.
        xappa.errors.OptionError
            If a variable is unknown, or `region` holds no point.

        Examples
        --------
        >>> latents.appa.decode("2m_temperature", region=((35, 70), (-10, 40)))  # doctest: +SKIP
        """
        from xappa.tasks.latents import decode

        return decode(self._obj, variables, region, model=model, device=device)

    def check(self, model: ModelLike | None = None) -> Report:
        """Whether a model can use this Dataset, and every reason why not.

        Parameters
        ----------
        model : str, Path or Prior, optional
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
