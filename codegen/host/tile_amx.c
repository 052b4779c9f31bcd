/* tile_amx.c: four tiles of sums, two of A and two of B: each load serves two products.
 *
 * A block of 32 x 32 sums takes two rows of tiles. Where rows are no multiple of 16 the last
 * tile lies further up and overlaps its neighbour: its sums are computed twice, to the same
 * bits, and nothing outside is read or written. Fewer than 16 rows make lower tiles. The order
 * of a sum's terms is the processor's own and documented: pairs upwards, within a step of 16
 * places.
 *
 * Sums leave the tiles through memory. What then becomes of them (bias, rounding, C) is work
 * for the vector units, half as long as the products of 256 places, while the tiles wait. So
 * it is done for a block between the products of the next one, a few rows behind each step. */
#include "codegen/host/tile_amx.h"

/* Tile registers. */
enum { SUMS = 0, LEFT = 4, RIGHT = 6, TILES = 8 };

#define TILE_ROWS 16
/* Rows of sums finished behind a step of 16 places: 4 products take the tiles 64 cycles, these
 * rows the vector units less; and all 32 rows of a block are done within 8 steps. */
#define ROWS_A_STEP 4
/* Bytes of a row of a tile. */
#define TILE_BYTES   64
#define CONFIG_BYTES 64
/* Where a configuration holds the tiles' bytes a row (16 bits each) and rows (8 bits each). */
#define CONFIG_COLUMNS 16
#define CONFIG_ROWS    48

enum {
  A,
  A_STRIDE,
  B,
  PLACES,
  ROWS,
  ROOM,
  AT,
  AT_STRIDE,
  FIRST,
  LAST,
  C,
  C_STRIDE,
  WIDTH,
  BIAS,
  PARAMETERS
};

typedef struct amx {
  mvs_emit *e;
  mvs_dtype c_type;
  bool in_stretches, far, split;
  LLVMValueRef p[PARAMETERS];
  LLVMValueRef bias[2], mask[2]; /* of the two vectors of a row */
  LLVMValueRef row[2];           /* first rows of the two rows of tiles */
  LLVMValueRef shift;            /* from a row of the block to the row of its sums */
  /* Variables: rows that wait for being finished, and their shift. */
  LLVMValueRef next, end, waiting_shift;
} amx;

/* The number of a tile register. */
static LLVMValueRef tile(mvs_emit *e, int number) {
  return mvs_emit_int(LLVMInt8TypeInContext(e->context), number);
}

/* --- configuration --- */

/* Stores a value `at` bytes into the configuration. */
static void configure(mvs_emit *e, LLVMValueRef config, int at, LLVMValueRef value) {
  LLVMValueRef place =
      mvs_emit_at(e, LLVMInt8TypeInContext(e->context), config, mvs_emit_i64(e, at));
  LLVMSetAlignment(LLVMBuildStore(e->builder, value, place), 1);
}

/* Tiles of sums and of A have `rows` rows, at most 16; those of B always have 16. */
void mvs_amx_open(mvs_emit *e, LLVMValueRef rows) {
  LLVMTypeRef byte = LLVMInt8TypeInContext(e->context);
  LLVMValueRef config = mvs_emit_variable(e, LLVMArrayType2(byte, CONFIG_BYTES));
  for (int at = 0; at < CONFIG_BYTES; at += 8) configure(e, config, at, mvs_emit_i64(e, 0));
  configure(e, config, 0, mvs_emit_int(byte, 1)); /* the palette */
  for (int i = 0; i < TILES; ++i)
    configure(e, config, CONFIG_COLUMNS + 2 * i, mvs_emit_int(e->i16, TILE_BYTES));
  LLVMValueRef least = mvs_emit_smaller(e, rows, mvs_emit_i64(e, TILE_ROWS));
  LLVMValueRef height = LLVMBuildTrunc(e->builder, least, byte, "");
  for (int i = 0; i < TILES; ++i)
    configure(e, config, CONFIG_ROWS + i, i < RIGHT ? height : mvs_emit_int(byte, TILE_ROWS));
  mvs_emit_plain(e, "llvm.x86.ldtilecfg", &config, 1);
}

void mvs_amx_close(mvs_emit *e) { mvs_emit_plain(e, "llvm.x86.tilerelease", NULL, 0); }

/* --- the product --- */

/* Elements of 4 bytes as a stride in bytes. */
static LLVMValueRef bytes(mvs_emit *e, LLVMValueRef stride) {
  return mvs_emit_times(e, stride, 4);
}

/* Where the sums of a row lie. */
static LLVMValueRef row_of_sums(amx *x, LLVMValueRef row, LLVMValueRef shift) {
  mvs_emit *e = x->e;
  LLVMValueRef at = mvs_emit_mul(e, mvs_emit_add(e, row, shift), x->p[AT_STRIDE]);
  return mvs_emit_at(e, e->f32, x->p[AT], at);
}

/* Where tile `number` of the sums lies in memory: tiles that overlap do so there too. */
static LLVMValueRef sums_at(amx *x, int number) {
  mvs_emit *e = x->e;
  return mvs_emit_at(e, e->f32, row_of_sums(x, x->row[number / 2], x->shift),
                     mvs_emit_i64(e, number % 2 * MVS_LANES));
}

/* Zeros, or what an earlier stretch of k left. */
static void begin(amx *x) {
  mvs_emit *e = x->e;
  for (int i = 0; i < 4; ++i) {
    LLVMValueRef number = tile(e, SUMS + i);
    mvs_emit_plain(e, "llvm.x86.tilezero", &number, 1);
  }
  if (!x->in_stretches) return;
  mvs_branch more = mvs_emit_if(e, LLVMBuildNot(e->builder, x->p[FIRST], ""));
  for (int i = 0; i < 4; ++i) {
    LLVMValueRef arguments[3] = {tile(e, SUMS + i), sums_at(x, i), bytes(e, x->p[AT_STRIDE])};
    mvs_emit_plain(e, "llvm.x86.tileloadd64", arguments, 3);
  }
  mvs_emit_if_end(e, &more);
}

/* Loads tile `i` of A. */
static void load_left(amx *x, LLVMValueRef place, int part, int i) {
  mvs_emit *e = x->e;
  LLVMValueRef stride = x->split ? mvs_emit_i64(e, TILE_BYTES) : bytes(e, x->p[A_STRIDE]);
  LLVMValueRef along = mvs_emit_times(e, place, x->split ? MVS_SPLIT_STEP / TILE_ROWS : 1);
  along = mvs_emit_add(e, along, mvs_emit_i64(e, part * MVS_TILE_PLACES));
  LLVMValueRef at = mvs_emit_add(e, mvs_emit_mul(e, x->row[i], x->p[A_STRIDE]), along);
  LLVMValueRef left[3] = {tile(e, LEFT + i), mvs_emit_at(e, e->i32, x->p[A], at), stride};
  mvs_emit_plain(e, "llvm.x86.tileloadd64", left, 3);
}

/* Loads tile `i` of B. */
static void load_right(amx *x, LLVMValueRef place, int part, int i) {
  mvs_emit *e = x->e;
  int64_t stride = x->split ? TILE_BYTES : MVS_PANEL * 4;
  int64_t half = x->split ? MVS_SPLIT_STEP : MVS_LANES;
  LLVMValueRef at = mvs_emit_times(e, place, MVS_PANEL * (x->split ? MVS_SPLIT_PARTS : 1));
  at = mvs_emit_add(e, at, mvs_emit_i64(e, part * MVS_TILE_PLACES + i * half));
  LLVMValueRef right[3] = {tile(e, RIGHT + i), mvs_emit_at(e, e->i32, x->p[B], at),
                           mvs_emit_i64(e, stride)};
  mvs_emit_plain(e, "llvm.x86.tileloadd64", right, 3);
}

/* Adds the products of the tiles that are loaded. */
static void multiply(amx *x) {
  mvs_emit *e = x->e;
  for (int i = 0; i < 4; ++i) {
    LLVMValueRef arguments[3] = {tile(e, SUMS + i), tile(e, LEFT + i / 2),
                                 tile(e, RIGHT + i % 2)};
    mvs_emit_plain(e, "llvm.x86.tdpbf16ps", arguments, 3);
  }
}

/* --- from sums to C --- */

/* A vector of the bias: zeros where there is none. */
static LLVMValueRef bias_vector(amx *x, int64_t from, LLVMValueRef mask) {
  mvs_emit *e = x->e;
  LLVMTypeRef type = mvs_emit_vector(e->f32);
  LLVMValueRef variable = mvs_emit_variable(e, type);
  mvs_emit_set(e, variable, LLVMConstNull(type));
  mvs_branch given = mvs_emit_if(e, LLVMBuildIsNotNull(e->builder, x->p[BIAS], ""));
  LLVMValueRef at =
      mvs_emit_at(e, mvs_emit_storage(e, x->c_type), x->p[BIAS], mvs_emit_i64(e, from));
  mvs_emit_set(e, variable, mvs_emit_load_vector(e, x->c_type, at, mask));
  mvs_emit_if_end(e, &given);
  return mvs_emit_get(e, variable);
}

/* A row of C, two vectors: zeros are added where there is no bias, which changes -0 alone. */
static void finish_row(amx *x, LLVMValueRef row) {
  mvs_emit *e = x->e;
  LLVMTypeRef element = mvs_emit_storage(e, x->c_type);
  LLVMValueRef from = row_of_sums(x, row, mvs_emit_get(e, x->waiting_shift));
  LLVMValueRef to = mvs_emit_at(e, element, x->p[C], mvs_emit_mul(e, row, x->p[C_STRIDE]));
  for (int v = 0; v < 2; ++v) {
    LLVMValueRef at = mvs_emit_i64(e, v * MVS_LANES);
    LLVMValueRef sum = mvs_emit_load_vector(e, MVS_F32, mvs_emit_at(e, e->f32, from, at), NULL);
    sum = LLVMBuildFAdd(e->builder, sum, x->bias[v], "");
    LLVMValueRef place = mvs_emit_at(e, element, to, at);
    mvs_emit_store(e, x->c_type, place, sum, x->mask[v], false);
  }
}

/* ROWS_A_STEP of the rows that wait, if so many do. */
static void finish_some(amx *x) {
  mvs_emit *e = x->e;
  LLVMValueRef next = mvs_emit_get(e, x->next);
  LLVMValueRef after = mvs_emit_add(e, next, mvs_emit_i64(e, ROWS_A_STEP));
  LLVMValueRef enough = mvs_emit_less(e, mvs_emit_get(e, x->end), after);
  mvs_branch some = mvs_emit_if(e, LLVMBuildNot(e->builder, enough, ""));
  for (int i = 0; i < ROWS_A_STEP; ++i)
    finish_row(x, mvs_emit_add(e, next, mvs_emit_i64(e, i)));
  mvs_emit_set(e, x->next, after);
  mvs_emit_if_end(e, &some);
}

/* All that wait. */
static void finish_rest(amx *x) {
  mvs_emit *e = x->e;
  mvs_loop rows = mvs_emit_loop(e, mvs_emit_get(e, x->next), mvs_emit_get(e, x->end), 1);
  finish_row(x, rows.index);
  mvs_emit_loop_end(e, &rows);
}

/* The block's rows from `first` on wait, if this stretch of k is the last. */
static void let_wait(amx *x, LLVMValueRef first) {
  mvs_emit *e = x->e;
  LLVMValueRef end = mvs_emit_add(e, first, mvs_emit_i64(e, 2 * TILE_ROWS));
  end = mvs_emit_smaller(e, end, x->p[ROWS]);
  mvs_emit_set(e, x->next, first);
  mvs_emit_set(e, x->end, mvs_emit_select(e, x->p[LAST], end, first));
  mvs_emit_set(e, x->waiting_shift, x->shift);
}

/* Asks for the lines of C that the block will write, which arrive while it computes. */
static void expect_c(amx *x, int which) {
  mvs_emit *e = x->e;
  LLVMTypeRef element = mvs_emit_storage(e, x->c_type);
  for (int i = 0; i < TILE_ROWS; ++i) {
    LLVMValueRef row = mvs_emit_add(e, x->row[which], mvs_emit_i64(e, i));
    LLVMValueRef to = mvs_emit_at(e, element, x->p[C], mvs_emit_mul(e, row, x->p[C_STRIDE]));
    LLVMValueRef arguments[4] = {to, mvs_emit_int(e->i32, 1), mvs_emit_int(e->i32, 3),
                                 mvs_emit_int(e->i32, 1)};
    mvs_emit_intrinsic(e, "llvm.prefetch", e->ptr, arguments, 4);
  }
}

/* --- all rows --- */

/* 16 places of k of bf16. The first product needs the first two tiles only. */
static void step(amx *x, LLVMValueRef place) {
  for (int i = 0; i < 2; ++i) {
    load_left(x, place, 0, i);
    load_right(x, place, 0, i);
  }
  multiply(x);
  finish_some(x);
}

/* 16 places of k of f32 in parts: what is small first, and in an order in which most products
 * share a part with the one before. Left out are the products below 2^-24 of the whole. */
static void step_of_parts(amx *x, LLVMValueRef place) {
  static const struct {
    int left, right;
    bool loads_left, loads_right, finishes;
  } products[] = {{2, 0, true, true, true},   {1, 0, true, false, true},
                  {1, 1, false, true, true},  {0, 1, true, false, true},
                  {0, 2, false, true, false}, {0, 0, false, true, false}};
  for (size_t i = 0; i < sizeof products / sizeof *products; ++i) {
    for (int k = 0; k < 2 && products[i].loads_left; ++k)
      load_left(x, place, products[i].left, k);
    for (int k = 0; k < 2 && products[i].loads_right; ++k)
      load_right(x, place, products[i].right, k);
    multiply(x);
    if (products[i].finishes) finish_some(x);
  }
}

/* All steps for the rows of two tiles, and between them the rows of the block before. */
static void sum_up(amx *x) {
  mvs_emit *e = x->e;
  begin(x);
  mvs_loop loop = mvs_emit_loop(e, mvs_emit_i64(e, 0), x->p[PLACES], TILE_ROWS);
  (x->split ? step_of_parts : step)(x, loop.index);
  mvs_emit_loop_end(e, &loop);
  for (int i = 0; i < 4; ++i) {
    LLVMValueRef arguments[3] = {tile(e, SUMS + i), sums_at(x, i), bytes(e, x->p[AT_STRIDE])};
    mvs_emit_plain(e, "llvm.x86.tilestored64", arguments, 3);
  }
  finish_rest(x);
}

/* Sums of stretches lie where their rows do; else two places serve in turn, for the block
 * being added up and the one being finished. */
static LLVMValueRef shift_of_sums(amx *x, LLVMValueRef first) {
  mvs_emit *e = x->e;
  if (x->in_stretches) return mvs_emit_i64(e, 0);
  LLVMValueRef turn = LLVMBuildAnd(e->builder, first, mvs_emit_i64(e, 2 * TILE_ROWS), "");
  return LLVMBuildNSWSub(e->builder, turn, x->row[0], "");
}

/* The rows of two tiles. */
static void block(amx *x, LLVMValueRef first) {
  if (x->far) {
    expect_c(x, 0);
    expect_c(x, 1);
  }
  x->shift = shift_of_sums(x, first);
  sum_up(x);
  let_wait(x, first);
}

/* Rows by 32; a tile that would reach over the last row begins that much earlier. */
static void all_rows(amx *x) {
  mvs_emit *e = x->e;
  LLVMValueRef zero = mvs_emit_i64(e, 0), rows = x->p[ROOM];
  LLVMValueRef last = LLVMBuildNSWSub(e->builder, rows, mvs_emit_i64(e, TILE_ROWS), "");
  last = mvs_emit_select(e, mvs_emit_less(e, last, zero), zero, last);
  mvs_loop loop = mvs_emit_loop(e, zero, rows, 2 * TILE_ROWS);
  x->row[0] = mvs_emit_smaller(e, loop.index, last);
  x->row[1] =
      mvs_emit_smaller(e, mvs_emit_add(e, loop.index, mvs_emit_i64(e, TILE_ROWS)), last);
  block(x, loop.index);
  mvs_emit_loop_end(e, &loop);
  finish_rest(x);
}

/* The bias and the edge of C are the same for all rows; none waits yet. */
static void write_amx(void *self, LLVMValueRef *parameters) {
  amx *x = self;
  mvs_emit *e = x->e;
  memcpy(x->p, parameters, sizeof x->p);
  x->next = mvs_emit_variable(e, e->i64);
  x->end = mvs_emit_variable(e, e->i64);
  x->waiting_shift = mvs_emit_variable(e, e->i64);
  mvs_emit_set(e, x->next, mvs_emit_i64(e, 0));
  mvs_emit_set(e, x->end, mvs_emit_i64(e, 0));
  mvs_emit_set(e, x->waiting_shift, mvs_emit_i64(e, 0));
  for (int v = 0; v < 2; ++v) {
    x->mask[v] = mvs_emit_mask(e, mvs_emit_i64(e, v * MVS_LANES), x->p[WIDTH]);
    x->bias[v] = bias_vector(x, v * MVS_LANES, x->mask[v]);
  }
  all_rows(x);
}

void mvs_amx_tile(mvs_emit *e, mvs_dtype c_type, const mvs_amx_call *c) {
  amx x = {.e = e,
           .c_type = c_type,
           .in_stretches = c->in_stretches,
           .far = c->far,
           .split = c->split};
  LLVMTypeRef types[PARAMETERS];
  for (int i = 0; i < PARAMETERS; ++i) types[i] = e->i64;
  types[A] = types[B] = types[AT] = types[C] = types[BIAS] = e->ptr;
  types[FIRST] = types[LAST] = e->i1;
  const char *name =
      mvs_arena_format(e->arena, "amx_%s_%s%s%s", c->in_stretches ? "stretch" : "whole",
                       mvs_dtype_name(c_type), c->far ? "_far" : "", c->split ? "_split" : "");
  LLVMTypeRef type = mvs_emit_signature(e, types, PARAMETERS);
  LLVMValueRef function = mvs_emit_shared(e, name, type, write_amx, &x);
  LLVMValueRef arguments[PARAMETERS] = {
      c->a,           c->a_stride, c->b,    c->places, c->rows,     c->room,  c->sums,
      c->sums_stride, c->first,    c->last, c->c,      c->c_stride, c->width, c->bias};
  mvs_emit_call(e, function, arguments, PARAMETERS);
}
