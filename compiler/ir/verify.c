/* verify.c: runs the table of rules over a module, and says which one broke where. Rules are
 * sorted into levels, each of which may trust the ones before: first what makes a node safe to
 * look at, then what its fields mean, then types, then the graph as a whole. A region's body is
 * verified between the node that holds it and that node's type. The first broken rule ends the
 * run: what follows would mostly be its consequences, and could not be trusted to be safe.
 * Rules only read; their text is printed in a scratch arena of this call. */
#include "compiler/ir/verify.h"

#include "compiler/ir/dump.h"
#include "compiler/ir/verify_rules.h"

typedef enum level {
  LEVEL_MODULE,
  LEVEL_SHAPE,
  LEVEL_NODE,
  LEVEL_REGION,
  LEVEL_TYPE,
  LEVEL_GRAPH
} level;

static const struct rule {
  const char *name;
  level at;
  mvs_rule_function *holds;
} rules[] = {
#define MVS_RULE(level, function, name) {name, LEVEL_##level, mvs_rule_##function},
#include "compiler/ir/verify_rules.def"
#undef MVS_RULE
};
#define RULES (sizeof rules / sizeof *rules)

size_t mvs_verify_rule_count(void) { return RULES; }

/* For the tests, which break each rule once and look for its sentence. */
const char *mvs_verify_rule_name(size_t index) { return rules[index].name; }

/* A verification under way. */
typedef struct verification {
  mvs_check check;
  const char *function; /* its name */
  const char *after;
  mvs_diag *diag;
  mvs_arena *scratch;
} verification;

/* Reports a broken rule with what it is safe to show of the node. */
static mvs_status broken(const verification *run, const struct rule *rule) {
  const mvs_check *check = &run->check;
  mvs_text where = mvs_text_new(run->scratch);
  mvs_span span = {0};
  if (rule->at != LEVEL_MODULE) mvs_text_addf(&where, ": in %s", run->function);
  if (rule->at == LEVEL_SHAPE) {
    mvs_text_addf(&where, ": %%%u", check->id);
  } else if (rule->at != LEVEL_MODULE && rule->at != LEVEL_GRAPH) {
    mvs_text_add(&where, ": ");
    mvs_node_dump(check->graph, check->id, &where);
    span = check->node->span;
  }
  mvs_diag_error(run->diag, span, "internal error after %s: broken rule: %s%s", run->after,
                 rule->name, mvs_text_string(&where));
  return MVS_ERR_INTERNAL;
}

/* Runs the rules of one level on what the check points at; the first that breaks reports. */
static mvs_status run_level(const verification *run, level at) {
  for (size_t i = 0; i < RULES; i++) {
    if (rules[i].at == at && !rules[i].holds(&run->check)) return broken(run, &rules[i]);
  }
  return MVS_OK;
}

static mvs_status verify_graph(const verification *outer, const mvs_graph *graph, int nesting);

/* Each level may trust what the ones before it have checked. */
static mvs_status verify_node(const verification *run) {
  MVS_TRY(run_level(run, LEVEL_SHAPE));
  MVS_TRY(run_level(run, LEVEL_NODE));
  if (run->check.node->op == MVS_OP_region) {
    MVS_TRY(run_level(run, LEVEL_REGION));
    const mvs_graph *body = run->check.node->attr.region.body->body;
    MVS_TRY(verify_graph(run, body, run->check.nesting + 1));
  }
  return run_level(run, LEVEL_TYPE);
}

/* Nodes in the order of their ids, so a rule may trust all inputs of its node; the rules of the
 * whole graph last. */
static mvs_status verify_graph(const verification *outer, const mvs_graph *graph, int nesting) {
  verification run = *outer;
  run.check.graph = graph;
  run.check.nesting = nesting;
  for (mvs_id id = 0; id < mvs_graph_size(graph); id++) {
    run.check.id = id;
    run.check.node = mvs_graph_node(graph, id);
    MVS_TRY(verify_node(&run));
  }
  return run_level(&run, LEVEL_GRAPH);
}

/* Tables and parameters first: nodes refer to them. */
static mvs_status verify_module(verification *run) {
  MVS_TRY(run_level(run, LEVEL_MODULE));
  const mvs_module *module = run->check.module;
  for (size_t i = 0; i < module->functions.count; i++) {
    run->function = module->functions.items[i].name;
    MVS_TRY(verify_graph(run, module->functions.items[i].graph, 0));
  }
  return MVS_OK;
}

/* Runs after every pass, so its memory is its own and freed at once. */
mvs_status mvs_module_verify(const mvs_module *module, const char *after, mvs_diag *diag) {
  verification run = {.after = after, .diag = diag, .scratch = mvs_arena_new()};
  run.check.module = module;
  mvs_status status = verify_module(&run);
  mvs_arena_free(run.scratch);
  return status;
}
