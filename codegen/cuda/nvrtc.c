/* nvrtc.c: CUDA C text to cubins. NVRTC is loaded at run time, so that mvcc builds and runs
 * where there is no CUDA toolkit. Its types are opaque pointers and its results ints: no header
 * needed. */
#include <dlfcn.h>
#include <stdlib.h>

#include "codegen/cuda/cuda.h"

typedef void *nvrtc_program;

static struct {
  void *library;
  int (*create)(nvrtc_program *, const char *, const char *, int, const char *const *,
                const char *const *);
  int (*compile)(nvrtc_program, int, const char *const *);
  int (*cubin_size)(nvrtc_program, size_t *);
  int (*cubin)(nvrtc_program, char *);
  int (*log_size)(nvrtc_program, size_t *);
  int (*log)(nvrtc_program, char *);
  int (*destroy)(nvrtc_program *);
  const char *(*error_string)(int);
} nvrtc;

static const char *const places[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so",
                                     "/usr/local/cuda/lib64/libnvrtc.so.13",
                                     "/usr/local/cuda/lib64/libnvrtc.so"};

static void *symbol(const char *name) { return dlsym(nvrtc.library, name); }

static bool load(void) {
  if (nvrtc.library) return nvrtc.error_string != NULL;
  const char *named = getenv("MVCC_NVRTC"); /* a path that the user gives comes first */
  if (named) nvrtc.library = dlopen(named, RTLD_NOW | RTLD_LOCAL);
  for (size_t i = 0; !nvrtc.library && i < sizeof places / sizeof *places; ++i) {
    nvrtc.library = dlopen(places[i], RTLD_NOW | RTLD_LOCAL);
  }
  if (!nvrtc.library) return false;
  *(void **)&nvrtc.create = symbol("nvrtcCreateProgram");
  *(void **)&nvrtc.compile = symbol("nvrtcCompileProgram");
  *(void **)&nvrtc.cubin_size = symbol("nvrtcGetCUBINSize");
  *(void **)&nvrtc.cubin = symbol("nvrtcGetCUBIN");
  *(void **)&nvrtc.log_size = symbol("nvrtcGetProgramLogSize");
  *(void **)&nvrtc.log = symbol("nvrtcGetProgramLog");
  *(void **)&nvrtc.destroy = symbol("nvrtcDestroyProgram");
  if (nvrtc.create && nvrtc.compile && nvrtc.cubin_size && nvrtc.cubin && nvrtc.log_size &&
      nvrtc.log && nvrtc.destroy) {
    *(void **)&nvrtc.error_string = symbol("nvrtcGetErrorString");
  }
  return nvrtc.error_string != NULL;
}

bool mvs_cuda_available(void) { return load(); }

static mvs_status check(mvs_diag *diag, const char *call, int result) {
  if (result == 0) return MVS_OK;
  mvs_diag_error(diag, (mvs_span){0}, "%s: %s", call, nvrtc.error_string(result));
  return MVS_ERR_DEVICE;
}

static const char *read_log(mvs_arena *arena, nvrtc_program program) {
  size_t size = 0;
  if (nvrtc.log_size(program, &size) != 0 || size == 0) return "";
  char *log = mvs_arena_alloc(arena, size + 1);
  return nvrtc.log(program, log) == 0 ? log : "";
}

/* Finds the largest number that stands before `word` anywhere in the log. */
static int largest_before(const char *log, const char *word) {
  int most = 0;
  for (const char *at = log; (at = strstr(at, word)) != NULL; at += strlen(word)) {
    const char *digit = at;
    while (digit > log && digit[-1] >= '0' && digit[-1] <= '9') --digit;
    int number = (int)strtol(digit, NULL, 10);
    if (number > most) most = number;
  }
  return most;
}

static mvs_status take_cubin(mvs_arena *arena, mvs_diag *diag, nvrtc_program program,
                             const void **cubin, size_t *size) {
  MVS_TRY(check(diag, "nvrtcGetCUBINSize", nvrtc.cubin_size(program, size)));
  char *bytes = mvs_arena_alloc(arena, *size);
  MVS_TRY(check(diag, "nvrtcGetCUBIN", nvrtc.cubin(program, bytes)));
  *cubin = bytes;
  return MVS_OK;
}

mvs_status mvs_cuda_compile(mvs_arena *arena, mvs_diag *diag, const char *name,
                            const char *text, const char *architecture, const void **cubin,
                            size_t *size, mvs_cuda_report *report) {
  if (!load()) {
    mvs_diag_error(
        diag, (mvs_span){0},
        "NVRTC is not installed: libnvrtc.so.13 was not found in the library path or "
        "/usr/local/cuda/lib64");
    mvs_diag_hint(diag,
                  "name it with MVCC_NVRTC=/path/libnvrtc.so.13, or compile without --gpu");
    return MVS_ERR_DEVICE;
  }
  const char *options[] = {mvs_arena_format(arena, "--gpu-architecture=%s", architecture),
                           "--fmad=false", "--ptxas-options=-v"};
  nvrtc_program program = NULL;
  mvs_status status =
      check(diag, "nvrtcCreateProgram", nvrtc.create(&program, text, name, 0, NULL, NULL));
  if (status != MVS_OK) return status;
  int result = nvrtc.compile(program, 3, options);
  const char *log = read_log(arena, program);
  if (result != 0) {
    const char *words = *log ? log : nvrtc.error_string(result);
    mvs_diag_error(diag, (mvs_span){0}, "nvrtcCompileProgram: kernel %s for %s: %.*s", name,
                   architecture, (int)strcspn(words, "\n"), words);
    status = MVS_ERR_DEVICE;
  } else {
    status = take_cubin(arena, diag, program, cubin, size);
    if (report) {
      report->registers = largest_before(log, " registers");
      report->spill_bytes = largest_before(log, " bytes spill stores");
    }
  }
  nvrtc.destroy(&program);
  return status;
}
