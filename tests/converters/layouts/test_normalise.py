"""What becomes of keys, tokens and rows: each bug here once lost a vector or a word."""

import json

import pytest

from embconv.converters.hashes import digest
from embconv.converters.layouts import BY_NAME
from embconv.converters.model import UNSET, Training
from embconv.converters.names import trigger_of
from embconv.converters.read import load, read
from examples import (
    BY_ID,
    a1111_dict,
    as_tensor,
    lora_weights,
    made,
    safetensors,
    torch_1,
    torch_file,
)


def test_a_mislabelled_key_does_not_replace_the_vectors_of_the_right_one() -> None:
    small, second = made(1, 768), made(1, 768, seed=1)
    embedding = load(safetensors({"clip_l": small, "clip_g": second}))
    assert embedding.vectors == {"clip_l": as_tensor(small), "clip_g": as_tensor(second)}
    assert embedding.keys == {"clip_l": "clip_l", "clip_g": "clip_g"}


def test_two_names_of_one_encoder_are_both_kept() -> None:
    one, two = made(1, 4096), made(1, 4096, seed=1)
    embedding = load(safetensors({"t5": one, "t5xxl": two}))
    assert embedding.vectors == {"t5xxl": as_tensor(two), "t5": as_tensor(one)}


def test_three_keys_that_meet_are_all_kept() -> None:
    tensors = {"clip_l": made(1, 768), "llama": made(1, 768, seed=1), "llama3_8b": made(1, 4096)}
    embedding = load(torch_1(tensors))
    assert embedding.vectors["clip_l"] == as_tensor(tensors["clip_l"])
    assert embedding.vectors["llama"] == as_tensor(tensors["llama3_8b"])
    assert sorted(embedding.keys.values()) == sorted(tensors)
    assert as_tensor(tensors["llama"]) in embedding.vectors.values()


@pytest.mark.parametrize("token", ["fade_out", "knocked_out", "_out"])
def test_a_token_that_ends_in_out_is_no_output_vector(token: str) -> None:
    vectors = made(2, 768)
    for data in (torch_1({token: vectors}), torch_1(a1111_dict(None, string_to_param={token: vectors}, string_to_token={token: 265}))):
        embedding = load(data)
        assert (embedding.vectors, embedding.output_vectors) == ({"clip_l": as_tensor(vectors)}, {})


@pytest.mark.parametrize("width", [320, 512, 4097])
def test_a_width_nobody_has_is_kept_and_called_unknown(width: int) -> None:
    assert load(safetensors({"emb_params": made(1, width)})).vectors == {f"unknown_{width}": as_tensor(made(1, width))}


def test_a_view_of_a_whole_vocabulary_gives_its_row_alone() -> None:
    row = load(BY_ID["diffusers-row-of-a-vocabulary"].data).vectors["clip_l"]
    assert len(row.data) == 768 * 4


def test_the_token_id_of_a_view_is_the_number_it_shows() -> None:
    assert load(BY_ID["ldm-torch-1-11"].data).metadata == {"string_to_token": '{"*": 265}'}


def test_1280_wide_is_bert_in_the_original_program_and_bigg_elsewhere() -> None:
    assert set(load(BY_ID["ldm-bert"].data).vectors) == {"ldm_bert"}
    assert set(load(torch_1(a1111_dict(made(1, 1280)))).vectors) == {"clip_g"}


@pytest.mark.parametrize(
    ("changes", "training", "kept"),
    [
        ({"step": "100"}, {"step": UNSET}, {"step": '"100"'}),
        ({"step": 1.5}, {"step": UNSET}, {"step": "1.5"}),
        ({"step": True}, {"step": UNSET}, {"step": "true"}),
        ({"sd_checkpoint": 12345678}, {"sd_checkpoint": UNSET}, {"sd_checkpoint": "12345678"}),
        ({"name": 5}, {}, {"name": "5"}),
        ({"epoch": [1, {"a": None}]}, {}, {"epoch": '[1, {"a": null}]'}),
    ],
    ids=str,
)
def test_a_value_of_an_unusual_kind_stays_as_text(changes: dict[str, object], training: dict[str, object], kept: dict[str, str]) -> None:
    embedding = load(torch_1(a1111_dict(made(1, 768), **changes)))
    wanted = {"step": 1364, "sd_checkpoint": "7ab762a7", "sd_checkpoint_name": "blossom-extract", **training}
    assert embedding.training == Training(**wanted)  # type: ignore[arg-type]
    assert embedding.metadata == {"string_to_token": '{"*": 265}', **kept}


@pytest.mark.parametrize(("tokens", "said"), [({"*": 265}, 265), ({"*": "265"}, None), ({"*": None}, None)], ids=str)
def test_a_token_map_of_any_kind_is_read(tokens: dict[str, object], said: object) -> None:
    embedding = load(torch_1(a1111_dict(made(1, 768), string_to_token=tokens)))
    assert json.loads(embedding.metadata["string_to_token"]) == {"*": said}


def test_text_in_our_own_a1111_dictionaries_comes_back() -> None:
    embedding = load(torch_1(a1111_dict(made(1, 768), embconv={"note": "by hand", "bad": 5, 7: "x"})))
    assert embedding.metadata["note"] == "by hand"
    assert "bad" not in embedding.metadata


# bundles and LoRA


def test_a_bundle_under_the_placeholder_itself_is_read() -> None:
    vectors = made(2, 768)
    found = load(safetensors({**lora_weights(), "bundle_emb.cat.<cat>": vectors}))
    assert (found.names.key, found.vectors) == ("cat", {"clip_l": as_tensor(vectors)})


def test_two_bundles_of_one_lora_are_two_embeddings_called_by_their_names() -> None:
    assert [trigger_of(e.names) for e in read(BY_ID["bundle-emb-hcp"].data)] == ["pt-cat", "pt-dog"]


def test_the_text_of_a_lora_is_no_text_of_its_tokens() -> None:
    assert [e.metadata for e in read(BY_ID["safelora-with-two-tokens"].data)] == [{}, {}]


def test_the_order_of_tokens_is_that_of_the_tensors_and_not_of_the_text() -> None:
    """The library writes the text of a header in an order that changes from run to run."""
    vectors, length = made(2, 768).numpy().tobytes(), 768 * 4
    tensors = {f"<s{i}>": {"dtype": "F32", "shape": [768], "data_offsets": [i * length, (i + 1) * length]} for i in range(2)}
    header = json.dumps({"__metadata__": {"<s1>": "<embed>", "<s0>": "<embed>"}, **tensors}).encode()
    assert [e.names.key for e in read(len(header).to_bytes(8, "little") + header + vectors)] == ["<s0>", "<s1>"]


def test_a_flag_without_its_tensor_is_passed_over() -> None:
    data = safetensors({"<s1>": made(1, 768)[0], "unet:0:up": made(4, 1)}, {"<s1>": "<embed>", "<s2>": "<embed>"})
    assert [e.names.key for e in read(data)] == ["<s1>"]


def test_rows_without_names_are_tokens_counted_from_one() -> None:
    """custom-diffusion src/convert.py, compvis-to-diffuser: each row of `embed` is a token of its own."""
    data = torch_1({"state_dict": {"embed": made(3, 768, "float16")}})
    assert [(e.names.key, e.vectors["clip_l"].shape) for e in read(data)] == [(f"<new{i}>", (1, 768)) for i in (1, 2, 3)]


def test_steps_of_a_list_are_numbered_from_one() -> None:
    mixed = [{"<cat>": made(1, 768)}, {"clip_l": made(1, 768), "clip_g": made(1, 1280)}, {"emb_params": made(1, 768)}, made(1, 4096)]
    assert [e.names.key for e in read(torch_file(mixed))] == ["<cat>-1", "step-2", "step-3", "step-4"]


def test_a_list_that_holds_something_else_is_no_embedding() -> None:
    assert not BY_NAME["list_of_dicts"].detect(_outline(torch_1([{"emb": made(1, 768)}, "done"])))


def _outline(data: bytes) -> object:
    from embconv.converters.containers import open_contents
    from embconv.converters.source import Source

    with Source(data) as source:
        return open_contents(source).outline


def test_a_row_token_is_only_the_last_resort_for_a_trigger() -> None:
    names = load(BY_ID["pti-replicate"].data).names
    assert (names.key, trigger_of(names)) == ("<s0><s1>", "<s0><s1>")


@pytest.mark.parametrize("rows", [1, 3])
def test_each_row_of_a_pti_is_a_token_of_its_key(rows: int) -> None:
    data = safetensors({"text_encoders_0": made(rows, 768), "text_encoders_1": made(rows, 1280)})
    assert load(data).names.key == "".join(f"<s{i}>" for i in range(rows))


def test_tokens_of_one_storage_are_different_embeddings() -> None:
    one, two = read(BY_ID["diffusers-several-tokens-of-one-storage"].data)
    assert digest(one) != digest(two)


# writers


@pytest.mark.parametrize(
    "text", ["", "no JSON", "[]", "5", '{"*": null}', '{"*": -1}', '{"*": "265"}', "[" * 100_000, '{"*": 99999999999999999999}']
)
def test_a_foreign_text_about_tokens_does_not_stop_the_a1111_writer(text: str) -> None:
    embedding = load(safetensors({"emb_params": made(1, 768)}, {"string_to_token": text}))
    assert BY_NAME["a1111"].write is not None
    tree = BY_NAME["a1111"].write(embedding, "cat", {})
    assert tree["string_to_token"] == {"*": 265}


def test_the_a1111_writer_keeps_the_token_id_and_the_order_of_keys() -> None:
    embedding = load(torch_1(a1111_dict(made(1, 768), string_to_token={"*": 300})))
    assert BY_NAME["a1111"].write is not None
    tree = BY_NAME["a1111"].write(embedding, "cat", {"note": "x", "format": "pt"})
    assert tree["string_to_token"] == {"*": 300}
    assert list(tree) == ["string_to_token", "string_to_param", "name", "step", "sd_checkpoint", "sd_checkpoint_name", "embconv"]
    assert tree["embconv"] == {"note": "x"}


@pytest.mark.parametrize("layout", [layout for layout in BY_NAME.values() if layout.write], ids=lambda layout: layout.name)
def test_what_a_layout_writes_it_reads(layout: object) -> None:
    from embconv.converters.containers import torch_zip
    from embconv.converters.layouts import Layout

    assert isinstance(layout, Layout)
    assert layout.write is not None
    embedding = load(BY_ID["emb-params-kohya-pt"].data)
    (again,) = read(torch_zip.write(layout.write(embedding, "cat", {})))
    assert (again.layout, again.vectors) == (layout.name, embedding.vectors)


@pytest.mark.parametrize("layout", ["a1111", "emb_params", "emp_params", "diffusers"])
def test_a_layout_of_one_encoder_takes_no_two(layout: str) -> None:
    from embconv.converters.errors import CannotHold

    write = BY_NAME[layout].write
    assert write is not None
    with pytest.raises(CannotHold, match=r"clip_g and clip_l|clip_l and clip_g"):
        write(load(BY_ID["per-encoder-sdxl"].data), "cat", {})
