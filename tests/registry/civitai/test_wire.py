"""Answers of every year decode, and no odd value stops the rest."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from mirrored import MODELS, RECORDED, RECORDINGS, WITHOUT_FILES, file, model, recorded, version

from embconv.registry.civitai import wire
from embconv.registry.civitai.client import founds, many_versions, one_version


def heard(body: Any) -> wire.HeardModel:
    return wire.model(json.dumps(body).encode())


@RECORDINGS
@pytest.mark.parametrize("name", [*MODELS, WITHOUT_FILES])
def test_a_recorded_model_is_read_whole(name: str) -> None:
    body = recorded(name)
    one = heard(body)
    assert (one.model.id, one.model.name, one.odd) == (body["id"], body["name"], ())
    assert [each.version.id for each in one.versions] == [each["id"] for each in body["modelVersions"]]
    for each, said in zip(one.versions, body["modelVersions"], strict=True):
        assert [each_.body for each_ in each.files] == said.get("files", [])
        assert len(list(wire.images(each.body))) == len(said.get("images", []))


@RECORDINGS
@pytest.mark.parametrize("name", ["lora_version_242807", "version_gated_2026_reconstructed"])
def test_a_recorded_version_is_read_by_itself(name: str) -> None:
    body = recorded(name)
    one = one_version(json.dumps(body).encode())
    assert (one.version.id, one.version.model_id) == (body["id"], body.get("modelId"))
    assert len(one.files) == len(body.get("files", []))


def test_every_recorded_answer_is_looked_at_here_or_is_no_model() -> None:
    known = {*MODELS, WITHOUT_FILES, "lora_version_242807", "version_gated_2026_reconstructed", "errors_and_redirects", "file_pending_scan_no_hashes", "manifest"}
    assert {path.stem for path in RECORDED.glob("*.json")} <= known


@RECORDINGS
def test_a_pending_file_has_no_hashes() -> None:
    body = recorded("file_pending_scan_no_hashes")
    said = body.get("file", body) if "name" not in body else body
    (one,) = wire.files([said], 1)
    assert one.file.hashes == {}
    assert one.file.pickle_scan_result == "Pending"


# odd values, one at a time: the rest is read all the same

ODD = (None, "", "text", 0, -1, 1.5, 10**30, True, [], ["x"], {}, {"x": 1}, [None], [[[]]])
MODEL_KEYS = ("name", "description", "type", "nsfw", "nsfwLevel", "mode", "creator", "tags", "stats", "allowNoCredit", "allowCommercialUse",
              "allowDerivatives", "allowDifferentLicense", "poi", "minor", "availability", "unknownKey")  # fmt: skip
VERSION_KEYS = ("modelId", "name", "description", "baseModel", "publishedAt", "availability", "nsfwLevel", "trainedWords", "stats", "air", "usageControl",
                "earlyAccessTimeFrame", "earlyAccessEndsAt", "earlyAccessDeadline", "paidAccess", "images", "unknownKey")  # fmt: skip
FILE_KEYS = ("name", "overrideName", "type", "sizeKB", "hashes", "primary", "downloadUrl", "pickleScanResult", "virusScanResult", "metadata", "scannedAt")


@pytest.mark.parametrize("value", ODD, ids=repr)
@pytest.mark.parametrize("key", MODEL_KEYS)
def test_an_odd_value_of_a_model_stops_nothing(key: str, value: Any) -> None:
    one = heard(model(11, **{key: value}))
    assert (one.model.id, len(one.versions), len(one.versions[0].files)) == (11, 1, 1)


@pytest.mark.parametrize("value", ODD, ids=repr)
@pytest.mark.parametrize("key", VERSION_KEYS)
def test_an_odd_value_of_a_version_stops_nothing(key: str, value: Any) -> None:
    one = heard(model(11, version(12, **{key: value}), version(13)))
    assert [each.version.id for each in one.versions] == [12, 13]
    assert [len(each.files) for each in one.versions] == [1, 1]
    list(wire.images(one.versions[0].body))


@pytest.mark.parametrize("value", ODD, ids=repr)
@pytest.mark.parametrize("key", FILE_KEYS)
def test_an_odd_value_of_a_file_stops_nothing(key: str, value: Any) -> None:
    one = heard(model(11, version(12, {**file(13, "a.pt"), key: value}, file(14, "b.pt"))))
    assert [each.id for each in one.versions[0].files] == [13, 14]


@pytest.mark.parametrize("key", ["modelVersions", "files", "images"])
@pytest.mark.parametrize("value", [None, "text", {}, 5, [None], ["x"], [5], [[]]], ids=repr)
def test_lists_that_are_none_are_empty(key: str, value: Any) -> None:
    body = model(11, version(12))
    target = body if key == "modelVersions" else body["modelVersions"][0]
    target[key] = value
    one = heard(body)
    for each in one.versions:
        assert list(wire.images(each.body)) == []
    assert sum(len(each.files) for each in one.versions) == (1 if key == "images" else 0)


@pytest.mark.parametrize("key", ["name", "description", "tags", "stats", "creator", "type", "nsfwLevel", "modelVersions"])
def test_an_absent_key_stops_nothing(key: str) -> None:
    body = model(11)
    body.pop(key, None)
    assert heard(body).model.id == 11


def test_a_version_that_makes_no_sense_is_left_out_and_said() -> None:
    one = heard(model(11, version(12), {"name": "without an id"}, version(13)))
    assert [each.version.id for each in one.versions] == [12, 13]
    assert len(one.odd) == 1


@pytest.mark.parametrize("body", [b"{}", b"[]", b"null", b'"x"', b"5", b'{"id": null}', b'{"id": "x"}', b'{"id": []}', b"\xff", b"", b"{", b'{"id": "\xff"}'])
def test_without_an_id_it_is_no_model(body: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        wire.model(body)


def test_an_id_may_be_a_text() -> None:
    assert heard({"id": "11", "modelVersions": [{"id": "12", "files": [{"id": "13"}]}]}).versions[0].files[0].id == 13


def test_a_file_without_an_id_gets_one_below_zero_that_no_other_has() -> None:
    files = [{key: value for key, value in file(1, "a.pt").items() if key != "id"} for _ in range(3)]
    one = heard(model(11, version(12, *files), version(13, *files)))
    ids = [each.id for one_ in one.versions for each in one_.files]
    assert len(set(ids)) == 6
    assert max(ids) < 0
    assert ids == [each.id for one_ in heard(model(11, version(12, *files), version(13, *files))).versions for each in one_.files]


# pages


@pytest.mark.parametrize(
    ("metadata", "cursor"),
    [({"nextCursor": "a|1"}, "a|1"), ({"nextCursor": 100}, "100"), ({"nextCursor": ""}, None), ({"nextCursor": None}, None), ({}, None), (None, None),
     ({"nextCursor": "a|1", "nextPage": "https://undefined/x"}, "a|1"), ({"nextPage": "https://civitai.com/x?cursor=5"}, None)],
)  # fmt: skip
def test_a_cursor_is_a_text_or_a_number_or_nothing(metadata: Any, cursor: str | None) -> None:
    assert wire.page(json.dumps({"items": [], "metadata": metadata}).encode()).cursor == cursor


def test_a_page_needs_no_metadata() -> None:
    assert wire.page(b'{"items": [{"id": 1}, 5, null]}').cursor is None
    assert len(wire.page(b'{"items": [{"id": 1}, 5, null]}').items) == 3


def test_a_list_of_versions_may_have_nothing_in_it_and_each_twice() -> None:
    body = [version(12), None, version(12), {"id": "x"}, 5, version(13)]
    assert [each.version.id for each in many_versions(json.dumps(body).encode())] == [12, 12, 13]


def test_answers_about_hashes_leave_out_what_makes_no_sense() -> None:
    body = [{"modelVersionId": 1, "modelId": 2, "hash": "AB"}, None, {"modelId": 2}, {"modelVersionId": "3", "modelId": "4", "hash": "CD"}]
    assert [(each.model_version_id, each.hash) for each in founds(json.dumps(body).encode())] == [(1, "AB"), (3, "CD")]


# small things


@pytest.mark.parametrize(("value", "text"), [("x", "x"), (5, "5"), (1.5, "1.5"), (True, "True"), (None, "")])
def test_what_stands_for_a_text_is_one(value: object, text: str) -> None:
    assert wire.words(value) == text


@pytest.mark.parametrize(("value", "texts"), [(["a", " b ", "", None, 5], ["a", "b"]), ("a", ["a"]), (None, []), ({}, []), ([], []), ("  ", [])])
def test_a_text_stands_for_a_list_of_one(value: object, texts: list[str]) -> None:
    assert wire.texts(value) == texts


@pytest.mark.parametrize(("value", "count"), [({"n": 5}, 5), ({"n": None}, None), ({"n": -1}, None), ({"n": True}, None), ({"n": "5"}, None), ({}, None), (None, None), ([], None)])
def test_a_hidden_count_is_none(value: object, count: int | None) -> None:
    assert wire.count(value, "n") == count
