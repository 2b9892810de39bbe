"""Many files brought to the disk together: written and proven some at a time, flushed once, then given their names.

Those that have to have a name before lie in a hidden folder beside their targets, which is locked while its writer lives, so
that what a killed one left can be told and swept away.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable
from functools import cache
from threading import Thread
from types import TracebackType
from typing import TYPE_CHECKING, Self

from .errors import CannotWrite, EmbconvError, TargetExists, bare
from .in_step import BYTES, FILES
from .paths import folder_of
from .write import (
    Written,
    discard,
    flush,
    flush_folder,
    prove_unnamed,
    publish,
    publish_unnamed,
    stage,
    write_unnamed,
)  # fmt: skip

if TYPE_CHECKING:
    from .locks import TemporaryFolder

HIDDEN = ".embconv-"  # how the folders begin in which files wait
FEW = 4  # files that are flushed one by one


class Staging:
    """Temporary files that become real all at once, or vanish."""

    def __init__(self) -> None:
        self._wanted: dict[str, tuple[Written, bool]] = {}
        self._size = 0  # bytes of those
        self._lost: dict[str | None, EmbconvError] = {}
        self._waiting: dict[str, tuple[str, bool]] = {}
        self._unproven: dict[str, int] = {}
        self._unnamed: dict[str, int] = {}
        self._begun: dict[str, TemporaryFolder] = {}
        self._folders: set[str] = set()
        self._systems: dict[int | None, int | None] = {}  # their file systems, open since before the first write, to hear of each error
        self._flushing: Flushing | None = None

    def put(self, written: Written, path: str, overwrite: bool) -> None:
        """Write and prove a file; it gets its name by `publish`. TargetExists if one of the same name waits already."""
        self.put_soon(written, path, overwrite)
        self.catch_up()
        if error := self._lost.pop(path, None):
            raise error

    def put_soon(self, written: Written, path: str, overwrite: bool) -> None:
        """`put` in step with others, which takes less time; what could not be is told by `publish`, and its path is not put again."""
        assert self._flushing is None, "what is put after the flush began would not be flushed"
        if any(path in places for places in (self._wanted, self._waiting, self._unnamed, self._lost)):
            raise TargetExists(path)
        folder = folder_of(path)
        if folder not in self._folders:
            make_folder(folder)
            self._reach(folder)
        self._wanted[path] = written, overwrite
        self._size += len(written.data)
        if len(self._wanted) >= FILES or self._size >= BYTES:
            self.catch_up()

    def catch_up(self) -> None:
        """Write all that was put, then prove all of it."""
        wanted, self._wanted, self._size = self._wanted, {}, 0
        for path, (written, overwrite) in wanted.items():
            self._attempt(self._write, path, written, overwrite)
        for path in list(self._unproven):
            self._attempt(self._prove, path, wanted[path][0])

    def _attempt(self, work: Callable[..., None], path: str, *given: object) -> None:
        """What goes wrong is told by `publish`, and touches no other."""
        try:
            work(path, *given)
        except EmbconvError as exc:
            self._lost[path] = bare(exc)
        except (OSError, RecursionError, UnicodeError) as exc:
            self._lost[path] = CannotWrite(path, getattr(exc, "strerror", None) or str(exc))

    def _write(self, path: str, written: Written, overwrite: bool) -> None:
        """Write it; where it needs a name, prove it too."""
        folder = folder_of(path)
        handle = None if overwrite or len(self._unnamed) + len(self._unproven) >= handles_kept() else write_unnamed(written, path, folder)
        if handle is not None:
            self._unproven[path] = handle
            return
        temporary = self.temporary(folder)
        try:
            stage(written, temporary, path, overwrite=overwrite)
        except BaseException:
            discard(temporary)
            raise
        self._waiting[path] = (temporary, overwrite)

    def _prove(self, path: str, written: Written) -> None:
        """Prove what has no name; what is not equal is thrown away at once, for the disk may be full."""
        handle = self._unproven.pop(path)
        try:
            prove_unnamed(written, handle, path)
        except BaseException:
            os.close(handle)
            raise
        self._unnamed[path] = handle

    def _reach(self, folder: str) -> None:
        self._folders.add(folder)
        handle = opened(folder)
        system = None if handle is None else os.fstat(handle).st_dev
        if system not in self._systems:
            self._systems[system] = handle
        elif handle is not None:
            os.close(handle)

    def temporary(self, folder: str) -> str:
        """A name for a file that is to be moved into `folder`. What a killed writer left there is swept away first."""
        from .locks import TemporaryFolder  # for some files only

        if folder not in self._begun:
            sweep(folder)
            try:
                self._begun[folder] = TemporaryFolder(folder, HIDDEN)
            except OSError as exc:
                raise CannotWrite(folder, exc.strerror or str(exc)) from exc
        return os.path.join(self._begun[folder].path, os.urandom(8).hex())

    def flush_meanwhile(self) -> None:
        """Begin to bring everything to the disk in a thread of its own; `publish` waits for it."""
        self.catch_up()
        if len(self._waiting) + len(self._unnamed) > FEW:
            self._flushing = Flushing(self._systems.values())

    def publish(self) -> dict[str | None, EmbconvError]:
        """Flush everything, rename, and flush that; what could not be is returned under its path."""
        lost = self.give_names()
        self.settle()
        return lost

    def give_names(self) -> dict[str | None, EmbconvError]:
        """The first part of `publish`: flush everything and rename."""
        if self._flushing is None:
            self.flush_meanwhile()
        flushed, lost = self.flushed(), self._lost
        for path in list(self._unnamed):
            handle = self._unnamed.pop(path)
            try:
                if flushed:
                    forget_pages(handle)
                else:
                    os.fsync(handle)
                publish_unnamed(handle, path)
            except OSError as exc:
                lost[path] = CannotWrite(path, exc.strerror or str(exc))
            except EmbconvError as exc:
                lost[path] = bare(exc)
            finally:
                os.close(handle)
        for path, (temporary, overwrite) in self._waiting.items():
            try:
                if not flushed:
                    flush(temporary, path)
                publish(temporary, path, overwrite=overwrite)
            except EmbconvError as exc:
                lost[path] = bare(exc)
        return lost

    def settle(self, later: Staging | None = None) -> None:
        """The last part of `publish`: bring the names to the disk, unless `later`, flushed after they were given, has done so."""
        if later is None or not later.flushed() or not self._systems.keys() <= later._systems.keys():
            for folder in self._folders:
                flush_folder(folder)

    def flushed(self) -> bool:
        """Is everything on the disk that was in these folders when the flush began? Waits for it."""
        return self._flushing is not None and self._flushing.done()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.discard()

    def discard(self) -> None:
        """Let go of what has no name of its own; what has one keeps it."""
        for handles in (self._unproven, self._unnamed):
            for handle in handles.values():
                os.close(handle)
            handles.clear()
        for begun in self._begun.values():
            begun.discard()
        self._begun.clear()
        if self._flushing:
            self._flushing.done()
        for system in self._systems.values():
            if system is not None:
                os.close(system)
        self._systems.clear()


class Flushing(Thread):
    """File systems, each by a handle, that bring everything to the disk."""

    def __init__(self, systems: Iterable[int | None]) -> None:
        super().__init__(daemon=True)
        self._systems, self._flushed = list(systems), False
        try:
            self.start()
        except RuntimeError:  # there may be no more threads
            self.run()

    def run(self) -> None:
        """What the thread does."""
        self._flushed = all(handle is not None and sync_file_system(handle) for handle in self._systems)

    def done(self) -> bool:
        """Wait for it: is everything there?"""
        if self.ident is not None:
            self.join()
        return self._flushed


def sweep(folder: str) -> None:
    """Remove what writers that were killed have begun in `folder`."""
    from .locks import sweep_temporaries  # seldom needed

    sweep_temporaries(folder, HIDDEN)


def make_folder(folder: str) -> None:
    """The folder with its parents, if it is not there."""
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as exc:
        raise CannotWrite(folder, exc.strerror or str(exc)) from exc


def opened(folder: str) -> int | None:
    """The handle of a folder; None where the system gives none (Windows)."""
    try:
        return os.open(folder, os.O_RDONLY)
    except OSError:
        return None


def flush_together(folders: set[str]) -> bool:
    """Bring everything in these folders to the disk at once; False where the system cannot, or says that some of it failed."""
    handles = [opened(folder) for folder in folders]
    try:
        return all(handle is not None and sync_file_system(handle) for handle in handles)
    finally:
        for handle in handles:
            if handle is not None:
                os.close(handle)


def forget_pages(handle: int) -> None:
    """Let the system use the memory that holds a file which is on the disk: thousands would push out what others keep there."""
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)


@cache
def handles_kept() -> int:
    """How many files may be open until they get their names: a quarter of all that this process may open, for two wait at once."""
    try:
        from resource import RLIMIT_NOFILE, getrlimit
    except ImportError:
        return 0  # Windows, which has no files without a name
    soft = getrlimit(RLIMIT_NOFILE)[0]
    return soft // 4 if soft > 0 else 256


def sync_file_system(handle: int) -> bool:
    """syncfs(2) on the file system of an open folder; False where the C library has none or it fails."""
    if sys.platform != "linux":
        return False
    import ctypes

    try:
        failed: int = ctypes.CDLL(None, use_errno=True).syncfs(handle)
    except (AttributeError, OSError):
        return False
    return failed == 0
