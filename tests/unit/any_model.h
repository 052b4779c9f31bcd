/* any_model.h: models nobody thought of, as text, made from a list of choices.
 *
 * A generator asks for whole numbers below a bound and writes a model from the answers; 0 is
 * always the simplest answer. The answers come from a seed, or from a list; where the list ends
 * they are 0. So every list is a model, a shorter list or one of smaller numbers is a simpler
 * model, and a wrong model is made small by making its list small (any_model_shrink.c),
 * whatever the generator knows of models. Owner: the arena given. */
#ifndef MVS_TESTS_ANY_MODEL_H
#define MVS_TESTS_ANY_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "compiler/base/arena.h"
#include "compiler/base/text.h"

/* Answers: those given, then, with a seed, drawn ones; the list that was answered is kept. */
typedef struct any_choices {
  mvs_arena *arena;
  MVS_LIST(uint16_t) given, answered;
  uint64_t state;
  bool drawn; /* false: 0 behind those given */
} any_choices;

/* Answers drawn from a seed. */
any_choices any_choices_seed(mvs_arena *arena, uint64_t seed);
/* A list of answers, copied. */
any_choices any_choices_list(mvs_arena *arena, const uint16_t *items, size_t count);
/* A number from 0 to bound - 1. */
int any_below(any_choices *choices, int bound);

/* A line that asks for token means through the writer (--means). */
#define ANY_MEANS_WRITER "# --means writer"
/* The text of a model. */
const char *any_model_text(mvs_arena *arena, any_choices *choices);

/* What became of a model. */
typedef enum any_outcome {
  ANY_AGREES,
  ANY_REFUSED, /* by a sentence for the user, or its values leave the range of f32 */
  ANY_WRONG
} any_outcome;

/* How models are checked. */
typedef struct any_check {
  bool quick;  /* ops_suite.h */
  int seconds; /* a model that takes longer is wrong */
} any_check;

/* Compiles and checks the model of a text in this process, which may end it. Prints what is
 * wrong. `worst` becomes the largest share of what rounding was allowed. */
any_outcome any_model_check(const char *text, const any_check *check, double *worst);

/* The same in a process of its own, so that a crash or a hang is an outcome too. */
typedef struct any_result {
  any_outcome outcome;
  double worst;
  const char *words; /* what was printed */
} any_result;
any_result any_model_try(mvs_arena *arena, const char *text, const any_check *check);

/* Makes the list of a wrong model small: whatever is as wrong is taken. Returns the text. */
const char *any_model_shrink(mvs_arena *arena, const any_choices *wrong, const any_check *check,
                             any_result *result);

#endif
