"""Tokens of functions: the same for the same source, defaults and enclosed values, in any process."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable
from typing import Any

import numpy as np

_COMPILED = (
    types.BuiltinFunctionType,
    types.MethodWrapperType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    np.ufunc,
    type(np.mean),
)
"""Functions that have a name and no code to look at; numpy's own, which other arrays may take over, too."""


def token(value: Any) -> str:
    """Deterministic token of an option: functions by what they do, everything else by Dask's rules."""
    import dask

    return str(dask.base.tokenize(_normal(value, ())))


def name_of(function: Callable[..., Any]) -> str:
    """What a function is called, for messages and provenance."""
    if isinstance(label := getattr(function, "label", None), str):
        return label
    if isinstance(function, functools.partial):
        return f"partial({name_of(function.func)})"
    name = getattr(function, "__qualname__", type(function).__name__).rpartition("<locals>.")[2]
    if name != "<lambda>":
        return name
    try:
        line, number = inspect.getsourcelines(function)
    except (OSError, TypeError):
        return "lambda"
    text = " ".join(line[0].split())
    return f"lambda in line {number}: {text[text.find('lambda') :][:60]}" if "lambda" in text else "lambda"


def describe(function: Callable[..., Any]) -> str:
    """What a function of a state does, in words: its name, and the first line of its docstring."""
    text = (getattr(function, "__doc__", None) or "").strip().splitlines()
    return f"{name_of(function)}(state)" + (f" ({text[0].rstrip('.')})" if text else "")


def _normal(value: Any, seen: tuple[int, ...]) -> Any:
    if id(value) in seen:
        return "itself"
    seen = (*seen, id(value))
    if isinstance(value, functools.partial):
        return "partial", _normal(value.func, seen), _normal(value.args, seen), _normal(value.keywords, seen)
    if isinstance(value, types.MethodType):
        return "method", _normal(value.__func__, seen), _normal(value.__self__, seen)
    if isinstance(value, types.FunctionType):
        return _of_function(value, seen)
    if isinstance(value, _COMPILED):
        owner = _normal(getattr(value, "__self__", None), seen)
        return "builtin", getattr(value, "__module__", ""), getattr(value, "__qualname__", value.__name__), owner
    if isinstance(value, types.ModuleType):
        return "module", value.__name__
    if isinstance(value, dict):
        return {key: _normal(part, seen) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return [_normal(part, seen) for part in value]
    if callable(value) and not hasattr(value, "__dask_tokenize__") and not isinstance(value, type):
        return _of_callable(value, seen)
    return value


def _of_callable(value: Any, seen: tuple[int, ...]) -> Any:
    kind = type(value)
    if not isinstance(kind.__call__, types.WrapperDescriptorType):
        return kind.__qualname__, _normal(kind.__call__, seen), _normal(object.__getstate__(value), seen)
    # Compiled, such as what functools.lru_cache makes of a function, and operator.itemgetter.
    if hasattr(value, "__wrapped__"):
        return kind.__qualname__, _normal(value.__wrapped__, seen)
    return value


def _of_function(function: types.FunctionType, seen: tuple[int, ...]) -> Any:
    code = function.__code__
    enclosed = [_normal(cell.cell_contents, seen) for cell in function.__closure__ or ()]
    defaults = _normal([function.__defaults__, function.__kwdefaults__], seen)
    # What a function of this module or session calls is part of what it does; libraries are named.
    used = {name: _normal(function.__globals__[name], seen) for name in _names(code) if name in function.__globals__}
    return "function", _code(code), enclosed, defaults, used


def _names(code: types.CodeType) -> list[str]:
    inner = [name for part in code.co_consts if isinstance(part, types.CodeType) for name in _names(part)]
    return sorted({*code.co_names, *inner})


def _code(code: types.CodeType) -> Any:
    """What is executed, without where it was written."""
    constants = [_code(part) if isinstance(part, types.CodeType) else repr(part) for part in code.co_consts]
    return code.co_code, constants, code.co_names, code.co_varnames, code.co_freevars
