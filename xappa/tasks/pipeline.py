"""The pipeline of observations for an analysis: read, flag, assign errors, check, and apply H.

The steps stand here once. They are taken at the call (`observed`), or by each task of the graph (`lazy_observations`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.grids.axes import Layout
from xappa.observations.assumptions import AssumptionLog
from xappa.observations.errors.defaults import errors_to_json, with_default_errors
from xappa.observations.flags import Flag, flags_of, with_flag
from xappa.observations.names import NameMap
from xappa.observations.qc import Quality, check
from xappa.observations.qc.index import ReportIndex
from xappa.observations.read import read_with_assumptions
from xappa.observations.readers.registry import ReaderOptions
from xappa.observations.schema import quantities
from xappa.observations.user_variables import require_units, user_defined_names
from xappa.operators.base import Operator
from xappa.operators.context import StateContext
from xappa.operators.reports import list_used_names
from xappa.tasks.quality import check_against_model
from xappa.tokens import tokenize

if TYPE_CHECKING:
    from xappa.model.protocol import GenerativeModel
    from xappa.operators import CompositeOperator, SparseOperator


@dataclass(frozen=True, eq=False)
class Observations:
    """Observations that are ready to be assimilated.

    Parameters
    ----------
    observations : SparseOperator or CompositeOperator
        The observation operator with the observed values and their errors.
    obs : Dataset
        All reports, with flags.
    operator : str
        Description of the operator.
    errors : str
        Error standard deviations assumed for reports that have none (JSON).
    """

    observations: SparseOperator | CompositeOperator
    obs: xr.Dataset
    operator: str
    errors: str = ""


@dataclass(frozen=True, eq=False)
class ObservationPipeline:
    """The steps from observations to rows of the operator; goes to workers.

    Parameters
    ----------
    address : str or GenerativeModel
    digest : str
        Digest of the model.
    operator : Operator
    error : mapping, str or float
        Error deviations of reports that bring none.
    quality : Quality
    layout : Layout
        Layout of the user's Dataset.
    height : array or None
        The user's surface height on the model's grid, m.
    until : datetime64, optional
        Later reports are rejected as outside the times.
    trusted_source : str, optional
        Source of observations that are not compared with the climatology or each other.
    """

    address: str | GenerativeModel
    digest: str
    operator: Operator
    error: Any
    quality: Quality
    layout: Layout
    height: Array | None
    until: np.datetime64 | None = None
    trusted_source: str | None = None

    def __dask_tokenize__(self) -> tuple:
        options = (self.error, self.quality, self.layout, self.height, self.until, self.trusted_source)
        return (self.digest, tokenize(self.operator), *(dask.base.tokenize(option) for option in options))

    @property
    def errors(self) -> str:
        """The error deviations that are assumed where reports bring none (JSON)."""
        return errors_to_json(self.error)

    def read(self, obs: Any, prior: GenerativeModel) -> tuple[xr.Dataset, AssumptionLog]:
        """Reports in the schema, flagged, with errors; and what was assumed.

        Parameters
        ----------
        obs : Dataset, DataFrame, path, or a list or dict of these
        prior : GenerativeModel
            Model of `address`.
        """
        # What the vocabulary does not have can be of use to an operator that makes fields, or follows from `error`.
        unknown = "keep" if self.operator.whole_state else user_defined_names(self.error)
        read, assumed = read_with_assumptions(obs, ReaderOptions(NameMap(unknown=unknown)))
        index = ReportIndex(read)
        reports = self._reject_later(with_default_errors(check(read, index), self.error))
        controlled = check_against_model(prior, self.address, reports, self.quality, surface=self.height, index=index)
        return self._restore_trusted_flags(controlled, reports), assumed

    def apply_operator(
        self, reports: xr.Dataset, times: Array, prior: GenerativeModel
    ) -> tuple[SparseOperator | CompositeOperator, xr.Dataset]:
        """Build the observation operator of reports, and set the flags of those that it cannot use.

        Parameters
        ----------
        reports : Dataset
            As `read` returns them.
        times : array of datetime64, (T,)
            Consecutive model times.
        prior : GenerativeModel
            Model of `address`.

        Raises
        ------
        UnitsError
            If a quantity that is used has no units.
        """
        height = prior.surface_height if self.height is None else self.height
        found, reports = self.operator(reports, StateContext(prior.spec, times, height, prior.mask, self.layout))
        require_units(reports, list_used_names(found))
        # Of several sources, so that the order in which they are given does not decide how sums are rounded.
        return found.sort() if "source" in reports.coords else found, reports

    def _reject_later(self, reports: xr.Dataset) -> xr.Dataset:
        if self.until is None:
            return reports
        late = np.asarray(reports["time"].values) > self.until
        for name in quantities(reports):
            reports = with_flag(reports, name, late, Flag.OUTSIDE_TIMES)
        return reports

    def _restore_trusted_flags(self, controlled: xr.Dataset, before: xr.Dataset) -> xr.Dataset:
        """Reports of the trusted source keep the flags that they had before they were compared."""
        if self.trusted_source is None or "source" not in controlled.coords:
            return controlled
        mine = np.asarray(controlled["source"].values).astype(str) == self.trusted_source
        for name in quantities(controlled):
            flags = np.where(mine, flags_of(before, name), flags_of(controlled, name)).astype("int8")
            controlled = controlled.assign({f"{name}_flag": ("obs", flags, flags_of(controlled, name).attrs)})
        return controlled
