/* images.c: CUDA texts to the images that a program carries: a cubin for each kernel on each
 * architecture asked for, and PTX for GPUs that come later, which the driver compiles there. A
 * kernel that spills is no slow kernel but a mistake in the limits of spread.c or fuse, so it
 * is an error where it is made. */
#include <stdlib.h>

#include "codegen/cuda/cuda.h"
#include "compiler/toolkit/nvrtc.h"

/* The number of "sm_90a" or "compute_90"; 0: it is no architecture's name. "a" and "f" are
 * features of one architecture or of its family. */
static int number_of(const char *architecture) {
  const char *digits = strncmp(architecture, "sm_", 3) == 0        ? architecture + 3
                       : strncmp(architecture, "compute_", 8) == 0 ? architecture + 8
                                                                   : "";
  char *end;
  long number = *digits >= '1' && *digits <= '9' ? strtol(digits, &end, 10) : 0;
  if (number <= 0 || number > 9999) return 0;
  bool suffixed = (*end == 'a' || *end == 'f') && !end[1];
  return *end && !suffixed ? 0 : (int)number;
}

/* One PTX is enough: it runs on any GPU that is newer than its own architecture. */
const char *mvs_cuda_ptx(const char *const *architectures, size_t count) {
  int newest = 0;
  for (size_t i = 0; i < count; ++i) {
    if (strncmp(architectures[i], "compute_", 8) == 0) return NULL;
    int number = number_of(architectures[i]);
    if (number > newest) newest = number;
  }
  return newest >= 90 ? "compute_90" : newest >= 80 ? "compute_80" : NULL;
}

/* Before anything is compiled, with what NVRTC would know: its own message names no option. */
static mvs_status check_architecture(mvs_arena *arena, mvs_diag *diag,
                                     const char *architecture) {
  int number = number_of(architecture);
  if (number && mvs_nvrtc_knows(number)) return MVS_OK;
  mvs_diag_error(diag, (mvs_span){0}, "--gpu: NVRTC %s knows no '%s'; it knows %s",
                 mvs_nvrtc_version(), architecture, mvs_nvrtc_architectures(arena));
  return MVS_ERR_NAME;
}

static mvs_status check_spills(mvs_diag *diag, const mvs_nvrtc_image *image) {
  if (image->spill_bytes == 0) return MVS_OK;
  mvs_diag_error(diag, (mvs_span){0}, "kernel %s spills %d bytes of registers on %s",
                 image->name, image->spill_bytes, image->architecture);
  return MVS_ERR_INTERNAL;
}

static Mvs__Image *new_image(mvs_arena *arena, const mvs_nvrtc_image *made) {
  Mvs__Image *image = MVS_NEW(arena, Mvs__Image);
  mvs__image__init(image);
  image->architecture = (char *)made->architecture;
  image->kernel = (char *)made->name;
  image->data = (ProtobufCBinaryData){made->size, (uint8_t *)made->data};
  image->registers = made->registers;
  return image;
}

/* All architectures in one go, so that no core waits for the last kernel of each. */
mvs_status mvs_cuda_add_images(mvs_arena *arena, mvs_diag *diag, mvs_program *program,
                               const char *const *architectures, size_t count) {
  const char **all = MVS_ARRAY(arena, count + 1, const char *);
  size_t kernels = program->n_kernels, total = 0;
  MVS_TRY(mvs_nvrtc_load(diag, 0));
  for (size_t i = 0; i < count; ++i) {
    MVS_TRY(check_architecture(arena, diag, architectures[i]));
    all[i] = architectures[i];
  }
  const char *ptx = mvs_cuda_ptx(architectures, count);
  if (ptx) all[count++] = ptx;
  mvs_nvrtc_image *images = MVS_ARRAY(arena, count * kernels + 1, mvs_nvrtc_image);
  for (size_t i = 0; i < count; ++i) {
    for (size_t k = 0; k < kernels; ++k) {
      const Mvs__Kernel *kernel = program->kernels[k];
      images[total++] =
          (mvs_nvrtc_image){.name = kernel->name, .text = kernel->cuda, .architecture = all[i]};
    }
  }
  MVS_TRY(mvs_nvrtc_compile(arena, diag, images, total));
  program->images = MVS_ARRAY(arena, total + 1, Mvs__Image *);
  for (size_t i = 0; i < total; ++i) {
    MVS_TRY(check_spills(diag, &images[i]));
    program->images[program->n_images++] = new_image(arena, &images[i]);
  }
  return MVS_OK;
}

/* Images stand by architecture, then by kernel. PTX has no registers yet: the driver gives
 * them. */
void mvs_cuda_explain_images(const mvs_program *program, mvs_text *out) {
  size_t kernels = program->n_kernels;
  for (size_t k = 0; k < kernels; ++k) {
    mvs_text_addf(out, "registers of %s:", program->kernels[k]->name);
    for (size_t i = k; i < program->n_images; i += kernels) {
      const Mvs__Image *image = program->images[i];
      if (image->registers) mvs_text_addf(out, " %s %d", image->architecture, image->registers);
    }
    mvs_text_add(out, "\n");
  }
  for (size_t i = 0; i < program->n_images; i += kernels) {
    size_t bytes = 0;
    for (size_t k = 0; k < kernels; ++k) bytes += program->images[i + k]->data.len;
    mvs_text_addf(out, "images for %s: %zu bytes\n", program->images[i]->architecture, bytes);
  }
}
