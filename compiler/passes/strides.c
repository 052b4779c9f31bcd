/* strides.c: element strides of values as reshapes see them.
 *
 * A reshape keeps the row-major order of elements, so the axes of both shapes fall into runs
 * that hold the same elements: [B, T, 4, 16] and [B, T, 64] have the runs B, T and (4, 16) |
 * (64). Within a run the elements must lie at one stride, which is then divided anew. Axes of
 * extent 1 never move and may have any stride. */
#include "compiler/passes/strides.h"

static bool moves(mvs_dim dim) { return dim.size > 1 || dim.per_batch; }

void mvs_strides_whole(const mvs_type *type, int64_t *strides) {
  int64_t stride = 1;
  for (int i = type->rank - 1; i >= 0; i--) {
    strides[i] = stride;
    stride *= type->dims[i].size;
  }
}

bool mvs_strides_are_whole(const mvs_type *type, const int64_t *strides) {
  int64_t stride = 1;
  for (int i = type->rank - 1; i >= 0; i--) {
    if (moves(type->dims[i]) && strides[i] != stride) return false;
    stride *= type->dims[i].size;
  }
  return true;
}

/* Axes [first, end) of a type. */
typedef struct axis_run {
  int first, end;
} axis_run;

static mvs_dim extent_of(const mvs_type *type, axis_run run) {
  mvs_dim product = {1, false};
  for (int i = run.first; i < run.end; i++) {
    product.size *= type->dims[i].size;
    product.per_batch = product.per_batch || type->dims[i].per_batch;
  }
  return product;
}

/* The next axes of both types that hold the same elements: the fewest that move. False at the
 * end, or where the extents never meet. */
static bool next_runs(const mvs_type *a, const mvs_type *b, axis_run *x, axis_run *y) {
  *x = (axis_run){x->end, x->end};
  *y = (axis_run){y->end, y->end};
  do {
    mvs_dim left = extent_of(a, *x), right = extent_of(b, *y);
    bool more_left = left.size < right.size || (left.per_batch < right.per_batch);
    if (x->end == x->first) more_left = x->end < a->rank;
    if (more_left) {
      if (x->end++ == a->rank) return false;
    } else if (y->end++ == b->rank) {
      return false;
    }
  } while (!moves(extent_of(a, *x)) || !mvs_dim_equal(extent_of(a, *x), extent_of(b, *y)));
  return true;
}

/* The stride of the elements of a run seen as one axis; false when it has gaps inside. Only the
 * first axis that moves may be the batch, for what lies before it has no stride of its own. */
static bool run_stride(const mvs_type *type, axis_run run, const int64_t *strides,
                       int64_t *stride) {
  int64_t expected = 0;
  bool batch = false;
  for (int i = run.end - 1; i >= run.first; i--) {
    if (!moves(type->dims[i])) continue;
    if (batch || (expected && strides[i] != expected)) return false;
    if (!expected) *stride = strides[i];
    expected = strides[i] * type->dims[i].size;
    batch = type->dims[i].per_batch;
  }
  return true;
}

/* Divides one axis of that stride into the axes of a run. */
static bool split_stride(const mvs_type *type, axis_run run, int64_t stride, int64_t *out) {
  bool batch = false;
  for (int i = run.end - 1; i >= run.first; i--) {
    if (batch && moves(type->dims[i])) return false;
    out[i] = stride;
    stride *= type->dims[i].size;
    batch = batch || type->dims[i].per_batch;
  }
  return true;
}

static bool all_still(const mvs_type *type, int first) {
  for (int i = first; i < type->rank; i++) {
    if (moves(type->dims[i])) return false;
  }
  return true;
}

/* Without gaps any shape goes; with them run by run. What is left behind the last run of either
 * shape must not move. */
bool mvs_strides_reshape(const mvs_type *from, const int64_t *strides, const mvs_type *to,
                         int64_t *out) {
  mvs_strides_whole(to, out);
  if (mvs_strides_are_whole(from, strides)) return true;
  axis_run a = {0, 0}, b = {0, 0};
  while (!all_still(from, a.end)) {
    int64_t stride = 1;
    if (!next_runs(from, to, &a, &b)) return false;
    if (!run_stride(from, a, strides, &stride)) return false;
    if (!split_stride(to, b, stride, out)) return false;
  }
  return all_still(to, b.end);
}

bool mvs_is_heads(const mvs_graph *graph, mvs_id op, mvs_id value) {
  mvs_op kind = mvs_graph_node(graph, op)->op;
  if (kind != MVS_OP_attention && kind != MVS_OP_attention_grad) return false;
  return mvs_graph_type(graph, value)->rank == 4;
}

/* Samples T tokens apart: one number, elements from token to token, says it all to libraries.
 * */
bool mvs_strides_fit_heads(const mvs_type *type, const int64_t *strides) {
  if (type->rank != 4) return false;
  int64_t features = type->dims[3].size;
  bool dense =
      (features == 1 || strides[3] == 1) && (type->dims[2].size == 1 || strides[2] == features);
  return dense && (type->dims[1].size == 1 || strides[0] == strides[1] * type->dims[1].size);
}
