/* reach.c: intervals of bytes, a row each, from the kernel form.
 *
 * An interval begins where strides say and has one length for all rows, so whatever moves
 * within a row (the inner axis, the reduced one, segments) only makes it longer. Heads of
 * attention that share keys have the interval of all heads: what matters is where a sample
 * ends. */
#include "codegen/host/reach.h"

#include <string.h>

typedef struct reach {
  mvs_arena *arena;
  Mvs__Nest *nest;
} reach;

static void add_axis(reach *r, mvs_dim dim) {
  Mvs__Extent *out = r->nest->axes[r->nest->n_axes++] = MVS_NEW(r->arena, Mvs__Extent);
  mvs__extent__init(out);
  out->size = dim.size;
  out->per_batch = dim.per_batch;
}

static Mvs__Access *add_access(reach *r, int operand, bool written) {
  Mvs__Access *out = r->nest->accesses[r->nest->n_accesses++] = MVS_NEW(r->arena, Mvs__Access);
  mvs__access__init(out);
  out->operand = (uint32_t)operand;
  out->written = written;
  out->strides = MVS_ARRAY(r->arena, MVS_MAX_AXES, int64_t);
  out->n_strides = r->nest->n_axes;
  return out;
}

static bool same_strides(const Mvs__Access *a, const Mvs__Access *b) {
  return a->operand == b->operand && a->written == b->written &&
         memcmp(a->strides, b->strides, a->n_strides * sizeof *a->strides) == 0;
}

/* Instructions that touch neighbouring bytes of one operand, such as all phases of a norm, are
 * one access. */
static void join(reach *r) {
  Mvs__Nest *nest = r->nest;
  size_t last = nest->n_accesses - 1;
  const Mvs__Access *from = nest->accesses[last];
  for (size_t i = 0; i < last; i++) {
    Mvs__Access *to = nest->accesses[i];
    if (!same_strides(to, from)) continue;
    if (from->low < to->low) to->low = from->low;
    if (from->high > to->high) to->high = from->high;
    if (from->high_per_batch > to->high_per_batch) to->high_per_batch = from->high_per_batch;
    nest->n_accesses--;
    return;
  }
}

/* --- nests --- */

/* Lengthens an interval by the `count - 1` steps that an axis within the row takes. */
static void lengthen(Mvs__Access *access, mvs_dim count, int64_t step) {
  if (count.per_batch) {
    access->high_per_batch += count.size * step;
    access->high -= step;
  } else if (step > 0) {
    access->high += (count.size - 1) * step;
  } else {
    access->low += (count.size - 1) * step;
  }
}

/* Rows of a sum over segments count those; its reduced axis has the tokens of all. */
static mvs_dim reduced(const mvs_nest *nest) {
  if (nest->segment_axis >= 0) return (mvs_dim){mvs_segments_length(nest->segments), false};
  return (mvs_dim){nest->sequential ? nest->sequential : 1, nest->sequential_batch};
}

/* Inner elements are the rows of a nest that has no others, where each stands for itself: a
 * value of them all would be stored by each part of them, and perhaps be added to each time. */
static bool is_flat(const mvs_nest *nest) {
  for (size_t i = 0; i < nest->instrs.count; i++) {
    const mvs_instr *instr = &nest->instrs.items[i];
    if (instr->kind == MVS_INSTR_STORE && instr->level == MVS_LEVEL_ROW) return false;
  }
  return nest->nest_class == MVS_KERNEL_ROWS && nest->inner.per_batch && nest->phases == 1;
}

static void add_instr(reach *r, const mvs_kernel *kernel, const mvs_nest *nest, bool flat,
                      const mvs_instr *instr) {
  const mvs_access *a = &instr->access;
  int64_t size = mvs_dtype_size(kernel->operands[a->operand]);
  Mvs__Access *out = add_access(r, a->operand, instr->kind == MVS_INSTR_STORE);
  out->low = a->constant * size;
  out->high = out->low + size;
  for (int axis = 0; axis < nest->outer_count; axis++)
    out->strides[axis] = a->outer[axis] * size;
  if (flat) {
    out->strides[0] = a->inner * size;
  } else {
    lengthen(out, nest->inner, a->inner * size);
  }
  if (nest->segment_axis >= 0)
    lengthen(out, (mvs_dim){nest->segments->count, false}, a->segment * size);
  lengthen(out, reduced(nest), a->sequential * size);
  join(r);
}

static void add_nest(reach *r, const mvs_kernel *kernel, const mvs_nest *nest) {
  size_t count = nest->instrs.count;
  bool flat = is_flat(nest);
  r->nest->accesses = MVS_ARRAY(r->arena, count + 1, Mvs__Access *);
  for (int axis = 0; axis < nest->outer_count; axis++) add_axis(r, nest->outer[axis]);
  if (flat) {
    add_axis(r, nest->inner);
    r->nest->row_step = MVS_LANES;
  }
  for (size_t i = 0; i < count; i++)
    if (mvs_instr_uses_memory(&nest->instrs.items[i]))
      add_instr(r, kernel, nest, flat, &nest->instrs.items[i]);
}

/* --- products --- */

/* An operand of which every row may touch all `rows` x `columns`. */
static void add_whole(reach *r, int operand, bool written, mvs_dim rows, int64_t columns,
                      mvs_dtype dtype) {
  Mvs__Access *out = add_access(r, operand, written);
  int64_t bytes = rows.size * columns * mvs_dtype_size(dtype);
  *(rows.per_batch ? &out->high_per_batch : &out->high) = bytes;
}

/* Behind the operands that are the graph's. */
static void add_workspace(reach *r, const mvs_kernel *kernel, const mvs_printed *printed,
                          bool written) {
  Mvs__Access *out = add_access(r, kernel->operand_count, written);
  out->high = printed->workspace_fixed;
  out->high_per_batch = printed->workspace_per_batch;
}

/* B becomes panels in the workspace. */
static void add_packing(reach *r, const mvs_kernel *kernel, const mvs_printed *printed) {
  const mvs_matmul_shape *s = &kernel->matmul;
  add_whole(r, 1, false, s->k, s->n, s->b);
  add_workspace(r, kernel, printed, true);
}

/* One row of C from one of A, and all of B. */
static void add_product(reach *r, const mvs_kernel *kernel, const mvs_printed *printed) {
  const mvs_matmul_shape *s = &kernel->matmul;
  bool turned = s->form == MVS_MATMUL_TN;
  add_axis(r, s->m);
  r->nest->row_step = mvs_matmul_row_step(s);
  add_whole(r, 0, false, s->k, turned ? s->m.size : 1, s->a);
  Mvs__Access *a = r->nest->accesses[0];
  a->strides[0] = (turned ? 1 : s->k.size) * mvs_dtype_size(s->a);
  if (turned) a->high -= (s->m.size - 1) * mvs_dtype_size(s->a);
  add_whole(r, 1, false, s->k, s->n, s->b);
  add_whole(r, 2, true, (mvs_dim){1, false}, s->n, s->c);
  r->nest->accesses[2]->strides[0] = s->n * mvs_dtype_size(s->c);
  if (s->bias) add_whole(r, 3, false, (mvs_dim){1, false}, s->n, s->c);
  if (printed->stages.count > 1) add_workspace(r, kernel, printed, false);
}

/* --- attention --- */

static void add_heads(reach *r, const mvs_attention_shape *s, int operand, bool gradient) {
  const mvs_attention_row *row = &mvs_attention_rows[operand];
  Mvs__Access *out = add_access(r, operand, row->written[gradient]);
  int64_t size = mvs_dtype_size(s->dtype), stride = s->strides[operand];
  if (row->heads == MVS_HEADS_NONE) {
    out->high = s->heads * s->tokens * (int64_t)sizeof(float);
    out->strides[0] = out->high;
    return;
  }
  int64_t heads = row->heads == MVS_HEADS_KEYS ? s->kv_heads : s->heads;
  out->strides[0] = s->tokens * stride * size;
  out->high = ((s->tokens - 1) * stride + heads * s->head_dim) * size;
}

/* Samples, then heads. */
static void add_attention(reach *r, const mvs_kernel *kernel, bool gradient) {
  const mvs_attention_shape *s = &kernel->attention;
  add_axis(r, (mvs_dim){1, true});
  add_axis(r, (mvs_dim){gradient ? s->kv_heads : s->heads, false});
  for (int i = 0; i < mvs_attention_operands(gradient); i++) add_heads(r, s, i, gradient);
}

void mvs_reach(mvs_arena *arena, const mvs_kernel *kernel, const mvs_printed *printed,
               size_t stage, size_t nest, Mvs__Nest *out) {
  reach r = {arena, out};
  out->axes = MVS_ARRAY(arena, MVS_MAX_AXES, Mvs__Extent *);
  out->row_step = 1;
  if (kernel->nests.count) {
    add_nest(&r, kernel, &kernel->nests.items[nest]);
    return;
  }
  out->accesses = MVS_ARRAY(arena, MVS_ATTENTION_OPERANDS, Mvs__Access *);
  if (kernel->kernel_class != MVS_KERNEL_MATMUL) {
    add_attention(&r, kernel, kernel->kernel_class == MVS_KERNEL_ATTENTION_GRAD);
  } else if (stage + 1 < printed->stages.count) {
    add_packing(&r, kernel, printed);
  } else {
    add_product(&r, kernel, printed);
  }
}
