/* value.c: one computed value of the kernel form as a CUDA C expression. Division and square
 * root are correctly rounded, as NVRTC has them unless asked otherwise (--prec-div,
 * --prec-sqrt), and nothing is contracted (--fmad=false, compiler/toolkit/nvrtc.c): each
 * operator here is one of the roundings of docs/numerics.md. exp, log, sin and cos are the
 * device library's accurate forms. */
#include "codegen/cuda/printer.h"

const char *mvs_cuda_type(mvs_dtype dtype) {
  if (dtype == MVS_F64) return "double";
  return dtype == MVS_I32 ? "int" : "float";
}

const char *mvs_cuda_storage(mvs_dtype dtype) {
  return dtype == MVS_BF16 ? "bf16" : mvs_cuda_type(dtype);
}

/* Expressions with %0, %1, %2 for the arguments and % followed by f for the suffix of f32
 * calls. */
static const char *const patterns[MVS_OP_COUNT] = {
    [MVS_OP_neg] = "-%0",
    [MVS_OP_exp] = "exp%f(%0)",
    [MVS_OP_log] = "log%f(%0)",
    [MVS_OP_sqrt] = "sqrt%f(%0)",
    [MVS_OP_rsqrt] = "1 / sqrt%f(%0)",
    [MVS_OP_sin] = "sin%f(%0)",
    [MVS_OP_cos] = "cos%f(%0)",
    [MVS_OP_tanh] = "tanh%f(%0)",
    [MVS_OP_sigmoid] = "1 / (1 + exp%f(-%0))",
    [MVS_OP_abs] = "%0 < 0 ? -%0 : %0",
    [MVS_OP_floor] = "floor%f(%0)",
    [MVS_OP_add] = "%0 + %1",
    [MVS_OP_sub] = "%0 - %1",
    [MVS_OP_mul] = "%0 * %1",
    [MVS_OP_div] = "%0 / %1",
    [MVS_OP_max] = "%0 > %1 ? %0 : %1",
    [MVS_OP_min] = "%0 < %1 ? %0 : %1",
    [MVS_OP_less] = "%0 < %1 ? 1 : 0",
    [MVS_OP_equal] = "%0 == %1 ? 1 : 0",
    [MVS_OP_select] = "%0 != 0 ? %1 : %2",
    [MVS_OP_fma] = "fma%f(%0, %1, %2)",
};

static void print_pattern(const char *pattern, const mvs_instr *instr, mvs_text *out) {
  const char *suffix = instr->dtype == MVS_F64 ? "" : "f";
  for (const char *at = pattern; *at; ++at) {
    if (*at != '%') {
      mvs_text_add_bytes(out, at, 1);
      continue;
    }
    ++at;
    if (*at == 'f') {
      mvs_text_add(out, suffix);
    } else {
      mvs_text_addf(out, "v%d", instr->arguments[*at - '0']);
    }
  }
}

/* A value rounded to bf16 goes on as the f32 number that it is (kernel.h). */
static void print_cast(const mvs_nest *nest, const mvs_instr *instr, mvs_text *out) {
  int from = instr->arguments[0];
  if (instr->to == MVS_BF16) {
    bool wide = nest->instrs.items[from].dtype != MVS_F32;
    mvs_text_addf(out, "round_bf16(%sv%d)", wide ? "(float)" : "", from);
  } else {
    mvs_text_addf(out, "(%s)v%d", mvs_cuda_type(instr->to), from);
  }
}

static void print_index(const mvs_nest *nest, const mvs_instr *instr, mvs_text *out) {
  (void)nest;
  if (instr->axis == MVS_INNER) {
    mvs_text_add(out, "(int)(i + e)");
  } else if (instr->axis == MVS_SEQUENTIAL) {
    mvs_text_add(out, "(int)s");
  } else {
    mvs_text_addf(out, "(int)o%d", instr->axis);
  }
}

/* Digits enough to give the same bits back: 9 for f32, 17 for f64. */
static void print_constant(const mvs_instr *instr, mvs_text *out) {
  if (instr->dtype == MVS_I32) {
    mvs_text_addf(out, "%lld", (long long)instr->value);
  } else if (instr->dtype == MVS_F64) {
    mvs_text_addf(out, "(double)%.17g", instr->value);
  } else {
    mvs_text_addf(out, "(float)%.9g", instr->value);
  }
}

void mvs_cuda_print_value(const mvs_nest *nest, const mvs_instr *instr, mvs_text *out) {
  switch (instr->kind) {
    case MVS_INSTR_CONSTANT: print_constant(instr, out); return;
    case MVS_INSTR_INDEX: print_index(nest, instr, out); return;
    case MVS_INSTR_LAYER: mvs_text_add(out, "layer"); return;
    case MVS_INSTR_RANDOM:
      mvs_text_addf(out, "random_%s(v%d, v%d, v%d, v%d, %uu)",
                    instr->random == MVS_RANDOM_NORMAL ? "normal" : "uniform",
                    instr->arguments[0], instr->arguments[1], instr->arguments[2],
                    instr->arguments[3], instr->stream);
      return;
    default: break;
  }
  if (instr->op == MVS_OP_cast) {
    print_cast(nest, instr, out);
  } else {
    print_pattern(patterns[instr->op], instr, out);
  }
}
