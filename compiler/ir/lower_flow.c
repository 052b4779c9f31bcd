/* lower_flow.c: rectified flow around the model. With the state z_t = (1-t) x0 + t x1, the
 * output is trained towards x0 - x1 (arXiv 2605.06169). "loss" is a pure function of x0, x1, t
 * and the conditions; everything random is in "draw", so the one can be checked against a
 * reference with given noise and the other against its counters. Both are made only when the
 * output has the state's shape. Squares are summed in f64: a sum over all elements of a batch
 * in f32 would lose what one micro-batch adds. */
#include "compiler/ir/lowering.h"
#include "compiler/ir/steps.h"

/* An input of the function being made. */
static mvs_value input(mvs_lowering *lo, const char *name, mvs_type type) {
  mvs_attr attr = {.input = {name, type}};
  return mvs_value_tensor(lo->top,
                          mvs_graph_add(lo->top, MVS_OP_input, NULL, 0, &attr, (mvs_span){0}));
}

/* A named result of the function being made. */
static void add_result(mvs_lowering *lo, const char *name, mvs_id id) {
  mvs_result result = {name, id};
  MVS_PUSH(mvs_graph_arena(lo->top), mvs_graph_results(lo->top), result);
}

/* A type of rank 0. */
static mvs_type scalar(mvs_dtype dtype) { return (mvs_type){.dtype = dtype}; }

/* dtype[B, 1, ...] of that rank: one number per sample, ready to meet a tensor of the rank. */
static mvs_type per_sample(mvs_dtype dtype, int rank) {
  mvs_type type = {.dtype = dtype, .rank = (uint8_t)rank};
  type.dims[0] = (mvs_dim){1, true};
  for (int i = 1; i < rank; i++) type.dims[i] = (mvs_dim){1, false};
  return type;
}

/* --- loss --- */

/* The mean over a sample's elements, then the sum over samples, times inverse_batch; in f64.
 * Two sums in a fixed order: features and tokens of a sample first, samples last, whatever the
 * micro-batch. */
static mvs_id mean_square(mvs_lowering *lo, mvs_id error, mvs_id inverse_batch) {
  mvs_graph *graph = lo->top;
  mvs_span span = lo->output_span;
  int64_t count = mvs_type_elements(mvs_graph_type(graph, error), NULL);
  mvs_id square = mvs_build_binary(graph, MVS_OP_mul, error, error, span);
  square = mvs_build_cast(graph, square, MVS_F64, span);
  mvs_type rows = mvs_type_make(MVS_F64, 2, (mvs_dim[]){{1, true}, {count, false}});
  mvs_type none = scalar(MVS_F64);
  mvs_id each = mvs_build_sum(graph, mvs_build_reshape(graph, square, &rows, span), 2, span);
  mvs_attr share = {.constant = {1.0 / (double)count, MVS_F64}};
  mvs_id by = mvs_graph_add(graph, MVS_OP_constant, NULL, 0, &share, span);
  mvs_id total =
      mvs_build_sum(graph, mvs_build_binary(graph, MVS_OP_mul, each, by, span), 1, span);
  total = mvs_build_reshape(graph, total, &none, span);
  return mvs_build_binary(graph, MVS_OP_mul, total, inverse_batch, span);
}

/* The second run of the model: its state is the blend of x0 and x1, its parameters are found
 * again by name. */
static mvs_status make_loss(mvs_lowering *lo, const mvs_type *state) {
  lo->run = MVS_RUN_LOSS;
  lo->top = mvs_module_add_function(lo->module, "loss")->graph;
  mvs_id x0 = input(lo, "x0", *state).id, x1 = input(lo, "x1", *state).id;
  mvs_id t = input(lo, "t", per_sample(MVS_F32, 1)).id;
  lo->state = mvs_value_tensor(lo->top, mvs_build_blend(lo->top, x0, x1, t, (mvs_span){0}));
  MVS_TRY(mvs_lower_model(lo));
  mvs_id inverse_batch = input(lo, "inverse_batch", scalar(MVS_F32)).id;
  mvs_id target = mvs_build_binary(lo->top, MVS_OP_sub, x0, x1, lo->output_span);
  mvs_id error = mvs_build_binary(lo->top, MVS_OP_sub, lo->output.id, target, lo->output_span);
  add_result(lo, "loss", mean_square(lo, error, inverse_batch));
  return MVS_OK;
}

/* --- draw --- */

/* What a random number depends on besides its stream and its place in the sample: nodes of
 * "draw". */
typedef struct counter {
  mvs_id seed, step, sample; /* sample i32[B] */
} counter;

/* A fresh stream of random numbers of that type. */
static mvs_id draw(mvs_lowering *lo, const counter *at, mvs_random_kind kind, mvs_type type) {
  mvs_graph *graph = lo->top;
  mvs_span none = {0};
  mvs_id sample = at->sample;
  if (type.rank > 1) {
    mvs_type shape = per_sample(MVS_I32, type.rank);
    sample = mvs_build_reshape(graph, sample, &shape, none);
  }
  type.segments = NULL;
  mvs_attr attr = {.random = {kind, lo->module->next_stream++, type}};
  return mvs_graph_add(graph, MVS_OP_random, (mvs_id[]){at->seed, at->step, sample}, 3, &attr,
                       none);
}

/* t' = s t / (1 + (s-1) t): more of the noisy end for s > 1. */
static mvs_id shifted(mvs_graph *graph, mvs_id t, double shift) {
  mvs_span none = {0};
  if (shift == 1) return t;
  mvs_id over = mvs_build_binary(graph, MVS_OP_mul, mvs_build_constant(graph, shift), t, none);
  mvs_id under =
      mvs_build_binary(graph, MVS_OP_mul, mvs_build_constant(graph, shift - 1), t, none);
  under = mvs_build_binary(graph, MVS_OP_add, mvs_build_constant(graph, 1), under, none);
  return mvs_build_binary(graph, MVS_OP_div, over, under, none);
}

/* The conditioning, replaced where this sample's coin fell below the dropout. A select and not
 * a product: what is dropped leaves no trace, a NaN in it included. */
static mvs_id dropped(mvs_lowering *lo, mvs_id value, mvs_id coin,
                      const mvs_model_input *which) {
  mvs_graph *graph = lo->top;
  mvs_span none = {0};
  mvs_dtype dtype = which->type.dtype;
  mvs_id drop = mvs_build_binary(graph, MVS_OP_less, coin,
                                 mvs_build_constant(graph, lo->module->settings.dropout), none);
  if (which->type.rank > 1) {
    mvs_type type = per_sample(MVS_F32, which->type.rank);
    drop = mvs_build_reshape(graph, drop, &type, none);
  }
  if (dtype == MVS_I32) drop = mvs_build_cast(graph, drop, MVS_I32, none);
  mvs_attr attr = {.constant = {which->unconditional, dtype}};
  mvs_id nothing = mvs_graph_add(graph, MVS_OP_constant, NULL, 0, &attr, none);
  return mvs_graph_add(graph, MVS_OP_select, (mvs_id[]){drop, nothing, value}, 3, NULL, none);
}

/* Three streams: noise, times, coins. They are drawn whether or not there is a dropout, so that
 * turning it on changes no noise. */
static void make_draw(mvs_lowering *lo, const mvs_type *state) {
  lo->top = mvs_module_add_function(lo->module, "draw")->graph;
  counter at = {input(lo, "seed", scalar(MVS_I32)).id, input(lo, "step", scalar(MVS_I32)).id,
                input(lo, "sample", per_sample(MVS_I32, 1)).id};
  mvs_id x1 = draw(lo, &at, MVS_RANDOM_NORMAL, *state);
  mvs_id t = draw(lo, &at, MVS_RANDOM_UNIFORM, per_sample(MVS_F32, 1));
  mvs_id coin = draw(lo, &at, MVS_RANDOM_UNIFORM, per_sample(MVS_F32, 1));
  add_result(lo, "x1", x1);
  add_result(lo, "t", shifted(lo->top, t, lo->module->settings.timestep_shift));
  for (size_t i = 0; i < lo->module->inputs.count; i++) {
    const mvs_model_input *which = &lo->module->inputs.items[i];
    if (!which->conditioning) continue;
    mvs_id value = input(lo, which->name, which->type).id;
    if (lo->module->settings.dropout > 0) value = dropped(lo, value, coin, which);
    add_result(lo, which->name, value);
  }
}

/* --- */

/* A model whose output is no velocity can still be run: "forward" alone is made then. That
 * becomes an error only when the file asks for the objective. */
mvs_status mvs_lower_flow(mvs_lowering *lo) {
  const mvs_model_input *state = mvs_module_state(lo->module);
  bool fits = state && mvs_type_same_shape(&state->type, mvs_value_type(&lo->output));
  if (!fits && lo->objective_span.source) {
    mvs_lower_error(lo, MVS_ERR_SHAPE, lo->output_span,
                    "rectified flow needs an output like the state: %s, not %s",
                    state ? mvs_lower_type_text(lo, &state->type) : "an f32 input",
                    mvs_lower_type_text(lo, mvs_value_type(&lo->output)));
    mvs_diag_note(lo->diag, lo->objective_span, "the objective is chosen here");
    return MVS_ERR_SHAPE;
  }
  if (!fits) return MVS_OK;
  mvs_type type = state->type;
  MVS_TRY(make_loss(lo, &type));
  make_draw(lo, &type);
  return MVS_OK;
}
