"""What is wrong with an embedding: every finding at once, each from one small rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from .bases import described
from .display import quoted
from .encoders import ENCODERS, encoder_of, fits, needs
from .model import Embedding, Finding, Tensor
from .names import GENERIC_STEM, LAYOUT_KEYS, safe_stem, trigger_of
from .numbers import all_finite, norms, rows
from .targets import Target, refusal
from .words import ORDINARY

ERROR, WARNING, NOTE = "error", "warning", "note"
FAR = 10.0  # times beyond the vocabulary's usual norms


Lengths = Callable[[Tensor], Sequence[float]]


class Asked(Struct, frozen=True):
    """What the embedding is wanted for: a base, a program, both or neither; and how the lengths of vectors are computed."""

    base: str | None = None
    target: Target | None = None
    lengths: Lengths = norms


ANYTHING = Asked()


def check(embedding: Embedding, *, base: str | None = None, target: Target | None = None, lengths: Lengths = norms) -> list[Finding]:
    """Every finding about `embedding`, and about its use with `base` or `target` where those are given.

    `lengths` gives the Euclidean length of each vector, for callers that have a faster way than `norms`.
    """
    asked = Asked(base, target, once(lengths))
    return [finding for rule in RULES for finding in rule(embedding, asked)]


def once(lengths: Lengths) -> Lengths:
    """The same, computed once for each tensor."""
    found: dict[int, Sequence[float]] = {}

    def of(tensor: Tensor) -> Sequence[float]:
        if id(tensor) not in found:
            found[id(tensor)] = lengths(tensor)
        return found[id(tensor)]

    return of


def width(embedding: Embedding, asked: Asked = ANYTHING) -> Iterator[Finding]:
    """Every tensor is as wide as some text encoder."""
    for key, tensor in embedding.vectors.items():
        encoder = ENCODERS.get(key)
        if encoder is None:
            known = ", ".join(sorted({str(each.width) for each in ENCODERS.values()}, key=int))
            yield Finding("width", ERROR, key, f"The vectors are {tensor.shape[1]} wide; no text encoder known here is ({known} are).")
        elif encoder.width != tensor.shape[1]:
            yield Finding("width", ERROR, key, f"The vectors are {tensor.shape[1]} wide; {encoder.title} needs {encoder.width}.")


def empty(embedding: Embedding, asked: Asked = ANYTHING) -> Iterator[Finding]:
    """There are vectors for the encoder's input."""
    if not embedding.vectors:
        yield Finding("empty", ERROR, "vectors", "Only output vectors are here; no program but OneTrainer can use them.")


def mislabelled_key(embedding: Embedding, asked: Asked = ANYTHING) -> Iterator[Finding]:
    """Every key agrees with the width under it."""
    for encoder, key in embedding.keys.items():
        home = embedding.output_vectors if encoder.endswith("_out") else embedding.vectors
        tensor = home.get(encoder.removesuffix("_out"))
        if tensor is not None and not encoder_of(key.removesuffix("_out"), tensor.shape[1])[1]:
            says = f'The key "{key}" has {tensor.shape[1]}-wide data, which is {encoder.removesuffix("_out")}: a known OneTrainer fault.'
            yield Finding("mislabelled_key", ERROR, key, says)


def fits_base(embedding: Embedding, asked: Asked = ANYTHING) -> Iterator[Finding]:
    """The encoders are those of the base that was asked for."""
    if asked.base and not fits(asked.base, set(embedding.vectors)):
        yield Finding("base_mismatch", ERROR, "base", f"It {mismatch(embedding, asked.base)}")


def mismatch(embedding: Embedding, base: str) -> str:
    """Why the embedding does not serve `base`, with what is given and what is wanted."""
    return f"is for {described(embedding)}; {base} needs {needs(base)}. It cannot be carried over."


def fits_target(embedding: Embedding, asked: Asked = ANYTHING) -> Iterator[Finding]:
    """The program that was asked for has some form in which it loads this."""
    if asked.target is None:
        return
    says, hint = refusal(asked.target, sizes(embedding), stem(embedding))
    if says:
        yield Finding("target", ERROR, asked.target.name, f"{says} {hint}".strip())


def sizes(embedding: Embedding) -> dict[str, tuple[int, int]]:
    """Encoder -> (n, width)."""
    return {key: (tensor.shape[0], tensor.shape[1]) for key, tensor in embedding.vectors.items()}


def stem(embedding: Embedding) -> str:
    """What the file would be called: its stem, else the trigger."""
    return embedding.names.file_stem or trigger_of(embedding.names)


def claimed_base(embedding: Embedding, asked: Asked = ANYTHING) -> Iterator[Finding]:
    """Headers and sidecars do not contradict the widths."""
    for hint in embedding.hints:
        if hint.base and not fits(hint.base, set(embedding.vectors)):
            says = f"{hint.source} says {hint.base_text}, which needs {needs(hint.base)}; the vectors are for {described(embedding)}."
            yield Finding("claimed_base", WARNING, hint.source, says)


def unequal_vectors(embedding: Embedding, asked: Asked = ANYTHING) -> Iterator[Finding]:
    """Every encoder has as many vectors."""
    counts = {key: tensor.shape[0] for key, tensor in embedding.vectors.items()}
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{key} {n}" for key, n in counts.items())
        says = f"The encoders have different numbers of vectors ({shown}); A1111, Forge, kohya and SD.Next misread that."
        yield Finding("unequal_vectors", WARNING, "vectors", says)


def too_many_vectors(embedding: Embedding, asked: Asked = ANYTHING) -> Iterator[Finding]:
    """The vectors fit one prompt chunk."""
    for key, tensor in embedding.vectors.items():
        room = ENCODERS[key].slots - 2 if key in ENCODERS else 75
        if tensor.shape[0] > room:
            says = f"{tensor.shape[0]} vectors; a prompt chunk of this encoder has room for {room}."
            yield Finding("too_many_vectors", WARNING, key, says)


def finite(embedding: Embedding, asked: Asked = ANYTHING) -> Iterator[Finding]:
    """Every number is a number."""
    for key, tensor in named_tensors(embedding):
        if not all_finite(tensor):
            bad = bad_rows(tensor)
            yield Finding("not_finite", ERROR, key, f"NaN or infinity in {listed(bad)}.")


def named_tensors(embedding: Embedding) -> Iterator[tuple[str, Tensor]]:
    """Input and output vectors alike."""
    yield from embedding.vectors.items()
    yield from ((f"{key}_out", tensor) for key, tensor in embedding.output_vectors.items())


def bad_rows(tensor: Tensor) -> list[int]:
    """The rows in which some number is NaN or infinity."""
    from math import isfinite

    return [place for place, norm in enumerate(norms(tensor)) if not isfinite(norm)]


def listed(places: list[int]) -> str:
    """`vector 1`, `vectors 1, 2, 3`; people count from one."""
    shown = ", ".join(str(place + 1) for place in places[:8]) + (f" and {len(places) - 8:,} more" if len(places) > 8 else "")
    return f"vector{'' if len(places) == 1 else 's'} {shown}"


def zero_rows(embedding: Embedding, asked: Asked = ANYTHING) -> Iterator[Finding]:
    """No vector is all zero; where all of one encoder are, another base was dressed up."""
    for key, tensor in named_tensors(embedding):
        zero = [place for place, length in enumerate(asked.lengths(tensor)) if length == 0]
        if len(zero) == tensor.shape[0] and key == "clip_g" and "clip_l" in embedding.vectors:
            says = "All of clip_g is zero: an SD 1.x embedding dressed as SDXL. Only its CLIP-L half does anything."
            yield Finding("zeroed_clip_g", WARNING, key, says)
        elif zero:
            yield Finding("zero_rows", WARNING, key, f"All-zero {listed(zero)}: nothing was learned there.")


def duplicate_rows(embedding: Embedding, asked: Asked = ANYTHING) -> Iterator[Finding]:
    """No vector stands twice."""
    for key, tensor in named_tensors(embedding):
        seen: set[bytes] = set()
        twice = []
        for place, row in enumerate(rows(tensor)):
            if row in seen and any(row):
                twice.append(place)
            seen.add(row)
        if twice:
            yield Finding("duplicate_rows", WARNING, key, f"The same numbers as an earlier one: {listed(twice)}.")


def norm(embedding: Embedding, asked: Asked = ANYTHING) -> Iterator[Finding]:
    """The vectors are about as long as the vocabulary's; information, for many good embeddings are not."""
    for key, tensor in embedding.vectors.items():
        usual = ENCODERS[key].norm if key in ENCODERS else None
        if usual is None or not all_finite(tensor):
            continue
        far = [place for place, n in enumerate(asked.lengths(tensor)) if n and (n > usual[1] * FAR or n < usual[0] / FAR)]
        if far:
            says = f"Far from the length of the vocabulary's words ({usual[0]} to {usual[1]}): {listed(far)}."
            yield Finding("norm", NOTE, key, f"{says} A low weight may help; it need not be wrong.")


def output_vectors(embedding: Embedding, asked: Asked = ANYTHING) -> Iterator[Finding]:
    """There is nothing that only OneTrainer understands."""
    for key in embedding.output_vectors:
        says = "Vectors for the encoder's output: no program renders with them. They are kept apart."
        yield Finding("output_vectors", WARNING, f"{key}_out", says)


def untrained(embedding: Embedding, asked: Asked = ANYTHING) -> Iterator[Finding]:
    """A1111's step counter has moved."""
    training = embedding.training
    if training and training.step == 0 and training.sd_checkpoint:
        yield Finding("untrained", NOTE, "training", "It was saved at step 0: created, perhaps never trained.")


def name_mismatch(embedding: Embedding, asked: Asked = ANYTHING) -> Iterator[Finding]:
    """All names agree with the trigger."""
    trigger, names = trigger_of(embedding.names), embedding.names
    claims = {
        "the file": names.file_stem,
        "the name inside": names.inner_name,
        "the archive's root": names.archive_root,
        "a sidecar": names.sidecar,
    }
    same = {trigger, trigger.strip("<>"), safe_stem(trigger), *LAYOUT_KEYS}
    own = f"-{safe_stem(trigger)}"  # how a file with several is split
    others = {
        where: name
        for where, name in claims.items()
        if name and name not in same and not GENERIC_STEM.fullmatch(name) and not name.endswith(own)
    }
    if others:
        shown = ", ".join(f"{where} says {quoted(name)}" for where, name in others.items())
        yield Finding("name_mismatch", WARNING, "names", f"The trigger is {quoted(trigger)}, but {shown}.")


def untypable(embedding: Embedding, asked: Asked = ANYTHING) -> Iterator[Finding]:
    """The name can be typed in every program."""
    name = stem(embedding)
    if any(c.isspace() for c in name):
        says = f"ComfyUI cannot call {quoted(name)}: its names end at white space. Give the file another name."
        yield Finding("untypable_name", WARNING, "names", says)


def ordinary_word(embedding: Embedding, asked: Asked = ANYTHING) -> Iterator[Finding]:
    """The trigger is no word that prompts hold anyway."""
    trigger = trigger_of(embedding.names)
    if trigger.strip("<>").lower() in ORDINARY:
        says = f"{quoted(trigger)} is an ordinary word: every prompt that holds it will call this embedding."
        yield Finding("ordinary_word", WARNING, "names", says)


RULES: tuple[Callable[[Embedding, Asked], Iterator[Finding]], ...] = (
    empty,
    width,
    mislabelled_key,
    fits_base,
    fits_target,
    claimed_base,
    finite,
    zero_rows,
    duplicate_rows,
    unequal_vectors,
    too_many_vectors,
    norm,
    output_vectors,
    untrained,
    name_mismatch,
    untypable,
    ordinary_word,
)
