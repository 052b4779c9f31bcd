/* transpose */
static __device__ __forceinline__ void k0_nest0(const float *p0, float *p1, const i64 batch, const int layer, const i64 block) {
  const u32 tile = 0, place = (u32)block;
  i64 t = (i64)(place) * 64 + threadIdx.x / 4;
  const i64 groups = 116ll * batch;
  const bool live = t < groups;
  if (!live) t = groups - 1;
  const u32 lane = threadIdx.x % 4;
  const i64 o1 = t % 4;
  t /= 4;
  const i64 o0 = t;
  const i64 a0 = 0 + (i64)o0 * 64 + (i64)o1 * 16;
  const i64 a1 = 0 + (i64)o0 * 64 + (i64)o1 * 1;
#pragma unroll
  for (int c = 0; c < 1; ++c) {
    const int i = (((int)tile * 1 + c) * 4 + (int)lane) * 4;
    vec<float, 4, 4> q0;
    q0.load(p0 + a0 + i, 1);
  {
    out<float, 4, 1> q1;
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const float v0 = q0.at(e);
      q1.at[e] = v0;
    }
    if (live) q1.store(p1 + a1 + (i64)i * 4ll, 4ll);
  }
  }
}
extern "C" __global__ void __launch_bounds__(256, 1) k0(const float *p0, float *p1, const i64 batch, const int layer, const int down,
    u32 *clear) {
  take_turn();
  if (clear && blockIdx.x + threadIdx.x == 0) *clear = 0;
  i64 block = down ? gridDim.x - 1 - blockIdx.x : blockIdx.x;
  {
    const i64 blocks = (116ll * batch + 63) / 64 * 1;
    if (block < blocks) {
      k0_nest0(p0, p1, batch, layer, block);
      return;
    }
    block -= blocks;
  }
}
/* mul */
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
    const i64 i = (((i64)tile * 1 + c) * 256 + (int)lane) * 4;
    if (i >= 1856ll * batch) continue;
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
extern "C" __global__ void __launch_bounds__(256, 1) k1(const float *p0, const float *p1, float *p2, const i64 batch, const int layer, const int down,
    u32 *clear) {
  take_turn();
  if (clear && blockIdx.x + threadIdx.x == 0) *clear = 0;
  i64 block = down ? gridDim.x - 1 - blockIdx.x : blockIdx.x;
  {
    const i64 blocks = (464ll * batch + 255) / 256 * 1;
    if (block < blocks) {
      k1_nest0(p0, p1, p2, batch, layer, block);
      return;
    }
    block -= blocks;
  }
}
/* slice */
static __device__ __forceinline__ void k2_nest0(const float *p0, float *p1, const i64 batch, const int layer, const i64 block) {
  const u32 tile = (u32)block % 5, place = (u32)block / 5;
  i64 t = (i64)(place) * 16 + threadIdx.x / 16;
  const i64 groups = 1ll * batch;
  const bool live = t < groups;
  if (!live) t = groups - 1;
  const u32 lane = threadIdx.x % 16;
  const i64 o0 = t;
  const i64 a0 = 0 + (i64)o0 * 1856;
  const i64 a1 = 0 + (i64)o0 * 1856;
#pragma unroll
  for (int c = 0; c < 1; ++c) {
    const int i = (((int)tile * 1 + c) * 16 + (int)lane) * 4;
    vec<float, 4, 4> q0;
    q0.load(p0 + a0 + i, 1);
  {
    out<float, 4, 4> q1;
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const float v0 = q0.at(e);
      q1.at[e] = v0;
    }
    if (live) q1.store(p1 + a1 + i, 1);
  }
  }
}
extern "C" __global__ void __launch_bounds__(256, 1) k2(const float *p0, float *p1, const i64 batch, const int layer, const int down,
    u32 *clear) {
  take_turn();
  if (clear && blockIdx.x + threadIdx.x == 0) *clear = 0;
  i64 block = down ? gridDim.x - 1 - blockIdx.x : blockIdx.x;
  {
    const i64 blocks = (1ll * batch + 15) / 16 * 5;
    if (block < blocks) {
      k2_nest0(p0, p1, batch, layer, block);
      return;
    }
    block -= blocks;
  }
}
/* slice exp */
static __device__ __forceinline__ void k3_nest0(const float *p0, float *p1, const i64 batch, const int layer, const i64 block) {
  const u32 tile = (u32)block % 3, place = (u32)block / 3;
  i64 t = (i64)(place) * 2 + threadIdx.x / 128;
  const i64 groups = 1ll * batch;
  const bool live = t < groups;
  if (!live) t = groups - 1;
  const u32 lane = threadIdx.x % 128;
  const i64 o0 = t;
  const i64 a0 = 0 + (i64)o0 * 1856;
  const i64 a2 = 0 + (i64)o0 * 1856;
#pragma unroll
  for (int c = 0; c < 1; ++c) {
    const int i = (((int)tile * 1 + c) * 128 + (int)lane) * 4;
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
extern "C" __global__ void __launch_bounds__(256, 1) k3(const float *p0, float *p1, const i64 batch, const int layer, const int down,
    u32 *clear) {
  take_turn();
  if (clear && blockIdx.x + threadIdx.x == 0) *clear = 0;
  i64 block = down ? gridDim.x - 1 - blockIdx.x : blockIdx.x;
  {
    const i64 blocks = (1ll * batch + 1) / 2 * 3;
    if (block < blocks) {
      k3_nest0(p0, p1, batch, layer, block);
      return;
    }
    block -= blocks;
  }
}
/* slice sigmoid mul */
static __device__ __forceinline__ void k4_nest0(const float *p0, const float *p1, float *p2, const i64 batch, const int layer, const i64 block) {
  const u32 tile = 0, place = (u32)block;
  i64 t = (i64)(place) * 32 + threadIdx.x / 8;
  const i64 groups = 29ll * batch;
  const bool live = t < groups;
  if (!live) t = groups - 1;
  const u32 lane = threadIdx.x % 8;
  const i64 o0 = t;
  const i64 a0 = 0 + (i64)o0 * 64;
  const i64 a2 = 0 + (i64)o0 * 64;
  const i64 a4 = 0 + (i64)o0 * 32;
#pragma unroll
  for (int c = 0; c < 1; ++c) {
    const int i = (((int)tile * 1 + c) * 8 + (int)lane) * 4;
    vec<float, 4, 4> q0;
    q0.load(p0 + a0 + i, 1);
    vec<float, 4, 4> q2;
    q2.load(p1 + a2 + i, 1);
  {
    out<float, 4, 4> q4;
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const float v0 = q0.at(e);
      const float v1 = 1 / (1 + expf(-v0));
      const float v2 = q2.at(e);
      const float v3 = v1 * v2;
      q4.at[e] = v3;
    }
    if (live) q4.store(p2 + a4 + i, 1);
  }
  }
}
extern "C" __global__ void __launch_bounds__(256, 1) k4(const float *p0, const float *p1, float *p2, const i64 batch, const int layer, const int down,
    u32 *clear) {
  take_turn();
  if (clear && blockIdx.x + threadIdx.x == 0) *clear = 0;
  i64 block = down ? gridDim.x - 1 - blockIdx.x : blockIdx.x;
  {
    const i64 blocks = (29ll * batch + 31) / 32 * 1;
    if (block < blocks) {
      k4_nest0(p0, p1, p2, batch, layer, block);
      return;
    }
    block -= blocks;
  }
}
