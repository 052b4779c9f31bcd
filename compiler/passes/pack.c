/* pack.c: products of one value with several parameters become one product.
 *
 *   %q = matmul NT %x, %wq[64, 64]        %p = matmul NT %x, %pack[192, 64]
 *   %k = matmul NT %x, %wk[64, 64]   ->   %q = slice axis=last start=0 length=64 %p
 *   %v = matmul NT %x, %wv[64, 64]        %k = slice axis=last start=64 length=64 %p, ...
 *
 * As three products each reads x once more, fills the GPU badly where x has few rows, and the
 * gradient of x is a sum of three results. Such parameters are put into a pack (module.h): one
 * tensor, the parts one below the other. Gradients then come out packed by the ordinary rules:
 * the pads of slices add up to a concat, of which dX and dW are one product each.
 *
 * Parameters go together when the values that they are multiplied with are the same, in every
 * function: then no product computes what nobody asked for. A parameter that is used in any
 * other way lies alone. Biases of a pack are a pack, too.
 *
 * Three steps: a survey of how parameters are used, the choice of those that go together (in
 * the module's order, so that functions and their nodes do not decide it), and the graphs once
 * more with packs in the place of parts. */
#include "compiler/passes/pass.h"
#include "compiler/passes/rebuild.h"
#include "compiler/passes/rewrite.h"
#include "compiler/passes/simplify.h"

/* Rows of a part come in such steps: columns of the product, and so its parts, then start on 16
 * bytes in bf16, which libraries and vector loads want. */
#define ROW_STEP 8

#define NO_PARAM UINT32_MAX

/* What a node is, when it is a parameter or a parameter rounded. */
typedef struct weight_source {
  uint32_t param; /* NO_PARAM: neither */
  bool rounded;
} weight_source;

/* The sources of one graph: a function or the body of a region in it. */
typedef struct scanned_graph {
  const mvs_graph *graph;
  weight_source *sources;
} scanned_graph;

/* matmul(value, weight) or matmul(value, weight, bias). */
typedef struct product {
  const mvs_graph *graph;
  mvs_id node;
  uint32_t weight, bias; /* NO_PARAM: no bias */
} product;

typedef struct packer {
  mvs_arena *arena;
  mvs_module *module;
  bool *barred; /* per parameter: used in another way than as a weight, or as a bias */
  MVS_LIST(scanned_graph) graphs;
  MVS_LIST(product) products; /* in the order of graphs and nodes */
} packer;

static mvs_param *param_at(const packer *p, uint32_t index) {
  return &p->module->params.items[index];
}

/* --- survey --- */

static void bar(packer *p, weight_source source) {
  if (source.param != NO_PARAM) p->barred[source.param] = true;
}

static const weight_source nothing = {NO_PARAM, false};

/* A region of a function, seen from its body. */
typedef struct enclosing {
  const mvs_node *node;
  const weight_source *sources; /* of the graph around */
} enclosing;

/* Parameters come in by layer, or as they are when they have no layers. One that comes in
 * otherwise, all layers of it at once, is barred: pack_value() knows these two ways. */
static weight_source argument_source(packer *p, const enclosing *around, const mvs_node *node) {
  mvs_argument_kind kind = node->attr.argument.kind;
  if (kind != MVS_ARG_INVARIANT && kind != MVS_ARG_STACKED) return nothing;
  const mvs_region *region = around->node->attr.region.body;
  uint32_t first = region->carried_count;
  if (kind == MVS_ARG_STACKED) first += region->invariant_count;
  weight_source source =
      around->sources[around->node->inputs[first + node->attr.argument.index]];
  if (source.param == NO_PARAM) return nothing;
  bool by_layer = param_at(p, source.param)->layers > 0;
  if (by_layer == (kind == MVS_ARG_STACKED)) return source;
  bar(p, source);
  return nothing;
}

/* One cast is looked through: in bf16 every product reads one. */
static weight_source source_of(packer *p, const enclosing *around, const weight_source *known,
                               const mvs_node *node) {
  if (node->op == MVS_OP_param) {
    uint32_t index = node->attr.param.index;
    return param_at(p, index)->trained ? (weight_source){index, false} : nothing;
  }
  if (node->op == MVS_OP_argument && around) return argument_source(p, around, node);
  if (node->op != MVS_OP_cast) return nothing;
  weight_source source = known[node->inputs[0]];
  if (source.rounded) bar(p, source);
  return source.rounded || source.param == NO_PARAM ? nothing
                                                    : (weight_source){source.param, true};
}

/* Notes a product with a parameter; all other uses bar it. */
static void note_matmul(packer *p, const mvs_graph *graph, mvs_id id,
                        const weight_source *sources) {
  const mvs_node *node = mvs_graph_node(graph, id);
  bool biased = node->input_count == 3;
  weight_source weight = sources[node->inputs[1]];
  weight_source bias = biased ? sources[node->inputs[2]] : nothing;
  bool fits = node->attr.matmul.form == MVS_MATMUL_NT && weight.param != NO_PARAM &&
              (!biased || bias.param != NO_PARAM);
  /* As the left operand a parameter is read whole, which a slice of a pack is not. */
  bar(p, sources[node->inputs[0]]);
  if (!fits) {
    bar(p, weight);
    bar(p, bias);
    return;
  }
  product found = {graph, id, weight.param, bias.param};
  MVS_PUSH(p->arena, &p->products, found);
}

static void scan(packer *p, const mvs_graph *graph, const enclosing *around);

/* What a region carries changes from layer to layer; the rest is looked at in its body. */
static void scan_region(packer *p, const mvs_node *node, const weight_source *sources,
                        bool inside) {
  const mvs_region *region = node->attr.region.body;
  enclosing here = {node, sources};
  for (uint32_t i = 0; i < node->input_count; i++) {
    if (inside || i < region->carried_count) bar(p, sources[node->inputs[i]]);
  }
  scan(p, region->body, inside ? NULL : &here);
}

/* Every use of a parameter is one of four: the right operand or the bias of a product, a cast
 * to look through, an input of a region to follow inside, or a reason to bar it. */
static void scan(packer *p, const mvs_graph *graph, const enclosing *around) {
  mvs_id size = mvs_graph_size(graph);
  weight_source *sources = MVS_ARRAY(p->arena, (size_t)size + 1, weight_source);
  scanned_graph scanned = {graph, sources};
  MVS_PUSH(p->arena, &p->graphs, scanned);
  for (mvs_id id = 0; id < size; id++) {
    const mvs_node *node = mvs_graph_node(graph, id);
    sources[id] = source_of(p, around, sources, node);
    if (node->op == MVS_OP_matmul) {
      note_matmul(p, graph, id, sources);
    } else if (node->op == MVS_OP_region) {
      scan_region(p, node, sources, mvs_graph_region(graph) != NULL);
    } else if (node->op != MVS_OP_cast) {
      for (int i = 0; i < node->input_count; i++) bar(p, sources[node->inputs[i]]);
    }
  }
  const mvs_results *results = mvs_graph_result_list(graph);
  for (size_t i = 0; i < results->count; i++) bar(p, sources[results->items[i].id]);
}

/* --- which parameters go together --- */

static mvs_dtype input_dtype(const product *of, int input) {
  const mvs_node *node = mvs_graph_node(of->graph, of->node);
  return mvs_graph_type(of->graph, node->inputs[input])->dtype;
}

/* Same value, same types: both could be parts of one product. */
static bool join(const product *a, const product *b) {
  if (a->graph != b->graph) return false;
  const mvs_node *left = mvs_graph_node(a->graph, a->node);
  const mvs_node *right = mvs_graph_node(b->graph, b->node);
  if (left->input_count != right->input_count || left->inputs[0] != right->inputs[0] ||
      left->type.dtype != right->type.dtype || left->type.segments != right->type.segments) {
    return false;
  }
  for (int i = 1; i < left->input_count; i++) {
    if (input_dtype(a, i) != input_dtype(b, i)) return false;
  }
  return true;
}

/* The next product of a weight from `from` on, or the number of products. */
static size_t next_product(const packer *p, uint32_t weight, size_t from) {
  while (from < p->products.count && p->products.items[from].weight != weight) from++;
  return from;
}

static bool has_partner(const packer *p, const product *of, uint32_t weight) {
  for (size_t i = 0; (i = next_product(p, weight, i)) < p->products.count; i++) {
    if (join(of, &p->products.items[i])) return true;
  }
  return false;
}

/* True when each product of the one joins one of the other. Asked both ways round: where one
 * function needs one of two weights alone, their pack would compute both for it. */
static bool follows(const packer *p, uint32_t weight, uint32_t other) {
  for (size_t i = 0; (i = next_product(p, weight, i)) < p->products.count; i++) {
    if (!has_partner(p, &p->products.items[i], other)) return false;
  }
  return true;
}

/* The one bias that all products of a weight have; false when they differ, or when the bias is
 * that of other weights as well. */
static bool bias_of(const packer *p, uint32_t weight, uint32_t *bias) {
  size_t first = next_product(p, weight, 0);
  if (first == p->products.count) return false;
  *bias = p->products.items[first].bias;
  for (size_t i = 0; i < p->products.count; i++) {
    const product *each = &p->products.items[i];
    bool own = each->weight == weight;
    if (own && each->bias != *bias) return false;
    if (!own && *bias != NO_PARAM && each->bias == *bias) return false;
  }
  return *bias == NO_PARAM || !p->barred[*bias];
}

/* A weight that may be part of a pack at all. */
static bool may_be_part(const packer *p, uint32_t index) {
  const mvs_param *param = param_at(p, index);
  uint32_t bias;
  return !p->barred[index] && param->pack == 0 && param->type.rank == 2 &&
         param->type.dims[0].size % ROW_STEP == 0 && bias_of(p, index, &bias);
}

/* Parts share rows of the flat buffers, so the optimizer treats them alike. */
static bool same_group(const packer *p, uint32_t a, uint32_t b) {
  const mvs_param *left = param_at(p, a), *right = param_at(p, b);
  return mvs_param_rate(left) == mvs_param_rate(right) &&
         mvs_param_decay(left) == mvs_param_decay(right);
}

/* Their products are joined one by one, and so are their biases. */
static bool go_together(const packer *p, uint32_t a, uint32_t b) {
  const mvs_param *left = param_at(p, a), *right = param_at(p, b);
  uint32_t bias = NO_PARAM, other = NO_PARAM;
  bias_of(p, a, &bias), bias_of(p, b, &other);
  if ((bias == NO_PARAM) != (other == NO_PARAM) || !same_group(p, a, b)) return false;
  if (bias != NO_PARAM && !same_group(p, bias, other)) return false;
  return left->layers == right->layers && left->type.dims[1].size == right->type.dims[1].size &&
         follows(p, a, b) && follows(p, b, a);
}

/* Elements of all layers, as of any tensor, are limited. */
static bool has_room(const packer *p, int64_t rows, uint32_t index) {
  const mvs_param *param = param_at(p, index);
  int64_t all = rows + param->type.dims[0].size;
  return mvs_mul(all, param->type.dims[1].size, &all) &&
         mvs_mul(all, param->layers ? param->layers : 1, &all) && all <= MVS_MAX_EXTENT;
}

typedef MVS_LIST(uint32_t) index_list;

/* The weight and all later ones that go with it. */
static void find_parts(const packer *p, uint32_t first, index_list *parts) {
  int64_t rows = 0;
  for (uint32_t i = first; i < p->module->params.count; i++) {
    bool fits = i == first || (may_be_part(p, i) && go_together(p, first, i));
    if (!fits || !has_room(p, rows, i)) continue;
    rows += param_at(p, i)->type.dims[0].size;
    MVS_PUSH(p->arena, parts, i);
  }
}

/* --- packs --- */

/* "blocks.{i}.operator.q_proj.weight" and k_proj's are
 * "blocks.{i}.operator.q_proj+k_proj.weight": what the names share stands once. */
static const char *joined_name(const packer *p, const index_list *parts) {
  const char *first = param_at(p, parts->items[0])->name;
  size_t length = strlen(first), head = length, tail = length;
  for (size_t i = 1; i < parts->count; i++) {
    const char *name = param_at(p, parts->items[i])->name;
    size_t size = strlen(name), same = 0, back = 0;
    while (same < head && first[same] == name[same]) same++;
    while (back < tail && back < size && first[length - 1 - back] == name[size - 1 - back])
      back++;
    head = same, tail = back;
  }
  while (head > 0 && first[head - 1] != '.') head--;
  while (tail > 0 && first[length - tail] != '.') tail--;
  mvs_text text = mvs_text_new(p->arena);
  mvs_text_addf(&text, "%.*s", (int)head, first);
  for (size_t i = 0; i < parts->count; i++) {
    const char *name = param_at(p, parts->items[i])->name;
    mvs_text_addf(&text, "%s%.*s", i ? "+" : "", (int)(strlen(name) - head - tail),
                  name + head);
  }
  mvs_text_add(&text, first + length - tail);
  return mvs_text_string(&text);
}

/* Appends the pack of these parameters, which have the same extents but for the first. */
static void add_pack(packer *p, const index_list *parts) {
  const mvs_param *first = param_at(p, parts->items[0]);
  mvs_param pack = {.name = joined_name(p, parts),
                    .type = first->type,
                    .layers = first->layers,
                    .trained = true,
                    .group = first->group,
                    .init = {MVS_INIT_CONSTANT, 0, "its parts"},
                    .span = first->span,
                    .is_pack = true};
  pack.type.dims[0].size = 0;
  int64_t place = 0;
  for (size_t i = 0; i < parts->count; i++) {
    mvs_param *part = param_at(p, parts->items[i]);
    part->pack = (uint32_t)p->module->params.count;
    part->pack_place = place;
    place += mvs_type_elements(&part->type, NULL);
    pack.type.dims[0].size += part->type.dims[0].size;
  }
  MVS_PUSH(p->module->arena, &p->module->params, pack);
}

/* A pack of weights and that of their biases are added together: products of one have the
 * other, in the same order of parts. */
static void add_packs(packer *p) {
  size_t count = p->module->params.count;
  for (uint32_t i = 0; i < count; i++) {
    index_list parts = {0}, biases = {0};
    if (may_be_part(p, i)) find_parts(p, i, &parts);
    if (parts.count < 2) continue;
    for (size_t k = 0; k < parts.count; k++) {
      uint32_t bias = NO_PARAM;
      bias_of(p, parts.items[k], &bias);
      if (bias != NO_PARAM) MVS_PUSH(p->arena, &biases, bias);
    }
    add_pack(p, &parts);
    if (biases.count) add_pack(p, &biases);
  }
}

/* --- graphs --- */

static const product *product_at(const packer *p, const mvs_graph *graph, mvs_id id) {
  for (size_t i = 0; i < p->products.count; i++) {
    const product *each = &p->products.items[i];
    if (each->graph == graph && each->node == id) return each;
  }
  return NULL;
}

/* True for a part and its rounded copy: graphs name the pack in their place. */
static bool is_part(const packer *p, const mvs_graph *graph, mvs_id id) {
  for (size_t i = 0; i < p->graphs.count; i++) {
    const scanned_graph *each = &p->graphs.items[i];
    if (each->graph != graph) continue;
    weight_source source = each->sources[id];
    return source.param != NO_PARAM && param_at(p, source.param)->pack != 0;
  }
  return false;
}

/* The pack of a part in the graph being rebuilt: a node of it, or an argument of its region. */
static mvs_id pack_value(const packer *p, const mvs_region_work *work, const mvs_rebuild *to,
                         uint32_t part) {
  uint32_t index = param_at(p, part)->pack;
  const mvs_param *pack = param_at(p, index);
  mvs_attr attr = {.param = {index, mvs_param_node_type(pack)}};
  mvs_graph *top = work ? work->outer->to : to->to;
  mvs_id value = mvs_graph_add(top, MVS_OP_param, NULL, 0, &attr, pack->span);
  if (!work) return value;
  return pack->layers ? mvs_region_builder_stacked(work->builder, value, &pack->type)
                      : mvs_region_builder_invariant(work->builder, value);
}

/* The same, rounded as input `input` of the product is. */
static mvs_id pack_input(const packer *p, const mvs_region_work *work, const mvs_rebuild *to,
                         const product *of, int input) {
  mvs_id value = pack_value(p, work, to, input == 1 ? of->weight : of->bias);
  mvs_dtype dtype = input_dtype(of, input);
  if (dtype == mvs_graph_type(to->to, value)->dtype) return value;
  return mvs_build_cast(to->to, value, dtype, mvs_graph_node(of->graph, of->node)->span);
}

/* The product with the whole pack; equal ones are one node. */
static mvs_id whole_product(const packer *p, const mvs_region_work *work, const mvs_rebuild *to,
                            const product *of) {
  const mvs_node *node = mvs_graph_node(of->graph, of->node);
  mvs_id weight = pack_input(p, work, to, of, 1);
  mvs_id bias = of->bias == NO_PARAM ? MVS_NONE : pack_input(p, work, to, of, 2);
  return mvs_build_matmul(to->to, MVS_MATMUL_NT, to->map[node->inputs[0]], weight, bias,
                          node->type.dtype, node->span);
}

/* Puts the slice of the whole product in the place of a product. */
static bool place(mvs_region_work *work, mvs_rebuild *to, mvs_id id) {
  const packer *p = to->at->replacing;
  if (is_part(p, to->from, id)) return true;
  const product *found = product_at(p, to->from, id);
  if (!found || param_at(p, found->weight)->pack == 0) return false;
  const mvs_param *part = param_at(p, found->weight);
  const mvs_node *node = mvs_graph_node(to->from, id);
  int last = node->type.rank - 1;
  mvs_graph_set_rule(to->to, "products joined");
  mvs_id whole = whole_product(p, work, to, found);
  to->map[id] = mvs_build_slice(to->to, whole, last, part->pack_place / part->type.dims[1].size,
                                part->type.dims[0].size, node->type.segments, node->span);
  mvs_graph_set_rule(to->to, NULL);
  return true;
}

/* The rules run again, for slices of slices: halves of a product that is a part now. */
static mvs_status rewrite(mvs_compilation *compilation, const packer *p,
                          mvs_function *function) {
  mvs_rewriter at = {.arena = compilation->arena, .place = place, .replacing = (void *)p};
  mvs_graph *packed = mvs_rebuild_graph(&at, function->graph);
  return mvs_rewrite_graph(compilation, packed, mvs_simplify_rules, mvs_simplify_rule_count,
                           NULL, &function->graph);
}

static void explain(const packer *p, size_t first, mvs_text *out) {
  for (size_t i = first; i < p->module->params.count; i++) {
    const mvs_param *pack = &p->module->params.items[i];
    mvs_text_addf(out, "pack %s : ", pack->name);
    mvs_type_text(&pack->type, out);
    mvs_text_add(out, ", multiplied with one value\n");
  }
}

mvs_status mvs_pass_pack(mvs_compilation *compilation) {
  mvs_module *module = compilation->module;
  packer p = {.arena = compilation->arena, .module = module};
  size_t before = module->params.count;
  p.barred = MVS_ARRAY(p.arena, before + 1, bool);
  for (size_t i = 0; i < module->functions.count; i++) {
    scan(&p, module->functions.items[i].graph, NULL);
  }
  add_packs(&p);
  if (module->params.count == before) return MVS_OK;
  for (size_t i = 0; i < module->functions.count; i++) {
    MVS_TRY(rewrite(compilation, &p, &module->functions.items[i]));
  }
  if (compilation->explain) explain(&p, before, compilation->explain);
  return MVS_OK;
}
