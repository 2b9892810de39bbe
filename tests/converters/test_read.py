"""A file, a folder or bytes in; embeddings out, with every name and claim about them."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hostile import views
from msgspec.structs import replace

from embconv.converters import EmbconvError, Hint, Tensor
from embconv.converters.errors import NotAnEmbedding, SeveralEmbeddings, TooLarge, UnreadableFile
from embconv.converters.hashes import a1111_checksum, hashes
from embconv.converters.model import Embedding
from embconv.converters.names import trigger_of
from embconv.converters.numbers import as_float32
from embconv.converters.read import called, choose, examine, load, read
from embconv.converters.source import Source
from examples import BY_ID, EXAMPLES, Example, a1111_dict, as_tensor, made, safetensors, torch_1

every_example = pytest.mark.parametrize("example", EXAMPLES, ids=repr)


def _anywhere(embedding: Embedding) -> Embedding:
    return replace(embedding, names=replace(embedding.names, file_stem=None))


@every_example
def test_bytes_and_a_path_give_the_same_but_for_the_files_own_name(example: Example, tmp_path: Path) -> None:
    path = tmp_path / f"some style{example.suffix}"
    path.write_bytes(example.data)
    found = read(path)
    assert [_anywhere(embedding) for embedding in found] == read(example.data)
    assert {embedding.names.file_stem for embedding in found} == {"some style" if len(found) == 1 else None}


@every_example
def test_text_and_path_objects_are_as_good(example: Example, tmp_path: Path) -> None:
    path = tmp_path / f"style{example.suffix}"
    path.write_bytes(example.data)
    assert read(str(path)) == read(path)


@every_example
def test_the_extension_says_nothing(example: Example, tmp_path: Path) -> None:
    """EasyNegative lies in Lora folders, kohya writes emb_params into .pt, cog-sdxl safetensors into .pti."""
    path = tmp_path / "style.ckpt"
    path.write_bytes(example.data)
    assert [embedding.layout for embedding in read(path)] == [example.layout] * len(example.expected)


@every_example
def test_each_embedding_says_its_layout(example: Example) -> None:
    assert {embedding.layout for embedding in read(example.data)} == {example.layout}


def test_an_examination_tells_the_file_the_layout_and_the_outline(tmp_path: Path) -> None:
    path = tmp_path / "style.pt"
    path.write_bytes(BY_ID["a1111-trained"].data)
    with Source(path) as source:
        found = examine(source)
    assert (found.name, found.path, found.layout.name, found.outline.archive_root) == ("style.pt", str(path), "a1111", "archive")


def test_four_names_that_differ_are_all_kept(tmp_path: Path) -> None:
    """badhandv4.pt is called badhandv3 inside, sxz-raiden-mgr.pt was saved as sxz-mgr-v1-4000."""
    path = tmp_path / "sxz-raiden-mgr.pt"
    path.write_bytes(torch_1(a1111_dict(made(1, 768), name="sxz-mgr"), "sxz-mgr-v1-4000"))
    names = load(path).names
    assert (names.file_stem, names.inner_name, names.key, names.archive_root) == ("sxz-raiden-mgr", "sxz-mgr", "*", "sxz-mgr-v1-4000")
    assert trigger_of(names) == "sxz-raiden-mgr"


def test_a_picture_is_called_by_its_json_and_not_by_its_file(tmp_path: Path) -> None:
    path = tmp_path / "download (3).png"
    path.write_bytes(BY_ID["a1111-picture-with-text-only"].data)
    assert trigger_of(load(path).names) == "gasai yuno"


def test_a_modelspec_header_gives_its_trigger_and_its_claims() -> None:
    metadata = {"modelspec.trigger_phrase": "bad dream", "modelspec.architecture": "stable-diffusion-v1/textual-inversion"}
    embedding = load(safetensors({"emb_params": made(1, 768)}, metadata))
    assert embedding.names.header == "bad dream"
    assert embedding.hints == (
        Hint(source="modelspec", base="sd1", base_text="stable-diffusion-v1/textual-inversion", trigger="bad dream"),
    )
    assert embedding.metadata == metadata


def test_a_sidecar_is_found_beside_the_file_and_not_beside_bytes(tmp_path: Path) -> None:
    path = tmp_path / "emb.safetensors"
    path.write_bytes(BY_ID["emb-params-bfloat16"].data)
    (tmp_path / "emb.civitai.info").write_text('{"trainedWords": ["bad dream"], "baseModel": "SD 1.5"}')
    embedding = load(path)
    assert embedding.names.sidecar == "bad dream"
    assert [(hint.source, hint.base) for hint in embedding.hints] == [("emb.civitai.info", "sd1")]
    assert load(path.read_bytes()).names.sidecar is None


def test_a_sidecar_of_a_file_with_several_embeddings_names_none_of_them(tmp_path: Path) -> None:
    path = tmp_path / "two.bin"
    path.write_bytes(BY_ID["a1111-several-placeholders"].data)
    (tmp_path / "two.civitai.info").write_text('{"trainedWords": ["cat"], "baseModel": "SD 1.5"}')
    assert [(e.names.sidecar, e.hints[0].base) for e in read(path)] == [(None, "sd1")] * 2


def test_a_file_name_that_is_no_unicode_becomes_some(tmp_path: Path) -> None:
    path = bytes(tmp_path) + b"/caf\xe9.safetensors"
    with open(path, "wb") as file:
        file.write(BY_ID["emb-params-bfloat16"].data)
    names = load(__import__("os").fsdecode(path)).names
    assert names.file_stem == "caf?"


# one of several


def test_one_of_several_is_picked_by_key_trigger_or_inner_name() -> None:
    data = BY_ID["a1111-several-placeholders"].data
    assert load(data, pick="dog").names.key == "dog"
    assert load(BY_ID["a1111-trained"].data, pick="bad-hands-5").names.key == "*"
    assert load(BY_ID["a1111-trained"].data, pick="*").names.inner_name == "bad-hands-5"


@pytest.mark.parametrize("pick", [None, "bird", "bad-hands-5"])
def test_where_it_is_not_clear_which_all_are_named(pick: str | None) -> None:
    """The last is the inner name of both."""
    with pytest.raises(SeveralEmbeddings) as caught:
        load(BY_ID["a1111-several-placeholders"].data, pick=pick)
    assert caught.value.names == ["cat", "dog"]


def test_nothing_is_chosen_of_nothing() -> None:
    with pytest.raises(SeveralEmbeddings):
        choose([], "x", None)


def test_an_embedding_of_several_is_called_by_its_key_or_its_trigger() -> None:
    assert [called(e) for e in read(BY_ID["diffusers-several-tokens-of-one-storage"].data)] == ["<s1>", "<s2>"]
    assert called(load(BY_ID["bare-tensor-t5"].data)) == "myNN"


def test_more_embeddings_than_anyone_keeps_in_a_file_are_refused() -> None:
    with pytest.raises(UnreadableFile, match="1025 embeddings"):
        read(torch_1({"state_dict": {"embed": made(1025, 8)}}))


# folders


def test_many_views_of_one_storage_are_read_up_to_a_limit() -> None:
    size, stride = b"M\xa0\x0fM\0\3\x86", b"M\0\3K\1\x86"  # 4,000 vectors, 12 MB
    assert len(read(views(2, 3 << 20, size, stride))) == 2
    with pytest.raises(TooLarge, match="bytes of vectors; at most 33,554,432 are read"):
        read(views(3, 3 << 20, size, stride))


def test_a_onetrainer_backup_is_read_as_its_embeddings(tmp_path: Path) -> None:
    home = tmp_path / "backup"
    (home / "embeddings").mkdir(parents=True)
    (home / "optimizer").mkdir()
    (home / "meta.json").write_text('{"train_progress": {"epoch": 3}}')
    (home / "optimizer" / "optimizer.pt").write_bytes(BY_ID["emb-emb2"].data)
    (home / "embeddings" / "0b6f5a9e-4a9e-4f1c-a6a1-0d5c9c1b2a3d.safetensors").write_bytes(BY_ID["emp-params-onetrainer"].data)
    (home / "embeddings" / "1b6f5a9e-4a9e-4f1c-a6a1-0d5c9c1b2a3d.safetensors").write_bytes(BY_ID["per-encoder-sdxl"].data)
    assert [embedding.layout for embedding in read(home)] == ["emp_params", "per_encoder"]
    assert [embedding.layout for embedding in read(f"{home}/")] == ["emp_params", "per_encoder"]


def test_an_older_onetrainer_backup_is_read(tmp_path: Path) -> None:
    (tmp_path / "embedding").mkdir()
    (tmp_path / "meta.json").write_text("{}")
    (tmp_path / "embedding" / "embedding.pt").write_bytes(BY_ID["a1111-early-onetrainer"].data)
    assert load(tmp_path).layout == "a1111"


def test_a_concept_of_the_library_is_read_with_its_token(tmp_path: Path) -> None:
    (tmp_path / "learned_embeds.bin").write_bytes(BY_ID["bare-tensor-t5"].data)
    (tmp_path / "token_identifier.txt").write_text("<birb-style>\n")
    (tmp_path / "type_of_concept.txt").write_text("style")
    names = load(tmp_path).names
    assert (names.sidecar, trigger_of(names)) == ("<birb-style>", "<birb-style>")


@pytest.mark.parametrize("inside", [[], ["meta.json"], ["token_identifier.txt"], ["style.pt"]], ids=str)
def test_any_other_folder_is_named_with_the_way_to_convert_it(inside: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "stuff"
    (folder / "embeddings").mkdir(parents=True)
    for name in inside:
        (folder / name).write_bytes(b"{}")
    with pytest.raises(NotAnEmbedding, match=r"stuff.*is a folder|stuff.*it is a folder") as caught:
        read(folder)
    assert "Convert the files in it" in caught.value.hint


def test_the_two_files_of_sdxl_are_two_readings_of_one_token(tmp_path: Path) -> None:
    (tmp_path / "learned_embeds.safetensors").write_bytes(BY_ID["diffusers-two-axes"].data)
    (tmp_path / "learned_embeds_2.safetensors").write_bytes(BY_ID["diffusers-second-encoder-of-sdxl"].data)
    found = [load(tmp_path / name) for name in ("learned_embeds.safetensors", "learned_embeds_2.safetensors")]
    assert [trigger_of(embedding.names) for embedding in found] == ["<cat-toy>", "<cat-toy>"]
    assert [set(embedding.vectors) for embedding in found] == [{"clip_l"}, {"clip_g"}]


def test_the_words_of_replicate_are_read_beside_its_file(tmp_path: Path) -> None:
    (tmp_path / "embeddings.pti").write_bytes(BY_ID["pti-replicate"].data)
    assert trigger_of(load(tmp_path / "embeddings.pti").names) == "<s0><s1>"
    (tmp_path / "special_params.json").write_text('{"TOK": "<s0><s1>"}')
    assert trigger_of(load(tmp_path / "embeddings.pti").names) == "TOK"


@pytest.mark.parametrize("length", [1, 4, 9, 100, 600, 3000])
@pytest.mark.parametrize("name", ["a1111-trained", "ldm-legacy-with-source-code", "emb-params-kohya", "diffusers-flax", "a1111-webp"])
def test_a_file_cut_short_is_an_error_of_ours(name: str, length: int) -> None:
    with pytest.raises(EmbconvError):
        read(BY_ID[name].data[:length])


# real files

REAL = (
    "NEGATIVE-empty-dict.pt", "a1111-bad-hands-5.pt", "a1111-name-mismatch-badhandv4.pt", "a1111-name-with-space-1000.pt",
    "a1111-torch113-root-name-sxz.pt", "diffusers-1d-birb.bin", "diffusers-1d-torch2-byteorder.bin", "diffusers-2d-cat-toy.safetensors",
    "emb_params-EasyNegative.pt", "emb_params-unaligned-EasyNegative.safetensors", "image-emb-gasai-1000.png",
    "ldm-pdict-mps-numpy-birch.pt", "ldm-pdict-torch111-anya.pt", "ldm-pdict-torch112-Keqing.pt", "replicate-pti-bf16.pti",
    "safelora-embeds-disney.safetensors", "sdxl-clip_lg-expected.safetensors", "t5-bare-tensor-bf16.pt", "xl-emb-emb2-bf16.pt",
)  # fmt: skip
every_real_file = pytest.mark.parametrize("name", REAL)
every_real_embedding = pytest.mark.parametrize("name", [name for name in REAL if not name.startswith("NEGATIVE")])


def _manifest(real: Path) -> dict[str, dict[str, Any]]:
    return {row["file"]: row for row in json.loads((real / "manifest.json").read_text("utf-8"))}


def test_real_files_are_all_tested(real: Path) -> None:
    assert sorted(_manifest(real)) == sorted(REAL)


@every_real_embedding
def test_real_files_vectors_are_those_of_the_manifest(name: str, real: Path) -> None:
    rows = _manifest(real)[name]["tensors"].values()
    wanted = sorted(
        (t["sha256_f32le"], t["vectors"], t["dim"], t["dtype"].replace("json-float", "F32"), t["a1111_legacy_checksum"]) for t in rows
    )

    def facts(tensor: Tensor) -> tuple[object, ...]:
        return (hashlib.sha256(as_float32(tensor)).hexdigest(), *tensor.shape, tensor.dtype, a1111_checksum(tensor))

    assert sorted(facts(tensor) for embedding in read(real / name) for tensor in embedding.vectors.values()) == wanted


@every_real_file
def test_real_files_hashes_are_those_of_the_manifest(name: str, real: Path) -> None:
    wanted = _manifest(real)[name]["hashes"]
    with Source(real / name) as source:
        found = hashes(source)
    assert (found.sha256, found.crc32, found.autov1) == (wanted["sha256"], wanted["crc32_civitai_le"], wanted["autov1"])
    assert (found.autov2, found.autov3_full.upper(), found.a1111_shorthash) == (
        wanted["autov2"],
        wanted["autov3_full"],
        wanted["a1111_shorthash"],
    )
    assert bytes.fromhex(found.crc32)[::-1].hex().upper() == wanted["crc32"]


@every_real_embedding
def test_real_files_names_and_training_are_those_of_the_manifest(name: str, real: Path) -> None:
    row = _manifest(real)[name]
    said = row.get("meta") or {}
    for embedding in read(real / name):
        assert embedding.names.archive_root == row.get("zip_root")
        assert embedding.names.inner_name == said.get("name")
        for field in ("step", "sd_checkpoint", "sd_checkpoint_name"):
            assert (getattr(embedding.training, field) if embedding.training else None) == said.get(field)


@every_real_embedding
def test_real_files_keys_are_those_of_the_manifest(name: str, real: Path) -> None:
    stored = [key.removeprefix("string_to_param.") for key in _manifest(real)[name]["tensors"] if key != "<bare tensor>"]
    for embedding in read(real / name):
        assert embedding.names.key in (*stored, "<s0><s1>" if name.endswith(".pti") else None)
        assert set(embedding.keys.values()) <= set(stored)


def test_real_files_nothing_is_in_the_empty_one(real: Path) -> None:
    with pytest.raises(NotAnEmbedding, match="an empty file: a dictionary with nothing in it"):
        read(real / "NEGATIVE-empty-dict.pt")


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("emb_params-EasyNegative.pt", "emb_params-unaligned-EasyNegative.safetensors"),
        ("image-emb-gasai-1000.png", "a1111-name-with-space-1000.pt"),
    ],
)
def test_real_files_of_equal_vectors_have_equal_digests(one: str, two: str, real: Path, tmp_path: Path) -> None:
    from embconv.converters.hashes import digest

    shutil.copy(real / one, tmp_path / one)
    assert digest(load(tmp_path / one)) == digest(load(real / two))
    assert load(real / one).vectors == load(real / two).vectors


def test_as_tensor_is_an_oracle_of_its_own() -> None:
    assert as_tensor(made(1, 3)) == Tensor("F32", (1, 3), made(1, 3).numpy().tobytes())
