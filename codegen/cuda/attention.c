/* attention.c: the generated attention in CUDA, forward and backward, for any token count, head
 * size and grouped KV heads. A warp owns one query (or, for dK and dV, one key): 32 products at
 * a time, one per lane, then every lane adds its share of the head. No atomics: the same bits
 * every run.
 *
 *   block     8 warps: 8 neighbouring queries (keys) of one head; rows of them in shared memory
 *   for 32 keys at a time, upwards:
 *     lane y  s = q . key y                        a product of D terms, in order
 *     warp    most, total: the softmax so far; what is summed shrinks when most grows
 *     for y:  lane x adds p[y] * v[y][x, x + 32, ..], p[y] by a shuffle
 *
 * For what no library takes (docs/gpu.md: f32, grouped KV heads, head sizes that are no
 * multiple of 8). Keys and values are read once for each query, from cache: no peer of
 * cuDNN's. */
#include "codegen/cuda/printer.h"

static void print_sizes(const mvs_kernel *kernel, mvs_text *out) {
  const mvs_attention_shape *shape = &kernel->attention;
  mvs_text_addf(out,
                "#define T %lldll\n#define H %lld\n#define G %lld\n#define D %lld\n"
                "#define PER_LANE ((D + 31) / 32)\n#define SCALE ((float)%.9g)\n",
                (long long)shape->tokens, (long long)shape->heads, (long long)shape->kv_heads,
                (long long)shape->head_dim, shape->scale);
  for (int i = 0; i < MVS_ATTENTION_OPERANDS; i++) {
    if (!shape->strides[i]) continue;
    mvs_text_addf(out, "#define %s_TOKEN %lldll\n", mvs_attention_rows[i].name,
                  (long long)shape->strides[i]);
  }
  mvs_text_addf(out, "typedef %s elem;\n", mvs_cuda_storage(shape->dtype));
}

static const char helpers[] =
    "static __device__ __forceinline__ float warp_sum(float x) {\n"
    "  for (int s = 16; s; s /= 2) x += __shfl_xor_sync(~0u, x, s);\n"
    "  return x;\n"
    "}\n"
    "static __device__ __forceinline__ float warp_max(float x) {\n"
    "  for (int s = 16; s; s /= 2) x = fmaxf(x, __shfl_xor_sync(~0u, x, s));\n"
    "  return x;\n"
    "}\n"
    "/* The product of a row in shared memory with a row in global memory. */\n"
    "static __device__ __forceinline__ float dot(const float *a, const elem *b) {\n"
    "  float sum = 0;\n"
    "#pragma unroll 8\n"
    "  for (int d = 0; d < D; ++d) sum = fmaf(a[d], widen(b[d]), sum);\n"
    "  return sum;\n"
    "}\n";

/* o = sum exp(s - most) v / total with a running maximum, so that no row of weights is stored
 * (M. Milakov, N. Gimelshein, arXiv 1805.02867). The least finite number stands for minus
 * infinity, whose difference with itself would be no number. lse = most + log(total) is what
 * the gradient needs to have the weights again. */
static const char forward[] =
    "  __shared__ float rows[8][D];\n"
    "  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;\n"
    "  const i64 tiles = (T + 7) / 8;\n"
    "  const i64 t = blockIdx.x % tiles * 8 + warp, bh = blockIdx.x / tiles;\n"
    "  const i64 b = bh / H, h = bh % H, g = h / (H / G);\n"
    "  if (t >= T) return;\n"
    "  const elem *q = p0 + (b * T + t) * Q_TOKEN + h * D;\n"
    "  for (int d = lane; d < D; d += 32) rows[warp][d] = widen(q[d]) * SCALE;\n"
    "  __syncwarp();\n"
    "  float most = -3.402823466e38f, total = 0, o[PER_LANE] = {};\n"
    "  for (i64 j0 = 0; j0 < T; j0 += 32) {\n"
    "    const i64 j = j0 + lane;\n"
    "    const elem *key = p1 + (b * T + j) * K_TOKEN + g * D;\n"
    "    const float s = j < T ? dot(rows[warp], key) : -3.402823466e38f;\n"
    "    const float next = fmaxf(most, warp_max(s)), shrink = expf(most - next);\n"
    "    const float p = j < T ? expf(s - next) : 0.0f;\n"
    "    total = total * shrink + warp_sum(p);\n"
    "    most = next;\n"
    "#pragma unroll\n"
    "    for (int x = 0; x < PER_LANE; ++x) o[x] *= shrink;\n"
    "    for (int y = 0; y < 32 && j0 + y < T; ++y) {\n"
    "      const float weight = __shfl_sync(~0u, p, y);\n"
    "      const elem *v = p2 + (b * T + j0 + y) * V_TOKEN + g * D;\n"
    "#pragma unroll\n"
    "      for (int x = 0; x < PER_LANE; ++x)\n"
    "        if (x * 32 + lane < D) o[x] = fmaf(weight, widen(v[x * 32 + lane]), o[x]);\n"
    "    }\n"
    "  }\n"
    "#pragma unroll\n"
    "  for (int x = 0; x < PER_LANE; ++x)\n"
    "    if (x * 32 + lane < D)\n"
    "      put(p3[(b * T + t) * O_TOKEN + h * D + x * 32 + lane], o[x] / total);\n"
    "  if (lane == 0) p4[(b * H + h) * T + t] = most + logf(total);\n"
    "}\n";

/* One warp: dQ of one query. p0..p5 = q, k, v, o, lse, do; p6..p8 = dq, dk, dv.
 *   p = exp(s - lse), delta = sum over the head of do o, ds = p (do . v - delta) scale
 *   dq = sum over keys of ds k        dk = sum over queries of ds q        dv = sum of p do */
static const char backward_query[] =
    "  __shared__ float first[8][D], second[8][D];\n"
    "  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;\n"
    "  const i64 tiles = (T + 7) / 8, query_blocks = batch * H * tiles;\n"
    "  float *a = first[warp], *c = second[warp];\n"
    "  if (blockIdx.x < query_blocks) {\n"
    "    const i64 t = blockIdx.x % tiles * 8 + warp, bh = blockIdx.x / tiles;\n"
    "    const i64 b = bh / H, h = bh % H, g = h / (H / G);\n"
    "    if (t >= T) return;\n"
    "    const i64 token = b * T + t, head = h * D;\n"
    "    const elem *q = p0 + token * Q_TOKEN + head, *o = p3 + token * O_TOKEN + head;\n"
    "    const elem *go = p5 + token * DO_TOKEN + head;\n"
    "    float delta = 0, dq[PER_LANE] = {};\n"
    "    for (int d = lane; d < D; d += 32) {\n"
    "      a[d] = widen(q[d]);\n"
    "      c[d] = widen(go[d]);\n"
    "      delta = fmaf(c[d], widen(o[d]), delta);\n"
    "    }\n"
    "    delta = warp_sum(delta);\n"
    "    __syncwarp();\n"
    "    const float lse = p4[(b * H + h) * T + t];\n"
    "    for (i64 j0 = 0; j0 < T; j0 += 32) {\n"
    "      const i64 j = j0 + lane;\n"
    "      const elem *key = p1 + (b * T + j) * K_TOKEN + g * D;\n"
    "      const elem *value = p2 + (b * T + j) * V_TOKEN + g * D;\n"
    "      float ds = 0;\n"
    "      if (j < T)\n"
    "        ds = expf(dot(a, key) * SCALE - lse) * (dot(c, value) - delta) * SCALE;\n"
    "      for (int y = 0; y < 32 && j0 + y < T; ++y) {\n"
    "        const float weight = __shfl_sync(~0u, ds, y);\n"
    "        const elem *k = p1 + (b * T + j0 + y) * K_TOKEN + g * D;\n"
    "#pragma unroll\n"
    "        for (int x = 0; x < PER_LANE; ++x)\n"
    "          if (x * 32 + lane < D) dq[x] = fmaf(weight, widen(k[x * 32 + lane]), dq[x]);\n"
    "      }\n"
    "    }\n"
    "#pragma unroll\n"
    "    for (int x = 0; x < PER_LANE; ++x)\n"
    "      if (x * 32 + lane < D) put(p6[token * DQ_TOKEN + head + x * 32 + lane], dq[x]);\n"
    "    return;\n"
    "  }\n";

/* One warp: dK and dV of one key, over the group's heads and all queries in order. */
static const char backward_key[] =
    "  const i64 block = blockIdx.x - query_blocks;\n"
    "  const i64 j = block % tiles * 8 + warp, bg = block / tiles;\n"
    "  const i64 b = bg / G, g = bg % G;\n"
    "  if (j >= T) return;\n"
    "  const i64 token = b * T + j;\n"
    "  const elem *k = p1 + token * K_TOKEN + g * D, *v = p2 + token * V_TOKEN + g * D;\n"
    "  float dk[PER_LANE] = {}, dv[PER_LANE] = {};\n"
    "  for (int d = lane; d < D; d += 32) {\n"
    "    a[d] = widen(k[d]);\n"
    "    c[d] = widen(v[d]);\n"
    "  }\n"
    "  __syncwarp();\n"
    "  for (i64 h = g * (H / G); h < (g + 1) * (H / G); ++h)\n"
    "    for (i64 t0 = 0; t0 < T; t0 += 32) {\n"
    "      const i64 t = t0 + lane;\n"
    "      const elem *q = p0 + (b * T + t) * Q_TOKEN + h * D;\n"
    "      const elem *o = p3 + (b * T + t) * O_TOKEN + h * D;\n"
    "      const elem *go = p5 + (b * T + t) * DO_TOKEN + h * D;\n"
    "      float p = 0, ds = 0;\n"
    "      if (t < T) {\n"
    "        float delta = 0;\n"
    "#pragma unroll 8\n"
    "        for (int d = 0; d < D; ++d)\n"
    "          delta = fmaf(widen(go[d]), widen(o[d]), delta);\n"
    "        p = expf(dot(a, q) * SCALE - p4[(b * H + h) * T + t]);\n"
    "        ds = p * (dot(c, go) - delta) * SCALE;\n"
    "      }\n"
    "      for (int y = 0; y < 32 && t0 + y < T; ++y) {\n"
    "        const float weight = __shfl_sync(~0u, p, y), slope = __shfl_sync(~0u, ds, y);\n"
    "        const elem *gy = p5 + (b * T + t0 + y) * DO_TOKEN + h * D;\n"
    "        const elem *qy = p0 + (b * T + t0 + y) * Q_TOKEN + h * D;\n"
    "#pragma unroll\n"
    "        for (int x = 0; x < PER_LANE; ++x)\n"
    "          if (x * 32 + lane < D) {\n"
    "            dv[x] = fmaf(weight, widen(gy[x * 32 + lane]), dv[x]);\n"
    "            dk[x] = fmaf(slope, widen(qy[x * 32 + lane]), dk[x]);\n"
    "          }\n"
    "      }\n"
    "    }\n"
    "#pragma unroll\n"
    "  for (int x = 0; x < PER_LANE; ++x)\n"
    "    if (x * 32 + lane < D) {\n"
    "      put(p7[token * DK_TOKEN + g * D + x * 32 + lane], dk[x]);\n"
    "      put(p8[token * DV_TOKEN + g * D + x * 32 + lane], dv[x]);\n"
    "    }\n"
    "}\n";

static void print_head(const mvs_kernel *kernel, mvs_text *out) {
  print_sizes(kernel, out);
  mvs_text_add(out, helpers);
  mvs_text_addf(out, "extern \"C\" __global__ void __launch_bounds__(256, 1) %s(",
                kernel->name);
  mvs_cuda_print_operands(kernel, out);
  mvs_text_add(out, ", const i64 batch, const int layer) {\n  take_turn();\n");
}

void mvs_cuda_print_attention(const mvs_kernel *kernel, mvs_text *out) {
  print_head(kernel, out);
  mvs_text_add(out, forward);
}

void mvs_cuda_print_attention_grad(const mvs_kernel *kernel, mvs_text *out) {
  print_head(kernel, out);
  mvs_text_add(out, backward_query);
  mvs_text_add(out, backward_key);
}
