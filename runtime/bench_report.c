/* bench_report.c: what was measured, for people and as JSON. */
#include <inttypes.h>
#include <stdio.h>

#include "compiler/base/output_file.h"
#include "runtime/bench.h"
#include "runtime/json_text.h"
#include "runtime/least.h"
#include "runtime/pool.h"

/* The parts cannot overlap: they share memory or the units that compute. */
double mvs_bench_core_floor(const mvs_bench *bench) {
  return bench->matmul_seconds + bench->attention_seconds +
         bench->core_least / bench->copy_rate;
}

/* Heavy kernels are the core's; all other functions are light. */
double mvs_bench_step_floor(const mvs_bench *bench) {
  return bench->cores * (bench->matmul_seconds + bench->attention_seconds) +
         bench->step_least / bench->copy_rate;
}

/* Ops and source lines where the compiler gave them. */
static const char *what_of(const mvs_bench_row *row) {
  return *row->kernel->why ? row->kernel->why : row->kernel->name;
}

/* Of one step, gaps between launches included. */
static double kernel_seconds(const mvs_bench *bench) {
  double sum = 0;
  for (size_t at = 0; at < bench->rows.count; at++) sum += bench->rows.items[at].seconds;
  return sum;
}

/* --- for people --- */

/* More than 100 % of a limit means that operands were still in a cache. */
static void print_row(const mvs_bench_row *row, double total) {
  double seconds = row->seconds > 0 ? row->seconds : 1e-9;
  printf("%9.3f %5.1f%% %8.0f %10.2f %7.3f %8.2f %5.0f%%  %-14s %s (%s)\n", 1e3 * row->seconds,
         100 * seconds / total, row->launches, row->bytes / 1e6, row->bytes / seconds / 1e12,
         row->flops / seconds / 1e12, 100 * row->limit / seconds, row->kernel->kind,
         what_of(row), row->how);
}

/* "forward + backward 12.345 ms, floor 11.234 ms (matmuls 9, attention 1, ...): 1.10 x" */
static void print_total(const char *what, double seconds, double heavy, double attention,
                        double least, double copy, double floor) {
  printf(
      "%s: %.3f ms, %.3f x its floor of %.3f ms: matmuls %.3f, attention %.3f, least bytes "
      "%.1f MB %.3f\n",
      what, 1e3 * seconds, floor > 0 ? seconds / floor : 0, 1e3 * floor, 1e3 * heavy,
      1e3 * attention, least / 1e6, 1e3 * least / copy);
}

/* The table first and the verdict last, where a terminal shows it. */
void mvs_bench_print(const mvs_bench *bench) {
  double total = kernel_seconds(bench);
  printf("%9s %6s %8s %10s %7s %8s %6s  %-14s %s\n", "ms", "share", "launches", "MB", "TB/s",
         "TFLOP/s", "limit", "kind", "what");
  for (size_t at = 0; at < bench->rows.count; at++) print_row(&bench->rows.items[at], total);
  printf(
      "limit: of matmul and attention the same kernels one after another, of others copying "
      "memory, %.3f TB/s read and written\n",
      bench->copy_rate / 1e12);
  print_total(bench->work->core_words, bench->core_seconds, bench->matmul_seconds,
              bench->attention_seconds, bench->core_least, bench->copy_rate,
              mvs_bench_core_floor(bench));
  printf("%s, its floor's parts in turns under one load: %.3f ms, so it takes %.3f x that\n",
         bench->work->core_words, 1e3 * bench->turns_seconds,
         bench->core_seconds / bench->turns_seconds);
  print_total(bench->work->step, bench->step_seconds, bench->cores * bench->matmul_seconds,
              bench->cores * bench->attention_seconds, bench->step_least, bench->copy_rate,
              mvs_bench_step_floor(bench));
  printf("kernels %.3f ms a step; a whole step takes %.3f ms; the first two took %.3f ms\n",
         1e3 * total, 1e3 * bench->step_seconds, 1e3 * bench->first_seconds);
}

/* --- JSON --- */

/* A name, its text and the comma behind it: something always follows. */
static void put_text(mvs_text *out, const char *name, const char *value) {
  mvs_text_addf(out, "\"%s\": ", name);
  mvs_json_string(out, value);
  mvs_text_add(out, ", ");
}

/* Totals of a step: a reader divides by the launches. */
static void put_row(mvs_text *out, const mvs_bench_row *row) {
  mvs_text_add(out, "    {");
  put_text(out, "name", row->kernel->name);
  put_text(out, "kind", row->kernel->kind);
  put_text(out, "what", what_of(row));
  put_text(out, "how", row->how);
  mvs_text_addf(out,
                "\"launches\": %.9g, \"ms\": %.9g, \"bytes\": %.17g, \"flops\": %.17g, "
                "\"limit_ms\": %.9g}",
                row->launches, 1e3 * row->seconds, row->bytes, row->flops, 1e3 * row->limit);
}

/* What was measured, and on what. */
static void put_head(const mvs_bench *bench, mvs_text *out) {
  const mvs_session *session = bench->session;
  put_text(out, "model", session->program->model);
  put_text(out, "residual", session->program->residual);
  put_text(out, "precision", session->program->settings->precision);
  put_text(out, "device", session->device->name);
  put_text(out, "hardware", session->device->what);
  put_text(out, "work", bench->work->step);
  put_text(out, "core", bench->work->core);
  mvs_text_addf(out,
                "\"batch\": %" PRId64 ", \"micro_batch\": %" PRId64 ", \"blocks\": %" PRId64
                ", \"tokens\": %" PRId64 ",\n",
                bench->batch, bench->micro_batch, bench->blocks, session->program->tokens);
  mvs_text_add(out, " ");
  put_text(out, "kept", bench->kept);
}

/* Milliseconds and bytes of a step, but those of core_*. */
mvs_status mvs_bench_write(const mvs_bench *bench, const char *path) {
  mvs_session *session = bench->session;
  mvs_text out = mvs_text_new(session->arena);
  mvs_text_add(&out, "{");
  put_head(bench, &out);
  mvs_text_addf(
      &out,
      "\n \"copy_bytes_per_second\": %.9g, \"cores_per_step\": %.9g,\n"
      " \"core_ms\": %.9g, \"core_floor_ms\": %.9g, \"core_matmul_ms\": %.9g, "
      "\"core_attention_ms\": %.9g, \"core_least_bytes\": %.17g, \"core_turns_ms\": %.9g,\n"
      " \"step_ms\": %.9g, \"step_floor_ms\": %.9g, \"step_least_bytes\": %.17g, "
      "\"step_kernels_ms\": %.9g,\n \"kernels\": [\n",
      bench->copy_rate, bench->cores, 1e3 * bench->core_seconds,
      1e3 * mvs_bench_core_floor(bench), 1e3 * bench->matmul_seconds,
      1e3 * bench->attention_seconds, bench->core_least, 1e3 * bench->turns_seconds,
      1e3 * bench->step_seconds, 1e3 * mvs_bench_step_floor(bench), bench->step_least,
      1e3 * kernel_seconds(bench));
  for (size_t at = 0; at < bench->rows.count; at++) {
    put_row(&out, &bench->rows.items[at]);
    mvs_text_add(&out, at + 1 < bench->rows.count ? ",\n" : "\n");
  }
  mvs_text_add(&out, "  ]}\n");
  return mvs_output_write(session->arena, session->diag, path, out.data, (int64_t)out.length);
}
