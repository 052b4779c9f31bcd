/* nest_rows.c: a ROWS nest, spread over threads as spread.h says.
 *
 * A thread takes `rows` rows (r) and of each `chunks` vectors (c). Names besides nest.h's: t
 * the group of rows, of `groups`; lane the thread within a row; tile the part of a row; qN the
 * vectors of LOAD N, kN kept values of instruction N, sN values per row of ROW instruction N,
 * fN what the warps of a row have folded. Everything indexed by r, c or e is unrolled, so it
 * lives in registers. What is printed, and by which function:
 *
 *   tile, place, t, live, lane, o0 .., segment, aN      print_indices: which rows, and where
 *   kN                                                  print_kept
 *   ROW instructions of phase 0                         print_row_phase
 *   for each phase:
 *     rN = the identity                                 print_accumulators
 *     for c: i                                          print_chunks
 *       qN.load, all before the first use               print_loads
 *       for r, e: vN, kN[e] = vN, rN = op(rN, vN)       print_element
 *       if (live) qN.store                              print_vectors
 *     rN folded over a warp, over warps by fN           print_folds: vN, or sN[r]
 *     ROW instructions of the next phase                print_row_phase */
#include "codegen/cuda/nest.h"
#include "codegen/cuda/spread.h"

typedef struct writer {
  mvs_text *out;
  const mvs_kernel *kernel;
  const mvs_nest *nest;
  mvs_cuda_spread spread;
} writer;

static const mvs_instr *instr_at(const writer *p, size_t index) {
  return &p->nest->instrs.items[index];
}

static size_t count_of(const writer *p) { return p->nest->instrs.count; }

/* A value that is told apart by r: only where a thread takes several rows. */
static bool per_row(const writer *p, size_t index) {
  return p->spread.rows > 1 && p->spread.varies[index];
}

static bool one_space(const writer *p) { return p->spread.split == 0; }

/* --- which rows, which elements --- */

/* Which part of its row a block has (tile), and which groups of rows (place). Neighbouring
 * blocks have neighbouring tiles: loads that serve the whole row are then in cache. */
static void print_place(const writer *p) {
  if (p->spread.tiles == 0) {
    mvs_text_add(p->out, "  const i64 tile = block;\n  const u32 place = 0;\n");
  } else if (p->spread.tiles == 1) {
    mvs_text_add(p->out, "  const u32 tile = 0, place = (u32)block;\n");
  } else {
    long long tiles = p->spread.tiles;
    mvs_text_addf(p->out, "  const u32 tile = (u32)block %% %lld, place = (u32)block / %lld;\n",
                  tiles, tiles);
  }
}

/* t, live and, before the split, `prefix`. A group behind the last does the last one's work
 * again and stores nothing: all threads must come to the folds. */
static void print_group(const writer *p) {
  int per_block = mvs_cuda_groups_per_block(&p->spread);
  mvs_dim groups = p->spread.groups;
  const char *type = groups.per_batch ? "i64" : "u32";
  const char *place = "place";
  if (!one_space(p)) {
    long long blocks = p->spread.blocks;
    mvs_text_addf(p->out, "  u32 prefix = place / %lld;\n", blocks);
    place = mvs_arena_format(p->out->home, "place %% %lld", blocks);
  }
  mvs_text_addf(p->out, "  %s t = (%s)(%s) * %d + threadIdx.x / %d;\n", type, type, place,
                per_block, p->spread.threads);
  if (!groups.per_batch && groups.size % per_block == 0) {
    mvs_text_add(p->out, "  const bool live = true;\n");
    return;
  }
  mvs_text_addf(p->out, "  const %s groups = ", type);
  mvs_cuda_print_dim(groups, p->out);
  mvs_text_add(p->out, ";\n  const bool live = t < groups;\n  if (!live) t = groups - 1;\n");
}

/* Outer indices from..to - 1, last first, out of `name`. */
static void print_axes(const writer *p, const char *name, const char *type, int from, int to) {
  int last = p->nest->outer_count - 1, rows = p->spread.rows;
  for (int axis = to - 1; axis >= from; --axis) {
    mvs_dim extent = p->nest->outer[axis];
    long long size = extent.size;
    if (axis == last) size = (size + rows - 1) / rows;
    mvs_text_addf(p->out, "  %s%s o%d = %s", axis == last && rows > 1 ? "" : "const ", type,
                  axis, name);
    if (axis > from) {
      mvs_text_addf(p->out, " %% %lld;\n  %s /= %lld", size, name, size);
    }
    mvs_text_add(p->out, ";\n");
    if (axis != last || rows == 1) continue;
    mvs_text_addf(p->out, "  o%d *= %d;\n", axis, rows);
    if (extent.size % rows == 0) continue;
    /* The last group ends with the axis: some rows are done twice, with the same bits. */
    mvs_text_addf(p->out, "  if (o%d > %lld) o%d = %lld;\n", axis,
                  (long long)extent.size - rows, axis, (long long)extent.size - rows);
  }
}

/* By comparing the token with the segments' ends: 0 or 1 for each end passed, no table. */
static void print_segment(const writer *p) {
  const mvs_nest *nest = p->nest;
  if (nest->segment_axis < 0) return;
  mvs_text_add(p->out, "  const u32 segment = 0");
  int64_t end = 0;
  for (int s = 0; s + 1 < nest->segments->count; ++s) {
    end += nest->segments->items[s].length;
    mvs_text_addf(p->out, " + (o%d >= %lld)", nest->segment_axis, (long long)end);
  }
  mvs_text_add(p->out, ";\n");
}

/* Axes before the split from `prefix`, the same for a whole block; those behind it from t. */
static void print_indices(const writer *p) {
  print_place(p);
  print_group(p);
  mvs_text_addf(p->out, "  const u32 lane = threadIdx.x %% %d;\n", p->spread.threads);
  if (!one_space(p)) print_axes(p, "prefix", "u32", 0, p->spread.split);
  print_axes(p, "t", p->spread.groups.per_batch ? "i64" : "u32", p->spread.split,
             p->nest->outer_count);
  print_segment(p);
  for (size_t i = 0; i < count_of(p); ++i) {
    const mvs_access *access = &instr_at(p, i)->access;
    if (!mvs_instr_uses_memory(instr_at(p, i))) continue;
    mvs_text_addf(p->out, "  const i64 a%zu = %lld", i, (long long)access->constant);
    for (int axis = 0; axis < p->nest->outer_count; ++axis) {
      if (access->outer[axis] == 0) continue;
      mvs_text_addf(p->out, " + (i64)o%d * %lld", axis, (long long)access->outer[axis]);
    }
    if (access->segment) {
      mvs_text_addf(p->out, " + (i64)segment * %lld", (long long)access->segment);
    }
    mvs_text_add(p->out, ";\n");
  }
}

/* The address of an access in row r at inner index 0. */
static void print_row_address(const writer *p, size_t index) {
  const mvs_access *access = &instr_at(p, index)->access;
  mvs_text_addf(p->out, "p%d + a%zu", access->operand, index);
  if (per_row(p, index)) {
    mvs_text_addf(p->out, " + r * %lldll", (long long)access->outer[p->nest->outer_count - 1]);
  }
}

/* --- loops over r --- */

/* Whether an instruction is printed at this place: a ROW one of the phase, or an ELEMENT one
 * that the phase needs. A REDUCE has the level ROW and is printed with elements: it takes one.
 * */
static bool taken_in(const writer *p, size_t index, int phase, mvs_level level) {
  const mvs_instr *instr = instr_at(p, index);
  if (level == MVS_LEVEL_ROW) {
    return instr->level == MVS_LEVEL_ROW && instr->phase == phase &&
           instr->kind != MVS_INSTR_REDUCE;
  }
  if (instr->kind == MVS_INSTR_REDUCE) return instr->phase == phase;
  return instr->level == MVS_LEVEL_ELEMENT && p->spread.needs[index] >> phase & 1;
}

/* Values per row that the instructions of a place read, as plain names within the loop: vN is
 * sN[r], so that instructions print alike whether a thread has one row or several. */
static void print_row_values(const writer *p, int phase, mvs_level level) {
  for (size_t i = 0; i < count_of(p); ++i) {
    const mvs_instr *instr = instr_at(p, i);
    if (instr->level != MVS_LEVEL_ROW || !per_row(p, i)) continue;
    if (level == MVS_LEVEL_ROW && taken_in(p, i, phase, level)) continue;
    bool read = false;
    for (size_t user = i + 1; user < count_of(p) && !read; ++user) {
      if (!taken_in(p, user, phase, level)) continue;
      for (int k = 0; k < mvs_instr_argument_count(instr_at(p, user)); ++k) {
        read |= instr_at(p, user)->arguments[k] == i;
      }
    }
    if (!read) continue;
    mvs_text_addf(p->out, "    const %s v%zu = s%zu[r];\n", mvs_cuda_type(instr->dtype), i, i);
  }
}

/* A block scope for r: a loop that is unrolled, or just braces where the thread has one row. */
static void open_rows(const writer *p) {
  if (p->spread.rows == 1) {
    mvs_text_add(p->out, "  {\n");
  } else {
    mvs_text_addf(p->out, "#pragma unroll\n  for (int r = 0; r < %d; ++r) {\n", p->spread.rows);
  }
}

/* --- ROW instructions --- */

/* An index along the last outer axis is r further in row r; what depends on it follows by
 * names. */
static void print_row_value(const writer *p, size_t index) {
  const mvs_instr *instr = instr_at(p, index);
  mvs_text_addf(p->out, "  const %s v%zu = ", mvs_cuda_type(instr->dtype), index);
  if (instr->kind == MVS_INSTR_LOAD) {
    mvs_text_add(p->out, "widen(*(");
    print_row_address(p, index);
    mvs_text_add(p->out, "))");
  } else {
    mvs_cuda_print_value(p->nest, instr, p->out);
    if (instr->kind == MVS_INSTR_INDEX && per_row(p, index)) mvs_text_add(p->out, " + r");
  }
  mvs_text_add(p->out, ";\n");
}

static void print_row_store(const writer *p, size_t index) {
  bool tiled = p->spread.tiles != 1;
  mvs_text_addf(p->out, "  if (live && lane == 0%s) put(*(", tiled ? " && tile == 0" : "");
  print_row_address(p, index);
  mvs_text_addf(p->out, "), v%d);\n", instr_at(p, index)->arguments[0]);
}

/* Values of the phase by row: computed in one loop over r, left in sN[r] for later loops. */
static void print_varying_rows(const writer *p, int phase) {
  for (size_t i = 0; i < count_of(p); ++i) {
    const mvs_instr *instr = instr_at(p, i);
    if (!taken_in(p, i, phase, MVS_LEVEL_ROW) || !per_row(p, i)) continue;
    if (instr->kind == MVS_INSTR_STORE) continue;
    mvs_text_addf(p->out, "  %s s%zu[%d];\n", mvs_cuda_type(instr->dtype), i, p->spread.rows);
  }
  open_rows(p);
  print_row_values(p, phase, MVS_LEVEL_ROW);
  for (size_t i = 0; i < count_of(p); ++i) {
    if (!taken_in(p, i, phase, MVS_LEVEL_ROW) || !per_row(p, i)) continue;
    mvs_text_add(p->out, "  ");
    if (instr_at(p, i)->kind == MVS_INSTR_STORE) {
      print_row_store(p, i);
      continue;
    }
    print_row_value(p, i);
    mvs_text_addf(p->out, "    s%zu[r] = v%zu;\n", i, i);
  }
  mvs_text_add(p->out, "  }\n");
}

/* The ROW instructions of a phase, REDUCE excepted: first those that all rows of the thread
 * share, which never depend on the others. */
static void print_row_phase(const writer *p, int phase) {
  bool varying = false;
  for (size_t i = 0; i < count_of(p); ++i) {
    if (!taken_in(p, i, phase, MVS_LEVEL_ROW)) continue;
    if (per_row(p, i)) {
      varying = true;
    } else if (instr_at(p, i)->kind == MVS_INSTR_STORE) {
      print_row_store(p, i);
    } else {
      print_row_value(p, i);
    }
  }
  if (varying) print_varying_rows(p, phase);
}

/* --- ELEMENT instructions --- */

static bool first_phase_of(mvs_phase_mask mask, int phase) {
  return (mask & (MVS_PHASE(phase) - 1)) == 0;
}

/* Kept from an earlier phase. */
static bool is_ready(const writer *p, size_t index, int phase) {
  return p->spread.kept[index] && !first_phase_of(p->spread.needs[index], phase);
}

/* "[r][c]", "[r]", "[c]" or nothing: where a value of this row and chunk lies. */
static void print_slot(const writer *p, size_t index) {
  if (per_row(p, index)) mvs_text_add(p->out, "[r]");
  if (p->spread.kept[index] && p->spread.chunks > 1) mvs_text_add(p->out, "[c]");
}

static void print_extents(const writer *p, size_t index) {
  if (per_row(p, index)) mvs_text_addf(p->out, "[%d]", p->spread.rows);
  if (p->spread.kept[index] && p->spread.chunks > 1) {
    mvs_text_addf(p->out, "[%lld]", (long long)p->spread.chunks);
  }
}

/* vec<T, N, W> and out<T, N, W> of prelude.c: N elements, W of them a time. */
static void print_vector_type(const writer *p, size_t index) {
  const mvs_instr *instr = instr_at(p, index);
  int vector = p->spread.vector;
  mvs_text_addf(p->out, "%s<%s, %d, %d>", instr->kind == MVS_INSTR_LOAD ? "vec" : "out",
                mvs_cuda_nest_storage(p->kernel, instr), vector,
                mvs_cuda_access_width(p->kernel, p->nest, &instr->access, vector));
}

/* Kept values, before the first phase. */
static void print_kept(const writer *p) {
  for (size_t i = 0; i < count_of(p); ++i) {
    if (!p->spread.kept[i]) continue;
    mvs_text_add(p->out, "  ");
    if (instr_at(p, i)->kind == MVS_INSTR_LOAD) {
      print_vector_type(p, i);
      mvs_text_addf(p->out, " q%zu", i);
    } else {
      mvs_text_addf(p->out, "%s k%zu", mvs_cuda_type(instr_at(p, i)->dtype), i);
    }
    print_extents(p, i);
    if (instr_at(p, i)->kind != MVS_INSTR_LOAD) {
      mvs_text_addf(p->out, "[%d]", p->spread.vector);
    }
    mvs_text_add(p->out, ";\n");
  }
}

/* "ADDRESS, STRIDE" of the vector at i. */
static void print_vector_place(const writer *p, size_t index) {
  long long stride = instr_at(p, index)->access.inner;
  print_row_address(p, index);
  if (stride == 1) {
    mvs_text_add(p->out, " + i, 1");
  } else {
    mvs_text_addf(p->out, " + (i64)i * %lldll, %lldll", stride, stride);
  }
}

/* All loads of a chunk stand before its first use, so that they are in flight together. */
static void print_loads(const writer *p, int phase) {
  for (size_t i = 0; i < count_of(p); ++i) {
    if (instr_at(p, i)->kind != MVS_INSTR_LOAD) continue;
    if (!taken_in(p, i, phase, MVS_LEVEL_ELEMENT) || is_ready(p, i, phase)) continue;
    if (!p->spread.kept[i]) {
      mvs_text_add(p->out, "    ");
      print_vector_type(p, i);
      mvs_text_addf(p->out, " q%zu", i);
      print_extents(p, i);
      mvs_text_add(p->out, ";\n");
    }
    mvs_text_add(p->out, "    ");
    if (per_row(p, i)) {
      mvs_text_addf(p->out, "_Pragma(\"unroll\") for (int r = 0; r < %d; ++r) ",
                    p->spread.rows);
    }
    mvs_text_addf(p->out, "q%zu", i);
    print_slot(p, i);
    mvs_text_add(p->out, ".load(");
    print_vector_place(p, i);
    mvs_text_add(p->out, ");\n");
  }
}

/* From the loaded vector, from what an earlier phase kept, or computed here and kept. */
static void print_element_value(const writer *p, size_t index, int phase) {
  const mvs_instr *instr = instr_at(p, index);
  mvs_text_addf(p->out, "      const %s v%zu = ", mvs_cuda_type(instr->dtype), index);
  if (instr->kind == MVS_INSTR_LOAD) {
    mvs_text_addf(p->out, "q%zu", index);
    print_slot(p, index);
    mvs_text_add(p->out, ".at(e)");
  } else if (is_ready(p, index, phase)) {
    mvs_text_addf(p->out, "k%zu", index);
    print_slot(p, index);
    mvs_text_add(p->out, "[e]");
  } else {
    mvs_cuda_print_value(p->nest, instr, p->out);
  }
  mvs_text_add(p->out, ";\n");
  if (instr->kind == MVS_INSTR_LOAD || !p->spread.kept[index] || is_ready(p, index, phase)) {
    return;
  }
  mvs_text_addf(p->out, "      k%zu", index);
  print_slot(p, index);
  mvs_text_addf(p->out, "[e] = v%zu;\n", index);
}

/* What a STORE takes: a value that was rounded to bf16 for it alone goes in before that, since
 * the store rounds, in pairs. */
static int stored_value(const writer *p, size_t index) {
  int value = instr_at(p, index)->arguments[0];
  const mvs_instr *rounding = instr_at(p, (size_t)value);
  int operand = instr_at(p, index)->access.operand;
  bool rounds = rounding->kind == MVS_INSTR_ARITH && rounding->op == MVS_OP_cast &&
                rounding->to == MVS_BF16 && rounding->level == MVS_LEVEL_ELEMENT &&
                p->kernel->operands[operand] == MVS_BF16;
  int before = rounds ? rounding->arguments[0] : value;
  const mvs_instr *source = instr_at(p, (size_t)before);
  return source->dtype == MVS_F32 && !p->spread.kept[value] ? before : value;
}

static void print_element(const writer *p, size_t index, int phase) {
  const mvs_instr *instr = instr_at(p, index);
  int argument = instr->arguments[0];
  if (instr->kind == MVS_INSTR_STORE) {
    mvs_text_addf(p->out, "      q%zu.at[e] = v%d;\n", index, stored_value(p, index));
  } else if (instr->kind == MVS_INSTR_REDUCE) {
    const char *slot = p->spread.rows > 1 ? "[r]" : "";
    mvs_text_addf(p->out, "      r%zu%s = %s::of(r%zu%s, v%d);\n", index, slot,
                  mvs_cuda_nest_combiner(instr), index, slot, argument);
  } else {
    print_element_value(p, index, phase);
  }
}

/* The element work of one phase for the vectors at i. */
static void print_vectors(const writer *p, int phase) {
  print_loads(p, phase);
  open_rows(p);
  print_row_values(p, phase, MVS_LEVEL_ELEMENT);
  for (size_t i = 0; i < count_of(p); ++i) {
    if (instr_at(p, i)->kind != MVS_INSTR_STORE) continue;
    if (!taken_in(p, i, phase, MVS_LEVEL_ELEMENT)) continue;
    mvs_text_add(p->out, "    ");
    print_vector_type(p, i);
    mvs_text_addf(p->out, " q%zu;\n", i);
  }
  mvs_text_addf(p->out, "#pragma unroll\n    for (int e = 0; e < %d; ++e) {\n",
                p->spread.vector);
  for (size_t i = 0; i < count_of(p); ++i) {
    if (taken_in(p, i, phase, MVS_LEVEL_ELEMENT)) print_element(p, i, phase);
  }
  mvs_text_add(p->out, "    }\n");
  for (size_t i = 0; i < count_of(p); ++i) {
    if (instr_at(p, i)->kind != MVS_INSTR_STORE) continue;
    if (!taken_in(p, i, phase, MVS_LEVEL_ELEMENT)) continue;
    mvs_text_addf(p->out, "    if (live) q%zu.store(", i);
    print_vector_place(p, i);
    mvs_text_add(p->out, ");\n");
  }
  mvs_text_add(p->out, "  }\n");
}

/* --- reductions --- */

/* Of sums of this phase alone: a register is taken no sooner than it is needed. */
static void print_accumulators(const writer *p, int phase) {
  for (size_t i = 0; i < count_of(p); ++i) {
    const mvs_instr *instr = instr_at(p, i);
    if (instr->kind != MVS_INSTR_REDUCE || instr->phase != phase) continue;
    const char *type = mvs_cuda_type(instr->dtype);
    if (p->spread.rows == 1) {
      mvs_text_addf(p->out, "  %s r%zu = %s;\n", type, i, mvs_cuda_nest_identity(instr));
      continue;
    }
    mvs_text_addf(p->out, "  %s r%zu[%d], s%zu[%d];\n", type, i, p->spread.rows, i,
                  p->spread.rows);
    open_rows(p);
    mvs_text_addf(p->out, "    r%zu[r] = %s;\n  }\n", i, mvs_cuda_nest_identity(instr));
  }
}

/* Folds within warps, and where a row has several hands over what each warp has: lane 0 of each
 * writes fN[row][warp of the block], which holds all rows of the block. */
static void print_warp_folds(const writer *p, int phase) {
  const char *slot = p->spread.rows > 1 ? "[r]" : "";
  int threads = p->spread.threads < 32 ? p->spread.threads : 32;
  for (size_t i = 0; i < count_of(p); ++i) {
    const mvs_instr *instr = instr_at(p, i);
    if (instr->kind != MVS_INSTR_REDUCE || instr->phase != phase) continue;
    mvs_text_addf(p->out, "    r%zu%s = fold_warp<%s, %d>(r%zu%s);\n", i, slot,
                  mvs_cuda_nest_combiner(instr), threads, i, slot);
    if (p->spread.threads > 32) {
      mvs_text_addf(p->out,
                    "    if (threadIdx.x %% 32 == 0) f%zu[%s][threadIdx.x / 32] = r%zu%s;\n", i,
                    p->spread.rows > 1 ? "r" : "0", i, slot);
    }
  }
}

/* The results: sN[r], or vN where the thread has one row. */
static void print_results(const writer *p, int phase) {
  bool several = p->spread.rows > 1;
  for (size_t i = 0; i < count_of(p); ++i) {
    const mvs_instr *instr = instr_at(p, i);
    if (instr->kind != MVS_INSTR_REDUCE || instr->phase != phase) continue;
    if (several) {
      mvs_text_addf(p->out, "  for (int r = 0; r < %d; ++r) s%zu[r] = ", p->spread.rows, i);
    } else {
      mvs_text_addf(p->out, "  const %s v%zu = ", mvs_cuda_type(instr->dtype), i);
    }
    if (p->spread.threads > 32) {
      mvs_text_addf(p->out, "fold_row<%s, %d>(f%zu[%s]);\n", mvs_cuda_nest_combiner(instr),
                    p->spread.threads, i, several ? "r" : "0");
    } else {
      mvs_text_addf(p->out, "r%zu%s;\n", i, several ? "[r]" : "");
    }
  }
}

/* Shared memory only where a row has several warps. One barrier is enough: each phase folds
 * into arrays of its own, so that none is written while another reads it. */
static void print_folds(const writer *p, int phase) {
  bool any = false;
  for (size_t i = 0; i < count_of(p); ++i) {
    const mvs_instr *instr = instr_at(p, i);
    if (instr->kind != MVS_INSTR_REDUCE || instr->phase != phase) continue;
    any = true;
    if (p->spread.threads <= 32) continue;
    mvs_text_addf(p->out, "  __shared__ %s f%zu[%d][%d];\n", mvs_cuda_type(instr->dtype), i,
                  p->spread.rows, MVS_CUDA_BLOCK / 32);
  }
  if (!any) return;
  open_rows(p);
  print_warp_folds(p, phase);
  mvs_text_add(p->out, "  }\n");
  if (p->spread.threads > 32) mvs_text_add(p->out, "  __syncthreads();\n");
  print_results(p, phase);
}

/* --- phases --- */

static bool has_element_work(const writer *p, int phase) {
  for (size_t i = 0; i < count_of(p); ++i) {
    if (taken_in(p, i, phase, MVS_LEVEL_ELEMENT)) return true;
  }
  return false;
}

/* True when every thread's vectors lie within the row: no index need be compared with its end.
 * */
static bool row_is_full(const writer *p) {
  const mvs_cuda_spread *spread = &p->spread;
  if (spread->tiles == 0) return false;
  return p->nest->inner.size ==
         spread->tiles * spread->chunks * spread->threads * (int64_t)spread->vector;
}

/* Inner indices in 64 bits only where they need it: one that is compared with the end of the
 * row is less than twice as far. */
static const char *index_type(const writer *p) {
  return p->nest->inner.per_batch || p->nest->inner.size > INT32_MAX / 2 ? "i64" : "int";
}

/* True when every phase reads the row anew, because registers do not hold what would be kept.
 * Unrolled whole, the compiler would find that the loads are those of the phase before, keep
 * them all the same, and spill. */
static bool reads_again(const writer *p) {
  if (p->nest->phases == 1 || p->spread.chunks <= 2) return false;
  for (size_t i = 0; i < count_of(p); ++i) {
    if (p->spread.kept[i]) return false;
  }
  return true;
}

/* The loop over the thread's vectors of the row, neighbours in neighbouring threads. */
static void print_chunks(const writer *p, int phase) {
  long long chunks = p->spread.chunks;
  const char *type = index_type(p);
  if (chunks > MVS_CUDA_UNROLLED) {
    mvs_text_add(p->out, "#pragma unroll 4\n");
  } else {
    mvs_text_add(p->out, reads_again(p) ? "#pragma unroll 2\n" : "#pragma unroll\n");
  }
  mvs_text_addf(p->out,
                "  for (int c = 0; c < %lld; ++c) {\n"
                "    const %s i = (((%s)tile * %lld + c) * %d + (int)lane) * %d;\n",
                chunks, type, type, chunks, p->spread.threads, p->spread.vector);
  if (!row_is_full(p)) {
    mvs_text_add(p->out, "    if (i >= ");
    mvs_cuda_print_dim(p->nest->inner, p->out);
    mvs_text_add(p->out, ") continue;\n");
  }
  print_vectors(p, phase);
  mvs_text_add(p->out, "  }\n");
}

void mvs_cuda_print_rows(const mvs_kernel *kernel, const mvs_nest *nest, mvs_text *out) {
  writer p = {.out = out, .kernel = kernel, .nest = nest};
  p.spread = mvs_cuda_spread_nest(out->home, kernel, nest);
  print_indices(&p);
  print_kept(&p);
  print_row_phase(&p, 0);
  for (int phase = 0; phase < p.nest->phases; ++phase) {
    print_accumulators(&p, phase);
    if (has_element_work(&p, phase)) print_chunks(&p, phase);
    print_folds(&p, phase);
    print_row_phase(&p, phase + 1);
  }
}
