/* cuda_modules.c: a program's kernels as the driver's modules, one each: a command
 * uses some of them, and loading is paid for those alone. There are three ways to code for a
 * GPU, from the one that costs nothing to the one that always works (docs/gpu.md); the first
 * that this driver takes is used for all kernels. */
#include "runtime/cuda_modules.h"

#include <stdlib.h>

#include "compiler/toolkit/nvrtc.h"
#include "runtime/cuda_images.h"
#include "runtime/fail.h"

/* From this compute capability on, code for the GPU alone ("sm_90a") may use all it has. */
#define LEAST_WITH_ALL 90

typedef enum way { WAY_CUBIN, WAY_PTX, WAY_TEXT, WAY_COUNT } way;
static const char *const way_names[WAY_COUNT] = {"cubin", "ptx", "text"};

typedef struct loaded {
  const void *image; /* a cubin, or PTX that ends with NUL */
  void *module, *function;
} loaded;

struct mvs_cuda_modules {
  mvs_arena *arena;
  const mvs_cuda_gpu *gpu;
  const mvs_program *program;
  loaded *kernels;
  const char *what;
};

const char *mvs_cuda_modules_what(const mvs_cuda_modules *modules) { return modules->what; }

bool mvs_cuda_modules_wait(const mvs_cuda_modules *modules) {
  return mvs_cuda_waits(modules->what);
}

/* Loaded when first launched; a recording is made of launches, so none is missing when it runs.
 */
int mvs_cuda_modules_function(mvs_cuda_modules *modules, uint32_t kernel, void **function,
                              const char **call) {
  const mvs_cuda_driver *driver = modules->gpu->driver;
  loaded *one = &modules->kernels[kernel];
  *call = mvs_cuda_symbol_module_load;
  int result = one->module ? 0 : driver->module_load(&one->module, one->image);
  if (result == 0 && !one->function) {
    *call = mvs_cuda_symbol_module_function;
    result = driver->module_function(&one->function, one->module,
                                     modules->program->kernels[kernel]->name);
  }
  *function = one->function;
  return result;
}

/* A walk over all kernels: asked for the few nodes of a recording that may be clears. */
int mvs_cuda_modules_number(const mvs_cuda_modules *modules, const void *function) {
  for (size_t at = 0; function && at < modules->program->n_kernels; at++)
    if (modules->kernels[at].function == function) return (int)at;
  return -1;
}

/* What the driver says to code that it cannot take, where other code may do: CUDA_ERROR_
 * INVALID_IMAGE, NO_BINARY_FOR_GPU, INVALID_PTX, JIT_COMPILER_NOT_FOUND,
 * UNSUPPORTED_PTX_VERSION, JIT_COMPILATION_DISABLED. */
static bool is_refusal(int result) {
  return result == 200 || result == MVS_CUDA_NO_BINARY || result == 218 ||
         (result >= 221 && result <= 223);
}

/* All kernels' images come from one compiler: what holds for the first holds for all. */
static mvs_status probe(mvs_cuda_modules *modules, mvs_diag *diag) {
  void *function;
  const char *call;
  int result =
      modules->program->n_kernels ? mvs_cuda_modules_function(modules, 0, &function, &call) : 0;
  if (!is_refusal(result)) return mvs_cuda_check(modules->gpu->driver, diag, call, result);
  return MVS_FAIL(diag, MVS_ERR_FORMAT, "the driver refuses the program's code for %s: %s",
                  modules->what, mvs_cuda_reason(modules->gpu->driver, modules->arena, result));
}

/* --- the three ways: each MVS_OK, MVS_ERR_FORMAT when another may do, or an error --- */

/* Cubins, or PTX, which the driver reads as a string: without its end it would read on. */
static mvs_status use_images(mvs_cuda_modules *modules, bool ptx, mvs_diag *diag) {
  const mvs_cuda_gpu *gpu = modules->gpu;
  const mvs_program *program = modules->program;
  const char *architecture = mvs_cuda_choose_architecture(program, gpu->major, gpu->minor, ptx);
  if (!architecture)
    return MVS_FAIL(diag, MVS_ERR_FORMAT, "the program has no %s that fits: it holds %s",
                    ptx ? "PTX" : "cubin",
                    mvs_cuda_list_architectures(modules->arena, program));
  for (size_t at = 0; at < program->n_kernels; at++) {
    const Mvs__Image *image =
        mvs_cuda_find_image(program, architecture, program->kernels[at]->name);
    if (image->data.len == 0 || (ptx && image->data.data[image->data.len - 1] != 0))
      return MVS_FAIL(diag, MVS_ERR_FORMAT, "kernel '%s' of the program is cut short",
                      image->kernel);
    modules->kernels[at].image = image->data.data;
  }
  modules->what = architecture;
  return probe(modules, diag);
}

static mvs_status check_known(mvs_cuda_modules *modules, int number, mvs_diag *diag) {
  if (mvs_nvrtc_knows(number)) return MVS_OK;
  return MVS_FAIL(
      diag, MVS_ERR_DEVICE, "NVRTC %s does not compile for this GPU (%s, sm_%d): it knows %s",
      mvs_nvrtc_version(), modules->gpu->name, number, mvs_nvrtc_architectures(modules->arena));
}

/* The GPU's own architecture, with all that it has where that needs a name of its own. NVRTC
 * may be of a newer toolkit than the driver, whose cubins that one then refuses: one of the
 * driver's major version is asked for. */
static mvs_status use_text(mvs_cuda_modules *modules, mvs_diag *diag) {
  const mvs_cuda_gpu *gpu = modules->gpu;
  const mvs_program *program = modules->program;
  int version = 0, number = 10 * gpu->major + gpu->minor;
  MVS_TRY(MVS_CUDA(gpu->driver, diag, version, &version));
  MVS_TRY(mvs_nvrtc_load(diag, version / 1000));
  MVS_TRY(check_known(modules, number, diag));
  const char *architecture =
      mvs_arena_format(modules->arena, "sm_%d%s", number, number >= LEAST_WITH_ALL ? "a" : "");
  mvs_nvrtc_image *images = MVS_ARRAY(modules->arena, program->n_kernels + 1, mvs_nvrtc_image);
  for (size_t at = 0; at < program->n_kernels; at++)
    images[at] = (mvs_nvrtc_image){.name = program->kernels[at]->name,
                                   .text = program->kernels[at]->cuda,
                                   .architecture = architecture};
  MVS_TRY(mvs_nvrtc_compile(modules->arena, diag, images, program->n_kernels));
  for (size_t at = 0; at < program->n_kernels; at++)
    modules->kernels[at].image = images[at].data;
  modules->what =
      mvs_arena_format(modules->arena, "%s by NVRTC %s", architecture, mvs_nvrtc_version());
  return probe(modules, diag);
}

static mvs_status use(mvs_cuda_modules *modules, way by, mvs_diag *diag) {
  return by == WAY_TEXT ? use_text(modules, diag) : use_images(modules, by == WAY_PTX, diag);
}

/* --- choosing --- */

/* The one way that the user wants; WAY_COUNT: any. */
static mvs_status wanted_way(mvs_diag *diag, way *out) {
  const char *word = getenv("MVCC_CUDA_IMAGES");
  *out = WAY_COUNT;
  if (!word || !*word) return MVS_OK;
  for (way each = 0; each < WAY_COUNT; each++)
    if (strcmp(word, way_names[each]) == 0) *out = each;
  if (*out < WAY_COUNT) return MVS_OK;
  return MVS_FAIL(diag, MVS_ERR_NAME, "MVCC_CUDA_IMAGES is cubin, ptx or text, not '%s'", word);
}

/* What went wrong on the way to success is nobody's business; if nothing helps, all of it is
 * told. */
static mvs_status choose(mvs_cuda_modules *modules, mvs_diag *diag) {
  const mvs_cuda_gpu *gpu = modules->gpu;
  mvs_diag *reasons = mvs_diag_new(modules->arena);
  mvs_status status = MVS_ERR_FORMAT;
  way wanted;
  MVS_TRY(wanted_way(diag, &wanted));
  for (way by = 0; by < WAY_COUNT && status == MVS_ERR_FORMAT; by++)
    if (wanted == WAY_COUNT || wanted == by) status = use(modules, by, reasons);
  if (status == MVS_OK) return MVS_OK;
  mvs_diag_join(diag, reasons);
  mvs_diag_hint(diag, "or compile the model with --gpu sm_%d%d%s", gpu->major, gpu->minor,
                10 * gpu->major + gpu->minor >= LEAST_WITH_ALL ? "a" : "");
  return status == MVS_ERR_FORMAT ? MVS_ERR_DEVICE : status;
}

mvs_status mvs_cuda_modules_open(const mvs_cuda_gpu *gpu, const mvs_program *program,
                                 mvs_diag *diag, mvs_cuda_modules **out) {
  *out = NULL;
  if (program->n_images == 0)
    return MVS_FAIL(diag, MVS_ERR_DEVICE,
                    "this program holds no code for a GPU; compile it with --gpu sm_%d%d%s",
                    gpu->major, gpu->minor,
                    10 * gpu->major + gpu->minor >= LEAST_WITH_ALL ? "a" : "");
  mvs_arena *arena = mvs_arena_new();
  mvs_cuda_modules *modules = MVS_NEW(arena, mvs_cuda_modules);
  *modules = (mvs_cuda_modules){.arena = arena, .gpu = gpu, .program = program};
  modules->kernels = MVS_ARRAY(arena, program->n_kernels + 1, loaded);
  mvs_status status = choose(modules, diag);
  if (status == MVS_OK) {
    *out = modules;
  } else {
    mvs_cuda_modules_close(modules);
  }
  return status;
}

void mvs_cuda_modules_close(mvs_cuda_modules *modules) {
  if (!modules) return;
  for (size_t at = 0; at < modules->program->n_kernels; at++)
    if (modules->kernels[at].module)
      modules->gpu->driver->module_free(modules->kernels[at].module);
  mvs_arena_free(modules->arena);
}
