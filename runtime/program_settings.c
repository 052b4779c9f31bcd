/* program_settings.c: lets and recipes as names and texts.
 *
 * What the trainer has an option for (lr, batch, ...) is recorded as that, with the value in
 * force. A let that has several values is in none of them: tensors choose one, and another set
 * of values trains the same weights on. */
#include "runtime/program_settings.h"

#include <inttypes.h>

/* All strings of a program last as long as it does. */
static void add(mvs_arena *arena, mvs_program_settings *list, const char *name,
                const char *value, bool trains) {
  mvs_program_setting setting = {name, value, trains};
  MVS_PUSH(arena, list, setting);
}

static const char *number_text(mvs_arena *arena, double value) {
  mvs_text text = mvs_text_new(arena);
  mvs_text_add_number(&text, value);
  return mvs_text_string(&text);
}

/* "64, 128" */
static const char *values_text(mvs_arena *arena, const mvs_program *whole) {
  mvs_text text = mvs_text_new(arena);
  for (size_t at = 0; at < whole->n_specialisations; at++)
    mvs_text_addf(&text, "%s%s", at ? ", " : "", whole->specialisations[at]->value);
  return mvs_text_string(&text);
}

static void add_lets(mvs_arena *arena, const mvs_program *whole, mvs_program_settings *list) {
  for (size_t at = 0; at < whole->n_lets; at++) {
    const Mvs__Let *let = whole->lets[at];
    bool several = strcmp(let->name, whole->specialised) == 0;
    add(arena, list, mvs_arena_format(arena, "let %s", let->name),
        several ? values_text(arena, whole) : let->value, !several);
  }
}

mvs_program_settings mvs_program_settings_of(const mvs_session *session) {
  mvs_arena *arena = session->arena;
  const Mvs__Settings *from = session->whole->settings;
  mvs_program_settings list = {0};
  add_lets(arena, session->whole, &list);
  add(arena, &list, "precision", from->precision, true);
  add(arena, &list, "optimizer", from->muon ? "muon" : "adamw", true);
  if (from->muon) add(arena, &list, "momentum", number_text(arena, from->momentum), true);
  add(arena, &list, "objective shift", number_text(arena, from->timestep_shift), true);
  add(arena, &list, "objective dropout", number_text(arena, from->dropout), true);
  add(arena, &list, "sample steps", mvs_arena_format(arena, "%" PRId64, from->sample_steps),
      false);
  add(arena, &list, "sample cfg", number_text(arena, from->cfg), false);
  add(arena, &list, "sample shift", number_text(arena, from->sample_shift), false);
  return list;
}
