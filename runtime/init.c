/* init.c: parameters before the first step.
 *
 * Values are drawn on the host by a counter-based generator and copied over, so they are the
 * same on every device and for every number of threads. An element's number is its place in
 * its own layer's tensor: adding a layer, or another parameter behind, changes none of the
 * others. */
#include "runtime/init.h"

#include "runtime/pool.h"
#include "runtime/random.h"
#include "runtime/upload.h"

#define INIT_STREAMS 0x80000000u
/* Elements made at a time, by all threads together. */
#define PART ((int64_t)1 << 20)

typedef enum init_rule { CONSTANT, NORMAL, UNIFORM } init_rule;

/* One stretch of a parameter's layer being filled. */
typedef struct filling {
  init_rule rule;
  float value;
  mvs_random_key key;
  int64_t first; /* position of out[0] */
  float *out;
} filling;

/* A pool task; every element is a function of its position. */
static void fill(void *user, int thread, int64_t begin, int64_t end) {
  const filling *job = user;
  uint32_t first = (uint32_t)(job->first + begin);
  (void)thread;
  switch (job->rule) {
    case CONSTANT:
      for (int64_t at = begin; at < end; at++) job->out[at] = job->value;
      break;
    case NORMAL:
      mvs_random_normals(job->key, first, end - begin, job->out + begin);
      for (int64_t at = begin; at < end; at++) job->out[at] *= job->value;
      break;
    case UNIFORM:
      for (int64_t at = begin; at < end; at++)
        job->out[at] =
            job->value * (2 * mvs_random_uniform(job->key, first + (uint32_t)(at - begin)) - 1);
      break;
  }
}

/* The program names rules by words; an unknown one means a program newer than this trainer. */
static mvs_status rule_of(mvs_session *session, const Mvs__Param *param, init_rule *out) {
  static const char *const names[] = {"constant", "normal", "uniform"};
  for (int at = 0; at < 3; at++) {
    if (strcmp(param->init, names[at]) != 0) continue;
    *out = (init_rule)at;
    return MVS_OK;
  }
  return MVS_FAIL(session->diag, MVS_ERR_INTERNAL,
                  "internal: parameter '%s' has the unknown initial rule '%s'", param->name,
                  param->init);
}

/* Layer by layer in parts: memory for two of them is enough for any model. */
static mvs_status init_param(mvs_session *session, uint32_t seed, uint32_t number,
                             mvs_upload *upload, float *flat) {
  const Mvs__Param *param = session->program->params[number];
  int64_t layers = param->layers ? param->layers : 1;
  filling job = {.value = (float)param->init_value};
  MVS_TRY(rule_of(session, param, &job.rule));
  if (param->elements > UINT32_MAX)
    return MVS_FAIL(session->diag, MVS_ERR_LIMIT, "parameter '%s' has too many elements",
                    param->name);
  for (int64_t layer = 0; layer < layers; layer++) {
    job.key = (mvs_random_key){
        .seed = seed, .stream = INIT_STREAMS + number, .sample = (uint32_t)layer};
    for (job.first = 0; job.first < param->elements; job.first += PART) {
      int64_t left = param->elements - job.first, count = left < PART ? left : PART;
      void *part;
      MVS_TRY(mvs_upload_open(upload, &part));
      job.out = part;
      mvs_pool_run(mvs_device_pool(session->device), count, fill, &job);
      mvs_upload_send(upload, flat + param->offset + layer * param->stride + job.first,
                      count * (int64_t)sizeof *flat);
    }
  }
  return MVS_OK;
}

/* Padding between parameters stays zero, as mvs_session_flat left it. */
mvs_status mvs_init_params(mvs_session *session, uint32_t seed, float *flat) {
  mvs_upload *upload;
  MVS_TRY(mvs_upload_new(session, PART * (int64_t)sizeof *flat, &upload));
  mvs_status status = MVS_OK;
  for (size_t at = 0; status == MVS_OK && at < session->program->n_params; at++)
    if (session->program->params[at]->trained)
      status = init_param(session, seed, (uint32_t)at, upload, flat);
  mvs_upload_end(upload);
  mvs_executor_weights_changed(session->executor, false);
  return status;
}
