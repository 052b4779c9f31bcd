/* unit.c: resolves a file and all that it uses into one unit. Files are visited depth first,
 * used ones before their users, each once. A `use ... with` makes a frame that every file below
 * it sees; of several overrides of one let the outermost wins, and the command line wins over
 * all. Lets keep the order in which a reader who follows the uses meets them. Definitions are
 * put in place by name, a later one over an earlier, the library's being the first: a user's
 * layer then also serves the library's other layers. Errors are collected as long as they are
 * about different things; a unit comes out only when there was none. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "compiler/base/checked.h"
#include "compiler/base/source.h"
#include "compiler/base/table.h"
#include "dsl/library.h"
#include "dsl/parse.h"

/* The overrides of one `use`, seen by the files below it. */
typedef struct frame {
  const mvs_use *use;
  bool *used; /* per setting: some let took it */
  bool residual_used;
  struct frame *outer;
} frame;

/* A file being visited; the chain of users finds cycles. */
typedef struct visit {
  const char *key; /* canonical path */
  const mvs_file *file;
  const mvs_use *use; /* being followed from this file */
  frame *frames;
  const struct visit *user;
  int depth;
} visit;

/* The model that a visited file offers its user. */
typedef struct offer {
  const mvs_file *file; /* NULL: none */
  mvs_expr *residual;   /* override by a `with`, or NULL */
} offer;

/* All that is known while files are visited; the unit is complete once the last one is. */
typedef struct loader {
  mvs_arena *session;
  mvs_diag *diag;
  mvs_status status; /* of the first error */
  const mvs_override *overrides;
  size_t override_count;
  bool *override_used;
  mvs_table *files;          /* key to mvs_file */
  mvs_table *lets;           /* name to mvs_stmt */
  mvs_table *layers, *rules; /* name to index + 1 in `visible` */
  MVS_LIST(mvs_definition *) visible;
  mvs_block train, sample;
  bool has_train, has_sample;
  mvs_unit *unit;
} loader;

/* Remembers that something was reported; the first status is the one returned. */
static void fail(loader *load, mvs_status status) {
  if (load->status == MVS_OK) load->status = status;
}

/* Lets. */

/* The value that replaces that of `name`, or NULL. Marks every override of it as used. */
static mvs_expr *override_of(loader *load, frame *frames, const char *name) {
  mvs_expr *value = NULL;
  for (frame *each = frames; each; each = each->outer) {
    for (size_t at = 0; at < each->use->setting_count; at++) {
      if (strcmp(each->use->settings[at].name, name) != 0) continue;
      value = each->use->settings[at].value;
      each->used[at] = true;
    }
  }
  for (size_t at = 0; at < load->override_count; at++) {
    if (!load->overrides[at].name || strcmp(load->overrides[at].name, name) != 0) continue;
    value = load->overrides[at].value;
    load->override_used[at] = true;
  }
  return value;
}

/* An override by a tuple where the file has none: the model is wanted once per value. */
static void take_varied(loader *load, const mvs_stmt *let) {
  const mvs_stmt *other = load->unit->varied;
  if (other) {
    mvs_diag_error(load->diag, let->value->span, "'%s' has several values, and so has '%s'",
                   let->names[0], other->names[0]);
    mvs_diag_note(load->diag, other->value->span, "the values of '%s'", other->names[0]);
    fail(load, MVS_ERR_LIMIT);
  }
  if (let->value->argument_count > MVS_MAX_VALUES) {
    mvs_diag_error(load->diag, let->value->span, "'%s' has %zu values, the limit is %d",
                   let->names[0], let->value->argument_count, MVS_MAX_VALUES);
    fail(load, MVS_ERR_LIMIT);
  }
  load->unit->varied = let;
}

/* Puts a let at the end of the order, with the value that overrides it if there is one. */
static void place_let(loader *load, frame *frames, mvs_stmt *written) {
  const char *name = written->names[0];
  const mvs_stmt *first = mvs_table_get(load->lets, name);
  if (first) {
    mvs_diag_error(load->diag, written->name_spans[0], "'%s' is already defined", name);
    mvs_diag_note(load->diag, first->name_spans[0], "first defined here");
    if (first->span.source != written->span.source) {
      mvs_diag_hint(load->diag, "a used file's value is changed by `use \"%s\" with %s = ...`",
                    first->span.source->name, name);
    }
    fail(load, MVS_ERR_NAME);
    return;
  }
  mvs_stmt *placed = MVS_NEW(load->session, mvs_stmt);
  *placed = *written;
  mvs_expr *value = override_of(load, frames, name);
  if (value) placed->value = value;
  mvs_table_set(load->lets, name, placed);
  MVS_PUSH(load->session, &load->unit->lets, placed);
  bool several = value && value->kind == MVS_EXPR_TUPLE;
  if (several && written->value->kind != MVS_EXPR_TUPLE) take_varied(load, placed);
}

/* The name nearest to `name` among the lets from `begin` on. */
static const char *suggest_let(loader *load, const char *name, size_t begin) {
  const mvs_block *lets = &load->unit->lets;
  const char **names = MVS_ARRAY(load->session, lets->count - begin, const char *);
  for (size_t at = begin; at < lets->count; at++) names[at - begin] = lets->items[at]->names[0];
  return mvs_suggest(name, names, lets->count - begin);
}

/* Overrides that no let below the `use` took, from `begin` on in the order of lets. */
static void check_frame(loader *load, const frame *each, size_t begin) {
  const mvs_use *use = each->use;
  for (size_t at = 0; at < use->setting_count; at++) {
    if (each->used[at]) continue;
    const char *name = use->settings[at].name;
    mvs_diag_error(load->diag, use->settings[at].span, "'%s' has no `let` called '%s'",
                   use->path, name);
    const char *near = suggest_let(load, name, begin);
    if (near) mvs_diag_hint(load->diag, "did you mean '%s'?", near);
    fail(load, MVS_ERR_NAME);
  }
  if (use->residual && !each->residual_used) {
    mvs_diag_error(load->diag, use->residual->span,
                   "'%s' has no model whose rule could be replaced", use->path);
    fail(load, MVS_ERR_NAME);
  }
}

/* Definitions, models, recipes. */

/* Makes the file's definitions visible; they shadow those of files visited before. */
static void add_definitions(loader *load, const mvs_file *file) {
  for (size_t at = 0; at < file->definition_count; at++) {
    mvs_definition *each = &file->definitions[at];
    mvs_table *names = each->residual ? load->rules : load->layers;
    size_t place = (size_t)(uintptr_t)mvs_table_get(names, each->name);
    if (place > 0) {
      load->visible.items[place - 1] = each;
      continue;
    }
    MVS_PUSH(load->session, &load->visible, each);
    mvs_table_set(names, each->name, (void *)(uintptr_t)load->visible.count);
  }
}

/* A setting that is a call alone, such as the sampler `euler(steps = 35)`. */
static bool is_bare_call(const mvs_stmt *setting) {
  return setting->value->kind == MVS_EXPR_CALL &&
         setting->value->text_span.begin == setting->name_spans[0].begin;
}

/* Lays a file's settings over those of the files it uses: one of the same name replaces the
 * older one, and a bare call replaces an older bare call. */
static void merge_settings(loader *load, mvs_block *into, const mvs_block *newer) {
  mvs_table *names = mvs_table_new(load->session);
  mvs_block merged = {0};
  bool has_bare = false;
  for (size_t at = 0; at < newer->count; at++) {
    mvs_table_set(names, newer->items[at]->names[0], newer->items[at]);
    has_bare |= is_bare_call(newer->items[at]);
  }
  for (size_t at = 0; at < into->count; at++) {
    mvs_stmt *old = into->items[at];
    bool replaced = mvs_table_get(names, old->names[0]) || (has_bare && is_bare_call(old));
    if (!replaced) MVS_PUSH(load->session, &merged, old);
  }
  for (size_t at = 0; at < newer->count; at++)
    MVS_PUSH(load->session, &merged, newer->items[at]);
  *into = merged;
}

/* Settings of a file over those of the files that it uses. */
static void add_recipes(loader *load, const mvs_file *file) {
  if (file->has_train) merge_settings(load, &load->train, &file->train);
  if (file->has_sample) merge_settings(load, &load->sample, &file->sample);
  load->has_train |= file->has_train;
  load->has_sample |= file->has_sample;
}

/* The offer of a file with a model of its own: the outermost `with residual` applies to it. */
static offer own_model(const mvs_file *file, frame *frames) {
  offer own = {.file = file};
  for (frame *each = frames; each; each = each->outer) {
    if (!each->use->residual) continue;
    own.residual = each->use->residual;
    each->residual_used = true;
  }
  return own;
}

/* Of two used files only one may have a model, unless the user has its own. */
static void take_offer(loader *load, const visit *at, offer *best, offer next) {
  if (!next.file) return;
  if (best->file && !at->file->model_name) {
    mvs_diag_error(load->diag, at->use->path_span, "two used files have a model");
    mvs_diag_note(load->diag, best->file->model_span, "the other one is '%s'",
                  best->file->model_name);
    fail(load, MVS_ERR_NAME);
  }
  *best = next;
}

/* Files. */

/* `path` as seen from the file that names it. */
static const char *path_from(loader *load, const mvs_file *user, const char *path) {
  const char *slash = user ? strrchr(user->source->name, '/') : NULL;
  if (path[0] == '/' || !slash) return path;
  return mvs_arena_format(load->session, "%.*s/%s", (int)(slash - user->source->name),
                          user->source->name, path);
}

/* Finds a file on disk at `path` or, when there is none, in the library under the name that the
 * user of the file wrote; *key identifies it. */
static mvs_status read_source(loader *load, const char *path, const char *written,
                              mvs_span from, const mvs_source **source, const char **key) {
  char resolved[PATH_MAX];
  if (!realpath(path, resolved)) {
    *key = written;
    *source = mvs_library_find(load->session, written);
    if (*source) return MVS_OK;
    mvs_diag_error(load->diag, from, "cannot read '%s': %s", path, strerror(errno));
    return MVS_ERR_IO;
  }
  *key = mvs_arena_string(load->session, resolved);
  *source = NULL;
  if (mvs_table_get(load->files, *key)) return MVS_OK;
  mvs_source *read = NULL;
  mvs_status status =
      mvs_source_read(load->session, load->diag, path, MVS_MAX_SOURCE_BYTES, from, &read);
  *source = read;
  return status;
}

/* Whether the file is being visited already, with the way around as notes. */
static bool closes_cycle(loader *load, const visit *user, const char *key) {
  const visit *same = user;
  while (same && strcmp(same->key, key) != 0) same = same->user;
  if (!same) return false;
  mvs_diag_error(load->diag, user->use->path_span, "'%s' uses itself",
                 same->file->source->name);
  for (const visit *each = user; each != same; each = each->user)
    mvs_diag_note(load->diag, each->user->use->path_span, "'%s' is used here",
                  each->file->source->name);
  fail(load, MVS_ERR_NAME);
  return true;
}

static offer visit_file(loader *load, const visit *user, const char *path, mvs_span from,
                        frame *frames);

/* A file used before adds nothing; new overrides would come too late for it. */
static void check_reuse(loader *load, const visit *user) {
  const mvs_use *use = user->use;
  if (use->setting_count == 0 && !use->residual) return;
  mvs_diag_error(load->diag, use->span, "'%s' is already used elsewhere, its values stand",
                 use->path);
  mvs_diag_hint(load->diag, "give the values with its first `use`");
  fail(load, MVS_ERR_NAME);
}

/* Visits the used file under a frame of this use's overrides, then asks what became of them. */
static offer follow(loader *load, visit *user, const mvs_use *use) {
  user->use = use;
  frame *mine = MVS_NEW(load->session, frame);
  mine->use = use;
  mine->used = MVS_ARRAY(load->session, use->setting_count, bool);
  mine->outer = user->frames;
  size_t begin = load->unit->lets.count, errors = mvs_diag_errors(load->diag);
  const char *path = path_from(load, user->file, use->path);
  offer result = visit_file(load, user, path, use->path_span, mine);
  if (mvs_diag_errors(load->diag) == errors) check_frame(load, mine, begin);
  return result;
}

/* Visits the parts of a parsed file in the order in which they are written. */
static offer visit_parts(loader *load, visit *at) {
  const mvs_file *file = at->file;
  offer best = {0};
  size_t let = 0;
  for (size_t use = 0; use <= file->use_count; use++) {
    uint32_t end = use < file->use_count ? file->uses[use].span.begin : UINT32_MAX;
    for (; let < file->lets.count && file->lets.items[let]->span.begin < end; let++)
      place_let(load, at->frames, file->lets.items[let]);
    if (use < file->use_count) take_offer(load, at, &best, follow(load, at, &file->uses[use]));
  }
  add_definitions(load, file);
  add_recipes(load, file);
  return file->model_name ? own_model(file, at->frames) : best;
}

/* Finds, parses and visits one file. Gives back the model that it offers to its user. */
static offer visit_file(loader *load, const visit *user, const char *path, mvs_span from,
                        frame *frames) {
  offer none = {0};
  visit here = {.frames = frames, .user = user, .depth = user ? user->depth + 1 : 1};
  if (here.depth > MVS_MAX_NESTING) {
    mvs_diag_error(load->diag, from, "`use` nests more than %d deep", MVS_MAX_NESTING);
    fail(load, MVS_ERR_LIMIT);
    return none;
  }
  const mvs_source *source;
  mvs_file *file;
  const char *written = user ? user->use->path : path;
  mvs_status status = read_source(load, path, written, from, &source, &here.key);
  if (status == MVS_OK) {
    if (closes_cycle(load, user, here.key)) return none;
    if (mvs_table_get(load->files, here.key)) {
      check_reuse(load, user);
      return none;
    }
    status = mvs_parse(load->session, load->diag, source, &file);
  }
  if (status != MVS_OK) {
    fail(load, status);
    return none;
  }
  mvs_table_set(load->files, here.key, file);
  here.file = file;
  return visit_parts(load, &here);
}

/* The library's definitions come first, so that any file may replace them. It has no lets and
 * no model. */
static void add_library(loader *load) {
  const mvs_source *source;
  for (size_t at = 0; (source = mvs_library_at(load->session, at)); at++) {
    mvs_file *file;
    mvs_status status = mvs_parse(load->session, load->diag, source, &file);
    if (status == MVS_OK) {
      add_definitions(load, file);
    } else {
      fail(load, status);
    }
  }
}

/* The unit as a whole. */

/* Each --set must have found its let; a misspelt one would change nothing, unseen. */
static void check_overrides(loader *load) {
  for (size_t at = 0; at < load->override_count; at++) {
    const char *name = load->overrides[at].name;
    if (!name || load->override_used[at]) continue;
    /* "--set width" or "--vary width": how the command line called it. */
    mvs_diag_error(load->diag, (mvs_span){0}, "%s: the model has no `let` of that name",
                   load->overrides[at].value->span.source->name);
    const char *near = suggest_let(load, name, 0);
    if (near) mvs_diag_hint(load->diag, "did you mean '%s'?", near);
    fail(load, MVS_ERR_NAME);
  }
}

/* The rule that replaces the model's: the command line's, else the outermost `with`. */
static void take_residual(loader *load, mvs_expr *from_files) {
  mvs_unit *unit = load->unit;
  unit->residual = from_files;
  if (from_files) {
    int line, column;
    mvs_span_position(from_files->span, &line, &column);
    unit->residual_origin =
        mvs_arena_format(load->session, "%s:%d", from_files->span.source->name, line);
  }
  for (size_t at = 0; at < load->override_count; at++) {
    if (load->overrides[at].name) continue;
    unit->residual = load->overrides[at].value;
    unit->residual_origin = "command line";
  }
}

/* Completes the unit from the model that was found, or says that there is none. */
static void take_model(loader *load, const char *path, offer found) {
  mvs_unit *unit = load->unit;
  if (!found.file) {
    mvs_diag_error(load->diag, (mvs_span){0}, "'%s' has no model", path);
    mvs_diag_hint(load->diag, "write `model NAME { ... }`, or `use` a file that has one");
    fail(load, MVS_ERR_NAME);
    return;
  }
  unit->model_name = found.file->model_name;
  unit->model = &found.file->model;
  unit->train = load->has_train ? &load->train : NULL;
  unit->sample = load->has_sample ? &load->sample : NULL;
  unit->definitions = load->visible.items;
  unit->definition_count = load->visible.count;
  take_residual(load, found.residual);
}

/* Errors of the model as a whole (none at all, overrides that nothing took) are only looked for
 * when every file was read without one: they would mostly follow from it. */
mvs_status mvs_load_unit(mvs_arena *session, mvs_diag *diag, const char *path,
                         const mvs_override *overrides, size_t override_count, mvs_unit **out) {
  *out = NULL;
  loader *load = MVS_NEW(session, loader);
  load->session = session;
  load->diag = diag;
  load->overrides = overrides;
  load->override_count = override_count;
  load->override_used = MVS_ARRAY(session, override_count, bool);
  load->files = mvs_table_new(session);
  load->lets = mvs_table_new(session);
  load->layers = mvs_table_new(session);
  load->rules = mvs_table_new(session);
  load->unit = MVS_NEW(session, mvs_unit);
  add_library(load);
  offer found = visit_file(load, NULL, path, (mvs_span){0}, NULL);
  if (load->status == MVS_OK) take_model(load, path, found);
  if (load->status == MVS_OK) check_overrides(load);
  if (load->status == MVS_OK) *out = load->unit;
  return load->status;
}

size_t mvs_unit_specialisations(const mvs_unit *unit) {
  return unit->varied ? unit->varied->value->argument_count : 1;
}

const mvs_unit *mvs_unit_specialise(mvs_arena *session, const mvs_unit *unit, size_t index) {
  if (!unit->varied) return unit;
  mvs_unit *one = MVS_NEW(session, mvs_unit);
  *one = *unit;
  one->varied = NULL;
  one->lets = (mvs_block){0};
  for (size_t at = 0; at < unit->lets.count; at++) {
    mvs_stmt *let = unit->lets.items[at];
    if (let == unit->varied) {
      let = MVS_NEW(session, mvs_stmt);
      *let = *unit->varied;
      let->value = unit->varied->value->arguments[index].value;
    }
    MVS_PUSH(session, &one->lets, let);
  }
  return one;
}
