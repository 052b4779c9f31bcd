/* tile_block.c: four tiles of sums, two of A and two of B: each load serves two products. */
#include "codegen/host/tile_block.h"

/* Tile registers. */
enum { SUMS = 0, LEFT = 4, RIGHT = 6 };

/* The number of a tile register. */
static LLVMValueRef tile(mvs_emit *e, int number) {
  return mvs_emit_int(LLVMInt8TypeInContext(e->context), number);
}

/* A tile and 16 rows of memory, `stride` places apart. */
static void move(mvs_emit *e, const char *name, int number, LLVMValueRef at,
                 LLVMValueRef stride) {
  LLVMValueRef arguments[3] = {tile(e, number), at, mvs_emit_times(e, stride, 4)};
  mvs_emit_plain(e, name, arguments, 3);
}

/* Rows of 4-byte elements: where row 0 or 16 begins. */
static LLVMValueRef half(mvs_emit *e, LLVMValueRef base, LLVMValueRef stride, int number) {
  if (number == 0) return base;
  return mvs_emit_at(e, e->i32, base, mvs_emit_times(e, stride, MVS_BLOCK / 2));
}

/* All four tiles of sums from C or to it. */
static void move_sums(mvs_emit *e, const char *name, const mvs_amx_block *block) {
  for (int i = 0; i < 4; ++i) {
    LLVMValueRef row = half(e, block->c, block->c_stride, i / 2);
    LLVMValueRef at = mvs_emit_at(e, e->f32, row, mvs_emit_i64(e, i % 2 * MVS_LANES));
    move(e, name, SUMS + i, at, block->c_stride);
  }
}

void mvs_block_begin(mvs_emit *e, const mvs_amx_block *block, LLVMValueRef go_on) {
  for (int i = 0; i < 4; ++i) {
    LLVMValueRef number = tile(e, SUMS + i);
    mvs_emit_plain(e, "llvm.x86.tilezero", &number, 1);
  }
  if (!go_on) return;
  mvs_branch more = mvs_emit_if(e, go_on);
  move_sums(e, "llvm.x86.tileloadd64", block);
  mvs_emit_if_end(e, &more);
}

void mvs_block_step(mvs_emit *e, const mvs_amx_block *block, LLVMValueRef place) {
  LLVMValueRef panel = mvs_emit_i64(e, MVS_BLOCK);
  for (int i = 0; i < 2; ++i) {
    LLVMValueRef row = half(e, block->a, block->a_stride, i);
    move(e, "llvm.x86.tileloadd64", LEFT + i, mvs_emit_at(e, e->i32, row, place),
         block->a_stride);
    LLVMValueRef at =
        mvs_emit_add(e, mvs_emit_mul(e, place, panel), mvs_emit_i64(e, i * MVS_LANES));
    move(e, "llvm.x86.tileloadd64", RIGHT + i, mvs_emit_at(e, e->i32, block->b, at), panel);
  }
  for (int i = 0; i < 4; ++i) {
    LLVMValueRef arguments[3] = {tile(e, SUMS + i), tile(e, LEFT + i / 2),
                                 tile(e, RIGHT + i % 2)};
    mvs_emit_plain(e, "llvm.x86.tdpbf16ps", arguments, 3);
  }
}

void mvs_block_end(mvs_emit *e, const mvs_amx_block *block) {
  move_sums(e, "llvm.x86.tilestored64", block);
}

/* --- whole products --- */

enum { A, A_STRIDE, B, B_STRIDE, C, C_STRIDE, ROWS, COLUMNS, PLACES, GO_ON, PARAMETERS };

/* One block from first to last step. */
static void whole_block(mvs_emit *e, LLVMValueRef *p, LLVMValueRef row, LLVMValueRef column) {
  LLVMValueRef zero = mvs_emit_i64(e, 0);
  LLVMValueRef panel = LLVMBuildUDiv(e->builder, column, mvs_emit_i64(e, MVS_BLOCK), "");
  LLVMValueRef c = mvs_emit_add(e, mvs_emit_mul(e, row, p[C_STRIDE]), column);
  mvs_amx_block block = {.a = mvs_emit_at(e, e->i32, p[A], mvs_emit_mul(e, row, p[A_STRIDE])),
                         .a_stride = p[A_STRIDE],
                         .b = mvs_emit_at(e, e->i32, p[B], mvs_emit_mul(e, panel, p[B_STRIDE])),
                         .c = mvs_emit_at(e, e->f32, p[C], c),
                         .c_stride = p[C_STRIDE]};
  mvs_block_begin(e, &block, p[GO_ON]);
  mvs_loop steps = mvs_emit_loop(e, zero, p[PLACES], MVS_BLOCK_STEP);
  mvs_block_step(e, &block, steps.index);
  mvs_emit_loop_end(e, &steps);
  mvs_block_end(e, &block);
}

/* A panel of B stays in the first cache while the rows of A pass by. */
static void write_product(void *self, LLVMValueRef *p) {
  mvs_emit *e = self;
  LLVMValueRef zero = mvs_emit_i64(e, 0);
  mvs_loop columns = mvs_emit_loop(e, zero, p[COLUMNS], MVS_BLOCK);
  mvs_loop rows = mvs_emit_loop(e, zero, p[ROWS], MVS_BLOCK);
  whole_block(e, p, rows.index, columns.index);
  mvs_emit_loop_end(e, &rows);
  mvs_emit_loop_end(e, &columns);
}

void mvs_amx_multiply(mvs_emit *e, const mvs_amx_product *c) {
  LLVMTypeRef types[PARAMETERS];
  for (int i = 0; i < PARAMETERS; ++i) types[i] = e->i64;
  types[A] = types[B] = types[C] = e->ptr;
  types[GO_ON] = e->i1;
  LLVMTypeRef type = mvs_emit_signature(e, types, PARAMETERS);
  LLVMValueRef function = mvs_emit_shared(e, "amx_product", type, write_product, e);
  LLVMValueRef arguments[PARAMETERS] = {c->a,      c->a_stride, c->b,    c->b_stride,
                                        c->c,      c->c_stride, c->rows, c->columns,
                                        c->places, c->go_on};
  mvs_emit_call(e, function, arguments, PARAMETERS);
}
