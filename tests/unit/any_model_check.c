/* any_model_check.c: one model through the whole compiler: results of the forward pass and of
 * gradients against the float64 reference of the graphs as lowered, gradients against
 * difference quotients of the loss as lowered, the same bits from every plan of keep or redo
 * and every number of threads. */
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "compiler/ir/lower.h"
#include "tests/unit/any_model.h"
#include "tests/unit/ops_margins.h"
#include "tests/unit/ops_suite.h"

/* --- gradients against difference quotients --- */

enum { SAMPLES = 4 };
#define SHORT_STEP    5e-8
#define SHORTEST_STEP 5e-16
/* As much of a loss may a step change for the loss to be a line over it. */
#define STRAIGHT 1e-3
/* The most that roundings of the loss may put a quotient off where a shorter step is tried, of
 * the terms' sizes: ten times what one may be off, far below what a wrong rule does to one. */
#define TELLING 1e-5

/* All trained parameters moved at once along a random direction: one quotient says whether
 * any gradient is wrong, since the error of one adds to the sum as it is. */
typedef struct slope {
  ops_suite *s;
  mvs_arena *arena;
  const mvs_graph *loss;
  const mvs_tensor_map *given;
  mvs_tensor_map directions;
  int64_t batch;
} slope;

/* A number in [-1, 1) from a name and a place. */
static double direction(const char *name, int64_t at) {
  uint32_t hash = 2166136261u;
  for (; *name; name++) hash = (hash ^ (unsigned char)*name) * 16777619u;
  return 2 * mvs_reference_random(MVS_RANDOM_UNIFORM, 2, hash, (uint32_t)at, 0, 0) - 1;
}

static double loss_at(const slope *at, double step) {
  mvs_arena *arena = mvs_arena_new();
  mvs_tensor_map moved = {0}, results = {0};
  mvs_reference_options options = {.diag = at->s->diag};
  for (size_t i = 0; i < at->given->count; i++) {
    const mvs_named_tensor *from = &at->given->items[i];
    const mvs_tensor *way = mvs_tensor_map_find(&at->directions, from->name);
    mvs_tensor tensor = mvs_tensor_new(arena, &from->tensor.type, at->batch);
    for (int64_t k = 0; k < mvs_tensor_count(&tensor, at->batch); k++) {
      tensor.data[k] = from->tensor.data[k] + (way ? step * way->data[k] : 0);
    }
    mvs_tensor_map_set(arena, &moved, from->name, tensor);
  }
  ops_good(at->s, mvs_reference_run(arena, at->loss, at->batch, &moved, &options, &results),
           "loss");
  double value = results.items[0].tensor.data[0];
  mvs_arena_free(arena);
  return value;
}

/* The gradient's product with the direction; `scale` becomes the sum of the sizes of its terms.
 */
static double along(slope *at, const mvs_tensor_map *gradients, double *scale) {
  double sum = 0;
  *scale = 0;
  for (size_t i = 0; i < at->s->module->params.count; i++) {
    const mvs_param *param = &at->s->module->params.items[i];
    const char *name = mvs_arena_format(at->arena, "g/%s", param->name);
    const mvs_tensor *gradient = mvs_tensor_map_find(gradients, name);
    const mvs_tensor *value = mvs_tensor_map_find(at->given, param->name);
    if (!gradient || !value || param->is_pack) continue;
    mvs_tensor way = mvs_tensor_new(at->arena, &value->type, at->batch);
    for (int64_t k = 0; k < mvs_tensor_count(value, at->batch); k++) {
      double term = gradient->data[k] * (way.data[k] = direction(param->name, k));
      sum += term, *scale += fabs(term);
    }
    mvs_tensor_map_set(at->arena, &at->directions, param->name, way);
  }
  return sum;
}

/* How far rounding in float64 may put the product off, by trying. A norm hands on 316 times the
 * cotangent of a token that is 0, at each update, and the two products that --means writer
 * makes with it cancel: terms of 1e15 with a sum of 0. In 40 other models it was at most 1e-11
 * of the terms' sizes, which allows nothing. */
static double lost_in_doubles(slope *at, const mvs_graph *grad, double claimed) {
  mvs_reference_options options = {.diag = at->s->diag, .noise_f64 = true};
  double farthest = 0;
  for (int i = 0; i < SAMPLES; i++) {
    double scale;
    mvs_tensor_map moved = {0};
    options.noise = (uint64_t)i + 1;
    ops_good(at->s, mvs_reference_run(at->arena, grad, at->batch, at->given, &options, &moved),
             "grad moved");
    farthest = fmax(farthest, fabs(along(at, &moved, &scale) - claimed));
  }
  return OPS_MARGIN * farthest;
}

/* A quotient of step h is off by about h^2 of the third derivative and by roundings of the loss
 * over h; steps are made smaller until it agrees, since the loss may have a kink within a long
 * one. A millionth of the terms' sizes is far below what a wrong rule does to any of them, and
 * far above both errors for one of the steps. Where the slopes before and behind differ at the
 * shortest step the loss has no gradient at this very place: a maximum of equals, say. Where a
 * loss of 2 has a gradient of 1e14 (cosines of large numbers) it is a line for steps of 1e-15
 * alone, which parameters hold to a digit; with one of 3e6, for steps of 1e-9. Below the short
 * step others go on only while the quotient still moves, as one does whose third derivative is
 * 1e9 times as large (several norms of tokens near 0), and while roundings leave something to
 * see: beside a wrong gradient the quotient comes to rest at another number. */
static void check_slope(ops_suite *s, const mvs_graph *loss, const mvs_graph *grad,
                        int64_t batch) {
  slope at = {.s = s, .arena = mvs_arena_new(), .loss = loss, .batch = batch};
  mvs_tensor_map given = {0}, gradients = {0};
  ops_case filled = {.name = "loss", .graph = loss, .low = -1, .high = 1};
  ops_fill(at.arena, &filled, batch, &given);
  mvs_reference_options options = {.diag = s->diag};
  ops_good(s, mvs_reference_run(at.arena, grad, batch, &given, &options, &gradients), "grad");
  at.given = &given;
  double scale, claimed = along(&at, &gradients, &scale), quotient = 0;
  double value = mvs_tensor_map_find(&gradients, "loss")->data[0];
  bool good = !isfinite(value), kink = false;
  bool steep = scale * SHORT_STEP > STRAIGHT * fabs(value);
  bool resting = false;
  for (double step = 1e-4; step > SHORTEST_STEP && !good; step /= 10) {
    double rounded = (1e-14 * fabs(value) + 0x1p-52 * scale) / step, before = quotient;
    if (step < SHORT_STEP && !steep && (resting || rounded > TELLING * scale)) break;
    double above = loss_at(&at, step), below = loss_at(&at, -step);
    quotient = (above - below) / (2 * step);
    resting = fabs(quotient - before) <= 1e-6 * scale + rounded;
    good = fabs(quotient - claimed) <= 1e-6 * scale + rounded;
    if (step > SHORT_STEP) kink = fabs(above - 2 * value + below) / step > 1e-3 * scale;
  }
  if (!good && !kink) good = fabs(quotient - claimed) <= lost_in_doubles(&at, grad, claimed);
  if (!good && !kink) {
    print_error("gradients: along a direction %.12g, the difference quotient %.12g\n", claimed,
                quotient);
    s->failures++;
  }
  mvs_arena_free(at.arena);
}

/* --- one model --- */

/* False: refused with a sentence for the user. */
static bool lower(ops_suite *s, const char *text) {
  char path[] = "/tmp/any_model_XXXXXX";
  int file = mkstemp(path);
  assert_true(file >= 0);
  assert_int_equal(write(file, text, strlen(text)), (ssize_t)strlen(text));
  assert_int_equal(close(file), 0);
  mvs_unit *unit;
  mvs_status status = mvs_load_unit(s->arena, s->diag, path, NULL, 0, &unit);
  assert_int_equal(unlink(path), 0);
  if (status == MVS_OK) status = mvs_lower(s->arena, s->diag, unit, &s->module);
  if (status == MVS_ERR_NAME || status == MVS_ERR_SHAPE || status == MVS_ERR_LIMIT) {
    mvs_text words = mvs_text_new(s->arena);
    mvs_diag_render(s->diag, &words);
    fputs(mvs_text_string(&words), stderr);
    return false;
  }
  ops_good(s, status, "lowering");
  s->compilation.module = s->module;
  return true;
}

/* The functions of the optimizer are the same in all models. */
static void keep_the_models_own(ops_suite *s) {
  size_t kept = 0;
  for (size_t i = 0; i < s->module->functions.count; i++) {
    const mvs_function function = s->module->functions.items[i];
    bool own = !strcmp(function.name, "forward") || !strcmp(function.name, "loss");
    if (!own) continue;
    s->module->functions.items[kept++] = function;
    ops_add_case(s, function.name, function.graph);
  }
  s->module->functions.count = kept;
}

/* A suite with the model lowered; NULL when it is refused. */
static ops_suite *lowered(const char *text) {
  ops_suite *s = ops_suite_new();
  bool writer = strstr(text, ANY_MEANS_WRITER) != NULL;
  s->compilation.means = writer ? MVS_MEANS_WRITER : MVS_MEANS_EXACT;
  return lower(s, text) ? s : NULL;
}

/* All passes over all functions, as the compiler runs them: their verifiers agree. */
static void check_plans(const char *text) {
  ops_suite *s = lowered(text);
  ops_good(s, mvs_pipeline_run(&s->compilation, NULL), "all passes");
  ops_good(s, mvs_build_program(s->arena, s->diag, s->module, s->compilation.plan, &s->build),
           "build");
  for (size_t i = 0; i < s->build->kernels.count; i++) {
    ops_good(s, mvs_kernel_verify(s->build->kernels.items[i], s->diag), "kernel");
  }
  ops_suite_free(s);
}

any_outcome any_model_check(const char *text, const any_check *check, double *worst) {
  ops_suite *s = lowered(text);
  if (!s) return ANY_REFUSED;
  check_plans(text);
  s->quick = check->quick;
  s->every_plan = true;
  s->measured = true;
  s->tolerance.reason = "what rounding is seen to do";
  keep_the_models_own(s);
  const mvs_function *function = mvs_module_function(s->module, "loss");
  const mvs_graph *loss = function->graph;
  ops_compile(s);
  for (size_t i = 0; i < s->cases.count; i++) {
    if (!strcmp(s->cases.items[i].name, "grad"))
      check_slope(s, loss, s->cases.items[i].graph, 2);
  }
  ops_check(s, 1);
  ops_check(s, 3);
  ops_check_threads(s, 150);
  *worst = s->worst;
  any_outcome outcome = s->beyond ? ANY_REFUSED : s->failures ? ANY_WRONG : ANY_AGREES;
  if (s->beyond) fputs("values beyond f32\n", stderr);
  ops_suite_free(s);
  return outcome;
}

/* --- in a process of its own --- */

typedef struct task {
  const char *text;
  const any_check *check;
  any_result *shared;
} task;

static void run_task(void **state) {
  const task *t = *state;
  t->shared->outcome = any_model_check(t->text, t->check, &t->shared->worst);
}

#ifdef MVCC_COVERAGE
void __gcov_dump(void);
#else
#define __gcov_dump() ((void)0)
#endif

/* Ends by _exit, since what is to be done at the end of the process is the parent's; counts of
 * what has run are the child's own. */
static void child(const task *t, int output) {
  dup2(output, 1);
  dup2(output, 2);
  alarm((unsigned)t->check->seconds);
  cmocka_set_test_filter(NULL); /* that of the test around is not meant for this one */
  const struct CMUnitTest tests[] = {{"model", run_task, NULL, NULL, (void *)t}};
  int failed = cmocka_run_group_tests_name("model", tests, NULL, NULL);
  fflush(NULL);
  __gcov_dump();
  _exit(failed ? 1 : 0);
}

static const char *read_back(mvs_arena *arena, int output) {
  mvs_text text = mvs_text_new(arena);
  char bytes[4096];
  lseek(output, 0, SEEK_SET);
  for (ssize_t got; (got = read(output, bytes, sizeof bytes)) > 0;)
    mvs_text_add_bytes(&text, bytes, (size_t)got);
  return mvs_text_string(&text);
}

any_result any_model_try(mvs_arena *arena, const char *text, const any_check *check) {
  any_result *shared =
      mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  int output = memfd_create("any_model", 0), status = 0;
  assert_true(shared != MAP_FAILED && output >= 0);
  *shared = (any_result){.outcome = ANY_WRONG};
  task t = {text, check, shared};
  fflush(NULL);
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) child(&t, output);
  waitpid(pid, &status, 0);
  any_result result = *shared;
  result.words = read_back(arena, output);
  if (WIFSIGNALED(status)) {
    result.outcome = ANY_WRONG;
    result.words = mvs_arena_format(arena, "%sended by signal %d (%s)\n", result.words,
                                    WTERMSIG(status), strsignal(WTERMSIG(status)));
  }
  if (WIFEXITED(status) && WEXITSTATUS(status)) result.outcome = ANY_WRONG;
  munmap(shared, sizeof *shared);
  close(output);
  return result;
}
