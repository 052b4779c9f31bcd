/* read.c: a module from its dump. The text is hostile: every id, count and type is checked by
 * the shape rules before a node is added, and nesting has a limit. It is a recursive descent
 * without lookahead but for single marks, on top of read_text.c. A node is first a draft,
 * because its attribute stands before its inputs and part of it in its type, which comes last.
 * The type written must be the type inferred: dumps of other versions are refused, not
 * reinterpreted. What passes here may still break rules of the verifier; callers run it. */
#include "compiler/ir/dump.h"
#include "compiler/ir/read_text.h"

/* --- attributes: what the text says before the inputs --- */

/* "label=12"; what range makes sense is for the shape rule to say. */
static mvs_status labelled_integer(mvs_reader *reader, const char *label, int64_t *out) {
  MVS_TRY(mvs_read_expect(reader, label));
  MVS_TRY(mvs_read_expect(reader, "="));
  return mvs_read_integer(reader, INT64_MIN + 1, INT64_MAX, out);
}

/* "label=0.5" */
static mvs_status labelled_number(mvs_reader *reader, const char *label, double *out) {
  MVS_TRY(mvs_read_expect(reader, label));
  MVS_TRY(mvs_read_expect(reader, "="));
  return mvs_read_number(reader, out);
}

/* "axis=2". One above the highest axis may pass here: the shape rule knows the rank. */
static mvs_status read_axis(mvs_reader *reader, int *out) {
  int64_t axis;
  MVS_TRY(mvs_read_expect(reader, "axis"));
  MVS_TRY(mvs_read_expect(reader, "="));
  MVS_TRY(mvs_read_integer(reader, 0, MVS_MAX_RANK, &axis));
  *out = (int)axis;
  return MVS_OK;
}

/* "axes(1, 2)" into the bits of the mask. */
static mvs_status read_axes(mvs_reader *reader, mvs_attr *attr) {
  MVS_TRY(mvs_read_expect(reader, "axes"));
  MVS_TRY(mvs_read_expect(reader, "("));
  do {
    int64_t axis;
    MVS_TRY(mvs_read_integer(reader, 0, MVS_MAX_RANK, &axis));
    attr->axes.mask |= 1u << axis;
  } while (mvs_read_accept(reader, ","));
  return mvs_read_expect(reader, ")");
}

/* "order(0, 2, 1)"; "order()" permutes a tensor of rank 0. */
static mvs_status read_permutation(mvs_reader *reader, mvs_attr *attr) {
  MVS_TRY(mvs_read_expect(reader, "order"));
  MVS_TRY(mvs_read_expect(reader, "("));
  if (mvs_read_accept(reader, ")")) return MVS_OK;
  do {
    int64_t axis;
    if (attr->permutation.rank == MVS_MAX_RANK) return mvs_read_error(reader, "too many axes");
    MVS_TRY(mvs_read_integer(reader, 0, MVS_MAX_RANK, &axis));
    attr->permutation.axis[attr->permutation.rank++] = (uint8_t)axis;
  } while (mvs_read_accept(reader, ","));
  return mvs_read_expect(reader, ")");
}

/* "axis=1 start=0 length=4 total=9", for pads too. */
static mvs_status read_slice(mvs_reader *reader, mvs_attr *attr) {
  MVS_TRY(read_axis(reader, &attr->slice.axis));
  MVS_TRY(labelled_integer(reader, "start", &attr->slice.start));
  MVS_TRY(labelled_integer(reader, "length", &attr->slice.length));
  return labelled_integer(reader, "total", &attr->slice.total);
}

/* Takes one of `count` words; its number goes to `out`. */
static mvs_status one_of(mvs_reader *reader, const char *const *words, int count, int *out) {
  for (int i = 0; i < count; i++) {
    if (!mvs_read_accept(reader, words[i])) continue;
    *out = i;
    return MVS_OK;
  }
  return mvs_read_error(reader, "expected one of '%s' to '%s'", words[0], words[count - 1]);
}

/* "stacked 3". The index may lie beyond the region's counts: its shape rule refuses it. */
static mvs_status read_argument(mvs_reader *reader, mvs_attr *attr) {
  static const char *const kinds[] = {"carried", "invariant", "stacked", "read", "layer"};
  int kind = 0;
  MVS_TRY(one_of(reader, kinds, 5, &kind));
  attr->argument.kind = (mvs_argument_kind)kind;
  return mvs_read_index(reader, &attr->argument.index);
}

/* "normal stream=4". The module's next stream is kept above all that were read, so that a pass
 * that draws anew repeats none. */
static mvs_status read_random(mvs_reader *reader, mvs_attr *attr) {
  static const char *const kinds[] = {"uniform", "normal"};
  int kind = 0;
  MVS_TRY(one_of(reader, kinds, 2, &kind));
  attr->random.kind = kind ? MVS_RANDOM_NORMAL : MVS_RANDOM_UNIFORM;
  MVS_TRY(mvs_read_expect(reader, "stream"));
  MVS_TRY(mvs_read_expect(reader, "="));
  MVS_TRY(mvs_read_index(reader, &attr->random.stream));
  if (attr->random.stream >= reader->module->next_stream) {
    reader->module->next_stream = attr->random.stream + 1;
  }
  return MVS_OK;
}

/* The part of an attribute that stands between the op's name and its inputs. */
static mvs_status read_attr(mvs_reader *reader, mvs_attr_kind kind, mvs_attr *attr) {
  static const char *const forms[] = {"NT", "NN", "TN"};
  int form = 0;
  switch (kind) {
    case MVS_ATTR_input:
      return mvs_read_name(reader, &attr->input.name);
    case MVS_ATTR_param:
      return mvs_read_index(reader, &attr->param.index);
    case MVS_ATTR_argument:
      return read_argument(reader, attr);
    case MVS_ATTR_constant:
      return mvs_read_number(reader, &attr->constant.value);
    case MVS_ATTR_iota:
      return read_axis(reader, &attr->iota.axis);
    case MVS_ATTR_random:
      return read_random(reader, attr);
    case MVS_ATTR_axes:
      return read_axes(reader, attr);
    case MVS_ATTR_epsilon:
      return labelled_number(reader, "eps", &attr->epsilon.value);
    case MVS_ATTR_permutation:
      return read_permutation(reader, attr);
    case MVS_ATTR_slice:
      return read_slice(reader, attr);
    case MVS_ATTR_concat:
      return read_axis(reader, &attr->concat.axis);
    case MVS_ATTR_index:
      return mvs_read_index(reader, &attr->index.value);
    case MVS_ATTR_matmul:
      MVS_TRY(one_of(reader, forms, 3, &form));
      attr->matmul.form = (mvs_matmul_form)form;
      return MVS_OK;
    case MVS_ATTR_attention:
      return labelled_number(reader, "scale", &attr->attention.scale);
    case MVS_ATTR_none:
    case MVS_ATTR_cast:
    case MVS_ATTR_shape:
    case MVS_ATTR_segments:
    case MVS_ATTR_region:
      return MVS_OK;
  }
  return MVS_OK;
}

/* Fills in what the attribute repeats of the result's type. */
static void complete_attr(mvs_attr_kind kind, const mvs_type *type, mvs_attr *attr) {
  switch (kind) {
    case MVS_ATTR_input:
      attr->input.type = *type;
      break;
    case MVS_ATTR_param:
      attr->param.type = *type;
      break;
    case MVS_ATTR_argument:
      attr->argument.type = *type;
      break;
    case MVS_ATTR_constant:
      attr->constant.dtype = type->dtype;
      break;
    case MVS_ATTR_iota:
      attr->iota.type = *type;
      break;
    case MVS_ATTR_cast:
      attr->cast.dtype = type->dtype;
      break;
    case MVS_ATTR_random:
      attr->random.type = *type;
      break;
    case MVS_ATTR_shape:
      attr->shape.type = *type;
      break;
    case MVS_ATTR_segments:
      attr->segments.table = type->segments;
      break;
    case MVS_ATTR_slice:
      attr->slice.segments = type->segments;
      break;
    case MVS_ATTR_concat:
      attr->concat.segments = type->segments;
      break;
    case MVS_ATTR_matmul:
      attr->matmul.dtype = type->dtype;
      break;
    default:
      break;
  }
}

/* --- nodes --- */

typedef MVS_LIST(mvs_id) id_list;
typedef MVS_LIST(mvs_type) type_list;

/* A node while it is read. */
typedef struct draft {
  mvs_op op;
  mvs_attr attr;
  id_list inputs;
  type_list types;
} draft;

/* "%1, %2", at least one. Whether the nodes exist is for the shape rule. */
static mvs_status read_ids(mvs_reader *reader, id_list *ids) {
  do {
    mvs_id id;
    MVS_TRY(mvs_read_id(reader, &id));
    MVS_PUSH(reader->arena, ids, id);
  } while (mvs_read_accept(reader, ","));
  return MVS_OK;
}

/* "NAME(%1, %2)" when it comes next; its length goes to `count`. */
static mvs_status read_group(mvs_reader *reader, const char *name, id_list *ids,
                             uint32_t *count) {
  size_t before = ids->count;
  *count = 0;
  if (!mvs_read_accept(reader, name)) return MVS_OK;
  MVS_TRY(mvs_read_expect(reader, "("));
  MVS_TRY(read_ids(reader, ids));
  *count = (uint32_t)(ids->count - before);
  return mvs_read_expect(reader, ")");
}

/* "reads(0@1, 0@2)": outputs and distances. */
static mvs_status read_reads(mvs_reader *reader, mvs_region *region) {
  if (!mvs_read_accept(reader, "reads")) return MVS_OK;
  MVS_TRY(mvs_read_expect(reader, "("));
  do {
    if (region->read_count == MVS_MAX_READS) return mvs_read_error(reader, "too many reads");
    mvs_read *read = &region->reads[region->read_count++];
    MVS_TRY(mvs_read_index(reader, &read->output));
    MVS_TRY(mvs_read_expect(reader, "@"));
    MVS_TRY(mvs_read_integer(reader, 1, MVS_MAX_DEPTH, &read->distance));
  } while (mvs_read_accept(reader, ","));
  return mvs_read_expect(reader, ")");
}

/* "forward=%3", a region of the same graph. */
static mvs_status read_forward(mvs_reader *reader, const mvs_graph *graph, mvs_region *region) {
  if (!mvs_read_accept(reader, "forward")) return MVS_OK;
  mvs_id id;
  MVS_TRY(mvs_read_expect(reader, "="));
  MVS_TRY(mvs_read_id(reader, &id));
  if (id >= mvs_graph_size(graph) || mvs_graph_node(graph, id)->op != MVS_OP_region) {
    return mvs_read_error(reader, "%%%u is no region before this one", id);
  }
  region->forward = mvs_graph_node(graph, id)->attr.region.body;
  return MVS_OK;
}

static mvs_status read_nodes(mvs_reader *reader, mvs_graph *graph);

/* "{ nodes, results carried(...) stacked(...) }" */
static mvs_status read_body(mvs_reader *reader, mvs_region *region) {
  id_list ids = {0};
  uint32_t carried;
  MVS_TRY(mvs_read_expect(reader, "{"));
  MVS_TRY(read_nodes(reader, region->body));
  MVS_TRY(mvs_read_expect(reader, "results"));
  MVS_TRY(read_group(reader, "carried", &ids, &carried));
  MVS_TRY(read_group(reader, "stacked", &ids, &region->output_count));
  if (carried != region->carried_count) {
    return mvs_read_error(reader, "carries %u values in and %u out", region->carried_count,
                          carried);
  }
  for (size_t i = 0; i < ids.count; i++) {
    mvs_result result = {NULL, ids.items[i]};
    MVS_PUSH(reader->arena, mvs_graph_results(region->body), result);
  }
  return mvs_read_expect(reader, "}");
}

/* From the label to the closing brace. The region is made first, since its body's graph and the
 * counts of its groups belong to it. */
static mvs_status read_region(mvs_reader *reader, mvs_graph *graph, draft *node) {
  const char *label;
  int64_t count;
  if (reader->nesting == MVS_MAX_NESTING) {
    mvs_read_error(reader, "regions nest deeper than %d", MVS_MAX_NESTING);
    return MVS_ERR_LIMIT;
  }
  MVS_TRY(mvs_read_name(reader, &label));
  MVS_TRY(mvs_read_expect(reader, "count"));
  MVS_TRY(mvs_read_expect(reader, "="));
  MVS_TRY(mvs_read_integer(reader, 1, MVS_MAX_DEPTH, &count));
  bool reverse = mvs_read_accept(reader, "reverse");
  mvs_region *region = mvs_region_new(graph, label, count, reverse, (mvs_span){0});
  node->attr.region.body = region;
  MVS_TRY(read_group(reader, "carried", &node->inputs, &region->carried_count));
  MVS_TRY(read_group(reader, "invariant", &node->inputs, &region->invariant_count));
  MVS_TRY(read_group(reader, "stacked", &node->inputs, &region->stacked_count));
  MVS_TRY(read_reads(reader, region));
  MVS_TRY(read_forward(reader, graph, region));
  reader->nesting++;
  MVS_TRY(read_body(reader, region));
  reader->nesting--;
  return MVS_OK;
}

/* ": T", or ": (T0, T1)" for an op with several results. */
static mvs_status read_types(mvs_reader *reader, draft *node) {
  MVS_TRY(mvs_read_expect(reader, ":"));
  bool tuple = mvs_op_is_tuple(node->op);
  if (tuple) MVS_TRY(mvs_read_expect(reader, "("));
  do {
    mvs_type type;
    MVS_TRY(mvs_read_type(reader, &type));
    MVS_PUSH(reader->arena, &node->types, type);
  } while (tuple && mvs_read_accept(reader, ","));
  return tuple ? mvs_read_expect(reader, ")") : MVS_OK;
}

/* The pass and rewrite that the next node added will carry. */
static mvs_status read_marks(mvs_reader *reader, mvs_graph *graph) {
  int64_t pass = 0;
  const char *rule = NULL;
  if (mvs_read_accept(reader, "pass")) {
    MVS_TRY(mvs_read_expect(reader, "="));
    MVS_TRY(mvs_read_integer(reader, 1, UINT8_MAX, &pass));
  }
  if (mvs_read_accept(reader, "by")) MVS_TRY(mvs_read_name(reader, &rule));
  mvs_graph_set_pass(graph, (uint8_t)pass);
  mvs_graph_set_rule(graph, rule);
  return MVS_OK;
}

/* Says when the type in the text is not the one its op has. */
static mvs_status check_written_type(mvs_reader *reader, mvs_span span, const mvs_type *written,
                                     const mvs_type *inferred) {
  if (mvs_type_equal(written, inferred)) return MVS_OK;
  mvs_text text = mvs_text_new(reader->arena);
  mvs_type_text(inferred, &text);
  mvs_diag_error(reader->diag, span, "the type is %s", mvs_text_string(&text));
  return MVS_ERR_SHAPE;
}

/* Checks a draft by its shape rule, adds it, and checks the types in the text. */
static mvs_status add_node(mvs_reader *reader, mvs_graph *graph, const draft *node,
                           mvs_span span) {
  mvs_type type;
  int count = node->inputs.count > INT16_MAX ? INT16_MAX : (int)node->inputs.count;
  MVS_TRY(mvs_graph_infer(graph, node->op, node->inputs.items, count, &node->attr, span,
                          reader->diag, &type));
  MVS_TRY(check_written_type(reader, span, &node->types.items[0], &type));
  mvs_id wanted = mvs_graph_size(graph);
  mvs_id id =
      mvs_graph_add(graph, node->op, node->inputs.items, count, &node->attr, (mvs_span){0});
  if (id != wanted) {
    mvs_diag_error(reader->diag, span, "the node is the same as %%%u", id);
    return MVS_ERR_SYNTAX;
  }
  if (mvs_node_result_count(graph, id) != node->types.count) {
    mvs_diag_error(reader->diag, span, "%%%u has %u results, not %zu", id,
                   mvs_node_result_count(graph, id), node->types.count);
    return MVS_ERR_SHAPE;
  }
  for (uint32_t i = 1; i < node->types.count; i++) {
    mvs_type result = mvs_node_result_type(graph, id, i);
    MVS_TRY(check_written_type(reader, span, &node->types.items[i], &result));
  }
  return MVS_OK;
}

/* One node and its number, which must be the next one of the graph: so ids in the text are ids
 * in the graph. */
static mvs_status read_node(mvs_reader *reader, mvs_graph *graph) {
  draft node;
  memset(&node, 0, sizeof node); /* all members of the union start at zero */
  mvs_id id;
  const char *name;
  size_t begin = reader->at;
  MVS_TRY(mvs_read_id(reader, &id));
  if (id != mvs_graph_size(graph)) {
    return mvs_read_error(reader, "expected %%%u", mvs_graph_size(graph));
  }
  MVS_TRY(mvs_read_expect(reader, "="));
  MVS_TRY(mvs_read_name(reader, &name));
  if (!mvs_op_parse(name, &node.op)) return mvs_read_error(reader, "'%s' is no op", name);
  mvs_attr_kind kind = mvs_ops[node.op].attribute;
  if (kind == MVS_ATTR_region) {
    MVS_TRY(read_region(reader, graph, &node));
  } else {
    MVS_TRY(read_attr(reader, kind, &node.attr));
    if (!mvs_read_accept(reader, ":")) {
      MVS_TRY(read_ids(reader, &node.inputs));
    } else {
      reader->at--;
    }
  }
  MVS_TRY(read_types(reader, &node));
  MVS_TRY(read_marks(reader, graph));
  complete_attr(kind, &node.types.items[0], &node.attr);
  return add_node(reader, graph, &node, mvs_read_span(reader, begin));
}

/* All nodes up to the results. Marks are cleared behind them, so that passes which add to this
 * graph start unmarked. */
static mvs_status read_nodes(mvs_reader *reader, mvs_graph *graph) {
  while (mvs_read_accept(reader, "%")) {
    reader->at--;
    MVS_TRY(read_node(reader, graph));
  }
  mvs_graph_set_pass(graph, 0);
  mvs_graph_set_rule(graph, NULL);
  return MVS_OK;
}

/* --- modules --- */

/* "results a=%1, b=%2" */
static mvs_status read_results(mvs_reader *reader, mvs_graph *graph) {
  MVS_TRY(mvs_read_expect(reader, "results"));
  while (!mvs_read_end(reader)) {
    size_t begin = reader->at;
    mvs_result result;
    /* A function without results is followed by the next function, not by NAME=. */
    if (mvs_read_accept(reader, "function") && !mvs_read_accept(reader, "=")) {
      reader->at = begin;
      return MVS_OK;
    }
    reader->at = begin;
    MVS_TRY(mvs_read_name(reader, &result.name));
    MVS_TRY(mvs_read_expect(reader, "="));
    MVS_TRY(mvs_read_id(reader, &result.id));
    if (result.id >= mvs_graph_size(graph)) {
      return mvs_read_error(reader, "%%%u is not a node", result.id);
    }
    MVS_PUSH(reader->arena, mvs_graph_results(graph), result);
    if (!mvs_read_accept(reader, ",")) return MVS_OK;
  }
  return MVS_OK;
}

/* "function NAME", its nodes and its results. */
static mvs_status read_function(mvs_reader *reader) {
  const char *name;
  MVS_TRY(mvs_read_name(reader, &name));
  if (mvs_module_function(reader->module, name)) {
    return mvs_read_error(reader, "there are two functions '%s'", name);
  }
  mvs_graph *graph = mvs_module_add_function(reader->module, name)->graph;
  MVS_TRY(read_nodes(reader, graph));
  return read_results(reader, graph);
}

/* "init=normal(0.02) by ORIGIN" */
static mvs_status read_init(mvs_reader *reader, mvs_init *init) {
  static const char *const kinds[] = {"constant", "normal", "uniform"};
  int kind = 0;
  MVS_TRY(mvs_read_expect(reader, "init"));
  MVS_TRY(mvs_read_expect(reader, "="));
  MVS_TRY(one_of(reader, kinds, 3, &kind));
  init->kind = (mvs_init_kind)kind;
  MVS_TRY(mvs_read_expect(reader, "("));
  MVS_TRY(mvs_read_number(reader, &init->value));
  MVS_TRY(mvs_read_expect(reader, ")"));
  return mvs_read_accept(reader, "by") ? mvs_read_name(reader, &init->origin) : MVS_OK;
}

/* "pack=9 at=4096"; that the pack exists and fits is for the verifier. */
static mvs_status read_pack(mvs_reader *reader, mvs_param *param) {
  int64_t pack;
  MVS_TRY(mvs_read_expect(reader, "="));
  MVS_TRY(mvs_read_integer(reader, 1, UINT32_MAX - 1, &pack));
  param->pack = (uint32_t)pack;
  MVS_TRY(mvs_read_expect(reader, "at"));
  MVS_TRY(mvs_read_expect(reader, "="));
  return mvs_read_integer(reader, 0, MVS_MAX_EXTENT, &param->pack_place);
}

/* "rate=10", if it is there. */
static mvs_status read_factor(mvs_reader *reader, const char *word, bool *given, double *out) {
  *given = mvs_read_accept(reader, word);
  if (!*given) return MVS_OK;
  MVS_TRY(mvs_read_expect(reader, "="));
  return mvs_read_number(reader, out);
}

/* A line of the parameter list; the indices must run from 0, as nodes name them. */
static mvs_status read_param(mvs_reader *reader) {
  mvs_param param = {0};
  uint32_t index;
  MVS_TRY(mvs_read_index(reader, &index));
  if (index != reader->module->params.count) {
    return mvs_read_error(reader, "expected parameter %zu", reader->module->params.count);
  }
  MVS_TRY(mvs_read_name(reader, &param.name));
  MVS_TRY(mvs_read_expect(reader, ":"));
  MVS_TRY(mvs_read_type(reader, &param.type));
  if (mvs_read_accept(reader, "layers")) {
    MVS_TRY(mvs_read_expect(reader, "="));
    MVS_TRY(mvs_read_integer(reader, 1, MVS_MAX_DEPTH, &param.layers));
  }
  param.trained = mvs_read_accept(reader, "trained");
  param.writer = mvs_read_accept(reader, "writer");
  param.is_pack = mvs_read_accept(reader, "is_pack");
  if (mvs_read_accept(reader, "pack")) MVS_TRY(read_pack(reader, &param));
  MVS_TRY(read_factor(reader, "rate", &param.group.has_rate, &param.group.rate));
  MVS_TRY(read_factor(reader, "decay", &param.group.has_decay, &param.group.decay));
  MVS_TRY(read_init(reader, &param.init));
  MVS_PUSH(reader->arena, &reader->module->params, param);
  return MVS_OK;
}

/* A line of the model's inputs. */
static mvs_status read_input(mvs_reader *reader) {
  mvs_model_input input = {0};
  MVS_TRY(mvs_read_name(reader, &input.name));
  MVS_TRY(mvs_read_expect(reader, ":"));
  MVS_TRY(mvs_read_type(reader, &input.type));
  input.conditioning = mvs_read_accept(reader, "conditioning");
  MVS_TRY(labelled_number(reader, "unconditional", &input.unconditional));
  MVS_PUSH(reader->arena, &reader->module->inputs, input);
  return MVS_OK;
}

/* One line of a module, or a whole function. */
static mvs_status read_line(mvs_reader *reader) {
  mvs_module *module = reader->module;
  if (mvs_read_accept(reader, "module")) return mvs_read_name(reader, &module->name);
  if (mvs_read_accept(reader, "output")) return mvs_read_name(reader, &module->output_name);
  if (mvs_read_accept(reader, "residual")) return mvs_read_name(reader, &module->residual);
  if (mvs_read_accept(reader, "residual_origin")) {
    return mvs_read_name(reader, &module->residual_origin);
  }
  if (mvs_read_accept(reader, "param")) return read_param(reader);
  if (mvs_read_accept(reader, "input")) return read_input(reader);
  if (mvs_read_accept(reader, "function")) return read_function(reader);
  return mvs_read_error(reader, "expected a module, param, input or function");
}

/* Spans are offsets of 32 bits, so a longer text is refused. Segment tables and the numbers of
 * streams are rebuilt on the way; settings keep their zeros. */
mvs_status mvs_module_read(mvs_arena *arena, mvs_diag *diag, const mvs_source *source,
                           mvs_module **out) {
  mvs_reader reader = {.arena = arena, .diag = diag, .source = source};
  if (source->length > UINT32_MAX / 2) {
    mvs_read_error(&reader, "the text is too long");
    return MVS_ERR_LIMIT;
  }
  reader.module = mvs_module_new(arena, "");
  while (!mvs_read_end(&reader)) MVS_TRY(read_line(&reader));
  *out = reader.module;
  return MVS_OK;
}
