/* params.c: parameters by the names they have in checkpoints.
 *
 * The program holds one entry per parameter of a stack, "blocks.{i}.ffn.w2.weight" with its
 * number of layers; files hold one tensor per layer. The list here is the files' view, with
 * each tensor's place in the flat buffers. A thousand layers make tens of thousands of
 * names, so they are sorted once and found by halving. */
#include "runtime/params.h"

#include <inttypes.h>
#include <stdlib.h>

/* Of pointers to entries. */
static int by_name(const void *left, const void *right) {
  const mvs_param_entry *const *a = left, *const *b = right;
  return strcmp((*a)->name, (*b)->name);
}

/* Puts the layer's number in the place of "{i}". */
static const char *expand(mvs_arena *arena, const char *name, int64_t layer) {
  const char *mark = strstr(name, "{i}");
  if (!mark) return name;
  return mvs_arena_format(arena, "%.*s%" PRId64 "%s", (int)(mark - name), name, layer,
                          mark + 3);
}

/* 0 in the program means: not in a stack. */
static int64_t layers_of(const Mvs__Param *param) { return param->layers ? param->layers : 1; }

/* `{i}` stands at most once in a name. */
mvs_param_list *mvs_params_list(mvs_arena *arena, const mvs_program *program) {
  mvs_param_list *list = MVS_NEW(arena, mvs_param_list);
  size_t total = 0;
  for (size_t at = 0; at < program->n_params; at++)
    total += (size_t)layers_of(program->params[at]);
  list->entries = MVS_ARRAY(arena, total, mvs_param_entry);
  list->by_name = MVS_ARRAY(arena, total, const mvs_param_entry *);
  for (size_t at = 0; at < program->n_params; at++) {
    const Mvs__Param *param = program->params[at];
    for (int64_t layer = 0; layer < layers_of(param); layer++) {
      mvs_param_entry *entry = &list->entries[list->count];
      list->by_name[list->count++] = entry;
      *entry = (mvs_param_entry){.name = expand(arena, param->name, layer),
                                 .param = param,
                                 .offset = param->offset + layer * param->stride};
    }
  }
  if (list->count) qsort(list->by_name, list->count, sizeof *list->by_name, by_name);
  return list;
}

/* NULL for names of no parameter, such as a checkpoint's ema/ ones. */
const mvs_param_entry *mvs_params_find(const mvs_param_list *list, const char *name) {
  mvs_param_entry key = {.name = name};
  const mvs_param_entry *wanted = &key;
  if (!list->count) return NULL;
  const mvs_param_entry **found =
      bsearch(&wanted, list->by_name, list->count, sizeof *list->by_name, by_name);
  return found ? *found : NULL;
}

/* Constants are not counted: no one trains them. */
int64_t mvs_params_trained(const mvs_program *program) {
  int64_t total = 0;
  for (size_t at = 0; at < program->n_params; at++) {
    const Mvs__Param *param = program->params[at];
    if (param->trained) total += layers_of(param) * param->elements;
  }
  return total;
}

const char *mvs_param_family(mvs_arena *arena, const Mvs__Param *param) {
  mvs_text text = mvs_text_new(arena);
  const char *end = strrchr(param->name, '.');
  for (const char *at = param->name; *at && at != end; at++) {
    if (strncmp(at, "{i}.", 4) == 0) at += 4;
    mvs_text_addf(&text, "%c", *at);
  }
  return mvs_text_string(&text);
}
