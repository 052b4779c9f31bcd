/* turns.h: where a run went back to a checkpoint and took another way from there: with other
 * samples, or slower. A step follows from the turns at or before it and from nothing else, so a
 * run that is resumed, from whichever checkpoint, takes the same way again. */
#ifndef MVS_RUNTIME_TURNS_H
#define MVS_RUNTIME_TURNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MVS_MOST_TURNS 16

typedef struct mvs_turn {
  int64_t from;    /* steps done when it turned back */
  int64_t to;      /* steps that were kept */
  bool reorders;   /* samples come in another order from then on */
  double rate;     /* factor of the learning rate from then on */
  const char *why; /* the sentence of the collapse */
} mvs_turn;

/* In the order in which they were taken. */
typedef struct mvs_turns {
  mvs_turn items[MVS_MOST_TURNS];
  size_t count;
} mvs_turns;

/* The factor of the rate at step k (from 0): the product of all turns to k or earlier. */
double mvs_turns_rate(const mvs_turns *turns, int64_t step);
/* Which order step k takes its samples from: 0 for the run's own, then one more by turn. */
int mvs_turns_order(const mvs_turns *turns, int64_t step);

#endif
