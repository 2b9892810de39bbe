"""What is told on in Civitai's shape: which models, in which order, under which hashes, and which bytes."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient
from mirrored import BODIES, RECORDINGS, WITHOUT_FILES, attach, bytes_of, file, files_in, keep, model, recorded, version
from stored import a1111, safetensors, words

from embconv.converters import hashes
from embconv.registry.app import create_app
from embconv.registry.blobs import Blobs
from embconv.registry.civitai.shapes_own import OWN
from embconv.registry.keys import create
from embconv.registry.settings import Settings
from embconv.registry.store import Store

LOCAL = "http://127.0.0.1:8765"
Client = TestClient[Litestar]
every_body = pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)


@pytest.fixture
def client(home: str) -> Iterator[Client]:
    with TestClient(create_app(Settings(home=home, log_level="error")), base_url=LOCAL, raise_server_exceptions=False) as opened:
        yield opened


@pytest.fixture
def kept(client: Client) -> Callable[..., dict[int, str]]:
    """Keep a model; file -> sha256."""
    service = client.app.state["service"]
    return lambda body, **said: keep(service.store, service.blobs, body, **said)


@pytest.fixture
def upload(client: Client) -> Callable[..., Any]:
    def send(data: bytes, file_name: str = "style.pt", **fields: str) -> Any:
        answer = client.post("/v1/embeddings", files={"file": (file_name, data)}, data=fields)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    return send


def ids(client: Client, **asked: Any) -> list[int]:
    answer = client.get("/api/v1/models", params=asked)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


def walk(client: Client, *, between: Callable[[], object] = lambda: None, **asked: Any) -> list[int]:
    """Every page, by `nextPage`."""
    found, url = [], client.build_request("GET", "/api/v1/models", params=asked).url
    while url:
        answer = client.get(url).json()
        found += [item["id"] for item in answer["items"]]
        assert len(found) < 1_000, "it never ends"
        assert isinstance(answer["metadata"].get("nextCursor", ""), str)
        url = answer["metadata"].get("nextPage")
        assert url is None or url.startswith(f"{LOCAL}/api/v1/models?")
        between()
    return found


# what is served


def superset(served: Any, said: Any, path: str = "") -> Iterator[str]:
    """Where something that Civitai said is not there any more."""
    if isinstance(said, dict) and isinstance(served, dict):
        for name, value in said.items():
            if name not in served:
                yield f"{path}.{name}"
            elif name not in CHANGED:
                yield from superset(served[name], value, f"{path}.{name}")
    elif isinstance(said, list) and isinstance(served, list):
        for place, value in enumerate(said):
            yield from superset(served[place], value, f"{path}[{place}]") if place < len(served) else [f"{path}[{place}]"]
    elif said is not None and said != served:
        yield f"{path}: {said!r} became {served!r}"


# What is ours to say, or one form of several: each has a test of its own.
CHANGED = {"files", "downloadUrl", "allowCommercialUse", "description", "cosmetic", "tags", "name", "nsfwLevel", "stats", "creator", "model"}


@every_body
def test_a_model_has_all_that_was_said_of_it(client: Client, kept: Callable[..., dict[int, str]], body: Any) -> None:
    kept(body)
    served = client.get(f"/api/v1/models/{body['id']}").json()
    assert list(superset(served, body)) == []
    mine = {one["id"]: one for each in served["modelVersions"] for one in each["files"]}
    for told in files_in(body):
        assert list(superset(drop(mine[told["id"]]), drop(told))) == []


def drop(one: Any) -> Any:
    """A file without what is said of its bytes, which are others here."""
    bytes_say = {"name", "sizeKB", "hashes", "downloadUrl", "primary", "metadata", "scannedAt", "overrideName"}
    return {name: value for name, value in one.items() if name not in bytes_say and not name.endswith(("ScanResult", "ScanMessage"))}


@every_body
def test_a_file_is_what_is_served(client: Client, kept: Callable[..., dict[int, str]], body: Any) -> None:
    here = kept(body)
    for each in client.get(f"/api/v1/models/{body['id']}").json()["modelVersions"]:
        assert [one["primary"] for one in each["files"]].count(True) == 1
        for one in each["files"]:
            data = client.get(one["downloadUrl"]).content
            real = hashes(data)
            assert one["hashes"]["SHA256"] == hashlib.sha256(data).hexdigest().upper() == here[one["id"]].upper()
            assert (one["hashes"]["AutoV2"], one["hashes"]["AutoV3"]) == (real.autov2.upper(), real.autov3.upper())
            assert (one["hashes"]["CRC32"], one["hashes"]["BLAKE3"]) == (real.crc32, real.blake3.upper())
            assert one["sizeKB"] * 1024 == len(data)
            assert one["metadata"].keys() >= {"format", "size", "fp"}
            assert not re.search(r'[<>:"/\\|?*\x00-\x1f\u202e]', one["name"])
            assert one["downloadUrl"].startswith(f"{LOCAL}/api/download/models/{each['id']}")


def test_a_model_without_files_here_is_not_told_on(client: Client, kept: Callable[..., dict[int, str]]) -> None:
    kept(model(11), only=set())
    kept(model(21, version(22), version(23)), only={230})
    assert ids(client) == [21]
    assert [each["id"] for each in client.get("/api/v1/models/21").json()["modelVersions"]] == [23]
    assert client.get("/api/v1/models/11").json() == {"error": "No model with id 11"}
    assert client.get("/api/v1/model-versions/22").json() == {"error": "Model not found"}
    assert (client.get("/api/download/models/22").status_code, client.get("/api/download/models/22").json()) == (404, {"error": "File not found"})


@RECORDINGS
def test_an_archived_model_of_2023_has_no_files(client: Client, kept: Callable[..., dict[int, str]]) -> None:
    kept(recorded(WITHOUT_FILES))
    assert ids(client, nsfw="true") == []


def test_a_file_that_was_removed_here_is_not_told_on(client: Client, kept: Callable[..., dict[int, str]]) -> None:
    here = kept(model(11))
    assert ids(client) == [11]
    assert client.delete(f"/v1/embeddings/{here[1100]}").status_code == 204
    assert ids(client) == []
    assert client.get("/api/v1/models/11").status_code == 404
    assert client.get(f"/api/v1/model-versions/by-hash/{here[1100]}").json() == {"error": "Model not found"}


def test_another_form_of_a_file_is_told_of_as_it_is(client: Client, kept: Callable[..., dict[int, str]], upload: Callable[..., Any]) -> None:
    """Civitai told of a pickle; its vectors are here as safetensors."""
    kept(model(11), only=set())
    data = safetensors(7)
    upload(data, "anything.safetensors")
    attach(client.app.state["service"].store, 1100, hashlib.sha256(data).hexdigest())
    (one,) = client.get("/api/v1/model-versions/110").json()["files"]
    assert (one["name"], one["originalName"], one["metadata"]["format"]) == ("paper.safetensors", "paper.pt", "SafeTensor")
    assert one["virusScanResult"] == "Pending"  # of these bytes no scanner said anything
    for value in (f"{1100:064x}", hashlib.sha256(data).hexdigest().upper(), f"{1100:064X}"):
        assert client.get(f"/api/v1/model-versions/by-hash/{value}").json()["id"] == 110


def test_a_description_can_do_nothing(client: Client, kept: Callable[..., dict[int, str]], upload: Callable[..., Any]) -> None:
    kept(model(11, version(12, description="<img src=x onerror=alert(1)>"), description="<script>alert(1)</script><p>fine</p>"))
    origin = json.dumps({"source": "elsewhere", "claims": {"description": "<b onclick=alert(1)>so</b><script>x</script>", "title": "T"}})
    upload(a1111(5), "five.pt", origin=origin)
    text = client.get("/api/v1/models", params={"nsfw": "true"}).text
    assert "<p>fine</p>" in text
    assert "<b>so</b>" in text
    assert not re.search("<script|alert|onerror|onclick", text)


def test_what_is_here_without_civitais_word_has_ids_of_its_own(client: Client, upload: Callable[..., Any], kept: Callable[..., dict[int, str]]) -> None:
    origin = {"source": "elsewhere", "claims": {"title": "Five", "creator": "Somebody Else", "tags": ["hands"], "nsfw": "pg13", "base": "SD 1.5",
              "licence": {"allowNoCredit": True, "allowCommercialUse": ["Image"]}, "downloads": 3}}  # fmt: skip
    upload(a1111(5, name="five-word"), "five.pt", origin=json.dumps(origin), role="negative")
    kept(model(11))
    (own,) = [id_ for id_ in ids(client, nsfw="true") if id_ != 11]
    assert OWN < own < 2**31
    found = client.get(f"/api/v1/models/{own}").json()
    (only,) = found["modelVersions"]
    assert {name: found[name] for name in ("name", "type", "nsfw", "nsfwLevel", "allowNoCredit", "allowCommercialUse", "allowDerivatives")} == {
        "name": "Five", "type": "TextualInversion", "nsfw": False, "nsfwLevel": 2, "allowNoCredit": True, "allowCommercialUse": ["Image"],
        "allowDerivatives": False,
    }  # fmt: skip
    assert (found["creator"]["username"], found["tags"], found["stats"]["downloadCount"]) == ("Somebody Else", ["hands", "negative"], 3)
    assert (only["id"], only["baseModel"], only["trainedWords"]) == (own, "SD 1.5", ["five"])
    assert re.fullmatch(rf"urn:air:sd1:embedding:embconv:{own}@{own}", only["air"])
    assert client.get(only["downloadUrl"]).content == a1111(5, name="five-word")
    assert client.get(f"/api/v1/model-versions/{own}").json()["model"]["name"] == "Five"
    assert client.get(f"/api/v1/model-versions/mini/{own}").json()["downloadUrls"] == [only["downloadUrl"]]


def test_what_becomes_known_to_civitai_is_one_model(client: Client, upload: Callable[..., Any], kept: Callable[..., dict[int, str]]) -> None:
    body = model(11)
    (told,) = files_in(body)
    upload(bytes_of(told), "paper.pt")
    (own,) = ids(client)
    kept(body)
    assert ids(client) == [11]
    assert client.get(f"/api/v1/models/{own}").status_code == 200  # whoever noted the id finds it


# lists


def fill(kept: Callable[..., Any], upload: Callable[..., Any], count: int = 23) -> set[int]:
    """Models with many equal numbers, and some of our own."""
    dice = random.Random(1)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for place in range(count):
        stats = {"downloadCount": dice.choice((0, 5, 9)), "thumbsUpCount": dice.choice((0, 1)), "commentCount": dice.choice((0, 2)), "favoriteCount": dice.choice((0, 1))}
        moment = (start + timedelta(days=place // 5)).isoformat().replace("+00:00", "Z")
        images = [{"url": f"https://image.example/{n}", "nsfwLevel": 1} for n in range(dice.choice((0, 1)))]
        kept(model(100 + place, version(5000 + place, publishedAt=moment, images=images), stats=stats))
    for seed in range(9_000, 9_000 + count // 2):
        claims = {"downloads": dice.choice((0, 5, 9))}
        upload(a1111(seed), f"own{seed}.pt", origin=json.dumps({"source": "elsewhere", "claims": claims}))
    return {100 + place for place in range(count)}


SORTS = ("Highest Rated", "Most Downloaded", "Most Liked", "Most Discussed", "Most Collected", "Most Images", "Newest", "Oldest")


def test_pages_have_every_model_once_in_any_order(client: Client, kept: Callable[..., Any], upload: Callable[..., Any]) -> None:
    told = fill(kept, upload)
    for sort in SORTS:
        whole = ids(client, sort=sort)
        assert len(whole) == len(set(whole)) == 34
        assert told < set(whole)
        for limit in (1, 7, 33, 34, 100):
            assert walk(client, sort=sort, limit=limit) == whole, (sort, limit)
        by_page = [id_ for page in range(1, 7) for id_ in ids(client, sort=sort, limit=6, page=page)]
        assert by_page == whole, sort
        assert walk(client, sort=sort, limit=6, page=1) == whole


def test_orders_are_what_they_say(client: Client, kept: Callable[..., Any], upload: Callable[..., Any]) -> None:
    fill(kept, upload)
    items = client.get("/api/v1/models", params={"sort": "Most Downloaded"}).json()["items"]
    counts = [item["stats"]["downloadCount"] for item in items]
    assert counts == sorted(counts, reverse=True)
    for sort, turned in (("Newest", True), ("Oldest", False)):
        dates = [item["modelVersions"][0]["publishedAt"] for item in client.get("/api/v1/models", params={"sort": sort}).json()["items"]]
        assert dates == sorted(dates, reverse=turned)


def test_what_comes_between_two_pages_repeats_nothing(client: Client, kept: Callable[..., Any], upload: Callable[..., Any]) -> None:
    told = fill(kept, upload)
    numbers = iter(range(700, 800))

    def between() -> None:
        place = next(numbers)
        kept(model(place, stats={"downloadCount": place % 11, "thumbsUpCount": place % 2}))
        upload(a1111(20_000 + place), f"between{place}.pt")

    for sort in ("Highest Rated", "Most Downloaded", "Newest", "Oldest"):
        before = set(ids(client, sort=sort))
        found = walk(client, between=between, sort=sort, limit=8)
        assert len(found) == len(set(found)), sort
        assert told <= before <= set(found), sort


FILTERS: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [1, 2, 4]),
    ({"nsfw": "true"}, [1, 2, 3, 4, 5]),
    ({"nsfw": "false"}, [1, 2, 4]),
    ({"types": "TextualInversion"}, [1, 2, 4]),
    ({"types": "LORA"}, []),
    ({"types": ["LORA", "TextualInversion"]}, [1, 2, 4]),
    ({"types": "LORA,TextualInversion"}, [1, 2, 4]),
    ({"baseModels": "SDXL 1.0"}, [2]),
    ({"baseModels": ["SDXL 1.0", "SD 1.5"]}, [1, 2, 4]),
    ({"baseModels": "SDXL 1.0,SD 1.5"}, [1, 2, 4]),
    ({"baseModels": "GetModels"}, []),
    ({"baseModels": "gimmethelist"}, []),
    ({"baseModels": ""}, [1, 2, 4]),
    ({"tag": "Hands"}, [2]),
    ({"tag": "absent"}, []),
    ({"username": "Other Maker"}, [2]),
    ({"username": "other_maker"}, [2]),
    ({"ids": "1,2"}, [1, 2]),
    ({"ids": [1, 3], "nsfw": "true"}, [1, 3]),
    ({"ids": ""}, []),
    ({"modelVersionIds": "20"}, [2]),
    ({"query": "stone"}, [4]),
    ({"query": "ston"}, [4]),
    ({"query": "nothing of the kind"}, []),
    ({"sort": "Newest", "period": "Month"}, [1, 2, 4]),
    ({"nonsense": "1", "browsingLevel": "3", "types[]": "LORA"}, [1, 2, 4]),
    ({"limit": "0"}, []),
    ({"limit": "", "page": ""}, [1, 2, 4]),
    ({"limit": "2.5", "sort": "Oldest"}, [1, 2]),
]


@pytest.mark.parametrize(("asked", "expected"), FILTERS, ids=[json.dumps(asked) for asked, _ in FILTERS])
def test_a_list_is_filtered(client: Client, kept: Callable[..., Any], asked: Any, expected: list[int]) -> None:
    kept(model(1))
    kept(model(2, version(20, baseModel="SDXL 1.0"), tags=["hands"], creator={"username": "Other Maker", "image": None}))
    kept(model(3, nsfwLevel=4, nsfw=True))
    kept(model(4, version(40, trainedWords=["stoneword"], files=[file(400, "stone.pt")])))
    kept(model(5, version(50, nsfwLevel=0), nsfwLevel=0))  # nobody has rated it
    assert sorted(ids(client, **asked)) == expected


@pytest.mark.parametrize(("asked", "expected"), [
    ({}, ["a", "b"]), ({"nsfw": "true"}, ["a", "b", "c"]), ({"baseModels": "SD 1.5"}, ["a", "b"]), ({"baseModels": "Other"}, []),
    ({"tag": "hands"}, ["b"]), ({"username": "SOMEBODY"}, ["b"]), ({"query": "bword"}, ["b"]), ({"types": "LORA"}, []),
])  # fmt: skip
def test_our_own_are_filtered_as_well(client: Client, upload: Callable[..., Any], asked: Any, expected: list[str]) -> None:
    upload(a1111(1), "a.pt")
    upload(a1111(2), "bword.pt", name="b", origin=json.dumps({"source": "x", "claims": {"tags": ["hands"], "creator": "Somebody", "nsfw": "pg"}}))
    upload(a1111(3), "c.pt", origin=json.dumps({"source": "x", "claims": {"nsfw": "x"}}))
    items = client.get("/api/v1/models", params=asked).json()["items"]
    assert sorted(item["name"] for item in items) == expected


def test_our_own_are_found_by_their_ids(client: Client, upload: Callable[..., Any], kept: Callable[..., Any]) -> None:
    kept(model(1))
    for seed in range(3):
        upload(a1111(seed), f"own{seed}.pt")
    own = [id_ for id_ in ids(client) if id_ > OWN]
    assert sorted(ids(client, ids=[1, own[1], own[2], 999, 2**31 - 1, 10**30])) == sorted([1, own[1], own[2]])
    assert ids(client, modelVersionIds=str(own[0])) == [own[0]]


def test_five_hundred_ids_at_once(client: Client, kept: Callable[..., Any]) -> None:
    """sd-civitai-browser-plus asks so."""
    kept(model(1))
    assert ids(client, ids=list(range(1, 501)), nsfw="true", limit=100) == [1]


def test_pictures_above_a_level_are_left_out_of_lists(client: Client, kept: Callable[..., Any]) -> None:
    images = [{"url": "https://image.example/1", "nsfwLevel": 1}, {"url": "https://image.example/8", "nsfwLevel": 8}, {"url": "https://image.example/s", "nsfw": "Soft"}]
    kept(model(1, version(10, images=images), nsfwLevel=9))

    def levels(path: str, **asked: str) -> list[int]:
        found = client.get(path, params=asked).json()
        return [image["nsfwLevel"] for image in (found["items"][0] if "items" in found else found)["modelVersions"][0]["images"]]

    assert levels("/api/v1/models") == [1]
    assert levels("/api/v1/models", nsfw="true") == [1, 8, 2]
    assert levels("/api/v1/models/1") == [1, 8, 2]


def test_one_file_of_each_version(client: Client, kept: Callable[..., Any]) -> None:
    kept(BODIES["pair"])
    (item,) = client.get("/api/v1/models", params={"primaryFileOnly": "true"}).json()["items"]
    assert [one["name"] for one in item["modelVersions"][0]["files"]] == ["By bad artist.pt"]


def test_a_list_keeps_up_with_what_civitai_says(client: Client, kept: Callable[..., Any]) -> None:
    """Counts change by the hour, and no embedding with them."""
    kept(model(1, stats={"downloadCount": 1}))
    kept(model(2, stats={"downloadCount": 2}))
    assert ids(client, sort="Most Downloaded") == [2, 1]
    kept(model(1, stats={"downloadCount": 3}), only=set())
    assert ids(client, sort="Most Downloaded") == [1, 2]


@pytest.mark.parametrize(
    ("asked", "message"),
    [({"limit": "101"}, "Too big: expected number to be <=100"), ({"limit": "-1"}, "Too small: expected number to be >=0"),
     ({"limit": "x"}, "Invalid input: expected number, received NaN"), ({"page": "0"}, "Too small: expected number to be >=1"),
     ({"sort": "__invalid__"}, 'Invalid option: expected one of "Highest Rated"|"Most Downloaded"'), ({"period": "__invalid__"}, 'one of "AllTime"'),
     ({"types": "Embedding"}, 'Invalid option: expected one of "Checkpoint"'), ({"nsfw": "perhaps"}, "Invalid option"), ({"ids": "1,x"}, "received NaN"),
     ({"query": ["a", "b"]}, "expected string, received array")],
)  # fmt: skip
def test_what_zod_refuses_is_refused_as_zod_does(client: Client, asked: Any, message: str) -> None:
    answer = client.get("/api/v1/models", params=asked)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"]["name"] == "ZodError"
    (issue,) = json.loads(answer.json()["error"]["message"])
    assert message in issue["message"]
    assert issue["path"][0] == next(iter(asked))


def test_sdnext_learns_the_orders_from_the_refusal(client: Client) -> None:
    (issue,) = json.loads(client.get("/api/v1/models", params={"sort": "__invalid__"}).json()["error"]["message"])
    assert issue["values"] == list(SORTS)


@pytest.mark.parametrize("cursor", ["x", "1", "1|2|x", "1|2|3|4", "|1|2"])
def test_a_cursor_that_is_none(client: Client, cursor: str) -> None:
    answer = client.get("/api/v1/models", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["message"][:14]) == (400, "Invalid cursor")


def test_an_endless_cursor_is_one(client: Client, upload: Callable[..., Any]) -> None:
    upload(a1111(1))
    for sort in SORTS:
        parts = 2 if sort in ("Newest", "Oldest") else 3
        for sign in ("", "-"):
            assert client.get("/api/v1/models", params={"sort": sort, "cursor": "|".join([f"{sign}{'9' * 19}"] * parts)}).status_code == 200


def test_an_unknown_user(client: Client) -> None:
    answer = client.get("/api/v1/models", params={"username": "nobody"})
    assert (answer.status_code, answer.json()["message"]) == (404, "User not found")


@pytest.mark.parametrize(("path", "status", "error"), [
    ("models/x", 400, "\u2716 Invalid input: expected number, received NaN\n  \u2192 at id"), ("models/0", 400, "\u2716 Too small: expected number to be >0\n  \u2192 at id"),
    ("models/9999999999", 400, "\u2716 Too big: expected number to be <=2147483647\n  \u2192 at id"), ("models/123", 404, "No model with id 123"),
    ("model-versions/123", 404, "Model not found"), ("model-versions/mini/123", 404, "Model not found"),
    ("model-versions/by-hash/0000000000", 404, "Model not found"), ("model-versions/by-hash/no%20hash", 404, "Model not found"),
])  # fmt: skip
def test_what_is_not_there_is_told_as_civitai_does(client: Client, path: str, status: int, error: str) -> None:
    answer = client.get(f"/api/v1/{path}")
    assert (answer.status_code, answer.json()) == (status, {"error": error})


# hashes


def test_any_hash_finds_a_version(client: Client, kept: Callable[..., Any]) -> None:
    body = model(1)
    kept(body)
    (told,) = files_in(body)
    real = hashes(bytes_of(told))
    for value in (real.sha256, real.blake3, real.crc32, real.autov2, real.autov3):
        for case in (value.lower(), value.upper()):
            assert client.get(f"/api/v1/model-versions/by-hash/{case}").json()["id"] == 10


def test_a_hash_of_the_source_finds_what_was_made_of_it(client: Client, upload: Callable[..., Any]) -> None:
    made = client.post("/v1/convert", files={"file": ("style.pt", a1111(1))}).content
    upload(made, "style.safetensors")
    found = client.get(f"/api/v1/model-versions/by-hash/{hashlib.sha256(a1111(1)).hexdigest()}").json()
    assert found["files"][0]["hashes"]["SHA256"] == hashlib.sha256(made).hexdigest().upper()


def test_a_copy_in_another_form_is_the_same_version(client: Client, kept: Callable[..., Any], upload: Callable[..., Any]) -> None:
    body = model(1)
    kept(body)
    (told,) = files_in(body)
    copy = safetensors(told["id"])
    upload(copy, "copy.safetensors")
    assert client.get(f"/api/v1/model-versions/by-hash/{hashlib.sha256(copy).hexdigest()}").json()["id"] == 10


def test_many_hashes_at_once(client: Client, kept: Callable[..., Any], upload: Callable[..., Any]) -> None:
    """The same bytes may be in several models."""
    here = kept(model(1))
    kept(model(2), only=set())
    attach(client.app.state["service"].store, 200, here[100])
    upload(a1111(77), "own.pt")
    own = hashlib.sha256(a1111(77)).hexdigest()
    asked = [here[100], own.upper(), "0" * 64]
    found = client.post("/api/v1/model-versions/by-hash", json=asked).json()
    assert sorted(each["modelId"] for each in found if each["modelId"] < OWN) == [1, 2]
    assert len(found) == 3
    short = client.post("/api/v1/model-versions/by-hash/ids", json=asked).json()
    assert [each for each in short if each["modelId"] < OWN] == [
        {"modelVersionId": 10, "modelId": 1, "hash": here[100].upper()}, {"modelVersionId": 20, "modelId": 2, "hash": here[100].upper()},
    ]  # fmt: skip
    assert [each["hash"] for each in short if each["modelId"] > OWN] == [own.upper()]
    assert client.get(f"/api/v1/model-versions/by-hash/{here[100]}").json()["id"] == 10  # the oldest


@pytest.mark.parametrize(("body", "says"), [
    (["abc"], "Invalid hash"), (["0" * 64] * 101, "Too many hashes"), ({"hashes": []}, "expected array"), ([1], "expected array"),
])  # fmt: skip
def test_a_list_of_hashes_that_is_none(client: Client, body: Any, says: str) -> None:
    answer = client.post("/api/v1/model-versions/by-hash", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("Request must include an array of SHA256 Hashes.")
    assert says in answer.json()["error"]


def test_ten_thousand_hashes(client: Client, kept: Callable[..., Any]) -> None:
    here = kept(model(1))
    many = [f"{place:064x}" for place in range(1_000, 10_999)]
    assert len(client.post("/api/v1/model-versions/by-hash/ids", json=[*many, here[100]]).json()) == 1
    assert client.post("/api/v1/model-versions/by-hash/ids", json=[*many, *["f" * 64] * 2]).status_code == 400


# downloads


def test_a_download_leads_to_bytes_under_the_name_that_civitai_gave(client: Client, kept: Callable[..., Any]) -> None:
    here = kept(BODIES["odd"])
    answer = client.get("/api/download/models/82", follow_redirects=False)
    assert answer.status_code == 307
    assert answer.headers["location"].startswith(f"{LOCAL}/api/download/files/{here[83]}/")
    data = client.get(answer.headers["location"])
    assert data.headers["content-disposition"].startswith('attachment; filename="')
    assert re.fullmatch(r"[\w ().-]+\.pt", re.search('filename="(.*?)"', data.headers["content-disposition"])[1])
    assert hashlib.sha256(data.content).hexdigest() == here[83]


def test_parts_of_a_file(client: Client, kept: Callable[..., Any]) -> None:
    body = model(1)
    kept(body)
    (told,) = files_in(body)
    data = bytes_of(told)
    for path in ("/api/download/models/10", "/api/download/models/10?redirect=false"):
        answer = client.get(path, headers={"range": "bytes=100-"})
        assert (answer.status_code, answer.content, answer.headers["content-range"]) == (206, data[100:], f"bytes 100-{len(data) - 1}/{len(data)}")
        head = client.head(path)
        assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(data)), b"")
        assert client.get(path, headers={"range": f"bytes={len(data)}-"}).status_code == 416
    assert client.get("/api/download/models/10?redirect=false", follow_redirects=False).content == data


def test_a_file_is_chosen(client: Client, kept: Callable[..., Any]) -> None:
    here = kept(BODIES["pair"])

    def got(query: str) -> str:
        answer = client.get(f"/api/download/models/72{query}")
        return hashlib.sha256(answer.content).hexdigest() if answer.status_code == 200 else answer.text

    assert got("") == got("?fileId=73") == got("?type=Model&format=PickleTensor") == here[73]
    assert got("?fileId=74") == got("?type=Negative") == got("?type=Negative&format=PickleTensor&fileId=74") == here[74]
    assert json.loads(got("?type=Config")) == json.loads(got("?fileId=999")) == json.loads(got("?format=SafeTensor")) == {"error": "File not found"}
    assert client.get("/api/download/models/72?fileId=x").json() == {"error": "\u2716 Invalid input: expected number, received NaN\n  \u2192 at fileId"}


def test_no_address_gives_a_file_a_name_that_it_does_not_have(client: Client, kept: Callable[..., Any]) -> None:
    here = kept(model(1))
    answer = client.get(f"/api/download/files/{here[100]}/setup.exe")
    assert 'filename="paper.pt"' in answer.headers["content-disposition"]
    assert client.get(f"/api/download/files/{'0' * 64}/paper.pt").json() == {"error": "File not found"}


def test_a_file_with_several_words_keeps_its_name(client: Client, upload: Callable[..., Any]) -> None:
    upload(words(1, 2), "both.bin")
    names = {one["name"] for item in client.get("/api/v1/models").json()["items"] for each in item["modelVersions"] for one in each["files"]}
    assert names == {"both.bin"}


# the rest


def test_creators_and_tags(client: Client, kept: Callable[..., Any]) -> None:
    kept(model(1, creator={"username": "Ann & Bob", "image": None}, tags=["hands", "style"]))
    kept(model(2, tags=["style"]))
    answer = client.get("/api/v1/creators").json()
    assert [each["username"] for each in answer["items"]] == ["Ann & Bob", "someone"]
    assert answer["metadata"] == {"totalItems": 2, "currentPage": 1, "pageSize": 20, "totalPages": 1}
    assert [item["id"] for item in client.get(answer["items"][0]["link"]).json()["items"]] == [1]
    assert [each["username"] for each in client.get("/api/v1/creators", params={"query": "bob"}).json()["items"]] == ["Ann & Bob"]
    first = client.get("/api/v1/tags", params={"limit": 1}).json()
    second = client.get(first["metadata"]["nextPage"]).json()
    assert [each["name"] for each in (*first["items"], *second["items"])] == ["hands", "style"]
    assert second["metadata"]["prevPage"].endswith("page=1")
    assert client.get("/api/v1/creators", params={"limit": 0}).status_code == 400


def test_pictures_of_a_model(client: Client, kept: Callable[..., Any]) -> None:
    kept(model(1, version(10, images=[{"id": 7, "url": "https://image.example/7", "nsfwLevel": 4, "width": 1, "height": 2, "hash": "x", "meta": {"seed": 1}}])))
    (image,) = client.get("/api/v1/images", params={"modelId": 1}).json()["items"]
    assert (image["id"], image["nsfwLevel"], image["browsingLevel"], image["nsfw"], image["modelVersionIds"]) == (7, "Mature", 4, True, [10])
    assert client.get("/api/v1/images", params={"modelVersionId": 10}).json()["items"] == [image]
    for asked in ({}, {"imageId": "7"}, {"modelId": "2"}, {"username": "someone"}):
        assert client.get("/api/v1/images", params=asked).json() == {"items": [], "metadata": {}}


@pytest.mark.parametrize("path", ["models", "models?tag=x", "models?query=x", "models?ids=1", "creators", "tags", "images", "enums"])
def test_an_empty_registry_answers(client: Client, path: str) -> None:
    assert client.get(f"/api/v1/{path}").status_code == 200


def test_enums(client: Client) -> None:
    found = client.get("/api/v1/enums").json()
    assert "TextualInversion" in found["ModelType"]
    assert set(found["ActiveBaseModel"]) < set(found["BaseModel"])


# who may ask


@pytest.mark.parametrize("name", ["favorites", "hidden"])
def test_favourites_need_somebody(client: Client, upload: Callable[..., Any], name: str) -> None:
    upload(a1111(1))
    answer = client.get("/api/v1/models", params={name: "false"})
    assert (answer.status_code, answer.json()["error"]) == (401, "Unauthorized")
    secret = create(client.app.state["service"].store, "me", "read", None)
    headers = {"authorization": f"Bearer {secret}"}
    assert client.get("/api/v1/models", params={name: "true"}, headers=headers).json()["items"] == []
    assert len(client.get("/api/v1/models", params={name: "false"}, headers=headers).json()["items"]) == 1


@pytest.mark.parametrize("given", ["", "Bearer 0123456789abcdef0123456789abcdef", "Basic eDp5", "0123456789abcdef"])
def test_a_key_of_civitai_is_none_here(client: Client, given: str) -> None:
    """Civitai Helper sends an empty header where it has no key."""
    assert client.get("/api/v1/models", headers={"authorization": given}).status_code == 200


def test_a_bad_key_of_ours_is_told(client: Client) -> None:
    answer = client.get("/api/v1/models", headers={"authorization": "Bearer embconv_wrong"})
    assert (answer.status_code, answer.json()["error"]) == (401, "Unauthorized")


def test_a_private_registry_asks_for_a_key(home: str) -> None:
    settings = Settings(home=home, private=True, host="0.0.0.0", allowed_hosts=("registry.example",), log_level="error")
    with Store(home) as store:
        here = keep(store, Blobs(home), model(1))
        secret = create(store, "me", "read", None)
    with TestClient(create_app(settings), base_url="http://registry.example:8765") as client:
        for path in ("/api/v1/models", "/api/v1/models/1", f"/api/v1/model-versions/by-hash/{here[100]}", "/api/download/models/10",
                     f"/api/download/files/{here[100]}/paper.pt", "/api/v1/embedding/1"):  # fmt: skip
            for asked in (path, f"{path}?token={secret}"):
                answer = client.get(asked)
                assert (answer.status_code, answer.json()["error"]) == (401, "Unauthorized"), path
            answer = client.get(path, headers={"authorization": f"Bearer {secret}"})
            assert answer.status_code == 200, path
            assert "public" not in answer.headers["cache-control"]


def test_a_foreign_host_or_page_is_refused(client: Client) -> None:
    assert client.get("/api/v1/models", headers={"host": "evil.example"}).status_code == 403
    assert client.get("/api/download/models/1", headers={"host": "evil.example"}).status_code == 403
    answer = client.post("/api/v1/model-versions/by-hash", json=[], headers={"origin": "https://evil.example"})
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in client.get("/api/v1/models", headers={"origin": "https://evil.example"}).headers


def test_a_token_is_not_told_on(client: Client, kept: Callable[..., Any]) -> None:
    kept(model(1))
    kept(model(2))
    page = client.get("/api/v1/models", params={"limit": 1, "token": "secret"}).json()
    assert "secret" not in json.dumps(page)
    assert page["metadata"]["nextPage"]
