/* sampler.h: Euler steps from noise to samples, with guidance and a timestep shift.
 * With s(t) = shift t / (1 + (shift - 1) t), for i = N .. 1:
 *   v = v_u + cfg (v_c - v_u),  x += (s(i/N) - s((i-1)/N)) v        in float32
 * One evaluation a step where cfg <= 1 or nothing conditions the model, else two.
 * source : Lu 2026 (arXiv 2605.06169), released sampler */
#ifndef MVS_RUNTIME_SAMPLER_H
#define MVS_RUNTIME_SAMPLER_H

#include "runtime/session.h"

typedef struct mvs_sampler_settings {
  int64_t steps;
  double cfg, shift;
} mvs_sampler_settings;

/* Values of one conditioning input, in its dtype (f32 or i32). */
typedef struct mvs_condition {
  const Mvs__ModelInput *input;
  const void *values;  /* [count, ...] */
  const void *without; /* one sample: the unconditional value */
} mvs_condition;

typedef struct mvs_sampling {
  mvs_sampler_settings settings;
  int64_t count, batch;            /* samples, and how many at a time */
  float *state;                    /* [count, ...]: noise in, samples out */
  const mvs_condition *conditions; /* one per conditioning input of the program */
  size_t condition_count;
} mvs_sampling;

/* The program's noised state: its first input that is no conditioning. NULL when there is none.
 */
const Mvs__ModelInput *mvs_state_input(const mvs_program *program);
/* Elements of one sample of an input. */
int64_t mvs_input_elements(const Mvs__ModelInput *input);
/* s(t) of the header comment. */
double mvs_shifted_time(double t, double shift);
/* The functions that a sampler calls, for mvs_memory_choose. */
extern const char *const mvs_sampler_functions[];

typedef struct mvs_sampler mvs_sampler;

/* Takes the memory for it. `sampling` must last as long; what its pointers name is read when
 * samples are drawn, `without` now. errors : MVS_ERR_MEMORY */
mvs_status mvs_sampler_new(mvs_session *session, const mvs_sampling *sampling,
                           mvs_sampler **out);
/* Turns the noise in sampling->state to samples, with the weights that the executor's flat
 * buffer holds now; may be called again and again. */
mvs_status mvs_sampler_draw(mvs_sampler *sampler);
/* Both, once. */
mvs_status mvs_sample(mvs_session *session, const mvs_sampling *sampling);

#endif
