/* attention_amx_grad.c: gradients of attention of bf16 by tiles; the formulas are those of
 * attention_grad.c. Keys are the rows here, so that most operands lie as products read them:
 *
 *   S^T = k q^T       A: k where it lies        B: q turned, once a head
 *   dP^T = v dO^T     A: v where it lies        B: dO turned
 *   P^T, dS^T         in vectors, 32 keys x 32 queries at a time, rounded to bf16
 *   dV = P^T dO       A: P^T as it comes        B: dO, pairs of queries side by side
 *   dK = dS^T q       A: dS^T as it comes       B: q, pairs of queries
 *   dQ^T = k^T dS^T   A: k turned, once a unit  B: dS^T, pairs of keys; dQ^T is turned back
 *
 * A unit is one key-value head of one sample, as there: it takes the queries of all its heads,
 * and for each head blocks of 32 keys in order. dS^T of up to KEYS_AT_ONCE keys and all queries
 * waits for the product over keys. */
#include "codegen/host/attention_amx.h"
#include "codegen/host/math.h"

/* Keys whose slopes are kept for dQ: long sums for a few hundred KiB. */
#define KEYS_AT_ONCE 512

typedef struct backward {
  mvs_heads heads;
  LLVMValueRef sample, kv_head, head;
  /* Of the key-value head: A of S^T and dP^T, and of dQ^T. */
  mvs_head_matrix keys, values, keys_turned;
  mvs_head_matrix keys_room, values_room;
  mvs_head_matrix dk, dv; /* f32: all keys where heads share them, else a block's */
  /* Of the head: B of S^T, dP^T, dK and dV, and one number a query. */
  LLVMValueRef q_across, do_across, q_along, do_along, lses, deltas;
  mvs_head_matrix dq;      /* f32 [features][queries], those of a block in the order of pairs */
  mvs_head_matrix dq_rows; /* f32 [32 queries][features] */
  LLVMValueRef slope_pairs; /* B of dQ^T: [32 queries][pair of keys][query] */
  /* Of the block of keys. */
  mvs_head_matrix logits, slopes;          /* f32 [32][32] */
  mvs_head_matrix weight_rows, slope_rows; /* A of dV and dK: [32][pairs of queries] */
  LLVMValueRef first_key;                  /* of the block */
} backward;

/* The index 0. */
static LLVMValueRef zero(backward *g) { return mvs_emit_i64(g->heads.e, 0); }

/* Whether several query heads add to one dk and dv. */
static bool shares(const backward *g) {
  return g->heads.shape->heads != g->heads.shape->kv_heads;
}

/* Keys of one product for dQ. */
static int64_t keys_at_once(const backward *g) {
  int64_t tokens = mvs_tiled(g->heads.shape->tokens);
  return tokens < KEYS_AT_ONCE ? tokens : KEYS_AT_ONCE;
}

/* Divides the scratch. */
static void rooms(backward *g) {
  mvs_heads *h = &g->heads;
  int64_t tokens = mvs_tiled(h->shape->tokens), dim = mvs_tiled(h->shape->head_dim);
  LLVMValueRef *panels[] = {&g->q_across, &g->do_across, &g->q_along, &g->do_along};
  for (int i = 0; i < 4; ++i) *panels[i] = mvs_heads_room(h, tokens, dim / 2);
  g->keys_room = mvs_tiled_room(h, tokens, dim / 2);
  g->values_room = mvs_tiled_room(h, tokens, dim / 2);
  g->keys_turned = mvs_tiled_room(h, dim, tokens / 2);
  int64_t sums = shares(g) ? tokens : MVS_BLOCK;
  g->dk = mvs_tiled_room(h, sums, dim);
  g->dv = mvs_tiled_room(h, sums, dim);
  g->lses = mvs_heads_room(h, 1, tokens);
  g->deltas = mvs_heads_room(h, 1, tokens);
  g->dq = mvs_tiled_room(h, dim, tokens);
  g->dq_rows = mvs_tiled_room(h, MVS_BLOCK, dim);
  g->slope_pairs = mvs_heads_room(h, tokens, keys_at_once(g) / 2);
  g->logits = mvs_tiled_room(h, MVS_BLOCK, MVS_BLOCK);
  g->slopes = mvs_tiled_room(h, MVS_BLOCK, MVS_BLOCK);
  g->weight_rows = mvs_tiled_room(h, MVS_BLOCK, tokens / 2);
  g->slope_rows = mvs_tiled_room(h, MVS_BLOCK, tokens / 2);
}

/* --- P and dS of 32 keys and 32 queries --- */

/* What the vectors of one block of queries have in common. */
typedef struct queries {
  LLVMValueRef first, pairs;               /* query, and where its pairs of slopes begin */
  LLVMValueRef lse[2], delta[2], there[2]; /* there: NULL where all queries are */
} queries;

/* The columns: logarithms in powers of two, deltas times scale. */
static queries open_queries(backward *g, LLVMValueRef first, LLVMValueRef pairs) {
  mvs_heads *h = &g->heads;
  mvs_emit *e = h->e;
  queries q = {.first = first, .pairs = pairs};
  for (int v = 0; v < 2; ++v) {
    LLVMValueRef at = mvs_emit_add(e, first, mvs_emit_i64(e, v * MVS_LANES));
    q.lse[v] = mvs_emit_load_vector(e, MVS_F32, mvs_emit_at(e, e->f32, g->lses, at), NULL);
    q.delta[v] = mvs_emit_load_vector(e, MVS_F32, mvs_emit_at(e, e->f32, g->deltas, at), NULL);
    if (h->shape->tokens % MVS_BLOCK != 0) q.there[v] = mvs_emit_mask(e, at, h->tokens);
  }
  return q;
}

/* The weights and slopes of a key, as bf16; zeros for a key or query that does not exist. */
static void row_of(backward *g, const queries *q, LLVMValueRef row, LLVMValueRef *weights,
                   LLVMValueRef *slopes) {
  mvs_heads *h = &g->heads;
  mvs_emit *e = h->e;
  LLVMValueRef p[2], ds[2];
  LLVMValueRef is_key = mvs_emit_less(e, mvs_emit_add(e, g->first_key, row), h->tokens);
  for (int v = 0; v < 2; ++v) {
    LLVMValueRef at = mvs_emit_i64(e, v * MVS_LANES);
    LLVMValueRef logit =
        mvs_emit_load_vector(e, MVS_F32, mvs_tiled_at(h, g->logits, row, at), NULL);
    LLVMValueRef slope =
        mvs_emit_load_vector(e, MVS_F32, mvs_tiled_at(h, g->slopes, row, at), NULL);
    LLVMTypeRef type = LLVMTypeOf(logit);
    LLVMValueRef power = mvs_emit_real(type, mvs_tiled_scale(h));
    p[v] = mvs_emit_power(e, mvs_emit_fma(e, logit, power, q->lse[v]));
    slope = mvs_emit_fma(e, slope, mvs_emit_real(type, h->shape->scale), q->delta[v]);
    ds[v] = LLVMBuildFMul(e->builder, p[v], slope, "");
    if (!q->there[v]) continue;
    LLVMValueRef none = LLVMConstNull(type);
    LLVMValueRef keep = LLVMBuildAnd(e->builder, q->there[v], mvs_emit_splat(e, is_key), "");
    p[v] = mvs_emit_select(e, keep, p[v], none);
    ds[v] = mvs_emit_select(e, keep, ds[v], none);
  }
  *weights = mvs_emit_bf16_places(e, p[0], p[1]);
  *slopes = mvs_emit_bf16_places(e, ds[0], ds[1]);
}

/* Pairs of two rows of 32 bf16: of every four queries of eight, in the order in which one
 * instruction gives them. Query 8 i + j (+ 4 where `upper`) is in place 4 i + j. */
static LLVMValueRef pair_up(mvs_emit *e, LLVMValueRef even, LLVMValueRef odd, bool upper) {
  LLVMTypeRef halves = LLVMVectorType(e->i16, 2 * MVS_LANES);
  LLVMValueRef order[2 * MVS_LANES];
  for (int place = 0; place < MVS_LANES; ++place) {
    int query = place / 4 * 8 + place % 4 + (upper ? 4 : 0);
    order[2 * place] = mvs_emit_int(e->i32, query);
    order[2 * place + 1] = mvs_emit_int(e->i32, query + 2 * MVS_LANES);
  }
  even = LLVMBuildBitCast(e->builder, even, halves, "");
  odd = LLVMBuildBitCast(e->builder, odd, halves, "");
  LLVMValueRef pairs =
      LLVMBuildShuffleVector(e->builder, even, odd, LLVMConstVector(order, 2 * MVS_LANES), "");
  return LLVMBuildBitCast(e->builder, pairs, mvs_emit_vector(e->i32), "");
}

/* Two keys, `row` and the next. */
static void two_rows(backward *g, const queries *q, LLVMValueRef row) {
  mvs_heads *h = &g->heads;
  mvs_emit *e = h->e;
  LLVMValueRef weights, slopes[2];
  LLVMValueRef place = LLVMBuildLShr(e->builder, q->first, mvs_emit_i64(e, 1), "");
  for (int i = 0; i < 2; ++i) {
    LLVMValueRef line = mvs_emit_add(e, row, mvs_emit_i64(e, i));
    row_of(g, q, line, &weights, &slopes[i]);
    mvs_emit_store(e, MVS_I32, mvs_tiled_at(h, g->weight_rows, line, place), weights, NULL,
                   false);
    mvs_emit_store(e, MVS_I32, mvs_tiled_at(h, g->slope_rows, line, place), slopes[i], NULL,
                   false);
  }
  /* `row` is even: its pair is row / 2, of 32 places. */
  LLVMValueRef at = mvs_emit_times(e, row, MVS_BLOCK / 2);
  for (int half = 0; half < 2; ++half) {
    LLVMValueRef to = mvs_emit_add(e, at, mvs_emit_i64(e, half * MVS_LANES));
    mvs_emit_store(e, MVS_I32, mvs_emit_at(e, e->i32, q->pairs, to),
                   pair_up(e, slopes[0], slopes[1], half), NULL, false);
  }
}

/* --- products --- */

/* C = (C +) A x B. */
static void multiply(backward *g, mvs_head_matrix a, LLVMValueRef b, LLVMValueRef b_stride,
                     mvs_head_matrix c, LLVMValueRef rows, LLVMValueRef columns,
                     LLVMValueRef places, LLVMValueRef go_on) {
  mvs_amx_product product = {a.base,   a.stride, b,       b_stride, c.base,
                             c.stride, rows,     columns, places,   go_on};
  mvs_amx_multiply(g->heads.e, &product);
}

/* Row `row` of a matrix of 4-byte elements and what follows. */
static mvs_head_matrix from_row(backward *g, mvs_head_matrix matrix, LLVMValueRef row) {
  return (mvs_head_matrix){mvs_tiled_at(&g->heads, matrix, row, zero(g)), matrix.stride};
}

/* S^T and dP^T of the block of keys and a block of queries. */
static void logits(backward *g, LLVMValueRef query) {
  mvs_heads *h = &g->heads;
  mvs_emit *e = h->e;
  int64_t features = mvs_tiled(h->shape->head_dim);
  LLVMValueRef block = mvs_emit_i64(e, MVS_BLOCK), none = mvs_emit_int(e->i1, 0);
  LLVMValueRef at = mvs_emit_times(e, query, features / 2);
  LLVMValueRef places = mvs_emit_i64(e, features / 2);
  multiply(g, from_row(g, g->keys, g->first_key), mvs_emit_at(e, e->i32, g->q_across, at), at,
           g->logits, block, block, places, none);
  multiply(g, from_row(g, g->values, g->first_key), mvs_emit_at(e, e->i32, g->do_across, at),
           at, g->slopes, block, block, places, none);
}

/* dk or dv of the block of keys: rounded to its operand at once, or added to the other heads'.
 */
static void add_block(backward *g, mvs_head_matrix rows, LLVMValueRef along,
                      mvs_head_matrix sums, int operand) {
  mvs_heads *h = &g->heads;
  mvs_emit *e = h->e;
  int64_t tokens = mvs_tiled(h->shape->tokens), features = mvs_tiled(h->shape->head_dim);
  LLVMValueRef go_on = mvs_emit_int(e->i1, 0);
  if (shares(g)) {
    int64_t group = h->shape->heads / h->shape->kv_heads;
    LLVMValueRef within = LLVMBuildURem(e->builder, g->head, mvs_emit_i64(e, group), "");
    go_on = mvs_emit_less(e, zero(g), within);
    sums = from_row(g, sums, g->first_key);
  }
  multiply(g, rows, along, mvs_tiled_panel(h, tokens), sums, mvs_emit_i64(e, MVS_BLOCK),
           mvs_emit_i64(e, features), mvs_emit_i64(e, tokens / 2), go_on);
  if (shares(g)) return;
  mvs_head_matrix to = mvs_heads_matrix(h, operand, g->sample, g->kv_head);
  LLVMValueRef left = LLVMBuildNSWSub(e->builder, h->tokens, g->first_key, "");
  LLVMValueRef at = mvs_emit_mul(e, g->first_key, to.stride);
  mvs_pack_call round = {.type = MVS_BF16,
                         .source = sums.base,
                         .source_stride = sums.stride,
                         .rows = mvs_emit_smaller(e, left, mvs_emit_i64(e, MVS_BLOCK)),
                         .columns = h->dim,
                         .target = mvs_emit_at(e, e->i16, to.base, at),
                         .target_stride = to.stride};
  mvs_pack_round(e, &round);
}

/* A block of 32 keys; its pairs of slopes begin at place `pair` of the panels. */
static void block(backward *g, LLVMValueRef pair) {
  mvs_heads *h = &g->heads;
  mvs_emit *e = h->e;
  mvs_loop blocks = mvs_emit_loop(e, zero(g), h->tokens, MVS_BLOCK);
  logits(g, blocks.index);
  LLVMValueRef at = mvs_emit_times(e, blocks.index, keys_at_once(g) / 2);
  at = mvs_emit_add(e, at, mvs_emit_times(e, pair, MVS_BLOCK));
  queries q = open_queries(g, blocks.index, mvs_emit_at(e, e->i32, g->slope_pairs, at));
  mvs_loop rows = mvs_emit_loop(e, zero(g), mvs_emit_i64(e, MVS_BLOCK), 2);
  two_rows(g, &q, rows.index);
  mvs_emit_loop_end(e, &rows);
  mvs_emit_loop_end(e, &blocks);
  add_block(g, g->weight_rows, g->do_along, g->dv, MVS_ATTENTION_DV);
  add_block(g, g->slope_rows, g->q_along, g->dk, MVS_ATTENTION_DK);
}

/* Up to KEYS_AT_ONCE keys from `first` on, and what they add to dQ. */
static void many_keys(backward *g, LLVMValueRef first) {
  mvs_heads *h = &g->heads;
  mvs_emit *e = h->e;
  int64_t features = mvs_tiled(h->shape->head_dim), tokens = mvs_tiled(h->shape->tokens);
  LLVMValueRef end = mvs_emit_add(e, first, mvs_emit_i64(e, keys_at_once(g)));
  end = mvs_emit_smaller(e, end, mvs_emit_i64(e, tokens));
  mvs_loop keys = mvs_emit_loop(e, first, end, MVS_BLOCK);
  g->first_key = keys.index;
  LLVMValueRef within = LLVMBuildNSWSub(e->builder, keys.index, first, "");
  block(g, LLVMBuildLShr(e->builder, within, mvs_emit_i64(e, 1), ""));
  mvs_emit_loop_end(e, &keys);
  LLVMValueRef one = mvs_emit_i64(e, 1);
  LLVMValueRef place = LLVMBuildLShr(e->builder, first, one, "");
  LLVMValueRef places = LLVMBuildNSWSub(e->builder, end, first, "");
  mvs_head_matrix turned = {mvs_emit_at(e, e->i32, g->keys_turned.base, place),
                            g->keys_turned.stride};
  multiply(g, turned, g->slope_pairs, mvs_tiled_panel(h, keys_at_once(g)), g->dq,
           mvs_emit_i64(e, features), mvs_emit_i64(e, tokens),
           LLVMBuildLShr(e->builder, places, one, ""), mvs_emit_less(e, zero(g), first));
}

/* --- a head --- */

/* 16 x 16 of dQ^T: its columns become rows, each where its query is. */
static void turn_back(backward *g, LLVMValueRef feature, LLVMValueRef query, int half,
                      mvs_head_matrix to) {
  mvs_heads *h = &g->heads;
  mvs_emit *e = h->e;
  LLVMValueRef v[MVS_LANES];
  LLVMValueRef column = mvs_emit_add(e, query, mvs_emit_i64(e, half * MVS_LANES));
  for (int i = 0; i < MVS_LANES; ++i) {
    LLVMValueRef row = mvs_emit_add(e, feature, mvs_emit_i64(e, i));
    v[i] = mvs_emit_load_vector(e, MVS_F32, mvs_tiled_at(h, g->dq, row, column), NULL);
  }
  mvs_transpose_vectors(e, v);
  for (int i = 0; i < MVS_LANES; ++i) {
    LLVMValueRef row = mvs_emit_i64(e, i / 4 * 8 + i % 4 + half * 4);
    mvs_emit_store(e, MVS_F32, mvs_tiled_at(h, to, row, feature), v[i], NULL, false);
  }
}

/* dQ^T to dq, 32 queries at a time. */
static void write_dq(backward *g) {
  mvs_heads *h = &g->heads;
  mvs_emit *e = h->e;
  mvs_head_matrix dq = mvs_heads_matrix(h, MVS_ATTENTION_DQ, g->sample, g->head);
  mvs_head_matrix room = g->dq_rows;
  mvs_loop blocks = mvs_emit_loop(e, zero(g), h->tokens, MVS_BLOCK);
  mvs_heads_block(h, blocks.index);
  mvs_loop features = mvs_emit_loop(e, zero(g), h->dim, MVS_LANES);
  for (int half = 0; half < 2; ++half) turn_back(g, features.index, blocks.index, half, room);
  mvs_emit_loop_end(e, &features);
  mvs_pack_call round = {.type = MVS_BF16,
                         .source = room.base,
                         .source_stride = room.stride,
                         .rows = h->count,
                         .columns = h->dim,
                         .target = mvs_heads_rows(h, dq),
                         .target_stride = dq.stride};
  mvs_pack_round(e, &round);
  mvs_emit_loop_end(e, &blocks);
}

/* Minus the logarithms, in powers of two, and minus the deltas: what an fma adds. */
static void numbers_of_queries(backward *g) {
  mvs_heads *h = &g->heads;
  mvs_emit *e = h->e;
  h->first = zero(g);
  h->count = h->tokens;
  mvs_heads_deltas(h, mvs_heads_matrix(h, MVS_ATTENTION_O, g->sample, g->head),
                   mvs_heads_matrix(h, MVS_ATTENTION_DO, g->sample, g->head), -h->shape->scale,
                   g->deltas);
  mvs_loop loop = mvs_emit_loop(e, zero(g), h->tokens, MVS_LANES);
  LLVMValueRef lse =
      mvs_emit_load_vector(e, MVS_F32, mvs_heads_lse(h, g->sample, g->head, loop.index),
                           mvs_emit_mask(e, loop.index, h->tokens));
  lse =
      LLVMBuildFMul(e->builder, lse, mvs_emit_real(LLVMTypeOf(lse), -1.44269504088896341), "");
  mvs_emit_store(e, MVS_F32, mvs_emit_at(e, e->f32, g->lses, loop.index), lse, NULL, false);
  mvs_emit_loop_end(e, &loop);
}

/* All of one head. */
static void head(backward *g) {
  mvs_heads *h = &g->heads;
  mvs_emit *e = h->e;
  numbers_of_queries(g);
  mvs_head_matrix q = mvs_heads_matrix(h, MVS_ATTENTION_Q, g->sample, g->head);
  mvs_head_matrix d_o = mvs_heads_matrix(h, MVS_ATTENTION_DO, g->sample, g->head);
  mvs_tiled_across(h, q, g->q_across);
  mvs_tiled_across(h, d_o, g->do_across);
  mvs_tiled_along(h, q, g->q_along);
  mvs_tiled_along(h, d_o, g->do_along);
  mvs_loop chunks = mvs_emit_loop(e, zero(g), h->tokens, keys_at_once(g));
  many_keys(g, chunks.index);
  mvs_emit_loop_end(e, &chunks);
  write_dq(g);
}

/* Sums of all heads to dk or dv. */
static void write_sums(backward *g, int operand, mvs_head_matrix sums) {
  mvs_heads *h = &g->heads;
  mvs_head_matrix to = mvs_heads_matrix(h, operand, g->sample, g->kv_head);
  mvs_pack_call round = {.type = MVS_BF16,
                         .source = sums.base,
                         .source_stride = sums.stride,
                         .rows = h->tokens,
                         .columns = h->dim,
                         .target = to.base,
                         .target_stride = to.stride};
  mvs_pack_round(h->e, &round);
}

/* Query heads `kv_head * group ..` share this key-value head and come in order. */
static void unit(backward *g, LLVMValueRef number) {
  mvs_heads *h = &g->heads;
  mvs_emit *e = h->e;
  const mvs_attention_shape *s = h->shape;
  LLVMValueRef kv_heads = mvs_emit_i64(e, s->kv_heads);
  number = mvs_emit_add(e, number, h->entry.before);
  g->sample = LLVMBuildUDiv(e->builder, number, kv_heads, "");
  g->kv_head = LLVMBuildURem(e->builder, number, kv_heads, "");
  mvs_head_matrix keys = mvs_heads_matrix(h, MVS_ATTENTION_K, g->sample, g->kv_head);
  mvs_head_matrix values = mvs_heads_matrix(h, MVS_ATTENTION_V, g->sample, g->kv_head);
  g->keys = mvs_tiled_rows(h, keys, h->tokens, g->keys_room);
  g->values = mvs_tiled_rows(h, values, h->tokens, g->values_room);
  mvs_pack_call turn = {.type = MVS_BF16,
                        .source = keys.base,
                        .source_stride = keys.stride,
                        .rows = h->tokens,
                        .columns = h->dim,
                        .target = g->keys_turned.base,
                        .target_stride = g->keys_turned.stride};
  mvs_pairs_turn(e, &turn);
  int64_t group = s->heads / s->kv_heads;
  LLVMValueRef from = mvs_emit_times(e, g->kv_head, group);
  LLVMValueRef to = mvs_emit_add(e, from, mvs_emit_i64(e, group));
  mvs_loop heads = mvs_emit_loop(e, from, to, 1);
  g->head = heads.index;
  head(g);
  mvs_emit_loop_end(e, &heads);
  if (!shares(g)) return;
  write_sums(g, MVS_ATTENTION_DK, g->dk);
  write_sums(g, MVS_ATTENTION_DV, g->dv);
}

/* Units are those of attention_grad.c. */
mvs_status mvs_host_print_amx_attention_grad(mvs_emit *e, const mvs_kernel *kernel,
                                             mvs_printed *out) {
  backward g = {.heads = {.e = e, .shape = &kernel->attention}};
  mvs_heads *h = &g.heads;
  const char *symbol = mvs_arena_format(e->arena, "%s_heads", kernel->name);
  mvs_heads_open(h, symbol);
  rooms(&g);
  mvs_amx_open(e, mvs_emit_i64(e, MVS_BLOCK));
  mvs_loop units = mvs_emit_loop(e, h->entry.begin, h->entry.end, 1);
  unit(&g, units.index);
  mvs_emit_loop_end(e, &units);
  mvs_amx_close(e);
  LLVMBuildRetVoid(e->builder);
  out->scratch = h->scratch;
  mvs_printed_add(e->arena, out, symbol,
                  (mvs_division){{h->shape->kv_heads, true}, {1, false}, 1, 0});
  return MVS_OK;
}
