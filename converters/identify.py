"""What a file is, from its outline alone: the layout of an embedding, or the name of what it is instead."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from msgspec import Struct

from .display import printable
from .errors import NotAnEmbedding, UnknownLayout
from .layouts import LAYOUTS, Layout
from .model import Module, Node, Outline, TensorInfo


class Other(Struct, frozen=True):
    """A kind of file that is not an embedding: how messages call it, how its keys tell it, what the user can do."""

    what: str
    detect: Callable[[Outline, list[str]], bool]
    hint: str = ""


def _any(pattern: str) -> Callable[[Outline, list[str]], bool]:
    search = re.compile(pattern).search
    return lambda outline, keys: any(search(key) for key in keys)


def _hypernetwork(outline: Outline, keys: list[str]) -> bool:
    root = outline.root
    return isinstance(root, dict) and any(isinstance(key, int) and key in (320, 640, 768, 1024, 1280) for key in root)


def _optimizer(outline: Outline, keys: list[str]) -> bool:
    root = outline.root
    return isinstance(root, dict) and ("optimizer_state_dict" in root or {"state", "param_groups"} <= root.keys())


def _mapper(outline: Outline, keys: list[str]) -> bool:
    return isinstance(outline.root, dict) and {"state_dict", "cfg", "encoder"} <= outline.root.keys()


# The first that fits names the file; what is asked first is the more telling.
OTHERS: tuple[Other, ...] = (
    Other("an empty file: a dictionary with nothing in it", lambda outline, keys: outline.root == {} and not outline.metadata),
    Other("the state of an optimizer (A1111 keeps one beside an embedding to go on training)", _optimizer, "Convert the embedding itself."),
    Other("a hypernetwork", _hypernetwork, "It goes into the hypernetworks folder."),
    Other("a NeTI mapper: a network that makes the vectors for each layer and step", _mapper),
    Other(
        "a LoRA (or one of its kin)",
        _any(r"lora_|\.lora\.|hada_w|lokr_|\.oft_|\.diff_b$|^(unet|text_encoder):\d+:(up|down)|processor\..*_lora"),
        "It goes into the LoRA folder, not with the embeddings.",
    ),
    Other("a ControlNet", _any(r"^control_model\.|controlnet_"), "It goes into the ControlNet folder."),
    Other("a whole checkpoint (U-Net and text encoder)", _any(r"^model\.diffusion_model\."), "It goes into the models folder."),
    Other(
        "a text encoder, perhaps saved by DreamBooth",
        _any(r"text_model\.(encoder|embeddings)|^cond_stage_model\.|token_embedding\.weight|^(encoder|decoder)\.block\.\d|^shared\.weight$"),
    ),
    Other("a VAE", _any(r"^first_stage_model\.|^(encoder|decoder)\.(conv_in|down|up|mid)|quant_conv\."), "It goes into the VAE folder."),
    Other(
        "a U-Net or another diffusion model",
        _any(r"^(down_blocks|up_blocks|mid_block|input_blocks|output_blocks|transformer_blocks|double_blocks)\."),
    ),
    Other("an upscaler", _any(r"^(conv_first|RRDB_trunk|body\.\d+\.rdb|upconv1)")),
    Other("the weights of a network", _any(r"\.(weight|bias|running_mean)$")),
)  # fmt: skip


def identify(outline: Outline, name: str = "<bytes>") -> Layout:
    """The layout of an outline. Raises NotAnEmbedding naming what it is instead, or UnknownLayout saying what was found."""
    for layout in LAYOUTS:
        if layout.detect(outline):
            if layout.refusal:
                raise NotAnEmbedding(name, f"{layout.title}: {layout.refusal}")
            return layout
    keys = list(text_keys(outline.root))
    for other in OTHERS:
        if other.detect(outline, keys):
            raise NotAnEmbedding(name, other.what, other.hint)
    if not any(isinstance(node, TensorInfo) for node in _nodes(outline.root)):
        raise NotAnEmbedding(name, "a file without any tensor in it")
    raise UnknownLayout(name, summary(outline.root))


def text_keys(root: Node) -> Iterable[str]:
    """The keys of a dict, and of the state dict it may hold."""
    if isinstance(root, Module):
        root = root.state
    if isinstance(root, dict):
        for key, node in root.items():
            yield str(key)
            if key in ("state_dict", "model", "params", "params_ema", "module") and isinstance(node, dict):
                yield from (str(inner) for inner in node)


def _nodes(root: Node) -> Iterable[Node]:
    """Every node of a tree, in no order that matters; containers bound its size."""
    stack = [root]
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, Module):
            stack.append(node.state)
        elif isinstance(node, dict):
            stack.extend(node.values())
        elif isinstance(node, (list, tuple)):
            stack.extend(node)


def summary(root: Node, most: int = 6) -> str:
    """What stands at the top of a tree, short: `"style" F32 2x768, "note" text, ...`."""
    pairs = root.items() if isinstance(root, dict) else enumerate(root) if isinstance(root, (list, tuple)) else [("the object", root)]
    items: list[tuple[object, Node]] = list(pairs)
    shown = [f"{printable(str(key), 40)!r}: {_kind(node)}" for key, node in items[:most]]
    return ", ".join(shown) + (", ..." if len(items) > most else "")


def _kind(node: Node) -> str:
    if isinstance(node, TensorInfo):
        return f"{node.dtype} {'x'.join(map(str, node.shape)) or 'scalar'}"
    return f"an object of {node.cls}" if isinstance(node, Module) else type(node).__name__
