"""What CF files say themselves of the quality of their values: flags of ancillary variables.

References
----------
CF conventions 1.11, section 3.4 (ancillary data), section 3.5 (flags). IOC Manuals and Guides 54, volume 3, section 2
(flags of QARTOD). Argo User's Manual, reference table 2 (doi 10.13155/29825). SeaDataNet measurand qualifier flags
(NERC vocabulary L20). ARM Data File Standards, section on quality control (bit_N_assessment, flag_assessments).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xappa.observations.flags import flag_attrs

SUSPECT = ("keep", "reject")
"""What becomes of values that their source calls suspect."""

_SUFFIXES = ("_qc", "_QC", "_qc_agg", "_qartod_agg", "_quality_flag", "_qcflag", "_quality", "_SEADATANET_QC", "_flag")
_PREFIXES = ("qc_", "QC_", "flg_", "flag_", "quality_")
_OF_PLACE = {"latitude": ("POSITION_QC", "position_qc"), "longitude": ("POSITION_QC", "position_qc")}
_STANDARD = re.compile(r"(quality_flag|status_flag|_quality_flag)$|_test_quality_flag$")
_AGGREGATE = "aggregate_quality_flag"

_NEUTRAL = re.compile(
    r"^(no|not|un|none)[-_ ]?(bad|fail\w*|error\w*|suspect\w*|reject\w*|invalid|wrong|applied|checked|eval\w*|"
    r"test\w*|qc\w*|quality\w*|control\w*|assess\w*|known|perform\w*|used|applicable|estimate|measure\w*|available)|(bad|fail\w*|error|fault)[-_]?free"
)
_FAILED = re.compile(
    r"fail|bad|err(or|oneous)|wrong|reject|invalid|incorrect|corrupt|unusable|malfunction|broken|missing|no_?data|absent|"
    r"implausible|unrealistic|impossible|(?<!uncertainty)[-_]not[-_]in[-_]range|unreliable|"
    r"^not?[-_](good|passed|valid|ok|usable|trusted)"
)
_TESTS = re.compile(r"spike|stuck|flat_?line|saturat|out[-_]of[-_]range|offscale")
_SUSPECT = re.compile(
    r"suspe|suspic|question|doubt|dubious|uncertain(?!ty)|uncertainty[-_]not|indeterminate|inconsistent|high_interest|estimated|interpolat|"
    r"gap[-_]?fill|filled|modelled|modeled|changed|below_detection|in_excess|caution|marginal"
)
_GOOD = re.compile(
    r"good|pass|^ok|_ok$|valid|correct|nominal|normal|accept|clean|best|optimal|in[-_]range|unknown|^no_"
)

# Reference table 2 of Argo, which OceanSITES and the IODE centres share; flags not listed say nothing against a value.
_ARGO_FAILED, _ARGO_SUSPECT = ("3", "4", "9"), ("5", "8")
_ARGO = re.compile(r"(argo|oceansites).*(table 2$|qc flags)|seadatanet|iode", re.IGNORECASE)
_OTHER_TABLE = re.compile(r"reference table (2a|[013-9])", re.IGNORECASE)


@dataclass(frozen=True)
class Verdict:
    """What one flag says of its values.

    Parameters
    ----------
    failed, suspect : DataArray of bool
        With the dimensions of the flag; lazy where it is.
    unclear : tuple of str
        Meanings that are not understood, and not looked at.
    """

    failed: xr.DataArray
    suspect: xr.DataArray
    unclear: tuple[str, ...] = ()


def verdicts_of(flag: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray] | None:
    """Which values a flag rejects, and which it calls suspect; None if its meaning cannot be understood.

    Parameters
    ----------
    flag : DataArray
        With ``flag_values`` or ``flag_masks`` and ``flag_meanings``, bits as ARM describes them, or the codes of Argo.

    Returns
    -------
    failed, suspect : DataArray of bool
    """
    verdict = read_flag(flag)
    return None if verdict is None else (verdict.failed, verdict.suspect)


def read_flag(flag: xr.DataArray) -> Verdict | None:
    """`verdicts_of`, and the meanings that are not understood."""
    attrs = flag.attrs
    meanings = re.split(r"[\s,;]+", str(attrs.get("flag_meanings", "")).strip())
    masks, values = _codes(attrs.get("flag_masks")), _codes(attrs.get("flag_values"))
    if meanings == [""]:
        return _by_bits(flag) or _by_table(flag)
    if len(masks or values) != len(meanings):
        return _by_table(flag)
    assessed = re.split(r"[\s,;]+", str(attrs.get("flag_assessments", "")).strip())
    words = (
        [f"{m}_{a}" for m, a in zip(meanings, assessed, strict=True)] if len(assessed) == len(meanings) else meanings
    )
    kinds = [kind_of(word) for word in words]
    if not masks and not any(kinds):
        return _by_table(flag)
    if not any(kind in ("failed", "suspect") for kind in kinds) and masks:
        return None
    unclear = tuple(meaning for meaning, kind in zip(meanings, kinds, strict=True) if kind is None)
    chosen = [[k for k, kind in enumerate(kinds) if kind == wanted] for wanted in ("failed", "suspect")]
    if masks:
        tests = [(int(masks[k]), int(values[k]) if values else None) for k in range(len(meanings))]
        failed, suspect = (_where(flag, _has_bits([tests[k] for k in rows])) for rows in chosen)
    else:
        failed, suspect = (_where(flag, _is_one_of([values[k] for k in rows])) for rows in chosen)
    return Verdict(failed, suspect, unclear)


def kind_of(meaning: str) -> str | None:
    """``"good"``, ``"suspect"`` or ``"failed"`` by the words of a meaning; None if they are not understood."""
    word = meaning.casefold()
    if _NEUTRAL.search(word):
        return "good"
    for kind, pattern in (("failed", _FAILED), ("suspect", _SUSPECT), ("failed", _TESTS), ("good", _GOOD)):
        if pattern.search(word):
            return kind
    return None


def flags_for(ds: xr.Dataset, name: str, place: str = "") -> list[str]:
    """Names of the variables that judge another: by ``ancillary_variables``, by standard name, else by their name.

    Parameters
    ----------
    ds : Dataset
    name : str
        The variable that is judged.
    place : str
        Which coordinate it is, if any.
    """
    named = [n for n in str(ds[name].attrs.get("ancillary_variables", "")).split() if n in ds.variables and n != name]
    found = [n for n in named if _is_flag(ds[n])]
    if not found:
        spelt = [f"{name}{s}" for s in _SUFFIXES] + [f"{p}{name}" for p in _PREFIXES]
        standard = ds[name].attrs.get("standard_name")
        told = [f"{standard} status_flag", f"{standard} quality_flag"] if standard else []
        spelt += [str(n) for n in ds.variables if ds[n].attrs.get("standard_name") in told]
        spelt += _OF_PLACE.get(place, ())
        found = [n for n in dict.fromkeys(spelt) if n in ds.variables and _could_be_flag(ds[n])]
    found = [n for n in found if set(ds[n].dims) <= set(ds[name].dims) and not is_ours(ds[n])]
    # An aggregate has weighed the single tests.
    return [n for n in found if ds[n].attrs.get("standard_name") == _AGGREGATE] or found


def is_ours(flag: xr.DataArray) -> bool:
    """Whether the reasons are those of `Flag`, or the first of them (an older version knew fewer)."""
    meanings, known = str(flag.attrs.get("flag_meanings", "?")).split(), flag_attrs()["flag_meanings"].split()
    return meanings == known[: len(meanings)]


def rejected(ds: xr.Dataset, names: Iterable[str], suspect: str) -> tuple[xr.DataArray | None, list[str]]:
    """Where flags reject values, and sentences on flags that cannot be understood.

    Parameters
    ----------
    ds : Dataset
    names : iterable of str
        Flags, from `flags_for`.
    suspect : {"keep", "reject"}
        What becomes of suspect values.
    """
    wrong: xr.DataArray | None = None
    texts = []
    for name in names:
        verdict = read_flag(ds[name])
        if verdict is None or verdict.unclear:
            what = "flags" if verdict is None else f"meanings {', '.join(map(repr, verdict.unclear))}"
            texts.append(
                f"{name}: its {what} are not understood, and reject nothing. Drop what they reject, or describe them "
                "with flag_values and flag_meanings (CF section 3.5) such as 'good suspect bad'"
            )
        if verdict is not None:
            bad = verdict.failed | verdict.suspect if suspect == "reject" else verdict.failed
            wrong = bad if wrong is None else wrong | bad
    return wrong, texts


def _is_flag(variable: xr.DataArray) -> bool:
    """Whether an ancillary variable is a flag, and no error or number of observations."""
    attrs = variable.attrs
    standard = str(attrs.get("standard_name", ""))
    if standard.endswith(("standard_error", "number_of_observations", "detection_minimum")):
        return False
    marked = _STANDARD.search(standard) or "flag_meanings" in attrs or "flag_masks" in attrs
    named = re.search(r"(^|_)(qc|qcflag|flag|flg|quality)(_|$)", str(variable.name), re.IGNORECASE)
    return bool(marked or named) and _could_be_flag(variable)


def _could_be_flag(variable: xr.DataArray) -> bool:
    described = any(key.startswith(("flag_", "bit_")) for key in variable.attrs)
    return variable.dtype.kind in "biuSUOT" or (variable.dtype.kind == "f" and (described or "qc" in _words(variable)))


def _words(variable: xr.DataArray) -> str:
    return f"{variable.name} {variable.attrs.get('standard_name', '')} {variable.attrs.get('long_name', '')}".casefold()


def _codes(attribute: Any) -> list[Any]:
    """Values of an attribute as a list: numbers, or text of them with blanks or commas between."""
    if attribute is None:
        return []
    if isinstance(attribute, str | bytes):
        texts = re.split(r"[\s,;]+", attribute.decode() if isinstance(attribute, bytes) else attribute.strip())
        numbers = [re.fullmatch(r"(-?\d+)[bsul]*", text, re.IGNORECASE) for text in texts]
        return [int(n[1]) for n in numbers if n] if all(numbers) else texts
    return np.atleast_1d(np.asarray(attribute)).tolist()


def _where(flag: xr.DataArray, test: Callable[[np.ndarray], np.ndarray]) -> xr.DataArray:
    found = xr.apply_ufunc(test, flag.drop_attrs(), dask="parallelized", output_dtypes=[bool])
    return found.reset_coords(drop=True)


def _is_one_of(codes: Sequence[Any]) -> Callable[[np.ndarray], np.ndarray]:
    texts = [_text(code) for code in codes]

    def test(values: np.ndarray) -> np.ndarray:
        if values.dtype.kind in "biuf":
            numbers = [float(text) for text in texts if re.fullmatch(r"-?\d+(\.\d+)?", text)]
            return np.isin(values, numbers)
        return (
            np.isin(np.vectorize(_text, otypes=[str])(values), texts) if values.size else np.zeros(values.shape, bool)
        )

    return test


def _has_bits(tests: Sequence[tuple[int, int | None]]) -> Callable[[np.ndarray], np.ndarray]:
    def test(values: np.ndarray) -> np.ndarray:
        numbers = np.nan_to_num(values.astype(float), nan=0.0).astype("int64")
        wrong = np.zeros(values.shape, bool)
        for mask, value in tests:
            wrong |= (numbers & mask != 0) if value is None else (numbers & mask == value)
        return wrong

    return test


def _text(code: Any) -> str:
    if isinstance(code, bytes):
        code = code.decode(errors="replace")
    if isinstance(code, float) and code.is_integer():
        code = int(code)
    return str(code).strip().casefold()


def _by_bits(flag: xr.DataArray) -> Verdict | None:
    """Bits that ARM describes one by one: bit_1_assessment = "Bad"."""
    found = {int(m[1]): str(flag.attrs[key]) for key in flag.attrs if (m := re.fullmatch(r"bit_(\d+)_assessment", key))}
    if not found or flag.dtype.kind not in "biuf":
        return None
    kinds = {bit: kind_of(text) for bit, text in found.items()}
    bits = [[(1 << bit - 1, None) for bit, kind in kinds.items() if kind == wanted] for wanted in ("failed", "suspect")]
    failed, suspect = (_where(flag, _has_bits(tests)) for tests in bits)
    return Verdict(failed, suspect, tuple(found[bit] for bit, kind in kinds.items() if kind is None))


def _by_table(flag: xr.DataArray) -> Verdict | None:
    """Codes of Argo's reference table 2, by what the attributes say, or as single characters."""
    told = " ".join(str(flag.attrs.get(key, "")) for key in ("conventions", "convention", "Conventions", "long_name"))
    told = f"{told} {flag.name}" if "SEADATANET" in str(flag.name) else told
    if _OTHER_TABLE.search(told):
        return None
    characters = flag.dtype.kind in "SUOT" and str(flag.name).upper().endswith("_QC")
    if not _ARGO.search(told) and not characters:
        return None
    return Verdict(_where(flag, _is_one_of(_ARGO_FAILED)), _where(flag, _is_one_of(_ARGO_SUSPECT)))
