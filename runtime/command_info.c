/* command_info.c: what the program is, without taking the memory that it would need.
 *
 * Everything printed is worked out from the program's tables: sizes of plans at a batch,
 * operations of a sample, what redoing a value costs and saves. So it runs for a model of
 * any size on any machine, with no device opened but where --kernels asks what would run
 * each of them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/commands.h"
#include "runtime/host_level.h"
#include "runtime/memory.h"
#include "runtime/params.h"
#include "runtime/specialise.h"
#include "runtime/training.h"

static const mvs_option_row info_rows[] = {
    {"batch", MVS_OPTION_INTEGER, "N", 1, INT32_MAX,
     "plan memory for this batch (default: the model's)"},
    {"micro-batch", MVS_OPTION_INTEGER, "N", 1, INT32_MAX,
     "samples at a time (default: the batch)"},
    {"kernels", MVS_OPTION_FLAG, NULL, 0, 0, "list every kernel and what runs it"},
};

/* The options of this command alone; those of every command follow. */
static void rows(mvs_session *session, mvs_option_rows *list) {
  mvs_rows_add(session->arena, list, info_rows, sizeof info_rows / sizeof *info_rows);
}

/* As the language writes it: "zt f32[1, 8, 8]". */
static void print_input(const Mvs__ModelInput *input) {
  printf("  %-10s %s[", input->name, input->dtype);
  for (size_t at = 0; at < input->n_shape; at++)
    printf("%s%" PRId64, at ? ", " : "", input->shape[at]);
  printf("]%s\n", input->conditioning ? "  (conditioning)" : "");
}

/* Layers are those of the forward pass: its backward has as many. */
static void print_model(mvs_session *session) {
  const mvs_program *program = session->program;
  int64_t trained = mvs_params_trained(program);
  printf("model       %s, residual %s, %s\n", program->model, program->residual,
         program->settings->precision);
  printf("parameters  %s\n", mvs_count_text(session->arena, trained));
  for (size_t at = 0; at < program->n_functions; at++)
    for (size_t each = 0; each < program->functions[at]->n_loops; each++)
      if (strcmp(program->functions[at]->name, "forward") == 0)
        printf("stack       %s: %" PRId64 " layers\n",
               program->functions[at]->loops[each]->label,
               program->functions[at]->loops[each]->count);
  if (program->tokens)
    printf("tokens      %s a sample\n", mvs_count_text(session->arena, program->tokens));
  printf("inputs\n");
  for (size_t at = 0; at < program->n_inputs; at++) print_input(program->inputs[at]);
  printf("output\n  %s\n", program->output);
}

/* Thousands as units, since FLOP rates of hardware are given so. */
static const char *flops_text(mvs_arena *arena, double flops) {
  static const char *const units[] = {"", "k", "M", "G", "T", "P"};
  int unit = 0;
  for (; flops >= 1000 && unit < 5; unit++) flops /= 1000;
  return mvs_arena_format(arena, "%.4g %sFLOP", flops, units[unit]);
}

/* Which of the program's code runs here, or why none does; and what keeps back the better. */
static void print_host_code(mvs_session *session) {
  const mvs_program *program = session->program;
  printf("kernels     %zu, %s of host code for %s and better\n", program->n_kernels,
         mvs_bytes_text(session->arena, (int64_t)program->host_code.len), program->cpu_level);
  mvs_cpu_level level;
  mvs_diag *diag = mvs_diag_new(session->arena);
  if (mvs_host_level(program, diag, &level) != MVS_OK) {
    mvs_text why = mvs_text_new(session->arena);
    mvs_diag_sentence(diag, &why);
    printf("processor   runs none of it: %s\n", mvs_text_string(&why));
    return;
  }
  const char *lacks = mvs_cpu_lacks(MVS_CPU_LEVELS - 1);
  const char *why = level != mvs_cpu_best() ? "MVCC_CPU asks for it"
                    : lacks                 ? lacks
                                            : "the best there is";
  printf("processor   %s (%s)\n", mvs_cpu_name(level), why);
}

/* Launches count every layer's. */
static void print_work(mvs_session *session) {
  const mvs_program *program = session->program;
  static const char *const names[] = {"forward", "grad"};
  printf("work a sample\n");
  for (size_t at = 0; at < 2; at++) {
    const Mvs__Function *function = mvs_program_function(program, names[at]);
    if (!function) continue;
    /* The difference of two batches leaves out what does not grow with the batch. */
    double flops =
        mvs_function_flops(program, function, 2) - mvs_function_flops(program, function, 1);
    printf("  %-10s %s, %" PRId64 " launches\n", names[at], flops_text(session->arena, flops),
           mvs_function_launches(function));
  }
  print_host_code(session);
}

/* --- keep or redo --- */

typedef struct redo_row {
  const Mvs__Function *function;
  const Mvs__Loop *loop;
  const Mvs__Alternative *value;
  int turn;
} redo_row;

/* The order in which values are redone. */
static int by_turn(const void *left, const void *right) {
  const redo_row *a = left, *b = right;
  return a->turn - b->turn;
}

/* Kernels, bytes and operations of some steps of a block. */
static void print_steps(mvs_session *session, const redo_row *row, const uint32_t *steps,
                        size_t count, int64_t batch) {
  double bytes = 0, flops = 0;
  for (size_t at = 0; at < count; at++) {
    const Mvs__Step *step = row->loop->steps[steps[at]];
    if (step->kernel < 0) continue;
    const Mvs__Kernel *kernel = session->program->kernels[step->kernel];
    bytes += mvs_kernel_bytes(kernel, batch);
    flops += mvs_kernel_flops(kernel, batch);
  }
  printf(" %7zu %10s %12s", count, mvs_bytes_text(session->arena, (int64_t)bytes),
         flops_text(session->arena, flops));
}

/* One value: what it takes, its own steps, and all that redoing it alone would run. */
static void print_redo_row(mvs_session *session, const redo_row *row, int64_t batch) {
  const Mvs__Buffer *buffer = row->function->buffers[row->value->buffer];
  int64_t bytes = buffer->fixed + buffer->per_batch * batch;
  printf("  %10s", mvs_bytes_text(session->arena, bytes));
  print_steps(session, row, row->value->own_steps, row->value->n_own_steps, batch);
  print_steps(session, row, row->value->steps, row->value->n_steps, batch);
  printf("  %s\n", row->value->what);
}

/* The values of a block that may be kept or redone, in the order in which --recompute auto
 * redoes them when they do not fit. */
static void print_alternatives(mvs_session *session, int64_t batch) {
  const Mvs__Function *grad = mvs_program_function(session->program, "grad");
  int most = mvs_redo_most(grad);
  if (most == 0) return;
  mvs_redo *redo =
      mvs_redo_choose(session->arena, session->program, grad, batch, MVS_RECOMPUTE_BLOCK);
  redo_row *list = MVS_ARRAY(session->arena, (size_t)most, redo_row);
  size_t count = 0;
  for (size_t at = 0; at < grad->n_loops; at++)
    for (size_t each = 0; redo->steps[at] && each < grad->loops[at]->n_alternatives; each++) {
      const Mvs__Alternative *value = grad->loops[at]->alternatives[each];
      list[count++] = (redo_row){grad, grad->loops[at], value, redo->turns[value->buffer]};
    }
  qsort(list, count, sizeof *list, by_turn);
  printf("values of a block for its backward, those redone first under --memory on top\n");
  printf("  %10s %31s %31s\n", "kept", "redone: kernels, bytes, FLOP",
         "from the block's input");
  for (size_t at = 0; at < count; at++) print_redo_row(session, &list[at], batch);
}

/* --- memory --- */

/* One purpose under both choices. */
static void print_memory_row(mvs_session *session, const char *what, int64_t kept,
                             int64_t redone) {
  printf("  %-22s %12s %12s\n", what, mvs_bytes_text(session->arena, kept),
         mvs_bytes_text(session->arena, redone));
}

/* Plans training for the batch that the options give. */
static mvs_status plan_training(mvs_session *session, mvs_training_settings *settings,
                                mvs_memory *kept, mvs_memory *redone) {
  const Mvs__Settings *model = session->program->settings;
  *settings = (mvs_training_settings){
      .batch = mvs_option_integer(session->options, "batch", model->batch)};
  settings->micro_batch = mvs_option_integer(session->options, "micro-batch", settings->batch);
  mvs_memory_use use = {.functions = mvs_training_functions,
                        .batch = settings->micro_batch,
                        .gradient_flats = mvs_training_gradient_flats(settings),
                        .optimizer_flats = 2,
                        .landings = MVS_FEED_SLOTS,
                        .average_flats = model->ema > 0};
  MVS_TRY(mvs_memory_plan(session, &use, MVS_RECOMPUTE_NONE, kept));
  return mvs_memory_plan(session, &use, MVS_RECOMPUTE_BLOCK, redone);
}

/* Both plans side by side; sizes are computed, no memory is taken. */
static mvs_status print_training_memory(mvs_session *session) {
  mvs_training_settings settings;
  mvs_memory kept, redone;
  MVS_TRY(plan_training(session, &settings, &kept, &redone));
  printf("memory to train with %" PRId64 " samples at a time (--recompute)\n",
         settings.micro_batch);
  printf("  %-22s %12s %12s\n", "", "none", "block");
  print_memory_row(session, "parameters", kept.parameters, redone.parameters);
  print_memory_row(session, "gradients", kept.gradients, redone.gradients);
  print_memory_row(session, "optimizer", kept.optimizer, redone.optimizer);
  if (kept.average) print_memory_row(session, "averaged weights", kept.average, redone.average);
  if (kept.prepared)
    print_memory_row(session, "made of weights alone", kept.prepared, redone.prepared);
  print_memory_row(session, "activations", kept.temporaries, redone.temporaries);
  print_memory_row(session, "inputs", kept.tensors, redone.tensors);
  print_memory_row(session, "total", kept.total, redone.total);
  print_alternatives(session, settings.micro_batch);
  return MVS_OK;
}

static mvs_status print_specialisation(mvs_session *session, size_t index) {
  const Mvs__Specialisation *each = session->whole->specialisations[index];
  mvs_training_settings settings;
  mvs_memory kept, redone;
  mvs_session_specialise(session, index);
  const Mvs__Function *forward = mvs_program_function(session->program, "forward");
  double flops = mvs_function_flops(session->program, forward, 2) -
                 mvs_function_flops(session->program, forward, 1);
  printf("  %-12s %8" PRId64 " %14s", each->value, each->tokens,
         flops_text(session->arena, flops));
  if (mvs_program_function(session->program, "grad")) {
    MVS_TRY(plan_training(session, &settings, &kept, &redone));
    printf(" %12s %12s", mvs_bytes_text(session->arena, kept.total),
           mvs_bytes_text(session->arena, redone.total));
  }
  for (size_t at = 0; at < each->n_inputs; at++) {
    const Mvs__ModelInput *input = each->inputs[at];
    printf("  %s %s", input->name,
           mvs_shape_text(session->arena, (int)input->n_shape, input->shape));
  }
  printf("\n");
  return MVS_OK;
}

static mvs_status print_specialisations(mvs_session *session) {
  size_t count = mvs_specialisation_count(session);
  if (count == 1) return MVS_OK;
  bool trains = mvs_program_function(session->program, "grad");
  printf(
      "specialised for %zu values of %s; tensors choose one by their shapes, else the first\n",
      count, session->whole->specialised);
  printf("  %-12s %8s %14s", session->whole->specialised, "tokens", "forward");
  printf(trains ? " %12s %12s  inputs\n" : "  inputs\n", "train, none", "block");
  for (size_t at = 0; at < count; at++) MVS_TRY(print_specialisation(session, at));
  mvs_session_specialise(session, 0);
  return MVS_OK;
}

/* What no group of the model has touched: the rule for all. */
static bool is_ungrouped(const Mvs__Param *param) {
  return !param->trained || (param->rate == 1 && param->decay == (param->n_shape >= 2 ? 1 : 0));
}

static bool same_group(const Mvs__Param *a, const Mvs__Param *b) {
  return !is_ungrouped(b) && a->rate == b->rate && a->decay == b->decay;
}

/* One line for the parameters that are treated as this one, unless an earlier one had it. */
static void print_group(mvs_session *session, size_t first) {
  const mvs_program *program = session->program;
  const Mvs__Param *param = program->params[first];
  int64_t elements = 0, others = -1;
  for (size_t at = 0; at < program->n_params; at++) {
    const Mvs__Param *each = program->params[at];
    if (!same_group(param, each)) continue;
    if (at < first) return;
    elements += each->elements * (each->layers ? each->layers : 1);
    others++;
  }
  const char *frozen = param->rate == 0 ? " (frozen)" : "";
  printf("group       lr x %g%s, decay x %g: %s parameters, %s", param->rate, frozen,
         param->decay, mvs_count_text(session->arena, elements), param->name);
  if (others) printf(" and %" PRId64 " more", others);
  printf("\n");
}

/* The model's own; `train` options override them. */
static void print_settings(mvs_session *session) {
  const Mvs__Settings *model = session->program->settings;
  char muon[64] = "adamw";
  if (model->muon) snprintf(muon, sizeof muon, "muon momentum %g and adamw", model->momentum);
  printf("train       %s lr %g, betas %g %g, eps %g, weight decay %g; clip %g; warm-up %" PRId64
         "; batch %" PRId64 "\n",
         muon, model->lr, model->beta1, model->beta2, model->adam_eps, model->weight_decay,
         model->clip, model->warmup, model->batch);
  printf("            timestep shift %g, conditioning dropout %g, EMA %g, data %s\n",
         model->timestep_shift, model->dropout, model->ema,
         model->data && *model->data ? model->data : "given by --data");
  for (size_t at = 0; at < session->program->n_params; at++)
    if (!is_ungrouped(session->program->params[at])) print_group(session, at);
  printf("sample      euler, %" PRId64 " steps, cfg %g, shift %g\n", model->sample_steps,
         model->cfg, model->sample_shift);
}

/* Opens the device, since only it knows which library runs a kernel. */
static mvs_status print_kernels(mvs_session *session) {
  const mvs_program *program = session->program;
  const Mvs__Settings *model = program->settings;
  int64_t batch = mvs_option_integer(session->options, "batch", model->batch);
  batch = mvs_option_integer(session->options, "micro-batch", batch);
  MVS_TRY(mvs_session_open(session));
  printf("kernels on %s (%s)\n", session->device->name, session->device->what);
  for (size_t at = 0; at < program->n_kernels; at++)
    printf("  %-24s %-14s %s (%s)\n", program->kernels[at]->name, program->kernels[at]->kind,
           program->kernels[at]->why,
           session->device->how(session->device, (uint32_t)at, batch));
  if (session->device->held)
    printf("libraries work in %s for them, beside the memory above\n",
           mvs_bytes_text(session->arena, session->device->held(session->device)));
  return MVS_OK;
}

static mvs_status run(mvs_session *session) {
  print_model(session);
  print_work(session);
  MVS_TRY(print_specialisations(session));
  if (mvs_program_function(session->program, "grad")) {
    MVS_TRY(print_training_memory(session));
    print_settings(session);
  }
  if (mvs_option_given(session->options, "kernels")) return print_kernels(session);
  return MVS_OK;
}

const mvs_command mvs_command_info = {
    "info", "Shows parameters, work, memory and settings; takes no memory for them.", rows,
    run};
