/* map.c: how a COLUMNS nest is spread over the threads of a GPU, and the blocks of any nest. */
#include "codegen/cuda/spread.h"

/* Registers of a thread that the sums of a COLUMNS nest may take: narrower vectors leave room
 * for what is loaded and computed. */
#define MOST_SUM_REGISTERS 64

int64_t mvs_cuda_common_power(int64_t value, int64_t most) {
  while (most > 1 && value % most != 0) most /= 2;
  return most;
}

/* Elements per access, so that the widest contiguous operand that is walked moves at most 16
 * bytes at once and every row starts on a multiple of it. What is read or written once may take
 * two accesses. */
static int choose_vector(const mvs_kernel *kernel, const mvs_nest *nest) {
  int64_t vector = mvs_cuda_common_power(nest->inner.size, 8);
  for (size_t i = 0; i < nest->instrs.count; ++i) {
    const mvs_instr *instr = &nest->instrs.items[i];
    if (instr->kind != MVS_INSTR_LOAD && instr->kind != MVS_INSTR_STORE) continue;
    const mvs_access *access = &instr->access;
    if (instr->level == MVS_LEVEL_ROW || access->inner != 1) continue;
    int64_t widest = 16 / mvs_dtype_size(kernel->operands[access->operand]);
    while (access->sequential && vector > widest) vector /= 2;
    for (int axis = 0; axis < nest->outer_count; ++axis) {
      vector = mvs_cuda_common_power(access->outer[axis], vector);
    }
    vector = mvs_cuda_common_power(access->segment, vector);
    vector = mvs_cuda_common_power(access->constant, vector);
    vector = mvs_cuda_common_power(access->sequential, vector);
    vector = mvs_cuda_common_power(kernel->alignment[access->operand], vector);
  }
  return (int)vector;
}

/* Registers of 32 bits that the REDUCEs of a nest take for one element. */
static int64_t sum_registers(const mvs_nest *nest) {
  int64_t registers = 0;
  for (size_t i = 0; i < nest->instrs.count; ++i) {
    if (nest->instrs.items[i].kind != MVS_INSTR_REDUCE) continue;
    registers += mvs_dtype_size(nest->instrs.items[i].dtype) / 4;
  }
  return registers;
}

/* A thread for each lane of a vector's sums that has work, as far as a block reaches: then each
 * thread has several lanes. How many lanes there are is the shape's to say (kernel.h); how they
 * are spread changes no bit. */
mvs_cuda_map mvs_cuda_map_nest(const mvs_kernel *kernel, const mvs_nest *nest) {
  int lanes = mvs_nest_busy_lanes(nest);
  int threads = lanes < MVS_CUDA_BLOCK ? lanes : MVS_CUDA_BLOCK;
  int64_t sums = sum_registers(nest) * (lanes / threads);
  mvs_cuda_map map = {.vector = choose_vector(kernel, nest),
                      .columns = MVS_CUDA_BLOCK / threads};
  while (map.vector > 1 && map.vector * sums > MOST_SUM_REGISTERS) map.vector /= 2;
  return map;
}

mvs_cuda_blocks mvs_cuda_nest_blocks(mvs_arena *arena, const mvs_kernel *kernel,
                                     const mvs_nest *nest) {
  if (nest->nest_class == MVS_KERNEL_ROWS) return mvs_cuda_rows_blocks(arena, kernel, nest);
  mvs_cuda_map map = mvs_cuda_map_nest(kernel, nest);
  mvs_cuda_blocks blocks = {.work = {1, false}, .per_block = map.columns, .times = 1};
  for (int axis = 0; axis < nest->outer_count; ++axis) {
    blocks.work.size *= nest->outer[axis].size;
    blocks.work.per_batch |= nest->outer[axis].per_batch;
  }
  blocks.work.size *= nest->inner.size / map.vector;
  return blocks;
}
