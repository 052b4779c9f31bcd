"""Whole training steps on the CPU beside PyTorch: the same model, batch, optimizer and number of threads, in interleaved pairs.

usage: step_peers.py BUILD [MODEL...] [--rounds N] [--threads N] [--peers PEER,...] [--least RATIO] [--json FILE]

MODEL   digits: models/digits.mvs as it stands: 8 blocks of width 64, 4 heads, FFN 192, 16 image + 4 label tokens, batch 64, f32
        dit-f32, dit-bf16: models/dit.mvs with 12 blocks of width 512, 8 heads, FFN 1536, 16 channels, 256 image + 64 text tokens, batch 4
PEER    eager; compiled: torch.compile of loss and gradients, fused AdamW behind it; whole: clip, AdamW and average compiled
        too, which was slower (33 ms for 31.5 of digits). Default: the first two. The faster of the last two counts.

A peer is a process of its own which waits, asleep, until it is asked for steps; ours runs `X train` on one fixed batch. A round asks
each of them once, in turn; a ratio is of two medians of one round, and the median of the ratios is told with their quartiles.
With --least a ratio below it (times the target of the page docs/performance.md) makes the exit status 1.

The peers are written as one would for speed: packed q, k, v, scaled_dot_product_attention, foreach clip, fused AdamW, static shapes;
in bf16 autocast over f32 weights, as ours has bf16 products over f32 weights. Needs python3 with torch and numpy."""
import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
DIT = {"file": "dit.mvs", "depth": 12, "width": 512, "heads": 8, "ffn": 1536, "channels": 16, "side": 16, "patch": 1, "text": 64,
       "label": False, "batch": 4, "steps": 2, "warm": 3, "adam": {"lr": 1.5625e-4, "betas": (0.9, 0.999), "weight_decay": 0.1}, "ema": 0.0}
MODELS = {
    "digits": {"file": "digits.mvs", "depth": 8, "width": 64, "heads": 4, "ffn": 192, "channels": 1, "side": 8, "patch": 2, "text": 4,
               "label": True, "batch": 64, "steps": 20, "warm": 5, "bf16": False,
               "adam": {"lr": 2e-3, "betas": (0.9, 0.99), "weight_decay": 0.01}, "ema": 0.99},
    "dit-f32": dict(DIT, bf16=False),
    "dit-bf16": dict(DIT, bf16=True),
}
# What is to be reached (docs/performance.md): the peer's time over ours.
TARGETS = {("digits", "compiled"): 1.5, ("digits", "eager"): 6.0, ("dit-f32", "compiled"): 1.2, ("dit-bf16", "compiled"): 1.2}


# --- the peer ---

def define(torch, c):
    """The model of configuration c, a module from (z, condition) to the velocity."""
    F, nn = torch.nn.functional, torch.nn
    width, heads, image, text = c["width"], c["heads"], (c["side"] // c["patch"]) ** 2, c["text"]
    size = width // heads

    def rms(x, eps):
        return F.rms_norm(x, x.shape[-1:], eps=eps)

    def token_mean(x):
        parts = x[:, :image], x[:, image:]
        return torch.cat([part.mean(1, keepdim=True).expand_as(part) for part in parts], 1)

    class Merge(nn.Module):
        """MV-Split and the norm behind it."""

        def __init__(self):
            super().__init__()
            self.alpha, self.beta = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.ones(width))

        def forward(self, x, f):
            f = f.float()
            mean = token_mean(f)
            return rms(x + self.beta * (f - mean) + self.alpha * (mean - token_mean(x)), 1e-5)

    class Block(nn.Module):
        """Attention and SwiGLU, each merged into the stream."""

        def __init__(self):
            super().__init__()
            linear = lambda i, o: nn.Linear(i, o, bias=False)
            self.qkv, self.o = linear(width, 3 * width), linear(width, width)
            self.w13, self.w2 = linear(width, 2 * c["ffn"]), linear(c["ffn"], width)
            self.merge1, self.merge2 = Merge(), Merge()

        def forward(self, x, cos, sin):
            b, t, _ = x.shape
            q, k, v = self.qkv(x).view(b, t, 3, heads, size).unbind(2)

            def turn(y):
                y1, y2 = y.float().chunk(2, -1)
                return rms(torch.cat([y1 * cos + y2 * sin, y2 * cos - y1 * sin], -1), 1e-6).to(v.dtype).transpose(1, 2)

            a = F.scaled_dot_product_attention(turn(q), turn(k), v.transpose(1, 2))
            x = self.merge1(x, self.o(a.transpose(1, 2).reshape(b, t, width)))
            gate, value = self.w13(x).chunk(2, -1)
            return self.merge2(x, self.w2(F.silu(gate) * value))

    class Model(nn.Module):
        """The whole model; a class label or text of its own width."""

        def __init__(self):
            super().__init__()
            self.patch = nn.Conv2d(c["channels"], width, c["patch"], c["patch"])
            if c["label"]:
                self.label = nn.Embedding(11, text * width)
            self.blocks = nn.ModuleList(Block() for _ in range(c["depth"]))
            self.final = nn.Linear(width, c["channels"] * c["patch"] ** 2)
            rows = c["side"] // c["patch"]
            frequency = 10000.0 ** (-torch.arange(size // 4) / (size // 4))
            across, down = torch.arange(rows).repeat(rows), torch.arange(rows).repeat_interleave(rows)
            angle = torch.cat([down[:, None] * frequency, across[:, None] * frequency], 1)
            angle = torch.cat([angle, torch.zeros(text, size // 2)])[:, None]
            self.register_buffer("cos", angle.cos())
            self.register_buffer("sin", angle.sin())

        def forward(self, z, condition):
            rows, patch = c["side"] // c["patch"], c["patch"]
            words = self.label(condition).view(-1, text, width) if c["label"] else condition
            x = torch.cat([rms(self.patch(z).flatten(2).transpose(1, 2).float(), 1e-5), rms(words, 1e-5)], 1)
            for block in self.blocks:
                x = block(x, self.cos, self.sin)
            y = self.final(x[:, :image]).view(-1, rows, rows, patch, patch, c["channels"])
            return y.permute(0, 5, 1, 3, 2, 4).reshape(z.shape)

    return Model()


def training(torch, c, peer):
    """One training step of the peer, as a function."""
    model = define(torch, c)
    adam = dict(c["adam"], fused=True)
    if peer == "whole":  # what torch.compile fuses with clip and average
        adam = dict(c["adam"], foreach=True)
    optimizer = torch.optim.AdamW(model.parameters(), **adam)
    weights = list(model.parameters())
    average = [w.detach().clone() for w in weights]
    shape = (c["batch"], c["channels"], c["side"], c["side"])
    x0 = torch.rand(shape)
    condition = torch.randint(0, 11, shape[:1]) if c["label"] else torch.randn(shape[0], c["text"], c["width"])

    def loss_of(x0, x1, t, condition):
        with torch.autocast("cpu", torch.bfloat16, enabled=c["bf16"]):
            velocity = model((1 - t) * x0 + t * x1, condition)
        return (velocity.float() - (x0 - x1)).pow(2).mean()

    def update():
        torch.nn.utils.clip_grad_norm_(weights, 1.0, foreach=True)
        optimizer.step()
        if c["ema"]:
            with torch.no_grad():
                torch._foreach_lerp_(average, weights, 1 - c["ema"])

    if peer != "eager":
        loss_of = torch.compile(loss_of, dynamic=False, fullgraph=True)
    if peer == "whole":
        update = torch.compile(update, dynamic=False)

    def step():
        x1, t = torch.randn(shape), torch.rand(shape[0], 1, 1, 1)
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(x0, x1, t, condition)
        loss.backward()
        update()
        return loss.item()  # ours logs it too

    return step


def serve(name, peer, threads):
    """Warms up, then answers every line with the median milliseconds of some steps."""
    import torch
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    c = MODELS[name]
    step = training(torch, c, peer)
    for _ in range(c["warm"]):
        step()
    print(f"ready {torch.__version__}", flush=True)
    for _ in sys.stdin:
        times = []
        step()  # wakes the threads up
        for _ in range(c["steps"]):
            begin = time.perf_counter()
            step()
            times.append((time.perf_counter() - begin) * 1e3)
        print(statistics.median(times), flush=True)


class Peer:
    """A peer's process."""

    def __init__(self, name, peer, threads):
        environment = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--serve", name, peer, str(threads)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        self.version = self.line().split()[1]

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"step_peers: a peer ended with status {self.process.wait()}")
        return line

    def measure(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.line())

    def end(self):
        self.process.stdin.close()
        self.process.wait()


# --- ours ---

def write_safetensors(path, tensors):
    """numpy's float32 and int32 arrays as a file."""
    header, offset = {}, 0
    for name, array in tensors.items():
        kind = "I32" if array.dtype.kind == "i" else "F32"
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in tensors.values():
            file.write(array.tobytes())


class Ours:
    """Our program on one fixed batch."""

    def __init__(self, build, name, folder, threads):
        import numpy
        c = self.c = MODELS[name]
        self.program, self.batch, self.out = (os.path.join(folder, name + end) for end in (".x", ".batch", ".run"))
        self.threads = threads
        settings = [f"{key}={c[key]}" for key in ("depth", "width", "heads", "ffn")]
        if not c["label"]:
            settings += [f"kv_heads={c['heads']}", f"channels={c['channels']}", f"context_width={c['width']}", f"bf16={str(c['bf16']).lower()}"]
        arguments = [part for setting in settings for part in ("--set", setting)]
        subprocess.run([os.path.join(build, "mvcc"), os.path.join(ROOT, "models", c["file"]), *arguments, "-o", self.program], check=True)
        random = numpy.random.default_rng(0)
        shape = (c["batch"], c["channels"], c["side"], c["side"])
        tensors = {"x0": random.random(shape, numpy.float32), "x1": random.standard_normal(shape, numpy.float32),
                   "t": random.random(shape[0], numpy.float32)}
        if c["label"]:
            tensors["label"] = random.integers(0, 11, shape[0], numpy.int32)
        else:
            tensors["context"] = random.standard_normal((shape[0], c["text"], c["width"]), numpy.float32)
        write_safetensors(self.batch, tensors)

    def measure(self):
        subprocess.run(["rm", "-rf", self.out], check=True)
        steps = self.c["steps"] + 2
        result = subprocess.run([self.program, "train", "--fixed-batch", self.batch, "--steps", str(steps), "--threads", str(self.threads), "--watch",
                                 "off", "--device", "cpu", "--out", self.out], capture_output=True, text=True)
        if result.returncode:
            sys.exit(f"step_peers: {result.stderr}")
        with open(os.path.join(self.out, "metrics.jsonl")) as file:
            rows = [json.loads(line) for line in file]
        return 1e3 * statistics.median(row["seconds"] for row in rows[2:])


# --- pairs ---

def quartiles(values):
    """Median, lower and upper quartile."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return middle, low, high


def compare(build, name, options, folder):
    """Rounds of one model: {peer: [ratio]} and the medians of milliseconds, printed as they come."""
    ours = Ours(build, name, folder, options.threads)
    peers = {peer: Peer(name, peer, options.threads) for peer in options.peers}
    times = {"ours": [], **{peer: [] for peer in peers}}
    for _ in range(options.rounds):
        times["ours"].append(ours.measure())
        for peer, process in peers.items():
            times[peer].append(process.measure())
        print(f"{name}: " + ", ".join(f"{who} {list_[-1]:.1f} ms" for who, list_ in times.items()), flush=True)
    version = next(iter(peers.values())).version if peers else ""
    for process in peers.values():
        process.end()
    figures = {"model": name, "threads": options.threads, "torch": version, "ms": {who: statistics.median(list_) for who, list_ in times.items()}}
    compiled = [peer for peer in peers if peer != "eager"]
    if compiled:
        best = min(compiled, key=lambda peer: figures["ms"][peer])
        times["compiled"], figures["compiled"] = times[best], best
    figures["ratios"] = {}
    for peer in [p for p in ("compiled", "eager") if p in times]:
        middle, low, high = quartiles([theirs / own for theirs, own in zip(times[peer], times["ours"])])
        target = TARGETS.get((name, peer))
        figures["ratios"][peer] = {"ratio": middle, "low": low, "high": high, "target": target}
        print(f"{name}: {'torch.compile' if peer == 'compiled' else peer} over ours {middle:.2f} ({low:.2f} to {high:.2f})"
              + (f", wanted {target}" if target else ""), flush=True)
    return figures


def main():
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], sys.argv[3], int(sys.argv[4]))
        return
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("build")
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", type=lambda text: text.split(","), default=["eager", "compiled"])
    parser.add_argument("--least", type=float, default=0)
    parser.add_argument("--json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        all_figures = [compare(options.build, name, options, folder) for name in options.models or MODELS]
    if options.json:
        with open(options.json, "w") as file:
            json.dump(all_figures, file, indent=1)
    short = [(figures["model"], peer, r) for figures in all_figures for peer, r in figures["ratios"].items()
             if r["target"] and r["ratio"] < options.least * r["target"]]
    for name, peer, r in short:
        print(f"{name}: {r['ratio']:.2f} of {peer} is below {options.least} x {r['target']}")
    sys.exit(1 if short else 0)


main()
