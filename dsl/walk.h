/* walk.h: questions about a tree that need no meaning of its names. */
#ifndef MVS_DSL_WALK_H
#define MVS_DSL_WALK_H

#include "dsl/ast.h"

typedef void mvs_name_visit(void *context, const char *name);

/* Calls `visit` for every name that an expression reads or calls, in the order written. `expr`
 * may be NULL. Labels, members and keywords are no names. */
void mvs_expr_names(const mvs_expr *expr, mvs_name_visit *visit, void *context);

#endif
