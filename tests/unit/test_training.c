/* test_training.c: whole steps of a small model on the host: the numbers of a step against
 * double, bits that do not depend on when results are asked for, and steps that are not taken.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* cmocka needs the above first. */
#include <cmocka.h>
#include <math.h>

#include "codegen/host/host.h"
#include "compiler/ir/lower.h"
#include "compiler/passes/pass.h"
#include "runtime/extremes.h"
#include "runtime/init.h"
#include "runtime/training.h"

#define SAMPLES 7 /* of the data: batches of 4 run on from one epoch into the next */
#define WIDTH   6
#define STEPS   5

static const char model_text[] =
    "model m {\n"
    "  input z : f32[1, 2, 3]\n"
    "  group embed : lr = 3\n"
    "  group vectors : decay = 0.5\n"
    "  group out.bias : lr = 0, decay = 9\n"
    "  output y : unpatchify(linear(patch_embed(z, 1, 6) as embed, 1, bias = true) as out, 1)\n"
    "}\n"
    "train { objective rectified_flow optimizer adamw(lr = 1e-2) batch 4 }\n";

/* Counts what it was asked for; sample `poisoned` is no number. */
typedef struct counted_data {
  mvs_data source;
  int64_t asked[64], poisoned;
  int count;
} counted_data;

static void fill(mvs_data *data, const char *tensor, const int64_t *index, int64_t count,
                 void *out) {
  counted_data *counted = (counted_data *)data;
  float *values = out;
  assert_string_equal(tensor, "x0");
  for (int64_t sample = 0; sample < count; sample++) {
    assert_true(counted->count < 64);
    counted->asked[counted->count++] = index[sample];
    for (int64_t at = 0; at < WIDTH; at++)
      values[sample * WIDTH + at] = index[sample] == counted->poisoned
                                        ? INFINITY
                                        : (float)(index[sample] * WIDTH + at) / 50;
  }
}

static mvs_status check(mvs_data *data, mvs_diag *diag, const char *tensor, const char *dtype,
                        int rank, const int64_t *shape) {
  (void)data, (void)diag, (void)tensor, (void)dtype, (void)rank, (void)shape;
  return MVS_OK;
}

typedef struct fixture {
  mvs_arena *arena;
  mvs_session session;
  mvs_training *training;
  counted_data data;
  mvs_training_settings settings;
} fixture;

static mvs_module *lowered(mvs_arena *arena, mvs_diag *diag) {
  char path[] = "/tmp/mvs_test_XXXXXX";
  int file = mkstemp(path);
  mvs_unit *unit;
  mvs_module *module = NULL;
  assert_true(file >= 0);
  assert_int_equal(write(file, model_text, strlen(model_text)), (ssize_t)strlen(model_text));
  close(file);
  mvs_status status = mvs_load_unit(arena, diag, path, NULL, 0, &unit);
  if (status == MVS_OK) status = mvs_lower(arena, diag, unit, &module);
  unlink(path);
  mvs_text text = mvs_text_new(arena);
  mvs_diag_render(diag, &text);
  if (status != MVS_OK) print_error("%s\n", mvs_text_string(&text));
  assert_int_equal(status, MVS_OK);
  return module;
}

static const mvs_program *compiled(mvs_arena *arena, mvs_diag *diag) {
  mvs_module *module = lowered(arena, diag);
  mvs_compilation compilation = {.arena = arena, .diag = diag, .module = module};
  const mvs_host_options options = {0};
  mvs_build *build;
  assert_int_equal(mvs_pipeline_run(&compilation, NULL), MVS_OK);
  assert_int_equal(mvs_build_program(arena, diag, module, compilation.plan, &build), MVS_OK);
  assert_int_equal(mvs_host_load(arena, diag, build, &options), MVS_OK);
  return build->program;
}

/* Training from its first step, with micro-batches of `micro`. */
static fixture *start(int64_t micro, int64_t poisoned) {
  mvs_arena *arena = mvs_arena_new();
  fixture *f = MVS_NEW(arena, fixture);
  mvs_diag *diag = mvs_diag_new(arena);
  const mvs_program *program = compiled(arena, diag);
  f->arena = arena;
  f->session = (mvs_session){
      .arena = arena, .diag = diag, .program = program, .whole = program, .name = "test"};
  f->settings = (mvs_training_settings){.optimizer = {.lr = 1e-2,
                                                      .beta1 = 0.9,
                                                      .beta2 = 0.999,
                                                      .eps = 1e-8,
                                                      .weight_decay = 0.1,
                                                      .clip = 0.5,
                                                      .ema = 0.9,
                                                      .warmup = 3},
                                        .batch = 4,
                                        .micro_batch = micro,
                                        .seed = 5};
  f->data = (counted_data){
      .source = {.name = "counted", .count = SAMPLES, .fill = fill, .check = check},
      .poisoned = poisoned};
  assert_int_equal(mvs_device_open_host(program, 1, diag, &f->session.device), MVS_OK);
  f->session.executor = mvs_executor_new(arena, diag, program, f->session.device);
  assert_int_equal(mvs_training_new(&f->session, &f->settings, &f->training), MVS_OK);
  assert_int_equal(mvs_training_use_data(f->training, &f->data.source), MVS_OK);
  mvs_optimizer *optimizer = mvs_training_optimizer(f->training);
  assert_int_equal(mvs_init_params(&f->session, 3, optimizer->params), MVS_OK);
  mvs_optimizer_start(optimizer);
  return f;
}

static void stop(fixture *f) {
  mvs_session_close(&f->session);
  mvs_arena_free(f->arena);
}

static mvs_step_result collect(fixture *f) {
  mvs_step_result result;
  assert_int_equal(mvs_training_collect(f->training, &result, NULL), MVS_OK);
  return result;
}

static void queue(fixture *f, int64_t step) {
  assert_int_equal(mvs_training_queue(f->training, step), MVS_OK);
}

static size_t flat_bytes(const fixture *f) {
  return (size_t)mvs_flat_bytes(f->session.program);
}

/* A copy of a flat buffer as it is now. */
static float *kept(fixture *f, const float *flat) {
  float *copy = mvs_arena_alloc(f->arena, flat_bytes(f));
  memcpy(copy, flat, flat_bytes(f));
  return copy;
}

/* Rates are computed in double and rounded once; those of a step far out too. */
static void rates_are_the_formulas(void **state) {
  (void)state;
  const mvs_optimizer_settings settings = {
      .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .warmup = 1000};
  const int64_t steps[] = {0, 1, 99, 999, 1000, 123456};
  for (size_t at = 0; at < sizeof steps / sizeof *steps; at++) {
    double warm = (double)(steps[at] + 1) / 1000, rest1 = 1, rest2 = 1;
    for (int64_t i = 0; i <= steps[at]; i++) rest1 *= (double)0.9f, rest2 *= (double)0.999f;
    mvs_step_rates rates = mvs_optimizer_rates(&settings, steps[at]);
    assert_true(rates.lr == (float)(1e-3 * (warm < 1 ? warm : 1)));
    /* The running product errs by some 1e-11 here: within one rounding to f32, 2^-24. */
    assert_true(fabs(rates.correction1 / (1 - rest1) - 1) < 0x1p-23);
    assert_true(fabs(rates.correction2 / (1 - rest2) - 1) < 0x1p-23);
  }
}

/* One element of AdamW in double. */
typedef struct moments {
  double p, m, v;
} moments;

static double update(const fixture *f, const moments *old, double g, int64_t step,
                     const Mvs__Param *param) {
  const mvs_optimizer_settings *s = &f->settings.optimizer;
  double count = (double)(step + 1), lr = s->lr * fmin(1, count / (double)s->warmup);
  lr *= param->rate;
  double m = s->beta1 * old->m + (1 - s->beta1) * g;
  double v = s->beta2 * old->v + (1 - s->beta2) * g * g;
  double corrected = m / (1 - pow(s->beta1, count));
  double under = sqrt(v / (1 - pow(s->beta2, count))) + s->eps;
  return old->p * (1 - lr * param->decay * s->weight_decay) - lr * corrected / under;
}

/* The parameter that an element of the flat buffers belongs to; NULL for padding. */
static const Mvs__Param *param_at(const mvs_program *program, int64_t element) {
  for (size_t at = 0; at < program->n_params; at++) {
    const Mvs__Param *param = program->params[at];
    if (!param->trained || element < param->offset) continue;
    int64_t layer = param->stride ? (element - param->offset) / param->stride : 0;
    int64_t in_layer = element - param->offset - layer * param->stride;
    if (layer < (param->layers ? param->layers : 1) && in_layer < param->elements) return param;
  }
  return NULL;
}

/* Norm, factor and update of each step against double, parameter by parameter: the gradients
 * are what the step left in its flat buffer. */
static void steps_are_the_formulas(void **state) {
  (void)state;
  fixture *f = start(4, -1);
  mvs_optimizer *optimizer = mvs_training_optimizer(f->training);
  const float *grads = mvs_training_gradients(f->training);
  int64_t elements = f->session.program->flat_elements;
  int seen[3] = {0}; /* by how they decay and learn */
  for (int64_t step = 0; step < STEPS; step++) {
    float *p = kept(f, optimizer->params), *m = kept(f, optimizer->m);
    float *v = kept(f, optimizer->v), *e = kept(f, optimizer->average);
    queue(f, step);
    mvs_step_result result = collect(f);
    double squares = 0, clip;
    for (int64_t at = 0; at < elements; at++) squares += (double)grads[at] * grads[at];
    assert_true(result.taken == 1 && isfinite(result.loss));
    assert_true(fabs(result.norm / sqrt(squares) - 1) < 1e-12);
    clip = fmin(1, 0.5 / (result.norm + 1e-6));
    assert_true(clip < 1); /* or the test would not see it */
    for (int64_t at = 0; at < elements; at++) {
      const Mvs__Param *param = param_at(f->session.program, at);
      const moments old = {p[at], m[at], v[at]};
      if (!param) continue;
      double want = update(f, &old, clip * grads[at], step, param);
      /* A handful of f32 roundings of numbers below 2, and of betas: 0.999 in f32 errs by 5e-8
       * of 1e-3, which the corrections cancel but for the moments that they do not share; of
       * a step of 0.01, or three times that. */
      assert_true(fabs(optimizer->params[at] - want) < 2e-6 * fmax(1, param->rate));
      /* what is frozen keeps its bits and takes no part in the norm */
      if (param->rate == 0) assert_true(optimizer->params[at] == p[at] && grads[at] == 0);
      double average = 0.9 * e[at] + (1 - 0.9) * optimizer->params[at];
      assert_true(fabs(optimizer->average[at] - average) < 1e-6);
      seen[param->rate == 0 ? 2 : param->decay == 1]++;
    }
  }
  assert_true(seen[0] > 0 && seen[1] > 0 && seen[2] > 0);
  stop(f);
}

/* Asking for each result at once or one step late, with one micro-batch or two. */
static void bits_do_not_depend_on_when_results_are_asked_for(void **state) {
  (void)state;
  for (int64_t micro = 2; micro <= 4; micro += 2) {
    fixture *at_once = start(micro, -1), *late = start(micro, -1);
    mvs_step_result now[STEPS], then[STEPS];
    for (int64_t step = 0; step < STEPS; step++) {
      queue(at_once, step);
      now[step] = collect(at_once);
      queue(late, step);
      if (step > 0) then[step - 1] = collect(late);
    }
    then[STEPS - 1] = collect(late);
    for (int step = 0; step < STEPS; step++)
      assert_true(now[step].loss == then[step].loss && now[step].norm == then[step].norm);
    assert_memory_equal(mvs_training_optimizer(at_once->training)->params,
                        mvs_training_optimizer(late->training)->params, flat_bytes(late));
    /* Each sample of the steps in its place, then what was filled ahead. */
    assert_int_equal(at_once->data.count, STEPS * 4 + micro);
    mvs_order *order = mvs_order_new(late->arena, SAMPLES, 5);
    for (int at = 0; at < STEPS * 4; at++) {
      assert_int_equal(late->data.asked[at], mvs_order_sample(order, at));
      assert_int_equal(late->data.asked[at], at_once->data.asked[at]);
    }
    stop(at_once), stop(late);
  }
}

/* The first step that meets the sample, and those behind it, leave weights, moments and average
 * as they were; each tells so. */
static void a_step_that_is_not_finite_is_the_last(void **state) {
  (void)state;
  for (int64_t micro = 2; micro <= 4; micro += 2) {
    mvs_arena *arena = mvs_arena_new();
    mvs_order *order = mvs_order_new(arena, SAMPLES, 5);
    fixture *f = start(micro, mvs_order_sample(order, 4)); /* the first of step 1 */
    mvs_optimizer *optimizer = mvs_training_optimizer(f->training);
    queue(f, 0);
    assert_true(collect(f).taken == 1);
    float *p = kept(f, optimizer->params), *m = kept(f, optimizer->m);
    float *v = kept(f, optimizer->v), *e = kept(f, optimizer->average);
    queue(f, 1), queue(f, 2);
    mvs_step_result bad = collect(f), next = collect(f);
    assert_true(bad.taken == 0 && !isfinite(bad.loss) && next.taken == 0);
    assert_memory_equal(optimizer->params, p, flat_bytes(f));
    assert_memory_equal(optimizer->m, m, flat_bytes(f));
    assert_memory_equal(optimizer->v, v, flat_bytes(f));
    assert_memory_equal(optimizer->average, e, flat_bytes(f));
    stop(f);
    mvs_arena_free(arena);
  }
}

/* Puts back what was kept, as loading a checkpoint does. */
static void put_back(fixture *f, const float *p, const float *m, const float *v,
                     const float *e) {
  mvs_optimizer *optimizer = mvs_training_optimizer(f->training);
  memcpy(optimizer->params, p, flat_bytes(f)), memcpy(optimizer->m, m, flat_bytes(f));
  memcpy(optimizer->v, v, flat_bytes(f)), memcpy(optimizer->average, e, flat_bytes(f));
  assert_int_equal(mvs_training_go_back(f->training), MVS_OK);
}

/* From behind step 2 back to behind step 0: the same steps again; with a turn others, in the
 * order of another seed and at half the rate. */
static void goes_back(void **state) {
  (void)state;
  for (int64_t micro = 2; micro <= 4; micro += 2) {
    fixture *f = start(micro, -1);
    mvs_optimizer *optimizer = mvs_training_optimizer(f->training);
    mvs_turns turns = {.count = 0};
    mvs_step_result first[3], again;
    queue(f, 0), collect(f);
    float *p = kept(f, optimizer->params), *m = kept(f, optimizer->m);
    float *v = kept(f, optimizer->v), *e = kept(f, optimizer->average);
    for (int step = 1; step <= 2; step++) queue(f, step), first[step] = collect(f);
    put_back(f, p, m, v, e);
    for (int step = 1; step <= 2; step++) {
      queue(f, step), again = collect(f);
      assert_true(again.loss == first[step].loss && again.norm == first[step].norm);
    }
    stop(f);
    f = start(micro, -1);
    f->settings.optimizer.turns = &turns;
    assert_true(mvs_optimizer_rate(&f->settings.optimizer, 9) == 1e-2);
    turns =
        (mvs_turns){.items = {{.from = 9, .to = 1, .reorders = true, .rate = 0.5}}, .count = 1};
    assert_true(fabs(mvs_optimizer_rate(&f->settings.optimizer, 0) - 1e-2 / 3) < 1e-17);
    assert_true(mvs_optimizer_rate(&f->settings.optimizer, 9) == 0.5e-2);
    assert_int_equal(mvs_turns_order(&turns, 0), 0);
    assert_int_equal(mvs_turns_order(&turns, 1), 1);
    stop(f);
  }
}

/* Steps are taken again behind one that was not. */
static void goes_back_from_what_is_not_finite(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  fixture *f = start(4, mvs_order_sample(mvs_order_new(arena, SAMPLES, 5), 4));
  mvs_optimizer *optimizer = mvs_training_optimizer(f->training);
  float *p = kept(f, optimizer->params), *m = kept(f, optimizer->m);
  float *v = kept(f, optimizer->v), *e = kept(f, optimizer->average);
  queue(f, 0);
  double loss = collect(f).loss;
  queue(f, 1);
  assert_true(collect(f).taken == 0);
  put_back(f, p, m, v, e);
  queue(f, 0);
  mvs_step_result again = collect(f);
  assert_true(again.taken == 1 && again.loss == loss);
  stop(f);
  mvs_arena_free(arena);
}

/* Norms are of twice the error, so a quarter of their mean square is the step's loss; and
 * looking at them changes no bit of any step, before it, between two, or while one is under
 * way. */
static void extremes_are_of_the_loss(void **state) {
  (void)state;
  for (int64_t micro = 2; micro <= 4; micro += 2) {
    fixture *looked = start(micro, -1), *plain = start(micro, -1);
    for (int64_t step = 0; step < STEPS; step++) {
      double norms[4], sum = 0;
      int64_t count;
      assert_int_equal(
          mvs_extremes_find(&looked->session, looked->training, step, norms, &count), MVS_OK);
      assert_int_equal(count, 4);
      for (int at = 0; at < 4; at++) sum += norms[at] * norms[at];
      queue(looked, step), queue(plain, step);
      if (step == 2) mvs_extremes_find(&looked->session, looked->training, 0, norms, &count);
      mvs_step_result with = collect(looked), without = collect(plain);
      assert_true(with.loss == without.loss && with.norm == without.norm);
      /* The state is blended and errors are taken in f32, in another order of roundings. */
      assert_true(fabs(sum / 16 / with.loss - 1) < 1e-5);
    }
    stop(looked), stop(plain);
  }
}

static void extremes_in_words(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_text text = mvs_text_new(arena);
  const double norms[7] = {1, 2, 1, 90, 1, 2, 1};
  mvs_extremes_write(norms, 7, &text);
  assert_string_equal(mvs_text_string(&text),
                      "gradient of the output, RMS of 7 samples 34.04; largest: 90 (sample 3), "
                      "2 (sample 1), 2 (sample 5), 1 (sample 0), 1 (sample 2)\n"
                      "GLOBAL_INJ: the RMS is above 10\n");
  text = mvs_text_new(arena);
  mvs_extremes_write(norms, 0, &text);
  assert_non_null(strstr(mvs_text_string(&text), "samples not looked at"));
  double many[200];
  for (int at = 0; at < 200; at++) many[at] = at == 199 ? 60 : 0.5;
  text = mvs_text_new(arena);
  mvs_extremes_write(many, 200, &text);
  assert_non_null(
      strstr(mvs_text_string(&text), "BAD_BATCH: one sample is above 5 x RMS + 1\n"));
  assert_null(strstr(mvs_text_string(&text), "GLOBAL_INJ"));
  const double broken[8] = {NAN, 3, INFINITY, NAN, NAN, 3, NAN, NAN};
  text = mvs_text_new(arena);
  mvs_extremes_write(broken, 8, &text);
  assert_string_equal(mvs_text_string(&text),
                      "gradient of the output, RMS of 2 samples 3; largest: 3 (sample 1), "
                      "3 (sample 5)\nNOT_FINITE: sample 0, 2, 3, 4, 6 and 1 more\n");
  mvs_arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rates_are_the_formulas),
      cmocka_unit_test(steps_are_the_formulas),
      cmocka_unit_test(bits_do_not_depend_on_when_results_are_asked_for),
      cmocka_unit_test(a_step_that_is_not_finite_is_the_last),
      cmocka_unit_test(goes_back),
      cmocka_unit_test(goes_back_from_what_is_not_finite),
      cmocka_unit_test(extremes_are_of_the_loss),
      cmocka_unit_test(extremes_in_words),
  };
  return cmocka_run_group_tests_name("training", tests, NULL, NULL);
}
