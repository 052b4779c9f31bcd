/* watch_run.c: alarms of a run to its folder. */
#include "runtime/watch_run.h"

#include <inttypes.h>
#include <unistd.h>

#include "compiler/base/output_file.h"
#include "runtime/autopsy.h"
#include "runtime/params.h"

#define ALARMS_FILE "alarms.jsonl"
/* A run of months whose norms have heavy tails notes thousands of outliers. */
#define MOST_AUTOPSIES 100

/* Each family once, however many sites share it. */
static void add_family(mvs_arena *arena, const mvs_program *program, int32_t param,
                       const char **list, size_t *count) {
  if (param < 0) return;
  const char *family = mvs_param_family(arena, program->params[param]);
  for (size_t at = 0; at < *count; at++)
    if (strcmp(list[at], family) == 0) return;
  list[(*count)++] = family;
}

mvs_watch_roles mvs_watch_program_roles(mvs_arena *arena, const mvs_program *program) {
  mvs_watch_roles roles = {.writers = MVS_ARRAY(arena, program->n_sites + 1, const char *),
                           .readers = MVS_ARRAY(arena, 2 * program->n_sites + 1, const char *)};
  for (size_t at = 0; at < program->n_sites; at++) {
    const Mvs__Site *site = program->sites[at];
    add_family(arena, program, site->weight, roles.writers, &roles.n_writers);
    add_family(arena, program, site->query, roles.readers, &roles.n_readers);
    add_family(arena, program, site->key, roles.readers, &roles.n_readers);
  }
  return roles;
}

struct mvs_watch_run {
  mvs_session *session;
  mvs_watch_roles roles;
  mvs_arena *arena; /* of the watch: ends when it starts anew */
  mvs_watch *watch;
  mvs_arena *words; /* of the alarms of the step seen last */
  mvs_alarms alarms;
  size_t asked;        /* alarms that were asked for */
  mvs_autopsy *memory; /* of the newest gradients */
  mvs_text autopsy;    /* of the step seen last; without a home: there is none */
  int autopsies;       /* written by this process */
  const char *folder;
  mvs_step_lines lines;
};

/* --- lines --- */

/* Opened with the first line: most runs have none. again : also behind its like */
static mvs_status add_line(mvs_watch_run *run, const mvs_alarm *alarm, bool again) {
  mvs_step_lines *lines = &run->lines;
  bool there = false;
  if (!lines->open)
    MVS_TRY(
        mvs_step_lines_open(run->session->arena, lines->diag, lines->path, alarm->step, lines));
  mvs_arena *arena = mvs_arena_new();
  mvs_text line = mvs_text_new(arena);
  mvs_alarm_line(alarm, &line);
  mvs_status status = MVS_OK;
  if (!again) status = mvs_step_lines_end(lines, mvs_text_string(&line), &there);
  if (status == MVS_OK && !there) status = mvs_step_lines_add(lines, &line);
  mvs_arena_free(arena);
  return status;
}

mvs_status mvs_watch_run_add(mvs_watch_run *run, const mvs_alarm *alarm) {
  return add_line(run, alarm, false);
}

/* --- the consumer --- */

static mvs_status take(void *self, const mvs_observation *seen) {
  mvs_watch_run *run = self;
  mvs_arena_free(run->words);
  run->words = mvs_arena_new();
  run->alarms = (mvs_alarms){0}, run->asked = 0, run->autopsy = (mvs_text){0};
  mvs_autopsy_take(run->memory, seen);
  mvs_watch_take(run->watch, run->words, seen, &run->alarms);
  for (size_t at = 0; at < run->alarms.count; at++)
    MVS_TRY(add_line(run, &run->alarms.items[at], true));
  if (run->alarms.count == 0 || run->autopsies >= MOST_AUTOPSIES) return MVS_OK;
  run->autopsies++;
  run->autopsy = mvs_text_new(run->words);
  mvs_autopsy_write(run->memory, seen, &run->autopsy);
  return MVS_OK;
}

static mvs_status go_back(void *self, int64_t step) {
  mvs_watch_run *run = self;
  mvs_autopsy_forget(run->memory);
  return run->lines.open ? mvs_step_lines_rewind(&run->lines, step) : MVS_OK;
}

static mvs_status sync_lines(void *self) {
  return mvs_step_lines_sync(&((mvs_watch_run *)self)->lines);
}

static void end(void *self) {
  mvs_watch_run *run = self;
  mvs_step_lines_close(&run->lines);
  mvs_arena_free(run->words);
  mvs_arena_free(run->arena);
  run->words = run->arena = NULL;
}

static void start_watch(mvs_watch_run *run) {
  mvs_arena_free(run->arena);
  run->arena = mvs_arena_new();
  run->watch = mvs_watch_new(run->arena, &run->roles);
}

mvs_status mvs_watch_run_open(mvs_session *session, const char *folder, int64_t after,
                              mvs_consumers *list, mvs_watch_run **out) {
  mvs_watch_run *run = MVS_NEW(session->arena, mvs_watch_run);
  const char *path = mvs_arena_format(session->arena, "%s/" ALARMS_FILE, folder);
  *run = (mvs_watch_run){.session = session,
                         .folder = mvs_arena_string(session->arena, folder),
                         .memory = mvs_autopsy_new(session->arena),
                         .roles = mvs_watch_program_roles(session->arena, session->program),
                         .lines = {.diag = session->diag, .path = path}};
  start_watch(run);
  mvs_consumers_add(session->arena, list, &(mvs_consumer){run, take, go_back, sync_lines, end});
  *out = run;
  if (access(path, F_OK) != 0) return MVS_OK;
  return mvs_step_lines_open(session->arena, session->diag, path, after, &run->lines);
}

/* --- what the loop asks --- */

const mvs_alarm *mvs_watch_run_next(mvs_watch_run *run) {
  return run->asked < run->alarms.count ? &run->alarms.items[run->asked++] : NULL;
}

const char *mvs_watch_run_fell(const mvs_watch_run *run) {
  for (size_t at = 0; at < run->alarms.count; at++)
    if (run->alarms.items[at].level == MVS_ALARM_COLLAPSE) return run->alarms.items[at].text;
  return NULL;
}

mvs_text *mvs_watch_run_autopsy(mvs_watch_run *run) {
  return run->autopsy.home ? &run->autopsy : NULL;
}

mvs_status mvs_watch_run_write(mvs_watch_run *run) {
  mvs_text whole = mvs_text_new(run->words);
  for (size_t at = 0; at < run->alarms.count; at++)
    mvs_text_addf(&whole, "%s\n", run->alarms.items[at].text);
  mvs_text_add(&whole, mvs_text_string(&run->autopsy));
  const char *path = mvs_arena_format(run->words, "%s/autopsy-%" PRId64 ".txt", run->folder,
                                      run->alarms.items[0].step);
  return mvs_output_write(run->words, run->session->diag, path, whole.data,
                          (int64_t)whole.length);
}

const mvs_watch *mvs_watch_run_watch(const mvs_watch_run *run) { return run->watch; }

const char *mvs_watch_run_state(const mvs_watch_run *run, mvs_arena *arena) {
  mvs_text text = mvs_text_new(arena);
  mvs_watch_save(run->watch, &text);
  return mvs_text_string(&text);
}

mvs_status mvs_watch_run_restore(mvs_watch_run *run, const char *state, const char **note) {
  *note = NULL;
  run->alarms = (mvs_alarms){0}, run->asked = 0;
  start_watch(run);
  if (state && !mvs_watch_load(run->watch, state))
    *note = "what the watch knew cannot be read from the checkpoint, so it begins anew";
  return MVS_OK;
}
