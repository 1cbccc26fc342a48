"""Quality flags of CF files, in ancillary variables.

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

from xappa.observations.names import NameMap
from xappa.observations.readers.quality_words import classify_meaning
from xappa.observations.readers.source_quality import choose_scheme, classify_codes, factorize_codes

# Reference table 2 of Argo, which OceanSITES and the IODE centres share; flags not listed say nothing against a value.
_ARGO_FAILED, _ARGO_SUSPECT = ("3", "4", "9"), ("5", "8")
_ARGO_CODES, _ABSENT = frozenset("0123456789"), ("nan", "none", "na", "null")
_ARGO = re.compile(r"(argo|oceansites).*(table 2$|qc flags)|seadatanet|iode", re.IGNORECASE)
_OTHER_TABLE = re.compile(r"reference table (2a|[013-9])", re.IGNORECASE)


@dataclass(frozen=True)
class FlagMasks:
    """Meaning of one flag for its values.

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


def read_flag(flag: xr.DataArray) -> FlagMasks | None:
    """Masks of values that a flag rejects, and calls suspect; None if its meaning cannot be understood.

    Parameters
    ----------
    flag : DataArray
        With ``flag_values`` or ``flag_masks`` and ``flag_meanings``, bits as ARM describes them, or the codes of Argo.
    """
    attrs = flag.attrs
    meanings = re.split(r"[\s,;]+", str(attrs.get("flag_meanings", "")).strip())
    masks, values = _parse_codes(attrs.get("flag_masks")), _parse_codes(attrs.get("flag_values"))
    if meanings == [""]:
        return _decode_bits(flag) or _decode_words(flag) or _decode_argo_codes(flag)
    if len(masks or values) != len(meanings):
        return _decode_argo_codes(flag)
    assessed = re.split(r"[\s,;]+", str(attrs.get("flag_assessments", "")).strip())
    words = (
        [f"{m}_{a}" for m, a in zip(meanings, assessed, strict=True)] if len(assessed) == len(meanings) else meanings
    )
    kinds = [classify_meaning(word) for word in words]
    if not masks and not any(kinds):
        return _decode_argo_codes(flag)
    if not any(kind in ("failed", "suspect") for kind in kinds) and masks:
        return None
    unclear = tuple(meaning for meaning, kind in zip(meanings, kinds, strict=True) if kind is None)
    chosen = [[k for k, kind in enumerate(kinds) if kind == wanted] for wanted in ("failed", "suspect")]
    if masks:
        tests = [(int(masks[k]), int(values[k]) if values else None) for k in range(len(meanings))]
        failed, suspect = (_apply_test(flag, _build_bit_test([tests[k] for k in rows])) for rows in chosen)
    else:
        failed, suspect = (_apply_test(flag, _build_code_test([values[k] for k in rows])) for rows in chosen)
    return FlagMasks(failed, suspect, unclear)


def find_rejected(ds: xr.Dataset, names: Iterable[str], naming: NameMap) -> tuple[xr.DataArray | None, list[str]]:
    """Mask of values that flags reject, and sentences on flags that cannot be understood.

    Parameters
    ----------
    ds : Dataset
    names : iterable of str
        Flags, from `read_flag`.
    naming : NameMap
        Meaning of the codes, and treatment of suspect values, that the caller gives.
    """
    wrong: xr.DataArray | None = None
    texts = []
    for name in names:
        verdict = _apply_given_scheme(ds[name], naming) or read_flag(ds[name])
        if verdict is None or verdict.unclear:
            what = "flags" if verdict is None else f"meanings {', '.join(map(repr, verdict.unclear))}"
            texts.append(
                f"{name}: its {what} are not understood, and reject nothing. Drop what they reject, or describe them "
                "with flag_values and flag_meanings (CF section 3.5), or say source_quality={'" + name + "': 'qartod'}"
            )
        if verdict is not None:
            bad = verdict.failed | verdict.suspect if naming.suspect == "reject" else verdict.failed
            wrong = bad if wrong is None else wrong | bad
    return wrong, texts


def _apply_given_scheme(flag: xr.DataArray, naming: NameMap) -> FlagMasks | None:
    """The verdict by the scheme that the caller gave for a flag, if any."""
    given = naming.find_quality_scheme(str(flag.name))
    if given is None:
        return None
    scheme = choose_scheme(given)
    return FlagMasks(
        _apply_test(flag, lambda codes: classify_codes(codes, scheme)[0]),
        _apply_test(flag, lambda codes: classify_codes(codes, scheme)[1]),
    )


def _parse_codes(attribute: Any) -> list[Any]:
    """Values of an attribute as a list: numbers, or text of them with blanks or commas between."""
    if attribute is None:
        return []
    if isinstance(attribute, str | bytes):
        texts = re.split(r"[\s,;]+", attribute.decode() if isinstance(attribute, bytes) else attribute.strip())
        numbers = [re.fullmatch(r"(-?\d+)[bsul]*", text, re.IGNORECASE) for text in texts]
        return [int(n[1]) for n in numbers if n] if all(numbers) else texts
    return np.atleast_1d(np.asarray(attribute)).tolist()


def _apply_test(flag: xr.DataArray, test: Callable[[np.ndarray], np.ndarray]) -> xr.DataArray:
    found = xr.apply_ufunc(test, flag.drop_attrs(), dask="parallelized", output_dtypes=[bool])
    return found.reset_coords(drop=True)


def _build_code_test(codes: Sequence[Any]) -> Callable[[np.ndarray], np.ndarray]:
    texts = [_to_text(code) for code in codes]

    def test(values: np.ndarray) -> np.ndarray:
        if values.dtype.kind in "biuf":
            numbers = [float(text) for text in texts if re.fullmatch(r"-?\d+(\.\d+)?", text)]
            return np.isin(values, numbers)
        return (
            np.isin(np.vectorize(_to_text, otypes=[str])(values), texts)
            if values.size
            else np.zeros(values.shape, bool)
        )

    return test


def _build_bit_test(tests: Sequence[tuple[int, int | None]]) -> Callable[[np.ndarray], np.ndarray]:
    def test(values: np.ndarray) -> np.ndarray:
        numbers = np.nan_to_num(values.astype(float), nan=0.0).astype("int64")
        wrong = np.zeros(values.shape, bool)
        for mask, value in tests:
            wrong |= (numbers & mask != 0) if value is None else (numbers & mask == value)
        return wrong

    return test


def _to_text(code: Any) -> str:
    if isinstance(code, bytes):
        code = code.decode(errors="replace")
    if isinstance(code, float) and code.is_integer():
        code = int(code)
    return str(code).strip().casefold()


def _decode_bits(flag: xr.DataArray) -> FlagMasks | None:
    """Bits that ARM describes one by one: bit_1_assessment = "Bad"."""
    found = {int(m[1]): str(flag.attrs[key]) for key in flag.attrs if (m := re.fullmatch(r"bit_(\d+)_assessment", key))}
    if not found or flag.dtype.kind not in "biuf":
        return None
    kinds = {bit: classify_meaning(text) for bit, text in found.items()}
    bits = [[(1 << bit - 1, None) for bit, kind in kinds.items() if kind == wanted] for wanted in ("failed", "suspect")]
    failed, suspect = (_apply_test(flag, _build_bit_test(tests)) for tests in bits)
    return FlagMasks(failed, suspect, tuple(found[bit] for bit, kind in kinds.items() if kind is None))


def _decode_words(flag: xr.DataArray) -> FlagMasks | None:
    """Flags that are words themselves ("good", "bad"); lazy ones are not looked at."""
    if flag.dtype.kind not in "SUOT" or flag.chunks is not None:
        return None
    _, texts = factorize_codes(flag.to_numpy())
    kinds = {text: classify_meaning(text) for text in texts if re.search(r"[A-Za-z]{2}", text)}
    if not any(kinds.values()):
        return None
    chosen = [[text for text, kind in kinds.items() if kind == wanted] for wanted in ("failed", "suspect")]
    failed, suspect = (_apply_test(flag, _build_code_test(words)) for words in chosen)
    unclear = tuple(text for text in texts if text and kinds.get(text) is None and text.casefold() not in _ABSENT)
    return FlagMasks(failed, suspect, unclear)


def _decode_argo_codes(flag: xr.DataArray) -> FlagMasks | None:
    """Codes of Argo's reference table 2, by what the attributes say, or as single characters."""
    told = " ".join(
        str(flag.attrs[key]) for key in ("conventions", "convention", "Conventions", "long_name") if key in flag.attrs
    )
    told = f"{told} {flag.name}".strip() if "SEADATANET" in str(flag.name) else told
    if _OTHER_TABLE.search(told):
        return None
    characters = flag.dtype.kind in "SUOT" and str(flag.name).upper().endswith("_QC")
    if not _ARGO.search(told) and not characters:
        return None
    unclear: tuple[str, ...] = ()
    if characters and not _ARGO.search(told) and flag.chunks is None:
        unclear = tuple(text for text in factorize_codes(flag.to_numpy())[1] if text and text not in _ARGO_CODES)
    return FlagMasks(
        _apply_test(flag, _build_code_test(_ARGO_FAILED)), _apply_test(flag, _build_code_test(_ARGO_SUSPECT)), unclear
    )
