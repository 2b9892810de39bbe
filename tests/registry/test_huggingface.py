"""The Hub's shape, asked by the Hub's own client and by diffusers, each in a process with HF_ENDPOINT as anybody would set it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.utils import validate_repo_id
from hypothesis import given
from hypothesis import strategies as st
from litestar.testing import TestClient
from msgspec.structs import replace
from safetensors.numpy import load, load_file
from stored import a1111, numbers, safetensors, sdxl

from embconv.converters import load as load_embedding
from embconv.converters.containers import safetensors as safetensors_file
from embconv.converters.convert import Options, convert, joined
from embconv.converters.hashes import digest
from embconv.converters.targets import target
from embconv.registry.app import create_app
from embconv.registry.columns import Columns
from embconv.registry.huggingface import find, safe
from embconv.registry.keys import create
from embconv.registry.model import Entry, Ingested, Licence, Origin
from embconv.registry.settings import Settings
from embconv.registry.store import Store, edit, resolve

EMBCONV = Path(sys.executable).with_name("embconv")
OUTPUTS = safetensors_file.write({"emp_params": numbers(7), "emp_params_out": numbers(8)}, {})
T5 = safetensors_file.write({"t5xxl": numbers(9, width=4096)}, {})
FILES = {  # file name -> its bytes, as somebody uploads them
    "easynegative.pt": a1111(1),
    "paper-xl.safetensors": sdxl(2),
    "bad hands [v2].pt": a1111(3),
    "\u732b\u306e\u624b.pt": a1111(4),
    "Caf\u00e9 (final).pt": a1111(5),
    "trained.safetensors": OUTPUTS,
    "long-words.safetensors": T5,
}
ASK = """
import json, os, socket
from huggingface_hub import *
from huggingface_hub.errors import *
found = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest, **more: found("127.0.0.1" if host == "embs.local" else host, *rest, **more)
api = HfApi()
def told(work):
    try:
        return work()
    except Exception as exc:
        return [kind.__name__ for kind in type(exc).__mro__]
"""
PIPE = """
import os
import torch
from safetensors.torch import save_file
from diffusers.loaders import TextualInversionLoaderMixin
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

alphabet = "abcdefghijklmnopqrstuvwxyz0123456789<>-_"
letters = [*alphabet, *(f"{letter}</w>" for letter in alphabet), "<|startoftext|>", "<|endoftext|>"]

def encoder(width):
    size = len(letters)
    ends = {"bos_token_id": size - 2, "eos_token_id": size - 1, "pad_token_id": size - 1}
    return CLIPTextModel(CLIPTextConfig(vocab_size=size, hidden_size=width, intermediate_size=4, num_hidden_layers=1, num_attention_heads=1, **ends))

def tokenizer():
    return CLIPTokenizer(vocab={letter: place for place, letter in enumerate(letters)}, merges=[])

class Tiny(TextualInversionLoaderMixin):
    hf_device_map = None
    def __init__(self):
        self.tokenizer, self.text_encoder, self.tokenizer_2, self.text_encoder_2 = tokenizer(), encoder(768), tokenizer(), encoder(1280)
        self.components = {"text_encoder": self.text_encoder, "text_encoder_2": self.text_encoder_2}

def learned(tokenizer, encoder, token):
    known = tokenizer.get_added_vocab()
    rows = [known[name] for name in (token, *(f"{token}_{i}" for i in range(1, 9))) if name in known]
    return encoder.get_input_embeddings().weight.detach()[rows].clone()

pipe = Tiny()
"""


class Hub:
    """A server, its log, and a client of the Hub with a cache of its own."""

    def __init__(self, url: str, log: Path, cache: Path) -> None:
        self.url, self.log, self.cache = url, log, cache
        self.endpoint = f"{url}/hf"

    def run(self, program: str, **environment: str) -> str:
        """What a program prints that knows of nothing but HF_ENDPOINT."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_") and not name.endswith("_OFFLINE")}
        own = {"HF_ENDPOINT": self.endpoint, "HF_HOME": str(self.cache), "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "*", **environment}
        done = subprocess.run([sys.executable, "-c", program], env={**clean, **own}, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ask(self, expression: str, **environment: str) -> Any:
        """The value of an expression in which `api` is the Hub's client; for one that raises, the classes of what it raised."""
        return json.loads(self.run(f"{ASK}\nprint(json.dumps(told(lambda: {expression}), default=str))", **environment))

    def requests(self, path: str) -> list[str]:
        """The methods by which a path was asked for so far."""
        time.sleep(0.3)  # lines are written together
        lines = [json.loads(line) for line in self.log.read_text("utf-8").splitlines() if line.startswith("{")]
        return [line["method"] for line in lines if line.get("event") == "request" and line["path"] == path]


def started(home: Path, *options: str) -> Iterator[Hub]:
    command = [EMBCONV, "serve", "--home", home, "--port", "0", "--log-level", "info", *options]
    log = home.with_suffix(".log")
    with log.open("w") as errors, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as server:
        assert server.stdout is not None
        try:
            yield Hub(server.stdout.readline().split()[-1], log, home.with_suffix(".cache"))
        finally:
            server.terminate()
            server.wait(20)


def filled(hub: Hub) -> Hub:
    for name, data in FILES.items():
        httpx.post(f"{hub.url}/v1/embeddings", files={"file": (name, data)}).raise_for_status()
    return hub


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    for one in started(tmp_path_factory.mktemp("hub") / "home"):
        yield filled(one)


@pytest.fixture
def fresh(hub: Hub, tmp_path: Path) -> Hub:
    """The same server for a client that has nothing yet."""
    return Hub(hub.url, hub.log, tmp_path / "cache")


def written(tmp_path: Path, name: str) -> dict[str, Any]:
    """What embconv writes for diffusers from the same file."""
    source = tmp_path / name
    source.write_bytes(FILES[name])
    convert(source, tmp_path / "out.safetensors", Options(target=target("diffusers")))
    return load_file(tmp_path / "out.safetensors")


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all((one[key] == other[key]).all() for key in one)


# the client


def test_a_download_is_what_embconv_writes_for_diffusers(fresh: Hub, tmp_path: Path) -> None:
    path = fresh.ask('hf_hub_download("embs/easynegative", "learned_embeds.safetensors")')
    assert Path(path).is_relative_to(fresh.cache)
    assert equal(load_file(path), written(tmp_path, "easynegative.pt"))


def test_the_endpoint_may_be_given_with_the_call(fresh: Hub) -> None:
    path = fresh.ask(f'hf_hub_download("embs/easynegative", "learned_embeds.safetensors", endpoint="{fresh.endpoint}")', HF_ENDPOINT="http://127.0.0.1:1")
    assert list(load_file(path)) == ["easynegative"]


def test_a_file_that_did_not_change_is_not_sent_again(fresh: Hub) -> None:
    path = "/hf/embs/easynegative/resolve/main/embedding.safetensors"
    before = fresh.requests(path)
    assert fresh.ask('hf_hub_download("embs/easynegative", "embedding.safetensors") == hf_hub_download("embs/easynegative", "embedding.safetensors")')
    assert fresh.requests(path)[len(before) :] == ["HEAD", "GET", "HEAD"]


def test_a_folder_finds_that_it_has_the_file_already(fresh: Hub, tmp_path: Path) -> None:
    """`local_dir`: the client hashes what is there and compares it with the ETag."""
    path = "/hf/embs/paper-xl/resolve/main/embedding.safetensors"
    download = f'hf_hub_download("embs/paper-xl", "embedding.safetensors", local_dir={str(tmp_path / "here")!r})'
    fresh.ask(download)
    for metadata in (tmp_path / "here" / ".cache").rglob("*.metadata"):
        metadata.unlink()
    before = fresh.requests(path)
    fresh.ask(download)
    assert fresh.requests(path)[len(before) :] == ["HEAD"]


def test_a_snapshot_has_every_file_and_proves_right(fresh: Hub) -> None:
    folder = Path(fresh.ask('snapshot_download("embs/paper-xl")'))
    assert sorted(file.name for file in folder.iterdir()) == fresh.ask('list_repo_files("embs/paper-xl")')
    proof = fresh.ask('vars(api.verify_repo_checksums("embs/paper-xl"))')
    assert (proof["checked_count"], proof["mismatches"], proof["missing_paths"]) == (4, [], [])


def test_the_two_files_for_sdxl_are_the_whole(fresh: Hub) -> None:
    folder = Path(fresh.ask('snapshot_download("embs/paper-xl")'))
    both = joined(folder / "learned_embeds.safetensors", folder / "learned_embeds_2.safetensors").reading.embeddings[0]
    assert digest(both) == digest(load_embedding(folder / "embedding.safetensors")) == digest(load_embedding(FILES["paper-xl.safetensors"]))
    assert (list(load_file(folder / "learned_embeds.safetensors")), list(load_file(folder / "learned_embeds_2.safetensors"))) == (["paper-xl"],) * 2


def test_what_is_told_of_a_model(hub: Hub) -> None:
    info = hub.ask('vars(model_info("embs/easynegative", files_metadata=True))')
    assert {name: info[name] for name in ("id", "author", "private", "gated", "disabled", "library_name", "likes")} == {
        "id": "embs/easynegative", "author": "embs", "private": False, "gated": False, "disabled": False, "library_name": "diffusers", "likes": 0,
    }  # fmt: skip
    assert {"textual-inversion", "sd1", "diffusers", "base_model:sd1"} <= set(info["tags"])
    assert re.fullmatch(r"[0-9a-f]{40}", info["sha"])
    assert hub.ask(f'vars(model_info("embs/easynegative", revision="{info["sha"]}"))')["sha"] == info["sha"]
    assert hub.ask('model_info("embs/easynegative", expand=["sha", "cardData"]).card_data.base_model') == "sd1"
    assert hub.ask('[[one.rfilename, one.size, one.lfs.sha256 if one.lfs else None] for one in model_info("embs/easynegative", files_metadata=True).siblings]') == (
        hub.ask('[[one.path, one.size, one.lfs.sha256 if one.lfs else None] for one in api.list_repo_tree("embs/easynegative")]')
    )  # fmt: skip


def test_some_files_are_told_of(hub: Hub) -> None:
    assert hub.ask('[one.path for one in api.get_paths_info("embs/easynegative", ["README.md", "absent"])]') == ["README.md"]
    asked = httpx.post(f"{hub.endpoint}/api/models/embs/easynegative/paths-info/main", json={"paths": ["README.md"]})
    assert [one["path"] for one in asked.json()] == ["README.md"]


EXIST = {
    'api.file_exists("embs/easynegative", "README.md")': True,
    'api.file_exists("embs/easynegative", "absent.bin")': False,
    'api.file_exists("embs/easynegative", "a/folder/README.md")': False,
    'api.file_exists("embs/nobody", "README.md")': False,
    'api.repo_exists("embs/easynegative")': True,
    'api.repo_exists("embs/nobody")': False,
    'api.repo_exists("stabilityai/easynegative")': False,
    'api.revision_exists("embs/easynegative", "main")': True,
    'api.revision_exists("embs/easynegative", "refs/pr/1")': False,
}
ERRORS = {
    'hf_hub_download("embs/easynegative", "absent.bin")': "RemoteEntryNotFoundError",
    'hf_hub_download("embs/easynegative", "README.md", subfolder="a/b")': "RemoteEntryNotFoundError",
    'hf_hub_download("embs/nobody", "README.md")': "RepositoryNotFoundError",
    'hf_hub_download("stabilityai/sdxl", "README.md")': "RepositoryNotFoundError",
    'hf_hub_download("embs/easynegative", "README.md", revision="v1")': "RevisionNotFoundError",
    'hf_hub_download("embs/easynegative", "README.md", revision="' + "0" * 40 + '")': "RevisionNotFoundError",
    'model_info("embs/nobody")': "RepositoryNotFoundError",
    'model_info("embs/easynegative", revision="refs/pr/1")': "RevisionNotFoundError",
    'list_repo_files("embs/easynegative", revision="v1")': "RevisionNotFoundError",
    'list(api.list_repo_tree("embs/easynegative", "folder"))': "RemoteEntryNotFoundError",
    'api.get_paths_info("embs/easynegative", ["README.md"], revision="v1")': "RevisionNotFoundError",
    'snapshot_download("embs/nobody")': "RepositoryNotFoundError",
}


def test_what_is_there(hub: Hub) -> None:
    assert hub.ask(f"[{', '.join(EXIST)}]") == list(EXIST.values())


def test_what_is_not_there_is_told_as_the_hub_does(hub: Hub) -> None:
    found = hub.ask(f"[{', '.join(f'told(lambda: {one})' for one in ERRORS)}]")
    assert {one: classes[0] for one, classes in zip(ERRORS, found, strict=True)} == ERRORS


def test_that_a_file_is_absent_is_remembered(fresh: Hub) -> None:
    """The client writes `.no_exist` where the error names the commit; transformers asks for many files that are not there."""
    fresh.ask('hf_hub_download("embs/easynegative", "absent.bin")')
    assert [file.name for file in fresh.cache.rglob(".no_exist/*/*")] == ["absent.bin"]


# names


@pytest.mark.parametrize(
    ("name", "trigger"),
    [("easynegative", "easynegative"), ("EasyNegative", "easynegative"), ("bad-hands-v2", "bad hands [v2]"), ("Bad-Hands-v2", "bad hands [v2]"),
     ("Cafe-final", "Caf\u00e9 (final)")],
)  # fmt: skip
def test_a_name_is_found(hub: Hub, tmp_path: Path, name: str, trigger: str) -> None:
    path = hub.ask(f'hf_hub_download("embs/{name}", "learned_embeds.safetensors")')
    assert equal(load_file(path), written(tmp_path, f"{trigger}.pt"))
    assert list(load_file(path)) == [trigger]


def test_a_name_that_no_repository_can_have_is_found_by_its_digest(hub: Hub, tmp_path: Path) -> None:
    (id_,) = hub.ask("[one.id for one in list_models(search='\u732b')]")
    assert re.fullmatch(r"embs/[0-9a-f]{12}", id_)
    path = hub.ask(f'hf_hub_download("{id_}", "learned_embeds.safetensors")')
    assert equal(load_file(path), written(tmp_path, "\u732b\u306e\u624b.pt"))
    assert httpx.get(f"{hub.endpoint}/api/models/embs/\u732b\u306e\u624b").json()["id"] == id_


def test_digests_and_hashes_are_names(hub: Hub) -> None:
    found = httpx.get(f"{hub.url}/v1/embeddings/easynegative").json()
    bare = found["digest"].removeprefix("emb:")
    names = [bare, bare[:8], f"whatever-{bare[:12]}", found["files"][0]["sha256"], found["files"][0]["hashes"]["autov2"]]
    assert hub.ask(f'[model_info("embs/" + name).id for name in {names}]') == ["embs/easynegative"] * len(names)


def test_every_listed_model_is_found_by_its_id(hub: Hub) -> None:
    listed = hub.ask("[[one.id, one.sha] for one in list_models()]")
    assert len(listed) == len(FILES)
    assert all(id_.isascii() for id_, _ in listed)
    assert hub.ask(f"[[model_info(id).id, model_info(id).sha] for id, _ in {listed}]") == listed


@given(st.text(max_size=300))
def test_any_text_becomes_a_part_of_a_name(text: str) -> None:
    if made := safe(text):
        validate_repo_id(f"embs/{made}-{'0' * 12}")
        validate_repo_id(f"embs/{made}")
        assert safe(made) == made


def test_two_of_one_name_are_told_apart(store: Store, add: Callable[..., Ingested]) -> None:
    from embconv.registry.errors import AmbiguousReference

    add(a1111(1), name="same.pt")
    add(a1111(2), name="same.pt")
    columns = Columns(store)
    with pytest.raises(AmbiguousReference) as raised:
        find(store, columns, "embs", "same")
    found = [find(store, columns, "embs", digest.removeprefix("emb:")) for digest in raised.value.digests]
    assert all(re.fullmatch(r"same-[0-9a-f]{12}", one.name) for one in found)
    assert [find(store, columns, "embs", one.name).entry.digest for one in found] == raised.value.digests


# diffusers


def test_diffusers_loads_it_by_its_name(fresh: Hub, tmp_path: Path) -> None:
    fresh.run(f"""{PIPE}
pipe.load_textual_inversion("embs/easynegative")
save_file({{"easynegative": learned(pipe.tokenizer, pipe.text_encoder, "easynegative")}}, {str(tmp_path / "learned")!r})
""")
    assert equal(load_file(tmp_path / "learned"), written(tmp_path, "easynegative.pt"))


def test_diffusers_loads_both_encoders_of_sdxl(fresh: Hub, tmp_path: Path) -> None:
    """The very calls of the model card."""
    card = httpx.get(f"{fresh.endpoint}/embs/paper-xl/resolve/main/README.md").text
    calls = re.findall(r"^pipe\.load_textual_inversion\(.*\)$", card, re.MULTILINE)
    assert len(calls) == 2
    fresh.run("\n".join((PIPE, *calls, f"""
save_file({{"clip_l": learned(pipe.tokenizer, pipe.text_encoder, "paper-xl"),
           "clip_g": learned(pipe.tokenizer_2, pipe.text_encoder_2, "paper-xl")}}, {str(tmp_path / "learned")!r})
""")))  # fmt: skip
    assert equal(load_file(tmp_path / "learned"), load(FILES["paper-xl.safetensors"]))


@pytest.mark.parametrize("name", ["trained", "long-words"])
def test_what_diffusers_cannot_load_is_not_offered_to_it(hub: Hub, name: str) -> None:
    assert hub.ask(f'list_repo_files("embs/{name}")') == ["README.md", "embedding.safetensors"]


# the list


LISTS = {  # what is asked -> the names found
    "search='bad hands'": {"bad hands [v2]"},
    "search='embs/easynegative'": {"easynegative"},
    "search='nobody'": set(),
    "filter='sdxl'": {"paper-xl"},
    "filter=['textual-inversion', 'base_model:sdxl']": {"paper-xl"},
    "filter=['sd1', 'sdxl']": set(),
    "filter='quality'": {"easynegative"},
    "filter='license:mit'": set(),
    "filter='negative-embedding'": {"easynegative"},
    "author='stabilityai'": set(),
    "author='embs', search='easy', sort='downloads', full=True, cardData=True, fetch_config=True": {"easynegative"},
    "pipeline_tag='text-generation'": set(),
    "gated=True": set(),
    "num_parameters='min:1B'": set(),
}


def test_the_list_of_models(hub: Hub) -> None:
    httpx.patch(f"{hub.url}/v1/embeddings/easynegative", json={"tags": ["quality"], "role": "negative"}).raise_for_status()
    found = hub.ask(f"[{', '.join(f'[one.card_data.instance_prompt for one in list_models({asked})]' for asked in LISTS)}]")
    assert {asked: set(names) for asked, names in zip(LISTS, found, strict=True)} == LISTS


def test_a_list_goes_on_where_a_page_ends(hub: Hub) -> None:
    assert len(hub.ask("list(list_models(limit=2))")) == 2
    url, ids = f"{hub.endpoint}/api/models?limit=2&anything=else", []
    while url:
        answer = httpx.get(url)
        assert len(answer.json()) <= 2
        ids += [one["id"] for one in answer.json()]
        url = answer.links.get("next", {}).get("url", "")
    assert len(ids) == len(set(ids)) == len(FILES)


@pytest.mark.parametrize("query", ["limit=x", "limit=0", "limit=-1", "cursor=x"])
def test_a_page_that_there_cannot_be(hub: Hub, query: str) -> None:
    answer = httpx.get(f"{hub.endpoint}/api/models?{query}")
    assert (answer.status_code, list(answer.json())) == (400, ["error"])


# bytes


def test_a_part_of_a_file(hub: Hub) -> None:
    url = f"{hub.endpoint}/embs/easynegative/resolve/main/embedding.safetensors"
    whole = httpx.get(url)
    head = httpx.head(url, headers={"Accept-Encoding": "identity"})
    for name in ("etag", "x-repo-commit", "content-length", "accept-ranges", "content-disposition"):
        assert head.headers[name] == whole.headers[name]
    assert (head.content, int(head.headers["content-length"])) == (b"", len(whole.content))
    assert not [name for name in head.headers if "xet" in name]
    some = httpx.get(url, headers={"Range": "bytes=8-15"})
    assert (some.status_code, some.content, some.headers["content-range"]) == (206, whole.content[8:16], f"bytes 8-15/{len(whole.content)}")
    assert httpx.get(url, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
    beyond = httpx.get(url, headers={"Range": "bytes=99999999-"})
    assert (beyond.status_code, list(beyond.json())) == (416, ["error"])


@pytest.mark.parametrize(("body", "kind"), [(b"", "text/plain"), (b"{", "application/json"), (b'{"paths": 1}', "application/json"), (b"\xff=1", ""),
                                            (b"paths=" + b"a" * (2 << 20), "application/x-www-form-urlencoded")])  # fmt: skip
def test_a_body_that_names_no_paths(hub: Hub, body: bytes, kind: str) -> None:
    answer = httpx.post(f"{hub.endpoint}/api/models/embs/easynegative/paths-info/main", content=body, headers={"Content-Type": kind})
    assert answer.status_code in (400, 413)
    assert answer.json()["error"]


# the card and the commit


HOSTILE = ["---\nlicense: mit", "</div><script>alert(1)</script>", "[x](javascript:alert(1))", "`\n```\n# x", "\u202eevil\u0085", "a: b # c", "\U0001f408 \ud83d"]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_no_text_breaks_out_of_the_card(store: Store, add: Callable[..., Ingested], entry: Callable[[int], Entry], text: str) -> None:
    from embconv.registry.huggingface import repository

    add(a1111(1), name="style.pt", tags=["ink"])
    plain = entry(resolve(store.read, "style"))
    licence = Licence(says=text, permits=(text,), source=text)
    origin = Origin(source=text, id=text, url=text, seen="", claims={"title": text})
    told = replace(plain, trigger=text, name=text, tags=(text,), creators=(text,), licence=licence, origins=(origin,), files=(replace(plain.files[0], name=text),))
    card = repository(store, told).card
    card.encode()
    parsed = ModelCard(card)
    assert parsed.data.library_name == "diffusers"
    assert (parsed.data.license, parsed.data.base_model) == ("other", "sd1")
    assert yaml.safe_load(card.split("---\n")[1])["tags"][0] == "textual-inversion"
    usual = repository(store, replace(told, trigger="x", name="x", tags=("x",), creators=("x",), origins=(replace(origin, source="x", id="x", url="x", claims={}),),
                                      licence=Licence(says="x y", source="x"), files=(replace(plain.files[0], name="x"),))).card  # fmt: skip
    assert [line[:1] for line in card.splitlines()] == [line[:1] for line in usual.splitlines()]
    assert not re.search(r"(?<!\\)[<`\[]", re.sub(r"`[\w:. ]+`|^```.*", "", card.split("---\n", 2)[2], flags=re.MULTILINE))


@pytest.mark.parametrize(
    ("says", "expected"),
    [("MIT", {"license": "mit"}), ("creativeml-openrail-m", {"license": "creativeml-openrail-m"}),
     ("Fair AI Public License 1.0-SD", {"license": "other", "license_name": "Fair AI Public License 1.0-SD"}),
     ('{"allowCommercialUse": ["Image"]}', {"license": "other", "license_name": "permits sell_images"})],
)  # fmt: skip
def test_the_licence_stands_in_the_card(store: Store, add: Callable[..., Ingested], says: str, expected: dict[str, str]) -> None:
    add(a1111(1), name="style.pt", origin=Origin(source="civitai", seen="2026-01-01T00:00:00.000Z", claims={"licence": says}))
    data = yaml.safe_load(find(store, Columns(store), "embs", "style").card.split("---\n")[1])
    assert {name: data[name] for name in expected} == expected


def test_the_commit_is_of_what_the_files_say(store: Store, add: Callable[..., Ingested]) -> None:
    def commit() -> str:
        return find(store, Columns(store), "embs", "style").commit

    def seen(day: int, downloads: int) -> Origin:
        return Origin(source="civitai", id="7", seen=f"2026-01-0{day}T00:00:00.000Z", claims={"downloads": downloads})

    add(a1111(1), name="style.pt")
    commits = [commit()]
    add(a1111(1), name="style.pt", origin=seen(1, 5))
    commits.append(commit())
    add(a1111(1), name="style.pt", origin=seen(2, 6))
    store.write(lambda db: edit(db, resolve(db, "style"), {"notes": "seen"}))
    assert commit() == commits[-1]
    store.write(lambda db: edit(db, resolve(db, "style"), {"role": "negative"}))
    commits.append(commit())
    assert len(set(commits)) == 3


def test_a_removed_one_is_not_found(tmp_path: Path) -> None:
    for hub in started(tmp_path / "home"):
        httpx.post(f"{hub.url}/v1/embeddings", files={"file": ("style.pt", a1111(1))}).raise_for_status()
        assert hub.ask('api.repo_exists("embs/style")') is True
        httpx.delete(f"{hub.url}/v1/embeddings/style").raise_for_status()
        assert hub.ask('model_info("embs/style")')[0] == "RepositoryNotFoundError"


# who may ask


def test_a_private_registry_wants_its_key_as_the_token(tmp_path: Path) -> None:
    for hub in started(tmp_path / "home", "--private", "--allowed-host", "embs.local"):
        httpx.post(f"{hub.url}/v1/embeddings", files={"file": ("style.pt", a1111(1))}).raise_for_status()
        with Store(str(tmp_path / "home")) as store:
            secret = create(store, "reader", "read", None)
        hub.endpoint = hub.endpoint.replace("127.0.0.1", "embs.local")
        download = 'hf_hub_download("embs/style", "learned_embeds.safetensors")'
        assert hub.ask(download)[0] == "RepositoryNotFoundError"
        assert hub.ask(download, HF_TOKEN="hf_somebody")[0] == "RepositoryNotFoundError"
        assert hub.ask(download, HF_TOKEN=f"{secret}x")[0] == "RepositoryNotFoundError"
        assert list(load_file(hub.ask(download, HF_TOKEN=secret))) == ["style"]


def test_a_token_of_the_hub_is_no_key_and_no_obstacle(fresh: Hub) -> None:
    """Who is logged in at the Hub sends that token to whatever HF_ENDPOINT names."""
    assert fresh.ask('model_info("embs/easynegative").id', HF_TOKEN="hf_abcdefghijklmnopqrstuvwxyz") == "embs/easynegative"  # no password
    elsewhere = httpx.get(f"{fresh.url}/v1/embeddings/easynegative", headers={"Authorization": "Bearer hf_abc"})
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (401, "key_needed")


def test_the_routes_are_counted_and_their_problems_named(home: str) -> None:
    with TestClient(create_app(Settings(home=home, log_level="error")), base_url="http://127.0.0.1:8765") as client:
        client.post("/v1/embeddings", files={"file": ("style.safetensors", safetensors(1))})
        assert client.get("/hf/embs/nobody/resolve/main/README.md").headers["content-type"] == "application/json"
        text = client.get("/metrics").text
    assert 'embconv_problems_total{code="unknown_reference"} 1.0' in text
    assert 'route="/hf/{owner}/{name}/resolve/{rev}/{file}",status="404"} 1.0' in text
