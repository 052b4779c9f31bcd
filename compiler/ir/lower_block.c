/* lower_block.c: statements. A block runs in its enclosing scope: `if` opens none, so that a
 * name given in a branch is known after it. A body's value is the first bare expression
 * reached; it ends the body, and a statement after it is an error, whether or not the parser
 * could see it coming. init, group, entry, exit and after are not run in their place: whoever
 * runs the model or rule asks for them with mvs_lower_find, before or after the body. What a
 * statement means is in the file of its subject; this one only tells them apart. */
#include "compiler/ir/lowering.h"

/* a, b = halves(x). The names are set in order, all from values that are evaluated already: `a,
 * b = (b, a)` swaps. */
static mvs_status unpack(mvs_lowering *lo, mvs_scope *scope, const mvs_stmt *stmt,
                         const mvs_value *value) {
  if (value->kind != MVS_VALUE_TUPLE || value->count != stmt->name_count) {
    mvs_lower_error(lo, MVS_ERR_SHAPE, stmt->value->span, "%zu names want %zu values",
                    stmt->name_count, stmt->name_count);
    if (value->kind == MVS_VALUE_TUPLE)
      mvs_diag_label(lo->diag, "has %zu", value->count);
    else
      mvs_diag_label(lo->diag, "is %s", mvs_value_noun(value));
    return MVS_ERR_SHAPE;
  }
  for (size_t i = 0; i < stmt->name_count; i++) {
    mvs_scope_set(lo, scope, stmt->names[i], value->items[i]);
  }
  return MVS_OK;
}

/* NAME = EXPR. A name of an outer scope is not changed but hidden; stacks read off such names
 * what they carry (lower_stack.c). */
static mvs_status let_stmt(mvs_lowering *lo, mvs_scope *scope, const mvs_stmt *stmt) {
  mvs_value value;
  MVS_TRY(mvs_lower_expr(lo, scope, stmt->value, &value));
  if (stmt->name_count > 1) return unpack(lo, scope, stmt, &value);
  mvs_scope_set(lo, scope, stmt->names[0], value);
  return MVS_OK;
}

/* The branch is chosen while lowering: the other one makes no nodes and no parameters. */
static mvs_status if_stmt(mvs_lowering *lo, mvs_scope *scope, const mvs_stmt *stmt,
                          mvs_outcome *outcome) {
  bool truth;
  MVS_TRY(mvs_lower_truth(lo, scope, stmt->value, &truth));
  return mvs_lower_block(lo, scope, truth ? &stmt->body : &stmt->orelse, outcome);
}

/* The bare expression that ends a body. */
static mvs_status return_stmt(mvs_lowering *lo, mvs_scope *scope, const mvs_stmt *stmt,
                              mvs_outcome *outcome) {
  MVS_TRY(mvs_lower_expr(lo, scope, stmt->value, &outcome->value));
  outcome->done = true;
  outcome->span = stmt->span;
  return MVS_OK;
}

/* One statement; the parser saw to it that it may stand here. */
static mvs_status run_stmt(mvs_lowering *lo, mvs_scope *scope, const mvs_stmt *stmt,
                           mvs_outcome *outcome) {
  switch (stmt->kind) {
    case MVS_STMT_LET:
      return let_stmt(lo, scope, stmt);
    case MVS_STMT_IF:
      return if_stmt(lo, scope, stmt, outcome);
    case MVS_STMT_FOR:
      return mvs_lower_for(lo, scope, stmt, outcome);
    case MVS_STMT_RETURN:
      return return_stmt(lo, scope, stmt, outcome);
    case MVS_STMT_UPDATE:
      return mvs_lower_update(lo, scope, stmt);
    case MVS_STMT_PARAM:
      return mvs_lower_param_stmt(lo, scope, stmt);
    case MVS_STMT_CONSTANT:
      return mvs_lower_constant_stmt(lo, scope, stmt);
    case MVS_STMT_INPUT:
      return mvs_lower_input_stmt(lo, scope, stmt);
    case MVS_STMT_OUTPUT:
      return mvs_lower_output_stmt(lo, scope, stmt);
    case MVS_STMT_RESIDUAL:
      return mvs_lower_residual_stmt(lo, scope, stmt);
    case MVS_STMT_STACK:
      return mvs_lower_stack(lo, scope, stmt);
    case MVS_STMT_INIT:
    case MVS_STMT_GROUP:
    case MVS_STMT_ENTRY:
    case MVS_STMT_EXIT:
    case MVS_STMT_AFTER:
      return MVS_OK; /* see mvs_lower_find */
    case MVS_STMT_SETTING:
      break;
  }
  return mvs_lower_error(lo, MVS_ERR_NAME, stmt->span, "a setting belongs in train or sample");
}

/* Whether a statement of that kind stands anywhere in a block. */
static bool holds(const mvs_block *block, mvs_stmt_kind kind) {
  for (size_t i = 0; i < block->count; i++) {
    const mvs_stmt *stmt = block->items[i];
    if (stmt->kind == kind) return true;
    if (stmt->kind != MVS_STMT_IF) continue;
    if (holds(&stmt->body, kind) || holds(&stmt->orelse, kind)) return true;
  }
  return false;
}

/* Conditions are evaluated in `scope`, which holds what is known outside of the body: a name
 * that only the body gives is unknown there. */
mvs_status mvs_lower_find(mvs_lowering *lo, mvs_scope *scope, const mvs_block *block,
                          mvs_stmt_kind kind, mvs_stmts *out) {
  for (size_t i = 0; i < block->count; i++) {
    const mvs_stmt *stmt = block->items[i];
    if (stmt->kind == kind) MVS_PUSH(lo->arena, out, stmt);
    if (stmt->kind != MVS_STMT_IF) continue;
    if (!holds(&stmt->body, kind) && !holds(&stmt->orelse, kind)) continue;
    bool truth;
    MVS_TRY(mvs_lower_truth(lo, scope, stmt->value, &truth));
    MVS_TRY(mvs_lower_find(lo, scope, truth ? &stmt->body : &stmt->orelse, kind, out));
  }
  return MVS_OK;
}

mvs_status mvs_lower_block(mvs_lowering *lo, mvs_scope *scope, const mvs_block *block,
                           mvs_outcome *outcome) {
  for (size_t i = 0; i < block->count; i++) {
    if (outcome->done) {
      mvs_lower_error(lo, MVS_ERR_NAME, block->items[i]->span, "nothing may follow the value");
      mvs_diag_note(lo->diag, outcome->span, "the value of the body is given here");
      return MVS_ERR_NAME;
    }
    MVS_TRY(run_stmt(lo, scope, block->items[i], outcome));
  }
  return MVS_OK;
}
