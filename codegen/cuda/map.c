/* map.c: how the rows of a nest are spread over the threads of a GPU. */
#include "codegen/cuda/printer.h"

/* The largest power of two up to `most` that divides `value` (0 counts as divisible). */
static int64_t common_power(int64_t value, int64_t most) {
  while (most > 1 && value % most != 0) most /= 2;
  return most;
}

/* Elements per access, so that the widest contiguous operand moves at most 16 bytes at once and
 * every row starts on a multiple of it. */
static int choose_vector(const mvs_kernel *kernel, const mvs_nest *nest) {
  int64_t vector = 8;
  if (!nest->inner.per_batch) vector = common_power(nest->inner.size, vector);
  for (size_t i = 0; i < nest->instrs.count; ++i) {
    const mvs_instr *instr = &nest->instrs.items[i];
    if (instr->kind != MVS_INSTR_LOAD && instr->kind != MVS_INSTR_STORE) continue;
    const mvs_access *access = &instr->access;
    if (instr->level == MVS_LEVEL_ROW || access->inner != 1) continue;
    /* What a column reads or writes once may take two accesses: what it walks decides. */
    bool walked = nest->nest_class == MVS_KERNEL_ROWS || access->sequential != 0;
    int64_t widest = 16 / mvs_dtype_size(kernel->operands[access->operand]);
    while (walked && vector > widest) vector /= 2;
    for (int axis = 0; axis < nest->outer_count; ++axis) {
      vector = common_power(access->outer[axis], vector);
    }
    vector = common_power(access->segment, vector);
    vector = common_power(access->sequential, vector);
    vector = common_power(kernel->alignment[access->operand], vector);
  }
  if (nest->inner.per_batch) vector = common_power(nest->inner.size, vector);
  return (int)vector;
}

static bool reduces(const mvs_nest *nest) {
  for (size_t i = 0; i < nest->instrs.count; ++i) {
    if (nest->instrs.items[i].kind == MVS_INSTR_REDUCE) return true;
  }
  return false;
}

/* A row of a ROWS nest with reductions goes to a power of two of threads. */
static void spread_row(mvs_cuda_map *map, const mvs_nest *nest) {
  int64_t vectors = nest->inner.size / map->vector;
  int threads = 1;
  while (threads < 32 && threads < vectors) threads *= 2;
  int64_t elements = vectors * map->vector;
  while (threads < MVS_CUDA_BLOCK && elements > (int64_t)threads * MVS_CUDA_PER_THREAD) {
    threads *= 2;
  }
  map->threads_per_row = threads;
  map->chunks = (vectors + threads - 1) / threads;
}

static mvs_cuda_map map_rows(const mvs_kernel *kernel, const mvs_nest *nest) {
  mvs_cuda_map map = {.vector = choose_vector(kernel, nest), .chunks = 1};
  if (reduces(nest)) spread_row(&map, nest);
  return map;
}

/* A thread for each lane of a vector's sums that has work, as far as a block reaches: then each
 * thread has several lanes. */
static mvs_cuda_map map_columns(const mvs_kernel *kernel, const mvs_nest *nest) {
  int lanes = mvs_nest_busy_lanes(nest);
  int threads = lanes < MVS_CUDA_BLOCK ? lanes : MVS_CUDA_BLOCK;
  return (mvs_cuda_map){.vector = choose_vector(kernel, nest),
                        .chunks = 1,
                        .columns = MVS_CUDA_BLOCK / threads};
}

mvs_cuda_map mvs_cuda_map_nest(const mvs_kernel *kernel, const mvs_nest *nest) {
  bool columns = nest->nest_class == MVS_KERNEL_COLUMNS;
  return columns ? map_columns(kernel, nest) : map_rows(kernel, nest);
}

mvs_cuda_blocks mvs_cuda_nest_blocks(const mvs_kernel *kernel, const mvs_nest *nest) {
  mvs_cuda_map map = mvs_cuda_map_nest(kernel, nest);
  mvs_cuda_blocks blocks = {.work = {1, false}, .per_block = MVS_CUDA_BLOCK};
  for (int axis = 0; axis < nest->outer_count; ++axis) {
    blocks.work.size *= nest->outer[axis].size;
    blocks.work.per_batch |= nest->outer[axis].per_batch;
  }
  if (map.threads_per_row) {
    blocks.per_block = MVS_CUDA_BLOCK / map.threads_per_row;
  } else {
    blocks.work.size *= nest->inner.size / map.vector;
    blocks.work.per_batch |= nest->inner.per_batch;
  }
  if (map.columns) blocks.per_block = map.columns;
  return blocks;
}
