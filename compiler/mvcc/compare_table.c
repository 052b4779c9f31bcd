/* compare_table.c: what a comparison found, for people, for programs and as a page. Figures of
 * a rule are medians over its seeds, with the least and the most beside the loss. */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "compiler/base/output_file.h"
#include "compiler/mvcc/compare.h"
#include "runtime/median.h"
#include "runtime/session.h"

/* --- figures of a rule --- */

typedef enum figure { LAST_LOSS, NORM, MOST_NORM, SECONDS, FIGURES } figure;

typedef struct rule_figures {
  struct {
    double median, least, most;
  } of[FIGURES];
  int64_t parameters, memory_bytes; /* below 0: not known */
  int64_t ended, collapsed, diverged, failed, other, first_collapse;
} rule_figures;

/* As runs tell them. */
static double figure_of(const mvs_run_figures *figures, figure which) {
  switch (which) {
    case LAST_LOSS:
      return figures->last_loss;
    case NORM:
      return figures->norm;
    case MOST_NORM:
      return figures->most_norm;
    default:
      return figures->seconds;
  }
}

/* Over the seeds that have it; one that failed early has none. */
static void find_figure(const mvs_comparison *all, const mvs_compared_rule *rule, figure which,
                        rule_figures *out) {
  double *values = MVS_ARRAY(all->driver->session, all->n_runs, double);
  size_t count = 0;
  for (size_t at = 0; at < all->n_runs; at++) {
    const mvs_compared_run *run = &all->runs[at];
    if (run->rule != rule || !run->record) continue;
    mvs_run_figures figures = mvs_run_record_figures(run->record);
    double value = figure_of(&figures, which);
    if (isfinite(value)) values[count++] = value;
  }
  out->of[which].median = mvs_median(values, count); /* they are sorted then */
  out->of[which].least = count ? values[0] : NAN;
  out->of[which].most = count ? values[count - 1] : NAN;
}

/* A run that went on after its collapse counts as collapsed: it did what it was asked. */
static void count_outcome(const mvs_compared_run *run, rule_figures *out) {
  mvs_run_figures figures = {0};
  if (run->record) figures = mvs_run_record_figures(run->record);
  if (strcmp(run->state, "diverged") == 0) {
    out->diverged++;
  } else if (run->failed) {
    out->failed++;
  } else if (figures.collapse) {
    out->collapsed++;
    if (out->first_collapse < 0 || figures.collapse->step < out->first_collapse)
      out->first_collapse = figures.collapse->step;
  } else if (strcmp(run->state, "done") == 0) {
    out->ended++;
  } else {
    out->other++;
  }
}

/* Parameters and memory are the same for all seeds. */
static rule_figures figures_of(const mvs_comparison *all, const mvs_compared_rule *rule) {
  rule_figures out = {.parameters = -1, .memory_bytes = -1, .first_collapse = -1};
  for (int which = 0; which < FIGURES; which++) find_figure(all, rule, (figure)which, &out);
  for (size_t at = 0; at < all->n_runs; at++) {
    const mvs_compared_run *run = &all->runs[at];
    if (run->rule != rule) continue;
    count_outcome(run, &out);
    if (!run->record) continue;
    out.parameters = run->record->parameters;
    out.memory_bytes = run->record->memory_bytes;
  }
  return out;
}

/* --- the table --- */

/* Behind what tells rules apart. */
enum { OUTCOME, LOSS, RANGE, GRADIENT, LARGEST, TIME, MEMORY, PARAMETERS, COLUMNS };
static const char *const titles[COLUMNS] = {"outcome",       "loss",      "over seeds",
                                            "gradient norm", "largest",   "time a step",
                                            "memory",        "parameters"};

/* What is not known is a dash. */
static const char *number_text(mvs_arena *arena, double value) {
  return isfinite(value) ? mvs_arena_format(arena, "%.4g", value) : "-";
}

/* Three digits: a time is not known better. */
static const char *time_text(mvs_arena *arena, double seconds) {
  if (!isfinite(seconds)) return "-";
  return seconds < 1 ? mvs_arena_format(arena, "%.3g ms", 1e3 * seconds)
                     : mvs_arena_format(arena, "%.3g s", seconds);
}

/* "collapsed 2/3"; of a single seed the word alone. */
static void add_outcome(mvs_text *out, const char *word, int64_t count, int64_t of) {
  if (!count) return;
  mvs_text_addf(out, "%s%s", out->length ? ", " : "", word);
  if (of > 1) mvs_text_addf(out, " %" PRId64 "/%" PRId64, count, of);
}

/* Seeds may differ in what became of them. */
static const char *outcome_text(const mvs_comparison *all, const rule_figures *figures) {
  mvs_text out = mvs_text_new(all->driver->session);
  add_outcome(&out, "done", figures->ended, all->n_seeds);
  add_outcome(&out, "collapsed", figures->collapsed, all->n_seeds);
  if (figures->collapsed) mvs_text_addf(&out, " at %" PRId64, figures->first_collapse);
  add_outcome(&out, "diverged", figures->diverged, all->n_seeds);
  add_outcome(&out, "failed", figures->failed, all->n_seeds);
  add_outcome(&out, "stopped", figures->other, all->n_seeds);
  return mvs_text_string(&out);
}

/* Columns that name a rule: the residual line and each let, where they are varied. */
static size_t name_columns(const mvs_comparison *all) {
  return all->n_varied ? all->n_varied : 1;
}

/* The line above all others. */
static void fill_titles(const mvs_comparison *all, const char **row) {
  size_t names = name_columns(all);
  for (size_t at = 0; at < names; at++)
    row[at] = all->n_varied && all->varied[at] ? all->varied[at] : "rule";
  memcpy(row + names, titles, sizeof titles);
}

/* One rule as words. */
static void fill_row(const mvs_comparison *all, const mvs_compared_rule *rule,
                     const char **row) {
  mvs_arena *arena = all->driver->session;
  rule_figures figures = figures_of(all, rule);
  row[0] = rule->name;
  for (size_t at = 0; at < all->n_varied; at++) row[at] = rule->values[at];
  row += name_columns(all);
  row[OUTCOME] = outcome_text(all, &figures);
  row[LOSS] = number_text(arena, figures.of[LAST_LOSS].median);
  row[RANGE] =
      mvs_arena_format(arena, "%s..%s", number_text(arena, figures.of[LAST_LOSS].least),
                       number_text(arena, figures.of[LAST_LOSS].most));
  row[GRADIENT] = number_text(arena, figures.of[NORM].median);
  row[LARGEST] = number_text(arena, figures.of[MOST_NORM].most);
  row[TIME] = time_text(arena, figures.of[SECONDS].median);
  row[MEMORY] = figures.memory_bytes < 0 ? "-" : mvs_bytes_text(arena, figures.memory_bytes);
  row[PARAMETERS] = figures.parameters < 0 ? "-" : mvs_count_text(arena, figures.parameters);
}

/* What names a rule and its outcome are words and stand to the left, numbers to the right. */
static void put_row(const mvs_comparison *all, mvs_text *out, const char *const *row,
                    const size_t *widths) {
  size_t names = name_columns(all);
  for (size_t column = 0; column < names + COLUMNS; column++) {
    if (column == names + RANGE && all->n_seeds < 2) continue;
    size_t pad = widths[column] - strlen(row[column]);
    bool left = column <= names + OUTCOME;
    if (column) mvs_text_add(out, "  ");
    for (size_t at = 0; !left && at < pad; at++) mvs_text_add(out, " ");
    mvs_text_add(out, row[column]);
    for (size_t at = 0; left && at < pad; at++) mvs_text_add(out, " ");
  }
  mvs_text_add(out, "\n");
}

/* As wide as its words, since it may be pasted anywhere. */
void mvs_compare_table(const mvs_comparison *all, mvs_text *out) {
  mvs_arena *arena = all->driver->session;
  size_t columns = name_columns(all) + COLUMNS;
  size_t *widths = MVS_ARRAY(arena, columns, size_t);
  const char ***rows = MVS_ARRAY(arena, all->n_rules + 1, const char **);
  for (size_t at = 0; at <= all->n_rules; at++) {
    rows[at] = MVS_ARRAY(arena, columns, const char *);
    if (at == 0) {
      fill_titles(all, rows[at]);
    } else {
      fill_row(all, &all->rules[at - 1], rows[at]);
    }
    for (size_t column = 0; column < columns; column++)
      if (strlen(rows[at][column]) > widths[column]) widths[column] = strlen(rows[at][column]);
  }
  for (size_t at = 0; at <= all->n_rules; at++) put_row(all, out, rows[at], widths);
  mvs_text_add(out, "loss and gradient norm: means over the last tenth of the steps");
  mvs_text_add(out, all->n_seeds > 1 ? ", medians over seeds\n" : "\n");
}

/* --- compare.json --- */

/* JSON has no NaN. */
static json_t *real(double value) { return isfinite(value) ? json_real(value) : json_null(); }
/* Below 0 is not known. */
static json_t *count(int64_t value) { return value < 0 ? json_null() : json_integer(value); }

/* The figures of the page, by the same names where it has them. */
static json_t *run_json(const mvs_compared_run *run) {
  json_t *out = json_pack("{s:s, s:s, s:s, s:s?}", "seed", run->seed, "folder", run->folder,
                          "state", run->state, "note", run->note);
  if (!out || !run->record) return out;
  mvs_run_figures figures = mvs_run_record_figures(run->record);
  json_object_set_new(out, "steps", json_integer(run->record->steps));
  json_object_set_new(out, "first_loss", real(figures.first_loss));
  json_object_set_new(out, "last_loss", real(figures.last_loss));
  json_object_set_new(out, "grad_norm", real(figures.norm));
  json_object_set_new(out, "largest_grad_norm", real(figures.most_norm));
  json_object_set_new(out, "seconds_per_step", real(figures.seconds));
  json_object_set_new(out, "notes", json_integer(figures.alarms[MVS_ALARM_NOTE]));
  json_object_set_new(out, "warnings", json_integer(figures.alarms[MVS_ALARM_WARNING]));
  json_object_set_new(out, "collapse_step",
                      figures.collapse ? json_integer(figures.collapse->step) : json_null());
  json_object_set_new(out, "diverged_step", count(run->record->first_bad));
  return out;
}

/* What was varied, by name. */
static json_t *varied_json(const mvs_comparison *all, const mvs_compared_rule *rule) {
  json_t *out = json_object();
  for (size_t at = 0; at < all->n_varied; at++)
    json_object_set_new(out, all->varied[at] ? all->varied[at] : "residual",
                        json_string(rule->values[at]));
  return out;
}

/* A rule with all its seeds. */
static json_t *rule_json(const mvs_comparison *all, const mvs_compared_rule *rule) {
  rule_figures figures = figures_of(all, rule);
  json_t *runs = json_array();
  for (size_t at = 0; at < all->n_runs; at++)
    if (all->runs[at].rule == rule) json_array_append_new(runs, run_json(&all->runs[at]));
  return json_pack("{s:s, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "rule",
                   rule->name, "varied", varied_json(all, rule), "folder", rule->folder,
                   "parameters", count(figures.parameters), "memory_bytes",
                   count(figures.memory_bytes), "last_loss", real(figures.of[LAST_LOSS].median),
                   "last_loss_least", real(figures.of[LAST_LOSS].least), "last_loss_most",
                   real(figures.of[LAST_LOSS].most), "grad_norm", real(figures.of[NORM].median),
                   "seconds_per_step", real(figures.of[SECONDS].median), "runs", runs);
}

/* Nine digits, as in metrics.jsonl. */
mvs_status mvs_compare_json(const mvs_comparison *all) {
  mvs_driver *driver = all->driver;
  json_t *rules = json_array(), *command = json_array();
  for (size_t at = 0; at < all->n_rules; at++)
    json_array_append_new(rules, rule_json(all, &all->rules[at]));
  for (int at = 0; at < driver->options->rest_count; at++)
    json_array_append_new(command, json_string(driver->options->rest[at]));
  json_t *root =
      json_pack("{s:s, s:s, s:o, s:I, s:I, s:o}", "version", MVCC_VERSION, "file",
                driver->options->input, "command", command, "seeds", (json_int_t)all->n_seeds,
                "jobs", (json_int_t)all->jobs, "rules", rules);
  char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
  mvs_status status = MVS_ERR_MEMORY;
  if (text) {
    const char *path = mvs_arena_format(driver->session, "%s/compare.json", all->folder);
    status = mvs_output_write(driver->session, driver->diag, path, text, (int64_t)strlen(text));
  } else {
    mvs_diag_error(driver->diag, (mvs_span){0}, "out of memory writing compare.json");
  }
  free(text);
  json_decref(root);
  return status;
}

/* --- the page --- */

/* Times of runs that shared the machine are not those of runs alone: the page says so. */
mvs_status mvs_compare_page(const mvs_comparison *all, bool live) {
  mvs_driver *driver = all->driver;
  mvs_arena *scratch = mvs_arena_new();
  mvs_report_run *runs = MVS_ARRAY(scratch, all->n_runs, mvs_report_run);
  const char *model = NULL;
  for (size_t at = 0; at < all->n_runs; at++) {
    const mvs_compared_run *run = &all->runs[at];
    runs[at] = (mvs_report_run){.record = run->record,
                                .name = run->folder,
                                .rule = run->rule->name,
                                .seed = run->seed,
                                .state = run->state,
                                .note = run->note};
    if (!model && run->record) model = run->record->model;
  }
  mvs_report report = {
      .title = model ? model : driver->options->input,
      .remark = all->jobs > 1
                    ? mvs_arena_format(scratch,
                                       "%" PRId64 " runs shared the machine, so times "
                                       "are longer than alone.",
                                       all->jobs)
                    : "Runs were taken in turn.",
      .noun = all->n_varied > 1 || (all->n_varied && all->varied[0]) ? "configuration" : NULL,
      .live = live,
      .runs = runs,
      .n_runs = all->n_runs};
  const char *path = mvs_arena_format(scratch, "%s/report.html", all->folder);
  mvs_status status = mvs_report_write(driver->diag, path, &report);
  mvs_arena_free(scratch);
  return status;
}
