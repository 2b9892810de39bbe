"""Textual-inversion embeddings read, identified, checked, converted and repaired, without running code from a file.

    from embconv.converters import load, save
    embedding = load("style.pt")
    save(embedding, "style.safetensors", target="comfyui")
"""

from .api import hashes, save
from .check import check
from .convert import Options, Outcome, convert
from .encoders import BASES, ENCODERS
from .errors import EmbconvError
from .hashes import Hashes, digest
from .identify import identify
from .inspect import Report, inspect
from .layouts import LAYOUTS
from .model import Contents, Embedding, Finding, Hint, Module, Names, Outline, SourceFile, Tensor, TensorInfo, Training
from .read import load, read
from .repair import repair
from .targets import TARGETS, target

__all__ = [
    "BASES",
    "ENCODERS",
    "LAYOUTS",
    "TARGETS",
    "Contents",
    "EmbconvError",
    "Embedding",
    "Finding",
    "Hashes",
    "Hint",
    "Module",
    "Names",
    "Options",
    "Outcome",
    "Outline",
    "Report",
    "SourceFile",
    "Tensor",
    "TensorInfo",
    "Training",
    "check",
    "convert",
    "digest",
    "hashes",
    "identify",
    "inspect",
    "load",
    "read",
    "repair",
    "save",
    "target",
]
