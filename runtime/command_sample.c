/* command_sample.c: where noise and conditions come from, and where samples go.
 *
 * Options decide in this order: the output's form, the number of samples (--count, else the
 * most that labels or files give), the noise, each conditioning input with and without its
 * condition. Everything is held in host memory as [count, ...] before the first step; the
 * sampler takes it group by group. Every mistake that can be seen without sampling is told
 * before the weights are read. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/commands.h"
#include "runtime/inputs.h"
#include "runtime/memory.h"
#include "runtime/output_option.h"
#include "runtime/output_tensors.h"
#include "runtime/png.h"
#include "runtime/sample_inputs.h"
#include "runtime/specialise.h"
#include "runtime/weights.h"

#define COUNT(list)   (sizeof(list) / sizeof((list)[0]))
#define DEFAULT_BATCH 64
#define MOST_SAMPLES  1e7

static const mvs_option_row sample_rows[] = {
    {"out", MVS_OPTION_TEXT, "FILE", 0, 0, "FILE.png: a grid; FILE.safetensors: `sample`"},
    {"count", MVS_OPTION_INTEGER, "N", 1, MOST_SAMPLES,
     "samples (default 20, or what is given)"},
    {"batch", MVS_OPTION_INTEGER, "N", 1, MOST_SAMPLES, "samples at a time (default 64)"},
    {"steps", MVS_OPTION_INTEGER, "N", 1, 1e9, "Euler steps (default: the model's)"},
    {"cfg", MVS_OPTION_NUMBER, "W", 0, 1e6, "guidance, 1 for none (default: the model's)"},
    {"shift", MVS_OPTION_NUMBER, "S", 1e-6, 1e6, "timestep shift (default: the model's)"},
    {"seed", MVS_OPTION_INTEGER, "N", 0, INT32_MAX, "of the noise (default 0)"},
    {"noise", MVS_OPTION_TEXT, "FILE", 0, 0, "start from this noise instead"},
    {"noise-name", MVS_OPTION_TEXT, "NAME", 0, 0, "its tensor (default x1)"},
    {"uncond", MVS_OPTION_TEXT, "FILE", 0, 0,
     "unconditional inputs, one sample (default: the model's value)"},
    {"uncond-name", MVS_OPTION_TEXT, "NAME", 0, 0, "its tensor (default: the input's name)"},
};

/* What the options ask for, while it is put together. */
typedef struct request {
  mvs_session *session;
  mvs_sampling sampling;
  mvs_condition *conditions;
  const char *out;
  bool picture;
} request;

/* "labels" for an input called label. */
static const char *labels_option(mvs_session *session, const Mvs__ModelInput *input) {
  return mvs_arena_format(session->arena, "%ss", input->name);
}

/* "context-name" for an input called context. */
static const char *name_option(mvs_session *session, const Mvs__ModelInput *input) {
  return mvs_arena_format(session->arena, "%s-name", input->name);
}

/* Every conditioning input has options under its own name. */
static void rows(mvs_session *session, mvs_option_rows *list) {
  mvs_weights_rows(session->arena, list);
  mvs_weights_ema_row(session->arena, list);
  mvs_rows_add(session->arena, list, sample_rows, COUNT(sample_rows));
  for (size_t at = 0; at < session->program->n_inputs; at++) {
    const Mvs__ModelInput *input = session->program->inputs[at];
    if (!input->conditioning) continue;
    if (mvs_sample_is_label(input)) {
      mvs_option_row labels = {labels_option(session, input),
                               MVS_OPTION_TEXT,
                               "N,N,...",
                               0,
                               0,
                               "classes, repeated as needed (default: all in turn)"};
      mvs_rows_add(session->arena, list, &labels, 1);
      continue;
    }
    mvs_option_row pair[] = {
        {input->name, MVS_OPTION_TEXT, "FILE", 0, 0, "condition on this (default: on nothing)"},
        {name_option(session, input), MVS_OPTION_TEXT, "NAME", 0, 0,
         "its tensor (default: the input's name)"}};
    mvs_rows_add(session->arena, list, pair, 2);
  }
}

/* --- tensors from files --- */

/* Reads a whole tensor into the session's arena in the input's dtype. Its shape is that of one
 * sample, or of several with a leading extent; *count says how many. */
static mvs_status read_samples(mvs_session *session, const char *path, const char *name,
                               const Mvs__ModelInput *input, void **out, int64_t *count) {
  mvs_safetensors *file;
  const mvs_file_tensor *tensor;
  mvs_arena *arena = session->arena;
  MVS_TRY(mvs_safetensors_open(arena, session->diag, path, &file));
  mvs_status status = mvs_inputs_find(session, file, "", name, &tensor);
  if (status == MVS_OK) {
    int extra = tensor->rank - (int)input->n_shape;
    bool fits = extra == 0 || extra == 1, integers = strcmp(input->dtype, "i32") == 0;
    for (size_t at = 0; fits && at < input->n_shape; at++)
      fits = tensor->shape[at + (size_t)extra] == input->shape[at];
    *count = extra == 1 ? tensor->shape[0] : 1;
    *out = mvs_arena_array(arena, fits ? (size_t)tensor->elements : 1, 4);
    bool read = fits && *count > 0 &&
                (integers ? mvs_file_tensor_to_i32(tensor, 0, tensor->elements, *out)
                          : mvs_file_tensor_to_f32(tensor, 0, tensor->elements, *out));
    if (read && integers)
      status =
          mvs_inputs_check_labels(session, file, tensor, input->name, *out, tensor->elements);
    if (!read)
      status = MVS_FAIL(session->diag, MVS_ERR_SHAPE,
                        "'%s': tensor '%s' is %s %s, input '%s' needs %s samples of %s", path,
                        name, mvs_file_dtype_name(tensor->dtype),
                        mvs_shape_text(arena, tensor->rank, tensor->shape), input->name,
                        input->dtype, mvs_shape_text(arena, (int)input->n_shape, input->shape));
  }
  mvs_safetensors_close(file);
  return status;
}

/* Repeats one sample `count` times where a file held only one. */
static mvs_status spread(request *ask, const char *path, const Mvs__ModelInput *input,
                         void *values, int64_t have, const void **out) {
  int64_t bytes = mvs_input_elements(input) * mvs_dtype_bytes(input->dtype);
  int64_t count = ask->sampling.count;
  *out = values;
  if (have == count) return MVS_OK;
  if (have != 1)
    return MVS_FAIL(ask->session->diag, MVS_ERR_SHAPE,
                    "'%s' holds %" PRId64 " samples of '%s', but %" PRId64 " are to be made",
                    path, have, input->name, count);
  char *all = mvs_arena_array(ask->session->arena, (size_t)count, (size_t)bytes);
  for (int64_t at = 0; at < count; at++) memcpy(all + at * bytes, values, (size_t)bytes);
  *out = all;
  return MVS_OK;
}

/* --- noise --- */

/* Given noise also says how many samples there are; --count may only agree. */
static mvs_status read_noise(request *ask, const char *path) {
  mvs_session *session = ask->session;
  const char *name = mvs_option_text(session->options, "noise-name", "x1");
  void *values;
  int64_t have;
  MVS_TRY(read_samples(session, path, name, mvs_state_input(session->program), &values, &have));
  if (mvs_option_given(session->options, "count") && ask->sampling.count != have)
    return MVS_FAIL(session->diag, MVS_ERR_SHAPE,
                    "'%s' holds %" PRId64 " samples of noise, but --count is %" PRId64, path,
                    have, ask->sampling.count);
  ask->sampling.count = have;
  ask->sampling.state = values;
  return MVS_OK;
}

/* --count and --batch do not change it. */
static void draw_noise(request *ask) {
  mvs_session *session = ask->session;
  int64_t elements = mvs_input_elements(mvs_state_input(session->program));
  ask->sampling.state = mvs_arena_array(session->arena, (size_t)ask->sampling.count,
                                        (size_t)elements * sizeof(float));
  mvs_sample_noise(session->program, (int32_t)mvs_option_integer(session->options, "seed", 0),
                   ask->sampling.count, ask->sampling.state);
}

/* --- conditions --- */

/* Reads "0,1,2" into *out; the list is not empty and holds no negative numbers. */
static mvs_status parse_labels(mvs_session *session, const char *option, const char *text,
                               int32_t **out, int64_t *count) {
  *out = MVS_ARRAY(session->arena, strlen(text) + 1, int32_t);
  *count = 0;
  for (const char *at = text;; at++) {
    size_t length = strcspn(at, ",");
    int64_t value;
    const char *word = mvs_arena_copy(session->arena, at, length);
    if (!mvs_parse_integer(word, &value) || value < 0 || value > INT32_MAX)
      return MVS_FAIL(session->diag, MVS_ERR_FORMAT,
                      "--%s needs numbers divided by commas, such as 0,1,2, not '%s'", option,
                      text);
    (*out)[(*count)++] = (int32_t)value;
    at += length;
    if (!*at) return MVS_OK;
  }
}

/* A label above the unconditional one picks no row of a table: the sample would be of nothing.
 */
static mvs_status check_labels(mvs_session *session, const Mvs__ModelInput *input,
                               const int32_t *labels, int64_t count) {
  int32_t last = mvs_input_last_label(input);
  for (int64_t at = 0; at < count; at++) {
    if (labels[at] <= last) continue;
    return MVS_FAIL(session->diag, MVS_ERR_FORMAT,
                    "--%s: %" PRId32 " is no label: the model has 0 to %" PRId32
                    ", the last for none",
                    labels_option(session, input), labels[at], last);
  }
  return MVS_OK;
}

/* A list shorter than the count starts again from its beginning. */
static mvs_status set_labels(request *ask, mvs_condition *condition) {
  mvs_session *session = ask->session;
  const char *option = labels_option(session, condition->input);
  const char *text = mvs_option_text(session->options, option, NULL);
  int64_t count = ask->sampling.count, given = mvs_sample_classes(condition->input);
  int32_t *list = NULL, *values = MVS_ARRAY(session->arena, (size_t)count, int32_t);
  if (text) {
    MVS_TRY(parse_labels(session, option, text, &list, &given));
    MVS_TRY(check_labels(session, condition->input, list, given));
  }
  for (int64_t at = 0; at < count; at++)
    values[at] = list ? list[at % given] : (int32_t)(at % given);
  condition->values = values;
  return MVS_OK;
}

/* Without a file the condition is "none", so guidance then changes nothing. */
static mvs_status set_from_file(request *ask, mvs_condition *condition) {
  mvs_session *session = ask->session;
  const Mvs__ModelInput *input = condition->input;
  const char *path = mvs_option_text(session->options, input->name, NULL);
  void *values;
  int64_t have = 1;
  if (path) {
    const char *name =
        mvs_option_text(session->options, name_option(session, input), input->name);
    MVS_TRY(read_samples(session, path, name, input, &values, &have));
  } else {
    values = (void *)(uintptr_t)condition->without;
  }
  return spread(ask, path ? path : "", input, values, have, &condition->values);
}

/* One sample, used for all: of several in the file, the first. */
static mvs_status set_unconditional(request *ask, mvs_condition *condition) {
  mvs_session *session = ask->session;
  const char *path = mvs_option_text(session->options, "uncond", NULL);
  condition->without = mvs_sample_unconditional(session, condition->input);
  if (!path) return MVS_OK;
  void *values;
  int64_t have;
  const char *name = mvs_option_text(session->options, "uncond-name", condition->input->name);
  MVS_TRY(read_samples(session, path, name, condition->input, &values, &have));
  condition->without = values;
  return MVS_OK;
}

/* In the order of the program's inputs, which the sampler relies on. */
static mvs_status set_conditions(request *ask) {
  const mvs_program *program = ask->session->program;
  ask->conditions = MVS_ARRAY(ask->session->arena, program->n_inputs, mvs_condition);
  for (size_t at = 0; at < program->n_inputs; at++) {
    if (!program->inputs[at]->conditioning) continue;
    mvs_condition *condition = &ask->conditions[ask->sampling.condition_count++];
    condition->input = program->inputs[at];
    MVS_TRY(set_unconditional(ask, condition));
    MVS_TRY(mvs_sample_is_label(condition->input) ? set_labels(ask, condition)
                                                  : set_from_file(ask, condition));
  }
  ask->sampling.conditions = ask->conditions;
  return MVS_OK;
}

/* How many samples: those asked for, else as many as the longest list or file of conditions. */
static mvs_status settle_count(request *ask) {
  mvs_session *session = ask->session;
  int64_t count = 0;
  for (size_t at = 0; at < session->program->n_inputs; at++) {
    const Mvs__ModelInput *input = session->program->inputs[at];
    if (!input->conditioning) continue;
    const char *option =
        mvs_sample_is_label(input) ? labels_option(session, input) : input->name;
    const char *text = mvs_option_text(session->options, option, NULL);
    int64_t have = 0;
    int32_t *labels;
    void *values;
    if (text && mvs_sample_is_label(input)) {
      MVS_TRY(parse_labels(session, option, text, &labels, &have));
    } else if (text) {
      const char *name =
          mvs_option_text(session->options, name_option(session, input), input->name);
      MVS_TRY(read_samples(session, text, name, input, &values, &have));
    }
    if (have > count) count = have;
  }
  ask->sampling.count =
      mvs_option_integer(session->options, "count", count ? count : MVS_SAMPLE_COUNT);
  return MVS_OK;
}

/* --- the result --- */

/* Longer than the tail: ".png" alone is no name. */
static bool ends_with(const char *text, const char *tail) {
  size_t length = strlen(text), wanted = strlen(tail);
  return length > wanted && strcmp(text + length - wanted, tail) == 0;
}

/* Before any work: a wrong name or an unwritable place must not cost a sampling run. */
static mvs_status check_out(request *ask) {
  mvs_session *session = ask->session;
  ask->out = mvs_option_text(session->options, "out", "samples.png");
  ask->picture = ends_with(ask->out, ".png");
  if (!ask->picture && !ends_with(ask->out, ".safetensors"))
    return MVS_FAIL(session->diag, MVS_ERR_NAME,
                    "--out '%s' must end in .png (a grid) or .safetensors", ask->out);
  if (ask->picture)
    MVS_TRY(mvs_sample_check_picture(session, "write them to a .safetensors file"));
  return mvs_output_option_check(session, "out", ask->out);
}

/* The count is settled after --out was looked at, but before the first sample is drawn. */
static mvs_status check_grid(request *ask) {
  const int64_t *shape = mvs_state_input(ask->session->program)->shape;
  if (!ask->picture) return MVS_OK;
  return mvs_png_check_grid(ask->session->diag, ask->sampling.count, shape[1], shape[2]);
}

/* `sample`, and beside it the labels that were asked for, by the input's name. */
static mvs_status write_tensors(request *ask) {
  mvs_session *session = ask->session;
  const Mvs__ModelInput *state = mvs_state_input(session->program);
  int64_t shape[MVS_SAFETENSORS_MAX_RANK] = {ask->sampling.count}, count = ask->sampling.count;
  mvs_safetensors_writer *writer =
      mvs_safetensors_writer_new(session->arena, session->diag, ask->out);
  memcpy(shape + 1, state->shape, state->n_shape * sizeof *shape);
  mvs_safetensors_declare(writer, "sample", MVS_FILE_F32, (int)state->n_shape + 1, shape);
  for (size_t at = 0; at < ask->sampling.condition_count; at++)
    if (mvs_sample_is_label(ask->conditions[at].input))
      mvs_safetensors_declare(writer, ask->conditions[at].input->name, MVS_FILE_I32, 1, shape);
  MVS_TRY(mvs_safetensors_begin(writer));
  MVS_TRY(mvs_safetensors_append(writer, ask->sampling.state,
                                 count * mvs_input_elements(state) * (int64_t)sizeof(float)));
  for (size_t at = 0; at < ask->sampling.condition_count; at++)
    if (mvs_sample_is_label(ask->conditions[at].input))
      MVS_TRY(mvs_safetensors_append(writer, ask->conditions[at].values,
                                     count * (int64_t)sizeof(int32_t)));
  return mvs_safetensors_finish(writer);
}

/* By the ending of --out, which check_out has seen. */
static mvs_status write_out(request *ask) {
  mvs_session *session = ask->session;
  const int64_t *shape = mvs_state_input(session->program)->shape;
  if (!ask->picture) return write_tensors(ask);
  return mvs_png_write_grid(session->diag, ask->out, ask->sampling.state, ask->sampling.count,
                            shape[0], shape[1], shape[2]);
}

/* Chooses the memory plan for the larger of the groups of samples, then reads the weights. */
static mvs_status prepare_weights(request *ask) {
  mvs_session *session = ask->session;
  int64_t count = ask->sampling.count;
  mvs_memory_use use = {.functions = mvs_sampler_functions,
                        .batch = count < ask->sampling.batch ? count : ask->sampling.batch};
  mvs_recompute recompute;
  float *params;
  MVS_TRY(mvs_memory_choose(session, &use, "sampling this many at a time", "a smaller --batch",
                            &recompute));
  MVS_TRY(mvs_session_flat(session, &params));
  MVS_TRY(mvs_weights_load_options(session, MVS_EMA_AUTO, params));
  mvs_executor_set_flats(session->executor, params, NULL);
  return MVS_OK;
}

/* --- which specialisation --- */

/* What is given for one conditioning input: its own file, and the unconditional one. */
static mvs_status give_condition(mvs_session *session, const Mvs__ModelInput *input,
                                 mvs_given_list *given) {
  const char *path = mvs_option_text(session->options, input->name, NULL);
  const char *absent = mvs_option_text(session->options, "uncond", NULL);
  if (path) {
    const char *name =
        mvs_option_text(session->options, name_option(session, input), input->name);
    MVS_TRY(mvs_given_add(session, given, path, name, input->name));
  }
  if (!absent) return MVS_OK;
  const char *name = mvs_option_text(session->options, "uncond-name", input->name);
  return mvs_given_add(session, given, absent, name, input->name);
}

/* Shapes of given tensors pick the specialisation, before anything is read from them. */
static mvs_status specialise(mvs_session *session) {
  const mvs_program *program = session->program;
  const char *noise = mvs_option_text(session->options, "noise", NULL);
  mvs_given_list given = {0};
  for (size_t at = 0; at < program->n_inputs; at++) {
    const Mvs__ModelInput *input = program->inputs[at];
    if (!input->conditioning || mvs_sample_is_label(input)) continue;
    MVS_TRY(give_condition(session, input, &given));
  }
  if (noise)
    MVS_TRY(mvs_given_add(session, &given, noise,
                          mvs_option_text(session->options, "noise-name", "x1"),
                          mvs_state_input(program)->name));
  return mvs_specialise_by_given(session, &given);
}

/* In the order of the file's head. */
static mvs_status run(mvs_session *session) {
  const char *weights, *noise = mvs_option_text(session->options, "noise", NULL);
  request ask = {.session = session};
  MVS_TRY(mvs_session_require(session, "weights", &weights));
  if (!mvs_state_input(session->program))
    return MVS_FAIL(session->diag, MVS_ERR_NAME, "model '%s' has no state to sample",
                    session->program->model);
  MVS_TRY(specialise(session));
  const Mvs__Settings *model = session->program->settings;
  MVS_TRY(check_out(&ask));
  ask.sampling.settings = (mvs_sampler_settings){
      .steps = mvs_option_integer(session->options, "steps", model->sample_steps),
      .cfg = mvs_option_number(session->options, "cfg", model->cfg),
      .shift = mvs_option_number(session->options, "shift", model->sample_shift)};
  ask.sampling.batch = mvs_option_integer(session->options, "batch", DEFAULT_BATCH);
  MVS_TRY(settle_count(&ask));
  if (noise) MVS_TRY(read_noise(&ask, noise));
  MVS_TRY(check_grid(&ask));
  MVS_TRY(set_conditions(&ask));
  if (!noise) draw_noise(&ask);
  MVS_TRY(mvs_session_open(session));
  MVS_TRY(prepare_weights(&ask));
  MVS_TRY(mvs_sample(session, &ask.sampling));
  MVS_TRY(write_out(&ask));
  printf("%" PRId64 " samples in %s\n", ask.sampling.count, ask.out);
  return MVS_OK;
}

const mvs_command mvs_command_sample = {
    "sample", "Draws samples: a PNG grid, or tensors from given noise and conditions.", rows,
    run};
