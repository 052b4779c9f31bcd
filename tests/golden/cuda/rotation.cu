/* slice mul add sub concat inv_rms normalize */
static __device__ __forceinline__ void k0_nest0(const float *p0, const float *p1, const float *p2, const float *p3, float *p4, float *p5, const i64 batch, const int layer, const i64 block) {
  const u32 tile = 0, place = (u32)block;
  i64 t = (i64)(place) * 256 + threadIdx.x / 1;
  const i64 groups = 58ll * batch;
  const bool live = t < groups;
  if (!live) t = groups - 1;
  const u32 lane = threadIdx.x % 1;
  const i64 o2 = t % 2;
  t /= 2;
  const i64 o1 = t % 29;
  t /= 29;
  const i64 o0 = t;
  const i64 a0 = 0 + (i64)o0 * 464 + (i64)o1 * 16 + (i64)o2 * 8;
  const i64 a1 = 0 + (i64)o1 * 4;
  const i64 a3 = 0 + (i64)o0 * 464 + (i64)o1 * 16 + (i64)o2 * 8;
  const i64 a4 = 0 + (i64)o1 * 4;
  const i64 a21 = 0 + (i64)o0 * 464 + (i64)o1 * 16 + (i64)o2 * 8;
  const i64 a23 = 0 + (i64)o0 * 464 + (i64)o1 * 16 + (i64)o2 * 8;
  float k6[4];
  float k11[4];
  const float v15 = (float)0.125;
  const float v17 = (float)1e-06;
  float r8 = 0;
  float r13 = 0;
#pragma unroll
  for (int c = 0; c < 1; ++c) {
    const int i = (((int)tile * 1 + c) * 1 + (int)lane) * 4;
    vec<float, 4, 4> q0;
    q0.load(p0 + a0 + i, 1);
    vec<float, 4, 4> q1;
    q1.load(p1 + a1 + i, 1);
    vec<float, 4, 4> q3;
    q3.load(p2 + a3 + i, 1);
    vec<float, 4, 4> q4;
    q4.load(p3 + a4 + i, 1);
  {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const float v0 = q0.at(e);
      const float v1 = q1.at(e);
      const float v2 = v0 * v1;
      const float v3 = q3.at(e);
      const float v4 = q4.at(e);
      const float v5 = v3 * v4;
      const float v6 = v2 + v5;
      k6[e] = v6;
      const float v7 = v6 * v6;
      r8 = add_op::of(r8, v7);
      const float v9 = v3 * v1;
      const float v10 = v0 * v4;
      const float v11 = v9 - v10;
      k11[e] = v11;
      const float v12 = v11 * v11;
      r13 = add_op::of(r13, v12);
    }
  }
  }
  {
    r8 = fold_warp<add_op, 1>(r8);
    r13 = fold_warp<add_op, 1>(r13);
  }
  const float v8 = r8;
  const float v13 = r13;
  const float v14 = v8 + v13;
  const float v16 = v14 * v15;
  const float v18 = v16 + v17;
  const float v19 = 1 / sqrtf(v18);
#pragma unroll
  for (int c = 0; c < 1; ++c) {
    const int i = (((int)tile * 1 + c) * 1 + (int)lane) * 4;
  {
    out<float, 4, 4> q21;
    out<float, 4, 4> q23;
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const float v6 = k6[e];
      const float v11 = k11[e];
      const float v20 = v6 * v19;
      q21.at[e] = v20;
      const float v22 = v11 * v19;
      q23.at[e] = v22;
    }
    if (live) q21.store(p4 + a21 + i, 1);
    if (live) q23.store(p5 + a23 + i, 1);
  }
  }
}
extern "C" __global__ void __launch_bounds__(256, 1) k0(const float *p0, const float *p1, const float *p2, const float *p3, float *p4, float *p5, const i64 batch, const int layer, const int down,
    u32 *clear) {
  take_turn();
  if (clear && blockIdx.x + threadIdx.x == 0) *clear = 0;
  i64 block = down ? gridDim.x - 1 - blockIdx.x : blockIdx.x;
  {
    const i64 blocks = (58ll * batch + 255) / 256 * 1;
    if (block < blocks) {
      k0_nest0(p0, p1, p2, p3, p4, p5, batch, layer, block);
      return;
    }
    block -= blocks;
  }
}
