/* command_report.c: the page over runs that are there already. */
#include <stdio.h>

#include "compiler/base/output_file.h"
#include "runtime/commands.h"
#include "runtime/report.h"

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))
#define MOST_RUNS   200

static const mvs_option_row report_rows[] = {
    {"folders", MVS_OPTION_OPERANDS, "DIR...", 1, MOST_RUNS, "folders of runs"},
    {"out", MVS_OPTION_TEXT, "FILE", 0, 0, "the page (default: report.html in the first DIR)"},
    {"title", MVS_OPTION_TEXT, "TEXT", 0, 0, "its title (default: the model's name)"},
};

/* What is read is the runs' own; the program adds nothing but the page. */
static void rows(mvs_session *session, mvs_option_rows *list) {
  mvs_rows_add(session->arena, list, report_rows, COUNT(report_rows));
}

/* --- names --- */

/* Options that decide what a run comes to, its seed apart. */
static const char *const deciding[] = {"data", "fixed-batch", "weights", "batch",
                                       "lr",   "betas",       "eps",     "weight-decay",
                                       "clip", "warmup",      "ema"};

static const char *value_of(const mvs_run_settings *list, const char *name) {
  for (size_t at = 0; at < list->count; at++)
    if (strcmp(list->items[at].name, name) == 0) return list->items[at].value;
  return NULL;
}

static const char *rule_of(const mvs_run_record *record) {
  return record->residual ? record->residual : record->folder;
}

/* Whether runs of the rule of `own` differ in a value; NULL is a value of its own, but where a
 * record of an older version has no settings at all. */
static bool differs(const mvs_run_record *records, size_t count, const mvs_run_record *own,
                    const char *name, bool setting) {
  const char *mine = value_of(setting ? &own->settings : &own->options, name);
  for (size_t at = 0; at < count; at++) {
    const mvs_run_record *other = &records[at];
    const char *value = value_of(setting ? &other->settings : &other->options, name);
    if (strcmp(rule_of(other), rule_of(own)) != 0) continue;
    if (setting && other->settings.count == 0) continue;
    if ((mine && value) ? strcmp(mine, value) != 0 : mine != value) return true;
  }
  return false;
}

/* "mvsplit(), width = 32": the rule, and what tells this run from others of it but the seed.
 * How samples are drawn tells nothing of the training. */
static const char *full_name(mvs_arena *arena, const mvs_run_record *records, size_t count,
                             const mvs_run_record *own) {
  mvs_text out = mvs_text_new(arena);
  mvs_text_add(&out, rule_of(own));
  for (size_t at = 0; at < own->settings.count; at++) {
    const mvs_run_setting *each = &own->settings.items[at];
    bool let = strncmp(each->name, "let ", 4) == 0;
    if (strncmp(each->name, "sample ", 7) == 0) continue;
    if (differs(records, count, own, each->name, true))
      mvs_text_addf(&out, ", %s = %s", each->name + (let ? 4 : 0), each->value);
  }
  for (size_t at = 0; at < COUNT(deciding); at++) {
    const char *value = value_of(&own->options, deciding[at]);
    if (value && differs(records, count, own, deciding[at], false))
      mvs_text_addf(&out, ", --%s %s", deciding[at], value);
  }
  return mvs_text_string(&out);
}

/* --- the page --- */

static mvs_status read_run(mvs_session *session, const char *folder, mvs_run_record *out) {
  MVS_TRY(mvs_run_record_open(session->arena, session->diag, folder, out));
  MVS_TRY(mvs_run_record_refresh(out));
  return mvs_run_record_pictures(out);
}

/* Runs are told apart by their rule with its settings, and by their seed, as `mvcc compare`
 * does. */
static mvs_status write_page(mvs_session *session, const mvs_run_record *records, size_t count,
                             const char *out) {
  mvs_report_run *runs = MVS_ARRAY(session->arena, count, mvs_report_run);
  bool settings = false;
  for (size_t at = 0; at < count; at++) {
    const mvs_run_record *record = &records[at];
    runs[at] = (mvs_report_run){.record = record,
                                .name = record->folder,
                                .rule = full_name(session->arena, records, count, record),
                                .seed = mvs_run_record_option(record, "seed"),
                                .state = mvs_report_state(record)};
    settings = settings || strcmp(runs[at].rule, rule_of(record)) != 0;
  }
  mvs_report report = {.title = mvs_option_text(session->options, "title", records[0].model),
                       .noun = settings ? "configuration" : NULL,
                       .runs = runs,
                       .n_runs = count};
  return mvs_report_write(session->diag, out, &report);
}

/* All runs are read before the page is begun. */
static mvs_status run_command(mvs_session *session) {
  size_t count;
  const char *const *folders = mvs_option_operands(session->options, &count);
  mvs_run_record *records = MVS_ARRAY(session->arena, count, mvs_run_record);
  const char *out = mvs_option_text(
      session->options, "out", mvs_arena_format(session->arena, "%s/report.html", folders[0]));
  mvs_status status = MVS_OK;
  for (size_t at = 0; at < count && status == MVS_OK; at++)
    status = read_run(session, folders[at], &records[at]);
  if (status == MVS_OK) status = write_page(session, records, count, out);
  for (size_t at = 0; at < count; at++) mvs_run_record_close(&records[at]);
  if (status == MVS_OK) printf("wrote %s\n", out);
  return status;
}

const mvs_command mvs_command_report = {
    "report", "Writes one HTML page over runs that are there already.", rows, run_command};
