"""`embconv validate`: what it takes, what it says, what it writes. The judge is an imitation, but for one whole run at the end."""

import io
import json
import os
import runpy
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from embconv.converters import Finding
from embconv.registry.blobs import Blobs
from embconv.registry.model import Entry
from embconv.registry.render_errors import DeviceFailed, MissingExtra
from embconv.registry.store import Store, document, resolve
from embconv.registry.store.checkpoints import put_checkpoint
from embconv.registry.store.validations import verdicts_of
from embconv.registry.verdicts import Cell, Checkpoint, Judged, Picture, Protocol, Verdict, protocol_summary, summary_of

from .conftest import EMBCONV, ROOT, Said

Run = Callable[..., Said]
PROMISED = ("state", "because", "numbers", "role", "suggested_weight", "checkpoint", "protocol", "findings")


NUMBERS = {"positive": {"probe": 0.5, "pixels": 0.03125, "curve": {"1": 0.5, "0.4": 0.2}}, "near_words": {"clip_l": [[["moon", 0.31]]]}}


class Fake:
    """Judges by the name: `states` says what becomes of an embedding, anything else passes."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        self.loaded: list[str] = []
        self.protocols: list[Protocol] = []
        self.subjects: list[Any] = []
        self.fails: Exception | None = None

    def load(self, checkpoint: Checkpoint) -> Checkpoint:
        self.loaded.append(checkpoint.name)
        return checkpoint

    def subject(self, embedding: Any, entry: Entry, file: Any) -> Any:
        from embconv.registry.validation.subjects import subject

        return subject(embedding, entry.digest, role=entry.role, base=entry.base, name=entry.name)

    def broken(self, exc: BaseException) -> bool:
        return False

    def judge(self, model: Checkpoint, subjects: Sequence[Any], protocol: Protocol, calibration: Any) -> Iterator[Judged]:
        self.protocols.append(protocol)
        for subject in subjects:
            self.subjects.append(subject)
            if self.fails:
                raise self.fails
            state = self.states.get(subject.trigger, "pass")
            findings = (Finding("half", "warning", "clip_g", "The vectors of clip_g change nothing."),) if state == "weak" else ()
            yield Judged(digest=subject.digest, verdict=Verdict(
                state=state, because=f"It is said to be {state}.", numbers=NUMBERS,
                role="positive", suggested_weight=0.8, checkpoint=summary_of(model), protocol=protocol_summary(protocol), findings=findings,
                made_with={"torch": "2"},
            ), pictures=tuple(pictures(subject, model, protocol)))  # fmt: skip


def pictures(subject: Any, checkpoint: Checkpoint, protocol: Protocol) -> Iterator[Picture]:
    from embconv.registry.validation.infotext import signed
    from embconv.registry.validation.sheets import plan

    own = [Cell(kind=kind, prompt="a photo", seed=seed, sampler="euler", steps=20, cfg=7.0, width=64, height=64, weight=weight)
           for seed in protocol.seeds for kind, weight in (("baseline", None), ("test", 1.0))]  # fmt: skip
    for cell in [*own, *(each.cell for each in plan(protocol, subject, "positive"))]:
        packed = io.BytesIO()
        Image.new("RGB", (64, 64), (round(100 * (cell.weight or 0)), 90, 40 * cell.seed)).save(packed, "WEBP")
        yield Picture(cell=signed(cell, subject, checkpoint, protocol), webp=packed.getvalue())


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny SD 1.x pipeline."""
    made: Path = runpy.run_path(str(ROOT / "docs" / "_tiny.py"))["write"](tmp_path_factory.mktemp("checkpoints") / "tiny", "sd1")
    return made


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    made = Fake()
    for module in ("validate", "validate_pending"):
        monkeypatch.setattr(f"embconv.cli.{module}.tools", lambda how: made)
    return made


@pytest.fixture
def validate(samples: Path, embconv: Run, fake: Fake, tiny: Path) -> Run:
    """The command with the tiny checkpoint, among the samples."""
    return lambda *arguments: embconv("validate", "--checkpoint", tiny, *arguments)


# what it says


def test_one_file_is_one_object_with_what_is_promised(validate: Run, fake: Fake) -> None:
    said = validate("moonpaper.pt", "--json")
    assert said.code == 0
    assert [key for key in PROMISED if key not in said.document] == []
    assert said.document["state"] == "pass"
    assert said.document["path"] == "moonpaper.pt"
    assert said.document["trigger"] == "moonpaper"
    assert said.document["checkpoint"]["base"] == "sd1"
    assert fake.subjects[0].shorthash == "1bc24191d3ad"  # embconv hash says the same


def test_several_files_are_an_array_in_their_order_and_nl_is_a_line_each(validate: Run) -> None:
    files = ("moonpaper.pt", "free-download.pt", "fox-toy.bin")
    said = validate(*files, "--json")
    assert [each["path"] for each in said.document] == list(files)
    assert said.document[1]["error"]["code"] == "unsafe_pickle"
    assert said.code == 1
    assert validate(*files, "--nl").documents == said.document


def test_every_embedding_of_a_file_is_judged(validate: Run) -> None:
    assert [each["trigger"] for each in validate("two-words.bin", "--json").document] == ["<blot-ink>", "<blot-wash>"]


def test_words_tell_everything_of_one(validate: Run, fake: Fake) -> None:
    fake.states["moonpaper"] = "weak"
    said = validate("moonpaper.pt")
    for text in ("weak  moonpaper.pt", "It is said to be weak.", "0.8 is suggested", "  positive    probe 0.5, pixels 0.031", "probe by weight: 0.4 0.2, 1 0.5", "near        clip_l 1: \"moon\" 0.31", "clip_g: The vectors of clip_g"):
        assert text in said.out
    assert said.err == ""


def test_words_are_short_for_a_folder_which_ends_with_counts(validate: Run, fake: Fake) -> None:
    fake.states |= {"moonpaper": "broken", "old-style": "incompatible"}
    said = validate(".")
    assert said.lines[-1] == "9 pass, 1 broken, 1 incompatible, 2 refused"
    assert any(line.startswith("broken") and "moonpaper.pt" in line for line in said.lines)
    assert "harbour.png" in said.out  # a picture that is an embedding
    assert "Refused ./free-download.pt" in said.err
    assert said.code == 1


@pytest.mark.parametrize(("state", "code"), [("pass", 0), ("weak", 0), ("no_effect", 1), ("broken", 1), ("incompatible", 1), ("error", 1)])
def test_the_exit_code_tells_whether_it_works(validate: Run, fake: Fake, state: str, code: int) -> None:
    fake.states["moonpaper"] = state
    said = validate("moonpaper.pt", "-q")
    assert (said.code, said.out) == (code, f"{state}\n")


def test_one_that_is_given_twice_is_judged_once(validate: Run, fake: Fake) -> None:
    shutil.copy("moonpaper.pt", "again.pt")
    assert len(validate("moonpaper.pt", "again.pt", "--json").document) == 2
    assert len(fake.subjects) == 1


# how it is rendered


def test_options_become_the_protocol(validate: Run, fake: Fake) -> None:
    validate("moonpaper.pt", "-q", "--seeds", "7,8,9", "--steps", "5", "--size", "128", "--sampler", "ddim", "--cfg", "3.5", "--emphasis", "comfyui",
             "--clip-skip", "2", "--prompt", "a red cup", "-o", "s.png", "--role", "negative")  # fmt: skip
    asked = fake.protocols[0]
    assert (asked.seeds, asked.steps, asked.width, asked.height, asked.sampler, asked.cfg) == ((7, 8, 9), 5, 128, 128, "ddim", 3.5)
    assert (asked.emphasis, asked.clip_skip) == ("comfyui", 1)  # A1111's 2 is the last but one
    assert (asked.sheets, asked.prompts) == (("prompts",), ("a red cup, {T}",))
    assert fake.subjects[0].role == "negative"


def test_profiles(validate: Run, fake: Fake) -> None:
    validate("moonpaper.pt", "--profile", "quick")
    validate("moonpaper.pt", "--profile", "probe")
    assert [each.steps for each in fake.protocols] == [12, 20]
    assert fake.protocols[1].seeds == ()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--profile", "standart"), "there is no profile 'standart'. Did you mean standard?"),
        (("--sheet", "strength,sampler", "-o", "s.png"), "there is no sheet 'sampler'. Did you mean samplers?"),
        (("--sampler", "euler_b"), "there is no sampler 'euler_b'. Did you mean euler_a?"),
        (("--emphasis", "comfy"), "Did you mean comfyui?"),
        (("--role", "negatve"), "Did you mean negative?"),
        (("--size", "100"), "100 is no multiple of 8; the nearest is 96."),
        (("--seeds", "1;2"), "no whole numbers with commas"),
        (("--steps", "0"), "0 is not in the range"),
        (("--sheet", "strength"), "Where should the sheet go?"),
        (("-o", "s.jpg"), "a sheet is a .png or a .webp file"),
        (("--base", "sd1"), "--base and --limit are for --pending"),
        (("--json", "-q"), "Choose one of --json, --nl and -q."),
        (("--prompt", "a\nb", "-o", "s.png"), "prompts"),
    ],
)
def test_a_wrong_option_is_told_with_the_right_one(validate: Run, fake: Fake, arguments: tuple[str, ...], says: str) -> None:
    said = validate("moonpaper.pt", *arguments)
    assert said.code == 2
    assert says in said.err
    assert fake.loaded == []


def test_without_anything_to_judge_it_says_what_to_give(validate: Run) -> None:
    said = validate()
    assert said.code == 2
    assert "--pending" in said.err


# with what


def test_a_checkpoint_with_its_base(samples: Path, embconv: Run, fake: Fake, tiny: Path) -> None:
    assert embconv("validate", "moonpaper.pt", "--checkpoint", f"sd1={tiny}").code == 0
    assert "is a checkpoint for sd1, not for sdxl" in embconv("validate", "moonpaper.pt", "--checkpoint", f"sdxl={tiny}").err
    assert "Did you mean sd1?" in embconv("validate", "moonpaper.pt", "--checkpoint", f"sd15={tiny}").err


def test_the_only_checkpoint_judges_also_what_does_not_fit_it(validate: Run, fake: Fake) -> None:
    validate("old-style.safetensors", "paper-xl.safetensors")
    assert len(fake.loaded) == 1
    assert [each.base for each in fake.subjects] == ["sd2", "sdxl"]


def test_the_registrys_first_checkpoint_of_a_base_is_meant_where_none_is_named(
    samples: Path, embconv: Run, fake: Fake, tiny: Path, home: Path
) -> None:
    remember(home, tiny, "mine")
    assert embconv("validate", "moonpaper.pt", "--json").document["checkpoint"]["name"] == "mine"
    assert embconv("validate", "moonpaper.pt", "--json", "--checkpoint", "mine").document["checkpoint"]["name"] == "mine"
    said = embconv("validate", "moonpaper.pt", "--checkpoint", "mina")
    assert said.code == 2
    assert "Did you mean mine?" in said.err


def test_without_a_checkpoint_it_says_how_to_name_one(samples: Path, embconv: Run, fake: Fake) -> None:
    said = embconv("validate", "moonpaper.pt")
    assert said.code == 2
    assert "embconv checkpoints add PATH" in said.err
    assert said.out == ""


def test_one_without_a_checkpoint_is_refused_and_the_others_go_on(samples: Path, embconv: Run, fake: Fake, tiny: Path, home: Path) -> None:
    remember(home, tiny, "mine")
    said = embconv("validate", "moonpaper.pt", "paper-xl.safetensors")
    assert said.code == 1
    assert "[no_checkpoint]" in said.err
    assert said.lines[-1] == "1 pass, 1 refused"


def test_a_path_without_a_checkpoint(samples: Path, embconv: Run, fake: Fake) -> None:
    said = embconv("validate", "moonpaper.pt", "--checkpoint", "models/nothing.safetensors")
    assert said.code == 2
    assert "[bad_checkpoint]" in said.err


def test_a_pickle_checkpoint_is_refused_with_the_command_that_converts_it(samples: Path, embconv: Run, fake: Fake) -> None:
    import torch

    torch.save({"state_dict": {"a": torch.zeros(1)}}, "old.ckpt")
    said = embconv("validate", "moonpaper.pt", "--checkpoint", "old.ckpt")
    assert said.code == 2
    assert "[pickle_checkpoint]" in said.err


def test_a_missing_extra_is_one_sentence_with_the_command(samples: Path, embconv: Run, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(how: Any) -> None:
        raise MissingExtra("torch")

    monkeypatch.setattr("embconv.cli.validate.tools", none)
    said = embconv("validate", "moonpaper.pt", "--checkpoint", tiny)
    assert said.code == 2
    assert said.out == ""
    assert said.err.splitlines() == ["Error: Test renders need torch, which is not installed.  [missing_extra]", "  Install it: pip install 'embconv[render]'"]


def test_where_torch_cannot_be_imported_the_real_command_says_so_and_no_more(samples: Path, tiny: Path) -> None:
    (samples / "sitecustomize.py").write_text("import sys\nsys.modules['torch'] = None\n")
    done = subprocess.run([EMBCONV, "validate", "moonpaper.pt", "--checkpoint", tiny], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": str(samples)}, stdin=subprocess.DEVNULL)  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1] == "  Install it: pip install 'embconv[render]'"
    assert len(done.stderr.splitlines()) == 2


def test_a_device_that_breaks_off_ends_the_command_as_json_too(validate: Run, fake: Fake) -> None:
    fake.fails = DeviceFailed("cuda", "an illegal address")
    said = validate("moonpaper.pt", "--json")
    assert said.code == 2
    assert said.document["error"]["code"] == "device_failed"


# sheets


def test_a_sheet_is_a_picture_its_json_and_its_cells(validate: Run) -> None:
    said = validate("moonpaper.pt", "--sheet", "strength,samplers", "-o", "out/sheet.png")
    assert said.code == 0
    assert said.lines[-1] == "out/sheet.png"
    with Image.open("out/sheet.png") as sheet:
        assert sheet.text["parameters"].startswith("a photo")
        assert sheet.width > 1_200
    told = json.loads(Path("out/sheet.json").read_text("utf-8"))
    assert told["verdict"]["state"] == "pass"
    files = sorted(each["file"] for each in told["cells"])
    assert files == sorted(f"sheet-cells/{path.name}" for path in Path("out/sheet-cells").iterdir())
    assert len(files) == 4 + 12 + 12
    assert "sheet-cells/strength-off-seed-1.webp" in files
    assert "sheet-cells/samplers-dpmpp_2m_karras-with-seed-1.webp" in files


def test_a_sheet_is_not_overwritten_and_nothing_is_rendered_before_that_is_known(validate: Run, fake: Fake) -> None:
    Path("sheet.png").write_bytes(b"mine")
    said = validate("moonpaper.pt", "-o", "sheet.png")
    assert said.code == 1
    assert "[target_exists]" in said.err
    assert fake.loaded == []
    assert validate("moonpaper.pt", "-o", "sheet.png", "--force").code == 0
    assert Path("sheet.png").read_bytes().startswith(b"\x89PNG")
    assert validate("moonpaper.pt", "-o", "sheet.png", "--force").code == 0  # its JSON and its cells too


def test_several_have_a_folder_of_sheets(validate: Run) -> None:
    assert "several embeddings need a folder" in validate("moonpaper.pt", "fox-toy.bin", "-o", "sheet.png").err
    said = validate("moonpaper.pt", "fox-toy.bin", "-o", "sheets", "--json")
    assert [each["sheet"] for each in said.document] == [os.path.join("sheets", name) for name in ("moonpaper.png", "fox-toy.png")]
    assert sorted(path.name for path in Path("sheets").glob("*.png")) == ["fox-toy.png", "moonpaper.png"]


def test_a_webp_sheet(validate: Run) -> None:
    assert validate("moonpaper.pt", "-o", "sheet.webp").code == 0
    with Image.open("sheet.webp") as sheet:
        assert sheet.format == "WEBP"
        assert np.asarray(sheet).std() > 1


def test_a_folder_that_cannot_be_made_is_told_before_anything_is_rendered(validate: Run, fake: Fake) -> None:
    Path("taken").write_text("")
    said = validate("moonpaper.pt", "-o", "taken/sheet.png")
    assert said.code == 1
    assert "[cannot_write]" in said.err
    assert fake.loaded == []


def test_without_pictures_there_is_no_sheet_and_it_is_said(validate: Run) -> None:
    said = validate("moonpaper.pt", "-o", "sheet.png", "--profile", "probe")
    assert said.code == 0
    assert said.err == "Note: moonpaper.pt: nothing was rendered, so there is no sheet.\n"
    assert not Path("sheet.png").exists()


# the registry


def remember(home: Path, tiny: Path, name: str) -> Checkpoint:
    from embconv.registry.validation.checkpoints import recognise

    found = recognise(str(tiny), name)
    with Store(str(home)) as store:
        store.write(lambda db: put_checkpoint(db, found))
    return found


def test_a_verdict_on_one_of_the_registry_is_kept_with_its_pictures(validate: Run, embconv: Run, home: Path) -> None:
    assert embconv("add", "moonpaper.pt").code == 0
    said = validate("moonpaper", "--json", "--sheet", "strength")
    assert said.code == 0, said.err
    with Store(str(home)) as store:
        id_ = resolve(store.read, "moonpaper")
        (kept,) = verdicts_of(store.read, id_)
        assert msgspec.json.decode(document(store.read, id_), type=Entry).verdict == "pass"
    assert len(kept.renders) == 4 + 12
    assert Blobs(str(home)).read(kept.renders[0].id).startswith(b"RIFF")
    assert "pass" in embconv("show", "moonpaper").out


def test_a_file_changes_no_registry(validate: Run, home: Path) -> None:
    validate("moonpaper.pt")
    assert not home.exists()


def test_a_reference_that_means_nothing_is_refused(validate: Run, embconv: Run) -> None:
    embconv("add", "moonpaper.pt")
    said = validate("sunpaper", "moonpaper.pt")
    assert said.code == 1
    assert "[unknown_reference]" in said.err
    assert said.lines[-1] == "1 pass, 1 refused"


def test_a_file_that_is_not_there_is_told_as_a_file(validate: Run) -> None:
    said = validate("nothing.safetensors")
    assert said.code == 1
    assert "nothing.safetensors" in said.err


def test_a_verdict_for_another_role_is_not_the_registrys(validate: Run, embconv: Run, home: Path) -> None:
    embconv("add", "moonpaper.pt")
    assert validate("moonpaper", "--role", "negative").code == 0
    with Store(str(home)) as store:
        assert verdicts_of(store.read, resolve(store.read, "moonpaper")) == []


# --pending


@pytest.fixture
def filled(samples: Path, embconv: Run, fake: Fake, tiny: Path, home: Path) -> Run:
    """The command, with SD 1.x embeddings in the registry and a checkpoint for them."""
    for name in ("moonpaper.pt", "fox-toy.bin", "harbour.png", "paper-xl.safetensors"):
        assert embconv("add", name).code == 0
    remember(home, tiny, "mine")
    return lambda *arguments: embconv("validate", "--pending", *arguments)


def test_pending_judges_once_what_has_no_verdict(filled: Run, fake: Fake, home: Path) -> None:
    fake.states["<fox-toy>"] = "broken"
    said = filled("--limit", "1")
    assert (said.code, said.lines[-1]) == (0, "1 pass")
    said = filled("--nl")
    assert sorted(each["state"] for each in said.documents) == ["broken", "pass"]
    assert [key for key in PROMISED if key not in said.documents[0]] == []
    assert said.code == 1
    said = filled()
    assert (said.code, said.out) == (0, "Nothing waits: everything that can be rendered has a verdict.\n")
    assert len(fake.subjects) == 3
    with Store(str(home)) as store:
        assert len(verdicts_of(store.read, resolve(store.read, "moonpaper"))) == 1


def test_pending_tries_what_ended_in_an_error_once_more_in_each_run(filled: Run, fake: Fake) -> None:
    fake.states["<fox-toy>"] = "error"
    for states in (["error", "pass", "pass"], ["error"]):
        said = filled("--quiet")
        assert (sorted(said.lines), said.code) == (states, 1)
    del fake.states["<fox-toy>"]
    assert filled().lines[-1] == "1 pass"
    assert filled().out == "Nothing waits: everything that can be rendered has a verdict.\n"


def test_pending_as_json_is_an_array_whatever_waits(filled: Run) -> None:
    assert len(filled("--json", "--limit", "1").document) == 1
    assert len(filled("--json", "--base", "sd1", "--steps", "5").document) == 3
    assert filled("--json").document[0]["checkpoint"]["name"] == "mine"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("moonpaper.pt",), 2, "leave the files out"),
        (("-o", "sheets"), 2, "-o is not for --pending"),
        (("--checkpoint", "mina"), 2, "Did you mean mine?"),
        (("--checkpoint", "."), 2, "embconv checkpoints add ."),
        (("--base", "sdxl"), 2, "No checkpoint for sdxl is known."),
        (("--base", "sd3"), 2, "there is no base 'sd3'"),
    ],
)
def test_pending_with_what_makes_no_sense(filled: Run, fake: Fake, arguments: tuple[str, ...], code: int, says: str) -> None:
    said = filled(*arguments)
    assert said.code == code
    assert says in said.err
    assert fake.loaded == []


def test_pending_without_a_registry(samples: Path, embconv: Run, fake: Fake, home: Path) -> None:
    said = embconv("validate", "--pending")
    assert said.code == 2
    assert "[no_store]" in said.err
    assert not home.exists()


# the whole of it


def written(name: str, vectors: np.ndarray) -> str:
    from safetensors.numpy import save_file

    save_file({"emb_params": vectors.astype(np.float32)}, name)
    return name


def test_the_real_judge_says_what_becomes_of_each_and_the_others_go_on(samples: Path, embconv: Run, tiny: Path) -> None:
    dice = np.random.default_rng(0)
    made = {
        "good": (dice.standard_normal((2, 768)) * 0.02, "pass"),
        "eighty": (dice.standard_normal((80, 768)) * 0.02, "incompatible"),
        "wide": (dice.standard_normal((2, 1024)) * 0.02, "incompatible"),
        "zeros": (np.zeros((2, 768)), "no_effect"),
        "nan": (np.full((2, 768), np.nan), "broken"),
    }
    files = [written(f"{name}.safetensors", vectors) for name, (vectors, _) in made.items()]
    Path("junk.safetensors").write_bytes(b"junk")
    said = embconv("validate", *files, "junk.safetensors", "--checkpoint", f"sd1={tiny}", "--profile", "quick", "--steps", "2", "--json")
    assert said.code == 1
    assert [each.get("state", "refused") for each in said.document] == [*(state for _, state in made.values()), "refused"]
    assert "1024" in said.document[2]["because"]
    assert "80 vectors" in said.document[1]["because"]


def test_the_real_command_prints_its_result_and_nothing_else(samples: Path, real_embconv: Run, tiny: Path) -> None:
    said = real_embconv("validate", "fox-toy.bin", "--checkpoint", tiny, "--profile", "quick", "--steps", "2", "--role", "positive",
                        "--sheet", "strength", "-o", "fox.png", "--json")  # fmt: skip
    assert said.err == ""
    assert [key for key in PROMISED if key not in said.document] == []
    assert said.document["role"] == "positive"
    assert said.document["sheet"] == "fox.png"
    told = json.loads(Path("fox.json").read_text("utf-8"))
    assert {each["kind"] for each in told["cells"]} == {"baseline", "null", "test", "attention", "strength"}
    drawn = [each for each in told["cells"] if each["kind"] != "attention"]
    assert all("Steps: 2, Sampler: Euler, CFG scale: 7" in each["infotext"] for each in drawn)
    with Image.open("fox.png") as sheet:
        assert "TI hashes" in sheet.text["parameters"]
