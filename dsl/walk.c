/* walk.c: walks over expressions. They recurse: the parser bounds the height of a tree by
 * MVS_MAX_HEIGHT, so the stack holds any tree that it lets through. */
#include "dsl/walk.h"

void mvs_expr_names(const mvs_expr *expr, mvs_name_visit *visit, void *context) {
  if (!expr) return;
  bool named = expr->kind == MVS_EXPR_CALL || expr->kind == MVS_EXPR_NAME;
  if (named) visit(context, expr->text);
  mvs_expr_names(expr->a, visit, context);
  mvs_expr_names(expr->b, visit, context);
  mvs_expr_names(expr->c, visit, context);
  for (size_t at = 0; at < expr->argument_count; at++)
    mvs_expr_names(expr->arguments[at].value, visit, context);
}
