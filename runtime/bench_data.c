/* bench_data.c: stretches of one list of normal numbers. */
#include "runtime/bench_data.h"

#include "runtime/random.h"

#define NORMALS      65536
#define DATA_STREAM  0x20000000u
#define DATA_SAMPLES 4096

/* One list of normal numbers, of which each sample takes a stretch and goes round: making new
 * ones would take longer than a GPU's step. */
typedef struct made_up {
  mvs_data source;
  const mvs_program *program;
  float normals[NORMALS];
} made_up;

/* The model input that a data tensor feeds: "x0" is the noised state's. */
static const Mvs__ModelInput *input_of(const mvs_program *program, const char *tensor) {
  for (size_t at = 0; at < program->n_inputs; at++) {
    const Mvs__ModelInput *input = program->inputs[at];
    if (strcmp(input->conditioning ? input->name : "x0", tensor) == 0) return input;
  }
  return NULL;
}

/* Normal numbers, or classes in turn for integers. */
static void fill(mvs_data *data, const char *tensor, const int64_t *index, int64_t count,
                 void *out) {
  const made_up *made = (const made_up *)data;
  const Mvs__ModelInput *input = input_of(made->program, tensor);
  bool classes = input && strcmp(input->dtype, "i32") == 0;
  int64_t elements = 1;
  for (size_t at = 0; input && at < input->n_shape; at++) elements *= input->shape[at];
  for (int64_t sample = 0; sample < count; sample++) {
    float *floats = (float *)out + sample * elements;
    int32_t *integers = (int32_t *)out + sample * elements;
    int64_t from = index[sample] * 977 % NORMALS;
    for (int64_t at = 0; at < elements && classes; at++)
      integers[at] = (int32_t)(index[sample] % 10);
    for (int64_t at = 0, part; at < elements && !classes; at += part, from = 0) {
      part = elements - at < NORMALS - from ? elements - at : NORMALS - from;
      memcpy(floats + at, made->normals + from, (size_t)part * sizeof *floats);
    }
  }
}

/* Made up to measure, so it fits every model. */
static mvs_status check(mvs_data *data, mvs_diag *diag, const char *tensor, const char *dtype,
                        int rank, const int64_t *shape) {
  (void)data, (void)diag, (void)tensor, (void)dtype, (void)rank, (void)shape;
  return MVS_OK;
}

/* Nothing was opened. */
static void close_data(mvs_data *data) { (void)data; }

/* Lives in the session's arena, as large as it is. */
mvs_data *mvs_bench_data(mvs_session *session) {
  made_up *made = MVS_NEW(session->arena, made_up);
  const mvs_random_key key = {.stream = DATA_STREAM};
  made->source = (mvs_data){.name = "made up",
                            .count = DATA_SAMPLES,
                            .fill = fill,
                            .check = check,
                            .close = close_data};
  made->program = session->program;
  mvs_random_normals(key, 0, NORMALS, made->normals);
  return &made->source;
}
