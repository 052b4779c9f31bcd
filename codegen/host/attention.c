/* attention.c: softmax(scale q k^T) v and the logarithm of the softmax's sum.
 *
 * A unit copies the keys and values of its head to scratch as f32, then takes blocks of 32
 * queries: logits of all keys, their maximum, weights e^(logit - maximum) and sums, the
 * weighted values, at last the division. Logits of all keys are held at once, so no running
 * maximum has to be corrected; scratch grows with the tokens for it. Every sum goes upwards
 * in the key for each query by itself, so how queries are divided into units changes no
 * bits. Several query heads may share one key-value head; each copies it anew. Where one
 * block has all queries, f32 keys and values are read where they lie: nothing reads them a
 * second time, so a copy would cost more than it spares. */
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

/* Tiles read whole vectors of f32, so anything else needs its copy. */
static bool in_place(const mvs_heads *h) {
  const mvs_attention_shape *s = h->shape;
  return s->dtype == MVS_F32 && s->tokens <= MVS_PANEL && s->head_dim == h->depth;
}

/* Rows of a head lie a token apart; in scratch they are neighbours, with zeros up to whole
 * vectors. */
static mvs_head_matrix as_f32(mvs_heads *h, mvs_head_matrix matrix, LLVMValueRef rows,
                              LLVMValueRef room) {
  if (in_place(h)) return matrix;
  mvs_pack_call copy = {.type = h->shape->dtype,
                        .source = matrix.base,
                        .source_stride = matrix.stride,
                        .rows = rows,
                        .columns = h->dim,
                        .target = room,
                        .target_stride = mvs_emit_i64(h->e, h->depth)};
  mvs_pack_copy(h->e, &copy);
  return (mvs_head_matrix){room, copy.target_stride};
}

mvs_head_matrix mvs_heads_keys(mvs_heads *h, mvs_head_matrix matrix, LLVMValueRef room) {
  return as_f32(h, matrix, h->tokens, room);
}

mvs_head_matrix mvs_heads_queries(mvs_heads *h, mvs_head_matrix matrix, LLVMValueRef room) {
  mvs_head_matrix rows = {mvs_heads_rows(h, matrix), matrix.stride};
  return as_f32(h, rows, h->count, room);
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
void mvs_heads_logits(mvs_heads *h, mvs_head_matrix keys, LLVMValueRef panel, LLVMValueRef to) {
  mvs_tile_call tile = {.a = keys.base,
                        .a_stride = keys.stride,
                        .b = panel,
                        .k = h->dim,
                        .c = to,
                        .c_stride = mvs_emit_i64(h->e, MVS_PANEL),
                        .rows = h->tokens,
                        .width = h->lanes};
  mvs_tile(h->e, MVS_TILE_BY_ROWS, MVS_F32, &tile);
}

LLVMValueRef mvs_heads_width(mvs_heads *h, int64_t panel) {
  int64_t left = h->shape->head_dim - panel * MVS_PANEL;
  return mvs_emit_i64(h->e, left < MVS_PANEL ? left : MVS_PANEL);
}

/* The weights are read by columns: a query is a row of the result, which then lies as the
 * operands do and has no lanes of queries that do not exist. */
void mvs_heads_weighted(mvs_heads *h, LLVMValueRef weights, mvs_head_matrix values,
                        mvs_dtype type, mvs_head_matrix to) {
  mvs_emit *e = h->e;
  for (int64_t panel = 0; panel * MVS_PANEL < h->shape->head_dim; ++panel) {
    LLVMValueRef column = mvs_emit_i64(e, panel * MVS_PANEL);
    mvs_tile_call tile = {.a = weights,
                          .a_stride = mvs_emit_i64(e, MVS_PANEL),
                          .b = mvs_emit_at(e, e->f32, values.base, column),
                          .b_stride = values.stride,
                          .k = h->tokens,
                          .c = mvs_emit_at(e, mvs_emit_storage(e, type), to.base, column),
                          .c_stride = to.stride,
                          .rows = h->count,
                          .width = mvs_heads_width(h, panel)};
    mvs_tile(e, MVS_TILE_BY_COLUMNS, type, &tile);
  }
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

/* One row of sums times its factor, to o. */
static void finish_row(mvs_heads *h, LLVMValueRef from, LLVMValueRef factor, LLVMValueRef to) {
  mvs_emit *e = h->e;
  mvs_dtype type = h->shape->dtype;
  for (int64_t column = 0; column < h->depth; column += MVS_LANES) {
    LLVMValueRef index = mvs_emit_i64(e, column);
    int64_t left = h->shape->head_dim - column;
    LLVMValueRef mask = left < MVS_LANES ? mvs_emit_first_lanes(e, (int)left) : NULL;
    LLVMValueRef value =
        mvs_emit_load_vector(e, MVS_F32, mvs_emit_at(e, e->f32, from, index), mask);
    value = LLVMBuildFMul(e->builder, value, factor, "");
    mvs_emit_store(e, type, mvs_emit_at(e, mvs_emit_storage(e, type), to, index), value, mask,
                   false);
  }
}

void mvs_heads_finish(mvs_heads *h, mvs_head_matrix sums, LLVMValueRef factors,
                      mvs_head_matrix o) {
  mvs_emit *e = h->e;
  LLVMTypeRef element = mvs_emit_storage(e, h->shape->dtype);
  mvs_loop rows = mvs_emit_loop(e, mvs_emit_i64(e, 0), h->count, 1);
  LLVMValueRef factor = mvs_emit_load(e, MVS_F32, mvs_emit_at(e, e->f32, factors, rows.index));
  LLVMValueRef from =
      mvs_emit_at(e, e->f32, sums.base, mvs_emit_mul(e, rows.index, sums.stride));
  LLVMValueRef to =
      mvs_emit_at(e, element, mvs_heads_rows(h, o), mvs_emit_mul(e, rows.index, o.stride));
  finish_row(h, from, mvs_emit_splat(e, factor), to);
  mvs_emit_loop_end(e, &rows);
}

mvs_division mvs_heads_division(const mvs_attention_shape *shape) {
  int64_t chunk = shape->tokens < QUERY_CHUNK ? shape->tokens : QUERY_CHUNK;
  return (mvs_division){{shape->heads, true}, {shape->tokens, false}, 1, chunk};
}

mvs_head_unit mvs_heads_unit(mvs_heads *h, const mvs_division *division, LLVMValueRef number) {
  mvs_emit *e = h->e;
  LLVMValueRef across = mvs_emit_ceil_div(e, h->tokens, division->inner_chunk);
  LLVMValueRef row =
      mvs_emit_add(e, LLVMBuildUDiv(e->builder, number, across, ""), h->entry.before);
  LLVMValueRef heads = mvs_emit_i64(e, h->shape->heads);
  LLVMValueRef group = mvs_emit_i64(e, h->shape->heads / h->shape->kv_heads);
  mvs_head_unit unit = {.sample = LLVMBuildUDiv(e->builder, row, heads, ""),
                        .head = LLVMBuildURem(e->builder, row, heads, "")};
  unit.kv_head = LLVMBuildUDiv(e->builder, unit.head, group, "");
  LLVMValueRef chunk = LLVMBuildURem(e->builder, number, across, "");
  unit.from = mvs_emit_times(e, chunk, division->inner_chunk);
  LLVMValueRef end = mvs_emit_add(e, unit.from, mvs_emit_i64(e, division->inner_chunk));
  unit.end = mvs_emit_smaller(e, end, h->tokens);
  return unit;
}

/* --- forward --- */

/* What the emitted function holds at each moment, as IR values. */
typedef struct forward {
  mvs_heads heads;
  LLVMValueRef sample, head;
  mvs_head_matrix q, o;
  LLVMValueRef keys_room, values_room; /* for f32 copies */
  mvs_head_matrix keys, values;
  LLVMValueRef panel, logits, result; /* [depth][32], [tokens][32], [32][depth] */
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

/* Logits become weights; 1 / their sums goes to `factors`, the logarithm of the sums to lse. */
static void softmax(forward *f, LLVMValueRef factors) {
  mvs_heads *h = &f->heads;
  mvs_emit *e = h->e;
  mvs_loop lanes = mvs_emit_loop(e, zero(f), h->lanes, MVS_LANES);
  LLVMValueRef most = greatest(f, lanes.index);
  LLVMValueRef total = weigh(f, lanes.index, most);
  LLVMValueRef one = mvs_emit_real(LLVMTypeOf(total), 1);
  mvs_heads_store(h, factors, zero(f), lanes.index, LLVMBuildFDiv(e->builder, one, total, ""));
  LLVMValueRef lse = LLVMBuildFAdd(e->builder, most, mvs_emit_log(e, total), "");
  mvs_emit_store(e, MVS_F32, mvs_heads_lse(h, f->sample, f->head, lanes.index), lse,
                 mvs_emit_mask(e, lanes.index, h->count), false);
  mvs_emit_loop_end(e, &lanes);
}

/* One block of queries from q to o. */
static void block(forward *f, LLVMValueRef factors) {
  mvs_heads *h = &f->heads;
  mvs_head_matrix result = {f->result, mvs_emit_i64(h->e, h->depth)};
  mvs_heads_panel(h, f->q, h->shape->scale, f->panel);
  mvs_heads_logits(h, f->keys, f->panel, f->logits);
  softmax(f, factors);
  mvs_heads_weighted(h, f->logits, f->values, MVS_F32, result);
  mvs_heads_finish(h, result, factors, f->o);
}

/* A unit: one head of one sample, a run of queries. */
static void unit(forward *f, const mvs_division *division, LLVMValueRef number) {
  mvs_heads *h = &f->heads;
  mvs_emit *e = h->e;
  mvs_head_unit u = mvs_heads_unit(h, division, number);
  f->sample = u.sample;
  f->head = u.head;
  f->q = mvs_heads_matrix(h, MVS_ATTENTION_Q, u.sample, u.head);
  f->o = mvs_heads_matrix(h, MVS_ATTENTION_O, u.sample, u.head);
  f->keys = mvs_heads_keys(h, mvs_heads_matrix(h, MVS_ATTENTION_K, u.sample, u.kv_head),
                           f->keys_room);
  f->values = mvs_heads_keys(h, mvs_heads_matrix(h, MVS_ATTENTION_V, u.sample, u.kv_head),
                             f->values_room);
  LLVMValueRef factors = mvs_heads_room(h, 1, MVS_PANEL);
  mvs_loop blocks = mvs_emit_loop(e, u.from, u.end, MVS_PANEL);
  mvs_heads_block(h, blocks.index);
  block(f, factors);
  mvs_emit_loop_end(e, &blocks);
}

/* Units are (sample, head, chunk of queries). */
mvs_status mvs_host_print_attention(mvs_emit *e, const mvs_kernel *kernel, mvs_printed *out) {
  forward f = {.heads = {.e = e, .shape = &kernel->attention}};
  mvs_heads *h = &f.heads;
  int64_t tokens = h->shape->tokens;
  if (mvs_attention_in_tiles(h->shape, e->level))
    return mvs_host_print_amx_attention(e, kernel, out);
  mvs_division division = mvs_heads_division(h->shape);
  const char *symbol = mvs_arena_format(e->arena, "%s_heads", kernel->name);
  mvs_heads_open(h, symbol);
  f.keys_room = mvs_heads_room(h, tokens, h->depth);
  f.values_room = mvs_heads_room(h, tokens, h->depth);
  f.panel = mvs_heads_room(h, h->depth, MVS_PANEL);
  f.logits = mvs_heads_room(h, tokens, MVS_PANEL);
  f.result = mvs_heads_room(h, MVS_PANEL, h->depth);
  mvs_loop units = mvs_emit_loop(e, h->entry.begin, h->entry.end, 1);
  unit(&f, &division, units.index);
  mvs_emit_loop_end(e, &units);
  LLVMBuildRetVoid(e->builder);
  out->scratch = h->scratch;
  mvs_printed_add(e->arena, out, symbol, division);
  return MVS_OK;
}
