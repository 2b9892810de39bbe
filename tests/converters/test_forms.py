"""The form of a file: all by which a program decides whether it loads it."""

from pathlib import Path

import pytest

from embconv.converters.forms import form_of
from embconv.converters.read import examine
from embconv.converters.source import Source
from embconv.converters.targets import Form, loads_in
from examples import BY_ID, EXAMPLES, Example


def _form(data: bytes | Path) -> Form:
    with Source(data) as source:
        reading = examine(source)
    return form_of(reading, reading.embeddings[0])


@pytest.mark.parametrize("example", EXAMPLES, ids=repr)
def test_it_says_container_layout_sizes_and_kinds_of_number(example: Example) -> None:
    form, first = _form(example.data), example.expected[0]
    assert (form.container, form.layout, form.embeddings) == (example.container, example.layout, len(example.expected))
    assert form.vectors == {key: tuple(tensor.shape) for key, tensor in first.vectors.items()}
    assert form.output_vectors is bool(first.outputs)


@pytest.mark.parametrize("example", [e for e in EXAMPLES if "carried" in e.id], ids=repr)
def test_numbers_that_numpy_carries_are_known(example: Example) -> None:
    assert _form(example.data).numpy_carried


@pytest.mark.parametrize("example", [e for e in EXAMPLES if "carried" not in e.id], ids=repr)
def test_and_no_others_are(example: Example) -> None:
    # a numpy file is one array or one pickle, and no program but Flax's loads it
    assert not _form(example.data).numpy_carried or example.container == "npy"


@pytest.mark.parametrize(
    ("name", "minimal"),
    [
        ("a1111-trained", True),
        ("diffusers-one-axis", True),
        ("a1111-saved-by-torch-2", False),
        ("diffusers-torch-2-records", False),
        ("a1111-big-endian", False),
    ],
)
def test_a_zip_of_three_kinds_of_entries_is_minimal(name: str, minimal: bool) -> None:
    """A1111 refuses a .pt with any other entry (A1111#10179)."""
    assert _form(BY_ID[name].data).minimal_zip is minimal


@pytest.mark.parametrize(
    ("name", "fact", "value"),
    [
        ("a1111-trained", "keys", ("string_to_token", "string_to_param", "name", "step", "sd_checkpoint", "sd_checkpoint_name")),
        ("a1111-trained", "has_token_map", True),
        ("a1111-subset-of-hcp", "has_token_map", False),
        ("a1111-subset-of-hcp", "has_name", True),
        ("ldm-torch-2", "has_name", False),
        ("a1111-several-placeholders", "inner_placeholder", "cat"),
        ("a1111-trained", "inner_placeholder", "*"),
        ("a1111-half", "dtype", ("F16",)),
        ("ldm-numpy-carried-half", "dtype", ("F16",)),
        ("emb-emb2", "dtype", ("BF16",)),
        ("diffusers-one-axis", "ndim", 1),
        ("diffusers-three-axes", "ndim", 3),
        ("diffusers-two-axes", "ndim", 2),
        ("ldm-torch-1-11", "ndim", 2),
        ("bare-tensor-t5", "ndim", 1),
        ("bare-tensor-t5", "keys", ()),
        ("per-encoder-sd1", "keys", ("clip_l",)),
    ],
)
def test_it_says_what_stands_in_the_file(name: str, fact: str, value: object) -> None:
    assert getattr(_form(BY_ID[name].data), fact) == value


def test_it_says_the_files_own_stem_and_suffix(tmp_path: Path) -> None:
    path = tmp_path / "bad hands.PT"
    path.write_bytes(BY_ID["a1111-trained"].data)
    form = _form(path)
    assert (form.stem, form.suffix) == ("bad hands", ".PT")
    assert _form(path.read_bytes()).suffix == ""


@pytest.mark.parametrize("example", EXAMPLES, ids=repr)
def test_every_program_has_an_answer_to_it(example: Example, tmp_path: Path) -> None:
    path = tmp_path / f"style{example.suffix}"
    path.write_bytes(example.data)
    assert all(answer is True or (isinstance(answer, str) and answer) for answer in loads_in(_form(path)).values())
