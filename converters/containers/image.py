"""Pictures that are embeddings: A1111's cards, with the numbers in a PNG text and again in the pixels."""

from __future__ import annotations

import binascii
import io
import json
import struct
from itertools import chain
from math import prod
from typing import TYPE_CHECKING, Any

from ..display import quoted
from ..errors import CannotHold, NotAnEmbedding, TooLarge, UnreadableFile
from ..limits import IMAGE_PIXELS, PICKLE_DEPTH, RANK, TENSOR_BYTES
from ..model import Contents, Node, Outline, Tensor, TensorInfo
from . import png
from .container import Container

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..source import Source

KEYWORD = b"sd-ti-embedding"  # of the PNG text
TENSOR = "TORCHTENSOR"  # A1111 writes a tensor as {"TORCHTENSOR": nested lists}
DEPTH = PICKLE_DEPTH  # real: 6
BRACKETS = 200_000  # two for each vector and dictionary
NUMBERS = min(1 << 20, TENSOR_BYTES // 8)  # 16 MiB of JSON hold 800,000 floats as they are written
INT_DIGITS = 32  # real: 5
PICTURE_BYTES = 4 * IMAGE_PIXELS  # of a file whose pixels are wanted
NO_EMBEDDING = "a picture without an embedding in it (a preview, perhaps)"

JXL = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
PILLOW = {"png": "PNG", "webp": "WEBP", "avif": "AVIF", "jxl": "JXL"}  # the one decoder each is given to

CODES = {  # struct's letter for each number type that JSON can carry exactly
    "F64": "d", "F32": "f", "F16": "e", "BF16": "f",
    "I64": "q", "I32": "i", "I16": "h", "I8": "b", "U64": "Q", "U32": "I", "U16": "H", "U8": "B",
}  # fmt: skip


def form(source: Source) -> str | None:
    """Which of the picture formats that can carry an embedding this is."""
    head = source.head(64)
    if head.startswith(png.SIGNATURE):
        return "png"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp" and (head[8:12] in (b"avif", b"avis") or b"avif" in head[16 : int.from_bytes(head[:4], "big")]):
        return "avif"
    return "jxl" if head.startswith(JXL) else None


def sniff(source: Source) -> bool:
    """By magic alone."""
    return form(source) is not None


def read(source: Source) -> Contents:
    """The embedding in the PNG text, else the one in the pixels; NotAnEmbedding where there is neither."""
    container = form(source)
    if container is None:
        raise UnreadableFile(source.name, "it is no PNG, WEBP, AVIF or JXL picture")
    payload = _payload(source, container)
    if payload is None:
        raise NotAnEmbedding(source.name, NO_EMBEDDING, "The embedding is a file beside it, or the picture was saved anew and lost it.")
    root, tensors = _tree(source.name, payload)
    return Contents(Outline(container=container, root=root), lambda info: tensors[int(info.storage)])


def read_pixels(source: Source) -> bytes | None:
    """The JSON in the pixels, whatever a PNG text says; None where there is none."""
    return _from_pixels(source, form(source) or "png")


def _payload(source: Source, container: str) -> bytes | None:
    if container != "png":
        return _from_pixels(source, container)
    found = png.chunks(source)
    packed = png.text(source, found, KEYWORD)
    if packed is None:
        return _from_pixels(source, container)
    try:
        return binascii.a2b_base64(packed, strict_mode=True)
    except ValueError as exc:
        raise UnreadableFile(source.name, f"its embedding text is not base64: {exc}") from exc


# ---- pixels ----


def _from_pixels(source: Source, container: str) -> bytes | None:
    from .carrier import extract

    if source.size > PICTURE_BYTES:
        raise TooLarge(source.name, "bytes of picture", source.size, PICTURE_BYTES)
    data = source.read(0, source.size)
    if container == "png":
        found = png.chunks(source)
        _within(source.name, *png.dimensions(source, found))
        data = png.picture(source, found)
    elif container == "webp":
        _within(source.name, *_webp_dimensions(data))
    return extract(source.name, _pixels(source.name, data, container))


def _pixels(name: str, data: bytes, container: str) -> NDArray[np.uint8]:
    """The picture as (height, width, 3); its size is looked at before a pixel is decoded."""
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    try:
        _load_plugin(name, container)
        with Image.open(io.BytesIO(data), formats=[PILLOW[container]]) as picture:
            _within(name, *picture.size)
            return np.asarray(picture.convert("RGB"))
    except (TooLarge, UnreadableFile):
        raise
    except UnidentifiedImageError as exc:
        raise UnreadableFile(name, f"its {PILLOW[container]} header is damaged or of a kind that Pillow does not read") from exc
    except Exception as exc:  # decoders raise OSError, SyntaxError, ValueError, struct.error, RuntimeError ...
        raise UnreadableFile(name, f"its pixels cannot be decoded: {exc}") from exc


def _load_plugin(name: str, container: str) -> None:
    """Pillow reads JPEG XL only with a plug-in."""
    if container != "jxl":
        return
    try:
        import pillow_jxl  # type: ignore[import-not-found, unused-ignore]  # noqa: F401  # no dependency; importing it is registering it
    except ImportError as exc:
        hint = "Install pillow-jxl-plugin, or save the picture as PNG without changing it."
        raise UnreadableFile(name, "Pillow cannot decode JPEG XL here", hint) from exc


def _within(name: str, width: int, height: int) -> None:
    if width * height > IMAGE_PIXELS:
        raise TooLarge(name, f"pixels ({width} x {height})", width * height, IMAGE_PIXELS)


def _webp_dimensions(data: bytes) -> tuple[int, int]:
    """Of the canvas (RFC 9649); Pillow makes room for it when it only opens the file. (0, 0) where a decoder shall complain."""
    kind, body = data[12:16], data[20:30]
    if kind == b"VP8X" and len(body) == 10:
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L" and len(body) >= 5:
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return (0, 0)  # lossy: Pillow tells the size, 14 bits each


# ---- JSON ----


def _tree(name: str, payload: bytes) -> tuple[Node, list[Tensor]]:
    """The dictionary with a TensorInfo for each tensor, and the tensors, by the number that is their storage's name."""
    tensors: list[Tensor] = []

    def node(pairs: list[tuple[str, Any]]) -> Node:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("its JSON has a key twice")
        if TENSOR not in found:
            return found
        if len(found) > 1:
            raise ValueError(f"its JSON has other keys beside {TENSOR}")
        tensors.append(_tensor(found[TENSOR]))
        return TensorInfo(tensors[-1].dtype, tensors[-1].shape, str(len(tensors) - 1))

    try:
        _bounded(name, payload)
        root = json.loads(payload.decode("utf-8"), object_pairs_hook=node, parse_int=_int)
    except UnicodeDecodeError as exc:
        raise UnreadableFile(name, f"its JSON is not UTF-8 at byte {exc.start}") from exc
    except json.JSONDecodeError as exc:
        raise UnreadableFile(name, f"its JSON is damaged: {exc.msg} at character {exc.pos}") from exc
    except (ValueError, OverflowError, RecursionError) as exc:
        raise UnreadableFile(name, str(exc)) from exc
    _whole(name, root)
    return root, tensors


def _bounded(name: str, payload: bytes) -> None:
    """Few enough brackets and numbers, not too deep: told before a value is made of them."""
    brackets = payload.translate(None, _NOT_BRACKETS)  # those inside a text are counted too: nobody names so
    if len(brackets) > BRACKETS:
        raise TooLarge(name, "brackets in its JSON", len(brackets), BRACKETS)
    if (commas := payload.count(b",")) > NUMBERS:
        raise TooLarge(name, "values in its JSON", commas, NUMBERS)
    depth = deepest = 0
    for bracket in brackets:
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    if deepest > DEPTH:
        raise ValueError(f"its JSON is nested {deepest:,} deep")


_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def _int(digits: str) -> int:
    if len(digits) > INT_DIGITS:
        raise ValueError(f"its JSON has a whole number of {len(digits):,} digits")
    return int(digits)


def _whole(name: str, root: Node) -> None:
    """A dictionary, not deep (a `]` in a text can deceive the count before), no text in it with half a character."""
    if not isinstance(root, dict):
        raise UnreadableFile(name, "its JSON is no dictionary")
    left: list[tuple[Node, int]] = [(root, 1)]
    while left:
        value, depth = left.pop()
        if depth > DEPTH:
            raise UnreadableFile(name, "its JSON is nested too deeply")
        if isinstance(value, dict):
            left += ((inner, depth + 1) for inner in chain(value.keys(), value.values()))
        elif isinstance(value, list):
            left += ((inner, depth + 1) for inner in value)
        elif isinstance(value, str) and not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
            raise UnreadableFile(name, "its JSON has half a character (a lone surrogate)")


def _tensor(value: Node) -> Tensor:
    """F32 where each number is one exactly, as A1111's are; else F64."""
    shape: list[int] = []
    level = [value]
    while level and isinstance(level[0], list):
        width = len(level[0])
        if not all(type(row) is list and len(row) == width for row in level) or len(shape) == RANK:
            raise ValueError("a tensor in its JSON has rows of unequal length" if len(shape) < RANK else "a tensor has too many axes")
        shape.append(width)
        level = list(chain.from_iterable(level))
    if not set(map(type, level)) <= {int, float}:
        raise ValueError("a tensor in its JSON has something else than numbers")
    wide = struct.pack(f"<{len(level)}d", *level)
    try:
        narrow = struct.pack(f"<{len(level)}f", *level)
    except OverflowError:  # beyond float32
        return Tensor("F64", tuple(shape), wide)
    exact = struct.pack(f"<{len(level)}d", *struct.unpack(f"<{len(level)}f", narrow)) == wide
    return Tensor("F32", tuple(shape), narrow) if exact else Tensor("F64", tuple(shape), wide)


# ---- writing ----


def write(tree: Node, *, name: str, subtitle: str = "", footer: str = "") -> bytes:
    """A PNG card with both carriers, readable by A1111; `tree` is its dictionary with Tensor leaves."""
    from PIL import Image, PngImagePlugin

    from .carrier import draw_card, embed

    payload = json.dumps(_plain(tree)).encode("ascii")
    text = PngImagePlugin.PngInfo()
    text.add_text(KEYWORD.decode(), binascii.b2a_base64(payload, newline=False).decode("ascii"))
    out = io.BytesIO()
    Image.fromarray(embed(payload, draw_card(name, subtitle, footer))).save(out, "PNG", pnginfo=text)
    return out.getvalue()


def _plain(node: Node) -> Any:
    if isinstance(node, Tensor):
        return {TENSOR: _nested(_numbers(node), node.shape)}
    if isinstance(node, dict):
        if not all(isinstance(key, str) for key in node):
            raise CannotHold("A picture holds JSON, in which every key is a text.")
        return {key: _plain(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_plain(value) for value in node]
    if node is None or isinstance(node, str | int | float):
        return node
    raise CannotHold(f"A picture holds JSON, which has no {type(node).__name__}.")


def _numbers(tensor: Tensor) -> list[Any]:
    """The values in C order; F16 and BF16 widen exactly, and Python writes a float32 so that it reads back bit for bit."""
    code = CODES.get(tensor.dtype)
    if code is None:
        raise CannotHold(f"A picture holds JSON, which has no numbers of the type {quoted(tensor.dtype)}.", "Choose --dtype F32.")
    data = tensor.data
    if tensor.dtype == "BF16":  # the upper half of a float32
        wide = bytearray(2 * len(data))
        wide[2::4], wide[3::4] = data[0::2], data[1::2]
        data = bytes(wide)
    return list(struct.unpack(f"<{prod(tensor.shape)}{code}", data))


def _nested(values: list[Any], shape: tuple[int, ...]) -> Any:
    """`values` as lists of lists, the way A1111 wrote tensors."""
    if len(shape) < 2:
        return values if shape else values[0]
    step = prod(shape[1:])
    return [_nested(values[row * step : (row + 1) * step], shape[1:]) for row in range(shape[0])]


CONTAINER = Container("image", "image (PNG, WEBP, AVIF, JXL)", sniff, read)
