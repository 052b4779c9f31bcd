/* dots.c: tiles of dot products, their sums in registers.
 *
 * One row of A is bound by reading B, so what counts is that B streams: four of its rows at a
 * time, each along all of k, for as many rows of A as there are registers. Turning 16 x 16
 * elements in registers, to keep one chain per element, takes 64 shuffles where one row has 16
 * fma: 27 GB/s out of a near cache, where this makes 100 and memory 30. */
#include "codegen/host/dots.h"

/* Rows of B at a time, around all rows of A: they stay in the first cache. */
#define B_ROWS 4
/* Sums at a time: with the vectors loaded they fill the registers. */
#define MOST_SUMS 16
#define AVX2_SUMS 4

enum { A, B, K, ROWS, COLUMNS, C, C_STRIDE, BIAS, PARAMETERS };

typedef struct dots {
  mvs_emit *e;
  mvs_dtype a_type, b_type, c_type;
  bool pairs;
  LLVMValueRef p[PARAMETERS];
  LLVMValueRef column; /* of the first of B_ROWS */
} dots;

/* Sums of some rows of A by some of B. */
typedef struct tile {
  int height, width;
  LLVMValueRef a[MVS_DOT_ROWS], b[B_ROWS]; /* where those rows begin */
  LLVMValueRef sums[MVS_DOT_ROWS][B_ROWS]; /* variables */
} tile;

/* --- along k --- */

/* Elements of k in a vector. */
static int64_t per_vector(const dots *d) { return d->pairs ? 2 * MVS_LANES : MVS_LANES; }

/* 32 bf16 from element `index` of a row on as 16 places; behind the end of the row, zeros. */
static LLVMValueRef load_pairs(dots *d, LLVMValueRef row, LLVMValueRef index, bool whole) {
  mvs_emit *e = d->e;
  unsigned count = 2 * MVS_LANES;
  LLVMTypeRef type = LLVMVectorType(LLVMBFloatTypeInContext(e->context), count);
  LLVMValueRef at = mvs_emit_at(e, e->i16, row, index);
  if (whole) {
    LLVMValueRef value = LLVMBuildLoad2(e->builder, type, at, "");
    LLVMSetAlignment(value, 2);
    return value;
  }
  LLVMValueRef order[2 * MVS_LANES], lanes = mvs_emit_i64(e, MVS_LANES);
  for (unsigned i = 0; i < count; ++i) order[i] = mvs_emit_int(e->i32, i);
  LLVMValueRef low = mvs_emit_mask(e, index, d->p[K]);
  LLVMValueRef high = mvs_emit_mask(e, mvs_emit_add(e, index, lanes), d->p[K]);
  LLVMValueRef mask =
      LLVMBuildShuffleVector(e->builder, low, high, LLVMConstVector(order, count), "");
  LLVMValueRef arguments[4] = {at, mvs_emit_int(e->i32, 2), mask, LLVMConstNull(type)};
  return mvs_emit_intrinsic2(e, "llvm.masked.load", type, e->ptr, arguments, 4);
}

static LLVMValueRef load(dots *d, mvs_dtype dtype, LLVMValueRef row, LLVMValueRef index,
                         bool whole) {
  mvs_emit *e = d->e;
  if (d->pairs) return load_pairs(d, row, index, whole);
  LLVMValueRef mask = whole ? NULL : mvs_emit_mask(e, index, d->p[K]);
  return mvs_emit_load_vector(e, dtype, mvs_emit_at(e, mvs_emit_storage(e, dtype), row, index),
                              mask);
}

/* sum + a b, lane by lane. */
static LLVMValueRef add_product(dots *d, LLVMValueRef a, LLVMValueRef b, LLVMValueRef sum) {
  if (!d->pairs) return mvs_emit_fma(d->e, a, b, sum);
  LLVMValueRef arguments[3] = {sum, a, b};
  return mvs_emit_plain(d->e, "llvm.x86.avx512bf16.dpbf16ps.512", arguments, 3);
}

/* One vector of k of every row. */
static void step(dots *d, tile *t, LLVMValueRef index, bool whole) {
  mvs_emit *e = d->e;
  LLVMValueRef b[B_ROWS];
  for (int j = 0; j < t->width; ++j) b[j] = load(d, d->b_type, t->b[j], index, whole);
  for (int i = 0; i < t->height; ++i) {
    LLVMValueRef a = load(d, d->a_type, t->a[i], index, whole);
    for (int j = 0; j < t->width; ++j) {
      LLVMValueRef sum = mvs_emit_get(e, t->sums[i][j]);
      mvs_emit_set(e, t->sums[i][j], add_product(d, a, b[j], sum));
    }
  }
}

/* Whole vectors, then one that ends with the row. */
static void sum_up(dots *d, tile *t) {
  mvs_emit *e = d->e;
  LLVMValueRef mask = mvs_emit_i64(e, -per_vector(d));
  LLVMValueRef whole = LLVMBuildAnd(e->builder, d->p[K], mask, "");
  mvs_loop loop = mvs_emit_loop(e, mvs_emit_i64(e, 0), whole, per_vector(d));
  step(d, t, loop.index, true);
  mvs_emit_loop_end(e, &loop);
  mvs_branch rest = mvs_emit_if(e, mvs_emit_less(e, whole, d->p[K]));
  step(d, t, whole, false);
  mvs_emit_if_end(e, &rest);
}

/* --- a tile --- */

/* The halves of every run of 2 `distance` lanes of a and then of b, added: runs half as long,
 * of twice as many sums. */
static LLVMValueRef fold(mvs_emit *e, LLVMValueRef a, LLVMValueRef b, int distance) {
  LLVMValueRef low[MVS_LANES], high[MVS_LANES];
  for (int i = 0; i < MVS_LANES; ++i) {
    int from = i / distance * 2 * distance + i % distance;
    low[i] = mvs_emit_int(e->i32, from);
    high[i] = mvs_emit_int(e->i32, from + distance);
  }
  LLVMValueRef first =
      LLVMBuildShuffleVector(e->builder, a, b, LLVMConstVector(low, MVS_LANES), "");
  LLVMValueRef second =
      LLVMBuildShuffleVector(e->builder, a, b, LLVMConstVector(high, MVS_LANES), "");
  return LLVMBuildFAdd(e->builder, first, second, "");
}

/* All sums of a tile, row by row, in the first lanes of one vector: folded together, they take
 * 3 operations each and not 9. */
static LLVMValueRef fold_all(dots *d, const tile *t) {
  mvs_emit *e = d->e;
  LLVMValueRef v[MOST_SUMS];
  int count = t->height * t->width;
  for (int i = 0; i < count; ++i) v[i] = mvs_emit_get(e, t->sums[i / t->width][i % t->width]);
  for (int distance = MVS_LANES / 2; distance > 0; distance /= 2) {
    int pairs = (count + 1) / 2;
    for (int i = 0; i < pairs; ++i)
      v[i] = fold(e, v[2 * i], v[2 * i + 1 < count ? 2 * i + 1 : 2 * i], distance);
    count = pairs;
  }
  return v[0];
}

/* `count` lanes from lane `first` on, again and again. */
static LLVMValueRef lanes_from(mvs_emit *e, LLVMValueRef v, int first, int count) {
  LLVMValueRef order[MVS_LANES];
  for (int i = 0; i < MVS_LANES; ++i) order[i] = mvs_emit_int(e->i32, first + i % count);
  return LLVMBuildShuffleVector(e->builder, v, v, LLVMConstVector(order, MVS_LANES), "");
}

/* The bias of each lane's column: zeros where there is none, which changes -0 alone. */
static LLVMValueRef bias_of(dots *d, const tile *t, LLVMValueRef column) {
  mvs_emit *e = d->e;
  LLVMTypeRef type = mvs_emit_vector(e->f32);
  LLVMValueRef bias = mvs_emit_variable(e, type);
  mvs_emit_set(e, bias, LLVMConstNull(type));
  mvs_branch given = mvs_emit_if(e, LLVMBuildIsNotNull(e->builder, d->p[BIAS], ""));
  LLVMValueRef at = mvs_emit_at(e, mvs_emit_storage(e, d->c_type), d->p[BIAS], column);
  LLVMValueRef some = mvs_emit_load_vector(e, d->c_type, at, mvs_emit_first_lanes(e, t->width));
  mvs_emit_set(e, bias, lanes_from(e, some, 0, t->width));
  mvs_emit_if_end(e, &given);
  return mvs_emit_get(e, bias);
}

/* From sums to C. */
static void finish(dots *d, const tile *t, LLVMValueRef row, LLVMValueRef column) {
  mvs_emit *e = d->e;
  LLVMValueRef all = LLVMBuildFAdd(e->builder, fold_all(d, t), bias_of(d, t, column), "");
  for (int i = 0; i < t->height; ++i) {
    LLVMValueRef line = mvs_emit_add(e, row, mvs_emit_i64(e, i));
    LLVMValueRef index = mvs_emit_add(e, mvs_emit_mul(e, line, d->p[C_STRIDE]), column);
    LLVMValueRef at = mvs_emit_at(e, mvs_emit_storage(e, d->c_type), d->p[C], index);
    mvs_emit_store(e, d->c_type, at, lanes_from(e, all, i * t->width, t->width),
                   mvs_emit_first_lanes(e, t->width), false);
  }
}

/* `height` rows of A from `row` on by `width` of B from `column` on. */
static void one_tile(dots *d, int height, int width, LLVMValueRef row, LLVMValueRef column) {
  mvs_emit *e = d->e;
  tile t = {.height = height, .width = width};
  LLVMTypeRef type = mvs_emit_vector(e->f32);
  for (int i = 0; i < height; ++i) {
    LLVMValueRef line = mvs_emit_add(e, row, mvs_emit_i64(e, i));
    t.a[i] =
        mvs_emit_at(e, mvs_emit_storage(e, d->a_type), d->p[A], mvs_emit_mul(e, line, d->p[K]));
  }
  for (int j = 0; j < width; ++j) {
    LLVMValueRef line = mvs_emit_add(e, column, mvs_emit_i64(e, j));
    t.b[j] =
        mvs_emit_at(e, mvs_emit_storage(e, d->b_type), d->p[B], mvs_emit_mul(e, line, d->p[K]));
    for (int i = 0; i < height; ++i) {
      t.sums[i][j] = mvs_emit_variable(e, type);
      mvs_emit_set(e, t.sums[i][j], LLVMConstNull(type));
    }
  }
  sum_up(d, &t);
  finish(d, &t, row, column);
}

/* --- all of them --- */

/* All rows of A by `columns` of B, a constant: the greatest height while it fits, then halves
 * of it. */
static void all_rows(dots *d, int columns, LLVMValueRef column) {
  mvs_emit *e = d->e;
  int most = e->avx512 ? MOST_SUMS : AVX2_SUMS;
  LLVMValueRef from = mvs_emit_i64(e, 0);
  for (int height = e->avx512 ? MVS_DOT_ROWS : 2; height > 0; height /= 2) {
    int width = most / height < columns ? most / height : columns;
    LLVMValueRef mask = mvs_emit_i64(e, -height);
    LLVMValueRef end = LLVMBuildAnd(e->builder, d->p[ROWS], mask, "");
    mvs_loop rows = mvs_emit_loop(e, from, end, height);
    mvs_loop across =
        mvs_emit_loop(e, column, mvs_emit_add(e, column, mvs_emit_i64(e, columns)), width);
    one_tile(d, height, width, rows.index, across.index);
    mvs_emit_loop_end(e, &across);
    mvs_emit_loop_end(e, &rows);
    from = end;
  }
}

/* B_ROWS of B at a time, then one. */
static void write_dots(void *self, LLVMValueRef *parameters) {
  dots *d = self;
  mvs_emit *e = d->e;
  memcpy(d->p, parameters, sizeof d->p);
  LLVMValueRef whole = LLVMBuildAnd(e->builder, d->p[COLUMNS], mvs_emit_i64(e, -B_ROWS), "");
  mvs_loop some = mvs_emit_loop(e, mvs_emit_i64(e, 0), whole, B_ROWS);
  all_rows(d, B_ROWS, some.index);
  mvs_emit_loop_end(e, &some);
  mvs_loop single = mvs_emit_loop(e, whole, d->p[COLUMNS], 1);
  all_rows(d, 1, single.index);
  mvs_emit_loop_end(e, &single);
}

void mvs_dots(mvs_emit *e, const mvs_dots_call *call) {
  dots d = {.e = e,
            .a_type = call->a_type,
            .b_type = call->b_type,
            .c_type = call->c_type,
            .pairs = call->pairs};
  LLVMTypeRef types[PARAMETERS];
  for (int i = 0; i < PARAMETERS; ++i) types[i] = e->i64;
  types[A] = types[B] = types[C] = types[BIAS] = e->ptr;
  const char *name = mvs_arena_format(e->arena, "dots_%s_%s_%s%s", mvs_dtype_name(d.a_type),
                                      mvs_dtype_name(d.b_type), mvs_dtype_name(d.c_type),
                                      d.pairs ? "_pairs" : "");
  LLVMTypeRef type = mvs_emit_signature(e, types, PARAMETERS);
  LLVMValueRef function = mvs_emit_shared(e, name, type, write_dots, &d);
  LLVMValueRef arguments[PARAMETERS] = {call->a,       call->b, call->k,        call->rows,
                                        call->columns, call->c, call->c_stride, call->bias};
  mvs_emit_call(e, function, arguments, PARAMETERS);
}
