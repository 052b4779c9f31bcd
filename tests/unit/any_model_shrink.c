/* any_model_shrink.c: makes the choices of a wrong model few and small. Runs of choices are
 * left out, longest first; then each is made 0, halved, or one less. What is still wrong is
 * kept, and all begins anew until nothing helps. */
#include "tests/unit/any_model.h"

enum { MOST_TRIES = 600 };

typedef MVS_LIST(uint16_t) choice_list;

typedef struct shrinking {
  mvs_arena *arena;
  const any_check *check;
  choice_list best;
  const char *text;
  any_result result;
  int tries;
} shrinking;

/* What was wrong, as a number: a model may be wrong in another way when it is made smaller. */
static int way(const any_result *result) {
  static const char *const phrases[] = {"internal error",      "ended by signal", "exception",
                                        "has other bits",      "writes outside",  "nan, wanted",
                                        "difference quotient", "tolerance"};
  int at = 0, count = sizeof phrases / sizeof *phrases;
  while (at < count && !strstr(result->words, phrases[at])) at++;
  return at;
}

/* Takes a list over when its model is wrong in the same way and the list, as answered, is
 * simpler. */
static bool attempt(shrinking *s, const uint16_t *items, size_t count) {
  if (s->tries++ >= MOST_TRIES) return false;
  any_choices choices = any_choices_list(s->arena, items, count);
  const char *text = any_model_text(s->arena, &choices);
  if (s->text && strcmp(text, s->text) == 0) return false;
  any_result result = any_model_try(s->arena, text, s->check);
  if (result.outcome != ANY_WRONG) return false;
  if (s->text && way(&result) != way(&s->result)) return false;
  s->text = text;
  s->result = result;
  size_t used = choices.answered.count < count ? choices.answered.count : count;
  s->best.count = 0;
  for (size_t i = 0; i < used; i++) MVS_PUSH(s->arena, &s->best, choices.answered.items[i]);
  return true;
}

/* Without `length` choices from `at` on. */
static bool without(shrinking *s, size_t at, size_t length) {
  choice_list fewer = {0};
  for (size_t i = 0; i < s->best.count; i++) {
    if (i < at || i >= at + length) MVS_PUSH(s->arena, &fewer, s->best.items[i]);
  }
  return attempt(s, fewer.items, fewer.count);
}

static bool with(shrinking *s, size_t at, uint16_t value) {
  choice_list other = {0};
  for (size_t i = 0; i < s->best.count; i++)
    MVS_PUSH(s->arena, &other, i == at ? value : s->best.items[i]);
  return attempt(s, other.items, other.count);
}

static bool leave_out(shrinking *s) {
  bool helped = false;
  for (size_t length = s->best.count; length > 0; length /= 2) {
    for (size_t end = s->best.count; end >= length; end -= length) {
      if (end <= s->best.count && without(s, end - length, length)) helped = true;
    }
  }
  return helped;
}

static bool lessen(shrinking *s) {
  bool helped = false;
  for (size_t at = 0; at < s->best.count; at++) {
    uint16_t value = s->best.items[at];
    if (!value) continue;
    if (with(s, at, 0)) {
      helped = true;
    } else if (value > 1 && (with(s, at, value / 2) || with(s, at, value - 1))) {
      helped = true;
    }
  }
  return helped;
}

const char *any_model_shrink(mvs_arena *arena, const any_choices *wrong, const any_check *check,
                             any_result *result) {
  any_check fast = {.quick = true, .seconds = check->seconds};
  shrinking s = {.arena = arena, .check = &fast};
  if (!attempt(&s, wrong->answered.items, wrong->answered.count)) {
    s.check = check; /* it is wrong in optimised code alone */
    if (!attempt(&s, wrong->answered.items, wrong->answered.count)) return NULL;
  }
  for (bool helped = true; helped && s.tries < MOST_TRIES;) {
    helped = leave_out(&s);
    helped |= lessen(&s);
  }
  *result = s.result;
  return s.text;
}
