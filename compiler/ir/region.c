/* region.c: regions and the types on either side of their border. */
#include "compiler/ir/region.h"

#include <assert.h>

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

mvs_id mvs_region_argument(mvs_region *region, mvs_argument_kind kind, uint32_t index,
                           const mvs_type *type, mvs_span span) {
  mvs_attr attr = {.argument = {kind, index, {.dtype = MVS_I32}}};
  if (kind != MVS_ARG_LAYER) attr.argument.type = *type;
  return mvs_graph_add(region->body, MVS_OP_argument, NULL, 0, &attr, span);
}

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
