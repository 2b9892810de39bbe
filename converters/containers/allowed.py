"""All that a pickle may name, and how each name is read here; whatever is not in this table is refused."""

from __future__ import annotations

from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING  # two tables of names; it imports nothing

from msgspec import Struct


class Inert(Struct, frozen=True):
    """What stands for an allowed global: `means` is how it is read, never the thing itself."""

    name: str
    means: str
    dtype: str = ""


PARAMETER_DICT = "torch.nn.modules.container.ParameterDict"
MEANINGS = {  # everything a pickle may name -> what it means here
    "collections.OrderedDict": "dict",                          # hooks of each tensor, state dicts
    "__builtin__.set": "list",                                  # hook sets of a ParameterDict, under protocol 2
    "builtins.set": "list",                                     # the same, protocol 3 and up
    "_codecs.encode": "latin1",                                 # bytes under protocol 2
    "torch._utils._rebuild_tensor_v2": "tensor",                # every tensor
    "torch._utils._rebuild_tensor_v3": "untyped tensor",        # fp8 and other types without a typed storage
    "torch._utils._rebuild_parameter": "parameter",             # rinongal's EmbeddingManager, un-detached weights
    "torch._utils._rebuild_parameter_with_state": "stateful parameter",  # a Parameter carrying attributes
    "torch.nn.parameter.Parameter": "new parameter",            # torch before 1.0
    PARAMETER_DICT: "module",                                   # rinongal's EmbeddingManager
    "torch._utils._rebuild_device_tensor_from_numpy": "numpy tensor",  # trained on MPS, DirectML or XLA
    "numpy.core.multiarray._reconstruct": "array",              # numpy before 2
    "numpy._core.multiarray._reconstruct": "array",             # numpy 2
    "numpy.ndarray": "array class",
    "numpy.dtype": "numpy dtype",
}  # fmt: skip
STORAGES = {  # torch's typed storages
    "Float": "F32", "Half": "F16", "BFloat16": "BF16", "Double": "F64",
    "Int": "I32", "Long": "I64", "Short": "I16", "Char": "I8", "Byte": "U8", "Bool": "BOOL",
}  # fmt: skip
DTYPES = {  # torch's dtype globals, named by untyped and numpy-carried tensors
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
    "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip


def _allowed() -> dict[tuple[str, str], Inert]:
    rows = [Inert(name, means) for name, means in MEANINGS.items()]
    rows += [Inert(f"torch.{kind}Storage", "storage", dtype) for kind, dtype in STORAGES.items()]
    rows += [Inert("torch.storage.UntypedStorage", "storage")]
    rows += [Inert(f"torch.{name}", "dtype", dtype) for name, dtype in DTYPES.items()]
    return {(module, name): row for row in rows for module, _, name in [row.name.rpartition(".")]}


ALLOWED = _allowed()  # (module, name), both exactly


def in_python_3(wanted: str) -> str:
    """The Python 3 name of a Python 2 global, by the standard library's own tables (data, nothing is imported by them)."""
    module, _, name = wanted.rpartition(".")
    new = NAME_MAPPING.get((module, name))
    return ".".join(new) if new else f"{IMPORT_MAPPING[module]}.{name}" if module in IMPORT_MAPPING else wanted
