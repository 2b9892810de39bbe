"""For which model family an embedding is: an answer with a confidence and its evidence, never a guess dressed as fact."""

from __future__ import annotations

from functools import lru_cache

from msgspec import Struct

from .display import printable
from .encoders import BASES, BY_WIDTH, ENCODERS, fits
from .model import Embedding

CONFIDENCE = ("certain", "likely", "possible")
# Programs of these layouts trained for SD 1.x and 2.x only, so one CLIP encoder is the whole embedding there.
SD_ONLY = frozenset({"a1111", "ldm", "emb_params", "emp_params"})
SHARED = {"clip_l": "sd1", "clip_h": "sd2"}


class BaseClaim(Struct, frozen=True):
    """One base it may be for: certain, likely or possible, and because of what."""

    base: str
    confidence: str
    because: str


def bases_of(embedding: Embedding) -> tuple[BaseClaim, ...]:
    """Every base whose encoders fit, the best first. Widths decide; headers, sidecars and the layout add weight."""
    training = embedding.training
    checkpoint = training.sd_checkpoint_name if training else None
    widths = tuple([(key, tensor.shape[1]) for key, tensor in embedding.vectors.items()])
    told = tuple([(hint.base, f"{hint.source} says {hint.base_text}") for hint in embedding.hints if hint.base])
    return _claims(widths, embedding.layout, checkpoint if isinstance(checkpoint, str) else "", told)


@lru_cache(maxsize=1024)  # a folder holds few kinds of embedding
def _claims(
    widths: tuple[tuple[str, int], ...], layout: str, checkpoint: str, told: tuple[tuple[str, str], ...]
) -> tuple[BaseClaim, ...]:
    encoders = {key for key, _ in widths}
    shown = " and ".join(f"{key} {width}" for key, width in widths) + (" alone" if len(widths) == 1 else " together")
    exact = [key for key in BASES if set(BASES[key].encoders) == encoders]
    looser = [key for key in BASES if key not in exact and fits(key, encoders)]
    said = dict(reversed(told))  # of two claims for one base the first is shown
    claimed = said.keys() & {*exact, *looser}
    claims = []
    for key in (*exact, *looser):
        confidence, why = ("certain", said[key]) if key in said else _confidence(key, exact, looser, widths, layout, checkpoint)
        if claimed and key not in claimed and confidence == "certain":
            confidence = "likely"  # what was told of this very file outweighs what is usual
        claims.append(BaseClaim(key, confidence, f"{shown}; {why}"))
    return tuple(sorted(claims, key=lambda claim: (CONFIDENCE.index(claim.confidence), claim.base not in claimed)))


def _confidence(
    key: str, exact: list[str], looser: list[str], widths: tuple[tuple[str, int], ...], layout: str, checkpoint: str
) -> tuple[str, str]:
    if key in looser:
        return "possible", f"{BASES[key].title} has more encoders, and an embedding may leave them out"
    if len(exact) > 1:
        others = [BASES[other].title for other in exact if other != key]
        return "possible", f"{', '.join(others)} {'has' if len(others) == 1 else 'have'} the same encoders"
    if len(widths) > 1:
        return "certain", f"only {BASES[key].title} has exactly these"
    return _alone(key, widths[0][0], layout, checkpoint)


def _alone(key: str, encoder: str, layout: str, checkpoint: str) -> tuple[str, str]:
    """How sure one encoder by itself makes a base."""
    if SHARED.get(encoder) == key and layout in SD_ONLY:
        named = f' on checkpoint "{printable(checkpoint)}"' if checkpoint else ""
        return "certain", f"programs that write {layout} trained it{named} for this encoder only"
    others = [BASES[base].title for base in BASES if base != key and encoder in BASES[base].encoders]
    twins = [ENCODERS[other].title for other in BY_WIDTH.get(ENCODERS[encoder].width, ()) if other != encoder]
    also = [*others[:4], *twins[:3]]
    return "likely", f"the same width also serves {', '.join(also)}" if also else "no other encoder is that wide"


def base_of_embedding(embedding: Embedding) -> str | None:
    """The base, where it is certain or likely; None where several are as good."""
    claims = bases_of(embedding)
    return claims[0].base if claims and claims[0].confidence != "possible" else None


def described(embedding: Embedding) -> str:
    """An embedding as a phrase: `SD 2.x (clip_h, 1024 wide, 4 vectors)`."""
    sizes = tuple([(key, tensor.shape[0], tensor.shape[1]) for key, tensor in embedding.vectors.items()])
    return _described(base_of_embedding(embedding), sizes)


@lru_cache(maxsize=1024)  # as above
def _described(base: str | None, sizes: tuple[tuple[str, int, int], ...]) -> str:
    parts = [f"{key}, {width} wide, {counted(count, 'vector')}" for key, count, width in sizes]
    return f"{BASES[base].title if base else 'an unknown base'} ({'; '.join(parts) or 'no input vectors'})"


def counted(number: int, noun: str) -> str:
    """`1 vector`, `4 vectors`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
