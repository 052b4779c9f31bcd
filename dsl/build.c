/* build.c: the tree's nodes, one call per rule of the grammar. What the grammar cannot say is
 * checked where a node is made, when both places are at hand: numbers that a double cannot
 * hold, arguments in the wrong order, labels on what is no call. After a report a node of the
 * right kind is still returned, so that parsing goes on and finds further mistakes. Every node
 * knows its height, and none is higher than MVS_MAX_HEIGHT: all walks over trees recurse. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "dsl/parser.h"

/* The largest integer up to which every integer is a double of its own. */
#define LARGEST_INTEGER 9007199254740992.0

/* A node without children; `raise` accounts for each that is added. */
static mvs_expr *expr_new(mvs_parser *parser, mvs_span span, mvs_expr_kind kind) {
  mvs_expr *expr = MVS_NEW(parser->session, mvs_expr);
  expr->kind = kind;
  expr->span = span;
  expr->height = 1;
  return expr;
}

/* Accounts for a child. A tree beyond the limit is reported once and counts as flat from there,
 * so that one long chain gives one error. */
static void raise(mvs_parser *parser, mvs_expr *expr, const mvs_expr *child) {
  if (child && child->height >= expr->height) expr->height = child->height + 1;
  if (expr->height <= MVS_MAX_HEIGHT) return;
  expr->height = 1;
  if (parser->told_height) return;
  parser->told_height = true;
  mvs_parser_limit(parser, expr->span, "the expression is more than %d operations deep",
                   MVS_MAX_HEIGHT);
  mvs_diag_hint(parser->diag, "name a part of it with `let`");
}

mvs_expr *mvs_build_zero(mvs_parser *parser, mvs_span span) {
  mvs_expr *expr = expr_new(parser, span, MVS_EXPR_NUMBER);
  expr->integer = true;
  return expr;
}

/* A number that a double cannot hold is an error and not rounded to 0 or infinity. */
mvs_expr *mvs_build_number(mvs_parser *parser, mvs_span span, const char *digits) {
  mvs_expr *expr = expr_new(parser, span, MVS_EXPR_NUMBER);
  expr->integer = strspn(digits, "0123456789") == strlen(digits);
  expr->number = strtod(digits, NULL);
  bool nonzero = strcspn(digits, "123456789") < strcspn(digits, "eE");
  if (expr->integer && expr->number > LARGEST_INTEGER) {
    mvs_parser_limit(parser, span, "the integer is above %.0f, the largest one held exactly",
                     LARGEST_INTEGER);
  } else if (!isfinite(expr->number)) {
    mvs_parser_limit(parser, span, "the number is too large for 64-bit floating point");
  } else if (nonzero && expr->number == 0) {
    mvs_parser_limit(parser, span, "the number is too small for 64-bit floating point");
  }
  return expr;
}

/* The quotes and backslashes go, so `length` bytes always hold the text and its NUL. */
const char *mvs_build_string(mvs_parser *parser, mvs_span span, const char *quoted,
                             size_t length) {
  char *text = mvs_arena_alloc(parser->session, length);
  size_t used = 0;
  for (size_t at = 1; at + 1 < length; at++) {
    if (quoted[at] == '\\') {
      at++;
      if (quoted[at] != '\\' && quoted[at] != '"') {
        span.end = span.begin + (uint32_t)at + 1;
        span.begin += (uint32_t)at - 1;
        mvs_parser_error(parser, span, "only \\\" and \\\\ may follow a backslash in a string");
        return "";
      }
    }
    text[used++] = quoted[at];
  }
  return text;
}

mvs_expr *mvs_build_bool(mvs_parser *parser, mvs_span span, bool truth) {
  mvs_expr *expr = expr_new(parser, span, MVS_EXPR_BOOL);
  expr->truth = truth;
  return expr;
}

mvs_expr *mvs_build_text(mvs_parser *parser, mvs_span span, mvs_expr_kind kind,
                         const char *text) {
  mvs_expr *expr = expr_new(parser, span, kind);
  expr->text = text;
  expr->text_span = span;
  return expr;
}

mvs_expr *mvs_build_group(mvs_parser *parser, mvs_span span, mvs_expr_kind kind,
                          mvs_arguments items) {
  mvs_expr *expr = expr_new(parser, span, kind);
  expr->arguments = items.items;
  expr->argument_count = items.count;
  for (size_t at = 0; at < items.count; at++) raise(parser, expr, items.items[at].value);
  return expr;
}

/* Reports names given twice and values that follow a named one, where their order is unclear.
 */
static void check_arguments(mvs_parser *parser, const mvs_arguments *all) {
  const mvs_argument *named = NULL;
  for (size_t at = 0; at < all->count; at++) {
    const mvs_argument *each = &all->items[at];
    if (!each->name) {
      if (!named) continue;
      mvs_parser_error(parser, each->span, "a value without a name follows a named one");
      mvs_diag_note(parser->diag, named->span, "named from here on");
      return;
    }
    named = named ? named : each;
    for (size_t other = (size_t)(named - all->items); other < at; other++) {
      if (strcmp(all->items[other].name, each->name) != 0) continue;
      mvs_parser_error(parser, each->span, "'%s' is given twice", each->name);
      mvs_diag_note(parser->diag, all->items[other].span, "first given here");
      return;
    }
  }
}

/* The arguments of a call that has too many are dropped, so that no quadratic check runs on
 * them. */
mvs_expr *mvs_build_call(mvs_parser *parser, mvs_span span, mvs_word callee,
                         mvs_arguments arguments) {
  if (arguments.count > MVS_MAX_HEIGHT) {
    mvs_parser_limit(parser, span, "the call has more than %d arguments", MVS_MAX_HEIGHT);
    arguments.count = 0;
  }
  check_arguments(parser, &arguments);
  mvs_expr *expr = mvs_build_group(parser, span, MVS_EXPR_CALL, arguments);
  expr->text = callee.text;
  expr->text_span = callee.span;
  return expr;
}

mvs_expr *mvs_build_member(mvs_parser *parser, mvs_span span, mvs_expr *of, mvs_word member) {
  mvs_expr *expr = mvs_build_text(parser, span, MVS_EXPR_MEMBER, member.text);
  expr->text_span = member.span;
  expr->a = of;
  raise(parser, expr, of);
  return expr;
}

mvs_expr *mvs_build_index(mvs_parser *parser, mvs_span span, mvs_expr *of, mvs_expr *at) {
  mvs_expr *expr = expr_new(parser, span, MVS_EXPR_INDEX);
  expr->a = of;
  expr->b = at;
  raise(parser, expr, of);
  raise(parser, expr, at);
  return expr;
}

mvs_expr *mvs_build_each(mvs_parser *parser, mvs_span span, mvs_expr *body, mvs_word name,
                         mvs_expr *over) {
  mvs_expr *expr = mvs_build_text(parser, span, MVS_EXPR_EACH, name.text);
  expr->text_span = name.span;
  expr->a = body;
  expr->b = over;
  raise(parser, expr, body);
  raise(parser, expr, over);
  return expr;
}

mvs_expr *mvs_build_operation(mvs_parser *parser, mvs_span span, mvs_operator op, mvs_expr *a,
                              mvs_expr *b) {
  mvs_expr *expr = expr_new(parser, span, b ? MVS_EXPR_BINARY : MVS_EXPR_UNARY);
  expr->op = op;
  expr->a = a;
  expr->b = b;
  raise(parser, expr, a);
  raise(parser, expr, b);
  return expr;
}

mvs_expr *mvs_build_if(mvs_parser *parser, mvs_span span, mvs_expr *condition, mvs_expr *yes,
                       mvs_expr *no) {
  mvs_expr *expr = expr_new(parser, span, MVS_EXPR_IF);
  expr->a = condition;
  expr->b = yes;
  expr->c = no;
  raise(parser, expr, condition);
  raise(parser, expr, yes);
  raise(parser, expr, no);
  return expr;
}

/* The span grows to hold the label: errors about the call underline both. */
mvs_expr *mvs_build_label(mvs_parser *parser, mvs_span span, mvs_expr *expr, mvs_word label) {
  if (expr->kind != MVS_EXPR_CALL) {
    mvs_parser_error(parser, label.span, "only a call can carry a label");
    mvs_diag_note(parser->diag, expr->span, "this is not a call");
    if (expr->kind == MVS_EXPR_BINARY) {
      mvs_diag_hint(parser->diag, "put the call and its label in parentheses: (f(x) as %s)",
                    label.text);
    }
    return expr;
  }
  if (expr->label) {
    mvs_parser_error(parser, label.span, "the call already has the label '%s'", expr->label);
    mvs_diag_note(parser->diag, expr->label_span, "labelled here");
    return expr;
  }
  expr->label = label.text;
  expr->label_span = label.span;
  expr->span = span;
  return expr;
}

mvs_word mvs_build_dotted(mvs_parser *parser, mvs_span span, mvs_word first, mvs_word next) {
  /* The joined text is copied at every dot: the limit keeps a hostile label from costing its
   * length squared. */
  if (strlen(first.text) > 1000) {
    mvs_parser_limit(parser, span, "the label is longer than 1000 letters");
    return (mvs_word){next.text, span};
  }
  return (mvs_word){mvs_arena_format(parser->session, "%s.%s", first.text, next.text), span};
}

mvs_stmt *mvs_build_stmt(mvs_parser *parser, mvs_span span, mvs_stmt_kind kind) {
  mvs_stmt *stmt = MVS_NEW(parser->session, mvs_stmt);
  stmt->kind = kind;
  stmt->span = span;
  return stmt;
}

mvs_stmt *mvs_build_let(mvs_parser *parser, mvs_span span, mvs_words names, mvs_expr *value) {
  mvs_stmt *stmt = mvs_build_stmt(parser, span, MVS_STMT_LET);
  stmt->names = MVS_ARRAY(parser->session, names.count, const char *);
  stmt->name_spans = MVS_ARRAY(parser->session, names.count, mvs_span);
  stmt->name_count = names.count;
  for (size_t at = 0; at < names.count; at++) {
    stmt->names[at] = names.items[at].text;
    stmt->name_spans[at] = names.items[at].span;
  }
  stmt->value = value;
  return stmt;
}

/* `writer`, label and blocks are the grammar's to fill in. */
mvs_stmt *mvs_build_named(mvs_parser *parser, mvs_span span, mvs_stmt_kind kind, mvs_word name,
                          mvs_expr *value) {
  mvs_words names = {.items = &name, .count = 1};
  mvs_stmt *stmt = mvs_build_let(parser, span, names, value);
  stmt->kind = kind;
  return stmt;
}

mvs_stmt *mvs_build_typed(mvs_parser *parser, mvs_span span, mvs_stmt_kind kind, mvs_word name,
                          mvs_word dtype, mvs_expr *shape, mvs_expr *value) {
  mvs_stmt *stmt = mvs_build_named(parser, span, kind, name, value);
  stmt->dtype = dtype.text;
  stmt->shape = shape;
  return stmt;
}

mvs_stmt *mvs_build_labelled(mvs_parser *parser, mvs_span span, mvs_stmt_kind kind,
                             mvs_expr *value, mvs_word label) {
  mvs_stmt *stmt = mvs_build_stmt(parser, span, kind);
  stmt->value = value;
  stmt->label = label.text;
  stmt->label_span = label.span;
  return stmt;
}
