static __device__ __forceinline__ void take_turn() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}
typedef unsigned short bf16;
typedef long long i64;
typedef unsigned int u32;
static __device__ __forceinline__ float widen(float x) { return x; }
static __device__ __forceinline__ double widen(double x) { return x; }
static __device__ __forceinline__ int widen(int x) { return x; }
static __device__ __forceinline__ float widen(bf16 x) {
  return __uint_as_float((u32)x << 16);
}
static __device__ __forceinline__ u32 pair_bf16(float low, float high) {
  u32 r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}
static __device__ __forceinline__ float round_bf16(float x) {
  return __uint_as_float(pair_bf16(0.0f, x));
}
static __device__ __forceinline__ bf16 bits_bf16(float x) {
  return (bf16)(pair_bf16(0.0f, x) >> 16);
}
static __device__ __forceinline__ void put(float &p, float x) { p = x; }
static __device__ __forceinline__ void put(double &p, double x) { p = x; }
static __device__ __forceinline__ void put(int &p, int x) { p = x; }
static __device__ __forceinline__ void put(bf16 &p, float x) { p = bits_bf16(x); }
template <typename T, int N> struct __align__(sizeof(T) * N) pack { T at[N]; };
template <int BYTES>
static __device__ __forceinline__ void get_words(u32 *w, const void *p) {
  if constexpr (BYTES == 16) {
    const uint4 q = *(const uint4 *)p;
    w[0] = q.x; w[1] = q.y; w[2] = q.z; w[3] = q.w;
  } else if constexpr (BYTES == 8) {
    const uint2 q = *(const uint2 *)p;
    w[0] = q.x; w[1] = q.y;
  } else {
    w[0] = *(const u32 *)p;
  }
}
template <int BYTES>
static __device__ __forceinline__ void put_words(void *p, const u32 *w) {
  if constexpr (BYTES == 16)
    asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};"
                 ::"l"(p), "r"(w[0]), "r"(w[1]), "r"(w[2]), "r"(w[3]));
  else if constexpr (BYTES == 8)
    asm volatile("st.global.v2.b32 [%0], {%1, %2};"
                 ::"l"(p), "r"(w[0]), "r"(w[1]));
  else
    *(u32 *)p = w[0];
}
template <typename T> struct value { typedef T type; };
template <> struct value<bf16> { typedef float type; };
static __device__ __forceinline__ void element(const u32 *w, int e, float &x,
                                               const bf16 *) {
  x = __uint_as_float(e % 2 ? w[e / 2] & 0xffff0000u : w[e / 2] << 16);
}
static __device__ __forceinline__ void element(const u32 *w, int e, float &x,
                                               const float *) {
  x = __uint_as_float(w[e]);
}
static __device__ __forceinline__ void element(const u32 *w, int e, int &x,
                                               const int *) {
  x = (int)w[e];
}
static __device__ __forceinline__ void element(const u32 *w, int e, double &x,
                                               const double *) {
  x = __hiloint2double((int)w[2 * e + 1], (int)w[2 * e]);
}
template <typename T, int N, int W, bool WORDS = W * sizeof(T) % 4 == 0> struct vec {
  u32 words[N * sizeof(T) / 4];
  __device__ __forceinline__ typename value<T>::type at(int e) const {
    typename value<T>::type x;
    element(words, e, x, (const T *)0);
    return x;
  }
  __device__ __forceinline__ void load(const T *from, const i64 stride) {
#pragma unroll
    for (int k = 0; k < N / W; ++k)
      get_words<W * sizeof(T)>(words + k * (W * sizeof(T) / 4), from + k * W * stride);
  }
};
template <typename T, int N, int W> struct vec<T, N, W, false> {
  T single[N];
  __device__ __forceinline__ typename value<T>::type at(int e) const {
    return widen(single[e]);
  }
  __device__ __forceinline__ void load(const T *from, const i64 stride) {
#pragma unroll
    for (int k = 0; k < N; ++k) single[k] = from[k * stride];
  }
};
static __device__ __forceinline__ void to_words(u32 *w, const float *x, int count,
                                                bf16 *) {
#pragma unroll
  for (int k = 0; k < count / 2; ++k) w[k] = pair_bf16(x[2 * k], x[2 * k + 1]);
}
static __device__ __forceinline__ void to_words(u32 *w, const float *x, int count,
                                                float *) {
#pragma unroll
  for (int k = 0; k < count; ++k) w[k] = __float_as_uint(x[k]);
}
static __device__ __forceinline__ void to_words(u32 *w, const int *x, int count,
                                                int *) {
#pragma unroll
  for (int k = 0; k < count; ++k) w[k] = (u32)x[k];
}
static __device__ __forceinline__ void to_words(u32 *w, const double *x, int count,
                                                double *) {
#pragma unroll
  for (int k = 0; k < count; ++k) {
    w[2 * k] = (u32)__double2loint(x[k]);
    w[2 * k + 1] = (u32)__double2hiint(x[k]);
  }
}
template <typename T, int N, int W> struct out {
  typename value<T>::type at[N];
  __device__ __forceinline__ void store(T *to, const i64 stride) const {
#pragma unroll
    for (int k = 0; k < N / W; ++k) {
      if constexpr (W * sizeof(T) % 4 == 0) {
        u32 words[W * sizeof(T) / 4];
        to_words(words, at + k * W, W, to);
        put_words<W * sizeof(T)>(to + k * W * stride, words);
      } else {
        put(to[k * stride], at[k]);
      }
    }
  }
};
static __device__ __forceinline__ void philox(u32 k0, u32 k1, u32 c0, u32 c1, u32 c2,
                                              u32 &w0, u32 &w1) {
  u32 c3 = 0;
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    u32 h0 = __umulhi(0xD2511F53u, c0), l0 = 0xD2511F53u * c0;
    u32 h1 = __umulhi(0xCD9E8D57u, c2), l1 = 0xCD9E8D57u * c2;
    c0 = h1 ^ c1 ^ k0; c1 = l1; c2 = h0 ^ c3 ^ k1; c3 = l0;
    k0 += 0x9E3779B9u; k1 += 0xBB67AE85u;
  }
  w0 = c0; w1 = c1;
}
static __device__ __forceinline__ float unit(u32 w) {
  return ((float)(w >> 8) + 0.5f) * 5.9604644775390625e-8f;
}
static __device__ __forceinline__ float random_uniform(int seed, int step, int sample,
                                                       int position, u32 stream) {
  u32 a, b;
  philox(seed, stream, position, sample, step, a, b);
  return unit(a);
}
static __device__ __forceinline__ float random_normal(int seed, int step, int sample,
                                                      int position, u32 stream) {
  u32 a, b;
  philox(seed, stream, position, sample, step, a, b);
  return sqrtf(-2.0f * logf(unit(a))) * cosf(6.283185307179586f * unit(b));
}
struct add_op { template <typename T> static __device__ T of(T a, T b) { return a + b; } };
struct max_op {
  template <typename T> static __device__ T of(T a, T b) { return a > b ? a : b; }
};
template <typename OP, int N, typename T>
static __device__ __forceinline__ T fold_warp(T x) {
#pragma unroll
  for (int step = N / 2; step; step /= 2) x = OP::of(x, __shfl_xor_sync(~0u, x, step));
  return x;
}
template <typename OP, int N, typename T>
static __device__ __forceinline__ T fold_row(const T *warps) {
  const int first = threadIdx.x / N * (N / 32);
  T x = warps[first];
#pragma unroll
  for (int w = 1; w < N / 32; ++w) x = OP::of(x, warps[first + w]);
  return x;
}
static __device__ __forceinline__ void *fold_space() {
  __shared__ __align__(16) double space[256 * 8];
  return space;
}
template <typename OP, int LANES, int COLUMNS, int V, typename T>
static __device__ __forceinline__ void fold_lanes(T (&x)[V]) {
  constexpr int GROUP = LANES < 32 ? 1 : 32, EACH = LANES / GROUP, WIDTH = COLUMNS * V;
  T *space = (T *)fold_space();
  __syncthreads();
#pragma unroll
  for (int e = 0; e < V; ++e) space[threadIdx.x * V + e] = x[e];
  __syncthreads();
  const int first = threadIdx.x % GROUP;
  for (int at = threadIdx.x / GROUP; at < WIDTH; at += LANES * COLUMNS / GROUP) {
    T y[EACH];
#pragma unroll
    for (int m = 0; m < EACH; ++m) y[m] = space[(first + m * GROUP) * WIDTH + at];
#pragma unroll
    for (int step = EACH / 2; step; step /= 2)
#pragma unroll
      for (int m = 0; m < step; ++m) y[m] = OP::of(y[m], y[m + step]);
#pragma unroll
    for (int step = GROUP / 2; step; step /= 2)
      y[0] = OP::of(y[0], __shfl_xor_sync(~0u, y[0], step));
    if (first == 0) space[at] = y[0]; /* lane 0's place, which no one else reads */
  }
  __syncthreads();
#pragma unroll
  for (int e = 0; e < V; ++e) x[e] = space[threadIdx.x % COLUMNS * V + e];
}
