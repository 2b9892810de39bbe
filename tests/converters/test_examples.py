"""Each layout's least files, read: what torch and safetensors wrote comes back bit for bit, with all that was said."""

import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import UNSET
from msgspec.structs import asdict

from embconv.converters import Embedding, Training
from embconv.converters.containers import open_contents
from embconv.converters.layouts import LAYOUTS
from embconv.converters.read import read
from embconv.converters.source import Source
from examples import BY_ID, EXAMPLES, OTHERS, Example, as_tensor

every_example = pytest.mark.parametrize("example", EXAMPLES, ids=repr)

# section 11 of the census of layouts: the number of each edge case -> the files that are it
EDGE_CASES = {
    1: ["emb-params-without-padding"],
    2: ["ldm-torch-1-11", "ldm-torch-1-12", "ldm-torch-2"],
    3: ["ldm-numpy-1-carried", "ldm-numpy-2-carried", "a1111-numpy-carried"],
    4: ["pti-replicate"],
    5: ["per-encoder-flux-mislabelled"],
    6: ["emp-params-onetrainer", "emp-params-with-output", "emp-params-output-alone"],
    7: ["a1111-in-bin"],
    8: ["list-of-dicts-training"],
    9: ["diffusers-row-of-a-vocabulary", "a1111-view-with-stride", "diffusers-several-tokens-of-one-storage"],
    10: ["ldm-legacy-with-source-code"],
    11: ["diffusers-one-axis", "diffusers-three-axes", "ldm-torch-1-11"],
    12: ["per-encoder-uneven"],
    13: ["a1111-several-placeholders", "ldm-several-placeholders"],
    14: ["diffusers-token-with-spaces", "diffusers-token-without-brackets"],
    15: ["a1111-root-is-the-name-at-save-time"],
    16: ["diffusers-eleven-tokens"],
    17: ["a1111-saved-by-torch-2", "diffusers-torch-2-records"],
    18: ["card-reduced-to-a-palette", "preview", "a1111-picture-with-both", "a1111-picture-with-pixels-only"],
    19: ["lfs-pointer"],
    20: ["empty-dict"],
    21: ["a1111-bfloat16", "emb-params-bfloat16"],
    23: ["optimizer-of-a1111"],
    24: ["bundle-emb-hcp", "bundle-emb-onetrainer", "safelora-with-two-tokens"],
}


def _vectors(embedding: Embedding) -> dict[str, object]:
    return {**embedding.vectors, **{f"{key}_out": tensor for key, tensor in embedding.output_vectors.items()}}


@every_example
def test_its_vectors_are_those_the_program_wrote_bit_for_bit(example: Example) -> None:
    wanted = [{**e.vectors, **{f"{key}_out": t for key, t in e.outputs.items()}} for e in example.expected]
    assert [_vectors(e) for e in read(example.data)] == [{key: as_tensor(t) for key, t in one.items()} for one in wanted]


@every_example
def test_its_output_vectors_are_kept_apart(example: Example) -> None:
    assert [set(e.output_vectors) for e in read(example.data)] == [set(e.outputs) for e in example.expected]


@every_example
def test_every_name_in_it_is_kept(example: Example) -> None:
    found = [(e.names.key, e.names.inner_name, e.names.archive_root) for e in read(example.data)]
    assert found == [(e.key, e.inner_name, e.archive_root) for e in example.expected]


@every_example
def test_its_account_of_the_training_is_kept_with_what_it_leaves_open(example: Example) -> None:
    wanted = [None if e.training is None else Training(**e.training) for e in example.expected]
    assert [e.training for e in read(example.data)] == wanted


@every_example
def test_all_else_it_says_is_kept_as_text(example: Example) -> None:
    assert [e.metadata for e in read(example.data)] == [e.metadata for e in example.expected]


@every_example
def test_its_container_is_known_by_its_bytes(example: Example) -> None:
    with Source(example.data) as source:
        assert open_contents(source).outline.container == example.container


@every_example
def test_each_key_that_became_an_encoder_is_told(example: Example) -> None:
    for embedding in read(example.data):
        assert set(embedding.keys) <= set(_vectors(embedding))


@pytest.mark.parametrize("layout", [layout.name for layout in LAYOUTS if not layout.refusal])
def test_every_layout_has_an_example(layout: str) -> None:
    assert [example for example in EXAMPLES if example.layout == layout]


def test_no_example_and_no_other_is_there_twice() -> None:
    ids = [thing.id for thing in (*EXAMPLES, *OTHERS)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("number", EDGE_CASES)
def test_every_edge_case_of_the_census_has_its_file(number: int) -> None:
    known = {*BY_ID, *(other.id for other in OTHERS)}
    assert [name for name in EDGE_CASES[number] if name not in known] == []


def test_the_table_is_there_without_torch() -> None:
    code = "import examples, sys; assert len(examples.EXAMPLES) > 50; assert not {'torch', 'numpy', 'PIL'} & sys.modules.keys()"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_what_was_never_said_is_not_what_was_said_to_be_nothing() -> None:
    """The first A1111 had no checkpoint keys; an intermediate save says None; early OneTrainer says ''."""
    names = ("a1111-first-version-without-checkpoint-keys", "a1111-intermediate-save", "a1111-early-onetrainer")
    found = [read(BY_ID[name].data)[0].training for name in names]
    assert [asdict(training)["sd_checkpoint"] for training in found if training] == [UNSET, None, ""]
