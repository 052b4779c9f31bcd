/* explain.c: what became of the model, kernel by kernel, for --explain: what each kernel does,
 * the lines and weights it comes from, the rules that made its values, and the bytes it moves
 * against the least: every value that it takes or gives once, and only the part it needs.
 *
 *   1 rows (slice reshape mul add sub sum rsqrt), moves 20480*B + 1280 bytes, ...
 *       lines std/layers.mvs:12, std/layers.mvs:54, std/layers.mvs:50, ...
 *       rules products joined, inverse rms by parts, elements by parts */
#include <inttypes.h>

#include "compiler/passes/plan.h"

/* Shown per kernel, so that a report stays readable. */
#define MOST_LINES 8
#define MOST_NAMES 4

typedef struct bytes {
  int64_t fixed, per_batch;
} bytes;

typedef struct explain {
  const mvs_schedule *schedule;
  mvs_text *out;
  int depth;
} explain;

static const mvs_node *node_of(const explain *e, mvs_id id) {
  return mvs_graph_node(e->schedule->graph, id);
}

static void indent(const explain *e) {
  for (int i = 0; i < e->depth; i++) mvs_text_add(e->out, "  ");
}

/* --- lists of words --- */

typedef struct words {
  const char *items[MOST_LINES];
  int count, left_out;
} words;

/* Each once, the first `most` of them. */
static void add_word(words *list, int most, const char *word) {
  for (int i = 0; i < list->count; i++) {
    if (strcmp(list->items[i], word) == 0) return;
  }
  if (list->count < most) {
    list->items[list->count++] = word;
  } else {
    list->left_out++;
  }
}

static void show_words(const explain *e, const char *head, const words *list) {
  if (list->count == 0) return;
  indent(e);
  mvs_text_addf(e->out, "    %s ", head);
  for (int i = 0; i < list->count; i++) {
    mvs_text_addf(e->out, "%s%s", i ? ", " : "", list->items[i]);
  }
  mvs_text_add(e->out, list->left_out ? ", ...\n" : "\n");
}

static void add_line(const explain *e, words *lines, mvs_span span) {
  if (!span.source) return;
  int line, column;
  mvs_span_position(span, &line, &column);
  add_word(lines, MOST_LINES, mvs_arena_format(e->out->home, "%s:%d", span.source->name, line));
}

/* --- weights --- */

/* The node of the outer graph that an argument names, or MVS_NONE. */
static mvs_id outer_node(const mvs_schedule *schedule, const mvs_node *node) {
  const mvs_region *region = schedule->region;
  if (!region || !schedule->parent) return MVS_NONE;
  uint32_t first = region->carried_count;
  if (node->attr.argument.kind == MVS_ARG_STACKED) first += region->invariant_count;
  bool outer = node->attr.argument.kind == MVS_ARG_STACKED ||
               node->attr.argument.kind == MVS_ARG_INVARIANT;
  for (size_t i = 0; outer && i < schedule->parent->groups.count; i++) {
    const mvs_group *group = &schedule->parent->groups.items[i];
    if (group->region != region) continue;
    const mvs_node *call = mvs_graph_node(schedule->parent->graph, group->heavy);
    return call->inputs[first + node->attr.argument.index];
  }
  return MVS_NONE;
}

/* The parameter that a loaded value is, perhaps rounded or seen in another shape, or NULL. */
static const char *param_name(const mvs_schedule *schedule, mvs_id id) {
  while (schedule && id != MVS_NONE) {
    const mvs_node *node = mvs_graph_node(schedule->graph, id);
    if (node->op == MVS_OP_param) {
      const mvs_module *module = mvs_graph_module(schedule->graph);
      return module->params.items[node->attr.param.index].name;
    }
    bool same = node->op == MVS_OP_cast || node->op == MVS_OP_reshape ||
                node->op == MVS_OP_slice || node->op == MVS_OP_transpose;
    if (same) {
      id = node->inputs[0];
    } else if (node->op == MVS_OP_argument) {
      id = outer_node(schedule, node);
      schedule = schedule->parent;
    } else {
      return NULL;
    }
  }
  return NULL;
}

/* --- bytes --- */

static int64_t at_batch(const bytes *b) { return b->fixed + b->per_batch * MVS_NOMINAL_BATCH; }

static void add_type(bytes *b, const mvs_type *type) {
  bool batched;
  int64_t size = mvs_type_elements(type, &batched) * mvs_dtype_size(type->dtype);
  *(batched ? &b->per_batch : &b->fixed) += size;
}

/* The bytes of a leaf that a nest needs: all, or those of the slices it takes. */
static bytes needed_bytes(const explain *e, const mvs_nest_plan *nest, mvs_id leaf) {
  const mvs_type *type = mvs_graph_type(e->schedule->graph, leaf);
  bytes whole = {0}, slices = {0};
  add_type(&whole, type);
  bool sliced = false;
  for (size_t i = 0; i < nest->interior.count; i++) {
    const mvs_node *node = node_of(e, nest->interior.items[i]);
    for (int k = 0; k < node->input_count; k++) {
      if (node->inputs[k] != leaf) continue;
      if (node->op != MVS_OP_slice) return whole;
      sliced = true;
      mvs_type part = node->type;
      part.dtype = type->dtype;
      add_type(&slices, &part);
    }
  }
  return sliced && at_batch(&slices) < at_batch(&whole) ? slices : whole;
}

static bool stored_before(const mvs_nest_plan *nest, size_t index) {
  for (size_t i = 0; i < index; i++) {
    if (nest->outputs.items[i] == nest->outputs.items[index]) return true;
  }
  return false;
}

/* Moved: what this nest loads and stores. Least: without what a nest before it in the kernel
 * has loaded (cache serves it, at best) and without second places of what it stores. */
static void count_nest(const explain *e, const mvs_group *group, size_t n, bytes *moved,
                       bytes *least) {
  const mvs_nest_plan *nest = &group->nests.items[n];
  for (size_t i = 0; i < nest->leaves.count; i++) {
    bytes b = needed_bytes(e, nest, nest->leaves.items[i]);
    moved->fixed += b.fixed;
    moved->per_batch += b.per_batch;
    if (mvs_group_loaded_before(group, n, nest->leaves.items[i])) continue;
    least->fixed += b.fixed;
    least->per_batch += b.per_batch;
  }
  for (size_t i = 0; i < nest->outputs.count; i++) {
    const mvs_type *type = mvs_graph_type(e->schedule->graph, nest->outputs.items[i]);
    add_type(moved, type);
    if (!stored_before(nest, i)) add_type(least, type);
  }
}

/* A copy is needed by nothing: the least for it is nothing. */
static bool is_copy(const mvs_group *group) {
  return group->nests.count > 0 && group->nests.items[0].interior.count == 0;
}

static void show_size(const explain *e, const bytes *b) {
  if (b->per_batch && b->fixed) {
    mvs_text_addf(e->out, "%" PRId64 "*B + %" PRId64, b->per_batch, b->fixed);
  } else if (b->per_batch) {
    mvs_text_addf(e->out, "%" PRId64 "*B", b->per_batch);
  } else {
    mvs_text_addf(e->out, "%" PRId64, b->fixed);
  }
}

/* Heavy kernels read their operands more than once, but how often is the library's to choose.
 * */
static void show_bytes(const explain *e, const mvs_group *group) {
  bytes moved = {0}, least = {0};
  for (size_t n = 0; n < group->nests.count; n++) count_nest(e, group, n, &moved, &least);
  if (group->nests.count == 0) {
    mvs_group_bytes(e->schedule, group, &moved.fixed, &moved.per_batch);
    least = moved;
  }
  if (is_copy(group)) least = (bytes){0};
  mvs_text_add(e->out, ", moves ");
  show_size(e, &moved);
  mvs_text_add(e->out, " bytes");
  if (moved.fixed == least.fixed && moved.per_batch == least.per_batch) {
    mvs_text_add(e->out, ", the least possible");
    return;
  }
  mvs_text_add(e->out, ", least ");
  show_size(e, &least);
  if (at_batch(&least) > 0) {
    mvs_text_addf(e->out, " (%.2f x)", (double)at_batch(&moved) / (double)at_batch(&least));
  }
}

/* --- kernels --- */

static void gather_node(const explain *e, mvs_id id, words *lines, words *rules) {
  const mvs_node *node = node_of(e, id);
  add_line(e, lines, node->span);
  if (node->rule) add_word(rules, MOST_LINES, node->rule);
}

static void gather_weight(const explain *e, mvs_id id, words *weights) {
  const char *name = param_name(e->schedule, id);
  if (name) add_word(weights, MOST_NAMES, name);
}

static void show_words_of(const explain *e, const mvs_group *group) {
  words lines = {0}, rules = {0}, weights = {0};
  if (group->nests.count == 0) {
    const mvs_node *node = node_of(e, group->heavy);
    gather_node(e, group->heavy, &lines, &rules);
    for (int i = 0; i < node->input_count; i++) gather_weight(e, node->inputs[i], &weights);
  }
  for (size_t n = 0; n < group->nests.count; n++) {
    const mvs_nest_plan *nest = &group->nests.items[n];
    for (size_t i = 0; i < nest->interior.count; i++) {
      gather_node(e, nest->interior.items[i], &lines, &rules);
    }
    for (size_t i = 0; i < nest->leaves.count; i++) {
      gather_weight(e, nest->leaves.items[i], &weights);
    }
  }
  show_words(e, "lines", &lines);
  show_words(e, "weights", &weights);
  show_words(e, "rules", &rules);
}

static void show_group(const explain *e, size_t index) {
  static const char *const classes[] = {"rows",      "columns",        "matmul",
                                        "attention", "attention_grad", "stack"};
  const mvs_group *group = &e->schedule->groups.items[index];
  indent(e);
  mvs_text_addf(e->out, "%zu %s", index, classes[group->group_class]);
  if (group->nests.count > 0 && group->why) mvs_text_addf(e->out, " (%s)", group->why);
  if (group->region) {
    mvs_text_addf(e->out, " %s, %" PRId64 " blocks%s\n", group->region->label,
                  group->region->count, group->region->reverse ? " backwards" : "");
    return;
  }
  show_bytes(e, group);
  if (group->redo) mvs_text_add(e->out, ", run again when its block is redone");
  mvs_text_add(e->out, "\n");
  show_words_of(e, group);
}

/* --- summary --- */

/* How many kernels stand between two heavy ones is what fusion is judged by: each is a pass
 * over the stream. */
static void show_summary(const explain *e) {
  int counts[MVS_GROUP_REGION + 1] = {0}, run = 0, longest = 0;
  for (size_t i = 0; i < e->schedule->groups.count; i++) {
    mvs_group_class group_class = e->schedule->groups.items[i].group_class;
    counts[group_class]++;
    bool light = group_class == MVS_GROUP_ROWS || group_class == MVS_GROUP_COLUMNS;
    run = light ? run + 1 : 0;
    if (run > longest) longest = run;
  }
  indent(e);
  mvs_text_addf(e->out,
                "%d matmuls, %d attentions, %d rows, %d columns kernels; "
                "at most %d between two of the heavy ones\n",
                counts[MVS_GROUP_MATMUL],
                counts[MVS_GROUP_ATTENTION] + counts[MVS_GROUP_ATTENTION_GRAD],
                counts[MVS_GROUP_ROWS], counts[MVS_GROUP_COLUMNS], longest);
}

/* --- keep or redo --- */

static void show_redo(const explain *e, const uint32_t *groups, size_t count) {
  bytes moved = {0};
  mvs_groups_bytes(e->schedule, groups, count, &moved.fixed, &moved.per_batch);
  mvs_text_addf(e->out, "%zu kernel%s moving ", count, count == 1 ? "" : "s");
  show_size(e, &moved);
}

/* What the backward pass needs of a block: bytes to keep it, work to have it again. */
static void show_alternatives(const explain *e) {
  if (e->schedule->alternatives.count == 0) return;
  indent(e);
  mvs_text_add(e->out,
               "for the backward pass, bytes of a block kept; or redone from other such "
               "values\n");
  for (size_t i = 0; i < e->schedule->alternatives.count; i++) {
    const mvs_alternative *each = &e->schedule->alternatives.items[i];
    const mvs_node *node = node_of(e, each->value);
    bytes kept = {0};
    words lines = {0};
    add_type(&kept, &node->type);
    add_line(e, &lines, node->span);
    indent(e);
    mvs_text_add(e->out, "  ");
    show_size(e, &kept);
    mvs_text_add(e->out, " ");
    mvs_type_text(&node->type, e->out);
    if (lines.count) mvs_text_addf(e->out, " of %s", lines.items[0]);
    mvs_text_add(e->out, ": ");
    show_redo(e, each->own_groups.items, each->own_groups.count);
    mvs_text_add(e->out, "; from its input ");
    show_redo(e, each->groups.items, each->groups.count);
    mvs_text_add(e->out, "\n");
  }
}

static void show_schedule(const explain *outer, const mvs_schedule *schedule) {
  explain e = {schedule, outer->out, outer->depth + 1};
  size_t bodies = 0;
  show_summary(&e);
  for (size_t i = 0; i < schedule->groups.count; i++) {
    show_group(&e, i);
    if (schedule->groups.items[i].region) show_schedule(&e, schedule->bodies.items[bodies++]);
  }
  show_alternatives(&e);
}

void mvs_plan_explain(const mvs_plan *plan, mvs_text *out) {
  for (size_t i = 0; i < plan->functions.count; i++) {
    const mvs_function_plan *function = &plan->functions.items[i];
    explain e = {function->top, out, 0};
    mvs_text_addf(out, "function %s\n", function->name);
    show_schedule(&e, function->top);
  }
}
