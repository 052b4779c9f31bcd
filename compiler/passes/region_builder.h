/* region_builder.h: makes a region part by part, for passes that rebuild or invent one.
 * Equal parts are made once: asking for the same outer value as invariant or stacked input, for
 * the same read, or for the same body value as output twice gives the same index.
 * Owner: the arena of the outer graph. */
#ifndef MVS_PASSES_REGION_BUILDER_H
#define MVS_PASSES_REGION_BUILDER_H

#include "compiler/ir/module.h"

/* One input of the region: the outer value and the argument that names it in the body. */
typedef struct mvs_region_port {
  mvs_id outer, argument;
} mvs_region_port;

typedef MVS_LIST(mvs_region_port) mvs_region_ports;

typedef struct mvs_region_builder {
  mvs_graph *outer;
  mvs_region *region;
  mvs_region_ports carried, invariants, stacked;
  MVS_LIST(mvs_id) next;    /* per carried value: what the body hands to the next layer run */
  MVS_LIST(mvs_id) outputs; /* body values collected over layers */
  MVS_LIST(mvs_id) reads;   /* arguments of the reads */
} mvs_region_builder;

/* Starts a region of the same label, count and span as `like`, running the given way. */
mvs_region_builder *mvs_region_builder_new(mvs_graph *outer, const mvs_region *like,
                                           bool reverse);
/* Adds a carried value that starts as `initial`; returns its argument. Never shared. */
mvs_id mvs_region_builder_carried(mvs_region_builder *builder, mvs_id initial);
/* Says what carried value `index` becomes at the end of the body. */
void mvs_region_builder_next(mvs_region_builder *builder, uint32_t index, mvs_id body_value);
/* Returns the argument for an outer value that is the same for all layers. */
mvs_id mvs_region_builder_invariant(mvs_region_builder *builder, mvs_id outer);
/* Returns the argument for one layer's slice of an outer stacked value. `type` is the type
 * inside (segments are not part of a stacked type, so the outer value cannot tell). */
mvs_id mvs_region_builder_stacked(mvs_region_builder *builder, mvs_id outer,
                                  const mvs_type *type);
/* Returns the argument for a read of stacked output `output`, which may be added later. */
mvs_id mvs_region_builder_read(mvs_region_builder *builder, uint32_t output, int64_t distance,
                               const mvs_type *type);
/* Returns the argument that is the layer's number. */
mvs_id mvs_region_builder_layer(mvs_region_builder *builder);
/* Collects a body value over layers; returns its index among the stacked outputs. */
uint32_t mvs_region_builder_output(mvs_region_builder *builder, mvs_id body_value);
/* Inputs that the region has so far. */
size_t mvs_region_builder_inputs(const mvs_region_builder *builder);
/* Adds the region node to the outer graph. Asserts that its inputs are within MVS_MAX_INPUTS.
 */
mvs_id mvs_region_builder_finish(mvs_region_builder *builder);

/* Appends one more stacked output to a region whose node exists; returns its index among the
 * stacked outputs. Results keep their numbers, so the node stays as it is. */
uint32_t mvs_region_add_output(mvs_region *region, mvs_id body_value);

#endif
