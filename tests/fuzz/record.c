/* record.c: the files of a run that `report`, `watch` and `compare` read. An input is four
 * files, with a byte 0 between them: run.json, metrics, diagnostics, alarms. */
#include "runtime/report.h"
#include "tests/fuzz/fuzz.h"

static void split(const uint8_t *data, size_t size) {
  static const char *const names[] = {"run.json", "metrics.jsonl", "diagnostics.jsonl",
                                      "alarms.jsonl"};
  for (size_t at = 0; at < sizeof names / sizeof *names; at++) {
    const uint8_t *end =
        size && at + 1 < sizeof names / sizeof *names ? memchr(data, 0, size) : NULL;
    size_t length = end ? (size_t)(end - data) : size;
    fuzz_file(names[at], data ? (const void *)data : "", length);
    size_t taken = end ? length + 1 : length;
    data += taken;
    size -= taken;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  mvs_run_record record;
  split(data, size);
  mvs_status status = mvs_run_record_open(arena, diag, fuzz_folder(), &record);
  if (status == MVS_OK) status = mvs_run_record_refresh(&record);
  if (status == MVS_OK) {
    mvs_text page = mvs_text_new(arena);
    mvs_report_run run = {.record = &record, .name = "run", .state = mvs_report_state(&record)};
    mvs_report_data(&page, &(mvs_report){.title = "t", .runs = &run, .n_runs = 1});
  }
  fuzz_judge(status, diag);
  mvs_arena_free(arena);
  return 0;
}
