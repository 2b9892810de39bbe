"""What a container module offers: a way to know its bytes and a way to open them."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from ..model import Contents
from ..source import Source


class Container(Struct, frozen=True):
    """One way in which bytes hold tensors.

    `sniff` looks at a few bytes and says whether this is ours; `read` opens it or raises a FileError.
    """

    name: str
    title: str
    sniff: Callable[[Source], bool]
    read: Callable[[Source], Contents]
