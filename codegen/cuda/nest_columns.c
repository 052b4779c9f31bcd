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

typedef struct writer {
  mvs_text *out;
  const mvs_kernel *kernel;
  const mvs_nest *nest;
  mvs_cuda_map map;
  mvs_phase_mask *needs; /* per instruction: the phases that need it */
} writer;

static const mvs_instr *instr_at(const writer *w, size_t index) {
  return &w->nest->instrs.items[index];
}

/* A vector access: contiguous along inner, so moved as one pack. */
static bool is_packed(const writer *w, const mvs_instr *instr) {
  return mvs_instr_uses_memory(instr) && instr->level == MVS_LEVEL_ELEMENT &&
         instr->access.inner == 1 && w->map.vector > 1;
}

/* --- rows and addresses --- */

/* `rows`, the product of the outer extents. */
static void print_row_count(const writer *w) {
  mvs_text_add(w->out, "  const i64 rows = 1ll");
  for (int axis = 0; axis < w->nest->outer_count; ++axis) {
    mvs_text_add(w->out, " * ");
    mvs_cuda_print_dim(w->nest->outer[axis], w->out);
  }
  mvs_text_add(w->out, ";\n");
}

static void print_segment_number(const writer *w) {
  const mvs_nest *nest = w->nest;
  if (nest->segment_axis < 0) return;
  mvs_text_addf(w->out, "  const i64 segment = o%d;\n", nest->segment_axis);
}

/* The outer indices from `row`, the fastest axis first; `row` is used up. The slowest takes
 * what is left, so that the batch needs no extent. */
static void print_indices(const writer *w) {
  for (int axis = w->nest->outer_count - 1; axis >= 0; --axis) {
    if (axis == 0) {
      mvs_text_add(w->out, "  const i64 o0 = row;\n");
    } else {
      long long extent = w->nest->outer[axis].size;
      mvs_text_addf(w->out, "  const i64 o%d = row %% %lld;\n  row /= %lld;\n", axis, extent,
                    extent);
    }
  }
  print_segment_number(w);
}

static void print_address(const writer *w, size_t index) {
  const mvs_access *access = &instr_at(w, index)->access;
  mvs_text_addf(w->out, "  const i64 a%zu = %lld", index, (long long)access->constant);
  for (int axis = 0; axis < w->nest->outer_count; ++axis) {
    if (access->outer[axis]) {
      mvs_text_addf(w->out, " + o%d * %lld", axis, (long long)access->outer[axis]);
    }
  }
  if (access->segment) mvs_text_addf(w->out, " + segment * %lld", (long long)access->segment);
  mvs_text_add(w->out, ";\n");
}

/* The address of every access at inner index 0, once for a thread: loops add to it. */
static void print_addresses(const writer *w) {
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    if (mvs_instr_uses_memory(instr_at(w, i))) print_address(w, i);
  }
}

/* --- instructions --- */

/* Loads of one value a row are made by every thread: all of a warp read the same address. */
static void print_row_instr(const writer *w, size_t index) {
  const mvs_instr *instr = instr_at(w, index);
  mvs_text_addf(w->out, "  const %s v%zu = ", mvs_cuda_type(instr->dtype), index);
  if (instr->kind == MVS_INSTR_LOAD) {
    mvs_text_addf(w->out, "widen(p%d[a%zu])", instr->access.operand, index);
  } else {
    mvs_cuda_print_value(w->nest, instr, w->out);
  }
  mvs_text_add(w->out, ";\n");
}

/* The ROW instructions of a phase. They cannot depend on sums, which are ELEMENT values here.
 * */
static void print_row_phase(const writer *w, int phase) {
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    const mvs_instr *instr = instr_at(w, i);
    if (instr->level == MVS_LEVEL_ROW && instr->phase == phase &&
        instr->kind != MVS_INSTR_REDUCE) {
      print_row_instr(w, i);
    }
  }
}

static void print_pack_address(const writer *w, size_t index) {
  const mvs_access *access = &instr_at(w, index)->access;
  mvs_text_addf(w->out, "p%d + a%zu + i", access->operand, index);
  if (access->sequential) mvs_text_addf(w->out, " + s * %lld", (long long)access->sequential);
}

/* The packs that a phase needs: loads, and room for stores. */
static void print_pack_loads(const writer *w, int phase) {
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    const mvs_instr *instr = instr_at(w, i);
    if (!is_packed(w, instr) || !(w->needs[i] >> phase & 1)) continue;
    const char *type = mvs_cuda_nest_storage(w->kernel, instr);
    if (instr->kind == MVS_INSTR_STORE) {
      mvs_text_addf(w->out, "    pack<%s, %d> q%zu;\n", type, w->map.vector, i);
      continue;
    }
    mvs_text_addf(w->out, "    const pack<%s, %d> q%zu = *(const pack<%s, %d> *)(", type,
                  w->map.vector, i, type, w->map.vector);
    print_pack_address(w, i);
    mvs_text_add(w->out, ");\n");
  }
}

static void print_scalar_address(const writer *w, size_t index) {
  const mvs_access *access = &instr_at(w, index)->access;
  mvs_text_addf(w->out, "p%d[a%zu + (i + e) * %lld + %s * %lld]", access->operand, index,
                (long long)access->inner, access->sequential ? "s" : "0ll",
                (long long)access->sequential);
}

/* One element of a pack, or an access of its own where elements lie apart. */
static void print_element_memory(const writer *w, size_t index) {
  const mvs_instr *instr = instr_at(w, index);
  if (instr->kind == MVS_INSTR_LOAD) {
    mvs_text_addf(w->out, "      const %s v%zu = widen(", mvs_cuda_type(instr->dtype), index);
    if (is_packed(w, instr)) {
      mvs_text_addf(w->out, "q%zu.at[e]", index);
    } else {
      print_scalar_address(w, index);
    }
    mvs_text_add(w->out, ");\n");
    return;
  }
  if (is_packed(w, instr)) {
    mvs_text_addf(w->out, "      put(q%zu.at[e], v%d);\n", index, instr->arguments[0]);
  } else {
    mvs_text_add(w->out, "      if (live) put(");
    print_scalar_address(w, index);
    mvs_text_addf(w->out, ", v%d);\n", instr->arguments[0]);
  }
}

/* One ELEMENT instruction other than REDUCE, for element e. */
static void print_element(const writer *w, size_t index) {
  const mvs_instr *instr = instr_at(w, index);
  if (mvs_instr_uses_memory(instr)) {
    print_element_memory(w, index);
  } else {
    mvs_text_addf(w->out, "      const %s v%zu = ", mvs_cuda_type(instr->dtype), index);
    mvs_cuda_print_value(w->nest, instr, w->out);
    mvs_text_add(w->out, ";\n");
  }
}

/* The stores of the packs that a phase filled. */
static void print_pack_stores(const writer *w, int phase) {
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    const mvs_instr *instr = instr_at(w, i);
    if (instr->kind != MVS_INSTR_STORE || !is_packed(w, instr)) continue;
    if (!(w->needs[i] >> phase & 1)) continue;
    mvs_text_addf(w->out, "    if (live) *(pack<%s, %d> *)(",
                  mvs_cuda_nest_storage(w->kernel, instr), w->map.vector);
    print_pack_address(w, i);
    mvs_text_addf(w->out, ") = q%zu;\n", i);
  }
}

/* --- threads and sums --- */

static int lane_threads(const writer *w) { return MVS_CUDA_BLOCK / w->map.columns; }

/* Lanes of one thread. */
static int lanes_each(const writer *w) {
  return mvs_nest_busy_lanes(w->nest) / lane_threads(w);
}

/* row, i, the lane, and whether the thread's vector is one at all (live). */
static void print_thread(const writer *w) {
  print_row_count(w);
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

/* The elements that a result sums: of the whole axis, or from the first to the last token of
 * the thread's segment, as token numbers (kernel.h). */
static void print_sequential_bounds(const writer *w) {
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

/* From +0 (or the least number): lanes that get nothing may be folded with the others. */
static void print_accumulators(const writer *w) {
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    const mvs_instr *instr = instr_at(w, i);
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
static void print_accumulate(const writer *w, size_t index) {
  const mvs_instr *instr = instr_at(w, index);
  mvs_text_addf(w->out, "      if (taken) r%zu[m %% %d][e] = %s::of(r%zu[m %% %d][e], v%d);\n",
                index, lanes_each(w), mvs_cuda_nest_combiner(instr), index, lanes_each(w),
                instr->arguments[0]);
}

/* A REDUCE of a COLUMNS nest is read per element in phase 1. */
static void print_column_results(const writer *w) {
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    const mvs_instr *instr = instr_at(w, i);
    if (instr->kind == MVS_INSTR_REDUCE) {
      const char *type = mvs_cuda_type(instr->dtype);
      mvs_text_addf(w->out, "      const %s v%zu = r%zu[0][e];\n", type, i, i);
    }
  }
}

/* The element work of one phase for one vector. */
static void print_vector(const writer *w, int phase) {
  print_pack_loads(w, phase);
  mvs_text_addf(w->out, "#pragma unroll\n    for (int e = 0; e < %d; ++e) {\n", w->map.vector);
  if (phase == 1) print_column_results(w);
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    const mvs_instr *instr = instr_at(w, i);
    if (instr->kind == MVS_INSTR_REDUCE) {
      if (phase == 0) print_accumulate(w, i);
    } else if (w->needs[i] >> phase & 1 && instr->level == MVS_LEVEL_ELEMENT) {
      print_element(w, i);
    }
  }
  mvs_text_add(w->out, "    }\n");
  print_pack_stores(w, phase);
}

/* --- the loop --- */

/* Bytes of one step that move along the sequential axis. */
static int64_t step_bytes(const writer *w) {
  int64_t bytes = 0;
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    const mvs_instr *instr = instr_at(w, i);
    if (instr->kind != MVS_INSTR_LOAD || !instr->access.sequential) continue;
    int64_t elements = instr->access.inner ? w->map.vector : 1;
    bytes += elements * mvs_dtype_size(w->kernel->operands[instr->access.operand]);
  }
  return bytes ? bytes : 1;
}

/* Steps of a chunk, a power of two: whole turns through the lanes of a thread. */
static int chunk_steps(const writer *w) {
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
static void print_chunk(const writer *w, bool whole) {
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

/* s_first is the first element of the chunk for this thread; its others are `threads` apart. */
static void print_loop(const writer *w) {
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
static void print_folds(const writer *w) {
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    const mvs_instr *instr = instr_at(w, i);
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

void mvs_cuda_print_columns(const mvs_kernel *kernel, const mvs_nest *nest, mvs_text *out) {
  writer state = {out, kernel, nest, mvs_cuda_map_nest(kernel, nest), NULL}, *w = &state;
  w->needs = MVS_ARRAY(out->home, nest->instrs.count + 1, mvs_phase_mask);
  mvs_nest_needs(nest, w->needs);
  print_thread(w);
  print_indices(w);
  print_sequential_bounds(w);
  print_addresses(w);
  print_row_phase(w, 0);
  print_accumulators(w);
  print_loop(w);
  print_folds(w);
  mvs_text_add(w->out, "  if (live && lane == 0) {\n");
  print_vector(w, 1);
  mvs_text_add(w->out, "  }\n");
}
