/* run_page.c: when a run's page is written again.
 *
 * A page takes some ten milliseconds, in which a step waits: so it is written at most every
 * LEAST_PAUSE seconds, and the pause is at least SHARE times what the last one took, which
 * bounds the cost at 1/SHARE however large the page. What the files said before is kept folded
 * (run_record.h), so neither memory nor time grow with the run's length. */
#include "runtime/run_page.h"

#include "runtime/progress.h"
#include "runtime/report.h"

#define FIRST_PAUSE 2
#define LEAST_PAUSE 10
#define SHARE       100

struct mvs_run_page {
  mvs_diag *diag;
  const char *path;
  mvs_run_record record;
  double next; /* when it is due */
};

/* Pictures may be others', half written or gone while they are read: what cannot be shown is
 * left out, and told at the end of the run, which it does not bring about. */
static mvs_status look_at_pictures(mvs_run_page *page, bool live) {
  if (!live) return mvs_run_record_pictures(&page->record);
  mvs_arena *scratch = mvs_arena_new();
  page->record.diag = mvs_diag_new(scratch);
  (void)mvs_run_record_pictures(&page->record);
  page->record.diag = page->diag;
  mvs_arena_free(scratch);
  return MVS_OK;
}

/* From the files as they stand now. */
static mvs_status write_page(mvs_run_page *page, const char *state, bool live) {
  mvs_run_record *record = &page->record;
  MVS_TRY(mvs_run_record_refresh(record));
  mvs_status pictures = look_at_pictures(page, live);
  mvs_report_run run = {.record = record,
                        .name = record->folder,
                        .rule = record->residual ? record->residual : record->folder,
                        .seed = mvs_run_record_option(record, "seed"),
                        .state = state ? state : mvs_report_state(record)};
  mvs_report report = {.title = record->model, .live = live, .runs = &run, .n_runs = 1};
  if (pictures == MVS_OK) return mvs_report_write(page->diag, page->path, &report);
  /* One sentence ends a run: where the page fails too, that of the pictures. */
  mvs_arena *scratch = mvs_arena_new();
  (void)mvs_report_write(mvs_diag_new(scratch), page->path, &report);
  mvs_arena_free(scratch);
  return pictures;
}

/* The step itself is in the files already. */
static mvs_status take(void *self, const mvs_observation *seen) {
  (void)seen;
  mvs_run_page *page = self;
  double begin = mvs_seconds();
  if (begin < page->next) return MVS_OK;
  MVS_TRY(write_page(page, "running", true));
  double end = mvs_seconds(), pause = SHARE * (end - begin);
  page->next = end + (pause > LEAST_PAUSE ? pause : LEAST_PAUSE);
  return MVS_OK;
}

/* A run that fails in its first seconds is shown by mvs_run_page_end. */
mvs_status mvs_run_page_open(mvs_arena *arena, mvs_diag *diag, const char *folder,
                             mvs_consumers *list, mvs_run_page **out) {
  mvs_run_page *page = MVS_NEW(arena, mvs_run_page);
  *page = (mvs_run_page){.diag = diag, .next = mvs_seconds() + FIRST_PAUSE};
  page->path = mvs_arena_format(arena, "%s/report.html", folder);
  MVS_TRY(mvs_run_record_open(arena, diag, folder, &page->record));
  mvs_consumers_add(arena, list, &(mvs_consumer){.self = page, .take = take});
  *out = page;
  return MVS_OK;
}

/* From then on the page does not load itself anew. */
mvs_status mvs_run_page_end(mvs_run_page *page, mvs_diag *diag, const char *state) {
  if (!page) return MVS_OK;
  page->diag = page->record.diag = diag;
  mvs_status status = write_page(page, state, false);
  mvs_run_record_close(&page->record);
  return status;
}
