/* compare.c: `mvcc compare`: rules to executables, executables to runs, runs to a table.
 *
 * All rules are compiled before the first is trained: a mistake in the last one is told within
 * seconds, not after a night. Every run is a process of its own, so that one that dies takes
 * nothing with it, and its folder is what `X train` makes: it can be looked at, resumed and
 * sampled from by hand. Runs of one seed differ in nothing but the rule, since data, noise and
 * initial values are functions of the seed (docs/numerics.md). */
#include "compiler/mvcc/compare.h"

#include <dirent.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "compiler/base/output_file.h"
#include "runtime/options.h"
#include "runtime/pool.h"
#include "runtime/run_folder.h"

/* Small models do not use more cores than this well; larger ones are given them by --jobs 1. */
#define CORES_A_JOB 8
/* Grids are ten wide: four of each of ten classes. */
#define DEFAULT_SAMPLES 40

/* --- compiling --- */

/* Runs that an earlier comparison left must be of this program, and are looked at before its
 * trainer is written over theirs: of those that are whole no trainer would. What else is wrong
 * with a folder is told when its run is looked at. */
static mvs_status check_runs(const mvs_comparison *all, const mvs_compared_rule *rule,
                             mvs_program *program) {
  mvs_arena *arena = all->driver->session;
  for (size_t at = 0; at < all->n_runs; at++) {
    if (all->runs[at].rule != rule) continue;
    mvs_session session = {
        .arena = arena, .diag = mvs_diag_new(arena), .program = program, .whole = program};
    if (mvs_run_check_program(&session, all->runs[at].folder) != MVS_ERR_NAME) continue;
    mvs_diag_join(all->driver->diag, session.diag);
    return MVS_ERR_NAME;
  }
  return MVS_OK;
}

/* All its stages. */
static mvs_status compile_rule(const mvs_comparison *all, const mvs_compared_rule *rule,
                               mvs_driver *one) {
  mvs_driver *driver = all->driver;
  MVS_TRY(mvs_driver_load(one));
  MVS_TRY(mvs_driver_passes(one));
  mvs_text notes = mvs_text_new(driver->session);
  mvs_driver_notes(one, &notes);
  fputs(mvs_text_string(&notes), stderr);
  MVS_TRY(mvs_driver_build(one));
  MVS_TRY(mvs_driver_gpu(one));
  MVS_TRY(check_runs(all, rule, one->build->program));
  MVS_TRY(mvs_make_folders(driver->session, driver->diag, rule->folder));
  return mvs_driver_write(one);
}

/* Graphs and code go with each rule: there may be a thousand. */
static mvs_status compile_alone(const mvs_comparison *all, const mvs_compared_rule *rule) {
  mvs_command_line options = mvs_compare_options(all, rule);
  mvs_driver one = {.session = all->driver->session,
                    .graphs = mvs_arena_new(),
                    .diag = all->driver->diag,
                    .options = &options};
  mvs_status status = compile_rule(all, rule, &one);
  mvs_arena_free(one.graphs);
  return status;
}

/* The trainers of a comparison that does not begin: with them its folder would not be empty.
 * What an earlier one left is there still, and so are folders that hold anything else. */
static void take_back(const mvs_comparison *all, bool made) {
  if (all->driver->options->resume) return;
  for (size_t at = 0; at < all->n_rules; at++) {
    unlink(all->rules[at].trainer);
    rmdir(all->rules[at].folder);
  }
  if (made) rmdir(all->folder);
}

/* The first mistake is told with the rule that holds it. */
static mvs_status compile_all(const mvs_comparison *all) {
  bool made = access(all->folder, F_OK) != 0;
  for (size_t at = 0; at < all->n_rules; at++) {
    mvs_status status = compile_alone(all, &all->rules[at]);
    if (status == MVS_OK) continue;
    take_back(all, made);
    mvs_diag_hint(all->driver->diag,
                  "nothing was trained: all rules are compiled first; this "
                  "is '%s'",
                  all->rules[at].name);
    return status;
  }
  return MVS_OK;
}

/* --- runs --- */

/* In both forms; the trainer itself refuses an option that is given twice. */
const char *mvs_compare_option(const mvs_comparison *all, const char *name) {
  const mvs_command_line *options = all->driver->options;
  size_t length = strlen(name);
  for (int i = 1; i < options->rest_count; i++) {
    const char *word = options->rest[i];
    if (strncmp(word, name, length) != 0) continue;
    if (word[length] == '=') return word + length + 1;
    if (!word[length]) return i + 1 < options->rest_count ? options->rest[i + 1] : NULL;
  }
  return NULL;
}

/* Seeds count on from --seed. */
static mvs_status plan_runs(mvs_comparison *all) {
  mvs_driver *driver = all->driver;
  const char *given = mvs_compare_option(all, "--seed");
  int64_t first = 0;
  if (given && !mvs_parse_integer(given, &first)) {
    mvs_diag_error(driver->diag, (mvs_span){0}, "--seed needs a whole number, not '%s'", given);
    return MVS_ERR_FORMAT;
  }
  all->n_runs = all->n_rules * (size_t)all->n_seeds;
  all->runs = MVS_ARRAY(driver->session, all->n_runs, mvs_compared_run);
  for (size_t at = 0; at < all->n_runs; at++) {
    mvs_compared_run *run = &all->runs[at];
    run->rule = &all->rules[at % all->n_rules];
    run->seed =
        mvs_arena_format(driver->session, "%" PRId64, first + (int64_t)(at / all->n_rules));
    run->folder = mvs_arena_format(driver->session, "%s/seed-%s", run->rule->folder, run->seed);
    run->log = mvs_arena_format(driver->session, "%s/log-%s.txt", run->rule->folder, run->seed);
    run->state = "waiting";
  }
  return MVS_OK;
}

/* A GPU is not shared; cores are divided, which changes times but no bits. */
static void divide_machine(mvs_comparison *all) {
  const mvs_command_line *options = all->driver->options;
  const char *device = mvs_compare_option(all, "--device");
  bool gpu = device ? strcmp(device, "cpu") != 0 : options->architectures.count > 0;
  int64_t cores = mvs_pool_cores(), room = gpu ? 1 : cores / CORES_A_JOB;
  all->jobs = options->jobs > 0 ? options->jobs : room > 1 ? room : 1;
  if (all->jobs > (int64_t)all->n_runs) all->jobs = (int64_t)all->n_runs;
  if (all->jobs > 1 && !mvs_compare_option(all, "--threads"))
    all->threads = cores > all->jobs ? cores / all->jobs : 1;
}

/* A folder with something in it is gone on with when --resume says so, and never otherwise. */
static mvs_status check_folder(const mvs_comparison *all) {
  const mvs_driver *driver = all->driver;
  DIR *open = opendir(all->folder);
  bool used = false;
  for (struct dirent *entry = open ? readdir(open) : NULL; entry; entry = readdir(open))
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) used = true;
  if (open) closedir(open);
  if (!used || driver->options->resume) return MVS_OK;
  mvs_diag_error(driver->diag, (mvs_span){0},
                 "'%s' is not empty; --resume goes on with what is there, or choose another -o",
                 all->folder);
  return MVS_ERR_IO;
}

/* digits.mvs is compared in digits-compare unless -o says where. */
static const char *default_folder(mvs_arena *arena, const char *input) {
  const char *slash = strrchr(input, '/'), *base = slash ? slash + 1 : input;
  const char *dot = strrchr(base, '.');
  size_t length = dot && dot > base ? (size_t)(dot - base) : strlen(base);
  return mvs_arena_format(arena, "%.*s-compare", (int)length, base);
}

/* --- the end --- */

/* Reasons go to standard error, the table and where to look to standard output. */
static mvs_status finish(mvs_comparison *all, int *code) {
  mvs_arena *arena = all->driver->session;
  MVS_TRY(mvs_compare_json(all));
  MVS_TRY(mvs_compare_page(all, false));
  mvs_text table = mvs_text_new(arena);
  mvs_compare_table(all, &table);
  printf("%s\nwrote %s/report.html and %s/compare.json\n", mvs_text_string(&table), all->folder,
         all->folder);
  for (size_t at = 0; at < all->n_runs; at++) {
    const mvs_compared_run *run = &all->runs[at];
    if (run->failed) *code = 1;
    if (run->note)
      fprintf(stderr, "mvcc: %s, seed %s: %s: %s\n", run->rule->name, run->seed, run->state,
              run->note);
  }
  return MVS_OK;
}

/* In the order of the file's head. Records of runs are JSON, which asks for memory as we do. */
mvs_status mvs_driver_compare(mvs_driver *driver, int *code) {
  const mvs_command_line *options = driver->options;
  json_set_alloc_funcs(mvs_malloc, free);
  mvs_comparison all = {.driver = driver,
                        .folder = options->output
                                      ? options->output
                                      : default_folder(driver->session, options->input),
                        .n_seeds = options->seeds > 0 ? options->seeds : 1,
                        .samples = options->samples >= 0 ? options->samples : DEFAULT_SAMPLES};
  MVS_TRY(mvs_compare_rules(&all));
  MVS_TRY(plan_runs(&all));
  MVS_TRY(check_folder(&all));
  MVS_TRY(compile_all(&all));
  divide_machine(&all);
  mvs_status status = mvs_compare_run(&all);
  if (status == MVS_OK) status = finish(&all, code);
  for (size_t at = 0; at < all.n_runs; at++)
    if (all.runs[at].record) mvs_run_record_close(all.runs[at].record);
  return status;
}
