"""safetensors: a length, a JSON header, the numbers one after the other; read strictly and written as its library does."""

from __future__ import annotations

import json
import re
from math import prod
from typing import TYPE_CHECKING, Any, Final, NoReturn

import msgspec

from ..display import quoted
from ..errors import CannotHold, TooLarge, UnreadableFile
from ..limits import HEADER_BYTES, HEADER_TENSORS, NAME_BYTES, RANK, TENSOR_BYTES
from ..model import SIZES, Contents, Outline, Tensor, TensorInfo
from .container import Container

if TYPE_CHECKING:
    from ..source import Source

LENGTH = 8  # bytes of the header's length, u64 little endian
METADATA = "__metadata__"  # the one key that is no tensor
FIELDS = {"dtype", "shape", "data_offsets"}
SNIFFED = 1 << 32  # a length above is text or noise; up to here a `{` after it is meant as a header
BRACKETS = 10 * HEADER_TENSORS  # in a header, those in its texts counted too; three for each tensor
COMMAS = 8 * HEADER_TENSORS  # in a header outside of texts; a tensor with two axes has five
PLAIN = 1 << 16  # bytes of a header which are worth asking whether it is in its plainest form
TEXT = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
DIGITS = 19  # of a number in the header: below 2**63
ORDER = (  # of tensors in a file, as the library's serializer has it: wide numbers first (safetensors tensor.rs, Dtype)
    "U64", "I64", "F64", "F32", "U32", "I32", "BF16", "F16", "U16", "I16", "F8_E4M3", "F8_E5M2", "I8", "U8", "BOOL",
)  # fmt: skip

Extent = tuple[int, int]  # where a tensor begins and ends, counted from the end of the header


# ---- reading ----


def sniff(source: Source) -> bool:
    """A plausible header length, then `{` (or the blank that older readers let through, refused by `read`)."""
    head = source.head(LENGTH + 1)
    if len(head) <= LENGTH:
        return False
    length = int.from_bytes(head[:LENGTH], "little")
    if head[LENGTH:] == b"{":
        return 2 <= length < SNIFFED
    return head[LENGTH:] == b" " and 2 <= length <= source.size - LENGTH


def read(source: Source) -> Contents:
    """Open it: every byte of the file is accounted for, no tensor is read."""
    try:
        start, header = _header(source)
        metadata = _metadata(header.pop(METADATA, {}))
        if len(header) > HEADER_TENSORS:
            raise TooLarge(source.name, "tensors", len(header), HEADER_TENSORS)
        root: dict[str, TensorInfo] = {}
        extents: dict[str, Extent] = {}
        for name, entry in header.items():
            root[name], extents[name] = _entry(source.name, name, entry)
        _tile(extents, source.size - start)
    except ValueError as exc:
        raise UnreadableFile(source.name, str(exc)) from exc

    def fetch(info: TensorInfo) -> Tensor:
        begin, end = extents[info.storage]
        if end - begin > TENSOR_BYTES:
            raise TooLarge(source.name, f"bytes in tensor {quoted(info.storage)}", end - begin, TENSOR_BYTES)
        return Tensor(info.dtype, info.shape, source.read(start + begin, end - begin))

    return Contents(Outline(container="safetensors", root=root, metadata=metadata), fetch)


def _header(source: Source) -> tuple[int, dict[str, Any]]:
    """Where the numbers begin, and the header as parsed."""
    if source.size < LENGTH + 2:
        raise ValueError(f"{source.size} bytes are too few for a safetensors file")
    length = int.from_bytes(source.read(0, LENGTH), "little")
    if length > HEADER_BYTES:
        raise TooLarge(source.name, "bytes of safetensors header", length, HEADER_BYTES)
    if length > source.size - LENGTH:
        raise ValueError(f"its header should have {length:,} bytes, but the file ends after {source.size - LENGTH:,} of them")
    raw = source.read(LENGTH, length)
    if not raw.startswith(b"{"):
        raise ValueError("its safetensors header does not begin with {")
    if (brackets := raw.count(b"[") + raw.count(b"{")) > BRACKETS:
        raise TooLarge(source.name, "brackets in its safetensors header", brackets, BRACKETS)
    commas = raw.count(b",")
    if commas > COMMAS and (commas := commas - sum(text[0].count(b",") for text in TEXT.finditer(raw))) > COMMAS:
        raise TooLarge(source.name, "values in its safetensors header", commas, COMMAS)
    return LENGTH + length, _parsed(raw)


def _parsed(raw: bytes) -> dict[str, Any]:
    if len(raw) <= PLAIN and (plain := _canonical(raw)):
        return plain
    try:
        text = raw.decode("utf-8")
        header, end = _DECODER.raw_decode(text)
    except UnicodeDecodeError as exc:
        raise ValueError(f"its header is not UTF-8 at byte {exc.start}") from exc
    except json.JSONDecodeError as exc:
        raise ValueError(f"its header is not JSON: {exc.msg} at character {exc.pos}") from exc
    except RecursionError as exc:
        raise ValueError("its header is nested too deeply") from exc
    if text[end:].strip(" "):
        raise ValueError("its header is followed by something else than spaces")
    assert isinstance(header, dict)  # it begins with {
    return header


def _canonical(raw: bytes) -> dict[str, Any] | None:
    """The header, if it is what msgspec writes for its values: no key can stand there twice. None where the strict parser has to look."""
    if any(minus in raw for minus in (b":-", b",-", b"[-")):
        return None  # there may be a number below zero
    try:
        header: dict[str, Any] = msgspec.json.decode(raw)
        return header if msgspec.json.encode(header) == raw.rstrip(b" ") else None
    except (ValueError, RecursionError):
        return None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The spec forbids duplicate keys, the library takes the last one: two readers would see two files."""
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]  # None goes on
        raise ValueError(f"its header has the key {quoted(twice)} twice")
    return found


def _natural(digits: str) -> int:
    if len(digits) > DIGITS or digits[0] == "-":
        raise ValueError(f"its header has the number {digits[:DIGITS]}{'...' if len(digits) > DIGITS else ''}")
    return int(digits)


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"its header has {word}, which is not JSON")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_natural, parse_constant=_no_constant)


def _metadata(found: object) -> dict[str, str]:
    if type(found) is not dict:
        raise ValueError("its __metadata__ is not a dictionary")
    if set(map(type, found.values())) - {str}:
        other = next(key for key, value in found.items() if type(value) is not str)
        raise ValueError(f"its __metadata__ has something else than text under {quoted(other)}")
    if not ("".join(found).isascii() and "".join(found.values()).isascii()):
        for text in (*found, *found.values()):
            _encoded(text)
    return found


def _entry(file: str, name: str, entry: object) -> tuple[TensorInfo, Extent]:
    """One tensor as the header describes it, believed only where its size is that of its shape."""
    if len(_encoded(name)) > NAME_BYTES:
        raise TooLarge(file, "bytes in the name of a tensor", len(_encoded(name)), NAME_BYTES)
    if type(entry) is not dict or entry.keys() != FIELDS:
        raise ValueError(f"tensor {quoted(name)} is not described by dtype, shape and data_offsets alone")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if type(dtype) is not str or dtype not in SIZES:
        raise ValueError(f"tensor {quoted(name)} has numbers of the type {quoted(str(dtype))}, which embconv does not know")
    if not _naturals(shape) or not _naturals(offsets) or len(offsets) != 2:
        raise ValueError(f"tensor {quoted(name)} has a shape or data_offsets which are not whole numbers")
    if len(shape) > RANK:
        raise TooLarge(file, f"axes in tensor {quoted(name)}", len(shape), RANK)
    begin, end = offsets
    if end - begin != (size := prod(shape) * SIZES[dtype]):
        raise ValueError(f"tensor {quoted(name)} has {end - begin:,} bytes, its shape {shape} in {dtype} needs {size:,}")
    return TensorInfo(dtype, tuple(shape), name), (begin, end)


def _naturals(found: object) -> bool:
    return type(found) is list and all([type(number) is int and 0 <= number < 1 << 63 for number in found])  # noqa: C419  # half the time


def _encoded(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise ValueError(f"its header has half a character (a lone surrogate) in {quoted(text)}") from exc


def _tile(extents: dict[str, Extent], size: int) -> None:
    """The tensors lie end to end and fill the file: no hole, no overlap, nothing behind."""
    at = 0
    for begin, end in sorted(extents.values()):
        if begin != at:
            raise ValueError(f"its tensors {'overlap' if begin < at else 'leave a hole'} at byte {min(begin, at):,} of the numbers")
        at = end
    if at != size:
        raise ValueError(f"its header speaks of {at:,} bytes of numbers, the file has {size:,}")


# ---- writing ----


def write(tensors: dict[str, Tensor], metadata: dict[str, str]) -> bytes:
    """The file; equal input gives equal bytes, and `read` accepts all that is written."""
    ordered = sorted(tensors.items(), key=lambda item: (ORDER.index(item[1].dtype), item[0]))
    header: dict[str, object] = {METADATA: dict(sorted(metadata.items()))} if metadata else {}
    at = 0
    for name, tensor in ordered:
        _writable(name, tensor)
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [at, at + len(tensor.data)]}
        at += len(tensor.data)
    raw = _padded(header)
    return b"".join([len(raw).to_bytes(LENGTH, "little"), raw, *(tensor.data for _, tensor in ordered)])


def _writable(name: str, tensor: Tensor) -> None:
    if len(tensor.data) != prod(tensor.shape) * SIZES[tensor.dtype]:
        raise ValueError(f"{name!r}: {len(tensor.data)} bytes are no {tensor.dtype} {tensor.shape}")
    if name == METADATA:
        raise CannotHold(f"No tensor in a safetensors file can be named {quoted(METADATA)}.", "Choose another name with --name.")
    if len(name.encode("utf-8", "replace")) > NAME_BYTES or len(tensor.shape) > RANK:
        raise CannotHold(f"A name over {NAME_BYTES:,} bytes or more than {RANK} axes would not be read back: {quoted(name)}.")


def _padded(header: dict[str, object]) -> bytes:
    """The header's bytes, with spaces to a multiple of eight so that the numbers are aligned."""
    try:
        raw = msgspec.json.encode(header)
    except UnicodeEncodeError as exc:
        raise CannotHold("A name or text has half a character (a lone surrogate), which a safetensors file cannot hold.") from exc
    raw += b" " * (-len(raw) % 8)
    if len(raw) > HEADER_BYTES:
        raise CannotHold(f"The header would have {len(raw):,} bytes; at most {HEADER_BYTES:,} are read back.")
    return raw


CONTAINER = Container("safetensors", "safetensors", sniff, read)
