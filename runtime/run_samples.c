/* run_samples.c: grids of a run that goes on.
 *
 * Drawing stands between two steps, in the memory of the plan: weights are the run's own, noise
 * has a stream of its own, and nothing of a step is touched. A grid is of a step's number and
 * of nothing else, so a run that was cut and resumed leaves the same ones; it is drawn before
 * the checkpoint of its step, or a death between the two would leave it out. */
#include "runtime/run_samples.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "runtime/png.h"
#include "runtime/sample_inputs.h"

#define COUNT(list)  (sizeof(list) / sizeof((list)[0]))
#define MOST_EVERY   1e15
#define MOST_SAMPLES 10000
#define PREFIX       "samples-"

static const mvs_option_row samples_rows[] = {
    {"sample-every", MVS_OPTION_INTEGER, "N", 0, MOST_EVERY,
     "draw a grid of samples every N steps, for the page; 0: not (default 0)"},
    {"sample-count", MVS_OPTION_INTEGER, "N", 1, MOST_SAMPLES,
     "samples of a grid (default 20)"},
};

struct mvs_run_samples {
  mvs_session *session;
  const char *folder;
  int64_t every;
  int32_t seed;
  mvs_training *training;
  mvs_sampling sampling;
  mvs_sampler *sampler;
};

void mvs_run_samples_rows(mvs_arena *arena, mvs_option_rows *list) {
  mvs_rows_add(arena, list, samples_rows, COUNT(samples_rows));
}

mvs_run_samples_settings mvs_run_samples_read(const mvs_options *options) {
  return (mvs_run_samples_settings){
      .every = mvs_option_integer(options, "sample-every", 0),
      .count = mvs_option_integer(options, "sample-count", MVS_SAMPLE_COUNT)};
}

mvs_status mvs_run_samples_check(mvs_session *session,
                                 const mvs_run_samples_settings *settings) {
  if (settings->every == 0) return MVS_OK;
  const Mvs__ModelInput *state = mvs_state_input(session->program);
  if (!state)
    return MVS_FAIL(session->diag, MVS_ERR_NAME, "model '%s' has no state to sample",
                    session->program->model);
  MVS_TRY(mvs_sample_check_picture(
      session, "leave out --sample-every, and let `sample` write a .safetensors file"));
  return mvs_png_check_grid(session->diag, settings->count, state->shape[1], state->shape[2]);
}

/* Groups are no larger than what training has memory for. */
static int64_t group_of(const mvs_run_samples_settings *settings, int64_t micro_batch) {
  return settings->count < micro_batch ? settings->count : micro_batch;
}

void mvs_run_samples_plan(const mvs_run_samples_settings *settings, int64_t micro_batch,
                          mvs_memory_use *use) {
  if (settings->every == 0) return;
  use->between = mvs_sampler_functions;
  use->between_batch = group_of(settings, micro_batch);
}

mvs_status mvs_run_samples_new(mvs_session *session, const char *folder,
                               const mvs_run_samples_settings *settings, mvs_training *training,
                               mvs_run_samples **out) {
  *out = NULL;
  if (settings->every == 0) return MVS_OK;
  const mvs_training_settings *of = mvs_training_settings_of(training);
  const Mvs__Settings *model = session->program->settings;
  int64_t elements = mvs_input_elements(mvs_state_input(session->program));
  mvs_run_samples *samples = MVS_NEW(session->arena, mvs_run_samples);
  *samples = (mvs_run_samples){.session = session,
                               .folder = folder,
                               .every = settings->every,
                               .seed = of->seed,
                               .training = training};
  mvs_sampling *sampling = &samples->sampling;
  *sampling = (mvs_sampling){
      .settings = {.steps = model->sample_steps,
                   .cfg = model->cfg,
                   .shift = model->sample_shift},
      .count = settings->count,
      .batch = group_of(settings, of->micro_batch),
      .state = MVS_ARRAY(session->arena, (size_t)(settings->count * elements), float)};
  sampling->conditions =
      mvs_sample_conditions(session, settings->count, &sampling->condition_count);
  MVS_TRY(mvs_sampler_new(session, sampling, &samples->sampler));
  *out = samples;
  return MVS_OK;
}

bool mvs_run_samples_due(const mvs_run_samples *samples, int64_t steps) {
  return samples && steps > 0 && steps % samples->every == 0;
}

/* The weights are the run's own again behind it, whatever happened. */
static mvs_status draw(mvs_run_samples *samples) {
  float *average = mvs_training_optimizer(samples->training)->average;
  mvs_sample_noise(samples->session->program, samples->seed, samples->sampling.count,
                   samples->sampling.state);
  if (!average) return mvs_sampler_draw(samples->sampler);
  mvs_training_lend(samples->training, average);
  mvs_status drawn = mvs_sampler_draw(samples->sampler);
  mvs_status back = mvs_training_take_back(samples->training);
  return drawn != MVS_OK ? drawn : back;
}

static const char *path_of(mvs_arena *arena, const char *folder, int64_t steps) {
  return mvs_arena_format(arena, "%s/" PREFIX "%" PRId64 ".png", folder, steps);
}

mvs_status mvs_run_samples_draw(mvs_run_samples *samples, int64_t steps) {
  const mvs_session *session = samples->session;
  const int64_t *shape = mvs_state_input(session->program)->shape;
  MVS_TRY(draw(samples));
  mvs_arena *arena = mvs_arena_new();
  mvs_status status = mvs_png_write_grid(session->diag, path_of(arena, samples->folder, steps),
                                         samples->sampling.state, samples->sampling.count,
                                         shape[0], shape[1], shape[2]);
  mvs_arena_free(arena);
  return status;
}

/* Names that the run gives; a picture that someone else put there is of another step, or of a
 * state that has gone. */
static bool is_behind(const mvs_run_samples *samples, const char *name, int64_t steps) {
  size_t begin = strlen(PREFIX), length = strlen(name);
  char digits[24];
  int64_t of;
  if (strncmp(name, PREFIX, begin) != 0 || length < begin + strlen(".png")) return false;
  size_t count = length - begin - strlen(".png");
  if (strcmp(name + begin + count, ".png") != 0 || count >= sizeof digits) return false;
  memcpy(digits, name + begin, count);
  digits[count] = '\0';
  return mvs_parse_integer(digits, &of) && of > steps && of % samples->every == 0;
}

static mvs_status cannot(const mvs_run_samples *samples, const char *what, const char *path) {
  return MVS_FAIL(samples->session->diag, MVS_ERR_IO, "cannot %s '%s': %s", what, path,
                  strerror(errno));
}

/* errno tells the end of a folder from one that cannot be read on. */
static mvs_status drop_from(const mvs_run_samples *samples, DIR *open, int64_t steps) {
  for (;;) {
    errno = 0;
    const struct dirent *entry = readdir(open);
    if (!entry) return errno ? cannot(samples, "read the folder", samples->folder) : MVS_OK;
    if (!is_behind(samples, entry->d_name, steps)) continue;
    const char *path =
        mvs_arena_format(samples->session->arena, "%s/%s", samples->folder, entry->d_name);
    if (unlink(path) != 0 && errno != ENOENT) return cannot(samples, "remove", path);
  }
}

mvs_status mvs_run_samples_drop(const mvs_run_samples *samples, int64_t steps) {
  if (!samples) return MVS_OK;
  DIR *open = opendir(samples->folder);
  if (!open) return cannot(samples, "read the folder", samples->folder);
  mvs_status status = drop_from(samples, open, steps);
  closedir(open);
  return status;
}
