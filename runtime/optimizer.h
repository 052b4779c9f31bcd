/* optimizer.h: AdamW with clipping and warm-up, Muon for matrices where the recipe wants it,
 * and the average of the weights (EMA).
 * source : docs/numerics.md#optimizer
 * An update is given to the device as one piece: nothing in it waits for the host. What follows
 * from the step's number comes with the step's data, what follows from the gradients stays on
 * the device. Owner: flat buffers belong to the session. */
#ifndef MVS_RUNTIME_OPTIMIZER_H
#define MVS_RUNTIME_OPTIMIZER_H

#include "runtime/flat.h"
#include "runtime/turns.h"

typedef struct mvs_optimizer_settings {
  double lr, beta1, beta2, eps, weight_decay;
  bool muon;       /* of the parameters that the program marks; see docs/numerics.md */
  double momentum; /* Muon's */
  double clip; /* 0: no clipping */
  double ema;  /* decay of the average; 0: none is kept */
  int64_t warmup;
  const mvs_turns *turns; /* NULL: the run never turned back */
} mvs_optimizer_settings;

/* What an update takes from the number of its step. */
typedef struct mvs_step_rates {
  float lr, correction1, correction2;
} mvs_step_rates;

/* What a step says of itself. */
typedef struct mvs_step_result {
  double loss, norm; /* norm: of all gradients, before clipping */
  float taken;       /* 1: the weights were updated; 0: this step's loss or norm, or those of
                        one before it, are not finite */
} mvs_step_result;

/* Device memory that an optimizer shares with the step around it. */
typedef struct mvs_optimizer_places {
  float *params, *grads;       /* grads: of the whole batch */
  const mvs_step_rates *rates; /* of the step, set before each update */
  mvs_step_result *result;     /* its loss is set before each update */
} mvs_optimizer_places;

typedef struct mvs_optimizer {
  mvs_session *session;
  mvs_optimizer_settings settings;
  float *params, *m, *v;
  float *average; /* NULL: none is kept */
  double *row_squares; /* device: of the last update's gradients, by row of the flat buffer */
  struct mvs_optimizer_calls *calls;
} mvs_optimizer;

/* Makes the state: moments zero, the average equal to nothing yet (see mvs_optimizer_start). */
mvs_status mvs_optimizer_new(mvs_session *session, const mvs_optimizer_settings *settings,
                             const mvs_optimizer_places *places, mvs_optimizer **out);
/* Starts the average at the weights as they are now. */
void mvs_optimizer_start(mvs_optimizer *optimizer);
/* Gives the device an update: the norm of the gradients, whether the step is taken, and where
 * it is, new weights, moments and average. Each time at the same addresses: see recording.h. */
mvs_status mvs_optimizer_update(mvs_optimizer *optimizer);
/* What step k (from 0) asks of mvs_optimizer_places.rates: computed in double, rounded once. */
mvs_step_rates mvs_optimizer_rates(const mvs_optimizer_settings *settings, int64_t step);
/* The learning rate at step k: lr * min(1, (k + 1) / warmup), slower behind turns. */
double mvs_optimizer_rate(const mvs_optimizer_settings *settings, int64_t step);

#endif
