/* nvrtc_load.c: finding NVRTC and its functions. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "compiler/toolkit/library.h"
#include "compiler/toolkit/nvrtc.h"
#include "compiler/toolkit/nvrtc_calls.h"

/* 12.0 is the first that knows sm_90a. */
#define LEAST_MAJOR 12

static mvs_nvrtc nvrtc;

const mvs_nvrtc *mvs_nvrtc_calls(void) { return &nvrtc; }
const char *mvs_nvrtc_version(void) { return nvrtc.name; }

/* The one way that works without root and on any distribution. */
static void hint(mvs_diag *diag) {
  mvs_diag_hint(diag,
                "scripts/setup-cuda.sh FOLDER brings NVRTC into a folder; name the folder in "
                "MVCC_CUDA_PATH");
}

/* Newest first; the plain name is a toolkit's newest, whatever that is. */
static void *open_library(int most_major) {
  const char *names[4];
  size_t count = 0;
  if (most_major == 0 || most_major >= 13) names[count++] = "libnvrtc.so.13";
  names[count++] = "libnvrtc.so.12";
  if (most_major == 0) names[count++] = "libnvrtc.so";
  names[count] = NULL;
  return mvs_cuda_library(names);
}

static mvs_status absent(mvs_diag *diag, int most_major) {
  mvs_arena *scratch = mvs_arena_new();
  mvs_diag_error(diag, (mvs_span){0},
                 "CUDA code cannot be compiled: NVRTC (%slibnvrtc.so.12) was not found in %s",
                 most_major == 0 || most_major >= 13 ? "libnvrtc.so.13 or " : "",
                 mvs_cuda_library_places(scratch));
  hint(diag);
  mvs_arena_free(scratch);
  return MVS_ERR_DEVICE;
}

/* NVRTC opens its second library by name alone, which fails in a folder that the system does
 * not search: one that is open already is found. */
static void open_builtins(const char *beside, int major, int minor) {
  char path[4096];
  const char *slash = strrchr(beside, '/');
  int folder = slash ? (int)(slash + 1 - beside) : 0;
  if (snprintf(path, sizeof path, "%.*slibnvrtc-builtins.so.%d.%d", folder, beside, major,
               minor) < (int)sizeof path)
    dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

/* NVRTC's version has two numbers; builds of one version differ in the size of their file. */
static void identify(mvs_nvrtc *table, int major, int minor) {
  Dl_info where;
  struct stat facts = {0};
  if (dladdr(*(void **)&table->compile, &where) && where.dli_fname) {
    stat(where.dli_fname, &facts);
    open_builtins(where.dli_fname, major, minor);
  }
  snprintf(table->name, sizeof table->name, "%d.%d", major, minor);
  snprintf(table->identity, sizeof table->identity, "nvrtc %d.%d %lld", major, minor,
           (long long)facts.st_size);
}

/* None listed: nothing is known, and each name is refused with that sentence. */
static void list_architectures(mvs_nvrtc *table) {
  int count = 0;
  const int room = (int)(sizeof table->architectures / sizeof *table->architectures);
  if (table->count_supported(&count) != 0 || count > room) return;
  if (table->supported(table->architectures) == 0) table->architecture_count = count;
}

static mvs_status find_calls(mvs_diag *diag, mvs_nvrtc *table) {
  int major = 0, minor = 0;
  const char *missing = NULL;
#define X(field, symbol, arguments)                          \
  *(void **)(&table->field) = dlsym(table->library, symbol); \
  if (!table->field && !missing) missing = symbol;
  MVS_NVRTC_CALLS(X)
#undef X
  *(void **)(&table->error_string) = dlsym(table->library, "nvrtcGetErrorString");
  if (!table->error_string) missing = "nvrtcGetErrorString";
  if (table->version) table->version(&major, &minor);
  if (missing || major < LEAST_MAJOR) {
    mvs_diag_error(diag, (mvs_span){0},
                   "the NVRTC found is too old: it is %d.%d%s%s, and %d.0 "
                   "is needed",
                   major, minor, missing ? ", without " : "", missing ? missing : "",
                   LEAST_MAJOR);
    hint(diag);
    return MVS_ERR_DEVICE;
  }
  identify(table, major, minor);
  list_architectures(table);
  return MVS_OK;
}

/* Once a process. A failed load leaves nothing behind, so that another folder may be tried. */
mvs_status mvs_nvrtc_load(mvs_diag *diag, int most_major) {
  if (nvrtc.library) return MVS_OK;
  mvs_nvrtc table = {.library = open_library(most_major)};
  if (!table.library) return absent(diag, most_major);
  mvs_status status = find_calls(diag, &table);
  if (status != MVS_OK) {
    dlclose(table.library);
    return status;
  }
  nvrtc = table;
  return MVS_OK;
}

bool mvs_nvrtc_knows(int number) {
  for (int at = 0; at < nvrtc.architecture_count; at++)
    if (nvrtc.architectures[at] == number) return true;
  return false;
}

const char *mvs_nvrtc_architectures(mvs_arena *arena) {
  mvs_text list = mvs_text_new(arena);
  for (int at = 0; at < nvrtc.architecture_count; at++)
    mvs_text_addf(&list, "%ssm_%d", at ? ", " : "", nvrtc.architectures[at]);
  return mvs_text_string(&list);
}
