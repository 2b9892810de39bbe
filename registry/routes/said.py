"""Parameters and bodies that several routes read, in the words of the description."""

from __future__ import annotations

from typing import Any

from embconv.converters import TARGETS
from embconv.converters.numbers import WRITABLE

from ..forms import FORMATS, Wanted
from ..model import NSFW, ROLES
from .call import one_of
from .operation import Call, Parameter

PROGRAMS = {one.name: one for one in TARGETS}
DTYPES = {"keep": None, **{name.lower(): name for name in WRITABLE}}

TEXT: dict[str, Any] = {"type": "string"}
DIGEST = "emb:9f2c1a64c0ffee00b7d1e5a0924fd3c1b6a8d20f7e5c4b3a291817060504f3e2"
SHA256 = "66a7279a88dd2a5e1d4a4a0f3c2f1bb0e9d8c7b6a5f4e3d2c1b0a99887766554"

REF = Parameter(
    name="ref", where="path", example="easynegative",
    says="A digest (`emb:` and 64 hex digits, or 8 or more of them), any hash of one of its files, its name or its trigger.",
    schema={"type": "string", "minLength": 1, "maxLength": 500},
)  # fmt: skip
FORMAT = Parameter(name="format", says="The kind of file.", schema={"type": "string", "enum": [*FORMATS], "default": "safetensors"})
FOR = Parameter(name="for", says="The program that will load it: its layout, names and numbers.", schema={"type": "string", "enum": [*PROGRAMS]})
DTYPE = Parameter(name="dtype", says="The kind of number.", schema={"type": "string", "enum": ["keep", *WRITABLE], "default": "keep"})

FILE: dict[str, Any] = {"type": "string", "contentMediaType": "application/octet-stream", "description": "The file, with its name."}
ONE_FILE: dict[str, Any] = {
    "required": True,
    "content": {"multipart/form-data": {"schema": {"type": "object", "required": ["file"], "properties": {"file": FILE}, "additionalProperties": False}}},
}
ROLE: dict[str, Any] = {"type": "string", "enum": [*ROLES]}
RATING: dict[str, Any] = {"type": ["string", "null"], "enum": [*NSFW, None]}


def wanted(call: Call) -> Wanted:
    """The form that a query asks for."""
    format_ = one_of(call, "format", FORMATS, "safetensors")
    program = one_of(call, "for", tuple(PROGRAMS), "")
    return Wanted(format=format_, target=PROGRAMS.get(program), dtype=DTYPES[one_of(call, "dtype", tuple(DTYPES), "keep")])
