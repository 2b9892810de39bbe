"""The fake Civitai behaves as the contract says, one behaviour a test."""

import gzip
import hashlib
import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fakes.civitai import ODDITIES, Account, Fake, after, first, generate, serve
from fakes.civitai_catalogue import api_name, tensor_file

GOOD = {"Authorization": "Bearer good"}


@pytest.fixture(scope="module")
def running() -> Iterator[Fake]:
    with serve() as fake:
        yield fake


@pytest.fixture
def fake(running: Fake) -> Iterator[Fake]:
    """As new for each test: no faults, no log, the catalogue unchanged by it."""
    models = dict(running.catalogue.models)
    running.log.clear()
    yield running
    _all_off(running)
    for model_id in [*running.catalogue.models]:
        if model_id not in models:
            running.catalogue.take(model_id)
    for model_id, model in models.items():
        if running.catalogue.models.get(model_id) is not model:
            running.catalogue.put(model)


def _all_off(fake: Fake) -> None:
    clean = type(fake.faults)()
    for name in clean.__struct_fields__:
        setattr(fake.faults, name, getattr(clean, name))


@pytest.fixture
def client(fake: Fake) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=fake.api_url, headers={"User-Agent": "sample/1"}, timeout=10) as made:
        yield made


def listed(client: httpx.Client, **params: Any) -> list[dict[str, Any]]:
    return client.get("/api/v1/models", params={"limit": 100, **params}).json()["items"]


def walk(client: httpx.Client, limit: int, sort: str, most: int = 100, **params: Any) -> tuple[list[int], httpx.Response]:
    """Ids as the pages give them, and the last answer."""
    found, cursor = [], None
    for _ in range(most):
        answer = client.get("/api/v1/models", params={"limit": limit, "sort": sort, **params, **({"cursor": cursor} if cursor else {})})
        if answer.status_code != 200:
            break
        found += [item["id"] for item in answer.json()["items"]]
        following = answer.json()["metadata"].get("nextCursor")
        if following is None or following == cursor:
            break
        cursor = following
    return found, answer


def odd(fake: Fake, name: str) -> Any:
    return fake.catalogue.models[fake.catalogue.odd[name]]


def location(client: httpx.Client, model: Any, **params: Any) -> str:
    return client.get(f"/api/download/models/{model.versions[0].id}", params=params).headers["location"]


# the catalogue


def test_it_makes_exactly_what_is_asked_and_quickly() -> None:
    start = time.perf_counter()
    catalogue = generate(models=3000, files=5000, oddities=False)
    assert (len(catalogue.models), len(catalogue.files)) == (3000, 5000)
    assert time.perf_counter() - start < 3
    moments = [model.last_version_at for model in catalogue.models.values()]
    assert len(set(moments)) < len(moments) / 5


def test_a_seed_gives_the_same_again() -> None:
    one, two, other = generate(80, seed=3), generate(80, seed=3), generate(80, seed=4)
    assert [file.sha256 for file in one.files.values()] == [file.sha256 for file in two.files.values()]
    assert [model.name for model in one.models.values()] != [model.name for model in other.models.values()]


def test_every_oddity_is_in_the_default() -> None:
    assert len(generate().odd) == len(ODDITIES) < 80


def test_the_default_bytes_are_a_safetensors_file() -> None:
    from safetensors.numpy import load

    read = load(tensor_file(9001))
    assert {name: (array.shape, str(array.dtype)) for name, array in read.items()} == {"emb_params": ((2, 768), "float32")}
    assert 0 < abs(read["emb_params"]).max() < 0.1


def test_a_caller_gives_the_bytes() -> None:
    catalogue = generate(3, content=lambda identity: b"%d" % identity)
    assert all(file.content() == b"%d" % file.id for file in catalogue.files.values())


# the list


@pytest.mark.parametrize(
    "query",
    ["limit=101", "limit=x", "page=0", "types=LORA,LoCon", "types=lora", "sort=Best", "period=Hour", "nsfw=maybe", "nsfw=", "allowNoCredit=true",
     "isFeatured=true", "browsingLevel=1", "fileFormats=SafeTensor", "ids=1,x", "tag=a&tag=b", "limit=1&limit=2"],
)  # fmt: skip
def test_a_bad_parameter_is_a_zod_error(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/api/v1/models?{query}")
    body = answer.json()["error"]
    assert (answer.status_code, body.keys(), body["name"]) == (400, {"name", "message"}, "ZodError")
    assert json.loads(body["message"])[0]["path"][0] == query.partition("=")[0]


@pytest.mark.parametrize("query", ["type=LORA", "types[]=LORA", "pageSize=1", "tag=unheard-of", "status=Draft", "rating=5", "etag=x"])
def test_a_parameter_that_nobody_knows_filters_nothing(client: httpx.Client, query: str) -> None:
    assert client.get(f"/api/v1/models?{query}").json()["items"] == listed(client)


def test_types_and_base_models(client: httpx.Client, fake: Fake) -> None:
    assert {item["type"] for item in listed(client, types=["LORA", "LoCon"])} == {"LORA"}
    assert listed(client, baseModels="SD 1.5,Pony") == []
    assert {version["baseModel"] for item in listed(client, baseModels=["Pony", "Other"]) for version in item["modelVersions"]} == {"Pony", "Other"}


@pytest.mark.parametrize("query", ["favorites=false", "hidden=true"])
def test_favorites_without_a_session(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/api/v1/models?{query}")
    assert (answer.status_code, answer.json()) == (401, {"error": "Unauthorized"})
    assert client.get(f"/api/v1/models?{query}", headers=GOOD).status_code == 200


def test_limit_0_is_one_item_without_cursor(client: httpx.Client) -> None:
    for query in ("limit=0", "limit="):
        body = client.get(f"/api/v1/models?{query}").json()
        assert (len(body["items"]), body["metadata"]) == (1, {})


def test_page_moves_nothing(client: httpx.Client) -> None:
    one, two = (client.get("/api/v1/models", params={"limit": 5, "page": page}).json() for page in (1, 2))
    assert one["items"] == two["items"]
    assert two["metadata"] | {"currentPage": 2, "pageSize": 5} == two["metadata"]
    assert client.get("/api/v1/models?limit=100&page=11").status_code == 429
    assert client.get("/api/v1/models?query=a&page=1").status_code == 400


def test_username(client: httpx.Client) -> None:
    assert {item["creator"]["username"] for item in listed(client, username="Sample_FERN")} == {"sample_fern"}
    answer = client.get("/api/v1/models?username=nobody")
    assert (answer.status_code, answer.json()) == (404, {"message": "User not found"})


def test_levels(client: httpx.Client, fake: Fake) -> None:
    plain, all_levels = {item["id"] for item in listed(client, archived=1)}, {item["id"] for item in listed(client, nsfw="true", archived=1)}
    names = ("level_2", "level_4", "level_8", "level_16")
    assert {fake.catalogue.odd[name] for name in names} <= all_levels - plain
    assert not {fake.catalogue.odd[name] for name in ("unrated", "level_32", "poi", "private", "unpublished", "early_config", "no_files")} & (plain | all_levels)
    assert fake.catalogue.odd["minor"] in plain - all_levels


def test_images_above_the_level_are_left_out(client: httpx.Client, fake: Fake) -> None:
    model = fake.catalogue.odd["mixed_levels"]
    assert [len(listed(client, ids=model, **more)[0]["modelVersions"][0]["images"]) for more in ({}, {"nsfw": "true"})] == [1, 2]


def test_archived_false_is_true(client: httpx.Client, fake: Fake) -> None:
    model = fake.catalogue.odd["archived"]
    assert listed(client, ids=model) == []
    (item,) = listed(client, ids=model, archived="false")
    assert item["mode"] == "Archived"
    assert item["modelVersions"][0]["files"] == []
    assert "downloadUrl" not in item["modelVersions"][0]


def test_ids_keep_versions_in_early_access(client: httpx.Client, fake: Fake) -> None:
    (item,) = listed(client, ids=fake.catalogue.odd["early_config"])
    assert item["modelVersions"][0]["availability"] == "EarlyAccess"
    assert listed(client, ids="") == []


# cursors


def expected(fake: Fake) -> set[int]:
    """Truth for a plain list, made from the facts."""
    return {
        model.id
        for model in fake.catalogue.models.values()
        if model.status == "Published" and model.availability == "Public" and not model.poi and model.nsfw_level & 1 and model.mode != "Archived"
        and any(version.files and version.availability == "Public" for version in model.versions)
    }  # fmt: skip


@pytest.mark.parametrize("sort", ["Highest Rated", "Most Downloaded", "Most Discussed", "Most Collected", "Most Images", "Most Liked"])
def test_count_sorts_give_everything_once(client: httpx.Client, fake: Fake, sort: str) -> None:
    found, _ = walk(client, 9, sort)
    assert len(found) == len(set(found))
    assert set(found) == expected(fake)


def test_newest_loses_the_row_at_each_border(client: httpx.Client, fake: Fake) -> None:
    found, _ = walk(client, 9, "Newest")
    lost = expected(fake) - set(found) - {fake.catalogue.odd[name] for name in fake.catalogue.odd if name.startswith("null_date")}
    assert len(found) == len(set(found))
    assert 4 <= len(lost) <= 8


def test_oldest_repeats_ties(client: httpx.Client, fake: Fake) -> None:
    found, _ = walk(client, 9, "Oldest")
    assert len(found) > len(set(found))
    dateless = {fake.catalogue.odd[name] for name in fake.catalogue.odd if name.startswith("null_date")}
    assert set(found) >= expected(fake) - dateless


def test_oldest_stands_still_in_a_tie_longer_than_a_page(client: httpx.Client) -> None:
    found, answer = walk(client, 3, "Oldest")
    assert len(set(found)) < 10
    assert answer.json()["metadata"]["nextCursor"] in str(answer.request.url.params["cursor"])


@pytest.mark.parametrize("sort", ["Newest", "Oldest"])
def test_the_tail_without_dates_hands_out_a_bad_cursor(sort: str) -> None:
    catalogue = generate(20, oddities=False, tied=1)
    for model in list(catalogue.models.values())[-8:]:
        catalogue.change_model(model.id, last_version_at=None)
    with serve(catalogue) as fake, httpx.Client(base_url=fake.api_url) as client:
        _, answer = walk(client, 4, sort)
        assert answer.request.url.params["cursor"].startswith("|")
        assert (answer.status_code, answer.json()) == (400, {"message": 'Invalid cursor: unparseable numeric value ""'})


def test_a_cursor_of_another_sort(client: httpx.Client) -> None:
    answer = client.get("/api/v1/models", params={"sort": "Newest", "cursor": "12"})
    assert (answer.status_code, answer.json()) == (400, {"message": "Invalid cursor: expected 2 value(s) for this sort, received 1"})


def test_next_page_keeps_the_question_and_the_token(client: httpx.Client, fake: Fake) -> None:
    answer = client.get("/api/v1/models?types=TextualInversion&limit=3&tag=&sort=Newest&token=good").json()["metadata"]
    assert answer["nextPage"].startswith(f"{fake.api_url}/api/v1/models?types=TextualInversion&limit=3&sort=Newest&token=good&cursor=2024-01-0")
    assert "%20" in answer["nextPage"]
    assert "%7C" in answer["nextPage"]


def test_a_query_has_offsets_and_empty_pages(client: httpx.Client, fake: Fake) -> None:
    pages, cursor = [], "0"
    while cursor:
        body = client.get("/api/v1/models", params={"query": "a", "limit": 2, "cursor": cursor, "baseModels": "Other"}).json()
        pages.append(body["items"])
        assert cursor.isdecimal()
        cursor = body["metadata"].get("nextCursor")
    assert [] in pages[:-1]
    assert any(pages)


# bodies


def test_null_stats_absent_creator_null_username(client: httpx.Client, fake: Fake) -> None:
    items = {item["id"]: item for item in listed(client)}
    ids = fake.catalogue.odd
    assert items[ids["null_stats"]]["stats"]["downloadCount"] is None
    assert "creator" not in items[ids["no_creator"]]
    assert items[ids["null_username"]]["creator"]["username"] is None


@pytest.mark.parametrize(
    ("form", "value"), [("list", ["Image", "RentCivit"]), ("string", "RentCivit"), ("literal", "{Image,RentCivit}"), ("null", None)]
)
def test_commercial_use_has_forms(client: httpx.Client, fake: Fake, form: str, value: object) -> None:
    fake.faults.commercial_use_form = form
    assert listed(client, ids=fake.catalogue.odd["first"])[0]["allowCommercialUse"] == value


def test_a_model_by_id_has_nothing_empty(client: httpx.Client, fake: Fake) -> None:
    version = client.get(f"/api/v1/models/{fake.catalogue.odd['no_trained_words']}").json()["modelVersions"][0]
    assert not {"trainedWords", "description", "vaeId", "paidAccess"} & version.keys()
    assert {"createdAt", "status", "covered"} <= version.keys()
    assert "id" not in version["images"][0]
    assert version["files"][0]["metadata"] == {"format": "SafeTensor"}
    assert "files" not in client.get(f"/api/v1/models/{fake.catalogue.odd['archived']}").json()["modelVersions"][0]


@pytest.mark.parametrize(("value", "status"), [("0", 400), ("x", 400), ("1.5", 400), ("2147483648", 400), ("2147483647", 404)])
def test_a_model_id(client: httpx.Client, value: str, status: int) -> None:
    answer = client.get(f"/api/v1/models/{value}")
    assert answer.status_code == status
    assert answer.json()["error"].startswith("✖ " if status == 400 else "No model with id")


@pytest.mark.parametrize("name", ["poi", "unrated", "private", "unpublished"])
def test_a_model_that_is_404_by_id(client: httpx.Client, fake: Fake, name: str) -> None:
    assert client.get(f"/api/v1/models/{fake.catalogue.odd[name]}").status_code == 404


def test_a_version_has_a_naive_scan_time_and_no_override_name(client: httpx.Client, fake: Fake) -> None:
    model = odd(fake, "override_name")
    (file,) = client.get(f"/api/v1/model-versions/{model.versions[0].id}").json()["files"]
    assert file["scannedAt"] == "2026-08-01T02:43:46.31"
    assert (file["name"], "overrideName" in file) == (f"{model.versions[0].trained_words[0]}.safetensors", False)
    (found,) = client.get(f"/api/v1/model-versions/by-hash/{file['hashes']['SHA256']}").json()["files"]
    assert found["scannedAt"].endswith("Z")
    assert found["name"] == found["overrideName"] == "Renamed Sample.safetensors"


@pytest.mark.parametrize(
    ("value", "status", "said"),
    [("x", 400, "✖ "), ("0", 400, "Missing modelVersionId"), ("1.5", 500, "Failed to fetch"), ("2147483648", 500, "Failed"), ("99", 404, "Model not found")],
)
def test_a_version_id(client: httpx.Client, value: str, status: int, said: str) -> None:
    answer = client.get(f"/api/v1/model-versions/{value}")
    assert (answer.status_code, answer.json()["error"].startswith(said)) == (status, True)


def test_a_version_without_a_file_or_a_rating(client: httpx.Client, fake: Fake) -> None:
    errors = [client.get(f"/api/v1/model-versions/{odd(fake, name).versions[0].id}").json()["error"] for name in ("no_files", "unrated")]
    assert errors == ["Missing model file", "Model not found"]


@pytest.mark.parametrize(
    ("oddity", "names"),
    [("angle_name", ["<x>.bin"]), ("dot_name", ["..pt"]), ("star_name", ["*.pt"]), ("spaced_negative", ["By bad artist -neg.pt"]),
     ("path_name", ["../../sample.pt"]), ("escaped_name", ["../sample.pt"]), ("unicode_name", ["水墨.pt"])],
)  # fmt: skip
def test_names_are_not_sanitised(client: httpx.Client, fake: Fake, oddity: str, names: list[str]) -> None:
    (item,) = listed(client, ids=fake.catalogue.odd[oddity])
    assert [file["name"] for file in item["modelVersions"][0]["files"]] == names


def test_two_files_of_one_name_and_one_hash_in_many_models(client: httpx.Client, fake: Fake) -> None:
    one, two = (file["name"] for file in listed(client, ids=fake.catalogue.odd["twin_names"])[0]["modelVersions"][0]["files"])
    assert one == two
    assert len({odd(fake, name).files[0].sha256 for name in ("first", "shared_sha256", "shared_sha256_again")}) == 1


def test_a_negative_pair(client: httpx.Client, fake: Fake) -> None:
    positive, negative = listed(client, ids=fake.catalogue.odd["negative_pair"])[0]["modelVersions"][0]["files"]
    assert (positive["primary"], "primary" in negative) == (True, False)
    assert negative["name"] == positive["name"].replace(".safetensors", "-neg.safetensors")
    assert negative["downloadUrl"].endswith("?type=Negative&format=Other")
    fetched = httpx.get(negative["downloadUrl"], follow_redirects=True).content
    assert hashlib.sha256(fetched).hexdigest().upper() == negative["hashes"]["SHA256"]


def test_a_version_without_a_primary(client: httpx.Client, fake: Fake) -> None:
    files = listed(client, ids=fake.catalogue.odd["no_primary"])[0]["modelVersions"][0]["files"]
    assert len(files) == 1
    assert "primary" not in files[0]


def test_a_pending_scan_has_no_hashes(client: httpx.Client, fake: Fake) -> None:
    (file,) = listed(client, ids=fake.catalogue.odd["pending_scan"])[0]["modelVersions"][0]["files"]
    assert (file["hashes"], file["pickleScanResult"], file["scannedAt"]) == ({}, "Pending", None)


def test_a_file_is_replaced(client: httpx.Client, fake: Fake) -> None:
    before = odd(fake, "first").files[0]
    now = fake.catalogue.change_file(before.id, make=lambda _: tensor_file(77))
    (shown,) = listed(client, ids=before.model_id)[0]["modelVersions"][0]["files"]
    assert (shown["id"], shown["hashes"]["SHA256"].lower()) == (before.id, now.sha256)
    assert now.sha256 != before.sha256
    model = odd(fake, "replaced_file")
    counts = [len(client.get(f"/api/v1/model{kind}").json().get("files", [])) for kind in (f"-versions/{model.versions[0].id}",)]
    assert counts == [2]
    assert len(listed(client, ids=model.id)[0]["modelVersions"][0]["files"]) == 1


# by hash


@pytest.mark.parametrize("kind", ["AutoV2", "SHA256", "CRC32", "BLAKE3", "AutoV3"])
def test_a_hash_of_any_kind_finds_its_version(client: httpx.Client, fake: Fake, kind: str) -> None:
    file = odd(fake, "null_stats").files[0]
    path = "/api/v1/model-versions/by-hash/"
    assert client.get(path + file.hashes[kind].lower()).json()["id"] == file.version_id
    assert client.get(path + file.hashes[kind][:-1]).json() == {"error": "Model not found"}


def test_poi_is_found_by_hash(client: httpx.Client, fake: Fake) -> None:
    model = odd(fake, "poi")
    assert client.get(f"/api/v1/model-versions/by-hash/{model.files[0].sha256}").json()["modelId"] == model.id
    assert client.get(f"/api/download/models/{model.versions[0].id}").status_code == 404


def test_a_404_by_hash_sticks(client: httpx.Client, fake: Fake) -> None:
    fake.faults.by_hash_sticky_404 = True
    model = fake.catalogue.models[fake.catalogue.odd["two_words"]]
    path = f"/api/v1/model-versions/by-hash/{model.files[0].sha256}"
    fake.catalogue.take(model.id)
    assert client.get(path).status_code == 404
    fake.catalogue.put(model)
    assert client.get(path).status_code == 404


def test_the_bulk_look_up_is_careless(client: httpx.Client, fake: Fake) -> None:
    digests = [odd(fake, name).files[0].sha256 for name in ("first", "no_stats", "poi") if name in fake.catalogue.odd]
    hidden = odd(fake, "no_primary").files[1].sha256
    found = client.post("/api/v1/model-versions/by-hash", json=[*digests, hidden, "0" * 64]).json()
    assert sum(1 for each in found if each and each["files"][0]["hashes"]["SHA256"].lower() == digests[0]) == 3
    assert None in found
    assert all(each["downloadUrl"].startswith("https://undefined/api/download/") for each in found if each)
    ids = client.post("/api/v1/model-versions/by-hash/ids", json=digests).json()
    assert {"modelVersionId", "modelId", "hash"} == ids[0].keys()


@pytest.mark.parametrize("body", [["short"], {"a": 1}, ["0" * 64] * 101])
def test_the_bulk_look_up_refuses(client: httpx.Client, body: object) -> None:
    answer = client.post("/api/v1/model-versions/by-hash", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("Request must include an array of SHA256 Hashes. [\n")


# downloads


def test_a_download_is_a_redirect_to_the_other_host(client: httpx.Client, fake: Fake) -> None:
    model = odd(fake, "first")
    answer = client.get(f"/api/download/models/{model.versions[0].id}")
    assert (answer.status_code, answer.headers["cache-control"]) == (307, "no-store, max-age=0")
    assert answer.headers["location"].startswith(fake.storage_url)
    got = httpx.get(answer.headers["location"])
    assert hashlib.sha256(got.content).hexdigest() == model.files[0].sha256
    assert got.headers["content-disposition"] == f'attachment; filename="{api_name(model.files[0], model.versions[0], model)}"'


@pytest.mark.parametrize(
    ("name", "headers", "status", "body"),
    [("archived", {}, 410, {"error": "Model archived, not available for download"}),
     ("poi", GOOD, 404, {"error": "File not found"}),
     ("unpublished", {}, 404, {"error": "File not found"}),
     ("generation_only", GOOD, 401, {"error": "Unauthorized", "message": "The creator of this asset has disabled downloads on this file"}),
     ("login_required", {}, 401, {"error": "Unauthorized", "message": "The creator of this asset requires you to be logged in to download it"}),
     ("login_required", {"Authorization": "Bearer bad"}, 401, {"error": "Unauthorized", "message": "The creator of this asset requires you to be logged in to download it"}),
     ("early_paid", GOOD, 403, {"error": "Early Access", "deadline": "2099-01-01T00:00:00.000Z", "message": "This asset is in Early Access. You can use Buzz access it now!"}),
     ("early_permanent", GOOD, 403, {"error": "Early Access", "message": "This asset is in Early Access. You can use Buzz access it now!"})],
    ids=["archived", "poi", "unpublished", "generation only", "login", "bad token", "early access", "permanent"],
)  # fmt: skip
def test_a_download_is_refused(client: httpx.Client, fake: Fake, name: str, headers: dict[str, str], status: int, body: object) -> None:
    answer = client.get(f"/api/download/models/{odd(fake, name).versions[0].id}", headers=headers)
    assert (answer.status_code, answer.json()) == (status, body)


@pytest.mark.parametrize(("name", "status"), [("early_time_frame", 403), ("early_config", 403), ("early_pending", 403), ("early_past", 307), ("level_16", 307)])
def test_early_access_of_every_era(client: httpx.Client, fake: Fake, name: str, status: int) -> None:
    assert client.get(f"/api/download/models/{odd(fake, name).versions[0].id}").status_code == status


def test_a_token_opens(client: httpx.Client, fake: Fake) -> None:
    version = odd(fake, "login_required").versions[0].id
    assert client.get(f"/api/download/models/{version}", headers=GOOD).status_code == 307
    assert client.get(f"/api/download/models/{version}?token=good").status_code == 307
    assert client.get(f"/api/download/models/{version}?token=good", headers={"Authorization": "Bearer bad"}).status_code == 401
    early = odd(fake, "early_paid").versions[0].id
    fake.faults.tokens = {"rich": Account(bought=frozenset({early}))}
    assert client.get(f"/api/download/models/{early}?token=rich").status_code == 307


def test_a_browser_is_sent_to_the_login_page(client: httpx.Client, fake: Fake) -> None:
    path = f"/api/download/models/{odd(fake, 'login_required').versions[0].id}"
    page = client.get(path, headers={"User-Agent": "Mozilla/5.0"}, follow_redirects=True)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert client.get("/api/download/models/1", headers={"User-Agent": "Mozilla/5.0"}).text == "File not found"


def test_file_id_is_the_sure_selector(client: httpx.Client, fake: Fake) -> None:
    model = odd(fake, "twin_names")
    for file in model.files:
        assert hashlib.sha256(httpx.get(location(client, model, fileId=file.id)).content).hexdigest() == file.sha256
    path = f"/api/download/models/{model.versions[0].id}"
    assert client.get(path, params={"fileId": 1}).status_code == 404
    assert client.get(path, params={"format": "PickleTensor"}).status_code == 404
    assert client.get(path, params={"type": "Mdoel"}).status_code == 400


def test_bytes_that_do_not_match_their_hash(client: httpx.Client, fake: Fake) -> None:
    model = odd(fake, "wrong_bytes")
    got = httpx.get(location(client, model)).content
    assert len(got) == model.files[0].size
    assert hashlib.sha256(got).hexdigest() != model.files[0].sha256


def test_the_storage_refuses_a_token(client: httpx.Client, fake: Fake) -> None:
    answer = httpx.get(location(client, odd(fake, "first")), headers=GOOD)
    assert (answer.status_code, b"InvalidRequest" in answer.content) == (400, True)
    assert len(fake.log.with_token("storage")) == 1


@pytest.mark.parametrize(
    ("wanted", "status", "part"),
    [("bytes=0-0", 206, slice(0, 1)), ("bytes=100-", 206, slice(100, None)), ("bytes=-10", 206, slice(-10, None)), ("bytes=9999999-", 416, slice(0, 0))],
)
def test_the_storage_honours_range(client: httpx.Client, fake: Fake, wanted: str, status: int, part: slice) -> None:
    model = odd(fake, "first")
    answer = httpx.get(location(client, model), headers={"Range": wanted})
    assert (answer.status_code, answer.content) == (status, model.files[0].content()[part])
    assert f"/{model.files[0].size}" in answer.headers["content-range"]


def test_if_range_of_another_etag_sends_all(client: httpx.Client, fake: Fake) -> None:
    answer = httpx.get(location(client, odd(fake, "first")), headers={"Range": "bytes=5-", "If-Range": '"other"'})
    assert answer.status_code == 200


def test_a_signature_expires(client: httpx.Client, fake: Fake) -> None:
    model = odd(fake, "first")
    fake.faults.signature_seconds = -1
    assert httpx.get(location(client, model)).status_code == 403
    fake.faults.signature_seconds, fake.faults.storage_expired_after = 60, 1
    place = location(client, model)
    assert [httpx.get(place).status_code for _ in range(2)] == [200, 403]
    assert httpx.get(place[:-1]).status_code == httpx.get(place.replace("X-Amz-Signature=0", "X-Amz-Signature=1")).status_code == 403


def test_pictures_are_real(client: httpx.Client, fake: Fake) -> None:
    from PIL import Image

    urls = [image["url"] for item in listed(client, limit=2) for version in item["modelVersions"] for image in version["images"]]
    forms = {Image.open(io.BytesIO(httpx.get(url).content)).format for url in urls}
    assert forms <= {"PNG", "JPEG"}
    assert forms


# the other endpoints


def test_me(client: httpx.Client) -> None:
    assert client.get("/api/v1/me", headers={"Authorization": "Bearer bad"}).json() == {"error": "Unauthorized"}
    assert client.get("/api/v1/me", headers=GOOD).json()["username"] == "sample_user"


def test_creators_tags_enums_images_mini(client: httpx.Client, fake: Fake) -> None:
    assert client.get("/api/v1/creators?limit=0").status_code == 400
    one, two = (client.get(f"/api/v1/creators?limit=3&page={page}").json() for page in (1, 2))
    assert not {item["username"] for item in one["items"]} & {item["username"] for item in two["items"]}
    assert client.get("/api/v1/tags?query=sty").json()["items"][0]["name"] == "style"
    assert "TextualInversion" in client.get("/api/v1/enums").json()["ModelType"]
    assert {item["nsfwLevel"] for item in client.get("/api/v1/images?nsfw=X").json()["items"]} == {"None", "Soft", "Mature", "X"}
    assert client.get(f"/api/v1/model-versions/mini/{odd(fake, 'login_required').versions[0].id}").json()["requireAuth"] is True


def test_methods_and_unknown_paths(client: httpx.Client) -> None:
    assert [client.request(method, "/api/v1/models").status_code for method in ("POST", "HEAD", "OPTIONS")] == [405, 405, 405]
    for path in ("/api/v1/nothing", "/nothing", "/api/v1/models/1/2"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")


def test_cache_headers(client: httpx.Client) -> None:
    assert client.get("/api/v1/models/0").headers["cache-control"] == "public, s-maxage=300, stale-while-revalidate=150"
    assert client.get("/api/v1/model-versions/by-hash/00").headers["cache-control"] == "public, s-maxage=3600, stale-while-revalidate=1800"
    assert client.get("/api/v1/models", headers=GOOD).headers["cache-control"] == "max-age=0, private, no-cache"


# faults


@pytest.mark.parametrize(
    ("name", "status", "kind"),
    [("html_503", 503, "text/html"), ("html_403", 403, "text/html"), ("html_404", 404, "text/html"), ("maintenance_text_200", 200, "text/plain"),
     ("rate_429", 429, "application/json"), ("json_503", 503, "application/json"), ("error_500", 500, "application/json"),
     ("region_451", 451, "application/json"), ("search_503", 503, "application/json")],
)  # fmt: skip
def test_what_the_edge_answers(client: httpx.Client, fake: Fake, name: str, status: int, kind: str) -> None:
    setattr(fake.faults, name, 1)
    answer = client.get("/api/v1/models")
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (status, kind)
    assert ("retry-after" in answer.headers) == (name == "search_503")
    assert client.get("/api/v1/models").status_code == 200


def test_429_with_retry_after(client: httpx.Client, fake: Fake) -> None:
    fake.faults.rate_429, fake.faults.retry_after = True, "3"
    assert client.get("/api/v1/me").headers["retry-after"] == "3"


def test_a_switch_may_name_a_path_and_a_count(client: httpx.Client, fake: Fake) -> None:
    fake.faults.html_503 = first(2, "/models/")
    assert [client.get(path).status_code for path in ("/api/v1/models", "/api/v1/models/1", "/api/v1/models/1", "/api/v1/models/1")] == [200, 503, 503, 404]
    fake.faults.html_503 = first(1, "/models/", each=True)
    assert [client.get(path).status_code for path in ("/api/v1/models/1", "/api/v1/models/2", "/api/v1/models/1")] == [503, 503, 404]
    fake.faults.html_503 = after(1)
    assert [client.get("/api/v1/models/1").status_code for _ in range(3)] == [404, 503, 503]


@pytest.mark.parametrize("name", ["api_invalid_json", "api_cut"])
def test_json_that_is_none(client: httpx.Client, fake: Fake, name: str) -> None:
    setattr(fake.faults, name, True)
    answer = client.get("/api/v1/models")
    assert answer.status_code == 200
    with pytest.raises(ValueError, match="line 1"):
        answer.json()


def test_json_whose_connection_drops(client: httpx.Client, fake: Fake) -> None:
    fake.faults.api_drops = True
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/api/v1/models")


def test_bombs_and_huge_answers(client: httpx.Client, fake: Fake) -> None:
    fake.faults.bomb_bytes = fake.faults.huge_bytes = 4 << 20
    fake.faults.api_gzip_bomb = 1
    with client.stream("GET", "/api/v1/models") as answer:
        packed = b"".join(answer.iter_raw())
    assert len(packed) < 1 << 18
    assert len(gzip.decompress(packed)) == 4 << 20
    fake.faults.api_huge = 1
    assert len(client.get("/api/v1/models").content) > 4 << 20
    fake.faults.storage_gzip_bomb = 1
    assert len(httpx.get(location(client, odd(fake, "first"))).content) == 4 << 20


def test_pages_that_are_short_or_empty_lose_nothing(client: httpx.Client, fake: Fake) -> None:
    fake.faults.page_short = first(2)
    fake.faults.page_empty_with_cursor = after(2, times=2)
    assert set(walk(client, 9, "Highest Rated")[0]) == expected(fake)


def test_a_cursor_that_sticks_is_a_number_or_has_no_end(client: httpx.Client, fake: Fake) -> None:
    def cursor(**params: Any) -> Any:
        return client.get("/api/v1/models", params={"limit": 3, **params}).json()["metadata"]["nextCursor"]

    fake.faults.cursor_stuck = True
    assert cursor(cursor=cursor()) == cursor()
    fake.faults.cursor_stuck, fake.faults.cursor_number = False, True
    assert isinstance(cursor(), int)
    assert set(walk(client, 9, "Highest Rated")[0]) == expected(fake)
    fake.faults.cursor_number, fake.faults.cursor_endless = False, True
    assert len({cursor(), cursor(), cursor()}) == 3


def test_next_page_of_another_host(client: httpx.Client, fake: Fake) -> None:
    fake.faults.next_page_other_host = True
    assert client.get("/api/v1/models?limit=1").json()["metadata"]["nextPage"].startswith("https://elsewhere.invalid/api/v1/models?")


@pytest.mark.parametrize(
    ("name", "seen"),
    [("omitted", (False, True, 200)), ("omitted_from_ids", (False, False, 200)), ("missing_by_id", (True, True, 404)), ("vanished", (False, False, 404))],
)
def test_models_that_are_not_everywhere(client: httpx.Client, fake: Fake, name: str, seen: tuple[bool, bool, int]) -> None:
    model = odd(fake, "first")
    getattr(fake.faults, name).add(model.id)
    in_list, by_ids = ({item["id"] for item in listed(client, **more)} for more in ({}, {"ids": model.id}))
    assert (model.id in in_list, model.id in by_ids, client.get(f"/api/v1/models/{model.id}").status_code) == seen
    assert client.get(f"/api/download/models/{model.versions[0].id}").status_code == (404 if name == "vanished" else 307)


@pytest.mark.parametrize(
    ("name", "status"), [("forbidden_403", 403), ("download_counter_429", 429), ("download_404", 404), ("download_500", 500)]
)
def test_a_download_fails_for_a_while(client: httpx.Client, fake: Fake, name: str, status: int) -> None:
    setattr(fake.faults, name, 1)
    path = f"/api/download/models/{odd(fake, 'first').versions[0].id}"
    assert [client.get(path).status_code for _ in range(2)] == [status, 307]


@pytest.mark.parametrize(
    ("name", "value", "start"),
    [("redirect_to", "ftp://elsewhere.invalid/x", "ftp://elsewhere.invalid/x"), ("redirect_to", lambda place: place.replace("http:", "https:"), "https://127"),
     ("redirect_to_private", True, "http://169.254."), ("redirect_loop", True, "{api}/api/download/models/"), ("redirect_to_login", True, "{api}/login?")],
    ids=["given", "changed", "private", "loop", "login"],
)  # fmt: skip
def test_redirects_that_mislead(client: httpx.Client, fake: Fake, name: str, value: object, start: str) -> None:
    setattr(fake.faults, name, value)
    assert location(client, odd(fake, "first")).startswith(start.format(api=fake.api_url))


def test_redirects_in_a_row(client: httpx.Client, fake: Fake) -> None:
    fake.faults.redirect_hops = 3
    model = odd(fake, "path_name")
    answer = client.get(f"/api/download/models/{model.versions[0].id}", follow_redirects=True)
    assert (len(answer.history), answer.content) == (4, model.files[0].content())


def test_the_storage_answers_wrongly(client: httpx.Client, fake: Fake) -> None:
    model = odd(fake, "first")
    whole = model.files[0].content()

    def got(name: str, **headers: str) -> httpx.Response:
        setattr(fake.faults, name, 1)
        return httpx.get(location(client, model), headers=headers)

    assert got("storage_html_200").headers["content-type"].startswith("text/html")
    assert [got(name).status_code for name in ("storage_500", "storage_404", "storage_expired")] == [500, 404, 403]
    assert got("storage_ignores_range", Range="bytes=5-").status_code == 200
    assert got("storage_416", Range="bytes=5-").status_code == 416
    fake.faults.storage_416 = False
    assert len(got("storage_wrong_bytes").content) == len(whole)
    assert got("storage_wrong_bytes").content != whole
    assert len(got("storage_bigger_than_said").content) == len(whole) + fake.faults.extra_bytes
    assert "content-length" not in got("storage_no_length").headers
    assert "content-disposition" not in got("storage_no_disposition").headers
    assert got("storage_new_etag").headers["etag"] != got("storage_new_etag").headers["etag"]
    assert got("storage_gzipped").headers["content-encoding"] == "gzip"


@pytest.mark.parametrize("name", ["storage_truncates", "storage_drops"])
def test_the_storage_ends_early(client: httpx.Client, fake: Fake, name: str) -> None:
    model, got = odd(fake, "first"), b""
    setattr(fake.faults, name, True)
    with pytest.raises(httpx.TransportError), httpx.stream("GET", location(client, model)) as answer:  # noqa: PT012 - the error rises midway
        for piece in answer.iter_raw():
            got += piece
    assert got == model.files[0].content()[:1000]
    assert answer.headers["content-length"] == str(model.files[0].size)


def test_the_storage_is_slow_or_endless(client: httpx.Client, fake: Fake) -> None:
    fake.faults.storage_slow = 1
    start = time.perf_counter()
    assert httpx.get(location(client, odd(fake, "first"))).content == odd(fake, "first").files[0].content()
    assert time.perf_counter() - start > 0.3
    fake.faults.storage_endless = 1
    with httpx.stream("GET", location(client, odd(fake, "first"))) as answer:
        pieces = answer.iter_raw()
        assert sum(len(next(pieces)) for _ in range(50)) > 1 << 20


def test_the_log_says_what_was_asked(client: httpx.Client, fake: Fake) -> None:
    httpx.get(location(client, odd(fake, "first")))
    listed(client, limit=1)
    assert [(seen.host, seen.method) for seen in fake.log.requests] == [("api", "GET"), ("storage", "GET"), ("api", "GET")]
    assert fake.log.requests[-1].query == {"limit": ["1"]}
    assert (fake.log.count("/api/v1/models"), fake.log.with_token()) == (1, [])


# on its own


def test_it_runs_as_a_program() -> None:
    program = Path(__file__).with_name("civitai.py")
    with subprocess.Popen([sys.executable, str(program), "--models", "12", "--port", "0"], stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout
            places = json.loads(running.stdout.readline())
            assert len(httpx.get(f"{places['api']}/api/v1/models").json()["items"]) == 12
            assert httpx.get(f"{places['storage']}/x").status_code == 403
        finally:
            running.kill()
