"""Tokenizers: of a folder, or OpenAI's CLIP's, whose merges come with this package and which all published models have."""

from __future__ import annotations

import json
import os
import tempfile
from functools import cache
from typing import Any

from transformers import CLIPTokenizerFast  # type: ignore[attr-defined]  # since 5.0 another name of CLIPTokenizer

from ..render_errors import BadCheckpoint
from .folders import TOKENIZERS
from .letters import END, START, merges, vocabulary

LONGEST = 77
PADS = {"text_encoder": END, "text_encoder_2": "!"}  # SD 2.x has that of SDXL's second


def tokenizer_of(folder: str, component: str, base: str) -> Any:
    """The tokenizer beside a text encoder; CLIP's where there is none."""
    path = os.path.join(folder, TOKENIZERS[component])
    if not os.path.isdir(path):
        return clip("!" if base == "sd2" else PADS[component])
    try:
        return CLIPTokenizerFast.from_pretrained(path, local_files_only=True)
    except Exception as exc:  # its parser, written in Rust, raises Exception itself
        raise BadCheckpoint(path, f"holds no tokenizer that can be read: {exc}") from exc


@cache
def clip(pad: str) -> Any:
    """CLIP's own."""
    with tempfile.TemporaryDirectory(prefix="embconv-") as folder:
        with open(os.path.join(folder, "vocab.json"), "w", encoding="utf-8") as file:
            json.dump(vocabulary(), file)
        with open(os.path.join(folder, "merges.txt"), "w", encoding="utf-8") as file:
            file.write("\n".join(["#version: 0.2", *merges(), ""]))
        words: Any = CLIPTokenizerFast.from_pretrained(folder, local_files_only=True, bos_token=START, eos_token=END, unk_token=END,
                                                       pad_token=END, model_max_length=LONGEST)  # fmt: skip
    words.pad_token = pad  # only now: told at once, "!" in a prompt would be the padding too, and no word of CLIP's
    return words
