"""The device: which, in which precision, how many rows at once, and what its exceptions mean."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary, WeakSet

import torch
from platformdirs import user_cache_dir

from ..render_errors import DeviceFailed, DeviceFull, NoDevice

if TYPE_CHECKING:
    from .parts import Model

T = TypeVar("T")

# Base -> rows of its UNet that fill a large GPU at 64 x 64 latents; larger pictures get fewer of them.
ROWS = {"sd1": 32, "sd2": 32, "sdxl": 64}
ROWS_CPU = 32        # at 8 x 8 latents, for which a call costs more than its rows; a real picture fills a CPU by itself
LEAST, MOST = 2, 64  # a picture with guidance takes two
THREADS = torch.get_num_threads()
WORTH_WAKING = 1_000_000_000  # parameters x latent positions of a call; measured, with two threads, between 0.8 and 1.8 thousand million

COMPILED: WeakSet[Any] = WeakSet()  # UNets
LEARNED: WeakKeyDictionary[Any, dict[tuple[int, int], int]] = WeakKeyDictionary()  # module -> size -> rows that fitted after others had not

# What the libraries say where memory has run out, which is not always an OutOfMemoryError.
FULL = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed", "invalid buffer size", "failed to allocate")
FAILED = ("cuda error", "cublas_status", "cudnn_status", "cudnn error", "cusolver", "hip error", "device-side assert", "mps backend")


def device_of(name: str | None = None) -> torch.device:
    """The device of that name; without one the first of cuda, mps and cpu that there is."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as exc:
        raise NoDevice(name, "the devices are cuda, cuda:1 and so on, mps and cpu") from exc
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise NoDevice(name, "PyTorch finds no such GPU here")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise NoDevice(name, "PyTorch finds no Metal here")
    if device.type not in {"cuda", "mps", "cpu"}:
        raise NoDevice(name, "the devices are cuda, cuda:1 and so on, mps and cpu")
    return device


def dtype_for(device: torch.device) -> torch.dtype:
    """The precision of the UNet and the VAE: bfloat16, which does not overflow, on a GPU that computes with it."""
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16


def use_threads(unet: Any) -> None:
    """On the CPU: one thread for a UNet so small that its layers are done before another has woken, all for any other.

    It depends on the model alone, and not on what is drawn, since sums differ in their last bits between numbers of threads.
    """
    side = unet.config.sample_size
    positions = side * side if isinstance(side, int) else WORTH_WAKING
    parameters = sum(each.numel() for each in unet.parameters())
    torch.set_num_threads(THREADS if parameters * positions >= WORTH_WAKING else 1)


def deterministic() -> None:
    """The same question gets the same answer: no algorithm is chosen by timing, and float32 is float32."""
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def made_with(model: Model) -> dict[str, str]:
    """What a result depends on beside its question: versions, device, precision."""
    made = {**versions(), "device": device_name(model.device), "dtype": str(model.dtype).removeprefix("torch.")}
    if model.device.type == "cuda":
        cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]  # torch says nothing of it
        made |= {"cuda": str(torch.version.cuda), "cudnn": str(cudnn)}
    return made


@cache
def versions() -> dict[str, str]:
    """Of the libraries that compute."""
    return {name: metadata.version(name) for name in ("torch", "diffusers", "transformers")}


def device_name(device: torch.device) -> str:
    """As its maker calls it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} {platform.machine()}"


def rows_for(model: Model, width: int, height: int) -> int:
    """How many rows share a call of the UNet. It hangs on nothing that changes from day to day, since the last bits hang on it."""
    area = max(1, (width // model.factor) * (height // model.factor))
    most = ROWS_CPU * 8 * 8 // area if model.device.type == "cpu" else ROWS[model.base] * 64 * 64 // area
    return max(LEAST, min(MOST, most // 2 * 2))


def is_out_of_memory(exc: BaseException) -> bool:
    """Fewer rows may fit."""
    if isinstance(exc, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(exc, RuntimeError) and any(word in str(exc).lower() for word in FULL)


def is_device_failure(exc: BaseException) -> bool:
    """Nothing works on the device any more in this process."""
    if is_out_of_memory(exc):
        return False
    broken = getattr(torch, "AcceleratorError", ())  # since torch 2.8; a RuntimeError before
    return isinstance(exc, broken) or (isinstance(exc, RuntimeError) and any(word in str(exc).lower() for word in FAILED))


@contextmanager
def failures(device: torch.device) -> Iterator[None]:
    """A failure of the device becomes DeviceFailed."""
    try:
        yield
    except RuntimeError as exc:
        if is_device_failure(exc):
            raise DeviceFailed(device_name_or_type(device), str(exc).splitlines()[0]) from exc
        raise


def device_name_or_type(device: torch.device) -> str:
    """Its name; a broken device may not tell it any more."""
    try:
        return device_name(device)
    except RuntimeError:
        return str(device)


@dataclass
class Room:
    """How many rows fit at once. It halves where memory runs out, and stays so: `learned` outlives it."""

    rows: int
    device: torch.device
    width: int
    height: int
    learned: dict[tuple[int, int], int] = field(default_factory=dict)

    def halve(self) -> None:
        if self.rows <= 1:
            raise DeviceFull(device_name_or_type(self.device), self.width, self.height)
        self.rows //= 2
        self.learned[self.width, self.height] = self.rows
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def room_for(module: Any, device: torch.device, width: int, height: int, rows: int) -> Room:
    """Room for so many rows of a module, or for as many as have fitted before; and the device made ready."""
    deterministic()
    learned = LEARNED.setdefault(module, {})
    return Room(min(rows, learned.get((width, height), rows)), device, width, height, learned)


def spread(room: Room, run: Callable[..., torch.Tensor], *inputs: torch.Tensor | None) -> torch.Tensor:
    """What `run` makes of rows, always `room.rows` at a time, filled up with zeros: in one shape a row's bits are its own."""
    count = next(each.shape[0] for each in inputs if each is not None)
    made: list[torch.Tensor] = []
    done = 0
    while done < count:
        rows = room.rows
        out = attempt(room, at_place, run, inputs, done, rows)
        if out is not None:
            made.append(out[: count - done])
            done += rows
    return made[0] if len(made) == 1 else torch.cat(made)


def at_place(run: Callable[..., torch.Tensor], inputs: Sequence[torch.Tensor | None], first: int, rows: int) -> torch.Tensor:
    """What `run` makes of so many rows from one on."""
    return run(*(None if each is None else filled(each[first : first + rows], rows) for each in inputs))


def attempt(room: Room, work: Callable[..., T], *arguments: Any) -> T | None:
    """One call; None where memory ran out, and the room is smaller then. DeviceFull where it was for one row alone."""
    with failures(room.device):
        try:
            return work(*arguments)
        except (RuntimeError, MemoryError) as exc:
            if not is_out_of_memory(exc):
                raise
    room.halve()  # here, where the exception no longer holds the memory
    return None


def precise(numbers: torch.Tensor) -> torch.Tensor:
    """The same in float64, on the CPU where the device has none."""
    return (numbers.cpu() if numbers.device.type == "mps" else numbers).double()


def filled(rows: torch.Tensor, count: int) -> torch.Tensor:
    """As many rows as `count`, the missing ones zeros."""
    if rows.shape[0] == count:
        return rows
    return torch.cat([rows, rows.new_zeros(count - rows.shape[0], *rows.shape[1:])])


@contextmanager
def in_float32(module: Any, device: torch.device, width: int, height: int) -> Iterator[None]:
    """The module computes in float32, uncompiled. What it was comes back to the bit: float32 holds every number of the shorter ones."""
    before = module.dtype
    try:
        with fits(device, width, height):
            torch.nn.Module.to(module, torch.float32)  # diffusers' own `to` warns of modules that it wants in float32
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        torch.nn.Module.to(module, before)


@contextmanager
def fits(device: torch.device, width: int, height: int) -> Iterator[None]:
    """Memory that runs out inside is DeviceFull: here is nothing to halve."""
    try:
        yield
    except (RuntimeError, MemoryError) as exc:
        if is_out_of_memory(exc):
            raise DeviceFull(device_name_or_type(device), width, height) from exc
        raise


def compile_unet(model: Model) -> None:
    """From now on the UNet is compiled at its first call in a shape: all of it, or with SDXL its repeated blocks, which takes seconds."""
    if model.unet in COMPILED:
        return
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", os.path.join(user_cache_dir("embconv"), "inductor"))
    if model.base == "sdxl":
        model.unet.compile_repeated_blocks(fullgraph=True, dynamic=False)
    else:
        model.unet.compile(dynamic=False)
    COMPILED.add(model.unet)


def call_unet(model: Model, *inputs: torch.Tensor, **more: Any) -> torch.Tensor:
    """The UNet's prediction in float32. Where it cannot be compiled it goes on uncompiled, to the end of the process."""
    try:
        found: torch.Tensor = model.unet(*inputs, **more, return_dict=False)[0]
    except Exception as exc:  # a compiler fails with whatever it likes
        if model.unet not in COMPILED or is_out_of_memory(exc) or is_device_failure(exc):
            raise
        why = " ".join(str(exc).splitlines()[:2]) or type(exc).__name__
        logging.getLogger(__name__).warning("The UNet cannot be compiled and runs as it is: %s", why)
        torch.compiler.set_stance("force_eager")
        COMPILED.discard(model.unet)
        found = model.unet(*inputs, **more, return_dict=False)[0]
    return found.float()
