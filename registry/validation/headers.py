"""What stands at the beginning of a file of weights, however long it is: names, shapes and texts. Pickles are refused unopened."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from embconv.converters import Contents, EmbconvError, TensorInfo
from embconv.converters.containers import safetensors
from embconv.converters.errors import UnreadableFile
from embconv.converters.numbers import as_float32
from embconv.converters.source import Source

from ..render_errors import BadCheckpoint, PickleCheckpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

T = TypeVar("T")
PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
ZIP, PROTOCOL = b"PK\x03\x04", b"\x80"  # how torch.save begins: its zip, and the pickle that it wrote before 1.6
JSON_BYTES = 1 << 22  # of a configuration; the longest real one, a tokenizer's, has 3.6 million
# torch.load with weights_only makes tensors and plain values, and refuses the rest.
CONVERT = (
    'Convert it once: python -c "import sys, torch; from safetensors.torch import save_file; '
    "w = torch.load(sys.argv[1], map_location='cpu', weights_only=True); w = w.get('state_dict', w); "
    'save_file({k: v.contiguous().clone() for k, v in w.items() if torch.is_tensor(v)}, sys.argv[2])" '
)
CONVERT_FOLDER = (
    'Convert it once: python -c "import sys; from diffusers import DiffusionPipeline as P; '
    'P.from_pretrained(sys.argv[1], use_safetensors=False, local_files_only=True).save_pretrained(sys.argv[2])" '
)


class Header(NamedTuple):
    """Of one .safetensors file: `tensors` by name, `metadata` as its writer put it there."""

    tensors: dict[str, TensorInfo]
    metadata: dict[str, str]


def header_of(path: str) -> Header:
    """The header of a file, read strictly: one that is cut, or longer than its header says, is a BadCheckpoint."""
    return within(path, lambda contents: Header(contents.outline.root, contents.outline.metadata))


def numbers_of(path: str, name: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """One small tensor of a file."""
    import numpy as np

    return within(path, lambda found: np.frombuffer(as_float32(found.fetch(found.outline.root[name])), "<f4"))


def within(path: str, take: Callable[[Contents], T]) -> T:
    """What `take` finds in a .safetensors file; what is wrong with it is a BadCheckpoint or a PickleCheckpoint."""
    try:
        with Source(path) as source:
            must_be_safe(path, source)
            return take(safetensors.read(source))
    except UnreadableFile as exc:
        raise BadCheckpoint(path, f"cannot be read: {exc.why}") from exc
    except (BadCheckpoint, PickleCheckpoint):
        raise
    except EmbconvError as exc:  # a limit that is passed
        raise BadCheckpoint(path, f"cannot be read: {exc.says.rstrip('.')}") from exc


def must_be_safe(path: str, source: Source) -> None:
    """A .safetensors file, whatever it is called."""
    if safetensors.sniff(source):
        return
    if is_pickle(source.name, source.head(4)):
        raise PickleCheckpoint(path, CONVERT + command_line(path, f"{os.path.splitext(path)[0]}.safetensors"))
    raise BadCheckpoint(path, "is no .safetensors file" if source.size else "is empty")


def is_pickle(name: str, head: bytes) -> bool:
    """A torch zip, a bare pickle, or something else with a pickle's name."""
    return head.startswith((ZIP, PROTOCOL)) or name.lower().endswith(PICKLES)


def command_line(source: str, target: str) -> str:
    """Two paths as a shell takes them."""
    return shlex.join([source, target]) if os.name != "nt" else f'"{source}" "{target}"'


def json_of(path: str) -> dict[str, Any]:
    """A configuration; BadCheckpoint where it is not there, or no JSON object."""
    try:
        with Source(path) as source:
            if source.size > JSON_BYTES:
                raise BadCheckpoint(path, f"has {source.size:,} bytes, too many for a configuration")
            return msgspec.json.decode(source.read(0, source.size), type=dict[str, Any])
    except UnreadableFile as exc:
        raise BadCheckpoint(path, f"cannot be read: {exc.why}") from exc
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise BadCheckpoint(path, f"is no configuration: {exc}") from exc
