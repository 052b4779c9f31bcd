/* main.c: mvcc, the compiler's command line. The one place that prints and exits.
 *
 * Diagnostics go to standard error, texts that were asked for to standard output or -o. An
 * output is written beside its place and renamed there, so that what stood there stays when
 * anything fails; it must not be the model file itself. Memory that runs out comes back here
 * by longjmp, and the arenas go with the process. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codegen/host/exhausted.h"
#include "compiler/base/output_file.h"
#include "compiler/mvcc/driver.h"

/* Prints all of a text; false when the stream did not take it. */
static bool print(FILE *stream, const mvs_text *text) {
  return fwrite(mvs_text_string(text), 1, text->length, stream) == text->length &&
         fflush(stream) == 0;
}

/* errno is that of the call that failed: nothing may be called in between. */
static mvs_status io_error(mvs_driver *driver, const char *path) {
  mvs_diag_error(driver->diag, (mvs_span){0}, "cannot write '%s': %s", path, strerror(errno));
  return MVS_ERR_IO;
}

/* A text to -o, or to standard output. */
static mvs_status print_stage(mvs_driver *driver, const mvs_text *text) {
  const char *path = driver->options->output;
  if (!path) return print(stdout, text) ? MVS_OK : io_error(driver, "standard output");
  struct stat facts;
  if (stat(path, &facts) != 0 || S_ISREG(facts.st_mode))
    return mvs_output_write(driver->session, driver->diag, path, mvs_text_string(text),
                            (int64_t)text->length);
  FILE *file = fopen(path, "we"); /* a device or a pipe: written to, never replaced */
  if (!file) return io_error(driver, path);
  bool good = print(file, text);
  if (fclose(file) != 0) good = false;
  return good ? MVS_OK : io_error(driver, path);
}

/* What to print when only --until was given: the plan once there is one. */
static mvs_emit_stage stage_of(const mvs_driver *driver) {
  if (driver->options->emit != MVS_EMIT_NONE || !driver->options->until) {
    return driver->options->emit;
  }
  return driver->specialisations[0].compilation.plan ? MVS_EMIT_PLAN : MVS_EMIT_GRAPH;
}

/* To standard error where standard output carries a dump or a command's own report. */
static mvs_status explain(mvs_driver *driver, FILE *stream) {
  if (!driver->options->explain) return MVS_OK;
  mvs_text text = mvs_text_new(driver->graphs);
  mvs_driver_explain(driver, &text);
  return print(stream, &text) ? MVS_OK : io_error(driver, "standard output");
}

/* The output is renamed into its place: a model file that stands there would be gone. */
static mvs_status check_output(const mvs_driver *driver) {
  const mvs_command_line *options = driver->options;
  struct stat input, output;
  if (!options->output || stat(options->output, &output) != 0) return MVS_OK;
  if (stat(options->input, &input) != 0 || input.st_dev != output.st_dev ||
      input.st_ino != output.st_ino)
    return MVS_OK;
  mvs_diag_error(driver->diag, (mvs_span){0},
                 "-o '%s' is the model file itself; choose another", options->output);
  return MVS_ERR_NAME;
}

/* To graphs, or to the tree alone where that is all that was asked for. */
static mvs_status read_model(mvs_driver *driver) {
  MVS_TRY(mvs_driver_load(driver));
  if (driver->options->emit == MVS_EMIT_AST) return MVS_OK;
  MVS_TRY(mvs_driver_passes(driver));
  mvs_text notes = mvs_text_new(driver->session);
  mvs_driver_notes(driver, &notes);
  return print(stderr, &notes) ? MVS_OK : io_error(driver, "standard error");
}

/* From the file to whatever was asked for; *code is set by `mvcc run` alone. */
static mvs_status compile(mvs_driver *driver, int *code) {
  const mvs_command_line *options = driver->options;
  MVS_TRY(check_output(driver));
  MVS_TRY(read_model(driver));
  mvs_emit_stage stage = stage_of(driver);
  if (stage != MVS_EMIT_NONE) {
    mvs_text text = mvs_text_new(driver->graphs);
    MVS_TRY(mvs_driver_emit(driver, stage, &text));
    if (stage != MVS_EMIT_AST) MVS_TRY(explain(driver, stderr));
    return print_stage(driver, &text);
  }
  MVS_TRY(explain(driver, options->run ? stderr : stdout));
  if (!options->run && !options->output) return MVS_OK;
  MVS_TRY(mvs_driver_build(driver));
  MVS_TRY(mvs_driver_gpu(driver));
  if (options->explain) {
    mvs_text text = mvs_text_new(driver->graphs);
    mvs_driver_explain_built(driver, &text);
    if (!print(options->run ? stderr : stdout, &text))
      return io_error(driver, "standard output");
  }
  return options->run ? mvs_driver_run(driver, code) : mvs_driver_write(driver);
}

/* Help and version need no model file. */
static mvs_status run(mvs_driver *driver, int argc, char **argv, int *code) {
  mvs_command_line *options = MVS_NEW(driver->session, mvs_command_line);
  driver->options = options;
  MVS_TRY(mvs_command_line_read(driver->session, driver->diag, argc, argv, options));
  mvs_text text = mvs_text_new(driver->session);
  if (options->help) mvs_command_line_help(&text);
  if (options->version) mvs_text_add(&text, "mvcc " MVCC_VERSION "\n");
  if (text.length) return print(stdout, &text) ? MVS_OK : io_error(driver, "standard output");
  return options->compare ? mvs_driver_compare(driver, code) : compile(driver, code);
}

/* There may be none left for a diagnostic either. */
static int out_of_memory(void) {
  fprintf(stderr, "mvcc: error: out of memory: %zu bytes more could not be had\n",
          mvs_arena_oom_bytes());
  return EXIT_FAILURE;
}

/* In LLVM's code; other threads may be in it too, so nothing is tidied up: no output is begun
 * before code is there. The first to come speaks and ends the process, for all. */
static void out_of_memory_in_llvm(void) {
  static const char words[] = "mvcc: error: out of memory in LLVM\n";
  static atomic_flag told = ATOMIC_FLAG_INIT;
  while (atomic_flag_test_and_set(&told)) pause();
  ssize_t written = write(STDERR_FILENO, words, sizeof words - 1);
  (void)written; /* there is nobody left to tell */
  _exit(EXIT_FAILURE);
}

/* Ahead of everything else before main: LLVM fills tables of its options there. */
__attribute__((constructor(101))) static void expect_no_memory(void) {
  mvs_host_on_oom(out_of_memory_in_llvm);
}

/* Any failure ends with 1 and at least one sentence. */
int main(int argc, char **argv) {
  jmp_buf exhausted;
  mvs_arena_on_oom(&exhausted);
  if (setjmp(exhausted)) return out_of_memory();
  mvs_driver driver = {.session = mvs_arena_new(), .graphs = mvs_arena_new()};
  driver.diag = mvs_diag_new(driver.session);
  int code = EXIT_SUCCESS;
  if (run(&driver, argc, argv, &code) != MVS_OK) {
    mvs_text words = mvs_text_new(driver.session);
    mvs_diag_render(driver.diag, &words);
    if (words.length == 0)
      mvs_text_add(&words, "mvcc: error: the compiler failed without a reason\n");
    print(stderr, &words);
    code = EXIT_FAILURE;
  }
  mvs_arena_free(driver.graphs);
  mvs_arena_free(driver.session);
  return code;
}
