"""How far float32 is from float64 in a program's kernels of rows, on operands drawn as gpu_check draws them: what of a
difference between GPU and host the operands can explain. Kernels of several nests or with rotations of axes are left out.
usage: mvcc MODEL --emit kernels >KERNELS; conditioning.py KERNELS        (needs numpy)"""
import re
import sys

import numpy as np

ROWS = 1024
OPS = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "neg": np.negative, "exp": np.exp,
       "log": np.log, "sqrt": np.sqrt, "rsqrt": lambda a: 1 / np.sqrt(a), "tanh": np.tanh, "sin": np.sin, "cos": np.cos,
       "sigmoid": lambda a: 1 / (1 + np.exp(-a)), "abs": np.abs, "floor": np.floor, "max": np.maximum,
       "min": np.minimum, "select": lambda a, b, c: np.where(a != 0, b, c), "less": np.less, "equal": np.equal,
       "cast": lambda a: a, "fma": lambda a, b, c: a * b + c}


def places(access, inner):
    """The operand and the places in it, [ROWS, inner or 1], of an access "#3[24; 1; from 7]"."""
    number, outer, step, start = re.match(r"#(\d+)\[([^;]*); (-?\d+)(?:; from (\d+))?", access).groups()
    rows = np.arange(ROWS)[:, None] * int(outer.split(",")[-1] or 0)
    return int(number), rows + np.arange(inner if int(step) else 1) * int(step) + int(start or 0)


def run(lines, inner, drawn, dtype):
    """What the kernel stores, operand by operand."""
    values, stored = {}, {}
    for line in lines:
        store = re.match(r"\s+store (#.*?\]) (%\d+)", line)
        if store:
            stored.setdefault(places(store[1], inner)[0], []).append(np.broadcast_to(values[store[2]], (ROWS, inner)))
        made = re.match(r"\s+(%\d+) = (\w+) (.*?) : ", line)
        if not made:
            continue
        name, op, rest = made.groups()
        taken = [values[word] for word in re.findall(r"%\d+", rest)]
        if op == "load":
            operand, at = places(rest, inner)
            value = drawn(operand, at.max() + 1)[at]
        elif op == "constant":
            value = np.full((ROWS, 1), float(rest))
        elif op == "reduce":
            row = np.broadcast_to(taken[0], (ROWS, inner))
            value = row.sum(-1, keepdims=True, dtype=dtype) if "sum" in rest else row.max(-1, keepdims=True)
        elif op in ("layer", "index"):
            value = np.zeros((ROWS, 1))
        else:
            value = OPS[op](*taken)
        values[name] = value.astype(dtype)
    return {operand: np.stack(parts).astype(float) for operand, parts in stored.items()}


def check(name, lines):
    inner = int(re.search(r"inner (\d+)", lines[1])[1])
    tensors, random = {}, np.random.default_rng(1)

    def drawn(operand, size):
        have = tensors.get(operand, np.zeros(0, np.float32))
        if have.size < size:
            tensors[operand] = np.append(have, (0.1 + random.random(size - have.size)).astype(np.float32))
        return tensors[operand]
    truth = run(lines, inner, drawn, np.float64)
    got = run(lines, inner, drawn, np.float32)
    apart = {k: np.linalg.norm(got[k] - v) / (np.linalg.norm(v) or 1) for k, v in truth.items()}
    worst = max(apart, key=apart.get)
    print(f"{apart[worst]:.1e} {name}, operand #{worst}")


text = open(sys.argv[1]).read()
for name, body in re.findall(r"^# (k\d+_rows).*\nkernel (.*\n(?:  .*\n)*)", text, re.M):
    lines = body.splitlines()
    if sum("  nest " in line for line in lines) == 1 and "inner B" not in lines[1] and not re.search(r"\brandom\b", body):
        check(name, lines)
