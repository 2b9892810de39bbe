"""What the calls of a pickle make here: REDUCE and NEWOBJ of the allowed names, BUILD of our own nodes."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from msgspec.structs import force_setattr

from ..model import SIZES, Module, Node, TensorInfo
from . import views
from .allowed import PARAMETER_DICT, Inert
from .machine import Array, Dtype, Machine
from .views import Run, Storage

IN_PICKLE = "pickle:"  # begins the storage's name of numbers that lie inside the pickle; forms.py asks for it


def _ordered(m: Machine, args: tuple[Any, ...]) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    pairs = args[0] if len(args) == 1 else []
    if len(args) > 1 or type(pairs) is not list:
        raise m.bad("an OrderedDict of something else than pairs")
    m.charge(len(pairs))
    for pair in pairs:
        if type(pair) not in (list, tuple) or len(pair) != 2:
            raise m.bad("an OrderedDict of something else than pairs")
        made[m.key(pair[0])] = pair[1]
    return made


def _as_list(m: Machine, args: tuple[Any, ...]) -> list[Any]:
    if len(args) > 1 or (args and type(args[0]) not in (list, tuple)):
        raise m.bad("a set of something else than a list")
    m.charge(len(args[0]) if args else 0)
    return list(args[0]) if args else []


def _latin1(m: Machine, args: tuple[Any, ...]) -> bytes:
    if len(args) != 2 or type(args[0]) is not str or type(args[1]) is not str or args[1] not in ("latin1", "latin-1"):
        raise m.unsafe("_codecs.encode", "REDUCE")
    m.copy(len(args[0]))
    try:
        return args[0].encode("latin-1")
    except UnicodeEncodeError as exc:
        raise m.bad("bytes written as text hold more than bytes") from exc


def _tensor(m: Machine, args: tuple[Any, ...], dtype: str | None = None) -> TensorInfo:
    if len(args) not in (6, 7) or type(args[0]) is not Storage:
        raise m.bad("a tensor without a storage of this file")
    m.charge(16)
    try:
        return views.view(args[0], args[1], args[2], args[3], dtype)
    except ValueError as exc:
        raise m.bad(str(exc)) from exc


def _untyped_tensor(m: Machine, args: tuple[Any, ...]) -> TensorInfo:
    if len(args) not in (7, 8):
        raise m.bad("a tensor without a type")
    return _tensor(m, args[:6], _dtype(m, args[6]))


def _dtype(m: Machine, value: object) -> str:
    if type(value) is not Inert or value.means != "dtype":
        raise m.bad("a tensor without a type")
    return value.dtype


def _parameter(low: int, high: int) -> Callable[[Machine, tuple[Any, ...]], TensorInfo]:
    """A Parameter is its tensor: the flag, the hooks and the attributes after it are dropped."""

    def make(m: Machine, args: tuple[Any, ...]) -> TensorInfo:
        if not low <= len(args) <= high or type(args[0]) is not TensorInfo:
            raise m.bad("a Parameter without a tensor")
        return args[0]

    return make


def _module(m: Machine, args: tuple[Any, ...]) -> Module:
    if args:
        raise m.bad("a ParameterDict with arguments")
    return Module(PARAMETER_DICT, {})


def _array(m: Machine, args: tuple[Any, ...]) -> Array:
    if len(args) != 3 or type(args[0]) is not Inert or args[0].means != "array class":
        raise m.bad("an array that is no numpy.ndarray")
    m.arrays = True
    return Array()


def _numpy_dtype(m: Machine, args: tuple[Any, ...]) -> Dtype:
    if not 1 <= len(args) <= 3 or type(args[0]) is not str or len(args[0]) > 8:
        raise m.bad("a numpy type that is not named by text")
    return Dtype(args[0])


def _numpy_tensor(m: Machine, args: tuple[Any, ...]) -> TensorInfo:
    if len(args) != 4 or type(args[0]) is not Array or type(args[0].node) is not TensorInfo:
        raise m.bad("a device tensor without a numpy array")
    info, dtype = args[0].node, _dtype(m, args[1])
    # torch/_tensor.py, _reduce_ex_internal: bfloat16 travels as float32, which holds the same numbers
    if info.dtype != dtype and (info.dtype, dtype) != ("F32", "BF16"):
        raise m.bad(f"a device tensor of {dtype} carries {info.dtype}")
    return info


CALLS: dict[str, Callable[[Machine, tuple[Any, ...]], Any]] = {
    "dict": _ordered,
    "list": _as_list,
    "latin1": _latin1,
    "tensor": _tensor,
    "untyped tensor": _untyped_tensor,
    "parameter": _parameter(3, 3),
    "stateful parameter": _parameter(4, 4),
    "new parameter": _parameter(1, 2),
    "numpy tensor": _numpy_tensor,
    "array": _array,
    "numpy dtype": _numpy_dtype,
}
NEW = {"dict": _ordered, "new parameter": _parameter(1, 2), "module": _module}  # NEWOBJ, class by class


def _call(m: Machine, table: dict[str, Callable[[Machine, tuple[Any, ...]], Any]], opcode: str) -> None:
    args, callee = m.pop(), m.pop()
    if type(callee) is not Inert:
        raise m.bad(f"{opcode} of something that is no global")
    make = table.get(callee.means)
    if make is None:
        raise m.unsafe(callee.name, opcode)
    if type(args) is not tuple:
        raise m.bad(f"{opcode} without a tuple of arguments")
    m.stack.append(make(m, args))


def reduce(m: Machine) -> None:
    """REDUCE: a call of an allowed name."""
    _call(m, CALLS, "REDUCE")


def newobj(m: Machine) -> None:
    """NEWOBJ: a new object of an allowed class."""
    _call(m, NEW, "NEWOBJ")


# what BUILD does to our own nodes


def build(m: Machine) -> None:
    """BUILD: the state of a node of ours; of a dictionary it is dropped."""
    state = m.pop()
    if len(m.stack) <= m.fence:
        raise m.bad("nothing to build")
    node = m.stack[-1]
    kind = type(node)
    if kind is Module and type(state) is dict:
        force_setattr(node, "state", state)
    elif kind is Array:
        _build_array(m, node, state)
    elif kind is Dtype:
        _build_dtype(m, node, state)
    elif kind is not dict:  # an OrderedDict's own state (`_metadata` of state dicts) is dropped
        raise m.misplaced(node)


def _build_dtype(m: Machine, dtype: Dtype, state: object) -> None:
    plain = type(state) is tuple and 5 <= len(state) <= 9 and state[2] is None and state[3] is None and state[4] is None
    if not plain or type(state[1]) is not str or state[1] not in views.ORDERS:  # type: ignore[index]
        raise m.bad("a numpy type with fields or without a byte order")
    m.charge(4)
    dtype.descr = state[1] + dtype.descr.lstrip("<>|=")  # type: ignore[index]


def _build_array(m: Machine, made: Array, state: object) -> None:
    if type(state) is not tuple or len(state) != 5 or type(state[1]) is not tuple or type(state[2]) is not Dtype:
        raise m.bad("a numpy array without its state")
    if made.node is not made:
        raise m.bad("a numpy array with two states")
    m.charge(32)
    shape, raw = state[1], state[4]
    if type(raw) is str:  # a Python 2 string that happened to be text
        m.copy(len(raw))
        raw = raw.encode()
    try:
        views.check_view(1 << 62, 0, shape, (1,) * len(shape))
        dtype, big = views.numpy_dtype(state[2].descr)
    except ValueError as exc:
        raise m.bad(str(exc)) from exc
    if dtype == "O":
        made.node = _objects(m, shape, raw)
        return
    if type(raw) is not bytes or len(raw) != prod(shape) * SIZES[dtype]:
        raise m.bad("a numpy array whose bytes do not fit its shape")
    run = Run(dtype, prod(shape), lambda start, length: raw[start : start + length], big)
    made.node = _carried(m, run, shape, views.fortran_strides(shape) if state[3] else None)


def _objects(m: Machine, shape: tuple[int, ...], items: object) -> Node:
    if type(items) is not list or len(items) != prod(shape):
        raise m.bad("a numpy array of objects without their list")
    return items if shape else items[0]


def _carried(m: Machine, run: Run, shape: tuple[int, ...], strides: tuple[int, ...] | None) -> TensorInfo:
    key = f"{IN_PICKLE}{len(m.runs)}"
    m.runs[key] = run
    return TensorInfo(run.dtype, shape, key, 0, None if views.is_c_order(shape, strides) else strides)
