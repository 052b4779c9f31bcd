/* steps.c: the functions around the model, as graphs over flat rows. What steps.h states as
 * formulas is built here op by op, in the order in which it is rounded. Every product and sum
 * is a node of its own and no fma is used: all back ends then give the same bits, and so do
 * runs with other numbers of threads. Scalars are inputs, not constants, as they change each
 * step and one kernel is to serve all of them. */
#include "compiler/ir/steps.h"

/* A graph under construction, so that formulas read like formulas. */
typedef struct maker {
  mvs_graph *graph;
} maker;

/* A tensor given at each call, by name. */
static mvs_id input(maker at, const char *name, mvs_type type) {
  mvs_attr attr = {.input = {name, type}};
  return mvs_graph_add(at.graph, MVS_OP_input, NULL, 0, &attr, (mvs_span){0});
}

/* A buffer of parameters or their like, f32[B, MVS_FLAT_ROW]; the batch counts rows. */
static mvs_id flat(maker at, const char *name) {
  mvs_dim dims[] = {{1, true}, {MVS_FLAT_ROW, false}};
  return input(at, name, mvs_type_make(MVS_F32, 2, dims));
}

/* A number given at each call, f32[]. */
static mvs_id scalar(maker at, const char *name) {
  return input(at, name, mvs_type_make(MVS_F32, 0, NULL));
}

/* A number given at each call, f64[]. */
static mvs_id wide_scalar(maker at, const char *name) {
  return input(at, name, mvs_type_make(MVS_F64, 0, NULL));
}

/* A number for each row, f32[B, 1]. */
static mvs_id by_row(maker at, const char *name) {
  return input(at, name, mvs_type_make(MVS_F32, 2, (mvs_dim[]){{1, true}, {1, false}}));
}

/* The constant 1; interned, so all uses are one node. */
static mvs_id one(maker at) { return mvs_build_constant(at.graph, 1); }
/* a + b */
static mvs_id add(maker at, mvs_id a, mvs_id b) {
  return mvs_build_binary(at.graph, MVS_OP_add, a, b, (mvs_span){0});
}

/* a - b */
static mvs_id sub(maker at, mvs_id a, mvs_id b) {
  return mvs_build_binary(at.graph, MVS_OP_sub, a, b, (mvs_span){0});
}

/* a b */
static mvs_id mul(maker at, mvs_id a, mvs_id b) {
  return mvs_build_binary(at.graph, MVS_OP_mul, a, b, (mvs_span){0});
}

/* a / b */
static mvs_id divide(maker at, mvs_id a, mvs_id b) {
  return mvs_build_binary(at.graph, MVS_OP_div, a, b, (mvs_span){0});
}

/* choice != 0 ? a : b */
static mvs_id select(maker at, mvs_id choice, mvs_id a, mvs_id b) {
  mvs_id inputs[] = {choice, a, b};
  return mvs_graph_add(at.graph, MVS_OP_select, inputs, 3, NULL, (mvs_span){0});
}

/* The square root of each element. */
static mvs_id root(maker at, mvs_id a) {
  return mvs_build_unary(at.graph, MVS_OP_sqrt, a, (mvs_span){0});
}

/* A function with an empty graph. */
static maker function(mvs_module *module, const char *name) {
  return (maker){mvs_module_add_function(module, name)->graph};
}

/* A named result. */
static void result(maker at, const char *name, mvs_id id) {
  mvs_result item = {name, id};
  MVS_PUSH(mvs_graph_arena(at.graph), mvs_graph_results(at.graph), item);
}

/* keep a + (1 - keep) b */
static mvs_id mix(maker at, mvs_id keep, mvs_id a, mvs_id b) {
  return add(at, mul(at, keep, a), mul(at, sub(at, one(at), keep), b));
}

/* One step of AdamW; see steps.h. */
static void add_adamw(mvs_module *module, bool muon) {
  maker at = function(module, "adamw");
  mvs_id p = flat(at, "p"), m = flat(at, "m"), v = flat(at, "v"), g = flat(at, "g");
  mvs_id lr = scalar(at, "lr"), beta2 = scalar(at, "beta2");
  mvs_id beta1 = muon ? by_row(at, "beta1") : scalar(at, "beta1");
  mvs_id eps = scalar(at, "eps"), clip = scalar(at, "clip"), taken = scalar(at, "taken");
  mvs_id correction1 = scalar(at, "correction1"), correction2 = scalar(at, "correction2");
  mvs_id decay = by_row(at, "decay");
  lr = mul(at, lr, by_row(at, "rate"));
  g = mul(at, g, clip);
  mvs_id kept = mul(at, p, sub(at, one(at), mul(at, lr, decay)));
  mvs_id next_m = mix(at, beta1, m, g), next_v = mix(at, beta2, v, mul(at, g, g));
  mvs_id under = add(at, root(at, divide(at, next_v, correction2)), eps);
  mvs_id move = divide(at, divide(at, next_m, correction1), under);
  if (muon) {
    mvs_id direct = by_row(at, "direct");
    move = select(at, direct, v, move);
    next_v = select(at, direct, v, next_v);
  }
  result(at, "p", select(at, taken, sub(at, kept, mul(at, lr, move)), p));
  result(at, "m", select(at, taken, next_m, m));
  result(at, "v", select(at, taken, next_v, v));
}

/* Gradients of micro-batches add up in index order. */
static void add_accumulate(mvs_module *module) {
  maker at = function(module, "accumulate");
  mvs_id a = flat(at, "a"), g = flat(at, "g");
  result(at, "a", add(at, a, g));
}

/* The averaged weights. */
static void add_average(mvs_module *module) {
  maker at = function(module, "average");
  mvs_id e = flat(at, "e"), p = flat(at, "p"), decay = scalar(at, "decay");
  result(at, "e", select(at, scalar(at, "taken"), mix(at, decay, e, p), e));
}

/* Rows first, then the rows' sums: a tree fixed by the shape. */
static void add_sum_squares(mvs_module *module) {
  maker at = function(module, "sum_squares");
  mvs_id wide = mvs_build_cast(at.graph, flat(at, "g"), MVS_F64, (mvs_span){0});
  mvs_id rows = mvs_build_sum(at.graph, mul(at, wide, wide), 2, (mvs_span){0});
  mvs_id all = mvs_build_sum(at.graph, rows, 1, (mvs_span){0});
  mvs_type type = mvs_type_make(MVS_F64, 0, NULL);
  result(at, "rows", rows);
  result(at, "total", mvs_build_reshape(at.graph, all, &type, (mvs_span){0}));
}

/* 1 where x is finite, else 0: infinity less itself is NaN, and NaN equals nothing. */
static mvs_id is_finite(maker at, mvs_id x) {
  return mvs_build_binary(at.graph, MVS_OP_equal, sub(at, x, x),
                          mvs_build_constant(at.graph, 0), (mvs_span){0});
}

/* A number in f64, as it stands in the source. */
static mvs_id wide_constant(maker at, double value) {
  mvs_attr attr = {.constant = {value, MVS_F64}};
  return mvs_graph_add(at.graph, MVS_OP_constant, NULL, 0, &attr, (mvs_span){0});
}

/* How much of the gradients is taken, and whether the step is: one that is not finite is not,
 * nor any after it, so that the weights stay those before it until the host has seen why. */
static void add_clip(mvs_module *module) {
  maker at = function(module, "clip");
  mvs_id loss = wide_scalar(at, "loss"), limit = wide_scalar(at, "limit");
  mvs_id norm = root(at, wide_scalar(at, "total"));
  mvs_id share = divide(at, limit, add(at, norm, wide_constant(at, 1e-6)));
  mvs_id factor =
      mvs_build_binary(at.graph, MVS_OP_min, wide_constant(at, 1), share, (mvs_span){0});
  mvs_id finite = mul(at, is_finite(at, norm), is_finite(at, loss));
  result(at, "norm", norm);
  result(at, "clip", mvs_build_cast(at.graph, factor, MVS_F32, (mvs_span){0}));
  result(at, "taken", mul(at, scalar(at, "taken"), finite));
}

/* Losses of micro-batches add up in index order, like their gradients. */
static void add_losses(mvs_module *module) {
  maker at = function(module, "add_losses");
  result(at, "loss", add(at, wide_scalar(at, "loss"), wide_scalar(at, "part")));
}

/* One Euler step with guidance: cfg = 1 follows the condition alone. */
static void add_sampler_step(mvs_module *module, const mvs_type *state) {
  maker at = function(module, "sampler_step");
  mvs_id x = input(at, "x", *state), with = input(at, "conditional", *state);
  mvs_id without = input(at, "unconditional", *state);
  mvs_id dt = scalar(at, "dt"), cfg = scalar(at, "cfg");
  mvs_id velocity = add(at, without, mul(at, cfg, sub(at, with, without)));
  result(at, "x", add(at, x, mul(at, dt, velocity)));
}

mvs_id mvs_build_blend(mvs_graph *graph, mvs_id x0, mvs_id x1, mvs_id t, mvs_span span) {
  mvs_type each = {.dtype = MVS_F32, .rank = mvs_graph_type(graph, x0)->rank};
  each.dims[0] = (mvs_dim){1, true};
  for (int i = 1; i < each.rank; i++) each.dims[i] = (mvs_dim){1, false};
  if (each.rank > 1) t = mvs_build_reshape(graph, t, &each, span);
  mvs_id rest = mvs_build_binary(graph, MVS_OP_sub, mvs_build_constant(graph, 1), t, span);
  mvs_id data = mvs_build_binary(graph, MVS_OP_mul, rest, x0, span);
  mvs_id noise = mvs_build_binary(graph, MVS_OP_mul, t, x1, span);
  return mvs_build_binary(graph, MVS_OP_add, data, noise, span);
}

/* The noised state, for those who look at it alone. */
static void add_zt(mvs_module *module, const mvs_type *state) {
  maker at = function(module, "zt");
  mvs_id x0 = input(at, "x0", *state), x1 = input(at, "x1", *state);
  mvs_id t = input(at, "t", mvs_type_make(MVS_F32, 1, (mvs_dim[]){{1, true}}));
  result(at, "zt", mvs_build_blend(at.graph, x0, x1, t, (mvs_span){0}));
}

void mvs_steps_add(mvs_module *module) {
  add_adamw(module, module->settings.muon);
  add_accumulate(module);
  add_average(module);
  add_sum_squares(module);
  add_clip(module);
  add_losses(module);
  for (size_t i = 0; i < module->inputs.count; i++) {
    if (module->inputs.items[i].conditioning) continue;
    mvs_type state = module->inputs.items[i].type;
    add_sampler_step(module, &state);
    add_zt(module, &state);
    return;
  }
}

void mvs_steps_add_rounding(mvs_module *module) {
  mvs_function *adamw = mvs_module_function(module, "adamw");
  if (adamw) {
    maker at = {adamw->graph};
    const mvs_results *results = mvs_graph_results(at.graph);
    for (size_t i = 0; i < results->count; i++) {
      if (strcmp(results->items[i].name, "p") != 0) continue;
      mvs_id p = results->items[i].id;
      result(at, "rounded", mvs_build_cast(at.graph, p, MVS_BF16, (mvs_span){0}));
      break;
    }
  }
  maker at = function(module, "round");
  result(at, "rounded", mvs_build_cast(at.graph, flat(at, "p"), MVS_BF16, (mvs_span){0}));
}
