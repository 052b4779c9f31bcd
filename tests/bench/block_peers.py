"""The paper's block in PyTorch on a GPU: forward + backward of one block, by the slope between two depths.

usage: block_peers.py [BATCH...]      prints one JSON line for each (mode, batch)

Width 1024, 8 heads of 128, FFN 3072, 256 image + 64 text tokens, bf16, post-norm MV-Split. Modes: eager;
inductor (torch.compile); inductor-graph (the compiled step replayed as a CUDA graph). Nothing is
recomputed. Also the floor's parts, measured in the same run under the same load: the block's matmuls
(forward, dX, dW) and attention over rotating buffers, and the speed of a device-to-device copy."""
import json
import statistics
import sys

import torch
import torch.nn.functional as F

WIDTH, HEADS, FFN, IMAGE, TEXT = 1024, 8, 3072, 256, 64
TOKENS, HEAD = IMAGE + TEXT, WIDTH // HEADS
BF16 = torch.bfloat16


def rms(x, eps):
    """x over its root mean square, float32 inside."""
    y = x.float()
    return (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + eps)).to(x.dtype)


def token_mean(x):
    """The float32 mean of each segment over its tokens, stretched."""
    y = x.float()
    return torch.cat([y[:, :IMAGE].mean(1, keepdim=True).expand(-1, IMAGE, -1),
                      y[:, IMAGE:].mean(1, keepdim=True).expand(-1, TEXT, -1)], 1)


def merge(x, f, alpha, beta):
    """MV-Split and the norm behind it."""
    mean = token_mean(f)
    return rms((x.float() + beta * (f.float() - mean) + alpha * (mean - token_mean(x))).to(BF16), 1e-5)


class Block(torch.nn.Module):
    """Attention and SwiGLU."""

    def __init__(self):
        super().__init__()
        weight = lambda o, i: torch.nn.Parameter(torch.randn(o, i, device="cuda", dtype=BF16) * 0.02)
        gain = lambda v: torch.nn.Parameter(torch.full((WIDTH,), v, device="cuda"))
        self.qkv, self.o = weight(3 * WIDTH, WIDTH), weight(WIDTH, WIDTH)
        self.w13, self.w2 = weight(2 * FFN, WIDTH), weight(WIDTH, FFN)
        self.a1, self.b1, self.a2, self.b2 = gain(0.0), gain(1.0), gain(0.0), gain(1.0)

    def forward(self, x, cos, sin):
        b = x.shape[0]
        q, k, v = F.linear(x, self.qkv).view(b, TOKENS, 3, HEADS, HEAD).unbind(2)

        def turn(y):
            y1, y2 = y.float().chunk(2, -1)
            return rms(torch.cat([y1 * cos + y2 * sin, y2 * cos - y1 * sin], -1).to(BF16), 1e-6).transpose(1, 2)

        a = F.scaled_dot_product_attention(turn(q), turn(k), v.transpose(1, 2))
        x = merge(x, F.linear(a.transpose(1, 2).reshape(b, TOKENS, WIDTH), self.o), self.a1, self.b1)
        gate, value = F.linear(x, self.w13).chunk(2, -1)
        return merge(x, F.linear(F.silu(gate) * value, self.w2), self.a2, self.b2)


class Stack(torch.nn.Module):
    """Blocks with their RoPE table."""

    def __init__(self, depth):
        super().__init__()
        self.blocks = torch.nn.ModuleList(Block() for _ in range(depth))
        angle = torch.rand(TOKENS, 1, HEAD // 2, device="cuda")
        self.cos, self.sin = angle.cos(), angle.sin()

    def forward(self, x):
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return x


def time_ms(run, repeats=20):
    """Median milliseconds by CUDA events."""
    for _ in range(5):
        run()
    torch.cuda.synchronize()
    times = []
    for _ in range(repeats):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def stack_ms(mode, depth, batch):
    """Forward + backward of a stack."""
    stack = Stack(depth)
    call = stack if mode == "eager" else torch.compile(stack)
    x = torch.randn(batch, TOKENS, WIDTH, device="cuda", dtype=BF16, requires_grad=True)
    g = torch.randn_like(x)

    def step():
        call(x).backward(g)

    if mode != "inductor-graph":
        return time_ms(step)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        step()
    return time_ms(graph.replay)


def floor_ms(batch):
    """Matmuls and attention of one block, and the seconds per byte of a copy."""
    rows = batch * TOKENS
    shapes = [(3 * WIDTH, WIDTH), (WIDTH, WIDTH), (2 * FFN, WIDTH), (WIDTH, FFN)]
    sets = []
    for _ in range(3):
        sets.append([(torch.randn(rows, i, device="cuda", dtype=BF16), torch.randn(rows, o, device="cuda", dtype=BF16),
                      torch.randn(o, i, device="cuda", dtype=BF16)) for o, i in shapes])
    turn = [0]

    def matmuls():
        turn[0] += 1
        for x, y, w in sets[turn[0] % 3]:
            x @ w.T
            y @ w
            y.T @ x

    q, k, v = (torch.randn(batch, HEADS, TOKENS, HEAD, device="cuda", dtype=BF16, requires_grad=True) for _ in range(3))
    g = torch.randn_like(q)

    def attention():
        F.scaled_dot_product_attention(q, k, v).backward(g)

    source = torch.empty(1 << 29, device="cuda", dtype=torch.int32)
    target = torch.empty_like(source)
    copy = time_ms(lambda: target.copy_(source))
    return {"matmuls": time_ms(matmuls), "attention": time_ms(attention), "copy_tb_s": 4 * 2 ** 30 / copy / 1e9}


def main():
    print(json.dumps({"gpu": torch.cuda.get_device_name(), "torch": torch.__version__}), flush=True)
    for batch in [int(a) for a in sys.argv[1:]] or [16, 128]:
        print(json.dumps({"floor": floor_ms(batch), "batch": batch}), flush=True)
        for mode in ["eager", "inductor", "inductor-graph"]:
            torch._dynamo.reset()
            shallow, deep = stack_ms(mode, 2, batch), stack_ms(mode, 6, batch)
            print(json.dumps({"mode": mode, "batch": batch, "ms_per_block": (deep - shallow) / 4}), flush=True)


main()
