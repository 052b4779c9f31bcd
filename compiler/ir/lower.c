/* lower.c: the module of a unit: which functions there are and how the model enters them. A
 * unit is interpreted once for each function that holds the model: "forward" makes the
 * parameters and inputs of the module, "loss" finds them again under the same names and puts
 * the blend of data and noise in place of the state. Both runs start from a fresh state, lets
 * included, and go through the same statements, so they cannot disagree on the model. The
 * settings are read before either, since the precision decides the dtypes of nodes. What the
 * functions around the model compute is lower_flow.c's and steps.c's. */
#include "compiler/ir/lower.h"

#include "compiler/ir/lowering.h"
#include "compiler/ir/steps.h"

/* --- inputs and outputs --- */

/* Names that the functions around the model give to inputs of their own. */
static bool is_reserved(const char *name) {
  static const char *const reserved[] = {"x0",     "x1",           "t", "seed", "step",
                                         "sample", "inverse_batch"};
  for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++) {
    if (strcmp(name, reserved[i]) == 0) return true;
  }
  return false;
}

/* Inputs stand in the order declared, and only the first f32 one is not conditioning. */
const mvs_model_input *mvs_module_state(const mvs_module *module) {
  for (size_t i = 0; i < module->inputs.count; i++) {
    if (!module->inputs.items[i].conditioning) return &module->inputs.items[i];
  }
  return NULL;
}

/* Enters an input in the module. The first of floats is the state, all others condition it. */
static mvs_status declare_input(mvs_lowering *lo, mvs_scope *scope, const mvs_stmt *stmt,
                                const mvs_type *type) {
  mvs_model_input input = {stmt->names[0], *type, 0, true};
  if (is_reserved(input.name)) {
    return mvs_lower_error(lo, MVS_ERR_NAME, stmt->name_spans[0],
                           "'%s' is an input of the training functions; use another name",
                           input.name);
  }
  for (size_t i = 0; i < lo->module->inputs.count; i++) {
    if (strcmp(lo->module->inputs.items[i].name, input.name) != 0) continue;
    return mvs_lower_error(lo, MVS_ERR_NAME, stmt->name_spans[0], "two inputs are named '%s'",
                           input.name);
  }
  if (lo->module->inputs.count == MVS_MAX_MODEL_INPUTS) {
    return mvs_lower_error(lo, MVS_ERR_LIMIT, stmt->name_spans[0],
                           "the model has more than %d inputs", MVS_MAX_MODEL_INPUTS);
  }
  if (stmt->value) MVS_TRY(mvs_lower_number(lo, scope, stmt->value, &input.unconditional));
  if (type->dtype == MVS_F32 && !mvs_module_state(lo->module)) input.conditioning = false;
  MVS_PUSH(lo->arena, &lo->module->inputs, input);
  return MVS_OK;
}

/* In LOSS the state is no input: its place is taken by the blend of x0 and x1. */
mvs_status mvs_lower_input_stmt(mvs_lowering *lo, mvs_scope *scope, const mvs_stmt *stmt) {
  mvs_type type;
  MVS_TRY(mvs_lower_declared_type(lo, scope, stmt, true, &type));
  if (lo->run == MVS_RUN_FORWARD) MVS_TRY(declare_input(lo, scope, stmt, &type));
  const mvs_model_input *state = mvs_module_state(lo->module);
  bool is_state = state && strcmp(state->name, stmt->names[0]) == 0;
  mvs_value value = lo->state;
  if (!is_state || lo->run == MVS_RUN_FORWARD) {
    mvs_attr attr = {.input = {stmt->names[0], type}};
    MVS_TRY(mvs_lower_node(lo, MVS_OP_input, NULL, 0, &attr, stmt->span, &value));
  }
  mvs_scope_set(lo, scope, stmt->names[0], value);
  return MVS_OK;
}

/* The output is f32 whatever computed it: the loss, the sampler and the files that hold it
 * are. */
mvs_status mvs_lower_output_stmt(mvs_lowering *lo, mvs_scope *scope, const mvs_stmt *stmt) {
  if (lo->output.kind != MVS_VALUE_ABSENT) {
    mvs_lower_error(lo, MVS_ERR_NAME, stmt->span, "a model has one output");
    mvs_diag_note(lo->diag, lo->output_span, "the first is here");
    return MVS_ERR_NAME;
  }
  mvs_value value;
  MVS_TRY(mvs_lower_expr(lo, scope, stmt->value, &value));
  MVS_TRY(mvs_lower_need_tensor(lo, &value, "an output", stmt->value->span));
  MVS_TRY(mvs_lower_cast(lo, value, MVS_F32, stmt->span, &value));
  lo->output = value;
  lo->output_span = stmt->span;
  lo->module->output_name = stmt->names[0];
  return MVS_OK;
}

/* --- the model --- */

/* Lets become the outermost scope: definitions see them, and nothing else from outside. Each
 * run evaluates them anew, since a let may hold a tensor, which is a node of the run's graph.
 */
static mvs_status evaluate_lets(mvs_lowering *lo) {
  mvs_outcome outcome = {0};
  lo->globals = mvs_scope_new(lo, NULL);
  return mvs_lower_block(lo, lo->globals, &lo->unit->lets, &outcome);
}

/* Numbers and words as they came out, whatever expression made them; what a word cannot say (a
 * layer, a tensor) as it was written. */
static const char *let_text(mvs_lowering *lo, const mvs_value *value, const mvs_expr *written) {
  mvs_text text = mvs_text_new(lo->arena);
  mvs_span span = written->span;
  if (value->kind == MVS_VALUE_NUMBER) {
    mvs_text_add_number(&text, value->number);
  } else if (value->kind == MVS_VALUE_BOOL) {
    mvs_text_add(&text, value->truth ? "true" : "false");
  } else if (value->kind == MVS_VALUE_STRING) {
    mvs_text_add(&text, value->text);
  } else {
    mvs_text_add_bytes(&text, span.source->text + span.begin, span.end - span.begin);
  }
  return mvs_text_string(&text);
}

/* Behind evaluate_lets, which set each of them. */
static void note_lets(mvs_lowering *lo) {
  for (size_t i = 0; i < lo->unit->lets.count; i++) {
    const mvs_stmt *stmt = lo->unit->lets.items[i];
    const mvs_value *value = mvs_scope_find(lo->globals, stmt->names[0]);
    mvs_let let = {stmt->names[0], let_text(lo, value, stmt->value)};
    MVS_PUSH(lo->arena, &lo->module->lets, let);
  }
}

/* Everything that a run may change is set here; what outlives it is in the module. */
mvs_status mvs_lower_model(mvs_lowering *lo) {
  mvs_outcome outcome = {0};
  lo->prefix = "";
  lo->stack = NULL;
  lo->nesting = 0;
  lo->evaluations = lo->nodes = 0;
  lo->seen = mvs_table_new(lo->arena);
  lo->rule = (mvs_rule){0};
  lo->output = (mvs_value){0};
  MVS_TRY(evaluate_lets(lo));
  mvs_scope *scope = mvs_scope_new(lo, lo->globals);
  MVS_TRY(mvs_lower_override_rule(lo, scope));
  MVS_TRY(mvs_lower_block(lo, scope, lo->unit->model, &outcome));
  if (lo->run != MVS_RUN_FORWARD) return MVS_OK;
  return mvs_lower_family_lines(lo, scope, lo->unit->model, "model", &lo->lines);
}

/* The first run: it alone declares inputs and parameters. */
static mvs_status make_forward(mvs_lowering *lo) {
  lo->run = MVS_RUN_FORWARD;
  lo->top = mvs_module_add_function(lo->module, "forward")->graph;
  MVS_TRY(mvs_lower_model(lo));
  if (lo->output.kind == MVS_VALUE_ABSENT) {
    mvs_lower_error(lo, MVS_ERR_NAME, (mvs_span){0}, "model '%s' has no output",
                    lo->unit->model_name);
    mvs_diag_hint(lo->diag, "add a line such as: output velocity : x");
    return MVS_ERR_NAME;
  }
  mvs_result result = {lo->module->output_name, lo->output.id};
  MVS_PUSH(mvs_graph_arena(lo->top), mvs_graph_results(lo->top), result);
  return mvs_lower_settle_params(lo);
}

/* On an error *out is left alone; the half-made module lies in the arena and is dropped with
 * it. */
mvs_status mvs_lower(mvs_arena *arena, mvs_diag *diag, const mvs_unit *unit, mvs_module **out) {
  mvs_lowering *lo = MVS_NEW(arena, mvs_lowering);
  lo->arena = arena;
  lo->diag = diag;
  lo->unit = unit;
  lo->module = mvs_module_new(arena, unit->model_name);
  lo->prefix = "";
  lo->params = mvs_table_new(arena);
  /* Settings see the lets before there is a function: nodes of theirs go into a graph that is
   * dropped. */
  lo->top = mvs_graph_new(arena, lo->module, NULL);
  MVS_TRY(evaluate_lets(lo));
  note_lets(lo);
  MVS_TRY(mvs_lower_settings(lo));
  MVS_TRY(make_forward(lo));
  MVS_TRY(mvs_lower_flow(lo));
  mvs_steps_add(lo->module);
  *out = lo->module;
  return MVS_OK;
}
