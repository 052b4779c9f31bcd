"""Writes folders of runs that were never run: FOLDER STEPS SEEDS. Four rules; the first collapses at 60 % of its
steps as the paper's plain stream does, one seed of the last diverges early. What it writes is what trainers write."""
import json, math, os, random, struct, sys, zlib

folder, steps, seeds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rules = ["plain()", "layerscale(gamma = 0.01)", "mvsplit(alpha = 0, beta = 0.0625)", "rezero()"]
layers = [0, 1, 2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 127]
families = ["blocks.operator.q_proj", "blocks.operator.k_proj", "blocks.operator.o_proj", "blocks.ffn.w2"]


def png(value, size=64):
    rows = b"".join(b"\0" + bytes(int(127 + 120 * math.sin(x * y / (40 + value)) ) & 255 for x in range(size)) for y in range(size))
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def write(rule, index, seed):
    rng = random.Random(1000 * index + seed)
    run = os.path.join(folder, f"{index}-{seed}")
    os.makedirs(run)
    options = {"data": "digits", "batch": "128", "lr": "0.001", "betas": "0.9,0.999", "seed": str(seed), "steps": str(steps)}
    facts = {"model": "digits", "residual": rule, "version": "0.1.0", "flat_elements": 20_000_000, "device": "cpu",
             "parameters": 19_876_544 + 256 * index, "memory_bytes": 1_500_000_000 + 90_000_000 * index, "options": options}
    json.dump(facts, open(os.path.join(run, "run.json"), "w"), indent=2)
    floor, speed = [0.62, 0.66, 0.585, 0.7][index], [0.03, 0.02, 0.025, 0.012][index] * 400 / steps
    fall = int(0.6 * steps) + 7 * seed if index == 0 else None
    end = int(0.35 * steps) if index == 3 and seed == 1 else steps
    metrics = open(os.path.join(run, "metrics.jsonl"), "w")
    diagnostics = open(os.path.join(run, "diagnostics.jsonl"), "w")
    alarms = open(os.path.join(run, "alarms.jsonl"), "w")
    alarm = lambda *a: alarms.write(json.dumps(dict(zip(("step", "level", "rule", "text"), a))) + "\n")
    for step in range(1, end + 1):
        after = step - fall if fall else -1
        loss = floor + (1.8 - floor) * math.exp(-speed * step) + rng.gauss(0, 0.012)
        norm = (0.4 + 3 * math.exp(-speed * step)) * math.exp(rng.gauss(0, 0.12))
        if after >= 0:
            loss, norm = 1.57 + rng.gauss(0, 0.01), 60 * math.exp(-after / (0.05 * steps)) + 0.3
        if index == 1 and step == 3 * steps // 4: norm *= 40
        if rng.random() < 4 / steps:
            norm *= 12
            alarm(step, "note", "outlier", f"gradient norm {norm:.3g} is 9 deviations above its median")
        if fall and after in (-int(0.04 * steps), -int(0.015 * steps)):
            alarm(step, "warning", "writer-ratio", "W_O/Q gradient ratio of layers 64-127 grew 14 x over 200 steps")
        if after == 2:
            alarm(step, "collapse", "mean-mode", f"mean-mode collapse at step {step}, layers 32-127: G_mean x 41, token cosine 0.998")
        last = index == 3 and seed == 1 and step == end
        row = {"step": step, "loss": None if last else round(loss, 9), "grad_norm": None if last else round(norm, 9),
               "lr": min(1, step / 100) * 1e-3, "seconds": (0.021 + 0.0006 * index) * math.exp(rng.gauss(0, 0.03))}
        metrics.write(json.dumps(row) + "\n")
        if step % max(1, steps // 100) == 0:
            bad = lambda k: 0 if after < 0 else min(1.0, (k + 4) / 24) * (1 - math.exp(-after / 20))
            tcs = [0.35 + 0.2 * k / 12 + (0.99 - 0.35 - 0.2 * k / 12) * bad(k) + rng.gauss(0, 0.008) for k in range(13)]
            rho = [(0.3 + 0.05 * k) * (1 + 60 * bad(k)) * math.exp(rng.gauss(0, 0.05)) for k in range(13)]
            grads = {f: [norm * (0.2 + 0.1 * k) * 10 ** (-2 + j + (1.5 if "o_proj" in f else -1.5) * bad(k)) * math.exp(rng.gauss(0, 0.2))
                         for k in range(13)] for j, f in enumerate(families)}
            if step < 0.1 * steps: rho[5] = None
            tables = {"rho": {"layers": layers, "sites": {"blocks.operator": rho, "blocks.ffn": [r and r * 0.7 for r in rho]}},
                      "tcs": {"layers": layers, "sites": {"blocks.ffn": tcs}},
                      "gradient": {"layers": layers, "sites": grads},
                      "ratio": {"layers": [], "sites": {"": [grads[families[2]][10] / grads[families[0]][10]]}}}
            diagnostics.write(json.dumps({"step": step, "tables": tables}) + "\n")
    if end == steps: open(os.path.join(run, "samples.png"), "wb").write(png(9 * index + seed))


for index, rule in enumerate(rules):
    for seed in range(seeds): write(rule, index, seed)
