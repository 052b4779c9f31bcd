/* segment_broadcast mul */
static __device__ __forceinline__ void k0_nest0(const float *p0, const float *p1, float *p2, const i64 batch, const int layer, const i64 block) {
  const u32 tile = 0, place = (u32)block;
  i64 t = (i64)(place) * 64 + threadIdx.x / 4;
  const i64 groups = 6ll * batch;
  const bool live = t < groups;
  if (!live) t = groups - 1;
  const u32 lane = threadIdx.x % 4;
  const i64 o1 = t % 6;
  t /= 6;
  const i64 o0 = t;
  const u32 segment = 0 + (o1 >= 2) + (o1 >= 4);
  const i64 a0 = 0 + (i64)o0 * 18 + (i64)o1 * 3;
  const i64 a1 = 0 + (i64)o0 * 9 + (i64)segment * 3;
  const i64 a3 = 0 + (i64)o0 * 18 + (i64)o1 * 3;
#pragma unroll
  for (int c = 0; c < 1; ++c) {
    const int i = (((int)tile * 1 + c) * 4 + (int)lane) * 1;
    if (i >= 3ll) continue;
    vec<float, 1, 1> q0;
    q0.load(p0 + a0 + i, 1);
    vec<float, 1, 1> q1;
    q1.load(p1 + a1 + i, 1);
  {
    out<float, 1, 1> q3;
#pragma unroll
    for (int e = 0; e < 1; ++e) {
      const float v0 = q0.at(e);
      const float v1 = q1.at(e);
      const float v2 = v0 * v1;
      q3.at[e] = v2;
    }
    if (live) q3.store(p2 + a3 + i, 1);
  }
  }
}
extern "C" __global__ void __launch_bounds__(256, 1) k0(const float *p0, const float *p1, float *p2, const i64 batch, const int layer, const int down,
    u32 *clear) {
  take_turn();
  if (clear && blockIdx.x + threadIdx.x == 0) *clear = 0;
  i64 block = down ? gridDim.x - 1 - blockIdx.x : blockIdx.x;
  {
    const i64 blocks = (6ll * batch + 63) / 64 * 1;
    if (block < blocks) {
      k0_nest0(p0, p1, p2, batch, layer, block);
      return;
    }
    block -= blocks;
  }
}
/* sum */
static __device__ __forceinline__ void k1_nest0(const float *p0, float *p1, const i64 batch, const int layer, const i64 block) {
  const i64 rows = 1ll * 1ll * batch;
  const i64 vectors = 3ll / 1;
  const int lane = threadIdx.x / 32;
  i64 column = block * 32 + threadIdx.x % 32;
  const bool live = column < rows * vectors;
  if (!live) column = 0; /* loads nothing, but joins the folds */
  i64 row = column / vectors;
  const i64 i = column % vectors * 1;
  const i64 o0 = row;
  const i64 s_begin = 0, s_end = 6ll;
  const i64 a0 = 0 + o0 * 18;
  const i64 a2 = 0 + o0 * 3;
  float r1[1][1];
#pragma unroll
  for (int k = 0; k < 1; ++k)
    for (int e = 0; e < 1; ++e) r1[k][e] = 0;
  i64 s_first = s_begin + lane;
  if (!live) s_first = s_end;
  for (; s_first + 0 < s_end; s_first += 8) {
#pragma unroll
    for (int m = 0; m < 1; ++m) {
    const i64 at = s_first + m * 8;
    const i64 s = at;
    const bool taken = true;
#pragma unroll
    for (int e = 0; e < 1; ++e) {
      const float v0 = widen(p0[a0 + (i + e) * 1 + s * 3]);
      if (taken) r1[m % 1][e] = add_op::of(r1[m % 1][e], v0);
    }
    }
  }
  if (s_first < s_end) {
#pragma unroll
    for (int m = 0; m < 1; ++m) {
    const i64 at = s_first + m * 8;
    const bool taken = at < s_end;
    const i64 s = taken ? at : s_end - 1;
#pragma unroll
    for (int e = 0; e < 1; ++e) {
      const float v0 = widen(p0[a0 + (i + e) * 1 + s * 3]);
      if (taken) r1[m % 1][e] = add_op::of(r1[m % 1][e], v0);
    }
    }
  }
  fold_lanes<add_op, 8, 32>(r1[0]);
  if (live && lane == 0) {
#pragma unroll
    for (int e = 0; e < 1; ++e) {
      const float v1 = r1[0][e];
      if (live) put(p1[a2 + (i + e) * 1 + 0ll * 0], v1);
    }
  }
}
extern "C" __global__ void __launch_bounds__(256, 1) k1(const float *p0, float *p1, const i64 batch, const int layer, const int down,
    u32 *clear) {
  take_turn();
  if (clear && blockIdx.x + threadIdx.x == 0) *clear = 0;
  i64 block = down ? gridDim.x - 1 - blockIdx.x : blockIdx.x;
  {
    const i64 blocks = (3ll * batch + 31) / 32 * 1;
    if (block < blocks) {
      k1_nest0(p0, p1, batch, layer, block);
      return;
    }
    block -= blocks;
  }
}
/* segment_sum mul segment_mean */
static __device__ __forceinline__ void k2_nest0(const float *p0, float *p1, float *p2, const i64 batch, const int layer, const i64 block) {
  const i64 rows = 1ll * 1ll * batch * 3ll;
  const i64 vectors = 3ll / 1;
  const int lane = threadIdx.x / 128;
  i64 column = block * 128 + threadIdx.x % 128;
  const bool live = column < rows * vectors;
  if (!live) column = 0; /* loads nothing, but joins the folds */
  i64 row = column / vectors;
  const i64 i = column % vectors * 1;
  const i64 o1 = row % 3;
  row /= 3;
  const i64 o0 = row;
  const i64 segment = o1;
  i64 s_begin = 0, s_end = 0;
  if (segment == 0) { s_begin = 0; s_end = 2; }
  if (segment == 1) { s_begin = 2; s_end = 4; }
  if (segment == 2) { s_begin = 4; s_end = 6; }
  const i64 a0 = 0 + o0 * 18;
  const i64 a2 = 0 + o0 * 9 + o1 * 3;
  const i64 a9 = 0 + o0 * 9 + o1 * 3;
  const float v7 = (float)0.5;
  float r1[1][1];
#pragma unroll
  for (int k = 0; k < 1; ++k)
    for (int e = 0; e < 1; ++e) r1[k][e] = 0;
  float r6[1][1];
#pragma unroll
  for (int k = 0; k < 1; ++k)
    for (int e = 0; e < 1; ++e) r6[k][e] = 0;
  i64 s_first = s_begin + lane;
  if (!live) s_first = s_end;
  for (; s_first + 0 < s_end; s_first += 2) {
#pragma unroll
    for (int m = 0; m < 1; ++m) {
    const i64 at = s_first + m * 2;
    const i64 s = at;
    const bool taken = true;
#pragma unroll
    for (int e = 0; e < 1; ++e) {
      const float v0 = widen(p0[a0 + (i + e) * 1 + s * 3]);
      if (taken) r1[m % 1][e] = add_op::of(r1[m % 1][e], v0);
      const int v3 = (int)s;
      const float v4 = (float)v3;
      const float v5 = v0 * v4;
      if (taken) r6[m % 1][e] = add_op::of(r6[m % 1][e], v5);
    }
    }
  }
  if (s_first < s_end) {
#pragma unroll
    for (int m = 0; m < 1; ++m) {
    const i64 at = s_first + m * 2;
    const bool taken = at < s_end;
    const i64 s = taken ? at : s_end - 1;
#pragma unroll
    for (int e = 0; e < 1; ++e) {
      const float v0 = widen(p0[a0 + (i + e) * 1 + s * 3]);
      if (taken) r1[m % 1][e] = add_op::of(r1[m % 1][e], v0);
      const int v3 = (int)s;
      const float v4 = (float)v3;
      const float v5 = v0 * v4;
      if (taken) r6[m % 1][e] = add_op::of(r6[m % 1][e], v5);
    }
    }
  }
  fold_lanes<add_op, 2, 128>(r1[0]);
  fold_lanes<add_op, 2, 128>(r6[0]);
  if (live && lane == 0) {
#pragma unroll
    for (int e = 0; e < 1; ++e) {
      const float v1 = r1[0][e];
      const float v6 = r6[0][e];
      if (live) put(p1[a2 + (i + e) * 1 + 0ll * 0], v1);
      const float v8 = v6 * v7;
      if (live) put(p2[a9 + (i + e) * 1 + 0ll * 0], v8);
    }
  }
}
extern "C" __global__ void __launch_bounds__(256, 1) k2(const float *p0, float *p1, float *p2, const i64 batch, const int layer, const int down,
    u32 *clear) {
  take_turn();
  if (clear && blockIdx.x + threadIdx.x == 0) *clear = 0;
  i64 block = down ? gridDim.x - 1 - blockIdx.x : blockIdx.x;
  {
    const i64 blocks = (9ll * batch + 127) / 128 * 1;
    if (block < blocks) {
      k2_nest0(p0, p1, p2, batch, layer, block);
      return;
    }
    block -= blocks;
  }
}
/* cast sum */
static __device__ __forceinline__ void k3_nest0(const float *p0, double *p1, const i64 batch, const int layer, const i64 block) {
  const i64 rows = 1ll;
  const i64 vectors = 9ll / 1;
  const int lane = threadIdx.x / 1;
  i64 column = block * 1 + threadIdx.x % 1;
  const bool live = column < rows * vectors;
  if (!live) column = 0; /* loads nothing, but joins the folds */
  i64 row = column / vectors;
  const i64 i = column % vectors * 1;
  const i64 s_begin = 0, s_end = 1ll * batch;
  const i64 a0 = 0;
  const i64 a3 = 0;
  double r2[4][1];
#pragma unroll
  for (int k = 0; k < 4; ++k)
    for (int e = 0; e < 1; ++e) r2[k][e] = 0;
  i64 s_first = s_begin + lane;
  if (!live) s_first = s_end;
  for (; s_first + 7936 < s_end; s_first += 8192) {
#pragma unroll
    for (int m = 0; m < 32; ++m) {
    const i64 at = s_first + m * 256;
    const i64 s = at;
    const bool taken = true;
#pragma unroll
    for (int e = 0; e < 1; ++e) {
      const float v0 = widen(p0[a0 + (i + e) * 1 + s * 9]);
      const double v1 = (double)v0;
      if (taken) r2[m % 4][e] = add_op::of(r2[m % 4][e], v1);
    }
    }
  }
  if (s_first < s_end) {
#pragma unroll
    for (int m = 0; m < 32; ++m) {
    const i64 at = s_first + m * 256;
    const bool taken = at < s_end;
    const i64 s = taken ? at : s_end - 1;
#pragma unroll
    for (int e = 0; e < 1; ++e) {
      const float v0 = widen(p0[a0 + (i + e) * 1 + s * 9]);
      const double v1 = (double)v0;
      if (taken) r2[m % 4][e] = add_op::of(r2[m % 4][e], v1);
    }
    }
  }
#pragma unroll
  for (int k = 0; k < 2; ++k)
    for (int e = 0; e < 1; ++e)
      r2[k][e] = add_op::of(r2[k][e], r2[k + 2][e]);
#pragma unroll
  for (int k = 0; k < 1; ++k)
    for (int e = 0; e < 1; ++e)
      r2[k][e] = add_op::of(r2[k][e], r2[k + 1][e]);
  fold_lanes<add_op, 256, 1>(r2[0]);
  if (live && lane == 0) {
#pragma unroll
    for (int e = 0; e < 1; ++e) {
      const double v2 = r2[0][e];
      if (live) put(p1[a3 + (i + e) * 1 + 0ll * 0], v2);
    }
  }
}
extern "C" __global__ void __launch_bounds__(256, 1) k3(const float *p0, double *p1, const i64 batch, const int layer, const int down,
    u32 *clear) {
  take_turn();
  if (clear && blockIdx.x + threadIdx.x == 0) *clear = 0;
  i64 block = down ? gridDim.x - 1 - blockIdx.x : blockIdx.x;
  {
    const i64 blocks = (9ll + 0) / 1 * 1;
    if (block < blocks) {
      k3_nest0(p0, p1, batch, layer, block);
      return;
    }
    block -= blocks;
  }
}
