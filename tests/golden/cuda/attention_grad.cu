/* attention_grad */
#define T 29ll
#define H 4
#define G 2
#define D 16
#define PER_LANE ((D + 31) / 32)
#define SCALE ((float)0.25)
#define Q_TOKEN 64ll
#define K_TOKEN 32ll
#define V_TOKEN 32ll
#define O_TOKEN 64ll
#define DO_TOKEN 64ll
#define DQ_TOKEN 64ll
#define DK_TOKEN 32ll
#define DV_TOKEN 32ll
typedef bf16 elem;
static __device__ __forceinline__ float warp_sum(float x) {
  for (int s = 16; s; s /= 2) x += __shfl_xor_sync(~0u, x, s);
  return x;
}
static __device__ __forceinline__ float warp_max(float x) {
  for (int s = 16; s; s /= 2) x = fmaxf(x, __shfl_xor_sync(~0u, x, s));
  return x;
}
/* The product of a row in shared memory with a row in global memory. */
static __device__ __forceinline__ float dot(const float *a, const elem *b) {
  float sum = 0;
#pragma unroll 8
  for (int d = 0; d < D; ++d) sum = fmaf(a[d], widen(b[d]), sum);
  return sum;
}
extern "C" __global__ void __launch_bounds__(256, 1) k0(const bf16 *p0, const bf16 *p1, const bf16 *p2, const bf16 *p3, const float *p4, const bf16 *p5, bf16 *p6, bf16 *p7, bf16 *p8, const i64 batch, const int layer) {
  take_turn();
  __shared__ float first[8][D], second[8][D];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const i64 tiles = (T + 7) / 8, query_blocks = batch * H * tiles;
  float *a = first[warp], *c = second[warp];
  if (blockIdx.x < query_blocks) {
    const i64 t = blockIdx.x % tiles * 8 + warp, bh = blockIdx.x / tiles;
    const i64 b = bh / H, h = bh % H, g = h / (H / G);
    if (t >= T) return;
    const i64 token = b * T + t, head = h * D;
    const elem *q = p0 + token * Q_TOKEN + head, *o = p3 + token * O_TOKEN + head;
    const elem *go = p5 + token * DO_TOKEN + head;
    float delta = 0, dq[PER_LANE] = {};
    for (int d = lane; d < D; d += 32) {
      a[d] = widen(q[d]);
      c[d] = widen(go[d]);
      delta = fmaf(c[d], widen(o[d]), delta);
    }
    delta = warp_sum(delta);
    __syncwarp();
    const float lse = p4[(b * H + h) * T + t];
    for (i64 j0 = 0; j0 < T; j0 += 32) {
      const i64 j = j0 + lane;
      const elem *key = p1 + (b * T + j) * K_TOKEN + g * D;
      const elem *value = p2 + (b * T + j) * V_TOKEN + g * D;
      float ds = 0;
      if (j < T)
        ds = expf(dot(a, key) * SCALE - lse) * (dot(c, value) - delta) * SCALE;
      for (int y = 0; y < 32 && j0 + y < T; ++y) {
        const float weight = __shfl_sync(~0u, ds, y);
        const elem *k = p1 + (b * T + j0 + y) * K_TOKEN + g * D;
#pragma unroll
        for (int x = 0; x < PER_LANE; ++x)
          if (x * 32 + lane < D) dq[x] = fmaf(weight, widen(k[x * 32 + lane]), dq[x]);
      }
    }
#pragma unroll
    for (int x = 0; x < PER_LANE; ++x)
      if (x * 32 + lane < D) put(p6[token * DQ_TOKEN + head + x * 32 + lane], dq[x]);
    return;
  }
  const i64 block = blockIdx.x - query_blocks;
  const i64 j = block % tiles * 8 + warp, bg = block / tiles;
  const i64 b = bg / G, g = bg % G;
  if (j >= T) return;
  const i64 token = b * T + j;
  const elem *k = p1 + token * K_TOKEN + g * D, *v = p2 + token * V_TOKEN + g * D;
  float dk[PER_LANE] = {}, dv[PER_LANE] = {};
  for (int d = lane; d < D; d += 32) {
    a[d] = widen(k[d]);
    c[d] = widen(v[d]);
  }
  __syncwarp();
  for (i64 h = g * (H / G); h < (g + 1) * (H / G); ++h)
    for (i64 t0 = 0; t0 < T; t0 += 32) {
      const i64 t = t0 + lane;
      const elem *q = p0 + (b * T + t) * Q_TOKEN + h * D;
      const elem *o = p3 + (b * T + t) * O_TOKEN + h * D;
      const elem *go = p5 + (b * T + t) * DO_TOKEN + h * D;
      float p = 0, ds = 0;
      if (t < T) {
        float delta = 0;
#pragma unroll 8
        for (int d = 0; d < D; ++d)
          delta = fmaf(widen(go[d]), widen(o[d]), delta);
        p = expf(dot(a, q) * SCALE - p4[(b * H + h) * T + t]);
        ds = p * (dot(c, go) - delta) * SCALE;
      }
      for (int y = 0; y < 32 && t0 + y < T; ++y) {
        const float weight = __shfl_sync(~0u, p, y), slope = __shfl_sync(~0u, ds, y);
        const elem *gy = p5 + (b * T + t0 + y) * DO_TOKEN + h * D;
        const elem *qy = p0 + (b * T + t0 + y) * Q_TOKEN + h * D;
#pragma unroll
        for (int x = 0; x < PER_LANE; ++x)
          if (x * 32 + lane < D) {
            dv[x] = fmaf(weight, widen(gy[x * 32 + lane]), dv[x]);
            dk[x] = fmaf(slope, widen(qy[x * 32 + lane]), dk[x]);
          }
      }
    }
#pragma unroll
  for (int x = 0; x < PER_LANE; ++x)
    if (x * 32 + lane < D) {
      put(p7[token * DK_TOKEN + g * D + x * 32 + lane], dk[x]);
      put(p8[token * DV_TOKEN + g * D + x * 32 + lane], dv[x]);
    }
}
