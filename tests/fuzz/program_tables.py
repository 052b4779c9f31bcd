"""The tables behind an executable without its code, as a seed of the target `program`: program_tables.py EXECUTABLE OUT.

Made anew for each run: bytes that were kept are refused by the reader as soon as the format or one of its checks changes, and
then nothing behind those is reached. Without code, since the fuzzer would turn its bytes; addresses in it become 0."""
import struct
import sys

# program.proto: Program.kernels and .host_code; Kernel.stages and .forms, HostForm.stages; Stage.nests; Nest.address.
NEST = {"drop": 2}
STAGE = {1: NEST}
FORM = {2: STAGE}
PROGRAM = {9: {3: STAGE, 21: FORM}, "replace": (12, bytes(16))}


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 128:
            return value, at


def number(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def rewrite(data, rules):
    out, at = b"", 0
    while at < len(data):
        begin = at
        key, at = varint(data, at)
        field, kind = key >> 3, key & 7
        if kind == 2:
            size, at = varint(data, at)
            inside, at = data[at:at + size], at + size
            if field in rules:
                inside = rewrite(inside, rules[field])
            if field == rules.get("replace", (0, 0))[0]:
                inside = rules["replace"][1]
            out += number(key) + number(len(inside)) + inside
            continue
        at = varint(data, at)[1] if kind == 0 else at + (8 if kind == 1 else 4)
        if field != rules.get("drop"):
            out += data[begin:at]
    return out


program = open(sys.argv[1], "rb").read()
frame = program.rindex(b"MVSPROG2")
size = struct.unpack_from("<Q", program, frame + 8)[0]
with open(sys.argv[2], "wb") as out:
    out.write(rewrite(program[frame + 24:frame + 24 + size], PROGRAM))
