/* dump.c: a unit as text for --emit ast: the language again, with overrides in place, blocks by
 * indentation, and of the definitions those that the model reaches. Parentheses stand exactly
 * where the grammar needs them to give the same tree, and numbers have the fewest digits that
 * read back: two dumps are equal when the trees are. The library is printed like the user's own
 * definitions; what the model cannot reach by name is left out, or every dump would hold all of
 * it. */
#include <stdio.h>

#include "compiler/base/table.h"
#include "dsl/library.h"
#include "dsl/parse.h"
#include "dsl/walk.h"

/* How tightly each operator binds, as in mvs.y. */
static const struct {
  const char *sign;
  int level;
} operators[] = {
    [MVS_OR] = {" or ", 1}, [MVS_AND] = {" and ", 2}, [MVS_NOT] = {"not ", 3},
    [MVS_LT] = {" < ", 4},  [MVS_LE] = {" <= ", 4},   [MVS_GT] = {" > ", 4},
    [MVS_GE] = {" >= ", 4}, [MVS_EQ] = {" == ", 4},   [MVS_NE] = {" != ", 4},
    [MVS_ADD] = {" + ", 5}, [MVS_SUB] = {" - ", 5},   [MVS_MUL] = {" * ", 6},
    [MVS_DIV] = {" / ", 6}, [MVS_MOD] = {" % ", 6},   [MVS_NEG] = {"-", 7},
    [MVS_POW] = {" ^ ", 8},
};
#define ATOM 9

static void add_expr(mvs_text *out, const mvs_expr *expr);

/* How tightly an expression binds; a label binds loosest of all. */
static int level_of(const mvs_expr *expr) {
  if (expr->label) return 0;
  switch (expr->kind) {
    case MVS_EXPR_UNARY:
    case MVS_EXPR_BINARY:
      return operators[expr->op].level;
    case MVS_EXPR_IF:
      return 0;
    default:
      return ATOM;
  }
}

/* Prints an operand, in parentheses when it binds less tightly than its place asks for. */
static void add_operand(mvs_text *out, const mvs_expr *expr, int least) {
  bool wrap = level_of(expr) < least;
  if (wrap) mvs_text_add(out, "(");
  add_expr(out, expr);
  if (wrap) mvs_text_add(out, ")");
}

/* Quoted, with the two escapes that the language knows. */
static void add_string(mvs_text *out, const char *text) {
  mvs_text_add(out, "\"");
  for (; *text; text++) {
    if (*text == '"' || *text == '\\') mvs_text_add(out, "\\");
    mvs_text_add_bytes(out, text, 1);
  }
  mvs_text_add(out, "\"");
}

/* Arguments of a call, or the items of a tuple or list. */
static void add_items(mvs_text *out, const mvs_expr *expr, const char *open,
                      const char *close) {
  mvs_text_add(out, open);
  for (size_t at = 0; at < expr->argument_count; at++) {
    const mvs_argument *each = &expr->arguments[at];
    if (at > 0) mvs_text_add(out, ", ");
    if (each->name) mvs_text_addf(out, "%s = ", each->name);
    add_expr(out, each->value);
  }
  mvs_text_add(out, close);
}

/* Operands of the same level need parentheses on the side to which the operator does not
 * group. */
static void add_binary(mvs_text *out, const mvs_expr *expr) {
  int level = operators[expr->op].level;
  /* Powers group to the right, the rest to the left; comparisons do not chain. */
  int left = level, right = level + 1;
  if (expr->op == MVS_POW) left = level + 1, right = level - 1;
  if (level == operators[MVS_LT].level) left = level + 1;
  add_operand(out, expr->a, left);
  mvs_text_add(out, operators[expr->op].sign);
  add_operand(out, expr->b, right);
}

/* Its last part reaches as far as it can, so as an operand it stands in parentheses. */
static void add_if(mvs_text *out, const mvs_expr *expr) {
  mvs_text_add(out, "if ");
  add_expr(out, expr->a);
  mvs_text_add(out, " then ");
  add_expr(out, expr->b);
  mvs_text_add(out, " else ");
  add_expr(out, expr->c);
}

/* An expression with its label. An `if` with a label is a branch's: without parentheses the
 * label would be its last part's. */
static void add_expr(mvs_text *out, const mvs_expr *expr) {
  bool wrap = expr->label && level_of(expr) == 0 && expr->kind == MVS_EXPR_IF;
  if (wrap) mvs_text_add(out, "(");
  switch (expr->kind) {
    case MVS_EXPR_NUMBER:
      mvs_text_add_number(out, expr->number);
      break;
    case MVS_EXPR_BOOL:
      mvs_text_add(out, expr->truth ? "true" : "false");
      break;
    case MVS_EXPR_STRING:
      add_string(out, expr->text);
      break;
    case MVS_EXPR_NAME:
      mvs_text_add(out, expr->text);
      break;
    case MVS_EXPR_CALL:
      mvs_text_add(out, expr->text);
      add_items(out, expr, "(", ")");
      break;
    case MVS_EXPR_UNARY:
      mvs_text_add(out, operators[expr->op].sign);
      add_operand(out, expr->a, operators[expr->op].level);
      break;
    case MVS_EXPR_BINARY:
      add_binary(out, expr);
      break;
    case MVS_EXPR_MEMBER:
      add_operand(out, expr->a, ATOM);
      mvs_text_addf(out, ".%s", expr->text);
      break;
    case MVS_EXPR_TUPLE:
      add_items(out, expr, "(", ")");
      break;
    case MVS_EXPR_LIST:
      add_items(out, expr, "[", "]");
      break;
    case MVS_EXPR_EACH:
      mvs_text_add(out, "[");
      add_expr(out, expr->a);
      mvs_text_addf(out, " for %s in ", expr->text);
      add_expr(out, expr->b);
      mvs_text_add(out, "]");
      break;
    case MVS_EXPR_INDEX:
      add_operand(out, expr->a, ATOM);
      mvs_text_add(out, "[");
      add_expr(out, expr->b);
      mvs_text_add(out, "]");
      break;
    case MVS_EXPR_IF:
      add_if(out, expr);
      break;
  }
  if (wrap) mvs_text_add(out, ")");
  if (expr->label) mvs_text_addf(out, " as %s", expr->label);
}

/* Two blanks a level. */
static void indent(mvs_text *out, int level) {
  for (int at = 0; at < level; at++) mvs_text_add(out, "  ");
}

static void add_block(mvs_text *out, const mvs_block *block, int level);

/* A part that may be missing, with the words before it. */
static void add_optional(mvs_text *out, const char *before, const mvs_expr *expr) {
  if (!expr) return;
  mvs_text_add(out, before);
  add_expr(out, expr);
}

/* "param weight : f32[out, features(x)] = fan_in(1) writer if writes" */
static void add_typed(mvs_text *out, const mvs_stmt *stmt, const char *word) {
  mvs_text_addf(out, "%s %s : %s", word, stmt->names[0], stmt->dtype);
  add_expr(out, stmt->shape);
  add_optional(out, " = ", stmt->value);
  if (stmt->writer) mvs_text_add(out, " writer");
  add_optional(out, " if ", stmt->writer_if);
}

/* "a, b" */
static void add_names(mvs_text *out, const mvs_stmt *stmt) {
  for (size_t at = 0; at < stmt->name_count; at++)
    mvs_text_addf(out, at ? ", %s" : "%s", stmt->names[at]);
}

/* "clip 1.0", or the call alone. */
static void add_setting(mvs_text *out, const mvs_stmt *stmt) {
  bool bare = stmt->value->kind == MVS_EXPR_CALL &&
              stmt->value->text_span.begin == stmt->name_spans[0].begin;
  if (!bare) mvs_text_addf(out, "%s ", stmt->names[0]);
  add_expr(out, stmt->value);
}

/* The statement's own line, without its blocks. */
static void add_head(mvs_text *out, const mvs_stmt *stmt) {
  switch (stmt->kind) {
    case MVS_STMT_LET:
      add_names(out, stmt), add_optional(out, " = ", stmt->value);
      break;
    case MVS_STMT_UPDATE:
      add_names(out, stmt), add_optional(out, " <- ", stmt->value);
      break;
    case MVS_STMT_PARAM:
      add_typed(out, stmt, "param");
      break;
    case MVS_STMT_CONSTANT:
      add_typed(out, stmt, "constant");
      break;
    case MVS_STMT_INPUT:
      add_typed(out, stmt, "input");
      break;
    case MVS_STMT_OUTPUT:
      mvs_text_addf(out, "output %s", stmt->names[0]);
      add_optional(out, " : ", stmt->value);
      break;
    case MVS_STMT_RESIDUAL:
      add_optional(out, "residual ", stmt->value);
      break;
    case MVS_STMT_STACK:
      add_optional(out, "stack ", stmt->value);
      break;
    case MVS_STMT_RETURN:
      add_expr(out, stmt->value);
      break;
    case MVS_STMT_ENTRY:
      mvs_text_add(out, "entry");
      break;
    case MVS_STMT_EXIT:
      mvs_text_add(out, "exit");
      break;
    case MVS_STMT_AFTER:
      mvs_text_add(out, "after");
      break;
    case MVS_STMT_INIT:
      mvs_text_add(out, "init ");
      add_names(out, stmt), add_optional(out, " = ", stmt->value);
      break;
    case MVS_STMT_GROUP:
      mvs_text_add(out, "group ");
      add_names(out, stmt), add_items(out, stmt->value, " : ", "");
      break;
    case MVS_STMT_IF:
      add_optional(out, "if ", stmt->value);
      break;
    case MVS_STMT_FOR:
      mvs_text_addf(out, "for %s", stmt->names[0]);
      add_optional(out, " in ", stmt->value);
      break;
    case MVS_STMT_SETTING:
      add_setting(out, stmt);
      break;
  }
  bool labelled = stmt->kind == MVS_STMT_RESIDUAL || stmt->kind == MVS_STMT_STACK;
  if (labelled) mvs_text_addf(out, " as %s", stmt->label);
  mvs_text_add(out, "\n");
}

/* One line a statement, its blocks one level deeper; an `else if` is an `if` in an `else`. */
static void add_block(mvs_text *out, const mvs_block *block, int level) {
  for (size_t at = 0; at < block->count; at++) {
    const mvs_stmt *stmt = block->items[at];
    indent(out, level);
    add_head(out, stmt);
    add_block(out, &stmt->body, level + 1);
    if (stmt->orelse.count == 0) continue;
    indent(out, level);
    mvs_text_add(out, "else\n");
    add_block(out, &stmt->orelse, level + 1);
  }
}

/* A layer or rule with its formals, as it is written. */
static void add_definition(mvs_text *out, const mvs_definition *definition) {
  mvs_text_addf(out, "%s %s(", definition->residual ? "residual" : "layer", definition->name);
  for (size_t at = 0; at < definition->formal_count; at++) {
    const mvs_formal *each = &definition->formals[at];
    mvs_text_addf(out, at ? ", %s" : "%s", each->name);
    if (each->kind) mvs_text_addf(out, ": %s", each->kind);
    add_optional(out, " = ", each->value);
  }
  mvs_text_add(out, ")\n");
  add_block(out, &definition->body, 1);
}

/* Marks what the model reaches: the definitions named, and those that they name. */
typedef struct reach {
  mvs_table *by_name[2]; /* layers, rules: name to mvs_definition */
  mvs_table *marked[2];  /* the same, of those reached */
  MVS_LIST(const mvs_definition *) queue;
  mvs_arena *home;
} reach;

/* Marks the definitions of that name. A formal or let of the same name marks them too: printing
 * one too many does no harm. */
static void mark_name(void *context, const char *name) {
  reach *state = context;
  for (int rule = 0; rule < 2; rule++) {
    mvs_definition *definition = mvs_table_get(state->by_name[rule], name);
    if (!definition || mvs_table_set(state->marked[rule], name, definition)) continue;
    MVS_PUSH(state->home, &state->queue, definition);
  }
}

/* Marks what an expression names. */
static void mark_expr(reach *state, const mvs_expr *expr) {
  mvs_expr_names(expr, mark_name, state);
}

/* Marks what the statements of a block name, whichever side of an `if` they stand on. */
static void mark_block(reach *state, const mvs_block *block) {
  for (size_t at = 0; at < block->count; at++) {
    const mvs_stmt *stmt = block->items[at];
    mark_expr(state, stmt->value);
    mark_expr(state, stmt->shape);
    mark_expr(state, stmt->writer_if);
    mark_block(state, &stmt->body);
    mark_block(state, &stmt->orelse);
  }
}

/* Follows names from the model, the lets and the override until nothing new is found. */
static reach reached(const mvs_unit *unit, mvs_arena *home) {
  reach state = {.home = home};
  for (int rule = 0; rule < 2; rule++) {
    state.by_name[rule] = mvs_table_new(home);
    state.marked[rule] = mvs_table_new(home);
  }
  for (size_t at = 0; at < unit->definition_count; at++) {
    mvs_definition *each = unit->definitions[at];
    mvs_table_set(state.by_name[each->residual], each->name, each);
  }
  mark_block(&state, unit->model);
  mark_block(&state, &unit->lets);
  mark_expr(&state, unit->residual);
  for (size_t at = 0; at < state.queue.count; at++) {
    const mvs_definition *each = state.queue.items[at];
    for (size_t formal = 0; formal < each->formal_count; formal++)
      mark_expr(&state, each->formals[formal].value);
    mark_block(&state, &each->body);
  }
  return state;
}

void mvs_unit_dump(const mvs_unit *unit, mvs_text *out) {
  for (size_t at = 0; at < unit->lets.count; at++) {
    mvs_text_add(out, "let ");
    add_head(out, unit->lets.items[at]);
  }
  reach state = reached(unit, out->home);
  for (size_t at = 0; at < unit->definition_count; at++) {
    const mvs_definition *each = unit->definitions[at];
    if (mvs_table_get(state.marked[each->residual], each->name)) add_definition(out, each);
  }
  mvs_text_addf(out, "model %s\n", unit->model_name);
  if (unit->residual) {
    mvs_text_addf(out, "  # residual rule from %s: ", unit->residual_origin);
    add_expr(out, unit->residual);
    mvs_text_add(out, "\n");
  }
  add_block(out, unit->model, 1);
  if (unit->train) mvs_text_add(out, "train\n"), add_block(out, unit->train, 1);
  if (unit->sample) mvs_text_add(out, "sample\n"), add_block(out, unit->sample, 1);
}
