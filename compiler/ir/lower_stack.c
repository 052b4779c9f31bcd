/* lower_stack.c: a stack becomes one region. What its statements update is carried from layer
 * to layer; what they read from outside becomes an invariant; parameters become stacked inputs.
 * The block is lowered once, whatever the depth. So what is carried must be known before: it is
 * read off the statements (find_carried). While lo->stack is set, lower_tensor.c places nodes
 * in the body or outside of it and notes what crosses. At the end each carried value must have
 * the type it came in with, since the body is to run again on it, and the region node is added
 * with its inputs in the order of region.h. */
#include <inttypes.h>

#include "compiler/ir/lowering.h"
#include "dsl/walk.h"

/* A name whose tensor goes from layer to layer. */
typedef struct carried {
  const char *name;
  mvs_span span;     /* of the first statement that sets it */
  bool updated;      /* by `<-`: the rule's entry and exit act on it */
  mvs_type outside;  /* before the entry */
  mvs_value initial; /* in the outer graph */
} carried;
typedef MVS_LIST(carried) carried_list;

/* --- which values are carried --- */

/* Enters a name once; any `<-` on it makes it updated. A name that holds no tensor outside
 * belongs to one layer alone, and is none of the stack's business, unless it is updated: then
 * check_initial tells what is missing. */
static void note_carried(mvs_lowering *lo, const mvs_scope *scope, const mvs_stmt *stmt,
                         size_t index, carried_list *list) {
  const char *name = stmt->names[index];
  bool updated = stmt->kind == MVS_STMT_UPDATE;
  for (size_t i = 0; i < list->count; i++) {
    if (strcmp(list->items[i].name, name) != 0) continue;
    list->items[i].updated |= updated;
    return;
  }
  const mvs_value *outside = mvs_scope_find(scope, name);
  bool tensor = outside && outside->kind == MVS_VALUE_TENSOR;
  if (!tensor && !updated) return; /* a name of the block's own */
  carried item = {.name = name, .span = stmt->name_spans[index], .updated = updated};
  if (outside) item.initial = *outside;
  MVS_PUSH(lo->arena, list, item);
}

/* A search in a condition for names that only the block gives a meaning. */
typedef struct own_search {
  const mvs_block *block;
  bool found;
} own_search;

/* Whether a block gives `name` a value. */
static bool sets(const mvs_block *block, const char *name) {
  for (size_t i = 0; i < block->count; i++) {
    const mvs_stmt *stmt = block->items[i];
    if (stmt->kind == MVS_STMT_IF && (sets(&stmt->body, name) || sets(&stmt->orelse, name))) {
      return true;
    }
    for (size_t n = 0; n < stmt->name_count; n++) {
      if (strcmp(stmt->names[n], name) == 0) return true;
    }
  }
  return false;
}

/* Notes a name whose value is not known before the block is lowered. */
static void look_for_own(void *context, const char *name) {
  own_search *search = context;
  search->found |= strcmp(name, "layer") == 0 || sets(search->block, name);
}

/* The search for what a block carries, before the block is lowered. */
typedef struct carried_search {
  mvs_lowering *lo;
  mvs_scope *scope;       /* outside of the stack, `depth` known */
  const mvs_block *whole; /* the stack's */
  carried_list *list;
  int updates;    /* counted so far */
  bool uncertain; /* an update stands where the block's own names decide whether it runs */
} carried_search;

/* Collects the names that a block sets and that hold a tensor outside, in order. Of an `if`
 * only the chosen side counts, else a name that nothing updates would pass the rule's entry and
 * exit. A condition on names of the block's own is not known yet: then both sides count. */
static mvs_status find_carried(carried_search *search, const mvs_block *block) {
  for (size_t i = 0; i < block->count; i++) {
    const mvs_stmt *stmt = block->items[i];
    if (stmt->kind == MVS_STMT_IF) {
      own_search own = {search->whole, false};
      bool truth = false;
      mvs_expr_names(stmt->value, look_for_own, &own);
      if (!own.found) MVS_TRY(mvs_lower_truth(search->lo, search->scope, stmt->value, &truth));
      int before = search->updates;
      if (own.found || truth) MVS_TRY(find_carried(search, &stmt->body));
      if (own.found || !truth) MVS_TRY(find_carried(search, &stmt->orelse));
      search->uncertain |= own.found && search->updates > before;
    }
    if (stmt->kind != MVS_STMT_LET && stmt->kind != MVS_STMT_UPDATE) continue;
    search->updates += stmt->kind == MVS_STMT_UPDATE;
    for (size_t n = 0; n < stmt->name_count; n++) {
      note_carried(search->lo, search->scope, stmt, n, search->list);
    }
  }
  return MVS_OK;
}

/* What is carried is a tensor before the stack. */
static mvs_status check_initial(mvs_lowering *lo, const carried *item) {
  if (item->initial.kind == MVS_VALUE_TENSOR) return MVS_OK;
  if (item->initial.kind == MVS_VALUE_ABSENT) {
    mvs_lower_error(lo, MVS_ERR_NAME, item->span, "'%s' has no value before the stack",
                    item->name);
    mvs_diag_hint(lo->diag, "give it one: %s = ...", item->name);
    return MVS_ERR_NAME;
  }
  return mvs_lower_error(lo, MVS_ERR_SHAPE, item->span, "'%s' is %s; a stack updates tensors",
                         item->name, mvs_value_noun(&item->initial));
}

/* How many names `<-` updates. */
static int updated_count(const carried_list *list) {
  int count = 0;
  for (size_t i = 0; i < list->count; i++) count += list->items[i].updated;
  return count;
}

/* Labels of the rule's entry and exit: the stack's, and the name as well when several are
 * updated, or their parameters would have one name. */
static const char *border_label(mvs_lowering *lo, const mvs_stmt *stmt,
                                const carried_list *list, const carried *item) {
  if (updated_count(list) == 1) return stmt->label;
  return mvs_arena_format(lo->arena, "%s.%s", stmt->label, item->name);
}

/* --- into and out of the body --- */

/* Features have a float type and an axis to hold them: rules add, scale and normalise along
 * it. */
static mvs_status check_features(mvs_lowering *lo, const carried *item) {
  const mvs_type *type = mvs_value_type(&item->initial);
  if (type->dtype != MVS_I32 && type->rank > 0) return MVS_OK;
  return mvs_lower_error(lo, MVS_ERR_SHAPE, item->span, "'%s' is %s; '<-' updates features",
                         item->name, mvs_lower_type_text(lo, type));
}

/* What is carried has segments if it has tokens, so that any of it may meet any other. What
 * `<-` updates passes the rule's entry and is stored in the precision's type. */
static mvs_status prepare(mvs_lowering *lo, mvs_scope *scope, const mvs_stmt *stmt,
                          const carried_list *list, carried *item) {
  MVS_TRY(check_initial(lo, item));
  const mvs_type *type = mvs_value_type(&item->initial);
  if (type->rank >= 3 && type->dims[0].per_batch) {
    MVS_TRY(mvs_lower_segmented(lo, &item->initial, item->span, &item->initial));
  }
  if (!item->updated) return MVS_OK;
  MVS_TRY(check_features(lo, item));
  item->outside = *mvs_value_type(&item->initial);
  MVS_TRY(mvs_lower_border(lo, scope, MVS_STMT_ENTRY, border_label(lo, stmt, list, item),
                           lo->stack->region->count, NULL, &item->initial));
  MVS_TRY(mvs_lower_cast(lo, item->initial, lo->module->settings.precision, item->span,
                         &item->initial));
  mvs_scope_set(lo, lo->stack->starts, item->name, item->initial);
  return MVS_OK;
}

/* Where the entry made other features of a name, as rules of several streams do, what goes
 * wrong in the block may be due to that. */
static void note_entries(mvs_lowering *lo, const carried_list *list) {
  for (size_t i = 0; i < list->count; i++) {
    const carried *item = &list->items[i];
    const mvs_type *type = item->updated ? mvs_value_type(&item->initial) : NULL;
    if (!type || mvs_type_same_shape(type, &item->outside)) continue;
    mvs_diag_note(lo->diag, lo->rule.definition->name_span,
                  "in the stack '%s' is %s: the entry of rule '%s' makes it of %s", item->name,
                  mvs_lower_type_text(lo, type), lo->rule.definition->name,
                  mvs_lower_type_text(lo, &item->outside));
  }
}

/* The scope of the block: carried names stand for arguments of the body. Other outer names are
 * still seen through it; reading one makes an invariant of it (lower_tensor.c). */
static mvs_scope *body_scope(mvs_lowering *lo, mvs_scope *outside, const carried_list *list) {
  mvs_region *region = lo->stack->region;
  mvs_scope *scope = mvs_scope_new(lo, outside);
  mvs_scope_set(lo, scope, "layer", (mvs_value){.kind = MVS_VALUE_LAYER});
  mvs_scope_set(lo, scope, "depth", mvs_value_number((double)region->count));
  for (size_t i = 0; i < list->count; i++) {
    const carried *item = &list->items[i];
    mvs_id id = mvs_region_argument(region, MVS_ARG_CARRIED, region->carried_count++,
                                    mvs_value_type(&item->initial), item->span);
    mvs_scope_set(lo, scope, item->name, mvs_value_tensor(region->body, id));
    mvs_scope_set(lo, lo->stack->entries, item->name, mvs_value_tensor(region->body, id));
  }
  return scope;
}

/* The value of a carried name at the end of the block, of the type it came in with. */
static mvs_status finish_carried(mvs_lowering *lo, const mvs_scope *scope,
                                 const carried *item) {
  mvs_graph *body = lo->stack->region->body;
  const mvs_value *last = mvs_scope_find(scope, item->name);
  mvs_value value = *last;
  const mvs_type *wanted = mvs_value_type(&item->initial);
  if (value.kind != MVS_VALUE_TENSOR) {
    return mvs_lower_error(lo, MVS_ERR_SHAPE, item->span,
                           "'%s' is a tensor before the stack and %s in it", item->name,
                           mvs_value_noun(&value));
  }
  if (value.graph != body) {
    value = mvs_value_tensor(body, mvs_lower_place_in(lo, body, &value, item->span));
  }
  MVS_TRY(mvs_lower_cast(lo, value, wanted->dtype, item->span, &value));
  MVS_TRY(mvs_lower_renamed(lo, value, wanted->segments, item->span, &value));
  const mvs_type *type = mvs_value_type(&value);
  if (!type->segments && mvs_type_same_shape(type, wanted)) {
    MVS_TRY(mvs_lower_reshape(lo, value, wanted, item->span, &value));
    type = mvs_value_type(&value);
  }
  if (!mvs_type_equal(type, wanted)) {
    mvs_lower_error(lo, MVS_ERR_SHAPE, item->span,
                    "'%s' is carried from layer to layer but changes from %s to %s", item->name,
                    mvs_lower_type_text(lo, wanted), mvs_lower_type_text(lo, type));
    mvs_diag_hint(lo->diag, "use another name for what belongs to one layer only");
    return MVS_ERR_SHAPE;
  }
  mvs_result result = {item->name, value.id};
  MVS_PUSH(mvs_graph_arena(body), mvs_graph_results(body), result);
  return MVS_OK;
}

/* The region node, once all that it reads is known. */
static mvs_status add_region(mvs_lowering *lo, const carried_list *list, mvs_span span,
                             mvs_id *out) {
  mvs_stack_state *stack = lo->stack;
  size_t count =
      list->count + stack->held.count + stack->invariants.count + stack->stacked.count;
  if (count > MVS_MAX_INPUTS) {
    return mvs_lower_error(lo, MVS_ERR_LIMIT, span, "the stack reads more than %d tensors",
                           MVS_MAX_INPUTS);
  }
  mvs_id inputs[MVS_MAX_INPUTS];
  size_t at = 0;
  for (size_t i = 0; i < list->count; i++) inputs[at++] = list->items[i].initial.id;
  for (size_t i = 0; i < stack->held.count; i++) {
    inputs[at++] = stack->held.items[i].initial;
  }
  for (size_t i = 0; i < stack->invariants.count; i++) {
    inputs[at++] = stack->invariants.items[i].outer;
  }
  for (size_t i = 0; i < stack->stacked.count; i++) inputs[at++] = stack->stacked.items[i];
  mvs_attr attr = {.region = {stack->region}};
  mvs_type type;
  MVS_TRY(mvs_graph_infer(lo->top, MVS_OP_region, inputs, (int)count, &attr, span, lo->diag,
                          &type));
  *out = mvs_graph_add(lo->top, MVS_OP_region, inputs, (int)count, &attr, span);
  return MVS_OK;
}

/* --- the statement --- */

/* The rule's `after` on what the block left in a name. */
static mvs_status end_block(mvs_lowering *lo, mvs_scope *scope, const carried *item) {
  mvs_value value = *mvs_scope_find(scope, item->name);
  MVS_TRY(mvs_lower_need_tensor(lo, &value, "a stream", item->span));
  MVS_TRY(mvs_lower_after(lo, item->name, &value));
  mvs_scope_set(lo, scope, item->name, value);
  return MVS_OK;
}

/* Lowers the block and takes its last values as the results of the body. */
static mvs_status run_body(mvs_lowering *lo, mvs_scope *outside, const mvs_stmt *stmt,
                           const carried_list *list) {
  mvs_scope *scope = body_scope(lo, outside, list);
  const char *prefix = lo->prefix;
  mvs_outcome outcome = {0};
  lo->prefix = mvs_arena_format(lo->arena, "%s%s.{i}.", prefix, stmt->label);
  mvs_status status = mvs_lower_block(lo, scope, &stmt->body, &outcome);
  if (status == MVS_ERR_SHAPE) note_entries(lo, list);
  for (size_t i = 0; status == MVS_OK && i < list->count; i++) {
    if (list->items[i].updated) status = end_block(lo, scope, &list->items[i]);
  }
  lo->prefix = prefix;
  MVS_TRY(status);
  for (size_t i = 0; i < list->count; i++) {
    MVS_TRY(finish_carried(lo, scope, &list->items[i]));
  }
  mvs_lower_finish_earlier(lo);
  return MVS_OK;
}

/* A rule may change the features of a name for its stack, but not for what comes after it. */
static mvs_status check_exit(mvs_lowering *lo, const carried *item, const mvs_value *value) {
  const mvs_type *type = mvs_value_type(value);
  if (mvs_type_same_shape(type, &item->outside)) return MVS_OK;
  mvs_lower_error(lo, MVS_ERR_SHAPE, lo->rule.definition->name_span,
                  "rule '%s' takes '%s' as %s and gives it back as %s",
                  lo->rule.definition->name, item->name,
                  mvs_lower_type_text(lo, &item->outside), mvs_lower_type_text(lo, type));
  mvs_diag_note(lo->diag, item->span, "in the stack that updates '%s' here", item->name);
  mvs_diag_hint(lo->diag,
                "what its entry expands its exit must join: "
                "exit { sum(streams(x, n)) }");
  return MVS_ERR_SHAPE;
}

/* What a rule's exit sees of the stack: how the name entered it, and what its blocks held. */
static mvs_scope *seen_behind(mvs_lowering *lo, const mvs_stack_state *stack,
                              const carried_list *list, const carried *item, mvs_id region) {
  mvs_scope *seen = mvs_scope_new(lo, NULL);
  mvs_past *past = MVS_NEW(lo->arena, mvs_past);
  *past = (mvs_past){mvs_scope_find(stack->entries, item->name)->id, region,
                     (uint32_t)list->count, stack->held, stack->region->count};
  mvs_scope_set(lo, seen, "x0", item->initial);
  mvs_scope_set(lo, seen, "entered", (mvs_value){.kind = MVS_VALUE_PAST, .past = past});
  return seen;
}

/* Binds the final values outside, after the rule's exit. Names that the block set for itself
 * alone are not seen after it. */
static mvs_status bind_results(mvs_lowering *lo, mvs_scope *scope, const mvs_stmt *stmt,
                               const mvs_stack_state *stack, const carried_list *list,
                               mvs_id region) {
  int64_t depth = stack->region->count;
  for (size_t i = 0; i < list->count; i++) {
    const carried *item = &list->items[i];
    mvs_value value =
        mvs_value_tensor(lo->top, mvs_build_get(lo->top, region, (uint32_t)i, stmt->span));
    if (item->updated) {
      MVS_TRY(mvs_lower_border(lo, scope, MVS_STMT_EXIT, border_label(lo, stmt, list, item),
                               depth, seen_behind(lo, stack, list, item, region), &value));
      MVS_TRY(check_exit(lo, item, &value));
    }
    mvs_scope_set(lo, scope, item->name, value);
  }
  return MVS_OK;
}

/* A stack carries something, and what `<-` updates needs a rule. */
static mvs_status check_updates(mvs_lowering *lo, const mvs_stmt *stmt,
                                const carried_list *list) {
  if (list->count == 0) {
    return mvs_lower_error(lo, MVS_ERR_NAME, stmt->span, "the stack updates nothing");
  }
  if (updated_count(list) == 0 || lo->rule.definition) return MVS_OK;
  mvs_lower_error(lo, MVS_ERR_NAME, stmt->span, "no residual rule is in force");
  mvs_diag_hint(lo->diag, "add a line before the stack: residual prenorm as norm");
  return MVS_ERR_NAME;
}

/* The number of blocks, known while lowering. */
static mvs_status stack_depth(mvs_lowering *lo, mvs_scope *scope, const mvs_stmt *stmt,
                              int64_t *depth) {
  mvs_value count;
  MVS_TRY(mvs_lower_expr(lo, scope, stmt->value, &count));
  return mvs_lower_whole(lo, &count, 1, MVS_MAX_DEPTH, "the depth of a stack",
                         stmt->value->span, depth);
}

/* What is lowered while lo->stack is set stands in the body, save for entry and initial values.
 */
static mvs_status inside(mvs_lowering *lo, mvs_scope *scope, const mvs_stmt *stmt,
                         carried_list *list, mvs_id *region) {
  for (size_t i = 0; i < list->count; i++) {
    MVS_TRY(prepare(lo, scope, stmt, list, &list->items[i]));
  }
  if (updated_count(list) > 0) {
    MVS_TRY(mvs_lower_rule_lines(lo, scope, lo->stack->region->count, &lo->stack->lines));
    lo->last_rule_lines = &lo->stack->lines;
  }
  MVS_TRY(run_body(lo, scope, stmt, list));
  return add_region(lo, list, stmt->span, region);
}

/* lo->stack is set while entry, initial values and the block are lowered, and cleared before
 * exit: nodes go where it says. After an error it is cleared too, as notes may still be
 * made. */
mvs_status mvs_lower_stack(mvs_lowering *lo, mvs_scope *scope, const mvs_stmt *stmt) {
  int64_t depth;
  mvs_id region;
  carried_list list = {0};
  MVS_TRY(stack_depth(lo, scope, stmt, &depth));
  mvs_scope *counted = mvs_scope_new(lo, scope);
  mvs_scope_set(lo, counted, "depth", mvs_value_number((double)depth));
  carried_search search = {lo, counted, &stmt->body, &list, 0, false};
  MVS_TRY(find_carried(&search, &stmt->body));
  MVS_TRY(check_updates(lo, stmt, &list));
  mvs_stack_state *state = MVS_NEW(lo->arena, mvs_stack_state);
  state->region = mvs_region_new(lo->top, stmt->label, depth, false, stmt->span);
  state->scope = scope;
  lo->block_updates = search.uncertain ? -1 : search.updates;
  state->starts = mvs_scope_new(lo, NULL);
  state->entries = mvs_scope_new(lo, NULL);
  lo->stack = state;
  mvs_status status = inside(lo, scope, stmt, &list, &region);
  lo->stack = NULL;
  MVS_TRY(status);
  return bind_results(lo, scope, stmt, state, &list, region);
}

/* The argument is interned: all reads of `layer` in a body are one node, i32, widened since the
 * language computes in f32. */
mvs_status mvs_lower_layer(mvs_lowering *lo, mvs_span span, mvs_value *out) {
  mvs_region *region = lo->stack->region;
  mvs_id layer = mvs_region_argument(region, MVS_ARG_LAYER, 0, NULL, span);
  return mvs_lower_cast(lo, mvs_value_tensor(region->body, layer), MVS_F32, span, out);
}
