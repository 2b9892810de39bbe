"""AUTOMATIC1111's web UI."""

from __future__ import annotations

from . import plans, rules
from .target import Form, Target

BASES = ("sd1", "sd2", "sdxl")
IMAGES = ("png", "webp", "jxl", "avif")
SUFFIXES = {**rules.USUAL, **{f".{kind}": (kind,) for kind in IMAGES}}
LAYOUTS = ("a1111", "ldm", *rules.ONE_TENSOR)


def reads(form: Form) -> str:
    """Whether the file gets past its check of pickles, and then what `data_reads` says."""
    return rules.first_of(rules.opened(form, SUFFIXES, any_case=True), _checked_pickle(form), data_reads(form, BASES))


def data_reads(form: Form, bases: tuple[str, ...]) -> str:
    """What create_embedding_from_data makes of it; Forge has the same."""
    return rules.first_of(
        rules.opened(form, SUFFIXES, any_case=True),
        rules.arranged(form, LAYOUTS),
        rules.one_embedding(form),
        rules.one_file(form),
        rules.xl_keys(form),
        rules.one_key(form),
        rules.fits(form, bases),
        rules.rank(form, (2,) if form.layout in ("a1111", "ldm") else (1, 2)),
        rules.equal_counts(form),
    )


def _checked_pickle(form: Form) -> str:
    if form.container == "torch_zip" and not form.minimal_zip:
        # safe.py check_zip_filenames: names that torch >= 2.1 adds are refused, by 1.10 those of torch 2.13
        return "needs a torch zip of only data.pkl, data/N and version, or a .safetensors file"
    if form.container == "torch_legacy" and form.layout == "ldm":
        # safe.py persistent_load asserts that every saved id is a storage
        return "needs plain tensors in an old torch file, such as the a1111 dict, and this one holds a module"
    # safe.py allows it, and then rebuilds the tensor on 'mps:0'
    return rules.plain_numbers(form) and "needs plain tensors in a pickle: vectors carried by numpy load only on a machine with MPS"


TARGET = Target(
    name="a1111",
    title="AUTOMATIC1111 web UI",
    version="1.10.1",
    source="modules/textual_inversion/textual_inversion.py: load_from_file, create_embedding_from_data; modules/safe.py",
    trigger="The file's stem, in any case; for an image the name inside it.",
    prompt="NAME",
    where="embeddings/",
    bases=BASES,
    writes=(plans.A1111_PT, plans.EMB_PARAMS, plans.A1111_BIN, plans.A1111_PNG, plans.PER_ENCODER, plans.PER_ENCODER_PT),
    reads=reads,
)
