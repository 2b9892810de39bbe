"""What stops the work, each with a stable code, one sentence and what to do next.

    EmbconvError
    |-- FileError                  about the input file
    |   |-- UnreadableFile         unreadable_file    damaged, truncated, lying about itself
    |   |-- UnsafePickle           unsafe_pickle      asks for something an embedding never needs
    |   |-- TooLarge               too_large          passes a limit of limits.py
    |   |-- NotAnEmbedding         not_an_embedding   a LoRA, a checkpoint, a web page ...
    |   |-- UnknownLayout          unknown_layout     tensors in an arrangement no program here writes
    |   `-- SeveralEmbeddings      several_embeddings one was wanted, the file holds more
    |-- EmbeddingError             about one embedding
    |   |-- BaseMismatch           base_mismatch      made for other text encoders
    |   |-- MislabelledKey         mislabelled_key    the width contradicts the key
    |   |-- NotFinite              not_finite         holds NaN or infinity
    |   `-- CannotHold             cannot_hold        the wanted form cannot carry it
    `-- WriteError                 about the output
        |-- TargetExists           target_exists      never overwritten without --force
        |-- CannotWrite            cannot_write       the disk, the folder or its rights say no
        `-- NotEqual               not_equal          the written file does not read back equal
"""

from typing import Any

from .display import printable, quoted


class EmbconvError(Exception):
    """The root: `code` is stable, `says` is one sentence, `hint` is what to do (may be empty)."""

    code = "error"

    def __init__(self, says: str, hint: str = "") -> None:
        super().__init__(f"{says} {hint}".rstrip())
        self.says, self.hint = says, hint

    def __reduce__(self) -> tuple[Any, ...]:
        """How it travels between processes: by what it says, for each kind is made from other things."""
        return _again, (type(self), self.args, self.__dict__)


def _again(kind: type[EmbconvError], arguments: tuple[Any, ...], facts: dict[str, Any]) -> EmbconvError:
    """The same error in another process."""
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(facts)
    return error


def bare(error: EmbconvError) -> EmbconvError:
    """The error without the way it came, which leads to all that was at work there and would hold it as long as the error is held."""
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return error


class FileError(EmbconvError):
    """Something about the input file, named by `name`."""

    def __init__(self, name: str, says: str, hint: str = "") -> None:
        super().__init__(f"{quoted(name)} {says}", hint)
        self.name = name


class UnreadableFile(FileError):
    """The bytes are damaged or contradict themselves."""

    code = "unreadable_file"

    def __init__(self, name: str, why: str, hint: str = "") -> None:
        super().__init__(name, f"cannot be read: {printable(why)}.", hint or "Get the file again from where it came.")
        self.why = why


class UnsafePickle(FileError):
    """A pickle asks for a global, or uses an opcode, that no embedding needs. Nothing of it was run."""

    code = "unsafe_pickle"

    def __init__(self, name: str, wanted: str, *, opcode: str, position: int, mapped: str = "") -> None:
        alias = f" (in Python 3: {printable(mapped)})" if mapped and mapped != wanted else ""
        super().__init__(
            name,
            f"asks for {printable(wanted)}{alias} by {opcode} at byte {position} of its pickle. embconv did not run it.",
            "Only tensors and plain values are allowed in an embedding. Show the details: embconv inspect --pickle FILE",
        )
        self.wanted, self.mapped, self.opcode, self.position = wanted, mapped or wanted, opcode, position


class TooLarge(FileError):
    """The file passes a limit."""

    code = "too_large"

    def __init__(self, name: str, what: str, actual: int, limit: int) -> None:
        super().__init__(name, f"has {actual:,} {what}; at most {limit:,} are read.", "No embedding is that large.")
        self.actual, self.limit = actual, limit


class NotAnEmbedding(FileError):
    """The file is something else, and `what` says what."""

    code = "not_an_embedding"

    def __init__(self, name: str, what: str, hint: str = "") -> None:
        super().__init__(name, f"is not an embedding: it is {printable(what)}.", hint)
        self.what = what


class UnknownLayout(FileError):
    """Tensors are there, but in no arrangement that is known."""

    code = "unknown_layout"

    def __init__(self, name: str, found: str) -> None:
        super().__init__(
            name,
            f"holds tensors in no known arrangement: {printable(found)}.",
            "If it is an embedding, please report which program wrote it.",
        )


class SeveralEmbeddings(FileError):
    """One embedding was wanted and the file holds `names`."""

    code = "several_embeddings"

    def __init__(self, name: str, names: list[str]) -> None:
        shown = ", ".join(quoted(n) for n in names[:8]) + (", ..." if len(names) > 8 else "")
        super().__init__(
            name,
            f"holds {len(names)} embeddings: {shown}.",
            "Take one with --pick NAME, or write each to its own file with --split.",
        )
        self.names = names


class EmbeddingError(EmbconvError):
    """Something about one embedding."""


class BaseMismatch(EmbeddingError):
    """The embedding is for other text encoders than were asked for."""

    code = "base_mismatch"


class MislabelledKey(EmbeddingError):
    """The width under a key is not that encoder's."""

    code = "mislabelled_key"


class NotFinite(EmbeddingError):
    """Some numbers are NaN or infinity."""

    code = "not_finite"


class CannotHold(EmbeddingError):
    """The wanted container, layout or program cannot carry this embedding."""

    code = "cannot_hold"


class WriteError(EmbconvError):
    """Something about the output."""


class TargetExists(WriteError):
    """The output is there already and --force was not given."""

    code = "target_exists"

    def __init__(self, path: str) -> None:
        super().__init__(f"{quoted(path)} exists already.", "Overwrite it with --force, or name another file.")


class CannotWrite(WriteError):
    """The operating system did not let us write."""

    code = "cannot_write"

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{quoted(path)} cannot be written: {printable(why)}.", "Check the folder, its rights and the free space.")


class NotEqual(WriteError):
    """The file just written does not read back equal; it was thrown away."""

    code = "not_equal"

    def __init__(self, path: str, why: str) -> None:
        says = f"{quoted(path)} does not read back equal ({printable(why)}); it was not kept."
        super().__init__(says, "Please report this with the input file.")
