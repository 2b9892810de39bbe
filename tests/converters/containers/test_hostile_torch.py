"""No pickle and no torch file, however made, runs anything or takes long; each attack is named after its row in the threat list."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hostile import AMPLIFIED, GOOD, LAUGHS, RECURSION, ZIP_BOMBS, quickly, short, storage, tensor, text, with_pickle, zipped

from embconv.converters.containers import bare_pickle, torch_legacy, torch_zip
from embconv.converters.containers.explain import explain, globals_named
from embconv.converters.containers.pickles import load
from embconv.converters.errors import FileError, NotAnEmbedding, TooLarge, UnreadableFile, UnsafePickle
from embconv.converters.model import Tensor
from embconv.converters.source import Source


def refused(data: bytes, kind: type[FileError] = UnreadableFile) -> Any:
    """The error of a bare pickle."""
    return quickly(lambda: load(data, "hostile.pt"), kind)


def bad_zip(data: bytes, kind: type[FileError] = UnreadableFile) -> Any:
    """The error of reading an archive and everything in it."""

    def work() -> None:
        contents = torch_zip.read(Source(data, "hostile.pt"))
        contents.fetch(contents.outline.root)

    return quickly(work, kind)


def test_the_harmless_twin_of_the_attacks_is_read() -> None:
    contents = torch_zip.read(Source(zipped(GOOD), "good.pt"))
    assert contents.fetch(contents.outline.root) == Tensor("F32", (2,), struct.pack("<2f", 1, 2))


# P1: a list of what is bad is never complete; so everything unknown is refused, by its name.
WANTED = [
    "os.system", "posix.system", "nt.system", "subprocess.Popen", "builtins.eval", "builtins.exec", "builtins.getattr",
    "builtins.__import__", "runpy._run_code", "pip.main", "pip._internal.main", "importlib.import_module", "logging.FileHandler",
    "uuid._get_command_stdout", "imaplib.IMAP4_stream", "_osx_support._read_output", "torch.load", "torch.hub.load", "torch.jit.load",
    "torch.Tensor", "torch.storage._load_from_bytes", "numpy.load", "numpy.testing._private.utils.runstring", "numpy.f2py.compile",
    "operator.attrgetter", "functools.partial", "types.CodeType", "timeit.timeit", "cProfile.run", "pdb.run", "code.interact",
    "ctypes.CDLL", "socket.create_connection", "webbrowser.open", "shutil.rmtree", "pty.spawn",
    "asyncio.unix_events._UnixSubprocessTransport._start", "bdb.Bdb", "lib2to3.pgen2.pgen.ParserGenerator", "doctest.debug_script",
    "copyreg._reconstructor", "pickle.loads", "marshal.loads", "collections.OrderedDictX", "torch._utils._rebuild_tensor",
    "torch.FloatTensor", "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
]  # fmt: skip


@pytest.mark.parametrize("wanted", WANTED)
def test_p1_whatever_is_not_allowed_is_refused_by_name(wanted: str) -> None:
    module, _, name = wanted.rpartition(".")
    for data in (
        f"c{module}\n{name}\n(S'x'\ntR.".encode(),
        b"\x80\4" + short(module) + short(name) + b"\x93" + short("x") + b"\x85R.",
        f"(S'x'\ni{module}\n{name}\n.".encode(),
    ):
        error = refused(data, UnsafePickle)
        assert error.wanted == wanted
        assert wanted in str(error)
        assert [seen.name for seen in globals_named(Source(data)) if not seen.allowed] == [wanted]


# P2: Python 2 names of Python 3 functions.
ALIASES = {
    "commands.getoutput": "subprocess.getoutput",
    "__builtin__.eval": "builtins.eval",
    "urllib.urlretrieve": "urllib.request.urlretrieve",
    "urllib2.urlopen": "urllib.request.urlopen",
    "copy_reg._reconstructor": "copyreg._reconstructor",
    "cPickle.loads": "pickle.loads",
}


@pytest.mark.parametrize(("old", "new"), ALIASES.items(), ids=ALIASES)
def test_p2_a_python_2_name_is_told_with_its_python_3_name(old: str, new: str) -> None:
    module, _, name = old.rpartition(".")
    error = refused(f"c{module}\n{name}\n.".encode(), UnsafePickle)
    assert (error.wanted, error.mapped) == (old, new)
    assert old in str(error)
    assert new in str(error)


# P3: a dotted name walks through attributes.
@pytest.mark.parametrize(
    ("module", "name"), [("glob", "os.system"), ("torch.serialization", "os.system"), ("collections", "OrderedDict.__init__")]
)
def test_p3_a_dotted_name_is_refused(module: str, name: str) -> None:
    for data in (b"\x80\4" + short(module) + short(name) + b"\x93.", f"c{module}\n{name}\n.".encode()):
        assert f"{module}.{name}" in str(refused(data, UnsafePickle))


# P4: names by the memo, by overwriting it, by escapes, by calls.
MEMO = {
    # A09: two scanners took the first memo entry of that number, the machine takes the last
    "A09 memo alias": b"\x80\4" + short("collections") + b"q\0" + short("OrderedDict") + b"q\1" + b"00"
    + short("os") + b"q\0" + short("system") + b"q\1" + b"00" + b"h\0h\1\x93.",
    "put over memoize": b"\x80\4" + short("collections") + b"\x94" + short("os") + b"q\0" + b"00h\0" + short("system") + b"\x93.",
    "escaped in a string": b"S'\\x6fs'\nS'system'\n\x93.",
    "escaped in unicode": b"V\\u006fs\nVsystem\n\x93.",
    "duplicated": b"\x80\4" + short("os") + b"200" + short("os") + short("system") + b"\x93.",
}  # fmt: skip


@pytest.mark.parametrize("data", MEMO.values(), ids=MEMO)
def test_p4_names_are_followed_over_a_real_stack(data: bytes) -> None:
    assert refused(data, UnsafePickle).wanted == "os.system"


def test_p4_a_name_made_by_a_call_is_refused() -> None:
    made = b"c_codecs\nencode\n" + text("os") + text("latin1") + b"\x86R"
    assert "STACK_GLOBAL" in str(refused(b"\x80\4" + made + short("system") + b"\x93.", UnsafePickle))


def test_p4_the_memo_does_not_outlive_its_pickle() -> None:
    first = b"\x80\4" + short("os") + b"\x940N."
    assert load(first, "x").end == len(first)
    with pytest.raises(UnreadableFile):
        load(first + b"\x80\4h\0.", "x", start=len(first))


# P5: objects without REDUCE.
OTHER_WAYS = {
    "INST": (b"(S'x'\nios\nsystem\n.", "os.system"),
    "OBJ": (b"(ccollections\nOrderedDict\no.", "collections.OrderedDict"),
    "OBJ of a system call": (b"(cos\nsystem\nS'x'\no.", "os.system"),
    "NEWOBJ": (b"\x80\2cbuiltins\neval\n)\x81.", "builtins.eval"),
    "NEWOBJ of an allowed function": (b"\x80\2ctorch._utils\n_rebuild_tensor_v2\n)\x81.", "torch._utils._rebuild_tensor_v2"),
    "NEWOBJ_EX": (b"\x80\4ccollections\nOrderedDict\n)}\x92.", "collections.OrderedDict"),
    "EXT1": (b"\x80\2\x82\1.", "an extension registry entry"),
    "EXT2": (b"\x80\2\x83\1\0.", "an extension registry entry"),
    "EXT4": (b"\x80\2\x84\1\0\0\0.", "an extension registry entry"),
    "PERSID": (b"Pos.system\n.", "a persistent object"),
    "BINPERSID": (b"\x80\2U\1xQ.", "a persistent object"),
    "NEXT_BUFFER": (b"\x80\5\x97.", "a buffer outside the pickle"),
    "READONLY_BUFFER": (b"\x80\5N\x98.", "a buffer outside the pickle"),
    "BUILD of a class": (b"\x80\2ccollections\nOrderedDict\n}b.", "collections.OrderedDict"),
    "import only": (b"\x80\2cantigravity\nx\n0N.", "antigravity.x"),
    "a bare class": (b"\x80\2ccollections\nOrderedDict\n.", "collections.OrderedDict"),
    "a class in a list": (b"\x80\2]ctorch\nfloat32\na.", "torch.float32"),
    "a class as a key": (b"\x80\2}ctorch\nfloat32\nNs.", "torch.float32"),
}


@pytest.mark.parametrize(("data", "wanted"), OTHER_WAYS.values(), ids=OTHER_WAYS)
def test_p5_every_other_way_to_make_an_object_is_refused(data: bytes, wanted: str) -> None:
    error = refused(data, UnsafePickle)
    assert error.wanted == wanted
    assert wanted in str(error)


# P6, A10: CPython's C unpickler and pickletools disagree about bytes over the end of a frame (python/cpython#154848).
def framed(length: int, body: bytes) -> bytes:
    return b"\x80\4\x95" + struct.pack("<Q", length) + body


FRAMES = {
    "an argument over the end": framed(3, short("abcdef") + b"."),
    "a length over the end": framed(1, text("abcdef") + b"."),
    "a line over the end": framed(4, b"cos\nsystem\n."),
    "a number over the end": framed(2, b"J\1\0\0\0."),
    "a frame inside a frame": framed(11, b"\x95" + struct.pack("<Q", 1) + b"N."),
    "a frame inside the last frame": framed(12, b"N0\x95" + struct.pack("<Q", 1) + b"."),
    "a frame past the file": framed(1 << 62, b"N."),
    "a frame that goes on after STOP": framed(4, b"N.N."),
}


@pytest.mark.parametrize("data", FRAMES.values(), ids=FRAMES)
def test_p6_a_straddled_frame_is_malformed(data: bytes) -> None:
    refused(data)


def test_p6_frames_as_python_writes_them_are_read() -> None:
    assert load(framed(2, b"N."), "x").root is None
    assert load(framed(1, b"N") + b".", "x").root is None
    assert load(framed(2, b"N0") + b"\x95" + struct.pack("<Q", 2) + b"N.", "x").root is None


# P7: the payload first, garbage after it.
def test_p7_what_was_asked_before_the_garbage_is_told() -> None:
    data = b"\x80\2cos\nsystem\nU\1x\x85R\xff\xff\xff"
    assert refused(data, UnsafePickle).wanted == "os.system"
    assert explain(Source(data))[-1].opcode == "(malformed)"
    assert [seen.name for seen in globals_named(Source(data))] == ["os.system"]


# P8: a pickle without a protocol number.
def test_p8_a_text_pickle_is_known_and_refused() -> None:
    data = b"cos\nsystem\n(S'x'\ntR."
    assert bare_pickle.sniff(Source(data))
    assert quickly(lambda: bare_pickle.read(Source(data)), UnsafePickle).wanted == "os.system"


# P9: every one of the five pickles of a legacy file.
@pytest.mark.parametrize("place", range(4))
def test_p9_each_pickle_of_a_legacy_file_is_under_the_same_rules(place: int) -> None:
    parts = [b"\x80\2M\xe9\3.", b"\x80\2}U\x0dlittle_endian\x88s.", b"\x80\2}.", b"\x80\2]."]
    torch_legacy.read(Source(torch_legacy.MAGIC + b"".join(parts)))
    parts[place] = b"cos\nsystem\n(S'x'\ntR."
    data = torch_legacy.MAGIC + b"".join(parts)
    error = quickly(lambda: torch_legacy.read(Source(data)), UnsafePickle)
    assert error.wanted == "os.system"
    assert data[error.position : error.position + 4] == b"cos\n"


def test_p9_a_magic_made_by_a_call_is_no_magic() -> None:
    assert not torch_legacy.sniff(Source(b"\x80\2cbuiltins\neval\nU\1x\x85R."))


# P10, B30: a pickle before the zip; zipfile opens it, torch runs the prefix.
@pytest.mark.parametrize("prefix", [b"\x80\2cos\nsystem\nU\1x\x85R.", b"\0", b"PK\3\4"])
def test_p10_nothing_may_stand_before_a_zip(prefix: bytes) -> None:
    data = prefix + zipped(GOOD)
    assert torch_zip.sniff(Source(data)) == (prefix == b"PK\3\4")
    bad_zip(data)


def test_p10_nothing_may_stand_after_a_zip() -> None:
    bad_zip(zipped(GOOD) + b"\0")
    bad_zip(zipped(GOOD) + b"\x80\2N.")


def end_of(data: bytes) -> int:
    return data.rindex(b"PK\5\6")


def patched(data: bytes, at: int, layout: str, value: int) -> bytes:
    new = struct.pack(layout, value)
    return data[:at] + new + data[at + len(new) :]


def zip64(data: bytes, count: int, length: int, offset: int) -> bytes:
    """`data` with a zip64 end record and locator before its end."""
    end = end_of(data)
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, length, offset)
    return data[:end] + record + struct.pack("<4sIQI", b"PK\6\7", 0, end, 1) + data[end:]


def test_p11_two_directories_are_refused() -> None:
    evil = zipped([("a/data.pkl", b"cos\nsystem\n(S'x'\ntR."), *GOOD[1:]])
    bad_zip(evil + zipped(GOOD))  # zipfile reads the second, a reader from the front the first
    good = zipped(GOOD)
    count, length, offset = struct.unpack("<HII", good[end_of(good) + 10 : end_of(good) + 20])
    torch_zip.read(Source(zip64(good, count, length, offset)))
    for wrong in ((count - 1, length, offset), (count, length - 1, offset), (count, length, offset + 1), (count, length, 0)):
        bad_zip(zip64(good, *wrong))  # B18, B31: zipfile believes the plain record, miniz the zip64 one


END_LIES = {
    "a comment length": (20, "<H", 1),
    "a disk": (4, "<H", 1),
    "entries here": (8, "<H", 2),
    "entries": (10, "<H", 2),
    "a size": (12, "<I", 1),
    "an offset": (16, "<I", 0),
    "an offset by one": (16, "<I", 1),
    "zip64 that is not there": (16, "<I", 0xFFFFFFFF),
}


@pytest.mark.parametrize("lie", END_LIES.values(), ids=END_LIES)
def test_p11_an_end_record_that_lies_is_refused(lie: tuple[int, str, int]) -> None:
    data = zipped(GOOD)
    bad_zip(patched(data, end_of(data) + lie[0], lie[1], lie[2]))


def test_p11_a_comment_is_refused() -> None:
    data = zipped(GOOD)
    bad_zip(patched(data, end_of(data) + 20, "<H", 4) + b"abcd")


# P12: the same name twice; B12, B28: miniz does not tell upper from lower case.
@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("twin", ["a/data.pkl", "a/DATA.PKL", "a/Data/0", "A/data.pkl"])
def test_p12_twins_are_refused(twin: str) -> None:
    bad_zip(zipped([*GOOD, (twin, b"cos\nsystem\n.")]))
    bad_zip(zipped([(twin, b"cos\nsystem\n."), *GOOD]))


# P13: the local header says one thing, the directory another.
LOCAL_FIELDS = {
    "flags": (6, "<H", 1),
    "method": (8, "<H", 8),
    "crc": (14, "<I", 1),
    "packed": (18, "<I", 9),
    "size": (22, "<I", 9),
    "name": (30, "<B", 98),
}
CENTRAL_FIELDS = {
    "flags": (8, "<H", 1), "method": (10, "<H", 99), "crc": (16, "<I", 1), "packed": (20, "<I", 9), "size": (24, "<I", 9),
    "comment": (32, "<H", 1), "disk": (34, "<H", 1), "link": (38, "<I", 0o120777 << 16), "offset": (42, "<I", 1), "name": (46, "<B", 98),
}  # fmt: skip


@pytest.mark.parametrize("field", LOCAL_FIELDS.values(), ids=LOCAL_FIELDS)
def test_p13_a_local_header_that_differs_is_refused(field: tuple[int, str, int]) -> None:
    bad_zip(patched(zipped(GOOD), *field))


@pytest.mark.parametrize("field", CENTRAL_FIELDS.values(), ids=CENTRAL_FIELDS)
def test_p13_a_directory_record_that_differs_is_refused(field: tuple[int, str, int]) -> None:
    data = zipped(GOOD)
    bad_zip(patched(data, data.index(b"PK\1\2") + field[0], *field[1:]))


def test_p13_an_encrypted_entry_is_refused() -> None:
    data = zipped(GOOD)
    bad_zip(patched(patched(data, 6, "<H", 1), data.index(b"PK\1\2") + 8, "<H", 1))


def test_p13_a_wrong_checksum_is_refused() -> None:
    data = zipped([GOOD[0], ("a/data/0", b"0123456789abcdef"), GOOD[2]])
    contents = torch_zip.read(Source(data.replace(b"0123456789abcdef", b"0123456789abcdeF"), "x.pt"))
    with pytest.raises(UnreadableFile, match="checksum"):
        contents.fetch(contents.outline.root)


def test_p13_entries_that_overlap_or_leave_gaps_are_refused() -> None:
    data = zipped(GOOD)
    directory = data.index(b"PK\1\2")
    second = data.index(b"PK\1\2", directory + 4)
    bad_zip(patched(data, second + 42, "<I", 0))
    gap = data[:directory] + b"\0\0\0\0" + data[directory:]
    bad_zip(patched(gap, end_of(gap) + 16, "<I", directory + 4))


# found by fuzzing: miniz gives no bytes for an entry that says it is a folder; torch.load then shows uninitialised memory as numbers
@pytest.mark.parametrize("attributes", [0x10, 0xFF, 0x41ED_0010, 0x41ED_0000, 0xA1FF_0000], ids=hex)
def test_p13_an_entry_that_is_a_folder_or_a_link_is_refused(attributes: int) -> None:
    data = zipped(GOOD)
    at = data.index(b"PK\1\2", data.index(b"PK\1\2") + 1)  # of a/data/0
    bad_zip(patched(data, at + 38, "<I", attributes))
    for harmless in (0, 0x20, 0o100644 << 16):
        torch_zip.read(Source(patched(data, at + 38, "<I", harmless)))


# P14: names that leave the folder, name another root or are not torch's.
NAMES = [
    "../data/1", "/etc/passwd", "a/../data/1", "a\\data\\1", "a/data/1/", "a/", "b/data/1", "a/data/x", "a/data/1234567890", "a/code.py",
    "data/1", "a/b/data/1", "a/data/\u0661", "./a/data/1", "x" * 256 + "/data/1", "a/.data/other",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_p14_other_names_are_refused(name: str) -> None:
    bad_zip(zipped([*GOOD, (name, b"x")]))


def test_p14_a_name_with_nul_is_refused() -> None:
    bad_zip(zipped([*GOOD, ("a/data/1x", b"x")]).replace(b"data/1x", b"data/1\0"))


def test_p14_a_name_that_an_extra_field_changes_is_refused() -> None:
    info = zipfile.ZipInfo("a/data/1")
    info.extra = struct.pack("<HHBI", 0x7075, 5 + 10, 1, zlib.crc32(b"a/data/1")) + b"a/data.pkl"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in GOOD:
            archive.writestr(name, data)
        archive.writestr(info, b"x")
    bad_zip(file.getvalue())


# P15: and the names torch does write are all accepted.
def test_p15_every_record_of_every_torch_is_accepted() -> None:
    more = [
        ("a/byteorder", b"little"),
        ("a/.format_version", b"1"),
        ("a/.storage_alignment", b"64"),
        ("a/.data/serialization_id", b"0" * 40),
    ]
    torch_zip.read(Source(zipped([*GOOD, *more])))


# P16: bombs.
@pytest.mark.parametrize("make", ZIP_BOMBS.values(), ids=ZIP_BOMBS)
def test_p16_a_bomb_is_refused(make: Callable[[], bytes]) -> None:
    bad_zip(make(), FileError)


def test_p16_a_bomb_in_a_storage_is_refused_before_it_is_inflated() -> None:
    bad_zip(ZIP_BOMBS["a storage of 256 MB"](), TooLarge)


def test_p16_a_bomb_that_lies_about_its_size_stops_at_that_size() -> None:
    data = zipped([GOOD[0], ("a/data/0", bytes(1 << 24)), GOOD[2]], zipfile.ZIP_DEFLATED)
    lie = data.replace(struct.pack("<I", 1 << 24), struct.pack("<I", 16))
    assert data != lie
    bad_zip(lie)


def test_p16_a_directory_of_long_names_is_refused_before_it_is_read() -> None:
    bad_zip(zipped([*GOOD, *((f"{'x' * 60_000}/data/{i}", b"") for i in range(150))]), TooLarge)


# P17: a tuple of tuples as a key is hashed for ever.
def test_p17_a_hash_bomb_is_refused() -> None:
    bomb = b"\x80\2)" + b"2\x86" * 100
    refused(bomb.replace(b"\x80\2)", b"\x80\2})", 1) + b"Ns.")
    refused(b"\x80\2c__builtin__\nset\n]" + b")" + b"2\x86" * 100 + b"a\x85R.", TooLarge)


# P18: nesting.
@pytest.mark.parametrize("data", RECURSION.values(), ids=RECURSION)
def test_p18_deep_or_endless_nesting_is_refused(data: bytes) -> None:
    refused(data, TooLarge)


# P19: few bytes, billions of values.
def test_p19_billion_laughs_are_refused() -> None:
    refused(LAUGHS, TooLarge)
    refused(b"\x80\2)" + b"2\x86" * 60 + b".", TooLarge)


@pytest.mark.parametrize("data", AMPLIFIED.values(), ids=AMPLIFIED)
def test_p19_copies_are_charged(data: bytes) -> None:
    refused(data, TooLarge)


# P20: lengths that are not there (CVE-2018-20406, gh-115952).
SIZES = {
    "LONG_BINPUT": b"\x80\2Nr\xff\xff\xff\x7f.",
    "PUT": b"Np4294967296\n.",
    "PUT below zero": b"Np-1\n.",
    "BINUNICODE": b"\x80\2X\xff\xff\xff\x7fa.",
    "BINUNICODE8": b"\x80\4\x8d" + b"\xff" * 7 + b"\x7fa.",
    "BINBYTES": b"\x80\3B\xff\xff\xff\x7fa.",
    "BINBYTES8": b"\x80\4\x8e" + b"\xff" * 8 + b"a.",
    "BYTEARRAY8": b"\x80\5\x96" + b"\xff" * 8 + b"a.",
    "BINSTRING below zero": b"\x80\2T\xff\xff\xff\xffa.",
    "FRAME": b"\x80\4\x95" + b"\xff" * 8 + b"N.",
}


@pytest.mark.parametrize("name", SIZES)
def test_p20_a_length_is_checked_before_anything_is_allocated(name: str) -> None:
    if name == "LONG_BINPUT":  # a dictionary does not care how large a number is
        assert load(SIZES[name], "x").root is None
    else:
        refused(SIZES[name])


# P22: what takes quadratic time.
QUADRATIC = {
    "INT digits": b"I" + b"9" * 1_000_000 + b"\n.",
    "LONG digits": b"L" + b"9" * 1_000_000 + b"L\n.",
    "GET digits": b"Ng" + b"9" * 1_000_000 + b"\n.",
    "FLOAT digits": b"F" + b"9" * 1_000_000 + b"\n.",
    "a key of equal hashes": b"\x80\2}("
    + b"".join(b"\x8a\x10" + (k * ((1 << 61) - 1)).to_bytes(16, "little") + b"N" for k in range(1, 40_000))
    + b"u.",
}


@pytest.mark.parametrize("data", QUADRATIC.values(), ids=QUADRATIC)
def test_p22_long_numbers_and_equal_hashes_are_refused(data: bytes) -> None:
    refused(data)


@pytest.mark.parametrize("opcode", [b"\x8b" + struct.pack("<I", 1 << 20), b"\x8a\xff", b"\x8b\xff\xff\xff\xff"])
def test_p22_a_long_integer_is_refused(opcode: bytes) -> None:
    refused(b"\x80\2" + opcode + b"\1" * (1 << 20) + b".", TooLarge)


@pytest.mark.parametrize("codec", ["punycode", "idna", "utf-8", "rot13", "unicode_escape", "LATIN1", "zlib"])
def test_p22_only_latin1_is_encoded(codec: str) -> None:  # C11: punycode of 60 KB takes half a minute
    data = b"\x80\2c_codecs\nencode\n" + text("a" * 60_000) + text(codec) + b"\x86R."
    assert refused(data, UnsafePickle).wanted == "_codecs.encode"


# P23: memory that nobody wrote comes back as numbers.
UNINITIALISED = [
    "torch.Tensor",
    "torch.FloatTensor",
    "torch.FloatStorage",
    "torch.storage.UntypedStorage",
    "torch.empty",
    "numpy.ndarray",
    "numpy.empty",
]


@pytest.mark.parametrize("wanted", UNINITIALISED)
def test_p23_uninitialised_memory_cannot_be_asked_for(wanted: str) -> None:
    module, _, name = wanted.rpartition(".")
    for make in (b"R", b"\x81"):
        error = refused(f"\x80\2c{module}\n{name}\nM".encode("latin-1") + b"\xe8\3\x85" + make + b".", UnsafePickle)
        assert error.wanted == wanted
        assert wanted in str(error)


BIG = b"\x8a\x08" + struct.pack("<q", 1 << 61)
VIEW_LIES = {  # P24
    "D01 stride 0": tensor(size=b"J\0\0\0\x40\x85", stride=b"K\0\x85"),
    "a little stride 0": tensor(stride=b"K\0\x85"),
    "overlap": tensor(size=b"K\3K\2\x86", stride=b"K\1K\1\x86"),
    "an offset past the end": tensor(offset=b"K\4"),
    "an offset so that the end is past": tensor(offset=b"K\3"),
    "a negative offset": tensor(offset=b"J\xff\xff\xff\xff"),
    "a negative size": tensor(size=b"J\xff\xff\xff\xff\x85"),
    "a negative stride": tensor(stride=b"J\xff\xff\xff\xff\x85"),
    "sizes that overflow": tensor(size=BIG + BIG + b"\x86", stride=BIG + b"K\1\x86"),
    "more sizes than strides": tensor(size=b"K\1K\1\x86"),
    "rank 9": tensor(size=b"(" + b"K\1" * 9 + b"t", stride=b"(" + b"K\1" * 9 + b"t"),
    "a bool as a size": tensor(size=b"\x88\x85"),
    "a float as an offset": tensor(offset=b"G" + bytes(8)),
    "a list as a size": tensor(size=b"]K\2a"),
    "no storage": tensor(b"N"),
    "a storage class": tensor(b"ctorch\nFloatStorage\n"),
    "an item set in a tensor": tensor() + b"K\0K\1s",  # CVE-2026-24747
    "an empty tensor beyond its storage": tensor(offset=b"K\5", size=b"K\0\x85"),
    "a storage larger than its record": tensor(storage(numel=b"K\5")),
    "a storage smaller than its record": tensor(storage(numel=b"K\3")),
    "a storage without a record": tensor(storage("1")),
    "a storage named by a path": tensor(storage("../0")),
    "a storage of minus one": tensor(storage(numel=b"J\xff\xff\xff\xff")),
}


@pytest.mark.parametrize("pickle", VIEW_LIES.values(), ids=VIEW_LIES)
def test_p24_a_view_that_lies_is_refused(pickle: bytes) -> None:
    bad_zip(with_pickle(pickle))


TWO_CLAIMS = {  # P25, D21
    "two types of one storage": tensor() + tensor(storage(cls="IntStorage")),
    "two sizes of one storage": tensor() + tensor(storage(numel=b"K\3")),
    "typed and untyped": tensor() + tensor(storage()).replace(b"\nFloatStorage", b".storage\nUntypedStorage"),
}


@pytest.mark.parametrize("pickle", TWO_CLAIMS.values(), ids=TWO_CLAIMS)
def test_p25_one_storage_has_one_type_and_one_size(pickle: bytes) -> None:
    bad_zip(with_pickle(pickle + b"\x86"))


def test_p25_two_types_of_an_untyped_storage_are_refused() -> None:
    untyped = b"(" + text("storage") + b"ctorch.storage\nUntypedStorage\n" + text("0") + text("cpu") + b"K\x10tQ"
    made = b"ctorch._utils\n_rebuild_tensor_v3\n(" + untyped + b"K\0K\2\x85K\1\x85\x89)ctorch\n%b\ntR"
    torch_zip.read(Source(with_pickle(made % b"float32" + made % b"float32" + b"\x86")))
    bad_zip(with_pickle(made % b"float32" + made % b"int32" + b"\x86"))


def test_p25_an_unknown_byte_order_is_refused() -> None:
    bad_zip(zipped([*GOOD, ("a/byteorder", b"middle")]))


# P26: nothing of ours falls back to a reader that runs code; the source is searched in another test of the project.
def test_p26_an_unsafe_pickle_in_a_zip_stays_refused() -> None:
    data = with_pickle(b"cposix\nsystem\nU\1x\x85R")
    error = bad_zip(data, UnsafePickle)
    assert (error.wanted, error.opcode, error.position) == ("posix.system", "GLOBAL", 2)


# P27: names that attack the terminal.
def test_p27_a_name_with_control_characters_is_shown_escaped() -> None:
    error = refused("cos\x1b[2J\u202e\nsystem\n.".encode(), UnsafePickle)
    assert "\x1b" not in str(error)
    assert "\\x1b" in str(error)
    assert len(str(refused(b"c" + b"a" * 100_000 + b"\nb\n.", UnsafePickle))) < 1_000


# Damage: cut anywhere, any bit turned.
SAMPLES = {
    "plain": zipped(GOOD),
    "deflated": zipped(GOOD, zipfile.ZIP_DEFLATED),
    "ours": torch_zip.write({"x": Tensor("F32", (2,), bytes(8))}),
}


@pytest.mark.parametrize("data", SAMPLES.values(), ids=SAMPLES)
def test_a_zip_cut_anywhere_is_refused(data: bytes) -> None:
    for stop in range(4, len(data)):
        with pytest.raises(UnreadableFile):
            torch_zip.read(Source(data[:stop]))


def test_every_single_bit_of_the_pickle_counts() -> None:
    data = zipped(GOOD)
    start = data.index(GOOD[0][1])
    for bit in range(start * 8, (start + len(GOOD[0][1])) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(UnreadableFile, match="checksum"):
            torch_zip.read(Source(bytes(flipped)))


def test_a_pickle_with_any_bit_turned_and_the_right_checksum_gives_a_typed_error_or_a_tree() -> None:
    inner = GOOD[0][1]
    for bit in range(len(inner) * 8):
        flipped = bytearray(inner)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            contents = torch_zip.read(Source(zipped([("a/data.pkl", bytes(flipped)), *GOOD[1:]])))
        except FileError:
            continue
        assert contents.outline.root is not None


def test_any_bit_turned_elsewhere_is_refused_or_changes_nothing() -> None:
    data = zipped(GOOD)
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            contents = torch_zip.read(Source(bytes(flipped)))
            found = contents.fetch(contents.outline.root)
        except FileError:
            continue
        assert found.data == struct.pack("<2f", 1, 2)  # a date, a version, an attribute


def test_torchscript_and_other_zips_are_named() -> None:
    bad_zip(zipped([*GOOD, ("a/constants.pkl", b"\x80\2)."), ("a/code/__torch__.py", b"")]), NotAnEmbedding)
    bad_zip(zipped([("word/document.xml", b"<x/>")]), NotAnEmbedding)


AUDIT = """
import sys
from embconv.converters import containers
from embconv.converters.containers import bare_pickle, explain, numpy_file, torch_legacy, torch_zip
from embconv.converters.errors import EmbconvError, FileError
from embconv.converters.source import Source
samples = [bytes.fromhex(line) for line in sys.stdin.read().split()]
explain.explain(Source(b"V\\x1b\\n."))  # Python loads its own codecs once, when first needed
seen = []
sys.addaudithook(lambda event, args: seen.append((event, str(args)[:200])))
for data in samples:
    for reader in (torch_zip, torch_legacy, bare_pickle, numpy_file):
        try:
            reader.read(Source(data))
        except FileError:
            pass
    explain.explain(Source(data))
    explain.globals_named(Source(data))
wanted = ("import", "pickle.", "os.", "subprocess.", "open", "socket.", "exec", "compile", "marshal.", "ctypes.", "shutil.", "glob.")
found = [one for one in seen if one[0].startswith(wanted)]
print(len(samples), found)
"""


def test_reading_hostile_files_imports_opens_and_starts_nothing() -> None:
    made = [data for data, _ in OTHER_WAYS.values()] + list(MEMO.values()) + list(FRAMES.values())
    made += [with_pickle(pickle) for pickle in VIEW_LIES.values()]
    for wanted in WANTED:
        module, _, name = wanted.rpartition(".")
        call = f"c{module}\n{name}\n(S'x'\ntR".encode()
        made += [call + b".", with_pickle(call), torch_legacy.MAGIC + call + b".", call + b"." + zipped(GOOD)]
    lines = "\n".join(data.hex() for data in made)
    done = subprocess.run([sys.executable, "-c", AUDIT], input=lines, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout == f"{len(made)} []\n"
