"""Hashes, search, numbers, health and the description over HTTP."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from litestar import Litestar
from litestar.testing import TestClient
from stored import a1111, safetensors, sdxl

from embconv.converters import EmbconvError, hashes
from embconv.registry.problems import STATUS, status_of
from embconv.registry.routes import ROUTES

Client = TestClient[Litestar]
ROOT = Path(__file__).parents[3]


def test_every_hash_of_a_file_finds_it(client: Client, upload: Callable[..., Any]) -> None:
    digest = upload().json()["embeddings"][0]["digest"]
    known = hashes(a1111(1))
    values = [known.sha256, known.sha256.upper(), known.blake3, known.crc32, known.autov2, known.autov3, known.a1111_shorthash, digest, digest[4:]]
    for value in values:
        found = client.get(f"/v1/by-hash/{value}").json()
        assert {match["embedding"]["digest"] for match in found["matches"]} == {digest}, value
    answer = client.post("/v1/by-hash", json={"hashes": [*values, "0" * 64]}).json()
    assert (set(answer["found"]), answer["missing"]) == (set(values), ["0" * 64])


def test_an_unknown_hash(client: Client) -> None:
    answer = client.get("/v1/by-hash/" + "0" * 64)
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_hash")


def test_the_hash_of_a_source_is_a_claim(client: Client, upload: Callable[..., Any]) -> None:
    made = client.post("/v1/convert", files={"file": ("style.pt", a1111(1))}).content
    upload(made, "style.safetensors")
    (match,) = client.get(f"/v1/by-hash/{hashlib.sha256(a1111(1)).hexdigest()}").json()["matches"]
    assert match["claim"] is True


def test_a_search_with_counts_and_a_way_on(client: Client, upload: Callable[..., Any]) -> None:
    for seed in range(5):
        upload(a1111(seed), f"paper{seed}.pt")
    upload(sdxl(9), "stone.safetensors")
    page = client.get("/v1/embeddings", params={"q": "pap", "limit": "2", "facet": "base", "sort": "name"})
    found = page.json()
    assert (found["total"], [item["name"] for item in found["items"]]) == (5, ["paper0", "paper1"])
    assert page.headers["link"] == f'<{found["next"]}>; rel="next"'
    assert [item["name"] for item in client.get(found["next"]).json()["items"]] == ["paper2", "paper3"]
    (base,) = found["facets"]["base"]["results"]
    assert (base["value"], base["count"], base["selected"]) == ("sd1", 5, False)
    assert client.get(base["toggle_url"]).json()["facets"]["base"]["results"][0]["selected"] is True


@pytest.mark.parametrize(
    ("query", "code", "near"),
    [("bas=sd1", "unknown_parameter", "base"), ("base=sdx", "bad_parameter", "sd"), ("limit=1000", "bad_parameter", "200"),
     ("cursor=x", "bad_parameter", ""), ("vectors=many", "bad_parameter", ""), ("limit=1&limit=2", "bad_parameter", "")],
)  # fmt: skip
def test_a_parameter_that_means_nothing_is_told(client: Client, query: str, code: str, near: str) -> None:
    answer = client.get(f"/v1/embeddings?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert near in answer.json()["says"] + answer.json()["hint"]


@pytest.mark.parametrize("route", [route for route in ROUTES if not route.opt["operation"].any_query], ids=lambda handler: handler.opt["operation"].id)
def test_no_route_passes_over_a_parameter(client: Client, route: Any) -> None:
    operation = route.opt["operation"]
    path = re.sub(r"\{\w+\}", "easynegative", operation.path)
    answer = client.request(operation.method, f"{path}?nonsense=1")
    assert (answer.status_code, answer.json()["code"]) == (400, "unknown_parameter")


@pytest.mark.parametrize("q", ['"', "*", "NEAR(", "a AND", "OR", "-x", "name:x", "(((", "\0", "💥", "'; DROP TABLE", "^", "a*b*", "{x}"])
def test_any_text_may_be_searched_for(client: Client, upload: Callable[..., Any], q: str) -> None:
    upload()
    assert client.get("/v1/embeddings", params={"q": q}).status_code == 200


def test_health_tells_of_the_disk(client: Client) -> None:
    found = client.get("/health").json()
    assert (found["status"], found["writable"]) == ("ok", True)
    assert found["disk_free"] > 0


def test_numbers_count_what_happened(client: Client, upload: Callable[..., Any]) -> None:
    upload()
    upload(b"<html>")
    text = client.get("/metrics").text
    assert 'embconv_requests_total{method="POST",route="/v1/embeddings",status="201"} 1.0' in text
    assert re.search(r'embconv_refusals_total\{[^}]*"not_an_embedding"[^}]*\} 1\.0', text)
    assert re.search(r"embconv_kept_embeddings(_total)? 1\.0", text)


# the description


def test_the_file_at_the_top_is_what_is_served(client: Client) -> None:
    served = client.get("/schema/openapi.yaml").text
    assert (ROOT / "openapi.yaml").read_text("utf-8") == served, "run: make docs"
    assert yaml.safe_load(served) == client.get("/schema/openapi.json").json()


def test_every_route_is_described() -> None:
    described = yaml.safe_load((ROOT / "openapi.yaml").read_text("utf-8"))["paths"]
    every = {(route.opt["operation"].path, route.opt["operation"].method.lower()) for route in ROUTES}
    assert {(path, method) for path, methods in described.items() for method in methods} == every


def test_the_page_needs_nothing_from_elsewhere(client: Client) -> None:
    page = client.get("/schema")
    assert "http" not in page.text
    for link in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert client.get(link).status_code == 200
    assert "unpkg" not in client.get("/schema/start.js").text


def _errors(root: type[EmbconvError]) -> set[type[EmbconvError]]:
    return {root}.union(*(_errors(one) for one in root.__subclasses__()))


def test_every_error_has_its_status() -> None:
    import embconv.registry.remote  # that its errors are known too

    assert embconv.registry.remote
    ours = {one for one in _errors(EmbconvError) if one.__module__.startswith("embconv.")}
    assert [one.__name__ for one in ours if "code" in vars(one) and one not in STATUS] == []
    assert status_of(EmbconvError("x")) == 422


def test_a_mistake_of_ours_tells_nothing(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("embconv.registry.routes.embeddings.shown", broken)
    answer = client.get("/v1/embeddings/x")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "secret" not in answer.text


def test_every_answer_has_its_headers(client: Client) -> None:
    for path in ("/health", "/nowhere", "/v1/embeddings", "/schema/openapi.json"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-request-id"]
        assert "default-src 'none'" in headers["content-security-policy"]


def test_a_file_in_two_kinds_is_one_in_the_answer(client: Client, upload: Callable[..., Any]) -> None:
    upload()
    upload(safetensors(1), "style.safetensors")
    (item,) = json.loads(client.get("/v1/embeddings").text)["items"]
    assert {file["container"] for file in item["files"]} == {"torch_zip", "safetensors"}
