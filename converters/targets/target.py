"""What decides whether a program loads a file, and what is said about each program: facts without behaviour."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

Vectors = dict[str, tuple[int, int]]  # encoder key -> (n, width)


class Form(Struct, frozen=True, kw_only=True):
    """A file, or a file about to be written, by all that decides whether a program loads it.

    `keys` are the dictionary keys as written, in the file's order; `dtype` the kinds of its tensors; `ndim` the rank of
    the stored vectors. `minimal_zip` is a torch zip of exactly data.pkl, data/N and version; `numpy_carried` vectors
    that lie inside the pickle as numpy arrays. The two files of diffusers' SDXL example are one Form: layout
    `diffusers`, two encoders.
    """

    container: str                      # torch_zip, torch_legacy, pickle, safetensors, png, webp, avif, jxl, npy
    layout: str
    suffix: str                         # with the dot
    vectors: Vectors
    keys: tuple[str, ...] = ()
    dtype: tuple[str, ...] = ("F32",)
    ndim: int = 2
    minimal_zip: bool = True
    has_token_map: bool = True          # `string_to_token` is there
    inner_placeholder: str = "*"        # the key inside `string_to_param`
    has_name: bool = True               # `name` is there
    stem: str = "word"
    embeddings: int = 1
    output_vectors: bool = False
    numpy_carried: bool = False


class Plan(Struct, frozen=True, kw_only=True):
    """A form to write. `encoders` says for what: `one` CLIP text encoder (SD 1.x, SD 2.x) or `several` (and any other).

    `key` is the dictionary key; TOKEN stands for the trigger, ENCODER for each encoder's own key, which `renames` changes.
    `dtype` is `keep`, or the only one the program reads.
    """

    container: str
    layout: str
    suffix: str
    key: str
    encoders: str = "one"
    dtype: str = "keep"
    renames: dict[str, str] = {}
    note: str = ""


class Target(Struct, frozen=True, kw_only=True):
    """A program that loads embeddings. `reads` says "" where it loads with exactly the file's vectors, else why not."""

    name: str
    title: str
    version: str                        # the one whose code was run
    source: str                         # where its reading stands
    trigger: str
    prompt: str                         # how the user writes it; NAME is the trigger
    where: str                          # where users put the file
    bases: tuple[str, ...]              # keys of encoders.BASES
    writes: tuple[Plan, ...]            # best first
    reads: Callable[[Form], str]
    stem: str = ""                      # a pattern of characters it cannot have in a file's name
