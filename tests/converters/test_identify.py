"""What a file is, told from its outline alone."""

from pathlib import Path

import pytest

from embconv.converters import EmbconvError, Module, Outline, TensorInfo
from embconv.converters.containers import open_contents
from embconv.converters.errors import NotAnEmbedding, UnknownLayout
from embconv.converters.identify import OTHERS as KINDS
from embconv.converters.identify import identify, summary
from embconv.converters.limits import WHOLE_READ
from embconv.converters.read import read
from embconv.converters.source import Source
from examples import EXAMPLES, OTHERS, Example, Other, made, torch_1, torch_file


def _outline(data: bytes) -> Outline:
    with Source(data) as source:
        return open_contents(source).outline


@pytest.mark.parametrize("example", EXAMPLES, ids=repr)
def test_an_example_is_of_its_own_layout(example: Example) -> None:
    assert identify(_outline(example.data)).name == example.layout


@pytest.mark.parametrize("other", OTHERS, ids=repr)
def test_what_is_no_embedding_is_named(other: Other) -> None:
    with pytest.raises(NotAnEmbedding) as caught:
        read(other.data)
    assert caught.value.what.startswith(other.what)
    assert other.what in str(caught.value)


@pytest.mark.parametrize("other", OTHERS, ids=repr)
def test_what_is_no_embedding_is_named_whatever_its_suffix(other: Other, tmp_path: Path) -> None:
    path = tmp_path / "learned_embeds.safetensors"
    path.write_bytes(other.data)
    with pytest.raises(NotAnEmbedding) as caught:
        read(path)
    assert caught.value.what.startswith(other.what)
    assert caught.value.name == "learned_embeds.safetensors"


def test_every_kind_of_file_has_an_example() -> None:
    said = {other.what for other in OTHERS}
    assert [kind.what for kind in KINDS if not any(kind.what.startswith(what) for what in said)] == []


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.container not in ("png", "webp")], ids=repr)
def test_no_number_is_read_to_know_a_file(example: Example) -> None:
    """The outline has been made, the source is closed: whatever asked for a number now would fail."""
    with Source(example.data) as source:
        outline = open_contents(source).outline
        source.read = _untouchable  # type: ignore[method-assign]
        assert identify(outline).name == example.layout


def _untouchable(start: int, length: int) -> bytes:
    raise AssertionError(f"{length} bytes wanted at {start}")


@pytest.mark.parametrize("save", [torch_1, torch_file])
def test_a_large_file_is_known_by_a_few_of_its_bytes(save: object, tmp_path: Path) -> None:
    """EveryDream2's files hold a whole vocabulary, 151 MB, for one row."""
    path = tmp_path / "style.bin"
    path.write_bytes(save({"<new1>": made(1200, 768)[7]}))  # type: ignore[operator]
    wanted: list[int] = []
    with Source(path) as source:
        assert source.size > 3 * WHOLE_READ
        read_bytes = source.read
        source.read = lambda start, length: wanted.append(length) or read_bytes(start, length)  # type: ignore[method-assign, func-returns-value]
        assert identify(open_contents(source).outline).name == "diffusers"
    assert sum(wanted) < 16_384


def _info(*shape: int, dtype: str = "F32") -> TensorInfo:
    return TensorInfo(dtype, shape, "0")


@pytest.mark.parametrize(
    "root",
    [
        {"style": _info(2, 768, dtype="I64")},
        {"style": _info(0, 768)},
        {"style": _info(2, 2, 768)},
        {"style": _info(1, 1, 2, 768)},
        {"style": _info()},
        {"emb_params": _info(2, 768), "other": _info(2, 768, dtype="I32")},
        {"emb_params": _info(2, 768), "emp_params": _info(2, 768)},
        {"emb2": _info(1, 1280)},
        {"string_to_param": {"*": _info()}},
        {f"t{i}": _info(1, 768) for i in range(65)},
        [_info(2, 768), 5],
        ((_info(2, 768, dtype="U8")),),
        {"IN01": _info(1, 768)},
        {"inner": {"style": _info(2, 768)}},
        Module("torch.nn.modules.container.ParameterDict", {"_parameters": {"x": _info(2, 768)}}),
    ],
)
def test_tensors_in_no_known_arrangement_are_shown_not_guessed_at(root: object) -> None:
    with pytest.raises(UnknownLayout) as caught:
        identify(Outline(container="torch_zip", root=root), "x.pt")
    assert caught.value.name == "x.pt"
    assert summary(root).split(":")[0] in str(caught.value)


@pytest.mark.parametrize(
    "root", [None, 5, "text", b"bytes", [], (), {"a": [1, None, {"b": True}]}, Module("x", None), Module("x", {"a": 1})], ids=str
)
def test_a_tree_without_tensors_is_no_embedding(root: object) -> None:
    with pytest.raises(NotAnEmbedding, match="without any tensor"):
        identify(Outline(container="torch_zip", root=root))


@pytest.mark.parametrize("root", [{}, {1: None}, {b"x": _info(3)}, {"": _info(2, 768)}, {"state_dict": 5}, {"modifier_token": 5}], ids=str)
def test_any_outline_is_answered_with_an_error_of_ours(root: object) -> None:
    with pytest.raises(EmbconvError):
        identify(Outline(container="torch_zip", root=root, metadata={"x": "<embed>"}))


def test_the_shown_keys_cannot_write_on_a_terminal() -> None:
    shown = summary({"\x1b[31mred\u202e": _info(2, 768), "long" * 100: 1, **{f"k{i}": None for i in range(9)}})
    assert shown.isprintable()
    assert len(shown) < 250
    assert shown.endswith(", ...")


def test_xti_is_refused_with_the_reason() -> None:
    data = next(other for other in OTHERS if other.id == "xti").data
    with pytest.raises(NotAnEmbedding, match="vectors for each of 16 U-Net layers"):
        read(data)
