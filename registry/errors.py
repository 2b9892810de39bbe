"""What stops the registry's work, each with a stable code, one sentence and what to do next.

    EmbconvError (converters)
    `-- RegistryError
        |-- UnknownReference     unknown_reference     nothing here is called so
        |-- AmbiguousReference   ambiguous_reference   several are
        |-- UnknownHash          unknown_hash          nobody ever computed that hash for anything here
        |-- UnknownFile          unknown_file          no file with that sha256 is kept
        |-- Gone                 gone                  it was here and was removed
        |-- Blocked              blocked               it was removed for good
        |-- UnknownParameter     unknown_parameter     a query parameter or field that nothing reads
        |-- BadParameter         bad_parameter         a value that means nothing there
        |-- BadUpload            bad_upload            a request body that contradicts itself
        |-- NotMultipart         not_multipart         an upload that is no multipart/form-data
        |-- BodyTooLarge         body_too_large        more bytes than this registry takes
        |-- KeyNeeded            key_needed            no key, or one that is unknown, expired or revoked
        |-- Forbidden            forbidden             a key that may not do this
        |-- HostNotAllowed       host_not_allowed      a Host header that is not ours
        |-- OriginNotAllowed     origin_not_allowed    a page of another site asks
        |-- UnknownKey           unknown_key           no key has that name
        |-- KeyExists            key_exists            a key has that name already
        |-- NotAPicture          not_a_picture         bytes that are no picture which can be shown
        |-- Unreachable          unreachable           a remote registry that does not answer
        |-- RemoteError          remote_error          a remote registry that answers with something else
        |-- NoStore              no_store              the data folder cannot be used
        |-- Busy                 busy                  another writer held the database for too long
        |-- StorageFull          storage_full          the disk has no room left
        `-- StorageFailed        storage_failed        the disk does not let us read or write
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from embconv.converters import EmbconvError
from embconv.converters.display import printable, quoted


class RegistryError(EmbconvError):
    """Something about the registry."""


class UnknownReference(RegistryError):
    """Nothing in the registry is called so."""

    code = "unknown_reference"

    def __init__(self, ref: str) -> None:
        super().__init__(
            f"Nothing here is called {quoted(ref)}.",
            "Give a digest (emb:... or 8 or more of its digits), any hash of a file, or a name. Look for it: embconv search WORDS",
        )
        self.ref = ref


class AmbiguousReference(RegistryError):
    """Several embeddings answer to it; `digests` are theirs."""

    code = "ambiguous_reference"

    def __init__(self, ref: str, digests: Iterable[str]) -> None:
        found = list(digests)
        shown = ", ".join(found[:4]) + (", ..." if len(found) > 4 else "")
        super().__init__(f"{quoted(ref)} means {len(found)} embeddings here: {shown}.", "Give more of the digest.")
        self.ref, self.digests = ref, found


class UnknownHash(RegistryError):
    """Nobody ever computed that hash for anything here."""

    code = "unknown_hash"

    def __init__(self, value: str) -> None:
        super().__init__(f"No file or embedding here has the hash {quoted(value)}.", "Hashes of a file: embconv hash FILE")


class UnknownFile(RegistryError):
    """No file with that sha256 is kept."""

    code = "unknown_file"

    def __init__(self, sha256: str) -> None:
        super().__init__(f"No file with the sha256 {quoted(sha256)} is kept here.", "Files of an embedding: embconv show REF")


class Gone(RegistryError):
    """It was here and was removed; `when` is the time and `why` the reason, if one was given."""

    code = "gone"

    def __init__(self, ref: str, when: str, why: str = "", *, blocked: bool = False) -> None:
        reason = f" ({printable(why)})" if why else ""
        again = "Only an admin of this registry can allow it again." if blocked else "Uploading it again brings it back."
        super().__init__(f"{quoted(ref)} was removed on {when}{reason}.", again)
        self.when, self.why, self.blocked = when, why, blocked


class Blocked(RegistryError):
    """It was removed for good, and uploading it again does not bring it back."""

    code = "blocked"

    def __init__(self, ref: str, when: str, why: str = "") -> None:
        reason = f" ({printable(why)})" if why else ""
        super().__init__(f"{quoted(ref)} was blocked on {when}{reason}.", "Only an admin of this registry can allow it again.")
        self.when, self.why = when, why


class UnknownParameter(RegistryError):
    """A query parameter or form field that nothing reads; the hint names the nearest that is read."""

    code = "unknown_parameter"

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"There is no parameter {quoted(name)}.", nearest(name, known))


class BadParameter(RegistryError):
    """A value that means nothing for its parameter; the hint names the nearest that does."""

    code = "bad_parameter"

    def __init__(self, name: str, value: str, expected: str, known: Iterable[str] = ()) -> None:
        super().__init__(f"{quoted(value)} is no {name}: {expected}.", nearest(value, known))


class BadUpload(RegistryError):
    """A request body that contradicts itself or lacks what is needed."""

    code = "bad_upload"


class NotMultipart(RegistryError):
    """An upload that is no multipart/form-data."""

    code = "not_multipart"

    def __init__(self, given: str) -> None:
        super().__init__(
            f"The body is {quoted(given) if given else 'of no stated type'}; multipart/form-data is expected.",
            "Send the file as a form field: curl -F file=@style.pt URL",
        )


class BodyTooLarge(RegistryError):
    """More bytes than this registry takes in one file or one field."""

    code = "body_too_large"

    def __init__(self, what: str, limit: int) -> None:
        says = f"The {what} is larger than the {limit:,} bytes that are taken."
        super().__init__(says, "The operator sets it: embconv serve --max-upload.")
        self.limit = limit


class KeyNeeded(RegistryError):
    """No key was given, or one that is unknown, expired or revoked."""

    code = "key_needed"

    def __init__(self, why: str = "This needs a key, and none was given.") -> None:
        super().__init__(why, "Send Authorization: Bearer KEY. Keys are made by: embconv keys create NAME --role write")


class Forbidden(RegistryError):
    """The key is good but may not do this."""

    code = "forbidden"

    def __init__(self, needed: str, given: str) -> None:
        super().__init__(f"This needs a key with the role {needed}; yours has the role {given}.", "Ask an admin of this registry for one.")


class HostNotAllowed(RegistryError):
    """The Host header is not one of ours: somebody's name may have been pointed at this machine."""

    code = "host_not_allowed"

    def __init__(self, host: str) -> None:
        hint = "The operator allows a name by: embconv serve --allowed-host NAME"
        super().__init__(f"This registry does not answer as {quoted(host)}.", hint)


class OriginNotAllowed(RegistryError):
    """A page of another site asks for a change."""

    code = "origin_not_allowed"

    def __init__(self, origin: str) -> None:
        super().__init__(f"A page of {quoted(origin)} may change nothing here.", "Use a page of this registry, or a program.")


class UnknownKey(RegistryError):
    """No key has that name."""

    code = "unknown_key"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no key {quoted(name)}.", "All keys: embconv keys list")


class KeyExists(RegistryError):
    """A key has that name already."""

    code = "key_exists"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is a key {quoted(name)} already.", "Choose another name, or revoke that one first.")


class NotAPicture(RegistryError):
    """Bytes that are no picture which can be shown."""

    code = "not_a_picture"

    def __init__(self, name: str, why: str) -> None:
        hint = "PNG, JPEG, WEBP and AVIF pictures are taken, up to 24 million pixels and 32 MiB."
        super().__init__(f"{quoted(name)} is no picture that can be shown: {printable(why)}.", hint)


class Unreachable(RegistryError):
    """A remote registry that does not answer."""

    code = "unreachable"

    def __init__(self, url: str, why: str) -> None:
        super().__init__(f"The registry at {printable(url)} does not answer: {printable(why)}.", "Check the URL, and that it runs.")


class RemoteError(RegistryError):
    """A remote registry answered, but not as a registry does."""

    code = "remote_error"


class NoStore(RegistryError):
    """The data folder cannot be used."""

    code = "no_store"

    def __init__(self, path: str, why: str) -> None:
        says = f"The registry in {quoted(path)} cannot be used: {printable(why)}."
        super().__init__(says, "Choose another folder: EMBCONV_HOME or --home.")


class Busy(RegistryError):
    """Another writer held the database for too long."""

    code = "busy"

    def __init__(self) -> None:
        super().__init__("Another program is writing to the registry's database.", "Try again in a few seconds.")


class StorageFull(RegistryError):
    """The disk has no room left."""

    code = "storage_full"

    def __init__(self) -> None:
        super().__init__("The disk of the registry has no room left; nothing was kept.", "The operator has to free space; then try again.")


class StorageFailed(RegistryError):
    """The disk does not let us read or write."""

    code = "storage_failed"

    def __init__(self, why: str) -> None:
        says = f"The registry's disk failed: {printable(why)}; nothing was kept."
        super().__init__(says, "The operator has to look at it; then try again.")


def nearest(word: str, known: Iterable[str]) -> str:
    """`Did you mean ...?`, or all that is known where it is little, or nothing."""
    names = list(known)
    close = get_close_matches(word.lower(), names, n=1, cutoff=0.5)
    if close:
        return f"Did you mean {close[0]}?"
    return f"Known: {', '.join(names)}." if 0 < len(names) <= 40 else ""
