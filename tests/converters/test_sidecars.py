"""What the files beside an embedding claim: read where it is sound, passed over where it is not, never an error."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from embconv.converters.encoders import BASES
from embconv.converters.hashes import digest
from embconv.converters.limits import SIDECAR_BYTES
from embconv.converters.model import Hint
from embconv.converters.provenance import header
from embconv.converters.read import load
from embconv.converters.sidecars import SIDECARS, header_hint, hints_beside
from examples import BY_ID

SHA = "c74b4e810b030f6b75fde959e2db678c2d07115b85356d3c0138ba5eb42c340b"

# Civitai's model-version API, as Civitai Helper stores it
CIVITAI = {
    "id": 9208, "modelId": 7808, "name": "EasyNegative", "baseModel": "SD 1.5", "trainedWords": ["easynegative"], "description": None,
    "model": {"name": "EasyNegative", "type": "TextualInversion", "nsfw": False, "poi": False, "allowNoCredit": True,
              "allowCommercialUse": ["Image", "Sell"], "allowDerivatives": True, "allowDifferentLicense": False},
    "files": [
        {"name": "train.zip", "type": "Training Data", "primary": False, "hashes": {"SHA256": "00" * 32}},
        {"name": "easynegative.safetensors", "sizeKB": 24.08, "type": "Model", "primary": True, "metadata": {"fp": None,
        "format": "SafeTensor"},
         "hashes": {"SHA256": SHA.upper(), "AutoV1": "E3B0C44298FC", "AutoV2": "C74B4E810B", "CRC32": "5B6FF5BD"},
         "downloadUrl": "https://civitai.com/api/download/models/9208"},
    ],
    "images": [{"url": "https://image.civitai.com/x.jpeg", "nsfw": "None"}],
    "extensions": {"sd_civitai_helper": {"version": "1.6.6"}},
}  # fmt: skip
A1111 = {
    "description": "",
    "sd version": "SD1",
    "activation text": "easynegative",
    "preferred weight": 0.8,
    "negative text": "",
    "notes": "",
    "sha256": SHA,
}
STABILITY_MATRIX = {
    "ModelId": 7808, "ModelName": "EasyNegative", "ModelDescription": "<p>text</p>", "Nsfw": False, "Tags": ["anime"],
    "ModelType": "TextualInversion",
    "VersionId": 9208, "BaseModel": "Pony", "FileMetadata": {"fp": None}, "ImportedAt": "2024-02-11T20:00:00+00:00",
    "Hashes": {"SHA256": SHA, "CRC32": "5B6FF5BD", "BLAKE3": "AB" * 32}, "TrainedWords": ["easynegative"], "Stats": None,
}  # fmt: skip
LORA_MANAGER = {
    "file_name": "easynegative", "model_name": "EasyNegative", "file_path": "D:/x/easynegative.safetensors", "size": 24655,
    "modified": 1700000000.5,
    "sha256": SHA, "base_model": "SDXL 1.0", "preview_url": "", "preview_nsfw_level": 1, "notes": "", "from_civitai": True,
    "civitai": CIVITAI,
    "tags": [], "favorite": False, "hash_status": "completed", "autov3": "9AE1BBC35E56", "sub_type": "embedding",
}  # fmt: skip
FLAGS = {"allowNoCredit": True, "allowCommercialUse": ["Image", "Sell"], "allowDerivatives": True, "allowDifferentLicense": False}
NOW = {"sha256": SHA, "autov2": "c74b4e810b", "crc32": "5b6ff5bd"}


def _hints(folder: Path, content: object, suffix: str) -> tuple[Hint, ...]:
    path = folder / "easynegative.safetensors"
    (folder / f"easynegative{suffix}").write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return hints_beside(str(path))


@pytest.mark.parametrize(
    ("suffix", "content", "base", "text", "hashes", "licence"),
    [
        (".civitai.info", CIVITAI, "sd1", "SD 1.5", NOW, json.dumps(FLAGS)),
        (".civitai.json", CIVITAI, "sd1", "SD 1.5", NOW, json.dumps(FLAGS)),
        (".json", A1111, "sd1", "SD1", {"sha256": SHA}, None),
        (".cm-info.json", STABILITY_MATRIX, "sdxl", "Pony", {"sha256": SHA, "crc32": "5b6ff5bd", "blake3": "ab" * 32}, None),
        (".metadata.json", LORA_MANAGER, "sdxl", "SDXL 1.0", {**NOW, "autov3": "9ae1bbc35e56"}, json.dumps(FLAGS)),
    ],
    ids=[".civitai.info", ".civitai.json", ".json", ".cm-info.json", ".metadata.json"],
)
def test_each_kind_is_read_for_base_trigger_licence_and_hashes(
    suffix: str, content: object, base: str, text: str, hashes: dict[str, str], licence: str | None, tmp_path: Path
) -> None:
    source = f"easynegative{suffix}"
    wanted = Hint(source=source, base=base, base_text=text, trigger="easynegative", licence=licence, hashes=hashes)
    assert _hints(tmp_path, content, suffix) == (wanted,)


def test_every_kind_has_its_case() -> None:
    assert {suffix for suffix, _ in SIDECARS} == {".civitai.info", ".civitai.json", ".json", ".cm-info.json", ".metadata.json"}


def test_all_kinds_together_are_all_heard_in_the_order_of_the_table(tmp_path: Path) -> None:
    contents = {".json": A1111, ".civitai.info": CIVITAI, ".cm-info.json": STABILITY_MATRIX, ".metadata.json": LORA_MANAGER}
    for suffix, content in contents.items():
        (tmp_path / f"x.y{suffix}").write_text(json.dumps(content))
    found = [hint.source for hint in hints_beside(str(tmp_path / "x.y.pt"))]
    assert found == ["x.y.civitai.info", "x.y.cm-info.json", "x.y.metadata.json", "x.y.json"]


@pytest.mark.parametrize("kind", ["Model", "Negative"])
def test_a_file_that_civitai_calls_negative_is_one(kind: str, tmp_path: Path) -> None:
    (hint,) = _hints(tmp_path, {"files": [{"type": kind, "primary": True, "hashes": {"CRC32": "5B6FF5BD"}}]}, ".civitai.info")
    assert hint.role == ("negative" if kind == "Negative" else None)


def test_the_first_file_counts_where_none_is_primary(tmp_path: Path) -> None:
    files = [{"hashes": {"SHA256": "aa" * 32}}, {"hashes": {"SHA256": "bb" * 32}}]
    (hint,) = _hints(tmp_path, {"files": files}, ".civitai.info")
    assert hint.hashes == {"sha256": "aa" * 32}


@pytest.mark.parametrize("word", ["unknown", "Unknown", "Other", "OTHER", "", " "])
def test_an_unknown_base_is_no_claim(word: str, tmp_path: Path) -> None:
    assert _hints(tmp_path, {"sd version": word, "activation text": "x"}, ".json")[0].base_text is None


def test_a_base_nobody_knows_here_is_kept_as_it_is_written(tmp_path: Path) -> None:
    (hint,) = _hints(tmp_path, {"baseModel": "Seedream 9"}, ".civitai.info")
    assert (hint.base, hint.base_text) == (None, "Seedream 9")


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("0x" + SHA, SHA), (SHA.upper(), SHA), ("", None), ("not hex", None), ("ab" * 65, None), (5, None), (None, None), ([], None),
        ("E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855", None), ("e3b0c44298fc", None),
    ],
)  # fmt: skip
def test_a_hash_is_hex_and_not_that_of_nothing(value: object, kept: str | None, tmp_path: Path) -> None:
    (hint,) = _hints(tmp_path, {"sha256": value, "activation text": "x"}, ".json")
    assert hint.hashes == ({"sha256": kept} if kept else {})


@pytest.mark.parametrize(
    ("words", "trigger"),
    [
        (["a", "b"], "a"),
        (["", " ", "b"], "b"),
        ([None, 5, "b"], "b"),
        ([], None),
        (["  b \n"], "b"),
        (["\ud800", "b"], "b"),
        (["x" * 1025], None),
    ],
    ids=repr,
)
def test_the_trigger_is_the_first_word_that_is_one(words: list[object], trigger: str | None, tmp_path: Path) -> None:
    """Half a character or an endless word would make a header that nobody can write."""
    (hint,) = _hints(tmp_path, {"trainedWords": words, "baseModel": "SD 1.5"}, ".civitai.info")
    assert hint.trigger == trigger


BROKEN = [
    b"", b"\xff\xfe\x00", b"{", b"null", b"[]", b'"text"', b"5", b"NaN", b"{}", b"[" * 500_000, b'{"a":' * 100_000, b"\xef\xbb\xbf{}",
    b'{"sha256": ' + b"9" * 10_000 + b"}", b"<html></html>", b'{"activation text": "\xff"}',
    b"{" + b" " * SIDECAR_BYTES + b"}", b"\0" * 100,
]  # fmt: skip


@pytest.mark.parametrize("content", BROKEN, ids=[f"{content[:12]!r}..{len(content)}" for content in BROKEN])
@pytest.mark.parametrize("suffix", [suffix for suffix, _ in SIDECARS])
def test_one_that_cannot_be_read_is_passed_over(content: bytes, suffix: str, tmp_path: Path) -> None:
    assert _hints(tmp_path, content, suffix) == ()


def test_a_byte_order_mark_does_not_matter(tmp_path: Path) -> None:
    assert _hints(tmp_path, b"\xef\xbb\xbf" + json.dumps(A1111).encode(), ".json")[0].trigger == "easynegative"


@pytest.mark.parametrize("suffix", [suffix for suffix, _ in SIDECARS])
def test_a_folder_of_that_name_is_passed_over(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"x{suffix}").mkdir()
    assert hints_beside(str(tmp_path / "x.pt")) == ()


def test_no_file_at_all_is_no_trouble(tmp_path: Path) -> None:
    assert hints_beside(str(tmp_path / "nowhere" / "x.pt")) == ()


WRONG = [None, True, 0, -1, 1e308, "", "\ud800", [], [[]], [None], {}, {"a": 1}, [{}], {"hashes": 5}, [5, {"primary": 1, "hashes": []}]]
KEYS = sorted({*CIVITAI, *A1111, *STABILITY_MATRIX, *LORA_MANAGER, *FLAGS, "hashes", "license"})


@pytest.mark.parametrize("value", WRONG, ids=repr)
@pytest.mark.parametrize("key", KEYS)
def test_a_value_of_another_kind_is_no_claim_and_no_error(key: str, value: object, tmp_path: Path) -> None:
    for suffix, _ in SIDECARS:
        for hint in _hints(tmp_path, {key: value}, suffix):
            json.dumps([hint.base_text, hint.trigger, hint.licence, hint.hashes]).encode()
            assert hint.base is None or hint.base in BASES


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=6),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(KEYS), _json, max_size=8), st.sampled_from([suffix for suffix, _ in SIDECARS]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_whatever_json_stands_there_its_claims_can_be_written_into_a_header(tmp_path: Path, content: dict[str, Any], suffix: str) -> None:
    embedding = load(BY_ID["emb-params-bfloat16"].data)
    for hint in _hints(tmp_path, content, suffix):
        names = replace(embedding.names, sidecar=hint.trigger)
        told = replace(embedding, names=names, hints=(hint,))
        text = header(told, trigger=hint.trigger or "x", base=hint.base, digest=digest(told), source=None)
        assert all(len(value.encode()) < 20_000 for value in text.values())


# the embedding's own header


@pytest.mark.parametrize(
    ("negative", "role"), [("true", "negative"), ("True", "negative"), ("false", "positive"), ("", None), ("perhaps", None)]
)
def test_a_modelspec_header_says_the_role(negative: str, role: str | None) -> None:
    hint = header_hint(
        {"modelspec.is_negative_embedding": negative, "modelspec.architecture": "stable-diffusion-xl-v1-base/textual-inversion"}
    )
    assert hint is not None
    assert (hint.role, hint.base) == (role, "sdxl")


def test_a_modelspec_header_says_licence_hash_and_trigger() -> None:
    spec = {"license": "CC0-1.0", "hash_sha256": f"0x{SHA}", "trigger_phrase": " bad dream ", "title": "x"}
    wanted = Hint(source="modelspec", trigger="bad dream", licence="CC0-1.0", hashes={"sha256": SHA})
    assert header_hint({f"modelspec.{key}": value for key, value in spec.items()}) == wanted


def test_a_header_without_modelspec_claims_nothing() -> None:
    assert header_hint({"format": "pt", "name": "x"}) is None


def test_the_architecture_that_we_derived_ourselves_is_no_evidence() -> None:
    metadata = {"modelspec.architecture": "stable-diffusion-v1/textual-inversion", "embconv.added": '["modelspec.architecture"]'}
    hint = header_hint(metadata)
    assert hint is not None
    assert hint.base is None


# files that speak of a whole folder


@pytest.mark.parametrize(("stem", "trigger"), [("learned_embeds", "<birb>"), ("learned_embeds-steps-500", "<birb>"), ("style", None)])
def test_the_token_of_a_concept_is_that_of_its_learned_embeds(stem: str, trigger: str | None, tmp_path: Path) -> None:
    (tmp_path / "token_identifier.txt").write_text("<birb>\n")
    found = hints_beside(str(tmp_path / f"{stem}.bin"))
    assert [hint.trigger for hint in found] == ([trigger] if trigger else [])


@pytest.mark.parametrize(
    ("content", "trigger"), [('{"TOK": "<s0><s1>"}', "TOK"), ("{}", None), ("[]", None), ('{"TOK": 5}', None), ('{"": "<s0>"}', None)]
)
def test_the_word_of_replicate_stands_beside_its_pti(content: str, trigger: str | None, tmp_path: Path) -> None:
    (tmp_path / "special_params.json").write_text(content)
    assert [hint.trigger for hint in hints_beside(str(tmp_path / "embeddings.pti"))] == ([trigger] if trigger else [])
    assert hints_beside(str(tmp_path / "embeddings.safetensors")) == ()


@pytest.mark.parametrize(
    ("tags", "role"),
    [
        (["anime", "Negative"], "negative"), ([" negative embedding "], "negative"), ([{"name": "negative prompt"}], "negative"),
        (["anime"], None), (["negative space"], None), ([], None), (None, None), ("negative", None), (5, None),
        ([None, 5, [], {}, {"name": 5}], None),
    ],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("suffix", [".civitai.info", ".civitai.json", ".cm-info.json", ".metadata.json", "civitai in .metadata.json"])
def test_a_tag_tells_the_role(suffix: str, tags: object, role: str | None, tmp_path: Path) -> None:
    model = {"baseModel": "SD 1.5", "model": {"tags": tags}}
    contents: dict[str, Any] = {
        ".cm-info.json": {"BaseModel": "SD 1.5", "Tags": tags},
        ".metadata.json": {"base_model": "SD 1.5", "tags": tags},
        "civitai in .metadata.json": {"civitai": model},
    }
    (hint,) = _hints(tmp_path, contents.get(suffix, model), suffix.removeprefix("civitai in "))
    assert hint.role == role
