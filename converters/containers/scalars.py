"""The opcodes that push one number or one text, in the order of PEP 307 and PEP 3154."""

from __future__ import annotations

import re
from codecs import escape_decode, raw_unicode_escape_decode
from collections.abc import Callable
from struct import unpack
from sys import getsizeof
from typing import Any

from ..errors import TooLarge
from ..limits import MIB, PICKLE_INT_BYTES
from .machine import Machine

NUMBER = re.compile(rb"[+-]?\d+")
REAL = re.compile(rb"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|inf|nan)")
ESCAPED = re.compile(rb"(?:[^\\]|\\[\\'\"abfnrtv]|\\x[0-9a-fA-F]{2})*+", re.DOTALL)  # what repr of Python 2 writes
LONG, LONGEST = MIB, 8 * MIB  # bytes of one text; the longer ones are arrays of numpy, written as text of Latin-1
WIDE = re.compile(rb"[\xc4-\xff]")  # begins characters beyond Latin-1
WIDE_ESCAPE = re.compile(rb"\\u(?!00)|\\U(?!000000)")


def _constant(value: object) -> Callable[[Machine], None]:
    def push(m: Machine) -> None:
        m.stack.append(value)

    return push


def number(m: Machine) -> int:
    """The whole number on a line."""
    return _whole(m, m.line(PICKLE_INT_BYTES))


def _whole(m: Machine, line: bytes) -> int:
    if not NUMBER.fullmatch(line):
        raise m.bad("text that is no integer")
    return int(line)


def _int(m: Machine) -> None:
    if m.data[m.pos : m.pos + 3] in (b"00\n", b"01\n"):
        m.stack.append(m.line() == b"01")
    else:
        m.stack.append(number(m))


def _long(m: Machine) -> None:
    m.stack.append(_whole(m, m.line(PICKLE_INT_BYTES + 1).removesuffix(b"L")))  # nowhere else may an L stand


def _float(m: Machine) -> None:
    line = m.line(64)
    if not REAL.fullmatch(line):
        raise m.bad("text that is no number")
    m.stack.append(float(line))


def _binint(m: Machine) -> None:
    m.stack.append(unpack("<i", m.take(4))[0])


def _binint1(m: Machine) -> None:
    m.stack.append(m.byte())


def _binint2(m: Machine) -> None:
    m.stack.append(int.from_bytes(m.take(2), "little"))


def _binfloat(m: Machine) -> None:
    m.stack.append(unpack(">d", m.take(8))[0])


def _sized(width: int) -> Callable[[Machine], bytes]:
    """The bytes after a length of `width` bytes."""

    def read(m: Machine) -> bytes:
        return m.take(int.from_bytes(m.take(width), "little"))

    return read


def _binlong(width: int) -> Callable[[Machine], None]:
    def push(m: Machine) -> None:
        count = int.from_bytes(m.take(width), "little")
        if count > PICKLE_INT_BYTES:
            raise TooLarge(m.name, "bytes in one integer", count, PICKLE_INT_BYTES)
        m.stack.append(int.from_bytes(m.take(count), "little", signed=True))

    return push


def _decoded(m: Machine, data: bytes) -> str:
    """UTF-8. Python needs up to four bytes for one of it, so long ones are looked at first and the surplus is counted."""
    if len(data) > LONG:
        _bound(m, data, WIDE)
    text = data.decode()
    if len(text) != len(data):
        m.copy(max(0, getsizeof(text) - len(data)))
    return text


def _bound(m: Machine, data: bytes, wide: re.Pattern[bytes]) -> None:
    most = LONG if wide.search(data) else LONGEST
    if len(data) > most:
        raise TooLarge(m.name, "bytes in one text of its pickle", len(data), most)


def text(m: Machine, data: bytes) -> str:
    """What must be UTF-8."""
    try:
        return _decoded(m, data)
    except UnicodeDecodeError as exc:
        raise m.bad("text that is no UTF-8") from exc


def _binunicode(width: int) -> Callable[[Machine], None]:
    read, from_bytes = _sized(width), int.from_bytes

    def push(m: Machine) -> None:  # a sixth of all opcodes, so a short text is taken without a call in between
        begin = m.pos + width
        stop = begin + from_bytes(m.data[m.pos : begin], "little")
        if stop <= m.end and stop - begin <= LONG and (data := m.data[begin:stop]).isascii():
            m.pos = stop
            m.stack.append(data.decode("ascii"))
        else:
            m.stack.append(text(m, read(m)))

    return push


def _binbytes(width: int) -> Callable[[Machine], None]:
    read = _sized(width)

    def push(m: Machine) -> None:
        m.stack.append(read(m))

    return push


def _old_text(m: Machine, data: bytes) -> str | bytes:
    """A Python 2 string: text where it is UTF-8 (as torch.load reads it), bytes where not."""
    try:
        return _decoded(m, data)
    except UnicodeDecodeError:
        return data


def _binstring(width: int) -> Callable[[Machine], None]:
    read = _sized(width)

    def push(m: Machine) -> None:
        m.stack.append(_old_text(m, read(m)))

    return push


def _string(m: Machine) -> None:
    line = m.line(LONGEST)
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise m.bad("a string without quotes")
    m.stack.append(_old_text(m, _unescaped(m, line[1:-1])))


def _unescaped(m: Machine, text: bytes) -> bytes:
    if not ESCAPED.fullmatch(text):
        raise m.bad("an escape that is none")
    data: bytes = escape_decode(text)[0]
    return data


def _unicode(m: Machine) -> None:
    line = m.line(LONGEST)
    if len(line) > LONG:
        _bound(m, line, WIDE_ESCAPE)
    try:
        text: str = raw_unicode_escape_decode(line)[0]
        text.encode()
    except UnicodeError as exc:
        raise m.bad("text that is no Unicode") from exc
    if not text.isascii():
        m.copy(max(0, getsizeof(text) - len(line)))
    m.stack.append(text)


OPCODES: dict[bytes, Callable[[Machine], Any]] = {
    b"N": _constant(None), b"\x88": _constant(value=True), b"\x89": _constant(value=False),
    b"I": _int, b"L": _long, b"F": _float, b"J": _binint, b"K": _binint1, b"M": _binint2, b"G": _binfloat,
    b"\x8a": _binlong(1), b"\x8b": _binlong(4),
    b"V": _unicode, b"X": _binunicode(4), b"\x8c": _binunicode(1), b"\x8d": _binunicode(8),
    b"S": _string, b"T": _binstring(4), b"U": _binstring(1),
    b"B": _binbytes(4), b"C": _binbytes(1), b"\x8e": _binbytes(8), b"\x96": _binbytes(8),
}  # fmt: skip
