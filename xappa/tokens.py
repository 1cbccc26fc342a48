"""Tokens of functions and objects: the same for the same code and the same values, in any process."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
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


def tokenize(value: Any) -> str:
    """Deterministic token of an option: functions by what they do, everything else by Dask's rules."""
    import dask

    return str(dask.base.tokenize(_normalise(value, ())))


def tokenize_object(value: Any) -> str:
    """Token of an object by its class, the code of its methods, and what it holds: tensors, arrays, other objects.

    An attribute ``token`` that is text says instead what the object is.
    """
    import dask

    told = getattr(value, "token", None)
    return str(dask.base.tokenize(("told", told) if isinstance(told, str) else _normalise_object(value, ())))


def get_function_name(function: Callable[..., Any]) -> str:
    """Name of a function, for messages and provenance."""
    if isinstance(label := getattr(function, "label", None), str):
        return label
    if isinstance(function, functools.partial):
        return f"partial({get_function_name(function.func)})"
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
    """Description of a function of a state: its name, and the first line of its docstring."""
    text = (getattr(function, "__doc__", None) or "").strip().splitlines()
    return f"{get_function_name(function)}(state)" + (f" ({text[0].rstrip('.')})" if text else "")


def _normalise(value: Any, seen: tuple[int, ...]) -> Any:
    if id(value) in seen:
        return "itself"
    seen = (*seen, id(value))
    if isinstance(value, functools.partial):
        return "partial", _normalise(value.func, seen), _normalise(value.args, seen), _normalise(value.keywords, seen)
    if isinstance(value, types.MethodType):
        return "method", _normalise(value.__func__, seen), _normalise(value.__self__, seen)
    if isinstance(value, types.FunctionType):
        return _normalise_function(value, seen)
    if isinstance(value, _COMPILED):
        owner = _normalise(getattr(value, "__self__", None), seen)
        return "builtin", getattr(value, "__module__", ""), getattr(value, "__qualname__", value.__name__), owner
    if isinstance(value, types.ModuleType):
        return "module", value.__name__
    if _is_tensor(value):
        return _normalise_tensor(value)
    if isinstance(value, dict):
        return {key: _normalise(part, seen) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return [_normalise(part, seen) for part in value]
    if callable(value) and not hasattr(value, "__dask_tokenize__") and not isinstance(value, type):
        return _normalise_callable(value, seen)
    return value


def _normalise_callable(value: Any, seen: tuple[int, ...]) -> Any:
    kind = type(value)
    if not isinstance(kind.__call__, types.WrapperDescriptorType):
        return kind.__qualname__, _normalise(kind.__call__, seen), _normalise(object.__getstate__(value), seen)
    # Compiled, such as what functools.lru_cache makes of a function, and operator.itemgetter.
    if hasattr(value, "__wrapped__"):
        return kind.__qualname__, _normalise(value.__wrapped__, seen)
    return value


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _normalise_tensor(value: Any) -> Any:
    import torch

    flat = value.detach().cpu().contiguous().reshape(-1)
    return "tensor", str(value.dtype), tuple(value.shape), flat.view(torch.uint8).numpy()


def _normalise_object(value: Any, seen: tuple[int, ...]) -> Any:
    """An object and the objects that it holds; what Dask or the rules for functions know goes by these."""
    import dask

    if id(value) in seen:
        return "itself"
    inner = (*seen, id(value))
    if isinstance(value, dict):
        return {key: _normalise_object(part, inner) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return [_normalise_object(part, inner) for part in value]
    known = dask.base.normalize_token.dispatch(type(value)) is not dask.base.normalize_token.dispatch(object)
    if known or hasattr(value, "__dask_tokenize__") or _is_tensor(value) or isinstance(value, (type, *_FUNCTIONS)):
        return _normalise(value, seen)
    kinds = [kind for kind in type(value).__mro__ if kind.__module__.split(".")[0] not in _LIBRARIES]
    code = {
        f"{kind.__qualname__}.{name}": _normalise_code(f.__code__) for kind in kinds for name, f in _list_methods(kind)
    }
    names = [(kind.__module__, kind.__qualname__) for kind in type(value).__mro__]
    return names, code, _normalise_object(_get_state(value), inner)


def _get_state(value: Any) -> Any:
    """Contents of an object, without cached values."""
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    state = object.__getstate__(value)
    made = {
        name for kind in type(value).__mro__ for name, part in vars(kind).items()
        if isinstance(part, functools.cached_property)
    }  # fmt: skip
    return {key: part for key, part in state.items() if key not in made} if isinstance(state, dict) else state


_FUNCTIONS = (functools.partial, types.MethodType, types.FunctionType, types.ModuleType, *_COMPILED)
_LIBRARIES = ("builtins", "abc", "typing", "torch")
"""Packages whose classes are named, and not looked into."""


def _list_methods(kind: type) -> list[tuple[str, types.FunctionType]]:
    return [(name, part) for name, part in sorted(vars(kind).items()) if isinstance(part, types.FunctionType)]


def _normalise_function(function: types.FunctionType, seen: tuple[int, ...]) -> Any:
    code = function.__code__
    enclosed = [_normalise(cell.cell_contents, seen) for cell in function.__closure__ or ()]
    defaults = _normalise([function.__defaults__, function.__kwdefaults__], seen)
    # What a function of this module or session calls is part of what it does; libraries are named.
    used = {
        name: _normalise(function.__globals__[name], seen) for name in _list_names(code) if name in function.__globals__
    }
    return "function", _normalise_code(code), enclosed, defaults, used


def _list_names(code: types.CodeType) -> list[str]:
    inner = [name for part in code.co_consts if isinstance(part, types.CodeType) for name in _list_names(part)]
    return sorted({*code.co_names, *inner})


def _normalise_code(code: types.CodeType) -> Any:
    """Code of a function, without its location."""
    constants = [_normalise_code(part) if isinstance(part, types.CodeType) else repr(part) for part in code.co_consts]
    return code.co_code, constants, code.co_names, code.co_varnames, code.co_freevars
