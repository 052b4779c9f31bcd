/* pad add */
static __device__ __forceinline__ void k0_nest0(const float *p0, float *p1, const float *p2, float *p3, float *p4, const float *p5, float *p6, const i64 batch, const int layer, const i64 block) {
  const u32 tile = (u32)block % 3, place = (u32)block / 3;
  i64 t = (i64)(place) * 8 + threadIdx.x / 32;
  const i64 groups = 1ll * batch;
  const bool live = t < groups;
  if (!live) t = groups - 1;
  const u32 lane = threadIdx.x % 32;
  const i64 o0 = t;
  const i64 a0 = 0 + (i64)o0 * 384;
  const i64 a1 = 0 + (i64)o0 * 464;
  const i64 a2 = 0 + (i64)o0 * 464;
  const i64 a4 = 0 + (i64)o0 * 464;
#pragma unroll
  for (int c = 0; c < 1; ++c) {
    const int i = (((int)tile * 1 + c) * 32 + (int)lane) * 4;
    vec<float, 4, 4> q0;
    q0.load(p0 + a0 + i, 1);
    vec<float, 4, 4> q2;
    q2.load(p2 + a2 + i, 1);
  {
    out<float, 4, 4> q1;
    out<float, 4, 4> q4;
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const float v0 = q0.at(e);
      q1.at[e] = v0;
      const float v2 = q2.at(e);
      const float v3 = v2 + v0;
      q4.at[e] = v3;
    }
    if (live) q1.store(p1 + a1 + i, 1);
    if (live) q4.store(p3 + a4 + i, 1);
  }
  }
}
static __device__ __forceinline__ void k0_nest1(const float *p0, float *p1, const float *p2, float *p3, float *p4, const float *p5, float *p6, const i64 batch, const int layer, const i64 block) {
  const u32 tile = (u32)block % 3, place = (u32)block / 3;
  i64 t = (i64)(place) * 32 + threadIdx.x / 8;
  const i64 groups = 1ll * batch;
  const bool live = t < groups;
  if (!live) t = groups - 1;
  const u32 lane = threadIdx.x % 8;
  const i64 o0 = t;
  const i64 a1 = 0 + (i64)o0 * 464;
  const i64 a2 = 0 + (i64)o0 * 464;
  const i64 a4 = 0 + (i64)o0 * 464;
  const float v0 = (float)0;
#pragma unroll
  for (int c = 0; c < 1; ++c) {
    const int i = (((int)tile * 1 + c) * 8 + (int)lane) * 4;
    if (i >= 80ll) continue;
    vec<float, 4, 4> q2;
    q2.load(p5 + a2 + i, 1);
  {
    out<float, 4, 4> q1;
    out<float, 4, 4> q4;
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      q1.at[e] = v0;
      const float v2 = q2.at(e);
      const float v3 = v2 + v0;
      q4.at[e] = v3;
    }
    if (live) q1.store(p4 + a1 + i, 1);
    if (live) q4.store(p6 + a4 + i, 1);
  }
  }
}
extern "C" __global__ void __launch_bounds__(256, 1) k0(const float *p0, float *p1, const float *p2, float *p3, float *p4, const float *p5, float *p6, const i64 batch, const int layer, const int down,
    u32 *clear) {
  take_turn();
  if (clear && blockIdx.x + threadIdx.x == 0) *clear = 0;
  i64 block = down ? gridDim.x - 1 - blockIdx.x : blockIdx.x;
  {
    const i64 blocks = (1ll * batch + 7) / 8 * 3;
    if (block < blocks) {
      k0_nest0(p0, p1, p2, p3, p4, p5, p6, batch, layer, block);
      return;
    }
    block -= blocks;
  }
  {
    const i64 blocks = (1ll * batch + 31) / 32 * 3;
    if (block < blocks) {
      k0_nest1(p0, p1, p2, p3, p4, p5, p6, batch, layer, block);
      return;
    }
    block -= blocks;
  }
}
/* sum */
static __device__ __forceinline__ void k1_nest0(const float *p0, float *p1, const i64 batch, const int layer, const i64 block) {
  const i64 rows = 1ll;
  const i64 vectors = 464ll / 4;
  const int lane = threadIdx.x / 16;
  i64 column = block * 16 + threadIdx.x % 16;
  const bool live = column < rows * vectors;
  if (!live) column = 0; /* loads nothing, but joins the folds */
  i64 row = column / vectors;
  const i64 i = column % vectors * 4;
  const i64 s_begin = 0, s_end = 1ll * batch;
  const i64 a0 = 0;
  const i64 a2 = 0;
  float r1[1][4];
#pragma unroll
  for (int k = 0; k < 1; ++k)
    for (int e = 0; e < 4; ++e) r1[k][e] = 0;
  i64 s_first = s_begin + lane;
  if (!live) s_first = s_end;
  for (; s_first + 112 < s_end; s_first += 128) {
#pragma unroll
    for (int m = 0; m < 8; ++m) {
    const i64 at = s_first + m * 16;
    const i64 s = at;
    const bool taken = true;
    const pack<float, 4> q0 = *(const pack<float, 4> *)(p0 + a0 + i + s * 464);
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const float v0 = widen(q0.at[e]);
      if (taken) r1[m % 1][e] = add_op::of(r1[m % 1][e], v0);
    }
    }
  }
  if (s_first < s_end) {
#pragma unroll
    for (int m = 0; m < 8; ++m) {
    const i64 at = s_first + m * 16;
    const bool taken = at < s_end;
    const i64 s = taken ? at : s_end - 1;
    const pack<float, 4> q0 = *(const pack<float, 4> *)(p0 + a0 + i + s * 464);
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const float v0 = widen(q0.at[e]);
      if (taken) r1[m % 1][e] = add_op::of(r1[m % 1][e], v0);
    }
    }
  }
  fold_lanes<add_op, 16, 16>(r1[0]);
  if (live && lane == 0) {
    pack<float, 4> q2;
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const float v1 = r1[0][e];
      put(q2.at[e], v1);
    }
    if (live) *(pack<float, 4> *)(p1 + a2 + i) = q2;
  }
}
extern "C" __global__ void __launch_bounds__(256, 1) k1(const float *p0, float *p1, const i64 batch, const int layer, const int down,
    u32 *clear) {
  take_turn();
  if (clear && blockIdx.x + threadIdx.x == 0) *clear = 0;
  i64 block = down ? gridDim.x - 1 - blockIdx.x : blockIdx.x;
  {
    const i64 blocks = (116ll + 15) / 16 * 1;
    if (block < blocks) {
      k1_nest0(p0, p1, batch, layer, block);
      return;
    }
    block -= blocks;
  }
}
/* exp */
static __device__ __forceinline__ void k2_nest0(const float *p0, float *p1, const i64 batch, const int layer, const i64 block) {
  const i64 tile = block;
  const u32 place = 0;
  u32 t = (u32)(place) * 1 + threadIdx.x / 256;
  const bool live = true;
  const u32 lane = threadIdx.x % 256;
  const i64 a0 = 0;
  const i64 a2 = 0;
#pragma unroll
  for (int c = 0; c < 1; ++c) {
    const i64 i = (((i64)tile * 1 + c) * 256 + (int)lane) * 4;
    if (i >= 1024ll * batch) continue;
    vec<float, 4, 4> q0;
    q0.load(p0 + a0 + i, 1);
  {
    out<float, 4, 4> q2;
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const float v0 = q0.at(e);
      const float v1 = expf(v0);
      q2.at[e] = v1;
    }
    if (live) q2.store(p1 + a2 + i, 1);
  }
  }
}
extern "C" __global__ void __launch_bounds__(256, 1) k2(const float *p0, float *p1, const i64 batch, const int layer, const int down,
    u32 *clear) {
  take_turn();
  if (clear && blockIdx.x + threadIdx.x == 0) *clear = 0;
  i64 block = down ? gridDim.x - 1 - blockIdx.x : blockIdx.x;
  {
    const i64 blocks = (256ll * batch + 255) / 256 * 1;
    if (block < blocks) {
      k2_nest0(p0, p1, batch, layer, block);
      return;
    }
    block -= blocks;
  }
}
/* random */
static __device__ __forceinline__ void k3_nest0(const int *p0, const int *p1, const int *p2, float *p3, const i64 batch, const int layer, const i64 block) {
  const u32 tile = (u32)block % 3, place = (u32)block / 3;
  i64 t = (i64)(place) * 32 + threadIdx.x / 8;
  const i64 groups = 1ll * batch;
  const bool live = t < groups;
  if (!live) t = groups - 1;
  const u32 lane = threadIdx.x % 8;
  const i64 o0 = t;
  const i64 a0 = 0;
  const i64 a1 = 0;
  const i64 a2 = 0 + (i64)o0 * 1;
  const i64 a5 = 0 + (i64)o0 * 96;
  const int v0 = widen(*(p0 + a0));
  const int v1 = widen(*(p1 + a1));
  const int v2 = widen(*(p2 + a2));
#pragma unroll
  for (int c = 0; c < 1; ++c) {
    const int i = (((int)tile * 1 + c) * 8 + (int)lane) * 4;
  {
    out<float, 4, 4> q5;
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int v3 = (int)(i + e);
      const float v4 = random_normal(v0, v1, v2, v3, 3u);
      q5.at[e] = v4;
    }
    if (live) q5.store(p3 + a5 + i, 1);
  }
  }
}
extern "C" __global__ void __launch_bounds__(256, 1) k3(const int *p0, const int *p1, const int *p2, float *p3, const i64 batch, const int layer, const int down,
    u32 *clear) {
  take_turn();
  if (clear && blockIdx.x + threadIdx.x == 0) *clear = 0;
  i64 block = down ? gridDim.x - 1 - blockIdx.x : blockIdx.x;
  {
    const i64 blocks = (1ll * batch + 31) / 32 * 3;
    if (block < blocks) {
      k3_nest0(p0, p1, p2, p3, batch, layer, block);
      return;
    }
    block -= blocks;
  }
}
/* mul */
static __device__ __forceinline__ void k4_nest0(const float *p0, float *p1, const i64 batch, const int layer, const i64 block) {
  const i64 tile = block;
  const u32 place = 0;
  u32 t = (u32)(place) * 1 + threadIdx.x / 256;
  const bool live = true;
  const u32 lane = threadIdx.x % 256;
  const i64 a0 = 0;
  const i64 a2 = 0;
#pragma unroll
  for (int c = 0; c < 1; ++c) {
    const i64 i = (((i64)tile * 1 + c) * 256 + (int)lane) * 4;
    if (i >= 464ll * batch) continue;
    vec<float, 4, 4> q0;
    q0.load(p0 + a0 + i, 1);
  {
    out<float, 4, 4> q2;
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const float v0 = q0.at(e);
      const float v1 = v0 * v0;
      q2.at[e] = v1;
    }
    if (live) q2.store(p1 + a2 + i, 1);
  }
  }
}
extern "C" __global__ void __launch_bounds__(256, 1) k4(const float *p0, float *p1, const i64 batch, const int layer, const int down,
    u32 *clear) {
  take_turn();
  if (clear && blockIdx.x + threadIdx.x == 0) *clear = 0;
  i64 block = down ? gridDim.x - 1 - blockIdx.x : blockIdx.x;
  {
    const i64 blocks = (116ll * batch + 255) / 256 * 1;
    if (block < blocks) {
      k4_nest0(p0, p1, batch, layer, block);
      return;
    }
    block -= blocks;
  }
}
/* mul */
static __device__ __forceinline__ void k5_nest0(const float *p0, const float *p1, float *p2, const i64 batch, const int layer, const i64 block) {
  const i64 tile = block;
  const u32 place = 0;
  u32 t = (u32)(place) * 1 + threadIdx.x / 256;
  const bool live = true;
  const u32 lane = threadIdx.x % 256;
  const i64 a0 = 0;
  const i64 a1 = 0;
  const i64 a3 = 0;
#pragma unroll
  for (int c = 0; c < 1; ++c) {
    const i64 i = (((i64)tile * 1 + c) * 256 + (int)lane) * 4;
    if (i >= 464ll * batch) continue;
    vec<float, 4, 4> q0;
    q0.load(p0 + a0 + i, 1);
    vec<float, 4, 4> q1;
    q1.load(p1 + a1 + i, 1);
  {
    out<float, 4, 4> q3;
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const float v0 = q0.at(e);
      const float v1 = q1.at(e);
      const float v2 = v0 * v1;
      q3.at[e] = v2;
    }
    if (live) q3.store(p2 + a3 + i, 1);
  }
  }
}
extern "C" __global__ void __launch_bounds__(256, 1) k5(const float *p0, const float *p1, float *p2, const i64 batch, const int layer, const int down,
    u32 *clear) {
  take_turn();
  if (clear && blockIdx.x + threadIdx.x == 0) *clear = 0;
  i64 block = down ? gridDim.x - 1 - blockIdx.x : blockIdx.x;
  {
    const i64 blocks = (116ll * batch + 255) / 256 * 1;
    if (block < blocks) {
      k5_nest0(p0, p1, p2, batch, layer, block);
      return;
    }
    block -= blocks;
  }
}
