/* attention_grad.c: gradients of attention to q, k and v. A unit is one key-value head of
 * one sample: it takes the queries of all its heads in order, so dk and dv add up in a fixed
 * order.
 *
 *   P = e^(scale q k^T - lse)     dV = P^T dO     dP = dO v^T     delta = rows of sum(dO * O)
 *   dS = scale P * (dP - delta)   dQ = dS k       dK = dS^T q
 *
 * P is computed again from the saved logarithm: keeping it would take tokens^2 of memory for
 * every head of every layer. dk and dv stay in scratch as f32 until the unit's last query,
 * then round once to their storage. Nothing is divided below a key-value head, since two
 * units would have to add into one dk. */
#include "codegen/host/attention.h"
#include "codegen/host/math.h"

typedef struct backward {
  mvs_heads heads;
  int64_t panels; /* of 32 columns that head_dim needs */
  LLVMValueRef sample, kv_head, head;
  mvs_head_matrix q, o, d_o, dq;           /* of the query head */
  LLVMValueRef keys, values, dk, dv;       /* f32 [tokens][depth] in scratch */
  LLVMValueRef q_panel, do_panel, o_panel; /* the block transposed, [depth][32] */
  LLVMValueRef q_rows, do_rows; /* the block as panels of the other products: [32][32] each */
  LLVMValueRef weights, slopes; /* P and dS, [tokens][32] */
  LLVMValueRef dq_panel;        /* [depth][32] */
} backward;

/* The index 0, by far the most used constant. */
static LLVMValueRef zero(backward *g) { return mvs_emit_i64(g->heads.e, 0); }

/* Divides the scratch. */
static void rooms(backward *g) {
  mvs_heads *h = &g->heads;
  int64_t tokens = h->shape->tokens;
  g->panels = (h->shape->head_dim + MVS_PANEL - 1) / MVS_PANEL;
  LLVMValueRef *matrices[] = {&g->keys, &g->values, &g->dk, &g->dv};
  for (int i = 0; i < 4; ++i) *matrices[i] = mvs_heads_room(h, tokens, h->depth);
  LLVMValueRef *panels[] = {&g->q_panel, &g->do_panel, &g->o_panel, &g->dq_panel};
  for (int i = 0; i < 4; ++i) *panels[i] = mvs_heads_room(h, h->depth, MVS_PANEL);
  g->q_rows = mvs_heads_room(h, g->panels * MVS_PANEL, MVS_PANEL);
  g->do_rows = mvs_heads_room(h, g->panels * MVS_PANEL, MVS_PANEL);
  g->weights = mvs_heads_room(h, tokens, MVS_PANEL);
  g->slopes = mvs_heads_room(h, tokens, MVS_PANEL);
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

/* Columns of head_dim in the panel: 32, or what is left for the last one. */
static LLVMValueRef panel_width(backward *g, int64_t panel) {
  int64_t left = g->heads.shape->head_dim - panel * MVS_PANEL;
  return mvs_emit_i64(g->heads.e, left < MVS_PANEL ? left : MVS_PANEL);
}

/* Panels lie behind one another, 32 rows of 32 each, whatever the block holds. */
static LLVMValueRef panel_of(backward *g, LLVMValueRef rows, int64_t panel) {
  mvs_emit *e = g->heads.e;
  return mvs_emit_at(e, e->f32, rows, mvs_emit_i64(e, panel * MVS_PANEL * MVS_PANEL));
}

/* The block's rows as panels: [panel][query][32 of head_dim]. */
static void row_panels(backward *g, mvs_head_matrix matrix, LLVMValueRef to) {
  mvs_heads *h = &g->heads;
  mvs_emit *e = h->e;
  for (int64_t panel = 0; panel < g->panels; ++panel) {
    LLVMValueRef from =
        mvs_emit_at(e, mvs_emit_storage(e, h->shape->dtype), mvs_heads_rows(h, matrix),
                    mvs_emit_i64(e, panel * MVS_PANEL));
    mvs_pack_call copy = {.type = h->shape->dtype,
                          .source = from,
                          .source_stride = matrix.stride,
                          .rows = h->count,
                          .columns = panel_width(g, panel),
                          .target = panel_of(g, to, panel),
                          .target_stride = mvs_emit_i64(e, MVS_PANEL)};
    mvs_pack_copy(e, &copy);
  }
}

/* into[key][dim] += sum over the block's queries of left[key][query] * rows[query][dim]. */
static void add_products(backward *g, LLVMValueRef left, LLVMValueRef rows, LLVMValueRef into) {
  mvs_heads *h = &g->heads;
  mvs_emit *e = h->e;
  LLVMValueRef stride = mvs_emit_i64(e, h->depth);
  for (int64_t panel = 0; panel < g->panels; ++panel) {
    LLVMValueRef c = mvs_emit_at(e, e->f32, into, mvs_emit_i64(e, panel * MVS_PANEL));
    mvs_tile_call tile = {.a = left,
                          .a_stride = mvs_emit_i64(e, MVS_PANEL),
                          .b = panel_of(g, rows, panel),
                          .k = h->count,
                          .c = c,
                          .c_stride = stride,
                          .rows = h->tokens,
                          .width = panel_width(g, panel),
                          .start = c,
                          .start_stride = stride};
    mvs_tile(e, MVS_TILE_BY_ROWS, MVS_F32, &tile);
  }
}

/* delta: the sum over head_dim of dO * O, per query. */
static LLVMValueRef delta_of(backward *g, LLVMValueRef lane) {
  mvs_heads *h = &g->heads;
  mvs_emit *e = h->e;
  LLVMTypeRef type = mvs_emit_vector(e->f32);
  LLVMValueRef sum = mvs_emit_variable(e, type);
  mvs_emit_set(e, sum, LLVMConstNull(type));
  mvs_loop rows = mvs_emit_loop(e, zero(g), h->dim, 1);
  LLVMValueRef o = mvs_heads_load(h, g->o_panel, rows.index, lane);
  LLVMValueRef d_o = mvs_heads_load(h, g->do_panel, rows.index, lane);
  mvs_emit_set(e, sum, mvs_emit_fma(e, o, d_o, mvs_emit_get(e, sum)));
  mvs_emit_loop_end(e, &rows);
  return mvs_emit_get(e, sum);
}

/* Logits become P; dP becomes dS. Lanes beyond the last query hold logit 0 and lse 0, so they
 * stay finite; nothing reads them. */
static void slopes(backward *g) {
  mvs_heads *h = &g->heads;
  mvs_emit *e = h->e;
  LLVMBuilderRef b = e->builder;
  mvs_loop lanes = mvs_emit_loop(e, zero(g), h->lanes, MVS_LANES);
  LLVMValueRef lane = lanes.index, delta = delta_of(g, lane);
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
  mvs_heads_panel(h, g->o, 1, g->o_panel);
  row_panels(g, g->q, g->q_rows);
  row_panels(g, g->d_o, g->do_rows);
  mvs_heads_logits(h, g->keys, g->q_panel, g->weights);
  mvs_heads_logits(h, g->values, g->do_panel, g->slopes);
  slopes(g);
  add_products(g, g->weights, g->do_rows, g->dv);
  add_products(g, g->slopes, g->q_rows, g->dk);
  mvs_heads_weighted(h, g->keys, g->slopes, g->dq_panel);
  mvs_heads_restore(h, g->dq_panel, g->dq);
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
  g->sample = LLVMBuildUDiv(e->builder, number, kv_heads, "");
  g->kv_head = LLVMBuildURem(e->builder, number, kv_heads, "");
  mvs_heads_keys(h, mvs_heads_matrix(h, MVS_ATTENTION_K, g->sample, g->kv_head), g->keys);
  mvs_heads_keys(h, mvs_heads_matrix(h, MVS_ATTENTION_V, g->sample, g->kv_head), g->values);
  clear(g, g->dk);
  clear(g, g->dv);
  int64_t group = s->heads / s->kv_heads;
  LLVMValueRef from = mvs_emit_times(e, g->kv_head, group);
  LLVMValueRef to = mvs_emit_add(e, from, mvs_emit_i64(e, group));
  mvs_loop heads = mvs_emit_loop(e, from, to, 1);
  g->head = heads.index;
  head(g);
  mvs_emit_loop_end(e, &heads);
  write_sums(g, MVS_ATTENTION_DK, g->dk);
  write_sums(g, MVS_ATTENTION_DV, g->dv);
}

/* As many units as samples times key-value heads. */
mvs_status mvs_host_print_attention_grad(mvs_emit *e, const mvs_kernel *kernel,
                                         mvs_printed *out) {
  backward g = {.heads = {.e = e, .shape = &kernel->attention}};
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
