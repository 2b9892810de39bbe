"""The state of one pickle while it is read: stack, marks, memo, what it has cost so far, and how an error is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import TooLarge, UnreadableFile, UnsafePickle
from ..limits import MIB, PICKLE_BYTES, PICKLE_MEMO, PICKLE_OPCODES
from ..model import Node
from .allowed import ALLOWED, Inert, in_python_3
from .views import Run

Persistent = Callable[[tuple[Any, ...]], object]
KEYS = (str, int, bytes)
INT_KEY = 1 << 60  # beyond it Python's hashes of integers repeat (threats P22)
COPIED = 16 * MIB  # bytes that calls and wide texts make beyond those of the pickle itself
MEMORY = 88_000_000  # of the pickle thrice (itself, its texts, copies of them) and of all that its opcodes make
VALUE = 96  # bytes that one opcode can leave behind: half a dictionary entry with a key of its own
FEW = 10_000  # opcodes that even the longest pickle may have


class Dtype:
    """A numpy dtype while it is built."""

    __slots__ = ("descr",)

    def __init__(self, descr: str) -> None:
        self.descr = descr


class Array:
    """A numpy array while it is built: `node` is its TensorInfo, or the list (0-d: the value) of its objects."""

    __slots__ = ("node",)

    def __init__(self) -> None:
        self.node: Node = self


class Machine:
    """One pass over one pickle; `at` is the opcode at work, `fence` what the innermost mark protects."""

    __slots__ = (
        "arrays", "at", "copied", "data", "end", "fence", "framed", "marks", "memo",
        "name", "persistent", "pos", "runs", "seen", "stack", "start", "work",
    )  # fmt: skip

    def __init__(self, data: bytes, name: str, start: int, persistent: Persistent | None) -> None:
        self.data, self.name, self.start, self.persistent = data, name, start, persistent
        self.at = self.pos = start
        self.end, self.fence = len(data), 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.seen: dict[str, tuple[str, int]] = {}  # each allowed global -> opcode and place of its first naming
        self.runs: dict[str, Run] = {}
        self.arrays = self.framed = False
        self.copied = self.work = 0

    def bad(self, why: str) -> UnreadableFile:
        return UnreadableFile(self.name, f"its pickle is malformed at byte {self.at}: {why}")

    def unsafe(self, wanted: str, opcode: str, position: int | None = None) -> UnsafePickle:
        where = self.at if position is None else position
        return UnsafePickle(self.name, wanted, opcode=opcode, position=where, mapped=in_python_3(wanted))

    def misplaced(self, node: object) -> UnreadableFile | UnsafePickle:
        """The error for something that may stand on the stack but is no value."""
        if isinstance(node, Inert):
            return self.unsafe(node.name, *self.seen.get(node.name, ("GLOBAL", self.at)))
        return self.bad(f"a {type(node).__name__} where a value was expected")

    def take(self, count: int) -> bytes:
        pos = self.pos
        stop = pos + count
        if stop > self.end:
            raise self.bad(f"{count} bytes announced, {self.end - pos} left")
        self.pos = stop
        return self.data[pos:stop]

    def byte(self) -> int:
        pos = self.pos
        if pos >= self.end:
            raise self.bad("it ends too early")
        self.pos = pos + 1
        return self.data[pos]

    def line(self, longest: int = PICKLE_BYTES) -> bytes:
        self.charge(4)  # a line takes as long as four plain opcodes
        stop = self.data.find(b"\n", self.pos, min(self.end, self.pos + longest + 1))
        if stop < 0:
            raise self.bad("a line without an end")
        line = self.data[self.pos : stop]
        self.pos = stop + 1
        return line

    def pop(self) -> Any:
        if len(self.stack) <= self.fence:
            raise self.bad("nothing left on the stack")
        return self.stack.pop()

    def top(self, kind: type) -> Any:
        if len(self.stack) <= self.fence:
            raise self.bad("nothing left on the stack")
        value = self.stack[-1]
        if type(value) is not kind:
            raise self.misplaced(value)
        return value

    def since_mark(self) -> list[Any]:
        if not self.marks:
            raise self.bad("no mark")
        fence = self.marks.pop()
        items = self.stack[fence:]
        del self.stack[fence:]
        self.fence = self.marks[-1] if self.marks else 0
        return items

    def remember(self, key: int) -> None:
        if len(self.stack) <= self.fence:
            raise self.bad("nothing to remember")
        if len(self.memo) >= PICKLE_MEMO:
            raise TooLarge(self.name, "memo entries in its pickle", len(self.memo) + 1, PICKLE_MEMO)
        self.memo[key] = self.stack[-1]

    def recall(self, key: int) -> None:
        if key not in self.memo:
            raise self.bad(f"memo entry {key} was never made")
        self.stack.append(self.memo[key])

    def charge(self, count: int) -> None:
        """Account for work beyond that of a plain opcode, in opcodes; a memo could ask for it again and again."""
        self.work += count
        if self.work > PICKLE_OPCODES:
            raise TooLarge(self.name, "steps of work in its pickle", self.work, PICKLE_OPCODES)

    def copy(self, count: int) -> None:
        """Account for bytes that were not in the pickle."""
        self.copied += count
        if self.copied > COPIED:
            raise TooLarge(self.name, "bytes copied by its pickle", self.copied, COPIED)

    def key(self, key: Any) -> Any:
        """`key`, if it is of the few types that are hashed here; containers never are (threats P17)."""
        kind = type(key)
        if kind not in KEYS:
            raise self.misplaced(key) if kind is Inert else self.bad("a dictionary key that is no text, integer or bytes")
        if kind is int and not -INT_KEY < key < INT_KEY:
            raise self.bad("a dictionary key beyond 60 bits")
        return key

    def look_up(self, module: str, name: str, opcode: str) -> None:
        found = ALLOWED.get((module, name))
        if found is None:
            raise self.unsafe(f"{module}.{name}", opcode)
        self.seen.setdefault(found.name, (opcode, self.at))
        self.stack.append(found)

    def run(self, table: list[Callable[[Machine], Any] | None], most: int) -> Node:
        """Every opcode up to STOP; a frame bounds its opcodes as PEP 3154 says."""
        data = self.data
        most = min(most, max(FEW, (MEMORY - 3 * len(data)) // VALUE))
        for _ in range(most):
            pos = self.pos
            if pos >= self.end:
                self._leave_frame(pos)
            self.at, self.pos = pos, pos + 1
            work = table[data[pos]]
            if work is None:
                raise self.bad(f"0x{data[pos]:02x} is no opcode")
            if work(self):
                return self.pop()
        raise TooLarge(self.name, "opcodes in its pickle", most + 1, most)

    def _leave_frame(self, pos: int) -> None:
        self.end, self.framed, self.at = len(self.data), False, pos
        if pos >= self.end:
            raise self.bad("it ends without STOP")
