"""Every opcode of protocols 0 to 5, in the order of PEP 307 and PEP 3154; the refused ones are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from struct import unpack
from typing import Any, NoReturn

from ..limits import PICKLE_MEMO
from . import calls, scalars
from .allowed import Inert
from .machine import Machine


def _mark(m: Machine) -> None:
    m.fence = len(m.stack)
    m.marks.append(m.fence)


def _stop(m: Machine) -> bool:
    if m.framed and m.pos != m.end:
        raise m.bad("STOP inside a frame that goes on")
    if m.marks or len(m.stack) != 1:
        raise m.bad(f"STOP with {len(m.stack)} values on the stack")
    return True


def _pop(m: Machine) -> None:
    if m.marks and len(m.stack) == m.fence:
        m.since_mark()
    else:
        m.pop()


def _pop_mark(m: Machine) -> None:
    m.since_mark()


def _dup(m: Machine) -> None:
    value = m.pop()
    m.stack += (value, value)


def _proto(m: Machine) -> None:
    if m.at != m.start or not 2 <= m.byte() <= 5:
        raise m.bad("a protocol that is not 2 to 5, or not at the beginning")


def _frame(m: Machine) -> None:
    if m.framed or m.data[m.start] != 0x80 or m.data[m.start + 1] < 4:
        raise m.bad("a frame inside a frame, or before protocol 4")
    size = unpack("<Q", m.take(8))[0]
    if size > m.end - m.pos:
        raise m.bad(f"a frame of {size} bytes, {m.end - m.pos} left")
    m.end, m.framed = m.pos + size, True


def _empty_dict(m: Machine) -> None:
    m.stack.append({})


def _empty_list(m: Machine) -> None:
    m.stack.append([])


def _empty_tuple(m: Machine) -> None:
    m.stack.append(())


def _tuple(m: Machine) -> None:
    m.stack.append(tuple(m.since_mark()))


def _tuple1(m: Machine) -> None:
    m.stack.append((m.pop(),))


def _tuple2(m: Machine) -> None:
    last = m.pop()
    m.stack.append((m.pop(), last))


def _tuple3(m: Machine) -> None:
    last, middle = m.pop(), m.pop()
    m.stack.append((m.pop(), middle, last))


def _list(m: Machine) -> None:
    m.stack.append(m.since_mark())


def _dict(m: Machine) -> None:
    items = m.since_mark()
    m.stack.append({})
    _set_all(m, items)


def _append(m: Machine) -> None:
    value = m.pop()
    m.top(list).append(value)


def _appends(m: Machine) -> None:
    items = m.since_mark()
    m.top(list).extend(items)


def _setitem(m: Machine) -> None:
    value, key = m.pop(), m.pop()
    m.top(dict)[m.key(key)] = value


def _setitems(m: Machine) -> None:
    _set_all(m, m.since_mark())


def _set_all(m: Machine, items: list[Any]) -> None:
    target = m.top(dict)
    if len(items) % 2:
        raise m.bad("a key without a value")
    for i in range(0, len(items), 2):
        target[m.key(items[i])] = items[i + 1]


def _put(m: Machine) -> None:
    key = scalars.number(m)
    if not 0 <= key < 1 << 32:
        raise m.bad("a memo number out of range")
    m.remember(key)


def _binput(m: Machine) -> None:  # a third of all opcodes, so without a call in between
    pos = m.pos
    if pos >= m.end:
        raise m.bad("it ends too early")
    m.pos = pos + 1
    if len(m.stack) <= m.fence or len(m.memo) >= PICKLE_MEMO:
        m.remember(m.data[pos])  # which says what is wrong
    m.memo[m.data[pos]] = m.stack[-1]


def _long_binput(m: Machine) -> None:
    m.remember(int.from_bytes(m.take(4), "little"))


def _memoize(m: Machine) -> None:
    m.remember(len(m.memo))


def _get(m: Machine) -> None:
    m.recall(scalars.number(m))


def _binget(m: Machine) -> None:
    m.recall(m.byte())


def _long_binget(m: Machine) -> None:
    m.recall(int.from_bytes(m.take(4), "little"))


def _global(m: Machine) -> None:
    m.look_up(scalars.text(m, m.line()), scalars.text(m, m.line()), "GLOBAL")


def _stack_global(m: Machine) -> None:
    name, module = m.pop(), m.pop()
    if type(name) is not str or type(module) is not str:
        raise m.unsafe("a global that is not named by text", "STACK_GLOBAL")
    m.look_up(module, name, "STACK_GLOBAL")


def _binpersid(m: Machine) -> None:
    pid = m.pop()
    if m.persistent is None:
        raise m.unsafe("a persistent object", "BINPERSID")
    if type(pid) is not tuple:
        raise m.bad("a persistent id that is no tuple")
    m.charge(4)
    m.stack.append(m.persistent(pid))


def _refused(opcode: str, wanted: str) -> Callable[[Machine], None]:
    def refuse(m: Machine) -> NoReturn:
        raise m.unsafe(wanted, opcode)

    return refuse


def _inst(m: Machine) -> NoReturn:
    raise m.unsafe(f"{scalars.text(m, m.line())}.{scalars.text(m, m.line())}", "INST")


def _made(opcode: str, below: int) -> Callable[[Machine], None]:
    """OBJ and NEWOBJ_EX: refused, with the class named where it is known."""

    def refuse(m: Machine) -> NoReturn:
        items = m.since_mark() if opcode == "OBJ" and m.marks else m.stack[-below:]
        named = items[0].name if items and type(items[0]) is Inert else "an object of any class"
        raise m.unsafe(named, opcode)

    return refuse


OPCODES: dict[bytes, Callable[[Machine], Any]] = scalars.OPCODES | {
    b"(": _mark, b".": _stop, b"0": _pop, b"1": _pop_mark, b"2": _dup, b"\x80": _proto, b"\x95": _frame,
    b"}": _empty_dict, b"]": _empty_list, b")": _empty_tuple, b"\x8f": _empty_list,
    b"d": _dict, b"l": _list, b"t": _tuple, b"\x91": _tuple, b"\x85": _tuple1, b"\x86": _tuple2, b"\x87": _tuple3,
    b"s": _setitem, b"u": _setitems, b"a": _append, b"e": _appends, b"\x90": _appends,
    b"p": _put, b"q": _binput, b"r": _long_binput, b"\x94": _memoize,
    b"g": _get, b"h": _binget, b"j": _long_binget,
    b"c": _global, b"\x93": _stack_global, b"R": calls.reduce, b"\x81": calls.newobj, b"b": calls.build, b"Q": _binpersid,
    b"P": _refused("PERSID", "a persistent object"), b"i": _inst, b"o": _made("OBJ", 1), b"\x92": _made("NEWOBJ_EX", 3),
    b"\x82": _refused("EXT1", "an extension registry entry"), b"\x83": _refused("EXT2", "an extension registry entry"),
    b"\x84": _refused("EXT4", "an extension registry entry"),
    b"\x97": _refused("NEXT_BUFFER", "a buffer outside the pickle"),
    b"\x98": _refused("READONLY_BUFFER", "a buffer outside the pickle"),
}  # fmt: skip
TABLE = [OPCODES.get(bytes([code])) for code in range(256)]
