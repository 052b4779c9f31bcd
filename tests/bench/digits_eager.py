"""One training step of models/digits.mvs in eager PyTorch on the CPU: the peer of tests/bench/digits.sh.

The same model: 8 blocks of width 64, 4 heads, FFN 192, 16 image tokens (patch 2) and 4 label tokens,
MV-Split residuals, batch 64, float32, AdamW, clip 1.0. Prints the median milliseconds of a step."""
import statistics
import sys
import time

import torch
import torch.nn.functional as F

DEPTH, WIDTH, HEADS, FFN, BATCH, IMAGE, TEXT = 8, 64, 4, 192, 64, 16, 4


def rms(x, eps):
    """x over the root mean square of its last axis."""
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)


def token_mean(x):
    """The mean of each segment, stretched over its tokens."""
    image, text = x[:, :IMAGE], x[:, IMAGE:]
    return torch.cat([image.mean(1, keepdim=True).expand_as(image),
                      text.mean(1, keepdim=True).expand_as(text)], 1)


class Merge(torch.nn.Module):
    """MV-Split and the norm behind it."""

    def __init__(self):
        super().__init__()
        self.alpha = torch.nn.Parameter(torch.zeros(WIDTH))
        self.beta = torch.nn.Parameter(torch.ones(WIDTH))

    def forward(self, x, f):
        mean = token_mean(f)
        return rms(x + self.beta * (f - mean) + self.alpha * (mean - token_mean(x)), 1e-5)


class Block(torch.nn.Module):
    """Attention and SwiGLU, each merged into the stream."""

    def __init__(self):
        super().__init__()
        linear = lambda i, o: torch.nn.Linear(i, o, bias=False)
        self.q, self.k, self.v, self.o = (linear(WIDTH, WIDTH) for _ in range(4))
        self.w13, self.w2 = linear(WIDTH, 2 * FFN), linear(FFN, WIDTH)
        self.merge1, self.merge2 = Merge(), Merge()

    def forward(self, x, cos, sin):
        b, t, _ = x.shape
        split = lambda y: y.view(b, t, HEADS, WIDTH // HEADS)

        def turn(y):
            y1, y2 = split(y).chunk(2, -1)
            return rms(torch.cat([y1 * cos + y2 * sin, y2 * cos - y1 * sin], -1), 1e-6).transpose(1, 2)

        q, k, v = turn(self.q(x)), turn(self.k(x)), split(self.v(x)).transpose(1, 2)
        a = torch.softmax(q @ k.transpose(-1, -2) * (WIDTH // HEADS) ** -0.5, -1) @ v
        x = self.merge1(x, self.o(a.transpose(1, 2).reshape(b, t, WIDTH)))
        gate, value = self.w13(x).chunk(2, -1)
        return self.merge2(x, self.w2(F.silu(gate) * value))


class Model(torch.nn.Module):
    """The digits model without its sampler."""

    def __init__(self):
        super().__init__()
        self.patch = torch.nn.Conv2d(1, WIDTH, 2, 2)
        self.label = torch.nn.Embedding(11, TEXT * WIDTH)
        self.blocks = torch.nn.ModuleList(Block() for _ in range(DEPTH))
        self.final = torch.nn.Linear(WIDTH, 4)
        quarter = WIDTH // HEADS // 4
        frequency = 10000.0 ** (-torch.arange(quarter) / quarter)
        rows, columns = torch.arange(4).repeat_interleave(4), torch.arange(4).repeat(4)
        angle = torch.cat([rows[:, None] * frequency, columns[:, None] * frequency], 1)
        angle = torch.cat([angle, torch.zeros(TEXT, 2 * quarter)])[:, None]
        self.cos, self.sin = angle.cos(), angle.sin()

    def forward(self, z, label):
        image = rms(self.patch(z).flatten(2).transpose(1, 2), 1e-5)
        text = rms(self.label(label).view(-1, TEXT, WIDTH), 1e-5)
        x = torch.cat([image, text], 1)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        y = self.final(x[:, :IMAGE]).view(-1, 4, 4, 2, 2)
        return y.permute(0, 1, 3, 2, 4).reshape(-1, 1, 8, 8)


def step(model, optimizer):
    """One training step on random data."""
    x0, x1, t = torch.rand(BATCH, 1, 8, 8), torch.randn(BATCH, 1, 8, 8), torch.rand(BATCH, 1, 1, 1)
    velocity = model((1 - t) * x0 + t * x1, torch.randint(0, 11, (BATCH,)))
    loss = (velocity - (x0 - x1)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def main():
    torch.set_num_threads(2)
    model = Model()
    if "--compile" in sys.argv:
        model = torch.compile(model)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    times = []
    for _ in range(25):
        start = time.perf_counter()
        step(model, optimizer)
        times.append((time.perf_counter() - start) * 1e3)
    print(f"{statistics.median(times[5:]):.2f}")


main()
