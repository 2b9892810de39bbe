"""Every way in which bytes hold tensors, told by content and never by extension."""

from __future__ import annotations

from contextlib import suppress
from math import prod

from ..errors import NotAnEmbedding, TooLarge, UnreadableFile
from ..limits import FETCHED
from ..model import SIZES, Contents, Tensor, TensorInfo
from ..source import Source
from . import bare_pickle, image, numpy_file, safetensors, torch_legacy, torch_zip
from .container import Container

# In the order in which they are asked: the surest signature first.
CONTAINERS: tuple[Container, ...] = (
    torch_zip.CONTAINER,
    image.CONTAINER,
    torch_legacy.CONTAINER,
    safetensors.CONTAINER,
    numpy_file.CONTAINER,
    bare_pickle.CONTAINER,
)


def open_contents(source: Source) -> Contents:
    """The contents of `source` by the first container that knows its bytes; `fetch` gives limits.FETCHED bytes in all.

    Raises NotAnEmbedding naming what it is instead, or UnreadableFile.
    """
    return within(source.name, _read(source))


def _read(source: Source) -> Contents:
    for container in CONTAINERS[:-1]:
        if container.sniff(source):
            return container.read(source)
    from .foreign import begins_pickle_0, identify_foreign  # long patterns, for what went wrong only

    foreign = identify_foreign(source)
    if foreign is None and bare_pickle.CONTAINER.sniff(source):
        return bare_pickle.CONTAINER.read(source)
    if foreign:
        if begins_pickle_0(source) or bare_pickle.CONTAINER.sniff(source):
            with suppress(UnreadableFile, TooLarge):  # a text that only looks like one
                return bare_pickle.CONTAINER.read(source)
        raise NotAnEmbedding(source.name, *foreign)
    raise UnreadableFile(source.name, "it begins like no kind of file an embedding comes in", "Check that the download is complete.")


def within(name: str, contents: Contents) -> Contents:
    """The contents with a limit to all that is fetched: many views may lie over one storage, and each becomes a copy."""
    inner, spent = contents.fetch, 0

    def fetch(info: TensorInfo) -> Tensor:
        nonlocal spent
        spent += spanned(info)
        if spent > FETCHED:
            raise TooLarge(name, "bytes of vectors", spent, FETCHED)
        return inner(info)

    return Contents(contents.outline, fetch)


def spanned(info: TensorInfo) -> int:
    """How many bytes must be read for a tensor: those of its numbers, and where they do not lie in a row those between them."""
    count = prod(info.shape)
    if info.strides is not None and count:
        count = max(count, 1 + sum((size - 1) * stride for size, stride in zip(info.shape, info.strides, strict=True)))
    return count * SIZES[info.dtype]


__all__ = ["CONTAINERS", "Container", "open_contents"]
