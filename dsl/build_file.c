/* build_file.c: files the definitions, model and recipes of a file. The parts of a file come in
 * any order and go into lists of their own, each in the order written; unit.c restores the
 * order among lets and uses from their spans. A second model or recipe is reported and dropped,
 * so that what follows is still checked once. */
#include "dsl/parser.h"

/* Reports two formals of one name. */
static void check_formals(mvs_parser *parser, const mvs_formals *all) {
  for (size_t at = 0; at < all->count; at++) {
    for (size_t other = 0; other < at; other++) {
      if (strcmp(all->items[at].name, all->items[other].name) != 0) continue;
      mvs_parser_error(parser, all->items[at].span, "'%s' is declared twice",
                       all->items[at].name);
      mvs_diag_note(parser->diag, all->items[other].span, "first declared here");
    }
  }
}

void mvs_build_definition(mvs_parser *parser, mvs_span span, bool residual, mvs_word name,
                          mvs_formals formals, mvs_block body) {
  mvs_file *file = parser->file;
  if (formals.count > MVS_MAX_HEIGHT) {
    mvs_parser_limit(parser, name.span, "'%s' has more than %d parameters", name.text,
                     MVS_MAX_HEIGHT);
    formals.count = 0;
  }
  check_formals(parser, &formals);
  mvs_definition definition = {.name = name.text, .name_span = name.span, .span = span};
  definition.residual = residual;
  definition.formals = formals.items;
  definition.formal_count = formals.count;
  definition.body = body;
  struct {
    mvs_definition *items;
    size_t count, capacity;
  } list = {file->definitions, file->definition_count, parser->definition_capacity};
  MVS_PUSH(parser->session, &list, definition);
  file->definitions = list.items;
  file->definition_count = list.count;
  parser->definition_capacity = list.capacity;
}

/* True, with an error, when the file had this part before. */
static bool repeated(mvs_parser *parser, mvs_span *first, mvs_span now, const char *part) {
  if (!first->source) {
    *first = now;
    return false;
  }
  mvs_parser_error(parser, now, "a file has at most one %s", part);
  mvs_diag_note(parser->diag, *first, "the first one is here");
  return true;
}

/* The first model stays; the statements of a second are not checked. */
void mvs_build_model(mvs_parser *parser, mvs_word name, mvs_block body) {
  if (repeated(parser, &parser->file->model_span, name.span, "model")) return;
  parser->file->model_name = name.text;
  parser->file->model = body;
}

void mvs_build_settings(mvs_parser *parser, mvs_span span, bool sample, mvs_block body) {
  mvs_file *file = parser->file;
  mvs_span *first = sample ? &parser->sample_span : &parser->train_span;
  if (repeated(parser, first, span, sample ? "`sample`" : "`train`")) return;
  if (sample) {
    file->has_sample = true;
    file->sample = body;
  } else {
    file->has_train = true;
    file->train = body;
  }
}

/* Adds one override of a let; reports a name given before. */
static void take_setting(mvs_parser *parser, mvs_use *use, const mvs_argument *setting) {
  for (size_t at = 0; at < use->setting_count; at++) {
    if (strcmp(use->settings[at].name, setting->name) != 0) continue;
    mvs_parser_error(parser, setting->span, "'%s' is given twice", setting->name);
    mvs_diag_note(parser->diag, use->settings[at].span, "first given here");
    return;
  }
  use->settings[use->setting_count++] = *setting;
}

/* Splits the overrides into those of lets and the one of the residual line. */
static void take_overrides(mvs_parser *parser, mvs_use *use, const mvs_arguments *all) {
  use->settings = MVS_ARRAY(parser->session, all->count, mvs_argument);
  for (size_t at = 0; at < all->count; at++) {
    const mvs_argument *each = &all->items[at];
    if (each->name) {
      take_setting(parser, use, each);
    } else if (use->residual) {
      mvs_parser_error(parser, each->span, "the residual rule is given twice");
      mvs_diag_note(parser->diag, use->residual->span, "first given here");
    } else {
      use->residual = each->value;
    }
  }
}

/* Paths are looked at by unit.c: parsing opens no files. */
void mvs_build_use(mvs_parser *parser, mvs_span span, mvs_word path, mvs_arguments settings) {
  mvs_file *file = parser->file;
  mvs_use use = {.span = span, .path = path.text, .path_span = path.span};
  take_overrides(parser, &use, &settings);
  struct {
    mvs_use *items;
    size_t count, capacity;
  } list = {file->uses, file->use_count, parser->use_capacity};
  MVS_PUSH(parser->session, &list, use);
  file->uses = list.items;
  file->use_count = list.count;
  parser->use_capacity = list.capacity;
}
