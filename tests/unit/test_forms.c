/* test_forms.c: which kernels are compiled for more than the lowest level of processors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the above first. */
#include <cmocka.h>

#include "codegen/host/forms.h"

enum { HOT, COLD, OFTEN, PROBED, PRODUCT, SPLIT, SMALL, ATTENTION, SHORT, KERNELS };

/* Two functions over these kernels: `grad` runs HOT, COLD and PRODUCT once and a loop of 1000
 * turns of OFTEN, and is looked into by `probe`, which runs PROBED. */
typedef struct fixture {
  mvs_arena *arena;
  mvs_build build;
  mvs_program program;
  mvs_kernel kernels[KERNELS];
  Mvs__Kernel tables[KERNELS], *table_list[KERNELS];
  Mvs__Function grad, probe, *functions[2];
  Mvs__Step steps[KERNELS], loop_step, *grad_steps[4], *probe_steps[1], *body[1];
  Mvs__Loop loop, *loops[1];
  Mvs__Probe site, *sites[1];
} fixture;

/* Bytes are all that the kernels' times differ in. */
static void add_kernel(fixture *f, int which, int64_t bytes, int64_t bytes_per_batch) {
  mvs_kernel *kernel = &f->kernels[which];
  *kernel = (mvs_kernel){.name = "k"};
  if (which >= ATTENTION) {
    kernel->kernel_class = MVS_KERNEL_ATTENTION;
    kernel->attention.dtype = MVS_BF16;
    kernel->attention.tokens = which == SHORT ? 32 : 33;
  } else if (which >= PRODUCT) {
    mvs_dtype dtype = which == PRODUCT ? MVS_BF16 : MVS_F32;
    int64_t n = which == SMALL ? 32 : 256;
    kernel->kernel_class = MVS_KERNEL_MATMUL;
    kernel->matmul =
        (mvs_matmul_shape){.m = {20, true}, .n = n, .k = {64, false}, .a = dtype, .b = dtype};
  } else {
    mvs_nest nest = {.instrs = {NULL, 0, 0}};
    kernel->kernel_class = MVS_KERNEL_ROWS;
    MVS_PUSH(f->arena, &kernel->nests, nest);
  }
  mvs__kernel__init(&f->tables[which]);
  f->tables[which].read_fixed = bytes;
  f->tables[which].write_per_batch = bytes_per_batch;
  f->table_list[which] = &f->tables[which];
  MVS_PUSH(f->arena, &f->build.kernels, kernel);
  mvs__step__init(&f->steps[which]);
  f->steps[which].kernel = which;
}

static void set_up(fixture *f) {
  *f = (fixture){.arena = mvs_arena_new()};
  add_kernel(f, HOT, 0, 1000000);
  add_kernel(f, COLD, 16000, 1000);
  add_kernel(f, OFTEN, 16000, 1000);
  add_kernel(f, PROBED, 0, 1000000);
  for (int which = PRODUCT; which < KERNELS; ++which) add_kernel(f, which, 0, 1000);
  mvs__program__init(&f->program);
  f->program.kernels = f->table_list, f->program.n_kernels = KERNELS;
  mvs__function__init(&f->grad), mvs__function__init(&f->probe);
  mvs__loop__init(&f->loop), mvs__step__init(&f->loop_step), mvs__probe__init(&f->site);
  f->grad.name = (char *)"grad", f->probe.name = (char *)"probe";
  f->site.function = f->probe.name, f->sites[0] = &f->site;
  f->grad.probes = f->sites, f->grad.n_probes = 1;
  f->body[0] = &f->steps[OFTEN];
  f->loop.count = 1000, f->loop.steps = f->body, f->loop.n_steps = 1, f->loops[0] = &f->loop;
  f->loop_step.kernel = -1;
  f->grad_steps[0] = &f->steps[HOT], f->grad_steps[1] = &f->steps[COLD];
  f->grad_steps[2] = &f->steps[PRODUCT], f->grad_steps[3] = &f->loop_step;
  f->grad.steps = f->grad_steps, f->grad.n_steps = 4;
  f->grad.loops = f->loops, f->grad.n_loops = 1;
  f->probe_steps[0] = &f->steps[PROBED];
  f->probe.steps = f->probe_steps, f->probe.n_steps = 1;
  f->functions[0] = &f->grad, f->functions[1] = &f->probe;
  f->program.functions = f->functions, f->program.n_functions = 2;
  f->build.program = &f->program;
}

/* Bits by level. */
static unsigned forms_of(const bool *wanted, int kernel) {
  unsigned bits = 0;
  for (int level = 0; level < MVS_CPU_LEVELS; ++level)
    if (wanted[mvs_form_at((size_t)kernel, (mvs_cpu_level)level)]) bits |= 1u << level;
  return bits;
}

static void what_takes_time_has_wider_forms(void **state) {
  (void)state;
  fixture f;
  set_up(&f);
  const bool *wanted =
      mvs_choose_forms(f.arena, &f.build, MVS_CPU_V3, (mvs_cpu_level)(MVS_CPU_LEVELS - 1));
  unsigned low = 1u << MVS_CPU_V3, both = low | 1u << MVS_CPU_V4;
  assert_int_equal(forms_of(wanted, HOT), both);
  assert_int_equal(forms_of(wanted, COLD), low);
  assert_int_equal(forms_of(wanted, OFTEN), both); /* 1000 times as much as COLD */
  assert_int_equal(forms_of(wanted, PROBED), low);
  assert_int_equal(forms_of(wanted, PRODUCT), (1u << MVS_CPU_LEVELS) - 1);
  assert_int_equal(forms_of(wanted, SPLIT), both | 1u << MVS_CPU_AMX);
  assert_int_equal(forms_of(wanted, SMALL), both);
  assert_int_equal(forms_of(wanted, ATTENTION), both | 1u << MVS_CPU_AMX);
  assert_int_equal(forms_of(wanted, SHORT), both);
  mvs_arena_free(f.arena);
}

static void one_level_has_one_form(void **state) {
  (void)state;
  fixture f;
  set_up(&f);
  const bool *wanted = mvs_choose_forms(f.arena, &f.build, MVS_CPU_AMX, MVS_CPU_AMX);
  for (int kernel = 0; kernel < KERNELS; ++kernel) {
    bool tiles = kernel == PRODUCT || kernel == SPLIT || kernel == ATTENTION;
    assert_int_equal(forms_of(wanted, kernel), 1u << (tiles ? MVS_CPU_AMX : MVS_CPU_V4));
  }
  mvs_arena_free(f.arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(what_takes_time_has_wider_forms),
                                     cmocka_unit_test(one_level_has_one_form)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
