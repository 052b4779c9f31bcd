/* tile.c: micro-kernels: sums in registers, B loaded, A broadcast, one step of k a turn: 28
 * fma hide the loop's own instructions, and more steps would only cost registers for
 * addresses.
 *
 * A tile of 14 x 32 (AVX-512) or 6 x 16 (AVX2) keeps every sum in a register through all of
 * k. Around it a function per layout and dtype of C walks any number of rows with ever lower
 * tiles, so no row is computed twice and none outside C is touched. Columns beyond `width`
 * are computed from the zeros of the panel and not stored. Functions are shared by all
 * matmuls and attentions of a module. */
#include "codegen/host/tile.h"

#define MAX_VECTORS 2

/* The parameters of micro-kernels and of the functions around them, in this order. */
enum {
  A,
  A_STRIDE,
  B,
  B_STRIDE,
  K,
  C,
  C_STRIDE,
  ROWS,
  WIDTH,
  START,
  START_STRIDE,
  BIAS,
  PARAMETERS
};

typedef struct tile {
  mvs_emit *e;
  int rows, vectors;
  mvs_tile_layout layout;
  bool pairs;
  mvs_dtype c_type;
  LLVMValueRef parameters[PARAMETERS];
  LLVMValueRef sums[MVS_TILE_ROWS][MAX_VECTORS]; /* variables */
  LLVMValueRef bases[(MVS_TILE_ROWS + 2) / 3];   /* variables: A of every third row */
  LLVMValueRef b;                                /* variable */
  LLVMValueRef masks[MAX_VECTORS];
} tile;

/* Tile heights per instruction set, tallest first, each tall enough to hide an fma's latency or
 * needed to finish any number of rows. */
static const int heights_avx512[] = {14, 8, 4, 2, 1, 0};
static const int heights_avx2[] = {6, 4, 2, 1, 0};

/* Pointers for the matrices, i64 for the rest; nothing is returned. */
static LLVMTypeRef signature(const mvs_emit *e) {
  LLVMTypeRef types[PARAMETERS];
  for (int i = 0; i < PARAMETERS; ++i) types[i] = e->i64;
  types[A] = types[B] = types[C] = types[START] = types[BIAS] = e->ptr;
  return mvs_emit_signature(e, types, PARAMETERS);
}

/* The address of an f32, `index` elements on. */
static LLVMValueRef f32_at(mvs_emit *e, LLVMValueRef base, LLVMValueRef index) {
  return mvs_emit_at(e, e->f32, base, index);
}

/* Whether A's elements of one row are neighbours. */
static bool by_rows(const tile *t) { return t->layout == MVS_TILE_BY_ROWS; }

/* --- before and after the loop --- */

/* Optional pointers are null when absent, tested at run time: one function serves both
 * cases. */
static LLVMValueRef is_given(mvs_emit *e, LLVMValueRef pointer) {
  return LLVMBuildIsNotNull(e->builder, pointer, "");
}

/* Sums start from zeros, or go on from `start`. */
static void begin_sums(tile *t) {
  mvs_emit *e = t->e;
  LLVMTypeRef type = mvs_emit_vector(e->f32);
  for (int v = 0; v < t->vectors; ++v) {
    LLVMValueRef first = mvs_emit_i64(e, v * MVS_LANES);
    t->masks[v] = mvs_emit_mask(e, first, t->parameters[WIDTH]);
    for (int i = 0; i < t->rows; ++i) {
      t->sums[i][v] = mvs_emit_variable(e, type);
      mvs_emit_set(e, t->sums[i][v], LLVMConstNull(type));
    }
  }
  mvs_branch given = mvs_emit_if(e, is_given(e, t->parameters[START]));
  for (int i = 0; i < t->rows; ++i) {
    LLVMValueRef row =
        f32_at(e, t->parameters[START], mvs_emit_times(e, t->parameters[START_STRIDE], i));
    for (int v = 0; v < t->vectors; ++v) {
      LLVMValueRef at = f32_at(e, row, mvs_emit_i64(e, v * MVS_LANES));
      mvs_emit_set(e, t->sums[i][v], mvs_emit_load_vector(e, MVS_F32, at, t->masks[v]));
    }
  }
  mvs_emit_if_end(e, &given);
}

/* After the last step of k: the bias is added to the finished sum, once. */
static void add_bias(tile *t) {
  mvs_emit *e = t->e;
  mvs_branch given = mvs_emit_if(e, is_given(e, t->parameters[BIAS]));
  for (int v = 0; v < t->vectors; ++v) {
    LLVMValueRef at = mvs_emit_at(e, mvs_emit_storage(e, t->c_type), t->parameters[BIAS],
                                  mvs_emit_i64(e, v * MVS_LANES));
    LLVMValueRef bias = mvs_emit_load_vector(e, t->c_type, at, t->masks[v]);
    for (int i = 0; i < t->rows; ++i) {
      LLVMValueRef sum = mvs_emit_get(e, t->sums[i][v]);
      mvs_emit_set(e, t->sums[i][v], LLVMBuildFAdd(e->builder, sum, bias, ""));
    }
  }
  mvs_emit_if_end(e, &given);
}

/* C's edge is masked by the width; a bf16 C is rounded here and nowhere before. */
static void store_sums(tile *t) {
  mvs_emit *e = t->e;
  LLVMTypeRef element = mvs_emit_storage(e, t->c_type);
  for (int i = 0; i < t->rows; ++i) {
    LLVMValueRef row = mvs_emit_at(e, element, t->parameters[C],
                                   mvs_emit_times(e, t->parameters[C_STRIDE], i));
    for (int v = 0; v < t->vectors; ++v) {
      LLVMValueRef at = mvs_emit_at(e, element, row, mvs_emit_i64(e, v * MVS_LANES));
      mvs_emit_store(e, t->c_type, at, mvs_emit_get(e, t->sums[i][v]), t->masks[v], false);
    }
  }
}

/* --- the loop over k --- */

/* By rows, every third row has a pointer of its own and its neighbours are reached through the
 * stride times 1 and 2, which x86 addresses: 14 pointers would not fit its 16 registers. */
static int pointers(const tile *t) { return by_rows(t) ? (t->rows + 2) / 3 : 1; }

/* The pointers that move with k: to rows of A, and to B. */
static void begin_pointers(tile *t) {
  mvs_emit *e = t->e;
  for (int i = 0; i < pointers(t); ++i) {
    t->bases[i] = mvs_emit_variable(e, e->ptr);
    LLVMValueRef offset = mvs_emit_times(e, t->parameters[A_STRIDE], (int64_t)3 * i);
    mvs_emit_set(e, t->bases[i], f32_at(e, t->parameters[A], offset));
  }
  t->b = mvs_emit_variable(e, e->ptr);
  mvs_emit_set(e, t->b, t->parameters[B]);
}

/* Moves a pointer variable by a number of f32. */
static void advance(mvs_emit *e, LLVMValueRef variable, LLVMValueRef elements) {
  mvs_emit_set(e, variable, f32_at(e, mvs_emit_get(e, variable), elements));
}

/* Where A holds this step's element of a row of the tile. */
static LLVMValueRef a_address(tile *t, int row) {
  mvs_emit *e = t->e;
  if (!by_rows(t)) return f32_at(e, mvs_emit_get(e, t->bases[0]), mvs_emit_i64(e, row));
  LLVMValueRef base = mvs_emit_get(e, t->bases[row / 3]);
  return row % 3 ? f32_at(e, base, mvs_emit_times(e, t->parameters[A_STRIDE], row % 3)) : base;
}

/* sum + a b, lane by lane: one fma, or those of both elements of a pair. */
static LLVMValueRef add_product(tile *t, LLVMValueRef a, LLVMValueRef b, LLVMValueRef sum) {
  mvs_emit *e = t->e;
  if (!t->pairs) return mvs_emit_fma(e, a, b, sum);
  LLVMTypeRef halves = LLVMVectorType(LLVMBFloatTypeInContext(e->context), 2 * MVS_LANES);
  LLVMValueRef arguments[3] = {sum, LLVMBuildBitCast(e->builder, a, halves, ""),
                               LLVMBuildBitCast(e->builder, b, halves, "")};
  return mvs_emit_plain(e, "llvm.x86.avx512bf16.dpbf16ps.512", arguments, 3);
}

/* One step of k: each vector of B is loaded once and meets every row's broadcast element. */
static void multiply(tile *t) {
  mvs_emit *e = t->e;
  mvs_dtype place = t->pairs ? MVS_I32 : MVS_F32;
  LLVMValueRef b[MAX_VECTORS];
  for (int v = 0; v < t->vectors; ++v) {
    LLVMValueRef at = f32_at(e, mvs_emit_get(e, t->b), mvs_emit_i64(e, v * MVS_LANES));
    b[v] = mvs_emit_load_vector(e, place, at, NULL);
  }
  for (int i = 0; i < t->rows; ++i) {
    LLVMValueRef a = mvs_emit_splat(e, mvs_emit_load(e, place, a_address(t, i)));
    for (int v = 0; v < t->vectors; ++v) {
      LLVMValueRef sum = mvs_emit_get(e, t->sums[i][v]);
      mvs_emit_set(e, t->sums[i][v], add_product(t, a, b[v], sum));
    }
  }
}

/* k may be 0, as in a stretch that is empty: the sums are then what they started from. */
static void loop_over_k(tile *t) {
  mvs_emit *e = t->e;
  LLVMValueRef step = by_rows(t) ? mvs_emit_i64(e, 1) : t->parameters[A_STRIDE];
  mvs_loop loop = mvs_emit_loop(e, mvs_emit_i64(e, 0), t->parameters[K], 1);
  multiply(t);
  for (int i = 0; i < pointers(t); ++i) advance(e, t->bases[i], step);
  advance(e, t->b, t->parameters[B_STRIDE]);
  mvs_emit_loop_end(e, &loop);
}

/* Any number of rows. */
typedef struct block {
  mvs_emit *e;
  mvs_tile_layout layout;
  bool pairs;
  mvs_dtype c_type;
  int vectors;
  LLVMValueRef parameters[PARAMETERS];
  LLVMValueRef row; /* variable: rows done */
} block;

/* Sums in registers from begin to end. */
static void write_tile(void *self, LLVMValueRef *parameters) {
  tile *t = self;
  memcpy(t->parameters, parameters, sizeof t->parameters);
  begin_pointers(t);
  begin_sums(t);
  loop_over_k(t);
  add_bias(t);
  store_sums(t);
}

/* The tile of that height and the block's width, written when first asked for. */
static LLVMValueRef micro_kernel(const block *b, int rows) {
  mvs_emit *e = b->e;
  tile t = {.e = e,
            .rows = rows,
            .vectors = b->vectors,
            .layout = b->layout,
            .pairs = b->pairs,
            .c_type = b->c_type};
  const char *name = mvs_arena_format(e->arena, "tile_%dx%d_%s_%s%s", rows,
                                      b->vectors * MVS_LANES, by_rows(&t) ? "rows" : "columns",
                                      mvs_dtype_name(b->c_type), b->pairs ? "_pairs" : "");
  return mvs_emit_shared(e, name, signature(e), write_tile, &t);
}

/* --- any number of rows --- */

/* A pointer that may be null, moved only when it is not. */
static LLVMValueRef moved(mvs_emit *e, LLVMTypeRef element, LLVMValueRef pointer,
                          LLVMValueRef offset) {
  LLVMValueRef given = is_given(e, pointer);
  LLVMValueRef there = LLVMBuildGEP2(e->builder, element, pointer, &offset, 1, "");
  return mvs_emit_select(e, given, there, pointer);
}

/* Moves every pointer to the rows that are next, then counts them as done. */
static void call_tile(block *b, int height) {
  mvs_emit *e = b->e;
  LLVMValueRef arguments[PARAMETERS], row = mvs_emit_get(e, b->row);
  memcpy(arguments, b->parameters, sizeof arguments);
  LLVMValueRef a_offset =
      b->layout == MVS_TILE_BY_ROWS ? mvs_emit_mul(e, row, arguments[A_STRIDE]) : row;
  arguments[A] = f32_at(e, arguments[A], a_offset);
  arguments[C] = mvs_emit_at(e, mvs_emit_storage(e, b->c_type), arguments[C],
                             mvs_emit_mul(e, row, arguments[C_STRIDE]));
  arguments[START] =
      moved(e, e->f32, arguments[START], mvs_emit_mul(e, row, arguments[START_STRIDE]));
  mvs_emit_call(e, micro_kernel(b, height), arguments, PARAMETERS);
  mvs_emit_set(e, b->row, mvs_emit_add(e, row, mvs_emit_i64(e, height)));
}

/* Tiles of the greatest height while they fit, then of the smaller ones. */
static void all_rows(block *b) {
  mvs_emit *e = b->e;
  mvs_emit_set(e, b->row, mvs_emit_i64(e, 0));
  const int *heights = e->avx512 ? heights_avx512 : heights_avx2;
  for (int h = 0; heights[h]; ++h) {
    LLVMValueRef from = mvs_emit_get(e, b->row);
    LLVMValueRef last = mvs_emit_add(e, b->parameters[ROWS], mvs_emit_i64(e, 1 - heights[h]));
    mvs_loop loop = mvs_emit_loop(e, from, last, heights[h]);
    call_tile(b, heights[h]);
    mvs_emit_loop_end(e, &loop);
  }
}

/* AVX2 has registers for one vector of columns at a time. */
static void halves(block *b) {
  mvs_emit *e = b->e;
  b->vectors = 1;
  LLVMValueRef given[PARAMETERS];
  memcpy(given, b->parameters, sizeof given);
  mvs_loop loop = mvs_emit_loop(e, mvs_emit_i64(e, 0), given[WIDTH], MVS_LANES);
  b->parameters[B] = f32_at(e, given[B], loop.index);
  b->parameters[C] = mvs_emit_at(e, mvs_emit_storage(e, b->c_type), given[C], loop.index);
  b->parameters[START] = moved(e, e->f32, given[START], loop.index);
  b->parameters[BIAS] = moved(e, mvs_emit_storage(e, b->c_type), given[BIAS], loop.index);
  b->parameters[WIDTH] = LLVMBuildNSWSub(e->builder, given[WIDTH], loop.index, "");
  all_rows(b);
  mvs_emit_loop_end(e, &loop);
}

/* AVX-512 takes both vectors of a panel at once, unless only one is wanted. */
static void by_width(block *b) {
  mvs_emit *e = b->e;
  LLVMValueRef lanes = mvs_emit_i64(e, MVS_LANES);
  LLVMValueRef wide = mvs_emit_less(e, lanes, b->parameters[WIDTH]);
  mvs_branch both = mvs_emit_if(e, wide);
  b->vectors = 2;
  all_rows(b);
  mvs_emit_if_end(e, &both);
  mvs_branch one = mvs_emit_if(e, LLVMBuildNot(e->builder, wide, ""));
  b->vectors = 1;
  all_rows(b);
  mvs_emit_if_end(e, &one);
}

static void write_block(void *self, LLVMValueRef *parameters) {
  block *b = self;
  memcpy(b->parameters, parameters, sizeof b->parameters);
  b->row = mvs_emit_variable(b->e, b->e->i64);
  if (b->e->avx512) {
    by_width(b);
  } else {
    halves(b);
  }
}

/* The function around the tiles: any number of rows, up to 32 columns. */
static LLVMValueRef block_function(mvs_emit *e, mvs_tile_layout layout, bool pairs,
                                   mvs_dtype c_type) {
  block b = {.e = e, .layout = layout, .pairs = pairs, .c_type = c_type};
  const char *name = mvs_arena_format(e->arena, "block_%s_%s%s",
                                      layout == MVS_TILE_BY_ROWS ? "rows" : "columns",
                                      mvs_dtype_name(c_type), pairs ? "_pairs" : "");
  return mvs_emit_shared(e, name, signature(e), write_block, &b);
}

void mvs_tile(mvs_emit *e, mvs_tile_layout layout, mvs_dtype c_type,
              const mvs_tile_call *call) {
  LLVMValueRef none = LLVMConstNull(e->ptr), zero = mvs_emit_i64(e, 0);
  LLVMValueRef arguments[PARAMETERS] = {
      [A] = call->a,
      [A_STRIDE] = call->a_stride,
      [B] = call->b,
      [B_STRIDE] = call->b_stride ? call->b_stride : mvs_emit_i64(e, MVS_PANEL),
      [K] = call->k,
      [C] = call->c,
      [C_STRIDE] = call->c_stride,
      [ROWS] = call->rows,
      [WIDTH] = call->width,
      [START] = call->start ? call->start : none,
      [START_STRIDE] = call->start_stride ? call->start_stride : zero,
      [BIAS] = call->bias ? call->bias : none};
  mvs_emit_call(e, block_function(e, layout, call->pairs, c_type), arguments, PARAMETERS);
}
