#include "runtime/cuda_driver.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/fail.h"

/* CUDA 12.0: the first whose driver has every call of the table in these forms. */
#define LEAST_VERSION 12000

static mvs_cuda_driver driver;

const char *mvs_cuda_reason(const mvs_cuda_driver *from, mvs_arena *arena, int result) {
  const char *name = NULL, *text = NULL;
  if (from->error_name(result, &name) != 0 || from->error_text(result, &text) != 0)
    return mvs_arena_format(arena, "error %d", result);
  return mvs_arena_format(arena, "%s (%s)", text, name);
}

mvs_status mvs_cuda_check(const mvs_cuda_driver *from, mvs_diag *diag, const char *call,
                          int result) {
  if (result == 0) return MVS_OK;
  const char *name = NULL, *text = NULL;
  from->error_name(result, &name);
  from->error_text(result, &text);
  return MVS_FAIL(diag, MVS_ERR_DEVICE, "the GPU failed: %s: %s (%s)", call,
                  text ? text : "unknown error", name ? name : "no name");
}

static mvs_status too_old(mvs_diag *diag, int version) {
  return MVS_FAIL(diag, MVS_ERR_DEVICE,
                  "the NVIDIA driver is too old: it supports CUDA %d.%d and this needs %d.%d",
                  version / 1000, version % 1000 / 10, LEAST_VERSION / 1000,
                  LEAST_VERSION % 1000 / 10);
}

/* Old drivers lack some of the calls, but tell their version. */
static mvs_status find_calls(void *library, mvs_diag *diag) {
  mvs_cuda_driver table = {.library = library};
  const char *missing = NULL;
  int version = 0;
#define X(field, symbol, arguments)                  \
  *(void **)(&table.field) = dlsym(library, symbol); \
  if (!table.field && !missing) missing = symbol;
  MVS_CUDA_CALLS(X)
#undef X
  if (table.version) table.version(&version);
  if (version < LEAST_VERSION) return too_old(diag, version);
  if (missing)
    return MVS_FAIL(diag, MVS_ERR_DEVICE, "the NVIDIA driver has no %s; it is incomplete",
                    missing);
  driver = table;
  return MVS_OK;
}

mvs_status mvs_cuda_load(mvs_diag *diag, const mvs_cuda_driver **out) {
  int count = 0;
  *out = NULL;
  if (!driver.library) {
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library)
      return MVS_FAIL(diag, MVS_ERR_DEVICE, "no NVIDIA driver: libcuda.so.1 was not found");
    mvs_status status = find_calls(library, diag);
    if (status != MVS_OK) {
      dlclose(library);
      return status;
    }
  }
  MVS_TRY(MVS_CUDA(&driver, diag, init, 0));
  MVS_TRY(MVS_CUDA(&driver, diag, device_count, &count));
  if (count < 1)
    return MVS_FAIL(diag, MVS_ERR_DEVICE, "the NVIDIA driver finds no GPU on this machine");
  *out = &driver;
  return MVS_OK;
}

/* --- the toolkit's libraries --- */

static void *open_in(const char *folder, const char *const *names) {
  void *library = NULL;
  char path[4096];
  for (; !library && *names; names++)
    if (snprintf(path, sizeof path, "%s/%s", folder, *names) < (int)sizeof path)
      library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  return library;
}

static void *open_under(const char *root, const char *const *names) {
  static const char *const folders[] = {"", "/lib64", "/lib", "/targets/x86_64-linux/lib"};
  void *library = NULL;
  char path[4000];
  for (size_t at = 0; root && !library && at < sizeof folders / sizeof *folders; at++)
    if (snprintf(path, sizeof path, "%s%s", root, folders[at]) < (int)sizeof path)
      library = open_in(path, names);
  return library;
}

/* Where pip puts NVIDIA's packages: of the machine, of the user, of an active environment. */
static void *open_in_packages(const char *package, const char *const *names) {
  static const char *const roots[] = {"/usr/local", "/usr", "/opt/*", "/opt/*/.venv",
                                      "/opt/*/venv"};
  static const char *const kinds[] = {"site-packages", "dist-packages"};
  const char *home = getenv("HOME"), *environment = getenv("VIRTUAL_ENV");
  void *library = NULL;
  for (size_t at = 0; !library && at < 2 + sizeof roots / sizeof *roots; at++) {
    const char *root = at == 0 ? environment : at == 1 ? home : roots[at - 2];
    for (size_t kind = 0; root && !library && kind < 2; kind++) {
      char pattern[4000];
      glob_t found;
      if (snprintf(pattern, sizeof pattern, "%s%s/lib/python3*/%s/nvidia/%s/lib", root,
                   at == 1 ? "/.local" : "", kinds[kind], package) >= (int)sizeof pattern)
        continue;
      if (glob(pattern, 0, NULL, &found) != 0) continue;
      for (size_t each = 0; !library && each < found.gl_pathc; each++)
        library = open_in(found.gl_pathv[each], names);
      globfree(&found);
    }
  }
  return library;
}

void *mvs_cuda_library(const char *const *names, const char *package) {
  void *library = open_under(getenv("MVCC_CUDA_PATH"), names);
  for (const char *const *name = names; !library && *name; name++)
    library = dlopen(*name, RTLD_NOW | RTLD_LOCAL);
  if (!library) library = open_under(getenv("CUDA_HOME"), names);
  if (!library) library = open_under("/usr/local/cuda", names);
  if (!library) library = open_in_packages(package, names);
  return library;
}
