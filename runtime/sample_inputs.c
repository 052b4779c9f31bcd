/* sample_inputs.c: noise, conditions and the shape of pictures. */
#include "runtime/sample_inputs.h"

#include <inttypes.h>

#include "runtime/random.h"

#define DEFAULT_CLASSES 10
/* Far from the streams of training and of initial values. */
#define NOISE_STREAM 0x40000000u

void mvs_sample_noise(const mvs_program *program, int32_t seed, int64_t count, float *out) {
  int64_t elements = mvs_input_elements(mvs_state_input(program));
  for (int64_t sample = 0; sample < count; sample++) {
    mvs_random_key key = {
        .seed = (uint32_t)seed, .stream = NOISE_STREAM, .sample = (uint32_t)sample};
    mvs_random_normals(key, 0, elements, out + sample * elements);
  }
}

bool mvs_sample_is_label(const Mvs__ModelInput *input) {
  return strcmp(input->dtype, "i32") == 0 && mvs_input_elements(input) == 1;
}

int64_t mvs_sample_classes(const Mvs__ModelInput *input) {
  return input->unconditional >= 1 ? (int64_t)input->unconditional : DEFAULT_CLASSES;
}

/* The same for every element: zero for a context, the class after the last for a label. */
const void *mvs_sample_unconditional(mvs_session *session, const Mvs__ModelInput *input) {
  int64_t elements = mvs_input_elements(input);
  void *values = mvs_arena_array(session->arena, (size_t)elements, 4);
  for (int64_t at = 0; at < elements; at++) {
    if (strcmp(input->dtype, "i32") == 0) {
      ((int32_t *)values)[at] = (int32_t)input->unconditional;
    } else {
      ((float *)values)[at] = (float)input->unconditional;
    }
  }
  return values;
}

/* Labels in turn; of anything else the value for "none", so that guidance changes nothing. */
static const void *default_values(mvs_session *session, const mvs_condition *condition,
                                  int64_t count) {
  const Mvs__ModelInput *input = condition->input;
  int64_t bytes = mvs_input_elements(input) * mvs_dtype_bytes(input->dtype);
  char *values = mvs_arena_array(session->arena, (size_t)count, (size_t)bytes);
  for (int64_t at = 0; at < count; at++) {
    if (mvs_sample_is_label(input)) {
      ((int32_t *)(void *)values)[at] = (int32_t)(at % mvs_sample_classes(input));
    } else {
      memcpy(values + at * bytes, condition->without, (size_t)bytes);
    }
  }
  return values;
}

/* In the order of the program's inputs, which the sampler relies on. */
mvs_condition *mvs_sample_conditions(mvs_session *session, int64_t count, size_t *conditions) {
  const mvs_program *program = session->program;
  mvs_condition *list = MVS_ARRAY(session->arena, program->n_inputs + 1, mvs_condition);
  *conditions = 0;
  for (size_t at = 0; at < program->n_inputs; at++) {
    if (!program->inputs[at]->conditioning) continue;
    mvs_condition *condition = &list[(*conditions)++];
    condition->input = program->inputs[at];
    condition->without = mvs_sample_unconditional(session, condition->input);
    condition->values = default_values(session, condition, count);
  }
  return list;
}

mvs_status mvs_sample_check_picture(mvs_session *session, const char *advice) {
  const Mvs__ModelInput *state = mvs_state_input(session->program);
  if (state->n_shape != 3)
    return MVS_FAIL(session->diag, MVS_ERR_SHAPE, "samples of this model are no pictures; %s",
                    advice);
  if (state->shape[0] == 1 || state->shape[0] == 3) return MVS_OK;
  return MVS_FAIL(session->diag, MVS_ERR_SHAPE,
                  "samples have %" PRId64 " channels, a picture has 1 or 3; %s",
                  state->shape[0], advice);
}
