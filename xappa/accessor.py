"""``ds.appa``: the questions that can be asked of a Dataset. Each method is the function of the same name."""

from __future__ import annotations

from html import escape

import xarray as xr

import xappa
from xappa.binding import method


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
        from xappa.observations.qc.counts import heading

        return heading(self._obj)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(repr(self))}</pre>{self._obj._repr_html_()}"

    assimilate = method(lambda: xappa.assimilate)
    filter = method(lambda: xappa.filter)
    forecast = method(lambda: xappa.forecast)
    sample = method(lambda: xappa.sample)
    plan = method(lambda: xappa.plan)
    observe = method(lambda: xappa.observe)
    regrid = method(lambda: xappa.regrid)
    verify = method(lambda: xappa.verify)
    summary = method(lambda: xappa.summary)
    encode = method(lambda: xappa.encode)
    decode = method(lambda: xappa.decode)
    check = method(lambda: xappa.check)
