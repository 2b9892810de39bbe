"""OneTrainer's SD 1.x and 2.x files: `emp_params` (its own spelling), and `emp_params_out` for output vectors.

Source: OneTrainer modules/modelSaver/stableDiffusion/StableDiffusionEmbeddingSaver.py.
"""

from __future__ import annotations

from ..model import Contents, Embedding, Outline
from .layout import Layout, Tree, only_vectors, single, vectors_of


def detect(outline: Outline) -> bool:
    """`emp_params`, `emp_params_out` or both, and no other tensor."""
    keys = vectors_of(outline.root).keys()
    return bool(keys) and keys <= {"emp_params", "emp_params_out"}


def normalise(contents: Contents) -> list[Embedding]:
    """The one embedding; vectors for the encoder's output are kept apart."""
    return single(contents, "emp_params", "emp_params")


def write(embedding: Embedding, trigger: str, text: dict[str, str]) -> Tree:
    """The vectors under OneTrainer's key, the output vectors under theirs."""
    tree: Tree = {"emp_params": only_vectors(embedding, "emp_params")}
    for tensor in embedding.output_vectors.values():
        tree["emp_params_out"] = tensor
    return tree


LAYOUT = Layout(
    name="emp_params",
    title="OneTrainer single key emp_params",
    written_by="OneTrainer since 2024-03",
    keys="emp_params, emp_params_out",
    detect=detect,
    normalise=normalise,
    write=write,
)
