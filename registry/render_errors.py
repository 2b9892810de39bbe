"""What stops a test render, as far as it is not the embedding's own fault: that is a verdict.

    RegistryError
    |-- MissingExtra         missing_extra         the libraries that render are not installed
    |-- BadCheckpoint        bad_checkpoint        a path where no checkpoint is that can be used
    |-- PickleCheckpoint     pickle_checkpoint     a checkpoint that would run code
    |-- UnsoundCheckpoint    unsound_checkpoint    a checkpoint that draws nothing by itself
    |-- UnknownCheckpoint    unknown_checkpoint    no checkpoint has that name
    |-- CheckpointExists     checkpoint_exists     another has that name
    |-- NoCheckpoint         no_checkpoint         none is known for a base
    |-- CannotRender         cannot_render         a base that nothing here can render
    |-- NoDevice             no_device             a device that this machine has not
    |-- DeviceFull           device_full           not even one picture fits into its memory
    |-- DeviceFailed         device_failed         the device broke off; the process has to begin anew
    |-- TooManyWaiting       too_many_waiting      the queue takes no more
    |-- UnknownRender        unknown_render        no picture has that id
    `-- UnknownValidation    unknown_validation    no validation has that number
"""

from __future__ import annotations

from collections.abc import Iterable

from embconv.converters.display import printable, quoted

from .errors import RegistryError, nearest

LONGEST = 600  # of what a file or a library says of itself


class MissingExtra(RegistryError):
    """The libraries that render are not installed."""

    code = "missing_extra"

    def __init__(self, module: str, why: str = "") -> None:
        state = f"which cannot be imported: {printable(why)}" if why else "which is not installed"
        super().__init__(f"Test renders need {printable(module)}, {state}.", "Install it: pip install 'embconv[render]'")


class BadCheckpoint(RegistryError):
    """A path where no checkpoint is that can be used; `why` is a clause."""

    code = "bad_checkpoint"

    def __init__(self, path: str, why: str, hint: str = "") -> None:
        usual = "Give the folder of a diffusers pipeline, or one .safetensors file of a whole SD 1.x, SD 2.x or SDXL model."
        super().__init__(f"{quoted(path)} {printable(why, LONGEST)}.", hint or usual)


class PickleCheckpoint(RegistryError):
    """A checkpoint that would run code when it is loaded."""

    code = "pickle_checkpoint"

    def __init__(self, path: str, command: str) -> None:
        super().__init__(f"{quoted(path)} is a pickle, which can run code when it is loaded; it is never opened here.", command)


class UnsoundCheckpoint(RegistryError):
    """A checkpoint that draws nothing by itself; no embedding can be judged with it."""

    code = "unsound_checkpoint"

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"The checkpoint {quoted(name)} fails its test: {why}.", f"See what it draws: embconv checkpoints check {name}")


class UnknownCheckpoint(RegistryError):
    """No checkpoint has that name."""

    code = "unknown_checkpoint"

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"There is no checkpoint {quoted(name)}.", nearest(name, known) or "List them: embconv checkpoints list")


class CheckpointExists(RegistryError):
    """Another checkpoint has that name."""

    code = "checkpoint_exists"

    def __init__(self, name: str, path: str) -> None:
        super().__init__(f"{quoted(name)} is the checkpoint {quoted(path)} already.", "Choose another name, or replace it: --force")


class NoCheckpoint(RegistryError):
    """No checkpoint is known for a base."""

    code = "no_checkpoint"

    def __init__(self, base: str) -> None:
        super().__init__(f"No checkpoint for {printable(base)} is known.", "Name one: embconv checkpoints add PATH")


class CannotRender(RegistryError):
    """A base that nothing here can render."""

    code = "cannot_render"

    def __init__(self, base: str | None, known: Iterable[str]) -> None:
        what = f"Embeddings for {printable(base)}" if base else "Embeddings whose base nobody knows"
        super().__init__(f"{what} cannot be rendered.", f"Those for {', '.join(known)} can.")


class NoDevice(RegistryError):
    """A device that this machine has not."""

    code = "no_device"

    def __init__(self, device: str, why: str) -> None:
        super().__init__(f"The device {quoted(device)} cannot be used: {printable(why)}.", "Leave --device out, or give cpu.")


class DeviceFull(RegistryError):
    """Not even one picture fits into the memory of the device."""

    code = "device_full"

    def __init__(self, device: str, width: int, height: int) -> None:
        hint = "End other programs that use it, or choose a smaller --size or another --device."
        super().__init__(f"One picture of {width} x {height} does not fit into the memory of {printable(device)}.", hint)


class DeviceFailed(RegistryError):
    """The device broke off; the process has to begin anew."""

    code = "device_failed"

    def __init__(self, device: str, why: str) -> None:
        hint = "Run it again. `embconv worker` does so by itself; what it had begun is tried in smaller groups."
        super().__init__(f"The device {printable(device)} failed: {printable(why)}.", hint)


class TooManyWaiting(RegistryError):
    """The queue of test renders takes no more."""

    code = "too_many_waiting"

    def __init__(self, most: int) -> None:
        hint = "Ask again when some are done. What does them: embconv worker"
        super().__init__(f"{most:,} test renders wait already; no more are taken.", hint)


class UnknownRender(RegistryError):
    """No picture has that id."""

    code = "unknown_render"

    def __init__(self, id: str) -> None:  # noqa: A002  # as everywhere
        super().__init__(f"There is no picture {quoted(id)}.", "The pictures of an embedding: GET /v1/embeddings/{ref}/renders")


class UnknownValidation(RegistryError):
    """No validation has that number."""

    code = "unknown_validation"

    def __init__(self, number: str) -> None:
        super().__init__(f"There is no validation {quoted(number)}.", "Ask for one: POST /v1/embeddings/{ref}/validations")
