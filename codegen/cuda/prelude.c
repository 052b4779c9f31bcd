/* prelude.c: the device functions that every generated source starts with. No headers: NVRTC
 * then compiles a kernel in tens of milliseconds. */
#include "codegen/cuda/printer.h"

static const char conversions[] =
    "typedef unsigned short bf16;\n"
    "typedef long long i64;\n"
    "typedef unsigned int u32;\n"
    "static __device__ __forceinline__ float widen(float x) { return x; }\n"
    "static __device__ __forceinline__ double widen(double x) { return x; }\n"
    "static __device__ __forceinline__ int widen(int x) { return x; }\n"
    "static __device__ __forceinline__ float widen(bf16 x) {\n"
    "  return __uint_as_float((u32)x << 16);\n"
    "}\n"
    "static __device__ __forceinline__ bf16 bits_bf16(float x) {\n"
    "  bf16 r;\n"
    "  asm(\"cvt.rn.bf16.f32 %0, %1;\" : \"=h\"(r) : \"f\"(x));\n"
    "  return r;\n"
    "}\n"
    "static __device__ __forceinline__ float round_bf16(float x) { return widen(bits_bf16(x)); "
    "}\n"
    "static __device__ __forceinline__ void put(float &p, float x) { p = x; }\n"
    "static __device__ __forceinline__ void put(double &p, double x) { p = x; }\n"
    "static __device__ __forceinline__ void put(int &p, int x) { p = x; }\n"
    "static __device__ __forceinline__ void put(bf16 &p, float x) { p = bits_bf16(x); }\n"
    "template <typename T, int N> struct __align__(sizeof(T) * N) pack { T at[N]; };\n"
    /* N elements of a row, moved W at a time. */
    "template <typename T, int N, int W> struct vec {\n"
    "  pack<T, W> part[N / W];\n"
    "  __device__ __forceinline__ T &at(int e) { return part[e / W].at[e % W]; }\n"
    "  __device__ __forceinline__ void load(const T *from, const i64 stride) {\n"
    "#pragma unroll\n"
    "    for (int k = 0; k < N / W; ++k)\n"
    "      part[k] = *(const pack<T, W> *)(from + k * W * stride);\n"
    "  }\n"
    "  __device__ __forceinline__ void store(T *to, const i64 stride) const {\n"
    "#pragma unroll\n"
    "    for (int k = 0; k < N / W; ++k) *(pack<T, W> *)(to + k * W * stride) = part[k];\n"
    "  }\n"
    "};\n";

/* Philox-4x32-10; the contract is in docs/numerics.md. */
static const char philox[] =
    "static __device__ __forceinline__ void philox(u32 k0, u32 k1, u32 c0, u32 c1, u32 c2,\n"
    "                                              u32 &w0, u32 &w1) {\n"
    "  u32 c3 = 0;\n"
    "#pragma unroll\n"
    "  for (int round = 0; round < 10; ++round) {\n"
    "    u32 h0 = __umulhi(0xD2511F53u, c0), l0 = 0xD2511F53u * c0;\n"
    "    u32 h1 = __umulhi(0xCD9E8D57u, c2), l1 = 0xCD9E8D57u * c2;\n"
    "    c0 = h1 ^ c1 ^ k0; c1 = l1; c2 = h0 ^ c3 ^ k1; c3 = l0;\n"
    "    k0 += 0x9E3779B9u; k1 += 0xBB67AE85u;\n"
    "  }\n"
    "  w0 = c0; w1 = c1;\n"
    "}\n"
    "static __device__ __forceinline__ float unit(u32 w) {\n"
    "  return ((float)(w >> 8) + 0.5f) * 5.9604644775390625e-8f;\n"
    "}\n"
    "static __device__ __forceinline__ float random_uniform(int seed, int step, int sample,\n"
    "                                                       int position, u32 stream) {\n"
    "  u32 a, b;\n"
    "  philox(seed, stream, position, sample, step, a, b);\n"
    "  return unit(a);\n"
    "}\n"
    "static __device__ __forceinline__ float random_normal(int seed, int step, int sample,\n"
    "                                                      int position, u32 stream) {\n"
    "  u32 a, b;\n"
    "  philox(seed, stream, position, sample, step, a, b);\n"
    "  return sqrtf(-2.0f * logf(unit(a))) * cosf(6.283185307179586f * unit(b));\n"
    "}\n";

/* Sum and maximum over the N threads of a row, N a power of two. The tree is a butterfly inside
 * a warp (fold_warp), then warps in order, from what each of the block's warps left in shared
 * memory (fold_row): fixed by N alone. */
static const char reductions[] =
    "struct add_op { template <typename T> static __device__ T of(T a, T b) { return a + b; } "
    "};\n"
    "struct max_op {\n"
    "  template <typename T> static __device__ T of(T a, T b) { return a > b ? a : b; }\n"
    "};\n"
    "template <typename OP, int N, typename T>\n"
    "static __device__ __forceinline__ T fold_warp(T x) {\n"
    "#pragma unroll\n"
    "  for (int step = N / 2; step; step /= 2) x = OP::of(x, __shfl_xor_sync(~0u, x, step));\n"
    "  return x;\n"
    "}\n"
    "template <typename OP, int N, typename T>\n"
    "static __device__ __forceinline__ T fold_row(const T *warps) {\n"
    "  const int first = threadIdx.x / N * (N / 32);\n"
    "  T x = warps[first];\n"
    "#pragma unroll\n"
    "  for (int w = 1; w < N / 32; ++w) x = OP::of(x, warps[first + w]);\n"
    "  return x;\n"
    "}\n";

/* Sums over the LANES threads that share a vector of V columns, COLUMNS such vectors side by
 * side in a block of 256: lane j takes lane j + LANES/2, and so on by halves. Every thread
 * gives its x; those of lane 0 get the result. The lanes of one element are folded by one
 * thread in registers, or by a warp where they are more than 32. One space serves all folds of
 * a kernel. */
static const char columns[] =
    "static __device__ __forceinline__ void *fold_space() {\n"
    "  __shared__ __align__(16) double space[256 * 8];\n"
    "  return space;\n"
    "}\n"
    "template <typename OP, int LANES, int COLUMNS, int V, typename T>\n"
    "static __device__ __forceinline__ void fold_lanes(T (&x)[V]) {\n"
    "  constexpr int GROUP = LANES > 32 ? 32 : 1, EACH = LANES / GROUP, WIDTH = COLUMNS * V;\n"
    "  T *space = (T *)fold_space();\n"
    "  __syncthreads();\n"
    "#pragma unroll\n"
    "  for (int e = 0; e < V; ++e) space[threadIdx.x * V + e] = x[e];\n"
    "  __syncthreads();\n"
    "  const int first = threadIdx.x % GROUP;\n"
    "  for (int at = threadIdx.x / GROUP; at < WIDTH; at += LANES * COLUMNS / GROUP) {\n"
    "    T y[EACH];\n"
    "#pragma unroll\n"
    "    for (int m = 0; m < EACH; ++m) y[m] = space[(first + m * GROUP) * WIDTH + at];\n"
    "#pragma unroll\n"
    "    for (int step = EACH / 2; step; step /= 2)\n"
    "#pragma unroll\n"
    "      for (int m = 0; m < step; ++m) y[m] = OP::of(y[m], y[m + step]);\n"
    "#pragma unroll\n"
    "    for (int step = GROUP / 2; step; step /= 2)\n"
    "      y[0] = OP::of(y[0], __shfl_xor_sync(~0u, y[0], step));\n"
    "    if (first == 0) space[at] = y[0]; /* lane 0's place, which no one else reads */\n"
    "  }\n"
    "  __syncthreads();\n"
    "#pragma unroll\n"
    "  for (int e = 0; e < V; ++e) x[e] = space[threadIdx.x % COLUMNS * V + e];\n"
    "}\n";

void mvs_cuda_print_prelude(mvs_text *out) {
  mvs_text_add(out, conversions);
  mvs_text_add(out, philox);
  mvs_text_add(out, reductions);
  mvs_text_add(out, columns);
}
