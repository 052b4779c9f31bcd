/* ops_margins.c: samples of what rounding does to the results of a case. */
#include "tests/unit/ops_margins.h"

#include <math.h>

struct ops_margins {
  mvs_arena *arena;
  const ops_case *each;
  int64_t batch;
  const mvs_tensor_map *given, *wanted;
  double largest;
  int samples;
  double **farthest; /* per result and element */
  double *squares;   /* per result: of all its elements in all samples */
};

ops_margins *ops_margins_new(mvs_arena *arena, const ops_case *each, int64_t batch,
                             const mvs_tensor_map *given, const mvs_tensor_map *wanted) {
  ops_margins *m = MVS_NEW(arena, ops_margins);
  *m = (ops_margins){.arena = arena,
                     .each = each,
                     .batch = batch,
                     .given = given,
                     .wanted = wanted};
  m->farthest = MVS_ARRAY(arena, wanted->count, double *);
  m->squares = MVS_ARRAY(arena, wanted->count, double);
  for (size_t i = 0; i < wanted->count; i++) {
    int64_t count = mvs_tensor_count(&wanted->items[i].tensor, batch);
    m->farthest[i] = MVS_ARRAY(arena, (size_t)count, double);
  }
  return m;
}

static void add_sample(ops_margins *m, size_t result, const mvs_tensor *moved) {
  const mvs_tensor *wanted = &m->wanted->items[result].tensor;
  for (int64_t at = 0; at < mvs_tensor_count(wanted, m->batch); at++) {
    double apart = fabs(moved->data[at] - wanted->data[at]);
    if (!isfinite(apart)) apart = wanted->data[at] == moved->data[at] ? 0 : INFINITY;
    m->squares[result] += apart * apart;
    m->farthest[result][at] = fmax(m->farthest[result][at], apart);
  }
}

mvs_status ops_margins_sample(ops_margins *m, int count) {
  mvs_reference_options noisy = {.round_bf16 = true, .largest = &m->largest};
  mvs_reference_options rounded = {.round_bf16 = true, .round_f32 = true};
  const mvs_graph *graph = m->each->rounds ? m->each->rounds : m->each->graph;
  for (int sample = 0; sample < count; sample++) {
    mvs_arena *scratch = mvs_arena_new();
    mvs_tensor_map moved = {0};
    noisy.noise = (uint64_t)m->samples;
    mvs_status status = mvs_reference_run(scratch, graph, m->batch, m->given,
                                          m->samples ? &noisy : &rounded, &moved);
    for (size_t i = 0; status == MVS_OK && i < m->wanted->count; i++) {
      add_sample(m, i, &moved.items[i].tensor);
    }
    mvs_arena_free(scratch);
    MVS_TRY(status);
    m->samples++;
  }
  return MVS_OK;
}

double ops_margins_largest(const ops_margins *m) { return m->largest; }

double ops_margins_allowed(const ops_margins *m, size_t result, int64_t element) {
  int64_t count = mvs_tensor_count(&m->wanted->items[result].tensor, m->batch);
  double mean = sqrt(m->squares[result] / (double)(count * m->samples));
  return OPS_MARGIN * (m->farthest[result][element] + mean);
}
