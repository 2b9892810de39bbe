"""Every fact that no tensor carries goes into a header and comes back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from embconv.converters.encoders import BASES, ENCODERS
from embconv.converters.model import UNSET, Embedding, Hint, Names, SourceFile, Tensor, Training
from embconv.converters.names import LAYOUT_KEYS
from embconv.converters.provenance import KINDS, SOURCES_KEPT, header, restore, role_of

VECTORS = {"clip_l": Tensor("F32", (1, 768), bytes(3072))}


def _embedding(**facts: object) -> Embedding:
    return Embedding(**{"names": Names(), "vectors": VECTORS, **facts})  # type: ignore[arg-type]


def _header(embedding: Embedding, source: SourceFile | None = None, base: str | None = "sd1") -> dict[str, str]:
    return header(embedding, trigger="cat", base=base, digest="emb:0", source=source)


def _back(embedding: Embedding, **read: object) -> Embedding:
    """As if a file held nothing but the vectors, under a key of its layout, and the header."""
    return restore(_embedding(names=Names(key="emb_params"), metadata=_header(embedding), **read))


NAMES = Names(inner_name="bad-hands-5", key="<cat>", archive_root="archive", sidecar="word")
SOURCE = SourceFile(name="x.pt", container="torch_zip", layout="a1111", sha256="ab" * 32)


def test_the_names_come_back() -> None:
    assert _back(_embedding(names=NAMES)).names == NAMES


def test_what_the_file_at_hand_says_is_not_replaced() -> None:
    own = Names(inner_name="new", key="<dog>", archive_root="root", sidecar="beside", file_stem="stem", header="h")
    assert restore(_embedding(names=own, metadata=_header(_embedding(names=NAMES)))).names == own


@pytest.mark.parametrize("key", sorted(LAYOUT_KEYS))
def test_a_key_of_the_layout_gives_way_to_the_token(key: str) -> None:
    assert restore(_embedding(names=Names(key=key), metadata=_header(_embedding(names=NAMES)))).names.key == "<cat>"


@pytest.mark.parametrize("step", [UNSET, None, 0, 1364])
@pytest.mark.parametrize("text", [UNSET, None, "", "7ab762a7", 'ünïcode 猫 "quoted" \\ \n'])
def test_the_training_comes_back_with_what_it_leaves_open(step: object, text: object) -> None:
    training = Training(step=step, sd_checkpoint=text, sd_checkpoint_name=text)  # type: ignore[arg-type]
    wanted = None if step is UNSET and text is UNSET else training
    assert _back(_embedding(training=training)).training == wanted


def test_the_account_of_the_file_at_hand_counts() -> None:
    mine = Training(step=1)
    assert _back(_embedding(training=Training(step=2)), training=mine).training == mine


def test_sources_come_back_the_oldest_first() -> None:
    older = SourceFile(name="a.bin", container="torch_legacy", layout="diffusers", autov1="12345678")
    text = _header(_embedding(sources=(older,)), SOURCE)
    assert restore(_embedding(metadata=text)).sources == (older, SOURCE)


def test_a_long_history_keeps_its_end() -> None:
    many = tuple(replace(SOURCE, name=f"{i}.pt") for i in range(40))
    kept = restore(_embedding(metadata=_header(_embedding(sources=many)))).sources
    assert [source.name for source in kept] == [f"{i}.pt" for i in range(40 - SOURCES_KEPT, 40)]


def test_a_source_whose_name_is_no_unicode_can_be_told() -> None:
    text = _header(_embedding(), replace(SOURCE, name="caf\udce9.pt"))
    assert restore(_embedding(metadata=text)).sources[0].name == "caf?.pt"


def test_the_header_of_what_came_back_is_the_same() -> None:
    first = _header(_embedding(names=NAMES, training=Training(step=5), metadata={"note": "x"}))
    assert _header(restore(_embedding(names=Names(key="emb_params"), metadata=first))) == first


@pytest.mark.parametrize("encoder", ENCODERS)
def test_an_encoder_that_its_width_does_not_tell_comes_back(encoder: str) -> None:
    width = ENCODERS[encoder].width
    tensor = Tensor("F16", (1, width), bytes(2 * width))
    from embconv.converters.provenance import default_encoder

    again = restore(_embedding(vectors={default_encoder(width): tensor}, metadata=_header(_embedding(vectors={encoder: tensor}))))
    assert again.vectors == {encoder: tensor}


@pytest.mark.parametrize(
    "labels", ['{"clip_l": "clip_g"}', '{"clip_l": 5}', '{"clip_l": "nobody"}', "[]", "{", '{"clip_l": null}', '{"clip_l": []}']
)
def test_a_label_of_another_width_is_not_believed(labels: str) -> None:
    assert restore(_embedding(metadata={"embconv.encoders": labels})).vectors == VECTORS


# texts


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("name", "not JSON"), ("name", '"JSON"'), ("name", "null"), ("name", "5"), ("step", "12"), ("step", "12.5"),
        ("step", "true"), ("step", "many"),
        ("step", "9" * 40), ("sd_checkpoint", "null"), ("sd_checkpoint", "7ab762a7"), ("embconv.names", '{"key": "<dog>"}'),
        ("embconv.added", '["note"]'),
        ("embconv.metadata", '{"a": "b"}'), ("embconv.encoders", '{"clip_l": "clip_h"}'), ("embconv.digest", "x"),
        ("embconv.sources", "[]"), ("embconv.", ""),
        ("format", "pt"), ("format", "np"), ("modelspec.title", "Kept"), ("string_to_token", '{"*": 265}'), ("note", ""),
        ("", "x"), ("note", "[" * 9_000),
    ],
)  # fmt: skip
@pytest.mark.parametrize("names", [Names(), NAMES], ids=["no name inside", "a name inside"])
def test_foreign_text_comes_back_as_it_stood(key: str, text: str, names: Names) -> None:
    embedding = _embedding(names=names, metadata={key: text, "note-2": "y"}, training=Training(step=7))
    again = _back(embedding)
    assert again.metadata == {key: text, "note-2": "y"}
    assert again.training == Training(step=7)
    assert again.names.inner_name == names.inner_name


def test_foreign_text_stands_under_its_own_key_where_it_can() -> None:
    text = _header(_embedding(metadata={"modelspec.title": "Kept", "name": "not JSON", "format": "np"}))
    assert (text["modelspec.title"], text["name"], text["format"]) == ("Kept", "not JSON", "np")


_texts = st.text(max_size=20)
_keys = st.sampled_from([*KINDS, "format", "modelspec.title", "embconv.added", "embconv.names", "embconv.metadata", "embconv.x"]) | _texts
_said = st.none() | _texts
_values = _texts | st.sampled_from(["null", '"x"', "5", "{}", "[]", '["format"]', '{"clip_l": "t5xxl"}', "true"])


@given(
    metadata=st.dictionaries(_keys, _values, max_size=6),
    inner=_said,
    key=_said,
    step=st.none() | st.integers(-(2**62), 2**62),
    checkpoint=_said,
    sources=st.lists(st.builds(SourceFile, name=_texts, container=_texts, layout=_texts, sha256=_said, autov1=_said), max_size=4),
)
def test_whatever_is_said_comes_back(
    metadata: dict[str, str], inner: str | None, key: str | None, step: int | None, checkpoint: str | None, sources: list[SourceFile]
) -> None:
    training = Training(step=step, sd_checkpoint=checkpoint)
    embedding = _embedding(names=Names(inner_name=inner, key=key), metadata=metadata, training=training, sources=tuple(sources))
    again = _back(embedding)
    assert (again.metadata, again.training, again.sources) == (metadata, training, tuple(sources))
    assert again.names.inner_name == inner
    assert again.names.key == (key or "emb_params")


@given(st.dictionaries(_keys, _values | st.text(st.characters(), max_size=10), max_size=8))
def test_a_header_by_any_hand_is_no_error(metadata: dict[str, str]) -> None:
    again = restore(_embedding(metadata=metadata))
    assert all(isinstance(text, str) for text in again.metadata.values())
    assert set(again.vectors.values()) == set(VECTORS.values())


@pytest.mark.parametrize("sources", ["", "null", "5", "{}", '[{"name": 5}]', '[{"name": "x"}]', "[" * 100_000, "[[]]"])
def test_a_history_that_is_none_is_passed_over(sources: str) -> None:
    assert restore(_embedding(metadata={"embconv.sources": sources})).sources == ()


# what stands in it


def test_all_values_are_text_and_equal_input_gives_an_equal_header() -> None:
    embedding = _embedding(names=NAMES, training=Training(step=None), metadata={"note": "x"})
    assert _header(embedding, SOURCE) == _header(embedding, SOURCE)
    assert all(isinstance(text, str) for text in _header(embedding, SOURCE).values())


def test_a1111s_fields_stand_as_json_under_their_own_names() -> None:
    text = _header(_embedding(names=NAMES, training=Training(step=5, sd_checkpoint=None, sd_checkpoint_name="ü")))
    assert {key: text[key] for key in KINDS} == {"name": '"bad-hands-5"', "step": "5", "sd_checkpoint": "null", "sd_checkpoint_name": '"ü"'}


@pytest.mark.parametrize("base", [*BASES, None])
def test_the_modelspec_fields_are_those_that_are_known(base: str | None) -> None:
    text = _header(_embedding(), base=base)
    architecture = BASES[base].architecture if base else ""
    assert text.get("modelspec.architecture") == (f"{architecture}/textual-inversion" if architecture else None)
    assert (text["modelspec.title"], text["modelspec.trigger_phrase"], text["format"]) == ("cat", "cat", "pt")
    assert "modelspec.is_negative_embedding" not in text


@pytest.mark.parametrize(("role", "said"), [("negative", "true"), ("positive", "false"), (None, None)])
def test_the_role_is_what_the_first_claim_says(role: str | None, said: str | None) -> None:
    hints = (Hint(source="a"), Hint(source="b", role=role, licence="CC0-1.0"), Hint(source="c", role="positive" if role else None))
    embedding = _embedding(hints=hints)
    assert role_of(embedding) == (role or "unknown")
    assert _header(embedding).get("modelspec.is_negative_embedding") == said
    assert _header(embedding)["modelspec.license"] == "CC0-1.0"


def test_what_we_added_is_told_and_taken_away_again() -> None:
    text = _header(_embedding(metadata={"format": "pt", "modelspec.title": "Theirs"}))
    assert set(json.loads(text["embconv.added"])) == {
        "modelspec.sai_model_spec", "modelspec.architecture", "modelspec.implementation", "modelspec.trigger_phrase"
    }  # fmt: skip
    assert restore(_embedding(metadata=text)).metadata == {"format": "pt", "modelspec.title": "Theirs"}
