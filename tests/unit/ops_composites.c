/* ops_composites.c: expressions of many ops, as models have them: forward at odd shapes, in f32
 * and with bf16 storage, with and without all inner values stored (the bits must not change),
 * and their gradients. */
#include "tests/unit/ops_composites.h"

#define SPAN s->span

/* --- words --- */

static int64_t features(const ops_suite *s, mvs_id x) {
  const mvs_type *type = mvs_graph_type(s->graph, x);
  return type->dims[type->rank - 1].size;
}

static int64_t tokens(const ops_suite *s, mvs_id x) {
  return mvs_graph_type(s->graph, x)->dims[1].size;
}

static mvs_id times(ops_suite *s, mvs_id x, double value) {
  return ops_binary(s, MVS_OP_mul, x, mvs_build_constant(s->graph, value));
}

static mvs_id plus(ops_suite *s, mvs_id x, double value) {
  return ops_binary(s, MVS_OP_add, x, mvs_build_constant(s->graph, value));
}

static mvs_id add(ops_suite *s, mvs_id a, mvs_id b) { return ops_binary(s, MVS_OP_add, a, b); }
static mvs_id sub(ops_suite *s, mvs_id a, mvs_id b) { return ops_binary(s, MVS_OP_sub, a, b); }
static mvs_id mul(ops_suite *s, mvs_id a, mvs_id b) { return ops_binary(s, MVS_OP_mul, a, b); }

/* Storage in bf16 where the suite has it. */
static mvs_id stored(ops_suite *s, mvs_id x) {
  return s->storage == MVS_BF16 ? ops_cast(s, x, MVS_BF16) : x;
}

static uint32_t last_axis(const ops_suite *s, mvs_id x) {
  return 1u << (mvs_graph_type(s->graph, x)->rank - 1);
}

static mvs_id mean_features(ops_suite *s, mvs_id x) {
  return times(s, ops_sum(s, x, last_axis(s, x)), 1.0 / (double)features(s, x));
}

/* A vector of one number for each feature. */
static mvs_id gain(ops_suite *s, const char *name, mvs_id x) {
  return ops_weight(s, name, 1, (int64_t[]){features(s, x)});
}

static mvs_id linear(ops_suite *s, const char *name, mvs_id x, int64_t out, bool bias) {
  mvs_id w = ops_weight(s, name, 2, (int64_t[]){out, features(s, x)});
  mvs_id b = MVS_NONE;
  if (bias) b = stored(s, ops_weight(s, mvs_arena_format(s->arena, "%s_bias", name), 1, &out));
  return mvs_build_matmul(s->graph, MVS_MATMUL_NT, stored(s, x), stored(s, w), b, s->storage,
                          SPAN);
}

static mvs_id mean(ops_suite *s, mvs_id x) {
  mvs_attr attr = {.segments = {mvs_graph_type(s->graph, x)->segments}};
  mvs_id rows = ops_unary(s, MVS_OP_segment_mean, x);
  return ops_node(s, MVS_OP_segment_broadcast, &attr, rows, MVS_NONE);
}

static mvs_id silu(ops_suite *s, mvs_id x) {
  return mul(s, x, ops_unary(s, MVS_OP_sigmoid, x));
}

/* --- norms and softmax --- */

static mvs_id rms_norm(ops_suite *s, mvs_id x) {
  mvs_id square = plus(s, mean_features(s, mul(s, x, x)), 1e-2);
  return mul(s, x, ops_unary(s, MVS_OP_rsqrt, square));
}

static mvs_id layer_norm(ops_suite *s, mvs_id x) {
  mvs_id centred = sub(s, x, mean_features(s, x));
  mvs_id variance = plus(s, mean_features(s, mul(s, centred, centred)), 1e-2);
  mvs_id y = ops_binary(s, MVS_OP_div, centred, ops_unary(s, MVS_OP_sqrt, variance));
  return add(s, mul(s, y, gain(s, "gain", x)), gain(s, "shift", x));
}

static mvs_id softmax(ops_suite *s, mvs_id x) {
  mvs_attr last = {.axes = {last_axis(s, x)}};
  mvs_id most = ops_node(s, MVS_OP_max_over, &last, x, MVS_NONE);
  mvs_id power = ops_unary(s, MVS_OP_exp, sub(s, mul(s, x, gain(s, "gain", x)), most));
  return ops_binary(s, MVS_OP_div, power, ops_sum(s, power, last.axes.mask));
}

/* Each norm waits for the one before. */
static mvs_id norm_chain(ops_suite *s, mvs_id x) {
  mvs_id y = rms_norm(s, add(s, x, mul(s, x, gain(s, "g1", x))));
  y = rms_norm(s, add(s, x, mul(s, y, gain(s, "g2", x))));
  return rms_norm(s, add(s, y, ops_unary(s, MVS_OP_tanh, mul(s, y, gain(s, "g3", x)))));
}

/* --- tokens --- */

static mvs_id mvsplit(ops_suite *s, mvs_id x) {
  mvs_id f = linear(s, "w", x, features(s, x), false);
  mvs_id moved = mul(s, gain(s, "alpha", x), sub(s, mean(s, f), mean(s, x)));
  mvs_id centred = mul(s, gain(s, "beta", x), sub(s, f, mean(s, f)));
  return rms_norm(s, add(s, x, add(s, centred, moved)));
}

/* A mean of what depends on a mean. */
static mvs_id means_of_means(ops_suite *s, mvs_id x) {
  mvs_id y = sub(s, x, mean(s, mul(s, x, gain(s, "g1", x))));
  mvs_id z = ops_unary(s, MVS_OP_tanh, add(s, y, mean(s, mul(s, y, y))));
  return sub(s, z, mul(s, mean(s, z), gain(s, "g2", x)));
}

/* Every segment by itself, put together again. */
static mvs_id by_segment(ops_suite *s, mvs_id x) {
  const mvs_segments *table = mvs_graph_type(s->graph, x)->segments;
  mvs_id parts[MVS_MAX_SEGMENTS];
  int64_t start = 0;
  for (int i = 0; i < table->count; i++) {
    mvs_id part = ops_slice(s, x, 1, start, table->items[i].length);
    mvs_id w = gain(s, mvs_arena_format(s->arena, "g%d", i), x);
    parts[i] = i % 2 ? rms_norm(s, mul(s, part, w)) : sub(s, mul(s, part, w), mean(s, part));
    start += table->items[i].length;
  }
  return mvs_build_concat(s->graph, parts, table->count, 1, table, SPAN);
}

/* Sums over tokens, samples and features, used side by side. */
static mvs_id sums(ops_suite *s, mvs_id x) {
  mvs_id y = mul(s, x, gain(s, "gain", x));
  mvs_id by_token = ops_sum(s, y, 2), by_sample = ops_sum(s, mul(s, y, y), 1);
  mvs_id total = times(s, ops_sum(s, y, 7), 0.01);
  return add(s, mul(s, by_token, times(s, by_sample, 0.1)), add(s, y, total));
}

/* --- views --- */

/* A rotation of the features by a third: pieces of different lengths. */
static mvs_id turn_features(ops_suite *s, mvs_id x) {
  int64_t count = features(s, x), part = count / 3;
  mvs_id y = mul(s, x, gain(s, "gain", x));
  if (part == 0) return y;
  mvs_id pieces[] = {ops_slice(s, y, 2, part, count - part), ops_slice(s, y, 2, 0, part)};
  mvs_id turned = mvs_build_concat(s->graph, pieces, 2, 2, NULL, SPAN);
  return add(s, mul(s, x, turned), rms_norm(s, turned));
}

/* Halves with a sign, as rotary embeddings have them, with angles of tokens. */
static mvs_id rotary(ops_suite *s, mvs_id x) {
  int64_t half = features(s, x) / 2;
  if (half == 0) return mul(s, x, gain(s, "gain", x));
  mvs_id even = ops_slice(s, x, 2, 0, 2 * half);
  even = mul(s, even, ops_weight(s, "gain", 1, (int64_t[]){2 * half}));
  mvs_id angle = ops_input(s, "angle", ops_type(MVS_F32, 2, (int64_t[]){tokens(s, x), half}));
  mvs_id cosine = ops_unary(s, MVS_OP_cos, angle), sine = ops_unary(s, MVS_OP_sin, angle);
  mvs_id a = ops_slice(s, even, 2, 0, half), b = ops_slice(s, even, 2, half, half);
  mvs_id parts[] = {add(s, mul(s, a, cosine), mul(s, b, sine)),
                    sub(s, mul(s, b, cosine), mul(s, a, sine))};
  return rms_norm(s, mvs_build_concat(s->graph, parts, 2, 2, NULL, SPAN));
}

/* Work on tokens and features in exchange. */
static mvs_id transposed(ops_suite *s, mvs_id x) {
  const int swap[] = {0, 2, 1};
  mvs_id y = ops_transpose(s, mul(s, x, gain(s, "gain", x)), swap);
  y = rms_norm(s, y);
  y = linear(s, "mix", y, tokens(s, x), true);
  return add(s, x, ops_transpose(s, y, swap));
}

/* Images of one channel cut into patches by two transposes. */
static mvs_id patches(ops_suite *s, mvs_id x) {
  int64_t count = tokens(s, x), inner = features(s, x);
  mvs_id y = ops_reshape(s, mul(s, x, gain(s, "gain", x)), 4, (int64_t[]){0, count, 1, inner});
  y = ops_transpose(s, y, (int[]){0, 2, 3, 1});
  y = ops_reshape(s, y, 3, (int64_t[]){0, inner, count});
  y = linear(s, "w", y, 5, true);
  return ops_reshape(s, y, 2, (int64_t[]){0, 5 * inner});
}

/* --- products --- */

static mvs_id gated_mlp(ops_suite *s, mvs_id x) {
  int64_t hidden = features(s, x) + 3;
  mvs_id both = linear(s, "w13", x, 2 * hidden, true);
  mvs_id gate = ops_slice(s, both, 2, 0, hidden), value = ops_slice(s, both, 2, hidden, hidden);
  mvs_id y = linear(s, "w2", mul(s, silu(s, gate), value), features(s, x), true);
  return rms_norm(s, add(s, x, y));
}

/* Parts of a sequence through products of their own. */
static mvs_id products_of_parts(ops_suite *s, mvs_id x) {
  int64_t count = tokens(s, x), first = (count + 1) / 2;
  mvs_id a = linear(s, "wa", ops_slice(s, x, 1, 0, first), 6, true), both[2] = {a, MVS_NONE};
  if (first < count)
    both[1] = linear(s, "wb", ops_slice(s, x, 1, first, count - first), 6, false);
  mvs_id y = mvs_build_concat(s->graph, both, first < count ? 2 : 1, 1, NULL, SPAN);
  return linear(s, "wc", y, 7, true);
}

static mvs_id heads_of(ops_suite *s, const char *name, mvs_id x, int64_t heads, int64_t width) {
  mvs_id y = linear(s, name, x, heads * width, true);
  y = ops_reshape(s, y, 4, (int64_t[]){0, tokens(s, x), heads, width});
  return y;
}

/* Four query heads over two key heads, normalised, with a projection and a residual. */
static mvs_id attention_of(ops_suite *s, mvs_id x, int64_t width) {
  mvs_attr scale = {.attention = {0.5}};
  mvs_id q = stored(s, rms_norm(s, heads_of(s, "wq", x, 4, width)));
  mvs_id k = stored(s, rms_norm(s, heads_of(s, "wk", x, 2, width)));
  mvs_id v = stored(s, heads_of(s, "wv", x, 2, width));
  mvs_id both = ops_node(s, MVS_OP_attention, &scale, q, k, v, MVS_NONE);
  mvs_id o = mvs_build_get(s->graph, both, 0, SPAN);
  o = ops_reshape(s, o, 3, (int64_t[]){0, tokens(s, x), 4 * width});
  return rms_norm(s, add(s, x, linear(s, "wo", o, features(s, x), false)));
}

/* Three products, their rows being no multiples of 8. */
static mvs_id attention_block(ops_suite *s, mvs_id x) { return attention_of(s, x, 5); }

/* One product, of which attention reads v in place. */
static mvs_id packed_attention(ops_suite *s, mvs_id x) { return attention_of(s, x, 4); }

const ops_composite ops_composites[] = {
    {"rms_norm", rms_norm, false},
    {"layer_norm", layer_norm, true},
    {"softmax", softmax, true},
    {"norm_chain", norm_chain, true},
    {"mvsplit", mvsplit, true},
    {"means_of_means", means_of_means, true},
    {"by_segment", by_segment, true},
    {"sums", sums, true},
    {"turn_features", turn_features, true},
    {"rotary", rotary, true},
    {"transposed", transposed, true},
    {"patches", patches, true},
    {"gated_mlp", gated_mlp, true},
    {"products_of_parts", products_of_parts, true},
    {"attention_block", attention_block, true},
    {"packed_attention", packed_attention, true},
};
const int ops_composite_count = sizeof ops_composites / sizeof *ops_composites;
