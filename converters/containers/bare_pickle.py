"""A pickle alone: dictionaries whose numbers numpy carries inside the pickle itself."""

from __future__ import annotations

import re

from ..errors import TooLarge, UnreadableFile
from ..limits import PICKLE_BYTES
from ..model import Contents, Outline
from ..source import Source
from .container import Container
from .pickles import load
from .torch_legacy import sniff as is_torch_legacy
from .views import fetcher

PROTO = re.compile(rb"\x80[\x02-\x05]")
TEXT = re.compile(  # how pickles of protocol 0 and 1 begin: a container that goes on, or a global
    rb"\({1,3}(?:[dlt](?:[.q(r]|p\d+\n)|[IFL]-?\d[\d.eE+-]*L?\n|S['\"]|V[^\n]*\np\d+\n|[XUK][\x00-\x1f]|[}\]][.q(r])"
    rb"|[}\]](?:[.q(r]|p\d+\n)|\({0,3}[ci][\w.]+ ?\n[\w.]+\n"
)


def sniff(source: Source) -> bool:
    """A protocol number and no torch magic, or a text pickle that also ends as one."""
    head = source.head(256)
    if PROTO.match(head):
        return not is_torch_legacy(source)
    return bool(TEXT.match(head)) and source.read(source.size - 1, 1) == b"."


def read(source: Source) -> Contents:
    """The whole file is one pickle; one that names storages outside itself is refused."""
    if source.size > PICKLE_BYTES:
        raise TooLarge(source.name, "bytes in one pickle", source.size, PICKLE_BYTES)
    pickled = load(source.head(source.size), source.name)
    if pickled.end != source.size:
        raise UnreadableFile(source.name, f"its pickle ends at byte {pickled.end} and something follows")
    return Contents(Outline(container="pickle", root=pickled.root), fetcher(source.name, pickled.runs))


CONTAINER = Container("pickle", "bare pickle", sniff, read)
