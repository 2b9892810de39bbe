"""The database of a registry: read by any thread at any time, written by all of them in turn."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from ..home import database
from .group import Group

if TYPE_CHECKING:
    from sqlite_utils import Database

T = TypeVar("T")


class Store:
    """An open database. `read` is this thread's connection; `write` runs a piece of work in a transaction.

    Pending migrations are applied as it opens. Raises NoStore where the folder cannot be used; one that could only be read then
    is written as soon as it can be. Several processes may have one open; one that was forked must open its own.
    """

    def __init__(self, home: str, *, create: bool = True, busy_seconds: float = 10.0) -> None:
        from .connections import Readers  # sqlite-utils imports numpy

        self.home = os.path.abspath(home)
        self.path = database(self.home)
        self._busy_seconds = busy_seconds
        self._recovering = threading.Lock()
        self._readers = Readers(self.path, busy_seconds)
        self._open(create=create)

    def _open(self, *, create: bool) -> None:
        from .connections import is_writable, open_database

        self._writer = open_database(self.home, create=create, busy_seconds=self._busy_seconds)
        self._group = Group(self._writer, self._busy_seconds)
        self._read_only = not is_writable(self._writer)
        self._readers.lasting = not self._read_only

    @property
    def read(self) -> Database:
        return self._readers.get()

    def write(self, work: Callable[[Database], T]) -> T:
        """What `work` returns, once it is on the disk. Raises what it raises, Busy, StorageFull or StorageFailed; then nothing is kept."""
        if not self._read_only:
            return self._group.write(work)
        with self._recovering:
            self._recover()
            return self._group.write(work)

    def _recover(self) -> None:
        """Open the database again if it could only be read and may be written now."""
        if self._read_only and os.access(self.path, os.W_OK) and os.access(self.home, os.W_OK):
            self._writer.close()
            self._open(create=False)

    @staticmethod
    @contextlib.contextmanager
    def reading(path: str) -> Iterator[Database]:
        """A database file by itself, a backup's, to be read only."""
        from .connections import read_only  # sqlite-utils imports numpy

        db = read_only(path)
        try:
            yield db
        finally:
            db.close()

    def close(self) -> None:
        self._readers.close()
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
