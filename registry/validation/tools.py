"""What a worker works with: a checkpoint comes into memory, an embedding becomes a subject, subjects are judged. Tests bring their own."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from . import extra

if TYPE_CHECKING:
    from embconv.converters import Embedding

    from .. import verdicts
    from ..model import Entry, FileEntry


class Tools(Protocol):
    """A model and a subject are whatever `judge` takes."""

    def load(self, checkpoint: verdicts.Checkpoint) -> Any:
        """The checkpoint in memory, proven sound. Raises BadCheckpoint, UnsoundCheckpoint, DeviceFull, DeviceFailed."""
        ...

    def subject(self, embedding: Embedding, entry: Entry, file: FileEntry) -> Any:
        """An embedding of the registry, out of one of its files."""
        ...

    def judge(
        self, model: Any, subjects: Sequence[Any], protocol: verdicts.Protocol, calibration: verdicts.Calibration | None
    ) -> Generator[verdicts.Judged, None, None]:
        """Each as soon as it is known."""
        ...

    def broken(self, exc: BaseException) -> bool:
        """Is the device at fault, so that the process has to begin anew?"""
        ...


class Torch:
    """The real ones. MissingExtra where the libraries are not here, NoDevice where the device is not."""

    def __init__(self, device: str | None = None, *, compiled: bool = False) -> None:
        extra.need()
        with extra.uncollected():
            from . import judge, loading, selftest  # noqa: F401  # so that a fault in them is known before any job is leased
        from .engine import device_of

        self._device, self._compiled = device_of(device), compiled

    def load(self, checkpoint: verdicts.Checkpoint) -> Any:
        from .engine import dtype_for
        from .loading import load
        from .selftest import must_be_sound

        model = load(checkpoint, device=self._device, dtype=dtype_for(self._device))
        must_be_sound(model)
        return model

    def subject(self, embedding: Embedding, entry: Entry, file: FileEntry) -> Any:
        from .judge import subject

        hints = (*entry.tags, *entry.names.get("file_stem", ()))
        short = file.hashes.get("a1111_shorthash", "")
        # its own trigger: that of a blob, whose name is a hash, would be the hash
        return subject(embedding, entry.digest, role=entry.role, base=entry.base, name=entry.name, trigger=entry.trigger, hints=hints,
                       shorthash=short)  # fmt: skip

    def judge(
        self, model: Any, subjects: Sequence[Any], protocol: verdicts.Protocol, calibration: verdicts.Calibration | None
    ) -> Generator[verdicts.Judged, None, None]:
        from .judge import judge

        yield from judge(model, subjects, protocol, calibration=calibration, compiled=self._compiled)

    def broken(self, exc: BaseException) -> bool:
        from .engine import is_device_failure, is_out_of_memory

        return is_device_failure(exc) or is_out_of_memory(exc)
