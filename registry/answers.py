"""What the text index answered, kept while it is true: broad words are asked for again and again, and cost the most."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from .fields import MANY, Rows, Some, as_rows, common
from .store import beginning, called, spoken_among, spoken_of
from .words import Spoken

if TYPE_CHECKING:
    from sqlite_utils import Database

ROOM = 256 << 20        # bytes of all that are kept; a million embeddings fill it, a hundred thousand do not
EACH = 500              # what one takes besides its ids
DEAR = 0.002            # seconds; an answer that took less is asked for anew
MENDED = 64             # embeddings that may have changed since an answer that is mended
CHANGES = 4_096         # changes that are remembered


class Answer(Struct):
    """Ids as they are, or a bit for each of `size` where that is less; of which revision, and how many seconds it took."""

    revision: int
    seconds: float
    kept: npt.NDArray[np.generic]
    size: int


class Answers:
    """Ids by question. An answer of an earlier revision is mended with what has changed since."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], Answer] = OrderedDict()
        self._bytes = 0
        self._changes: list[tuple[int, int]] = []  # revision and id
        self._since = 0                            # every change after this revision is among them

    def changed(self, revisions: Sequence[int], ids: Sequence[int]) -> None:
        """These embeddings have changed."""
        with self._lock:
            self._changes += zip(revisions, ids, strict=True)
            if len(self._changes) > CHANGES:
                self._since = self._changes[-CHANGES // 2 - 1][0]
                self._changes = self._changes[-CHANGES // 2 :]

    def forget(self, revision: int) -> None:
        """Everything may have changed up to a revision."""
        with self._lock:
            self._kept.clear()
            self._changes, self._bytes, self._since = [], 0, revision

    def spoken(self, db: Database, asked: Spoken, within: str, revision: int) -> Some:
        """Those whose words fit, `within` texts of them or anywhere; at least as new as the revision.

        A prefix is a question of its own: it costs the most, and stands beside many words.
        """
        questions = [question for question in (" AND ".join(asked.terms), asked.begins) if question]
        found = [self._asked(db, f"{within} : ({question})" if within else question, revision) for question in questions]
        if not found:
            return np.zeros(0, np.int32)
        return found[0] if len(found) == 1 else common(*found)

    def called(self, db: Database, name: str, revision: int) -> Some:
        """Those whose name or trigger this is."""
        return self._same_revision(("called", name), revision, lambda: called(db, name))

    def beginning(self, db: Database, name: str, revision: int) -> Some:
        """Those whose name or trigger begins so."""
        return self._same_revision(("beginning", name), revision, lambda: beginning(db, name))

    def _asked(self, db: Database, expression: str, revision: int) -> Some:
        question = ("spoken", expression)
        known = self._known(question)
        if known is not None and known.revision >= revision:
            return unpacked(known)
        start = time.perf_counter()
        found = self._mended(db, expression, known) if known is not None and known.seconds > DEAR else None
        seconds = known.seconds if known is not None and found is not None else time.perf_counter() - start
        if found is None:
            found = ids_in(spoken_of(db, expression))
            seconds = time.perf_counter() - start
        return self._keep(question, packed(found, revision, seconds))

    def _same_revision(self, question: tuple[str, str], revision: int, ask: Callable[[], str]) -> Some:
        known = self._known(question)
        if known is not None and known.revision == revision:
            return unpacked(known)
        found = np.unique(ids_in(ask()))
        return self._keep(question, packed(found, revision, 0))

    def _known(self, question: tuple[str, str]) -> Answer | None:
        with self._lock:
            answer = self._kept.get(question)
            if answer is not None:
                self._kept.move_to_end(question)
            return answer

    def _mended(self, db: Database, expression: str, known: Answer) -> Rows | None:
        """An answer with what has changed since asked again; None where that is too much."""
        with self._lock:
            changed = sorted({id_ for at, id_ in self._changes if at > known.revision})
            if known.revision < self._since or len(changed) > MENDED:
                return None
        found = as_rows(unpacked(known))
        return np.sort(np.concatenate((found[~np.isin(found, changed)], ids_in(spoken_among(db, expression, changed)))))

    def _keep(self, question: tuple[str, str], answer: Answer) -> Some:
        with self._lock:
            known = self._kept.pop(question, None)
            self._kept[question] = answer if known is None or known.revision < answer.revision else known
            self._bytes += size_of(self._kept[question]) - (size_of(known) if known else 0)
            while self._bytes > ROOM:
                self._bytes -= size_of(self._kept.popitem(last=False)[1])
        return unpacked(answer)


def size_of(answer: Answer) -> int:
    """About how many bytes it takes with its question."""
    return answer.kept.nbytes + EACH


def ids_in(text: str) -> Rows:
    """Ids of a text with commas."""
    return np.fromstring(text, np.int32, sep=",") if text else np.zeros(0, np.int32)


def packed(ids: Rows, revision: int, seconds: float) -> Answer:
    """As little as possible of it."""
    size = int(ids[-1]) + 1 if len(ids) else 0
    if len(ids) * MANY <= size:
        return Answer(revision, seconds, ids, 0)
    mask = np.zeros(size, np.bool_)
    mask[ids] = True
    return Answer(revision, seconds, np.packbits(mask), size)


def unpacked(answer: Answer) -> Some:
    """The ids again."""
    if not answer.size:
        return answer.kept.astype(np.int32, copy=False)
    return np.unpackbits(answer.kept.view(np.uint8), count=answer.size).view(np.bool_)
