/* gemm.c: matmuls in two stages: B is packed into panels in the workspace, then blocks of C
 * are computed in any order. A is read where it lies, or copied stretch by stretch of k into
 * scratch where it must be converted, turned, or lies badly for the cache.
 *
 *   form   C[i][j] = sum over k of     A, B in memory      used for
 *   NT     A[i][k] * B[j][k]           rows of k, both     the forward pass: x W^T
 *   NN     A[i][k] * B[k][j]           rows of k, of n     the gradient of x
 *   TN     A[k][i] * B[k][j]           rows of m, of n     the gradient of W, k is the tokens
 *
 *   way      operands        a step of k is        made of
 *   FLOATS   any, as f32     an element            fma
 *   PAIRS    bf16 both       a place: two bf16     vdpbf16ps (tile.h)
 *   TILES    bf16 both       a place               tdpbf16ps (tile_amx.h)
 *   SPLIT    f32 both        a place: of parts     six tdpbf16ps (tile_amx.h)
 *
 * A level of processors has one way for a shape. FLOATS makes each element of C one chain of
 * fma upwards in k, whatever the packing, the blocks and the instruction set: that is what
 * docs/numerics.md promises, and why k is never split between units. The other ways have orders
 * of their own, as fixed. One exception depends on the shape alone: NT of few rows, which is
 * bound by reading B, does without panels of B.
 *
 *   rows of NT         made of
 *   up to 8            dot products in 16 lanes, both operands where they lie (dots.h)
 *   TILES, up to 2     the same, of bf16 widened to f32
 *   TILES, up to 64    tiles with the operands swapped, the same bits: A is turned (swapped.h)
 *
 * A unit of stage 1 fills part of a panel, a unit of stage 2 makes a block of C one panel wide,
 * or few, so no two write the same memory. Neighbouring units of one call are one block, as far
 * as its rows go: threads can divide C finely, and one that gets many units copies its rows of
 * A once. Choices of size here move time, never bits. */
#include "codegen/host/dots.h"
#include "codegen/host/pack.h"
#include "codegen/host/printed.h"
#include "codegen/host/swapped.h"
#include "codegen/host/tile_amx.h"

/* Steps of k in one stage of packing: 32 KiB of B, the first cache. */
#define K_CHUNK 256
/* Steps of k in one stretch: long enough that sums are seldom put away and taken up again. For
 * tiles, whose products take less time than moving their operands, as many as the first cache
 * has of a panel; of parts, whose panel is three times that, the second. */
#define A_CHUNK     1024
#define TILES_CHUNK 256
/* Steps of k of the longest panel that is one stretch all the same: 2 MiB, a second cache. */
#define WHOLE_PANEL (64 * TILES_CHUNK)
/* Rows of at most this many floats are read in place at every step of k: more would miss the
 * translation buffer and fall on few sets of the cache. */
#define NARROW 256
/* Rows a multiple of this many bytes apart fall on so few sets of the first cache that those of
 * a tile drive each other out: copying them, once for many columns, costs less. */
#define BAD_STRIDE 2048
/* Largest block of C made at once: its rows of A stay in the second cache while the panels of B
 * pass by; of tiles also its sums between stretches. */
#define ROW_CHUNK          (8 * MVS_TILE_ROWS)
#define COLUMN_CHUNK       1024
#define TILES_ROW_CHUNK    256
#define TILES_COLUMN_CHUNK 256
#define SPLIT_COLUMN_CHUNK 512
/* Columns of a unit where each call copies its rows of A first: few calls for that. Elsewhere a
 * unit has one panel, so that no thread waits long for another's last one. */
#define COPIED_COLUMNS (4 * MVS_PANEL)
#define SPLIT_COLUMNS  (8 * MVS_PANEL)
/* Units to aim for, where sizes allow. */
#define LEAST_UNITS 8
/* Lower units of f32 in parts than this read B, of 6 bytes an element, too often. */
#define SPLIT_ROWS 64
/* Rows of two tiles of AMX. */
#define TWO_TILES 32

/* Rows up to which dots are faster than tiles, where there are tiles. */
#define TILES_DOT_ROWS 2
/* Rows of A up to which it is A that is turned for tiles, and the most k of theirs: 2 MiB. */
#define SWAPPED_ROWS 64
#define SWAPPED_K    (2 << 13)

/* Of f32 in parts, in times of a term a b by fma: a term, and moving an element of A, B or C.
 * In TN one operand is turned, and each block reads it anew. */
#define SPLIT_TERM    0.47
#define SPLIT_MOVE    15.0
#define SPLIT_TN_MOVE 24.0

/* A C of more bytes is not in the second cache when it is written. */
#define FAR_BYTES (1 << 20)

typedef enum way { FLOATS, PAIRS, TILES, SPLIT } way;

typedef struct gemm {
  mvs_emit *e;
  const mvs_matmul_shape *shape;
  way way;
  mvs_entry entry;
  mvs_division division;
  /* Of a unit, before they become the division, and the most of a block. */
  int64_t row_chunk, column_chunk, most_columns;
  LLVMValueRef m, k, steps;     /* extents, i64; steps of k: elements or places */
  LLVMValueRef first_row, rows; /* that the call has of m */
  LLVMValueRef panel_stride;    /* 4-byte elements of one panel in the workspace */
  LLVMValueRef a, b, c, bias, workspace;
  int64_t scratch; /* bytes given out so far */
} gemm;

/* Chunks that cover `a`, the last one perhaps short. */
static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* The next multiple of `to`. */
static int64_t round_up(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

static bool is_tn(const gemm *g) { return g->shape->form == MVS_MATMUL_TN; }

bool mvs_matmul_in_pairs(const mvs_matmul_shape *shape) {
  return shape->a == MVS_BF16 && shape->b == MVS_BF16;
}

/* An extent at the batch that is expected. */
static int64_t expected(mvs_dim dim) {
  return dim.size * (dim.per_batch ? MVS_EXPECTED_BATCH : 1);
}

/* Parts where they take less time than fma, by what both were measured to take
 * (docs/performance.md). Tiles compute what they lack to a multiple of 32 too, and a block
 * needs two steps of k to hide the bias and C of the one before. */
bool mvs_matmul_in_parts(const mvs_matmul_shape *shape) {
  if (shape->a != MVS_F32 || shape->b != MVS_F32) return false;
  int64_t m = expected(shape->m), k = expected(shape->k), n = shape->n;
  double terms = (double)m * (double)n * (double)k;
  double whole =
      (double)round_up(m, TWO_TILES) * (double)round_up(n, MVS_PANEL) * (double)round_up(k, 32);
  double moved = terms / (double)m + terms / (double)n + terms / (double)k;
  double move = shape->form == MVS_MATMUL_TN ? SPLIT_TN_MOVE : SPLIT_MOVE;
  return k > 32 && SPLIT_TERM * whole + move * moved <= terms;
}

/* What the level being printed has for the shape. */
static way way_of(const mvs_emit *e, const mvs_matmul_shape *shape) {
  if (e->level == MVS_CPU_AMX && mvs_matmul_in_parts(shape)) return SPLIT;
  if (!mvs_matmul_in_pairs(shape) || e->level < MVS_CPU_BF16) return FLOATS;
  return e->level == MVS_CPU_AMX ? TILES : PAIRS;
}

/* Whether tiles of AMX make the sums. */
static bool in_tiles(const gemm *g) { return g->way == TILES || g->way == SPLIT; }

/* Places of the workspace and of scratch for one of an operand. */
static int64_t parts(const gemm *g) { return g->way == SPLIT ? MVS_SPLIT_PARTS : 1; }

/* Elements of k in a step. */
static int64_t per_step(const gemm *g) { return g->way == FLOATS ? 1 : 2; }

/* B is read in place: whole vectors of a narrow matrix that lies with n innermost. */
static bool reads_b(const gemm *g) {
  const mvs_matmul_shape *s = g->shape;
  return g->way == FLOATS && s->form != MVS_MATMUL_NT && s->b == MVS_F32 &&
         s->n % MVS_LANES == 0 && s->n <= NARROW;
}

/* Whether the sums over k of a block can be put away between stretches while tiles read A in
 * place: they may overlap in rows (tile_amx.c), which must not be added twice. */
static bool tiles_split(const gemm *g) { return g->shape->m.size % TWO_TILES == 0; }

/* Rows that are whole tiles stay so where a call leaves some out. */
int64_t mvs_matmul_row_step(const mvs_matmul_shape *shape) {
  return mvs_matmul_in_pairs(shape) && shape->m.size % TWO_TILES == 0 ? TWO_TILES : 1;
}

/* A is read in place: no conversion, steps that end with the row, and rows that do not fall on
 * the same sets of the cache. Tiles of AMX use a line of the cache once, so they do not mind
 * the latter; but a panel of all of k must not outgrow that cache by far.
 */
static bool reads_a(const gemm *g) {
  const mvs_matmul_shape *s = g->shape;
  if (g->way == SPLIT) return false;
  if (g->way == TILES)
    return !is_tn(g) && s->k.size % (2 * MVS_LANES) == 0 &&
           (tiles_split(g) || s->k.size <= WHOLE_PANEL * per_step(g));
  if (g->way == PAIRS && (is_tn(g) || s->k.size % 2 != 0)) return false;
  if (g->way == FLOATS && s->a != MVS_F32) return false;
  if (is_tn(g)) return s->m.size <= NARROW && s->c == MVS_F32;
  return s->k.size * mvs_dtype_size(s->a) % BAD_STRIDE != 0;
}

/* The most steps of k in a stretch. */
static int64_t stretch_steps(const gemm *g) { return in_tiles(g) ? TILES_CHUNK : A_CHUNK; }

/* Whether there may be so few rows that one block has them all: its unit then packs each panel
 * just before it uses it, and stage 1 has nothing to do, which spares writing B and reading it
 * again. */
static bool may_be_low(const gemm *g) {
  const mvs_matmul_shape *s = g->shape;
  return !reads_b(g) && (s->m.per_batch || s->m.size <= g->row_chunk);
}

/* Whether B is packed ahead at some batch: else there is no stage 1 and no workspace. */
static bool packs_ahead(const gemm *g) {
  return !reads_b(g) && (g->shape->m.per_batch || !may_be_low(g));
}

/* Whether a block's sums are put away between stretches of k, so that scratch does not grow
 * with k: copies of A and panels packed by a unit have room for a stretch. k of TN grows with
 * the batch. */
static bool in_stretches(const gemm *g) {
  bool tall = is_tn(g) || g->shape->k.size > stretch_steps(g) * per_step(g);
  if (!reads_a(g)) return tall;
  return tall && (g->way == TILES ? tiles_split(g) : may_be_low(g));
}

/* Steps of k for which a panel has room: packing fills whole blocks of 16. The second part is
 * not times the batch. */
static mvs_dim panel_steps(const gemm *g) {
  return (mvs_dim){ceil_div(g->shape->k.size, per_step(g)), g->shape->k.per_batch};
}

/* Most steps of k that a unit takes at once. */
static int64_t most_steps(const gemm *g) {
  return in_stretches(g) ? stretch_steps(g) : round_up(panel_steps(g).size, MVS_LANES);
}

/* 4-byte elements of a panel that is packed as it goes. */
static int64_t packed_room(const gemm *g) {
  return (most_steps(g) + MVS_LANES) * MVS_PANEL * parts(g);
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
  if (packs_ahead(g)) g->workspace = mvs_emit_operand(e, &g->entry, g->shape->bias ? 4 : 3);
  g->m = mvs_emit_extent(e, &g->entry, g->shape->m);
  g->k = mvs_emit_extent(e, &g->entry, g->shape->k);
  g->steps = mvs_emit_ceil_div(e, g->k, per_step(g));
  LLVMValueRef room = mvs_emit_extent(e, &g->entry, panel_steps(g));
  g->panel_stride = mvs_emit_times(e, mvs_emit_add(e, room, mvs_emit_i64(e, MVS_LANES)),
                                   MVS_PANEL * parts(g));
}

/* a - b of indices, which never overflow. */
static LLVMValueRef sub(gemm *g, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildNSWSub(g->e->builder, a, b, "");
}

/* Extents of the chunk that starts at `from`: at most `chunk`. */
static LLVMValueRef chunk_at(gemm *g, LLVMValueRef from, LLVMValueRef total, int64_t chunk) {
  return mvs_emit_smaller(g->e, sub(g, total, from), mvs_emit_i64(g->e, chunk));
}

/* --- stage 1: panels of B --- */

/* Where a panel of the workspace holds `step`. */
static LLVMValueRef panel_at(gemm *g, LLVMValueRef column, LLVMValueRef step) {
  mvs_emit *e = g->e;
  LLVMValueRef panel = LLVMBuildUDiv(e->builder, column, mvs_emit_i64(e, MVS_PANEL), "");
  LLVMValueRef at = mvs_emit_add(e, mvs_emit_mul(e, panel, g->panel_stride),
                                 mvs_emit_times(e, step, MVS_PANEL * parts(g)));
  return offset(g, MVS_F32, g->workspace, at);
}

typedef void pack_form(mvs_emit *e, const mvs_pack_call *call);

/* The same move into tiles of parts, `step` places after a step's and `group` after a group's.
 */
static void split_into(gemm *g, const mvs_pack_call *from, bool across, bool turned,
                       int64_t step, int64_t group) {
  mvs_split_call call = {.source = from->source,
                         .source_stride = from->source_stride,
                         .rows = from->rows,
                         .columns = from->columns,
                         .target = from->target,
                         .step_stride = mvs_emit_i64(g->e, step),
                         .group_stride = mvs_emit_i64(g->e, group / MVS_LANES)};
  mvs_split(g->e, across, turned, &call);
}

/* Packs `elements` of k from `first` on, of the panel that starts at `column`, or of so many as
 * have `width` columns: the next lie `packed_room` behind. */
static void pack_panels(gemm *g, LLVMValueRef column, LLVMValueRef width, LLVMValueRef first,
                        LLVMValueRef elements, LLVMValueRef target) {
  mvs_emit *e = g->e;
  bool nt = g->shape->form == MVS_MATMUL_NT, floats = g->way == FLOATS;
  LLVMValueRef n = mvs_emit_i64(e, g->shape->n);
  LLVMValueRef at = nt ? mvs_emit_add(e, mvs_emit_mul(e, column, g->k), first)
                       : mvs_emit_add(e, mvs_emit_mul(e, first, n), column);
  mvs_pack_call call = {.type = g->shape->b,
                        .source = offset(g, g->shape->b, g->b, at),
                        .source_stride = nt ? g->k : n,
                        .rows = nt ? width : elements,
                        .columns = nt ? elements : width,
                        .target = target,
                        .target_stride = mvs_emit_i64(e, MVS_PANEL),
                        .target_panel = mvs_emit_i64(e, packed_room(g))};
  if (g->way == SPLIT) {
    split_into(g, &call, !nt, nt, 2 * MVS_SPLIT_STEP, MVS_SPLIT_STEP);
    return;
  }
  pack_form *pack = nt       ? floats ? mvs_pack_transpose : mvs_pairs_transpose
                    : floats ? mvs_pack_copy
                             : mvs_pairs_interleave;
  pack(e, &call);
}

/* The same of one panel. */
static void pack_panel(gemm *g, LLVMValueRef column, LLVMValueRef first, LLVMValueRef elements,
                       LLVMValueRef target) {
  LLVMValueRef width = chunk_at(g, column, mvs_emit_i64(g->e, g->shape->n), MVS_PANEL);
  pack_panels(g, column, width, first, elements, target);
}

/* A unit: one panel, K_CHUNK steps of k. Units count along k first. */
static void pack_unit(gemm *g, LLVMValueRef unit) {
  mvs_emit *e = g->e;
  LLVMValueRef across = mvs_emit_ceil_div(e, g->k, g->division.inner_chunk);
  LLVMValueRef column =
      mvs_emit_times(e, LLVMBuildUDiv(e->builder, unit, across, ""), MVS_PANEL);
  LLVMValueRef first =
      mvs_emit_times(e, LLVMBuildURem(e->builder, unit, across, ""), g->division.inner_chunk);
  LLVMValueRef step = mvs_emit_ceil_div(e, first, per_step(g));
  LLVMValueRef elements = chunk_at(g, first, g->k, K_CHUNK * per_step(g));
  pack_panel(g, column, first, elements, panel_at(g, column, step));
}

/* i1: there are so few. */
static LLVMValueRef is_low(gemm *g) {
  return mvs_emit_less(g->e, g->m, mvs_emit_i64(g->e, g->row_chunk + 1));
}

/* --- stage 2: blocks of C --- */

/* A unit's block of C, and the stretch of k being added to it. */
typedef struct unit_range {
  LLVMValueRef row, rows, column, columns;
  LLVMValueRef step, steps;       /* of the stretch */
  LLVMValueRef first, last;       /* i1: it is the first, the last */
  LLVMValueRef a, a_stride;       /* its A, in 4-byte elements */
  LLVMValueRef sums, sums_stride; /* f32: of the block between stretches, or of one panel */
  LLVMValueRef packed;            /* room for a panel of the stretch, NULL: none needed */
} unit_range;

/* Takes 64-byte aligned scratch. */
static LLVMValueRef room(gemm *g, int64_t bytes) {
  LLVMValueRef at = mvs_emit_scratch(g->e, &g->entry, g->scratch);
  g->scratch += round_up(bytes, 64);
  return at;
}

/* Element [0][column] of this unit's block of C. */
static LLVMValueRef c_at(gemm *g, const unit_range *r, LLVMValueRef column) {
  mvs_emit *e = g->e;
  LLVMValueRef at = mvs_emit_add(e, mvs_emit_times(e, r->row, g->shape->n), r->column);
  return offset(g, g->shape->c, g->c, mvs_emit_add(e, at, column));
}

/* Element [0][column] of the sums. */
static LLVMValueRef sums_at(gemm *g, const unit_range *r, LLVMValueRef column) {
  return offset(g, MVS_F32, r->sums, column);
}

/* Whether a low unit packs two panels at a time: where a panel's part of a row is one line, the
 * processor fetches its neighbour too, which would be gone again when its panel comes. */
static bool packs_two(const gemm *g) {
  return g->shape->form != MVS_MATMUL_NT && (g->way == PAIRS || g->way == TILES);
}

/* i1: the panel at `column` is the second of two. */
static LLVMValueRef is_second(gemm *g, LLVMValueRef column) {
  LLVMValueRef bit = LLVMBuildAnd(g->e->builder, column, mvs_emit_i64(g->e, MVS_PANEL), "");
  return LLVMBuildIsNotNull(g->e->builder, bit, "");
}

/* Where a low unit packs the panel at `column`. */
static LLVMValueRef packed_at(gemm *g, const unit_range *r, LLVMValueRef column) {
  mvs_emit *e = g->e;
  if (!packs_two(g)) return r->packed;
  LLVMValueRef at = mvs_emit_select(e, is_second(g, column), mvs_emit_i64(e, packed_room(g)),
                                    mvs_emit_i64(e, 0));
  return offset(g, MVS_F32, r->packed, at);
}

/* Packs `elements` of k from `first` on: of both panels when the first comes, and of a second
 * only where the unit starts with it. */
static void pack_both(gemm *g, const unit_range *r, LLVMValueRef column, LLVMValueRef first,
                      LLVMValueRef elements) {
  mvs_emit *e = g->e;
  LLVMValueRef second = is_second(g, column), one = mvs_emit_i64(e, MVS_PANEL);
  LLVMValueRef begins = LLVMBuildICmp(e->builder, LLVMIntEQ, column, r->column, "");
  LLVMValueRef is_first = LLVMBuildNot(e->builder, second, "");
  mvs_branch due = mvs_emit_if(e, LLVMBuildOr(e->builder, is_first, begins, ""));
  LLVMValueRef most = mvs_emit_select(e, second, one, mvs_emit_i64(e, 2 * MVS_PANEL));
  LLVMValueRef left = sub(g, mvs_emit_add(e, r->column, r->columns), column);
  pack_panels(g, column, mvs_emit_smaller(e, left, most), first, elements,
              packed_at(g, r, column));
  mvs_emit_if_end(e, &due);
}

/* Where B holds the stretch of the unit's column; *stride is set. */
static LLVMValueRef b_at(gemm *g, const unit_range *r, LLVMValueRef column,
                         LLVMValueRef *stride) {
  mvs_emit *e = g->e;
  column = mvs_emit_add(e, r->column, column);
  *stride = mvs_emit_i64(e, reads_b(g) ? g->shape->n : MVS_PANEL);
  if (reads_b(g)) {
    LLVMValueRef at = mvs_emit_add(e, mvs_emit_mul(e, r->step, *stride), column);
    return offset(g, MVS_F32, g->b, at);
  }
  if (!r->packed) return panel_at(g, column, r->step);
  LLVMValueRef packed = packed_at(g, r, column);
  mvs_branch low = mvs_emit_if(e, is_low(g));
  LLVMValueRef first = mvs_emit_times(e, r->step, per_step(g));
  LLVMValueRef left = sub(g, g->k, first);
  LLVMValueRef most = mvs_emit_times(e, r->steps, per_step(g));
  LLVMValueRef elements = mvs_emit_smaller(e, left, most);
  if (packs_two(g)) {
    pack_both(g, r, column, first, elements);
  } else {
    pack_panel(g, column, first, elements, packed);
  }
  mvs_emit_if_end(e, &low);
  if (!packs_ahead(g)) return packed;
  return mvs_emit_select(e, is_low(g), packed, panel_at(g, column, r->step));
}

/* The bias of a column, or none. */
static LLVMValueRef bias_at(gemm *g, const unit_range *r, LLVMValueRef column) {
  if (!g->bias) return LLVMConstNull(g->e->ptr);
  return offset(g, g->shape->c, g->bias, mvs_emit_add(g->e, r->column, column));
}

/* `pointer`, or null where the condition does not hold. */
static LLVMValueRef only_if(gemm *g, LLVMValueRef condition, LLVMValueRef pointer) {
  return mvs_emit_select(g->e, condition, pointer, LLVMConstNull(g->e->ptr));
}

/* The panel's product to C where it is complete, else to the sums. */
static void panel_of_vectors(gemm *g, const unit_range *r, LLVMValueRef column,
                             LLVMValueRef width) {
  mvs_emit *e = g->e;
  mvs_tile_layout layout = is_tn(g) ? MVS_TILE_BY_COLUMNS : MVS_TILE_BY_ROWS;
  mvs_tile_call tile = {.a = r->a,
                        .a_stride = r->a_stride,
                        .k = r->steps,
                        .rows = r->rows,
                        .width = width,
                        .pairs = g->way == PAIRS};
  tile.b = b_at(g, r, column, &tile.b_stride);
  LLVMValueRef sums = sums_at(g, r, column), stride = mvs_emit_i64(e, g->shape->n);
  if (in_stretches(g)) {
    tile.start = only_if(g, LLVMBuildNot(e->builder, r->first, ""), sums);
    tile.start_stride = r->sums_stride;
    mvs_branch more = mvs_emit_if(e, LLVMBuildNot(e->builder, r->last, ""));
    tile.c = sums;
    tile.c_stride = r->sums_stride;
    mvs_tile(e, layout, MVS_F32, &tile);
    mvs_emit_if_end(e, &more);
  }
  mvs_branch done = mvs_emit_if(e, r->last);
  tile.c = c_at(g, r, column);
  tile.c_stride = stride;
  tile.bias = bias_at(g, r, column);
  mvs_tile(e, layout, g->shape->c, &tile);
  mvs_emit_if_end(e, &done);
}

/* Of all of C, at the batch that is expected. */
static int64_t c_bytes(const gemm *g) {
  const mvs_matmul_shape *s = g->shape;
  return expected(s->m) * s->n * mvs_dtype_size(s->c);
}

/* The same by tiles, which go through the sums always. */
static void panel_of_tiles(gemm *g, const unit_range *r, LLVMValueRef column,
                           LLVMValueRef width) {
  mvs_emit *e = g->e;
  LLVMValueRef stride, steps = mvs_emit_ceil_div(e, r->steps, MVS_LANES);
  LLVMValueRef up = mvs_emit_ceil_div(e, r->rows, TWO_TILES);
  mvs_amx_call call = {.split = g->way == SPLIT,
                       .a = r->a,
                       .a_stride = r->a_stride,
                       .b = b_at(g, r, column, &stride),
                       .places = mvs_emit_times(e, steps, MVS_LANES),
                       .rows = r->rows,
                       .room = reads_a(g) ? r->rows : mvs_emit_times(e, up, TWO_TILES),
                       .sums = in_stretches(g) ? sums_at(g, r, column) : r->sums,
                       .sums_stride = r->sums_stride,
                       .in_stretches = in_stretches(g),
                       .first = r->first,
                       .last = r->last,
                       .c = c_at(g, r, column),
                       .c_stride = mvs_emit_i64(e, g->shape->n),
                       .width = width,
                       .bias = bias_at(g, r, column),
                       .far = c_bytes(g) > FAR_BYTES};
  mvs_amx_tile(e, g->shape->c, &call);
}

/* One stretch of k for all panels of the unit's columns. */
static void each_panel(gemm *g, const unit_range *r) {
  mvs_emit *e = g->e;
  mvs_loop loop = mvs_emit_loop(e, mvs_emit_i64(e, 0), r->columns, MVS_PANEL);
  LLVMValueRef width = chunk_at(g, loop.index, r->columns, MVS_PANEL);
  (in_tiles(g) ? panel_of_tiles : panel_of_vectors)(g, r, loop.index, width);
  mvs_emit_loop_end(e, &loop);
}

/* A of the stretch where it lies. */
static void point_at_a(gemm *g, unit_range *r) {
  mvs_emit *e = g->e;
  LLVMValueRef first = mvs_emit_times(e, r->step, per_step(g));
  LLVMValueRef at = is_tn(g) ? mvs_emit_add(e, mvs_emit_mul(e, first, g->m), r->row)
                             : mvs_emit_add(e, mvs_emit_mul(e, r->row, g->k), first);
  r->a = offset(g, g->shape->a, g->a, at);
  r->a_stride = is_tn(g) ? g->m : mvs_emit_ceil_div(e, g->k, per_step(g));
}

/* Copies A of the stretch to scratch: rows of steps for rows and for tiles, else steps of rows.
 * Rows lie a vector further apart than they are long, lest they fall on the same sets. */
static void copy_a(gemm *g, unit_range *r, LLVMValueRef to, int64_t stride) {
  mvs_emit *e = g->e;
  bool floats = g->way == FLOATS;
  point_at_a(g, r);
  LLVMValueRef first = mvs_emit_times(e, r->step, per_step(g));
  LLVMValueRef elements = chunk_at(g, first, g->k, stretch_steps(g) * per_step(g));
  mvs_pack_call call = {.type = g->shape->a,
                        .source = r->a,
                        .source_stride = is_tn(g) ? g->m : g->k,
                        .rows = is_tn(g) ? elements : r->rows,
                        .columns = is_tn(g) ? r->rows : elements,
                        .target = to,
                        .target_stride = mvs_emit_i64(e, stride)};
  r->a = to;
  r->a_stride = call.target_stride;
  if (g->way == SPLIT) {
    r->a_stride = mvs_emit_i64(e, stride * MVS_SPLIT_PARTS);
    split_into(g, &call, is_tn(g), is_tn(g), MVS_SPLIT_STEP,
               stride * MVS_SPLIT_PARTS * MVS_LANES);
    return;
  }
  pack_form *copy = floats            ? mvs_pack_copy
                    : !is_tn(g)       ? mvs_pairs_copy
                    : g->way == TILES ? mvs_pairs_turn
                                      : mvs_pairs_interleave;
  copy(e, &call);
}

/* Makes A of the stretch ready, then adds it to all panels. */
static void stretch(gemm *g, unit_range *r, LLVMValueRef copy, int64_t stride) {
  if (copy) {
    copy_a(g, r, copy, stride);
  } else {
    point_at_a(g, r);
  }
  each_panel(g, r);
}

/* All of k at once, or in stretches, one behind the other: the sums go on from where they were.
 */
static void each_stretch(gemm *g, unit_range *r) {
  mvs_emit *e = g->e;
  bool by_steps = is_tn(g) && !in_tiles(g);
  int64_t rows = round_up(g->row_chunk, TWO_TILES);
  int64_t most = most_steps(g);
  int64_t stride = (by_steps ? rows : most) + MVS_LANES;
  LLVMValueRef copy =
      reads_a(g) ? NULL : room(g, (by_steps ? most : rows) * stride * 4 * parts(g));
  r->packed = may_be_low(g) ? room(g, packed_room(g) * (packs_two(g) ? 8 : 4)) : NULL;
  r->step = mvs_emit_i64(e, 0);
  r->steps = g->steps;
  r->first = r->last = mvs_emit_int(e->i1, 1);
  if (!in_stretches(g)) {
    stretch(g, r, copy, stride);
    return;
  }
  mvs_loop loop = mvs_emit_loop(e, r->step, g->steps, most);
  r->step = loop.index;
  r->steps = chunk_at(g, loop.index, g->steps, most);
  r->first = LLVMBuildICmp(e->builder, LLVMIntEQ, loop.index, mvs_emit_i64(e, 0), "");
  LLVMValueRef end = mvs_emit_add(e, loop.index, mvs_emit_i64(e, most));
  r->last = LLVMBuildNot(e->builder, mvs_emit_less(e, end, g->steps), "");
  stretch(g, r, copy, stride);
  mvs_emit_loop_end(e, &loop);
}

/* Where the block's sums lie between stretches: in C itself where it is f32, else in scratch.
 * Tiles of AMX always go through scratch, at least those of two blocks of 32 rows. */
static void place_sums(gemm *g, unit_range *r) {
  mvs_emit *e = g->e;
  bool whole = in_stretches(g), tiles = in_tiles(g);
  int64_t width = whole ? g->most_columns : MVS_PANEL;
  r->sums = g->c;
  r->sums_stride = mvs_emit_i64(e, g->shape->n);
  if (!tiles && (g->shape->c == MVS_F32 || !whole)) {
    r->sums = c_at(g, r, mvs_emit_i64(e, 0));
  } else {
    int64_t stride = width + MVS_LANES;
    int64_t rows = whole ? round_up(g->row_chunk, TWO_TILES) : 2 * TWO_TILES;
    r->sums = room(g, rows * stride * 4);
    r->sums_stride = mvs_emit_i64(e, stride);
  }
}

/* The block of C from `row` and `column` on, up to column `end`. */
static void block(gemm *g, LLVMValueRef row, LLVMValueRef column, LLVMValueRef end) {
  mvs_emit *e = g->e;
  unit_range r = {.row = row, .column = column};
  r.rows = chunk_at(g, row, mvs_emit_add(e, g->first_row, g->rows), g->row_chunk);
  r.columns = chunk_at(g, column, end, g->most_columns);
  place_sums(g, &r);
  if (in_tiles(g)) mvs_amx_open(e, reads_a(g) ? r.rows : mvs_emit_i64(e, TWO_TILES));
  each_stretch(g, &r);
  if (in_tiles(g)) mvs_amx_close(e);
}

/* A call's units: they count along the columns first, and those of the same rows are blocks as
 * wide as can be. */
static void blocks_of_call(gemm *g) {
  mvs_emit *e = g->e;
  int64_t units = ceil_div(g->shape->n, g->column_chunk);
  LLVMValueRef across = mvs_emit_i64(e, units), n = mvs_emit_i64(e, g->shape->n);
  LLVMValueRef begin = g->entry.begin, end = g->entry.end;
  mvs_loop rows = mvs_emit_loop(e, LLVMBuildUDiv(e->builder, begin, across, ""),
                                mvs_emit_ceil_div(e, end, units), 1);
  LLVMValueRef done = mvs_emit_mul(e, rows.index, across);
  LLVMValueRef from = sub(g, begin, done), to = sub(g, end, done), zero = mvs_emit_i64(e, 0);
  from = mvs_emit_select(e, mvs_emit_less(e, from, zero), zero, from);
  to = mvs_emit_smaller(e, mvs_emit_times(e, mvs_emit_smaller(e, to, across), g->column_chunk),
                        n);
  mvs_loop columns =
      mvs_emit_loop(e, mvs_emit_times(e, from, g->column_chunk), to, g->most_columns);
  LLVMValueRef row = mvs_emit_times(e, rows.index, g->row_chunk);
  block(g, mvs_emit_add(e, g->first_row, row), columns.index, to);
  mvs_emit_loop_end(e, &columns);
  mvs_emit_loop_end(e, &rows);
}

/* --- few rows --- */

/* The most rows with which a product is made of dots: 0 where it never is. */
static int64_t dot_rows(const gemm *g) {
  if (g->shape->form != MVS_MATMUL_NT) return 0;
  return g->way == TILES ? TILES_DOT_ROWS : MVS_DOT_ROWS;
}

/* The most rows with which its operands are swapped. One block's rows hold as many, so that all
 * units of a call have them all. */
static int64_t swapped_rows(const gemm *g) {
  const mvs_matmul_shape *s = g->shape;
  if (g->way != TILES || s->form != MVS_MATMUL_NT) return 0;
  if (s->k.size % (2 * MVS_LANES) != 0 || s->k.size > SWAPPED_K) return 0;
  return g->row_chunk < SWAPPED_ROWS ? g->row_chunk : SWAPPED_ROWS;
}

/* The columns `from` and on of C, as dots or with A turned for tiles. */
static void few_rows(gemm *g, bool as_dots, LLVMValueRef from, LLVMValueRef columns) {
  const mvs_matmul_shape *s = g->shape;
  LLVMValueRef c = mvs_emit_add(g->e, mvs_emit_times(g->e, g->first_row, s->n), from);
  mvs_dots_call call = {
      .a_type = s->a,
      .b_type = s->b,
      .c_type = s->c,
      .a = offset(g, s->a, g->a, mvs_emit_mul(g->e, g->first_row, g->k)),
      .b = offset(g, s->b, g->b, mvs_emit_mul(g->e, from, g->k)),
      .k = g->k,
      .rows = g->rows,
      .columns = columns,
      .c = offset(g, s->c, g->c, c),
      .c_stride = mvs_emit_i64(g->e, s->n),
      .bias = g->bias ? offset(g, s->c, g->bias, from) : LLVMConstNull(g->e->ptr),
      .pairs = g->way == PAIRS};
  int64_t most = s->m.per_batch ? swapped_rows(g) : s->m.size;
  if (as_dots) {
    mvs_dots(g->e, &call);
  } else {
    mvs_swapped(g->e, &call, room(g, mvs_swapped_scratch(most, s->k.size)));
  }
}

/* Units that have all rows, where those are at most `most` and `done` is not set yet; sets
 * it. */
static void units_of_few(gemm *g, int64_t most, bool as_dots, LLVMValueRef done) {
  mvs_emit *e = g->e;
  if (g->shape->m.size > most) return;
  LLVMValueRef few = mvs_emit_less(e, g->m, mvs_emit_i64(e, most + 1));
  LLVMValueRef open = LLVMBuildNot(e->builder, mvs_emit_get(e, done), "");
  mvs_branch now = mvs_emit_if(e, LLVMBuildAnd(e->builder, few, open, ""));
  LLVMValueRef from = mvs_emit_times(e, g->entry.begin, g->column_chunk);
  LLVMValueRef to = mvs_emit_times(e, g->entry.end, g->column_chunk);
  to = mvs_emit_smaller(e, to, mvs_emit_i64(e, g->shape->n));
  few_rows(g, as_dots, from, sub(g, to, from));
  mvs_emit_set(e, done, mvs_emit_int(e->i1, 1));
  mvs_emit_if_end(e, &now);
}

/* A call's units, by the form that the number of rows asks for. */
static void units_of_call(gemm *g) {
  mvs_emit *e = g->e;
  mvs_dim m = g->shape->m;
  g->rows = mvs_emit_rows_left(e, &g->entry, g->m, &g->first_row);
  LLVMValueRef done = mvs_emit_variable(e, e->i1);
  mvs_emit_set(e, done, mvs_emit_int(e->i1, 0));
  units_of_few(g, dot_rows(g), true, done);
  if (m.per_batch || m.size > dot_rows(g)) units_of_few(g, swapped_rows(g), false, done);
  if (!m.per_batch && (m.size <= dot_rows(g) || m.size <= swapped_rows(g))) return;
  mvs_branch many = mvs_emit_if(e, LLVMBuildNot(e->builder, mvs_emit_get(e, done), ""));
  blocks_of_call(g);
  mvs_emit_if_end(e, &many);
}

/* --- division and stages --- */

/* Units of the expected batch. */
static int64_t count_units(const gemm *g) {
  return ceil_div(expected(g->shape->m), g->row_chunk) * ceil_div(g->shape->n, g->column_chunk);
}

/* Halves a chunk down to `least` while there are fewer than `wanted` units. */
static void halve(const gemm *g, int64_t *chunk, int64_t least, int64_t wanted) {
  while (count_units(g) < wanted && *chunk > least) *chunk /= 2;
}

/* The highest and widest units of which there are still LEAST_UNITS: first lower, then
 * narrower. */
static void choose_chunks(gemm *g) {
  /* Rows of TN lie side by side in A: whole cache lines. */
  int64_t least_rows = is_tn(g) || in_tiles(g) ? 2 * MVS_LANES : 2 * MVS_TILE_ROWS;
  g->row_chunk = in_tiles(g) ? TILES_ROW_CHUNK : ROW_CHUNK;
  g->column_chunk = reads_a(g) ? MVS_PANEL : g->way == SPLIT ? SPLIT_COLUMNS : COPIED_COLUMNS;
  int64_t most = g->way == SPLIT ? SPLIT_COLUMN_CHUNK
                 : in_tiles(g)   ? TILES_COLUMN_CHUNK
                                 : COLUMN_CHUNK;
  int64_t all = round_up(g->shape->n, MVS_PANEL);
  g->most_columns = all < most ? all : most;
  if (g->way == SPLIT) {
    halve(g, &g->row_chunk, SPLIT_ROWS, LEAST_UNITS);
    halve(g, &g->row_chunk, TWO_TILES, LEAST_UNITS / 2);
    halve(g, &g->column_chunk, MVS_PANEL, LEAST_UNITS / 2);
    return;
  }
  if (count_units(g) < LEAST_UNITS) g->row_chunk = least_rows;
  halve(g, &g->column_chunk, MVS_PANEL, LEAST_UNITS);
}

/* Stage 1 as a function of its own: the next stage starts only when all panels are packed. */
static void print_pack(gemm *g, const char *symbol) {
  g->division =
      (mvs_division){{g->shape->n, false}, g->shape->k, MVS_PANEL, K_CHUNK * per_step(g)};
  open_kernel(g, symbol);
  LLVMValueRef end = g->entry.end;
  if (may_be_low(g)) end = mvs_emit_select(g->e, is_low(g), g->entry.begin, end);
  mvs_loop units = mvs_emit_loop(g->e, g->entry.begin, end, 1);
  pack_unit(g, units.index);
  mvs_emit_loop_end(g->e, &units);
  LLVMBuildRetVoid(g->e->builder);
}

/* Stage 2. */
static void print_blocks(gemm *g, const char *symbol) {
  g->division =
      (mvs_division){g->shape->m, {g->shape->n, false}, g->row_chunk, g->column_chunk};
  open_kernel(g, symbol);
  units_of_call(g);
  LLVMBuildRetVoid(g->e->builder);
}

/* The workspace is sized for whole panels, so that tiles may read full vectors at the edge. */
static void size_workspace(const gemm *g, mvs_printed *out) {
  mvs_dim steps = panel_steps(g);
  int64_t step_bytes = round_up(g->shape->n, MVS_PANEL) * 4 * parts(g);
  out->workspace_fixed = step_bytes * MVS_LANES;
  *(steps.per_batch ? &out->workspace_per_batch : &out->workspace_fixed) +=
      step_bytes * steps.size;
}

mvs_status mvs_host_print_matmul(mvs_emit *e, const mvs_kernel *kernel, mvs_printed *out) {
  gemm g = {.e = e, .shape = &kernel->matmul, .way = way_of(e, &kernel->matmul)};
  if (is_tn(&g) && g.shape->bias) {
    e->error = "a matmul that contracts the leading axes takes no bias";
    return MVS_ERR_INTERNAL;
  }
  choose_chunks(&g);
  if (packs_ahead(&g)) {
    size_workspace(&g, out);
    const char *pack = mvs_arena_format(e->arena, "%s_pack", kernel->name);
    print_pack(&g, pack);
    mvs_printed_add(e->arena, out, pack, g.division);
  }
  const char *blocks = mvs_arena_format(e->arena, "%s_blocks", kernel->name);
  print_blocks(&g, blocks);
  out->scratch = g.scratch;
  mvs_printed_add(e->arena, out, blocks, g.division);
  return e->error ? MVS_ERR_INTERNAL : MVS_OK;
}
