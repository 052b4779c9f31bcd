/* signals.h: what the watch looks at: an observation as a short list of named numbers.
 * Which there are depends on what was observed: loss and gradient norm alone, the gradients of
 * families by layer, or diagnostics of the mean mode too. */
#ifndef MVS_RUNTIME_SIGNALS_H
#define MVS_RUNTIME_SIGNALS_H

#include "runtime/observation.h"

/* Names of tables that the watch knows, and families in the rows of the first. */
#define MVS_TABLE_GRADIENT "gradient" /* norms of gradients by family of weights and layer */
#define MVS_TABLE_G_MEAN   "g_mean"   /* of a writer's gradient, what token means make */
#define MVS_TABLE_G_CTR    "g_ctr"    /* and what is left of it */
#define MVS_TABLE_RHO      "rho"      /* mean over centred part of the stream */
#define MVS_TABLE_TCS      "tcs"      /* mean cosine of pairs of tokens */

typedef enum mvs_signal_kind {
  MVS_SIGNAL_LOSS,
  MVS_SIGNAL_NORM,    /* of all gradients; log */
  MVS_SIGNAL_BALANCE, /* a writer's gradient over a reader's, all layers; log */
  MVS_SIGNAL_SHALLOW, /* the gradient of one family in one of the first layers; log */
  MVS_SIGNAL_G_MEAN,  /* of diagnostics, over sites and layers: the upper quartile; log */
  MVS_SIGNAL_SHARE,   /* g_mean over g_ctr, likewise; log */
  MVS_SIGNAL_RHO,     /* likewise; log */
  MVS_SIGNAL_COSINE   /* likewise; plain */
} mvs_signal_kind;

typedef struct mvs_signal {
  mvs_signal_kind kind;
  const char *name;   /* words for a sentence; the same each time */
  const char *family; /* of the weights whose gradient it is, or is divided by; else "" */
  double value;       /* NaN where it is not known */
} mvs_signal;

typedef struct mvs_signals {
  mvs_signal *items;
  size_t count, capacity;
} mvs_signals;

/* Families of weights by what they do: writers write into the residual stream, readers make the
 * queries and keys of an attention. Where there are no readers, all families of the stack that
 * are no writers stand for them. */
typedef struct mvs_watch_roles {
  size_t n_writers, n_readers;
  const char **writers, **readers;
} mvs_watch_roles;

/* Makes the list of an observation, in an order that depends only on what was observed. */
void mvs_signals_make(mvs_arena *arena, const mvs_watch_roles *roles,
                      const mvs_observation *seen, mvs_signals *out);

#endif
