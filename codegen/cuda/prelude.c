/* prelude.c: the device functions that every generated source starts with. No headers: NVRTC
 * then compiles a kernel in tens of milliseconds.
 *
 * PTX used here (NVIDIA's PTX ISA):
 *   cvt.rn.bf16x2.f32 d, a, b    sm_80: both rounded to nearest even, a in the upper half of d
 *   st.global.v4.b32             one store of 16 bytes; the address a multiple of 16
 *   griddepcontrol.wait          sm_90: returns when all kernels that this one depends on have
 *                                ended and what they wrote can be seen; at once without any
 *   griddepcontrol.launch_dependents   the kernel behind may start once all blocks said so */
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
    /* Two values rounded by one instruction, at four times the rate of rounding one. */
    "static __device__ __forceinline__ u32 pair_bf16(float low, float high) {\n"
    "  u32 r;\n"
    "  asm(\"cvt.rn.bf16x2.f32 %0, %1, %2;\" : \"=r\"(r) : \"f\"(high), \"f\"(low));\n"
    "  return r;\n"
    "}\n"
    "static __device__ __forceinline__ float round_bf16(float x) {\n"
    "  return __uint_as_float(pair_bf16(0.0f, x));\n"
    "}\n"
    "static __device__ __forceinline__ bf16 bits_bf16(float x) {\n"
    "  return (bf16)(pair_bf16(0.0f, x) >> 16);\n"
    "}\n"
    "static __device__ __forceinline__ void put(float &p, float x) { p = x; }\n"
    "static __device__ __forceinline__ void put(double &p, double x) { p = x; }\n"
    "static __device__ __forceinline__ void put(int &p, int x) { p = x; }\n"
    "static __device__ __forceinline__ void put(bf16 &p, float x) { p = bits_bf16(x); }\n"
    "template <typename T, int N> struct __align__(sizeof(T) * N) pack { T at[N]; };\n";

/* N elements of a row, moved W at a time, as they lie in memory (vec) or as values to be stored
 * (out). Where W elements fill registers, whole registers are moved, and stored by name: NVRTC
 * takes a store of a vector type apart into a store for each field in some kernels (seen in the
 * SASS of 13.0). */
static const char vectors[] =
    "template <int BYTES>\n"
    "static __device__ __forceinline__ void get_words(u32 *w, const void *p) {\n"
    "  if constexpr (BYTES == 16) {\n"
    "    const uint4 q = *(const uint4 *)p;\n"
    "    w[0] = q.x; w[1] = q.y; w[2] = q.z; w[3] = q.w;\n"
    "  } else if constexpr (BYTES == 8) {\n"
    "    const uint2 q = *(const uint2 *)p;\n"
    "    w[0] = q.x; w[1] = q.y;\n"
    "  } else {\n"
    "    w[0] = *(const u32 *)p;\n"
    "  }\n"
    "}\n"
    "template <int BYTES>\n"
    "static __device__ __forceinline__ void put_words(void *p, const u32 *w) {\n"
    "  if constexpr (BYTES == 16)\n"
    "    asm volatile(\"st.global.v4.b32 [%0], {%1, %2, %3, %4};\"\n"
    "                 ::\"l\"(p), \"r\"(w[0]), \"r\"(w[1]), \"r\"(w[2]), \"r\"(w[3]));\n"
    "  else if constexpr (BYTES == 8)\n"
    "    asm volatile(\"st.global.v2.b32 [%0], {%1, %2};\"\n"
    "                 ::\"l\"(p), \"r\"(w[0]), \"r\"(w[1]));\n"
    "  else\n"
    "    *(u32 *)p = w[0];\n"
    "}\n"
    /* What an element is in arithmetic: bf16 is held as f32. element() takes the e-th out of
     * 32-bit words: the upper half of a word is the odd one, and a bf16 is the upper half of
     * its f32. */
    "template <typename T> struct value { typedef T type; };\n"
    "template <> struct value<bf16> { typedef float type; };\n"
    "static __device__ __forceinline__ void element(const u32 *w, int e, float &x,\n"
    "                                               const bf16 *) {\n"
    "  x = __uint_as_float(e % 2 ? w[e / 2] & 0xffff0000u : w[e / 2] << 16);\n"
    "}\n"
    "static __device__ __forceinline__ void element(const u32 *w, int e, float &x,\n"
    "                                               const float *) {\n"
    "  x = __uint_as_float(w[e]);\n"
    "}\n"
    "static __device__ __forceinline__ void element(const u32 *w, int e, int &x,\n"
    "                                               const int *) {\n"
    "  x = (int)w[e];\n"
    "}\n"
    "static __device__ __forceinline__ void element(const u32 *w, int e, double &x,\n"
    "                                               const double *) {\n"
    "  x = __hiloint2double((int)w[2 * e + 1], (int)w[2 * e]);\n"
    "}\n"
    /* Loaded, as words where W elements fill them, else element by element. */
    "template <typename T, int N, int W, bool WORDS = W * sizeof(T) % 4 == 0> struct vec {\n"
    "  u32 words[N * sizeof(T) / 4];\n"
    "  __device__ __forceinline__ typename value<T>::type at(int e) const {\n"
    "    typename value<T>::type x;\n"
    "    element(words, e, x, (const T *)0);\n"
    "    return x;\n"
    "  }\n"
    "  __device__ __forceinline__ void load(const T *from, const i64 stride) {\n"
    "#pragma unroll\n"
    "    for (int k = 0; k < N / W; ++k)\n"
    "      get_words<W * sizeof(T)>(words + k * (W * sizeof(T) / 4), from + k * W * stride);\n"
    "  }\n"
    "};\n"
    "template <typename T, int N, int W> struct vec<T, N, W, false> {\n"
    "  T single[N];\n"
    "  __device__ __forceinline__ typename value<T>::type at(int e) const {\n"
    "    return widen(single[e]);\n"
    "  }\n"
    "  __device__ __forceinline__ void load(const T *from, const i64 stride) {\n"
    "#pragma unroll\n"
    "    for (int k = 0; k < N; ++k) single[k] = from[k * stride];\n"
    "  }\n"
    "};\n"
    "static __device__ __forceinline__ void to_words(u32 *w, const float *x, int count,\n"
    "                                                bf16 *) {\n"
    "#pragma unroll\n"
    "  for (int k = 0; k < count / 2; ++k) w[k] = pair_bf16(x[2 * k], x[2 * k + 1]);\n"
    "}\n"
    "static __device__ __forceinline__ void to_words(u32 *w, const float *x, int count,\n"
    "                                                float *) {\n"
    "#pragma unroll\n"
    "  for (int k = 0; k < count; ++k) w[k] = __float_as_uint(x[k]);\n"
    "}\n"
    "static __device__ __forceinline__ void to_words(u32 *w, const int *x, int count,\n"
    "                                                int *) {\n"
    "#pragma unroll\n"
    "  for (int k = 0; k < count; ++k) w[k] = (u32)x[k];\n"
    "}\n"
    "static __device__ __forceinline__ void to_words(u32 *w, const double *x, int count,\n"
    "                                                double *) {\n"
    "#pragma unroll\n"
    "  for (int k = 0; k < count; ++k) {\n"
    "    w[2 * k] = (u32)__double2loint(x[k]);\n"
    "    w[2 * k + 1] = (u32)__double2hiint(x[k]);\n"
    "  }\n"
    "}\n"
    /* To be stored: values, rounded in pairs as they are packed into words. */
    "template <typename T, int N, int W> struct out {\n"
    "  typename value<T>::type at[N];\n"
    "  __device__ __forceinline__ void store(T *to, const i64 stride) const {\n"
    "#pragma unroll\n"
    "    for (int k = 0; k < N / W; ++k) {\n"
    "      if constexpr (W * sizeof(T) % 4 == 0) {\n"
    "        u32 words[W * sizeof(T) / 4];\n"
    "        to_words(words, at + k * W, W, to);\n"
    "        put_words<W * sizeof(T)>(to + k * W * stride, words);\n"
    "      } else {\n"
    "        put(to[k * stride], at[k]);\n"
    "      }\n"
    "    }\n"
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
 * thread in registers, or by a warp where they are 32 or more. One space serves all folds of
 * a kernel: 16 KiB, 256 threads with 8 elements of 8 bytes.
 *
 *   space[lane][column][element], as threads lie: lane * COLUMNS + column
 *   LANES 16:  a thread reads 16 places WIDTH apart, folds 8, 4, 2, 1
 *   LANES 256: thread m of a warp reads lanes m, m + 32, ... and folds 4, 2, 1; then a
 *              butterfly over 16, 8, 4, 2, 1, in which lane 0 takes part as in halves */
static const char columns[] =
    "static __device__ __forceinline__ void *fold_space() {\n"
    "  __shared__ __align__(16) double space[256 * 8];\n"
    "  return space;\n"
    "}\n"
    "template <typename OP, int LANES, int COLUMNS, int V, typename T>\n"
    "static __device__ __forceinline__ void fold_lanes(T (&x)[V]) {\n"
    "  constexpr int GROUP = LANES < 32 ? 1 : 32, EACH = LANES / GROUP, WIDTH = COLUMNS * V;\n"
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

/* The runtime launches a kernel before the one ahead of it has ended (docs/gpu.md): its blocks
 * come to where there is room, and wait for all that was written before. Then the kernel behind
 * it may come: let in earlier, its blocks would only wait longer. Nothing may be read or
 * written before the wait. GPUs before 9.0 know neither. */
static const char order[] = "static __device__ __forceinline__ void take_turn() {\n"
                            "#if __CUDA_ARCH__ >= 900\n"
                            "  asm volatile(\"griddepcontrol.wait;\" ::: \"memory\");\n"
                            "  asm volatile(\"griddepcontrol.launch_dependents;\");\n"
                            "#endif\n"
                            "}\n";

/* The same text for every kernel: what is not called costs no code, and NVRTC little time. */
void mvs_cuda_print_prelude(mvs_text *out) {
  mvs_text_add(out, order);
  mvs_text_add(out, conversions);
  mvs_text_add(out, vectors);
  mvs_text_add(out, philox);
  mvs_text_add(out, reductions);
  mvs_text_add(out, columns);
}
