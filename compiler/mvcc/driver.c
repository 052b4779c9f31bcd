#include "compiler/mvcc/driver.h"

#include "codegen/cuda/cuda.h"
#include "compiler/ir/lower.h"

mvs_status mvs_driver_load(mvs_driver *driver) {
  const mvs_command_line *options = driver->options;
  return mvs_load_unit(driver->session, driver->diag, options->input, options->overrides.items,
                       options->overrides.count, &driver->unit);
}

mvs_status mvs_driver_passes(mvs_driver *driver) {
  mvs_compilation *compilation = &driver->compilation;
  const char *until = driver->options->until;
  driver->explain = mvs_text_new(driver->graphs);
  *compilation =
      (mvs_compilation){.arena = driver->graphs,
                        .diag = driver->diag,
                        .explain = driver->options->explain ? &driver->explain : NULL};
  MVS_TRY(mvs_lower(driver->graphs, driver->diag, driver->unit, &compilation->module));
  if (until && strcmp(until, "lower") == 0) return MVS_OK;
  return mvs_pipeline_run(compilation, until);
}

mvs_status mvs_driver_build(mvs_driver *driver) {
  mvs_compilation *compilation = &driver->compilation;
  MVS_TRY(mvs_build_program(driver->graphs, driver->diag, compilation->module,
                            compilation->plan, &driver->build));
  mvs_text text = mvs_text_new(driver->graphs);
  mvs_driver_explain(driver, &text);
  driver->build->program->explain = (char *)mvs_text_string(&text);
  return MVS_OK;
}

mvs_status mvs_driver_gpu(mvs_driver *driver) {
  const mvs_command_line *options = driver->options;
  if (options->architectures.count == 0) return MVS_OK;
  return mvs_cuda_attach(driver->graphs, driver->diag, driver->build,
                         options->architectures.items, options->architectures.count);
}

/* --- explaining --- */

static const char *init_text(mvs_arena *arena, const mvs_init *init) {
  switch (init->kind) {
    case MVS_INIT_CONSTANT:
      return mvs_arena_format(arena, "%g", init->value);
    case MVS_INIT_NORMAL:
      return mvs_arena_format(arena, "normal(%g)", init->value);
    case MVS_INIT_UNIFORM:
      return mvs_arena_format(arena, "uniform(%g)", init->value);
  }
  return "";
}

static void explain_params(const mvs_module *module, mvs_text *out) {
  for (size_t i = 0; i < module->params.count; i++) {
    const mvs_param *param = &module->params.items[i];
    mvs_text_addf(out, "%s %s : ", param->trained ? "param" : "constant", param->name);
    mvs_type_text(&param->type, out);
    mvs_text_addf(out, " = %s%s", init_text(out->home, &param->init),
                  param->writer ? ", a writer" : "");
    if (param->init.origin) mvs_text_addf(out, ", from %s", param->init.origin);
    mvs_text_add(out, "\n");
  }
}

void mvs_driver_explain(const mvs_driver *driver, mvs_text *out) {
  const mvs_module *module = driver->compilation.module;
  if (module->residual) {
    const char *origin = module->residual_origin ? module->residual_origin : "the model";
    mvs_text_addf(out, "residual %s, from %s\n", module->residual, origin);
  }
  explain_params(module, out);
  mvs_text_add(out, mvs_text_string(&driver->explain));
  if (driver->compilation.plan) mvs_plan_explain(driver->compilation.plan, out);
}
