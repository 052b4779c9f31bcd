/* nest.c: what ROWS and COLUMNS nests print alike: indices, addresses, single instructions. Of
 * memory instructions those of packs are here for COLUMNS alone: nest_rows.c moves vectors of
 * its own widths. */
#include "codegen/cuda/nest.h"

const mvs_instr *mvs_cuda_nest_instr(const mvs_cuda_nest *w, size_t index) {
  return &w->nest->instrs.items[index];
}

void mvs_cuda_print_dim(mvs_dim dim, mvs_text *out) {
  mvs_text_addf(out, dim.per_batch ? "%lldll * batch" : "%lldll", (long long)dim.size);
}

bool mvs_cuda_nest_packed(const mvs_cuda_nest *w, const mvs_instr *instr) {
  return mvs_instr_uses_memory(instr) && instr->level == MVS_LEVEL_ELEMENT &&
         instr->access.inner == 1 && w->map.vector > 1;
}

const char *mvs_cuda_nest_storage(const mvs_cuda_nest *w, const mvs_instr *instr) {
  return mvs_cuda_storage(w->kernel->operands[instr->access.operand]);
}

/* --- rows and addresses --- */

void mvs_cuda_nest_row_count(const mvs_cuda_nest *w) {
  mvs_text_add(w->out, "  const i64 rows = 1ll");
  for (int axis = 0; axis < w->nest->outer_count; ++axis) {
    mvs_text_add(w->out, " * ");
    mvs_cuda_print_dim(w->nest->outer[axis], w->out);
  }
  mvs_text_add(w->out, ";\n");
}

static void print_segment_number(const mvs_cuda_nest *w) {
  const mvs_nest *nest = w->nest;
  if (nest->segment_axis < 0) return;
  mvs_text_addf(w->out, "  const i64 segment = o%d;\n", nest->segment_axis);
}

void mvs_cuda_nest_indices(const mvs_cuda_nest *w) {
  for (int axis = w->nest->outer_count - 1; axis >= 0; --axis) {
    if (axis == 0) {
      mvs_text_add(w->out, "  const i64 o0 = row;\n");
    } else {
      long long extent = w->nest->outer[axis].size;
      mvs_text_addf(w->out, "  const i64 o%d = row %% %lld;\n  row /= %lld;\n", axis, extent,
                    extent);
    }
  }
  print_segment_number(w);
}

static void print_address(const mvs_cuda_nest *w, size_t index) {
  const mvs_access *access = &mvs_cuda_nest_instr(w, index)->access;
  mvs_text_addf(w->out, "  const i64 a%zu = %lld", index, (long long)access->constant);
  for (int axis = 0; axis < w->nest->outer_count; ++axis) {
    if (access->outer[axis]) {
      mvs_text_addf(w->out, " + o%d * %lld", axis, (long long)access->outer[axis]);
    }
  }
  if (access->segment) mvs_text_addf(w->out, " + segment * %lld", (long long)access->segment);
  mvs_text_add(w->out, ";\n");
}

void mvs_cuda_nest_addresses(const mvs_cuda_nest *w) {
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    if (mvs_instr_uses_memory(mvs_cuda_nest_instr(w, i))) print_address(w, i);
  }
}

/* --- instructions --- */

static void print_row_instr(const mvs_cuda_nest *w, size_t index) {
  const mvs_instr *instr = mvs_cuda_nest_instr(w, index);
  int operand = instr->access.operand;
  if (instr->kind == MVS_INSTR_STORE) {
    mvs_text_addf(w->out, "  if (live && lane == 0) put(p%d[a%zu], v%d);\n", operand, index,
                  instr->arguments[0]);
    return;
  }
  mvs_text_addf(w->out, "  const %s v%zu = ", mvs_cuda_type(instr->dtype), index);
  if (instr->kind == MVS_INSTR_LOAD) {
    mvs_text_addf(w->out, "widen(p%d[a%zu])", operand, index);
  } else {
    mvs_cuda_print_value(w->nest, instr, w->out);
  }
  mvs_text_add(w->out, ";\n");
}

void mvs_cuda_nest_row_phase(const mvs_cuda_nest *w, int phase) {
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    const mvs_instr *instr = mvs_cuda_nest_instr(w, i);
    if (instr->level == MVS_LEVEL_ROW && instr->phase == phase &&
        instr->kind != MVS_INSTR_REDUCE) {
      print_row_instr(w, i);
    }
  }
}

static void print_pack_address(const mvs_cuda_nest *w, size_t index) {
  const mvs_access *access = &mvs_cuda_nest_instr(w, index)->access;
  mvs_text_addf(w->out, "p%d + a%zu + i", access->operand, index);
  if (access->sequential) mvs_text_addf(w->out, " + s * %lld", (long long)access->sequential);
}

void mvs_cuda_nest_pack_loads(const mvs_cuda_nest *w, int phase) {
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    const mvs_instr *instr = mvs_cuda_nest_instr(w, i);
    if (!mvs_cuda_nest_packed(w, instr) || !(w->needs[i] >> phase & 1)) continue;
    const char *type = mvs_cuda_nest_storage(w, instr);
    if (instr->kind == MVS_INSTR_STORE) {
      mvs_text_addf(w->out, "    pack<%s, %d> q%zu;\n", type, w->map.vector, i);
      continue;
    }
    mvs_text_addf(w->out, "    const pack<%s, %d> q%zu = *(const pack<%s, %d> *)(", type,
                  w->map.vector, i, type, w->map.vector);
    print_pack_address(w, i);
    mvs_text_add(w->out, ");\n");
  }
}

static void print_scalar_address(const mvs_cuda_nest *w, size_t index) {
  const mvs_access *access = &mvs_cuda_nest_instr(w, index)->access;
  mvs_text_addf(w->out, "p%d[a%zu + (i + e) * %lld + %s * %lld]", access->operand, index,
                (long long)access->inner, access->sequential ? "s" : "0ll",
                (long long)access->sequential);
}

static void print_element_memory(const mvs_cuda_nest *w, size_t index) {
  const mvs_instr *instr = mvs_cuda_nest_instr(w, index);
  if (instr->kind == MVS_INSTR_LOAD) {
    mvs_text_addf(w->out, "      const %s v%zu = widen(", mvs_cuda_type(instr->dtype), index);
    if (mvs_cuda_nest_packed(w, instr)) {
      mvs_text_addf(w->out, "q%zu.at[e]", index);
    } else {
      print_scalar_address(w, index);
    }
    mvs_text_add(w->out, ");\n");
    return;
  }
  if (mvs_cuda_nest_packed(w, instr)) {
    mvs_text_addf(w->out, "      put(q%zu.at[e], v%d);\n", index, instr->arguments[0]);
  } else {
    mvs_text_add(w->out, "      if (live) put(");
    print_scalar_address(w, index);
    mvs_text_addf(w->out, ", v%d);\n", instr->arguments[0]);
  }
}

void mvs_cuda_nest_element(const mvs_cuda_nest *w, size_t index) {
  const mvs_instr *instr = mvs_cuda_nest_instr(w, index);
  if (mvs_instr_uses_memory(instr)) {
    print_element_memory(w, index);
  } else {
    mvs_text_addf(w->out, "      const %s v%zu = ", mvs_cuda_type(instr->dtype), index);
    mvs_cuda_print_value(w->nest, instr, w->out);
    mvs_text_add(w->out, ";\n");
  }
}

void mvs_cuda_nest_pack_stores(const mvs_cuda_nest *w, int phase) {
  for (size_t i = 0; i < w->nest->instrs.count; ++i) {
    const mvs_instr *instr = mvs_cuda_nest_instr(w, i);
    if (instr->kind != MVS_INSTR_STORE || !mvs_cuda_nest_packed(w, instr)) continue;
    if (!(w->needs[i] >> phase & 1)) continue;
    mvs_text_addf(w->out, "    if (live) *(pack<%s, %d> *)(", mvs_cuda_nest_storage(w, instr),
                  w->map.vector);
    print_pack_address(w, i);
    mvs_text_addf(w->out, ") = q%zu;\n", i);
  }
}

const char *mvs_cuda_nest_combiner(const mvs_instr *instr) {
  return instr->op == MVS_OP_sum ? "add_op" : "max_op";
}

const char *mvs_cuda_nest_identity(const mvs_instr *instr) {
  if (instr->op == MVS_OP_sum) return "0";
  if (instr->dtype == MVS_I32) return "(-2147483647 - 1)";
  return instr->dtype == MVS_F64 ? "__longlong_as_double(0xfff0000000000000ll)"
                                 : "__int_as_float(0xff800000)"; /* minus infinity */
}

mvs_status mvs_cuda_print_nest(mvs_arena *arena, mvs_diag *diag, const mvs_kernel *kernel,
                               int index, mvs_text *out) {
  (void)diag;
  const mvs_nest *nest = &kernel->nests.items[index];
  mvs_cuda_nest w = {.out = out, .kernel = kernel, .nest = nest};
  mvs_text_addf(out, "static __device__ __forceinline__ void %s_nest%d(", kernel->name, index);
  mvs_cuda_print_operands(kernel, out);
  mvs_text_add(out, ", const i64 batch, const int layer, const i64 block) {\n");
  if (nest->nest_class == MVS_KERNEL_COLUMNS) {
    w.map = mvs_cuda_map_nest(kernel, nest);
    w.needs = MVS_ARRAY(arena, nest->instrs.count + 1, mvs_phase_mask);
    mvs_nest_needs(nest, w.needs);
    mvs_cuda_print_columns(&w);
  } else {
    mvs_cuda_print_rows(&w);
  }
  mvs_text_add(out, "}\n");
  return MVS_OK;
}
