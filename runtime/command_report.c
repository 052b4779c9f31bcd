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

/* Runs are told apart by their rule and seed, as `mvcc compare` does. */
static mvs_status read_run(mvs_session *session, const char *folder, mvs_report_run *out) {
  mvs_run_record *record = MVS_NEW(session->arena, mvs_run_record);
  MVS_TRY(mvs_run_record_open(session->arena, session->diag, folder, record));
  MVS_TRY(mvs_run_record_refresh(record));
  MVS_TRY(mvs_run_record_pictures(record));
  *out = (mvs_report_run){.record = record,
                          .name = folder,
                          .rule = record->residual ? record->residual : folder,
                          .seed = mvs_run_record_option(record, "seed"),
                          .state = mvs_report_state(record)};
  return MVS_OK;
}

/* All runs are read before the page is begun. */
static mvs_status run_command(mvs_session *session) {
  size_t count;
  const char *const *folders = mvs_option_operands(session->options, &count);
  mvs_report_run *runs = MVS_ARRAY(session->arena, count, mvs_report_run);
  for (size_t at = 0; at < count; at++) MVS_TRY(read_run(session, folders[at], &runs[at]));
  const char *out = mvs_option_text(
      session->options, "out", mvs_arena_format(session->arena, "%s/report.html", folders[0]));
  const char *model = runs[0].record->model;
  mvs_report report = {.title = mvs_option_text(session->options, "title", model),
                       .runs = runs,
                       .n_runs = count};
  MVS_TRY(mvs_report_write(session->diag, out, &report));
  printf("wrote %s\n", out);
  return MVS_OK;
}

const mvs_command mvs_command_report = {
    "report", "Writes one HTML page over runs that are there already.", rows, run_command};
