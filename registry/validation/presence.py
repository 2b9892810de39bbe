"""Who of the workers lives: each has a locked file of its own, so that what a dead one held is known at once and need not be waited for."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from embconv.converters.locks import lock, make_temporary, sweep_temporaries

from ..blobs import failing
from ..home import workers


class Presence:
    """A worker that lives, until it is left or its process ends. `name` is its process and a word that no other has."""

    def __init__(self, home: str) -> None:
        self._folder = workers(home)
        with failing():
            sweep_temporaries(self._folder)
            self._file = make_temporary(self._folder)
        self.name = os.path.basename(self._file.path)

    def dead(self, names: Iterable[str]) -> set[str]:
        """Those of these workers that are gone. Where a system has no locks, those that could not say farewell are taken to live."""
        return {name for name in names if name != self.name and self._is_dead(name)}

    def _is_dead(self, name: str) -> bool:
        path = os.path.join(self._folder, os.path.basename(name))
        try:
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        try:
            if os.name == "nt" or not lock(handle):
                return False
        finally:
            os.close(handle)
        with contextlib.suppress(OSError):
            os.unlink(path)
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.discard()
