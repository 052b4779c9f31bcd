/* matmul.c: the generated product in CUDA, for what no library takes: any form, any size, f32
 * or bf16 operands with f32 sums in ascending k. Tiles of 64 x 64 in 16 steps of k, 4 x 4 a
 * thread. */
#include "codegen/cuda/printer.h"

/* Elements a and b as functions of (m, k) and (k, n), by form. */
static const char *const a_index[] = {"m * K + k", "m * K + k", "k * M + m"};
static const char *const b_index[] = {"n * K + k", "k * N + n", "k * N + n"};

static const char body[] =
    "  __shared__ float as[16][65], bs[16][65];\n"
    "  const i64 tiles_n = (N + 63) / 64;\n"
    "  const i64 m0 = blockIdx.x / tiles_n * 64, n0 = blockIdx.x % tiles_n * 64;\n"
    "  const int tm = threadIdx.x / 16 * 4, tn = threadIdx.x % 16 * 4;\n"
    "  float sum[4][4] = {};\n"
    "  for (i64 k0 = 0; k0 < K; k0 += 16) {\n"
    "#pragma unroll\n"
    "    for (int part = 0; part < 4; ++part) {\n"
    "      const int at = part * 256 + threadIdx.x;\n"
    "      { const int kk = A_K(at), mm = A_M(at);\n"
    "        const i64 k = k0 + kk, m = m0 + mm;\n"
    "        as[kk][mm] = k < K && m < M ? widen(p0[A_INDEX]) : 0.0f; }\n"
    "      { const int kk = B_K(at), nn = B_N(at);\n"
    "        const i64 k = k0 + kk, n = n0 + nn;\n"
    "        bs[kk][nn] = k < K && n < N ? widen(p1[B_INDEX]) : 0.0f; }\n"
    "    }\n"
    "    __syncthreads();\n"
    "#pragma unroll\n"
    "    for (int kk = 0; kk < 16; ++kk)\n"
    "#pragma unroll\n"
    "      for (int i = 0; i < 4; ++i)\n"
    "#pragma unroll\n"
    "        for (int j = 0; j < 4; ++j)\n"
    "          sum[i][j] = fmaf(as[kk][tm + i], bs[kk][tn + j], sum[i][j]);\n"
    "    __syncthreads();\n"
    "  }\n"
    "#pragma unroll\n"
    "  for (int i = 0; i < 4; ++i)\n"
    "#pragma unroll\n"
    "    for (int j = 0; j < 4; ++j) {\n"
    "      const i64 m = m0 + tm + i, n = n0 + tn + j;\n"
    "      if (m < M && n < N) put(p2[m * N + n], sum[i][j] + BIAS);\n"
    "    }\n"
    "}\n";

/* Neighbouring threads read neighbouring addresses: k fastest where rows of k are contiguous.
 */
static void print_defines(const mvs_matmul_shape *shape, mvs_text *out) {
  bool a_k_fast = shape->form != MVS_MATMUL_TN, b_k_fast = shape->form == MVS_MATMUL_NT;
  mvs_text_addf(out, "#define A_K(at) (%s)\n#define A_M(at) (%s)\n",
                a_k_fast ? "(at) % 16" : "(at) / 64", a_k_fast ? "(at) / 16" : "(at) % 64");
  mvs_text_addf(out, "#define B_K(at) (%s)\n#define B_N(at) (%s)\n",
                b_k_fast ? "(at) % 16" : "(at) / 64", b_k_fast ? "(at) / 16" : "(at) % 64");
  mvs_text_addf(out, "#define A_INDEX %s\n#define B_INDEX %s\n#define BIAS %s\n",
                a_index[shape->form], b_index[shape->form], shape->bias ? "widen(p3[n])" : "0.0f");
}

void mvs_cuda_print_matmul(const mvs_kernel *kernel, mvs_text *out) {
  const mvs_matmul_shape *shape = &kernel->matmul;
  print_defines(shape, out);
  mvs_text_addf(out, "extern \"C\" __global__ void __launch_bounds__(256, 1) %s(",
                kernel->name);
  mvs_cuda_print_operands(kernel, out);
  mvs_text_add(out, ", const i64 batch, const int layer) {\n  const i64 M = ");
  mvs_cuda_print_dim(shape->m, out);
  mvs_text_addf(out, ", N = %lldll, K = ", (long long)shape->n);
  mvs_cuda_print_dim(shape->k, out);
  mvs_text_add(out, ";\n");
  mvs_text_add(out, body);
}
