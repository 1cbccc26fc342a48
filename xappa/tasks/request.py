"""Options of the tasks: each once, with its default, its check and its description.

The tasks take their signatures and the descriptions of their parameters from these dataclasses (`with_parameters_of`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import xarray as xr

from xappa.background import Background
from xappa.errors import choose
from xappa.grids import flatten_valid_time
from xappa.grids.axes import Layout, recognise
from xappa.model.registry import load
from xappa.observations.qc import Quality, choose_quality
from xappa.operators import choose_operator
from xappa.segments import Segments, choose_segments
from xappa.state import OutputSelection, select_output
from xappa.tasks import planning
from xappa.tasks.effort import DEFAULT
from xappa.tasks.regrid import GRIDS

if TYPE_CHECKING:
    from xappa.model.protocol import GenerativeModel, ModelLike
    from xappa.observations.errors.tables import Errors
    from xappa.observations.read import Source
    from xappa.operators.sources import Choice


@dataclass(frozen=True, eq=False)
class SamplingRequest:
    """A Dataset, and how members are sampled; checked as it is made, and resolved for the model.

    Parameters
    ----------
    ds : xarray.Dataset
        Fields, or just the times and variables that are wanted (`xappa.template` makes such a Dataset).
    model : str, Path or Prior, optional
        Name (see `xappa.models`) or folder of the prior. Default: the option ``default_model``.
    members : int or iterable of int, default 1
        Number of members, or the member numbers: ``range(8, 16)`` continues what ``8`` began.
    effort : str, default "standard"
        ``"preview"``, ``"standard"`` or ``"reference"``: settings of guidance, sampler and steps, which an explicit
        argument overrides.
    sampler : str or object, optional
        ``"dpm"``, ``"lms"``, ``"pc"``, ``"ddim"``, ``"ddpm"``, ``"rewind"`` or an object of ``xappa.samplers``.
        Default: that of `effort`.
    steps : int, optional
        Number of noise levels. More is slower and closer to the exact posterior.
    seed : int, optional
        The noise is a function of (seed, member, time). Default: drawn now, and kept in the attributes.
    device : str, optional
        In torch's words, such as ``"cpu"``. Default: an accelerator where there is one.
    memory : str or float, optional
        What sampling may use on the device, the model's weights included: ``"6GB"``, or bytes. Members are taken in
        parts, and what is not kept is computed anew, so that it suffices; results agree to rounding. Default: most of
        what is free.
    progress : bool, optional
        Whether a progress bar is shown. Default: the option ``progress``.
    drop_unknown : bool, default False
        Whether variables that the model lacks are left out; otherwise they are an error that names them.

    Raises
    ------
    xappa.errors.XappaError
        If an option is not valid.
    """

    ds: xr.Dataset
    _: KW_ONLY
    model: ModelLike | None = None
    members: int | Iterable[int] = 1
    effort: str = DEFAULT
    sampler: str | object | None = None
    steps: int | None = None
    seed: int | None = None
    device: str | None = None
    memory: str | float | None = None
    progress: bool | None = None
    drop_unknown: bool = False

    def __post_init__(self) -> None:
        # An iterator can be read only once.
        for name, value in {
            "ds": flatten_valid_time(self.ds),
            "members": planning.list_member_numbers(self.members),
        }.items():
            object.__setattr__(self, name, value)
        self.validate()

    def validate(self) -> None:
        """Refuse options that are not valid, and a model that cannot be loaded."""
        _ = self.chosen_seed, self.chosen_guidance, self.chosen_sampler, self.memory_bytes

    @cached_property
    def loaded_model(self) -> GenerativeModel:
        """The model."""
        return load(self.model, device=self.device)

    @cached_property
    def layout(self) -> Layout:
        """Layout of the Dataset."""
        return recognise(self.ds, need=("time",))

    @cached_property
    def output(self) -> OutputSelection:
        """Variables and levels of the result."""
        return select_output(self.ds, self.layout, self.loaded_model.spec, drop_unknown=self.drop_unknown)

    @cached_property
    def member_numbers(self) -> tuple[int, ...]:
        """Numbers of the members."""
        return planning.list_member_numbers(self.members)

    @cached_property
    def chosen_seed(self) -> int:
        """The seed, drawn where none was given."""
        return planning.choose_seed(self.seed)

    @cached_property
    def chosen_guidance(self) -> Any:
        """The guidance, as an object."""
        return planning.choose_guidance(None, self.loaded_model.static_prior, self.effort)

    @cached_property
    def chosen_sampler(self) -> Any:
        """The sampler, as an object."""
        return planning.choose_sampler(self.sampler, self.steps, self.effort)

    @cached_property
    def memory_bytes(self) -> float | None:
        """Bytes that sampling may use."""
        return planning.choose_memory(self.memory)


@dataclass(frozen=True, eq=False, kw_only=True)
class TrajectoryOptions:
    """Options of sampling a trajectory of any length, and of its Dataset.

    Parameters
    ----------
    stitching : str, default "symmetrical"
        Method that joins windows if the times are more than one window of the model: ``"symmetrical"``, ``"causal"``,
        ``"blended"`` or ``"average"``.
    segments : str or object, default "independent"
        How a time axis of many windows is split into pieces that are sampled one by one: ``"independent"`` ones overlap
        and are blended, so that December can be had without January; of a ``"chain"`` each continues the one before. Or
        an object of ``xappa.segments``, such as ``xappa.segments.Independent(windows=32)``.
    grid : str, default "model"
        ``"model"``: the result is on the model's grid; where `ds` is a region, on the part of it that covers the
        region. ``"ds"``: on that of `ds`, bilinear, as lazily.
    chunks : str, int or mapping, default "auto"
        Dask chunks of the result: the number of times in one, or ``{"time": 4, "member": 2}``, where ``member`` is the
        number of members that are sampled together. Default: one time, and up to 8 members.
    """

    stitching: str = "symmetrical"
    segments: str | Segments = "independent"
    grid: str = "model"
    chunks: str | int | Mapping[str, int] | None = "auto"


@dataclass(frozen=True, eq=False)
class TrajectoryRequest(SamplingRequest, TrajectoryOptions):
    """A trajectory of any length."""

    def validate(self) -> None:
        """Refuse options that are not valid."""
        super().validate()
        planning.choose_stitching(self.stitching)
        choose_segments(self.segments)
        choose("grid", self.grid, GRIDS)
        planning.choose_time_chunk(self.chunks)

    @cached_property
    def chosen_segments(self) -> Segments:
        """The way to split a long time axis, as an object."""
        return choose_segments(self.segments)


@dataclass(frozen=True, eq=False, kw_only=True)
class ObservingRequest(SamplingRequest):
    """Options of the use of observations.

    Parameters
    ----------
    error : mapping of str to float, float, or str, optional
        Standard deviation of the observation error, a variable, in the variable's units; or the name of a table (see
        `xappa.observation_errors`). It is used where the reports bring no error of their own. Default, and for
        quantities that it does not name: the general table, and what that implies. Reports of which nothing tells the
        error are left out, with one warning.
    guidance : str or object, optional
        How the observations bend the denoiser: ``"mmps"``, ``"jacobian-free"``, ``"sda"``, ``"w2c"``, ``"dps"``,
        ``"repaint"``, ``"latent-optimisation"``, or an object of ``xappa.guidance``, which carries its options, such as
        ``xappa.guidance.MMPS(iterations=2)``; a name stands for that method's own defaults, whatever `effort` is.
        Default: that of `effort`.
    quality : str or Quality, default "standard"
        Which reports are not believed: ``"none"``, ``"standard"``, ``"strict"`` or an object `xappa.Quality`. They are
        compared with the model's climatology, with each other, and with the heights of the model's surface.
    """

    error: Errors | None = None
    guidance: str | object | None = None
    quality: str | Quality = "standard"

    def validate(self) -> None:
        """Refuse options that are not valid."""
        super().validate()
        choose_quality(self.quality)
        choose_operator(getattr(self, "operator", None))

    @cached_property
    def chosen_guidance(self) -> Any:
        """The guidance, as an object."""
        return planning.choose_guidance(self.guidance, self.loaded_model.static_prior, self.effort)


@dataclass(frozen=True, eq=False, kw_only=True)
class AnalysisRequest(ObservingRequest, TrajectoryRequest):
    """A trajectory that observations and a first guess bend.

    Parameters
    ----------
    background : "ds", xarray.Dataset or object, optional
        A first guess: ``"ds"``, the values of `ds`, or other fields, with all variables and levels of the model at one
        of the times or more, on any global grid, with or without members. It counts as an observation of the latent
        state at its first time, with errors estimated from its members (4 or more) or from the model's own forecasts.
        ``xappa.background.LatentObservation`` and ``xappa.background.WarmStart`` carry options.
    """

    background: str | xr.Dataset | Background | None = None


@dataclass(frozen=True, eq=False)
class ObservedRequest(AnalysisRequest):
    """An analysis of observations.

    Parameters
    ----------
    obs : xarray.Dataset, pandas.DataFrame or path of a file; or a dict or list of these
        Reports: one dimension ``obs``; ``time``, ``latitude`` (degrees north), ``longitude`` (degrees east, any
        convention), where they exist ``level`` (hPa), ``altitude`` (m above sea level) and ``station``; one variable a
        quantity with its ``units``, NaN where not reported. `xappa.read_observations` makes such a Dataset of files and
        tables. A Dataset that Dask reads is read part by part, when the analysis is computed.
    operator : str, operator, function, or dict of these, optional
        How a state is turned into what was observed. ``"interpolate"``, the default: bilinear on the sphere, linear in
        the logarithm of pressure and in time; 2 m temperature is brought to the station's height. Other names, objects
        of `xappa.operators`, and any plain function of a Dataset, which is differentiated, or compositions such as
        ``Footprint(radius=25) @ wind_speed``. A dict by source, if `obs` is one.
    """

    obs: Source
    operator: Choice | Mapping[str, Choice] | None = None
