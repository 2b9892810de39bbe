"""Shows the pickles of a file opcode by opcode, of refused files too; nothing is run and nothing raises."""

from __future__ import annotations

import pickletools
import re
import zlib
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from msgspec import Struct

from ..display import LONGEST, printable
from ..limits import PICKLE_BYTES, PICKLE_MEMO
from ..source import Source
from . import image, safetensors
from .allowed import ALLOWED, in_python_3

SHOWN = 20_000  # opcodes of one stream in a listing, and globals of a file
FOLLOWED = 250_000  # opcodes that are looked at for globals, in a second
STREAMS = 16  # pickles of one file
LOCAL = re.compile(rb"PK\x03\x04.{4}(..).{8}(....).{4}(..)(..)", re.DOTALL)  # method, packed size, name, extra field
TEXTS = ("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8")
GETS, PUTS = ("GET", "BINGET", "LONG_BINGET"), ("PUT", "BINPUT", "LONG_BINPUT")
CODED = {"EXT1", "EXT2", "EXT4"}


class Instruction(Struct, frozen=True):
    """One opcode of the pickle `stream`; the last one may be `(malformed)` and say why."""

    stream: str
    position: int
    opcode: str
    argument: str = ""


class GlobalSeen(Struct, frozen=True):
    """One global that a pickle names, as written and as Python 3 calls it."""

    stream: str
    position: int
    opcode: str
    name: str
    mapped: str
    allowed: bool


def explain(source: Source) -> list[Instruction]:
    """Every opcode of every pickle in the file, as far as the bytes can be read; none where its kind holds no pickle."""
    if holds_none(source) and not globals_named(source):
        return []
    return [line for stream, data, start in _streams(source) for line in _lines(stream, data, start)]


def holds_none(source: Source) -> bool:
    """Is it a safetensors file or a picture, by its own mark? What of it reads as opcodes is chance."""
    return safetensors.CONTAINER.sniff(source) or image.CONTAINER.sniff(source)


def globals_named(source: Source) -> list[GlobalSeen]:
    """Every global that a pickle of the file names, allowed or not."""
    left = iter(range(FOLLOWED))  # for all pickles together
    found = (seen for stream, data, start in _streams(source) for seen in _globals(stream, data, start, left))
    return list(islice(found, SHOWN))


def _lines(stream: str, data: bytes, start: int) -> Iterator[Instruction]:
    for count, (opcode, argument, position) in enumerate(_opcodes(data, start)):
        if count == SHOWN:
            yield Instruction(stream, position, "(cut)", f"only the first {SHOWN:,} opcodes are shown")
            return
        yield Instruction(stream, position, opcode.name if opcode else "(malformed)", _shown(argument))


def _opcodes(data: bytes, start: int) -> Iterator[tuple[Any, Any, int]]:
    """Opcodes with positions in `data`; a malformed place ends it as (None, what is wrong, where)."""
    position = start
    try:
        for opcode, argument, at in pickletools.genops(data[start:] if start else data):
            position = start + (at or 0)
            yield opcode, argument, position
    except Exception as exc:  # noqa: BLE001  # whatever pickletools stumbles over is told, never raised
        yield None, str(exc)[:LONGEST], position


def _shown(argument: object) -> str:
    if argument is None:
        return ""
    if isinstance(argument, int) and argument.bit_length() > 256:
        return f"an integer of {argument.bit_length() // 8 + 1} bytes"
    if isinstance(argument, str | bytes | bytearray):
        return printable(repr(argument[: LONGEST + 1]))
    return printable(str(argument))


def _streams(source: Source) -> Iterator[tuple[str, bytes, int]]:
    """(name, bytes, start) of each pickle; found by looking, so that a broken container hides nothing."""
    data = source.head(PICKLE_BYTES)
    in_row = iter(()) if data.startswith(b"PK\x03\x04") else _in_row(data)
    yield from islice(chain(in_row, _in_zip(data)), STREAMS)


def _in_row(data: bytes) -> Iterator[tuple[str, bytes, int]]:
    """Pickles one after the other: legacy files have five; npy files one after their header."""
    at = _after_npy_header(data)
    if at == 0 and not data:
        return
    left = FOLLOWED
    for number in range(1, STREAMS + 1):
        yield f"pickle {number}", data, at
        last = None
        for opcode, _, position in islice(_opcodes(data, at), left):
            last, left = (opcode, position), left - 1
        if last is None or last[0] is None or last[0].name != "STOP" or data[last[1] + 1 : last[1] + 2] != b"\x80":
            return
        at = last[1] + 1


def _after_npy_header(data: bytes) -> int:
    if not data.startswith(b"\x93NUMPY"):
        return 0
    width = 2 if data[6:7] == b"\1" else 4
    return 8 + width + int.from_bytes(data[8 : 8 + width], "little")


def _in_zip(data: bytes) -> Iterator[tuple[str, bytes, int]]:
    """Entries that end in .pkl by their local headers, whatever the directory says."""
    for match in LOCAL.finditer(data):
        method, packed, named, extra = (int.from_bytes(group, "little") for group in match.groups())
        start = match.end() + named + extra
        name = data[match.end() : match.end() + named].decode("utf-8", "replace")
        if not name.casefold().endswith(".pkl"):
            continue
        body = data[start : start + packed] if packed else data[start:]
        yield printable(name), _inflated(body) if method == 8 else body, 0


def _inflated(body: bytes) -> bytes:
    try:
        return zlib.decompressobj(-15).decompress(body, PICKLE_BYTES)
    except zlib.error:
        return b""


def _globals(stream: str, data: bytes, start: int, left: Iterator[int]) -> Iterator[GlobalSeen]:
    """Follow the stack as pickletools.dis does, so that STACK_GLOBAL's two texts are known."""
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    for opcode, argument, position in _opcodes(data, start):
        if opcode is None or next(left, None) is None or len(memo) > PICKLE_MEMO:
            return
        name = _named(opcode.name, argument, stack)
        if name:
            yield _seen(stream, position, opcode.name, name)
        _follow(opcode, argument, stack, memo)


def _named(opcode: str, argument: Any, stack: list[Any]) -> tuple[str, str] | None:
    if opcode in ("GLOBAL", "INST"):
        module, _, name = str(argument).partition(" ")
        return module, name
    if opcode == "STACK_GLOBAL":
        module, name = ([None, None, *stack])[-2:]
        return (module if isinstance(module, str) else "?"), (name if isinstance(name, str) else "?")
    return ("", f"extension {argument}") if opcode in CODED else None


def _seen(stream: str, position: int, opcode: str, name: tuple[str, str]) -> GlobalSeen:
    raw = ".".join(part for part in name if part)
    allowed = name in ALLOWED and opcode in ("GLOBAL", "STACK_GLOBAL")
    return GlobalSeen(stream, position, opcode, printable(raw), printable(in_python_3(raw)), allowed)


MARK = object()


def _follow(opcode: Any, argument: Any, stack: list[Any], memo: dict[Any, Any]) -> None:
    """What one opcode does to the stack; values other than texts are not told apart."""
    if opcode.name in PUTS or opcode.name == "MEMOIZE":
        memo[len(memo) if opcode.name == "MEMOIZE" else argument] = stack[-1] if stack else None
    elif opcode.name in GETS:
        stack.append(memo.get(argument))
    elif opcode.name == "DUP":
        stack.append(stack[-1] if stack else None)
    elif opcode.name in TEXTS:
        stack.append(argument)
    elif opcode.name == "MARK":
        stack.append(MARK)
    else:
        _drop(opcode, stack)
        stack.extend(None for _ in opcode.stack_after)


def _drop(opcode: Any, stack: list[Any]) -> None:
    before = opcode.stack_before
    if pickletools.markobject in before or (opcode.name == "POP" and stack and stack[-1] is MARK):
        while stack and stack.pop() is not MARK:
            pass
        before = before[: before.index(pickletools.markobject)] if pickletools.markobject in before else []
    if before:
        del stack[-len(before) :]
