/* pack_pairs.c: bf16 matrices into the forms that products of pairs read (AVX-512 with bf16,
 * AMX).
 *
 * Two elements that follow one another in k become one place of 32 bits. Where k lies along a
 * row they are neighbours already and whole places are moved; where it lies across rows, two
 * rows are interleaved. Blocks of 16 x 16 places go through registers, so that memory is
 * touched in whole rows on both sides. Only blocks at an edge mask their loads: a mask costs
 * nothing to use, but more than a block's shuffles to make for each of its rows. */
#include "codegen/host/pack_body.h"
#include "codegen/host/tile.h"

/* Rows that are interleaved at a time. */
#define INTERLEAVED 8

/* Calls the shared function of that name: of bf16, to places of 32 bits. */
static void call(mvs_emit *e, const char *name, mvs_pack_body *write, const mvs_pack_call *c) {
  mvs_packer p = {.e = e, .from = MVS_BF16, .to = MVS_I32, .write = write};
  mvs_packer_call(&p, name, c);
}

/* Writes 16 places from target[row][column] on. */
static void put(mvs_packer *p, LLVMValueRef row, LLVMValueRef column, LLVMValueRef places) {
  mvs_emit_store(p->e, p->to, mvs_packer_target(p, row, column), places, NULL, false);
}

/* The columns that a row has: none behind the last row. */
static LLVMValueRef columns_of(mvs_packer *p, LLVMValueRef row) {
  LLVMValueRef there = mvs_emit_less(p->e, row, p->given.rows);
  return mvs_emit_select(p->e, there, p->given.columns, mvs_emit_i64(p->e, 0));
}

/* `count` elements of a row from `column` on, zeros where there are none. */
static LLVMValueRef load(mvs_packer *p, LLVMValueRef row, LLVMValueRef column, unsigned count) {
  mvs_emit *e = p->e;
  LLVMValueRef lanes[2 * MVS_LANES];
  for (unsigned i = 0; i < count; ++i) lanes[i] = mvs_emit_i64(e, i);
  LLVMTypeRef type = LLVMVectorType(e->i16, count), wide = LLVMVectorType(e->i64, count);
  if (p->whole) {
    LLVMValueRef value =
        LLVMBuildLoad2(e->builder, type, mvs_packer_source(p, row, column), "");
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
  LLVMValueRef arguments[4] = {mvs_packer_source(p, row, column), mvs_emit_int(e->i32, 2), mask,
                               LLVMConstNull(type)};
  return mvs_emit_intrinsic2(e, "llvm.masked.load", type, e->ptr, arguments, 4);
}

/* 16 places along a row, from place `place` on. */
static LLVMValueRef along(mvs_packer *p, LLVMValueRef row, LLVMValueRef place) {
  LLVMValueRef halves = load(p, row, mvs_emit_times(p->e, place, 2), 2 * MVS_LANES);
  return LLVMBuildBitCast(p->e->builder, halves, mvs_emit_vector(p->e->i32), "");
}

/* 16 places across rows 2 `place` and the next, from `column` on. */
static LLVMValueRef across(mvs_packer *p, LLVMValueRef place, LLVMValueRef column) {
  mvs_emit *e = p->e;
  LLVMValueRef order[2 * MVS_LANES], row = mvs_emit_times(e, place, 2);
  for (int i = 0; i < 2 * MVS_LANES; ++i)
    order[i] = mvs_emit_int(e->i32, i / 2 + i % 2 * MVS_LANES);
  LLVMValueRef low = load(p, row, column, MVS_LANES);
  LLVMValueRef high = load(p, mvs_packer_plus(p, row, 1), column, MVS_LANES);
  LLVMValueRef both =
      LLVMBuildShuffleVector(e->builder, low, high, LLVMConstVector(order, 2 * MVS_LANES), "");
  return LLVMBuildBitCast(e->builder, both, mvs_emit_vector(e->i32), "");
}

/* The place that holds an element of even index. */
static LLVMValueRef place_of(mvs_packer *p, LLVMValueRef element) {
  return mvs_emit_ceil_div(p->e, element, 2);
}

/* Rows stay rows. */
static void copy_block(mvs_packer *p, LLVMValueRef row, LLVMValueRef column) {
  LLVMValueRef place = place_of(p, column);
  put(p, row, place, along(p, row, place));
}

/* 16 rows become 16 columns. */
static void transpose_block(mvs_packer *p, LLVMValueRef row, LLVMValueRef column) {
  LLVMValueRef v[MVS_LANES], place = place_of(p, column);
  for (int i = 0; i < MVS_LANES; ++i) v[i] = along(p, mvs_packer_plus(p, row, i), place);
  mvs_transpose_vectors(p->e, v);
  for (int i = 0; i < MVS_LANES; ++i) put(p, mvs_packer_plus(p, place, i), row, v[i]);
}

/* 8 rows become 4 rows of places, 32 columns at once: whole lines of the source, and few of
 * them, since those of long rows fall on few sets of the cache. */
static void interleave_block(mvs_packer *p, LLVMValueRef row, LLVMValueRef column) {
  mvs_emit *e = p->e;
  LLVMValueRef place = place_of(p, row), half = mvs_packer_plus(p, column, MVS_LANES);
  LLVMValueRef panel = LLVMBuildUDiv(e->builder, column, mvs_emit_i64(e, MVS_PANEL), "");
  LLVMValueRef at = mvs_emit_mul(e, panel, p->given.target_panel);
  for (int i = 0; i < INTERLEAVED / 2; ++i) {
    LLVMValueRef line = mvs_packer_plus(p, place, i);
    put(p, line, at, across(p, line, column));
    put(p, line, mvs_packer_plus(p, at, MVS_LANES), across(p, line, half));
  }
}

/* 32 rows become 16 columns of places. */
static void turn_block(mvs_packer *p, LLVMValueRef row, LLVMValueRef column) {
  LLVMValueRef v[MVS_LANES], place = place_of(p, row);
  for (int i = 0; i < MVS_LANES; ++i) v[i] = across(p, mvs_packer_plus(p, place, i), column);
  mvs_transpose_vectors(p->e, v);
  for (int i = 0; i < MVS_LANES; ++i) put(p, mvs_packer_plus(p, column, i), place, v[i]);
}

static void write_copy(mvs_packer *p) {
  mvs_packer_blocks(p, p->given.rows, 1, 2 * MVS_LANES, copy_block);
}

static void write_transpose(mvs_packer *p) {
  mvs_packer_blocks(p, p->given.rows, MVS_LANES, 2 * MVS_LANES, transpose_block);
}

/* Blocks are lower than what is filled with zeros. */
static void write_interleave(mvs_packer *p) {
  LLVMValueRef blocks = mvs_emit_ceil_div(p->e, p->given.rows, 2 * MVS_LANES);
  LLVMValueRef end = mvs_emit_times(p->e, blocks, 2 * MVS_LANES);
  mvs_packer_blocks(p, end, INTERLEAVED, MVS_PANEL, interleave_block);
}

static void write_turn(mvs_packer *p) {
  mvs_packer_blocks(p, p->given.rows, 2 * MVS_LANES, MVS_LANES, turn_block);
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
