/* swapped.c: A becomes panels of 32 rows, once a call; then every 128 rows of B, as they lie,
 * meet each panel. Sums come out as columns of C, and are turned on their way there: k times
 * less work than turning B, which for few rows is more than the products themselves. */
#include "codegen/host/swapped.h"

#include "codegen/host/pack.h"
#include "codegen/host/tile_amx.h"

/* Rows of B at a time: their sums stay in the first cache until they are turned. */
#define B_ROWS 128
/* Floats from one row of sums to the next: not a power of two, lest they share few sets. */
#define STRIDE (MVS_PANEL + MVS_LANES)

/* Bytes of a panel: places of two bf16 by 32 rows of A. */
static int64_t panel_bytes(int64_t k) { return k / 2 * MVS_PANEL * 4; }

int64_t mvs_swapped_scratch(int64_t rows, int64_t k) {
  return (rows + MVS_PANEL - 1) / MVS_PANEL * panel_bytes(k) + B_ROWS * STRIDE * 4;
}

/* --- from sums to C --- */

enum { SUMS, ROWS, COLUMNS, C, C_STRIDE, BIAS, PARAMETERS };

typedef struct turn {
  mvs_emit *e;
  mvs_dtype c_type;
  LLVMValueRef p[PARAMETERS];
} turn;

/* The bias of 16 columns: zeros where there is none, which changes -0 alone. */
static LLVMValueRef bias_of(turn *t, LLVMValueRef column, LLVMValueRef mask) {
  mvs_emit *e = t->e;
  LLVMTypeRef type = mvs_emit_vector(e->f32);
  LLVMValueRef bias = mvs_emit_variable(e, type);
  mvs_emit_set(e, bias, LLVMConstNull(type));
  mvs_branch given = mvs_emit_if(e, LLVMBuildIsNotNull(e->builder, t->p[BIAS], ""));
  LLVMValueRef at = mvs_emit_at(e, mvs_emit_storage(e, t->c_type), t->p[BIAS], column);
  mvs_emit_set(e, bias, mvs_emit_load_vector(e, t->c_type, at, mask));
  mvs_emit_if_end(e, &given);
  return mvs_emit_get(e, bias);
}

/* 16 columns of C of 16 rows, or, where there are not so `many`, of the rest. */
static void turn_block(turn *t, LLVMValueRef row, LLVMValueRef column, bool many) {
  mvs_emit *e = t->e;
  LLVMValueRef v[MVS_LANES], mask = mvs_emit_mask(e, column, t->p[COLUMNS]);
  LLVMValueRef none = LLVMConstNull(LLVMTypeOf(mask)), bias = bias_of(t, column, mask);
  for (int i = 0; i < MVS_LANES; ++i) {
    LLVMValueRef line = mvs_emit_add(e, column, mvs_emit_i64(e, i));
    LLVMValueRef at = mvs_emit_add(e, mvs_emit_times(e, line, STRIDE), row);
    v[i] = mvs_emit_load_vector(e, MVS_F32, mvs_emit_at(e, e->f32, t->p[SUMS], at), NULL);
  }
  mvs_transpose_vectors(e, v);
  for (int i = 0; i < MVS_LANES; ++i) {
    LLVMValueRef line = mvs_emit_add(e, row, mvs_emit_i64(e, i));
    LLVMValueRef there = mvs_emit_less(e, line, t->p[ROWS]);
    LLVMValueRef at = mvs_emit_add(e, mvs_emit_mul(e, line, t->p[C_STRIDE]), column);
    mvs_emit_store(e, t->c_type, mvs_emit_at(e, mvs_emit_storage(e, t->c_type), t->p[C], at),
                   LLVMBuildFAdd(e->builder, v[i], bias, ""),
                   many ? mask : mvs_emit_select(e, there, mask, none), false);
  }
}

/* Rows and columns of C by 16; sums have room for whole blocks. */
static void write_turn(void *self, LLVMValueRef *parameters) {
  turn *t = self;
  mvs_emit *e = t->e;
  memcpy(t->p, parameters, sizeof t->p);
  mvs_loop rows = mvs_emit_loop(e, mvs_emit_i64(e, 0), t->p[ROWS], MVS_LANES);
  LLVMValueRef last = mvs_emit_add(e, rows.index, mvs_emit_i64(e, MVS_LANES - 1));
  LLVMValueRef many = mvs_emit_less(e, last, t->p[ROWS]);
  mvs_loop columns = mvs_emit_loop(e, mvs_emit_i64(e, 0), t->p[COLUMNS], MVS_LANES);
  mvs_branch whole = mvs_emit_if(e, many);
  turn_block(t, rows.index, columns.index, true);
  mvs_emit_if_end(e, &whole);
  mvs_branch rest = mvs_emit_if(e, LLVMBuildNot(e->builder, many, ""));
  turn_block(t, rows.index, columns.index, false);
  mvs_emit_if_end(e, &rest);
  mvs_emit_loop_end(e, &columns);
  mvs_emit_loop_end(e, &rows);
}

/* C[i][j] = sums[j][i] + bias[j]. */
static void turn_sums(mvs_emit *e, mvs_dtype c_type, LLVMValueRef *arguments) {
  turn t = {.e = e, .c_type = c_type};
  LLVMTypeRef types[PARAMETERS] = {e->ptr, e->i64, e->i64, e->ptr, e->i64, e->ptr};
  const char *name = mvs_arena_format(e->arena, "turn_sums_%s", mvs_dtype_name(c_type));
  LLVMTypeRef type = mvs_emit_signature(e, types, PARAMETERS);
  mvs_emit_call(e, mvs_emit_shared(e, name, type, write_turn, &t), arguments, PARAMETERS);
}

/* --- the product --- */

/* What one call works with. */
typedef struct swapped {
  mvs_emit *e;
  const mvs_dots_call *call;
  LLVMValueRef places;                 /* of a row */
  LLVMValueRef sums, finished, panels; /* parts of the scratch */
} swapped;

/* Where the panel of A that starts at a row lies. */
static LLVMValueRef panel_at(const swapped *s, LLVMValueRef row) {
  return mvs_emit_at(s->e, s->e->i32, s->panels, mvs_emit_mul(s->e, row, s->places));
}

/* Rows of A from `row` on, at most a panel's. */
static LLVMValueRef rows_at(const swapped *s, LLVMValueRef row) {
  LLVMValueRef left = LLVMBuildNSWSub(s->e->builder, s->call->rows, row, "");
  return mvs_emit_smaller(s->e, left, mvs_emit_i64(s->e, MVS_PANEL));
}

static void pack_rows(const swapped *s) {
  mvs_emit *e = s->e;
  mvs_loop loop = mvs_emit_loop(e, mvs_emit_i64(e, 0), s->call->rows, MVS_PANEL);
  LLVMValueRef from = mvs_emit_mul(e, loop.index, s->call->k);
  mvs_pack_call pack = {.type = MVS_BF16,
                        .source = mvs_emit_at(e, e->i16, s->call->a, from),
                        .source_stride = s->call->k,
                        .rows = rows_at(s, loop.index),
                        .columns = s->call->k,
                        .target = panel_at(s, loop.index),
                        .target_stride = mvs_emit_i64(e, MVS_PANEL)};
  mvs_pairs_transpose(e, &pack);
  mvs_emit_loop_end(e, &loop);
}

/* Up to B_ROWS columns of C from `column` on, of the rows of one panel. To the tiles it is the
 * first stretch of k and not the last, so that they leave the sums as they are. */
static void product(const swapped *s, LLVMValueRef row, LLVMValueRef column,
                    LLVMValueRef columns) {
  mvs_emit *e = s->e;
  const mvs_dots_call *call = s->call;
  LLVMTypeRef element = mvs_emit_storage(e, call->c_type);
  LLVMValueRef from = mvs_emit_mul(e, column, s->places), none = LLVMConstNull(e->ptr);
  LLVMValueRef rows = rows_at(s, row), zero = mvs_emit_i64(e, 0);
  mvs_amx_call tiles = {.a = mvs_emit_at(e, e->i32, call->b, from),
                        .a_stride = s->places,
                        .b = panel_at(s, row),
                        .places = s->places,
                        .rows = columns,
                        .room = columns,
                        .sums = s->sums,
                        .sums_stride = mvs_emit_i64(e, STRIDE),
                        .in_stretches = true,
                        .first = mvs_emit_int(e->i1, 1),
                        .last = mvs_emit_int(e->i1, 0),
                        .c = none,
                        .c_stride = zero,
                        .width = rows,
                        .bias = none};
  mvs_amx_tile(e, MVS_F32, &tiles);
  LLVMValueRef to = mvs_emit_add(e, mvs_emit_mul(e, row, call->c_stride), column);
  LLVMValueRef bias = mvs_emit_select(e, LLVMBuildIsNotNull(e->builder, call->bias, ""),
                                      mvs_emit_at(e, element, call->bias, column), none);
  LLVMValueRef arguments[PARAMETERS] = {
      s->sums, rows, columns, mvs_emit_at(e, element, call->c, to), call->c_stride, bias};
  turn_sums(e, call->c_type, arguments);
}

void mvs_swapped(mvs_emit *e, const mvs_dots_call *call, LLVMValueRef scratch) {
  LLVMValueRef zero = mvs_emit_i64(e, 0);
  swapped s = {.e = e, .call = call, .places = mvs_emit_ceil_div(e, call->k, 2)};
  s.sums = scratch;
  s.panels = mvs_emit_at(e, e->f32, s.sums, mvs_emit_i64(e, B_ROWS * STRIDE));
  pack_rows(&s);
  mvs_loop columns = mvs_emit_loop(e, zero, call->columns, B_ROWS);
  LLVMValueRef left = LLVMBuildNSWSub(e->builder, call->columns, columns.index, "");
  LLVMValueRef some = mvs_emit_smaller(e, left, mvs_emit_i64(e, B_ROWS));
  mvs_amx_open(e, some);
  mvs_loop rows = mvs_emit_loop(e, zero, call->rows, MVS_PANEL);
  product(&s, rows.index, columns.index, some);
  mvs_emit_loop_end(e, &rows);
  mvs_amx_close(e);
  mvs_emit_loop_end(e, &columns);
}
