"""The rules of the house that a program can hold."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
FOLDERS = PROJECT["tool"]["setuptools"]["package-dir"]  # import name -> folder of the repository


def _folder(package: str) -> Path:
    """Where it is installed: the source tree, or site-packages when the wheel is tested."""
    spec = find_spec(package)
    assert spec is not None, f"{package} is not installed"
    assert spec.origin is not None, f"{package} has no __init__.py"
    return Path(spec.origin).parent


def _modules() -> Iterator[tuple[str, Path]]:
    for package in FOLDERS:
        folder = _folder(package)
        for path in sorted(folder.rglob("*.py")):
            yield f"{package}/{path.relative_to(folder).as_posix()}", path


MODULES = dict(_modules())
TREES = {name: ast.parse(path.read_text("utf-8"), name) for name, path in MODULES.items()}

every_module = pytest.mark.parametrize("name", MODULES)


# packaging


def test_packages_are_the_folders_on_disk() -> None:
    found = {name.removesuffix("/__init__.py").replace("/", ".") for name in MODULES if name.endswith("/__init__.py")}
    assert sorted(PROJECT["tool"]["setuptools"]["packages"]) == sorted(found)


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent for path in MODULES.values()}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_the_checkers_see_every_folder() -> None:
    assert sorted(PROJECT["tool"]["mypy"]["packages"]) == sorted(FOLDERS)
    assert sorted(PROJECT["tool"]["importlinter"]["root_packages"]) == sorted(FOLDERS)


@pytest.mark.skipif(not (ROOT / ".types").exists(), reason="the wheel is tested, without the source tree")
@pytest.mark.parametrize(("package", "folder"), FOLDERS.items())
def test_the_checkers_links_lead_to_the_folders(package: str, folder: str) -> None:
    assert (ROOT / ".types" / package.replace(".", "/")).resolve() == (ROOT / folder).resolve()


@pytest.mark.parametrize("package", FOLDERS)
def test_types_are_shipped(package: str) -> None:
    assert (_folder(package) / "py.typed").exists()


def test_the_licence_is_there() -> None:
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text("utf-8")[:200]


def test_every_pin_is_exact_and_names_no_place() -> None:
    lines = [line.partition("#")[0].strip() for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()]
    assert [line for line in lines if line and not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []


# source


def _mentions(tree: ast.Module) -> Iterator[str]:
    """Every dotted name in it, with `import a as b` undone."""
    known = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            known |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            known |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            first, dot, rest = ast.unparse(node).partition(".")
            yield known.get(first, first) + dot + rest


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or ""


# threats: "safe, then fall back to unsafe"; there is no fallback here because there is nothing to fall back to
UNSAFE_MODULES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "yaml", "torch", "code", "runpy"}
UNSAFE_NAMES = ("eval", "exec", "compile", "__import__", "builtins", "importlib.import_module", "importlib.util", "os.system", "os.popen",
                "subprocess", "pickletools.pickle", "torch.load", "torch.jit", "torch.hub", "torch.package", "torch.serialization",
                "torch.utils.model_zoo")  # fmt: skip
# Exceptions: a beginning of module names -> what it may do, and why.
ALLOWED = {
    "embconv.cli/app.py": ("importlib.import_module",),      # the module of a command, out of a written list: no other name reaches it
    "embconv.registry/validation/": ("torch",),              # it computes; its weights are safetensors
    "embconv.registry/validation/supervise.py": ("subprocess",),  # starts this program again after the GPU failed, without anything from a file
}


@every_module
def test_nothing_here_can_run_what_a_file_holds(name: str) -> None:
    tree = TREES[name]
    allowed = {word for beginning, words in ALLOWED.items() if name.startswith(beginning) for word in words}
    imported = [module for module in _imports(tree) if module.partition(".")[0] in UNSAFE_MODULES - allowed]
    mentioned = [found for found in _mentions(tree) if any(f"{found}.".startswith(f"{bad}.") for bad in {*UNSAFE_NAMES} - allowed)]
    keywords = [node for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "allow_pickle"]
    allowing = [ast.unparse(node) for node in keywords if ast.unparse(node.value) != "False"]
    assert imported + mentioned + allowing == []


@pytest.mark.parametrize(
    "source",
    ["import torch", "from torch import load as read; read(x)", "import numpy as np; np.load(x, allow_pickle=True)",
     "from importlib import import_module; import_module(x)", "import pickle as p; p.Unpickler(x)", "import builtins as b; b.exec(x)",
     "__import__(x)", "eval(x)"],
)  # fmt: skip
def test_the_rule_above_can_fail(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TREES, "bad", ast.parse(source))
    with pytest.raises(AssertionError):
        test_nothing_here_can_run_what_a_file_holds("bad")


@every_module
def test_a_module_says_what_it_is_for(name: str) -> None:
    assert (ast.get_docstring(TREES[name]) or "").strip(), "give it a docstring"


@every_module
def test_a_file_stays_under_300_lines(name: str) -> None:
    assert len(MODULES[name].read_text("utf-8").splitlines()) < 300


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


@every_module
def test_a_function_has_at_most_40_lines(name: str) -> None:
    functions = (node for node in ast.walk(TREES[name]) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    assert {function.name: _length(function) for function in functions if _length(function) > 40} == {}


def _own_files(*endings: str) -> list[Path]:
    """The project's files, without what tools and virtual environments leave between them."""
    folders = ["converters", "registry", "cli", "tests", "benchmarks", "docs", ".ci"]
    inside = (path for folder in folders for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts)
    return [path for path in (*ROOT.glob("*"), *inside) if path.is_file() and (not endings or path.suffix in endings)]


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        return ""  # a picture


def test_the_short_folder_names_are_never_imported() -> None:
    bad = re.compile(rf"^\s*(from|import)\s+({'|'.join(FOLDERS.values())})\b", re.MULTILINE)
    assert [str(path.relative_to(ROOT)) for path in _own_files(".py", ".md") if bad.search(_text(path))] == []


def test_no_file_names_a_place_on_one_machine() -> None:
    anywhere = re.compile(r"(?<![\w.~}])/(work|root|opt|home/\w+)/")
    temporary = re.compile(r"(?<![\w.~}])/tmp/")
    found = []
    for path in _own_files():
        text = _text(path)
        if anywhere.search(text) or ("tests" not in path.relative_to(ROOT).parts and temporary.search(text)):
            found.append(str(path.relative_to(ROOT)))
    assert found == []


# documents


def test_the_generated_parts_of_the_documents_are_current() -> None:
    from cogapp import Cog

    documents = [str(path) for path in _own_files(".md") if "[[[cog" in _text(path)]
    if documents:
        assert Cog().main(["cog", "--check", *documents]) == 0, "run: make docs"


# what a plain conversion costs

HEAVY = {"torch", "numpy", "litestar", "httpx", "sqlite_utils", "rich", "PIL", "safetensors", "diffusers", "transformers"}
LOADED = """
import json, runpy, sys
sys.argv[0] = "embconv"
code = 0
try:
    runpy.run_module("embconv.cli", run_name="__main__", alter_sys=True)
except SystemExit as exc:
    code = exc.code
sys.stderr.write("\\n" + json.dumps({"code": code, "modules": sorted({name.partition(".")[0] for name in sys.modules})}))
"""


def _python(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment, timeout=60)


def test_importing_the_converters_is_light() -> None:
    done = _python("-c", "import embconv.converters, sys; print(*sys.modules, sep='\\n')")
    assert done.returncode == 0, done.stderr
    assert HEAVY & {name.partition(".")[0] for name in done.stdout.split()} == set()


def test_a_plain_conversion_is_light(tmp_path: Path) -> None:
    import torch

    source, target = tmp_path / "in.pt", tmp_path / "out.safetensors"
    vectors = torch.linspace(-0.05, 0.05, 2 * 768).reshape(2, 768)
    torch.save({"string_to_token": {"*": torch.tensor(265)}, "string_to_param": {"*": vectors}, "name": "in", "step": 1,
                "sd_checkpoint": None, "sd_checkpoint_name": None}, source)  # fmt: skip
    done = _python("-c", LOADED, source, target)
    after = json.loads(done.stderr.splitlines()[-1])
    assert after["code"] in (0, None), done.stderr
    assert target.exists()
    assert HEAVY & set(after["modules"]) == set()
