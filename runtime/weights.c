/* weights.c: parameters from and to tensor files, under the released names.
 *
 * Names are checked before any value is read: first that every trained parameter is there,
 * then that nothing else is, then constants. Messages name the first offender in the model's
 * order and how many follow, and guess at the likely cause (a prefix, another residual
 * rule). Values pass through a few megabytes of host memory on their way, whatever the size
 * of the model; all float dtypes are read, float32 is written. */
#include "runtime/weights.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "runtime/checkpoint_files.h"
#include "runtime/torch_file.h"
#include "runtime/upload.h"

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))
/* Elements that pass through host memory at a time. */
#define PART ((int64_t)1 << 20)

static const char *const state_groups[] = {"ema/", "adam_m/", "adam_v/"};

/* For commands that need or may take weights. */
static const mvs_option_row weight_rows[] = {
    {"weights", MVS_OPTION_TEXT, "FILE", 0, 0,
     "weights: a safetensors file, a PyTorch .pt, a run's folder or RUN/latest"},
    {"weights-prefix", MVS_OPTION_PREFIX, "PREFIX", 0, 0,
     "take the tensors whose names start so, without it"},
};

static const mvs_option_row ema_rows[] = {
    {"ema", MVS_OPTION_CHOICE, "on|off", 0, 0,
     "averaged weights (default: on where the file has them; off for grad)"},
};

/* For commands that need or may take weights. */
void mvs_weights_rows(mvs_arena *arena, mvs_option_rows *rows) {
  mvs_rows_add(arena, rows, weight_rows, COUNT(weight_rows));
}

/* Not for train, which starts from the weights themselves. */
void mvs_weights_ema_row(mvs_arena *arena, mvs_option_rows *rows) {
  mvs_rows_add(arena, rows, ema_rows, COUNT(ema_rows));
}

/* --- checking names --- */

/* A checkpoint's other copies of a parameter are known by the parameter's name. */
static const char *without_group(const char *name) {
  for (size_t at = 0; at < COUNT(state_groups); at++) {
    size_t length = strlen(state_groups[at]);
    if (strncmp(name, state_groups[at], length) == 0) return name + length;
  }
  return name;
}

/* NULL when no name is near enough to be meant. */
static const char *nearest_name(mvs_arena *arena, const mvs_param_list *params,
                                const char *name) {
  const char **names = MVS_ARRAY(arena, params->count + 1, const char *);
  for (size_t at = 0; at < params->count; at++) names[at] = params->by_name[at]->name;
  return mvs_suggest(name, names, params->count);
}

/* The first tensor under the prefix that the model does not have, or NULL; *count of them. */
static const char *first_extra(const mvs_safetensors *file, const mvs_param_list *params,
                               const char *prefix, size_t *count) {
  const char *first = NULL;
  size_t length = strlen(prefix);
  *count = 0;
  for (size_t at = 0; at < file->count; at++) {
    const char *name = file->tensors[at].name;
    if (strncmp(name, prefix, length) != 0) continue;
    if (mvs_params_find(params, without_group(name + length))) continue;
    if (!(*count)++) first = name;
  }
  return first;
}

/* Tells of the first tensor that the model does not have, and how many more there are. */
static mvs_status check_extra(mvs_session *session, const mvs_safetensors *file,
                              const mvs_param_list *params, const char *prefix) {
  size_t extra, length = strlen(prefix);
  const char *first = first_extra(file, params, prefix, &extra);
  if (!first) return MVS_OK;
  const char *near = nearest_name(session->arena, params, first + length);
  const char *more =
      extra > 1 ? mvs_arena_format(session->arena, " (and %zu more)", extra - 1) : "";
  mvs_status status =
      MVS_FAIL(session->diag, MVS_ERR_NAME, "'%s': tensor '%s' is no parameter of model '%s'%s",
               file->path, first, session->program->model, more);
  if (near) mvs_diag_hint(session->diag, "the model has '%s%s'", prefix, near);
  return status;
}

/* What is wrong when a file has none of the names looked for: often a prefix. */
static mvs_status no_such_prefix(mvs_session *session, const mvs_safetensors *file,
                                 const char *prefix) {
  return MVS_FAIL(session->diag, MVS_ERR_NAME, "'%s': no tensor's name starts with '%s'",
                  file->path, prefix);
}

/* A first path component that stands before a name of the model, e.g. "w/" or "model."; NULL.
 */
static const char *likely_prefix(mvs_session *session, const mvs_safetensors *file,
                                 const mvs_param_list *params) {
  for (size_t at = file->count; at-- > 0;) { /* from the end: "w/" rather than gradients "g/" */
    const char *name = file->tensors[at].name;
    for (const char *end = strpbrk(name, "/."); end; end = strpbrk(end + 1, "/."))
      if (mvs_params_find(params, end + 1))
        return mvs_arena_copy(session->arena, name, (size_t)(end + 1 - name));
  }
  return NULL;
}

/* Nothing found: the names have a prefix. Some found: the file is of another residual rule. */
static void hint_at_missing(mvs_session *session, const mvs_safetensors *file,
                            const mvs_param_list *params, const char *prefix,
                            bool all_missing) {
  size_t extra;
  const char *likely = all_missing && !*prefix ? likely_prefix(session, file, params) : NULL;
  const char *other = all_missing ? NULL : first_extra(file, params, prefix, &extra);
  if (likely) mvs_diag_hint(session->diag, "try --weights-prefix '%s'", likely);
  if (other)
    mvs_diag_hint(
        session->diag,
        "the file has '%s' instead: is it of another residual rule or size than '%s'?", other,
        session->program->residual);
}

/* The first in the order of the model, so that the message starts where a reader would. */
static mvs_status check_missing(mvs_session *session, const mvs_safetensors *file,
                                const mvs_param_list *params, const char *prefix) {
  const char *first = NULL;
  size_t missing = 0, wanted = 0;
  for (size_t at = 0; at < params->count; at++) {
    const mvs_param_entry *entry = &params->entries[at];
    if (!entry->param->trained) continue;
    wanted++;
    const char *name = mvs_arena_format(session->arena, "%s%s", prefix, entry->name);
    if (mvs_safetensors_find(file, name)) continue;
    if (!missing++) first = name;
  }
  if (!missing) return MVS_OK;
  const char *more =
      missing > 1 ? mvs_arena_format(session->arena, " (and %zu more)", missing - 1) : "";
  mvs_status status = MVS_FAIL(session->diag, MVS_ERR_NAME, "'%s': tensor '%s' is missing%s",
                               file->path, first, more);
  hint_at_missing(session, file, params, prefix, missing == wanted);
  return status;
}

/* --- reading --- */

/* All floats are read; integers in the place of weights are a mistake. */
static mvs_status check_shape(mvs_session *session, const mvs_safetensors *file,
                              const mvs_file_tensor *tensor, const Mvs__Param *param) {
  bool same = (size_t)tensor->rank == param->n_shape;
  for (int at = 0; same && at < tensor->rank; at++)
    same = tensor->shape[at] == param->shape[at];
  if (!same)
    return MVS_FAIL(session->diag, MVS_ERR_SHAPE, "'%s': tensor '%s' is %s, the model needs %s",
                    file->path, tensor->name,
                    mvs_shape_text(session->arena, tensor->rank, tensor->shape),
                    mvs_shape_text(session->arena, (int)param->n_shape, param->shape));
  if (mvs_file_dtype_is_integer(tensor->dtype))
    return MVS_FAIL(session->diag, MVS_ERR_SHAPE,
                    "'%s': tensor '%s' holds integers (%s), the model needs floats", file->path,
                    tensor->name, mvs_file_dtype_name(tensor->dtype));
  return MVS_OK;
}

/* A constant with another value would be ignored by the model: better refused. */
static mvs_status check_constant(mvs_session *session, const mvs_safetensors *file,
                                 const mvs_file_tensor *tensor, const Mvs__Param *param) {
  MVS_TRY(check_shape(session, file, tensor, param));
  for (int64_t at = 0; at < tensor->elements; at++) {
    float value;
    mvs_file_tensor_to_f32(tensor, at, 1, &value);
    if (value == (float)param->init_value) continue;
    return MVS_FAIL(
        session->diag, MVS_ERR_FORMAT,
        "'%s': tensor '%s' must be %g everywhere (the model does not train it), but "
        "element %" PRId64 " is %.9g",
        file->path, tensor->name, param->init_value, at, (double)value);
  }
  return MVS_OK;
}

/* A weight that is no number makes everything so, at some later step: better told here, by its
 * place. Beyond the range of f32, an F64 is infinite. */
static mvs_status check_finite(mvs_session *session, const mvs_safetensors *file,
                               const mvs_file_tensor *tensor, const float *part, int64_t first,
                               int64_t count) {
  bool finite = true;
  for (int64_t at = 0; at < count; at++) finite &= isfinite(part[at]) != 0;
  if (finite) return MVS_OK;
  int64_t at = 0;
  while (isfinite(part[at])) at++;
  return MVS_FAIL(session->diag, MVS_ERR_FORMAT,
                  "'%s': tensor '%s' is not finite: element %" PRId64 " is %s", file->path,
                  tensor->name, first + at, isnan(part[at]) ? "nan" : "infinite");
}

/* Layer by layer: an entry is one tensor of the file. */
static mvs_status read_param(mvs_session *session, const mvs_safetensors *file,
                             const char *name, const mvs_param_entry *entry, bool finite,
                             mvs_upload *upload, float *flat) {
  const mvs_file_tensor *tensor = mvs_safetensors_find(file, name);
  if (!tensor)
    return MVS_FAIL(session->diag, MVS_ERR_NAME, "'%s': tensor '%s' is missing", file->path,
                    name);
  MVS_TRY(check_shape(session, file, tensor, entry->param));
  for (int64_t at = 0; at < tensor->elements; at += PART) {
    int64_t count = tensor->elements - at < PART ? tensor->elements - at : PART;
    void *part;
    MVS_TRY(mvs_upload_open(upload, &part));
    mvs_file_tensor_to_f32(tensor, at, count, part);
    if (finite) MVS_TRY(check_finite(session, file, tensor, part, at, count));
    mvs_upload_send(upload, flat + entry->offset + at, count * (int64_t)sizeof *flat);
  }
  return MVS_OK;
}

/* The shape is checked here as well, so no file can write past its parameter. */
static mvs_status read_params(mvs_session *session, const mvs_safetensors *file,
                              const mvs_param_list *params, const char *group, bool finite,
                              float *flat) {
  mvs_upload *upload;
  MVS_TRY(mvs_upload_new(session, PART * (int64_t)sizeof *flat, &upload));
  mvs_status status = MVS_OK;
  for (size_t at = 0; status == MVS_OK && at < params->count; at++) {
    const mvs_param_entry *entry = &params->entries[at];
    if (!entry->param->trained) continue;
    const char *name = mvs_arena_format(session->arena, "%s%s", group, entry->name);
    status = read_param(session, file, name, entry, finite, upload, flat);
  }
  mvs_upload_end(upload);
  mvs_executor_weights_changed(session->executor, false);
  return status;
}

/* As it was when it was saved: a second moment may have overflowed, and the run goes on so. */
mvs_status mvs_weights_read(mvs_session *session, const mvs_safetensors *file,
                            const mvs_param_list *params, const char *group, float *flat) {
  return read_params(session, file, params, group, false, flat);
}

/* Absent ones are fine: the program has their values. */
static mvs_status check_constants(mvs_session *session, const mvs_safetensors *file,
                                  const mvs_param_list *params, const char *prefix) {
  for (size_t at = 0; at < params->count; at++) {
    const mvs_param_entry *entry = &params->entries[at];
    if (entry->param->trained) continue;
    const char *name = mvs_arena_format(session->arena, "%s%s", prefix, entry->name);
    const mvs_file_tensor *tensor = mvs_safetensors_find(file, name);
    if (tensor) MVS_TRY(check_constant(session, file, tensor, entry->param));
  }
  return MVS_OK;
}

/* True when the file holds averaged weights under `prefix`. */
static bool has_ema(mvs_session *session, const mvs_safetensors *file, const char *prefix) {
  const char *start = mvs_arena_format(session->arena, "%sema/", prefix);
  for (size_t at = 0; at < file->count; at++)
    if (strncmp(file->tensors[at].name, start, strlen(start)) == 0) return true;
  return false;
}

/* All names are checked before the first value is read. */
static mvs_status load_open(mvs_session *session, const mvs_safetensors *file,
                            const char *prefix, mvs_ema ema, float *flat, bool *used_ema) {
  mvs_param_list *params = mvs_params_list(session->arena, session->program);
  size_t matching = 0;
  for (size_t at = 0; at < file->count; at++)
    matching += strncmp(file->tensors[at].name, prefix, strlen(prefix)) == 0;
  if (!matching) return no_such_prefix(session, file, prefix);
  MVS_TRY(check_missing(session, file, params, prefix));
  MVS_TRY(check_extra(session, file, params, prefix));
  MVS_TRY(check_constants(session, file, params, prefix));
  bool present = has_ema(session, file, prefix);
  if (ema == MVS_EMA_ON && !present)
    return MVS_FAIL(session->diag, MVS_ERR_NAME,
                    "'%s' holds no averaged weights (ema/...); use --ema off", file->path);
  bool averaged = present && ema != MVS_EMA_OFF;
  if (used_ema) *used_ema = averaged;
  const char *group = averaged ? mvs_arena_format(session->arena, "%sema/", prefix) : prefix;
  return read_params(session, file, params, group, true, flat);
}

/* The file is closed on every path. */
mvs_status mvs_weights_load(mvs_session *session, const char *path, const char *prefix,
                            mvs_ema ema, float *flat, bool *used_ema) {
  const char *resolved;
  mvs_safetensors *file;
  MVS_TRY(mvs_checkpoint_resolve(session->arena, session->diag, path, &resolved));
  MVS_TRY(mvs_torch_file_is(resolved)
              ? mvs_torch_file_open(session->arena, session->diag, resolved, &file)
              : mvs_safetensors_open(session->arena, session->diag, resolved, &file));
  mvs_status status = load_open(session, file, prefix, ema, flat, used_ema);
  mvs_safetensors_close(file);
  return status;
}

/* A command whose weights are optional asks for --weights itself. */
mvs_status mvs_weights_load_options(mvs_session *session, mvs_ema fallback, float *flat) {
  const char *path, *choice = mvs_option_text(session->options, "ema", NULL);
  mvs_ema ema = !choice ? fallback : strcmp(choice, "on") == 0 ? MVS_EMA_ON : MVS_EMA_OFF;
  MVS_TRY(mvs_session_require(session, "weights", &path));
  const char *prefix = mvs_option_text(session->options, "weights-prefix", "");
  return mvs_weights_load(session, path, prefix, ema, flat, NULL);
}

/* --- writing --- */

/* A parameter of a stack is one tensor per layer. */
void mvs_weights_declare(mvs_safetensors_writer *writer, mvs_arena *arena,
                         const mvs_param_list *params, const char *group, bool constants) {
  for (size_t at = 0; at < params->count; at++) {
    const mvs_param_entry *entry = &params->entries[at];
    if (!entry->param->trained && !constants) continue;
    mvs_safetensors_declare(writer, mvs_arena_format(arena, "%s%s", group, entry->name),
                            MVS_FILE_F32, (int)entry->param->n_shape, entry->param->shape);
  }
}

/* Constants are written out in full, since readers of the released format expect them. */
static mvs_status append_param(mvs_session *session, mvs_safetensors_writer *writer,
                               const mvs_param_entry *entry, const float *flat, float *part) {
  const Mvs__Param *param = entry->param;
  for (int64_t at = 0; at < param->elements; at += PART) {
    int64_t count = param->elements - at < PART ? param->elements - at : PART;
    int64_t bytes = count * (int64_t)sizeof *part;
    if (param->trained) {
      session->device->copy(session->device, part, flat + entry->offset + at, bytes,
                            MVS_COPY_TO_HOST);
    } else {
      for (int64_t each = 0; each < count; each++) part[each] = (float)param->init_value;
    }
    MVS_TRY(mvs_safetensors_append(writer, part, bytes));
  }
  return MVS_OK;
}

/* The same order and choice as mvs_weights_declare, or the file would not add up. */
mvs_status mvs_weights_append(mvs_session *session, mvs_safetensors_writer *writer,
                              const mvs_param_list *params, const float *flat, bool constants) {
  float *part = malloc((size_t)PART * sizeof *part);
  if (!part) {
    mvs_safetensors_abandon(writer);
    return MVS_FAIL(session->diag, MVS_ERR_MEMORY, "out of memory");
  }
  mvs_status status = MVS_OK;
  for (size_t at = 0; status == MVS_OK && at < params->count; at++) {
    const mvs_param_entry *entry = &params->entries[at];
    if (entry->param->trained || constants)
      status = append_param(session, writer, entry, flat, part);
  }
  free(part);
  if (status == MVS_OK) status = session->device->synchronize(session->device, session->diag);
  if (status != MVS_OK) mvs_safetensors_abandon(writer);
  return status;
}
