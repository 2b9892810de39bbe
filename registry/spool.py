"""Files that were fetched and are not yet in the registry: they wait on the disk, where a run that comes after a killed one finds them.

Nothing is flushed: after a power cut a file may not be what its name says, and is then fetched again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterable

from . import home as where
from .blobs import trouble

NAME = re.compile(r"(-?\d{1,19})-([0-9a-f]{64})")


class Spool:
    """The files that wait, each under its number and its sha256."""

    def __init__(self, home: str) -> None:
        self._root = where.spool(home)
        self._found = dict(self._listed())

    def _listed(self) -> list[tuple[int, str]]:
        try:
            names = os.listdir(self._root)
        except OSError:
            return []
        found = []
        for name in names:
            if match := NAME.fullmatch(name):
                found.append((int(match[1]), match[2]))
            else:
                self.drop(os.path.join(self._root, name))
        return found

    @property
    def numbers(self) -> set[int]:
        """Those whose bytes have waited since a run before this."""
        return set(self._found)

    def drop_all(self, numbers: Iterable[int]) -> None:
        """Nobody wants these: they were taken in, and a kill came before they were dropped."""
        for number in numbers:
            self.drop(self._path(number, self._found.pop(number)))

    def take(self, number: int, sha256: str | None) -> str | None:
        """Where the bytes wait that have a number, where they are those that are wanted now; their sha256 follows the last dash."""
        known = self._found.pop(number, None)
        if known is None:
            return None
        path = self._path(number, known)
        with contextlib.suppress(OSError), open(path, "rb") as file:
            if sha256 in (None, known) and hashlib.file_digest(file, "sha256").hexdigest() == known:
                return path
        self.drop(path)
        return None

    def put(self, number: int, sha256: str, data: bytes) -> str:
        """Let bytes wait: where."""
        path = self._path(number, sha256)
        temporary = f"{path}.{os.getpid()}"
        try:
            try:
                file = open(temporary, "wb")  # noqa: SIM115  # it is closed below, wherever it was opened
            except FileNotFoundError:
                os.makedirs(self._root, exist_ok=True)
                file = open(temporary, "wb")  # noqa: SIM115  # as above
            with file:
                file.write(data)
            os.replace(temporary, path)
        except OSError as exc:
            raise trouble(exc) from exc
        return path

    def adopt(self, number: int, sha256: str, path: str) -> str:
        """Let a file wait that lies elsewhere on the same disk: where."""
        place = self._path(number, sha256)
        try:
            os.makedirs(self._root, exist_ok=True)
            os.replace(path, place)
        except OSError as exc:
            raise trouble(exc) from exc
        return place

    def drop(self, path: str) -> None:
        """They are in the registry now, or nobody wants them."""
        with contextlib.suppress(OSError):
            os.unlink(path)

    def _path(self, number: int, sha256: str) -> str:
        return os.path.join(self._root, f"{number}-{sha256}")
