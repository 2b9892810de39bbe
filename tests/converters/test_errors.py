"""Each error has a stable code, one sentence and what to do next."""

import ast
import inspect

import pytest

from embconv.converters import errors
from embconv.converters.errors import EmbconvError, FileError

NAME = "\x1b[2Jbad\u202e.pt"
MADE = {
    "error": errors.EmbconvError("Something is wrong."),
    "unreadable_file": errors.UnreadableFile(NAME, "it ends\nearly"),
    "unsafe_pickle": errors.UnsafePickle(NAME, "os.system\n", opcode="GLOBAL", position=2, mapped="posix.system"),
    "too_large": errors.TooLarge(NAME, "opcodes in its pickle", 3_000_000, 2_000_000),
    "not_an_embedding": errors.NotAnEmbedding(NAME, "a LoRA\x07", "Elsewhere."),
    "unknown_layout": errors.UnknownLayout(NAME, "'x': F32 1x2"),
    "several_embeddings": errors.SeveralEmbeddings(NAME, [f"<s{i}\x1b>" for i in range(9)]),
    "base_mismatch": errors.BaseMismatch("It is for SD 2.x."),
    "mislabelled_key": errors.MislabelledKey("clip_g is 768 wide."),
    "not_finite": errors.NotFinite("Row 3 holds NaN."),
    "cannot_hold": errors.CannotHold("It cannot."),
    "target_exists": errors.TargetExists(NAME),
    "cannot_write": errors.CannotWrite(NAME, "No space left on device"),
    "not_equal": errors.NotEqual(NAME, "the digests differ"),
}
every_error = pytest.mark.parametrize("code", MADE)


def _classes() -> list[type[EmbconvError]]:
    return [found for _, found in inspect.getmembers(errors, inspect.isclass) if issubclass(found, EmbconvError)]


@every_error
def test_its_code_is_stable_and_its_sentence_is_one_line(code: str) -> None:
    error = MADE[code]
    assert error.code == code
    assert error.says.isprintable()
    assert error.says.endswith(".")
    assert str(error) == f"{error.says} {error.hint}".strip()


@every_error
def test_an_error_about_a_file_names_it(code: str) -> None:
    error = MADE[code]
    if isinstance(error, FileError):
        assert error.name == NAME
        assert r"\x1b[2Jbad\u202e.pt" in error.says


def test_every_error_is_made_above_and_no_two_share_a_code() -> None:
    leaves = [found for found in _classes() if "code" in vars(found)]
    assert {found.code for found in leaves} == set(MADE)
    assert len(leaves) == len(MADE)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = (errors.__doc__ or "").split("EmbconvError", 1)[1]
    names = [line.split("-- ")[1].split() for line in drawn.splitlines() if "-- " in line]
    known = {found.__name__: vars(found).get("code") for found in _classes()}
    for name, *rest in names:
        assert known.pop(name) in (None, rest[0])
    assert known == {"EmbconvError": "error"}


def test_each_class_says_what_it_is() -> None:
    tree = ast.parse(inspect.getsource(errors))
    assert [node.name for node in tree.body if isinstance(node, ast.ClassDef) and not ast.get_docstring(node)] == []


def test_the_alias_of_a_python_2_name_is_shown() -> None:
    says = errors.UnsafePickle("x", "__builtin__.eval", opcode="GLOBAL", position=2, mapped="builtins.eval").says
    assert "asks for __builtin__.eval (in Python 3: builtins.eval) by GLOBAL at byte 2" in says
    assert "embconv did not run it" in says


def test_many_embeddings_are_not_all_listed() -> None:
    says = MADE["several_embeddings"].says
    assert "holds 9 embeddings" in says
    assert says.count("<s") == 8
