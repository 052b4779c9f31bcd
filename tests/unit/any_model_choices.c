/* any_model_choices.c: answers from a seed or from a list. */
#include "tests/unit/any_model.h"

any_choices any_choices_seed(mvs_arena *arena, uint64_t seed) {
  return (any_choices){.arena = arena, .state = seed, .drawn = true};
}

any_choices any_choices_list(mvs_arena *arena, const uint16_t *items, size_t count) {
  any_choices choices = {.arena = arena};
  for (size_t i = 0; i < count; i++) MVS_PUSH(arena, &choices.given, items[i]);
  return choices;
}

/* SplitMix64 (Steele, Lea, Flood, 2014): neighbouring seeds have nothing in common. */
static uint64_t next(uint64_t *state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

int any_below(any_choices *choices, int bound) {
  size_t at = choices->answered.count;
  uint64_t answer = 0;
  if (at < choices->given.count) {
    answer = choices->given.items[at];
  } else if (choices->drawn) {
    answer = next(&choices->state);
  }
  uint16_t taken = (uint16_t)(answer % (uint64_t)bound);
  MVS_PUSH(choices->arena, &choices->answered, taken);
  return taken;
}
