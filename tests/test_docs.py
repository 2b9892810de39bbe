"""What the documents say is so: everything is documented, every link leads somewhere, every example runs.

That the generated parts are current is held by test_house.py.
"""

import re
import runpy
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from embconv.cli.app import app
from embconv.cli.check import Verdict
from embconv.converters.containers import CONTAINERS
from embconv.converters.convert import Outcome, failure
from embconv.converters.encoders import BASES, ENCODERS
from embconv.converters.errors import EmbconvError
from embconv.converters.hashes import Hashes
from embconv.converters.layouts import LAYOUTS
from embconv.converters.source import Source
from embconv.converters.targets import TARGETS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


@pytest.fixture(scope="module")
def pages() -> Any:
    """docs/_pages.py, which makes the tables."""
    sys.path.insert(0, str(DOCS))
    try:
        import _pages

        return _pages
    finally:
        sys.path.remove(str(DOCS))


def text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def blocks(name: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", text(name), re.DOTALL | re.MULTILINE)


# everything is there


def commands(group: Any = app, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command with its words, those of groups too."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield " ".join((*path, name)), command
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))


@pytest.mark.parametrize(("words", "command"), list(commands()))
def test_every_command_and_option_is_documented(words: str, command: Any) -> None:
    page = text("docs/cli.md")
    assert f"\n## {words.split(maxsplit=1)[0]}\n" in page
    (helped,) = [block for block in blocks("docs/cli.md", "text") if block.startswith(f"Usage: embconv {words} [OPTIONS]")]
    options = [option for parameter in command.params for option in parameter.opts if option.startswith("-")]
    assert [option for option in options if not re.search(rf"(?<![\w-]){option}(?![\w-])", helped)] == []


def test_every_layout_container_encoder_and_base_is_documented() -> None:
    page = text("docs/layouts.md")
    names = [layout.name for layout in LAYOUTS] + [container.name for container in CONTAINERS] + [*ENCODERS, *BASES]
    assert [name for name in names if f"| `{name}` |" not in page] == []


def test_every_program_is_documented() -> None:
    for target in TARGETS:
        assert f"\n## {target.title}\n" in text("docs/targets.md")
        assert f"| {target.title} | `{target.name}` |" in text("README.md")


def test_the_matrix_has_every_layout(pages: Any) -> None:
    assert {form.layout for _, form in pages.FORMS} == {layout.name for layout in LAYOUTS}


def _errors(root: type[EmbconvError]) -> set[type[EmbconvError]]:
    return {root}.union(*(_errors(one) for one in root.__subclasses__()))


def test_every_error_code_is_documented(pages: Any) -> None:
    codes = {error.code for error in _errors(EmbconvError)}
    assert codes == set(pages.ADVICE) == set(pages.codes())
    assert [code for code in codes if f"| `{code}` |" not in text("docs/errors.md")] == []


def test_every_error_code_but_the_rare_ones_is_shown() -> None:
    shown = "".join(blocks("docs/errors.md", "console"))
    codes = {error.code for error in _errors(EmbconvError)}
    rare = {"error", "too_large", "unknown_layout", "not_equal", "unknown_target"}  # the last is a usage error, without its code
    from embconv.registry.problems import RegistryError

    rare |= {error.code for error in _errors(RegistryError)} - {"unknown_reference", "unknown_key"}  # mostly HTTP's
    assert [code for code in codes - rare if f"[{code}]" not in shown] == []


def test_every_rule_of_check_is_documented(pages: Any) -> None:
    from embconv.converters.check import RULES

    rules = list(pages.rules())
    assert len({says for _, _, says in rules}) == len(RULES)
    assert {severity for _, severity, _ in rules} == {"error", "warning", "note"}


def test_every_hash_is_documented() -> None:
    page = text("docs/hashes.md")
    names = [*Hashes.__struct_fields__, "digest", "sha256_f32", "a1111_checksum"]
    assert [name for name in names if f"| `{name}` |" not in page] == []


def test_every_status_and_state_is_documented() -> None:
    page = text("docs/cli.md")
    statuses = re.findall(r"\w+", re.sub(r"\(.*?\)", "", (Outcome.__doc__ or "").split("`status`:")[1].split(".")[0]))
    states = (Verdict.__doc__ or "").split("`state`:")[1].split("(")[0].split(", ")
    words = [word for word in statuses if word != "or"] + [state.strip(" .") for state in states]
    assert failure("a", EmbconvError("")).status in words
    assert [word for word in words if f"`{word}`" not in page] == []


# every link, every command


def anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")


@every_page
def test_every_link_leads_somewhere(page: Path) -> None:
    bad = []
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)):
        if link.startswith("https://"):
            continue
        path, _, part = link.partition("#")
        target = page.parent / path if path else page
        if not target.is_file() or (part and part not in map(anchor, re.findall(r"^#+ (.*)", target.read_text("utf-8"), re.MULTILINE))):
            bad.append(link)
    assert bad == []


@every_page
def test_the_make_commands_are_in_the_makefile(page: Path) -> None:
    targets = set(re.findall(r"^(\w+):", text("Makefile"), re.MULTILINE))
    assert set(re.findall(r"^make (\w+)|`make (\w+)", page.read_text("utf-8"), re.MULTILINE)) <= {
        pair for target in targets for pair in ((target, ""), ("", target))
    }


def test_every_page_is_reached_from_the_readme() -> None:
    assert [page.name for page in DOCS.glob("*.md") if f"(docs/{page.name})" not in text("README.md")] == []


@every_page
def test_no_generated_part_shows_a_traceback(page: Path) -> None:
    assert "Traceback" not in page.read_text("utf-8")


# every example runs


def test_the_python_in_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(DOCS / "_samples.py"))["write"](tmp_path, "moonpaper.pt")
    for block in blocks("README.md", "python"):
        exec(compile(block, "README.md", "exec"), {})
    assert (tmp_path / "moonpaper.safetensors").exists()


def test_the_layout_that_is_added_as_an_example_works() -> None:
    import examples
    from embconv.converters.containers import open_contents

    source, _, example = blocks("docs/adding-a-layout.md", "python")
    module = types.ModuleType("embconv.converters.layouts.inkwell")
    module.__package__ = "embconv.converters.layouts"
    exec(compile(source, "inkwell.py", "exec"), module.__dict__)
    names = {**vars(examples), "embedding": lambda *about: lambda build: build}
    exec(compile(example, "examples.py", "exec"), names)
    data, (expected,) = names["inkwell_word"]()
    with Source(data) as opened:
        contents = open_contents(opened)
        assert module.LAYOUT.detect(contents.outline)
        assert [layout.name for layout in LAYOUTS if layout.detect(contents.outline)] == []
        (found,) = module.LAYOUT.normalise(contents)
    assert (found.names.key, found.names.archive_root, found.metadata) == (expected.key, expected.archive_root, expected.metadata)
    assert found.vectors["clip_l"].data == expected.vectors["clip_l"].numpy().tobytes()


def test_the_demo_runs() -> None:
    done = subprocess.run([sys.executable, str(DOCS / "demo.py")], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout
    assert "\nYou have been had." not in done.stdout
