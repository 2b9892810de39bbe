"""Embeddings over HTTP: sent, shown, changed, removed, handed out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
import safetensors.numpy
import torch
from litestar import Litestar
from litestar.testing import TestClient
from stored import a1111, numbers, sdxl, words
from stored import safetensors as as_safetensors

from embconv.converters import digest as digest_of
from embconv.converters import read

Client = TestClient[Litestar]


def digest(data: bytes) -> str:
    return digest_of(read(data)[0])


def test_new_bytes_are_created_and_say_where(client: Client, upload: Callable[..., Any]) -> None:
    answer = upload()
    assert (answer.status_code, answer.json()["status"]) == (201, "added")
    assert answer.headers["location"] == f"/v1/embeddings/{digest(a1111(1))}"
    assert client.get(answer.headers["location"]).json() == answer.json()["embeddings"][0]


def test_the_same_bytes_again_are_known(upload: Callable[..., Any]) -> None:
    upload()
    answer = upload()
    assert (answer.status_code, answer.json()["status"]) == (200, "known")


def test_the_same_vectors_in_another_file_are_one_embedding(client: Client, upload: Callable[..., Any]) -> None:
    upload()
    answer = upload(as_safetensors(1), "style.safetensors")
    assert (answer.status_code, answer.json()["status"]) == (201, "known")
    assert client.get("/v1/embeddings").json()["total"] == 1
    assert len(client.get(f"/v1/embeddings/{digest(a1111(1))}").json()["files"]) == 2


def test_a_file_may_hold_several(upload: Callable[..., Any]) -> None:
    answer = upload(words(1, 2), "two.bin")
    assert len(answer.json()["embeddings"]) == 2
    assert "location" not in answer.headers


def test_what_is_said_with_it_is_kept(upload: Callable[..., Any]) -> None:
    origin = '{"source": "civitai", "id": "7808", "url": "https://civitai.com/models/7808", "claims": {"creator": "Havoc"}}'
    (entry,) = upload(name="x.pt", role="negative", tags="hands, quality", origin=origin).json()["embeddings"]
    assert (entry["role"], entry["tags"], entry["creators"]) == ("negative", ["hands", "quality"], ["Havoc"])
    assert [(o["source"], o["id"]) for o in entry["origins"]] == [("civitai", "7808")]


def test_what_is_refused_leaves_a_line_and_nothing_else(client: Client, upload: Callable[..., Any]) -> None:
    answer = upload(b"<!doctype html><html>", "style.pt")
    assert (answer.status_code, answer.json()["code"]) == (422, "not_an_embedding")
    assert answer.headers["content-type"] == "application/problem+json"
    assert client.get("/v1/embeddings").json()["total"] == 0
    (line,) = client.get("/v1/refusals").json()["items"]
    assert (line["code"], line["name"]) == ("not_an_embedding", "style.pt")


def test_a_person_changes_what_no_claim_changes_back(client: Client, upload: Callable[..., Any]) -> None:
    where = upload().headers["location"]
    entry = client.patch(where, json={"name": "Better", "role": "negative", "tags": ["Hands"], "nsfw": "pg13", "notes": "0.8"}).json()
    assert (entry["name"], entry["role"], entry["tags"], entry["nsfw"], entry["notes"]) == ("Better", "negative", ["hands"], "pg13", "0.8")
    upload(as_safetensors(1, {"modelspec.is_negative_embedding": "false"}), "style.safetensors")
    assert client.get(where).json()["role"] == "negative"


@pytest.mark.parametrize("body", [{"role": "evil"}, {"nsfw": "q"}, {"name": ""}])
def test_a_value_that_means_nothing_is_told(client: Client, upload: Callable[..., Any], body: dict[str, Any]) -> None:
    answer = client.patch(upload().headers["location"], json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_parameter")


def test_a_field_that_is_not_there_is_told_with_the_nearest(client: Client, upload: Callable[..., Any]) -> None:
    answer = client.patch(upload().headers["location"], json={"roles": "negative"})
    assert (answer.status_code, answer.json()["code"]) == (400, "unknown_parameter")
    assert "role" in answer.json()["hint"]


def test_removed_is_gone_and_comes_back(client: Client, upload: Callable[..., Any]) -> None:
    answer = upload()
    where, sha256 = answer.headers["location"], answer.json()["file"]["sha256"]
    assert client.delete(where, params={"why": "spam"}).status_code == 204
    gone = client.get(where)
    assert (gone.status_code, gone.json()["code"], gone.json()["why"]) == (410, "gone", "spam")
    assert client.get(f"/v1/files/{sha256}").status_code == 410
    assert client.get("/v1/embeddings").json()["total"] == 0
    assert upload().status_code == 201
    assert client.get(where).status_code == 200


def test_blocked_stays_away(client: Client, upload: Callable[..., Any]) -> None:
    where = upload().headers["location"]
    assert client.delete(where, params={"block": "true"}).status_code == 204
    answer = upload()
    assert (answer.status_code, answer.json()["code"]) == (403, "blocked")


@pytest.mark.parametrize(("ref", "status", "code"), [("nothing", 404, "unknown_reference"), ("emb:00000000", 404, "unknown_reference")])
def test_what_is_not_there(client: Client, ref: str, status: int, code: str) -> None:
    answer = client.get(f"/v1/embeddings/{ref}")
    assert (answer.status_code, answer.json()["code"]) == (status, code)


# handed out


def test_a_download_for_comfyui_is_read_by_safetensors(client: Client, upload: Callable[..., Any]) -> None:
    where = upload(sdxl(3), "xl.safetensors").headers["location"]
    answer = client.get(f"{where}/file", params={"for": "comfyui"})
    found = safetensors.numpy.load(answer.content)
    assert found["clip_g"].tobytes() == numbers(3, width=1280).data
    assert answer.headers["etag"] == f'"sha256:{hashlib.sha256(answer.content).hexdigest()}"'
    assert 'filename="xl.safetensors"' in answer.headers["content-disposition"]


def test_a_download_as_pt_is_read_by_torch(client: Client, upload: Callable[..., Any], tmp_path: Any) -> None:
    where = upload().headers["location"]
    (tmp_path / "a.pt").write_bytes(client.get(f"{where}/file", params={"format": "pt", "for": "a1111"}).content)
    found = torch.load(tmp_path / "a.pt", weights_only=True)
    assert found["string_to_param"]["*"].numpy().tobytes() == numbers(1).data


def test_equal_requests_get_equal_bytes(client: Client, upload: Callable[..., Any]) -> None:
    where = f"{upload().headers['location']}/file"
    assert client.get(where).content == client.get(where).content


def test_a_program_that_cannot_have_it_is_told(client: Client, upload: Callable[..., Any]) -> None:
    answer = client.get(f"{upload(sdxl(3), 'xl.safetensors').headers['location']}/file", params={"for": "sdcpp"})
    assert (answer.status_code, answer.json()["code"]) == (422, "cannot_hold")


RANGES = [  # header, status, first byte, one after the last
    ("bytes=0-9", 206, 0, 10), ("bytes=10-", 206, 10, None), ("bytes=-5", 206, -5, None), ("bytes=0-999999", 206, 0, None),
    ("bytes=0-1,4-5", 200, 0, None), ("lines=0-1", 200, 0, None), ("bytes=5-4", 416, 0, 0), ("bytes=999999-", 416, 0, 0),
    ("bytes=x", 416, 0, 0), ("bytes=" + "9" * 5000, 200, 0, None),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "status", "first", "stop"), RANGES)
def test_a_part_of_a_file(client: Client, upload: Callable[..., Any], asked: str, status: int, first: int, stop: int | None) -> None:
    data = a1111(1)
    where = f"/v1/files/{upload().json()['file']['sha256']}"
    answer = client.get(where, headers={"range": asked})
    assert answer.status_code == status
    if status != 416:
        assert answer.content == data[first:stop]
    else:
        assert answer.headers["content-range"] == f"bytes */{len(data)}"


def test_a_file_that_did_not_change_is_not_sent_again(client: Client, upload: Callable[..., Any]) -> None:
    where = f"/v1/files/{upload().json()['file']['sha256']}"
    first = client.get(where)
    assert "immutable" in first.headers["cache-control"]
    again = client.get(where, headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = client.get(where, headers={"range": "bytes=0-9", "if-range": '"sha256:other"'})
    assert (other.status_code, len(other.content)) == (200, len(first.content))


def test_head_tells_the_length_and_sends_nothing(client: Client, upload: Callable[..., Any]) -> None:
    answer = client.head(f"/v1/files/{upload().json()['file']['sha256']}")
    assert (answer.content, answer.headers["content-length"]) == (b"", str(len(a1111(1))))


@pytest.mark.parametrize("name", ['a"b.pt', "a\r\nx-evil: 1.pt", "../../etc/passwd", "ünï\u202etp.pt", "a\0b.pt", "x" * 500 + ".pt"])
def test_no_name_becomes_a_path_or_a_header(client: Client, upload: Callable[..., Any], name: str) -> None:
    answer = upload(a1111(5), name)
    assert answer.status_code in (200, 201), answer.text
    got = client.get(f"/v1/files/{answer.json()['file']['sha256']}")
    assert got.content == a1111(5)
    assert "x-evil" not in got.headers
    header = got.headers["content-disposition"]
    assert header.isascii()
    assert set("/\n").isdisjoint(header)
