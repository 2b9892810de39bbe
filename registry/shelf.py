"""Many blobs brought to the disk together: written one by one, flushed once, then given their names, then flushed again."""

from __future__ import annotations

import contextlib
import os
import sys
from types import TracebackType
from typing import Self

from embconv.converters.locks import TemporaryFolder
from embconv.converters.source import Source
from embconv.converters.staging import flush_together, forget_pages, handles_kept

from .blobs import Blobs, failing, trouble
from .errors import RegistryError

FEW = 4  # files that are flushed one by one
PIECE = 1 << 20
FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


class Shelf:
    """Bytes that wait to become blobs, in a folder of their own.

    `together`: where there are several their whole file system is flushed, which for many takes less than to flush each; but it
    waits for whatever else is being written there.
    """

    def __init__(self, blobs: Blobs, *, together: bool = True) -> None:
        self._blobs, self._few = blobs, FEW if together else sys.maxsize
        self._kept = handles_kept() if together and hasattr(os, "posix_fadvise") else 0
        self._folder: TemporaryFolder | None = None
        self._waiting: dict[str, str] = {}
        self._handles: dict[str, int] = {}  # of some of them, still open

    def put(self, source: Source, sha256: str) -> None:
        """Write the bytes of an open source, whose sha256 this is. They are a blob after `publish`."""
        if sha256 in self._waiting:
            return
        with failing():
            if self._blobs.has(sha256):
                return
            if self._folder is None:
                self._folder = TemporaryFolder(self._blobs.temporary)
            path = os.path.join(self._folder.path, sha256)
            handle = self._handles[sha256] = self._blobs.os.open(path, FLAGS, 0o644)
            try:
                for start in range(0, source.size, PIECE):
                    view = memoryview(source.read(start, min(PIECE, source.size - start)))
                    while view:
                        view = view[self._blobs.os.write(handle, view) :]
            except BaseException:
                self._let_go(sha256, forget=False)
                raise
            if len(self._handles) > self._kept:
                self._let_go(sha256, forget=False)
        self._waiting[sha256] = path

    def publish(self) -> dict[str, RegistryError]:
        """Bring everything to the disk and give it its names; what could not be, under its sha256."""
        if not self._waiting:
            return {}
        lost: dict[str, RegistryError] = {}
        together = len(self._waiting) > self._few and flush_together({self._blobs.temporary})
        folders = set()
        for sha256, path in self._waiting.items():
            try:
                self._let_go(sha256, forget=together)
                if not together:
                    self._flush(path)
                self._blobs.publish(path, sha256, move=True)
                folders.add(os.path.dirname(self._blobs.path(sha256)))
            except OSError as exc:
                lost[sha256] = trouble(exc)
        if not (together and flush_together({self._blobs.root})):
            self._flush_names(folders, lost)
        return lost

    def _let_go(self, sha256: str, *, forget: bool) -> None:
        """Close what is open still; what is on the disk leaves the memory to others."""
        handle = self._handles.pop(sha256, None)
        if handle is not None:
            if forget:
                forget_pages(handle)
            self._blobs.os.close(handle)

    def _flush(self, path: str) -> None:
        handle = self._blobs.os.open(path, os.O_RDWR)
        try:
            self._blobs.os.fsync(handle)
        finally:
            self._blobs.os.close(handle)

    def _flush_names(self, folders: set[str], lost: dict[str, RegistryError]) -> None:
        for folder in folders:
            try:
                self._blobs.flush_folder(folder)
            except OSError as exc:
                lost |= {sha256: trouble(exc) for sha256 in self._waiting if os.path.dirname(self._blobs.path(sha256)) == folder}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for sha256 in list(self._handles):
            with contextlib.suppress(OSError):
                self._let_go(sha256, forget=False)
        if self._folder is not None:
            self._folder.discard()
