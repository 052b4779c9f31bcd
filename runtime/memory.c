/* memory.c: what a piece of work needs, before any memory is taken, and how much of it to
 * redo.
 *
 * All sizes are linear in the batch and come from the program's tables, so a plan is
 * arithmetic and exact; 64 bits that overflow are an error with a sentence of its own.
 * Keeping everything is the fastest, redoing whole blocks the smallest; in between stand as
 * many plans as values may be redone, in an order of their own (recompute.c). The fewest
 * that fit the budget are redone. The bits are the same in all of them. */
#include "runtime/memory.h"

#include "compiler/base/checked.h"
#include "runtime/flat.h"

/* False when the size does not fit 64 bits. */
static bool tensor_bytes(const Mvs__Tensor *tensor, int64_t batch, int64_t *bytes) {
  *bytes = mvs_dtype_bytes(tensor->dtype);
  for (size_t at = 0; at < tensor->n_dims; at++) {
    if (!mvs_mul(*bytes, tensor->dims[at]->size, bytes)) return false;
    if (tensor->dims[at]->per_batch && !mvs_mul(*bytes, batch, bytes)) return false;
  }
  return true;
}

/* Adds the inputs and outputs of a function. */
static bool add_interface(const Mvs__Function *function, int64_t batch, int64_t *sum) {
  int64_t bytes;
  for (size_t at = 0; at < function->n_inputs; at++)
    if (!tensor_bytes(function->inputs[at], batch, &bytes) || !mvs_add(*sum, bytes, sum))
      return false;
  for (size_t at = 0; at < function->n_outputs; at++)
    if (!tensor_bytes(function->outputs[at], batch, &bytes) || !mvs_add(*sum, bytes, sum))
      return false;
  return true;
}

/* Functions whose tensors are parts of the flat buffers, or numbers by row: they have been
 * counted with those. */
static bool lies_in_flats(const char *function) {
  return strcmp(function, "muon") == 0 || strncmp(function, "diagnose/", 9) == 0;
}

/* Adds the samples that stand ready for later micro-batches: whatever "grad" has for each
 * sample and "draw" does not make of nothing. */
static bool add_landings(const mvs_program *program, const mvs_memory_use *use, int64_t *sum) {
  const Mvs__Function *grad = mvs_program_function(program, "grad");
  const Mvs__Function *draw = mvs_program_function(program, "draw");
  int64_t bytes;
  for (size_t at = 0; use->landings && grad && at < grad->n_inputs; at++) {
    const Mvs__Tensor *tensor = grad->inputs[at];
    bool drawn = mvs_has_tensor(draw->outputs, draw->n_outputs, tensor->name);
    bool given = mvs_has_tensor(draw->inputs, draw->n_inputs, tensor->name);
    if (drawn && !given) continue;
    if (!tensor_bytes(tensor, use->batch, &bytes) || !mvs_mul(bytes, use->landings, &bytes) ||
        !mvs_add(*sum, bytes, sum))
      return false;
  }
  return true;
}

/* Only a batch can do that: everything else was checked by the compiler. */
static mvs_status too_large(mvs_session *session, int64_t batch) {
  return MVS_FAIL(session->diag, MVS_ERR_LIMIT, "a batch of %lld is too large for 64-bit sizes",
                  (long long)batch);
}

/* What functions share when they run one after another: the largest counts, not the sum. */
typedef struct shared {
  int64_t block, workspace;
} shared;

static mvs_status add_function(mvs_session *session, const char *name, int64_t batch,
                               mvs_recompute recompute, shared *all) {
  const Mvs__Function *function = mvs_program_function(session->program, name);
  mvs_placement *placement;
  bool apart = session->executor && mvs_executor_apart(session->executor);
  if (!function) return MVS_OK;
  MVS_TRY(mvs_placement_new(session->arena, session->diag, session->program, function, batch,
                            recompute, apart, &placement));
  if (placement->bytes > all->block) all->block = placement->bytes;
  if (placement->workspace_bytes > all->workspace) all->workspace = placement->workspace_bytes;
  return MVS_OK;
}

/* "prepare" has no batch of its own. */
mvs_status mvs_memory_plan(mvs_session *session, const mvs_memory_use *use,
                           mvs_recompute recompute, mvs_memory *out) {
  const mvs_program *program = session->program;
  int64_t flat = mvs_flat_bytes(program);
  shared all = {0};
  /* A row has a rate and a decay, f32, and a sum of squares, f64; where Muon has some, two
   * numbers more. */
  const Mvs__Function *adamw = mvs_program_function(program, "adamw");
  bool direct = adamw && mvs_has_tensor(adamw->inputs, adamw->n_inputs, "direct");
  int64_t numbers = use->optimizer_flats ? (direct ? 6 : 4) : 0;
  int64_t by_row = numbers * (flat / MVS_FLAT_ROW_ELEMENTS);
  *out = (mvs_memory){.parameters = flat,
                      .gradients = use->gradient_flats * flat,
                      .optimizer = use->optimizer_flats * flat + by_row,
                      .average = use->average_flats * flat};
  out->prepared = mvs_rounded_bytes(program) + mvs_prepared_new(session->arena, program)->bytes;
  shared aside = {0};
  MVS_TRY(add_function(session, "prepare", 1, recompute, &all));
  for (const char *const *name = use->asides; name && *name; name++)
    MVS_TRY(add_function(session, *name, use->batch, recompute, &aside));
  if (session->device && session->device->held)
    out->libraries = session->device->held(session->device);
  for (const char *const *name = use->functions; *name; name++) {
    const Mvs__Function *function = mvs_program_function(program, *name);
    MVS_TRY(add_function(session, *name, use->batch, recompute, &all));
    if (lies_in_flats(*name)) continue;
    if (function && !add_interface(function, use->batch, &out->tensors))
      return too_large(session, use->batch);
  }
  for (const char *const *name = use->between; name && *name; name++) {
    const Mvs__Function *function = mvs_program_function(program, *name);
    MVS_TRY(add_function(session, *name, use->between_batch, recompute, &all));
    if (function && !add_interface(function, use->between_batch, &out->tensors))
      return too_large(session, use->between_batch);
  }
  if (!add_landings(program, use, &out->tensors)) return too_large(session, use->batch);
  bool fits = mvs_add(all.block, all.workspace, &out->temporaries) &&
              mvs_add(out->temporaries, aside.block, &out->temporaries) &&
              mvs_add(out->temporaries, aside.workspace, &out->temporaries);
  const int64_t parts[] = {out->parameters, out->gradients,   out->optimizer, out->average,
                           out->prepared,   out->temporaries, out->tensors,   out->libraries};
  for (size_t at = 0; at < sizeof parts / sizeof *parts; at++)
    fits = fits && mvs_add(out->total, parts[at], &out->total);
  return fits ? MVS_OK : too_large(session, use->batch);
}

/* The most values that any of the functions may redo. */
static int most_redone(const mvs_session *session, const mvs_memory_use *use) {
  int most = 0;
  for (const char *const *name = use->functions; *name; name++) {
    const Mvs__Function *function = mvs_program_function(session->program, *name);
    int here = function ? mvs_redo_most(function) : 0;
    if (here > most) most = here;
  }
  return most;
}

/* The fewest values whose redoing makes the work fit; all of them where fewer do not. */
static mvs_status fewest_redone(mvs_session *session, const mvs_memory_use *use, int most,
                                mvs_recompute *out) {
  int64_t budget = mvs_session_budget(session);
  *out = MVS_RECOMPUTE_BLOCK;
  for (mvs_recompute count = 1; count < most; count++) {
    mvs_memory some;
    MVS_TRY(mvs_memory_plan(session, use, count, &some));
    if (some.total > budget) continue;
    *out = count;
    return MVS_OK;
  }
  return MVS_OK;
}

/* `redone` is NULL where redoing is no choice. */
static mvs_status does_not_fit(mvs_session *session, const mvs_memory *kept,
                               const mvs_memory *redone, const char *what, const char *advice) {
  mvs_arena *arena = session->arena;
  bool given = mvs_option_given(session->options, "memory");
  const char *have = mvs_bytes_text(arena, mvs_session_budget(session));
  const char *limit =
      mvs_arena_format(arena, given ? "--memory allows %s" : "only %s are free", have);
  int64_t state =
      kept->parameters + kept->gradients + kept->optimizer + kept->average + kept->prepared;
  if (state > mvs_session_budget(session))
    return MVS_FAIL(session->diag, MVS_ERR_MEMORY,
                    "%s needs %s for the weights and what belongs to them alone, but %s; %s",
                    what, mvs_bytes_text(arena, state), limit,
                    given ? "use a larger --memory"
                    : strcmp(session->device->name, "cpu") == 0
                        ? "a model with fewer layers needs less (mvcc --set depth=N)"
                        : "--device cpu uses the machine's own memory");
  if (!redone)
    return MVS_FAIL(session->diag, MVS_ERR_MEMORY, "%s needs %s, but %s; use %s", what,
                    mvs_bytes_text(arena, kept->total), limit, advice);
  return MVS_FAIL(session->diag, MVS_ERR_MEMORY,
                  "%s needs %s, or %s with --recompute block, but %s; use %s", what,
                  mvs_bytes_text(arena, kept->total), mvs_bytes_text(arena, redone->total),
                  limit, advice);
}

static void prepare_steps(mvs_session *session, Mvs__Step *const *steps, size_t count,
                          int64_t batch) {
  for (size_t at = 0; at < count; at++)
    if (steps[at]->kernel >= 0)
      session->device->prepare(session->device, (uint32_t)steps[at]->kernel, batch);
}

/* Libraries measure, and say what they need, before any memory is taken. */
static void prepare_functions(mvs_session *session, int64_t batch, const char *const *names) {
  for (const char *const *name = names; *name; name++) {
    const Mvs__Function *function = mvs_program_function(session->program, *name);
    if (!function) continue;
    prepare_steps(session, function->steps, function->n_steps, batch);
    for (size_t at = 0; at < function->n_loops; at++)
      prepare_steps(session, function->loops[at]->steps, function->loops[at]->n_steps, batch);
  }
}

static void prepare_device(mvs_session *session, const mvs_memory_use *use) {
  if (!session->device->prepare) return;
  prepare_functions(session, use->batch, use->functions);
  if (use->asides) prepare_functions(session, use->batch, use->asides);
  if (use->between) prepare_functions(session, use->between_batch, use->between);
}

/* Both ends: everything kept, and everything redone that can be. Room for launches done
 * together is taken where that leaves the choice as it is. */
static mvs_status plan_ends(mvs_session *session, const mvs_memory_use *use, bool may_keep,
                            mvs_memory *kept, mvs_memory *redone) {
  for (int apart = 1; apart >= 0; apart--) {
    mvs_executor_set_apart(session->executor, apart);
    MVS_TRY(mvs_memory_plan(session, use, MVS_RECOMPUTE_NONE, kept));
    MVS_TRY(mvs_memory_plan(session, use, MVS_RECOMPUTE_BLOCK, redone));
    if ((may_keep ? kept : redone)->total <= mvs_session_budget(session)) break;
  }
  return MVS_OK;
}

/* The ends decide whether anything fits, and what the message says. */
mvs_status mvs_memory_choose(mvs_session *session, const mvs_memory_use *use, const char *what,
                             const char *advice, mvs_recompute *out) {
  const char *asked = mvs_option_text(session->options, "recompute", "auto");
  prepare_device(session, use);
  int64_t budget = mvs_session_budget(session);
  int most = most_redone(session, use);
  bool may_keep = strcmp(asked, "block") != 0;
  bool may_redo = strcmp(asked, "none") != 0 && most > 0;
  if (!may_redo) may_keep = true; /* nothing to redo: both choices are the same */
  mvs_memory kept, redone;
  MVS_TRY(plan_ends(session, use, may_keep, &kept, &redone));
  bool keeps = may_keep && kept.total <= budget;
  if (!keeps && !(may_redo && redone.total <= budget)) {
    if (most == 0) return does_not_fit(session, &kept, NULL, what, advice);
    if (!may_redo && redone.total <= budget)
      advice = mvs_arena_format(session->arena, "--recompute block or %s", advice);
    return does_not_fit(session, &kept, &redone, what, advice);
  }
  *out = keeps ? MVS_RECOMPUTE_NONE : MVS_RECOMPUTE_BLOCK;
  if (!keeps && may_keep) MVS_TRY(fewest_redone(session, use, most, out));
  mvs_executor_set_recompute(session->executor, *out);
  return MVS_OK;
}

/* For reports: "kept", "redone", or how many of the values. */
const char *mvs_recompute_text(const mvs_session *session, const mvs_memory_use *use,
                               mvs_recompute recompute) {
  int most = most_redone(session, use);
  if (recompute == MVS_RECOMPUTE_NONE || most == 0) return "kept";
  if (recompute >= most) return "redone";
  return mvs_arena_format(session->arena, "kept but for %d of %d values", (int)recompute, most);
}
