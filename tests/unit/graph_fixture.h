/* graph_fixture.h: what tests of the graph passes share: a module with a function "loss" built
 * by the test, and the check of its gradients against finite differences. Include after cmocka.
 */
#ifndef MVS_TESTS_GRAPH_FIXTURE_H
#define MVS_TESTS_GRAPH_FIXTURE_H

#include "compiler/ir/dump.h"
#include "compiler/ir/verify.h"
#include "compiler/passes/pass.h"
#include "tests/reference/reference.h"

/* Central differences with a step of 1e-5 are good to about 1e-10 relative to smooth functions
 * of order one; sums of a few hundred terms and divisions cost some digits. */
#define FIXTURE_TOLERANCE 1e-7

typedef struct fixture {
  mvs_arena *arena;
  mvs_diag *diag;
  mvs_module *module;
  mvs_graph *graph; /* of "loss" */
  mvs_span span;
  mvs_compilation compilation;
} fixture;

typedef mvs_id fixture_build(fixture *f);

static inline fixture *fixture_new(void) {
  mvs_arena *arena = mvs_arena_new();
  fixture *f = MVS_NEW(arena, fixture);
  f->arena = arena;
  f->diag = mvs_diag_new(arena);
  f->module = mvs_module_new(arena, "test");
  f->graph = mvs_module_add_function(f->module, "loss")->graph;
  f->compilation = (mvs_compilation){.arena = arena, .diag = f->diag, .module = f->module};
  return f;
}

static inline void fixture_free(fixture *f) { mvs_arena_free(f->arena); }

/* An f32 type; extent 0 stands for the batch. */
static inline mvs_type fixture_type(int rank, const int64_t *extents) {
  mvs_dim dims[MVS_MAX_RANK] = {{0}};
  for (int i = 0; i < rank; i++) dims[i] = (mvs_dim){extents[i] ? extents[i] : 1, !extents[i]};
  return mvs_type_make(MVS_F32, rank, dims);
}

static inline mvs_id fixture_input_of(fixture *f, const char *name, mvs_type type) {
  mvs_attr attr = {.input = {name, type}};
  return mvs_graph_add(f->graph, MVS_OP_input, NULL, 0, &attr, f->span);
}

static inline mvs_id fixture_input(fixture *f, const char *name, int rank,
                                   const int64_t *extents) {
  return fixture_input_of(f, name, fixture_type(rank, extents));
}

/* Four image tokens and three of text. */
static inline const mvs_segments *fixture_segments(fixture *f) {
  mvs_segments table = {2, {{"image", 4, 2, 2}, {"text", 3, 0, 0}}};
  return mvs_module_segments(f->module, &table);
}

/* An input [B, 7, features] with segments. */
static inline mvs_id fixture_tokens(fixture *f, const char *name, int64_t features) {
  mvs_type type = fixture_type(3, (int64_t[]){0, 7, features});
  type.segments = fixture_segments(f);
  return fixture_input_of(f, name, type);
}

/* A new trained parameter; layers > 0: a stacked one, its name then holds {i}. */
static inline mvs_id fixture_stacked_param(fixture *f, const char *name, int64_t layers,
                                           int rank, const int64_t *extents) {
  mvs_param param = {
      .name = name, .type = fixture_type(rank, extents), .layers = layers, .trained = true};
  mvs_attr attr = {.param = {(uint32_t)f->module->params.count, param.type}};
  if (layers) {
    int64_t all[MVS_MAX_RANK] = {layers};
    for (int i = 0; i < rank; i++) all[i + 1] = extents[i];
    attr.param.type = fixture_type(rank + 1, all);
  }
  MVS_PUSH(f->arena, &f->module->params, param);
  return mvs_graph_add(f->graph, MVS_OP_param, NULL, 0, &attr, f->span);
}

static inline mvs_id fixture_param(fixture *f, const char *name, int rank,
                                   const int64_t *extents) {
  return fixture_stacked_param(f, name, 0, rank, extents);
}

static inline mvs_id fixture_binary(fixture *f, mvs_op op, mvs_id a, mvs_id b) {
  return mvs_build_binary(f->graph, op, a, b, f->span);
}

/* The scalar sum of y times an input of its shape. */
static inline mvs_id fixture_weigh(fixture *f, const char *name, mvs_id y) {
  mvs_type type = *mvs_graph_type(f->graph, y);
  type.dtype = MVS_F32;
  mvs_id product = fixture_binary(f, MVS_OP_mul, y, fixture_input_of(f, name, type));
  if (type.rank) product = mvs_build_sum(f->graph, product, (1u << type.rank) - 1, f->span);
  mvs_type scalar = {.dtype = MVS_F32};
  return mvs_build_reshape(f->graph, product, &scalar, f->span);
}

/* Makes the result `loss` from a value of any shape. */
static inline void fixture_loss(fixture *f, mvs_id y) {
  mvs_id loss = mvs_build_cast(f->graph, fixture_weigh(f, "weights", y), MVS_F64, f->span);
  mvs_result result = {"loss", loss};
  MVS_PUSH(f->arena, mvs_graph_results(f->graph), result);
}

static inline void fixture_good(fixture *f, mvs_status status) {
  if (status == MVS_OK) return;
  mvs_text words = mvs_text_new(f->arena);
  mvs_diag_render(f->diag, &words);
  fail_msg("%s", mvs_text_string(&words));
}

/* Runs a pass and the verifier. */
static inline void fixture_run(fixture *f, mvs_pass_run *run, const char *name) {
  fixture_good(f, run(&f->compilation));
  fixture_good(f, mvs_module_verify(f->module, name, f->diag));
}

static inline void fixture_compare(fixture *f, const mvs_graph *loss, int64_t batch,
                                   const char *after) {
  mvs_tensor_map given = {0};
  mvs_reference_fill(f->arena, loss, batch, 1, &given);
  mvs_graph *grad = mvs_module_function(f->module, "grad")->graph;
  mvs_reference_fill(f->arena, grad, batch, 1, &given);
  for (size_t i = 0; i < f->module->params.count; i++) {
    const char *name = f->module->params.items[i].name;
    mvs_gradient_case check = {.function = loss,
                               .value = "loss",
                               .grad = grad,
                               .gradient = mvs_arena_format(f->arena, "g/%s", name),
                               .variable = name,
                               .batch = batch,
                               .given = &given};
    mvs_gradient_report report;
    fixture_good(f, mvs_reference_check_gradient(f->arena, &check, f->diag, &report));
    if (report.worst <= FIXTURE_TOLERANCE) continue;
    fail_msg("after %s, %s: element %lld: difference %g, claimed %g", after, name,
             (long long)report.element, report.difference, report.claimed);
  }
}

/* Checks the gradients of all parameters after each of the passes that touch them. */
static inline void fixture_check_gradients(fixture *f, const mvs_graph *loss, int64_t batch) {
  static const struct {
    mvs_pass_run *run;
    const char *name;
    unsigned gives;
  } passes[] = {{mvs_pass_gradients, "gradients", MVS_FACT_GRADIENTS},
                {mvs_pass_simplify, "simplify", 0},
                {mvs_pass_hoist, "hoist", 0}};
  fixture_good(f, mvs_module_verify(f->module, "building", f->diag));
  for (size_t i = 0; i < sizeof passes / sizeof *passes; i++) {
    fixture_run(f, passes[i].run, passes[i].name);
    f->compilation.facts |= passes[i].gives;
    fixture_compare(f, loss, batch, passes[i].name);
  }
}

#endif
