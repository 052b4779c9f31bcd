/* processor.c: CPUID, and the kernel's leave to use AMX.
 *
 * GCC's builtins know the levels v3 and v4 and check that the system saves the registers. bf16
 * products use registers that v4 has; AMX has its own, 8 KiB of them, which Linux saves only
 * for processes that ask: arch_prctl(ARCH_REQ_XCOMP_PERM), since 5.16. */
#include "compiler/base/processor.h"

#include <cpuid.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ARCH_REQ_XCOMP_PERM 0x1023
#define XFEATURE_XTILEDATA  18

static const char *const names[] = {"x86-64-v3", "x86-64-v4", "x86-64-v4-bf16",
                                    "x86-64-v4-amx"};

const char *mvs_cpu_name(mvs_cpu_level level) { return names[level]; }

mvs_cpu_level mvs_cpu_of_name(const char *name) {
  int level = 0;
  while (level < MVS_CPU_LEVELS && strcmp(names[level], name) != 0) level++;
  return (mvs_cpu_level)level;
}

/* Leaf 7, subleaf 1, EAX bit 5. */
static bool has_bf16(void) {
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 5);
}

/* Leaf 7, subleaf 0, EDX: AMX-BF16 and AMX-TILE. */
static bool has_amx(void) {
  unsigned a, b, c, d, bits = 1u << 22 | 1u << 24;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & bits) == bits;
}

const char *mvs_cpu_lacks(mvs_cpu_level level) {
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("x86-64-v3")) return "this processor has no AVX2 and FMA";
  if (level >= MVS_CPU_V4 && !__builtin_cpu_supports("x86-64-v4"))
    return "this processor has no AVX-512";
  if (level >= MVS_CPU_BF16 && !has_bf16())
    return "this processor's AVX-512 has no products of bf16";
  if (level >= MVS_CPU_AMX && !has_amx()) return "this processor has no AMX for bf16";
  if (level >= MVS_CPU_AMX && syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA))
    return "the kernel does not grant the state of AMX's tiles";
  return NULL;
}

/* Processors that have AMX multiply pairs at a quarter of the rate of those that do not (93
 * GFLOP/s a core, where widening to f32 and fma reach 160): without leave for AMX, v4 is their
 * best. */
mvs_cpu_level mvs_cpu_best(void) {
  for (int level = MVS_CPU_LEVELS - 1; level >= 0; level--) {
    if (level == MVS_CPU_BF16 && has_amx()) continue;
    if (!mvs_cpu_lacks((mvs_cpu_level)level)) return (mvs_cpu_level)level;
  }
  return MVS_CPU_LEVELS;
}
