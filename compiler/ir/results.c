/* results.c: the results of ops that have several. The type of a node is that of its result 0;
 * the others are worked out here from the node, when somebody asks: attention's from the
 * queries, its gradient's from the inputs, a region's from the results of its body. Stored
 * types would have to be kept equal to those. */
#include <assert.h>

#include "compiler/ir/region.h"

/* See ops.def for what the results of each op are. */
uint32_t mvs_node_result_count(const mvs_graph *graph, mvs_id id) {
  const mvs_node *node = mvs_graph_node(graph, id);
  switch (node->op) {
    case MVS_OP_attention:
      return 2;
    case MVS_OP_attention_grad:
      return 3;
    case MVS_OP_region:
      return node->attr.region.body->carried_count + node->attr.region.body->output_count;
    default:
      return 1;
  }
}

/* Carried values come out as they are inside, outputs with all layers in front. */
static mvs_type region_result_type(const mvs_region *region, uint32_t index) {
  mvs_id inner = mvs_graph_result_list(region->body)->items[index].id;
  const mvs_type *type = mvs_graph_type(region->body, inner);
  return index < region->carried_count ? *type : mvs_region_stack_type(region, type);
}

/* attention: o like q, then the log-sums. attention_grad: dq, dk, dv like q, k, v, its first
 * three inputs. */
mvs_type mvs_node_result_type(const mvs_graph *graph, mvs_id id, uint32_t index) {
  const mvs_node *node = mvs_graph_node(graph, id);
  assert(index < mvs_node_result_count(graph, id));
  if (node->op == MVS_OP_region) return region_result_type(node->attr.region.body, index);
  if (index == 0) return node->type;
  if (node->op == MVS_OP_attention_grad) return *mvs_graph_type(graph, node->inputs[index]);
  const mvs_type *q = &node->type; /* [B, T, H, D] -> lse [B, H, T] */
  return mvs_type_make(MVS_F32, 3, (mvs_dim[]){q->dims[0], q->dims[2], q->dims[1]});
}
