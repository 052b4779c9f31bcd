/* dump.h: graphs as text. What is written reads back to an equal graph.
 *
 *   module dit
 *   param 0 "blocks.{i}.operator.weight" : f32[64, 64] layers=3 trained init=normal(0.02)
 *   function grad
 *   %0 = input x0 : f32[B, 8, 4, 6]
 *   %7 = matmul NT %3, %5 : f32[B, 29{image:24(4x6), text:5}, 64]      # dit.mvs:12
 *   %9 = region blocks count=3 carried(%7) invariant(%8) stacked(%2, %4) reads(0@1) {
 *     %0 = argument carried 0 : f32[B, 29, 64]
 *     ...
 *     results carried(%12) stacked(%5)
 *   } : (f32[B, 29, 64], f32[3, B, 29, 64])
 *   %10 = get 0 %9 : f32[B, 29, 64] pass=1 by "rewrite's name"
 *   results velocity=%10
 *
 * An op writes its attribute before its inputs; what the attribute repeats of the result's type
 * is written once, as the type. Numbers have the fewest digits, 15 to 17, that read back
 * exactly. "reads(0@1)" is output 0 at distance 1; "forward=%9" the region whose values may be
 * redone. Comments (the source place, a parameter's name) and settings are not read back. */
#ifndef MVS_IR_DUMP_H
#define MVS_IR_DUMP_H

#include "compiler/ir/module.h"

/* Writes the whole module: parameters, then each function. */
void mvs_module_dump(const mvs_module *module, mvs_text *out);
/* Writes one graph. */
void mvs_graph_dump(const mvs_graph *graph, mvs_text *out);
/* Writes one node without its body, and no line end: for messages. */
void mvs_node_dump(const mvs_graph *graph, mvs_id id, mvs_text *out);
/* Reads a module back from text.
 * errors : MVS_ERR_SYNTAX, MVS_ERR_SHAPE, MVS_ERR_LIMIT, explained in diag */
mvs_status mvs_module_read(mvs_arena *arena, mvs_diag *diag, const mvs_source *source,
                           mvs_module **out);
/* Writes one function as a Graphviz digraph, regions as clusters. */
void mvs_graph_dot(const mvs_graph *graph, const char *name, mvs_text *out);

#endif
