/* driver.c: one compilation, stage by stage: load, lower and passes, kernels, code.
 *
 * A `let` given several values (--set text_tokens=64,128) is compiled once per value: every
 * specialisation has a graph and a plan of its own, and mvs_driver_agree makes sure that
 * they can share weights, settings and the command line before any work is spent on them.
 * From mvs_driver_build on there is one program again. Stages report through diag and leave
 * printing to main.c. */
#include "compiler/mvcc/driver.h"

#include "codegen/cuda/cuda.h"
#include "compiler/ir/lower.h"
#include "runtime/cuda_attention.h"
#include "runtime/cuda_blas.h"

/* The unit holds the file, what it uses and the overrides; nothing is evaluated yet. */
mvs_status mvs_driver_load(mvs_driver *driver) {
  const mvs_command_line *options = driver->options;
  return mvs_load_unit(driver->session, driver->diag, options->input, options->overrides.items,
                       options->overrides.count, &driver->unit);
}

/* The text of one value, as it was written. */
static const char *value_text(mvs_arena *arena, mvs_span span) {
  return mvs_arena_copy(arena, span.source->text + span.begin, span.end - span.begin);
}

/* `value` stays NULL where nothing varies, and heads and messages then leave it out. */
static mvs_status lower_each(mvs_driver *driver, size_t index) {
  mvs_specialisation *each = &driver->specialisations[index];
  const mvs_unit *unit = mvs_unit_specialise(driver->session, driver->unit, index);
  each->explain = mvs_text_new(driver->graphs);
  if (driver->unit->varied) {
    const mvs_argument *value = &driver->unit->varied->value->arguments[index];
    each->value = value_text(driver->session, value->value->span);
  }
  each->compilation =
      (mvs_compilation){.arena = driver->graphs,
                        .diag = driver->diag,
                        .means = driver->options->means_of_writer ? MVS_MEANS_WRITER
                                                                  : MVS_MEANS_EXACT,
                        .explain = driver->options->explain ? &each->explain : NULL};
  return mvs_lower(driver->graphs, driver->diag, unit, &each->compilation.module);
}

/* Lowered all first: a disagreement is told before the passes, which take most of the time. */
mvs_status mvs_driver_passes(mvs_driver *driver) {
  const char *until = driver->options->until;
  size_t count = mvs_unit_specialisations(driver->unit);
  driver->specialisations = MVS_ARRAY(driver->graphs, count, mvs_specialisation);
  driver->specialisation_count = count;
  for (size_t i = 0; i < count; i++) MVS_TRY(lower_each(driver, i));
  MVS_TRY(mvs_driver_agree(driver));
  if (until && strcmp(until, "lower") == 0) return MVS_OK;
  for (size_t i = 0; i < count; i++) {
    MVS_TRY(mvs_pipeline_run(&driver->specialisations[i].compilation, until));
  }
  return MVS_OK;
}

/* The comment line above each specialisation's dump. */
void mvs_driver_head(const mvs_driver *driver, const mvs_specialisation *each, mvs_text *out) {
  if (!each->value) return;
  mvs_text_addf(out, "# with %s = %s\n", driver->unit->varied->names[0], each->value);
}

/* All specialisations went through the same passes, so the first one speaks for all. */
bool mvs_driver_planned(const mvs_driver *driver) {
  if (driver->specialisation_count == 0) return false;
  const mvs_compilation *compilation = &driver->specialisations[0].compilation;
  return compilation->plan && compilation->facts & MVS_FACT_LAID_OUT;
}

/* The program carries its own explanation, which `info` and reports read back. */
mvs_status mvs_driver_build(mvs_driver *driver) {
  size_t count = driver->specialisation_count;
  mvs_build_part *parts = MVS_ARRAY(driver->graphs, count, mvs_build_part);
  for (size_t i = 0; i < count; i++) {
    const mvs_specialisation *each = &driver->specialisations[i];
    parts[i] = (mvs_build_part){each->value, each->compilation.module, each->compilation.plan};
  }
  const mvs_stmt *varied = driver->unit->varied;
  MVS_TRY(mvs_build_parts(driver->graphs, driver->diag, varied ? varied->names[0] : NULL, parts,
                          count, &driver->build));
  mvs_text text = mvs_text_new(driver->graphs);
  mvs_driver_explain(driver, &text);
  mvs_driver_explain_built(driver, &text);
  driver->build->program->explain = (char *)mvs_text_string(&text);
  return MVS_OK;
}

/* Without --gpu a program has host code only, and needs no NVRTC to be compiled. */
mvs_status mvs_driver_gpu(mvs_driver *driver) {
  const mvs_command_line *options = driver->options;
  if (options->architectures.count == 0) return MVS_OK;
  return mvs_cuda_attach(driver->graphs, driver->diag, driver->build,
                         options->architectures.items, options->architectures.count);
}

/* --- explaining --- */

/* In the language's own words, as the reader would write them. */
const char *mvs_driver_init_text(mvs_arena *arena, const mvs_init *init) {
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

/* A line per parameter: which rule gave its initial value is often the question. */
static void explain_params(const mvs_module *module, mvs_text *out) {
  for (size_t i = 0; i < module->params.count; i++) {
    const mvs_param *param = &module->params.items[i];
    if (param->is_pack) continue; /* the pass that made it tells of it */
    mvs_text_addf(out, "%s %s : ", param->trained ? "param" : "constant", param->name);
    mvs_type_text(&param->type, out);
    mvs_text_addf(out, " = %s%s", mvs_driver_init_text(out->home, &param->init),
                  param->writer ? ", a writer" : "");
    if (param->init.origin) mvs_text_addf(out, ", from %s", param->init.origin);
    if (param->group.has_rate) mvs_text_addf(out, ", lr x %g", param->group.rate);
    if (param->group.has_decay) mvs_text_addf(out, ", decay x %g", param->group.decay);
    mvs_text_add(out, "\n");
  }
}

/* Most are of layers that the model lacks; mvs_driver_notes tells of those that look misspelt.
 */
static void explain_idle(const mvs_module *module, mvs_text *out) {
  for (size_t i = 0; i < module->idle_lines.count; i++) {
    const mvs_idle_line *line = &module->idle_lines.items[i];
    mvs_text_addf(out, "no parameter has the label %s, in a line of %s\n", line->labels,
                  line->origin);
  }
}

void mvs_driver_notes(const mvs_driver *driver, mvs_text *out) {
  if (driver->specialisation_count == 0) return;
  const mvs_module *module = driver->specialisations[0].compilation.module;
  for (size_t i = 0; i < module->idle_lines.count; i++) {
    const mvs_idle_line *line = &module->idle_lines.items[i];
    if (!line->whole) continue;
    mvs_text_addf(out, "mvcc: note: no parameter has the label %s: a line of %s does nothing",
                  line->labels, line->origin);
    if (line->near) mvs_text_addf(out, "; did you mean '%s'?", line->near);
    mvs_text_add(out, "\n");
  }
}

/* Whoever chose the residual is named: the command line, the model or the library. */
static void explain_each(const mvs_specialisation *each, mvs_text *out) {
  const mvs_module *module = each->compilation.module;
  if (module->residual) {
    const char *origin = module->residual_origin ? module->residual_origin : "the model";
    mvs_text_addf(out, "residual %s, from %s\n", module->residual, origin);
  }
  explain_params(module, out);
  explain_idle(module, out);
  mvs_text_add(out, mvs_text_string(&each->explain));
  if (each->compilation.plan) mvs_plan_explain(each->compilation.plan, out);
}

/* What will run a kernel on a GPU, or NULL for those that no library could. Only the GPU knows
 * whether cuBLASLt has an algorithm for a size. */
static const char *gpu_runner(mvs_arena *arena, const Mvs__Kernel *kernel) {
  char why[MVS_CUDA_WORDS];
  if (kernel->matmul) return "matmul by cuBLASLt where it is installed, else generated";
  if (!kernel->attention) return NULL;
  if (mvs_cuda_attention_fits(kernel, why))
    return "attention by cuDNN where it is installed, else generated";
  return mvs_arena_format(arena, "attention generated: %s", why);
}

/* True when a part of the program calls the probe's function at its site. */
static bool is_placed(const mvs_program *program, const mvs_module *module,
                      const mvs_probe *probe) {
  const char *site = module->sites.items[probe->site].name;
  for (size_t f = 0; f < program->n_functions; f++) {
    const Mvs__Function *function = program->functions[f];
    for (size_t i = 0; i < function->n_probes; i++) {
      const Mvs__Probe *placed = function->probes[i];
      if (!strcmp(placed->function, probe->function) && !strcmp(placed->site, site))
        return true;
    }
  }
  return false;
}

/* Steps keep nothing for diagnostics, so some may find no moment at which all is there. */
static void explain_probes(const mvs_driver *driver, const mvs_module *module, mvs_text *out) {
  for (size_t i = 0; i < module->probes.count; i++) {
    const mvs_probe *probe = &module->probes.items[i];
    if (is_placed(driver->build->program, module, probe)) continue;
    mvs_text_addf(out, "%s of %s is left out: its values are not in memory at one time\n",
                  probe->function, module->sites.items[probe->site].name);
  }
}

void mvs_driver_explain_built(const mvs_driver *driver, mvs_text *out) {
  for (size_t i = 0; i < driver->specialisation_count; i++) {
    explain_probes(driver, driver->specialisations[i].compilation.module, out);
  }
  if (driver->options->architectures.count == 0) return;
  const mvs_program *program = driver->build->program;
  const char **runners = MVS_ARRAY(driver->graphs, program->n_kernels + 1, const char *);
  for (size_t i = 0; i < program->n_kernels; i++)
    runners[i] = gpu_runner(driver->graphs, program->kernels[i]);
  for (size_t i = 0; i < program->n_kernels; i++) {
    const char *runner = runners[i];
    int count = 0;
    for (size_t k = i; runner && k < program->n_kernels; k++) {
      if (!runners[k] || strcmp(runners[k], runner) != 0) continue;
      runners[k] = NULL;
      count++;
    }
    if (count) mvs_text_addf(out, "on a GPU: %d x %s\n", count, runner);
  }
  mvs_cuda_explain_images(program, out);
}

void mvs_driver_explain(const mvs_driver *driver, mvs_text *out) {
  for (size_t i = 0; i < driver->specialisation_count; i++) {
    mvs_driver_head(driver, &driver->specialisations[i], out);
    explain_each(&driver->specialisations[i], out);
  }
}
