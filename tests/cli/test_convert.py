"""`embconv convert`: one file, several, folders; what is printed where, and what is written."""

from collections.abc import Callable
from pathlib import Path

import pytest

from embconv.converters import load

from .conftest import SAMPLES, Said

Run = Callable[..., Said]


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# one file


def test_the_last_line_is_the_path_written(samples: Path, embconv: Run) -> None:
    said = embconv("moonpaper.pt", "moonpaper.safetensors")
    assert (said.code, said.err) == (0, "")
    assert said.lines[-1] == "moonpaper.safetensors"
    assert Path(said.lines[-1]).exists()


def test_the_last_line_is_the_path_as_it_is_also_with_blanks_and_other_scripts(samples: Path, embconv: Run) -> None:
    said = embconv("moonpaper.pt", "mein ナイト.safetensors")
    assert Path(said.lines[-1]).exists()


def test_notes_go_to_stderr(samples: Path, embconv: Run) -> None:
    said = embconv("moonpaper.pt", "another.safetensors")
    assert said.err.startswith("Note: ")
    assert "Note" not in said.out
    assert said.lines[-1] == "another.safetensors"


def test_errors_go_to_stderr_with_code_and_hint(samples: Path, embconv: Run) -> None:
    said = embconv("free-download.pt", "out.pt")
    assert (said.code, said.out) == (1, "")
    first, second = said.err.splitlines()
    assert first.startswith('Error: "free-download.pt" asks for posix.system')
    assert first.endswith("[unsafe_pickle]")
    assert second.startswith("  ")


def test_quiet_prints_the_path_and_nothing_else(samples: Path, embconv: Run) -> None:
    said = embconv("moonpaper.pt", "another.safetensors", "-q")
    assert (said.code, said.out, said.err) == (0, "another.safetensors\n", "")


def test_json_of_one_file_is_an_object(samples: Path, embconv: Run) -> None:
    document = embconv("moonpaper.pt", "out.safetensors", "--json").document
    assert {"path", "status", "written", "size", "layout", "trigger", "digest", "hashes"} <= document.keys()
    assert document["status"] == "converted"
    assert document["size"] == Path("out.safetensors").stat().st_size


def test_nl_of_one_file_is_one_line(samples: Path, embconv: Run) -> None:
    (document,) = embconv("moonpaper.pt", "out.safetensors", "--nl").documents
    assert document["written"] == "out.safetensors"


@pytest.mark.parametrize("flag", ["--json", "--nl"])
def test_a_refusal_in_json_has_its_error_on_stdout(samples: Path, embconv: Run, flag: str) -> None:
    said = embconv("free-download.pt", "out.pt", flag)
    assert (said.code, said.err) == (1, "")
    assert said.document["status"] == "refused"
    assert said.document["error"].keys() == {"code", "says", "hint"}


def test_equal_input_gives_equal_bytes(samples: Path, embconv: Run) -> None:
    for suffix in ("safetensors", "pt", "png"):
        embconv("moonpaper.pt", f"a.{suffix}")
        first = Path(f"a.{suffix}").read_bytes()
        embconv("moonpaper.pt", f"a.{suffix}", "--force")
        assert Path(f"a.{suffix}").read_bytes() == first


def test_nothing_is_overwritten_without_force(samples: Path, embconv: Run) -> None:
    before = Path("fox-toy.bin").read_bytes()
    said = embconv("moonpaper.pt", "fox-toy.bin")
    assert said.code == 1
    assert "[target_exists]" in said.err
    assert Path("fox-toy.bin").read_bytes() == before
    assert embconv("moonpaper.pt", "fox-toy.bin", "--force").code == 0
    assert Path("fox-toy.bin").read_bytes() != before


def test_a_second_run_finds_its_work_done(samples: Path, embconv: Run) -> None:
    embconv("moonpaper.pt", "out.safetensors")
    said = embconv("moonpaper.pt", "out.safetensors")
    assert said.code == 0
    assert said.lines[-2].startswith("already there: ")
    assert said.lines[-1] == "out.safetensors"


def test_dry_run_writes_nothing(samples: Path, embconv: Run) -> None:
    before = files(samples)
    said = embconv("moonpaper.pt", "out.safetensors", "--dry-run")
    assert said.code == 0
    assert "would be written" in said.out
    assert embconv("moonpaper.pt", "new-folder/", "--dry-run").code == 0
    assert embconv(".", "-r", "-o", "new-folder", "--dry-run").code == 1
    assert files(samples) == before
    assert not Path("new-folder").exists()


# for a program, for a base


@pytest.mark.parametrize(
    ("program", "out", "layout"),
    [
        ("a1111", "a.pt", "a1111"),
        ("onetrainer", "a.safetensors", "emp_params"),
        ("OneTrainer", "a.safetensors", "emp_params"),
        ("diffusers", "a.safetensors", "diffusers"),
        ("comfyui", "a.safetensors", "emb_params"),
    ],
)
def test_for_chooses_what_the_program_reads(samples: Path, embconv: Run, program: str, out: str, layout: str) -> None:
    assert embconv("moonpaper.pt", out, "--for", program, "--json").document["layout"] == layout


def test_for_says_what_would_work_instead(samples: Path, embconv: Run) -> None:
    said = embconv("paper-xl.safetensors", "out.safetensors", "--for", "sdcpp")
    assert said.code == 1
    assert "[cannot_hold]" in said.err
    assert "It loads in a1111" in said.err


def test_base_mismatch_gives_both_widths(samples: Path, embconv: Run) -> None:
    said = embconv("old-style.safetensors", "out.safetensors", "--base", "sdxl")
    assert said.code == 1
    for part in ("SD 2.x", "1024 wide", "clip_l 768", "clip_g 1280", "[base_mismatch]"):
        assert part in said.err
    assert not Path("out.safetensors").exists()


def test_base_that_fits_is_no_matter(samples: Path, embconv: Run) -> None:
    assert embconv("paper-xl.safetensors", "out.safetensors", "--base", "SDXL").code == 0


def test_dtype_that_loses_says_how_much(samples: Path, embconv: Run) -> None:
    from embconv.converters.containers import safetensors
    from embconv.converters.model import Tensor

    third = Tensor("F32", (1, 768), b"\xab\xaa\xaa\x3e" * 768)
    Path("third.safetensors").write_bytes(safetensors.write({"emb_params": third}, {}))
    said = embconv("third.safetensors", "out.safetensors", "--dtype", "F16")
    assert said.code == 0
    assert "largest error" in said.err
    assert embconv("moonpaper.pt", "half.safetensors", "--dtype", "F16").err.count("largest error") == 0


def test_name_is_the_new_trigger(samples: Path, embconv: Run) -> None:
    assert embconv("moonpaper.pt", "out.safetensors", "--name", "tide-glass", "--json").document["trigger"] == "tide-glass"
    assert load("out.safetensors").names.header == "tide-glass"


# files that hold several


def test_several_embeddings_name_themselves(samples: Path, embconv: Run) -> None:
    said = embconv("two-words.bin", "out.pt")
    assert said.code == 1
    for part in ('"<blot-ink>"', '"<blot-wash>"', "--pick", "--split", "[several_embeddings]"):
        assert part in said.err


def test_pick_takes_one(samples: Path, embconv: Run) -> None:
    assert embconv("two-words.bin", "out.pt", "--pick", "<blot-wash>", "--json").document["trigger"] == "<blot-wash>"
    assert embconv("two-words.bin", "out2.pt", "--pick", "<neither>").code == 1


def test_split_writes_each(samples: Path, embconv: Run) -> None:
    said = embconv("two-words.bin", "words/", "--split", "-q")
    assert said.code == 0
    assert len(said.lines) == 2
    assert {load(path).names.key or load(path).names.header for path in said.lines}
    assert len({load(path).vectors["clip_l"].data for path in said.lines}) == 2


# several files and folders


def test_a_folder_goes_beside_or_into_another(samples: Path, embconv: Run) -> None:
    beside = embconv("pair", "--to", "safetensors")
    assert beside.code in (0, 1)
    into = embconv(".", "-o", "out", "-r")
    assert into.code == 1  # some are refused
    assert sorted(files(Path("out"))) == [
        "fox-toy.safetensors", "harbour.safetensors", "moonpaper.safetensors", "old-style.safetensors", "pair/learned_embeds.safetensors",
        "paper-xl.safetensors", "two-words-blot-ink.safetensors", "two-words-blot-wash.safetensors",
    ]  # fmt: skip


def test_folders_below_need_r(samples: Path, embconv: Run) -> None:
    embconv(".", "-o", "out")
    assert not Path("out/pair").exists()


def test_a_batch_ends_with_counts_and_keeps_refusals_off_stdout(samples: Path, embconv: Run) -> None:
    Path("notes.txt").write_text("mine")
    said = embconv(".", "-r", "-o", "out")
    assert said.lines[-1] == "8 converted, 4 refused, 1 other file left alone"
    assert "Refused" not in said.out
    assert said.err.count("Refused ") == 4


def test_a_refusal_in_a_batch_says_the_file_once(samples: Path, embconv: Run) -> None:
    for line in embconv(".", "-r", "-o", "out").err.splitlines():
        if line.startswith("Refused "):
            assert line.count(line.split(":")[0].split("/")[-1]) == 1


def test_json_of_a_batch_has_counts_and_files(samples: Path, embconv: Run) -> None:
    document = embconv(".", "-r", "-o", "out", "--json").document
    assert document["counts"] == {"converted": 8, "refused": 4}
    assert len(document["files"]) == 12
    assert [file["error"]["code"] for file in document["files"] if "error" in file] == [
        "not_finite", "not_an_embedding", "mislabelled_key", "unsafe_pickle",
    ]  # fmt: skip


def test_nl_of_a_batch_is_a_line_for_each(samples: Path, embconv: Run) -> None:
    assert [document["status"] for document in embconv(".", "-r", "-o", "out", "--nl").documents].count("converted") == 8


def test_quiet_in_a_batch_prints_paths_alone(samples: Path, embconv: Run) -> None:
    said = embconv(".", "-r", "-o", "out", "-q")
    assert all(Path(line).exists() for line in said.lines)
    assert len(said.lines) == 8


def test_a_batch_run_again_has_nothing_to_do(samples: Path, embconv: Run) -> None:
    embconv(".", "-r", "-o", "out")
    before = files(Path("out"))
    again = embconv(".", "-r", "-o", "out")
    assert again.lines[-1] == "8 already there, 4 refused"
    assert files(Path("out")) == before


def test_pictures_without_an_embedding_are_passed_over(folder: Path, embconv: Run) -> None:
    from PIL import Image

    Image.new("RGB", (8, 8)).save("cat.png")
    said = embconv(".", "--to", "safetensors")
    assert said.code == 0
    assert said.lines[-1] == "1 picture without an embedding passed over"


def test_an_empty_folder_is_told(folder: Path, embconv: Run) -> None:
    said = embconv(".", "--to", "pt")
    assert (said.code, said.lines) == (0, ["Nothing to convert here."])


def test_several_files_go_into_a_folder(samples: Path, embconv: Run) -> None:
    said = embconv("moonpaper.pt", "fox-toy.bin", "old-style.safetensors", "new/")
    assert said.code == 0
    assert sorted(files(Path("new"))) == ["fox-toy.safetensors", "moonpaper.safetensors", "old-style.safetensors"]


def test_to_says_which_kind(samples: Path, embconv: Run) -> None:
    embconv("moonpaper.pt", "fox-toy.bin", "-o", "new", "--to", "png")
    assert sorted(files(Path("new"))) == ["fox-toy.png", "moonpaper.png"]


def test_two_files_that_want_one_name_both_get_one(samples: Path, embconv: Run) -> None:
    made = SAMPLES["files"]()
    Path("a").mkdir()
    Path("a/word.pt").write_bytes(made["moonpaper.pt"])
    Path("a/word.bin").write_bytes(made["fox-toy.bin"])
    assert embconv("a", "-o", "out").code == 0
    assert sorted(files(Path("out"))) == ["word-bin.safetensors", "word.safetensors"]


def test_the_two_halves_of_an_sdxl_embedding_become_one(samples: Path, embconv: Run) -> None:
    said = embconv("pair/learned_embeds.safetensors", "pair/learned_embeds_2.safetensors", "lamp.safetensors", "--base", "sdxl")
    assert said.code == 0
    assert load("lamp.safetensors").vectors.keys() == {"clip_l", "clip_g"}


def test_one_bad_file_among_several_is_told_and_the_others_are_written(samples: Path, embconv: Run) -> None:
    said = embconv("moonpaper.pt", "nowhere.pt", "fox-toy.bin", "new/")
    assert said.code == 1
    assert "Refused nowhere.pt" in said.err
    assert len(files(Path("new"))) == 2


def test_an_output_folder_that_cannot_be_is_exit_2(samples: Path, embconv: Run) -> None:
    said = embconv("moonpaper.pt", "-o", "fox-toy.bin/inside")
    assert said.code == 2
    assert "[cannot_write]" in said.err
