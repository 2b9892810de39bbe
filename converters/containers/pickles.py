"""Reads the pickles of embeddings: a machine of our own that imports nothing, calls nothing and knows only ALLOWED."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from ..errors import TooLarge
from ..limits import PICKLE_DEPTH, PICKLE_NODES, PICKLE_OPCODES
from ..model import Module, Node, TensorInfo
from . import views
from .allowed import ALLOWED, Inert
from .machine import Array, Machine, Persistent
from .opcodes import TABLE
from .views import Run

SCALARS = frozenset((str, int, float, bool, type(None), bytes, TensorInfo))


class Pickled(Struct, frozen=True):
    """What a pickle holds, where it ends, and the numbers that lie inside the pickle itself (numpy's)."""

    root: Node
    end: int
    runs: dict[str, Run]


def load(data: bytes, name: str, *, start: int = 0, persistent: Persistent | None = None, opcodes: int = PICKLE_OPCODES) -> Pickled:
    """The pickle that begins at `start`: UnsafePickle at the first thing no embedding needs, UnreadableFile, TooLarge."""
    m = Machine(data, name, start, persistent)
    root = m.run(TABLE, opcodes)
    _bound(m, root)
    return Pickled(_without_arrays(root) if m.arrays else root, m.pos, m.runs)


def _bound(m: Machine, root: Node) -> None:
    """Depth and number of values, level by level, so that all later code may recurse; only values may be left."""
    level, met = [root], 1
    for _ in range(PICKLE_DEPTH + 1):
        below: list[Any] = []
        for node in level:
            kind = type(node)
            if kind in SCALARS:
                continue
            children = _children(m, node, kind)
            met += len(children)
            if met > PICKLE_NODES:
                raise TooLarge(m.name, "values in its pickle", met, PICKLE_NODES)
            below.extend(children)
        if not below:
            return
        level = below
    raise TooLarge(m.name, "levels of nesting in its pickle", PICKLE_DEPTH + 1, PICKLE_DEPTH)


def _children(m: Machine, node: Any, kind: type) -> Any:
    if kind is dict:
        return node.values()
    if kind is list or kind is tuple:
        return node
    if kind is Module:  # classes among a module's attributes are dropped with it
        for key in [key for key, value in node.state.items() if type(value) is Inert]:
            node.state[key] = None
        return node.state.values()
    if kind is Array and node.node is not node:
        return (node.node,)
    raise m.misplaced(node)


def _without_arrays(node: Node) -> Node:
    """The same tree with each numpy array replaced by what it holds."""
    kind = type(node)
    if kind in SCALARS:
        return node
    if kind is Array:
        return _without_arrays(node.node)
    if kind is dict:
        node.update({key: _without_arrays(value) for key, value in node.items() if type(value) not in SCALARS})
    elif kind is list:
        node[:] = [_without_arrays(value) for value in node]
    elif kind is tuple:
        return tuple(_without_arrays(value) for value in node)
    elif kind is Module:
        _without_arrays(node.state)
    return node


__all__ = ["ALLOWED", "Pickled", "load", "views"]
