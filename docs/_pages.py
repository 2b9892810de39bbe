"""What cog puts into these pages: tables made from the code's own tables, and sessions that really ran."""

from __future__ import annotations

import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import _samples
import msgspec
from msgspec.structs import replace

from embconv.converters import limits as limits_module
from embconv.converters.check import RULES
from embconv.converters.containers import CONTAINERS, image, machine, png, safetensors, zip_reader
from embconv.converters.encoders import BASES, ENCODERS
from embconv.converters.errors import EmbconvError
from embconv.converters.folders import CannotRead
from embconv.converters.layouts import LAYOUTS, Layout
from embconv.converters.names import LAYOUT_KEYS
from embconv.converters.targets import TARGETS, Form, Plan, Target, UnknownTarget
from embconv.converters.write import CONTAINERS as WRITTEN
from embconv.registry.errors import RegistryError
from embconv.registry.folder_layouts import FOLDER_LAYOUTS, FolderLayout
from embconv.registry.problems import STATUS
from embconv.registry.routes import ROUTES
from embconv.registry.sidecar_files import WRITERS

DAY = "2026-11-26"  # what stands in the pages for the day of a session, so that they are the same on any other
URL = "http://127.0.0.1:8765"
EMBCONV = Path(sys.executable).with_name("embconv")
ROOT = Path(__file__).parent.parent
# A session need not be polite to itself, and gets its files in one order.
MORE = {"embconv sync civitai": " --rate 0 --downloads 1", "embconv identify": " --rate 0", "embconv previews": " --rate 0"}


# ---- sessions ----


class Folder:
    """A folder of samples in which the lines of one page run one after the other; each is `$ embconv ...` or `$ ls`."""

    def __init__(self, *names: str, inside: str = "") -> None:
        self.path, self.home = (Path(tempfile.mkdtemp(prefix=f"embconv-{what}-")) for what in ("docs", "home"))
        for path in (self.path, self.home):
            weakref.finalize(self, shutil.rmtree, path, ignore_errors=True)
        _samples.write(self.path / inside, *names)
        self.more: dict[str, str] = {}

    def show(self, *lines: str, only: int = 0) -> str:
        """The lines with what they answer, as a block; `only` cuts each answer to so many lines."""
        parts = [f"$ {line}\n{shortened(self.run(line), only)}" for line in lines]
        return block("console", "\n".join(parts))

    def document(self, line: str) -> str:
        """The JSON that a line answers, as a block."""
        return block("json", self.run(line))

    def run(self, line: str) -> str:
        """The answer on both streams, as a terminal of 100 columns would show it."""
        command, *arguments = shlex.split(line)
        if command == "ls":
            found = sorted(path.name + ("/" if path.is_dir() else "") for path in (self.path / "".join(arguments)).iterdir())
            return "  ".join(found) + "\n"
        assert command == "embconv", line
        done = subprocess.run(
            [EMBCONV, *arguments], cwd=self.path, env=environment() | {"EMBCONV_HOME": str(self.home)} | self.more,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, text=True, timeout=60,
        )  # fmt: skip
        return steady(done.stdout)

    def at_civitai(self, *lines: str) -> str:
        """`show` with a small imitation of Civitai, the one of the tests, in the place of civitai.com."""
        command = [sys.executable, str(ROOT / "tests" / "fakes" / "civitai.py"), "--models", "4", "--plain", "--seed", "5"]
        with subprocess.Popen(command, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as civitai:
            assert civitai.stdout is not None
            address = msgspec.json.decode(civitai.stdout.readline())["api"]
            self.more = {"EMBCONV_CIVITAI_URL": address, "EMBCONV_ALLOW_PRIVATE": "1"}
            try:
                asked = {line: next((more for asks, more in MORE.items() if line.startswith(asks)), "") for line in lines}
                parts = [f"$ {line}\n{self.run(line + asked[line])}" for line in lines]
            finally:
                civitai.terminate()
        return block("console", "\n".join(parts).replace(address.partition("//")[2], "civitai.com"))

    def served(self, *lines: str) -> str:
        """`show` while the registry of this folder is served at URL, by which the lines call it."""
        command = [EMBCONV, "serve", "--port", "0", "--log-level", "error", "--home", str(self.home)]
        with subprocess.Popen(command, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            address = server.stdout.readline().split()[1]
            try:
                parts = [f"$ {line}\n{self.run(line.replace(URL, address)).replace(address, URL)}" for line in lines]
            finally:
                server.terminate()
        return block("console", "\n".join(parts))


def steady(text: str) -> str:
    """An answer as it would be on any day: times and keys are made the same."""
    text = text.replace(datetime.now(UTC).date().isoformat(), DAY)
    text = re.sub(rf"{DAY}T\d\d:\d\d:\d\d\.\d\d\dZ", f"{DAY}T12:00:00.000Z", text)
    return re.sub(r"\bembconv_[\w-]{43}", "embconv_Xq3v...", text)


def environment() -> dict[str, str]:
    """What a command may depend on, the same on each machine."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "SYSTEMROOT", "HOME", "LD_LIBRARY_PATH")}
    return {**kept, "COLUMNS": "100", "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}


def shortened(text: str, most: int) -> str:
    """The first lines of a text."""
    lines = text.splitlines(keepends=True)
    return text if not most or len(lines) <= most else "".join([*lines[:most], "...\n"])


def block(kind: str, text: str) -> str:
    """A fenced block."""
    return "\n".join([f"```{kind}", text.rstrip("\n"), "```"])


def help_of(*command: str) -> str:
    """The --help of a command."""
    with tempfile.TemporaryDirectory() as home:
        arguments = [EMBCONV, *command, "--help"]
        done = subprocess.run(arguments, cwd=home, env=environment(), check=True, capture_output=True, text=True, timeout=60)
    return block("text", done.stdout)


# ---- tables ----


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table."""
    names = list(head)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (names, ["---"] * len(names), *rows))


def plain(text: str) -> str:
    """Text that means nothing to Markdown; what stands between backticks is code already."""
    parts = text.split("`")
    escaped = [re.sub(r"[*|]", r"\\\g<0>", part).replace("<", "&lt;") if place % 2 == 0 else part for place, part in enumerate(parts)]
    return "`".join(escaped)


def code(words: Iterable[str]) -> str:
    """Words as code, with commas."""
    return ", ".join(f"`{word}`" for word in words)


def layouts() -> str:
    """Every layout."""
    return table(
        ("layout", "what it is", "keys", "written by", "embconv writes it"),
        (
            (f"`{one.name}`", *map(plain, (one.title, one.keys, one.written_by)), written(one))
            for one in LAYOUTS
        ),
    )


def written(one: Layout) -> str:
    """Does embconv write it?"""
    return "refused" if one.refusal else "yes" if one.write else "no"


def containers() -> str:
    """Every container, and the suffixes under which embconv writes it."""
    suffixes = {container: [suffix for suffix, name in WRITTEN.items() if name == container] for container in WRITTEN.values()}
    return table(
        ("container", "what it is", "embconv writes it to"),
        ((f"`{one.name}`", one.title, code(suffixes.get("png" if one.name == "image" else one.name, ())) or "no") for one in CONTAINERS),
    )


def encoders() -> str:
    """Every text encoder."""
    return table(
        ("encoder", "what it is", "width", "room in a prompt", "keys in files"),
        ((f"`{key}`", one.title, str(one.width), f"{one.slots - 2} vectors", code(one.keys)) for key, one in ENCODERS.items()),
    )


def bases() -> str:
    """Every base."""
    return table(
        ("base", "what it is", "text encoders", "of these an embedding may leave out"),
        ((f"`{key}`", one.title, code(one.encoders), code(one.optional)) for key, one in BASES.items()),
    )


def programs() -> str:
    """Every program in one line."""
    return table(
        ("program", "`--for`", "you write in the prompt", "you put the file in", "for"),
        (
            (one.title, f"`{one.name}`", f"`{one.prompt}`", plain(one.where), ", ".join(BASES[base].title for base in one.bases))
            for one in TARGETS
        ),
    )


def each_program() -> str:
    """A section for each program."""
    return "\n\n".join(program(one) for one in TARGETS)


def program(one: Target) -> str:
    """What is known of a program."""
    facts = {
        "name for `--for`": f"`{one.name}`",
        "version whose code was run": one.version,
        "where it reads": code([one.source]),
        "bases for which its code was run": code(base for base in one.bases if base in RUN),
        **({"bases for which its code was only read": code(read)} if (read := [base for base in one.bases if base not in RUN]) else {}),
        "trigger": plain(one.trigger),
        "in the prompt": f"`{one.prompt}`",
        "where the file goes": plain(one.where),
    }
    writes = [f"  - {plan_words(plan)}" for plan in one.writes if plan.suffix in WRITTEN]
    reads = [f"  - {label}" for label, form in FORMS if not one.reads(form)]
    lines = [f"## {one.title}", "", *(f"- {name}: {says}" for name, says in facts.items())]
    return "\n".join([*lines, "- embconv writes for it, the best first:", *writes, "- of the forms above it reads:", *reads])


RUN = ("sd1", "sd2", "sdxl")


def plan_words(plan: Plan) -> str:
    """A form that is written."""
    numbers = f", numbers as {plan.dtype}" if plan.dtype != "keep" else ""
    kind = "for SD 1.x and 2.x" if plan.encoders == "one" else "for every other base"
    return f"`{plan.suffix}` with `{plan.layout}` {kind}{numbers}"


def folder_layouts() -> str:
    """Every layout of `embconv export`."""
    return table(
        ("`--layout`", "the folder of", "you write in the prompt", "it goes by", "written beside each unasked"),
        (
            (f"`{one.name}`", one.title, f"`{one.target.prompt}`", goes_by(one), code(one.sidecars) or "nothing")
            for one in FOLDER_LAYOUTS
        ),
    )


def goes_by(one: FolderLayout) -> str:
    """What a name is in that program."""
    if one.name == "diffusers":
        return "the trigger, which is the key inside"
    return "the file's name, whatever its folder" if one.by_stem else "the path below DIR"


def sidecars() -> str:
    """Every kind of file that `embconv export` writes beside an embedding."""
    rows = [(f"`{kind}`", f"`NAME{suffix}`", (make.__doc__ or "").strip().splitlines()[0]) for kind, (suffix, make) in WRITERS.items()]
    what = "A1111's card, where the embedding came as one, else the first picture that `sync folder` or `previews` has kept."
    preview = ("`preview`", "`NAME.preview.png`", what)
    return table(("`--sidecars`", "file", "what it is"), [*rows, preview])


# ---- which program loads what ----

DICT = ("string_to_token", "string_to_param", "name", "step", "sd_checkpoint", "sd_checkpoint_name")
A1111 = Form(container="torch_zip", layout="a1111", suffix=".pt", vectors={"clip_l": (2, 768)}, keys=DICT)
PLAIN = replace(A1111, container="safetensors", suffix=".safetensors", has_token_map=False, has_name=False)
EMB = replace(PLAIN, layout="emb_params", keys=("emb_params",))
EMP = replace(PLAIN, layout="emp_params", keys=("emp_params",))
TOKEN = replace(PLAIN, layout="diffusers", keys=("<word>",))
ONE_CLIP = replace(PLAIN, layout="per_encoder", keys=("clip_l",))
SDXL = replace(ONE_CLIP, vectors={"clip_l": (2, 768), "clip_g": (2, 1280)}, keys=("clip_l", "clip_g"))
IN_ZIP = {"container": "torch_zip", "suffix": ".pt"}
# Label and form, at least one of each layout; the first group is for SD 1.x and 2.x.
FORMS: tuple[tuple[str, Form], ...] = (
    ("`a1111` .pt as torch 2.1 and newer save it", replace(A1111, minimal_zip=False)),
    ("`a1111` .pt as embconv and older torch save it", A1111),
    ("`a1111` .pt with F16 numbers", replace(A1111, dtype=("F16",))),
    ("`a1111` .png", replace(A1111, container="png", suffix=".png")),
    ("`ldm` .pt", replace(A1111, layout="ldm", keys=DICT[:2], has_name=False)),
    ("`diffusers` .bin", replace(TOKEN, container="torch_zip", suffix=".bin")),
    ("`diffusers` .bin with one flat vector", replace(TOKEN, container="torch_zip", suffix=".bin", ndim=1, vectors={"clip_l": (1, 768)})),
    ("`diffusers` .safetensors", TOKEN),
    ("`emb_params` .safetensors", EMB),
    ("`emb_params` .safetensors with F16 or BF16 numbers", replace(EMB, dtype=("F16",))),
    ("`emb_params` .pt", replace(EMB, **IN_ZIP)),
    ("`emp_params` .safetensors", EMP),
    ("`emp_params` with `emp_params_out`", replace(EMP, keys=("emp_params", "emp_params_out"), output_vectors=True)),
    ("`per_encoder` .safetensors with `clip_l` alone", ONE_CLIP),
    ("`per_encoder` .safetensors for SDXL", SDXL),
    ("`per_encoder` .pt for SDXL", replace(SDXL, **IN_ZIP)),
    ("`per_encoder` for SDXL, other numbers of vectors in each", replace(SDXL, vectors={"clip_l": (2, 768), "clip_g": (3, 1280)})),
    ("`pti` renamed to .safetensors", replace(SDXL, layout="pti", keys=("text_encoders_0", "text_encoders_1"))),
    ("`emb_emb2` .pt", replace(SDXL, layout="emb_emb2", keys=("emb", "emb2"), **IN_ZIP)),
    ("`safelora`", replace(PLAIN, layout="safelora", keys=("<word>", "unet:0:up"))),
    ("`bundle_emb` among the embeddings", replace(PLAIN, layout="bundle_emb", keys=("bundle_emb.word.string_to_param.*",))),
    ("`bare_tensor` .pt", replace(PLAIN, layout="bare_tensor", **IN_ZIP)),
    ("`list_of_dicts` .pt", replace(PLAIN, layout="list_of_dicts", embeddings=2, **IN_ZIP)),
    ("`custom_diffusion` .bin", replace(PLAIN, layout="custom_diffusion", container="torch_zip", suffix=".bin")),
    ("`xti` .safetensors", replace(PLAIN, layout="xti", keys=("IN01",))),
)  # fmt: skip


def answer(one: Target, form: Form) -> str:
    """yes, wrong (it loads other numbers than the file has) or a dash."""
    says = one.reads(form)
    return "yes" if not says else "wrong" if says.startswith("loads, but") else "-"


def matrix() -> str:
    """Form by program."""
    return table(("", *(one.name for one in TARGETS)), ((label, *(answer(one, form) for one in TARGETS)) for label, form in FORMS))


# ---- errors and findings ----

FOUND_ELSEWHERE = (CannotRead, UnknownTarget)  # error classes outside errors.py, imported so that the tree has them
ADVICE = {
    "missing_extra": "`pip install 'embconv[render]'` brings torch, diffusers and transformers.",
    "bad_checkpoint": "The sentence says what is there instead. A whole model is wanted, not a LoRA, a VAE or a UNet alone.",
    "pickle_checkpoint": "The hint is a command that writes the same weights as .safetensors; run it where you would load the file anyway.",
    "unsound_checkpoint": "Look at the pictures of `embconv checkpoints check`: noise means a wrong prediction type, black a broken VAE.",
    "unknown_checkpoint": "`embconv checkpoints list` shows those that are known.",
    "checkpoint_exists": "Choose another name, or `--force`. Verdicts stay with the weights that gave them.",
    "no_checkpoint": "`embconv checkpoints add PATH` on the machine of the registry, or `--checkpoint BASE=PATH`.",
    "cannot_render": "SD 1.x, SD 2.x and SDXL are rendered. Others are converted, checked and kept without a verdict.",
    "no_device": "`--device cpu` works everywhere; cuda and mps need torch built for them.",
    "device_full": "Free memory, a smaller `--size`, or another device.",
    "device_failed": "Run it again. If it comes back, the driver's log says more.",
    "unknown_render": "Ask for the embedding's renders again; a newer verdict may have replaced them.",
    "too_many_waiting": "Run `embconv worker` beside the server, or wait until the one that runs has done some.",
    "unknown_validation": "Check the number; validations are numbered as they are asked for.",
    "unreadable_file": "Check the path. Where the file itself is damaged get it again from where it came.",
    "unsafe_pickle": "Load it nowhere. `embconv inspect --pickle FILE` shows what it asks for; tell whoever offers it.",
    "too_large": "No embedding is that large. If you have one that is, please report it: the limits are in `converters/limits.py`.",
    "not_an_embedding": "The sentence says what the file is instead and where it belongs. There is nothing to convert.",
    "unknown_layout": "If it is an embedding, please report which program wrote it, with the error's sentence.",
    "several_embeddings": "Choose one with `--pick NAME`, or write each to a file of its own with `--split`.",
    "base_mismatch": "Use it with the model family it was trained for. Vectors for one text encoder mean nothing to another.",
    "mislabelled_key": "`embconv repair FILE OUT` writes the same vectors under the right key.",
    "not_finite": "`embconv repair FILE OUT --drop-bad-rows` leaves the bad vectors out; or take an earlier step of the training.",
    "cannot_hold": "Choose another kind of file, program or dtype; the sentence names one that works.",
    "target_exists": "Name another file, or overwrite with `--force`. A file that already holds these vectors in this form is no obstacle.",
    "cannot_write": "Check that the folder exists, its rights and the free space.",
    "not_equal": "Nothing was kept. This is a fault of embconv or of the disk: please report it with the input file.",
    "unknown_target": "Choose one of the programs it lists; [targets.md](targets.md) describes them.",
    "unknown_reference": "Look for it with `embconv search WORDS`; any hash of one of its files will do as well.",
    "ambiguous_reference": "Give more of the digest; the sentence names those that answer.",
    "unknown_hash": "`embconv hash FILE` prints every hash of a file you have.",
    "unknown_file": "`embconv show REF` lists the files of an embedding with their sha256.",
    "gone": "Add the file again to bring it back; the sentence says when it was removed, and why.",
    "blocked": "It was removed for good. An admin's key can let it in: `?unblock=true`.",
    "unknown_parameter": "Use the parameter that the hint names. Nothing is ever passed over in silence.",
    "bad_parameter": "The sentence says what is expected; the hint names the nearest right value.",
    "bad_upload": "Send one file as the part `file` of a form: `curl -F file=@style.pt URL/v1/embeddings`.",
    "not_multipart": "Send the file as a form, `multipart/form-data`.",
    "body_too_large": "No embedding is that large. The operator sets the limit with `--max-upload`.",
    "key_needed": "Send `Authorization: Bearer KEY`. A key is made with `embconv keys create NAME --role write`.",
    "forbidden": "Ask the operator for a key whose role includes this.",
    "host_not_allowed": "Call the registry by a name it knows; the operator adds one with `--allowed-host NAME`.",
    "origin_not_allowed": "Pages of other sites may change nothing here. Use a program, or a page of the registry.",
    "unknown_key": "`embconv keys list` shows them all.",
    "key_exists": "Choose another name. A revoked key keeps its name, so that logs stay clear.",
    "unreachable": "Check the URL and that the registry runs: `curl URL/health`.",
    "remote_error": "Something answered that is no registry: check the URL, and what stands before the registry.",
    "civitai_unreachable": "Try again later: what was done is kept. `--api URL` names another Civitai, or a mirror.",
    "civitai_busy": "Wait as long as it says, then run the same command again; a lower `--rate` helps.",
    "civitai_unclear": "Look at the address in a browser. If Civitai has changed, a newer embconv may know how.",
    "region_blocked": "Civitai answers nobody from there. A mirror may: `--api URL`.",
    "bad_token": "Make a token in your account's settings at Civitai and set `EMBCONV_CIVITAI_TOKEN`, or go without.",
    "address_refused": "Only https on the public network is asked. For a server of your own set `EMBCONV_ALLOW_PRIVATE=1`.",
    "not_taken": "Nothing has to be done: the file is passed over, and tried again when that may help.",
    "fetch_failed": "Run the same command again; the sentence says what came in place of the file.",
    "not_a_picture": "Only PNG, JPEG, WebP and AVIF of at most 24 million pixels become previews.",
    "unknown_sync": "`GET /v1/syncs` lists them all.",
    "sync_runs": "Wait until it has ended, or cancel it: `POST /v1/syncs/NUMBER/cancel`.",
    "stopped": "Run the same command again; it goes on where it was.",
    "no_store": "Add a first file with `embconv add`, or name the folder with `--home` or `EMBCONV_HOME`.",
    "busy": "Try again; another program was writing for very long.",
    "storage_full": "Free space on the registry's disk. Nothing was kept of what was refused, and nothing else was lost.",
    "storage_failed": "Look at the registry's disk and its rights, then run `embconv verify`.",
    "unknown_route": "The routes are in [http.md](http.md) and at `/schema`.",
    "method_not_allowed": "The hint names the methods that are possible there.",
    "bad_request": "The sentence says what was wrong with the body or the request.",
    "not_json": "Send `Content-Type: application/json`.",
    "too_slow": "Send it again over a better line; half a minute without a byte is taken for the end.",
    "bad_range": "Ask for a part that the file has, or for all of it.",
    "internal_error": "A mistake of embconv: please report it with the request's id and what the log says of it.",
    "error": "Anything else; the sentence says what.",
}


def error_classes(root: type[EmbconvError] = EmbconvError) -> Iterator[type[EmbconvError]]:
    """Every error with a code of its own, in the order of the tree."""
    for one in (root, *root.__subclasses__()):
        if one is not root:
            yield from error_classes(one)
        elif "code" in vars(one):
            yield one


def codes() -> dict[str, str]:
    """Code -> what it means; a code that several classes share has all their meanings."""
    found: dict[str, str] = {}
    for one in error_classes():
        means = (one.__doc__ or "").strip().splitlines()[0]
        found[one.code] = f"{found[one.code]} {means}" if one.code in found else means
    del found["error"]  # the root
    return {**found, "error": "Anything without a code of its own."}


def error_table() -> str:
    """Every code of the converter."""
    ours = registry_codes()
    rows = ((f"`{name}`", means, ADVICE[name]) for name, means in codes().items() if name not in ours)
    return table(("code", "what it means", "what to do"), rows)


def registry_error_table() -> str:
    """Every code of the registry, with its status over HTTP."""
    status = {one.code: str(STATUS[one]) for one in error_classes(RegistryError) if one in STATUS}
    rows = ((f"`{name}`", status.get(name, ""), means, ADVICE[name]) for name, means in codes().items() if name in registry_codes())
    return table(("code", "HTTP", "what it means", "what to do"), rows)


def routes() -> str:
    """Every route of the service."""
    operations = sorted((handler.opt["operation"] for handler in ROUTES), key=lambda one: (one.path, one.method))
    rows = ((f"`{one.method} {one.path}`", one.summary, one.role or "nobody's") for one in operations)
    return table(("route", "what it does", "key, where one is needed"), rows)


def registry_codes() -> set[str]:
    """The codes that only a registry gives."""
    return {one.code for one in error_classes(RegistryError)}


def rules() -> Iterator[tuple[str, str, str]]:
    """Rule, severity and what should hold, for each finding that some rule of check makes."""
    for rule in RULES:
        for name, severity in dict.fromkeys(re.findall(r'Finding\(\s*"(\w+)", (\w+),', inspect.getsource(rule))):
            yield name, severity.lower(), (rule.__doc__ or "").strip()


def findings() -> str:
    """Every finding."""
    rest = [("form", "error", "The program that was asked for loads the file as it is (`embconv check --for` only).")]
    return table(("rule", "severity", "what should hold"), ((f"`{name}`", severity, says) for name, severity, says in [*rules(), *rest]))


def layout_keys() -> str:
    """The keys that say nothing of the trigger."""
    return f"{code(sorted(LAYOUT_KEYS))}."


def limits() -> str:
    """Every number no input may pass, with its reason."""
    found = [row for module, *names in ((limits_module,), *MORE_LIMITS) for row in limits_of(module, names)]
    return table(("limit", "value", "of what, and why"), found)


# Those that only one module asks for stand there.
MORE_LIMITS = (
    (machine, "COPIED", "MEMORY"), (zip_reader, "DIRECTORY"), (safetensors, "BRACKETS", "COMMAS"), (png, "CHUNKS"),
    (image, "BRACKETS", "NUMBERS", "PICTURE_BYTES"),
)  # fmt: skip


def limits_of(module: ModuleType, names: list[str]) -> Iterator[tuple[str, str, str]]:
    """The limits of a module, all or those named, each with what its comment says."""
    said = dict(re.findall(r"^([A-Z_]+) = [^#\n]*(?:# (.*))?$", inspect.getsource(module), re.MULTILINE))
    where = f"{module.__name__.rpartition('.')[2]}." if names else ""
    for name in names or [name for name in said if name != "MIB"]:
        yield f"`{where}{name}`", f"{getattr(module, name):,}", plain(said[name])


# ---- test renders ----


def verdict_numbers() -> str:
    """Every number of a verdict."""
    from embconv.registry.validation.measure import NUMBERS

    return table(("number", "what it is"), ((f"`{name}`", means) for name, means in NUMBERS.items()))


def selftest_numbers() -> str:
    """Every number of a checkpoint's own test."""
    from embconv.registry.validation.selftest import NUMBERS

    return table(("number", "what it is"), ((f"`{name}`", means) for name, means in NUMBERS.items()))


def bars() -> str:
    """From where on a change counts."""
    from embconv.registry.validation.decide import BARS

    word = "of the median word"
    rows = ((f"`{bar.number}`", f"{bar.nothing_of:g} {word}", f"{bar.weak_of:g} {word}", f"{bar.nothing:g}, {bar.weak:g}") for bar in BARS)
    return table(("number", "up to this: `no_effect`", "below this: `weak`", "both where nothing can be calibrated"), rows)


def render_findings() -> str:
    """Every remark on what was rendered."""
    from embconv.registry.validation import remarks, static

    found: dict[str, tuple[str, str]] = {}
    for rule in (*(rule for _, rule in static.SETTLING), *static.REMARKS, *remarks.RULES):
        for name, severity in re.findall(r'Finding\(\s*"(\w+)", "(\w+)"', inspect.getsource(rule)):
            found.setdefault(name, (severity, plain((rule.__doc__ or "").strip())))
    return table(("rule", "severity", "what should hold"), ((f"`{name}`", *said) for name, said in found.items()))


def protocols() -> str:
    """The profiles, for a checkpoint of 512 and one of 1024 pixels."""
    from embconv.registry.verdicts import PROFILES, protocol_for

    made = [protocol_for(base, size, name=name) for name in PROFILES for base, size in (("sd1", 512), ("sdxl", 1024))]
    rows = ((f"`{one.name}`", BASES[one.base].title, f"{one.width} x {one.height}", str(one.steps) if one.seeds else "none",
             ", ".join(map(str, one.seeds)) or "none", one.emphasis) for one in made)  # fmt: skip
    return table(("profile", "base", "pixels", "steps", "seeds", "emphasis"), rows)
