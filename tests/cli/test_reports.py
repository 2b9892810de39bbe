"""`embconv check`, `inspect`, `repair` and `hash`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from embconv.converters import load

from .conftest import SAMPLES, Said

Run = Callable[..., Said]


# check


def states(said: Said) -> dict[str, str]:
    return {Path(document["path"]).name: document["state"] for document in said.documents}


def test_check_without_a_wish_finds_what_is_broken(samples: Path, embconv: Run) -> None:
    said = embconv("check", ".", "--nl")
    assert said.code == 1
    assert {name: state for name, state in states(said).items() if state != "works"} == {
        "burnt.safetensors": "broken",
        "epoch9.safetensors": "broken",
        "detail.safetensors": "refused",
        "free-download.pt": "refused",
    }


@pytest.mark.parametrize(
    ("wanted", "name", "state"),
    [
        ("sd1", "moonpaper.pt", "works"),
        ("sdxl", "moonpaper.pt", "wrong_base"),
        ("sdxl", "paper-xl.safetensors", "works"),
        ("comfyui", "harbour.png", "needs_converting"),
        ("a1111", "harbour.png", "works"),
        ("onetrainer", "moonpaper.pt", "needs_converting"),
        ("sdcpp", "paper-xl.safetensors", "wrong_base"),
        ("invokeai", "fox-toy.bin", "needs_converting"),
        ("comfyui", "free-download.pt", "refused"),
        ("comfyui", "burnt.safetensors", "broken"),
    ],
)
def test_check_for_a_base_or_a_program(samples: Path, embconv: Run, wanted: str, name: str, state: str) -> None:
    said = embconv("check", name, "--for", wanted, "--json")
    assert said.document["state"] == state
    assert said.code == (0 if state == "works" else 1)


def test_what_needs_converting_works_once_converted_for_the_program(samples: Path, embconv: Run) -> None:
    needs = {"harbour.png": ("comfyui",), "moonpaper.pt": ("onetrainer",), "fox-toy.bin": ("invokeai", "sdkit", "sdnext")}
    for name, program in ((name, program) for name, programs in needs.items() for program in programs):
        assert embconv("check", name, "--for", program).code == 1
        out = f"{program}-{Path(name).stem}.safetensors"
        assert embconv(name, out, "--for", program).code == 0
        assert embconv("check", out, "--for", program).code == 0


def test_check_in_words_has_a_reason_for_each_and_counts(samples: Path, embconv: Run) -> None:
    said = embconv("check", "moonpaper.pt", "epoch9.safetensors", "free-download.pt", "--for", "sd1")
    assert said.lines[-1] == "1 works, 1 broken, 1 refused"
    assert "a known OneTrainer fault" in said.out
    assert "[unsafe_pickle]" in said.out


def test_check_names_the_embedding_where_a_file_holds_several(samples: Path, embconv: Run) -> None:
    said = embconv("check", "two-words.bin", "--for", "sdxl")
    assert '"<blot-ink>": ' in said.out
    assert '"<blot-wash>": ' in said.out


def test_check_quietly_prints_what_does_not_work(samples: Path, embconv: Run) -> None:
    assert embconv("check", "moonpaper.pt", "burnt.safetensors", "-q").lines == ["burnt.safetensors"]


def test_check_of_nothing_is_fine(folder: Path, embconv: Run) -> None:
    said = embconv("check", ".")
    assert (said.code, said.lines) == (0, ["Nothing to check here."])


def test_check_passes_over_mere_pictures(folder: Path, embconv: Run) -> None:
    from PIL import Image

    Image.new("RGB", (8, 8)).save("cat.png")
    assert embconv("check", ".").code == 0


# inspect


def test_inspect_says_everything_in_words(samples: Path, embconv: Run) -> None:
    said = embconv("inspect", "moonpaper.pt")
    assert said.code == 0
    names = ("a1111", "torch_zip", '"moonpaper"', '"moonpaper-v3"')
    for part in (*names, "sd1, certain", "4 vectors of 768", "step 3000", "emb:", "loads in", "sha256"):
        assert part in said.out


def test_inspect_json_has_the_documented_shape(samples: Path, embconv: Run) -> None:
    document = embconv("inspect", "moonpaper.pt", "--json").document
    assert list(document) == ["path", "size", "container", "layout", "written_by", "embeddings", "hashes", "findings", "loads_in"]
    (embedding,) = document["embeddings"]
    assert {"trigger", "names", "base", "bases", "encoders", "training", "digest", "role", "metadata"} <= embedding.keys()
    assert embedding["encoders"]["clip_l"].keys() == {"vectors", "width", "dtype", "norm"}
    assert document["loads_in"]["onetrainer"].startswith("reads only emp_params")


def test_what_embconv_writes_for_a_program_loads_there(samples: Path, embconv: Run) -> None:
    assert embconv("moonpaper.pt", "for-a1111.pt", "--for", "a1111").code == 0
    assert embconv("inspect", "for-a1111.pt", "--json").document["loads_in"]["a1111"] is True


def test_inspect_of_several_is_an_array_and_goes_on_after_a_bad_one(samples: Path, embconv: Run) -> None:
    said = embconv("inspect", "free-download.pt", "moonpaper.pt", "--json")
    assert said.code == 1
    assert [document.get("error", {}).get("code") for document in said.document] == ["unsafe_pickle", None]


def test_inspect_of_not_finite_numbers_is_json(samples: Path, embconv: Run) -> None:
    assert embconv("inspect", "burnt.safetensors", "--json").document["embeddings"][0]["encoders"]["clip_l"]["norm"]["max"] is None


def test_inspect_quietly_prints_digests(samples: Path, embconv: Run) -> None:
    said = embconv("inspect", "moonpaper.pt", "two-words.bin", "-q")
    assert len(said.lines) == 3
    assert all(line.startswith("emb:") and len(line) == 68 for line in said.lines)


def test_inspect_pickle_lists_a_trap_without_running_it(samples: Path, real_embconv: Run) -> None:
    said = real_embconv("inspect", "--pickle", "free-download.pt")
    assert said.code == 1
    assert "You have been had." in said.out  # as an argument
    assert "REFUSED  posix.system at byte 2" in said.out
    assert "\nYou have been had." not in said.out
    document = real_embconv("inspect", "--pickle", "free-download.pt", "--json").document
    assert document["globals"][0]["name"] == "posix.system"
    assert document["globals"][0]["allowed"] is False


def test_inspect_pickle_of_a_good_file_is_fine(samples: Path, embconv: Run) -> None:
    said = embconv("inspect", "--pickle", "moonpaper.pt")
    assert said.code == 0
    assert "REFUSED" not in said.out


# repair


def test_repair_shows_the_change_before_the_file(samples: Path, embconv: Run) -> None:
    said = embconv("repair", "epoch9.safetensors", "epoch9b.safetensors")
    assert said.code == 0
    assert said.lines[0] == "key: clip_g -> clip_l"
    assert said.lines[-1] == "epoch9b.safetensors"
    assert load("epoch9b.safetensors").vectors.keys() == {"clip_l"}


def test_repair_dry_run_shows_and_writes_nothing(samples: Path, embconv: Run) -> None:
    said = embconv("repair", "epoch9.safetensors", "out.safetensors", "--dry-run")
    assert said.code == 0
    assert "clip_g -> clip_l" in said.out
    assert not Path("out.safetensors").exists()


def test_repair_leaves_bad_rows_to_the_user(samples: Path, embconv: Run) -> None:
    said = embconv("repair", "burnt.safetensors", "out.safetensors")
    assert said.code == 1
    assert "--drop-bad-rows" in said.err
    assert embconv("repair", "burnt.safetensors", "out.safetensors", "--drop-bad-rows").code == 0
    assert load("out.safetensors").vectors["clip_l"].shape == (3, 768)


def test_repair_of_a_sound_file_writes_nothing(samples: Path, embconv: Run) -> None:
    said = embconv("repair", "paper-xl.safetensors", "out.safetensors")
    assert (said.code, said.lines) == (0, ["Nothing to repair, so nothing was written."])
    assert not Path("out.safetensors").exists()


def test_repair_in_json_has_changes_and_outcome(samples: Path, embconv: Run) -> None:
    document = embconv("repair", "epoch9.safetensors", "out.safetensors", "--json").document
    assert document["changes"] == [{"where": "key", "was": "clip_g", "becomes": "clip_l"}]
    assert document["outcome"]["written"] == "out.safetensors"
    assert embconv("repair", "free-download.pt", "x.pt", "--json").document["error"]["code"] == "unsafe_pickle"


def test_repair_overwrites_nothing(samples: Path, embconv: Run) -> None:
    assert embconv("repair", "epoch9.safetensors", "fox-toy.bin").code == 1
    assert Path("fox-toy.bin").read_bytes() == SAMPLES["files"]()["fox-toy.bin"]


# hash


def test_hash_is_equal_for_equal_vectors_in_different_files(samples: Path, embconv: Run) -> None:
    embconv("moonpaper.pt", "other.safetensors")
    first, second = embconv("hash", "moonpaper.pt", "other.safetensors", "--nl").documents
    assert first["hashes"]["sha256"] != second["hashes"]["sha256"]
    assert first["embeddings"][0]["digest"] == second["embeddings"][0]["digest"]
    assert first["embeddings"][0]["encoders"] == second["embeddings"][0]["encoders"]


def test_hash_of_no_embedding_gives_the_file_hashes_and_says_why_there_are_no_more(samples: Path, embconv: Run) -> None:
    said = embconv("hash", "detail.safetensors")
    assert said.code == 0
    assert "sha256" in said.out
    assert "a LoRA" in said.out
    document = embconv("hash", "detail.safetensors", "--json").document
    assert (document["embeddings"], document["error"]["code"]) == ([], "not_an_embedding")


def test_hash_quietly_prints_digests(samples: Path, embconv: Run) -> None:
    assert len(embconv("hash", "moonpaper.pt", "two-words.bin", "-q").lines) == 3
