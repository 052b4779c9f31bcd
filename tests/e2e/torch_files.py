"""Writes .pt files that lie, for torch.sh: torch_files.py FOLDER. Needs no PyTorch: the pickles are put together by hand."""
import struct
import sys
import warnings
import zipfile

FOLDER = sys.argv[1]


def text(words):
    return b"X" + struct.pack("<I", len(words)) + words.encode()


def number(value):
    return b"\x8a\x08" + struct.pack("<q", value)


def numbers(values):
    return b"(" + b"".join(number(value) for value in values) + b"t"


def storage(key="0", elements=4, kind="FloatStorage"):
    return b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu") + number(elements) + b"tQ"


def tensor(shape=(4,), strides=(1,), offset=0, of=None):
    return (b"ctorch._utils\n_rebuild_tensor_v2\n(" + (storage() if of is None else of) + number(offset) +
            numbers(shape) + numbers(strides) + b"\x89ccollections\nOrderedDict\n)RtR")


def whole(pairs):
    return b"\x80\x02}" + b"".join(key + value + b"s" for key, value in pairs) + b"."


def archive(name, pickle, more=(), stored=True, root="archive"):
    kind = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(f"{FOLDER}/{name}.pt", "w", kind) as file:
        for entry, data in [("data.pkl", pickle), ("data/0", bytes(16))] + list(more):
            file.writestr(f"{root}/{entry}", data)


good = whole([(text("w"), tensor())])
archive("good", good)
archive("deflated", good, stored=False)
archive("twice", good, more=[("data/0", bytes(16))])
archive("big", good, more=[("byteorder", b"big")])
with zipfile.ZipFile(f"{FOLDER}/other.pt", "w") as file:
    file.writestr("a.txt", "a")
data = open(f"{FOLDER}/good.pt", "rb").read()
open(f"{FOLDER}/cut.pt", "wb").write(data[:len(data) // 2])
open(f"{FOLDER}/head.pt", "wb").write(data[:4])
patched = bytearray(data)  # the second entry's local header moves far behind the end of the file
second = data.rindex(b"PK\x01\x02")
patched[second + 42:second + 46] = struct.pack("<I", 0x7fffffff)
open(f"{FOLDER}/far.pt", "wb").write(patched)
archive("run", b"\x80\x02cos\nsystem\n" + text("touch ran") + b"\x85R.")
archive("built", b"\x80\x04" + b"\x8c\x08builtins\x8c\x04eval\x93" + text("1") + b"\x85R.")
archive("instance", b"\x80\x02(cos\nsystem\no.")
archive("opcode", b"\x80\x02(I1\nl.")
archive("protocol", b"\x80\x07N.")
archive("text", b"\x80\x02X\xff\xff\xff\xffa.")
archive("empty", b"")
archive("stop", b"\x80\x02.")
archive("memo", b"\x80\x02}r\xff\xff\xff\xff.")
archive("mark", b"\x80\x02((s.")
archive("pile", b"\x80\x02" + b"(" * 100000 + b".")
archive("behind", good + b"N.")
archive("none", b"\x80\x02}.")
archive("absent", whole([(text("w"), tensor(of=storage("7")))]))
archive("climb", whole([(text("w"), tensor(of=storage("../../0")))]))
archive("short", whole([(text("w"), tensor(of=storage(elements=5)))]))
archive("huge", whole([(text("w"), tensor(of=storage(elements=1 << 62)))]))
archive("outside", whole([(text("w"), tensor(shape=(5,)))]))
archive("offset", whole([(text("w"), tensor(offset=1))]))
archive("negative", whole([(text("w"), tensor(offset=-1))]))
archive("strides", whole([(text("w"), tensor(strides=(2,)))]))
archive("product", whole([(text("w"), tensor((1 << 32, 1 << 32), (0, 0)))]))
archive("wide", whole([(text("w"), tensor((1 << 40,), (0,)))]))
archive("axes", whole([(text("w"), tensor((1,) * 9, (1,) * 9))]))
archive("complex", whole([(text("w"), tensor(of=storage(kind="ComplexFloatStorage")))]))
archive("again", whole([(text("w"), tensor())] * 2))
archive("itself", b"\x80\x02}q\x00" + text("a") + b"h\x00s.")
# Forty dicts, each of which holds the one before twice: 2^40 places of one tensor.
doubled = b"\x80\x02(}" + text("w") + tensor() + b"sq\x00"
for level in range(40):
    doubled += b"}" + text("a") + b"h" + bytes([level]) + b"s" + text("b") + b"h" + bytes([level]) + b"sq" + bytes([level + 1])
archive("doubled", doubled + b"t.")
# What one byte, or three, may cost: tuples of tuples, and one storage of a long name asked for again and again.
archive("tuples", b"\x80\x02N" + b"\x85" * 6_000_000 + b".")
name = "k" * 500
archive("recalled", b"\x80\x02(" + storage(name, 0)[:-1] + b"q\x00" + (b"(" + b"h\x00Q" * 10_000 + b"t") * 199 + b"t.",
        more=[("data/" + name, b"")], root="r" * 500)
