/* dump.h: graphs as text. What is written reads back to an equal graph.
 *
 *   function grad
 *   %0 = input x0 : f32[B, 8, 4, 6]
 *   %7 = matmul NT %3, %5 : f32[B, 29{image:24(4x6), text:5}, 64]      # dit.mvs:12
 *   %9 = region blocks count=3 carried(%7) invariant(%8) stacked(%2, %4) {
 *     %0 = argument carried 0 : f32[B, 29, 64]
 *     ...
 *     results carried(%12) stacked(%5)
 *   }
 *   results velocity=%21 */
#ifndef MVS_IR_DUMP_H
#define MVS_IR_DUMP_H

#include "compiler/ir/module.h"

/* Writes the whole module: parameters, then each function. */
void mvs_module_dump(const mvs_module *module, mvs_text *out);
/* Writes one graph. */
void mvs_graph_dump(const mvs_graph *graph, mvs_text *out);
/* Reads a module back from text. errors: MVS_ERR_SYNTAX, MVS_ERR_SHAPE, MVS_ERR_LIMIT in diag. */
mvs_status mvs_module_read(mvs_arena *arena, mvs_diag *diag, const mvs_source *source,
                           mvs_module **out);
/* Writes one function as a Graphviz digraph, regions as clusters. */
void mvs_graph_dot(const mvs_graph *graph, const char *name, mvs_text *out);

#endif
