/* build_affine.c: arithmetic on affine functions of a nest's axes.
 *
 * Views compose: a slice adds a constant, a transpose changes places, a reshape joins axes into
 * the one that they were. As long as each step is affine, the address of any element is
 * constant + sum of stride * index, which costs a kernel one addition a step. Where an index
 * would fall on both sides of a border, mvs_wish says where a cut of the axes would help. */
#include "codegen/build_draft.h"

/* Stands for an extent that grows with the batch; small enough that sums of products stay in
 * range. */
#define UNBOUNDED (INT64_C(1) << 60)

mvs_affine mvs_affine_constant(int64_t value) { return (mvs_affine){.constant = value}; }

mvs_affine mvs_affine_add(const mvs_affine *a, const mvs_affine *b, int64_t factor) {
  mvs_affine sum = *a;
  sum.constant += factor * b->constant;
  for (int i = 0; i < MVS_SLOTS; i++) sum.slot[i] += factor * b->slot[i];
  return sum;
}

bool mvs_affine_equal(const mvs_affine *a, const mvs_affine *b) {
  for (int i = 0; i < MVS_SLOTS; i++) {
    if (a->slot[i] != b->slot[i]) return false;
  }
  return a->constant == b->constant;
}

int mvs_affine_only_slot(const mvs_affine *affine) {
  int found = -1;
  for (int i = 0; i < MVS_SLOTS; i++) {
    if (affine->slot[i] == 0) continue;
    if (found >= 0) return -2;
    found = i;
  }
  return found;
}

/* Terms are independent, so the ends are sums of the terms' ends. */
void mvs_affine_range(const mvs_affine *affine, const mvs_axes *axes, int64_t *least,
                      int64_t *greatest) {
  *least = *greatest = affine->constant;
  for (int i = 0; i < MVS_SLOTS; i++) {
    if (affine->slot[i] == 0) continue;
    mvs_dim dim = axes->slots[i].dim;
    /* Products of a stride and an extent are offsets inside a tensor, at most MVS_MAX_EXTENT.
     */
    int64_t reach = dim.per_batch ? UNBOUNDED : affine->slot[i] * (dim.size - 1);
    if (affine->slot[i] < 0 && dim.per_batch) reach = -UNBOUNDED;
    *(reach < 0 ? least : greatest) += reach;
    if (*greatest > UNBOUNDED) *greatest = UNBOUNDED;
    if (*least < -UNBOUNDED) *least = -UNBOUNDED;
  }
}

/* A mixed answer asks for a cut at the first index at or behind the bound, rounded up to a
 * step. */
int mvs_affine_below(const mvs_affine *affine, int64_t bound, const mvs_axes *axes,
                     mvs_wish *wish) {
  int64_t least, greatest;
  mvs_affine_range(affine, axes, &least, &greatest);
  if (greatest < bound) return 1;
  if (least >= bound) return 0;
  int slot = mvs_affine_only_slot(affine);
  if (slot >= 0 && affine->slot[slot] > 0) {
    int64_t step = affine->slot[slot];
    *wish = (mvs_wish){true, slot, (bound - affine->constant + step - 1) / step};
  }
  return -1;
}

/* A run of axes [first, end) of a shape and its number of elements. */
typedef struct run {
  const mvs_type *type;
  int first, end;
  mvs_dim count;
} run;

static void run_take(run *r) {
  mvs_dim dim = r->type->dims[--r->first];
  r->count.size *= dim.size;
  r->count.per_batch = r->count.per_batch || dim.per_batch;
}

/* Extends both runs to the left until they hold equally many elements: [4, 16] and [64]. The
 * batch counts apart, for its extent is not known. */
static bool match_runs(run *a, run *b) {
  while (!mvs_dim_equal(a->count, b->count)) {
    bool a_smaller = a->count.size < b->count.size ||
                     (a->count.size == b->count.size && !a->count.per_batch);
    run *shorter = a_smaller && a->first > 0 ? a : b;
    if (shorter->first == 0) shorter = shorter == a ? b : a;
    if (shorter->first == 0) return false;
    run_take(shorter);
  }
  return true;
}

/* The row-major number of an element within the run. */
static mvs_affine flat_index(const run *r, const mvs_index *at) {
  mvs_affine flat = {0};
  int64_t stride = 1;
  for (int i = r->end - 1; i >= r->first; i--) {
    flat = mvs_affine_add(&flat, &at->axis[i], stride);
    stride *= r->type->dims[i].size;
  }
  return flat;
}

/* The reverse, where one axis at most has more than one element: it takes all. Others would be
 * quotients and rests of the flat index, which are not affine. */
static bool unflatten(const run *r, const mvs_affine *flat, mvs_index *out) {
  int moving = -1;
  for (int i = r->first; i < r->end; i++) {
    mvs_dim dim = r->type->dims[i];
    if (dim.size == 1 && !dim.per_batch) continue;
    if (moving >= 0) return false;
    moving = i;
  }
  if (moving >= 0) out->axis[moving] = *flat;
  return true;
}

/* Run by run from the right, the fewest axes of both shapes that hold the same elements, so
 * that an axis that both have passes through without a division. */
bool mvs_index_reshape(const mvs_index *at, const mvs_type *from, const mvs_type *to,
                       mvs_index *out) {
  *out = (mvs_index){0};
  run a = {from, from->rank, from->rank, {1, false}}, b = {to, to->rank, to->rank, {1, false}};
  while (a.first > 0 || b.first > 0) {
    a.end = a.first;
    b.end = b.first;
    a.count = b.count = (mvs_dim){1, false};
    if (a.first > 0) run_take(&a);
    if (b.first > 0) run_take(&b);
    if (!match_runs(&a, &b)) return false;
    mvs_affine flat = flat_index(&a, at);
    if (!unflatten(&b, &flat, out)) return false;
  }
  return true;
}
