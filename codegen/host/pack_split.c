/* pack_split.c: f32 matrices into tiles of bf16 parts, which products of tiles read (AMX).
 *
 * x = h + m + l, exactly, where each has the 8 bits of a bf16: h is x cut off behind them, m
 * what is left rounded to them, l the rest. Cutting costs one operation and never overflows,
 * where rounding would make infinities of what lies above 3.39e38; m is rounded, so that l has
 * either sign and products that leave it out are not all off to one side.
 *
 * A place holds the elements p and p + 16 of a step of 32 k, so that two vectors of 16 k, or
 * two rows of a matrix with k across its rows, become a vector of places by shifts alone. Both
 * operands have that order, so the products do not mind. Tiles whose rows do not lie along the
 * rows of the matrix are turned before they are split: two blocks of f32 instead of three of
 * parts. What lies outside the matrix becomes zeros. */
#include "codegen/host/pack.h"
#include "codegen/host/tile_amx.h"

enum { SOURCE, SOURCE_STRIDE, ROWS, COLUMNS, TARGET, GROUP_STRIDE, STEP_STRIDE, PARAMETERS };

/* The truth table of a | (b & c), bit 4 a + 2 b + c. */
#define A_OR_B_AND_C 0xf8
/* k of a step. */
#define STEP_K (2 * MVS_LANES)

typedef struct split {
  mvs_emit *e;
  bool across; /* k runs across the rows of the source */
  bool turned; /* the rows of a tile do not lie along them */
  LLVMValueRef p[PARAMETERS];
} split;

/* index + a constant. */
static LLVMValueRef plus(split *s, LLVMValueRef index, int64_t more) {
  return mvs_emit_add(s->e, index, mvs_emit_i64(s->e, more));
}

/* 16 elements of a row from `column` on as bits; not `whole`: zeros where there are none. */
static LLVMValueRef load(split *s, LLVMValueRef row, LLVMValueRef column, bool whole) {
  mvs_emit *e = s->e;
  LLVMValueRef at = mvs_emit_add(e, mvs_emit_mul(e, row, s->p[SOURCE_STRIDE]), column);
  LLVMValueRef from = mvs_emit_at(e, e->i32, s->p[SOURCE], at), mask = NULL;
  if (!whole) {
    LLVMValueRef end = mvs_emit_select(e, mvs_emit_less(e, row, s->p[ROWS]), s->p[COLUMNS],
                                       mvs_emit_i64(e, 0));
    mask = mvs_emit_mask(e, column, end);
  }
  return mvs_emit_load_vector(e, MVS_I32, from, mask);
}

/* --- parts --- */

/* The upper halves of lanes: what a bf16 keeps of an f32. */
static LLVMValueRef cut(mvs_emit *e, LLVMValueRef bits) {
  return LLVMBuildAnd(e->builder, bits, mvs_emit_int(LLVMTypeOf(bits), -65536), "");
}

/* a - b of f32, as bits. */
static LLVMValueRef difference(mvs_emit *e, LLVMValueRef a, LLVMValueRef b) {
  LLVMValueRef x = mvs_emit_bitcast(e, a, e->f32), y = mvs_emit_bitcast(e, b, e->f32);
  return mvs_emit_bitcast(e, LLVMBuildFSub(e->builder, x, y, ""), e->i32);
}

/* Bits whose upper halves are the parts of x: adding half of the last place before it is cut
 * rounds to the nearest. */
static void parts_of(mvs_emit *e, LLVMValueRef x, LLVMValueRef parts[MVS_SPLIT_PARTS]) {
  LLVMValueRef rest = difference(e, x, cut(e, x));
  LLVMValueRef half = mvs_emit_int(LLVMTypeOf(x), 0x8000);
  parts[0] = x;
  parts[1] = LLVMBuildAdd(e->builder, rest, half, "");
  parts[2] = difference(e, rest, cut(e, parts[1]));
}

/* The upper halves of both, low | high: by the instruction for low >> 16 | (high & cut), since
 * LLVM would shuffle halves across lanes, which takes three times as long. */
static LLVMValueRef place_of(mvs_emit *e, LLVMValueRef low, LLVMValueRef high) {
  LLVMTypeRef type = LLVMTypeOf(low);
  LLVMValueRef arguments[4] = {LLVMBuildLShr(e->builder, low, mvs_emit_int(type, 16), ""), high,
                               mvs_emit_int(type, -65536), mvs_emit_int(e->i32, A_OR_B_AND_C)};
  return mvs_emit_plain(e, "llvm.x86.avx512.pternlog.d.512", arguments, 4);
}

/* Stores a row of a tile of each part, `at` places into the target. */
static void put_parts(split *s, LLVMValueRef at, LLVMValueRef low, LLVMValueRef high) {
  mvs_emit *e = s->e;
  LLVMValueRef lows[MVS_SPLIT_PARTS], highs[MVS_SPLIT_PARTS];
  parts_of(e, low, lows);
  parts_of(e, high, highs);
  for (int i = 0; i < MVS_SPLIT_PARTS; ++i) {
    LLVMValueRef to = mvs_emit_at(e, e->i32, s->p[TARGET], plus(s, at, i * MVS_TILE_PLACES));
    mvs_emit_store(e, MVS_I32, to, place_of(e, lows[i], highs[i]), NULL, false);
  }
}

/* --- tiles --- */

/* One of the two vectors of line `line`: a row of the group, or a k of the step. */
static LLVMValueRef line_of(split *s, LLVMValueRef group, LLVMValueRef k, LLVMValueRef line,
                            bool whole) {
  mvs_emit *e = s->e;
  return s->across ? load(s, mvs_emit_add(e, k, line), group, whole)
                   : load(s, mvs_emit_add(e, group, line), k, whole);
}

/* Rows of the tile are those of the source. */
static void straight(split *s, LLVMValueRef group, LLVMValueRef k, LLVMValueRef at,
                     bool whole) {
  mvs_emit *e = s->e;
  LLVMValueRef second = plus(s, k, MVS_LANES);
  mvs_loop lines = mvs_emit_loop(e, mvs_emit_i64(e, 0), mvs_emit_i64(e, MVS_LANES), 1);
  put_parts(s, mvs_emit_add(e, at, mvs_emit_times(e, lines.index, MVS_LANES)),
            line_of(s, group, k, lines.index, whole),
            line_of(s, group, second, lines.index, whole));
  mvs_emit_loop_end(e, &lines);
}

/* Rows of the tile are columns of the source. */
static void turn(split *s, LLVMValueRef group, LLVMValueRef k, LLVMValueRef at, bool whole) {
  mvs_emit *e = s->e;
  LLVMValueRef v[2][MVS_LANES];
  for (int half = 0; half < 2; ++half) {
    for (int i = 0; i < MVS_LANES; ++i)
      v[half][i] = line_of(s, group, plus(s, k, half * MVS_LANES), mvs_emit_i64(e, i), whole);
    mvs_transpose_vectors(e, v[half]);
  }
  for (int i = 0; i < MVS_LANES; ++i)
    put_parts(s, plus(s, at, i * MVS_LANES), v[0][i], v[1][i]);
}

/* 16 rows or columns of 32 k, with masks only where they may reach over an edge. */
static void put_tile(split *s, LLVMValueRef group, LLVMValueRef k) {
  mvs_emit *e = s->e;
  LLVMValueRef step = LLVMBuildLShr(e->builder, k, mvs_emit_i64(e, 5), "");
  LLVMValueRef at = mvs_emit_add(e, mvs_emit_mul(e, group, s->p[GROUP_STRIDE]),
                                 mvs_emit_mul(e, step, s->p[STEP_STRIDE]));
  LLVMValueRef groups = s->p[s->across ? COLUMNS : ROWS];
  LLVMValueRef elements = s->p[s->across ? ROWS : COLUMNS];
  LLVMValueRef last = plus(s, group, MVS_LANES - 1), last_k = plus(s, k, STEP_K - 1);
  LLVMValueRef inside = LLVMBuildAnd(e->builder, mvs_emit_less(e, last, groups),
                                     mvs_emit_less(e, last_k, elements), "");
  mvs_branch whole = mvs_emit_if(e, inside);
  (s->turned ? turn : straight)(s, group, k, at, true);
  mvs_emit_if_end(e, &whole);
  mvs_branch edge = mvs_emit_if(e, LLVMBuildNot(e->builder, inside, ""));
  (s->turned ? turn : straight)(s, group, k, at, false);
  mvs_emit_if_end(e, &edge);
}

/* Along the rows of the source. */
static void write_split(void *self, LLVMValueRef *parameters) {
  split *s = self;
  mvs_emit *e = s->e;
  memcpy(s->p, parameters, sizeof s->p);
  LLVMValueRef zero = mvs_emit_i64(e, 0);
  mvs_loop rows = mvs_emit_loop(e, zero, s->p[ROWS], s->across ? STEP_K : MVS_LANES);
  mvs_loop columns = mvs_emit_loop(e, zero, s->p[COLUMNS], s->across ? MVS_LANES : STEP_K);
  if (s->across) {
    put_tile(s, columns.index, rows.index);
  } else {
    put_tile(s, rows.index, columns.index);
  }
  mvs_emit_loop_end(e, &columns);
  mvs_emit_loop_end(e, &rows);
}

void mvs_split(mvs_emit *e, bool across, bool turned, const mvs_split_call *c) {
  split s = {.e = e, .across = across, .turned = turned};
  LLVMTypeRef types[PARAMETERS];
  for (int i = 0; i < PARAMETERS; ++i) types[i] = e->i64;
  types[SOURCE] = types[TARGET] = e->ptr;
  const char *name = mvs_arena_format(e->arena, "split_%s%s", across ? "across" : "along",
                                      turned ? "_turned" : "");
  LLVMTypeRef type = mvs_emit_signature(e, types, PARAMETERS);
  LLVMValueRef function = mvs_emit_shared(e, name, type, write_split, &s);
  LLVMValueRef arguments[PARAMETERS] = {c->source, c->source_stride, c->rows,       c->columns,
                                        c->target, c->group_stride,  c->step_stride};
  mvs_emit_call(e, function, arguments, PARAMETERS);
}
