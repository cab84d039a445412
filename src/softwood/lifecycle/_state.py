"""Nested state (of learners, optimisers, generators) as JSON fields and named arrays, and back, bit for bit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from softwood.core import DamagedFileError, InputError

# dtypes that numpy lacks travel as integers of the same width
_CARRIERS = {torch.bfloat16: torch.int16, torch.float8_e4m3fn: torch.uint8, torch.float8_e5m2: torch.uint8}
_BY_NAME = {str(dtype): dtype for dtype in _CARRIERS}


def flatten_state(nested: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """Split nested state into JSON content and arrays, as ``core.save_artifact`` takes them.

    Args:
        nested: dicts (keys: strings or whole numbers), lists, tuples, tensors (real, any shape), numpy arrays,
            numbers (NaN and infinity too), strings, booleans and None, in any depth; for example the
            ``state_dict`` of a torch optimiser.

    Returns:
        JSON content that names the arrays, and copies of the arrays by name.

    Raises:
        InputError: something of another type is inside; the message says where.

    Cost: O(size) time and memory.

    Example:
        >>> fields, arrays = flatten_state({"step": 3, "weight": torch.ones(2)})
        >>> fields
        {'dict': [['step', 3], ['weight', {'tensor': '0:weight'}]]}
        >>> arrays["0:weight"].tolist()
        [1.0, 1.0]
    """
    arrays: dict[str, np.ndarray] = {}
    return _pack(nested, (), arrays), arrays


def _pack(value: Any, path: tuple[str, ...], arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, Tensor):
        return _pack_tensor(value, path, arrays)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return {"array": _store(value.copy(), path, arrays)}
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return _pack(value.item(), path, arrays)
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": str(float(value))}
    if isinstance(value, Mapping):
        return {"dict": [[_key(key, path), _pack(item, (*path, str(key)), arrays)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        items = [_pack(item, (*path, str(index)), arrays) for index, item in enumerate(value)]
        return {"list" if isinstance(value, list) else "tuple": items}
    raise _unusable(f"a {type(value).__module__}.{type(value).__qualname__}", path)


def _pack_tensor(value: Tensor, path: tuple[str, ...], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    if value.is_complex() or value.is_quantized or value.layout != torch.strided:
        raise _unusable(f"a {value.dtype} tensor, layout {value.layout}", path)
    value = value.detach().cpu().contiguous()
    carrier = _CARRIERS.get(value.dtype)
    if carrier is None:
        return {"tensor": _store(value.numpy().copy(), path, arrays)}
    name = str(value.dtype)
    return {"tensor": _store(value.view(carrier).numpy().copy(), path, arrays), "dtype": name}


def _store(array: np.ndarray, path: tuple[str, ...], arrays: dict[str, np.ndarray]) -> str:
    # the number keeps names apart when keys contain dots
    name = f"{len(arrays)}:{'.'.join(path)}"
    arrays[name] = array
    return name


def _key(key: Any, path: tuple[str, ...]) -> str | int:
    if isinstance(key, (str, int)) and not isinstance(key, bool):
        return key
    raise _unusable(f"the key {key!r}", path)


def _unusable(got: str, path: tuple[str, ...]) -> InputError:
    return InputError(
        "state cannot be saved",
        got=f"{got} at {'.'.join(path) or 'the top'}",
        allowed="dicts with string or whole-number keys, lists, tuples, real dense tensors, arrays, numbers, strings",
        fix="leave it out of state_dict(), or turn it into one of these",
    )


def unflatten_state(fields: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """Undo ``flatten_state``. Tensors come back on the CPU, as fresh copies without gradient.

    Args:
        fields: the JSON content.
        arrays: the arrays.

    Raises:
        DamagedFileError: the content is not what ``flatten_state`` gives.

    Cost: O(size) time and memory.

    Example:
        >>> unflatten_state(*flatten_state({0: (1.5, float("inf"))}))
        {0: (1.5, inf)}
    """
    try:
        return _unpack(fields, arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedFileError(
            "the state", f"it is no flattened state ({error!r})", "use the file it came with"
        ) from error


def _unpack(node: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if node is None or isinstance(node, (bool, str, int, float)):
        return node
    if "dict" in node:
        return {key: _unpack(item, arrays) for key, item in node["dict"]}
    if "list" in node:
        return [_unpack(item, arrays) for item in node["list"]]
    if "tuple" in node:
        return tuple(_unpack(item, arrays) for item in node["tuple"])
    if "float" in node:
        return float(node["float"])
    if "array" in node:
        return np.array(arrays[node["array"]])
    tensor = torch.from_numpy(np.array(arrays[node["tensor"]]))
    return tensor.view(_BY_NAME[node["dtype"]]) if "dtype" in node else tensor
