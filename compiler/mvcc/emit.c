/* emit.c: the text of each stage of a compilation. Every text reads back or compiles (graph,
 * plan, llvm, cuda) or is for eyes only (dot, kernels); the golden tests compare them byte
 * by byte, so a change of format shows up as a diff there. Several specialisations stand
 * behind one another, each under its head. */
#include "codegen/cuda/cuda.h"
#include "codegen/host/host.h"
#include "compiler/ir/dump.h"
#include "compiler/mvcc/driver.h"

/* One digraph per function. */
static void emit_dot(const mvs_module *module, mvs_text *out) {
  for (size_t i = 0; i < module->functions.count; i++) {
    mvs_graph_dot(module->functions.items[i].graph, module->functions.items[i].name, out);
  }
}

/* The kernel form that both printers read. */
static void emit_kernels(const mvs_build *build, mvs_text *out) {
  for (size_t i = 0; i < build->kernels.count; i++) {
    const mvs_kernel *kernel = build->kernels.items[i];
    mvs_text_addf(out, "# %s: %s\n", kernel->name, kernel->why);
    mvs_kernel_dump(kernel, out);
  }
}

/* All kernels as one translation unit's worth of text, in the program's order. */
static void emit_cuda(const mvs_driver *driver, mvs_text *out) {
  for (size_t i = 0; i < driver->build->kernels.count; i++) {
    mvs_cuda_print(driver->build->kernels.items[i], out);
  }
}

/* Stages that need kernels. */
static mvs_status emit_code(mvs_driver *driver, mvs_emit_stage stage, mvs_text *out) {
  MVS_TRY(mvs_driver_build(driver));
  if (stage == MVS_EMIT_CUDA) {
    emit_cuda(driver, out);
    return MVS_OK;
  }
  if (stage == MVS_EMIT_LLVM) {
    mvs_host_options options = {.cpu_level = driver->options->cpu_level, .llvm = out};
    return mvs_host_compile(driver->graphs, driver->diag, driver->build, &options);
  }
  emit_kernels(driver->build, out);
  return MVS_OK;
}

/* Stages that show each specialisation. */
static void emit_each(const mvs_specialisation *each, mvs_emit_stage stage, mvs_text *out) {
  const mvs_compilation *compilation = &each->compilation;
  if (stage == MVS_EMIT_GRAPH) mvs_module_dump(compilation->module, out);
  if (stage == MVS_EMIT_DOT) emit_dot(compilation->module, out);
  if (stage == MVS_EMIT_PLAN && compilation->plan) mvs_plan_dump(compilation->plan, out);
}

/* Kernels, LLVM and CUDA need a finished plan: --until and those stages exclude each other. */
mvs_status mvs_driver_emit(mvs_driver *driver, mvs_emit_stage stage, mvs_text *out) {
  if (stage == MVS_EMIT_AST) {
    mvs_unit_dump(driver->unit, out);
    return MVS_OK;
  }
  if (stage < MVS_EMIT_KERNELS) {
    for (size_t i = 0; i < driver->specialisation_count; i++) {
      mvs_driver_head(driver, &driver->specialisations[i], out);
      emit_each(&driver->specialisations[i], stage, out);
    }
    return MVS_OK;
  }
  if (mvs_driver_planned(driver)) return emit_code(driver, stage, out);
  mvs_diag_error(driver->diag, (mvs_span){0},
                 "kernels exist only after the last pass: leave --until away");
  return MVS_ERR_NAME;
}
