"""Temporary files that are known to be somebody's: each is locked while its writer lives, so that what a dead one left can go."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import Any

FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)


class Temporary:
    """A file nobody else has: no other thread, process or machine. `there`: it still has its temporary name."""

    def __init__(self, path: str, handle: int, system: Any) -> None:
        self.path, self.handle, self.there = path, handle, True
        self._os = system

    def discard(self) -> None:
        """Close it and take its temporary name away."""
        with contextlib.suppress(OSError):
            if self.there and os.name != "nt":  # while it is still locked
                self._os.unlink(self.path)
        with contextlib.suppress(OSError):
            os.close(self.handle)
        with contextlib.suppress(OSError):
            if self.there and os.name == "nt":  # which removes no open file
                self._os.unlink(self.path)
        self.there = False


def name_of_mine() -> str:
    """A name that tells the process, for people who look."""
    return f"{os.getpid()}-{os.urandom(8).hex()}"


def make_temporary(folder: str, system: Any = os) -> Temporary:
    """A new file in `folder`, which is made if need be, locked until it is discarded or the process ends."""
    while True:
        path = os.path.join(folder, name_of_mine())
        try:
            handle = system.open(path, FLAGS, 0o644)
        except FileNotFoundError:
            system.makedirs(folder, exist_ok=True)
            continue
        if lock(handle) and os.fstat(handle).st_nlink != 0:  # else a sweep came between opening and locking
            return Temporary(path, handle, system)
        os.close(handle)


class TemporaryFolder:
    """A locked folder for many temporary files of one writer: one lock for all of them."""

    def __init__(self, parent: str, prefix: str = "") -> None:
        while True:
            self.path = os.path.join(parent, prefix + name_of_mine())
            os.makedirs(self.path)
            try:
                self._handle = os.open(self.path, os.O_RDONLY) if os.name != "nt" else None
            except FileNotFoundError:
                continue  # a sweep took it for a dead one's
            if self._handle is None or (lock(self._handle) and os.path.isdir(self.path)):
                return
            os.close(self._handle)

    def discard(self) -> None:
        """Take it away with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._handle is not None:
            os.close(self._handle)


def lock(handle: int) -> bool:
    """Lock an open file or folder for as long as it is open; False where somebody else has. True where a system has no such locks."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # some network file systems know none
    return True


def sweep_temporaries(folder: str, prefix: str = "") -> int:
    """Remove every temporary file and folder whose writer is dead; how many that were. With a `prefix` only folders called so."""
    swept = 0
    with contextlib.suppress(OSError if prefix else FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if prefix and not (entry.name.startswith(prefix) and entry.is_dir(follow_symlinks=False)):
                continue
            with contextlib.suppress(OSError):
                swept += _abandoned(entry)
    return swept


def _abandoned(entry: os.DirEntry[str]) -> bool:
    """Remove one where its lock is free; Windows itself lets nobody remove what is open."""
    is_folder = entry.is_dir(follow_symlinks=False)
    if os.name == "nt" or entry.is_symlink():
        if is_folder:
            return False  # a folder is not locked there: an older one is removed by hand
        os.unlink(entry.path)
        return True
    handle = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | getattr(os, "O_NONBLOCK", 0))
    try:
        if not lock(handle):
            return False
        shutil.rmtree(entry.path) if is_folder else os.unlink(entry.path)
        return True
    finally:
        os.close(handle)
