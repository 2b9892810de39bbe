"""Exports: names that are safe and never meet, sidecars in the fields that programs read, nothing half done."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from msgspec.structs import replace
from safetensors.torch import load_file
from stored import a1111, numbers, safetensors, sdxl, words

from embconv.converters import EmbconvError, digest, load
from embconv.converters.sidecars import hints_beside
from embconv.converters.source import Source
from embconv.registry.blobs import Blobs
from embconv.registry.errors import BadParameter
from embconv.registry.export import Exported, Placing, Wanted, export
from embconv.registry.export_names import PLACEHOLDERS, parts_of, placed
from embconv.registry.folder_layouts import FOLDER_LAYOUTS, FolderLayout, folder_layout
from embconv.registry.ingest import ingest
from embconv.registry.model import EncoderEntry, Entry, FileEntry, Licence, Origin
from embconv.registry.sidecar_files import KINDS, WRITERS
from embconv.registry.store import Store

Kept = Callable[..., Entry]
every_layout = pytest.mark.parametrize("layout", FOLDER_LAYOUTS, ids=lambda layout: layout.name)


@pytest.fixture
def kept(store: Store, blobs: Blobs) -> Kept:
    """Ingest, and the entry of its first embedding."""

    def work(data: bytes, name: str = "style.pt", **said: Any) -> Entry:
        return msgspec.json.decode(ingest(store, blobs, data, name=name, **said).embeddings[0], type=Entry)

    return work


@pytest.fixture
def read(blobs: Blobs) -> Callable[[FileEntry], str]:
    return lambda file: blobs.path(file.sha256)


def run(entries: list[Entry], read: Any, folder: Path, layout: str = "a1111", **more: Any) -> list[Exported]:
    return export(entries, read, os.fspath(folder), Wanted(layout=folder_layout(layout), **more), done=lambda each: None)


def entry(trigger: str, *, digest: str = "ab" * 32, added: str = "2026-01-01T00:00:00.000Z", **more: Any) -> Entry:
    """One that was never ingested, for what only looks at names."""
    facts: dict[str, Any] = {"name": trigger.strip("<>"), "base": "sd1", "encoders": {}, "vectors": 1, "role": "unknown", "changed": added}
    return Entry(digest=f"emb:{digest}", trigger=trigger, added=added, **{**facts, "files": (), **more})


# names


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("{trigger}", ["fox toy"]),
        ("{base}/{creator}/{name}-{digest}", ["sd1", "unknown", "fox toy-abababababab"]),
        ("all\\{role}\\{trigger}", ["all", "unknown", "fox toy"]),
        ("{{{trigger}}}", ["{fox toy}"]),
        (" {trigger} ", ["fox toy"]),
        ("./{trigger}", ["fox toy"]),
        ("{base}//{trigger}", ["sd1", "fox toy"]),
    ],
)
def test_a_pattern_names_folders_and_a_file(pattern: str, path: list[str]) -> None:
    (found,) = placed([entry("<fox toy>")], pattern, folder_layout("a1111")).values()
    assert list(found) == path


@pytest.mark.parametrize(
    "pattern",
    ["", " ", "/", "/{trigger}", "\\\\host\\share", "C:\\x", "c:{trigger}", "..", "../{trigger}", "a/../{trigger}", "a/ .. /b", "{trigger}/", "{trigger}/.",
     "{nope}", "{}", "{0}", "{trigger.name}", "{trigger[0]}", "{trigger:>10}", "{trigger!r}", "{trigger", "trigger}"],
)  # fmt: skip
def test_a_pattern_that_means_nothing_or_leads_out_is_refused(pattern: str) -> None:
    with pytest.raises(BadParameter):
        parts_of(pattern)


HOSTILE = ["../../etc/passwd", "/etc/passwd", "..", ".", "", " ", "a/b\\c", "nul", "CON", "a\0b", "a\x1b[31m", "x" * 500, "é" * 300, "a:b*c?", "\u202egnp.exe",
           "~root", "-rf", "$(id)", "\udcff", "名前" * 100, "a\nb", "...", "aux.txt"]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
@pytest.mark.parametrize("pattern", ["{trigger}", "{creator}{name}/{trigger}"])
def test_no_name_leads_out_of_the_folder(text: str, pattern: str, tmp_path: Path) -> None:
    hostile = entry(text or "x", name=text, base=None, creators=(text,))
    for layout in FOLDER_LAYOUTS:
        (parts,) = placed([hostile], pattern, layout).values()
        assert len(parts) == len(pattern.split("/"))
        for part in parts:
            assert part not in ("", ".", "..")
            assert not any(c in part for c in '/\\:*?"<>|\0\n\x1b')
            assert 0 < len(part.encode()) <= 255 - len(".civitai.info") - 20
        assert Path(os.path.normpath(tmp_path.joinpath(*parts))).is_relative_to(tmp_path)


@pytest.mark.parametrize(
    ("layout", "stem"), [("comfyui", "a_b_c"), ("invokeai", "a b  c"), ("a1111", "a b\u3000 c"), ("diffusers", "a b\u3000 c")]
)
def test_a_name_is_one_that_the_program_takes(layout: str, stem: str) -> None:
    (parts,) = placed([entry("a b\u3000 c")], "{trigger}", folder_layout(layout)).values()
    assert parts == (stem if layout != "invokeai" else "a b_ c",)


def test_who_was_added_first_gets_a_name_that_several_want() -> None:
    same = [entry("same", digest=f"{n}{n}" * 32, added=f"2026-01-0{n}T00:00:00.000Z") for n in (3, 1, 2)]
    same[0] = replace(same[0], trigger="SAME")
    found = placed(same, "{trigger}", folder_layout("comfyui"))
    assert [found[one.digest] for one in same] == [("SAME-33333333",), ("same",), ("same-22222222",)]
    assert placed(same[::-1], "{trigger}", folder_layout("comfyui")) == found


def test_what_a_program_cannot_hold_takes_no_name_from_what_it_can() -> None:
    refused = entry("same", digest="1" * 64, encoders={"t5xxl": EncoderEntry(vectors=1, width=4096, dtype="F32")})
    fine = entry("same", digest="2" * 64, added="2026-02-01T00:00:00.000Z", encoders={"clip_l": EncoderEntry(vectors=1, width=768, dtype="F32")})
    assert placed([refused, fine], "{trigger}", folder_layout("a1111"))[fine.digest] == ("same",)


def test_a_program_that_goes_by_the_stem_gets_each_once_in_all_folders() -> None:
    two = [entry("same", digest="1" * 64), entry("same", digest="2" * 64, base="sdxl")]
    assert list(placed(two, "{base}/{trigger}", folder_layout("comfyui")).values()) == [("sd1", "same"), ("sdxl", "same")]
    assert list(placed(two, "{base}/{trigger}", folder_layout("a1111")).values()) == [("sd1", "same"), ("sdxl", "same-22222222")]


def test_digests_that_begin_alike_get_more_digits() -> None:
    many = [entry("same", digest=first + "0" * (64 - len(first))) for first in ("0", "abcdefab1", "abcdefab2", "abcdefab22")]
    found = list(placed(many, "{trigger}", folder_layout("a1111")).values())
    assert len(set(found)) == 4
    assert {part for (part,) in found} >= {"same", "same-abcdefab"}


def test_every_placeholder_has_a_value_for_every_embedding() -> None:
    assert {name: make(entry("<x>", base=None)) for name, make in PLACEHOLDERS.items()} == {
        "base": "unknown", "trigger": "x", "name": "x", "digest": "ab" * 6, "role": "unknown", "creator": "unknown"
    }  # fmt: skip


# files


@every_layout
def test_the_numbers_are_those_that_came_in(kept: Kept, read: Any, tmp_path: Path, layout: FolderLayout) -> None:
    entries = [kept(a1111(1), "one.pt"), kept(sdxl(2), "two.safetensors")]
    given = ([numbers(1)], [numbers(2), numbers(2, width=1280)])
    for result, expected in zip(run(entries, read, tmp_path, layout.name), given, strict=True):
        assert (result.status, result.error) == ("written", None)
        assert result.path is not None
        found = {tensor.shape[1]: tensor for tensor in load_file(result.path).values()}
        assert len(found) == len(expected)
        for tensor in expected:
            wanted = torch.frombuffer(bytearray(tensor.data), dtype=torch.float32).reshape(tensor.shape)
            assert torch.equal(found[tensor.shape[1]], wanted)
        assert digest(load(result.path)) == result.digest


def test_the_key_for_diffusers_is_the_trigger(kept: Kept, read: Any, tmp_path: Path) -> None:
    (result,) = run([kept(words(1), "some.bin")], read, tmp_path, "diffusers")
    assert list(load_file(result.path or "")) == ["<word-1>"]
    assert (result.prompt, Path(result.path or "").name) == ("<word-1>", "word-1.safetensors")


def test_one_of_several_in_a_file_is_taken_out_alone(store: Store, blobs: Blobs, read: Any, tmp_path: Path) -> None:
    found = ingest(store, blobs, words(1, 2), name="many.bin")
    entries = [msgspec.json.decode(raw, type=Entry) for raw in found.embeddings]
    first, second = run(entries, read, tmp_path)
    assert [Path(each.path or "").name for each in (first, second)] == ["word-1.safetensors", "word-2.safetensors"]
    assert digest(load(second.path or "")) == entries[1].digest


def test_what_the_registry_knows_better_stands_in_the_header(kept: Kept, store: Store, read: Any, tmp_path: Path) -> None:
    header = {"modelspec.is_negative_embedding": "false", "modelspec.trigger_phrase": "old", "modelspec.license": "MIT"}
    known = replace(kept(safetensors(1, header), "x.safetensors"), role="negative", trigger="new", licence=Licence(says="CC0", source="person"))
    (result,) = run([known], read, tmp_path)
    back = load(result.path or "")
    assert back.names.header == "new"
    assert [(hint.role, hint.licence) for hint in back.hints if hint.source == "modelspec"] == [("negative", "CC0")]
    assert digest(back) == known.digest


def test_a_lost_file_is_refused_and_the_others_go_on(kept: Kept, blobs: Blobs, read: Any, tmp_path: Path) -> None:
    entries = [kept(a1111(1), "one.pt"), kept(a1111(2), "two.pt")]
    blobs.remove(entries[0].files[0].sha256)
    lost, fine = run(entries, read, tmp_path)
    assert (lost.status, lost.error and lost.error.code) == ("refused", "storage_failed")
    assert fine.status == "written"


def test_another_file_of_the_same_embedding_is_taken_where_one_is_lost(kept: Kept, blobs: Blobs, read: Any, tmp_path: Path) -> None:
    kept(a1111(1), "one.pt")
    both = kept(safetensors(1), "two.safetensors")
    blobs.remove(both.files[0].sha256)
    assert run([both], read, tmp_path)[0].status == "written"


def test_equal_input_gives_equal_bytes(kept: Kept, read: Any, tmp_path: Path) -> None:
    known = kept(a1111(1), "one.pt")
    for folder in ("a", "b"):
        run([known], read, tmp_path / folder, sidecars=("json", "civitai-info", "cm-info"))
    assert [p.read_bytes() for p in sorted((tmp_path / "a").iterdir())] == [p.read_bytes() for p in sorted((tmp_path / "b").iterdir())]


def test_an_interrupt_leaves_no_temporary_file(kept: Kept, read: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [kept(a1111(seed), f"style-{seed}.pt") for seed in range(4)]
    taken = 0

    def stop(file: FileEntry) -> str:
        nonlocal taken
        taken += 1
        if taken == 3:
            raise KeyboardInterrupt
        path: str = read(file)
        return path

    with pytest.raises(KeyboardInterrupt):
        run(entries, stop, tmp_path, sidecars=("json",))
    assert list(tmp_path.glob("**/*.tmp")) == []
    assert [each.status for each in run(entries, read, tmp_path, sidecars=("json",))] == ["written"] * 4


def test_what_the_disk_loses_at_the_end_is_said(kept: Kept, read: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish = Placing.publish

    def losing(self: Placing) -> dict[str | None, EmbconvError]:
        return {**publish(self), os.fspath(tmp_path / "one.safetensors"): EmbconvError("The disk is full.")}

    monkeypatch.setattr(Placing, "publish", losing)
    lost, fine = run([kept(a1111(1), "one.pt"), kept(a1111(2), "two.pt")], read, tmp_path)
    assert (lost.status, lost.path, fine.status) == ("failed", None, "written")


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_said(kept: Kept, read: Any, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir(mode=0o500)
    (result,) = run([kept(a1111(1), "one.pt")], read, tmp_path / "out")
    assert (result.status, result.error and result.error.code) == ("failed", "cannot_write")


# sidecars


FLAGS = {"allowNoCredit": True, "allowCommercialUse": ["Image"], "allowDerivatives": True, "allowDifferentLicense": False}


@pytest.fixture
def told(kept: Kept) -> Entry:
    """One of which Civitai has said much."""
    claims = {"title": "Style X", "creator": "ann", "base": "SD 1.5", "role": "negative", "tags": ["hands"], "nsfw": "r", "description": "A <b>style</b>.",
              "licence": json.dumps(FLAGS), "downloads": 12}  # fmt: skip
    origin = Origin(source="civitai", id="7808@9208", url="https://civitai.example/7808", seen="2026-01-01T00:00:00.000Z", claims=claims)
    return kept(a1111(1), "stylex.pt", origin=origin)


@pytest.mark.parametrize("kind", WRITERS)
def test_what_is_written_beside_it_reads_back(told: Entry, read: Any, tmp_path: Path, kind: str) -> None:
    (result,) = run([told], read, tmp_path, sidecars=(kind,))
    assert result.sidecars == (os.fspath(tmp_path / f"stylex{WRITERS[kind][0]}"),)
    (hint,) = [hint for hint in hints_beside(result.path or "") if hint.source == f"stylex{WRITERS[kind][0]}"]
    assert hint.base == "sd1"
    if kind != "json":
        assert (hint.trigger, hint.role) == ("stylex", "negative")
    own = {"json": "file", "metadata": "file"}.get(kind, "source")
    with Source(result.path or "") as file:
        from embconv.converters.hashes import hashes

        ours = hashes(file).sha256
    assert hint.hashes["sha256"] == (ours if own == "file" else told.files[0].sha256)
    if kind == "civitai-info":
        assert json.loads(hint.licence or "") == FLAGS


def written(entry: Entry, read: Any, folder: Path, kind: str) -> dict[str, Any]:
    run([entry], read, folder, sidecars=(kind,))
    found: dict[str, Any] = json.loads((folder / f"stylex{WRITERS[kind][0]}").read_text("utf-8"))
    return found


def test_a1111s_user_metadata(told: Entry, read: Any, tmp_path: Path) -> None:
    found = written(told, read, tmp_path, "json")
    assert found.pop("sha256")
    assert found == {"description": "A <b>style</b>.", "sd version": "SD1", "activation text": "", "preferred weight": 0, "negative text": "stylex",
                     "notes": "", "modelId": 7808, "modelVersionId": 9208}  # fmt: skip


def test_civitai_helpers_info(told: Entry, read: Any, tmp_path: Path) -> None:
    found = written(told, read, tmp_path, "civitai-info")
    assert (found["id"], found["modelId"], found["baseModel"], found["trainedWords"]) == (9208, 7808, "SD 1.5", ["stylex"])
    assert (found["model"]["type"], found["model"]["nsfw"], found["files"][0]["type"]) == ("TextualInversion", True, "Negative")
    assert found["files"][0]["hashes"]["SHA256"] == told.files[0].sha256.upper()
    assert "skeleton_file" not in found


def test_stability_matrix_info_is_what_its_reader_takes(told: Entry, read: Any, tmp_path: Path) -> None:
    """ConnectedModelInfo.cs: numbers or null for ids, an array of tags, an ISO time, the enum Source as its number."""
    found = written(told, read, tmp_path, "cm-info")
    assert (found["ModelId"], found["VersionId"], found["Source"], found["ModelType"]) == (7808, 9208, 0, "TextualInversion")
    assert (found["AuthorUsername"], found["Nsfw"], found["Tags"]) == ("ann", True, ["hands", "negative"])
    assert set(found["Hashes"]) == {"SHA256", "CRC32", "BLAKE3"}
    other = replace(told, origins=())
    assert written(other, read, tmp_path / "other", "cm-info")["Source"] == 2


def test_lora_managers_metadata(told: Entry, read: Any, tmp_path: Path) -> None:
    found = written(told, read, tmp_path, "metadata")
    path = tmp_path / "stylex.safetensors"
    assert found["file_path"] == path.as_posix()
    assert (found["file_name"], found["model_name"], found["size"], found["base_model"]) == ("stylex", "Style X", path.stat().st_size, "SD 1.5")
    assert (found["preview_nsfw_level"], found["from_civitai"], found["model_type"]) == (4, True, "embedding")
    assert found["civitai"]["trainedWords"] == ["stylex"]


def test_where_civitai_said_nothing_it_is_a_skeleton(kept: Kept, read: Any, tmp_path: Path) -> None:
    found = written(kept(a1111(3), "stylex.pt"), read, tmp_path, "civitai-info")
    assert (found["skeleton_file"], found["id"], found["modelId"]) == (True, "", "")


def test_adding_an_export_again_finds_the_same_embedding_by_its_old_hash(told: Entry, read: Any, tmp_path: Path) -> None:
    (result,) = run([told], read, tmp_path / "out", sidecars=("civitai-info",))
    with Store(os.fspath(tmp_path / "second")) as second:
        from embconv.registry.store import digest_of, resolve

        found = ingest(second, Blobs(os.fspath(tmp_path / "second")), result.path or "")
        assert msgspec.json.decode(found.embeddings[0], type=Entry).digest == told.digest
        assert digest_of(second.read, resolve(second.read, told.files[0].sha256)) == told.digest


def test_every_kind_has_a_name_of_its_own() -> None:
    assert len({suffix for suffix, _ in WRITERS.values()}) == len(WRITERS)
    assert set(KINDS) == {*WRITERS, "preview"}
