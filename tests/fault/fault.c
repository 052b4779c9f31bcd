/* fault.c: a library that is preloaded into a program under test and makes calls of the system
 * fail: the n-th call of some kind, or all from the n-th on. Calls are those that the program,
 * and the libraries in it, make of libc; what libc does inside of itself is not seen.
 *
 *   FAULT=write,fsync   which calls count: names below, "alloc" for all that give memory
 *   FAULT_AT=n          the n-th fails (from 1); 0 or nothing: none does, they are counted
 *   FAULT_ON=1          and all behind it: a disk that stays full
 *   FAULT_ERRNO=n       with this error (default EIO; ENOMEM for memory); EINTR comes once each
 *   FAULT_SHORT=1       a write that fails takes half of its bytes first, as full disks do
 *   FAULT_LOG=FILE      gets "hit NAME N" when a call fails and "count N" at the end
 *   FAULT_PROGRAM=WORD  only in programs whose name contains it
 *
 * FAULT_SWEEP=FOLDER fails every call of one run in turn: at each the process splits in two,
 * one half sees the failure and goes on to its end, the other waits for it, notes how it ended
 * ("N exit CODE: its first words on stderr", in FOLDER/log) and goes on as if nothing had been.
 * FAULT_DENSE=n takes the first n and from there one in FAULT_STRIDE, by FAULT_SEED. No thread
 * is given to the program meanwhile, since only one would survive the split. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A half that goes on longer than this hangs. */
#define MOST_SECONDS 60
#define MOST_WORDS   400

/* What counts; the first three are "alloc". */
#define CALLS(X)                                                                         \
  X(malloc)                                                                              \
  X(calloc)                                                                              \
  X(realloc) X(aligned_alloc) X(mmap) X(open) X(openat) X(write) X(fsync) X(rename)      \
      X(ftruncate) X(mkdir) X(unlink) X(unlinkat) X(flock) X(fopen) X(fdopen) X(opendir) \
          X(readdir) X(read) X(pread) X(close) X(mprotect)
#define X(name) CALL_##name,
typedef enum call { CALLS(X) CALL_COUNT } call;
#undef X
#define X(name) #name,
static const char *const names[] = {CALLS(X)};
#undef X

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static bool active, all_after, cuts_short, ended;
static bool wanted[CALL_COUNT];
static long fail_at, dense, stride;
static uint64_t seed;
static int reason;
static const char *log_path, *sweep_folder;
static atomic_long counted;
static pid_t split_from; /* in a half that saw a failure: the other */
static bool failed_here; /* this half has had its failure */

static long number(const char *name, long fallback) {
  const char *text = getenv(name);
  return text && *text ? strtol(text, NULL, 10) : fallback;
}

/* Never through stdio, which would ask for memory. */
static void append(const char *path, const char *text, size_t length) {
  static int (*real_open)(const char *, int, ...);
  static ssize_t (*real_write)(int, const void *, size_t);
  static int (*real_close)(int);
  if (!real_open) {
    *(void **)&real_open = dlsym(RTLD_NEXT, "open");
    *(void **)&real_write = dlsym(RTLD_NEXT, "write");
    *(void **)&real_close = dlsym(RTLD_NEXT, "close");
  }
  int file = real_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (file < 0) return;
  if (real_write(file, text, length) < 0) abort();
  real_close(file);
}

static void note(const char *what, const char *name, long at) {
  char line[96];
  if (!log_path) return;
  int length = snprintf(line, sizeof line, "%s %s%s%ld\n", what, name, *name ? " " : "", at);
  append(log_path, line, (size_t)length);
}

static bool is_wanted(const char *list, const char *name) {
  size_t length = strlen(name);
  for (const char *at = list; (at = strstr(at, name)); at++)
    if ((at == list || at[-1] == ',') && (at[length] == '\0' || at[length] == ',')) return true;
  return false;
}

__attribute__((constructor)) static void begin(void) {
  const char *list = getenv("FAULT"), *program = getenv("FAULT_PROGRAM");
  if (!list || (program && !strstr(program_invocation_short_name, program))) return;
  bool memory = is_wanted(list, "alloc");
  for (int at = 0; at < CALL_COUNT; at++)
    wanted[at] = is_wanted(list, names[at]) || (memory && at <= CALL_aligned_alloc);
  fail_at = number("FAULT_AT", 0), all_after = number("FAULT_ON", 0) != 0;
  cuts_short = number("FAULT_SHORT", 0) != 0;
  reason = (int)number("FAULT_ERRNO", memory ? ENOMEM : EIO);
  dense = number("FAULT_DENSE", INT32_MAX), stride = number("FAULT_STRIDE", 1);
  seed = (uint64_t)number("FAULT_SEED", 1);
  log_path = getenv("FAULT_LOG"), sweep_folder = getenv("FAULT_SWEEP");
  append("/dev/null", "", 0); /* finds its functions while nothing fails */
  active = true;
}

__attribute__((destructor)) static void end(void) {
  if (active && split_from == 0) note("count", "", atomic_load(&counted));
}

#ifdef MVCC_COVERAGE
/* What counts lines takes memory at the program's end and dies without, and a half would wait
 * for the other's lock on a file of counts. So calls stop to fail where main ends, which is
 * ahead of that: handlers run in the reverse of their order. */
static int (*main_of_program)(int, char **, char **);

static void stop(void) { ended = true; }

static int main_with_end(int count, char **arguments, char **environment) {
  if (atexit(stop) != 0) abort();
  return main_of_program(count, arguments, environment);
}

int __libc_start_main(int (*main)(int, char **, char **), int count, char **arguments,
                      void (*before)(void), void (*after)(void), void (*loader)(void),
                      void *stack);
int __libc_start_main(int (*main)(int, char **, char **), int count, char **arguments,
                      void (*before)(void), void (*after)(void), void (*loader)(void),
                      void *stack) {
  static int (*real)(int (*)(int, char **, char **), int, char **, void (*)(void),
                     void (*)(void), void (*)(void), void *);
  *(void **)&real = dlsym(RTLD_NEXT, "__libc_start_main");
  main_of_program = main;
  return real(main_with_end, count, arguments, before, after, loader, stack);
}
#endif

/* --- splitting --- */

/* splitmix64: which calls of a sweep are taken. */
static bool is_taken(long at) {
  uint64_t bits = seed * 0x9e3779b97f4a7c15u + (uint64_t)at * 0xbf58476d1ce4e5b9u;
  bits = (bits ^ bits >> 30) * 0xbf58476d1ce4e5b9u;
  bits = (bits ^ bits >> 27) * 0x94d049bb133111ebu;
  return at <= dense || (bits ^ bits >> 31) % (uint64_t)stride == 0;
}

static void in_folder(char *path, size_t size, const char *name) {
  snprintf(path, size, "%s/%s", sweep_folder, name);
}

/* The half that waits notes how the other ended. */
static void watch(pid_t half, long at, const char *name) {
  char path[512], words[MOST_WORDS + 1], line[MOST_WORDS + 128];
  int status = 0;
  while (waitpid(half, &status, 0) < 0 && errno == EINTR) continue;
  in_folder(path, sizeof path, "stderr");
  active = false;
  int file = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t length = file < 0 ? 0 : read(file, words, MOST_WORDS);
  if (file >= 0) close(file);
  words[length > 0 ? length : 0] = '\0';
  for (char *each = words; *each; each++)
    if (*each == '\n') *each = each[1] ? '|' : '\0';
  int size = snprintf(line, sizeof line, "%ld %s %s %d: %s\n", at, name,
                      WIFSIGNALED(status) ? "signal" : "exit",
                      WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), words);
  in_folder(path, sizeof path, "log");
  append(path, line, (size_t)size < sizeof line ? (size_t)size : sizeof line - 1);
  active = true;
}

/* The halves share where they are in open files: this one opens them anew, at the same place.
 */
static void part_files(void) {
  for (int file = 3; file < 256; file++) {
    char path[32];
    struct stat facts;
    if (fstat(file, &facts) != 0 || !S_ISREG(facts.st_mode)) continue;
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    int flags = fcntl(file, F_GETFL), own = open(path, flags & ~(O_CREAT | O_EXCL | O_TRUNC));
    if (own < 0 || lseek(own, lseek(file, 0, SEEK_CUR), SEEK_SET) < 0 || dup2(own, file) < 0)
      abort();
    close(own);
  }
}

/* True in the half that is to see the failure. Its words go to a file, and what it prints to
 * nobody. */
static bool split(long at, const char *name) {
  char path[512];
  pid_t parent = getpid(), half;
  fflush(stdout);
  half = fork();
  if (half < 0) abort();
  if (half > 0) {
    watch(half, at, name);
    return false;
  }
  split_from = parent, failed_here = true;
  active = false;
  part_files();
  in_folder(path, sizeof path, "stderr");
  int words = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666),
      none = open("/dev/null", O_WRONLY);
  if (words < 0 || none < 0 || dup2(words, 2) < 0 || dup2(none, 1) < 0) abort();
  close(words), close(none);
  active = true;
  alarm(MOST_SECONDS);
  return true;
}

/* Whether this call fails. */
static bool fails(call which) {
  if (!active || ended || !wanted[which]) return false;
  if (failed_here) return all_after;
  int kept = errno;
  long at = atomic_fetch_add(&counted, 1) + 1;
  bool hit;
  if (sweep_folder) {
    hit = is_taken(at) && split(at, names[which]);
  } else {
    hit = fail_at > 0 && (at == fail_at || (all_after && at > fail_at));
    if (at == fail_at && hit) note("hit", names[which], at);
  }
  errno = hit ? reason : kept;
  return hit;
}

/* --- the calls --- */

#define REAL(name, result, ...)       \
  static result (*real)(__VA_ARGS__); \
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name);

void *malloc(size_t size) { return fails(CALL_malloc) ? NULL : __libc_malloc(size); }

void *calloc(size_t count, size_t size) {
  return fails(CALL_calloc) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size) {
  return size && fails(CALL_realloc) ? NULL : __libc_realloc(memory, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
  return fails(CALL_aligned_alloc) ? NULL : __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size) {
  if (fails(CALL_aligned_alloc)) return ENOMEM;
  *out = __libc_memalign(alignment, size);
  return *out ? 0 : ENOMEM;
}

void *mmap(void *place, size_t size, int rights, int flags, int file, off_t offset) {
  REAL(mmap, void *, void *, size_t, int, int, int, off_t)
  return fails(CALL_mmap) ? MAP_FAILED : real(place, size, rights, flags, file, offset);
}

int mprotect(void *place, size_t size, int rights) {
  REAL(mprotect, int, void *, size_t, int)
  return fails(CALL_mprotect) ? -1 : real(place, size, rights);
}

static mode_t mode_of(int flags, va_list list) {
  return flags & (O_CREAT | O_TMPFILE) ? (mode_t)va_arg(list, int) : 0;
}

int open(const char *path, int flags, ...) {
  REAL(open, int, const char *, int, ...)
  va_list list;
  va_start(list, flags);
  mode_t mode = mode_of(flags, list);
  va_end(list);
  return fails(CALL_open) ? -1 : real(path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...) {
  REAL(openat, int, int, const char *, int, ...)
  va_list list;
  va_start(list, flags);
  mode_t mode = mode_of(flags, list);
  va_end(list);
  return fails(CALL_openat) ? -1 : real(folder, path, flags, mode);
}

ssize_t write(int file, const void *bytes, size_t size) {
  REAL(write, ssize_t, int, const void *, size_t)
  if (!fails(CALL_write)) return real(file, bytes, size);
  return cuts_short && size > 1 ? real(file, bytes, size / 2) : -1;
}

ssize_t read(int file, void *bytes, size_t size) {
  REAL(read, ssize_t, int, void *, size_t)
  return fails(CALL_read) ? -1 : real(file, bytes, size);
}

ssize_t pread(int file, void *bytes, size_t size, off_t offset) {
  REAL(pread, ssize_t, int, void *, size_t, off_t)
  return fails(CALL_pread) ? -1 : real(file, bytes, size, offset);
}

int fsync(int file) {
  REAL(fsync, int, int)
  return fails(CALL_fsync) ? -1 : real(file);
}

int ftruncate(int file, off_t size) {
  REAL(ftruncate, int, int, off_t)
  return fails(CALL_ftruncate) ? -1 : real(file, size);
}

/* The descriptor is gone all the same, as Linux has it. */
int close(int file) {
  REAL(close, int, int)
  bool hit = fails(CALL_close);
  int done = real(file);
  if (hit) errno = reason;
  return hit ? -1 : done;
}

int flock(int file, int operation) {
  REAL(flock, int, int, int)
  return fails(CALL_flock) ? -1 : real(file, operation);
}

int mkdir(const char *path, mode_t mode) {
  REAL(mkdir, int, const char *, mode_t)
  return fails(CALL_mkdir) ? -1 : real(path, mode);
}

/* Whether a file is a temporary one of the half that waits: it is still needed there. */
static bool is_others(const char *path) {
  char end[32];
  int length = snprintf(end, sizeof end, ".%ld.tmp", (long)split_from);
  size_t have = strlen(path);
  return split_from && have > (size_t)length && strcmp(path + have - (size_t)length, end) == 0;
}

int rename(const char *from, const char *to) {
  REAL(rename, int, const char *, const char *)
  if (fails(CALL_rename)) return -1;
  return is_others(from) ? 0 : real(from, to);
}

int unlink(const char *path) {
  REAL(unlink, int, const char *)
  if (fails(CALL_unlink)) return -1;
  return is_others(path) ? 0 : real(path);
}

int unlinkat(int folder, const char *path, int flags) {
  REAL(unlinkat, int, int, const char *, int)
  return fails(CALL_unlinkat) ? -1 : real(folder, path, flags);
}

FILE *fopen(const char *path, const char *mode) {
  REAL(fopen, FILE *, const char *, const char *)
  return fails(CALL_fopen) ? NULL : real(path, mode);
}

FILE *fdopen(int file, const char *mode) {
  REAL(fdopen, FILE *, int, const char *)
  return fails(CALL_fdopen) ? NULL : real(file, mode);
}

DIR *opendir(const char *path) {
  REAL(opendir, DIR *, const char *)
  return fails(CALL_opendir) ? NULL : real(path);
}

struct dirent *readdir(DIR *folder) {
  REAL(readdir, struct dirent *, DIR *)
  return fails(CALL_readdir) ? NULL : real(folder);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*main)(void *),
                   void *argument) {
  REAL(pthread_create, int, pthread_t *, const pthread_attr_t *, void *(*)(void *), void *)
  return active && sweep_folder ? EAGAIN : real(thread, how, main, argument);
}
