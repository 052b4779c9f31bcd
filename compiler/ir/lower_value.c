/* lower_value.c: the values of the language, scopes, and how lowering speaks to the user.
 * Values are small structs that are copied; what they point to lives as long as the arena.
 * Scopes are lists searched from the newest scope outwards: most hold a few names, and one that
 * holds more gets a table. A name set again in its own scope gets the new value, which later
 * statements see. Nothing is removed from a scope; a scope is simply left. */
#include <stdarg.h>
#include <stdio.h>

#include "compiler/ir/lowering.h"

#define WORDS     512 /* of one message; longer ones are cut */
#define FEW_NAMES 16  /* of a scope: faster to compare than to hash */

mvs_value mvs_value_number(double number) {
  return (mvs_value){.kind = MVS_VALUE_NUMBER, .number = number};
}

mvs_value mvs_value_bool(bool truth) {
  return (mvs_value){.kind = MVS_VALUE_BOOL, .truth = truth};
}

mvs_value mvs_value_string(const char *text) {
  return (mvs_value){.kind = MVS_VALUE_STRING, .text = text};
}

mvs_value mvs_value_tensor(mvs_graph *graph, mvs_id id) {
  return (mvs_value){.kind = MVS_VALUE_TENSOR, .graph = graph, .id = id};
}

/* A name for what the user wrote, never for our own kinds: `layer` reads as a tensor. */
const char *mvs_value_noun(const mvs_value *value) {
  static const char *const nouns[] = {
      [MVS_VALUE_ABSENT] = "nothing",        [MVS_VALUE_NONE] = "none",
      [MVS_VALUE_NUMBER] = "a number",       [MVS_VALUE_BOOL] = "true or false",
      [MVS_VALUE_STRING] = "a string",       [MVS_VALUE_TENSOR] = "a tensor",
      [MVS_VALUE_TUPLE] = "a list",          [MVS_VALUE_FUNCTION] = "a layer without its input",
      [MVS_VALUE_BRANCH] = "the branch",     [MVS_VALUE_LAYER] = "a tensor",
      [MVS_VALUE_INIT] = "an initial value",
      [MVS_VALUE_PAST] = "a value of blocks that have run",
  };
  return nouns[value->kind];
}

const mvs_type *mvs_value_type(const mvs_value *value) {
  return mvs_graph_type(value->graph, value->id);
}

/* A tensor with no axis but the batch holds one number per sample. */
int64_t mvs_value_features(const mvs_value *value) {
  const mvs_type *type = mvs_value_type(value);
  if (type->rank == 0 || type->dims[type->rank - 1].per_batch) return 1;
  return type->dims[type->rank - 1].size;
}

mvs_scope *mvs_scope_new(mvs_lowering *lo, mvs_scope *parent) {
  mvs_scope *scope = MVS_NEW(lo->arena, mvs_scope);
  scope->parent = parent;
  return scope;
}

/* The binding of a name in this very scope, or NULL. */
static mvs_binding *binding_of(const mvs_scope *scope, const char *name) {
  if (scope->places) {
    size_t place = (size_t)(uintptr_t)mvs_table_get(scope->places, name);
    return place ? &scope->names.items[place - 1] : NULL;
  }
  for (size_t i = 0; i < scope->names.count; i++) {
    if (strcmp(scope->names.items[i].name, name) == 0) return &scope->names.items[i];
  }
  return NULL;
}

/* The first name beyond a few enters them all. */
static void enter_places(mvs_lowering *lo, mvs_scope *scope) {
  size_t first = scope->places ? scope->names.count - 1 : 0;
  if (!scope->places) scope->places = mvs_table_new(lo->arena);
  for (size_t i = first; i < scope->names.count; i++) {
    mvs_table_set(scope->places, scope->names.items[i].name, (void *)(uintptr_t)(i + 1));
  }
}

void mvs_scope_set(mvs_lowering *lo, mvs_scope *scope, const char *name, mvs_value value) {
  mvs_binding *known = binding_of(scope, name);
  if (known) {
    known->value = value;
    return;
  }
  mvs_binding binding = {name, value};
  MVS_PUSH(lo->arena, &scope->names, binding);
  if (scope->names.count > FEW_NAMES) enter_places(lo, scope);
}

/* The nearest scope wins: formals hide lets. */
const mvs_value *mvs_scope_find(const mvs_scope *scope, const char *name) {
  for (; scope; scope = scope->parent) {
    const mvs_binding *known = binding_of(scope, name);
    if (known) return &known->value;
  }
  return NULL;
}

/* Words go through a buffer because names may be as long as a file; the place shows the
 * rest. */
mvs_status mvs_lower_error(mvs_lowering *lo, mvs_status status, mvs_span span,
                           const char *format, ...) {
  char words[WORDS];
  va_list list;
  va_start(list, format);
  vsnprintf(words, sizeof words, format, list);
  va_end(list);
  mvs_diag_error(lo->diag, span, "%s", words);
  return status;
}

/* Layers that call layers and loops in loops double with every line: 40 lines can ask for more
 * than any machine will ever do. */
mvs_status mvs_lower_spend(mvs_lowering *lo, mvs_span span) {
  if (lo->evaluations++ < MVS_MAX_EVALUATIONS) return MVS_OK;
  return mvs_lower_error(lo, MVS_ERR_LIMIT, span,
                         "the model takes more than %d evaluations to unfold",
                         MVS_MAX_EVALUATIONS);
}

void mvs_lower_suggest(mvs_lowering *lo, const char *name, const char *const *candidates,
                       size_t count) {
  const char *near = mvs_suggest(name, candidates, count);
  if (near) mvs_diag_hint(lo->diag, "did you mean '%s'?", near);
}

/* Without the column: it is for origins in --explain and in dumps. */
const char *mvs_lower_place(mvs_lowering *lo, mvs_span span) {
  if (!span.source) return "";
  int line, column;
  mvs_span_position(span, &line, &column);
  return mvs_arena_format(lo->arena, "%s:%d", span.source->name, line);
}

/* As written, line ends included. */
const char *mvs_lower_words(mvs_lowering *lo, mvs_span span) {
  if (!span.source) return "";
  return mvs_arena_copy(lo->arena, span.source->text + span.begin, span.end - span.begin);
}

const char *mvs_lower_type_text(mvs_lowering *lo, const mvs_type *type) {
  mvs_text text = mvs_text_new(lo->arena);
  mvs_type_text(type, &text);
  return mvs_text_string(&text);
}
