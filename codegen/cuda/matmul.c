/* matmul.c: the generated product in CUDA, for what no library takes: any form, any size, any
 * alignment; f32 sums over ascending k. bf16 operands go through tensor cores
 * (matmul_tensor.c), all others through f32 units (matmul_f32.c).
 *
 * Both are one loop over tiles of k, with three tiles in shared memory:
 *
 *   step      -2      -1      0           1           2
 *   copy      tile 0  tile 1  tile 2      tile 3 (0)  tile 4 (1)     (n): into the place of n
 *   multiply                  tile 0      tile 1      tile 2
 *
 * At the head of a step cp.async.wait_group 1 waits until all but the newest group of copies of
 * this thread have arrived, then __syncthreads until those of all threads have, and until all
 * have multiplied the tile whose place the step's copies fill. So one barrier a step is enough.
 * Elements beyond an edge are copied as zeros (cp.async with a source size of 0 reads nothing),
 * so that inner loops know no edges; only stores are guarded. */
#include "codegen/cuda/matmul.h"

/* Elements of one load of an operand: its rows and its start are multiples of so many. */
static int vector_of(const mvs_kernel *kernel, int operand, int64_t pitch, int most) {
  int vector = most;
  while (vector > 1 && (pitch % vector != 0 || kernel->alignment[operand] < vector))
    vector /= 2;
  return vector;
}

/* How the operands are read: BY_K says that neighbours in memory differ in k. */
static void print_defines(const mvs_kernel *kernel, bool tensor, mvs_text *out) {
  const mvs_matmul_shape *shape = &kernel->matmul;
  bool a_by_k = shape->form != MVS_MATMUL_TN, b_by_k = shape->form == MVS_MATMUL_NT;
  int64_t a_pitch = a_by_k ? shape->k.size : shape->m.size;
  int64_t b_pitch = b_by_k ? shape->k.size : shape->n;
  int most = tensor ? 8 : 4, most_c = tensor ? 2 : 4;
  mvs_text_addf(out, "#define A_BY_K %d\n#define B_BY_K %d\n", a_by_k, b_by_k);
  mvs_text_addf(out, "#define A_VECTOR %d\n", vector_of(kernel, 0, a_pitch, most));
  mvs_text_addf(out, "#define B_VECTOR %d\n", vector_of(kernel, 1, b_pitch, most));
  mvs_text_addf(out, "#define C_VECTOR %d\n", vector_of(kernel, 2, shape->n, most_c));
  mvs_text_addf(out, "#define BIAS(n) %s\n", shape->bias ? "p3 + (n)" : "(const float *)0");
}

/* BIAS is added to the finished sum, which is rounded only then. */
static const char shared_helpers[] =
    "#define INLINE static __device__ __forceinline__\n"
    "INLINE u32 shared_address(const void *p) {\n"
    "  u32 address;\n"
    "  asm(\"{ .reg .u64 t; cvta.to.shared.u64 t, %1; cvt.u32.u64 %0, t; }\"\n"
    "      : \"=r\"(address) : \"l\"(p));\n"
    "  return address;\n"
    "}\n"
    "INLINE int at_most_128(i64 x) { return x < 128 ? (int)x : 128; }\n"
    "/* V neighbours of a row of results, from element n on. */\n"
    "template <int V, typename T, typename B>\n"
    "INLINE void store(T *to, const float *sums, const B *bias) {\n"
    "  pack<T, V> out;\n"
    "#pragma unroll\n"
    "  for (int i = 0; i < V; ++i) put(out.at[i], bias ? sums[i] + widen(bias[i]) : sums[i]);\n"
    "  *(pack<T, V> *)to = out;\n"
    "}\n";

/* With whole vectors a product by tensor cores needs no more than the 128 registers that let a
 * multiprocessor hold two blocks; others may. */
static void print_head(const mvs_kernel *kernel, bool tensor, mvs_text *out) {
  const mvs_matmul_shape *shape = &kernel->matmul;
  mvs_text_addf(out, "extern \"C\" __global__ void __launch_bounds__(%d%s) %s(", MVS_CUDA_BLOCK,
                tensor ? ", A_VECTOR * B_VECTOR == 64 ? 2 : 1" : ", 1", kernel->name);
  mvs_cuda_print_operands(kernel, out);
  mvs_text_add(out, ", const i64 batch, const int layer) {\n  take_turn();\n  const i64 M = ");
  mvs_cuda_print_dim(shape->m, out);
  mvs_text_addf(out, ", N = %lldll, K = ", (long long)shape->n);
  mvs_cuda_print_dim(shape->k, out);
  mvs_text_add(out, ";\n");
}

void mvs_cuda_print_matmul(const mvs_kernel *kernel, mvs_text *out) {
  bool tensor = kernel->matmul.a == MVS_BF16 && kernel->matmul.b == MVS_BF16;
  print_defines(kernel, tensor, out);
  mvs_text_add(out, shared_helpers);
  mvs_text_add(out, tensor ? mvs_cuda_tensor_helpers : mvs_cuda_f32_helpers);
  print_head(kernel, tensor, out);
  mvs_text_add(out, tensor ? mvs_cuda_tensor_body : mvs_cuda_f32_body);
}
