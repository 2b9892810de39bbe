"""The one pickle that most embeddings hold, matched as a whole: A1111's dictionary as torch saves it under protocol 2.

What matches is read exactly as the machine would read it, in a fifth of the time; of all else nothing is said here.
"""

from __future__ import annotations

import re

from ..model import Node, TensorInfo
from .allowed import ALLOWED, STORAGES
from .machine import Persistent
from .views import Storage, view

NUMBER = rb"(K.|M..|J....)"  # BININT1, BININT2, BININT
TEXT = rb"(N|X.{4}.{0,255}?q.)"  # None, or BINUNICODE and its place in the memo; whether the length fits is asked below
PATTERN = re.compile(
    rb"\x80\x02}q\x00\(X\x0f\0\0\0string_to_tokenq\x01}q\x02X\x01\0\0\0\*q\x03" + NUMBER
    + rb"sX\x0f\0\0\0string_to_paramq\x04}q\x05h\x03ctorch\._utils\n_rebuild_tensor_v2\nq.\(\(X\x07\0\0\0storageq.ctorch\n("
    + b"|".join(kind.encode() for kind in STORAGES) + rb")Storage\nq.X\x01\0\0\0(\d)q.X([\x03-\x07])\0\0\0([a-z]{2,4}:?\d?)q." + NUMBER
    + rb"tq.QK\x00" + NUMBER + NUMBER + rb"\x86q." + NUMBER + NUMBER
    + rb"\x86q.[\x88\x89]ccollections\nOrderedDict\nq.\)Rq.tq.Rq.sX\x04\0\0\0nameq." + TEXT + rb"X\x04\0\0\0stepq." + NUMBER
    + rb"X\r\0\0\0sd_checkpointq." + TEXT + rb"X\x12\0\0\0sd_checkpoint_nameq." + TEXT + rb"u\.",
    re.DOTALL,
)  # fmt: skip


def load_usual(data: bytes, persistent: Persistent) -> Node | None:
    """The dictionary that the pickle holds, or None where the machine has to look."""
    match = PATTERN.fullmatch(data)
    if match is None:
        return None
    token, kind, key, length, place, *numbers, name, step, checkpoint, checkpoint_name = match.groups()
    numel, rows, width, first, second = map(_number, numbers)
    if length[0] != len(place):
        return None
    storage = persistent(("storage", ALLOWED["torch", f"{kind.decode()}Storage"], key.decode(), place.decode(), numel))
    try:
        return {
            "string_to_token": {"*": _number(token)},
            "string_to_param": {"*": _tensor(storage, (rows, width), (first, second))},
            "name": _text(name),
            "step": _number(step),
            "sd_checkpoint": _text(checkpoint),
            "sd_checkpoint_name": _text(checkpoint_name),
        }
    except ValueError:
        return None


def _tensor(storage: object, shape: tuple[int, int], strides: tuple[int, int]) -> TensorInfo:
    assert isinstance(storage, Storage)
    return view(storage, 0, shape, strides)


def _number(opcode: bytes) -> int:
    """The number that an opcode pushes; BININT alone has a sign."""
    return opcode[1] if len(opcode) == 2 else int.from_bytes(opcode[1:], "little", signed=len(opcode) == 5)


def _text(opcode: bytes) -> str | None:
    """The text that an opcode pushes; ValueError where it has another length than it says, or is no UTF-8."""
    if opcode == b"N":
        return None
    text = opcode[5:-2]
    if int.from_bytes(opcode[1:5], "little") != len(text):
        raise ValueError
    return text.decode()
