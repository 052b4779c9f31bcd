/* verify_node.c: rules of single nodes. Each function is one row of verify_rules.def, where its
 * sentence stands; the comments here say what would go wrong without it. A rule that does not
 * concern the op holds. Rules of the SHAPE level may follow no pointer and use no enumeration
 * as an index before it is checked; those of later levels may. Much of this is also in the
 * shape rules: they guard what is added, these what is stored. */
#include <math.h>

#include "compiler/ir/attr.h"
#include "compiler/ir/verify_rules.h"

const mvs_type *mvs_check_input(const mvs_check *check, int index) {
  return mvs_graph_type(check->graph, check->node->inputs[index]);
}

/* The member of the attribute's union that may be read. */
static mvs_attr_kind attr_kind(const mvs_node *node) { return mvs_ops[node->op].attribute; }

/* --- before the node is trusted --- */

/* The op indexes every table of rules. */
bool mvs_rule_op_is_known(const mvs_check *check) {
  return (unsigned)check->node->op < MVS_OP_COUNT;
}

/* Rules index inputs without looking at their number. */
bool mvs_rule_arity_fits(const mvs_check *check) {
  const mvs_op_info *info = &mvs_ops[check->node->op];
  int count = check->node->input_count;
  return count >= info->least_inputs && count <= info->most_inputs;
}

/* The order of ids is the order of execution. */
bool mvs_rule_inputs_come_first(const mvs_check *check) {
  for (int i = 0; i < check->node->input_count; i++) {
    if (check->node->inputs[i] >= check->id) return false;
  }
  return true;
}

/* Later rules follow these pointers. */
bool mvs_rule_pointers_are_set(const mvs_check *check) {
  const mvs_attr *attr = &check->node->attr;
  switch (attr_kind(check->node)) {
    case MVS_ATTR_input:
      return attr->input.name != NULL;
    case MVS_ATTR_segments:
      return attr->segments.table != NULL;
    case MVS_ATTR_region:
      return attr->region.body && attr->region.body->body;
    default:
      return true;
  }
}

/* Later rules switch over these and index names by them. */
bool mvs_rule_enums_are_known(const mvs_check *check) {
  const mvs_attr *attr = &check->node->attr;
  if ((unsigned)check->node->type.dtype >= MVS_DTYPE_COUNT) return false;
  switch (attr_kind(check->node)) {
    case MVS_ATTR_argument:
      return (unsigned)attr->argument.kind <= MVS_ARG_LAYER;
    case MVS_ATTR_random:
      return (unsigned)attr->random.kind <= MVS_RANDOM_NORMAL;
    case MVS_ATTR_cast:
      return (unsigned)attr->cast.dtype < MVS_DTYPE_COUNT;
    case MVS_ATTR_constant:
      return (unsigned)attr->constant.dtype < MVS_DTYPE_COUNT;
    case MVS_ATTR_matmul:
      return (unsigned)attr->matmul.form <= MVS_MATMUL_TN &&
             (unsigned)attr->matmul.dtype < MVS_DTYPE_COUNT;
    default:
      return true;
  }
}

/* Loops over dims run to the rank. */
bool mvs_rule_rank_fits(const mvs_check *check) {
  const mvs_attr *attr = &check->node->attr;
  if (check->node->type.rank > MVS_MAX_RANK) return false;
  if (attr_kind(check->node) != MVS_ATTR_permutation) return true;
  return attr->permutation.rank >= 0 && attr->permutation.rank <= MVS_MAX_RANK;
}

/* --- results of ops with several --- */

/* The node of an op with several results stands for result 0 only in its type. */
bool mvs_rule_tuples_are_taken_apart(const mvs_check *check) {
  const mvs_node *node = check->node;
  for (int i = 0; node->op != MVS_OP_get && i < node->input_count; i++) {
    if (mvs_op_is_tuple(mvs_graph_node(check->graph, node->inputs[i])->op)) return false;
  }
  return true;
}

/* get of a plain value would be a second name for it, which interning cannot see. */
bool mvs_rule_get_has_a_tuple(const mvs_check *check) {
  const mvs_node *node = check->node;
  if (node->op != MVS_OP_get) return true;
  return mvs_op_is_tuple(mvs_graph_node(check->graph, node->inputs[0])->op);
}

/* The result's type is looked up by this index. */
bool mvs_rule_get_is_in_range(const mvs_check *check) {
  const mvs_node *node = check->node;
  if (node->op != MVS_OP_get) return true;
  return node->attr.index.value < mvs_node_result_count(check->graph, node->inputs[0]);
}

/* --- sources --- */

/* The index goes into the module's list. */
bool mvs_rule_param_exists(const mvs_check *check) {
  const mvs_node *node = check->node;
  return node->op != MVS_OP_param || node->attr.param.index < check->module->params.count;
}

/* A part has no buffer of its own. */
bool mvs_rule_packs_are_named_whole(const mvs_check *check) {
  const mvs_node *node = check->node;
  if (node->op != MVS_OP_param) return true;
  return check->module->params.items[node->attr.param.index].pack == 0;
}

/* Storage is laid out by the list's entry, kernels by the node's type. In bf16 the node is the
 * copy of the parameter that prepare.c asks for. */
bool mvs_rule_param_type_fits(const mvs_check *check) {
  const mvs_node *node = check->node;
  if (node->op != MVS_OP_param) return true;
  const mvs_param *param = &check->module->params.items[node->attr.param.index];
  mvs_type type = node->type;
  if (param->layers > 0) {
    if (type.rank == 0 || !mvs_dim_equal(type.dims[0], (mvs_dim){param->layers, false}))
      return false;
    type = mvs_region_slice_type(&type);
  }
  if (type.dtype == MVS_BF16 && param->trained) type.dtype = param->type.dtype;
  return mvs_type_equal(&type, &param->type);
}

/* An argument is the border of a region; a function's own are inputs. */
bool mvs_rule_arguments_stay_inside(const mvs_check *check) {
  return check->node->op != MVS_OP_argument || mvs_graph_region(check->graph);
}

/* A body sees only what its region passes in: that is what can be scheduled and
 * differentiated. */
bool mvs_rule_inputs_stay_outside(const mvs_check *check) {
  bool outer = check->node->op == MVS_OP_input || check->node->op == MVS_OP_param;
  return !outer || !mvs_graph_region(check->graph);
}

/* The index names a part of the region, whose buffer it reads. */
bool mvs_rule_argument_exists(const mvs_check *check) {
  if (check->node->op != MVS_OP_argument) return true;
  const mvs_region *region = mvs_graph_region(check->graph);
  uint32_t index = check->node->attr.argument.index;
  switch (check->node->attr.argument.kind) {
    case MVS_ARG_CARRIED:
      return index < region->carried_count;
    case MVS_ARG_INVARIANT:
      return index < region->invariant_count;
    case MVS_ARG_STACKED:
      return index < region->stacked_count;
    case MVS_ARG_READ:
      return index < region->read_count;
    case MVS_ARG_LAYER:
      return index == 0;
  }
  return false;
}

/* A NaN written into a kernel would poison it silently; an i32 has no fractions. */
bool mvs_rule_constant_is_a_number(const mvs_check *check) {
  const mvs_attr *attr = &check->node->attr;
  if (check->node->op != MVS_OP_constant) return true;
  double value = attr->constant.value;
  if (isnan(value)) return false;
  if (attr->constant.dtype != MVS_I32) return true;
  return value >= INT32_MIN && value <= INT32_MAX && value == floor(value);
}

/* --- attributes --- */

/* A negative one could make the root's argument negative. */
bool mvs_rule_epsilon_is_finite(const mvs_check *check) {
  if (attr_kind(check->node) != MVS_ATTR_epsilon) return true;
  double value = check->node->attr.epsilon.value;
  return isfinite(value) && value >= 0;
}

/* It multiplies every score. */
bool mvs_rule_scale_is_finite(const mvs_check *check) {
  return attr_kind(check->node) != MVS_ATTR_attention ||
         isfinite(check->node->attr.attention.scale);
}

/* Slices and concats move the result's extent along it. */
bool mvs_rule_axis_exists(const mvs_check *check) {
  const mvs_attr *attr = &check->node->attr;
  int axis = 0;
  switch (attr_kind(check->node)) {
    case MVS_ATTR_iota:
      axis = attr->iota.axis;
      break;
    case MVS_ATTR_slice:
      axis = attr->slice.axis;
      break;
    case MVS_ATTR_concat:
      axis = attr->concat.axis;
      break;
    default:
      return true;
  }
  return axis >= 0 && axis < check->node->type.rank;
}

/* A reduction over no axis or one too many has no meaning. */
bool mvs_rule_mask_names_axes(const mvs_check *check) {
  if (attr_kind(check->node) != MVS_ATTR_axes) return true;
  uint32_t mask = check->node->attr.axes.mask;
  return mask != 0 && mask >> mvs_check_input(check, 0)->rank == 0;
}

/* A window beyond its axis would read other data. */
bool mvs_rule_window_fits(const mvs_check *check) {
  const mvs_attr *attr = &check->node->attr;
  int64_t end;
  if (attr_kind(check->node) != MVS_ATTR_slice) return true;
  return attr->slice.start >= 0 && attr->slice.length >= 1 &&
         mvs_add(attr->slice.start, attr->slice.length, &end) && end <= attr->slice.total;
}

/* An axis named twice would repeat data and lose another. */
bool mvs_rule_order_is_a_permutation(const mvs_check *check) {
  const mvs_attr *attr = &check->node->attr;
  if (attr_kind(check->node) != MVS_ATTR_permutation) return true;
  int rank = attr->permutation.rank;
  uint32_t seen = 0;
  for (int i = 0; i < rank; i++) {
    if (attr->permutation.axis[i] < rank) seen |= 1u << attr->permutation.axis[i];
  }
  return rank == mvs_check_input(check, 0)->rank && seen == (1u << rank) - 1;
}

/* Only x W^T occurs with a bias, so only that form's kernels add one. */
bool mvs_rule_bias_has_its_form(const mvs_check *check) {
  const mvs_node *node = check->node;
  return node->op != MVS_OP_matmul || node->input_count < 3 ||
         node->attr.matmul.form == MVS_MATMUL_NT;
}

/* The inverse rms may also have been kept since the forward pass; it then comes in from outside
 * of this graph or out of a region. */
bool mvs_rule_normalize_has_its_rms(const mvs_check *check) {
  const mvs_node *node = check->node;
  if (node->op != MVS_OP_normalize) return true;
  const mvs_node *r = mvs_graph_node(check->graph, node->inputs[1]);
  switch (r->op) {
    case MVS_OP_inv_rms:
      return r->inputs[0] == node->inputs[0];
    case MVS_OP_input:
    case MVS_OP_argument:
    case MVS_OP_get:
      return true;
    default:
      return false;
  }
}

/* Otherwise all samples of a batch would get the same noise. */
bool mvs_rule_draws_see_the_sample(const mvs_check *check) {
  const mvs_node *node = check->node;
  return node->op != MVS_OP_random || !mvs_type_has_batch(&node->type) ||
         mvs_type_has_batch(mvs_check_input(check, 2));
}

/* Values of the gradient itself have pass 0 and use recomputed ones, so only marks are ordered.
 */
bool mvs_rule_passes_do_not_go_back(const mvs_check *check) {
  const mvs_node *node = check->node;
  for (int i = 0; node->pass > 0 && i < node->input_count; i++) {
    if (mvs_graph_node(check->graph, node->inputs[i])->pass > node->pass) return false;
  }
  return true;
}

/* --- types --- */

/* Element counts are a factor times B, or none: two batch axes would be B squared. */
bool mvs_rule_batch_is_one_axis(const mvs_check *check) {
  int axes = 0;
  for (int i = 0; i < check->node->type.rank; i++) axes += check->node->type.dims[i].per_batch;
  return axes <= 1;
}

/* Sizes in bytes are computed later without overflow checks. */
bool mvs_rule_extents_fit(const mvs_check *check) {
  int64_t total = 1;
  for (int i = 0; i < check->node->type.rank; i++) {
    int64_t size = check->node->type.dims[i].size;
    if (size < 1 || !mvs_mul(total, size, &total) || total > MVS_MAX_EXTENT) return false;
  }
  return true;
}

/* A table from elsewhere would make equal types differ. */
bool mvs_rule_segments_are_interned(const mvs_check *check) {
  const mvs_segments *table = check->node->type.segments;
  if (!table) return true;
  for (size_t i = 0; i < check->module->segment_tables.count; i++) {
    if (check->module->segment_tables.items[i] == table) return true;
  }
  return false;
}

/* Kernels derive a token's segment from its index. */
bool mvs_rule_segments_fill_tokens(const mvs_check *check) {
  const mvs_type *type = &check->node->type;
  if (!type->segments) return true;
  return type->rank >= 2 && !type->dims[1].per_batch &&
         type->dims[1].size == mvs_segments_length(type->segments);
}

/* A broadcast moves values and a cast is the rounding itself. */
bool mvs_rule_rounding_is_explicit(const mvs_check *check) {
  const mvs_node *node = check->node;
  mvs_op_class class = mvs_ops[node->op].op_class;
  if (node->op == MVS_OP_cast || node->op == MVS_OP_broadcast) return true;
  if (class != MVS_CLASS_ELEMENT && class != MVS_CLASS_REDUCE) return true;
  return node->type.dtype != MVS_BF16;
}

/* A pass that writes a type of its own is caught here. */
bool mvs_rule_type_is_inferred(const mvs_check *check) {
  const mvs_node *node = check->node;
  mvs_type type;
  return mvs_graph_infer(check->graph, node->op, node->inputs, node->input_count, &node->attr,
                         node->span, NULL, &type) == MVS_OK &&
         mvs_type_equal(&type, &node->type);
}

/* Two spellings of one attribute would be two nodes. */
bool mvs_rule_attribute_is_canonical(const mvs_check *check) {
  const mvs_node *node = check->node;
  mvs_attr wanted = node->attr;
  mvs_attr_canonical(attr_kind(node), &node->attr, &node->type, &wanted);
  return mvs_attr_equal(attr_kind(node), &node->attr, &wanted);
}

/* Equal nodes under two ids cost twice and hide rewrites. */
bool mvs_rule_node_is_interned(const mvs_check *check) {
  return mvs_graph_find(check->graph, check->node) == check->id;
}
