/* nest_columns.c: a COLUMNS nest: a block takes a few vectors of the inner axis, and the lanes
 * of their sums (kernel.h) are its threads: 16 neighbouring vectors by 16 lanes, so that a
 * warp reads runs of 256 bytes; more vectors where sums are shorter. A sum of 1024 lanes has a
 * block to itself, 4 lanes a thread. The lanes meet in shared memory and fold by halves; lane
 * 0 goes on with the result.
 *
 *                                vector 0     vector 1   ...   vector 15
 *   lane 0   elements 0, 16 ..   thread 0     thread 1   ...   thread 15
 *   lane 1   elements 1, 17 ..   thread 16    thread 17  ...   thread 31
 *   lane 15  elements 15, 31 ..  thread 240   thread 241 ...   thread 255
 *
 *   row, i, lane, live                       print_thread
 *   s_begin, s_end                           print_sequential_bounds: the axis, or a segment
 *   rN[lane of the thread][element]          print_accumulators
 *   for whole chunks; one clamped chunk      print_loop: phase 0
 *   rN over the thread's lanes, then all     print_folds
 *   if (live && lane == 0)                   print_vector: phase 1, and the stores
 *
 * A thread walks its part of the sequential axis in chunks of `steps` elements, all loaded
 * before the first is added. The last chunk is clamped instead of cut, so that its loads too
 * are under way together: short sums (a segment of 64 tokens, a batch of 16) are nothing else.
 */
#include "codegen/cuda/nest.h"

/* Bytes that a thread has under way at a time. A GPU needs some 40 KB a multiprocessor; a block
 * that sums alone on its own finds no others there. */
#define FLYING_BYTES       128
#define FLYING_BYTES_ALONE 256
/* Bounds of a chunk's text: elements, and instructions for all of them. */
#define MOST_STEPS 32
#define MOST_TEXT  1024

static int lane_threads(const mvs_cuda_nest *w) { return MVS_CUDA_BLOCK / w->map.columns; }

/* Lanes of one thread. */
static int lanes_each(const mvs_cuda_nest *w) {
  return mvs_nest_busy_lanes(w->nest) / lane_threads(w);
}

/* row, i, the lane, and whether the thread's vector is one at all (live). */
static void print_thread(const mvs_cuda_nest *w) {
  mvs_cuda_nest_row_count(w);
  mvs_text_add(w->out, "  const i64 vectors = ");
  mvs_cuda_print_dim(w->nest->inner, w->out);
  mvs_text_addf(w->out,
                " / %d;\n  const int lane = threadIdx.x / %d;\n"
                "  i64 column = block * %d + threadIdx.x %% %d;\n"
                "  const bool live = column < rows * vectors;\n"
                "  if (!live) column = 0; /* loads nothing, but joins the folds */\n"
                "  i64 row = column / vectors;\n  const i64 i = column %% vectors * %d;\n",
                w->map.vector, w->map.columns, w->map.columns, w->map.columns, w->map.vector);
}

static void print_sequential_bounds(const mvs_cuda_nest *w) {
  const mvs_nest *nest = w->nest;
  if (nest->segment_axis < 0) {
    mvs_text_add(w->out, "  const i64 s_begin = 0, s_end = ");
    /* 0 with the batch: the batch alone; more: the collapsed pair (batch, that many). */
    int64_t size = nest->sequential_batch && nest->sequential == 0 ? 1 : nest->sequential;
    mvs_cuda_print_dim((mvs_dim){size, nest->sequential_batch}, w->out);
    mvs_text_add(w->out, ";\n");
    return;
  }
  mvs_text_add(w->out, "  i64 s_begin = 0, s_end = 0;\n");
  int64_t begin = 0;
  for (int s = 0; s < nest->segments->count; ++s) {
    int64_t end = begin + nest->segments->items[s].length;
    mvs_text_addf(w->out, "  if (segment == %d) { s_begin = %lld; s_end = %lld; }\n", s,
                  (long long)begin, (long long)end);
    begin = end;
  }
}

static void print_accumulators(const mvs_cuda_nest *w) {
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    const mvs_instr *instr = mvs_cuda_nest_instr(w, i);
    if (instr->kind != MVS_INSTR_REDUCE) continue;
    mvs_text_addf(w->out,
                  "  %s r%zu[%d][%d];\n#pragma unroll\n  for (int k = 0; k < %d; ++k)\n"
                  "    for (int e = 0; e < %d; ++e) r%zu[k][e] = %s;\n",
                  mvs_cuda_type(instr->dtype), i, lanes_each(w), w->map.vector, lanes_each(w),
                  w->map.vector, i, mvs_cuda_nest_identity(instr));
  }
}

/* Element m of a chunk belongs to lane m mod lanes_each of the thread: chunks are whole turns.
 * A lane that takes nothing keeps its bits, as one that is never asked would (kernel.h). */
static void print_accumulate(const mvs_cuda_nest *w, size_t index) {
  const mvs_instr *instr = mvs_cuda_nest_instr(w, index);
  mvs_text_addf(w->out, "      if (taken) r%zu[m %% %d][e] = %s::of(r%zu[m %% %d][e], v%d);\n",
                index, lanes_each(w), mvs_cuda_nest_combiner(instr), index, lanes_each(w),
                instr->arguments[0]);
}

/* A REDUCE of a COLUMNS nest is read per element in phase 1. */
static void print_column_results(const mvs_cuda_nest *w) {
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    const mvs_instr *instr = mvs_cuda_nest_instr(w, i);
    if (instr->kind == MVS_INSTR_REDUCE) {
      const char *type = mvs_cuda_type(instr->dtype);
      mvs_text_addf(w->out, "      const %s v%zu = r%zu[0][e];\n", type, i, i);
    }
  }
}

/* The element work of one phase for one vector. */
static void print_vector(const mvs_cuda_nest *w, int phase) {
  mvs_cuda_nest_pack_loads(w, phase);
  mvs_text_addf(w->out, "#pragma unroll\n    for (int e = 0; e < %d; ++e) {\n", w->map.vector);
  if (phase == 1) print_column_results(w);
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    const mvs_instr *instr = mvs_cuda_nest_instr(w, i);
    if (instr->kind == MVS_INSTR_REDUCE) {
      if (phase == 0) print_accumulate(w, i);
    } else if (w->needs[i] >> phase & 1 && instr->level == MVS_LEVEL_ELEMENT) {
      mvs_cuda_nest_element(w, i);
    }
  }
  mvs_text_add(w->out, "    }\n");
  mvs_cuda_nest_pack_stores(w, phase);
}

/* --- the loop --- */

/* Bytes of one step that move along the sequential axis. */
static int64_t step_bytes(const mvs_cuda_nest *w) {
  int64_t bytes = 0;
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    const mvs_instr *instr = mvs_cuda_nest_instr(w, i);
    if (instr->kind != MVS_INSTR_LOAD || !instr->access.sequential) continue;
    int64_t elements = instr->access.inner ? w->map.vector : 1;
    bytes += elements * mvs_dtype_size(w->kernel->operands[instr->access.operand]);
  }
  return bytes ? bytes : 1;
}

/* Steps of a chunk, a power of two: whole turns through the lanes of a thread. */
static int chunk_steps(const mvs_cuda_nest *w) {
  int64_t flying = w->map.columns == 1 ? FLYING_BYTES_ALONE : FLYING_BYTES;
  int64_t text = (int64_t)w->nest->instrs.count * w->map.vector;
  int64_t longest = mvs_nest_longest_sum(w->nest);
  int steps = lanes_each(w);
  while (2 * steps <= MOST_STEPS && steps * lane_threads(w) < longest &&
         2 * steps * step_bytes(w) <= flying && 2 * steps * text <= MOST_TEXT) {
    steps *= 2;
  }
  return steps;
}

/* One chunk from `s_first` on: whole, or clamped to the end. */
static void print_chunk(const mvs_cuda_nest *w, bool whole) {
  mvs_text_addf(w->out, "#pragma unroll\n    for (int m = 0; m < %d; ++m) {\n",
                chunk_steps(w));
  mvs_text_addf(w->out, "    const i64 at = s_first + m * %d;\n", lane_threads(w));
  if (whole) {
    mvs_text_add(w->out, "    const i64 s = at;\n    const bool taken = true;\n");
  } else {
    mvs_text_add(w->out, "    const bool taken = at < s_end;\n"
                         "    const i64 s = taken ? at : s_end - 1;\n");
  }
  print_vector(w, 0);
  mvs_text_add(w->out, "    }\n");
}

static void print_loop(const mvs_cuda_nest *w) {
  int steps = chunk_steps(w), threads = lane_threads(w);
  mvs_text_addf(w->out,
                "  i64 s_first = s_begin + lane;\n"
                "  if (!live) s_first = s_end;\n"
                "  for (; s_first + %d < s_end; s_first += %d) {\n",
                (steps - 1) * threads, steps * threads);
  print_chunk(w, true);
  mvs_text_add(w->out, "  }\n  if (s_first < s_end) {\n");
  print_chunk(w, false);
  mvs_text_add(w->out, "  }\n");
}

/* The lanes of a thread, then those of its threads. */
static void print_folds(const mvs_cuda_nest *w) {
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    const mvs_instr *instr = mvs_cuda_nest_instr(w, i);
    if (instr->kind != MVS_INSTR_REDUCE) continue;
    const char *combiner = mvs_cuda_nest_combiner(instr);
    for (int step = lanes_each(w) / 2; step > 0; step /= 2) {
      mvs_text_addf(w->out,
                    "#pragma unroll\n  for (int k = 0; k < %d; ++k)\n"
                    "    for (int e = 0; e < %d; ++e)\n"
                    "      r%zu[k][e] = %s::of(r%zu[k][e], r%zu[k + %d][e]);\n",
                    step, w->map.vector, i, combiner, i, i, step);
    }
    if (lane_threads(w) == 1) continue;
    mvs_text_addf(w->out, "  fold_lanes<%s, %d, %d>(r%zu[0]);\n", combiner, lane_threads(w),
                  w->map.columns, i);
  }
}

void mvs_cuda_print_columns(mvs_cuda_nest *w) {
  print_thread(w);
  mvs_cuda_nest_indices(w);
  print_sequential_bounds(w);
  mvs_cuda_nest_addresses(w);
  mvs_cuda_nest_row_phase(w, 0);
  print_accumulators(w);
  print_loop(w);
  print_folds(w);
  mvs_text_add(w->out, "  if (live && lane == 0) {\n");
  print_vector(w, 1);
  mvs_text_add(w->out, "  }\n");
}
