"""The numbers no input may pass. Each has room for every real file and none for an attack."""

MIB = 1 << 20

PICKLE_BYTES = 32 * MIB      # data.pkl of an embedding: under 1 KB; with numpy-carried vectors: a few times the vectors
PICKLE_OPCODES = 1_000_000   # a 1,000-tensor LoRA has about 60,000; a million leave 100 MB behind (fewer in a long pickle)
PICKLE_MEMO = 1_000_000
PICKLE_DEPTH = 64            # real: 5
PICKLE_NODES = 1_000_000     # values met when walking the object, shared ones counted each time
PICKLE_INT_BYTES = 32        # as text or binary; real: 19 digits

ZIP_ENTRIES = 20_000         # an SDXL checkpoint saved by torch has about 2,500
ZIP_INFLATED = 64 * MIB      # of one deflated entry; torch never deflates

HEADER_BYTES = 4 * MIB       # of a safetensors file; LoRA headers with training data reach 2 MB
HEADER_TENSORS = 20_000
NAME_BYTES = 1_024           # of a tensor

RANK = 8                     # axes of a tensor in an outline; embeddings have at most 3
TENSOR_BYTES = 64 * MIB      # of one tensor that is really read
FETCHED = 32 * MIB           # of all tensors that are really read from one file; 1,024 words of SDXL with one vector each: 8 MiB
EMBEDDINGS = 1_024           # in one file

IMAGE_PIXELS = 6_000_000     # a card is 0.3 million; more would pass 100 MB of memory
IMAGE_TEXT = 16 * MIB        # one text chunk, inflated
IMAGE_PAYLOAD = 16 * MIB     # inflated pixel carrier

SIDECAR_BYTES = 4 * MIB

WHOLE_READ = 1 * MIB         # files up to here are read at once, larger ones piece by piece
HASHED_SOURCE = 64 * MIB     # larger inputs are not hashed whole by convert (see docs/decisions.md)
