/* pad */
static __device__ __forceinline__ void k0_nest0(float *p0, const float *p1, float *p2, float *p3, const i64 batch, const int layer, const i64 block) {
  const i64 tile = block;
  const u32 place = 0;
  u32 t = (u32)(place) * 1 + threadIdx.x / 256;
  const bool live = true;
  const u32 lane = threadIdx.x % 256;
  const i64 a1 = 0;
  const float v0 = (float)0;
#pragma unroll
  for (int c = 0; c < 1; ++c) {
    const i64 i = (((i64)tile * 1 + c) * 256 + (int)lane) * 1;
    if (i >= 1ll * batch) continue;
  {
    out<float, 1, 1> q1;
#pragma unroll
    for (int e = 0; e < 1; ++e) {
      q1.at[e] = v0;
    }
    if (live) q1.store(p0 + a1 + (i64)i * 17ll, 17ll);
  }
  }
}
static __device__ __forceinline__ void k0_nest1(float *p0, const float *p1, float *p2, float *p3, const i64 batch, const int layer, const i64 block) {
  const u32 tile = 0, place = (u32)block;
  i64 t = (i64)(place) * 32 + threadIdx.x / 8;
  const i64 groups = 1ll * batch;
  const bool live = t < groups;
  if (!live) t = groups - 1;
  const u32 lane = threadIdx.x % 8;
  const i64 o0 = t;
  const i64 a0 = 0 + (i64)o0 * 5;
  const i64 a1 = 0 + (i64)o0 * 17;
#pragma unroll
  for (int c = 0; c < 1; ++c) {
    const int i = (((int)tile * 1 + c) * 8 + (int)lane) * 1;
    if (i >= 5ll) continue;
    vec<float, 1, 1> q0;
    q0.load(p1 + a0 + i, 1);
  {
    out<float, 1, 1> q1;
#pragma unroll
    for (int e = 0; e < 1; ++e) {
      const float v0 = q0.at(e);
      q1.at[e] = v0;
    }
    if (live) q1.store(p2 + a1 + i, 1);
  }
  }
}
static __device__ __forceinline__ void k0_nest2(float *p0, const float *p1, float *p2, float *p3, const i64 batch, const int layer, const i64 block) {
  const u32 tile = (u32)block % 2, place = (u32)block / 2;
  i64 t = (i64)(place) * 32 + threadIdx.x / 8;
  const i64 groups = 1ll * batch;
  const bool live = t < groups;
  if (!live) t = groups - 1;
  const u32 lane = threadIdx.x % 8;
  const i64 o0 = t;
  const i64 a1 = 0 + (i64)o0 * 17;
  const float v0 = (float)0;
#pragma unroll
  for (int c = 0; c < 1; ++c) {
    const int i = (((int)tile * 1 + c) * 8 + (int)lane) * 1;
    if (i >= 11ll) continue;
  {
    out<float, 1, 1> q1;
#pragma unroll
    for (int e = 0; e < 1; ++e) {
      q1.at[e] = v0;
    }
    if (live) q1.store(p3 + a1 + i, 1);
  }
  }
}
extern "C" __global__ void __launch_bounds__(256, 1) k0(float *p0, const float *p1, float *p2, float *p3, const i64 batch, const int layer, const int down,
    u32 *clear) {
  take_turn();
  if (clear && blockIdx.x + threadIdx.x == 0) *clear = 0;
  i64 block = down ? gridDim.x - 1 - blockIdx.x : blockIdx.x;
  {
    const i64 blocks = (1ll * batch + 255) / 256 * 1;
    if (block < blocks) {
      k0_nest0(p0, p1, p2, p3, batch, layer, block);
      return;
    }
    block -= blocks;
  }
  {
    const i64 blocks = (1ll * batch + 31) / 32 * 1;
    if (block < blocks) {
      k0_nest1(p0, p1, p2, p3, batch, layer, block);
      return;
    }
    block -= blocks;
  }
  {
    const i64 blocks = (1ll * batch + 31) / 32 * 2;
    if (block < blocks) {
      k0_nest2(p0, p1, p2, p3, batch, layer, block);
      return;
    }
    block -= blocks;
  }
}
/* add */
static __device__ __forceinline__ void k1_nest0(const float *p0, const float *p1, float *p2, const i64 batch, const int layer, const i64 block) {
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
    const i64 i = (((i64)tile * 1 + c) * 256 + (int)lane) * 1;
    if (i >= 17ll * batch) continue;
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
      const float v2 = v0 + v1;
      q3.at[e] = v2;
    }
    if (live) q3.store(p2 + a3 + i, 1);
  }
  }
}
extern "C" __global__ void __launch_bounds__(256, 1) k1(const float *p0, const float *p1, float *p2, const i64 batch, const int layer, const int down,
    u32 *clear) {
  take_turn();
  if (clear && blockIdx.x + threadIdx.x == 0) *clear = 0;
  i64 block = down ? gridDim.x - 1 - blockIdx.x : blockIdx.x;
  {
    const i64 blocks = (17ll * batch + 255) / 256 * 1;
    if (block < blocks) {
      k1_nest0(p0, p1, p2, batch, layer, block);
      return;
    }
    block -= blocks;
  }
}
