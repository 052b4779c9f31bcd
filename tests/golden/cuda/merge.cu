/* segment_mean */
static __device__ __forceinline__ void k0_nest0(const float *p0, float *p1, const i64 batch, const int layer, const i64 block) {
  const i64 rows = 1ll * 1ll * batch * 2ll;
  const i64 vectors = 64ll / 4;
  const int lane = threadIdx.x / 16;
  i64 column = block * 16 + threadIdx.x % 16;
  const bool live = column < rows * vectors;
  if (!live) column = 0; /* loads nothing, but joins the folds */
  i64 row = column / vectors;
  const i64 i = column % vectors * 4;
  const i64 o1 = row % 2;
  row /= 2;
  const i64 o0 = row;
  const i64 segment = o1;
  i64 s_begin = 0, s_end = 0;
  if (segment == 0) { s_begin = 0; s_end = 24; }
  if (segment == 1) { s_begin = 24; s_end = 29; }
  const i64 a0 = 0 + o0 * 1856;
  const i64 a9 = 0 + o0 * 128 + o1 * 64;
  const float v2 = (float)0.2;
  const int v3 = (int)o1;
  const int v4 = 1;
  const float v5 = v3 < v4 ? 1 : 0;
  const float v6 = (float)0.0416666667;
  const float v7 = v5 != 0 ? v6 : v2;
  float r1[1][4];
#pragma unroll
  for (int k = 0; k < 1; ++k)
    for (int e = 0; e < 4; ++e) r1[k][e] = 0;
  i64 s_first = s_begin + lane;
  if (!live) s_first = s_end;
  for (; s_first + 16 < s_end; s_first += 32) {
#pragma unroll
    for (int m = 0; m < 2; ++m) {
    const i64 at = s_first + m * 16;
    const i64 s = at;
    const bool taken = true;
    const pack<float, 4> q0 = *(const pack<float, 4> *)(p0 + a0 + i + s * 64);
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const float v0 = widen(q0.at[e]);
      if (taken) r1[m % 1][e] = add_op::of(r1[m % 1][e], v0);
    }
    }
  }
  if (s_first < s_end) {
#pragma unroll
    for (int m = 0; m < 2; ++m) {
    const i64 at = s_first + m * 16;
    const bool taken = at < s_end;
    const i64 s = taken ? at : s_end - 1;
    const pack<float, 4> q0 = *(const pack<float, 4> *)(p0 + a0 + i + s * 64);
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const float v0 = widen(q0.at[e]);
      if (taken) r1[m % 1][e] = add_op::of(r1[m % 1][e], v0);
    }
    }
  }
  fold_lanes<add_op, 16, 16>(r1[0]);
  if (live && lane == 0) {
    pack<float, 4> q9;
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const float v1 = r1[0][e];
      const float v8 = v1 * v7;
      put(q9.at[e], v8);
    }
    if (live) *(pack<float, 4> *)(p1 + a9 + i) = q9;
  }
}
extern "C" __global__ void __launch_bounds__(256, 1) k0(const float *p0, float *p1, const i64 batch, const int layer, const int down,
    u32 *clear) {
  take_turn();
  if (clear && blockIdx.x + threadIdx.x == 0) *clear = 0;
  i64 block = down ? gridDim.x - 1 - blockIdx.x : blockIdx.x;
  {
    const i64 blocks = (32ll * batch + 15) / 16 * 1;
    if (block < blocks) {
      k0_nest0(p0, p1, batch, layer, block);
      return;
    }
    block -= blocks;
  }
}
/* segment_broadcast sub mul add inv_rms normalize segment_spread */
static __device__ __forceinline__ void k1_nest0(const float *p0, const float *p1, const float *p2, const float *p3, float *p4, float *p5, float *p6, const i64 batch, const int layer, const i64 block) {
  const u32 tile = 0, place = (u32)block;
  u32 prefix = place / 2;
  u32 t = (u32)(place % 2) * 16 + threadIdx.x / 16;
  const u32 groups = 29ll;
  const bool live = t < groups;
  if (!live) t = groups - 1;
  const u32 lane = threadIdx.x % 16;
  const u32 o0 = prefix;
  const u32 o1 = t;
  const u32 segment = 0 + (o1 >= 24);
  const i64 a0 = 0 + (i64)o0 * 1856 + (i64)o1 * 64;
  const i64 a1 = 0 + (i64)o0 * 1856 + (i64)o1 * 64;
  const i64 a2 = 0 + (i64)o0 * 128 + (i64)segment * 64;
  const i64 a4 = 0;
  const i64 a14 = 0 + (i64)o0 * 29 + (i64)o1 * 1;
  const i64 a16 = 0 + (i64)o0 * 1856 + (i64)o1 * 64;
  const i64 a25 = 0 + (i64)o0 * 1856 + (i64)o1 * 64;
  float k6[4];
  const float v9 = (float)0.015625;
  const float v11 = (float)1e-05;
  const float v17 = (float)0.2;
  const int v18 = (int)o1;
  const int v19 = 24;
  const float v20 = v18 < v19 ? 1 : 0;
  const float v21 = (float)0.0416666667;
  const float v22 = v20 != 0 ? v21 : v17;
  float r8 = 0;
#pragma unroll
  for (int c = 0; c < 1; ++c) {
    const int i = (((int)tile * 1 + c) * 16 + (int)lane) * 4;
    vec<float, 4, 4> q0;
    q0.load(p0 + a0 + i, 1);
    vec<float, 4, 4> q1;
    q1.load(p1 + a1 + i, 1);
    vec<float, 4, 4> q2;
    q2.load(p2 + a2 + i, 1);
    vec<float, 4, 4> q4;
    q4.load(p3 + a4 + i, 1);
  {
    out<float, 4, 4> q25;
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const float v0 = q0.at(e);
      const float v1 = q1.at(e);
      const float v2 = q2.at(e);
      const float v3 = v1 - v2;
      const float v4 = q4.at(e);
      const float v5 = v3 * v4;
      const float v6 = v0 + v5;
      k6[e] = v6;
      const float v7 = v6 * v6;
      r8 = add_op::of(r8, v7);
      const float v23 = v2 * v22;
      const float v24 = v23 + v0;
      q25.at[e] = v24;
    }
    if (live) q25.store(p6 + a25 + i, 1);
  }
  }
  {
    r8 = fold_warp<add_op, 16>(r8);
  }
  const float v8 = r8;
  const float v10 = v8 * v9;
  const float v12 = v10 + v11;
  const float v13 = 1 / sqrtf(v12);
  if (live && lane == 0) put(*(p4 + a14), v13);
#pragma unroll
  for (int c = 0; c < 1; ++c) {
    const int i = (((int)tile * 1 + c) * 16 + (int)lane) * 4;
  {
    out<float, 4, 4> q16;
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const float v6 = k6[e];
      const float v15 = v6 * v13;
      q16.at[e] = v15;
    }
    if (live) q16.store(p5 + a16 + i, 1);
  }
  }
}
extern "C" __global__ void __launch_bounds__(256, 1) k1(const float *p0, const float *p1, const float *p2, const float *p3, float *p4, float *p5, float *p6, const i64 batch, const int layer, const int down,
    u32 *clear) {
  take_turn();
  if (clear && blockIdx.x + threadIdx.x == 0) *clear = 0;
  i64 block = down ? gridDim.x - 1 - blockIdx.x : blockIdx.x;
  {
    const i64 blocks = (2ll * batch + 0) / 1 * 1;
    if (block < blocks) {
      k1_nest0(p0, p1, p2, p3, p4, p5, p6, batch, layer, block);
      return;
    }
    block -= blocks;
  }
}
