"""The only module that knows where bytes lie: each file once, under its sha256, whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
from collections.abc import Iterator
from io import BufferedReader
from types import TracebackType
from typing import Any, Self

from embconv.converters.locks import Temporary, make_temporary, sweep_temporaries

from . import home as where
from .errors import RegistryError, StorageFailed, StorageFull, UnknownFile

SHA256 = re.compile(r"[0-9a-f]{64}")
PIECE = 1 << 20
FULL = {errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC}
NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS, errno.EXDEV, errno.EACCES}  # of file systems without hard links


class Blobs:
    """The bytes of a registry, under `home`/blobs. `system` stands for the module os: tests make its calls fail."""

    def __init__(self, home: str, *, system: Any = os) -> None:
        self.root = os.path.join(where.blobs(home), "sha256")
        self.temporary = os.path.join(where.blobs(home), "tmp")
        self.os = system

    def path(self, sha256: str) -> str:
        """Where a blob lies. Nothing but 64 hex digits ever becomes part of a path."""
        if not SHA256.fullmatch(sha256):
            raise UnknownFile(sha256)
        return os.path.join(self.root, sha256[:2], sha256)

    def put(self, data: bytes) -> str:
        """Keep these bytes; their sha256, once they are on the disk."""
        with self.writer() as writer:
            writer.write(data)
            return writer.keep()

    def writer(self) -> Writer:
        """A place for bytes that come piece by piece."""
        return Writer(self)

    def open(self, sha256: str) -> BufferedReader:
        """The bytes, to be read. UnknownFile where there are none."""
        try:
            return open(self.path(sha256), "rb")
        except FileNotFoundError:
            raise UnknownFile(sha256) from None
        except OSError as exc:
            raise trouble(exc) from exc

    def read(self, sha256: str) -> bytes:
        """All bytes at once."""
        with self.open(sha256) as file, failing():
            return file.read()

    def size(self, sha256: str) -> int:
        try:
            return os.stat(self.path(sha256)).st_size
        except FileNotFoundError:
            raise UnknownFile(sha256) from None
        except OSError as exc:
            raise trouble(exc) from exc

    def has(self, sha256: str) -> bool:
        """Are these bytes here? StorageFailed where the disk does not say."""
        try:
            self.os.stat(self.path(sha256))
        except FileNotFoundError:
            return False
        except OSError as exc:
            raise trouble(exc) from exc
        return True

    def remove(self, sha256: str) -> None:
        """Take the bytes away. Only within a write of the store that has made sure that no row names them."""
        with failing(), contextlib.suppress(FileNotFoundError):
            self.os.unlink(self.path(sha256))

    def set_aside(self, sha256: str) -> None:
        """Move bytes that are not what their name says out of the way, into blobs/rotten; nobody is served them again."""
        folder = os.path.join(os.path.dirname(self.root), "rotten")
        with failing(), contextlib.suppress(FileNotFoundError):
            self.os.makedirs(folder, exist_ok=True)
            self.os.replace(self.path(sha256), os.path.join(folder, sha256))

    def all(self) -> Iterator[str]:
        """The sha256 of every blob, in no order."""
        for folder in _listed(self.root):
            yield from (name for name in _listed(os.path.join(self.root, folder)) if SHA256.fullmatch(name) and name[:2] == folder)

    def sweep(self) -> int:
        """Remove what writers have left that are dead; how many. Blobs without a row are the store's to know: see ingest.sweep."""
        return sweep_temporaries(self.temporary)

    def publish(self, temporary: str, sha256: str, *, move: bool = False) -> bool:
        """Give finished bytes their name; True where the temporary name is still theirs too. The folder is to be flushed."""
        path, give = self.path(sha256), self._move if move else self._link
        try:
            return give(temporary, path)
        except FileNotFoundError:
            self._folder(os.path.dirname(path))
            return give(temporary, path)

    def _link(self, temporary: str, path: str) -> bool:
        """A second name, so that the bytes can be put again while their writer holds them; a new name where there are no links."""
        try:
            self.os.link(temporary, path)
        except FileExistsError:
            return True
        except OSError as exc:
            if exc.errno not in NO_LINKS:
                raise
            return self._move(temporary, path)
        return True

    def _move(self, temporary: str, path: str) -> bool:
        """A new name, perhaps onto the same bytes."""
        self.os.replace(temporary, path)
        return False

    def _folder(self, folder: str) -> None:
        """Make a folder for blobs, and have it outlive a power cut."""
        made = [folder]
        while not os.path.isdir(os.path.dirname(made[-1])):
            made.append(os.path.dirname(made[-1]))
        self.os.makedirs(folder, exist_ok=True)
        for each in made:
            self.flush_folder(os.path.dirname(each))

    def flush_folder(self, folder: str) -> None:
        """Bring names to the disk, where the system can (Windows cannot open a folder)."""
        if os.name == "nt":
            return
        handle = self.os.open(folder, os.O_RDONLY)
        try:
            self.os.fsync(handle)
        finally:
            self.os.close(handle)


class Writer:
    """Bytes on their way in. `keep` makes them a blob; leaving the `with` block takes the temporary file away.

    Until then `again` can put them back, should somebody have removed the same bytes meanwhile.
    """

    def __init__(self, blobs: Blobs) -> None:
        self.blobs = blobs
        self._sha = hashlib.sha256()
        self._temporary: Temporary | None = None
        self.size = 0
        self.sha256 = ""  # known after `keep`

    @property
    def path(self) -> str:
        """The temporary file, for whoever looks at the bytes before they are kept."""
        return self._opened().path

    def write(self, piece: bytes) -> None:
        """Add bytes."""
        temporary, view = self._opened(), memoryview(piece)
        self._sha.update(view)
        self.size += len(view)
        with failing():
            while view:
                view = view[self.blobs.os.write(temporary.handle, view) :]

    def digest(self) -> str:
        """The sha256 of what was written so far."""
        return self._sha.hexdigest()

    def keep(self) -> str:
        """Make the bytes a blob, on the disk before this returns; the sha256. It may be there already: that is as good."""
        temporary, self.sha256 = self._opened(), self.digest()
        with failing():
            if not self.blobs.has(self.sha256):
                self.blobs.os.fsync(temporary.handle)
                temporary.there = self.blobs.publish(temporary.path, self.sha256)
            self.blobs.flush_folder(os.path.dirname(self.blobs.path(self.sha256)))
        return self.sha256

    def again(self) -> None:
        """Make sure, within a write of the store, that the blob is still there: a removal may have come between."""
        if not self.blobs.has(self.sha256):
            self.keep()

    def discard(self) -> None:
        """Take the temporary file away."""
        if self._temporary is not None:
            self._temporary.discard()

    def _opened(self) -> Temporary:
        if self._temporary is None:
            with failing():
                self._temporary = make_temporary(self.blobs.temporary, self.blobs.os)
        return self._temporary

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.discard()


def _listed(folder: str) -> list[str]:
    """Names in a folder; none where it is not there."""
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as exc:
        raise trouble(exc) from exc


def trouble(exc: OSError) -> RegistryError:
    """An error of the disk as ours."""
    return StorageFull() if exc.errno in FULL else StorageFailed(exc.strerror or str(exc))


@contextlib.contextmanager
def failing() -> Iterator[None]:
    """The disk's errors as ours."""
    try:
        yield
    except OSError as exc:
        raise trouble(exc) from exc
