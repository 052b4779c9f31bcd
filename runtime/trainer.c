/* trainer.c: what a compiled program does: finds the command, its options and its exit
 * status.
 *
 * Commands are rows of a table (commands.h); each adds its options to those that all have,
 * is parsed against them and run. Failures come back as a status with sentences in diag,
 * which are printed here and nowhere else. Device memory and threads are given back before
 * that. A wrong command line ends with 2, anything later with 1, so that scripts can tell
 * them apart. */
#include "runtime/trainer.h"

#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "runtime/commands.h"
#include "runtime/host_level.h"
#include "runtime/specialise.h"

#define EXIT_USAGE   2
#define EXIT_STOPPED 3

static const mvs_command *const commands[] = {
    &mvs_command_info, &mvs_command_train, &mvs_command_sample, &mvs_command_eval,
    &mvs_command_grad, &mvs_command_bench, &mvs_command_report, &mvs_command_watch};
#define COMMANDS (sizeof commands / sizeof *commands)

/* To standard error when no command was given, to standard output when asked for. */
static void print_usage(FILE *out, const mvs_session *session) {
  fprintf(out, "%s: model '%s', compiled by mvcc %s\nusage: %s COMMAND [OPTIONS]\n\n",
          session->name, session->program->model, session->program->version, session->name);
  for (size_t at = 0; at < COMMANDS; at++)
    fprintf(out, "  %-8s %s\n", commands[at]->name, commands[at]->summary);
  fprintf(out, "\n%s COMMAND --help lists a command's options.\n", session->name);
}

/* From the same rows that the options are parsed with. */
static void print_command_help(const mvs_session *session, const mvs_command *command,
                               const mvs_option_rows *rows) {
  mvs_text text = mvs_text_new(session->arena);
  mvs_options_help(rows, &text);
  printf("%s\nusage: %s %s [OPTIONS]\n\n%s", command->summary, session->name, command->name,
         mvs_text_string(&text));
}

/* Diagnostics without a source place start with the compiler's name; here the program speaks.
 */
static void print_errors(const mvs_session *session) {
  static const char compiler[] = "mvcc: ";
  mvs_text text = mvs_text_new(session->arena);
  mvs_diag_render(session->diag, &text);
  fflush(stdout);
  for (const char *line = mvs_text_string(&text); *line;) {
    size_t length = strcspn(line, "\n");
    if (strncmp(line, compiler, sizeof compiler - 1) == 0) {
      line += sizeof compiler - 1, length -= sizeof compiler - 1;
      fprintf(stderr, "%s: ", session->name);
    }
    fprintf(stderr, "%.*s\n", (int)length, line);
    line += length + (line[length] == '\n');
  }
}

/* Anywhere on the line, whatever else is wrong there. */
static bool asks_for_help(int argc, char **argv) {
  for (int at = 0; at < argc; at++)
    if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0) return true;
  return false;
}

/* A wrong command line ends with 2, a run that its watch stopped with 3, anything else with 1.
 */
static int run_command(mvs_session *session, const mvs_command *command, int argc,
                       char **argv) {
  mvs_option_rows rows = {0};
  command->rows(session, &rows);
  mvs_session_rows(session->arena, &rows);
  if (asks_for_help(argc, argv)) {
    print_command_help(session, command, &rows);
    return 0;
  }
  mvs_status status =
      mvs_options_parse(session->arena, session->diag, &rows, argc, argv, &session->options);
  if (status != MVS_OK) {
    print_errors(session);
    return EXIT_USAGE;
  }
  status = command->run(session);
  if (status == MVS_OK && fflush(stdout) != 0)
    status = MVS_FAIL(session->diag, MVS_ERR_IO, "cannot write to standard output");
  mvs_session_close(session);
  if (mvs_diag_errors(session->diag) > 0) print_errors(session);
  return status == MVS_OK ? 0 : status == MVS_ERR_STOPPED ? EXIT_STOPPED : 1;
}

/* The nearest command as a hint, where one is near enough. */
static int unknown_command(mvs_session *session, const char *word) {
  const char *names[COMMANDS];
  for (size_t at = 0; at < COMMANDS; at++) names[at] = commands[at]->name;
  const char *near = mvs_suggest(word, names, COMMANDS);
  mvs_diag_error(session->diag, (mvs_span){0}, "unknown command '%s'", word);
  if (near) mvs_diag_hint(session->diag, "did you mean '%s'?", near);
  print_errors(session);
  return EXIT_USAGE;
}

/* The first word is the command; everything behind it is the command's. */
static int dispatch(mvs_session *session, int argc, char **argv) {
  if (argc < 2) {
    print_usage(stderr, session);
    return EXIT_USAGE;
  }
  if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
    print_usage(stdout, session);
    return 0;
  }
  for (size_t at = 0; at < COMMANDS; at++)
    if (strcmp(argv[1], commands[at]->name) == 0)
      return run_command(session, commands[at], argc - 2, argv + 2);
  return unknown_command(session, argv[1]);
}

/* A program started with a standard stream closed would be given that number for the next file
 * it opens, and messages would be written into it. Reading only: writes still fail as they
 * should. */
static void occupy_standard_streams(void) {
  int descriptor = open("/dev/null", O_RDONLY);
  while (descriptor >= 0 && descriptor <= STDERR_FILENO)
    descriptor = open("/dev/null", O_RDONLY);
  if (descriptor >= 0) close(descriptor);
}

/* For the handler, which can reach nothing but a file-scope variable. */
static const char *program_name;

/* A mapped file (weights, samples) whose bytes are not there any more: there is no call that
 * could say so, and nothing to go on with. */
static void tell_of_lost_bytes(int signal_number) {
  static const char words[] =
      ": error: a file that is being read was cut short, or its disk fails\n";
  (void)signal_number;
  ssize_t told = write(STDERR_FILENO, program_name, strlen(program_name));
  told = write(STDERR_FILENO, words, sizeof words - 1);
  (void)told; /* there is nobody left to tell */
  _exit(EXIT_FAILURE);
}

/* Memory that runs out comes back here by longjmp; JSON's too, which would otherwise look like
 * a damaged file. */
int mvs_trainer_main(mvs_program *program, int argc, char **argv) {
  occupy_standard_streams();
  json_set_alloc_funcs(mvs_malloc, free);
  signal(SIGBUS, tell_of_lost_bytes);
  const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
  program_name = slash ? slash + 1 : argc > 0 ? argv[0] : "trainer";
  jmp_buf exhausted, *before = mvs_arena_on_oom(&exhausted);
  if (setjmp(exhausted)) {
    /* What the command held is not known any more; the system takes it back at the exit. */
    fprintf(stderr, "%s: error: out of memory: %zu bytes more could not be had\n", program_name,
            mvs_arena_oom_bytes());
    mvs_arena_on_oom(before);
    return 1;
  }
  mvs_host_level_take(program);
  mvs_arena *arena = mvs_arena_new();
  mvs_session session = {.program = mvs_specialisation_view(arena, program, 0),
                         .whole = program,
                         .name = program_name,
                         .arena = arena,
                         .diag = mvs_diag_new(arena)};
  int code = dispatch(&session, argc, argv);
  mvs_arena_free(arena);
  mvs_arena_on_oom(before);
  return code;
}
