/* region.c: regions and the types on either side of their border. A stacked value has one type
 * per side: outside a leading axis of `count` layers, inside none. These two conversions are
 * the only places that know it. Making the node that holds a region is the builder's: its
 * inputs are only known once the body is built. */
#include "compiler/ir/region.h"

#include <assert.h>

/* The body belongs to the module of `outer` and knows its region, which is how an argument node
 * finds out that it may stand there. */
mvs_region *mvs_region_new(mvs_graph *outer, const char *label, int64_t count, bool reverse,
                           mvs_span span) {
  mvs_arena *home = mvs_graph_arena(outer);
  mvs_region *region = MVS_NEW(home, mvs_region);
  region->label = label;
  region->count = count;
  region->reverse = reverse;
  region->span = span;
  region->body = mvs_graph_new(home, mvs_graph_module(outer), region);
  return region;
}

/* Asking twice for one argument gives one node, by interning. */
mvs_id mvs_region_argument(mvs_region *region, mvs_argument_kind kind, uint32_t index,
                           const mvs_type *type, mvs_span span) {
  mvs_attr attr = {.argument = {kind, index, {.dtype = MVS_I32}}};
  if (kind != MVS_ARG_LAYER) attr.argument.type = *type;
  return mvs_graph_add(region->body, MVS_OP_argument, NULL, 0, &attr, span);
}

/* An inner value of full rank cannot be stacked: callers see to that first. */
mvs_type mvs_region_stack_type(const mvs_region *region, const mvs_type *inner) {
  assert(inner->rank < MVS_MAX_RANK);
  mvs_type outer = {.dtype = inner->dtype, .rank = (uint8_t)(inner->rank + 1)};
  outer.dims[0] = (mvs_dim){region->count, false};
  for (int i = 0; i < inner->rank; i++) outer.dims[i + 1] = inner->dims[i];
  return outer;
}

mvs_type mvs_region_slice_type(const mvs_type *outer) {
  assert(outer->rank > 0);
  return mvs_type_make(outer->dtype, outer->rank - 1, outer->dims + 1);
}
