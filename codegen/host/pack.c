/* pack.c: copies and transpositions in blocks of 16 by 16.
 *
 * A copy widens rows to f32 and fills the last vector with zeros; `round` is the way back
 * and writes only what exists. A transposition moves 16 x 16 elements through registers:
 * four rounds of shuffles at distances 8, 4, 2, 1 exchange what lies off the diagonal, so
 * memory is touched in whole rows on both sides. Values are only moved, converted or scaled
 * by one factor: nothing here adds. */
#include "codegen/host/pack_body.h"
#include "codegen/host/tile.h"

enum {
  SOURCE,
  SOURCE_STRIDE,
  ROWS,
  COLUMNS,
  TARGET,
  TARGET_STRIDE,
  TARGET_PANEL,
  SCALE,
  PARAMETERS
};

static void write_body(void *self, LLVMValueRef *parameters) {
  mvs_packer *p = self;
  p->given = (mvs_pack_call){.source = parameters[SOURCE],
                             .source_stride = parameters[SOURCE_STRIDE],
                             .rows = parameters[ROWS],
                             .columns = parameters[COLUMNS],
                             .target = parameters[TARGET],
                             .target_stride = parameters[TARGET_STRIDE],
                             .target_panel = parameters[TARGET_PANEL],
                             .scale = parameters[SCALE]};
  p->write(p);
}

void mvs_packer_call(mvs_packer *p, const char *name, const mvs_pack_call *c) {
  mvs_emit *e = p->e;
  LLVMTypeRef types[PARAMETERS];
  for (int i = 0; i < PARAMETERS; ++i) types[i] = e->i64;
  types[SOURCE] = types[TARGET] = e->ptr;
  types[SCALE] = e->f32;
  LLVMTypeRef type = mvs_emit_signature(e, types, PARAMETERS);
  name = mvs_arena_format(e->arena, "%s_%s_%s", name, mvs_dtype_name(p->from),
                          mvs_dtype_name(p->to));
  LLVMValueRef function = mvs_emit_shared(e, name, type, write_body, p);
  LLVMValueRef arguments[PARAMETERS] = {
      [SOURCE] = c->source,
      [SOURCE_STRIDE] = c->source_stride,
      [ROWS] = c->rows,
      [COLUMNS] = c->columns,
      [TARGET] = c->target,
      [TARGET_STRIDE] = c->target_stride,
      [TARGET_PANEL] = c->target_panel ? c->target_panel : mvs_emit_i64(e, MVS_PANEL),
      [SCALE] = c->scale ? c->scale : mvs_emit_real(e->f32, 1)};
  mvs_emit_call(e, function, arguments, PARAMETERS);
}

LLVMValueRef mvs_packer_plus(mvs_packer *p, LLVMValueRef index, int64_t more) {
  return mvs_emit_add(p->e, index, mvs_emit_i64(p->e, more));
}

/* The address of element [row][column] of a matrix. */
static LLVMValueRef element(mvs_packer *p, mvs_dtype dtype, LLVMValueRef base,
                            LLVMValueRef stride, LLVMValueRef row, LLVMValueRef column) {
  mvs_emit *e = p->e;
  LLVMValueRef at = mvs_emit_add(e, mvs_emit_mul(e, row, stride), column);
  return mvs_emit_at(e, mvs_emit_storage(e, dtype), base, at);
}

LLVMValueRef mvs_packer_source(mvs_packer *p, LLVMValueRef row, LLVMValueRef column) {
  return element(p, p->from, p->given.source, p->given.source_stride, row, column);
}

LLVMValueRef mvs_packer_target(mvs_packer *p, LLVMValueRef row, LLVMValueRef column) {
  return element(p, p->to, p->given.target, p->given.target_stride, row, column);
}

void mvs_packer_blocks(mvs_packer *p, LLVMValueRef end, int64_t height, int64_t width,
                       mvs_pack_block *block) {
  mvs_emit *e = p->e;
  mvs_loop rows = mvs_emit_loop(e, mvs_emit_i64(e, 0), end, height);
  mvs_loop columns = mvs_emit_loop(e, mvs_emit_i64(e, 0), p->given.columns, width);
  LLVMValueRef last_row = mvs_packer_plus(p, rows.index, height - 1);
  LLVMValueRef last_column = mvs_packer_plus(p, columns.index, width - 1);
  LLVMValueRef whole = LLVMBuildAnd(e->builder, mvs_emit_less(e, last_row, p->given.rows),
                                    mvs_emit_less(e, last_column, p->given.columns), "");
  p->whole = true;
  mvs_branch inside = mvs_emit_if(e, whole);
  block(p, rows.index, columns.index);
  mvs_emit_if_end(e, &inside);
  p->whole = false;
  mvs_branch edge = mvs_emit_if(e, LLVMBuildNot(e->builder, whole, ""));
  block(p, rows.index, columns.index);
  mvs_emit_if_end(e, &edge);
  mvs_emit_loop_end(e, &columns);
  mvs_emit_loop_end(e, &rows);
}

/* --- copy --- */

/* Padding is written (as zeros) unless the copy must be exact. */
static void copy_vector(mvs_packer *p, LLVMValueRef row, LLVMValueRef column,
                        LLVMValueRef mask) {
  mvs_emit *e = p->e;
  LLVMValueRef from = mvs_packer_source(p, row, column);
  LLVMValueRef to = mvs_packer_target(p, row, column);
  LLVMValueRef value = mvs_emit_load_vector(e, p->from, from, mask);
  mvs_emit_store(e, p->to, to, value, p->exact ? mask : NULL, false);
}

/* Row by row: whole vectors, then one masked rest. */
static void copy_rows(mvs_packer *p) {
  mvs_emit *e = p->e;
  LLVMValueRef columns = p->given.columns;
  LLVMValueRef whole = LLVMBuildAnd(e->builder, columns, mvs_emit_i64(e, -MVS_LANES), "");
  LLVMValueRef mask = mvs_emit_mask(e, whole, columns);
  LLVMValueRef edge = mvs_emit_less(e, whole, columns);
  mvs_loop rows = mvs_emit_loop(e, mvs_emit_i64(e, 0), p->given.rows, 1);
  mvs_loop loop = mvs_emit_loop(e, mvs_emit_i64(e, 0), whole, MVS_LANES);
  copy_vector(p, rows.index, loop.index, NULL);
  mvs_emit_loop_end(e, &loop);
  mvs_branch rest = mvs_emit_if(e, edge);
  copy_vector(p, rows.index, whole, mask);
  mvs_emit_if_end(e, &rest);
  mvs_emit_loop_end(e, &rows);
}

void mvs_pack_copy(mvs_emit *e, const mvs_pack_call *c) {
  mvs_packer p = {.e = e, .from = c->type, .to = MVS_F32, .write = copy_rows};
  mvs_packer_call(&p, "copy", c);
}

void mvs_pack_round(mvs_emit *e, const mvs_pack_call *c) {
  mvs_packer p = {.e = e, .from = MVS_F32, .to = c->type, .exact = true, .write = copy_rows};
  mvs_packer_call(&p, "round", c);
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

/* Row i of a block: masked by columns, and off altogether below the last row. */
static LLVMValueRef row_mask(mvs_packer *p, LLVMValueRef row, LLVMValueRef rows,
                             LLVMValueRef column, LLVMValueRef columns) {
  mvs_emit *e = p->e;
  LLVMValueRef end = mvs_emit_select(e, mvs_emit_less(e, row, rows), columns, column);
  return mvs_emit_mask(e, column, end);
}

/* 16 rows of 16; what lies outside the matrix becomes zero. */
static void load_block(mvs_packer *p, LLVMValueRef row, LLVMValueRef column, LLVMValueRef *v) {
  mvs_emit *e = p->e;
  for (int i = 0; i < MVS_LANES; ++i) {
    LLVMValueRef line = mvs_packer_plus(p, row, i);
    LLVMValueRef mask =
        p->whole ? NULL : row_mask(p, line, p->given.rows, column, p->given.columns);
    v[i] = mvs_emit_load_vector(e, p->from, mvs_packer_source(p, line, column), mask);
  }
}

/* 16 columns as rows of the target, which has room for whole blocks. */
static void store_block(mvs_packer *p, LLVMValueRef row, LLVMValueRef column, LLVMValueRef *v) {
  for (int i = 0; i < MVS_LANES; ++i) {
    LLVMValueRef line = mvs_packer_plus(p, column, i);
    mvs_emit_store(p->e, p->to, mvs_packer_target(p, line, row), v[i], NULL, false);
  }
}

static void transpose_block(mvs_packer *p, LLVMValueRef row, LLVMValueRef column) {
  mvs_emit *e = p->e;
  LLVMValueRef v[MVS_LANES], scale = mvs_emit_splat(e, p->given.scale);
  load_block(p, row, column, v);
  for (int i = 0; i < MVS_LANES; ++i) v[i] = LLVMBuildFMul(e->builder, v[i], scale, "");
  mvs_transpose_vectors(e, v);
  store_block(p, row, column, v);
}

static void transpose(mvs_packer *p) {
  mvs_packer_blocks(p, p->given.rows, MVS_LANES, MVS_LANES, transpose_block);
}

void mvs_pack_transpose(mvs_emit *e, const mvs_pack_call *c) {
  mvs_packer p = {.e = e, .from = c->type, .to = MVS_F32, .write = transpose};
  mvs_packer_call(&p, "transpose", c);
}
