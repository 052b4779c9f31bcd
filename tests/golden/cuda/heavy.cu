/* matmul */
#define A_BY_K 1
#define B_BY_K 1
#define A_VECTOR 8
#define B_VECTOR 8
#define C_VECTOR 2
#define BIAS(n) p3 + (n)
#define INLINE static __device__ __forceinline__
INLINE u32 shared_address(const void *p) {
  u32 address;
  asm("{ .reg .u64 t; cvta.to.shared.u64 t, %1; cvt.u32.u64 %0, t; }"
      : "=r"(address) : "l"(p));
  return address;
}
INLINE int at_most_128(i64 x) { return x < 128 ? (int)x : 128; }
/* V neighbours of a row of results, from element n on. */
template <int V, typename T, typename B>
INLINE void store(T *to, const float *sums, const B *bias) {
  pack<T, V> out;
#pragma unroll
  for (int i = 0; i < V; ++i) put(out.at[i], bias ? sums[i] + widen(bias[i]) : sums[i]);
  *(pack<T, V> *)to = out;
}
/* V elements to shared memory, zeros where there are none: `from` is not read then. */
template <int V> INLINE void copy(u32 to, const bf16 *from, bool there) {
  if (V == 8) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to),
                 "l"(from), "r"(there ? 16 : 0) : "memory");
  } else if (V > 1) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to),
                 "l"(from), "n"(V > 1 ? 2 * V : 4), "r"(there ? 2 * V : 0) : "memory");
  } else {
    const bf16 x = there ? *from : (bf16)0;
    asm volatile("st.shared.u16 [%0], %1;" ::"r"(to), "h"(x) : "memory");
  }
}
/* Bytes from the tile's start to an element. */
template <bool BY_K> INLINE u32 place(int row, int k) {
  return BY_K ? row * 64 + ((k / 8) ^ (row / 2 % 4)) * 16 + k % 8 * 2
              : k * 256 + ((row / 8) ^ (k % 8)) * 16 + row % 8 * 2;
}
/* The thread's first element of a tile: its row and k. */
template <int V, bool BY_K> INLINE int own_row() {
  return BY_K ? threadIdx.x * V / 32 : threadIdx.x * V % 128;
}
template <int V, bool BY_K> INLINE int own_k() {
  return BY_K ? threadIdx.x * V % 32 : threadIdx.x * V / 128;
}
/* A tile; `from` is the thread's first element, with so many rows and k from it on. The
 * pitch of its rows is known when compiling, which makes addresses cheap. */
template <int V, bool BY_K>
INLINE void load(u32 tile, const bf16 *from, i64 pitch, int rows, int ks) {
  const int r = own_row<V, BY_K>(), c = own_k<V, BY_K>();
  const u32 to = place<BY_K>(r, c);
#pragma unroll
  for (int part = 0; part < 16 / V; ++part) {
    const int down = part * (BY_K ? 8 : 2) * V;
    const bool there = BY_K ? down < rows && ks > 0 : rows > 0 && down < ks;
    const u32 below = BY_K ? to + down * 64 : V > 2 ? to + down * 256
                                                    : place<BY_K>(r, c + down);
    copy<V>(tile + below, from + down * pitch, there);
  }
}
/* Where a lane reads a matrix that lies i * 16 rows and k further than `first`, its place
 * for the tile's first: the exchange of chunks touches other bits than the sums do. */
template <bool BY_K> INLINE u32 matrix(u32 first, int i, int k) {
  return BY_K ? (first ^ (k * 2)) + i * 1024 : (first ^ (i * 32)) + k * 256;
}
/* Four matrices of 8 x 8, each lane with the address of one of their 32 rows. */
template <bool TURNED>
INLINE void take(u32 (&x)[4], u32 address) {
  if (TURNED)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
        : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3]) : "r"(address) : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
        : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3]) : "r"(address) : "memory");
}
/* sum += a b, 16 x 8 of them, 16 steps of k. */
INLINE void multiply(float (&sum)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
      "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
extern "C" __global__ void __launch_bounds__(256, A_VECTOR * B_VECTOR == 64 ? 2 : 1) k0(const bf16 *p0, const bf16 *p1, bf16 *p2, const bf16 *p3, const i64 batch, const int layer) {
  take_turn();
  const i64 M = 29ll * batch, N = 192ll, K = 64ll;
  __shared__ __align__(128) unsigned char tiles[3][2][8192];
  const i64 tiles_n = (N + 127) / 128;
  const i64 m0 = blockIdx.x / tiles_n * 128, n0 = blockIdx.x % tiles_n * 128;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int wm = warp / 4 * 64, wn = warp % 4 * 32;
  const i64 a_row = m0 + own_row<A_VECTOR, A_BY_K>();
  const i64 b_row = n0 + own_row<B_VECTOR, B_BY_K>();
  const i64 a_k = own_k<A_VECTOR, A_BY_K>(), b_k = own_k<B_VECTOR, B_BY_K>();
  const int a_rows = at_most_128(M - a_row), b_rows = at_most_128(N - b_row);
  const bf16 *a_from = p0 + (A_BY_K ? a_row * K + a_k : a_k * M + a_row);
  const bf16 *b_from = p1 + (B_BY_K ? b_row * K + b_k : b_k * N + b_row);
  const u32 base = shared_address(tiles);
  const u32 a_first = place<A_BY_K>(wm + (A_BY_K ? lane % 16 : lane / 8 % 2 * 8), A_BY_K ? lane / 16 * 8 : lane % 8 + lane / 16 * 8);
  const u32 b_first =
      8192 + place<B_BY_K>(wn + (B_BY_K ? lane % 8 + lane / 16 * 8 : lane / 16 * 8),
                           B_BY_K ? lane / 8 % 2 * 8 : lane % 16);
  float sum[4][4][4] = {};
  u32 here = base, next = base;
#pragma unroll 1
  for (i64 k0 = -64; k0 < K; k0 += 32) {
    if (k0 >= 0) {
      asm volatile("cp.async.wait_group 1;" ::: "memory");
      __syncthreads();
    }
    const int ks = at_most_128(K - k0 - 64);
    load<A_VECTOR, A_BY_K>(next, a_from, A_BY_K ? K : M, a_rows, ks - (int)a_k);
    load<B_VECTOR, B_BY_K>(next + 8192, b_from, B_BY_K ? K : N, b_rows, ks - (int)b_k);
    asm volatile("cp.async.commit_group;" ::: "memory");
    a_from += A_BY_K ? 32 : 32 * M, b_from += B_BY_K ? 32 : 32 * N;
    next = next == base + 2 * 16384 ? base : next + 16384;
    if (k0 < 0) continue;
#pragma unroll
    for (int k = 0; k < 32; k += 16) {
      u32 a[4][4], b[2][4];
#pragma unroll
      for (int i = 0; i < 4; ++i)
        take<!A_BY_K>(a[i], here + matrix<A_BY_K>(a_first, i, k));
#pragma unroll
      for (int j = 0; j < 2; ++j)
        take<!B_BY_K>(b[j], here + matrix<B_BY_K>(b_first, j, k));
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j)
          multiply(sum[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
    }
    here = here == base + 2 * 16384 ? base : here + 16384;
  }
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    const i64 n = n0 + wn + j * 8 + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const i64 m = m0 + wm + i * 8 + lane / 4;
#pragma unroll
      for (int x = 0; x < 2; x += C_VECTOR)
        if (m < M && n + x < N)
          store<C_VECTOR>(p2 + m * N + n + x, &sum[i / 2][j][i % 2 * 2 + x], BIAS(n + x));
    }
  }
}
/* attention */
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
extern "C" __global__ void __launch_bounds__(256, 1) k1(const bf16 *p0, const bf16 *p1, const bf16 *p2, bf16 *p3, float *p4, const i64 batch, const int layer) {
  take_turn();
  __shared__ float rows[8][D];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const i64 tiles = (T + 7) / 8;
  const i64 t = blockIdx.x % tiles * 8 + warp, bh = blockIdx.x / tiles;
  const i64 b = bh / H, h = bh % H, g = h / (H / G);
  if (t >= T) return;
  const elem *q = p0 + (b * T + t) * Q_TOKEN + h * D;
  for (int d = lane; d < D; d += 32) rows[warp][d] = widen(q[d]) * SCALE;
  __syncwarp();
  float most = -3.402823466e38f, total = 0, o[PER_LANE] = {};
  for (i64 j0 = 0; j0 < T; j0 += 32) {
    const i64 j = j0 + lane;
    const elem *key = p1 + (b * T + j) * K_TOKEN + g * D;
    const float s = j < T ? dot(rows[warp], key) : -3.402823466e38f;
    const float next = fmaxf(most, warp_max(s)), shrink = expf(most - next);
    const float p = j < T ? expf(s - next) : 0.0f;
    total = total * shrink + warp_sum(p);
    most = next;
#pragma unroll
    for (int x = 0; x < PER_LANE; ++x) o[x] *= shrink;
    for (int y = 0; y < 32 && j0 + y < T; ++y) {
      const float weight = __shfl_sync(~0u, p, y);
      const elem *v = p2 + (b * T + j0 + y) * V_TOKEN + g * D;
#pragma unroll
      for (int x = 0; x < PER_LANE; ++x)
        if (x * 32 + lane < D) o[x] = fmaf(weight, widen(v[x * 32 + lane]), o[x]);
    }
  }
#pragma unroll
  for (int x = 0; x < PER_LANE; ++x)
    if (x * 32 + lane < D)
      put(p3[(b * T + t) * O_TOKEN + h * D + x * 32 + lane], o[x] / total);
  if (lane == 0) p4[(b * H + h) * T + t] = most + logf(total);
}
/* matmul */
#define A_BY_K 0
#define B_BY_K 0
#define A_VECTOR 8
#define B_VECTOR 8
#define C_VECTOR 2
#define BIAS(n) (const float *)0
#define INLINE static __device__ __forceinline__
INLINE u32 shared_address(const void *p) {
  u32 address;
  asm("{ .reg .u64 t; cvta.to.shared.u64 t, %1; cvt.u32.u64 %0, t; }"
      : "=r"(address) : "l"(p));
  return address;
}
INLINE int at_most_128(i64 x) { return x < 128 ? (int)x : 128; }
/* V neighbours of a row of results, from element n on. */
template <int V, typename T, typename B>
INLINE void store(T *to, const float *sums, const B *bias) {
  pack<T, V> out;
#pragma unroll
  for (int i = 0; i < V; ++i) put(out.at[i], bias ? sums[i] + widen(bias[i]) : sums[i]);
  *(pack<T, V> *)to = out;
}
/* V elements to shared memory, zeros where there are none: `from` is not read then. */
template <int V> INLINE void copy(u32 to, const bf16 *from, bool there) {
  if (V == 8) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to),
                 "l"(from), "r"(there ? 16 : 0) : "memory");
  } else if (V > 1) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to),
                 "l"(from), "n"(V > 1 ? 2 * V : 4), "r"(there ? 2 * V : 0) : "memory");
  } else {
    const bf16 x = there ? *from : (bf16)0;
    asm volatile("st.shared.u16 [%0], %1;" ::"r"(to), "h"(x) : "memory");
  }
}
/* Bytes from the tile's start to an element. */
template <bool BY_K> INLINE u32 place(int row, int k) {
  return BY_K ? row * 64 + ((k / 8) ^ (row / 2 % 4)) * 16 + k % 8 * 2
              : k * 256 + ((row / 8) ^ (k % 8)) * 16 + row % 8 * 2;
}
/* The thread's first element of a tile: its row and k. */
template <int V, bool BY_K> INLINE int own_row() {
  return BY_K ? threadIdx.x * V / 32 : threadIdx.x * V % 128;
}
template <int V, bool BY_K> INLINE int own_k() {
  return BY_K ? threadIdx.x * V % 32 : threadIdx.x * V / 128;
}
/* A tile; `from` is the thread's first element, with so many rows and k from it on. The
 * pitch of its rows is known when compiling, which makes addresses cheap. */
template <int V, bool BY_K>
INLINE void load(u32 tile, const bf16 *from, i64 pitch, int rows, int ks) {
  const int r = own_row<V, BY_K>(), c = own_k<V, BY_K>();
  const u32 to = place<BY_K>(r, c);
#pragma unroll
  for (int part = 0; part < 16 / V; ++part) {
    const int down = part * (BY_K ? 8 : 2) * V;
    const bool there = BY_K ? down < rows && ks > 0 : rows > 0 && down < ks;
    const u32 below = BY_K ? to + down * 64 : V > 2 ? to + down * 256
                                                    : place<BY_K>(r, c + down);
    copy<V>(tile + below, from + down * pitch, there);
  }
}
/* Where a lane reads a matrix that lies i * 16 rows and k further than `first`, its place
 * for the tile's first: the exchange of chunks touches other bits than the sums do. */
template <bool BY_K> INLINE u32 matrix(u32 first, int i, int k) {
  return BY_K ? (first ^ (k * 2)) + i * 1024 : (first ^ (i * 32)) + k * 256;
}
/* Four matrices of 8 x 8, each lane with the address of one of their 32 rows. */
template <bool TURNED>
INLINE void take(u32 (&x)[4], u32 address) {
  if (TURNED)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
        : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3]) : "r"(address) : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
        : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3]) : "r"(address) : "memory");
}
/* sum += a b, 16 x 8 of them, 16 steps of k. */
INLINE void multiply(float (&sum)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
      "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
extern "C" __global__ void __launch_bounds__(256, A_VECTOR * B_VECTOR == 64 ? 2 : 1) k2(const bf16 *p0, const bf16 *p1, float *p2, const i64 batch, const int layer) {
  take_turn();
  const i64 M = 192ll, N = 64ll, K = 29ll * batch;
  __shared__ __align__(128) unsigned char tiles[3][2][8192];
  const i64 tiles_n = (N + 127) / 128;
  const i64 m0 = blockIdx.x / tiles_n * 128, n0 = blockIdx.x % tiles_n * 128;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int wm = warp / 4 * 64, wn = warp % 4 * 32;
  const i64 a_row = m0 + own_row<A_VECTOR, A_BY_K>();
  const i64 b_row = n0 + own_row<B_VECTOR, B_BY_K>();
  const i64 a_k = own_k<A_VECTOR, A_BY_K>(), b_k = own_k<B_VECTOR, B_BY_K>();
  const int a_rows = at_most_128(M - a_row), b_rows = at_most_128(N - b_row);
  const bf16 *a_from = p0 + (A_BY_K ? a_row * K + a_k : a_k * M + a_row);
  const bf16 *b_from = p1 + (B_BY_K ? b_row * K + b_k : b_k * N + b_row);
  const u32 base = shared_address(tiles);
  const u32 a_first = place<A_BY_K>(wm + (A_BY_K ? lane % 16 : lane / 8 % 2 * 8), A_BY_K ? lane / 16 * 8 : lane % 8 + lane / 16 * 8);
  const u32 b_first =
      8192 + place<B_BY_K>(wn + (B_BY_K ? lane % 8 + lane / 16 * 8 : lane / 16 * 8),
                           B_BY_K ? lane / 8 % 2 * 8 : lane % 16);
  float sum[4][4][4] = {};
  u32 here = base, next = base;
#pragma unroll 1
  for (i64 k0 = -64; k0 < K; k0 += 32) {
    if (k0 >= 0) {
      asm volatile("cp.async.wait_group 1;" ::: "memory");
      __syncthreads();
    }
    const int ks = at_most_128(K - k0 - 64);
    load<A_VECTOR, A_BY_K>(next, a_from, A_BY_K ? K : M, a_rows, ks - (int)a_k);
    load<B_VECTOR, B_BY_K>(next + 8192, b_from, B_BY_K ? K : N, b_rows, ks - (int)b_k);
    asm volatile("cp.async.commit_group;" ::: "memory");
    a_from += A_BY_K ? 32 : 32 * M, b_from += B_BY_K ? 32 : 32 * N;
    next = next == base + 2 * 16384 ? base : next + 16384;
    if (k0 < 0) continue;
#pragma unroll
    for (int k = 0; k < 32; k += 16) {
      u32 a[4][4], b[2][4];
#pragma unroll
      for (int i = 0; i < 4; ++i)
        take<!A_BY_K>(a[i], here + matrix<A_BY_K>(a_first, i, k));
#pragma unroll
      for (int j = 0; j < 2; ++j)
        take<!B_BY_K>(b[j], here + matrix<B_BY_K>(b_first, j, k));
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j)
          multiply(sum[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
    }
    here = here == base + 2 * 16384 ? base : here + 16384;
  }
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    const i64 n = n0 + wn + j * 8 + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const i64 m = m0 + wm + i * 8 + lane / 4;
#pragma unroll
      for (int x = 0; x < 2; x += C_VECTOR)
        if (m < M && n + x < N)
          store<C_VECTOR>(p2 + m * N + n + x, &sum[i / 2][j][i % 2 * 2 + x], BIAS(n + x));
    }
  }
}
