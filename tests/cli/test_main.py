"""What holds for every command: the default, the quick way, the streams, the exit codes, and never a traceback."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from embconv.cli import main
from embconv.cli.main import COMMANDS, is_plain
from embconv.converters import bulk
from embconv.converters.errors import EmbconvError

from .conftest import SAMPLES, Said

Run = Callable[..., Said]
HEAVY = {"torch", "numpy", "litestar", "httpx", "sqlite_utils", "rich", "PIL", "safetensors", "diffusers", "transformers"}
LOADED = """
import json, runpy, sys
sys.argv[0] = "embconv"
code = 0
try:
    runpy.run_module("embconv.cli", run_name="__main__", alter_sys=True)
except SystemExit as exc:
    code = exc.code
print("\\n" + json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]), file=sys.stderr)
"""


def test_convert_is_the_default_command(samples: Path, real_embconv: Run) -> None:
    plain = real_embconv("moonpaper.pt", "one.safetensors")
    named = real_embconv("convert", "moonpaper.pt", "two.safetensors")
    assert (plain.code, named.code) == (0, 0)
    assert Path("one.safetensors").read_bytes() == Path("two.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("source", "dest"),
    [
        ("moonpaper.pt", "out.safetensors"),
        ("moonpaper.pt", "other-name.pt"),
        ("fox-toy.bin", "out.pt"),
        ("paper-xl.safetensors", "out.safetensors"),
        ("paper-xl.safetensors", "out.png"),
        ("free-download.pt", "out.pt"),
        ("two-words.bin", "out.pt"),
        ("burnt.safetensors", "out.pt"),
        ("moonpaper.pt", "no-such-folder/out.pt"),
        ("moonpaper.pt", "out.webp"),
        ("moonpaper.pt", "fox-toy.bin"),
        ("not-there.pt", "out.pt"),
    ],
)
def test_the_quick_way_and_clicks_way_say_the_same(samples: Path, embconv: Run, real_embconv: Run, source: str, dest: str) -> None:
    assert is_plain([source, dest])
    quick = real_embconv(source, dest)
    written = Path(dest).read_bytes() if quick.code == 0 else b""
    if written:
        Path(dest).unlink()
    other = embconv("convert", source, dest)
    assert (quick.code, quick.out, quick.err) == (other.code, other.out, other.err)
    assert not written or Path(dest).read_bytes() == written


@pytest.mark.parametrize(
    ("arguments", "plain"),
    [
        (["a.pt", "b.pt"], True),
        (["convert", "a.pt", "b.pt"], True),
        (["./check", "b.pt"], True),
        (["check", "b.pt"], False),
        (["hash", "b.pt"], False),
        (["a.pt", "b/"], False),
        (["a.pt", "."], False),
        ([".", "b.pt"], False),
        (["a.pt", "b.pt", "-q"], False),
        (["a.pt", "-"], False),
        (["a.pt", ""], False),
        (["a.pt"], False),
        ([], False),
        (["a.pt", "b.pt", "c.pt"], False),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, list) else str(value),
)
def test_which_commands_are_plain(arguments: list[str], plain: bool) -> None:
    assert is_plain(arguments) is plain


def test_the_quick_way_knows_every_command() -> None:
    modules = {path.stem for path in Path(main.__file__).parent.glob("*.py") if re.search(r"^@app\.(command|group)\(", path.read_text(), re.MULTILINE)}
    assert set(COMMANDS) == modules


def test_a_command_imports_no_other(samples: Path) -> None:
    code = f"{LOADED[: LOADED.index('print(')]}print(sorted(name for name in sys.modules if name.startswith('embconv.cli.')), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, "hash", "moonpaper.pt"], capture_output=True, text=True, timeout=60)
    loaded = {name.rpartition(".")[2] for name in re.findall(r"'(embconv[.\w]+)'", done.stderr)}
    assert loaded & set(COMMANDS) == {"hash"}


def test_what_stops_a_whole_command_is_a_sentence_and_exit_2(samples: Path, embconv: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*given: object, **named: object) -> Iterator[object]:
        raise EmbconvError("A helper process was ended from outside.", "Run the same command again.")
        yield

    monkeypatch.setattr(bulk, "through", lost)
    said = embconv("convert", ".", "-o", "out")
    assert (said.code, said.out) == (2, "")
    assert said.err == "Error: A helper process was ended from outside.  [error]\n  Run the same command again.\n"


@pytest.mark.parametrize(
    ("arguments", "also"),
    [(["moonpaper.pt", "out.safetensors"], {"click"}), (["moonpaper.pt", "out.safetensors", "--for", "comfyui", "--json"], set())],
    ids=["quick", "click"],
)
def test_converting_one_file_imports_little(samples: Path, arguments: list[str], also: set[str]) -> None:
    done = subprocess.run([sys.executable, "-c", LOADED, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    code, modules = json.loads(done.stderr.splitlines()[-1])
    assert code in (0, None), done.stderr
    assert (HEAVY | also) & set(modules) == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_called_like_a_command_needs_its_folder(samples: Path, real_embconv: Run, command: str) -> None:
    shutil.copy("moonpaper.pt", command)
    assert real_embconv(f"./{command}", "out.pt").code == 0
    assert Path("out.pt").exists()


def test_help_is_there_for_every_command(embconv: Run) -> None:
    for arguments in ([], *([command] for command in COMMANDS)):
        assert embconv(*arguments, "--help").out == embconv(*arguments, "-h").out
        assert embconv(*arguments, "-h").code == 0


def test_without_arguments_there_is_help_and_exit_2(real_embconv: Run) -> None:
    said = real_embconv()
    assert said.code == 2
    assert "Usage:" in said.err + said.out


def test_the_version_is_the_packages(real_embconv: Run) -> None:
    from importlib.metadata import version

    assert version("embconv") in real_embconv("--version").out


# usage errors: exit 2, the reason, nothing written


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["moonpaper.pt"], "Where should 'moonpaper.pt' go?"),
        (["."], "Where should '.' go?"),
        ([".", "out.pt"], "'out.pt' is no folder"),
        (["moonpaper.pt", "fox-toy.bin", "old-style.safetensors", "out"], "'out' is no folder"),
        (["moonpaper.pt", "fox-toy.bin", "out.pt"], "to convert each, end 'out.pt' in /"),
        (["moonpaper.pt", "out.pt", "--for", "comfyu"], "Did you mean comfyui?"),
        (["moonpaper.pt", "out.pt", "--for", "nothing-like-it"], "Known: a1111, forge"),
        (["moonpaper.pt", "out.pt", "--base", "sd9"], "sd9"),
        (["moonpaper.pt", "out.pt", "--dtype", "F8"], "F8"),
        (["moonpaper.pt", "out.pt", "--json", "--nl"], "Choose one of"),
        (["moonpaper.pt", "out.pt", "--json", "-q"], "Choose one of"),
        (["moonpaper.pt", "out.pt", "--nonsense"], "--nonsense"),
        (["check", "moonpaper.pt", "--for", "sdx"], "Bases: sd1"),
        (["check", "moonpaper.pt", "--nl", "-q"], "Choose one of"),
        (["inspect", "moonpaper.pt", "--nl", "--json"], "Choose one of"),
        (["hash", "moonpaper.pt", "--nl", "--json"], "Choose one of"),
        (["repair", "moonpaper.pt", "out.pt", "--nl", "--json"], "Choose one of"),
        (["inspect"], "FILE"),
        (["check"], "FILE"),
        (["hash"], "FILE"),
        (["repair", "moonpaper.pt"], "OUT"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_usage_error_says_what_would_be_right(samples: Path, embconv: Run, arguments: list[str], says: str) -> None:
    before = sorted(samples.rglob("*"))
    said = embconv(*arguments)
    assert (said.code, said.out) == (2, "")
    assert says in said.err
    assert sorted(samples.rglob("*")) == before


# a mistyped command is no file


@pytest.mark.parametrize(
    ("arguments", "command"),
    [(["inspct", "moonpaper.pt"], "inspect"), (["chek", "moonpaper.pt", "--json"], "check"), (["hsah", "moonpaper.pt"], "hash"),
     (["Inspect"], "inspect"), (["repiar", "moonpaper.pt", "out.pt"], "repair"), (["convrt", "moonpaper.pt", "out.pt"], "convert")],
    ids=lambda value: value[0] if isinstance(value, list) else value,
)  # fmt: skip
def test_a_mistyped_command_is_told_on_both_ways(
    samples: Path, embconv: Run, real_embconv: Run, arguments: list[str], command: str
) -> None:
    before = sorted(samples.rglob("*"))
    for run in (embconv, real_embconv):
        said = run(*arguments)
        assert (said.code, said.out) == (2, "")
        assert f"Did you mean {command}?" in said.err
    assert sorted(samples.rglob("*")) == before


def test_a_file_that_is_called_nearly_as_a_command_is_a_file(samples: Path, real_embconv: Run) -> None:
    shutil.copy("moonpaper.pt", "inspct")
    assert real_embconv("inspct", "out.pt").code == 0
    assert "No such file" in real_embconv("check.pt", "other.pt").err
    assert "No such file" in real_embconv("convert", "inspekt", "other.pt").err


def test_nothing_is_compared_where_the_file_is_there(samples: Path) -> None:
    shutil.copy("moonpaper.pt", "inspct")
    done = subprocess.run([sys.executable, "-c", LOADED, "inspct", "out.pt"], capture_output=True, text=True, timeout=60)
    code, modules = json.loads(done.stderr.splitlines()[-1])
    assert (code, "difflib" in modules) == (0, False)


# Ctrl-C: 130 and one line

INTERRUPTED = """
import runpy, signal, sys
sys.argv[0] = "embconv"

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == WHERE:
            signal.raise_signal(signal.SIGINT)

WHERE = sys.argv.pop(1)
if WHERE == "a file":
    from embconv.converters.source import Source
    Source.__enter__ = lambda self: signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Finder())
runpy.run_module("embconv.cli", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    ("where", "arguments"),
    [("a file", "moonpaper.pt out.pt"), ("a file", "moonpaper.pt out.pt --json"), ("a file", "inspect moonpaper.pt"),
     ("a file", "check . --for sdxl"), ("a file", "hash moonpaper.pt"), ("a file", "repair moonpaper.pt out.pt"),
     ("embconv.converters.convert", "moonpaper.pt out.pt"), ("click", "inspect moonpaper.pt"), ("embconv.cli.repair", "--help")],
    ids=lambda value: value,
)  # fmt: skip
def test_ctrl_c_is_one_line_and_130(samples: Path, where: str, arguments: str) -> None:
    command = [sys.executable, "-c", INTERRUPTED, where, *arguments.split()]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Stopped.\n")
    assert not Path("out.pt").exists()


def test_ctrl_c_in_a_folder_says_how_to_go_on(samples: Path) -> None:
    command = [sys.executable, "-c", INTERRUPTED, "a file", ".", "--to", "png", "-o", "out"]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "Stopped. Every file that was written is whole; run the same command again to go on.\n"


# never a traceback

GARBAGE = {
    "empty.pt": b"",
    "short.pt": b"\x80",
    "zip.pt": b"PK\3\4" + bytes(60),
    "pickle.pt": b"\x80\2}q\0(X",
    "text.safetensors": b"<html><body>Please log in</body></html>",
    "header.safetensors": (1 << 40).to_bytes(8, "little") + b"{}",
    "numbers.safetensors": b"\x10" + bytes(7) + b'{"a":{"dtype":1}}'[:16],
    "picture.png": b"\x89PNG\r\n\x1a\n" + bytes(40),
    "random.bin": bytes((i * 73 + 11) % 256 for i in range(4000)),
    "stop.bin": b".",
    "npy.npy": b"\x93NUMPY\1\0v\0{'descr': '|O'}",
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_refused_in_a_sentence(folder: Path, embconv: Run, real_embconv: Run, name: str) -> None:
    Path(name).write_bytes(GARBAGE[name])
    said = real_embconv(name, "out.safetensors")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("Error: ")
    assert not Path("out.safetensors").exists()
    for command in ("inspect", "hash", "check"):
        assert embconv(command, name).code in (0, 1)
        assert embconv(command, name, "--json").document["path"] == name
    assert embconv("repair", name, "out.pt").code == 1
    assert embconv("inspect", "--pickle", name).code in (0, 1)


@pytest.mark.parametrize("command", ["inspect", "check", "hash"])
def test_a_missing_file_is_told(folder: Path, embconv: Run, command: str) -> None:
    said = embconv(command, "nowhere.pt")
    assert said.code == 1
    assert "No such file" in said.out + said.err
    assert embconv(command, "nowhere.pt", "--json").document["error"]["code"] == "unreadable_file"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_told(samples: Path, real_embconv: Run) -> None:
    Path("moonpaper.pt").chmod(0)
    said = real_embconv("moonpaper.pt", "out.pt")
    assert said.code == 1
    assert "[unreadable_file]" in said.err


def test_a_folder_where_a_file_is_wanted_is_told(samples: Path, embconv: Run) -> None:
    assert embconv("repair", "pair", "out.pt").code == 1
    Path("taken.pt").mkdir()
    said = embconv("moonpaper.pt", "taken.pt")
    assert said.code == 0  # it is a folder, so the file goes into it
    assert Path("taken.pt/moonpaper.safetensors").exists()


def test_a_closed_pipe_is_no_traceback(samples: Path) -> None:
    line = f"'{sys.executable}' -m embconv.cli hash . --nl | head -c 1 >/dev/null"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr


# what a terminal would obey

EVIL = "a\x1b[31mred\u202egnp\x9bc"


def escaped(text: str) -> bool:
    return not any(character in text for character in "\x1b\u202e\x9b\x07\u2028")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_names_of_files_are_escaped(samples: Path, embconv: Run) -> None:
    Path("moonpaper.pt").rename(f"{EVIL}.pt")
    Path("free-download.pt").rename(f"{EVIL}.bin")
    for name in (f"{EVIL}.pt", f"{EVIL}.bin"):
        for arguments in (["inspect"], ["check"], ["hash"], ["inspect", "--pickle"]):
            said = embconv(*arguments, name)
            assert escaped(said.out + said.err), arguments
            for flag in ("--json", "--nl"):
                as_json = embconv(*arguments, name, flag)
                assert escaped(as_json.out + as_json.err), arguments
                assert json.loads(as_json.out)["path"] == name
        said = embconv(name, "out.safetensors", "--dry-run")
        assert escaped(said.out + said.err)
    said = embconv("repair", f"{EVIL}.pt", "mended.safetensors")
    assert escaped(said.out + said.err)


def test_names_inside_files_are_escaped(folder: Path, embconv: Run) -> None:
    from embconv.converters.containers import torch_zip

    inside = SAMPLES["a1111"](EVIL, SAMPLES["vectors"](2, 768))
    Path("word.pt").write_bytes(torch_zip.write({**inside, "sd_checkpoint_name": EVIL, EVIL: EVIL}))
    Path("token.bin").write_bytes(torch_zip.write({EVIL: SAMPLES["vectors"](1, 768)}))
    Path("two.bin").write_bytes(torch_zip.write({EVIL: SAMPLES["vectors"](1, 768), "<b>": SAMPLES["vectors"](1, 768)}))
    for arguments in (["inspect"], ["check"], ["hash"], ["inspect", "--pickle"], ["inspect", "--json"], ["check", "--nl"]):
        said = embconv(*arguments, "word.pt", "token.bin", "two.bin")
        assert escaped(said.out + said.err), arguments
    for name in ("word.pt", "token.bin", "two.bin"):
        said = embconv(name, f"{name}.safetensors", "--json")
        assert escaped(said.out + said.err)
        said = embconv(name, f"{name}.2.safetensors", "--name", EVIL)
        assert escaped(said.out + said.err)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
def test_a_name_that_is_no_text_is_no_traceback(samples: Path, real_embconv: Run) -> None:
    name = b"no\xfftext.pt"
    shutil.copy("moonpaper.pt", name)
    Path("moonpaper.pt").unlink()
    for line in ("inspect", "check", "hash", "inspect --json", "check --nl", "hash --json", "inspect --pickle"):
        assert real_embconv(*line.split(), name).code in (0, 1)
    assert real_embconv(name, b"out\xfe.pt").code in (0, 1)
    assert real_embconv(name, "out.safetensors").code in (0, 1)
    assert real_embconv(name, "json.safetensors", "--json").code in (0, 1)
    assert real_embconv(".", "--to", "safetensors", "--nl").code in (0, 1)
    assert real_embconv("repair", name, "mended.safetensors").code in (0, 1)
