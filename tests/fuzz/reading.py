"""What targets do with an accepted file: every tensor is fetched, and another reader is asked the same."""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any

import torch

from embconv.converters.errors import FileError
from embconv.converters.model import Contents, Module, Node, Tensor, TensorInfo

MOST = 40  # tensors of one file that are fetched


def infos(node: Node) -> list[TensorInfo]:
    """The tensors in order of appearance, some of them."""
    found: list[TensorInfo] = []
    left = [node]
    while left and len(found) < MOST:
        value = left.pop()
        if isinstance(value, TensorInfo):
            found.append(value)
        elif isinstance(value, Module):
            left.append(value.state)
        elif isinstance(value, dict):
            left += reversed(value.values())
        elif isinstance(value, list | tuple):
            left += reversed(value)
    return found


def fetched(contents: Contents) -> tuple[Contents, list[Tensor]]:
    """The contents with the numbers of each tensor; one that lies raises as any damage does."""
    return contents, [contents.fetch(info) for info in infos(contents.outline.root)]


def same_as_torch(data: bytes, found: Any) -> bool:
    """torch.load(weights_only=True) gives the same numbers wherever it loads the file at all."""
    contents, _ = found
    try:
        theirs = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception:  # noqa: BLE001  # it knows fewer kinds of values than we do
        return False
    _compare(contents, contents.outline.root, theirs)
    return True


def _compare(contents: Contents, ours: Node, theirs: Any) -> None:
    if isinstance(ours, TensorInfo):
        tensor = contents.fetch(ours)
        assert isinstance(theirs, torch.Tensor)
        assert tuple(theirs.shape) == tensor.shape
        plain = theirs.detach().contiguous().reshape(-1)
        raw = plain.view(torch.uint8).numpy().tobytes() if plain.numel() else b""
        assert raw == tensor.data, "other numbers"
    elif isinstance(ours, Module):
        assert ours.cls.rpartition(".")[2] == type(theirs).__name__
    elif isinstance(ours, dict):
        assert list(ours) == list(theirs), "other keys"
        for key, value in ours.items():
            _compare(contents, value, theirs[key])
    elif isinstance(ours, list | tuple):
        if isinstance(theirs, set):  # we keep each member as often as it stands in the file
            return
        assert len(ours) == len(theirs)
        for mine, other in zip(ours, theirs, strict=True):
            _compare(contents, mine, other)
    else:
        nan = ours != ours and theirs != theirs  # noqa: PLR0124
        assert ours == theirs or nan or isinstance(theirs, bytes | bytearray | torch.Size), (ours, theirs)


MAKING = {"GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4"}
OTHERWISE = {
    "EMPTY_SET",
    "FROZENSET",
    "STRING",
    "BINSTRING",
    "SHORT_BINSTRING",
    "LONG_BINPUT",
}  # lists here, bytes where it is no text, memory


def same_as_pickle(data: bytes, found: Any) -> bool:
    """CPython's own unpickler gives the same plain values (only asked where every opcode is one that makes plain values)."""
    if {opcode.name for opcode, _, _ in pickletools.genops(data)} & (MAKING | OTHERWISE):
        return False
    try:
        theirs = pickle.loads(data)
    except Exception:  # noqa: BLE001  # other limits
        return False
    contents, _ = found
    _compare(contents, contents.outline.root, theirs)
    return True


__all__ = ["FileError", "fetched", "infos", "same_as_pickle", "same_as_torch"]
