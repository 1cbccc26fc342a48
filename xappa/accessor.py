"""``ds.appa``: the questions that can be asked of a Dataset. Each method is the function of the same name."""

from __future__ import annotations

from html import escape

import xarray as xr

import xappa
from xappa.binding import bind_method


@xr.register_dataset_accessor("appa")
class AppaAccessor:
    """Data assimilation on a Dataset; made by xarray, used as ``ds.appa``.

    The methods are functions of `xappa`, whose first parameter (``ds``, or ``latents``) is this Dataset.

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
        from xappa.observations.qc.counts import format_heading

        return format_heading(self._obj)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(repr(self))}</pre>{self._obj._repr_html_()}"

    assimilate = bind_method(lambda: xappa.assimilate)
    filter = bind_method(lambda: xappa.filter)
    forecast = bind_method(lambda: xappa.forecast)
    sample = bind_method(lambda: xappa.sample)
    plan = bind_method(lambda: xappa.plan)
    observe = bind_method(lambda: xappa.observe)
    regrid = bind_method(lambda: xappa.regrid)
    verify = bind_method(lambda: xappa.verify)
    summary = bind_method(lambda: xappa.summary)
    encode = bind_method(lambda: xappa.encode)
    decode = bind_method(lambda: xappa.decode)
    check = bind_method(lambda: xappa.check)
