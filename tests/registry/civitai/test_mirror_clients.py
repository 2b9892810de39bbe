"""What the clients of Civitai rely on, one after the other: the fields that each reads, in the types in which it reads them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import msgspec
import pytest
from mirrored import BODIES, bytes_of, file, files_in, keep, model, version
from msgspec import Struct
from stored import a1111, numbers

from embconv.converters.containers import safetensors as safetensors_file
from embconv.registry.blobs import Blobs
from embconv.registry.store import Store

EMBCONV = Path(sys.executable).with_name("embconv")
LARGE = safetensors_file.write({"t5xxl": numbers(1, 140, 4096)}, {})  # from 2 MiB there is an AutoV1
CONFIG = {"earlyAccessConfig": {"timeframe": 3}}  # civitai_api wants it; Civitai sent it until 2026
FULL = {**model(999), "modelVersions": [version(9990, file(99900, "large.safetensors"), **CONFIG)]}


class Mirror(Struct):
    """A registry that serves every body, and one embedding of its own."""

    url: str
    log: str

    def get(self, path: str, **asked: Any) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", params=asked or None, follow_redirects=True, timeout=60)

    def every_model(self) -> list[bytes]:
        """As lists and single routes show them."""
        listed = msgspec.json.decode(self.get("/api/v1/models", nsfw="true").content, type=dict[str, Any])["items"]
        assert len(listed) >= len(BODIES)
        shown = [self.get(f"/api/v1/models/{item['id']}").content for item in listed]
        return [msgspec.json.encode(item) for item in listed] + shown

    def every_version(self) -> list[bytes]:
        ids = {each["id"] for item in self.every_model() for each in msgspec.json.decode(item)["modelVersions"]}
        return [self.get(f"/api/v1/model-versions/{id_}").content for id_ in ids]


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    from mirrored import attach

    from embconv.registry.ingest import ingest

    home = tmp_path_factory.mktemp("mirror") / "home"
    with Store(os.fspath(home)) as store:
        blobs = Blobs(os.fspath(home))
        for body in BODIES.values():
            keep(store, blobs, body)
        keep(store, blobs, FULL, only=set())
        attach(store, 99900, ingest(store, blobs, LARGE, name="large.safetensors").file.sha256)
        ingest(store, blobs, a1111(424_242), name="own.pt")
    command = [EMBCONV, "serve", "--home", home, "--port", "0", "--log-level", "error"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield Mirror(server.stdout.readline().split()[-1], "")
        finally:
            server.terminate()
            server.wait(20)


def decoded(kind: type[Any], bodies: list[bytes]) -> list[Any]:
    """Strictly: a number is no text, null is nothing that was not allowed."""
    assert bodies
    return [msgspec.json.decode(body, type=kind, strict=True) for body in bodies]


# Mewyk/CivitaiSharp: System.Text.Json with required members and enums


class Commercial(StrEnum):
    NONE = "None"
    IMAGE = "Image"
    RENT_CIVIT = "RentCivit"
    RENT = "Rent"
    SELL = "Sell"


class SharpStats(Struct, rename="camel"):
    download_count: int
    thumbs_up_count: int
    thumbs_down_count: int


class SharpModelStats(SharpStats, rename="camel"):
    comment_count: int
    tipped_amount_count: int


class SharpCreator(Struct):
    username: str
    image: str | None


class SharpFile(Struct, rename="camel"):
    id: int
    name: str
    type: str
    size_kb: float = msgspec.field(name="sizeKB")
    download_url: str
    metadata: dict[str, str | float | bool | None]
    hashes: dict[str, str]
    primary: bool
    scanned_at: datetime


class SharpImage(Struct, rename="camel"):
    url: str
    nsfw_level: int
    width: int
    height: int
    hash: str
    type: str


class SharpVersion(Struct, rename="camel"):
    id: int
    index: int
    name: str
    base_model: str
    base_model_type: str
    created_at: datetime
    published_at: datetime
    status: str
    availability: str
    nsfw_level: int
    description: str
    trained_words: list[str]
    stats: SharpStats
    files: list[SharpFile]
    images: list[SharpImage]
    download_url: str


class SharpModel(Struct, rename="camel"):
    id: int
    name: str
    description: str
    allow_no_credit: bool
    allow_commercial_use: list[Commercial]
    allow_derivatives: bool
    allow_different_license: bool
    type: str
    minor: bool
    sfw_only: bool
    poi: bool
    nsfw: bool
    nsfw_level: int
    availability: str
    cosmetic: str | None
    supports_generation: bool
    stats: SharpModelStats
    creator: SharpCreator
    tags: list[str]
    model_versions: list[SharpVersion]


class SharpAbout(Struct):
    name: str
    type: str
    nsfw: bool
    poi: bool


class SharpAlone(SharpVersion, rename="camel"):
    model_id: int
    updated_at: datetime
    air: str
    usage_control: str
    upload_type: str
    model: SharpAbout


def test_civitai_sharp(mirror: Mirror) -> None:
    for one in decoded(SharpModel, mirror.every_model()):
        assert 0 < one.id < 2**31
        assert one.model_versions
        assert all(each.files for each in one.model_versions)
    decoded(SharpAlone, mirror.every_version())


# StabilityMatrix: Models/Api/CivitModel.cs and its neighbours, Helpers/CivitAI


class Mode(StrEnum):
    ARCHIVED = "Archived"
    TAKEN_DOWN = "TakenDown"


class MatrixHashes(Struct):
    SHA256: str
    BLAKE3: str
    CRC32: str


class MatrixFile(Struct, rename="camel"):
    size_kb: float = msgspec.field(name="sizeKB")
    id: int
    name: str
    hashes: MatrixHashes
    download_url: str
    metadata: dict[str, Any]
    type: str
    primary: bool = False


class MatrixStats(Struct, rename="camel"):
    rating: float
    rating_count: int
    download_count: int
    favorite_count: int
    comment_count: int
    thumbs_up_count: int


class MatrixVersion(Struct, rename="camel"):
    id: int
    name: str
    description: str
    created_at: datetime
    download_url: str
    trained_words: list[str]
    base_model: str
    files: list[MatrixFile]
    images: list[SharpImage]
    stats: MatrixStats
    published_at: datetime


class MatrixModel(Struct, rename="camel"):
    id: int
    name: str
    description: str
    type: str
    nsfw: bool
    tags: list[str]
    model_versions: list[MatrixVersion]
    creator: SharpCreator
    stats: MatrixStats
    mode: Mode | None = None


class MatrixMetadata(Struct, rename="camel"):
    next_cursor: str | None = None
    next_page: str | None = None
    total_items: int = 0
    current_page: int = 0
    page_size: int = 0
    total_pages: int = 0


class MatrixPage(Struct):
    items: list[MatrixModel]
    metadata: MatrixMetadata


def test_stability_matrix(mirror: Mirror) -> None:
    """A cursor is a text; a download is a redirect that asks for no login, and takes a Range."""
    page = decoded(MatrixPage, [mirror.get("/api/v1/models", limit=2, nsfw="true", types="TextualInversion", sort="Highest Rated", period="AllTime").content])[0]
    again = decoded(MatrixPage, [mirror.get("/api/v1/models", limit=2, nsfw="true", cursor=page.metadata.next_cursor).content])[0]
    assert {one.id for one in page.items}.isdisjoint(one.id for one in again.items)
    wanted = [one.id for one in page.items]
    filled = decoded(MatrixPage, [mirror.get("/api/v1/models", ids=",".join(map(str, wanted)), nsfw="true").content])[0]
    assert sorted(one.id for one in filled.items) == sorted(wanted)
    for one in decoded(MatrixModel, mirror.every_model()):
        for each in one.model_versions:
            assert each.files[0].hashes.SHA256[:8]
    url = page.items[0].model_versions[0].download_url
    answer = httpx.get(url, headers={"range": "bytes=0-"}, follow_redirects=False)
    assert answer.status_code == 307
    assert "reason=download-auth" not in answer.headers["location"]
    assert httpx.get(answer.headers["location"], headers={"range": "bytes=0-9"}).status_code == 206
    assert mirror.get("/api/v1/models", baseModels="gimmethelist").json()["items"] == []  # it takes its own list then


# civitai/sd_civitai_extension: civitai/lib.py


def test_sd_civitai_extension(mirror: Mirror) -> None:
    """Any status but 200 raises; the primary file is the first of those that say so, and there is one."""
    hashes = [hashlib.sha256(bytes_of(told)).hexdigest().upper() for body in BODIES.values() for told in files_in(body)]
    headers = {"user-agent": "CivitaiLink:Automatic1111", "authorization": "Bearer 0123456789abcdef0123456789abcdef"}
    for start in range(0, len(hashes), 100):
        answer = httpx.post(f"{mirror.url}/api/v1/model-versions/by-hash", json=hashes[start : start + 100], headers=headers, timeout=60)
        assert answer.status_code == 200
        found = answer.json()
        assert {one["hashes"]["SHA256"] for each in found for one in each["files"]} >= set(hashes[start : start + 100])
        for each in found:
            first = [one for one in each["files"] if one["primary"] is True][0]  # noqa: RUF015  # as it does
            assert all(isinstance(first[name], str) for name in ("name", "downloadUrl"))
            assert each["downloadUrl"].startswith(mirror.url)
            assert (each["model"]["type"], [image["url"] for image in each["images"]]) is not None
    answer = mirror.get("/api/v1/models", query="easy", username="", tag="", type="TextualInversion", sort="Highest Rated", period="AllTime", page=1, pageSize=10)
    assert answer.status_code == 200
    assert all(mirror.get(f"/api/v1/{path}", limit=20, page=1, query="").status_code == 200 for path in ("creators", "tags"))


# Civitai Helper: scripts/ch_lib/civitai.py, downloader.py, model_action_page.py

HELPER = {"user-agent": "Mozilla/5.0 (iPad; CPU OS 12_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148", "authorization": ""}


def test_civitai_helper(mirror: Mirror, tmp_path: Path) -> None:
    """It keeps the answer as .civitai.info, finds news by the first version, and downloads by a probe and then by parts."""
    data = bytes_of(next(files_in(BODIES["pair"])))
    info = httpx.get(f"{mirror.url}/api/v1/model-versions/by-hash/{hashlib.sha256(data).hexdigest()}", headers=HELPER).json()
    assert {"id", "modelId", "name", "description", "trainedWords", "baseModel", "files", "images", "model"} <= info.keys()
    about = httpx.get(f"{mirror.url}/api/v1/models/{info['modelId']}", headers=HELPER).json()
    assert about["modelVersions"][0]["id"] == info["id"]
    assert {"name", "description", "tags", "type", "nsfw"} <= about.keys()
    probe = httpx.get(info["files"][0]["downloadUrl"], headers=HELPER, follow_redirects=True)
    assert int(probe.headers["content-length"]) == len(data)
    name = probe.headers["content-disposition"].split("=")[1].strip('"').encode("iso8859-1").decode("utf-8", "ignore")
    assert name.startswith("By bad artist.pt")
    rest = httpx.get(info["files"][0]["downloadUrl"], headers={**HELPER, "range": "bytes=1000-"}, follow_redirects=True)
    assert data[:1000] + rest.content == data
    assert httpx.get(f"{mirror.url}/api/v1/model-versions/by-hash/{'0' * 64}", headers=HELPER).status_code == 404


def test_versions_are_newest_first(mirror: Mirror) -> None:
    for name, body in BODIES.items():
        shown = mirror.get(f"/api/v1/models/{body['id']}").json()
        assert [each["id"] for each in shown["modelVersions"]] == [each["id"] for each in body["modelVersions"]], name


# sd-civitai-browser-plus: scripts/civitai_api.py, civitai_download.py


def test_browser_plus(mirror: Mirror) -> None:
    headers = {"user-agent": "Mozilla/5.0 Chrome", "authorization": "Bearer 0123456789abcdef0123456789abcdef", "referer": "https://civitai.com"}
    url = f"{mirror.url}/api/v1/models?limit=3&sort=Highest%20Rated&period=AllTime&types=TextualInversion&types=LORA&baseModels=SD%201.5&nsfw=true"
    seen: list[int] = []
    while url:
        answer = httpx.get(url, headers=headers)
        assert answer.status_code == 200
        page = answer.json()
        for item in page["items"]:
            seen.append(item["id"])
            assert len(seen) < 1_000, "it never ends"
            assert isinstance(item["creator"]["username"], str)
            assert isinstance(item["tags"], list)
            for each in item["modelVersions"]:
                assert {"publishedAt", "availability", "images", "baseModel", "trainedWords"} <= each.keys()
                for one in each["files"]:
                    assert {"SHA256"} <= one["hashes"].keys()
                    assert {"format", "size", "fp"} <= one["metadata"].keys()
                    assert {"primary", "sizeKB", "name", "downloadUrl", "type", "id"} <= one.keys()
                assert all({"url", "type", "nsfwLevel", "width"} <= image.keys() for image in each["images"])
        url = page["metadata"].get("nextPage")
    assert len(seen) == len(set(seen)) > 3
    many = "&".join(f"ids={id_}" for id_ in [*seen, *range(10**6, 10**6 + 500 - len(seen))])
    assert {item["id"] for item in httpx.get(f"{mirror.url}/api/v1/models?{many}&nsfw=true&limit=100", headers=headers).json()["items"]} == set(seen)
    download = httpx.get(item["modelVersions"][0]["downloadUrl"], headers=headers, follow_redirects=False)
    assert 300 <= download.status_code <= 308
    assert "login?returnUrl" not in download.headers["location"]


# ComfyUI-Lora-Manager: py/services/civitai_client.py, py/routes


def test_lora_manager(mirror: Mirror) -> None:
    told = next(files_in(BODIES["pair"]))
    sha256 = hashlib.sha256(bytes_of(told)).hexdigest()
    found = mirror.get(f"/api/v1/model-versions/by-hash/{sha256}").json()
    about = mirror.get(f"/api/v1/models/{found['modelId']}").json()
    assert {"description", "tags", "creator"} <= about.keys()
    assert found["usageControl"] == "Download"
    assert next(one for one in found["files"] if one["primary"] and one["type"] == "Model")["hashes"]["SHA256"].lower() == sha256
    for path in ("model-versions/by-hash/" + "0" * 64, "model-versions/123456789"):
        answer = mirror.get(f"/api/v1/{path}")
        assert answer.status_code == 404
        assert "not found" in answer.text.lower()
    user = about["creator"]["username"]
    listed = mirror.get("/api/v1/models", username=user, nsfw="true", limit=100, sort="Newest").json()
    assert about["id"] in [item["id"] for item in listed["items"]]
    assert any(each["username"] == user for each in mirror.get("/api/v1/creators", query=user, limit=10).json()["items"])
    assert mirror.get("/api/v1/images", imageId=1, nsfw="X").json()["items"] == []
    assert "ModelType" in mirror.get("/api/v1/enums").json()


# civitai-link-desktop: src/main/civitai-api.ts, lookup-resource


def test_civitai_link_desktop(mirror: Mirror) -> None:
    for body in mirror.every_version():
        told = msgspec.json.decode(body)
        found = mirror.get(f"/api/v1/model-versions/by-hash/{told['files'][0]['hashes']['SHA256']}").json()
        assert isinstance(found["images"], list)
        assert all(isinstance(one["metadata"], dict) for one in found["files"])
        assert isinstance(found["model"]["name"] + found["model"]["type"], str)


# vladmandic/sdnext: modules/civitai


def test_sdnext(mirror: Mirror) -> None:
    """It takes no answer of text, and looks at the bytes that it got."""
    for body in mirror.every_model():
        for each in msgspec.json.decode(body)["modelVersions"]:
            answer = mirror.get(each["downloadUrl"].removeprefix(mirror.url))
            assert not answer.headers["content-type"].startswith("text/")
            first = next(one for one in each["files"] if one["primary"])
            assert hashlib.sha256(answer.content).hexdigest().upper() == first["hashes"]["SHA256"]
    for name in ("sort", "period"):
        answer = mirror.get("/api/v1/models", **{name: "__invalid__"})
        assert answer.status_code == 400
        assert "values" in answer.json()["error"]["message"]


# civitai/cli: internal/api/types.go; a missing count is 0 there, a text is an error


class GoStats(Struct, rename="camel"):
    download_count: int
    thumbs_up_count: int


class GoFile(Struct, rename="camel"):
    id: int
    name: str
    size_kb: float = msgspec.field(name="sizeKB")
    type: str
    download_url: str
    primary: bool
    hashes: dict[str, str]


class GoVersion(Struct, rename="camel"):
    id: int
    name: str
    base_model: str
    trained_words: list[str]
    stats: GoStats
    files: list[GoFile]


class GoModel(Struct, rename="camel"):
    id: int
    name: str
    type: str
    nsfw: bool
    tags: list[str]
    stats: GoStats
    model_versions: list[GoVersion]


def test_the_cli_of_civitai(mirror: Mirror) -> None:
    decoded(GoModel, mirror.every_model())
    page = mirror.get("/api/v1/models", limit=1, types="TextualInversion").json()
    assert isinstance(page["metadata"]["nextCursor"], str)


# civitai-py and civitai-api, as they come from the package index


SCRIPT = """
import civitai_api.v1 as api, httpx, sys
base = sys.argv[1] + "/api/v1/"
api.API_URL_V1 = base
api.API_URL_V1_Creators, api.API_URL_V1_Images = base + "creators", base + "images"
api.API_URL_V1_Models, api.API_URL_V1_Model_By_Id = base + "models", base + "models/"
api.API_URL_ModelVersion_By_VersionId, api.API_URL_ModelVersion_By_Hash = base + "model-versions/", base + "model-versions/by-hash/"
api.API_URL_Tags = base + "tags"
with httpx.Client(timeout=60) as client:
    listed = api.models(client, api.Models_API_Opts(limit=10, query="paper 999", types=["TextualInversion"], nsfw=True, token="t"))
    assert [one.id for one in listed.items] == [999], listed
    shown = api.get_model_by_id(client, 999)
    assert shown.modelVersions[0].files[0].hashes.AutoV1
    version = api.get_model_by_versionId(client, 9990)
    again = api.get_model_by_hash(client, version.files[0].hashes.SHA256)
    assert again == version
    assert "someone" in [one.username for one in api.creators(client, api.Creators_API_Opts(limit=200)).items]
    assert api.tags(client, api.Tags_API_Opts(limit=5, page=1, query="sty")).items[0].name == "style"
    assert api.images(client, api.Images_API_Opts(limit=5)).items == []
    print(version.files[0].downloadUrl)
"""


def test_civitai_api_runs(mirror: Mirror, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, mirror.url], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert httpx.get(done.stdout.strip(), follow_redirects=True).content == LARGE


# curl


def curl(*arguments: str, folder: Path) -> None:
    done = subprocess.run(["curl", "-sSf", *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_curl_downloads_under_its_name_and_goes_on_where_it_stopped(mirror: Mirror, tmp_path: Path) -> None:
    url = mirror.get("/api/v1/models/71").json()["modelVersions"][0]["downloadUrl"]
    data = bytes_of(next(files_in(BODIES["pair"])))
    curl("-L", "-O", "-J", url, folder=tmp_path)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("By bad artist.pt", data)]
    partial = tmp_path / "partial.pt"
    partial.write_bytes(data[:1234])
    curl("-L", "-C", "-", "-o", partial.name, url, folder=tmp_path)
    assert partial.read_bytes() == data
    curl("-L", "-I", "-o", "head", url, folder=tmp_path)
    assert f"content-length: {len(data)}" in (tmp_path / "head").read_text().lower()


def test_a_name_in_every_script_is_whole(mirror: Mirror) -> None:
    for body in BODIES.values():
        for told in files_in(body):
            sha256 = hashlib.sha256(bytes_of(told)).hexdigest()
            found = next(one for one in mirror.get(f"/api/v1/model-versions/by-hash/{sha256}").json()["files"] if one["hashes"]["SHA256"] == sha256.upper())
            header = mirror.get(found["downloadUrl"].removeprefix(mirror.url)).headers["content-disposition"]
            assert unquote(header.partition("filename*=UTF-8''")[2]) == found["name"]
