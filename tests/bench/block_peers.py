"""The paper's block in PyTorch and JAX beside ours, in one call: ms a block by the slope between two depths.

usage: block_peers.py [--ours SHALLOW DEEP | --figures FILE] [--released CHECKOUT] [--sample N] [--only PEER,...] [--compile] [--json FILE]
                      [BATCH...]     --compile with no batch: what --sample takes alone

Width 1024, 8 heads of 128, FFN 3072, 256 image + 64 text tokens, bf16, post-norm MV-Split. Forward + backward at each
batch (default 16 128), nothing recomputed, and one evaluation at batch N (default 8; 0: none). Depths 2 and 6, or 1 and 2
where compiling takes long (torch.compile: ten seconds a block).

peers     eager-graph, inductor-graph (torch.compile): the step as one CUDA graph; xla (JAX, scan over the blocks, jit).
          PyTorch takes the faster of FlashAttention's and cuDNN's attention at each batch, measured here. --only eager or
          inductor is the same launch by launch, which at these depths and small batches measures the host.
ours      two programs of models/dit.mvs, bf16, depths 2 and 6, compiled with --gpu: their `bench --json` runs between
          PyTorch and JAX, the median of three rounds; or FILE, the block.json that block.sh has just made of them
released  a checkout of erwold/mv-split: its own block with its Triton kernels. released-checkpointed is how it was trained, each
          block run again in the backward pass, launch by launch; -graph the same as one CUDA graph; released keeps all

--compile compiles only, into the caches of PyTorch and of JAX (where JAX_COMPILATION_CACHE_DIR names a folder): several such
runs at a time, a batch each, leave little to compile to the run that measures.

Every time is the better of two medians over runs that fill 0.15 s after warm-up: clock and power are those of long work."""
import argparse
import contextlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.4")
WIDTH, HEADS, FFN, IMAGE, TEXT = 1024, 8, 3072, 256, 64
TOKENS, HEAD = IMAGE + TEXT, WIDTH // HEADS
DEPTHS, COMPILED_DEPTHS = (2, 6), (1, 2)
SECONDS = 0.15
COMPILE_ONLY = False  # --compile


def repeat(run, wait):
    """The better of two medians of milliseconds a run: as many runs as fill SECONDS, five parts, after a warm-up."""
    if COMPILE_ONLY:
        run()
        wait()
        return 0.0
    for _ in range(3):
        run()
    wait()
    begin = time.perf_counter()
    run()
    wait()
    count = max(1, int(SECONDS / 5 / max(time.perf_counter() - begin, 1e-6)))
    medians = []
    for _ in range(2):
        parts = []
        for _ in range(6):
            begin = time.perf_counter()
            for _ in range(count):
                run()
            wait()
            parts.append((time.perf_counter() - begin) / count * 1e3)
        medians.append(statistics.median(parts[1:]))
    return min(medians)


# --- PyTorch ---

class Torch:
    """The block's definition; made once torch is imported."""

    def __init__(self):
        import torch
        import torch.nn.functional as F
        self.torch, self.F = torch, F
        self.backend = None

    def rms(self, x, eps):
        """x over its root mean square, float32 inside."""
        y = x.float()
        return (y * self.torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + eps)).to(x.dtype)

    def token_mean(self, x):
        """The float32 mean of each segment over its tokens, stretched."""
        y = x.float()
        return self.torch.cat([y[:, :IMAGE].mean(1, keepdim=True).expand(-1, IMAGE, -1),
                               y[:, IMAGE:].mean(1, keepdim=True).expand(-1, TEXT, -1)], 1)

    def merge(self, x, f, alpha, beta):
        """MV-Split and the norm behind it."""
        mean = self.token_mean(f)
        z = x.float() + beta * (f.float() - mean) + alpha * (mean - self.token_mean(x))
        return self.rms(z.to(x.dtype), 1e-5)

    def block(self, w, x, cos, sin):
        """Attention and SwiGLU. w: the block's weights in the order of weights()."""
        torch, F = self.torch, self.F
        qkv, o, w13, w2, a1, b1, a2, b2 = w
        b = x.shape[0]
        q, k, v = F.linear(x, qkv).view(b, TOKENS, 3, HEADS, HEAD).unbind(2)

        def turn(y):
            y1, y2 = y.float().chunk(2, -1)
            return self.rms(torch.cat([y1 * cos + y2 * sin, y2 * cos - y1 * sin], -1).to(x.dtype), 1e-6).transpose(1, 2)

        a = F.scaled_dot_product_attention(turn(q), turn(k), v.transpose(1, 2))
        x = self.merge(x, F.linear(a.transpose(1, 2).reshape(b, TOKENS, WIDTH), o), a1, b1)
        gate, value = F.linear(x, w13).chunk(2, -1)
        return self.merge(x, F.linear(F.silu(gate) * value, w2), a2, b2)

    def weights(self, grad):
        """Matrices in bf16, gains in float32."""
        torch = self.torch
        shapes = [(3 * WIDTH, WIDTH), (WIDTH, WIDTH), (2 * FFN, WIDTH), (WIDTH, FFN)]
        out = [torch.randn(s, device="cuda", dtype=torch.bfloat16).mul_(0.02) for s in shapes]
        out += [torch.full((WIDTH,), float(at % 2), device="cuda") for at in range(4)]
        return [w.requires_grad_(grad) for w in out]

    def stack(self, depth, grad):
        """A function of x over fresh blocks, and their weights."""
        angle = self.torch.rand(TOKENS, 1, HEAD // 2, device="cuda")
        cos, sin = angle.cos(), angle.sin()
        blocks = [self.weights(grad) for _ in range(depth)]

        def run(x):
            for w in blocks:
                x = self.block(w, x, cos, sin)
            return x
        return run, [leaf for w in blocks for leaf in w]

    def choose_attention(self, batch):
        """The faster kernel, forward + backward, at this batch; used from now on."""
        from torch.nn.attention import SDPBackend, sdpa_kernel
        torch, F = self.torch, self.F
        q, k, v = (torch.randn(batch, TOKENS, HEADS, HEAD, device="cuda", dtype=torch.bfloat16).transpose(1, 2)
                   .requires_grad_() for _ in range(3))
        times = {}
        for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION):
            try:
                with sdpa_kernel(backend):
                    g = torch.randn_like(F.scaled_dot_product_attention(q, k, v))
                    times[backend] = repeat(lambda: F.scaled_dot_product_attention(q, k, v).backward(g),
                                            torch.cuda.synchronize)
            except RuntimeError:
                pass
        self.backend = min(times, key=times.get)
        return {str(b).split(".")[-1]: t for b, t in times.items()}

    def times(self, run, leaves, x, grad, compiled, graphs):
        """Milliseconds of forward (+ backward) of a function of x: launch by launch, and as one CUDA graph. Gradients
        are made anew, since adding them to older ones costs a pass that ours does not take."""
        from torch.nn.attention import sdpa_kernel
        torch = self.torch
        call = torch.compile(run, dynamic=False) if compiled else run
        g = torch.randn_like(x)

        def step():
            with sdpa_kernel(self.backend) if self.backend else contextlib.nullcontext():
                if grad:
                    torch.autograd.grad(call(x), leaves, g)
                else:
                    with torch.no_grad():
                        call(x)
        out = {False: repeat(step, torch.cuda.synchronize)} if False in graphs else {}
        if True in graphs:
            stream = torch.cuda.Stream()
            with torch.cuda.stream(stream):
                for _ in range(3):
                    step()
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=stream):
                step()
            out[True] = repeat(graph.replay, torch.cuda.synchronize)
        return out

    def slopes(self, batch, grad, compiled, graphs, make=None):
        """ms a block, by whether it is one CUDA graph. What is compiled is shallow: it takes seconds a block. make: another
        stack() than ours."""
        torch = self.torch
        depths = COMPILED_DEPTHS if compiled else DEPTHS
        x = torch.randn(batch, TOKENS, WIDTH, device="cuda", dtype=torch.bfloat16).requires_grad_(grad)
        found = []
        for depth in depths:
            torch._dynamo.reset()
            run, leaves = (make or self.stack)(depth, grad)
            begin = time.perf_counter()
            found.append(self.times(run, [x, *leaves], x, grad, compiled, graphs))
            if compiled:
                print(f"  # compiling and timing {depth} took {time.perf_counter() - begin:.0f} s", flush=True)
        return {graph: (found[1][graph] - found[0][graph]) / (depths[1] - depths[0]) for graph in graphs}


# --- the released repository ---

def without_einops():
    """A stand-in for the two rearrangements that the released block asks of einops, where that is not installed."""
    import types

    def rearrange(x, pattern, h=None):
        if pattern.split("->")[0].strip() == "b l (h d)":
            return x.unflatten(2, (h, -1)).transpose(1, 2)
        return x.transpose(1, 2).flatten(2)

    sys.modules["einops"] = types.SimpleNamespace(rearrange=rearrange)


def released_stack(checkout, pt, checkpointed):
    """stack(depth, grad) of the checkout's own block: class DiTBlock of dit.py. checkpointed: a block keeps its input alone;
    no random numbers are drawn in it, so none need to be drawn again."""
    torch = pt.torch
    from torch.utils.checkpoint import checkpoint
    if importlib.util.find_spec("einops") is None:
        without_einops()
    if checkout not in sys.path:
        sys.path.insert(0, checkout)
    import dit
    if not (dit.TRITON_AVAILABLE and dit.FUSED_MVSPLIT_AVAILABLE):
        raise SystemExit(f"{checkout}: its Triton kernels do not load")
    angle = torch.rand(1, 1, TOKENS, HEAD // 2, device="cuda")
    rope = (angle.cos(), angle.sin())

    def stack(depth, grad):
        blocks = [dit.DiTBlock(WIDTH, HEADS, HEADS, FFN, qkv_bias=False).to("cuda", torch.bfloat16).requires_grad_(grad)
                  for _ in range(depth)]

        def run(x):
            for block in blocks:
                if checkpointed and grad:
                    x = checkpoint(block, x, rope=rope, L_img=IMAGE, use_reentrant=False, preserve_rng_state=False)
                else:
                    x = block(x, rope=rope, L_img=IMAGE)
            return x
        return run, [leaf for block in blocks for leaf in block.parameters()]
    return stack


# --- JAX ---

class Jax:
    """The same block, blocks stacked and scanned over."""

    def __init__(self):
        import jax
        import jax.numpy as jnp
        self.jax, self.jnp = jax, jnp

    def rms(self, x, eps):
        jnp = self.jnp
        y = x.astype(jnp.float32)
        return (y * self.jax.lax.rsqrt(jnp.mean(y * y, -1, keepdims=True) + eps)).astype(x.dtype)

    def token_mean(self, x):
        jnp = self.jnp
        y = x.astype(jnp.float32)
        part = lambda z: jnp.broadcast_to(jnp.mean(z, 1, keepdims=True), z.shape)
        return jnp.concatenate([part(y[:, :IMAGE]), part(y[:, IMAGE:])], 1)

    def merge(self, x, f, alpha, beta):
        jnp = self.jnp
        mean = self.token_mean(f)
        z = x.astype(jnp.float32) + beta * (f.astype(jnp.float32) - mean) + alpha * (mean - self.token_mean(x))
        return self.rms(z.astype(x.dtype), 1e-5)

    def block(self, x, w):
        jax, jnp = self.jax, self.jnp
        qkv, o, w13, w2, a1, b1, a2, b2, cos, sin = w
        b = x.shape[0]
        y = (x @ qkv).reshape(b, TOKENS, 3, HEADS, HEAD)

        def turn(z):
            z1, z2 = jnp.split(z.astype(jnp.float32), 2, -1)
            return self.rms(jnp.concatenate([z1 * cos + z2 * sin, z2 * cos - z1 * sin], -1).astype(x.dtype), 1e-6)

        a = jax.nn.dot_product_attention(turn(y[:, :, 0]), turn(y[:, :, 1]), y[:, :, 2], implementation=self.attention)
        x = self.merge(x, a.reshape(b, TOKENS, WIDTH) @ o, a1, b1)
        gate, value = jnp.split(x @ w13, 2, -1)
        return self.merge(x, (jax.nn.silu(gate) * value) @ w2, a2, b2)

    def time(self, depth, batch, grad):
        jax, jnp = self.jax, self.jnp
        keys = iter(jax.random.split(jax.random.PRNGKey(0), 16))
        normal = lambda *s: 0.02 * jax.random.normal(next(keys), s, jnp.bfloat16)
        w = [normal(depth, WIDTH, 3 * WIDTH), normal(depth, WIDTH, WIDTH), normal(depth, WIDTH, 2 * FFN),
             normal(depth, FFN, WIDTH)] + [jnp.full((depth, WIDTH), float(at % 2)) for at in range(4)]
        angle = jax.random.uniform(next(keys), (TOKENS, 1, HEAD // 2))
        x = jax.random.normal(next(keys), (batch, TOKENS, WIDTH), jnp.bfloat16)
        g = jax.random.normal(next(keys), x.shape, jnp.bfloat16)

        def forward(x, w):
            body = lambda y, each: (self.block(y, (*each, jnp.cos(angle), jnp.sin(angle))), None)
            return jax.lax.scan(body, x, w)[0]

        def both(x, w, g):
            _, back = jax.vjp(forward, x, w)
            return back(g)

        run = jax.jit(both) if grad else jax.jit(lambda x, w, g: forward(x, w))
        last = [run(x, w, g)]

        def step():
            last[0] = run(x, w, g)

        return repeat(step, lambda: jax.block_until_ready(last[0]))

    def slope(self, batch, grad):
        """ms a block, with cuDNN's attention where it takes it."""
        self.attention = "cudnn"
        try:
            times = [self.time(depth, batch, grad) for depth in DEPTHS]
        except (RuntimeError, ValueError):  # this version or GPU has no such kernel
            self.attention = "xla"
            times = [self.time(depth, batch, grad) for depth in DEPTHS]
        return (times[1] - times[0]) / (DEPTHS[1] - DEPTHS[0])


# --- ours ---

FIGURES = ("core_ms", "core_floor_ms", "core_turns_ms", "step_ms", "step_floor_ms")


def figures(path, batch, sample):
    """Those of a block that block.sh has measured."""
    found = [row for row in json.load(open(path)) if (row["batch"], row["core"]) == (batch, "forward" if sample else "grad")]
    if not found:
        sys.exit(f"{path}: nothing at batch {batch}")
    return {k: found[0][k] for k in FIGURES}


def ours(programs, batch, sample):
    """Figures of a block by the slope of two runs of `bench`."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for program in programs:
            out = os.path.join(folder, "out.json")
            options = ["--seconds", str(SECONDS)] + (["--sample"] if sample else ["--recompute", "none"])
            subprocess.run([program, "bench", "--batch", str(batch), "--json", out, "--device", "cuda", *options],
                           check=True, stdout=subprocess.DEVNULL)
            rows.append(json.load(open(out)))
    blocks = rows[1]["blocks"] - rows[0]["blocks"]
    return {k: (rows[1][k] - rows[0][k]) / blocks for k in FIGURES}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", nargs=2, metavar=("SHALLOW", "DEEP"))
    parser.add_argument("--figures")
    parser.add_argument("--released")
    parser.add_argument("--sample", type=int, default=8)
    parser.add_argument("--json")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--only", default="eager-graph,inductor-graph,xla,released-checkpointed,released-checkpointed-graph,"
                                          "released-graph")
    parser.add_argument("batches", nargs="*", type=int)
    asked = parser.parse_args()
    global COMPILE_ONLY
    COMPILE_ONLY = asked.compile
    only = asked.only.split(",")
    batches = asked.batches or ([] if asked.compile else [16, 128])
    work = [(b, True) for b in batches] + ([(asked.sample, False)] if asked.sample else [])
    results, pt, jx = [], None, None
    for batch, grad in work:
        row = {"batch": batch, "work": "forward + backward" if grad else "forward", "ms": {}}
        results.append(row)
        print(row["work"], "batch", batch, flush=True)

        def note(name, call):
            """call gives ms a block by whether it is a graph, or a number."""
            begin = time.perf_counter()
            found = call()
            found = found if isinstance(found, dict) else {False: found}
            for graph, ms in found.items():
                full = name + ("-graph" if graph else "")
                row["ms"][full] = ms
                print(f"  {full:18} {ms:8.4f} ms a block   ({time.perf_counter() - begin:.0f} s)", flush=True)

        for name in ("eager", "inductor"):
            graphs = [graph for graph in (False, True) if name + ("-graph" if graph else "") in only]
            if graphs:
                pt = pt or Torch()
                if "attention" not in row:
                    row["attention"] = pt.choose_attention(batch)
                note(name, lambda: pt.slopes(batch, grad, name == "inductor", graphs))
        for name in ("released-checkpointed", "released"):
            graphs = [graph for graph in (False, True) if name + ("-graph" if graph else "") in only]
            if asked.released and graphs and (grad or name == "released"):
                pt = pt or Torch()
                pt.backend = None  # its own choice
                make = released_stack(asked.released, pt, name != "released")
                note(name, lambda: pt.slopes(batch, grad, False, graphs, make))
        if pt:
            pt.torch.cuda.empty_cache()
        if (asked.ours or asked.figures) and not COMPILE_ONLY:
            begin = time.perf_counter()
            row["ours"] = ours(asked.ours, batch, not grad) if asked.ours else figures(asked.figures, batch, not grad)
            mine = row["ms"]["mvcc"] = row["ours"]["core_ms"]
            print(f"  {'mvcc':18} {mine:8.4f} ms a block   ({time.perf_counter() - begin:.0f} s); "
                  f"{mine / row['ours']['core_floor_ms']:.3f} x its floor, {mine / row['ours']['core_turns_ms']:.3f} x it in "
                  f"turns; whole step {row['ours']['step_ms']:.4f}", flush=True)
        if "xla" in only:
            jx = jx or Jax()
            note("xla", lambda: jx.slope(batch, grad))
        for name, ms in row["ms"].items():
            if "mvcc" in row["ms"] and name != "mvcc":
                print(f"  mvcc / {name:15} {mine / ms:.3f}", flush=True)
    if asked.json:
        versions = {m: sys.modules[m].__version__ for m in ("torch", "triton", "jax") if m in sys.modules}
        json.dump({"versions": versions, "rows": results}, open(asked.json, "w"), indent=1)


main()
