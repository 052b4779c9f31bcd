/* pack_pairs.c: bf16 matrices into the forms that products of pairs read (AVX-512 with bf16,
 * AMX).
 *
 * Two elements that follow one another in k become one place of 32 bits. Where k lies along a
 * row they are neighbours already and whole places are moved; where it lies across rows, two
 * rows are interleaved. Blocks of 16 x 16 places go through registers, so that memory is
 * touched in whole rows on both sides. Only blocks at an edge mask their loads: a mask costs
 * nothing to use, but more than a block's shuffles to make for each of its rows. */
#include "codegen/host/pack.h"
#include "codegen/host/tile.h"

enum { SOURCE, SOURCE_STRIDE, ROWS, COLUMNS, TARGET, TARGET_STRIDE, TARGET_PANEL, PARAMETERS };

/* Rows that are interleaved at a time. */
#define INTERLEAVED 8

typedef struct pairs pairs;
typedef void body(pairs *p);

struct pairs {
  mvs_emit *e;
  body *write;
  bool whole; /* the block being written lies inside the source */
  LLVMValueRef parameters[PARAMETERS];
};

static void write_pairs(void *self, LLVMValueRef *parameters) {
  pairs *p = self;
  memcpy(p->parameters, parameters, sizeof p->parameters);
  p->write(p);
}

/* Calls the shared function of that name. */
static void call(mvs_emit *e, const char *name, body *write, const mvs_pack_call *c) {
  pairs p = {.e = e, .write = write};
  LLVMTypeRef types[PARAMETERS] = {e->ptr, e->i64, e->i64, e->i64, e->ptr, e->i64, e->i64};
  LLVMTypeRef type = mvs_emit_signature(e, types, PARAMETERS);
  LLVMValueRef function = mvs_emit_shared(e, name, type, write_pairs, &p);
  LLVMValueRef arguments[PARAMETERS] = {
      c->source,
      c->source_stride,
      c->rows,
      c->columns,
      c->target,
      c->target_stride,
      c->target_panel ? c->target_panel : mvs_emit_i64(e, MVS_PANEL)};
  mvs_emit_call(e, function, arguments, PARAMETERS);
}

/* index + a constant. */
static LLVMValueRef plus(pairs *p, LLVMValueRef index, int64_t more) {
  return mvs_emit_add(p->e, index, mvs_emit_i64(p->e, more));
}

/* The address of source[row][column]. */
static LLVMValueRef source_at(pairs *p, LLVMValueRef row, LLVMValueRef column) {
  LLVMValueRef at = mvs_emit_mul(p->e, row, p->parameters[SOURCE_STRIDE]);
  return mvs_emit_at(p->e, p->e->i16, p->parameters[SOURCE], mvs_emit_add(p->e, at, column));
}

/* Writes 16 places from target[row][column] on. */
static void put(pairs *p, LLVMValueRef row, LLVMValueRef column, LLVMValueRef places) {
  LLVMValueRef at = mvs_emit_mul(p->e, row, p->parameters[TARGET_STRIDE]);
  LLVMValueRef to =
      mvs_emit_at(p->e, p->e->i32, p->parameters[TARGET], mvs_emit_add(p->e, at, column));
  mvs_emit_store(p->e, MVS_I32, to, places, NULL, false);
}

/* The columns that a row has: none behind the last row. */
static LLVMValueRef columns_of(pairs *p, LLVMValueRef row) {
  LLVMValueRef there = mvs_emit_less(p->e, row, p->parameters[ROWS]);
  return mvs_emit_select(p->e, there, p->parameters[COLUMNS], mvs_emit_i64(p->e, 0));
}

/* `count` elements of a row from `column` on, zeros where there are none. */
static LLVMValueRef load(pairs *p, LLVMValueRef row, LLVMValueRef column, unsigned count) {
  mvs_emit *e = p->e;
  LLVMValueRef lanes[2 * MVS_LANES];
  for (unsigned i = 0; i < count; ++i) lanes[i] = mvs_emit_i64(e, i);
  LLVMTypeRef type = LLVMVectorType(e->i16, count), wide = LLVMVectorType(e->i64, count);
  if (p->whole) {
    LLVMValueRef value = LLVMBuildLoad2(e->builder, type, source_at(p, row, column), "");
    LLVMSetAlignment(value, 2);
    return value;
  }
  LLVMValueRef left = LLVMBuildNSWSub(e->builder, columns_of(p, row), column, "");
  LLVMValueRef first = LLVMBuildInsertElement(e->builder, LLVMGetPoison(wide), left,
                                              mvs_emit_int(e->i32, 0), "");
  LLVMValueRef zeros = LLVMConstNull(LLVMVectorType(e->i32, count));
  LLVMValueRef all = LLVMBuildShuffleVector(e->builder, first, LLVMGetPoison(wide), zeros, "");
  LLVMValueRef mask =
      LLVMBuildICmp(e->builder, LLVMIntSLT, LLVMConstVector(lanes, count), all, "");
  LLVMValueRef arguments[4] = {source_at(p, row, column), mvs_emit_int(e->i32, 2), mask,
                               LLVMConstNull(type)};
  return mvs_emit_intrinsic2(e, "llvm.masked.load", type, e->ptr, arguments, 4);
}

/* 16 places along a row, from place `place` on. */
static LLVMValueRef along(pairs *p, LLVMValueRef row, LLVMValueRef place) {
  LLVMValueRef halves = load(p, row, mvs_emit_times(p->e, place, 2), 2 * MVS_LANES);
  return LLVMBuildBitCast(p->e->builder, halves, mvs_emit_vector(p->e->i32), "");
}

/* 16 places across rows 2 `place` and the next, from `column` on. */
static LLVMValueRef across(pairs *p, LLVMValueRef place, LLVMValueRef column) {
  mvs_emit *e = p->e;
  LLVMValueRef order[2 * MVS_LANES], row = mvs_emit_times(e, place, 2);
  for (int i = 0; i < 2 * MVS_LANES; ++i)
    order[i] = mvs_emit_int(e->i32, i / 2 + i % 2 * MVS_LANES);
  LLVMValueRef low = load(p, row, column, MVS_LANES);
  LLVMValueRef high = load(p, plus(p, row, 1), column, MVS_LANES);
  LLVMValueRef both =
      LLVMBuildShuffleVector(e->builder, low, high, LLVMConstVector(order, 2 * MVS_LANES), "");
  return LLVMBuildBitCast(e->builder, both, mvs_emit_vector(e->i32), "");
}

typedef void block_form(pairs *p, LLVMValueRef row, LLVMValueRef column);

/* Covers rows up to `end` of the source with blocks of that many elements. The code of one
 * stands here twice, as in pack.c: inside of the source, and at its edges. */
static void each_block(pairs *p, LLVMValueRef end, int64_t height, int64_t width,
                       block_form *block) {
  mvs_emit *e = p->e;
  mvs_loop rows = mvs_emit_loop(e, mvs_emit_i64(e, 0), end, height);
  mvs_loop columns = mvs_emit_loop(e, mvs_emit_i64(e, 0), p->parameters[COLUMNS], width);
  LLVMValueRef last_row = plus(p, rows.index, height - 1);
  LLVMValueRef last_column = plus(p, columns.index, width - 1);
  LLVMValueRef whole = LLVMBuildAnd(e->builder, mvs_emit_less(e, last_row, p->parameters[ROWS]),
                                    mvs_emit_less(e, last_column, p->parameters[COLUMNS]), "");
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

/* The place that holds an element of even index. */
static LLVMValueRef place_of(pairs *p, LLVMValueRef element) {
  return mvs_emit_ceil_div(p->e, element, 2);
}

/* Rows stay rows. */
static void copy_block(pairs *p, LLVMValueRef row, LLVMValueRef column) {
  LLVMValueRef place = place_of(p, column);
  put(p, row, place, along(p, row, place));
}

/* 16 rows become 16 columns. */
static void transpose_block(pairs *p, LLVMValueRef row, LLVMValueRef column) {
  LLVMValueRef v[MVS_LANES], place = place_of(p, column);
  for (int i = 0; i < MVS_LANES; ++i) v[i] = along(p, plus(p, row, i), place);
  mvs_transpose_vectors(p->e, v);
  for (int i = 0; i < MVS_LANES; ++i) put(p, plus(p, place, i), row, v[i]);
}

/* 8 rows become 4 rows of places, 32 columns at once: whole lines of the source, and few of
 * them, since those of long rows fall on few sets of the cache. */
static void interleave_block(pairs *p, LLVMValueRef row, LLVMValueRef column) {
  mvs_emit *e = p->e;
  LLVMValueRef place = place_of(p, row), half = plus(p, column, MVS_LANES);
  LLVMValueRef panel = LLVMBuildUDiv(e->builder, column, mvs_emit_i64(e, MVS_PANEL), "");
  LLVMValueRef at = mvs_emit_mul(e, panel, p->parameters[TARGET_PANEL]);
  for (int i = 0; i < INTERLEAVED / 2; ++i) {
    LLVMValueRef line = plus(p, place, i);
    put(p, line, at, across(p, line, column));
    put(p, line, plus(p, at, MVS_LANES), across(p, line, half));
  }
}

/* 32 rows become 16 columns of places. */
static void turn_block(pairs *p, LLVMValueRef row, LLVMValueRef column) {
  LLVMValueRef v[MVS_LANES], place = place_of(p, row);
  for (int i = 0; i < MVS_LANES; ++i) v[i] = across(p, plus(p, place, i), column);
  mvs_transpose_vectors(p->e, v);
  for (int i = 0; i < MVS_LANES; ++i) put(p, plus(p, column, i), place, v[i]);
}

static void write_copy(pairs *p) {
  each_block(p, p->parameters[ROWS], 1, 2 * MVS_LANES, copy_block);
}

static void write_transpose(pairs *p) {
  each_block(p, p->parameters[ROWS], MVS_LANES, 2 * MVS_LANES, transpose_block);
}

/* Blocks are lower than what is filled with zeros. */
static void write_interleave(pairs *p) {
  LLVMValueRef blocks = mvs_emit_ceil_div(p->e, p->parameters[ROWS], 2 * MVS_LANES);
  LLVMValueRef end = mvs_emit_times(p->e, blocks, 2 * MVS_LANES);
  each_block(p, end, INTERLEAVED, MVS_PANEL, interleave_block);
}

static void write_turn(pairs *p) {
  each_block(p, p->parameters[ROWS], 2 * MVS_LANES, MVS_LANES, turn_block);
}

void mvs_pairs_copy(mvs_emit *e, const mvs_pack_call *c) {
  call(e, "pairs_copy", write_copy, c);
}

void mvs_pairs_transpose(mvs_emit *e, const mvs_pack_call *c) {
  call(e, "pairs_transpose", write_transpose, c);
}

void mvs_pairs_interleave(mvs_emit *e, const mvs_pack_call *c) {
  call(e, "pairs_interleave", write_interleave, c);
}

void mvs_pairs_turn(mvs_emit *e, const mvs_pack_call *c) {
  call(e, "pairs_turn", write_turn, c);
}
