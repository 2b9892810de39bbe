"""What sidecars tell, in the words of each program; a bad one tells nothing and stops nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embconv.converters.limits import SIDECAR_BYTES
from embconv.converters.sidecars import SIDECARS
from embconv.registry.store.changes import CLAIMS
from embconv.registry.store.lines import text
from embconv.registry.told import ENDINGS, Told, told

SHA = "ab" * 32
VERSION: dict[str, Any] = {
    "id": 9208, "modelId": 7808, "name": "EasyNegative_pt", "baseModel": "SD 1.5", "trainedWords": ["easynegative", "easy"],
    "description": "<p>version</p>", "creator": {"username": "gsdf"}, "stats": {"downloadCount": 120_000}, "air": "urn:air:sd1:embedding:civitai:7808@9208",
    "model": {"name": "EasyNegative", "type": "TextualInversion", "nsfw": False, "tags": ["anime", "negative embedding"],
              "description": "<p>For <b>hands</b> <script>alert(1)</script><a href='javascript:x'>l</a></p>", "allowNoCredit": True},
    "files": [{"name": "other.pt", "hashes": {"SHA256": "CD" * 32}}, {"name": "EasyNegative.pt", "primary": True, "hashes": {"SHA256": SHA.upper(), "AutoV2": "ABABABABAB"}}],
    "images": [{"url": "https://image.civitai.com/1.jpeg", "nsfwLevel": 1, "meta": {"prompt": "x"}}],
}  # fmt: skip
Say = Callable[..., Told]


@pytest.fixture
def say(tmp_path: Path) -> Say:
    """What sidecars of `style.pt` tell together: by ending, an object or raw bytes."""

    def work(**files: Any) -> Told:
        paths = []
        for name, content in files.items():
            path = tmp_path / f"style.{name.replace('__', '-').replace('_', '.')}"
            path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
            paths.append(os.fspath(path))
        return told(paths, "style")

    return work


def test_every_sidecar_that_the_converters_know_is_read() -> None:
    assert set(ENDINGS) == {suffix for suffix, _ in SIDECARS}


@pytest.mark.parametrize("name", ["civitai_info", "civitai_json"])
def test_civitais_body(say: Say, name: str) -> None:
    found = say(**{name: VERSION})
    description = found.claims.pop("description")
    assert "<b>hands</b>" in description
    assert "<p>version</p>" in description
    assert "script" not in description
    assert found.claims.pop("licence") == {"allowNoCredit": True}
    assert found.claims == {
        "title": "EasyNegative", "version": "EasyNegative_pt", "creator": "gsdf", "base": "SD 1.5", "trigger": "easynegative", "triggers": ["easy"],
        "role": "negative", "nsfw": "pg", "tags": ["anime", "negative embedding"], "downloads": 120_000, "civitai": "7808@9208",
        "hashes": {"sha256": SHA, "autov2": "ababababab"}, "air": "urn:air:sd1:embedding:civitai:7808@9208", "told_by": [f"style.{name.replace('_', '.')}"],
    }  # fmt: skip
    assert found.notes == ()


def test_levels_are_civitais(say: Say) -> None:
    assert say(civitai_info={**VERSION, "nsfwLevel": 28}).claims["nsfw"] == "xxx"
    assert say(civitai_info={**VERSION, "model": {"nsfw": True}}).claims["nsfw"] == "x"


def test_a_skeleton_rates_nothing_and_names_no_version(say: Say) -> None:
    found = say(civitai_info={"id": "", "modelId": "", "name": "style", "trainedWords": [], "baseModel": "Unknown", "description": "",
                              "model": {"name": "style", "type": "TextualInversion", "nsfw": False, "poi": ""}, "files": [], "skeleton_file": True})  # fmt: skip
    assert not {"nsfw", "civitai", "base", "description"} & found.claims.keys()
    assert found.claims["title"] == "style"


def test_a1111s_user_metadata(say: Say) -> None:
    found = say(json={"description": "soft <img src=x onerror=alert(1)> light", "sd version": "SD1", "activation text": " my  style ", "preferred weight": 0.8,
                      "negative text": "lowres", "notes": "from ann\n2023", "sha256": SHA, "modelId": 5, "modelVersionId": "6", "extensions": {}})  # fmt: skip
    assert found.claims == {"base": "SD1", "trigger": "my style", "negative_text": "lowres", "weight": 0.8, "description": "soft  light", "notes": "from ann\n2023",
                            "hashes": {"sha256": SHA}, "civitai": "5@6", "told_by": ["style.json"]}  # fmt: skip


def test_a_word_for_the_negative_prompt_alone_makes_it_a_negative_one(say: Say) -> None:
    assert say(json={"activation text": "", "negative text": "Style, lowres"}).claims["role"] == "negative"
    assert "role" not in say(json={"activation text": "", "negative text": "lowres"}).claims
    assert "role" not in say(json={"activation text": "style", "negative text": "style"}).claims


def test_stability_matrix(say: Say) -> None:
    found = say(cm__info_json={
        "ModelId": 7808, "ModelName": "EasyNegative", "ModelDescription": "<i>x</i>", "Nsfw": True, "Tags": ["anime", "negative"], "VersionId": 9208, "VersionName": "pt",
        "VersionDescription": None, "AuthorUsername": "gsdf", "BaseModel": "SD 1.5", "Hashes": {"SHA256": SHA.upper(), "CRC32": None}, "TrainedWords": ["w1", "w2"],
        "Stats": {"downloadCount": 7}, "Source": 0})  # fmt: skip
    assert found.claims == {
        "civitai": "7808@9208", "base": "SD 1.5", "title": "EasyNegative", "version": "pt", "creator": "gsdf", "trigger": "w1", "triggers": ["w2"], "tags": ["anime", "negative"],
        "role": "negative", "nsfw": "x", "downloads": 7, "description": "<i>x</i>", "hashes": {"sha256": SHA}, "told_by": ["style.cm-info.json"]}  # fmt: skip


@pytest.mark.parametrize(("source", "level"), [(0, "pg"), (2, None)])
def test_only_civitai_says_that_it_is_harmless(say: Say, source: int, level: str | None) -> None:
    assert say(cm__info_json={"ModelName": "a", "Nsfw": False, "VersionId": 1, "ModelId": 1, "Source": source}).claims.get("nsfw") == level


def test_lora_manager(say: Say) -> None:
    found = say(metadata_json={"file_name": "style", "model_name": "Mine", "base_model": "SD 1.5", "notes": "n", "tags": ["own"], "preview_nsfw_level": 4, "sha256": "cd" * 32,
                               "modelDescription": "told", "civitai": VERSION})  # fmt: skip
    assert found.claims["title"] == "EasyNegative"
    assert found.claims["tags"] == ["anime", "negative embedding", "own"]
    assert (found.claims["creator"], found.claims["downloads"], found.claims["notes"], found.claims["civitai"]) == ("gsdf", 120_000, "n", "7808@9208")
    assert found.shown == "r"
    assert "preview_nsfw" not in found.claims
    assert say(metadata_json={"model_name": "Mine", "civitai": {}}).claims == {"title": "Mine", "told_by": ["style.metadata.json"]}


def test_of_several_civitais_word_comes_first_and_each_adds_what_it_knows(say: Say) -> None:
    found = say(json={"activation text": "mine", "notes": "n", "sha256": "cd" * 32}, cm__info_json={"ModelName": "b", "Tags": ["x"]}, civitai_info=VERSION)
    assert (found.claims["title"], found.claims["trigger"], found.claims["notes"]) == ("EasyNegative", "easynegative", "n")
    assert found.claims["tags"] == ["anime", "negative embedding", "x"]
    assert found.claims["hashes"]["sha256"] == SHA
    assert found.claims["told_by"] == ["style.civitai.info", "style.cm-info.json", "style.json"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"\xff\xfe{}", "no JSON"),
        (b"[1, 2]", "no object"),
        (b"null", "no object"),
        (b"[" * 200_000, "no JSON"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "no JSON"),
        (b'{"notes": "' + b"x" * SIDECAR_BYTES + b'"}', "bytes"),
    ],
    ids=["empty", "torn", "utf-16", "list", "null", "deep", "long-number", "huge"],
)
def test_a_bad_one_is_passed_over_and_the_others_count(say: Say, content: bytes, why: str) -> None:
    found = say(civitai_info=content, json={"notes": "n"})
    assert found.claims == {"notes": "n", "told_by": ["style.json"]}
    (note,) = found.notes
    assert note.startswith('"style.civitai.info" ')
    assert why in note


ODD: list[Any] = [None, True, -1, 1e308, "", "x", "\0", "\ud800", [], [[]], [None], {}, {"a": {}}, [{"name": 1}], 10**30]
KEYS = {"civitai.info": [*VERSION, "nsfwLevel"], "json": ["description", "sd version", "activation text", "negative text", "notes", "sha256", "modelId", "preferred weight"],
        "cm-info.json": ["ModelId", "ModelName", "ModelDescription", "Nsfw", "Tags", "VersionId", "AuthorUsername", "BaseModel", "Hashes", "TrainedWords", "Stats"],
        "metadata.json": ["model_name", "base_model", "notes", "tags", "preview_nsfw_level", "sha256", "modelDescription", "civitai", "trainedWords"]}  # fmt: skip


@pytest.mark.parametrize(("ending", "key"), [(ending, key) for ending, keys in KEYS.items() for key in keys])
def test_a_value_of_any_type_stops_nothing(tmp_path: Path, ending: str, key: str) -> None:
    path = tmp_path / f"style.{ending}"
    body = VERSION if ending == "civitai.info" else {}
    for value in [*ODD, {"id": True}, {"id": -1}, {"id": 10**30}]:
        path.write_text(json.dumps({**body, key: value}))
        found = told([str(path)], "style")
        assert found.notes == ()
        said = text(found.claims)
        assert "\\u0000" not in said
        assert json.loads(said) == found.claims
    for odd in ("[1e999, NaN, -Infinity]", "1e999", "NaN", "9" * 400):
        path.write_text(json.dumps(body)[:-1] + f'{", " if body else ""}"{key}": {odd}}}')
        assert told([str(path)], "style").notes == ()
        assert json.loads(text(told([str(path)], "style").claims)) == told([str(path)], "style").claims


def test_what_is_nested_without_end_is_cut_off(say: Say) -> None:
    deep = b'{"model": {"name": "a", "allowCommercialUse": ' + b"[" * 500 + b"]" * 500 + b"}}"
    found = say(civitai_info=deep)
    assert (found.claims["title"], found.notes) == ("a", ())
    assert text(found.claims).count("[") < 50


def test_nuls_and_halves_of_characters_are_taken_out(say: Say) -> None:
    assert say(json={"notes": "a\0b\ud800c\x1b[31m", "activation text": "x\0y"}).claims == {"trigger": "xy", "notes": "abc[31m", "told_by": ["style.json"]}


@pytest.mark.parametrize("letter", ["a", "&", '"', "水", "\U0001f600"])
def test_however_much_it_says_a_line_of_origin_holds_it(say: Say, letter: str) -> None:
    much = letter * 30_000
    tags = [f"{letter * 99}{n}" for n in range(500)]
    found = say(civitai_info={**VERSION, "description": much, "trainedWords": [letter * 1_100] * 30, "model": {"name": much, "description": much, "tags": tags}},
                json={"notes": much, "negative text": much}, metadata_json={"tags": tags, "model_name": much})  # fmt: skip
    assert len(text(found.claims)) <= CLAIMS
    assert len(text(found.claims).encode()) <= 4 * CLAIMS
    assert found.claims["civitai"] == "7808@9208"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "style.json")
    assert told([str(tmp_path / "style.json")], "style").notes != ()
