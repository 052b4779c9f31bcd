/* kernel_verify.c: the invariants of kernel.h as a table of named rules. Printers check none of
 * them again: a kernel that breaks one would read beside its operands or store what is not
 * there, on the device, without a word. */
#include "codegen/kernel.h"

/* What a rule looks at: one instruction in its nest. */
typedef struct view {
  const mvs_kernel *kernel;
  const mvs_nest *nest;
  const mvs_instr *instr;
  size_t index;
} view;

/* Numbers may be out of range until the first rule has passed: rules stand in that order. */
static const mvs_instr *argument(const view *at, int index) {
  return &at->nest->instrs.items[at->instr->arguments[index]];
}

/* SSA in order, so that a printer writes what it reads, top to bottom. A STORE has no value. */
static bool arguments_before(const view *at) {
  for (int i = 0; i < mvs_instr_argument_count(at->instr); i++) {
    if (at->instr->arguments[i] >= at->index) return false;
    if (argument(at, i)->kind == MVS_INSTR_STORE) return false;
  }
  return true;
}

static bool operand_known(const view *at) {
  return !mvs_instr_uses_memory(at->instr) ||
         (int)at->instr->access.operand < at->kernel->operand_count;
}

/* Operands that are not marked are const pointers in CUDA. */
static bool store_marked(const view *at) {
  return at->instr->kind != MVS_INSTR_STORE || at->kernel->written[at->instr->access.operand];
}

/* bf16 is a form of storage: arithmetic is in f32, so that fusing a value into its user or
 * storing it in between gives the same bits. */
static bool load_widens(const view *at) {
  if (at->instr->kind != MVS_INSTR_LOAD) return true;
  mvs_dtype dtype = at->kernel->operands[at->instr->access.operand];
  return at->instr->dtype == (dtype == MVS_BF16 ? MVS_F32 : dtype);
}

/* Storing rounds to bf16 and nothing else: other conversions are casts, which a dump shows. */
static bool store_fits(const view *at) {
  if (at->instr->kind != MVS_INSTR_STORE) return true;
  mvs_dtype dtype = at->kernel->operands[at->instr->access.operand];
  return argument(at, 0)->dtype == (dtype == MVS_BF16 ? MVS_F32 : dtype);
}

/* A bf16 value in a register is the f32 number that it is: a cast rounds, loads widen. */
static bool no_bf16_values(const view *at) { return at->instr->dtype != MVS_BF16; }

/* Printers loop over phases; what stood behind the last would never be printed. */
static bool phase_in_range(const view *at) { return at->instr->phase < at->nest->phases; }

/* The result of a REDUCE of phase p exists from p + 1 on. */
static bool phases_ascend(const view *at) {
  for (int i = 0; i < mvs_instr_argument_count(at->instr); i++) {
    const mvs_instr *from = argument(at, i);
    int ready = from->phase + (from->kind == MVS_INSTR_REDUCE);
    if (at->instr->phase < ready) return false;
  }
  return true;
}

/* A printer computes row values outside of the loop over inner. */
static bool rows_before_elements(const view *at) {
  const mvs_instr *instr = at->instr;
  if (instr->level == MVS_LEVEL_ELEMENT || instr->kind == MVS_INSTR_REDUCE) return true;
  for (int i = 0; i < mvs_instr_argument_count(instr); i++) {
    if (argument(at, i)->level == MVS_LEVEL_ELEMENT) return false;
  }
  return true;
}

/* Its address must be known before the loop over inner begins. */
static bool rows_stay(const view *at) {
  const mvs_instr *instr = at->instr;
  if (instr->level != MVS_LEVEL_ROW) return true;
  if (mvs_instr_uses_memory(instr)) return !instr->access.inner && !instr->access.sequential;
  return instr->kind != MVS_INSTR_INDEX || instr->axis >= 0;
}

/* Columns have one loop of summing, so all their reductions are of phase 0. */
static bool reduce_level(const view *at) {
  if (at->instr->kind != MVS_INSTR_REDUCE) return true;
  bool rows = at->nest->nest_class == MVS_KERNEL_ROWS;
  return at->instr->level == (rows ? MVS_LEVEL_ROW : MVS_LEVEL_ELEMENT) &&
         (rows || at->instr->phase == 0) &&
         (at->instr->op == MVS_OP_sum || at->instr->op == MVS_OP_max_over);
}

/* Lanes that share a column fold when the loop over the sequential axis is done: a store within
 * it would be one of a lane. */
static bool columns_store_late(const view *at) {
  if (at->nest->nest_class != MVS_KERNEL_COLUMNS || at->instr->kind != MVS_INSTR_STORE) {
    return true;
  }
  return at->instr->level == MVS_LEVEL_ELEMENT && at->instr->phase == 1 &&
         at->instr->access.sequential == 0;
}

/* What moves elements about is in accesses by now, and a norm in its parts. */
static bool arithmetic_op(const view *at) {
  if (at->instr->kind != MVS_INSTR_ARITH) return true;
  mvs_op op = at->instr->op;
  return mvs_ops[op].op_class == MVS_CLASS_ELEMENT && op != MVS_OP_random &&
         op != MVS_OP_broadcast && op != MVS_OP_normalize;
}

/* Later rules rely on those before them; a dump names the one that is broken. */
static const struct rule {
  const char *name;
  bool (*holds)(const view *at);
} rules[] = {
    {"arguments stand before their users", arguments_before},
    {"operands are declared", operand_known},
    {"stored operands are marked written", store_marked},
    {"loads widen to the dtype of arithmetic", load_widens},
    {"a store's value has the operand's dtype", store_fits},
    {"bf16 lives only in memory", no_bf16_values},
    {"phases are less than the nest's", phase_in_range},
    {"what follows a reduction has a later phase", phases_ascend},
    {"row values depend on row values only", rows_before_elements},
    {"row values do not move along inner or sequential", rows_stay},
    {"reductions have the level of their nest", reduce_level},
    {"columns store once, after the reduction", columns_store_late},
    {"arithmetic is an elementwise op", arithmetic_op},
};

static mvs_status broken(const mvs_kernel *kernel, mvs_diag *diag, mvs_span span,
                         const char *rule, size_t index) {
  mvs_diag_error(diag, span,
                 "internal error: kernel %s, instruction %%%zu: rule '%s' is broken",
                 kernel->name ? kernel->name : "", index, rule);
  return MVS_ERR_INTERNAL;
}

/* NULL, or the rule on a nest's axes that is broken. */
static const char *check_axes(const mvs_nest *nest) {
  if (nest->outer_count < 0 || nest->outer_count > MVS_MAX_AXES) return "axes are few enough";
  for (int i = 1; i < nest->outer_count; i++) {
    if (nest->outer[i].per_batch) return "the batch is the slowest axis";
  }
  if (nest->inner.per_batch && nest->outer_count > 0) return "the batch is the slowest axis";
  bool columns = nest->nest_class == MVS_KERNEL_COLUMNS;
  bool halves = nest->lanes > 0 && (nest->lanes & (nest->lanes - 1)) == 0;
  if (columns && nest->inner.per_batch) return "columns have no batch innermost";
  if (columns ? !halves : nest->lanes != 0) return "lanes of columns fold by halves";
  if (nest->phases < 1 || nest->phases > MVS_MAX_PHASES) return "phases fit a mask";
  if (nest->segment_axis >= nest->outer_count) return "the segment axis exists";
  if (nest->segment_axis >= 0 && !nest->segments) return "the segment axis has a table";
  if (nest->instrs.count == 0 || nest->instrs.count > UINT16_MAX) {
    return "instructions fit their numbers";
  }
  return NULL;
}

static mvs_status check_nest(const mvs_kernel *kernel, const mvs_nest *nest, mvs_diag *diag) {
  const char *axes = check_axes(nest);
  if (axes) return broken(kernel, diag, (mvs_span){0}, axes, 0);
  for (size_t i = 0; i < nest->instrs.count; i++) {
    view at = {kernel, nest, &nest->instrs.items[i], i};
    for (size_t k = 0; k < sizeof rules / sizeof *rules; k++) {
      if (!rules[k].holds(&at)) return broken(kernel, diag, at.instr->span, rules[k].name, i);
    }
  }
  return MVS_OK;
}

/* Tokens of one operand do not overlap, and logarithms, which have no heads, have no stride. */
static bool strides_hold_heads(const mvs_kernel *kernel) {
  const mvs_attention_shape *shape = &kernel->attention;
  bool gradient = kernel->kernel_class == MVS_KERNEL_ATTENTION_GRAD;
  for (int i = 0; i < mvs_attention_operands(gradient); i++) {
    mvs_heads_of whose = mvs_attention_rows[i].heads;
    int64_t heads = whose == MVS_HEADS_KEYS ? shape->kv_heads : shape->heads;
    bool good = whose == MVS_HEADS_NONE ? shape->strides[i] == 0
                                        : shape->strides[i] >= heads * shape->head_dim;
    if (!good) return false;
  }
  return true;
}

mvs_status mvs_kernel_verify(const mvs_kernel *kernel, mvs_diag *diag) {
  bool nested =
      kernel->kernel_class == MVS_KERNEL_ROWS || kernel->kernel_class == MVS_KERNEL_COLUMNS;
  if (kernel->operand_count < 1 || kernel->operand_count > MVS_MAX_OPERANDS) {
    return broken(kernel, diag, (mvs_span){0}, "operands are few enough", 0);
  }
  if (nested != (kernel->nests.count > 0)) {
    return broken(kernel, diag, (mvs_span){0}, "a kernel has nests or is heavy", 0);
  }
  bool attention = kernel->kernel_class == MVS_KERNEL_ATTENTION ||
                   kernel->kernel_class == MVS_KERNEL_ATTENTION_GRAD;
  if (attention && !strides_hold_heads(kernel)) {
    return broken(kernel, diag, (mvs_span){0}, "tokens do not overlap", 0);
  }
  for (size_t i = 0; i < kernel->nests.count; i++) {
    MVS_TRY(check_nest(kernel, &kernel->nests.items[i], diag));
  }
  return MVS_OK;
}
