"""The pixel carrier: an embedding in the low four bits of a picture, as A1111 draws it (formats: image embeddings).

    [block of low nibbles][black column][the card][black column][block of high nibbles]

Both blocks are XORed with the same key stream; a column is black where all its low nibbles are zero.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from ..display import printable
from ..errors import CannotHold
from ..limits import IMAGE_PAYLOAD
from .png import inflated

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import ImageDraw, ImageFont

    Bytes = NDArray[np.uint8]

MULTIPLIER, INCREMENT = 1664525, 1013904223  # of the key stream's generator, modulo 2**32, from 0
OUTPUT = 255  # its outputs are taken modulo 255, not 256
NIBBLE = 0x0F
SIDE, MARGIN = 512, 40  # pixels of the card
TOP, BOTTOM = (58, 70, 122), (186, 98, 130)  # the ends of its gradient; no channel falls below 16, so nothing of it is cropped
LIGHT, DIM = (250, 247, 240), (228, 216, 226)
PACKED = IMAGE_PAYLOAD  # bytes of deflated payload; it never needs more than it holds


def extract(name: str, pixels: Bytes) -> bytes | None:
    """The payload in `pixels` (height, width, 3), or None where the picture carries none."""
    import numpy as np

    blocks = _blocks(_cropped(pixels))
    if blocks is None:
        return None
    low, high = (block.reshape(-1)[:PACKED] & np.uint8(NIBBLE) for block in blocks)
    if not _is_zlib(_joined(low[:2], high[:2])):
        return None
    packed = _joined(low, high)
    del low, high
    return inflated(name, packed, IMAGE_PAYLOAD, "the data in its pixels (was it saved anew or resized?)")


def embed(payload: bytes, card: Bytes) -> Bytes:
    """`card` between the two blocks; the card's colours, no column of which is black, run on through the blocks."""
    import numpy as np

    packed = np.frombuffer(zlib.compress(payload, 9), np.uint8)
    if len(packed) > PACKED or len(payload) > IMAGE_PAYLOAD:
        says = f"A picture would carry {len(payload):,} bytes; at most {IMAGE_PAYLOAD:,} are read back."
        raise CannotHold(says, "Choose a safetensors file.")
    height = card.shape[0]
    size = len(packed) + (height - len(packed) % height)  # both steps add even where it fits: A1111 does
    size += 3 * height - size % (3 * height)
    key = keystream(size)
    low, high = ((np.resize(half, size) ^ key).reshape(height, -1, 3) for half in (packed & NIBBLE, packed >> 4))
    column = np.zeros((height, 1, 3), np.uint8)
    return np.hstack([low | _style(card, 0, low.shape[1]), column, card, column, high | _style(card, -1, high.shape[1])])


def _style(card: Bytes, edge: int, width: int) -> Bytes:
    """High nibbles in the colours of the card's edge, never all zero, so that no reader crops them."""
    import numpy as np

    colours = np.maximum(card[:, edge, None, :] & 0xF0, 0x10)
    return np.repeat(colours, width, axis=1)


def keystream(count: int) -> Bytes:
    """The first `count` nibbles of A1111's generator, each doubling of the stream being one leap of the first half."""
    import numpy as np

    states = np.empty(max(count, 1), np.uint32)
    states[0] = INCREMENT
    filled, multiplier, increment = 1, MULTIPLIER, INCREMENT
    while filled < count:
        step = min(filled, count - filled)
        states[filled : filled + step] = states[:step] * np.uint32(multiplier) + np.uint32(increment)
        multiplier, increment = multiplier * multiplier % 2**32, (multiplier * increment + increment) % 2**32
        filled += step
    states %= np.uint32(OUTPUT)
    return states[:count].astype(np.uint8) & np.uint8(NIBBLE)


def _joined(low: Bytes, high: Bytes) -> bytes:
    key = keystream(len(low))
    return (((high ^ key) << 4) | (low ^ key)).tobytes()


def _is_zlib(head: bytes) -> bool:
    """Whether a zlib stream begins so: deflate, and the header's check bits (RFC 1950)."""
    return len(head) == 2 and head[0] & 0x8F == 8 and int.from_bytes(head, "big") % 31 == 0


def _cropped(pixels: Bytes) -> Bytes:
    """Without the outer rows and columns in which no pixel has all three channels above zero."""
    import numpy as np

    lit = (pixels[..., 0] > 0) & (pixels[..., 1] > 0) & (pixels[..., 2] > 0)
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    if not len(rows):
        return pixels[:0, :0]
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _blocks(pixels: Bytes) -> tuple[Bytes, Bytes] | None:
    """Left of the first black column and right of the last; None without two columns or where the blocks are unequal."""
    import numpy as np

    nibbles: Bytes = np.bitwise_or.reduce(pixels, axis=0) & np.uint8(NIBBLE)
    black = np.flatnonzero(~nibbles.any(axis=1))
    if len(black) < 2:
        return None
    low, high = pixels[:, : black[0]], pixels[:, black[-1] + 1 :]
    return (low, high) if low.shape == high.shape and low.size else None


# ---- the card ----


def draw_card(name: str, subtitle: str, footer: str) -> Bytes:
    """A square picture with three lines of text; equal input gives equal pixels."""
    import numpy as np
    from PIL import Image, ImageDraw

    image = Image.fromarray(_gradient())
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((18, 18, SIDE - 19, SIDE - 19), radius=22, outline=DIM, width=2)
    _line(draw, printable(name, 64), y=SIDE // 2 - 44, size=56, colour=LIGHT)
    draw.line((MARGIN, SIDE // 2 + 4, SIDE - MARGIN, SIDE // 2 + 4), fill=DIM, width=1)
    _line(draw, printable(subtitle, 96), y=SIDE // 2 + 38, size=26, colour=DIM)
    _line(draw, printable(footer, 96), y=SIDE - 56, size=18, colour=DIM)
    return np.asarray(image)


def _gradient() -> Bytes:
    """From TOP to BOTTOM along the diagonal, with three soft rings about the upper corner."""
    import numpy as np

    y, x = np.mgrid[0:SIDE, 0:SIDE] / (SIDE - 1)
    part = ((x + 2 * y) / 3)[..., None]
    rings = 9 * np.cos(np.hypot(x - 0.85, y - 0.1)[..., None] * 19)
    colours: Bytes = (np.array(TOP) * (1 - part) + np.array(BOTTOM) * part + rings).round().clip(16, 255).astype(np.uint8)
    return colours


def _line(draw: ImageDraw.ImageDraw, text: str, *, y: int, size: int, colour: tuple[int, int, int]) -> None:
    """One centred line, smaller until it fits."""
    if not text:
        return
    font = _font(size)
    while size > 12 and draw.textlength(text, font=font) > SIDE - 2 * MARGIN:
        size -= 2
        font = _font(size)
    while len(text) > 4 and draw.textlength(text, font=font) > SIDE - 2 * MARGIN:
        text = text[:-4] + "..."
    draw.text((SIDE // 2, y), text, fill=colour, font=font, anchor="mm")


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(size)
