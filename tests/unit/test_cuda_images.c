/* test_cuda_images.c: which of a program's images a GPU runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka needs the above first. */
#include <cmocka.h>

#include "runtime/cuda_images.h"

static void suits_what_nvidia_promises(void **state) {
  (void)state;
  assert_int_equal(mvs_cuda_suits("sm_90a", 9, 0), 4);
  assert_int_equal(mvs_cuda_suits("sm_90", 9, 0), 3);
  assert_int_equal(mvs_cuda_suits("sm_80", 8, 6), 2);
  assert_int_equal(mvs_cuda_suits("sm_100f", 10, 3), 2);
  assert_int_equal(mvs_cuda_suits("compute_80", 12, 0), 1);
  assert_int_equal(mvs_cuda_suits("sm_90a", 10, 0), 0);
  assert_int_equal(mvs_cuda_suits("sm_86", 8, 0), 0);
  assert_int_equal(mvs_cuda_suits("sm_80", 9, 0), 0);
  assert_int_equal(mvs_cuda_suits("compute_90a", 10, 0), 0);
  assert_int_equal(mvs_cuda_suits("compute_100", 9, 0), 0);
  assert_int_equal(mvs_cuda_suits("gfx90a", 9, 0), 0);
  assert_int_equal(mvs_cuda_suits("sm_", 9, 0), 0);
}

static void code_from_90_on_waits(void **state) {
  (void)state;
  assert_true(mvs_cuda_waits("sm_90a"));
  assert_true(mvs_cuda_waits("compute_90"));
  assert_true(mvs_cuda_waits("sm_103a by NVRTC 13.0"));
  assert_false(mvs_cuda_waits("sm_89"));
  assert_false(mvs_cuda_waits("compute_80"));
  assert_false(mvs_cuda_waits("gfx90a"));
}

static Mvs__Image image(char *architecture, char *kernel) {
  Mvs__Image made = MVS__IMAGE__INIT;
  made.architecture = architecture;
  made.kernel = kernel;
  return made;
}

static void chooses_the_best_that_is_whole(void **state) {
  (void)state;
  Mvs__Kernel first = MVS__KERNEL__INIT, second = MVS__KERNEL__INIT;
  first.name = "k0", second.name = "k1";
  Mvs__Kernel *kernels[] = {&first, &second};
  Mvs__Image a = image("sm_90", "k0"), b = image("sm_90", "k1"), c = image("sm_90a", "k0"),
             d = image("sm_80", "k0"), e = image("sm_80", "k1");
  Mvs__Image *images[] = {&d, &e, &a, &b, &c};
  mvs_program program = MVS__PROGRAM__INIT;
  program.kernels = kernels, program.n_kernels = 2;
  program.images = images, program.n_images = 5;
  assert_string_equal(mvs_cuda_choose_architecture(&program, 9, 0, false), "sm_90");
  assert_string_equal(mvs_cuda_choose_architecture(&program, 8, 9, false), "sm_80");
  assert_null(mvs_cuda_choose_architecture(&program, 7, 5, false));
  assert_null(mvs_cuda_choose_architecture(&program, 9, 0, true));
  Mvs__Image f = image("compute_80", "k0"), g = image("compute_80", "k1");
  Mvs__Image *more[] = {&d, &e, &f, &g};
  program.images = more, program.n_images = 4;
  assert_null(mvs_cuda_choose_architecture(&program, 10, 0, false));
  assert_string_equal(mvs_cuda_choose_architecture(&program, 10, 0, true), "compute_80");
  program.images = images, program.n_images = 5;
  mvs_arena *arena = mvs_arena_new();
  assert_string_equal(mvs_cuda_list_architectures(arena, &program), "sm_80, sm_90, sm_90a");
  program.n_images = 0;
  assert_string_equal(mvs_cuda_list_architectures(arena, &program), "");
  mvs_arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(suits_what_nvidia_promises),
                                     cmocka_unit_test(code_from_90_on_waits),
                                     cmocka_unit_test(chooses_the_best_that_is_whole)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
