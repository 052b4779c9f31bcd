/* lower_sites.c: what diagnostics are about, noted while an update is lowered, when it is still
 * known what is what: the stream, the branch, the attentions in it and the writers. It is found
 * in the graph and not in the words of the model: any branch, rule and layer has its sites.
 * Only the run that is differentiated is marked; see graph.h for what a mark is. */
#include "compiler/ir/lowering.h"

/* The nodes of one update: all from `first` on. */
typedef struct update {
  mvs_lowering *lo;
  mvs_graph *body;
  mvs_id first;
  const char *name;
} update;

/* "blocks.{i}.operator.proj.weight" without the layer and the last word. */
static const char *family(mvs_lowering *lo, const char *param) {
  mvs_text text = mvs_text_new(lo->arena);
  const char *end = strrchr(param, '.');
  for (const char *at = param; *at && at != end; at++) {
    if (strncmp(at, "{i}.", 4) == 0) at += 4;
    mvs_text_addf(&text, "%c", *at);
  }
  return mvs_text_string(&text);
}

/* "blocks.operator": the labels of the stack and the update; an update without one goes by its
 * number. */
static const char *update_name(mvs_lowering *lo, const mvs_stmt *stmt) {
  const char *label = stmt->label;
  if (!label) label = mvs_arena_format(lo->arena, "update%d", lo->stack->updates);
  return family(lo, mvs_arena_format(lo->arena, "%s%s.", lo->prefix, label));
}

static uint32_t add_site(const update *at, mvs_site site) {
  MVS_PUSH(at->lo->arena, &at->lo->module->sites, site);
  return (uint32_t)at->lo->module->sites.count - 1;
}

/* The argument of a body that is a stacked parameter, perhaps rounded, or MVS_NONE; `param`
 * becomes its index. */
static mvs_id stacked_param(const update *at, mvs_id id, uint32_t *param) {
  const mvs_node *node = mvs_graph_node(at->body, id);
  while (node->op == MVS_OP_cast) {
    id = node->inputs[0];
    node = mvs_graph_node(at->body, id);
  }
  if (node->op != MVS_OP_argument || node->attr.argument.kind != MVS_ARG_STACKED)
    return MVS_NONE;
  mvs_id outer = at->lo->stack->stacked.items[node->attr.argument.index];
  const mvs_node *given = mvs_graph_node(at->lo->top, outer);
  if (given->op != MVS_OP_param) return MVS_NONE;
  *param = given->attr.param.index;
  return id;
}

/* The parameter of the nearest product that a value comes from, through anything but products;
 * UINT32_MAX when there is none. */
static uint32_t projected_by(const update *at, mvs_id id) {
  bool *wanted = MVS_ARRAY(at->lo->arena, (size_t)id + 1, bool);
  wanted[id] = true;
  for (mvs_id each = id + 1; each-- > at->first;) {
    const mvs_node *node = mvs_graph_node(at->body, each);
    uint32_t param;
    if (!wanted[each]) continue;
    if (node->op == MVS_OP_matmul) {
      if (stacked_param(at, node->inputs[1], &param) != MVS_NONE) return param;
      continue;
    }
    for (int i = 0; i < node->input_count; i++) wanted[node->inputs[i]] = true;
  }
  return UINT32_MAX;
}

/* The last one, where a branch has several: one row of a table is one attention. */
static bool mark_attention(const update *at, mvs_id stream) {
  for (mvs_id id = mvs_graph_size(at->body); id-- > at->first;) {
    const mvs_node *node = mvs_graph_node(at->body, id);
    if (node->op != MVS_OP_attention) continue;
    mvs_site site = {.kind = MVS_SITE_ATTENTION,
                     .name = at->name,
                     .weight = UINT32_MAX,
                     .query = projected_by(at, node->inputs[0]),
                     .key = projected_by(at, node->inputs[1])};
    uint32_t index = add_site(at, site);
    mvs_graph_add_mark(at->body, MVS_MARK_STREAM, index, stream);
    mvs_graph_add_mark(at->body, MVS_MARK_QUERY, index, node->inputs[0]);
    mvs_graph_add_mark(at->body, MVS_MARK_KEY, index, node->inputs[1]);
    return true;
  }
  return false;
}

static void mark_writer(const update *at, mvs_id id, bool attends) {
  const mvs_node *node = mvs_graph_node(at->body, id);
  uint32_t param;
  if (node->op != MVS_OP_matmul || node->attr.matmul.form != MVS_MATMUL_NT) return;
  mvs_id weight = stacked_param(at, node->inputs[1], &param);
  if (weight == MVS_NONE || !at->lo->module->params.items[param].writer) return;
  mvs_site site = {.kind = MVS_SITE_WRITER,
                   .name = family(at->lo, at->lo->module->params.items[param].name),
                   .weight = param,
                   .query = UINT32_MAX,
                   .key = UINT32_MAX,
                   .attends = attends};
  uint32_t index = add_site(at, site);
  mvs_graph_add_mark(at->body, MVS_MARK_READ, index, node->inputs[0]);
  mvs_graph_add_mark(at->body, MVS_MARK_WRITTEN, index, id);
  mvs_graph_add_mark(at->body, MVS_MARK_WEIGHT, index, weight);
}

void mvs_lower_sites(mvs_lowering *lo, const mvs_stmt *stmt, const mvs_value *x,
                     const mvs_value *f, mvs_id first) {
  mvs_graph *body = lo->stack->region->body;
  if (lo->run != MVS_RUN_LOSS || x->graph != body || f->graph != body) return;
  update at = {lo, body, first, update_name(lo, stmt)};
  uint32_t index = add_site(&at, (mvs_site){.kind = MVS_SITE_UPDATE,
                                            .name = at.name,
                                            .weight = UINT32_MAX,
                                            .query = UINT32_MAX,
                                            .key = UINT32_MAX});
  mvs_graph_add_mark(body, MVS_MARK_STREAM, index, x->id);
  mvs_graph_add_mark(body, MVS_MARK_BRANCH, index, f->id);
  bool attends = mark_attention(&at, x->id);
  for (mvs_id id = first; id < mvs_graph_size(body); id++) mark_writer(&at, id, attends);
}
