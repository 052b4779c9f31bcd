/* pack.c: copies and transpositions in blocks of 16 by 16.
 *
 * A copy widens rows to f32 and fills the last vector with zeros; `round` is the way back
 * and writes only what exists. A transposition moves 16 x 16 elements through registers:
 * four rounds of shuffles at distances 8, 4, 2, 1 exchange what lies off the diagonal, so
 * memory is touched in whole rows on both sides. Values are only moved, converted or scaled
 * by one factor: nothing here adds. */
#include "codegen/host/pack.h"

enum { SOURCE, SOURCE_STRIDE, ROWS, COLUMNS, TARGET, TARGET_STRIDE, SCALE, PARAMETERS };

typedef struct pack pack;
typedef void pack_body(pack *p);

struct pack {
  mvs_emit *e;
  mvs_dtype from, to;
  bool exact; /* writes no padding */
  pack_body *write;
  LLVMValueRef parameters[PARAMETERS];
};

static void write_pack(void *self, LLVMValueRef *parameters) {
  pack *p = self;
  memcpy(p->parameters, parameters, sizeof p->parameters);
  p->write(p);
}

/* Calls the shared function of that name and pair of dtypes. It takes every field as a number;
 * an absent scale is 1. */
static void call(pack *p, const char *what, const mvs_pack_call *c) {
  mvs_emit *e = p->e;
  LLVMTypeRef types[PARAMETERS] = {e->ptr, e->i64, e->i64, e->i64, e->ptr, e->i64, e->f32};
  LLVMTypeRef type = mvs_emit_signature(e, types, PARAMETERS);
  const char *name = mvs_arena_format(e->arena, "%s_%s_%s", what, mvs_dtype_name(p->from),
                                      mvs_dtype_name(p->to));
  LLVMValueRef function = mvs_emit_shared(e, name, type, write_pack, p);
  LLVMValueRef arguments[PARAMETERS] = {c->source,
                                        c->source_stride,
                                        c->rows,
                                        c->columns,
                                        c->target,
                                        c->target_stride,
                                        c->scale ? c->scale : mvs_emit_real(e->f32, 1)};
  mvs_emit_call(e, function, arguments, PARAMETERS);
}

/* The address of element [row][column] of a matrix. */
static LLVMValueRef element(pack *p, int matrix, mvs_dtype dtype, LLVMValueRef row,
                            LLVMValueRef column) {
  mvs_emit *e = p->e;
  LLVMTypeRef type = mvs_emit_storage(e, dtype);
  LLVMValueRef line = mvs_emit_at(e, type, p->parameters[matrix],
                                  mvs_emit_mul(e, row, p->parameters[matrix + 1]));
  return mvs_emit_at(e, type, line, column);
}

/* --- copy --- */

/* Padding is written (as zeros) unless the copy must be exact. */
static void copy_vector(pack *p, LLVMValueRef row, LLVMValueRef column, LLVMValueRef mask) {
  mvs_emit *e = p->e;
  LLVMValueRef from = element(p, SOURCE, p->from, row, column);
  LLVMValueRef to = element(p, TARGET, p->to, row, column);
  LLVMValueRef value = mvs_emit_load_vector(e, p->from, from, mask);
  mvs_emit_store(e, p->to, to, value, p->exact ? mask : NULL, false);
}

/* Row by row: whole vectors, then one masked rest. */
static void copy_rows(pack *p) {
  mvs_emit *e = p->e;
  LLVMValueRef columns = p->parameters[COLUMNS];
  LLVMValueRef whole = LLVMBuildAnd(e->builder, columns, mvs_emit_i64(e, -MVS_LANES), "");
  LLVMValueRef mask = mvs_emit_mask(e, whole, columns);
  LLVMValueRef edge = mvs_emit_less(e, whole, columns);
  mvs_loop rows = mvs_emit_loop(e, mvs_emit_i64(e, 0), p->parameters[ROWS], 1);
  mvs_loop loop = mvs_emit_loop(e, mvs_emit_i64(e, 0), whole, MVS_LANES);
  copy_vector(p, rows.index, loop.index, NULL);
  mvs_emit_loop_end(e, &loop);
  mvs_branch rest = mvs_emit_if(e, edge);
  copy_vector(p, rows.index, whole, mask);
  mvs_emit_if_end(e, &rest);
  mvs_emit_loop_end(e, &rows);
}

void mvs_pack_copy(mvs_emit *e, const mvs_pack_call *c) {
  pack p = {.e = e, .from = c->type, .to = MVS_F32, .write = copy_rows};
  call(&p, "copy", c);
}

void mvs_pack_round(mvs_emit *e, const mvs_pack_call *c) {
  pack p = {.e = e, .from = MVS_F32, .to = c->type, .exact = true, .write = copy_rows};
  call(&p, "round", c);
}

/* --- transpose --- */

/* One of the two vectors that result when lanes with bit `distance` change sides. */
static LLVMValueRef exchange(mvs_emit *e, LLVMValueRef a, LLVMValueRef b, int distance,
                             bool second) {
  LLVMValueRef order[MVS_LANES];
  for (int lane = 0; lane < MVS_LANES; ++lane) {
    bool from_b = lane & distance;
    int source = second ? lane | distance : lane & ~distance;
    order[lane] = mvs_emit_int(e->i32, source + (from_b ? MVS_LANES : 0));
  }
  return LLVMBuildShuffleVector(e->builder, a, b, LLVMConstVector(order, MVS_LANES), "");
}

/* Halves change sides at distances 8, 4, 2, 1. */
void mvs_transpose_vectors(mvs_emit *e, LLVMValueRef *v) {
  for (int distance = MVS_LANES / 2; distance > 0; distance /= 2) {
    for (int i = 0; i < MVS_LANES; ++i) {
      if (i & distance) continue;
      LLVMValueRef a = v[i], b = v[i + distance];
      v[i] = exchange(e, a, b, distance, false);
      v[i + distance] = exchange(e, a, b, distance, true);
    }
  }
}

/* index + a constant. */
static LLVMValueRef plus(pack *p, LLVMValueRef index, int more) {
  return mvs_emit_add(p->e, index, mvs_emit_i64(p->e, more));
}

/* Row i of a block: masked by columns, and off altogether below the last row. */
static LLVMValueRef row_mask(pack *p, LLVMValueRef row, LLVMValueRef rows, LLVMValueRef column,
                             LLVMValueRef columns) {
  mvs_emit *e = p->e;
  LLVMValueRef end = mvs_emit_select(e, mvs_emit_less(e, row, rows), columns, column);
  return mvs_emit_mask(e, column, end);
}

/* 16 rows of 16; what lies outside the matrix becomes zero. */
static void load_block(pack *p, LLVMValueRef row, LLVMValueRef column, bool whole,
                       LLVMValueRef *v) {
  mvs_emit *e = p->e;
  for (int i = 0; i < MVS_LANES; ++i) {
    LLVMValueRef line = plus(p, row, i);
    LLVMValueRef mask =
        whole ? NULL : row_mask(p, line, p->parameters[ROWS], column, p->parameters[COLUMNS]);
    v[i] = mvs_emit_load_vector(e, p->from, element(p, SOURCE, p->from, line, column), mask);
  }
}

/* 16 columns as rows of the target, which has room for whole blocks. */
static void store_block(pack *p, LLVMValueRef row, LLVMValueRef column, LLVMValueRef *v) {
  for (int i = 0; i < MVS_LANES; ++i) {
    LLVMValueRef line = plus(p, column, i);
    mvs_emit_store(p->e, p->to, element(p, TARGET, p->to, line, row), v[i], NULL, false);
  }
}

/* One block, with masks only where it may reach over an edge. */
static void transpose_block(pack *p, LLVMValueRef row, LLVMValueRef column, bool whole) {
  mvs_emit *e = p->e;
  LLVMValueRef v[MVS_LANES], scale = mvs_emit_splat(e, p->parameters[SCALE]);
  load_block(p, row, column, whole, v);
  for (int i = 0; i < MVS_LANES; ++i) v[i] = LLVMBuildFMul(e->builder, v[i], scale, "");
  mvs_transpose_vectors(e, v);
  store_block(p, row, column, v);
}

/* Block by block; the code of one stands here twice, for whole blocks and for those at the
 * edge. */
static void transpose(pack *p) {
  mvs_emit *e = p->e;
  LLVMValueRef zero = mvs_emit_i64(e, 0);
  mvs_loop rows = mvs_emit_loop(e, zero, p->parameters[ROWS], MVS_LANES);
  mvs_loop columns = mvs_emit_loop(e, zero, p->parameters[COLUMNS], MVS_LANES);
  LLVMValueRef last_row = plus(p, rows.index, MVS_LANES - 1);
  LLVMValueRef last_column = plus(p, columns.index, MVS_LANES - 1);
  LLVMValueRef whole = LLVMBuildAnd(e->builder, mvs_emit_less(e, last_row, p->parameters[ROWS]),
                                    mvs_emit_less(e, last_column, p->parameters[COLUMNS]), "");
  mvs_branch inside = mvs_emit_if(e, whole);
  transpose_block(p, rows.index, columns.index, true);
  mvs_emit_if_end(e, &inside);
  mvs_branch edge = mvs_emit_if(e, LLVMBuildNot(e->builder, whole, ""));
  transpose_block(p, rows.index, columns.index, false);
  mvs_emit_if_end(e, &edge);
  mvs_emit_loop_end(e, &columns);
  mvs_emit_loop_end(e, &rows);
}

void mvs_pack_transpose(mvs_emit *e, const mvs_pack_call *c) {
  pack p = {.e = e, .from = c->type, .to = MVS_F32, .write = transpose};
  call(&p, "transpose", c);
}
