/* specialise.c: what specialisations of one model must have in common. They share the flat
 * buffers, so parameters agree one by one, in order; they share the command line, so inputs
 * agree in all but their shapes. Each check compares texts: what differs is then what the
 * message shows. A `let` that changes a parameter (a width, say) cannot be varied, and the
 * first parameter that shows it is named with its place in the model. */
#include "compiler/mvcc/driver.h"

/* The first specialisation and another: being alike is transitive. */
typedef struct pair {
  const mvs_driver *driver;
  const mvs_specialisation *a, *b;
} pair;

/* The `let` that varies; there is one, or we are not called. */
static const char *let_name(const pair *p) { return p->driver->unit->varied->names[0]; }

/* One form for all disagreements: what, and what it is with each value. */
static mvs_status differ(const pair *p, mvs_span span, const char *what, const char *a,
                         const char *b) {
  mvs_diag_error(p->driver->diag, span, "%s depends on '%s': %s with %s, but %s with %s", what,
                 let_name(p), a, p->a->value, b, p->b->value);
  mvs_diag_hint(p->driver->diag,
                "a program shares weights, inputs and recipe among all values of '%s'; compile "
                "them apart",
                let_name(p));
  return MVS_ERR_SHAPE;
}

/* --- parameters --- */

/* Everything that must agree: "f32[8, 16] in 4 layers = normal(0.02)". */
static const char *param_text(mvs_arena *arena, const mvs_param *param) {
  mvs_text text = mvs_text_new(arena);
  mvs_type_text(&param->type, &text);
  if (param->layers) mvs_text_addf(&text, " in %lld layers", (long long)param->layers);
  mvs_text_addf(&text, " = %s", mvs_driver_init_text(arena, &param->init));
  if (!param->trained) mvs_text_add(&text, " (a constant)");
  if (param->group.has_rate) mvs_text_addf(&text, ", lr x %.17g", param->group.rate);
  if (param->group.has_decay) mvs_text_addf(&text, ", decay x %.17g", param->group.decay);
  return mvs_text_string(&text);
}

/* Names are unique within a model. */
static const mvs_param *find_param(const mvs_module *module, const char *name) {
  for (size_t i = 0; i < module->params.count; i++) {
    if (strcmp(module->params.items[i].name, name) == 0) return &module->params.items[i];
  }
  return NULL;
}

/* A parameter of `has` is in `other` too, with the same text. */
static mvs_status check_param(const pair *p, const mvs_param *param, const mvs_module *other,
                              bool swapped) {
  mvs_arena *arena = p->driver->session;
  const char *what = mvs_arena_format(arena, "parameter '%s'", param->name);
  const mvs_param *same = find_param(other, param->name);
  const char *here = param_text(arena, param),
             *there = same ? param_text(arena, same) : "absent";
  if (same && strcmp(here, there) == 0 && same->init.value == param->init.value) return MVS_OK;
  return swapped ? differ(p, param->span, what, there, here)
                 : differ(p, param->span, what, here, there);
}

/* Both ways, so that a parameter missing from either is found, then the order. */
static mvs_status check_params(const pair *p) {
  const mvs_module *a = p->a->compilation.module, *b = p->b->compilation.module;
  for (size_t i = 0; i < a->params.count; i++) {
    MVS_TRY(check_param(p, &a->params.items[i], b, false));
  }
  for (size_t i = 0; i < b->params.count; i++) {
    MVS_TRY(check_param(p, &b->params.items[i], a, true));
  }
  for (size_t i = 0; i < a->params.count; i++) {
    const mvs_param *here = &a->params.items[i], *there = &b->params.items[i];
    if (strcmp(here->name, there->name) == 0) continue;
    return differ(p, here->span, "the order of parameters",
                  mvs_arena_format(p->driver->session, "'%s' comes first", here->name),
                  mvs_arena_format(p->driver->session, "'%s'", there->name));
  }
  return MVS_OK;
}

/* --- inputs and the output --- */

/* Shapes are left out: they are what may differ. */
static const char *input_text(mvs_arena *arena, const mvs_module *module, size_t index) {
  if (index >= module->inputs.count) return "absent";
  const mvs_model_input *input = &module->inputs.items[index];
  return mvs_arena_format(arena, "'%s' of %s", input->name, mvs_dtype_name(input->type.dtype));
}

/* Inputs by position, since trainers bind them by the table's order too. */
static mvs_status check_interface(const pair *p) {
  const mvs_module *a = p->a->compilation.module, *b = p->b->compilation.module;
  mvs_arena *arena = p->driver->session;
  size_t count = a->inputs.count > b->inputs.count ? a->inputs.count : b->inputs.count;
  for (size_t i = 0; i < count; i++) {
    const char *here = input_text(arena, a, i), *there = input_text(arena, b, i);
    if (strcmp(here, there) == 0) continue;
    return differ(p, (mvs_span){0}, mvs_arena_format(arena, "input %zu", i + 1), here, there);
  }
  if (strcmp(a->output_name, b->output_name) == 0) return MVS_OK;
  return differ(p, (mvs_span){0}, "the output's name", a->output_name, b->output_name);
}

/* Settings that a run takes before its data choose a specialisation. */
static mvs_status check_recipe(const pair *p) {
  const mvs_settings *a = &p->a->compilation.module->settings;
  const mvs_settings *b = &p->b->compilation.module->settings;
  const struct {
    const char *what;
    double a, b;
  } rows[] = {{"lr", a->lr, b->lr},
              {"beta1", a->beta1, b->beta1},
              {"beta2", a->beta2, b->beta2},
              {"eps", a->adam_eps, b->adam_eps},
              {"weight_decay", a->weight_decay, b->weight_decay},
              {"momentum", a->muon ? a->momentum : 0, b->muon ? b->momentum : 0},
              {"clip", a->clip, b->clip},
              {"ema", a->ema, b->ema},
              {"warmup", (double)a->warmup, (double)b->warmup},
              {"batch", (double)a->batch, (double)b->batch}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    if (rows[i].a == rows[i].b) continue;
    mvs_arena *arena = p->driver->session;
    return differ(p, (mvs_span){0}, mvs_arena_format(arena, "the setting '%s'", rows[i].what),
                  mvs_arena_format(arena, "%g", rows[i].a),
                  mvs_arena_format(arena, "%g", rows[i].b));
  }
  return MVS_OK;
}

/* Every one against the first. */
mvs_status mvs_driver_agree(const mvs_driver *driver) {
  for (size_t i = 1; i < driver->specialisation_count; i++) {
    pair p = {driver, &driver->specialisations[0], &driver->specialisations[i]};
    MVS_TRY(check_params(&p));
    MVS_TRY(check_interface(&p));
    MVS_TRY(check_recipe(&p));
  }
  return MVS_OK;
}
