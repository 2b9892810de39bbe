"""Weights from .safetensors files into a module that was made without any: all of them, in their shapes, finite, or an error."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

import torch
from safetensors import SafetensorError, safe_open

from ..render_errors import BadCheckpoint
from .headers import header_of

if TYPE_CHECKING:
    from .ldm import Place, Places

SHOWN = 3  # names in an error
OTHER_BUILD = "If it is built in its own way, give the folder of its configurations: embconv checkpoints add FILE --config DIR"


class Weights:
    """The tensors of one or several open files; `used` are the names that were taken."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.path = paths[0]
        self._stack = contextlib.ExitStack()
        self._files: dict[str, Any] = {}
        for path in paths:
            names = header_of(path).tensors  # ours is strict, and limits the header
            try:
                file = self._stack.enter_context(safe_open(path, "pt", device="cpu"))
            except (SafetensorError, OSError) as exc:
                self._stack.close()
                raise BadCheckpoint(path, f"cannot be read: {exc}") from exc
            self._files |= dict.fromkeys(names, file)
        self.used: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def find(self, places: Iterator[Place]) -> torch.Tensor | None:
        """The first of `places` that is here."""
        place = next((place for place in places if place.name in self._files), None)
        if place is None:
            return None
        self.used.add(place.name)
        tensor: torch.Tensor = self._files[place.name].get_tensor(place.name)
        if place.turned:
            tensor = tensor.T
        return tensor if place.third is None else tensor.chunk(3)[place.third] if len(tensor) % 3 == 0 else tensor

    def unused(self, prefix: str) -> list[str]:
        """Names that begin so and were not taken."""
        return sorted(name for name in self._files if name.startswith(prefix) and name not in self.used)


def fill(module: Any, weights: Weights, places: Places, what: str, *, device: torch.device, dtype: torch.dtype) -> None:
    """Give a module on `meta` its weights."""
    found: dict[str, torch.Tensor] = {}
    missing: list[str] = []
    for name, slot in module.state_dict().items():
        tensor = weights.find(places(name))
        if tensor is None:
            missing.append(next(places(name)).name)
            continue
        shaped = in_shape(tensor, slot.shape)
        if shaped is None:
            sizes = " x ".join(map(str, tensor.shape)), " x ".join(map(str, slot.shape))
            raise BadCheckpoint(weights.path, f"has a {what} in which {name} is {sizes[0]}, not {sizes[1]}", OTHER_BUILD)
        # A copy always: what the file gives is a window on it, and a file may be cut while it is used.
        found[name] = shaped.to(device=device, dtype=dtype, copy=True, memory_format=torch.contiguous_format)
    if missing:
        raise BadCheckpoint(weights.path, f"has no whole {what}: {listed(missing)} missing", OTHER_BUILD)
    must_be_finite(weights.path, what, found, dtype)
    module.load_state_dict(found, strict=True, assign=True)
    positions(module, device)
    module.requires_grad_(requires_grad=False).eval()


def in_shape(tensor: torch.Tensor, wanted: torch.Size) -> torch.Tensor | None:
    """As it is, or between a matrix and a convolution of one pixel: the same numbers; None where neither."""
    if tensor.shape == wanted:
        return tensor
    longer, shorter = sorted((tuple(tensor.shape), tuple(wanted)), key=len, reverse=True)
    same = longer[: len(shorter)] == shorter and set(longer[len(shorter) :]) == {1}
    return tensor.reshape(wanted) if same else None


def must_be_finite(path: str, what: str, found: dict[str, torch.Tensor], dtype: torch.dtype) -> None:
    """BadCheckpoint for NaN and infinity."""
    if not bool(torch.stack([torch.isfinite(tensor).all() for tensor in found.values()]).all()):
        bad = [name for name, tensor in found.items() if not bool(torch.isfinite(tensor).all())]
        raise BadCheckpoint(path, f"has NaN or infinity in its {what} (as {str(dtype).removeprefix('torch.')}): {listed(bad, '')}")


def listed(names: list[str], ends: str = " is") -> str:
    """The first names, and how many there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "") + ((" are" if len(names) > 1 else ends) if ends else "")


def positions(module: Any, device: torch.device) -> None:
    """CLIP counts its positions in a buffer that no file has."""
    for name, buffer in list(module.named_buffers()):
        if buffer.is_meta:
            owner, _, last = name.rpartition(".")
            assert last == "position_ids", name
            counted = torch.arange(buffer.shape[-1], device=device).expand((1, -1))
            module.get_submodule(owner).register_buffer(last, counted, persistent=False)
