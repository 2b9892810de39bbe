"""Converted forms, kept so that they need not be made again: bounded, shared by processes, and safe to lose."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from typing import IO

from embconv.converters.locks import make_temporary, sweep_temporaries

from . import home as where

KEY = re.compile(r"[a-z0-9._-]{1,200}")


class Cache:
    """Files under `home`/cache, at most `limit` bytes of them; those that were not asked for the longest go first."""

    def __init__(self, home: str, limit: int) -> None:
        self.root = where.cache(home)
        self.temporary = os.path.join(self.root, "tmp")
        self.limit = limit
        self._lock = threading.Lock()
        self._size = -1  # of all files when they were last counted, and what this process has added since

    def path(self, digest: str, form: str) -> str:
        """Where a form lies. `digest` may have emb: before it; `form` is a word."""
        name = f"{digest.removeprefix('emb:')}.{form}"
        if not KEY.fullmatch(name) or name.startswith("."):
            raise ValueError(f"no key of a cache: {name!r}")
        return os.path.join(self.root, name[:2], name)

    def get(self, digest: str, form: str) -> IO[bytes] | None:
        """The form, open, or None. Being asked for makes it young again."""
        path = self.path(digest, form)
        try:
            file = open(path, "rb")  # noqa: SIM115  # the caller closes it
        except OSError:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return file

    def put(self, digest: str, form: str, data: bytes) -> None:
        """Keep a form, whole or not at all. A disk that does not take it is no error: it is made again then."""
        if len(data) > self.limit:
            return
        path = self.path(digest, form)
        with contextlib.suppress(OSError):
            temporary = make_temporary(self.temporary)
            try:
                with os.fdopen(os.dup(temporary.handle), "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(temporary.handle)  # else a power cut could leave the name without the bytes
                os.makedirs(os.path.dirname(path), exist_ok=True)
                os.replace(temporary.path, path)
                temporary.there = False
            finally:
                temporary.discard()
            self._bound(len(data))

    def sweep(self) -> int:
        """Remove temporary files of dead writers, and what passes the limit."""
        self._bound(self.limit)
        return sweep_temporaries(self.temporary)

    def _bound(self, added: int) -> None:
        """Count when what is known to be there passes the limit, and remove the oldest down to seven eighths of it."""
        with self._lock:
            self._size = self._size + added if self._size >= 0 else self.limit + 1
            if self._size <= self.limit:
                return
            files = sorted(self._files())
            self._size = sum(size for _, size, _ in files)
            for _, size, path in files if self._size > self.limit else ():
                if self._size <= self.limit - self.limit // 8:
                    break
                with contextlib.suppress(OSError):
                    os.unlink(path)
                self._size -= size

    def _files(self) -> list[tuple[int, int, str]]:
        """(time of last use, size, path) of every form."""
        found = []
        for folder in _entries(self.root):
            if folder.name == "tmp":
                continue
            for entry in _entries(folder.path):
                with contextlib.suppress(OSError):
                    facts = entry.stat()
                    found.append((facts.st_mtime_ns, facts.st_size, entry.path))
        return found


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError:
        return []
