/* diagnose.c: the pass that adds the functions of diagnostics. What there is to look at is what
 * the marks of "grad" still name behind all passes over graphs. A function takes values that
 * are in memory for the step's own sake; a marked value that is not is computed again from
 * those. Places of the model whose functions come out equal share one.
 *
 *   marks of site blocks.ffn in a body:  STREAM %12 (carried, in memory)
 *                                        BRANCH %40 = mul %9, %39 (inside a kernel)
 *   diagnose/update0:                    x = input 0 : %12
 *                                        f = mul (input 1 : %9), (input 2 : %39)
 *                                        results rho, r_tr, var_gain
 *   probe:                               update0 over %12, %9, %39 in that body
 *
 * When the probe can be called, and where its values lie, is known behind the plan
 * (codegen/build_probes.c). */
#include "compiler/passes/diagnose.h"

#include "compiler/ir/dump.h"
#include "compiler/passes/rebuild.h"

/* Tokens times tokens times heads beyond which attention is not looked at: 1 GiB of weights. */
#define MOST_WEIGHTS (INT64_C(1) << 28)

/* The most marked values that a formula takes. */
#define MOST_MARKS 3

/* What a function computes. */
typedef enum formula { UPDATE, STREAM, TOKENS, WRITER, COHERENCE, ATTENTION } formula;

static const char *const formula_names[] = {"update", "stream",    "tokens",
                                            "writer", "coherence", "attention"};

/* The tables that nothing else gives. */
static const char *const formula_tables[] = {"r_tr, var_gain",
                                             "rho",
                                             "tcs",
                                             "g_mean, g_ctr",
                                             "amplification, coherence",
                                             "mu_eff, row_div, ret, leak"};

/* A diagnostic of one site, before its function is found or made. */
typedef struct wanted {
  formula formula;
  uint32_t site;
  const mvs_region *region;
  const mvs_graph *body;
  const bool *stored; /* per node of the body */
  bool sample;        /* of the first sample alone: values have no batch */
  int count;
  mvs_mark_kind kinds[MOST_MARKS];
  mvs_id ids[MOST_MARKS];
} wanted;

/* Values being built in a function, from what is in memory. */
typedef struct intake {
  const wanted *w;
  mvs_graph *to;
  mvs_id *made;    /* per node of the body */
  mvs_probe probe; /* whose values are the inputs so far */
  bool failed;     /* it cannot be built */
} intake;

/* A function that was made, as text. */
typedef struct made {
  const char *name, *text;
} made;

typedef struct diagnose {
  mvs_arena *arena;
  mvs_module *module;
  mvs_text *explain; /* NULL: nobody asks */
  MVS_LIST(made) made;
} diagnose;

static bool is_view(const mvs_node *node) {
  return node->op == MVS_OP_slice || node->op == MVS_OP_reshape;
}

static const mvs_type *type_of(const wanted *w, int index) {
  return mvs_graph_type(w->body, w->ids[index]);
}

/* --- inputs --- */

/* What has a place in memory whatever is fused: what heavy ops take and give, and what comes
 * from outside the body or leaves it. A view is read where its value is. Graphs are not fused
 * yet, so nothing else is known to have one; fusion may give places to more. */
static bool *find_stored(mvs_arena *arena, const mvs_graph *body) {
  bool *stored = MVS_ARRAY(arena, (size_t)mvs_graph_size(body) + 1, bool);
  const mvs_results *results = mvs_graph_result_list(body);
  for (size_t i = 0; i < results->count; i++) stored[results->items[i].id] = true;
  for (mvs_id id = mvs_graph_size(body); id-- > 0;) {
    const mvs_node *node = mvs_graph_node(body, id);
    bool heavy = mvs_ops[node->op].op_class == MVS_CLASS_HEAVY;
    if (heavy || node->op == MVS_OP_get || node->op == MVS_OP_argument) stored[id] = true;
    if (is_view(node) && stored[id]) {
      stored[node->inputs[0]] = true;
      stored[id] = false;
    }
    for (int i = 0; heavy && i < node->input_count; i++) stored[node->inputs[i]] = true;
  }
  return stored;
}

/* One sample's part of a type; false when the batch is not its first axis. */
static bool drop_batch(mvs_type *type) {
  if (!mvs_type_has_batch(type)) return true;
  if (!type->dims[0].per_batch || type->dims[0].size != 1) return false;
  for (int i = 1; i < type->rank; i++) type->dims[i - 1] = type->dims[i];
  type->rank--;
  type->segments = NULL;
  return true;
}

/* A value in memory becomes an input, named by its number. */
static mvs_id read_value(intake *at, mvs_id id, mvs_type type) {
  mvs_probe *probe = &at->probe;
  if (probe->count == MVS_PROBE_VALUES) {
    at->failed = true;
    return MVS_NONE;
  }
  mvs_attr attr = {
      .input = {mvs_arena_format(mvs_graph_arena(at->to), "%d", probe->count), type}};
  probe->values[probe->count++] = id;
  return mvs_graph_add(at->to, MVS_OP_input, NULL, 0, &attr,
                       mvs_graph_node(at->w->body, id)->span);
}

/* Of one sample only what looks at no axis but the last can be built again as it stands: its
 * inputs lose their first axis, and other axes would be counted wrong. */
static bool can_build(const wanted *w, const mvs_node *node) {
  if (node->op == MVS_OP_random || mvs_op_is_tuple(node->op)) return false;
  if (!w->sample || is_view(node) || node->op == MVS_OP_inv_rms) return true;
  return node->op == MVS_OP_constant ||
         (mvs_ops[node->op].op_class == MVS_CLASS_ELEMENT && node->op != MVS_OP_broadcast);
}

static mvs_id build_value(intake *at, mvs_id id);

/* The same node over inputs of the function. */
static mvs_id build_again(intake *at, const mvs_node *node, const mvs_type *type) {
  mvs_id inputs[MVS_MAX_INPUTS];
  for (int i = 0; i < node->input_count; i++) {
    inputs[i] = build_value(at, node->inputs[i]);
    if (at->failed) return MVS_NONE;
  }
  if (node->op == MVS_OP_reshape) return mvs_build_reshape(at->to, inputs[0], type, node->span);
  bool dropped = node->op == MVS_OP_slice && at->w->sample && mvs_type_has_batch(&node->type);
  if (!dropped) {
    return mvs_graph_add(at->to, node->op, inputs, node->input_count, &node->attr, node->span);
  }
  return mvs_build_slice(at->to, inputs[0], node->attr.slice.axis - 1, node->attr.slice.start,
                         node->attr.slice.length, NULL, node->span);
}

/* A value of the body in the function: read from memory, or computed again from what is there.
 */
static mvs_id build_value(intake *at, mvs_id id) {
  if (at->made[id] != MVS_NONE) return at->made[id];
  const mvs_node *node = mvs_graph_node(at->w->body, id);
  mvs_type type = node->type;
  bool fits = !at->w->sample || drop_batch(&type);
  at->failed = at->failed || !fits || (!at->w->stored[id] && !can_build(at->w, node));
  if (at->failed) return MVS_NONE;
  at->made[id] = at->w->stored[id] ? read_value(at, id, type) : build_again(at, node, &type);
  return at->made[id];
}

/* --- functions --- */

/* Tokens of the first segment: those of the image, where there are several. */
static int64_t first_tokens(const mvs_type *type) {
  return type->segments ? type->segments->items[0].length : type->dims[1].size;
}

/* The attention over the marked queries and keys, NULL when a pass made another of it: what its
 * weights are is then not known. */
static const mvs_node *attention_of(const wanted *w) {
  for (mvs_id id = 0; id < mvs_graph_size(w->body); id++) {
    const mvs_node *node = mvs_graph_node(w->body, id);
    if (node->op == MVS_OP_attention && node->inputs[0] == w->ids[1] &&
        node->inputs[1] == w->ids[2])
      return node;
  }
  return NULL;
}

static void build(const wanted *w, mvs_graph *to, const mvs_id *v) {
  switch (w->formula) {
    case UPDATE:
      mvs_diagnose_update(to, v[0], v[1]);
      break;
    case STREAM:
      mvs_diagnose_stream(to, v[0]);
      break;
    case TOKENS:
      mvs_diagnose_tokens(to, v[0]);
      break;
    case WRITER:
      mvs_diagnose_writer(to, v[0], v[1], v[2]);
      break;
    case COHERENCE:
      mvs_diagnose_coherence(to, v[0], v[1], first_tokens(type_of(w, 0)));
      break;
    case ATTENTION:
      mvs_diagnose_attention(to, v[0], v[1], v[2], attention_of(w)->attr.attention.scale);
      break;
  }
}

/* The function of that graph: one that was made before, where it is the same as text. The
 * attention and the FFN of a block have one rho. */
static const char *function_of(diagnose *at, formula of, mvs_graph *graph) {
  mvs_text text = mvs_text_new(at->arena);
  mvs_graph_dump(graph, &text);
  for (size_t i = 0; i < at->made.count; i++) {
    if (strcmp(at->made.items[i].text, mvs_text_string(&text)) == 0) {
      return at->made.items[i].name;
    }
  }
  made item = {mvs_arena_format(at->arena, "diagnose/%s%zu", formula_names[of], at->made.count),
               mvs_text_string(&text)};
  mvs_module_add_function(at->module, item.name)->graph = graph;
  MVS_PUSH(at->arena, &at->made, item);
  return item.name;
}

/* --- sites --- */

/* Finds the marked values; false when one is gone. */
static bool find_values(wanted *w) {
  for (int i = 0; i < w->count; i++) {
    w->ids[i] = mvs_graph_marked(w->body, w->kinds[i], w->site);
    if (w->ids[i] == MVS_NONE) return false;
  }
  return true;
}

/* Tokens with features, batched. */
static bool is_tokens(const mvs_type *type, int rank) {
  return type->rank == rank && type->dims[0].per_batch && type->dims[0].size == 1 &&
         !type->dims[1].per_batch && type->dims[1].size > 1;
}

/* What the formulas assume of shapes: a rule may hand on something that is no stream of tokens.
 * */
static bool fits(const wanted *w) {
  const mvs_type *first = type_of(w, 0), *second = w->count > 1 ? type_of(w, 1) : NULL;
  if (!is_tokens(first, 3)) return false;
  switch (w->formula) {
    case UPDATE:
      return first->segments && first->segments == second->segments &&
             mvs_type_same_shape(first, second);
    case STREAM:
      return first->segments != NULL;
    case TOKENS:
      return true;
    case WRITER:
      return is_tokens(second, 3) && type_of(w, 2)->rank == 2;
    case COHERENCE:
      return is_tokens(second, 3) && first_tokens(first) > 1;
    case ATTENTION:
      /* a stream may attend with others, whose tokens are not in its values */
      return attention_of(w) && second->rank == 4 &&
             second->dims[1].size == first->dims[1].size &&
             second->dims[1].size <= MOST_WEIGHTS / second->dims[1].size / second->dims[2].size;
  }
  return false;
}

/* True when there is such a function now. */
static bool add_probe(diagnose *at, wanted w) {
  if (!find_values(&w) || !fits(&w)) return false;
  mvs_id values[MOST_MARKS];
  intake in = {.w = &w,
               .to = mvs_graph_new(at->arena, at->module, NULL),
               .made = mvs_new_ids(at->arena, mvs_graph_size(w.body)),
               .probe = {.site = w.site, .region = w.region}};
  for (int i = 0; i < w.count; i++) {
    values[i] = build_value(&in, w.ids[i]);
    if (in.failed) return false;
  }
  build(&w, in.to, values);
  in.probe.function = function_of(at, w.formula, in.to);
  MVS_PUSH(at->arena, &at->module->probes, in.probe);
  return true;
}

/* What a site is asked for. */
typedef struct request {
  formula formula;
  mvs_site_kind site;
  bool sample, backward;
  int count;
  mvs_mark_kind kinds[MOST_MARKS];
} request;

static const request requests[] = {
    {UPDATE, MVS_SITE_UPDATE, false, false, 2, {MVS_MARK_STREAM, MVS_MARK_BRANCH}},
    {TOKENS, MVS_SITE_UPDATE, true, false, 1, {MVS_MARK_STREAM}},
    {ATTENTION,
     MVS_SITE_ATTENTION,
     true,
     false,
     3,
     {MVS_MARK_STREAM, MVS_MARK_QUERY, MVS_MARK_KEY}},
    {WRITER,
     MVS_SITE_WRITER,
     false,
     true,
     3,
     {MVS_MARK_READ, MVS_MARK_DELTA, MVS_MARK_WEIGHT_GRADIENT}},
    {COHERENCE, MVS_SITE_WRITER, true, true, 2, {MVS_MARK_READ, MVS_MARK_DELTA}}};

static void explain(const diagnose *at, const wanted *w) {
  if (!at->explain) return;
  mvs_text_addf(at->explain, "diagnose %s: no %s: the values are not in the graph any more\n",
                at->module->sites.items[w->site].name, formula_tables[w->formula]);
}

/* Where a branch is gone (a product through its writer may be), the stream is still there. */
static void look(diagnose *at, const mvs_region *region, const bool *stored, uint32_t site) {
  for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
    const request *r = &requests[i];
    bool here = r->site == at->module->sites.items[site].kind;
    if (!here || r->backward != (region->forward != NULL)) continue;
    wanted w = {r->formula, site, region, region->body, stored, r->sample, r->count, {0}, {0}};
    memcpy(w.kinds, r->kinds, sizeof w.kinds);
    /* Marks of other stacks are no matter of this one. */
    if (mvs_graph_marked(w.body, w.kinds[0], site) == MVS_NONE && !r->backward) continue;
    if (add_probe(at, w)) continue;
    explain(at, &w);
    if (w.formula != UPDATE) continue;
    w.formula = STREAM, w.count = 1;
    add_probe(at, w);
  }
}

mvs_status mvs_pass_diagnose(mvs_compilation *compilation) {
  mvs_module *module = compilation->module;
  const mvs_function *grad = mvs_module_function(module, "grad");
  diagnose at = {
      .arena = compilation->arena, .module = module, .explain = compilation->explain};
  if (!grad) return MVS_OK;
  const mvs_graph *graph = grad->graph;
  mvs_diagnose_params(module);
  for (mvs_id id = 0; id < mvs_graph_size(graph); id++) {
    const mvs_node *node = mvs_graph_node(graph, id);
    if (node->op != MVS_OP_region) continue;
    const mvs_region *region = node->attr.region.body;
    const bool *stored = find_stored(at.arena, region->body);
    for (uint32_t site = 0; site < module->sites.count; site++) {
      look(&at, region, stored, site);
    }
  }
  return MVS_OK;
}
