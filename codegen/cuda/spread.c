/* spread.c: how a ROWS nest is spread over the threads of a GPU.
 *
 *   row reduced, 1024 elements   vector 4, 128 threads, 2 chunks: two rows a block of 256
 *   row reduced, 64              vector 4, 16 threads, 1 chunk: two rows a warp, 16 a block
 *   row reduced, 50              vector 2, 32 threads, 1 chunk: 7 threads have nothing to add
 *   no reduction, 3072 of f32    vector 4, 256 threads, 3 tiles, each in another block
 *   no reduction, the batch      tiles 0: as many blocks as the batch asks for */
#include "codegen/cuda/spread.h"

/* Rows that a thread takes at once, at most. */
#define MOST_ROWS 4
/* Elements of two reduced rows that a thread holds at once, at most. */
#define MOST_ELEMENTS 32
/* Bytes of loads that a thread of a reduced row should have in flight: times the 1,024 threads
 * that a multiprocessor holds, 1.6 of what the latency of memory asks for at full speed. */
#define BYTES_IN_FLIGHT 64
/* Registers, in bytes, that kept values may take; more are read and computed again. */
#define MOST_KEPT 256
/* Registers, in bytes, of kept values and loads in flight: leaves room for 512 threads. */
#define MOST_HELD 384

/* Every row must start on a multiple of it: so strides, constants and the operand's start
 * count. The stride of the batch is that of the first outer axis. */
int mvs_cuda_access_width(const mvs_kernel *kernel, const mvs_nest *nest,
                          const mvs_access *access, int vector) {
  if (access->inner != 1) return 1;
  int size = mvs_dtype_size(kernel->operands[access->operand]);
  int64_t width = mvs_cuda_common_power(vector, 16 / size);
  for (int axis = 0; axis < nest->outer_count; ++axis) {
    width = mvs_cuda_common_power(access->outer[axis], width);
  }
  width = mvs_cuda_common_power(access->segment, width);
  width = mvs_cuda_common_power(access->constant, width);
  return (int)mvs_cuda_common_power(kernel->alignment[access->operand], width);
}

int mvs_cuda_groups_per_block(const mvs_cuda_spread *spread) {
  return MVS_CUDA_BLOCK / spread->threads;
}

static int64_t ceiling(int64_t value, int64_t by) { return (value + by - 1) / by; }

/* --- the row --- */

static bool reduces(const mvs_nest *nest) {
  for (size_t i = 0; i < nest->instrs.count; ++i) {
    if (nest->instrs.items[i].kind == MVS_INSTR_REDUCE) return true;
  }
  return false;
}

/* Nothing but the length may enter: this is the tree. Four elements are 16 bytes of f32, and
 * enough of bf16. Up to a warp each thread has one vector; beyond, two, so that half as many
 * warps meet at the fold. */
static void spread_reduced_row(mvs_cuda_spread *spread, int64_t length) {
  spread->vector = (int)mvs_cuda_common_power(length, 4);
  int64_t vectors = length / spread->vector;
  spread->threads = 1;
  while (spread->threads < 32 && spread->threads < vectors) spread->threads *= 2;
  while (spread->threads < MVS_CUDA_BLOCK && spread->threads * 2 < vectors) {
    spread->threads *= 2;
  }
  spread->chunks = ceiling(vectors, spread->threads);
  spread->tiles = 1;
}

/* As many elements as the widest contiguous operand that is written moves in 16 bytes. Wider
 * reads cost nothing: their second half comes from the cache; halves of sectors written one by
 * one do. */
static int flat_vector(const mvs_kernel *kernel, const mvs_nest *nest) {
  int widest = 1, written = 8;
  for (size_t i = 0; i < nest->instrs.count; ++i) {
    const mvs_instr *instr = &nest->instrs.items[i];
    if (!mvs_instr_uses_memory(instr) || instr->level == MVS_LEVEL_ROW) continue;
    if (instr->access.inner != 1) continue;
    int width = mvs_cuda_access_width(kernel, nest, &instr->access, 8);
    if (width > widest) widest = width;
    if (instr->kind == MVS_INSTR_STORE && width < written) written = width;
  }
  return (int)mvs_cuda_common_power(nest->inner.size, widest < written ? widest : written);
}

/* Threads for a row without reduction: many, but no more than an eighth of them idle at its
 * end; 8 at least, where the row has so many vectors. */
static void spread_flat_row(mvs_cuda_spread *spread, const mvs_kernel *kernel,
                            const mvs_nest *nest) {
  spread->vector = flat_vector(kernel, nest);
  spread->threads = MVS_CUDA_BLOCK;
  spread->chunks = 1;
  spread->tiles = 0;
  if (nest->inner.per_batch) return;
  int64_t vectors = nest->inner.size / spread->vector;
  while (spread->threads / 2 >= vectors) spread->threads /= 2;
  while (spread->threads > 8 &&
         ceiling(vectors, spread->threads) * spread->threads * 7 > vectors * 8) {
    spread->threads /= 2;
  }
  spread->tiles = ceiling(vectors, spread->threads);
}

/* --- rows at once --- */

/* Whether groups of `rows` tokens never hold two segments, of which a thread knows one number.
 * The last group of an axis is moved down to end with it. */
static bool segments_allow(const mvs_nest *nest, int rows) {
  if (nest->segment_axis != nest->outer_count - 1) return true;
  int64_t end = 0;
  for (int s = 0; s < nest->segments->count; ++s) {
    int64_t length = nest->segments->items[s].length;
    bool last = s + 1 == nest->segments->count;
    end += length;
    if (last ? length < rows : end % rows != 0) return false;
  }
  return true;
}

/* Rows along the batch have to come out even, since its extent is not known; other axes move
 * their last group down (print_axes in nest_rows.c). */
static bool rows_allowed(const mvs_nest *nest, int rows) {
  if (rows == 1) return true;
  if (nest->outer_count == 0) return false;
  mvs_dim last = nest->outer[nest->outer_count - 1];
  if (last.per_batch ? last.size % rows != 0 : last.size < rows) return false;
  return segments_allow(nest, rows);
}

/* Which values differ between rows along the last outer axis. */
static void find_varying(const mvs_nest *nest, bool *varies) {
  int last = nest->outer_count - 1;
  for (size_t i = 0; i < nest->instrs.count; ++i) {
    const mvs_instr *instr = &nest->instrs.items[i];
    varies[i] = instr->kind == MVS_INSTR_REDUCE;
    if (mvs_instr_uses_memory(instr)) varies[i] |= last >= 0 && instr->access.outer[last] != 0;
    if (instr->kind == MVS_INSTR_INDEX) varies[i] = last >= 0 && instr->axis == last;
    for (int k = 0; k < mvs_instr_argument_count(instr); ++k) {
      varies[i] |= varies[instr->arguments[k]];
    }
  }
}

/* Bytes of loads per element of the inner axis. */
static int64_t load_bytes(const mvs_kernel *kernel, const mvs_nest *nest,
                          const mvs_cuda_spread *spread, bool varying) {
  int64_t bytes = 0;
  for (size_t i = 0; i < nest->instrs.count; ++i) {
    const mvs_instr *instr = &nest->instrs.items[i];
    if (instr->kind != MVS_INSTR_LOAD || instr->level == MVS_LEVEL_ROW) continue;
    if (spread->varies[i] != varying) continue;
    bytes += mvs_dtype_size(kernel->operands[instr->access.operand]);
  }
  return bytes;
}

/* With a reduction, two rows at once where loads serve both or one row has too little in
 * flight; rows shorter than a warp gain nothing, as the warp's other rows read the same
 * addresses in the same access. Without one, threads are short-lived and many, which hides
 * more: rows are joined only until what serves all of them is less than what is their own. */
static void choose_rows(mvs_cuda_spread *spread, const mvs_kernel *kernel,
                        const mvs_nest *nest) {
  int64_t own = load_bytes(kernel, nest, spread, true);
  int64_t shared = load_bytes(kernel, nest, spread, false);
  int64_t elements = spread->chunks * spread->vector;
  if (spread->threads < 32) return;
  if (spread->reduces) {
    bool helps = shared * 4 > own || elements * own < BYTES_IN_FLIGHT;
    if (helps && 2 * elements <= MOST_ELEMENTS && rows_allowed(nest, 2)) spread->rows = 2;
    return;
  }
  while (shared > own * spread->rows && spread->rows < MOST_ROWS &&
         rows_allowed(nest, 2 * spread->rows)) {
    spread->rows *= 2;
  }
}

/* --- what is kept --- */

/* The phases that need each instruction when what is kept is computed once: as mvs_nest_needs,
 * but a kept value asks for its arguments in its first phase alone. */
static void needs_of_kept(const mvs_nest *nest, const bool *kept, mvs_phase_mask *masks) {
  for (size_t i = 0; i < nest->instrs.count; ++i) masks[i] = 0;
  for (size_t i = nest->instrs.count; i-- > 0;) {
    const mvs_instr *instr = &nest->instrs.items[i];
    bool reduce = instr->kind == MVS_INSTR_REDUCE;
    bool store = instr->kind == MVS_INSTR_STORE && instr->level == MVS_LEVEL_ELEMENT;
    if (reduce || store) masks[i] |= MVS_PHASE(instr->phase);
    mvs_phase_mask need = reduce ? MVS_PHASE(instr->phase) : masks[i];
    if (kept[i]) need &= -need;
    for (int k = 0; need && k < mvs_instr_argument_count(instr); ++k) {
      uint16_t argument = instr->arguments[k];
      if (nest->instrs.items[argument].level == MVS_LEVEL_ELEMENT) masks[argument] |= need;
    }
  }
}

/* Each value of a chain is computed when it can be and held for its later users. Computed where
 * it is needed, a sum over many turns would wait for its last term, and hold all of them. */
static void keep_chain(mvs_cuda_spread *spread, const mvs_nest *nest) {
  for (size_t i = 0; i < nest->instrs.count; ++i) spread->needs[i] = 0;
  for (size_t i = nest->instrs.count; i-- > 0;) {
    const mvs_instr *instr = &nest->instrs.items[i];
    bool ends = instr->kind == MVS_INSTR_REDUCE || instr->kind == MVS_INSTR_STORE;
    mvs_phase_mask *needs = &spread->needs[i], own = MVS_PHASE(instr->phase);
    bool row = instr->level == MVS_LEVEL_ROW && instr->kind != MVS_INSTR_REDUCE;
    if (row || (!ends && *needs == 0)) continue;
    spread->kept[i] = !ends && (*needs & ~own) != 0;
    *needs |= own;
    for (int k = 0; k < mvs_instr_argument_count(instr); ++k) {
      uint16_t argument = instr->arguments[k];
      if (nest->instrs.items[argument].level == MVS_LEVEL_ELEMENT) {
        spread->needs[argument] |= own;
      }
    }
  }
}

/* Keeps what later phases read, if the registers hold it, with as many rows as they allow.
 * Where not even one row fits, nothing is kept and every phase reads the row anew. */
static void choose_kept(mvs_arena *arena, mvs_cuda_spread *spread, const mvs_kernel *kernel,
                        const mvs_nest *nest) {
  if (mvs_nest_is_chain(nest) && spread->chunks == 1) {
    keep_chain(spread, nest);
    return;
  }
  mvs_nest_needs(nest, spread->needs);
  if (nest->phases == 1 || spread->chunks > MVS_CUDA_UNROLLED) return;
  int64_t own = load_bytes(kernel, nest, spread, true);
  for (;; spread->rows /= 2) {
    int64_t elements = spread->chunks * spread->vector;
    int64_t bytes = mvs_cuda_choose_kept(arena, kernel, nest, spread, spread->kept) * elements;
    int64_t flight = own * spread->rows * spread->vector;
    if (bytes <= MOST_KEPT && (bytes + flight <= MOST_HELD || spread->rows == 1)) break;
    if (spread->rows == 1) {
      memset(spread->kept, 0, nest->instrs.count * sizeof *spread->kept);
      return;
    }
  }
  needs_of_kept(nest, spread->kept, spread->needs);
}

/* --- the grid --- */

/* Groups along the last axis. */
static mvs_dim last_groups(const mvs_cuda_spread *spread, const mvs_nest *nest) {
  if (nest->outer_count == 0) return (mvs_dim){1, false};
  mvs_dim last = nest->outer[nest->outer_count - 1];
  return (mvs_dim){ceiling(last.size, spread->rows), last.per_batch};
}

/* Takes axes together from the last on until whole blocks hold them with an eighth to spare. */
static void choose_split(mvs_cuda_spread *spread, const mvs_nest *nest) {
  int64_t per_block = mvs_cuda_groups_per_block(spread);
  spread->groups = last_groups(spread, nest);
  spread->split = nest->outer_count > 0 ? nest->outer_count - 1 : 0;
  for (;;) {
    spread->blocks = ceiling(spread->groups.size, per_block);
    bool spare = spread->blocks * per_block * 8 > spread->groups.size * 9;
    if (spread->split == 0 || !spare) return;
    mvs_dim next = nest->outer[--spread->split];
    spread->groups.size *= next.size;
    spread->groups.per_batch |= next.per_batch;
  }
}

/* In this order: the row decides its threads and, where it is reduced, thereby the tree; rows
 * at once depend on its chunks; what is kept may take rows back; the grid counts what is left.
 * The texts and the table of grids both ask here, so nothing but kernel and nest may enter. */
mvs_cuda_spread mvs_cuda_spread_nest(mvs_arena *arena, const mvs_kernel *kernel,
                                     const mvs_nest *nest) {
  size_t count = nest->instrs.count + 1;
  mvs_cuda_spread spread = {.rows = 1, .reduces = reduces(nest)};
  spread.needs = MVS_ARRAY(arena, count, mvs_phase_mask);
  spread.varies = MVS_ARRAY(arena, count, bool);
  spread.kept = MVS_ARRAY(arena, count, bool);
  find_varying(nest, spread.varies);
  if (spread.reduces) {
    spread_reduced_row(&spread, nest->inner.size);
  } else {
    spread_flat_row(&spread, kernel, nest);
  }
  choose_rows(&spread, kernel, nest);
  choose_kept(arena, &spread, kernel, nest);
  choose_split(&spread, nest);
  return spread;
}

/* As print_place and print_group divide a block's number. */
mvs_cuda_blocks mvs_cuda_rows_blocks(mvs_arena *arena, const mvs_kernel *kernel,
                                     const mvs_nest *nest) {
  mvs_cuda_spread spread = mvs_cuda_spread_nest(arena, kernel, nest);
  if (spread.tiles == 0) {
    mvs_dim vectors = {nest->inner.size / spread.vector, true};
    return (mvs_cuda_blocks){vectors, spread.threads * spread.chunks, 1};
  }
  mvs_cuda_blocks blocks = {spread.groups, mvs_cuda_groups_per_block(&spread), spread.tiles};
  if (spread.split == 0) return blocks;
  blocks.work = (mvs_dim){spread.blocks, false};
  blocks.per_block = 1;
  for (int axis = 0; axis < spread.split; ++axis) {
    blocks.work.size *= nest->outer[axis].size;
    blocks.work.per_batch |= nest->outer[axis].per_batch;
  }
  return blocks;
}
