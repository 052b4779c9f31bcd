/* shapes_heavy.c: shape rules of matmul, attention and region. Letters: B batch, T tokens, H
 * query heads, G key heads, D features of a head, M, N, K the extents of a product. Matmul and
 * attention name the dtype of their result, because what they round to is part of the op; sums
 * inside are f32 whatever is stored. The rule of a region compares both sides of its border,
 * argument by argument, and trusts that the body's nodes were checked when added. */
#include <inttypes.h>

#include "compiler/ir/shapes.h"

#define TOKEN_AXIS 1

/* --- matmul --- */

/* Fails unless the two contracted extents agree, in their dependence on the batch too. */
static mvs_status inner_sizes(const mvs_shape_call *call, mvs_dim a, mvs_dim b) {
  if (mvs_dim_equal(a, b)) return MVS_OK;
  return mvs_shape_mismatch(call, "inner sizes differ, %s and %s", mvs_shape_dim(call, a),
                            mvs_shape_dim(call, b));
}

/* A bias is [N], and only the form of a linear layer has one. Its dtype is the result's: no
 * library adds another to the sum before it is rounded. */
static mvs_status bias_fits(const mvs_shape_call *call, mvs_dim outputs) {
  if (call->count < 3) return MVS_OK;
  const mvs_type *bias = mvs_shape_input(call, 2);
  MVS_TRY(mvs_shape_needs_float(call, 2));
  if (call->attr->matmul.form != MVS_MATMUL_NT) {
    return mvs_shape_error(call, "only x W^T takes a bias");
  }
  if (bias->dtype != call->attr->matmul.dtype) {
    return mvs_shape_mismatch(call, "a bias of %s for a result of %s",
                              mvs_dtype_name(bias->dtype),
                              mvs_dtype_name(call->attr->matmul.dtype));
  }
  if (bias->rank == 1 && mvs_dim_equal(bias->dims[0], outputs)) return MVS_OK;
  return mvs_shape_mismatch(call, "a bias of %s for %s outputs",
                            mvs_shape_type_text(call, bias), mvs_shape_dim(call, outputs));
}

/* x W^T and dY W: the last axis of A gives way to the other axis of B. */
static mvs_status matmul_rows(const mvs_shape_call *call, int inner_axis, mvs_type *out) {
  const mvs_type *a = mvs_shape_input(call, 0), *b = mvs_shape_input(call, 1);
  if (b->rank != 2) {
    return mvs_shape_mismatch(call, "the second operand is a matrix, not %s",
                              mvs_shape_type_text(call, b));
  }
  MVS_TRY(inner_sizes(call, a->dims[a->rank - 1], b->dims[inner_axis]));
  mvs_dim outputs = b->dims[1 - inner_axis];
  *out = *a;
  out->dims[a->rank - 1] = outputs;
  if (a->rank - 1 == TOKEN_AXIS) out->segments = NULL;
  return bias_fits(call, outputs);
}

/* dY^T X: every leading axis is summed over. */
static mvs_status matmul_leading(const mvs_shape_call *call, mvs_type *out) {
  const mvs_type *a = mvs_shape_input(call, 0), *b = mvs_shape_input(call, 1);
  if (a->rank != b->rank) {
    return mvs_shape_mismatch(call, "ranks differ, %d and %d", a->rank, b->rank);
  }
  for (int i = 0; i + 1 < a->rank; i++) MVS_TRY(inner_sizes(call, a->dims[i], b->dims[i]));
  if (a->segments && b->segments && a->segments != b->segments && a->rank > 2) {
    return mvs_shape_mismatch(call, "segments differ");
  }
  mvs_dim dims[] = {a->dims[a->rank - 1], b->dims[b->rank - 1]};
  *out = mvs_type_make(MVS_F32, 2, dims);
  return bias_fits(call, dims[1]);
}

/* NT: [..., K], [N, K] -> [..., N]; NN: [..., K], [K, N] -> [..., N]; TN: [..., M], [..., N] ->
 * [M, N]. The dtype of the result is the attribute's, whatever that of the operands. */
mvs_status mvs_shape_of_matmul(const mvs_shape_call *call, mvs_type *out) {
  for (int i = 0; i < 2; i++) {
    MVS_TRY(mvs_shape_needs_float(call, i));
    if (mvs_shape_input(call, i)->rank == 0) {
      return mvs_shape_mismatch(call, "needs operands with axes");
    }
  }
  switch (call->attr->matmul.form) {
    case MVS_MATMUL_NT:
      MVS_TRY(matmul_rows(call, 1, out));
      break;
    case MVS_MATMUL_NN:
      MVS_TRY(matmul_rows(call, 0, out));
      break;
    case MVS_MATMUL_TN:
      MVS_TRY(matmul_leading(call, out));
      break;
    default:
      return mvs_shape_error(call, "unknown form");
  }
  out->dtype = call->attr->matmul.dtype;
  if (out->dtype == MVS_I32) return mvs_shape_error(call, "has a float result");
  return MVS_OK;
}

/* --- attention: [B, T, H, D], heads H for queries, G for keys and values --- */

#define HEAD_AXIS 2

/* Keys and values are like the queries in all but the number of heads. */
static mvs_status check_keys(const mvs_shape_call *call, int index, const char *name) {
  const mvs_type *q = mvs_shape_input(call, 0), *k = mvs_shape_input(call, index);
  mvs_type wanted = *q;
  if (k->rank == q->rank) wanted.dims[HEAD_AXIS] = k->dims[HEAD_AXIS];
  if (!mvs_type_same_shape(k, &wanted) || k->dtype != q->dtype) {
    return mvs_shape_mismatch(call, "%s are %s and do not fit queries %s", name,
                              mvs_shape_type_text(call, k), mvs_shape_type_text(call, q));
  }
  return MVS_OK;
}

/* q [B, T, H, D]; k, v [B, T, G, D]; H a multiple of G: what both directions need. */
static mvs_status check_attention(const mvs_shape_call *call) {
  const mvs_type *q = mvs_shape_input(call, 0), *k = mvs_shape_input(call, 1);
  for (int i = 0; i < call->count; i++) MVS_TRY(mvs_shape_needs_float(call, i));
  if (q->rank != 4 || q->dims[1].per_batch || q->dims[2].per_batch || q->dims[3].per_batch) {
    return mvs_shape_mismatch(call, "queries are [B, T, H, D], not %s",
                              mvs_shape_type_text(call, q));
  }
  MVS_TRY(check_keys(call, 1, "keys"));
  MVS_TRY(check_keys(call, 2, "values"));
  if (!mvs_type_same_shape(k, mvs_shape_input(call, 2))) {
    return mvs_shape_mismatch(call, "keys are %s, values %s", mvs_shape_type_text(call, k),
                              mvs_shape_type_text(call, mvs_shape_input(call, 2)));
  }
  int64_t heads = q->dims[HEAD_AXIS].size, groups = k->dims[HEAD_AXIS].size;
  if (heads % groups != 0) {
    return mvs_shape_mismatch(
        call, "%" PRId64 " heads are no multiple of %" PRId64 " key heads", heads, groups);
  }
  return MVS_OK;
}

/* q, k, v -> (o like q, lse f32[B, H, T]); the second result is typed in results.c. */
mvs_status mvs_shape_of_attention(const mvs_shape_call *call, mvs_type *out) {
  MVS_TRY(check_attention(call));
  *out = *mvs_shape_input(call, 0);
  return MVS_OK;
}

/* q, k, v, o, lse, do -> (dq like q, dk like k, dv like v) */
mvs_status mvs_shape_of_attention_grad(const mvs_shape_call *call, mvs_type *out) {
  const mvs_type *q = mvs_shape_input(call, 0), *lse = mvs_shape_input(call, 4);
  MVS_TRY(check_attention(call));
  for (int i = 3; i < 6; i += 2) {
    const mvs_type *like = mvs_shape_input(call, i);
    if (!mvs_type_same_shape(like, q)) {
      return mvs_shape_mismatch(call, "%s is %s, queries are %s",
                                i == 3 ? "the result" : "its gradient",
                                mvs_shape_type_text(call, like), mvs_shape_type_text(call, q));
    }
  }
  mvs_type wanted = mvs_type_make(MVS_F32, 3, (mvs_dim[]){q->dims[0], q->dims[2], q->dims[1]});
  if (!mvs_type_same_shape(lse, &wanted) || lse->dtype != MVS_F32) {
    return mvs_shape_mismatch(call, "the log-sum is %s, not %s", mvs_shape_type_text(call, lse),
                              mvs_shape_type_text(call, &wanted));
  }
  *out = *q;
  return MVS_OK;
}

/* --- region --- */

/* The region's counts against its inputs and the results of its body. */
static mvs_status check_counts(const mvs_shape_call *call, const mvs_region *region) {
  uint64_t wanted =
      (uint64_t)region->carried_count + region->invariant_count + region->stacked_count;
  if (wanted != (uint64_t)call->count) {
    return mvs_shape_error(call, "%s takes %" PRIu64 " inputs, got %d", region->label, wanted,
                           call->count);
  }
  uint64_t results = (uint64_t)region->carried_count + region->output_count;
  size_t found = mvs_graph_results(region->body)->count;
  if (results != found || results == 0) {
    return mvs_shape_error(call, "%s has %" PRIu64 " results, its body %zu", region->label,
                           results, found);
  }
  if (region->count < 1 || region->count > MVS_MAX_DEPTH) {
    return mvs_shape_error(call, "%s runs %" PRId64 " times", region->label, region->count);
  }
  return MVS_OK;
}

/* The type of a result inside the body. */
static const mvs_type *body_result(const mvs_region *region, uint32_t index) {
  return mvs_graph_type(region->body, mvs_graph_results(region->body)->items[index].id);
}

/* Carried values leave as they came; outputs must have room for the layer axis. */
static mvs_status check_results(const mvs_shape_call *call, const mvs_region *region) {
  const mvs_results *results = mvs_graph_results(region->body);
  for (uint32_t i = 0; i < results->count; i++) {
    mvs_id id = results->items[i].id;
    if (id >= mvs_graph_size(region->body)) {
      return mvs_shape_error(call, "%s: result %" PRIu32 " is not a node", region->label, i);
    }
    if (mvs_op_is_tuple(mvs_graph_node(region->body, id)->op)) {
      return mvs_shape_error(call, "%s: result %" PRIu32 " is taken without get", region->label,
                             i);
    }
    const mvs_type *inner = mvs_graph_type(region->body, id);
    if (i >= region->carried_count) {
      if (inner->rank < MVS_MAX_RANK) continue;
      return mvs_shape_error(call, "%s: output %" PRIu32 " has too many axes to stack",
                             region->label, i - region->carried_count);
    }
    const mvs_type *outer = mvs_shape_input(call, (int)i);
    if (!mvs_type_equal(inner, outer)) {
      return mvs_shape_error(call, "%s carries %s in and %s out", region->label,
                             mvs_shape_type_text(call, outer),
                             mvs_shape_type_text(call, inner));
    }
  }
  return MVS_OK;
}

/* Reads name a stacked output of this region and go back by at least one layer: a read of the
 * same layer would be a cycle. */
static mvs_status check_reads(const mvs_shape_call *call, const mvs_region *region) {
  if (region->read_count > MVS_MAX_READS) {
    return mvs_shape_error(call, "%s has more than %d reads", region->label, MVS_MAX_READS);
  }
  for (uint32_t i = 0; i < region->read_count; i++) {
    const mvs_read *read = &region->reads[i];
    if (read->output >= region->output_count || read->distance < 1) {
      return mvs_shape_error(call, "%s: read %" PRIu32 " has no such output or distance",
                             region->label, i);
    }
  }
  return MVS_OK;
}

/* The type an argument must have, from outside; false when there is no such argument. `exact`
 * is cleared where the outer type cannot tell the segments. */
static bool argument_type(const mvs_shape_call *call, const mvs_region *region,
                          const mvs_attr *attr, mvs_type *out, bool *exact) {
  uint32_t index = attr->argument.index;
  int base = 0;
  switch (attr->argument.kind) {
    case MVS_ARG_CARRIED:
      if (index >= region->carried_count) return false;
      break;
    case MVS_ARG_INVARIANT:
      if (index >= region->invariant_count) return false;
      base = (int)region->carried_count;
      break;
    case MVS_ARG_STACKED: {
      if (index >= region->stacked_count) return false;
      base = (int)(region->carried_count + region->invariant_count);
      const mvs_type *outer = mvs_shape_input(call, base + (int)index);
      if (outer->rank == 0 || !mvs_dim_equal(outer->dims[0], (mvs_dim){region->count, false}))
        return false;
      *out = mvs_region_slice_type(outer);
      *exact = false;
      return true;
    }
    case MVS_ARG_READ:
      if (index >= region->read_count) return false;
      *out = *body_result(region, region->carried_count + region->reads[index].output);
      return true;
    case MVS_ARG_LAYER:
      *out = (mvs_type){.dtype = MVS_I32};
      return index == 0;
  }
  *out = *mvs_shape_input(call, base + (int)index);
  return true;
}

/* What stands in the body against what comes in from outside. */
static mvs_status check_argument(const mvs_shape_call *call, const mvs_region *region,
                                 const mvs_node *node) {
  static const char *const kinds[] = {"carried", "invariant", "stacked", "read", "layer"};
  const mvs_attr *attr = &node->attr;
  const char *kind = kinds[attr->argument.kind];
  mvs_type wanted;
  bool exact = true;
  if (!argument_type(call, region, attr, &wanted, &exact)) {
    return mvs_shape_error(call, "%s: no %s value %" PRIu32 " comes in", region->label, kind,
                           attr->argument.index);
  }
  if (!exact) wanted.segments = node->type.segments;
  if (mvs_type_equal(&wanted, &node->type)) return MVS_OK;
  return mvs_shape_error(call, "%s: %s value %" PRIu32 " is %s inside and %s outside",
                         region->label, kind, attr->argument.index,
                         mvs_shape_type_text(call, &node->type),
                         mvs_shape_type_text(call, &wanted));
}

/* Result 0 is the first carried value, or the first stacked output where none is carried. */
mvs_status mvs_shape_of_region(const mvs_shape_call *call, mvs_type *out) {
  const mvs_region *region = call->attr->region.body;
  if (!region || !region->body || mvs_graph_region(region->body) != region) {
    return mvs_shape_error(call, "has no body");
  }
  MVS_TRY(check_counts(call, region));
  MVS_TRY(check_results(call, region));
  MVS_TRY(check_reads(call, region));
  for (mvs_id id = 0; id < mvs_graph_size(region->body); id++) {
    const mvs_node *node = mvs_graph_node(region->body, id);
    if (node->op == MVS_OP_argument) MVS_TRY(check_argument(call, region, node));
  }
  const mvs_type *first = body_result(region, 0);
  *out = region->carried_count ? *first : mvs_region_stack_type(region, first);
  return MVS_OK;
}
