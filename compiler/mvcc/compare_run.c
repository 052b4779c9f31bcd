/* compare_run.c: the runs of a comparison as processes, `jobs` at a time.
 *
 * A run trains, then samples from its newest checkpoint; both write to its log. It stands in a
 * process group of its own: Ctrl-C in the terminal reaches us alone and is handed on once,
 * which a trainer takes as "save and end". How a run ended is read from what it wrote, since an
 * exit status does not tell a collapse from a full disk. While runs go on the page is written
 * again now and then: at most every PAGE_SECONDS, and at most a twentieth of the time. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "compiler/mvcc/compare.h"
#include "runtime/interrupt.h"
#include "runtime/progress.h"
#include "runtime/run_folder.h"

#define PAGE_SECONDS   5
#define PAGE_SHARE     20
#define POLL_MILLIS    50
#define MOST_LOG_BYTES 4096
/* Exit status of a trainer that its watch stopped (docs/trainer.md). */
#define EXIT_STOPPED 3

/* --- starting --- */

typedef MVS_LIST(char *) word_list;

/* Copied: a program is given words that it may write to. */
static void add_word(mvs_arena *arena, word_list *words, const char *word) {
  MVS_PUSH(arena, words, mvs_arena_string(arena, word));
}

/* As two words, which every value survives. */
static void add_option(mvs_arena *arena, word_list *words, const char *name,
                       const char *value) {
  add_word(arena, words, name);
  add_word(arena, words, value);
}

/* In the child: its files, its group, and an end of its own should we die without a word: a run
 * that nobody waits for saves and ends, so that --resume finds its folder free. */
static void become(const mvs_compared_run *run, char *const *words, pid_t parent) {
  int none = open("/dev/null", O_RDONLY);
  int log = open(run->log, O_WRONLY | O_CREAT | O_APPEND, 0666);
  if (none < 0 || log < 0 || dup2(none, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0) return;
  close(none);
  close(log);
  if (setpgid(0, 0) != 0 || prctl(PR_SET_PDEATHSIG, SIGINT) != 0) return;
  if (getppid() != parent) _exit(EXIT_FAILURE); /* it died before that was set */
  execve(words[0], words, environ);
}

/* What kept the child from starting comes back through a pipe that a started one closes; 0: it
 * has started. */
static int wait_for_start(int from) {
  int reason = 0;
  ssize_t got;
  do {
    got = read(from, &reason, sizeof reason);
  } while (got < 0 && errno == EINTR);
  return got == sizeof reason ? reason : 0;
}

/* posix_spawn, but for what a child must set of itself. Returns an error of the system. */
static int spawn(mvs_compared_run *run, char *const *words) {
  int ends[2];
  pid_t parent = getpid();
  if (pipe2(ends, O_CLOEXEC) != 0) return errno;
  run->process = fork();
  int reason = errno;
  if (run->process == 0) {
    become(run, words, parent);
    reason = errno;
    _exit(write(ends[1], &reason, sizeof reason) == sizeof reason ? 127 : 126);
  }
  close(ends[1]);
  if (run->process > 0) reason = wait_for_start(ends[0]);
  close(ends[0]);
  if (reason && run->process > 0) waitpid(run->process, NULL, 0);
  if (reason) run->process = 0;
  return reason;
}

/* Standard output and error of both stages go behind each other into the log. */
static mvs_status start(const mvs_comparison *all, mvs_compared_run *run, word_list *words) {
  mvs_driver *driver = all->driver;
  MVS_PUSH(driver->session, words, NULL);
  int failed = spawn(run, words->items);
  if (failed == 0) return MVS_OK;
  mvs_diag_error(driver->diag, (mvs_span){0}, "cannot start '%s': %s", run->rule->trainer,
                 strerror(failed));
  return MVS_ERR_IO;
}

/* A run that left a record is gone on with; one that never began is begun. */
static mvs_status start_training(const mvs_comparison *all, mvs_compared_run *run) {
  mvs_arena *arena = all->driver->session;
  const mvs_command_line *options = all->driver->options;
  word_list words = {0};
  add_word(arena, &words, run->rule->trainer);
  for (int i = 0; i < options->rest_count; i++) {
    const char *word = options->rest[i];
    if (strcmp(word, "--seed") == 0) {
      i++;
    } else if (strncmp(word, "--seed=", 7) != 0) {
      add_word(arena, &words, word);
    }
  }
  add_option(arena, &words, "--seed", run->seed);
  add_option(arena, &words, "--out", run->folder);
  if (all->threads)
    add_option(arena, &words, "--threads", mvs_arena_format(arena, "%" PRId64, all->threads));
  if (run->record) add_word(arena, &words, "--resume");
  run->stage = MVS_STAGE_TRAINING;
  run->state = "running";
  return start(all, run, &words);
}

/* On the same device as training. */
static mvs_status start_sampling(const mvs_comparison *all, mvs_compared_run *run) {
  mvs_arena *arena = all->driver->session;
  static const char *const shared[] = {"--device", "--threads", "--memory"};
  word_list words = {0};
  add_word(arena, &words, run->rule->trainer);
  add_word(arena, &words, "sample");
  add_option(arena, &words, "--weights", mvs_arena_format(arena, "%s/latest", run->folder));
  add_option(arena, &words, "--out", mvs_arena_format(arena, "%s/samples.png", run->folder));
  add_option(arena, &words, "--count", mvs_arena_format(arena, "%" PRId64, all->samples));
  for (size_t at = 0; at < sizeof shared / sizeof *shared; at++) {
    const char *value = mvs_compare_option(all, shared[at]);
    if (value) add_option(arena, &words, shared[at], value);
  }
  if (all->threads)
    add_option(arena, &words, "--threads", mvs_arena_format(arena, "%" PRId64, all->threads));
  run->stage = MVS_STAGE_SAMPLING;
  return start(all, run, &words);
}

/* --- looking --- */

/* The last line that a run left, without its program's name: its reason, when it failed. */
static const char *last_words(mvs_arena *arena, const char *log) {
  char text[MOST_LOG_BYTES + 1];
  int descriptor = open(log, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return NULL;
  off_t size = lseek(descriptor, 0, SEEK_END);
  off_t from = size > MOST_LOG_BYTES ? size - MOST_LOG_BYTES : 0;
  ssize_t length = pread(descriptor, text, MOST_LOG_BYTES, from);
  close(descriptor);
  while (length > 0 && text[length - 1] == '\n') length--;
  if (length <= 0) return NULL;
  text[length] = '\0';
  const char *line = strrchr(text, '\n');
  line = line ? line + 1 : text;
  const char *error = strstr(line, "error: ");
  return mvs_arena_string(arena, error ? error + strlen("error: ") : line);
}

/* The others go on; this one is shown as failed, with the reader's words. */
static void forget_record(mvs_comparison *all, mvs_compared_run *run, mvs_diag *diag) {
  mvs_text words = mvs_text_new(all->driver->session);
  mvs_diag_sentence(diag, &words);
  mvs_run_record_close(run->record);
  run->record = NULL;
  run->failed = true;
  run->note = mvs_text_string(&words);
}

/* What a folder says is never our failure: it is told and the others go on. */
void mvs_compare_look(mvs_comparison *all, mvs_compared_run *run) {
  mvs_arena *arena = all->driver->session;
  mvs_diag *diag = mvs_diag_new(arena);
  struct stat facts;
  if (!run->record) {
    if (stat(mvs_arena_format(arena, "%s/run.json", run->folder), &facts) != 0) return;
    run->record = MVS_NEW(arena, mvs_run_record);
    if (mvs_run_record_open(arena, diag, run->folder, run->record) != MVS_OK) {
      forget_record(all, run, diag);
      return;
    }
  }
  run->record->diag = diag;
  if (mvs_run_record_refresh(run->record) != MVS_OK) forget_record(all, run, diag);
}

/* Whether the run's trainer would be told now what it was told. What is not recorded it may
 * never have been told, but for what concerns the machine and no bit. */
static bool was_told_so(const mvs_comparison *all, const mvs_compared_run *run) {
  static const char *const passed_over[] = {"--seed", "--threads", "--memory", "--recompute"};
  const size_t count = sizeof passed_over / sizeof *passed_over;
  mvs_arena *arena = all->driver->session;
  const mvs_command_line *options = all->driver->options;
  for (int i = 1; i < options->rest_count; i++) {
    const char *word = options->rest[i];
    size_t length = strcspn(word, "="), at = 0;
    const char *name = mvs_arena_copy(arena, word, length), *value = word + length + 1;
    if (!word[length]) value = i + 1 < options->rest_count ? options->rest[++i] : "";
    while (at < count && strcmp(passed_over[at], name) != 0) at++;
    if (at < count) continue;
    const char *was = length > 2 ? mvs_run_record_option(run->record, name + 2) : NULL;
    if (!was || !mvs_run_same_value(was, value)) return false;
  }
  return true;
}

/* All steps are there that are asked for. Whether another wish can be met, a few steps more or
 * another distance of samples, its trainer knows. */
static bool is_whole(const mvs_comparison *all, const mvs_compared_run *run) {
  return run->record && strcmp(mvs_report_state(run->record), "done") == 0 &&
         was_told_so(all, run);
}

/* --- ending --- */

/* What show() drew is not left under a line of its own. */
static void clear_line(void) {
  if (isatty(STDERR_FILENO)) fprintf(stderr, "\r\033[K");
}

/* False: they cannot be read. */
static bool look_at_pictures(mvs_compared_run *run, mvs_diag *diag) {
  if (!run->record) return true;
  run->record->diag = diag;
  return mvs_run_record_pictures(run->record) == MVS_OK;
}

/* One line a run, as it ends. */
static mvs_status end_run(mvs_comparison *all, mvs_compared_run *run) {
  run->stage = MVS_STAGE_ENDED;
  run->process = 0;
  mvs_diag *diag = mvs_diag_new(all->driver->session);
  if (!look_at_pictures(run, diag)) forget_record(all, run, diag);
  double loss = run->record ? run->record->newest[MVS_METRIC_LOSS] : NAN;
  clear_line();
  fprintf(stderr, "%s, seed %s: %s", run->rule->name, run->seed, run->state);
  if (isfinite(loss))
    fprintf(stderr, " at step %" PRId64 ", loss %.5g", run->record->steps, loss);
  fprintf(stderr, "\n");
  return MVS_OK;
}

/* What a collapse or a number that is not finite ended is a result; the rest is a failure, that
 * of a run which collapsed earlier and went on included. */
static void judge_training(mvs_comparison *all, mvs_compared_run *run, int status) {
  mvs_arena *arena = all->driver->session;
  bool clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  bool stopped = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_STOPPED;
  mvs_compare_look(all, run);
  if (!clean) run->note = last_words(arena, run->log);
  if (WIFSIGNALED(status))
    run->note = mvs_arena_format(arena, "ended by signal %d (%s)", WTERMSIG(status),
                                 strsignal(WTERMSIG(status)));
  const char *told = run->record ? mvs_report_state(run->record) : "failed";
  bool collapsed = run->record && mvs_run_record_figures(run->record).collapse != NULL;
  if (clean) {
    run->state = strcmp(told, "done") == 0 ? "done" : collapsed ? "collapsed" : "stopped";
  } else if (strcmp(told, "diverged") == 0) {
    run->state = "diverged";
  } else {
    run->state = stopped ? "collapsed" : "failed";
    run->failed = !stopped;
  }
}

/* Sampling that fails takes nothing from the run that it samples. */
static void judge_sampling(mvs_comparison *all, mvs_compared_run *run, int status) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
  const char *why = last_words(all->driver->session, run->log);
  run->note = mvs_arena_format(all->driver->session, "no samples: %s", why ? why : "it died");
}

/* Of the very end: samples of an older state would show something else than the loss. */
static bool has_checkpoint(const mvs_comparison *all, const mvs_compared_run *run) {
  struct stat facts;
  const char *path = mvs_arena_format(all->driver->session, "%s/step-%" PRId64 ".safetensors",
                                      run->folder, run->record ? run->record->steps : -1);
  return stat(path, &facts) == 0;
}

/* From training to sampling, from sampling to the end. */
static mvs_status go_on(mvs_comparison *all, mvs_compared_run *run, int status) {
  bool trained = run->stage == MVS_STAGE_TRAINING;
  run->process = 0;
  if (trained) {
    judge_training(all, run, status);
  } else {
    judge_sampling(all, run, status);
  }
  bool sample = trained && all->samples > 0 && !mvs_interrupt_asked() &&
                strcmp(run->state, "done") == 0 && has_checkpoint(all, run);
  return sample ? start_sampling(all, run) : end_run(all, run);
}

/* --- the loop --- */

/* Trained to its end, but not sampled from. */
static bool lacks_samples(const mvs_comparison *all, const mvs_compared_run *run) {
  const char *path = mvs_arena_format(all->driver->session, "%s/samples.png", run->folder);
  return all->samples > 0 && access(path, F_OK) != 0 && has_checkpoint(all, run);
}

/* Takes up what an earlier comparison has done. */
static mvs_status adopt(mvs_comparison *all, mvs_compared_run *run) {
  mvs_compare_look(all, run);
  if (run->note || !is_whole(all, run)) return MVS_OK;
  run->state = "done";
  return lacks_samples(all, run) ? MVS_OK : end_run(all, run);
}

/* In the order of the list, while there is room. */
static mvs_status start_next(mvs_comparison *all) {
  int64_t under_way = 0;
  for (size_t at = 0; at < all->n_runs; at++) under_way += all->runs[at].process != 0;
  for (size_t at = 0; at < all->n_runs && under_way < all->jobs; at++) {
    mvs_compared_run *run = &all->runs[at];
    if (run->stage != MVS_STAGE_WAITING) continue;
    MVS_TRY(is_whole(all, run) ? start_sampling(all, run) : start_training(all, run));
    under_way++;
  }
  return MVS_OK;
}

/* Looks at every process once; *left says whether any is there still. */
static mvs_status collect(mvs_comparison *all, bool *left) {
  *left = false;
  for (size_t at = 0; at < all->n_runs; at++) {
    mvs_compared_run *run = &all->runs[at];
    int status;
    if (!run->process) continue;
    pid_t done = waitpid(run->process, &status, WNOHANG);
    if (done == run->process) MVS_TRY(go_on(all, run, status));
    *left = *left || run->process;
  }
  return MVS_OK;
}

/* Ctrl-C, to everyone who is there. */
static void hand_on(const mvs_comparison *all) {
  for (size_t at = 0; at < all->n_runs; at++)
    if (all->runs[at].process) kill(all->runs[at].process, SIGINT);
}

/* One line that is written over, where there is a terminal. */
static void show(const mvs_comparison *all) {
  if (!isatty(STDERR_FILENO)) return;
  size_t ended = 0;
  const mvs_compared_run *running = NULL;
  for (size_t at = 0; at < all->n_runs; at++) {
    ended += all->runs[at].stage == MVS_STAGE_ENDED;
    if (all->runs[at].process && !running) running = &all->runs[at];
  }
  fprintf(stderr, "\r%zu of %zu runs ended", ended, all->n_runs);
  if (running && running->record)
    fprintf(stderr, "; %.40s, seed %s: step %" PRId64 ", loss %.5g", running->rule->name,
            running->seed, running->record->steps, running->record->newest[MVS_METRIC_LOSS]);
  fprintf(stderr, "\033[K");
}

/* The page, at its times; all that goes on is looked at for it. */
static mvs_status refresh(mvs_comparison *all, double *next) {
  double begin = mvs_seconds();
  if (begin < *next) return MVS_OK;
  for (size_t at = 0; at < all->n_runs; at++) {
    mvs_compared_run *run = &all->runs[at];
    if (!run->process) continue;
    mvs_compare_look(all, run);
    /* One may go while we read, when the run turns back; at the end it is told. */
    look_at_pictures(run, mvs_diag_new(all->driver->session));
  }
  MVS_TRY(mvs_compare_page(all, true));
  show(all);
  double took = mvs_seconds() - begin, pause = PAGE_SHARE * took;
  *next = mvs_seconds() + (pause > PAGE_SECONDS ? pause : PAGE_SECONDS);
  return MVS_OK;
}

/* Until nothing is under way and nothing waits. */
static mvs_status loop(mvs_comparison *all) {
  bool left = true, told = false;
  double next = 0;
  while (left) {
    bool ending = mvs_interrupt_asked();
    if (ending && !told) hand_on(all), told = true;
    if (!ending) MVS_TRY(start_next(all));
    MVS_TRY(collect(all, &left));
    for (size_t at = 0; at < all->n_runs && !ending; at++)
      left = left || all->runs[at].stage == MVS_STAGE_WAITING;
    if (left) MVS_TRY(refresh(all, &next));
    struct timespec pause = {0, POLL_MILLIS * 1000000};
    if (left) nanosleep(&pause, NULL);
  }
  return MVS_OK;
}

/* A failure of ours leaves no process behind. Whoever started us may ignore SIGCHLD, which is
 * inherited: ended processes would then be gone before waitpid could tell of them. */
mvs_status mvs_compare_run(mvs_comparison *all) {
  mvs_status status = MVS_OK;
  signal(SIGCHLD, SIG_DFL);
  mvs_interrupt_catch();
  for (size_t at = 0; status == MVS_OK && at < all->n_runs; at++)
    status = adopt(all, &all->runs[at]);
  if (status == MVS_OK) status = loop(all);
  if (status != MVS_OK) hand_on(all);
  for (size_t at = 0; at < all->n_runs; at++)
    if (all->runs[at].process) waitpid(all->runs[at].process, NULL, 0);
  mvs_interrupt_release();
  return status;
}
