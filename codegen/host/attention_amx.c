/* attention_amx.c: attention of bf16 by tiles.
 *
 *   S = q k^T         A: q where it lies        B: keys turned, once a unit
 *   P = 2^(c S - m)   in vectors: a query's row at a time, rounded to bf16 as A of the next
 *   O = P v           B: values, pairs of tokens side by side, once a unit
 *
 * Logits of a block of 32 queries and all keys are held at once, as in attention.c. The scale
 * is applied to the logits, in f32: q times the scale would have to be rounded once more. */
#include "codegen/host/attention_amx.h"

#include <math.h>

#include "codegen/host/math.h"

/* --- shared with the gradient --- */

/* Where one block has all tokens, what it costs to bring operands into tiles is more than their
 * speed: digits' heads of 20 tokens. */
bool mvs_attention_in_tiles(const mvs_attention_shape *shape, mvs_cpu_level level) {
  return level == MVS_CPU_AMX && shape->dtype == MVS_BF16 && shape->tokens > MVS_BLOCK;
}

int64_t mvs_tiled(int64_t extent) { return (extent + MVS_BLOCK - 1) / MVS_BLOCK * MVS_BLOCK; }

mvs_head_matrix mvs_tiled_room(mvs_heads *h, int64_t rows, int64_t places) {
  int64_t stride = places + MVS_LANES;
  return (mvs_head_matrix){mvs_heads_room(h, rows, stride), mvs_emit_i64(h->e, stride)};
}

/* Whole blocks alone can be read in place: tiles have 32 rows and whole steps. */
static bool in_place(const mvs_heads *h) {
  const mvs_attention_shape *s = h->shape;
  bool even = true;
  for (int i = 0; i < MVS_ATTENTION_OPERANDS; ++i) even = even && s->strides[i] % 2 == 0;
  return even && s->tokens % MVS_BLOCK == 0 && s->head_dim % MVS_BLOCK == 0;
}

mvs_head_matrix mvs_tiled_rows(mvs_heads *h, mvs_head_matrix matrix, LLVMValueRef rows,
                               mvs_head_matrix room) {
  mvs_emit *e = h->e;
  if (in_place(h))
    return (mvs_head_matrix){matrix.base,
                             LLVMBuildLShr(e->builder, matrix.stride, mvs_emit_i64(e, 1), "")};
  mvs_pack_call copy = {.type = MVS_BF16,
                        .source = matrix.base,
                        .source_stride = matrix.stride,
                        .rows = rows,
                        .columns = h->dim,
                        .target = room.base,
                        .target_stride = room.stride};
  mvs_pairs_copy(e, &copy);
  return room;
}

LLVMValueRef mvs_tiled_panel(mvs_heads *h, int64_t extent) {
  return mvs_emit_i64(h->e, mvs_tiled(extent) / 2 * MVS_BLOCK);
}

void mvs_tiled_across(mvs_heads *h, mvs_head_matrix matrix, LLVMValueRef to) {
  mvs_emit *e = h->e;
  int64_t places = mvs_tiled(h->shape->head_dim) / 2;
  mvs_loop tokens = mvs_emit_loop(e, mvs_emit_i64(e, 0), h->tokens, MVS_BLOCK);
  LLVMValueRef left = LLVMBuildNSWSub(e->builder, h->tokens, tokens.index, "");
  LLVMValueRef from = mvs_emit_mul(e, tokens.index, matrix.stride);
  LLVMValueRef at = mvs_emit_times(e, tokens.index, places);
  mvs_pack_call turn = {.type = MVS_BF16,
                        .source = mvs_emit_at(e, e->i16, matrix.base, from),
                        .source_stride = matrix.stride,
                        .rows = mvs_emit_smaller(e, left, mvs_emit_i64(e, MVS_BLOCK)),
                        .columns = h->dim,
                        .target = mvs_emit_at(e, e->i32, to, at),
                        .target_stride = mvs_emit_i64(e, MVS_BLOCK)};
  mvs_pairs_transpose(e, &turn);
  mvs_emit_loop_end(e, &tokens);
}

void mvs_tiled_along(mvs_heads *h, mvs_head_matrix matrix, LLVMValueRef to) {
  mvs_pack_call pair = {.type = MVS_BF16,
                        .source = matrix.base,
                        .source_stride = matrix.stride,
                        .rows = h->tokens,
                        .columns = h->dim,
                        .target = to,
                        .target_stride = mvs_emit_i64(h->e, MVS_BLOCK),
                        .target_panel = mvs_tiled_panel(h, h->shape->tokens)};
  mvs_pairs_interleave(h->e, &pair);
}

LLVMValueRef mvs_tiled_at(mvs_heads *h, mvs_head_matrix matrix, LLVMValueRef row,
                          LLVMValueRef place) {
  LLVMValueRef at = mvs_emit_add(h->e, mvs_emit_mul(h->e, row, matrix.stride), place);
  return mvs_emit_at(h->e, h->e->i32, matrix.base, at);
}

double mvs_tiled_scale(const mvs_heads *h) { return h->shape->scale * 1.44269504088896341; }

/* --- forward --- */

/* Rows that go through the softmax together: their folds wait for one another's. */
#define ROWS_AT_ONCE 4

typedef struct forward {
  mvs_heads heads;
  mvs_head_unit unit;
  mvs_head_matrix q, o;
  LLVMValueRef keys, values;             /* panels */
  mvs_head_matrix rows;                  /* room for the block's queries */
  mvs_head_matrix logits, weights, sums; /* of the block: f32, bf16, f32 */
  LLVMValueRef tops, totals;             /* of the block's rows */
} forward;

/* 16 logits of a row, so signed that the greatest has the greatest weight. */
static LLVMValueRef logits_at(forward *f, LLVMValueRef row, LLVMValueRef key) {
  mvs_emit *e = f->heads.e;
  LLVMValueRef at = mvs_tiled_at(&f->heads, f->logits, row, key);
  LLVMValueRef value = mvs_emit_load_vector(e, MVS_F32, at, NULL);
  return f->heads.shape->scale < 0 ? LLVMBuildFNeg(e->builder, value, "") : value;
}

/* Calls `each` for 32 keys of the rows at a time, the second time for those that are left. */
typedef void each_keys(forward *f, LLVMValueRef row, LLVMValueRef key, int64_t left,
                       LLVMValueRef *variables, LLVMValueRef *more);

static void for_keys(forward *f, each_keys *each, LLVMValueRef row, LLVMValueRef *variables,
                     LLVMValueRef *more) {
  mvs_emit *e = f->heads.e;
  int64_t tokens = f->heads.shape->tokens, whole = tokens / MVS_BLOCK * MVS_BLOCK;
  mvs_loop keys = mvs_emit_loop(e, mvs_emit_i64(e, 0), mvs_emit_i64(e, whole), MVS_BLOCK);
  each(f, row, keys.index, MVS_BLOCK, variables, more);
  mvs_emit_loop_end(e, &keys);
  if (whole < tokens) each(f, row, mvs_emit_i64(e, whole), tokens - whole, variables, more);
}

/* A vector of 32 keys of which `left` are there; lanes that are not become `other`. */
static LLVMValueRef there(mvs_emit *e, LLVMValueRef value, int vector, int64_t left,
                          double other) {
  int64_t lanes = left - vector * MVS_LANES;
  if (lanes >= MVS_LANES) return value;
  LLVMValueRef mask = mvs_emit_first_lanes(e, lanes < 0 ? 0 : (int)lanes);
  return mvs_emit_select(e, mask, value, mvs_emit_real(LLVMTypeOf(value), other));
}

/* The greatest so far of each row. */
static void raise(forward *f, LLVMValueRef row, LLVMValueRef key, int64_t left,
                  LLVMValueRef *most, LLVMValueRef *more) {
  (void)more;
  mvs_emit *e = f->heads.e;
  for (int i = 0; i < ROWS_AT_ONCE; ++i) {
    LLVMValueRef line = mvs_emit_add(e, row, mvs_emit_i64(e, i)),
                 top = mvs_emit_get(e, most[i]);
    for (int v = 0; v < 2; ++v) {
      LLVMValueRef at = mvs_emit_add(e, key, mvs_emit_i64(e, v * MVS_LANES));
      top = mvs_emit_greater(e, there(e, logits_at(f, line, at), v, left, -INFINITY), top);
    }
    mvs_emit_set(e, most[i], top);
  }
}

/* Weights of 32 keys, rounded; the sums are of what they were before. */
static void weigh(forward *f, LLVMValueRef row, LLVMValueRef key, int64_t left,
                  LLVMValueRef *total, LLVMValueRef *least) {
  mvs_emit *e = f->heads.e;
  LLVMValueRef place = LLVMBuildLShr(e->builder, key, mvs_emit_i64(e, 1), "");
  for (int i = 0; i < ROWS_AT_ONCE; ++i) {
    LLVMValueRef line = mvs_emit_add(e, row, mvs_emit_i64(e, i)), weight[2];
    for (int v = 0; v < 2; ++v) {
      LLVMValueRef at = mvs_emit_add(e, key, mvs_emit_i64(e, v * MVS_LANES));
      LLVMValueRef logit = logits_at(f, line, at);
      LLVMValueRef factor = mvs_emit_real(LLVMTypeOf(logit), fabs(mvs_tiled_scale(&f->heads)));
      weight[v] = mvs_emit_power(e, mvs_emit_fma(e, logit, factor, least[i]));
      weight[v] = there(e, weight[v], v, left, 0);
      LLVMValueRef sum = mvs_emit_get(e, total[2 * i + v]);
      mvs_emit_set(e, total[2 * i + v], LLVMBuildFAdd(e->builder, sum, weight[v], ""));
    }
    mvs_emit_store(e, MVS_I32, mvs_tiled_at(&f->heads, f->weights, line, place),
                   mvs_emit_bf16_places(e, weight[0], weight[1]), NULL, false);
  }
}

/* A number for each row, one row after the other. */
static void put_row(forward *f, LLVMValueRef list, LLVMValueRef row, LLVMValueRef value) {
  mvs_emit *e = f->heads.e;
  mvs_emit_store(e, MVS_F32, mvs_emit_at(e, e->f32, list, row), value, NULL, false);
}

/* Rows from logits to weights; the greatest logit, times the scale, and the sum are kept. */
static void softmax_rows(forward *f, LLVMValueRef row) {
  mvs_emit *e = f->heads.e;
  LLVMTypeRef type = mvs_emit_vector(e->f32);
  LLVMValueRef most[ROWS_AT_ONCE], total[2 * ROWS_AT_ONCE], least[ROWS_AT_ONCE];
  for (int i = 0; i < ROWS_AT_ONCE; ++i) {
    most[i] = mvs_emit_variable(e, type);
    mvs_emit_set(e, most[i], mvs_emit_real(type, -INFINITY));
  }
  for_keys(f, raise, row, most, NULL);
  double scale = fabs(f->heads.shape->scale), power = fabs(mvs_tiled_scale(&f->heads));
  for (int i = 0; i < ROWS_AT_ONCE; ++i) {
    LLVMValueRef top = mvs_emit_fold(e, mvs_emit_get(e, most[i]), true);
    least[i] = LLVMBuildFMul(e->builder, top, mvs_emit_real(e->f32, -power), "");
    least[i] = mvs_emit_splat(e, least[i]);
    top = LLVMBuildFMul(e->builder, top, mvs_emit_real(e->f32, scale), "");
    put_row(f, f->tops, mvs_emit_add(e, row, mvs_emit_i64(e, i)), top);
    for (int v = 0; v < 2; ++v) {
      total[2 * i + v] = mvs_emit_variable(e, type);
      mvs_emit_set(e, total[2 * i + v], LLVMConstNull(type));
    }
  }
  for_keys(f, weigh, row, total, least);
  for (int i = 0; i < ROWS_AT_ONCE; ++i) {
    LLVMValueRef sum = LLVMBuildFAdd(e->builder, mvs_emit_get(e, total[2 * i]),
                                     mvs_emit_get(e, total[2 * i + 1]), "");
    put_row(f, f->totals, mvs_emit_add(e, row, mvs_emit_i64(e, i)),
            mvs_emit_fold(e, sum, false));
  }
}

/* The block's rows; then 1 / their sums takes the sums' place and lse is written. */
static void softmax(forward *f) {
  mvs_heads *h = &f->heads;
  mvs_emit *e = h->e;
  mvs_loop rows = mvs_emit_loop(e, mvs_emit_i64(e, 0), h->count, ROWS_AT_ONCE);
  softmax_rows(f, rows.index);
  mvs_emit_loop_end(e, &rows);
  mvs_loop lanes = mvs_emit_loop(e, mvs_emit_i64(e, 0), h->count, MVS_LANES);
  LLVMValueRef at = mvs_emit_at(e, e->f32, f->totals, lanes.index);
  LLVMValueRef total = mvs_emit_load_vector(e, MVS_F32, at, NULL);
  LLVMValueRef one = mvs_emit_real(LLVMTypeOf(total), 1);
  mvs_emit_store(e, MVS_F32, at, LLVMBuildFDiv(e->builder, one, total, ""), NULL, false);
  at = mvs_emit_at(e, e->f32, f->tops, lanes.index);
  LLVMValueRef top = mvs_emit_load_vector(e, MVS_F32, at, NULL);
  LLVMValueRef lse = LLVMBuildFAdd(e->builder, top, mvs_emit_log(e, total), "");
  mvs_emit_store(e, MVS_F32, mvs_heads_lse(h, f->unit.sample, f->unit.head, lanes.index), lse,
                 mvs_emit_mask(e, lanes.index, h->count), false);
  mvs_emit_loop_end(e, &lanes);
}

/* C = A x B of the block's 32 rows, summed over `places`. */
static void multiply(forward *f, mvs_head_matrix a, LLVMValueRef b, mvs_head_matrix c,
                     int64_t columns, int64_t summed) {
  mvs_emit *e = f->heads.e;
  mvs_amx_product product = {.a = a.base,
                             .a_stride = a.stride,
                             .b = b,
                             .b_stride = mvs_tiled_panel(&f->heads, summed),
                             .c = c.base,
                             .c_stride = c.stride,
                             .rows = mvs_emit_i64(e, MVS_BLOCK),
                             .columns = mvs_emit_i64(e, mvs_tiled(columns)),
                             .places = mvs_emit_i64(e, mvs_tiled(summed) / 2),
                             .go_on = mvs_emit_int(e->i1, 0)};
  mvs_amx_multiply(e, &product);
}

/* One block of queries from q to o. */
static void block(forward *f) {
  mvs_heads *h = &f->heads;
  mvs_head_matrix rows = {mvs_heads_rows(h, f->q), f->q.stride};
  rows = mvs_tiled_rows(h, rows, h->count, f->rows);
  multiply(f, rows, f->keys, f->logits, h->shape->tokens, h->shape->head_dim);
  softmax(f);
  multiply(f, f->weights, f->values, f->sums, h->shape->head_dim, h->shape->tokens);
  mvs_heads_finish(h, f->sums, f->totals, f->o);
}

/* A unit: one head of one sample, a run of queries. */
static void unit(forward *f, const mvs_division *division, LLVMValueRef number) {
  mvs_heads *h = &f->heads;
  mvs_emit *e = h->e;
  f->unit = mvs_heads_unit(h, division, number);
  const mvs_head_unit *u = &f->unit;
  f->q = mvs_heads_matrix(h, MVS_ATTENTION_Q, u->sample, u->head);
  f->o = mvs_heads_matrix(h, MVS_ATTENTION_O, u->sample, u->head);
  mvs_tiled_across(h, mvs_heads_matrix(h, MVS_ATTENTION_K, u->sample, u->kv_head), f->keys);
  mvs_tiled_along(h, mvs_heads_matrix(h, MVS_ATTENTION_V, u->sample, u->kv_head), f->values);
  mvs_loop blocks = mvs_emit_loop(e, u->from, u->end, MVS_BLOCK);
  mvs_heads_block(h, blocks.index);
  block(f);
  mvs_emit_loop_end(e, &blocks);
}

/* Divides the scratch. */
static void rooms(forward *f) {
  mvs_heads *h = &f->heads;
  int64_t tokens = mvs_tiled(h->shape->tokens), dim = mvs_tiled(h->shape->head_dim);
  f->keys = mvs_heads_room(h, tokens, dim / 2);
  f->values = mvs_heads_room(h, tokens, dim / 2);
  f->rows = mvs_tiled_room(h, MVS_BLOCK, dim / 2);
  f->logits = mvs_tiled_room(h, MVS_BLOCK, tokens);
  f->weights = mvs_tiled_room(h, MVS_BLOCK, tokens / 2);
  f->sums = mvs_tiled_room(h, MVS_BLOCK, dim);
  f->tops = mvs_heads_room(h, 1, MVS_BLOCK);
  f->totals = mvs_heads_room(h, 1, MVS_BLOCK);
}

/* Units are those of attention.c. */
mvs_status mvs_host_print_amx_attention(mvs_emit *e, const mvs_kernel *kernel,
                                        mvs_printed *out) {
  forward f = {.heads = {.e = e, .shape = &kernel->attention}};
  mvs_heads *h = &f.heads;
  mvs_division division = mvs_heads_division(h->shape);
  const char *symbol = mvs_arena_format(e->arena, "%s_heads", kernel->name);
  mvs_heads_open(h, symbol);
  rooms(&f);
  mvs_amx_open(e, mvs_emit_i64(e, MVS_BLOCK));
  mvs_loop units = mvs_emit_loop(e, h->entry.begin, h->entry.end, 1);
  unit(&f, &division, units.index);
  mvs_emit_loop_end(e, &units);
  mvs_amx_close(e);
  LLVMBuildRetVoid(e->builder);
  out->scratch = h->scratch;
  mvs_printed_add(e->arena, out, symbol, division);
  return MVS_OK;
}
