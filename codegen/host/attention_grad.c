/* attention_grad.c: gradients of attention to q, k and v. A unit is one key-value head of
 * one sample: it takes the queries of all its heads in order, so dk and dv add up in a fixed
 * order.
 *
 *   P = e^(scale q k^T - lse)     dV = P^T dO     dP = dO v^T     delta = rows of sum(dO * O)
 *   dS = scale P * (dP - delta)   dQ = dS k       dK = dS^T q
 *
 * P is computed again from the saved logarithm: keeping it would take tokens^2 of memory for
 * every head of every layer. dk and dv stay in scratch as f32 until the unit's last query,
 * then round once to their storage; where one block has all queries they go there at once.
 * Nothing is divided below a key-value head, since two units would have to add into one dk. */
#include "codegen/host/attention.h"
#include "codegen/host/math.h"

typedef struct backward {
  mvs_heads heads;
  LLVMValueRef sample, kv_head, head;
  mvs_head_matrix q, o, d_o, dq;  /* of the query head */
  LLVMValueRef rooms[4];          /* for f32 copies: keys, values, the block's q and dO */
  mvs_head_matrix keys, values;   /* f32 */
  LLVMValueRef dk, dv;            /* f32 [tokens][depth] in scratch */
  LLVMValueRef q_panel, do_panel; /* the block transposed, [depth][32] */
  LLVMValueRef deltas;            /* of the block's queries */
  LLVMValueRef weights, slopes;   /* P and dS, [tokens][32] */
} backward;

/* The index 0, by far the most used constant. */
static LLVMValueRef zero(backward *g) { return mvs_emit_i64(g->heads.e, 0); }

/* Divides the scratch. */
static void rooms(backward *g) {
  mvs_heads *h = &g->heads;
  int64_t tokens = h->shape->tokens;
  for (int i = 0; i < 4; ++i)
    g->rooms[i] = mvs_heads_room(h, i < 2 ? tokens : MVS_PANEL, h->depth);
  g->dk = mvs_heads_room(h, tokens, h->depth);
  g->dv = mvs_heads_room(h, tokens, h->depth);
  g->q_panel = mvs_heads_room(h, h->depth, MVS_PANEL);
  g->do_panel = mvs_heads_room(h, h->depth, MVS_PANEL);
  g->deltas = mvs_heads_room(h, 1, MVS_PANEL);
  g->weights = mvs_heads_room(h, tokens, MVS_PANEL);
  g->slopes = mvs_heads_room(h, tokens, MVS_PANEL);
}

/* Whether a key-value head meets one block of queries only. */
static bool at_once(const backward *g) {
  const mvs_attention_shape *s = g->heads.shape;
  return s->tokens <= MVS_PANEL && s->heads == s->kv_heads;
}

/* Sets a [tokens][depth] matrix of scratch to zeros, its padding too: add_products reads
 * whole vectors of it. */
static void clear(backward *g, LLVMValueRef matrix) {
  mvs_heads *h = &g->heads;
  mvs_emit *e = h->e;
  LLVMValueRef count = mvs_emit_i64(e, h->shape->tokens * h->depth);
  mvs_loop loop = mvs_emit_loop(e, zero(g), count, MVS_LANES);
  LLVMValueRef nothing = LLVMConstNull(mvs_emit_vector(e->f32));
  mvs_emit_store(e, MVS_F32, mvs_emit_at(e, e->f32, matrix, loop.index), nothing, NULL, false);
  mvs_emit_loop_end(e, &loop);
}

/* sums[key][dim] += sum over the block's queries of left[key][query] * rows[query][dim]; of the
 * only block straight to the operand. */
static void add_products(backward *g, LLVMValueRef left, mvs_head_matrix rows, int operand,
                         LLVMValueRef sums) {
  mvs_heads *h = &g->heads;
  mvs_emit *e = h->e;
  mvs_dtype type = at_once(g) ? h->shape->dtype : MVS_F32;
  mvs_head_matrix to = {sums, mvs_emit_i64(e, h->depth)};
  if (at_once(g)) to = mvs_heads_matrix(h, operand, g->sample, g->kv_head);
  for (int64_t panel = 0; panel * MVS_PANEL < h->shape->head_dim; ++panel) {
    LLVMValueRef column = mvs_emit_i64(e, panel * MVS_PANEL);
    LLVMValueRef c = mvs_emit_at(e, mvs_emit_storage(e, type), to.base, column);
    mvs_tile_call tile = {.a = left,
                          .a_stride = mvs_emit_i64(e, MVS_PANEL),
                          .b = mvs_emit_at(e, e->f32, rows.base, column),
                          .b_stride = rows.stride,
                          .k = h->count,
                          .c = c,
                          .c_stride = to.stride,
                          .rows = h->tokens,
                          .width = mvs_heads_width(h, panel),
                          .start = at_once(g) ? NULL : c,
                          .start_stride = to.stride};
    mvs_tile(e, MVS_TILE_BY_ROWS, type, &tile);
  }
}

/* A vector of a query's row, zeros beyond head_dim. */
static LLVMValueRef row_vector(mvs_heads *h, mvs_head_matrix matrix, LLVMValueRef query,
                               int64_t column) {
  mvs_emit *e = h->e;
  int64_t left = h->shape->head_dim - column;
  LLVMValueRef at =
      mvs_emit_add(e, mvs_emit_mul(e, query, matrix.stride), mvs_emit_i64(e, column));
  return mvs_emit_load_vector(
      e, h->shape->dtype,
      mvs_emit_at(e, mvs_emit_storage(e, h->shape->dtype), mvs_heads_rows(h, matrix), at),
      left < MVS_LANES ? mvs_emit_first_lanes(e, (int)left) : NULL);
}

/* In 16 lanes that fold by halves. */
void mvs_heads_deltas(mvs_heads *h, mvs_head_matrix o, mvs_head_matrix d_o, double scale,
                      LLVMValueRef to) {
  mvs_emit *e = h->e;
  mvs_loop queries = mvs_emit_loop(e, mvs_emit_i64(e, 0), h->count, 1);
  LLVMValueRef sum = LLVMConstNull(mvs_emit_vector(e->f32));
  for (int64_t column = 0; column < h->depth; column += MVS_LANES) {
    LLVMValueRef left = row_vector(h, o, queries.index, column);
    sum = mvs_emit_fma(e, left, row_vector(h, d_o, queries.index, column), sum);
  }
  LLVMValueRef delta =
      LLVMBuildFMul(e->builder, mvs_emit_fold(e, sum, false), mvs_emit_real(e->f32, scale), "");
  mvs_emit_store(e, MVS_F32, mvs_emit_at(e, e->f32, to, queries.index), delta, NULL, false);
  mvs_emit_loop_end(e, &queries);
}

/* Logits become P; dP becomes dS. Nothing reads lanes beyond the last query, whatever delta
 * finds there. */
static void slopes(backward *g) {
  mvs_heads *h = &g->heads;
  mvs_emit *e = h->e;
  LLVMBuilderRef b = e->builder;
  mvs_loop lanes = mvs_emit_loop(e, zero(g), h->lanes, MVS_LANES);
  LLVMValueRef lane = lanes.index, delta = mvs_heads_load(h, g->deltas, zero(g), lane);
  LLVMValueRef lse = mvs_emit_load_vector(
      e, MVS_F32, mvs_heads_lse(h, g->sample, g->head, lane), mvs_emit_mask(e, lane, h->count));
  LLVMValueRef scale = mvs_emit_real(LLVMTypeOf(lse), h->shape->scale);
  mvs_loop keys = mvs_emit_loop(e, zero(g), h->tokens, 1);
  LLVMValueRef logit = mvs_heads_load(h, g->weights, keys.index, lane);
  LLVMValueRef weight = mvs_emit_exp_below(e, LLVMBuildFSub(b, logit, lse, ""));
  mvs_heads_store(h, g->weights, keys.index, lane, weight);
  LLVMValueRef slope = mvs_heads_load(h, g->slopes, keys.index, lane);
  slope = LLVMBuildFMul(b, weight, LLVMBuildFSub(b, slope, delta, ""), "");
  mvs_heads_store(h, g->slopes, keys.index, lane, LLVMBuildFMul(b, slope, scale, ""));
  mvs_emit_loop_end(e, &keys);
  mvs_emit_loop_end(e, &lanes);
}

/* One block of queries of one head. */
static void block(backward *g) {
  mvs_heads *h = &g->heads;
  mvs_heads_panel(h, g->q, h->shape->scale, g->q_panel);
  mvs_heads_panel(h, g->d_o, 1, g->do_panel);
  mvs_heads_logits(h, g->keys, g->q_panel, g->weights);
  mvs_heads_logits(h, g->values, g->do_panel, g->slopes);
  mvs_heads_deltas(h, g->o, g->d_o, 1, g->deltas);
  slopes(g);
  add_products(g, g->weights, mvs_heads_queries(h, g->d_o, g->rooms[3]), MVS_ATTENTION_DV,
               g->dv);
  add_products(g, g->slopes, mvs_heads_queries(h, g->q, g->rooms[2]), MVS_ATTENTION_DK, g->dk);
  mvs_head_matrix dq = {mvs_heads_rows(h, g->dq), g->dq.stride};
  mvs_heads_weighted(h, g->slopes, g->keys, h->shape->dtype, dq);
}

/* All queries of one head, in order. */
static void head(backward *g) {
  mvs_heads *h = &g->heads;
  g->q = mvs_heads_matrix(h, MVS_ATTENTION_Q, g->sample, g->head);
  g->o = mvs_heads_matrix(h, MVS_ATTENTION_O, g->sample, g->head);
  g->d_o = mvs_heads_matrix(h, MVS_ATTENTION_DO, g->sample, g->head);
  g->dq = mvs_heads_matrix(h, MVS_ATTENTION_DQ, g->sample, g->head);
  mvs_loop blocks = mvs_emit_loop(h->e, zero(g), h->tokens, MVS_PANEL);
  mvs_heads_block(h, blocks.index);
  block(g);
  mvs_emit_loop_end(h->e, &blocks);
}

/* The f32 sums of a key-value head to dk or dv, rounded where their storage is bf16. */
static void write_sums(backward *g, int operand, LLVMValueRef sums) {
  mvs_heads *h = &g->heads;
  mvs_head_matrix to = mvs_heads_matrix(h, operand, g->sample, g->kv_head);
  mvs_pack_call round = {.type = h->shape->dtype,
                         .source = sums,
                         .source_stride = mvs_emit_i64(h->e, h->depth),
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
  g->keys = mvs_heads_keys(h, mvs_heads_matrix(h, MVS_ATTENTION_K, g->sample, g->kv_head),
                           g->rooms[0]);
  g->values = mvs_heads_keys(h, mvs_heads_matrix(h, MVS_ATTENTION_V, g->sample, g->kv_head),
                             g->rooms[1]);
  if (!at_once(g)) {
    clear(g, g->dk);
    clear(g, g->dv);
  }
  int64_t group = s->heads / s->kv_heads;
  LLVMValueRef from = mvs_emit_times(e, g->kv_head, group);
  LLVMValueRef to = mvs_emit_add(e, from, mvs_emit_i64(e, group));
  mvs_loop heads = mvs_emit_loop(e, from, to, 1);
  g->head = heads.index;
  head(g);
  mvs_emit_loop_end(e, &heads);
  if (!at_once(g)) {
    write_sums(g, MVS_ATTENTION_DK, g->dk);
    write_sums(g, MVS_ATTENTION_DV, g->dv);
  }
}

/* As many units as samples times key-value heads. */
mvs_status mvs_host_print_attention_grad(mvs_emit *e, const mvs_kernel *kernel,
                                         mvs_printed *out) {
  backward g = {.heads = {.e = e, .shape = &kernel->attention}};
  if (mvs_attention_in_tiles(&kernel->attention, e->level))
    return mvs_host_print_amx_attention_grad(e, kernel, out);
  mvs_heads *h = &g.heads;
  const char *symbol = mvs_arena_format(e->arena, "%s_heads", kernel->name);
  mvs_heads_open(h, symbol);
  rooms(&g);
  mvs_loop units = mvs_emit_loop(e, h->entry.begin, h->entry.end, 1);
  unit(&g, units.index);
  mvs_emit_loop_end(e, &units);
  LLVMBuildRetVoid(e->builder);
  out->scratch = h->scratch;
  mvs_printed_add(e->arena, out, symbol,
                  (mvs_division){{h->shape->kv_heads, true}, {1, false}, 1, 0});
  return MVS_OK;
}
