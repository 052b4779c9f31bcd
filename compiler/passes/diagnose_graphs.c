/* diagnose_graphs.c: the formulas of the diagnostics, after the tool released with
 * arXiv 2605.06169 where it has them and after the paper where it has not; docs/diagnostics.md
 * states them. Energies are Frobenius norms. What is centred is centred first and squared then:
 * the difference of two squares would lose what is small beside the mean. */
#include <math.h>

#include "compiler/passes/diagnose.h"

/* Energies below it count as nothing, as in the released tool. */
#define NOTHING 1e-9
/* Turns of A^T A that mu_eff takes. */
#define TURNS 5

typedef mvs_graph *maker; /* so that formulas read like formulas */

static const mvs_span nowhere = {0};

static mvs_id number(maker m, double value) { return mvs_build_constant(m, value); }

static mvs_id add(maker m, mvs_id a, mvs_id b) {
  return mvs_build_binary(m, MVS_OP_add, a, b, nowhere);
}

static mvs_id sub(maker m, mvs_id a, mvs_id b) {
  return mvs_build_binary(m, MVS_OP_sub, a, b, nowhere);
}

static mvs_id mul(maker m, mvs_id a, mvs_id b) {
  return mvs_build_binary(m, MVS_OP_mul, a, b, nowhere);
}

static mvs_id divide(maker m, mvs_id a, mvs_id b) {
  return mvs_build_binary(m, MVS_OP_div, a, b, nowhere);
}

static mvs_id least(maker m, mvs_id a, double at_least) {
  return mvs_build_binary(m, MVS_OP_max, a, number(m, at_least), nowhere);
}

static mvs_id root(maker m, mvs_id a) { return mvs_build_unary(m, MVS_OP_sqrt, a, nowhere); }

static mvs_id magnitude(maker m, mvs_id a) {
  return mvs_build_unary(m, MVS_OP_abs, a, nowhere);
}

static mvs_id square(maker m, mvs_id a) { return mul(m, a, a); }

/* a < limit ? b : c */
static mvs_id below(maker m, mvs_id a, double limit, mvs_id b, mvs_id c) {
  mvs_id less = mvs_build_binary(m, MVS_OP_less, a, number(m, limit), nowhere);
  return mvs_graph_add(m, MVS_OP_select, (mvs_id[]){less, b, c}, 3, NULL, nowhere);
}

static mvs_id wide(maker m, mvs_id a) {
  return mvs_graph_type(m, a)->dtype == MVS_F32 ? a : mvs_build_cast(m, a, MVS_F32, nowhere);
}

/* The sum over one axis; axes are summed one by one, the last first, each by its own tree. */
static mvs_id sum(maker m, mvs_id a, int axis) {
  return mvs_build_sum(m, a, UINT32_C(1) << axis, nowhere);
}

static mvs_id mean(maker m, mvs_id a, int axis) {
  double length = (double)mvs_graph_type(m, a)->dims[axis].size;
  return mul(m, sum(m, a, axis), number(m, 1 / length));
}

/* The sum of the squares over the last two axes. */
static mvs_id energy(maker m, mvs_id a) {
  int rank = mvs_graph_type(m, a)->rank;
  return sum(m, sum(m, square(m, a), rank - 1), rank - 2);
}

static mvs_id reshape(maker m, mvs_id a, int rank, const mvs_dim *dims) {
  mvs_type type = mvs_type_make(mvs_graph_type(m, a)->dtype, rank, dims);
  return mvs_build_reshape(m, a, &type, nowhere);
}

static void result(maker m, const char *name, mvs_id id) {
  mvs_result item = {name, reshape(m, id, 0, NULL)};
  MVS_PUSH(mvs_graph_arena(m), mvs_graph_results(m), item);
}

/* --- updates --- */

/* What the tokens of a value add up to; all per sample, f32[B, 1, 1]. */
typedef struct energies {
  mvs_id mean[MVS_MAX_SEGMENTS], centred[MVS_MAX_SEGMENTS]; /* squared, by segment */
  mvs_id whole_mean, whole_centred; /* squared, over the whole sequence */
  mvs_id apart;                     /* squared, each segment centred by its own mean */
  mvs_id all;                       /* the sum of all squares */
} energies;

static mvs_id row(maker m, mvs_id a, int segment) {
  return mvs_build_slice(m, a, 1, segment, 1, NULL, nowhere);
}

/* One pass for the means and one for the centred squares serve all of them: with n_s tokens in
 * segment s, sum |x - m|^2 = sum |x - m_s|^2 + n_s |m_s - m|^2, which adds what is positive. */
static energies energies_of(maker m, mvs_id x) {
  const mvs_segments *table = mvs_graph_type(m, x)->segments;
  double tokens = (double)mvs_segments_length(table);
  mvs_id means = mvs_build_unary(m, MVS_OP_segment_mean, x, nowhere);
  mvs_attr spread = {.segments = {table}};
  mvs_id back = mvs_graph_add(m, MVS_OP_segment_broadcast, &means, 1, &spread, nowhere);
  mvs_id norms = sum(m, square(m, sub(m, wide(m, x), back)), 2);
  mvs_id centred = mvs_build_unary(m, MVS_OP_segment_sum, norms, nowhere);
  energies e = {0};
  mvs_id all = MVS_NONE;
  for (int s = 0; s < table->count; s++) {
    mvs_id share = number(m, (double)table->items[s].length / tokens);
    mvs_id part = mul(m, row(m, means, s), share);
    all = s == 0 ? part : add(m, all, part);
  }
  for (int s = 0; s < table->count; s++) {
    mvs_id length = number(m, (double)table->items[s].length), own = row(m, means, s);
    e.mean[s] = mul(m, sum(m, square(m, own), 2), length);
    e.centred[s] = row(m, centred, s);
    mvs_id aside = mul(m, sum(m, square(m, sub(m, own, all)), 2), length);
    mvs_id whole = add(m, e.centred[s], aside), both = add(m, e.centred[s], e.mean[s]);
    e.whole_centred = s == 0 ? whole : add(m, e.whole_centred, whole);
    e.apart = s == 0 ? e.centred[s] : add(m, e.apart, e.centred[s]);
    e.all = s == 0 ? both : add(m, e.all, both);
  }
  e.whole_mean = mul(m, sum(m, square(m, all), 2), number(m, tokens));
  return e;
}

/* The samples of the call, as a number. */
static mvs_id sample_count(maker m) {
  mvs_attr shape = {
      .shape = {mvs_type_make(MVS_F32, 3, (mvs_dim[]){{1, true}, {1, false}, {1, false}})}};
  mvs_id one = number(m, 1);
  return sum(m, mvs_graph_add(m, MVS_OP_broadcast, &one, 1, &shape, nowhere), 0);
}

/* The norm of each sample, averaged over them. */
static mvs_id mean_norm(maker m, mvs_id energy, mvs_id samples) {
  return divide(m, sum(m, root(m, energy), 0), samples);
}

/* mean over centred; infinite where nothing is centred. */
static void add_rho(maker m, const char *name, mvs_id mean, mvs_id centred, mvs_id samples) {
  mvs_id under = mean_norm(m, centred, samples);
  under = below(m, under, NOTHING, number(m, 0), under);
  result(m, name, divide(m, mean_norm(m, mean, samples), under));
}

/* Centred f over centred x, each segment by its own mean; 1 where both are nothing. */
static void add_gain(maker m, const energies *x, const energies *f, mvs_id samples) {
  mvs_id over = mean_norm(m, f->apart, samples), under = mean_norm(m, x->apart, samples);
  mvs_id none = below(m, over, NOTHING, number(m, 1), divide(m, over, number(m, 0)));
  result(m, "var_gain", below(m, under, NOTHING, none, divide(m, over, under)));
}

/* RMS(f) / (RMS(x) + 1e-9), over everything. */
static void add_ratio(maker m, const energies *x, const energies *f, double elements,
                      mvs_id samples) {
  mvs_id count = mul(m, samples, number(m, elements));
  mvs_id under = root(m, divide(m, sum(m, x->all, 0), count));
  mvs_id over = root(m, divide(m, sum(m, f->all, 0), count));
  result(m, "r_tr", divide(m, over, add(m, under, number(m, 1e-9))));
}

/* Of the whole sequence, and of each segment where there are several. */
static void add_rhos(maker m, const mvs_segments *table, const energies *x, mvs_id samples) {
  add_rho(m, "rho", x->whole_mean, x->whole_centred, samples);
  for (int s = 0; table->count > 1 && s < table->count; s++) {
    const char *name = mvs_arena_format(mvs_graph_arena(m), "rho.%s", table->items[s].name);
    add_rho(m, name, x->mean[s], x->centred[s], samples);
  }
}

void mvs_diagnose_stream(mvs_graph *m, mvs_id x) {
  energies of_x = energies_of(m, x);
  add_rhos(m, mvs_graph_type(m, x)->segments, &of_x, sample_count(m));
}

void mvs_diagnose_update(mvs_graph *m, mvs_id x, mvs_id f) {
  const mvs_type *type = mvs_graph_type(m, x);
  mvs_id samples = sample_count(m);
  energies of_x = energies_of(m, x), of_f = energies_of(m, f);
  add_rhos(m, type->segments, &of_x, samples);
  double elements = (double)type->dims[1].size * (double)type->dims[2].size;
  add_ratio(m, &of_x, &of_f, elements, samples);
  add_gain(m, &of_x, &of_f, samples);
}

/* The sum over all pairs of different tokens of <u_i, u_j>, u the tokens at length 1, is
 * |sum u|^2 - sum |u|^2: no product of tokens with tokens. */
void mvs_diagnose_tokens(mvs_graph *m, mvs_id x) {
  double tokens = (double)mvs_graph_type(m, x)->dims[0].size;
  x = wide(m, x);
  mvs_id unit = divide(m, x, least(m, root(m, sum(m, square(m, x), 1)), 1e-6));
  mvs_id pairs = sub(m, sum(m, square(m, sum(m, unit, 0)), 1), energy(m, unit));
  result(m, "tcs", mul(m, pairs, number(m, 1 / (tokens * (tokens - 1)))));
}

/* --- writers --- */

/* Each sample's gradient is T delta_mean y_mean^T + sum of the centred parts' products,
 * exactly; so the centred part of the whole batch is what is left of the gradient that is
 * there. */
void mvs_diagnose_writer(mvs_graph *m, mvs_id y, mvs_id delta, mvs_id gradient) {
  double tokens = (double)mvs_graph_type(m, y)->dims[1].size;
  mvs_id mean_y = mean(m, wide(m, y), 1), mean_delta = mean(m, wide(m, delta), 1);
  mvs_id product =
      mvs_build_matmul(m, MVS_MATMUL_TN, mean_delta, mean_y, MVS_NONE, MVS_F32, nowhere);
  mvs_id of_means = mul(m, product, number(m, tokens));
  result(m, "g_mean", root(m, energy(m, of_means)));
  result(m, "g_ctr", root(m, energy(m, sub(m, gradient, of_means))));
}

/* Products of all tokens with all, f32[T, T]. */
static mvs_id gram(maker m, mvs_id x) {
  return mvs_build_matmul(m, MVS_MATMUL_NT, x, x, MVS_NONE, MVS_F32, nowhere);
}

/* |g_ij| by the lengths of tokens i and j: `lengths` f32[T, 1], `tokens` of them. */
static mvs_id cosines(maker m, mvs_id products, mvs_id lengths, int64_t tokens) {
  mvs_id across = reshape(m, lengths, 2, (mvs_dim[]){{1, false}, {tokens, false}});
  return divide(m, divide(m, magnitude(m, products), lengths), across);
}

/* |sum delta_t y_t^T|^2 is the sum of <delta_s, delta_t> <y_s, y_t> over all s and t, so both
 * figures come from the products of tokens with tokens. */
void mvs_diagnose_coherence(mvs_graph *m, mvs_id y, mvs_id delta, int64_t tokens) {
  y = mvs_build_slice(m, y, 0, 0, tokens, NULL, nowhere);
  delta = mvs_build_slice(m, delta, 0, 0, tokens, NULL, nowhere);
  mvs_id y_products = gram(m, y), delta_products = gram(m, delta);
  mvs_id y_squares = sum(m, square(m, wide(m, y)), 1);
  mvs_id delta_squares = sum(m, square(m, wide(m, delta)), 1);
  mvs_id together = sum(m, sum(m, mul(m, y_products, delta_products), 1), 0);
  mvs_id apart = add(m, sum(m, mul(m, y_squares, delta_squares), 0), number(m, 1e-12));
  result(m, "amplification", divide(m, together, apart));
  mvs_id y_lengths = least(m, root(m, y_squares), 1e-12);
  mvs_id delta_lengths = least(m, root(m, delta_squares), 1e-12);
  mvs_id pairs = mul(m, cosines(m, y_products, y_lengths, tokens),
                     cosines(m, delta_products, delta_lengths, tokens));
  mvs_id own = mul(m, divide(m, y_squares, square(m, y_lengths)),
                   divide(m, delta_squares, square(m, delta_lengths)));
  mvs_id others = sub(m, sum(m, sum(m, pairs, 1), 0), sum(m, own, 0));
  result(m, "coherence", mul(m, others, number(m, 1 / (double)tokens)));
}

/* --- attention --- */

/* Whom each token attends to, f32[H, T, T] with rows that add up to 1. The products of a sample
 * are few beside those of a batch, so that they need no matmul. */
static mvs_id weights(maker m, mvs_id q, mvs_id k, double scale) {
  const mvs_type *type = mvs_graph_type(m, q);
  int64_t tokens = type->dims[0].size, heads = type->dims[1].size, size = type->dims[2].size;
  int64_t groups = mvs_graph_type(m, k)->dims[1].size;
  mvs_dim rows[] = {
      {tokens, false}, {1, false}, {groups, false}, {heads / groups, false}, {size, false}};
  mvs_dim columns[] = {{1, false}, {tokens, false}, {groups, false}, {1, false}, {size, false}};
  mvs_dim all[] = {{tokens, false}, {tokens, false}, {heads, false}};
  mvs_id products = mul(m, reshape(m, wide(m, q), 5, rows), reshape(m, wide(m, k), 5, columns));
  mvs_id logits = mul(m, reshape(m, sum(m, products, 4), 3, all), number(m, scale));
  mvs_attr order = {.permutation = {3, {2, 0, 1}}};
  logits = mvs_graph_add(m, MVS_OP_transpose, &logits, 1, &order, nowhere);
  mvs_attr last = {.axes = {1 << 2}};
  mvs_id most = mvs_graph_add(m, MVS_OP_max_over, &logits, 1, &last, nowhere);
  mvs_id shares = mvs_build_unary(m, MVS_OP_exp, sub(m, logits, most), nowhere);
  return divide(m, shares, sum(m, shares, 2));
}

/* A random start per head, always the same one: f32[H, 1, T]. */
static mvs_id start(maker m, int64_t heads, int64_t tokens) {
  mvs_type type =
      mvs_type_make(MVS_F32, 3, (mvs_dim[]){{heads, false}, {1, false}, {tokens, false}});
  mvs_type each =
      mvs_type_make(MVS_I32, 3, (mvs_dim[]){{heads, false}, {1, false}, {1, false}});
  mvs_attr zero = {.constant = {0, MVS_I32}}, count = {.iota = {each, 0}};
  mvs_id none = mvs_graph_add(m, MVS_OP_constant, NULL, 0, &zero, nowhere);
  mvs_id head = mvs_graph_add(m, MVS_OP_iota, NULL, 0, &count, nowhere);
  mvs_attr draw = {.random = {MVS_RANDOM_NORMAL, 0, type}};
  return mvs_graph_add(m, MVS_OP_random, (mvs_id[]){none, none, head}, 3, &draw, nowhere);
}

/* The norm of P A P by turns of P A^T A from a random start, its mean over the heads. A turn
 * that leaves next to nothing is the last one of its head. */
static void add_power(maker m, mvs_id attention) {
  const mvs_type *type = mvs_graph_type(m, attention);
  mvs_id v = start(m, type->dims[0].size, type->dims[1].size);
  for (int turn = 0; turn <= TURNS; turn++) {
    v = sub(m, v, mean(m, v, 2));
    mvs_id length = root(m, sum(m, square(m, v), 2));
    mvs_id unit =
        divide(m, v, turn == 0 ? least(m, length, 1e-12) : add(m, length, number(m, 1e-12)));
    v = turn == 0 ? unit : below(m, length, NOTHING, v, unit);
    mvs_id forth = sum(m, mul(m, attention, v), 2);
    if (turn == TURNS) {
      result(m, "mu_eff", mean(m, root(m, sum(m, square(m, forth), 1)), 0));
    } else {
      v = sum(m, mul(m, attention, forth), 1);
    }
  }
}

/* The norm of a over that of b, its mean over the heads. */
static void add_shares(maker m, const char *name, mvs_id a, mvs_id b) {
  result(m, name, mean(m, root(m, divide(m, a, b)), 0));
}

/* With A f32[H, T, T] and c(x) the tokens without their mean:
 *   mu_eff   |P A P|, its largest singular value          row_div  |A - mean of its rows| / |A|
 *   ret      |c(A c(x))| / |c(x)|                          leak     |mean(A c(x))| / |c(x)|
 * each by head, and the mean over heads. */
void mvs_diagnose_attention(mvs_graph *m, mvs_id x, mvs_id q, mvs_id k, double scale) {
  double tokens = (double)mvs_graph_type(m, x)->dims[0].size;
  mvs_id attention = weights(m, q, k, scale);
  add_power(m, attention);
  mvs_id apart = sub(m, attention, mean(m, attention, 1));
  add_shares(m, "row_div", energy(m, apart), energy(m, attention));
  x = wide(m, x);
  mvs_id centred = sub(m, x, mean(m, x, 0)), before = energy(m, centred);
  mvs_id mixed =
      mvs_build_matmul(m, MVS_MATMUL_NN, attention, centred, MVS_NONE, MVS_F32, nowhere);
  mvs_id common = mean(m, mixed, 1);
  add_shares(m, "ret", energy(m, sub(m, mixed, common)), before);
  add_shares(m, "leak", mul(m, energy(m, common), number(m, tokens)), before);
}
