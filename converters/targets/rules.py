"""The reasons programs share for not loading a file: each rule says "" or one sentence that names what would be right.

A sentence leaves out its subject, the program: "reads only ...", "needs ...", "loads, but with wrong vectors: ...".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..display import printable, quoted
from ..encoders import BASES, needs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .target import Form

TORCH = ("torch_zip", "torch_legacy")
SAFETENSORS = ("safetensors",)
TORCH_SUFFIXES = {".pt": TORCH, ".bin": TORCH}
USUAL = {".safetensors": SAFETENSORS, **TORCH_SUFFIXES}
ONE_TENSOR = ("emb_params", "emp_params", "diffusers", "per_encoder")
XL = {"clip_l", "clip_g"}
CLIPS = ({"clip_l"}, {"clip_h"})


def first_of(*says: str) -> str:
    """The first that says anything."""
    return next((s for s in says if s), "")


def opened(form: Form, suffixes: Mapping[str, tuple[str, ...]], *, any_case: bool = False) -> str:
    """The suffix is one it looks at, and the bytes are what it takes that suffix for."""
    suffix = form.suffix.lower() if any_case else form.suffix
    if suffix not in suffixes:
        return f"reads only {_either(list(suffixes))} files"
    if form.container not in suffixes[suffix]:
        return f"needs {_either(list(suffixes[suffix]))} inside a {suffix} file, and this one is {form.container}"
    return ""


def arranged(form: Form, layouts: tuple[str, ...]) -> str:
    """The layout is one it knows."""
    if form.layout in layouts:
        return ""
    if form.layout == "bundle_emb":
        return "reads bundle_emb, if at all, only from its LoRA folder, and needs a plain file, such as emb_params, here"
    shown = [layout for layout in layouts if layout != "ldm"]
    return f"reads only the layouts {_either(shown)}, not {printable(form.layout)}"


def plain_pickle(form: Form) -> str:
    """torch.load(weights_only=True) builds plain tensors and nothing else."""
    if form.layout == "ldm":
        return "needs plain tensors in a pickle, such as the a1111 dict, and this one holds a ParameterDict"
    return plain_numbers(form)


def plain_numbers(form: Form) -> str:
    """The vectors lie in storages, not in numpy arrays inside the pickle."""
    return "needs plain tensors in a pickle, and these vectors are numpy arrays inside it" if form.numpy_carried else ""


def one_embedding(form: Form) -> str:
    """There is but one."""
    return f"needs a file with one embedding, and this one holds {form.embeddings}" if form.embeddings > 1 else ""


def takes_one(form: Form, which: str) -> str:
    """It takes one of several embeddings and does not say so."""
    return f"loads, but only the {which} of {form.embeddings} embeddings: it needs a file with one" if form.embeddings > 1 else ""


def one_file(form: Form) -> str:
    """learned_embeds and learned_embeds_2 are one embedding in two files."""
    if form.layout == "diffusers" and len(form.vectors) > 1:
        return "needs all encoders in one file, as clip_l and clip_g, not in learned_embeds and learned_embeds_2"
    return ""


def one_key(form: Form) -> str:
    """A dictionary of tensors has exactly one."""
    if form.layout in ONE_TENSOR and len(form.vectors) == 1 and len(form.keys) > 1:
        return f"needs a file with one key, such as emb_params, and this one has {_keys(form)}"
    return ""


def xl_keys(form: Form) -> str:
    """Two encoders lie under clip_l and clip_g."""
    if len(form.vectors) > 1 and not set(form.keys) >= XL:
        return f"needs the keys clip_l and clip_g for two encoders, and this file has {_keys(form)}"
    return ""


def fits(form: Form, bases: tuple[str, ...]) -> str:
    """Some base it runs has exactly these text encoders."""
    if any(set(BASES[base].encoders) == form.vectors.keys() for base in bases):
        return ""
    near = sorted(bases, key=lambda base: -len(set(BASES[base].encoders) & form.vectors.keys()))  # as many as help, no more
    wanted = "; or ".join(list(dict.fromkeys(needs(base) for base in near))[:3])
    given = and_list([f"{key} {width}" for key, (_, width) in form.vectors.items()]) or "a file without vectors"
    return f"has no place for {given}, only for {wanted}"


def equal_counts(form: Form, counted: str = "clip_g") -> str:
    """All encoders have as many vectors as the one it counts."""
    if len({n for n, _ in form.vectors.values()}) > 1:
        return f"loads, but with wrong vectors: it counts those of {counted} alone and needs equally many in each encoder"
    return ""


def rank(form: Form, allowed: tuple[int, ...]) -> str:
    """The vectors are stored with as many dimensions as it expects."""
    wanted = "(n, width)" if allowed == (2,) else "(width) or (n, width)"
    return "" if form.ndim in allowed else f"needs vectors of shape {wanted}, and these have {form.ndim} dimensions"


def not_flat(form: Form) -> str:
    """Programs that count tokens by the first length make `width` of them from one flat vector."""
    if form.ndim != 1:
        return ""
    width = max((width for _, width in form.vectors.values()), default=0)
    return f"loads, but with wrong vectors: it makes {width} tokens of one flat vector and needs the shape (1, {width})"


def input_first(form: Form) -> str:
    """It takes the first tensor, so that must not be an output vector."""
    if form.keys and form.keys[0].endswith("_out"):
        return f"loads, but with wrong vectors: it takes the first key, {quoted(form.keys[0])}, and needs the input vectors there"
    return ""


def _keys(form: Form) -> str:
    more = len(form.keys) - 4
    return and_list([*map(quoted, form.keys[:4]), *([f"{more} more"] if more > 0 else [])]) or "none"


def _either(words: list[str]) -> str:
    return _joined(words, "or")


def and_list(words: list[str]) -> str:
    """`a, b and c`."""
    return _joined(words, "and")


def _joined(words: list[str], last: str) -> str:
    return "".join(words) if len(words) < 2 else f"{', '.join(words[:-1])} {last} {words[-1]}"
