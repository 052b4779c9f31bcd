/* optimizer.h: AdamW with clipping and warm-up, and the average of the weights (EMA).
 * source : docs/numerics.md#optimizer
 * Owner: flat buffers belong to the session. */
#ifndef MVS_RUNTIME_OPTIMIZER_H
#define MVS_RUNTIME_OPTIMIZER_H

#include "runtime/flat.h"

typedef struct mvs_optimizer_settings {
  double lr, beta1, beta2, eps, weight_decay;
  double clip; /* 0: no clipping */
  double ema;  /* decay of the average; 0: none is kept */
  int64_t warmup;
} mvs_optimizer_settings;

typedef struct mvs_optimizer {
  mvs_session *session;
  mvs_optimizer_settings settings;
  float *params, *grads; /* grads: of the whole batch */
  float *m, *v;
  float *average; /* NULL without EMA */
  struct mvs_optimizer_calls *calls;
} mvs_optimizer;

/* Makes the state: moments zero, the average equal to nothing yet (see mvs_optimizer_start). */
mvs_status mvs_optimizer_new(mvs_session *session, const mvs_optimizer_settings *settings,
                             float *params, float *grads, mvs_optimizer **out);
/* Starts the average at the weights as they are now. */
void mvs_optimizer_start(mvs_optimizer *optimizer);
/* The global norm of the gradients: a float64 sum of squares, then its root. */
mvs_status mvs_optimizer_norm(mvs_optimizer *optimizer, double *norm);
/* Updates the weights at step k (from 0); `norm` is what mvs_optimizer_norm gave. */
mvs_status mvs_optimizer_step(mvs_optimizer *optimizer, int64_t step, double norm);
/* The learning rate at step k: lr * min(1, (k + 1) / warmup). */
double mvs_optimizer_rate(const mvs_optimizer_settings *settings, int64_t step);

#endif
