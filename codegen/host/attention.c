/* attention.c: softmax(scale q k^T) v and the logarithm of the softmax's sum.
 *
 * A unit copies the keys and values of its head to scratch as f32, then takes blocks of 32
 * queries: logits of all keys, their maximum, weights e^(logit - maximum) and sums, the
 * weighted values, at last the division. Logits of all keys are held at once, so no running
 * maximum has to be corrected; scratch grows with the tokens for it. Every sum goes upwards
 * in the key for each query by itself, so how queries are divided into units changes no
 * bits. Several query heads may share one key-value head; each copies it anew. */
#include "codegen/host/attention.h"

#include "codegen/host/math.h"

/* Up to this many tokens a unit takes all queries of a head; beyond, this many each. */
#define QUERY_CHUNK 512

/* --- shared with the gradient --- */

/* The function's prologue, and the constants of the shape that all of it uses. */
void mvs_heads_open(mvs_heads *h, const char *symbol) {
  mvs_emit *e = h->e;
  h->entry = mvs_emit_entry(e, symbol);
  h->depth = (h->shape->head_dim + MVS_LANES - 1) / MVS_LANES * MVS_LANES;
  h->tokens = mvs_emit_i64(e, h->shape->tokens);
  h->dim = mvs_emit_i64(e, h->shape->head_dim);
}

LLVMValueRef mvs_heads_room(mvs_heads *h, int64_t rows, int64_t columns) {
  LLVMValueRef room = mvs_emit_scratch(h->e, &h->entry, h->scratch);
  h->scratch += (rows * columns * 4 + 63) / 64 * 64;
  return room;
}

mvs_head_matrix mvs_heads_matrix(mvs_heads *h, int operand, LLVMValueRef sample,
                                 LLVMValueRef head) {
  mvs_emit *e = h->e;
  int64_t stride = h->shape->strides[operand], per_sample = h->shape->tokens * stride;
  LLVMValueRef at = mvs_emit_add(e, mvs_emit_times(e, sample, per_sample),
                                 mvs_emit_times(e, head, h->shape->head_dim));
  LLVMValueRef base = mvs_emit_operand(e, &h->entry, operand);
  return (mvs_head_matrix){mvs_emit_at(e, mvs_emit_storage(e, h->shape->dtype), base, at),
                           mvs_emit_i64(e, stride)};
}

/* Rows of a head lie a token apart; in scratch they are neighbours, with zeros up to whole
 * vectors. */
void mvs_heads_keys(mvs_heads *h, mvs_head_matrix matrix, LLVMValueRef to) {
  mvs_pack_call copy = {.type = h->shape->dtype,
                        .source = matrix.base,
                        .source_stride = matrix.stride,
                        .rows = h->tokens,
                        .columns = h->dim,
                        .target = to,
                        .target_stride = mvs_emit_i64(h->e, h->depth)};
  mvs_pack_copy(h->e, &copy);
}

LLVMValueRef mvs_heads_rows(mvs_heads *h, mvs_head_matrix matrix) {
  LLVMValueRef at = mvs_emit_mul(h->e, h->first, matrix.stride);
  return mvs_emit_at(h->e, mvs_emit_storage(h->e, h->shape->dtype), matrix.base, at);
}

/* The scale is applied here, once per element of q, rather than to every logit. */
void mvs_heads_panel(mvs_heads *h, mvs_head_matrix matrix, double scale, LLVMValueRef to) {
  mvs_pack_call transpose = {.type = h->shape->dtype,
                             .source = mvs_heads_rows(h, matrix),
                             .source_stride = matrix.stride,
                             .rows = h->count,
                             .columns = h->dim,
                             .target = to,
                             .target_stride = mvs_emit_i64(h->e, MVS_PANEL),
                             .scale = mvs_emit_real(h->e->f32, scale)};
  mvs_pack_transpose(h->e, &transpose);
}

/* Lanes beyond the last query are zeros in the panel, so their logits are 0: harmless, and
 * never stored. */
void mvs_heads_logits(mvs_heads *h, LLVMValueRef keys, LLVMValueRef panel, LLVMValueRef to) {
  mvs_tile_call tile = {.a = keys,
                        .a_stride = mvs_emit_i64(h->e, h->depth),
                        .b = panel,
                        .k = h->dim,
                        .c = to,
                        .c_stride = mvs_emit_i64(h->e, MVS_PANEL),
                        .rows = h->tokens,
                        .width = h->lanes};
  mvs_tile(h->e, MVS_TILE_BY_ROWS, MVS_F32, &tile);
}

/* The sum runs over keys: a product whose left side is read by columns. */
void mvs_heads_weighted(mvs_heads *h, LLVMValueRef values, LLVMValueRef weights,
                        LLVMValueRef to) {
  mvs_tile_call tile = {.a = values,
                        .a_stride = mvs_emit_i64(h->e, h->depth),
                        .b = weights,
                        .k = h->tokens,
                        .c = to,
                        .c_stride = mvs_emit_i64(h->e, MVS_PANEL),
                        .rows = h->dim,
                        .width = h->lanes};
  mvs_tile(h->e, MVS_TILE_BY_COLUMNS, MVS_F32, &tile);
}

/* Back from one query a lane to one query a row; only the queries that exist are written. */
void mvs_heads_restore(mvs_heads *h, LLVMValueRef from, mvs_head_matrix matrix) {
  mvs_pack_call restore = {.type = h->shape->dtype,
                           .source = from,
                           .source_stride = mvs_emit_i64(h->e, MVS_PANEL),
                           .rows = h->dim,
                           .columns = h->count,
                           .target = mvs_heads_rows(h, matrix),
                           .target_stride = matrix.stride};
  mvs_pack_restore(h->e, &restore);
}

LLVMValueRef mvs_heads_at(mvs_heads *h, LLVMValueRef panel, LLVMValueRef row,
                          LLVMValueRef column) {
  LLVMValueRef at = mvs_emit_add(h->e, mvs_emit_times(h->e, row, MVS_PANEL), column);
  return mvs_emit_at(h->e, h->e->f32, panel, at);
}

LLVMValueRef mvs_heads_load(mvs_heads *h, LLVMValueRef panel, LLVMValueRef row,
                            LLVMValueRef column) {
  return mvs_emit_load_vector(h->e, MVS_F32, mvs_heads_at(h, panel, row, column), NULL);
}

void mvs_heads_store(mvs_heads *h, LLVMValueRef panel, LLVMValueRef row, LLVMValueRef column,
                     LLVMValueRef value) {
  mvs_emit_store(h->e, MVS_F32, mvs_heads_at(h, panel, row, column), value, NULL, false);
}

/* The last block of a head may have fewer than 32 queries; its lanes are rounded up to a
 * vector. */
void mvs_heads_block(mvs_heads *h, LLVMValueRef first) {
  mvs_emit *e = h->e;
  h->first = first;
  LLVMValueRef left = LLVMBuildNSWSub(e->builder, h->tokens, first, "");
  h->count = mvs_emit_smaller(e, left, mvs_emit_i64(e, MVS_PANEL));
  LLVMValueRef up = mvs_emit_add(e, h->count, mvs_emit_i64(e, MVS_LANES - 1));
  h->lanes = LLVMBuildAnd(e->builder, up, mvs_emit_i64(e, -MVS_LANES), "");
}

LLVMValueRef mvs_heads_lse(mvs_heads *h, LLVMValueRef sample, LLVMValueRef head,
                           LLVMValueRef lane) {
  mvs_emit *e = h->e;
  LLVMValueRef number = mvs_emit_add(e, mvs_emit_times(e, sample, h->shape->heads), head);
  LLVMValueRef at =
      mvs_emit_add(e, mvs_emit_mul(e, number, h->tokens), mvs_emit_add(e, h->first, lane));
  return mvs_emit_at(e, e->f32, mvs_emit_operand(e, &h->entry, MVS_ATTENTION_LSE), at);
}

/* --- forward --- */

/* What the emitted function holds at each moment, as IR values. */
typedef struct forward {
  mvs_heads heads;
  LLVMValueRef sample, head;
  mvs_head_matrix q, o;
  LLVMValueRef keys, values;          /* f32 copies */
  LLVMValueRef panel, logits, result; /* [depth][32], [tokens][32], [depth][32] */
} forward;

static LLVMValueRef zero(forward *f) { return mvs_emit_i64(f->heads.e, 0); }

/* The greatest logit of each query: any order gives the same. */
static LLVMValueRef greatest(forward *f, LLVMValueRef lane) {
  mvs_emit *e = f->heads.e;
  LLVMValueRef most = mvs_emit_variable(e, mvs_emit_vector(e->f32));
  mvs_emit_set(e, most, mvs_heads_load(&f->heads, f->logits, zero(f), lane));
  mvs_loop keys = mvs_emit_loop(e, mvs_emit_i64(e, 1), f->heads.tokens, 1);
  LLVMValueRef logit = mvs_heads_load(&f->heads, f->logits, keys.index, lane);
  mvs_emit_set(e, most, mvs_emit_greater(e, logit, mvs_emit_get(e, most)));
  mvs_emit_loop_end(e, &keys);
  return mvs_emit_get(e, most);
}

/* Logits become weights e^(logit - greatest); their sums, upwards in the key. */
static LLVMValueRef weigh(forward *f, LLVMValueRef lane, LLVMValueRef most) {
  mvs_emit *e = f->heads.e;
  LLVMTypeRef type = mvs_emit_vector(e->f32);
  LLVMValueRef total = mvs_emit_variable(e, type);
  mvs_emit_set(e, total, LLVMConstNull(type));
  mvs_loop keys = mvs_emit_loop(e, zero(f), f->heads.tokens, 1);
  LLVMValueRef logit = mvs_heads_load(&f->heads, f->logits, keys.index, lane);
  LLVMValueRef weight = mvs_emit_exp_below(e, LLVMBuildFSub(e->builder, logit, most, ""));
  mvs_heads_store(&f->heads, f->logits, keys.index, lane, weight);
  mvs_emit_set(e, total, LLVMBuildFAdd(e->builder, mvs_emit_get(e, total), weight, ""));
  mvs_emit_loop_end(e, &keys);
  return mvs_emit_get(e, total);
}

/* Divides the result by the sum of weights: head_dim rows are fewer than keys. */
static void normalise(forward *f, LLVMValueRef lane, LLVMValueRef total) {
  mvs_emit *e = f->heads.e;
  LLVMValueRef one = mvs_emit_real(LLVMTypeOf(total), 1);
  LLVMValueRef factor = LLVMBuildFDiv(e->builder, one, total, "");
  mvs_loop rows = mvs_emit_loop(e, zero(f), f->heads.dim, 1);
  LLVMValueRef value = mvs_heads_load(&f->heads, f->result, rows.index, lane);
  value = LLVMBuildFMul(e->builder, value, factor, "");
  mvs_heads_store(&f->heads, f->result, rows.index, lane, value);
  mvs_emit_loop_end(e, &rows);
}

/* Logits become weights; their sums go to `totals`, the logarithm of the sums to lse. */
static void softmax(forward *f, LLVMValueRef totals) {
  mvs_heads *h = &f->heads;
  mvs_emit *e = h->e;
  mvs_loop lanes = mvs_emit_loop(e, zero(f), h->lanes, MVS_LANES);
  LLVMValueRef most = greatest(f, lanes.index);
  LLVMValueRef total = weigh(f, lanes.index, most);
  mvs_heads_store(h, totals, zero(f), lanes.index, total);
  LLVMValueRef lse = LLVMBuildFAdd(e->builder, most, mvs_emit_log(e, total), "");
  mvs_emit_store(e, MVS_F32, mvs_heads_lse(h, f->sample, f->head, lanes.index), lse,
                 mvs_emit_mask(e, lanes.index, h->count), false);
  mvs_emit_loop_end(e, &lanes);
}

/* One block of queries from q to o. `totals` is a row of scratch: the sums of weights. */
static void block(forward *f, LLVMValueRef totals) {
  mvs_heads *h = &f->heads;
  mvs_emit *e = h->e;
  mvs_heads_panel(h, f->q, h->shape->scale, f->panel);
  mvs_heads_logits(h, f->keys, f->panel, f->logits);
  softmax(f, totals);
  mvs_heads_weighted(h, f->values, f->logits, f->result);
  mvs_loop lanes = mvs_emit_loop(e, zero(f), h->lanes, MVS_LANES);
  normalise(f, lanes.index, mvs_heads_load(h, totals, zero(f), lanes.index));
  mvs_emit_loop_end(e, &lanes);
  mvs_heads_restore(h, f->result, f->o);
}

/* A unit: one head of one sample, a run of queries. */
static void unit(forward *f, const mvs_division *division, LLVMValueRef number) {
  mvs_heads *h = &f->heads;
  mvs_emit *e = h->e;
  const mvs_attention_shape *s = h->shape;
  LLVMValueRef across = mvs_emit_ceil_div(e, h->tokens, division->inner_chunk);
  LLVMValueRef row = LLVMBuildUDiv(e->builder, number, across, "");
  LLVMValueRef from =
      mvs_emit_times(e, LLVMBuildURem(e->builder, number, across, ""), division->inner_chunk);
  LLVMValueRef heads = mvs_emit_i64(e, s->heads);
  f->sample = LLVMBuildUDiv(e->builder, row, heads, "");
  f->head = LLVMBuildURem(e->builder, row, heads, "");
  LLVMValueRef group = mvs_emit_i64(e, s->heads / s->kv_heads);
  LLVMValueRef kv_head = LLVMBuildUDiv(e->builder, f->head, group, "");
  f->q = mvs_heads_matrix(h, MVS_ATTENTION_Q, f->sample, f->head);
  f->o = mvs_heads_matrix(h, MVS_ATTENTION_O, f->sample, f->head);
  mvs_heads_keys(h, mvs_heads_matrix(h, MVS_ATTENTION_K, f->sample, kv_head), f->keys);
  mvs_heads_keys(h, mvs_heads_matrix(h, MVS_ATTENTION_V, f->sample, kv_head), f->values);
  LLVMValueRef end = mvs_emit_add(e, from, mvs_emit_i64(e, division->inner_chunk));
  LLVMValueRef totals = mvs_heads_room(h, 1, MVS_PANEL);
  mvs_loop blocks = mvs_emit_loop(e, from, mvs_emit_smaller(e, end, h->tokens), MVS_PANEL);
  mvs_heads_block(h, blocks.index);
  block(f, totals);
  mvs_emit_loop_end(e, &blocks);
}

/* Units are (sample, head, chunk of queries): one a head for short sequences, several for long.
 */
mvs_status mvs_host_print_attention(mvs_emit *e, const mvs_kernel *kernel, mvs_printed *out) {
  forward f = {.heads = {.e = e, .shape = &kernel->attention}};
  mvs_heads *h = &f.heads;
  int64_t tokens = h->shape->tokens;
  mvs_division division = {
      {h->shape->heads, true}, {tokens, false}, 1, tokens < QUERY_CHUNK ? tokens : QUERY_CHUNK};
  const char *symbol = mvs_arena_format(e->arena, "%s_heads", kernel->name);
  mvs_heads_open(h, symbol);
  f.keys = mvs_heads_room(h, tokens, h->depth);
  f.values = mvs_heads_room(h, tokens, h->depth);
  f.panel = mvs_heads_room(h, h->depth, MVS_PANEL);
  f.logits = mvs_heads_room(h, tokens, MVS_PANEL);
  f.result = mvs_heads_room(h, h->depth, MVS_PANEL);
  mvs_loop units = mvs_emit_loop(e, h->entry.begin, h->entry.end, 1);
  unit(&f, &division, units.index);
  mvs_emit_loop_end(e, &units);
  LLVMBuildRetVoid(e->builder);
  out->scratch = h->scratch;
  mvs_printed_add(e->arena, out, symbol, division);
  return MVS_OK;
}
