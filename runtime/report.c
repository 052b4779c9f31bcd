/* report.c: the page: its parts, put together.
 *
 * page.html names in marks where style, scripts and data go. A script ends where a browser
 * finds "</script", also within a string, so no '<' goes into the data as it is: JSON's own
 * \u003c says the same. */
#include "runtime/report.h"

#include <stdlib.h>

#include "compiler/base/output_file.h"
#include "runtime/fail.h"

/* Written at build time (cmake/embed.cmake) from runtime/report/. */
extern const struct {
  const char *name;
  const unsigned char *data;
  unsigned long size;
} mvs_report_parts[];

/* Adds the parts whose names end so, in the order of CMakeLists.txt. */
static void add_parts(mvs_text *page, const char *ending) {
  for (size_t at = 0; mvs_report_parts[at].name; at++) {
    const char *dot = strrchr(mvs_report_parts[at].name, '.');
    if (strcmp(dot, ending) != 0) continue;
    mvs_text_add_bytes(page, (const char *)mvs_report_parts[at].data,
                       mvs_report_parts[at].size);
  }
}

/* Between what may stand as it is, one by one. */
static void add_data(mvs_text *page, const mvs_report *report) {
  mvs_text data = mvs_text_new(page->home);
  mvs_report_data(&data, report);
  for (const char *at = mvs_text_string(&data); *at;) {
    size_t plain = strcspn(at, "<");
    mvs_text_add_bytes(page, at, plain);
    at += plain;
    if (*at) mvs_text_add(page, "\\u003c"), at++;
  }
}

/* The frame with every mark replaced by what it stands for. */
static void compose(mvs_text *page, const mvs_report *report) {
  mvs_text frame = mvs_text_new(page->home);
  add_parts(&frame, ".html");
  const char *at = mvs_text_string(&frame);
  while (*at) {
    size_t plain = strcspn(at, "@");
    mvs_text_add_bytes(page, at, plain);
    at += plain;
    if (strncmp(at, "@style@", 7) == 0) {
      add_parts(page, ".css"), at += 7;
    } else if (strncmp(at, "@script@", 8) == 0) {
      add_parts(page, ".js"), at += 8;
    } else if (strncmp(at, "@data@", 6) == 0) {
      add_data(page, report), at += 6;
    } else if (*at) {
      mvs_text_add_bytes(page, at++, 1);
    }
  }
}

/* A page is made many times in a run: all but the file goes when it is written. */
mvs_status mvs_report_write(mvs_diag *diag, const char *path, const mvs_report *report) {
  mvs_arena *scratch = mvs_arena_new();
  mvs_text page = mvs_text_new(scratch);
  compose(&page, report);
  mvs_status status =
      mvs_output_write(scratch, diag, path, mvs_text_string(&page), (int64_t)page.length);
  mvs_arena_free(scratch);
  return status;
}

/* A run that still goes on cannot be told from one that was killed. */
const char *mvs_report_state(const mvs_run_record *record) {
  const char *wanted = mvs_run_record_option(record, "steps");
  if (record->bad_rows) return "diverged";
  return wanted && record->steps >= strtoll(wanted, NULL, 10) ? "done" : "unfinished";
}
