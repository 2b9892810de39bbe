"""A file or a run of bytes, read piece by piece."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from .errors import UnreadableFile
from .limits import WHOLE_READ
from .paths import name_of

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

# O_NONBLOCK: opening a named pipe must not wait for a writer. O_BINARY: Windows would change line ends.
FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


class Source:
    """Random access to the bytes of one input; small files are read once, large ones where asked.

    `name` is what messages call it; `path` is None for bytes; `size` is in bytes. Raises UnreadableFile for what is
    not there, may not be read, or is no ordinary file.
    """

    def __init__(self, source: str | os.PathLike[str] | bytes, name: str | None = None) -> None:
        self._file: int | None = None
        self._data: bytes | None = None
        if isinstance(source, bytes):
            self.path: str | None = None
            self.name, self._data, self.size = name or "<bytes>", source, len(source)
            return
        self.path = os.fspath(source)
        self.name = name or name_of(self.path) or self.path
        try:
            self._open(self.path)
        except OSError as exc:
            self.close()
            raise UnreadableFile(self.name, exc.strerror or str(exc), "Check the path and its rights.") from exc
        except BaseException:
            self.close()
            raise

    def _open(self, path: str) -> None:
        self._file = os.open(path, FLAGS)
        facts = os.fstat(self._file)
        if stat.S_ISDIR(facts.st_mode):
            raise UnreadableFile(self.name, "it is a folder", "Give a file.")
        if not stat.S_ISREG(facts.st_mode):
            raise UnreadableFile(self.name, "it is a pipe or a device", "Give an ordinary file.")
        self.size = facts.st_size
        if self.size <= WHOLE_READ:
            self._data = self._read_on(self.size)
            self.close()

    def read(self, start: int, length: int) -> bytes:
        """Exactly `length` bytes from `start`; UnreadableFile where the file is shorter."""
        if start < 0 or length < 0 or start + length > self.size:
            raise UnreadableFile(self.name, f"{length} bytes wanted at {start}, the file has {self.size}")
        if self._data is not None:
            return self._data[start : start + length]
        assert self._file is not None
        try:
            os.lseek(self._file, start, os.SEEK_SET)
            return self._read_on(length)
        except OSError as exc:
            raise UnreadableFile(self.name, exc.strerror or str(exc)) from exc

    def _read_on(self, length: int) -> bytes:
        """The next `length` bytes of the file."""
        assert self._file is not None
        parts, left = [], length
        while left:
            part = os.read(self._file, left)
            if not part:
                raise UnreadableFile(self.name, "it became shorter while it was read")
            parts.append(part)
            left -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def head(self, length: int) -> bytes:
        """The first `length` bytes, or all there are."""
        if self._data is not None:
            return self._data[:length]
        return self.read(0, min(length, self.size))

    def close(self) -> None:
        """Give the file back."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
