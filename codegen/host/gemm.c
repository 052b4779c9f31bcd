/* gemm.c: matmuls in two stages: B is packed into panels in the workspace, then blocks of C
 * are computed in any order. NT and NN read A where it lies (bf16 is widened into scratch
 * first); TN copies a stretch of A at a time, because its rows are far apart in k.
 *
 *   form   C[i][j] = sum over k of     A, B in memory      used for
 *   NT     A[i][k] * B[j][k]           rows of k, both     the forward pass: x W^T
 *   NN     A[i][k] * B[k][j]           rows of k, of n     the gradient of x
 *   TN     A[k][i] * B[k][j]           rows of m, of n     the gradient of W, k is the tokens
 *
 * Each element of C is one chain of fma upwards in k, whatever the packing, the blocks and
 * the instruction set: that is what docs/numerics.md promises, and why k is never split
 * between units. A unit of stage 1 fills part of a panel, a unit of stage 2 makes one block
 * of C, so no two write the same memory. Choices of size here move time, never bits. */
#include "codegen/host/pack.h"
#include "codegen/host/printed.h"
#include "codegen/host/tile.h"

/* Steps of k in one stage of packing, and in one stretch of TN: 32 KiB of B, the first cache.
 */
#define K_CHUNK 256
/* Rows of at most this many floats are read in place at every step of k: more would miss the
 * translation buffer and fall on few sets of the cache. */
#define NARROW 256
/* Largest block of C that one unit computes. */
#define ROW_CHUNK    (8 * MVS_TILE_ROWS)
#define COLUMN_CHUNK 256
/* Blocks of C to aim for, where sizes allow. */
#define LEAST_BLOCKS 8
/* Batch to expect when dividing: a compiled program runs at any. */
#define EXPECTED_BATCH 16

typedef struct gemm {
  mvs_emit *e;
  const mvs_matmul_shape *shape;
  mvs_entry entry;
  mvs_division division;
  int64_t row_chunk, column_chunk; /* chosen, before they become the division */
  LLVMValueRef m, k;               /* extents, i64 */
  LLVMValueRef panel_stride;       /* elements of one panel in the workspace */
  LLVMValueRef a, b, c, bias, workspace;
} gemm;

/* The next multiple of `to`. */
static int64_t round_up(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

static bool is_tn(const gemm *g) { return g->shape->form == MVS_MATMUL_TN; }

/* B is read in place: whole vectors of a narrow matrix that lies with n innermost. */
static bool reads_b(const gemm *g) {
  const mvs_matmul_shape *s = g->shape;
  return s->form != MVS_MATMUL_NT && s->b == MVS_F32 && s->n % MVS_LANES == 0 && s->n <= NARROW;
}

/* A is read in place. */
static bool reads_a(const gemm *g) {
  const mvs_matmul_shape *s = g->shape;
  return s->a == MVS_F32 && (!is_tn(g) || (s->m.size <= NARROW && s->c == MVS_F32));
}

/* Steps of k for which a panel has room: transposing fills whole blocks of 16. */
static mvs_dim panel_steps(const mvs_matmul_shape *shape) {
  mvs_dim steps = shape->k;
  if (shape->form == MVS_MATMUL_NT) steps.size = round_up(steps.size, MVS_LANES);
  return steps;
}

/* The address of element `index` of an operand. */
static LLVMValueRef offset(gemm *g, mvs_dtype dtype, LLVMValueRef base, LLVMValueRef index) {
  return mvs_emit_at(g->e, mvs_emit_storage(g->e, dtype), base, index);
}

/* Operands are a, b, c, then the bias and the workspace where there are any: build.h's
 * order. */
static void open_kernel(gemm *g, const char *symbol) {
  mvs_emit *e = g->e;
  g->entry = mvs_emit_entry(e, symbol);
  g->a = mvs_emit_operand(e, &g->entry, 0);
  g->b = mvs_emit_operand(e, &g->entry, 1);
  g->c = mvs_emit_operand(e, &g->entry, 2);
  g->bias = g->shape->bias ? mvs_emit_operand(e, &g->entry, 3) : NULL;
  if (!reads_b(g)) g->workspace = mvs_emit_operand(e, &g->entry, g->shape->bias ? 4 : 3);
  g->m = mvs_emit_extent(e, &g->entry, g->shape->m);
  g->k = mvs_emit_extent(e, &g->entry, g->shape->k);
  LLVMValueRef steps = mvs_emit_extent(e, &g->entry, panel_steps(g->shape));
  g->panel_stride = mvs_emit_times(e, steps, MVS_PANEL);
}

/* a - b of indices, which never overflow. */
static LLVMValueRef sub(gemm *g, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildNSWSub(g->e->builder, a, b, "");
}

/* Extents of the chunk that starts at `from`: at most `chunk`. */
static LLVMValueRef chunk_at(gemm *g, LLVMValueRef from, LLVMValueRef total, int64_t chunk) {
  return mvs_emit_smaller(g->e, sub(g, total, from), mvs_emit_i64(g->e, chunk));
}

/* Unit numbers count along the inner axis first: neighbours share rows of A. */
static void split_unit(gemm *g, LLVMValueRef unit, LLVMValueRef inner, LLVMValueRef *row,
                       LLVMValueRef *column) {
  mvs_emit *e = g->e;
  LLVMValueRef across = mvs_emit_ceil_div(e, inner, g->division.inner_chunk);
  *row = mvs_emit_times(e, LLVMBuildUDiv(e->builder, unit, across, ""), g->division.row_chunk);
  *column =
      mvs_emit_times(e, LLVMBuildURem(e->builder, unit, across, ""), g->division.inner_chunk);
}

/* --- stage 1: panels of B --- */

/* One panel, K_CHUNK steps of k. */
static void pack_unit(gemm *g, LLVMValueRef unit) {
  mvs_emit *e = g->e;
  LLVMValueRef column, step;
  split_unit(g, unit, g->k, &column, &step);
  LLVMValueRef n = mvs_emit_i64(e, g->shape->n);
  LLVMValueRef width = chunk_at(g, column, n, MVS_PANEL);
  LLVMValueRef steps = chunk_at(g, step, g->k, K_CHUNK);
  LLVMValueRef panel = LLVMBuildUDiv(e->builder, column, mvs_emit_i64(e, MVS_PANEL), "");
  LLVMValueRef at = mvs_emit_add(e, mvs_emit_mul(e, panel, g->panel_stride),
                                 mvs_emit_times(e, step, MVS_PANEL));
  mvs_pack_call call = {.type = g->shape->b,
                        .target = offset(g, MVS_F32, g->workspace, at),
                        .target_stride = mvs_emit_i64(e, MVS_PANEL)};
  if (g->shape->form == MVS_MATMUL_NT) {
    call.source =
        offset(g, g->shape->b, g->b, mvs_emit_add(e, mvs_emit_mul(e, column, g->k), step));
    call.source_stride = g->k;
    call.rows = width;
    call.columns = steps;
    mvs_pack_transpose(e, &call);
  } else {
    call.source =
        offset(g, g->shape->b, g->b, mvs_emit_add(e, mvs_emit_mul(e, step, n), column));
    call.source_stride = n;
    call.rows = steps;
    call.columns = width;
    mvs_pack_copy(e, &call);
  }
}

/* --- stage 2: blocks of C --- */

/* Points the tile at its columns of B, `step` steps of k in. */
static void point_at_b(gemm *g, LLVMValueRef column, LLVMValueRef step, mvs_tile_call *tile) {
  mvs_emit *e = g->e;
  if (reads_b(g)) {
    tile->b_stride = mvs_emit_i64(e, g->shape->n);
    LLVMValueRef at = mvs_emit_add(e, mvs_emit_mul(e, step, tile->b_stride), column);
    tile->b = offset(g, MVS_F32, g->b, at);
    return;
  }
  LLVMValueRef panel = LLVMBuildUDiv(e->builder, column, mvs_emit_i64(e, MVS_PANEL), "");
  LLVMValueRef at = mvs_emit_add(e, mvs_emit_mul(e, panel, g->panel_stride),
                                 mvs_emit_times(e, step, MVS_PANEL));
  tile->b = offset(g, MVS_F32, g->workspace, at);
}

typedef struct unit_range {
  LLVMValueRef row, rows, column, columns;
} unit_range;

/* One tile call per panel of the unit's columns. `tile` has all but b, c, width and bias. */
static void each_panel(gemm *g, const unit_range *r, mvs_tile_layout layout, mvs_dtype c_type,
                       LLVMValueRef c, LLVMValueRef step, mvs_tile_call tile) {
  mvs_emit *e = g->e;
  mvs_loop loop = mvs_emit_loop(e, mvs_emit_i64(e, 0), r->columns, MVS_PANEL);
  LLVMValueRef column = mvs_emit_add(e, r->column, loop.index);
  point_at_b(g, column, step, &tile);
  tile.c = offset(g, c_type, c, loop.index);
  tile.rows = r->rows;
  tile.width = chunk_at(g, loop.index, r->columns, MVS_PANEL);
  if (tile.start) {
    LLVMValueRef none = LLVMConstNull(e->ptr);
    LLVMValueRef first = LLVMBuildICmp(e->builder, LLVMIntEQ, step, mvs_emit_i64(e, 0), "");
    tile.start = mvs_emit_select(e, first, none, offset(g, MVS_F32, tile.start, loop.index));
  }
  if (g->bias) tile.bias = offset(g, c_type, g->bias, column);
  mvs_tile(e, layout, c_type, &tile);
  mvs_emit_loop_end(e, &loop);
}

/* The first element of this unit's block of C. */
static LLVMValueRef c_of(gemm *g, const unit_range *r) {
  mvs_emit *e = g->e;
  LLVMValueRef at = mvs_emit_add(e, mvs_emit_times(e, r->row, g->shape->n), r->column);
  return offset(g, g->shape->c, g->c, at);
}

/* A block of NT or NN: all of k at once. */
static void unit_by_rows(gemm *g, const unit_range *r, int64_t *scratch) {
  mvs_emit *e = g->e;
  mvs_tile_call tile = {.k = g->k, .c_stride = mvs_emit_i64(e, g->shape->n)};
  LLVMValueRef rows = offset(g, g->shape->a, g->a, mvs_emit_mul(e, r->row, g->k));
  tile.a = rows;
  tile.a_stride = g->k;
  if (!reads_a(g)) {
    int64_t stride = round_up(g->shape->k.size, MVS_LANES);
    tile.a = g->entry.scratch;
    tile.a_stride = mvs_emit_i64(e, stride);
    mvs_pack_call copy = {MVS_BF16, rows, g->k, r->rows, g->k, tile.a, tile.a_stride, NULL};
    mvs_pack_copy(e, &copy);
    *scratch = g->division.row_chunk * stride * 4;
  }
  each_panel(g, r, MVS_TILE_BY_ROWS, g->shape->c, c_of(g, r), mvs_emit_i64(e, 0), tile);
}

/* All of k at once, from A where it lies. */
static void unit_in_place(gemm *g, const unit_range *r) {
  mvs_emit *e = g->e;
  mvs_tile_call tile = {.a = offset(g, MVS_F32, g->a, r->row),
                        .a_stride = g->m,
                        .k = g->k,
                        .c_stride = mvs_emit_i64(e, g->shape->n)};
  each_panel(g, r, MVS_TILE_BY_COLUMNS, MVS_F32, c_of(g, r), mvs_emit_i64(e, 0), tile);
}

/* A block of TN in stretches of k, each copied first; the sums go on from where they were. A C
 * of bf16 gathers them in scratch, for they must stay f32 until the end. */
static void unit_by_columns(gemm *g, const unit_range *r, int64_t *scratch) {
  mvs_emit *e = g->e;
  int64_t width = round_up(g->division.row_chunk, MVS_LANES);
  int64_t stride = round_up(g->division.inner_chunk, MVS_LANES);
  bool rounds = g->shape->c == MVS_BF16;
  LLVMValueRef sums = rounds ? mvs_emit_scratch(e, &g->entry, K_CHUNK * width * 4) : c_of(g, r);
  LLVMValueRef sums_stride = mvs_emit_i64(e, rounds ? stride : g->shape->n);
  mvs_loop loop = mvs_emit_loop(e, mvs_emit_i64(e, 0), g->k, K_CHUNK);
  LLVMValueRef steps = chunk_at(g, loop.index, g->k, K_CHUNK);
  LLVMValueRef from = mvs_emit_add(e, mvs_emit_mul(e, loop.index, g->m), r->row);
  mvs_pack_call copy = {g->shape->a,
                        offset(g, g->shape->a, g->a, from),
                        g->m,
                        steps,
                        r->rows,
                        g->entry.scratch,
                        mvs_emit_i64(e, width),
                        NULL};
  mvs_pack_copy(e, &copy);
  mvs_tile_call tile = {.a = g->entry.scratch,
                        .a_stride = copy.target_stride,
                        .k = steps,
                        .c_stride = sums_stride,
                        .start = sums,
                        .start_stride = sums_stride};
  each_panel(g, r, MVS_TILE_BY_COLUMNS, MVS_F32, sums, loop.index, tile);
  mvs_emit_loop_end(e, &loop);
  if (rounds) {
    mvs_pack_call round = {MVS_BF16,
                           sums,
                           sums_stride,
                           r->rows,
                           r->columns,
                           c_of(g, r),
                           mvs_emit_i64(e, g->shape->n),
                           NULL};
    mvs_pack_round(e, &round);
  }
  *scratch = K_CHUNK * width * 4 + (rounds ? g->division.row_chunk * stride * 4 : 0);
}

/* Every form ends in tiles; they differ in where A comes from. */
static void block_unit(gemm *g, LLVMValueRef unit, int64_t *scratch) {
  mvs_emit *e = g->e;
  LLVMValueRef n = mvs_emit_i64(e, g->shape->n);
  unit_range r;
  split_unit(g, unit, n, &r.row, &r.column);
  r.rows = chunk_at(g, r.row, g->m, g->division.row_chunk);
  r.columns = chunk_at(g, r.column, n, g->division.inner_chunk);
  if (!is_tn(g)) {
    unit_by_rows(g, &r, scratch);
  } else if (reads_a(g)) {
    unit_in_place(g, &r);
  } else {
    unit_by_columns(g, &r, scratch);
  }
}

/* --- division and stages --- */

/* Chunks that cover `a`, the last one perhaps short. */
static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* Largest blocks that still give LEAST_BLOCKS: first narrower, then lower. */
static void choose_chunks(gemm *g) {
  int64_t rows = g->shape->m.size * (g->shape->m.per_batch ? EXPECTED_BATCH : 1);
  /* Rows of TN lie side by side in A: whole cache lines. */
  int64_t least_rows = is_tn(g) ? 2 * MVS_LANES : 2 * MVS_TILE_ROWS;
  g->row_chunk = ROW_CHUNK;
  g->column_chunk = COLUMN_CHUNK;
  while (ceil_div(rows, g->row_chunk) * ceil_div(g->shape->n, g->column_chunk) < LEAST_BLOCKS) {
    if (g->column_chunk > 4 * MVS_PANEL) {
      g->column_chunk /= 2;
    } else if (g->row_chunk > least_rows) {
      g->row_chunk = least_rows;
    } else if (g->column_chunk > MVS_PANEL) {
      g->column_chunk /= 2;
    } else {
      break;
    }
  }
}

/* Stage 1 as a function of its own: the next stage starts only when all panels are packed. */
static void print_pack(gemm *g, const char *symbol) {
  g->division = (mvs_division){{g->shape->n, false}, g->shape->k, MVS_PANEL, K_CHUNK};
  open_kernel(g, symbol);
  mvs_loop units = mvs_emit_loop(g->e, g->entry.begin, g->entry.end, 1);
  pack_unit(g, units.index);
  mvs_emit_loop_end(g->e, &units);
  LLVMBuildRetVoid(g->e->builder);
}

/* Stage 2; *scratch is set to what a thread needs for its copy of A. */
static void print_blocks(gemm *g, const char *symbol, int64_t *scratch) {
  g->division =
      (mvs_division){g->shape->m, {g->shape->n, false}, g->row_chunk, g->column_chunk};
  open_kernel(g, symbol);
  mvs_loop units = mvs_emit_loop(g->e, g->entry.begin, g->entry.end, 1);
  block_unit(g, units.index, scratch);
  mvs_emit_loop_end(g->e, &units);
  LLVMBuildRetVoid(g->e->builder);
}

/* The workspace is sized for whole panels, so that tiles may read full vectors at the edge. */
mvs_status mvs_host_print_matmul(mvs_emit *e, const mvs_kernel *kernel, mvs_printed *out) {
  gemm g = {.e = e, .shape = &kernel->matmul};
  if (is_tn(&g) && g.shape->bias) {
    e->error = "a matmul that contracts the leading axes takes no bias";
    return MVS_ERR_INTERNAL;
  }
  choose_chunks(&g);
  if (!reads_b(&g)) {
    mvs_dim steps = panel_steps(g.shape);
    int64_t bytes = ceil_div(g.shape->n, MVS_PANEL) * MVS_PANEL * steps.size * 4;
    *(steps.per_batch ? &out->workspace_per_batch : &out->workspace_fixed) = bytes;
    const char *pack = mvs_arena_format(e->arena, "%s_pack", kernel->name);
    print_pack(&g, pack);
    mvs_printed_add(e->arena, out, pack, g.division);
  }
  const char *blocks = mvs_arena_format(e->arena, "%s_blocks", kernel->name);
  print_blocks(&g, blocks, &out->scratch);
  mvs_printed_add(e->arena, out, blocks, g.division);
  return e->error ? MVS_ERR_INTERNAL : MVS_OK;
}
