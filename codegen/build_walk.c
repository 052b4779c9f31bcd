/* build_walk.c: walks from a nest's outputs to its leaves. Every node is asked for its value at
 * an index that is affine in the nest's axes; views only change the index, so they cost
 * nothing.
 *
 *   store y[b, t, c]   asks   normalize at (b, t, c)
 *                      asks   add at (b, t, c), asks x at (b, t, c): a LOAD
 *                             and segment_broadcast m at (b, t, c), asks m at (b, segment, c):
 *                             a LOAD with a stride by segment number
 *                      and    inv_rms at (b, t, 0), a REDUCE over the inner axis of what add
 *                             gives at (b, t, inner)
 *
 * The same node at the same index is one instruction (memos); at another index, another. */
#include "codegen/build_walk.h"

#include <inttypes.h>

/* Depth of nodes inside one kernel. Deeper chains would overflow the stack of the walk. */
#define MAX_DEPTH 2000

/* --- failing --- */

/* The first failure is told: the wish that may come with it is that one's. */
uint16_t mvs_walk_fail(walker *w, mvs_id id, const char *reason) {
  if (w->status != MVS_OK) return NO_VALUE;
  w->status = MVS_ERR_INTERNAL;
  const mvs_node *node = mvs_graph_node(w->graph, id);
  w->failed = id;
  w->reason = mvs_arena_format(w->walk->arena, "%s: %s", mvs_ops[node->op].name, reason);
  return NO_VALUE;
}

/* --- instructions --- */

/* Constants are the same when their bits are: 0 and -0 are two. */
static bool same_instr(const mvs_draft_instr *a, const mvs_draft_instr *b) {
  const mvs_instr *x = &a->instr, *y = &b->instr;
  if (x->kind != y->kind || a->is_affine != b->is_affine || x->op != y->op ||
      x->dtype != y->dtype || x->to != y->to || x->random != y->random ||
      x->stream != y->stream || x->access.operand != y->access.operand ||
      /* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison,cert-exp42-c,cert-flp37-c) */
      memcmp(&x->value, &y->value, sizeof x->value) != 0) {
    return false;
  }
  for (int i = 0; i < mvs_instr_argument_count(x); i++) {
    if (x->arguments[i] != y->arguments[i]) return false;
  }
  return mvs_affine_equal(&a->affine, &b->affine);
}

/* Appends an instruction, or finds the same one among the newest: a value asked for twice at
 * the same index is one instruction, and looking at 256 keeps long kernels linear. Stores are
 * never the same: each writes a place of its own. */
uint16_t mvs_walk_push(walker *w, mvs_draft_instr *instr) {
  if (w->status != MVS_OK) return NO_VALUE;
  mvs_draft *draft = &w->walk->draft;
  instr->reduced = instr->instr.kind == MVS_INSTR_REDUCE;
  for (int i = 0; i < mvs_instr_argument_count(&instr->instr); i++) {
    if (draft->instrs.items[instr->instr.arguments[i]].reduced) instr->reduced = true;
  }
  size_t count = draft->instrs.count, from = count > 256 ? count - 256 : 0;
  for (size_t i = from; i < count && instr->instr.kind != MVS_INSTR_STORE; i++) {
    if (same_instr(&draft->instrs.items[i], instr)) return (uint16_t)i;
  }
  if (count >= NO_VALUE) {
    mvs_diag_error(w->walk->diag, instr->instr.span,
                   "one kernel would have more than %d instructions", NO_VALUE);
    w->status = MVS_ERR_LIMIT;
    return NO_VALUE;
  }
  MVS_PUSH(w->walk->arena, &draft->instrs, *instr);
  return (uint16_t)count;
}

uint16_t mvs_walk_constant(walker *w, double value, mvs_dtype dtype) {
  mvs_draft_instr instr = {
      .instr = {.kind = MVS_INSTR_CONSTANT, .dtype = dtype, .value = value}};
  return mvs_walk_push(w, &instr);
}

/* One draft instruction; build_emit.c makes sums and products of it, once axes are settled. */
uint16_t mvs_walk_affine(walker *w, const mvs_affine *affine) {
  if (mvs_affine_only_slot(affine) == -1) {
    return mvs_walk_constant(w, (double)affine->constant, MVS_I32);
  }
  mvs_draft_instr instr = {.instr = {.kind = MVS_INSTR_INDEX, .dtype = MVS_I32},
                           .is_affine = true,
                           .affine = *affine};
  return mvs_walk_push(w, &instr);
}

static mvs_dtype dtype_of(const walker *w, uint16_t value) {
  return w->walk->draft.instrs.items[value].instr.dtype;
}

/* Values of bf16 tensors are held as f32. */
static mvs_dtype computed(mvs_dtype dtype) { return dtype == MVS_BF16 ? MVS_F32 : dtype; }

uint16_t mvs_walk_arith(walker *w, mvs_op op, mvs_dtype dtype, const uint16_t *arguments,
                        mvs_span span) {
  mvs_draft_instr instr = {
      .instr = {.kind = MVS_INSTR_ARITH, .op = op, .dtype = dtype, .to = dtype, .span = span}};
  for (int i = 0; i < mvs_ops[op].least_inputs; i++) {
    if (arguments[i] == NO_VALUE) return NO_VALUE;
    instr.instr.arguments[i] = arguments[i];
  }
  return mvs_walk_push(w, &instr);
}

uint16_t mvs_walk_binary(walker *w, mvs_op op, uint16_t a, uint16_t b, mvs_span span) {
  if (a == NO_VALUE || b == NO_VALUE) return NO_VALUE;
  return mvs_walk_arith(w, op, dtype_of(w, a), (uint16_t[]){a, b}, span);
}

/* The value in another dtype of arithmetic. */
static uint16_t convert(walker *w, uint16_t value, mvs_dtype dtype, mvs_span span) {
  if (value == NO_VALUE || dtype_of(w, value) == dtype) return value;
  return mvs_walk_arith(w, MVS_OP_cast, dtype, &value, span);
}

/* The value rounded to bf16 and held as f32. */
static uint16_t round_bf16(walker *w, uint16_t value, mvs_span span) {
  value = convert(w, value, MVS_F32, span);
  if (value == NO_VALUE) return NO_VALUE;
  mvs_draft_instr instr = {.instr = {.kind = MVS_INSTR_ARITH,
                                     .op = MVS_OP_cast,
                                     .dtype = MVS_F32,
                                     .to = MVS_BF16,
                                     .arguments = {value},
                                     .span = span}};
  return mvs_walk_push(w, &instr);
}

/* --- memory --- */

/* The address of an element of a placed value. */
static mvs_affine address_of(const mvs_place *place, const mvs_type *type,
                             const mvs_index *at) {
  mvs_affine address = {0};
  for (int i = 0; i < type->rank; i++) {
    address = mvs_affine_add(&address, &at->axis[i], place->strides[i]);
  }
  return address;
}

/* The slots that walk over axes before the batch, whose strides grow with it: layers of a
 * stacked value. Strides are constants, so that the layers must be walked together with the
 * batch (see may_merge in build_emit.c); false when one layer is named. */
static bool slots_before_batch(const mvs_type *type, const mvs_index *at, uint32_t *slots) {
  int batch = type->rank;
  while (batch > 0 && !type->dims[batch - 1].per_batch) batch--;
  for (int i = 0; i + 1 < batch; i++) {
    if (at->axis[i].constant) return false;
    for (int k = 0; k < MVS_SLOTS; k++) *slots |= at->axis[i].slot[k] ? 1u << k : 0;
  }
  return true;
}

/* Turns an index into operand and strides. The constant part goes into the operand's offset,
 * which belongs to the launch: kernels that read different slices are then the same kernel. */
static bool point_at(walker *w, mvs_id id, const mvs_place *place, const mvs_index *at,
                     mvs_draft_instr *instr) {
  const mvs_type *type = mvs_graph_type(w->graph, id);
  if (!slots_before_batch(type, at, &instr->before_batch)) {
    mvs_walk_fail(w, id, "the batch is not its slowest axis");
    return false;
  }
  instr->affine = address_of(place, type, at);
  mvs_operand operand = mvs_place_operand(place, type->dtype, instr->affine.constant);
  uint8_t alignment = mvs_operand_alignment(w->walk->schedule, id, &operand);
  instr->affine.constant = 0;
  if (mvs_launch_shared(w->walk->launch, &operand, type, instr)) return true;
  int index = mvs_launch_operand(w->walk->launch, &operand, type->dtype, alignment);
  if (index < 0) {
    mvs_walk_fail(w, id, "the kernel has too many operands");
    return false;
  }
  instr->instr.access.operand = (uint16_t)index;
  return true;
}

/* A LOAD of the value as arithmetic has it: bf16 comes as f32. */
static uint16_t load(walker *w, mvs_id id, const mvs_index *at) {
  const mvs_node *node = mvs_graph_node(w->graph, id);
  mvs_draft_instr instr = {.instr = {.kind = MVS_INSTR_LOAD,
                                     .dtype = computed(node->type.dtype),
                                     .span = node->span}};
  const mvs_place *place = &w->walk->schedule->places[id];
  if (!point_at(w, id, place, at, &instr)) return NO_VALUE;
  return mvs_walk_push(w, &instr);
}

static void store(walker *w, mvs_id id, const mvs_place *place, const mvs_index *at,
                  uint16_t value) {
  if (value == NO_VALUE) return;
  const mvs_node *node = mvs_graph_node(w->graph, id);
  mvs_draft_instr instr = {.instr = {.kind = MVS_INSTR_STORE,
                                     .dtype = dtype_of(w, value),
                                     .arguments = {value},
                                     .span = node->span}};
  if (!point_at(w, id, place, at, &instr)) return;
  w->walk->launch->kernel->written[instr.instr.access.operand] = true;
  mvs_walk_push(w, &instr);
}

/* --- element ops --- */

/* The index into an input that stretches to the result: right-aligned, extents of 1 stay at 0.
 */
static mvs_index stretch(const mvs_type *from, const mvs_type *to, const mvs_index *at) {
  mvs_index out = {0};
  for (int i = 0; i < from->rank; i++) {
    mvs_dim dim = from->dims[i];
    if (dim.size > 1 || dim.per_batch) out.axis[i] = at->axis[i + to->rank - from->rank];
  }
  return out;
}

static uint16_t input_value(walker *w, const mvs_node *node, int input, const mvs_index *at) {
  mvs_id id = node->inputs[input];
  mvs_index inner = stretch(mvs_graph_type(w->graph, id), &node->type, at);
  return mvs_walk_value(w, id, &inner);
}

/* What the arguments of an op are computed in. A comparison's result is f32 whatever it
 * compares. */
static mvs_dtype arithmetic_dtype(const walker *w, const mvs_node *node) {
  if (node->op != MVS_OP_less && node->op != MVS_OP_equal) return computed(node->type.dtype);
  mvs_dtype a = computed(mvs_graph_type(w->graph, node->inputs[0])->dtype);
  mvs_dtype b = computed(mvs_graph_type(w->graph, node->inputs[1])->dtype);
  if (a == b) return a;
  return a == MVS_F64 || b == MVS_F64 ? MVS_F64 : MVS_F32;
}

/* An op on the elements at the same place. The condition of a select keeps its own dtype. */
static uint16_t element(walker *w, const mvs_node *node, const mvs_index *at) {
  mvs_dtype dtype = arithmetic_dtype(w, node);
  uint16_t arguments[3] = {0};
  for (int i = 0; i < node->input_count; i++) {
    arguments[i] = input_value(w, node, i, at);
    bool condition = node->op == MVS_OP_select && i == 0;
    if (!condition) arguments[i] = convert(w, arguments[i], dtype, node->span);
    if (arguments[i] == NO_VALUE) return NO_VALUE;
  }
  mvs_op op = node->op == MVS_OP_normalize ? MVS_OP_mul : node->op;
  return mvs_walk_arith(w, op, computed(node->type.dtype), arguments, node->span);
}

/* Only a cast rounds; widening a bf16 says nothing, since loads widen. */
static uint16_t cast(walker *w, const mvs_node *node, const mvs_index *at) {
  uint16_t value = input_value(w, node, 0, at);
  if (node->attr.cast.dtype == MVS_BF16) {
    bool rounded = mvs_graph_type(w->graph, node->inputs[0])->dtype == MVS_BF16;
    return rounded ? value : round_bf16(w, value, node->span);
  }
  return convert(w, value, node->attr.cast.dtype, node->span);
}

/* Philox of seed, step, sample and the element's place within its sample. */
static uint16_t random_value(walker *w, const mvs_node *node, const mvs_index *at) {
  mvs_affine position = {0};
  int64_t stride = 1;
  for (int i = node->type.rank - 1; i >= 0 && !node->type.dims[i].per_batch; i--) {
    position = mvs_affine_add(&position, &at->axis[i], stride);
    stride *= node->type.dims[i].size;
  }
  mvs_draft_instr instr = {.instr = {.kind = MVS_INSTR_RANDOM,
                                     .op = MVS_OP_random,
                                     .dtype = MVS_F32,
                                     .random = node->attr.random.kind,
                                     .stream = node->attr.random.stream,
                                     .span = node->span}};
  for (int i = 0; i < 3; i++) {
    instr.instr.arguments[i] = input_value(w, node, i, at);
    if (instr.instr.arguments[i] == NO_VALUE) return NO_VALUE;
  }
  instr.instr.arguments[3] = mvs_walk_affine(w, &position);
  return mvs_walk_push(w, &instr);
}

/* The index itself, in the dtype asked for. */
static uint16_t iota(walker *w, const mvs_node *node, const mvs_index *at) {
  uint16_t value = mvs_walk_affine(w, &at->axis[node->attr.iota.axis]);
  return convert(w, value, computed(node->type.dtype), node->span);
}

/* --- views --- */

/* The index in the shape before. Fusion leaves reshapes inside of kernels where an axis becomes
 * several, so that it is affine (fuse_values.c, only_splits). */
static uint16_t reshape(walker *w, mvs_id id, const mvs_node *node, const mvs_index *at) {
  const mvs_type *from = mvs_graph_type(w->graph, node->inputs[0]);
  mvs_index inner;
  if (!mvs_index_reshape(at, &node->type, from, &inner)) {
    return mvs_walk_fail(w, id, "its elements do not follow the kernel's axes");
  }
  return mvs_walk_value(w, node->inputs[0], &inner);
}

static uint16_t transpose(walker *w, const mvs_node *node, const mvs_index *at) {
  mvs_index inner = {0};
  for (int i = 0; i < node->type.rank; i++) {
    inner.axis[node->attr.permutation.axis[i]] = at->axis[i];
  }
  return mvs_walk_value(w, node->inputs[0], &inner);
}

/* An element of a slice is an element of the whole, further on. */
static uint16_t slice(walker *w, const mvs_node *node, const mvs_index *at) {
  mvs_index inner = *at;
  inner.axis[node->attr.slice.axis].constant += node->attr.slice.start;
  return mvs_walk_value(w, node->inputs[0], &inner);
}

/* Zeros, or an element of the part: which one must be known for all indices of a nest, because
 * loads outside of the part would read other values. Where it is not, the axes are cut at the
 * border: pad start=2 length=3 total=7 asked at t = 0..6 wishes a cut at 2, then one at 5,
 * which leaves nests over 0..1, 2..4 and 5..6. */
static uint16_t pad(walker *w, mvs_id id, const mvs_node *node, const mvs_index *at) {
  const mvs_axes *axes = &w->walk->draft.axes;
  mvs_index inner = *at;
  mvs_affine *index = &inner.axis[node->attr.slice.axis];
  index->constant -= node->attr.slice.start;
  int before = mvs_affine_below(index, 0, axes, &w->walk->wish);
  int inside = before == 0
                   ? mvs_affine_below(index, node->attr.slice.length, axes, &w->walk->wish)
                   : before;
  if (before == -1 || inside == -1) {
    return mvs_walk_fail(w, id, "its border does not fall between the kernel's parts");
  }
  if (before == 1 || inside == 0) return mvs_walk_constant(w, 0, computed(node->type.dtype));
  return mvs_walk_value(w, node->inputs[0], &inner);
}

/* The part that holds the index, known as for pad. */
static uint16_t concat(walker *w, mvs_id id, const mvs_node *node, const mvs_index *at) {
  mvs_index inner = *at;
  int axis = node->attr.concat.axis;
  for (int i = 0; i < node->input_count; i++) {
    int64_t length = mvs_graph_type(w->graph, node->inputs[i])->dims[axis].size;
    int inside =
        mvs_affine_below(&inner.axis[axis], length, &w->walk->draft.axes, &w->walk->wish);
    if (inside == 1) return mvs_walk_value(w, node->inputs[i], &inner);
    if (inside < 0) break;
    inner.axis[axis].constant -= length;
  }
  return mvs_walk_fail(w, id, "the border of its parts does not fall between the kernel's");
}

/* --- dispatch --- */

static uint16_t view(walker *w, mvs_id id, const mvs_node *node, const mvs_index *at) {
  switch (node->op) {
    case MVS_OP_reshape:
      return reshape(w, id, node, at);
    case MVS_OP_transpose:
      return transpose(w, node, at);
    case MVS_OP_slice:
      return slice(w, node, at);
    case MVS_OP_pad:
      return pad(w, id, node, at);
    case MVS_OP_concat:
      return concat(w, id, node, at);
    default:
      return mvs_walk_fail(w, id, "it is not in memory");
  }
}

/* Values without inputs. */
static uint16_t source(walker *w, mvs_id id, const mvs_node *node, const mvs_index *at) {
  if (node->op == MVS_OP_constant) {
    double value = node->attr.constant.value;
    return mvs_walk_constant(w, value, computed(node->attr.constant.dtype));
  }
  if (node->op == MVS_OP_iota) return iota(w, node, at);
  if (node->op == MVS_OP_argument && node->attr.argument.kind == MVS_ARG_LAYER) {
    mvs_draft_instr instr = {.instr = {.kind = MVS_INSTR_LAYER, .dtype = MVS_I32}};
    return mvs_walk_push(w, &instr);
  }
  return mvs_walk_fail(w, id, "it is not in memory");
}

/* A value that is not loaded: by the class of its op. */
static uint16_t compute(walker *w, mvs_id id, const mvs_index *at) {
  const mvs_node *node = mvs_graph_node(w->graph, id);
  switch (mvs_ops[node->op].op_class) {
    case MVS_CLASS_SOURCE:
      return source(w, id, node, at);
    case MVS_CLASS_VIEW:
      return view(w, id, node, at);
    case MVS_CLASS_REDUCE:
    case MVS_CLASS_SEGMENT:
      return mvs_walk_reduction(w, id, node, at);
    case MVS_CLASS_HEAVY:
      return mvs_walk_fail(w, id, "it is not in memory");
    case MVS_CLASS_ELEMENT:
      break;
  }
  if (node->op == MVS_OP_broadcast) return input_value(w, node, 0, at);
  if (node->op == MVS_OP_cast) return cast(w, node, at);
  if (node->op == MVS_OP_random) return random_value(w, node, at);
  return element(w, node, at);
}

/* Position of a node in the interior (sorted by id), or -1. */
static int64_t interior_position(const mvs_nest_plan *plan, mvs_id id) {
  size_t low = 0, high = plan->interior.count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (plan->interior.items[middle] == id) return (int64_t)middle;
    if (plan->interior.items[middle] < id) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return -1;
}

static bool is_placed(const walker *w, mvs_id id) {
  return w->walk->schedule->places[id].buffer != UINT32_MAX;
}

/* What is not interior has a place and is loaded, or is a number. Converted to the node's
 * dtype, since an op may have computed in a wider one. */
uint16_t mvs_walk_value(walker *w, mvs_id id, const mvs_index *at) {
  if (w->status != MVS_OK) return NO_VALUE;
  int64_t position = interior_position(w->walk->plan, id);
  if (position < 0) return is_placed(w, id) ? load(w, id, at) : compute(w, id, at);
  for (memo *known = w->memos[position]; known; known = known->next) {
    if (memcmp(&known->at, at, sizeof *at) == 0) return known->value;
  }
  if (++w->depth > MAX_DEPTH) {
    mvs_diag_error(w->walk->diag, mvs_graph_node(w->graph, id)->span,
                   "this expression is more than %d operations deep", MAX_DEPTH);
    w->status = MVS_ERR_LIMIT;
    return NO_VALUE;
  }
  const mvs_node *node = mvs_graph_node(w->graph, id);
  uint16_t value = convert(w, compute(w, id, at), computed(node->type.dtype), node->span);
  w->depth--;
  memo *known = MVS_NEW(w->walk->arena, memo);
  *known = (memo){.at = *at, .value = value, .next = w->memos[position]};
  w->memos[position] = known;
  return value;
}

/* --- outputs --- */

static bool moves(mvs_dim dim) { return dim.size > 1 || dim.per_batch; }

/* The axis of the space that the inner axis runs along, when it is the last one as a whole:
 * rows. Then an output may be a part of the row, or several times as long as one piece. */
static bool has_rows(const walker *w) {
  const mvs_slot *inner = &w->walk->draft.axes.slots[w->walk->draft.axes.inner];
  return w->walk->draft.nest_class == MVS_KERNEL_ROWS && !w->walk->draft.axes.row_is_cut &&
         inner->axis == w->walk->plan->space.rank - 1 && inner->axis >= 0;
}

/* Every axis is the space's or has extent 1; the last one may be a part of the row. */
static bool has_axes_of(const walker *w, const mvs_type *type) {
  const mvs_type *space = &w->walk->plan->space;
  if (type->rank != space->rank) return false;
  for (int i = 0; i < type->rank; i++) {
    bool row = i == type->rank - 1 && has_rows(w);
    if (moves(type->dims[i]) && !row && !mvs_dim_equal(type->dims[i], space->dims[i])) {
      return false;
    }
  }
  return true;
}

/* The index of an output over the nest's axes, for one piece of its row. False when its shape
 * is not the space's. */
static bool output_index(walker *w, mvs_id id, int64_t piece, mvs_index *out) {
  const mvs_type *type = mvs_graph_type(w->graph, id), *space = &w->walk->plan->space;
  const mvs_axes *axes = &w->walk->draft.axes;
  mvs_index whole = {0};
  for (int i = 0; i < space->rank; i++) whole.axis[i] = mvs_axes_index(axes, i);
  bool columns = w->walk->draft.nest_class == MVS_KERNEL_COLUMNS;
  /* The results of segments have segments as axis 1, as the nest's axes have. */
  if (!has_axes_of(w, type) && !(columns && type->rank == space->rank)) return false;
  *out = stretch(type, type, &whole);
  int row = type->rank - 1;
  if (piece) out->axis[row].constant += piece * axes->slots[axes->inner].dim.size;
  return true;
}

/* How many times the inner axis fits into an output's row; 1 for scalars of the row. */
static int64_t pieces_of(const walker *w, const mvs_type *type) {
  int64_t part = w->walk->draft.axes.slots[w->walk->draft.axes.inner].dim.size;
  if (!has_rows(w) || !has_axes_of(w, type) || !moves(type->dims[type->rank - 1])) return 1;
  int64_t length = type->dims[type->rank - 1].size;
  return length % part == 0 ? length / part : 0;
}

/* Where an output is stored: a node that lies in two places is listed twice. */
static const mvs_place *output_place(const walker *w, size_t output) {
  const mvs_nest_plan *plan = w->walk->plan;
  if (output < plan->store_places.count) return &plan->store_places.items[output];
  return &w->walk->schedule->places[plan->outputs.items[output]];
}

/* One store for each piece of the row: the inner axis runs over a piece, and what an output
 * needs of others is asked for at their indices. */
static void write_output(walker *w, size_t output) {
  mvs_id id = w->walk->plan->outputs.items[output];
  const mvs_place *place = output_place(w, output);
  const mvs_type *type = mvs_graph_type(w->graph, id);
  int64_t pieces = pieces_of(w, type);
  if (place->buffer == UINT32_MAX) {
    mvs_walk_fail(w, id, "an output is not in memory");
  } else if (pieces == 0) {
    w->walk->wish =
        (mvs_wish){true, w->walk->draft.axes.inner, type->dims[type->rank - 1].size};
    mvs_walk_fail(w, id, "an output is no part of the row");
  }
  for (int64_t piece = 0; piece < pieces && w->status == MVS_OK; piece++) {
    mvs_index at;
    if (!output_index(w, id, piece, &at)) {
      mvs_walk_fail(w, id, "an output does not have the kernel's shape");
      return;
    }
    store(w, id, place, &at, mvs_walk_value(w, id, &at));
  }
}

/* A failure on the way ends all walks: values are NO_VALUE from then on, and the first reason
 * stays. */
mvs_status mvs_walk_nest(mvs_walk *walk) {
  size_t count = walk->plan->interior.count;
  walker w = {.walk = walk,
              .graph = walk->schedule->graph,
              .memos = MVS_ARRAY(walk->arena, count + 1, memo *)};
  walk->wish = (mvs_wish){0};
  for (size_t i = 0; i < walk->plan->outputs.count && w.status == MVS_OK; i++) {
    write_output(&w, i);
  }
  walk->failed = w.failed;
  walk->reason = w.reason;
  return w.status;
}
