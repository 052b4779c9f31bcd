/* kernel_dump.c: kernels as text. Names, reasons and source places are left out: the text is
 * also the key that finds equal kernels. So whatever changes what a printer prints must be in
 * it, numbers with all their digits (%.17g). A norm over rows of 64,
 * tests/golden/kernels/norm.txt:
 *
 *   kernel rows operands(bf16, f32, bf16 out)          on multiples of 8 elements, or "align"
 *     nest rows outer [29*B] inner 64 phases 2
 *       %0 = load #0[64; 1] : f32 element 0              operand 0, 64 a row, 1 along inner
 *       %1 = load #1[0; 1] : f32 element 0               the same for all rows
 *       %2 = mul %0, %1 : f32 element 0                  level ELEMENT, phase 0
 *       %3 = mul %2, %2 : f32 element 0
 *       %4 = reduce sum %3 : f32 row 0                   takes elements in phase 0 ...
 *       %5 = constant 0.015625 : f32 row 0
 *       %6 = mul %4, %5 : f32 row 1                      ... and is there in phase 1
 *       ...
 *       %10 = mul %2, %9 : f32 element 1                 %2 again: kept, or computed twice
 *       store #2[64; 1] %11 : f32 element 1 */
#include <inttypes.h>

#include "codegen/kernel.h"

static const char *class_name(mvs_kernel_class class) {
  static const char *const names[] = {"rows", "columns", "matmul", "attention",
                                      "attention_grad"};
  return names[class];
}

/* #3[1856, 64; 1]: strides of the parallel axes, then of inner; others are named. */
static void dump_access(const mvs_nest *nest, const mvs_access *access, mvs_text *out) {
  mvs_text_addf(out, "#%u[", access->operand);
  for (int i = 0; i < nest->outer_count; i++) {
    mvs_text_addf(out, i ? ", %" PRId64 : "%" PRId64, access->outer[i]);
  }
  mvs_text_addf(out, "; %" PRId64, access->inner);
  if (access->segment) mvs_text_addf(out, "; segment %" PRId64, access->segment);
  if (access->sequential) mvs_text_addf(out, "; sequential %" PRId64, access->sequential);
  if (access->constant) mvs_text_addf(out, "; from %" PRId64, access->constant);
  mvs_text_add(out, "]");
}

static void dump_arguments(const mvs_instr *instr, mvs_text *out) {
  for (int i = 0; i < mvs_instr_argument_count(instr); i++) {
    mvs_text_addf(out, i ? ", %%%u" : " %%%u", instr->arguments[i]);
  }
}

static void dump_axis(int axis, mvs_text *out) {
  if (axis == MVS_INNER) {
    mvs_text_add(out, " inner");
  } else if (axis == MVS_SEQUENTIAL) {
    mvs_text_add(out, " sequential");
  } else {
    mvs_text_addf(out, " outer %d", axis);
  }
}

static void dump_body(const mvs_nest *nest, const mvs_instr *instr, mvs_text *out) {
  switch (instr->kind) {
    case MVS_INSTR_CONSTANT:
      mvs_text_addf(out, "constant %.17g", instr->value);
      break;
    case MVS_INSTR_LOAD:
      mvs_text_add(out, "load ");
      dump_access(nest, &instr->access, out);
      break;
    case MVS_INSTR_STORE:
      mvs_text_add(out, "store ");
      dump_access(nest, &instr->access, out);
      break;
    case MVS_INSTR_ARITH:
      mvs_text_add(out, mvs_ops[instr->op].name);
      if (instr->op == MVS_OP_cast) mvs_text_addf(out, " %s", mvs_dtype_name(instr->to));
      break;
    case MVS_INSTR_RANDOM:
      mvs_text_addf(out, "random %s %" PRIu32,
                    instr->random == MVS_RANDOM_NORMAL ? "normal" : "uniform", instr->stream);
      break;
    case MVS_INSTR_REDUCE:
      mvs_text_addf(out, "reduce %s", mvs_ops[instr->op].name);
      break;
    case MVS_INSTR_INDEX:
      mvs_text_add(out, "index");
      dump_axis(instr->axis, out);
      break;
    case MVS_INSTR_LAYER:
      mvs_text_add(out, "layer");
      break;
  }
  dump_arguments(instr, out);
}

static void dump_instr(const mvs_nest *nest, size_t index, mvs_text *out) {
  const mvs_instr *instr = &nest->instrs.items[index];
  mvs_text_add(out, "    ");
  if (instr->kind != MVS_INSTR_STORE) mvs_text_addf(out, "%%%zu = ", index);
  dump_body(nest, instr, out);
  mvs_text_addf(out, " : %s %s %u%s\n", mvs_dtype_name(instr->dtype),
                instr->level == MVS_LEVEL_ROW ? "row" : "element", instr->phase,
                instr->keep ? " keep" : "");
}

static void dump_nest(const mvs_nest *nest, mvs_text *out) {
  mvs_text_addf(out, "  nest %s outer [", class_name(nest->nest_class));
  for (int i = 0; i < nest->outer_count; i++) {
    if (i) mvs_text_add(out, ", ");
    mvs_dim_text(nest->outer[i], out);
  }
  mvs_text_add(out, "] inner ");
  mvs_dim_text(nest->inner, out);
  if (nest->nest_class == MVS_KERNEL_COLUMNS && nest->segment_axis < 0) {
    mvs_text_addf(out, " sequential %" PRId64 "%s", nest->sequential,
                  nest->sequential_batch ? " batch" : "");
  }
  if (nest->segment_axis >= 0) {
    mvs_text_addf(out, " segments on %d ", nest->segment_axis);
    mvs_segments_text(nest->segments, out);
  }
  if (nest->nest_class == MVS_KERNEL_COLUMNS) mvs_text_addf(out, " lanes %d", nest->lanes);
  mvs_text_addf(out, " phases %d\n", nest->phases);
  for (size_t i = 0; i < nest->instrs.count; i++) dump_instr(nest, i, out);
}

static void dump_matmul(const mvs_matmul_shape *shape, mvs_text *out) {
  static const char *const forms[] = {"NT", "NN", "TN"};
  mvs_text_addf(out, "  form %s m ", forms[shape->form]);
  mvs_dim_text(shape->m, out);
  mvs_text_addf(out, " n %" PRId64 " k ", shape->n);
  mvs_dim_text(shape->k, out);
  mvs_text_addf(out, " %s x %s -> %s%s\n", mvs_dtype_name(shape->a), mvs_dtype_name(shape->b),
                mvs_dtype_name(shape->c), shape->bias ? " bias" : "");
}

static void dump_attention(const mvs_attention_shape *shape, mvs_text *out) {
  mvs_text_addf(out,
                "  tokens %" PRId64 " heads %" PRId64 " kv_heads %" PRId64 " head_dim %" PRId64
                " scale %.17g %s\n",
                shape->tokens, shape->heads, shape->kv_heads, shape->head_dim, shape->scale,
                mvs_dtype_name(shape->dtype));
  mvs_text_add(out, "  token strides");
  for (int i = 0; i < MVS_ATTENTION_OPERANDS; i++) {
    if (shape->strides[i]) mvs_text_addf(out, " #%d %" PRId64, i, shape->strides[i]);
  }
  mvs_text_add(out, "\n");
}

void mvs_kernel_dump(const mvs_kernel *kernel, mvs_text *out) {
  mvs_text_addf(out, "kernel %s operands(", class_name(kernel->kernel_class));
  for (int i = 0; i < kernel->operand_count; i++) {
    mvs_text_addf(out, "%s%s%s", i ? ", " : "", mvs_dtype_name(kernel->operands[i]),
                  kernel->written[i] ? " out" : "");
    if (kernel->alignment[i] < 8) mvs_text_addf(out, " align %u", kernel->alignment[i]);
  }
  mvs_text_add(out, ")\n");
  switch (kernel->kernel_class) {
    case MVS_KERNEL_ROWS:
    case MVS_KERNEL_COLUMNS:
      for (size_t i = 0; i < kernel->nests.count; i++) dump_nest(&kernel->nests.items[i], out);
      break;
    case MVS_KERNEL_MATMUL:
      dump_matmul(&kernel->matmul, out);
      break;
    case MVS_KERNEL_ATTENTION:
    case MVS_KERNEL_ATTENTION_GRAD:
      dump_attention(&kernel->attention, out);
      break;
  }
}
