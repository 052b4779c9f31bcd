/* processor.h: the instruction sets that host code is compiled for, and which of them this
 * machine runs. Levels are ordered: a processor that runs one runs those before it. Compiler
 * and trainer share the names, so that "compiled for x86-64-v4-bf16" means one thing. */
#ifndef MVS_BASE_PROCESSOR_H
#define MVS_BASE_PROCESSOR_H

#include <stdbool.h>

typedef enum mvs_cpu_level {
  MVS_CPU_V3,   /* x86-64-v3: AVX2 and FMA */
  MVS_CPU_V4,   /* x86-64-v4: AVX-512 F, BW, CD, DQ, VL */
  MVS_CPU_BF16, /* x86-64-v4-bf16: and products of pairs of bf16 (vdpbf16ps) */
  MVS_CPU_AMX,  /* x86-64-v4-amx: and products of tiles of bf16 (tdpbf16ps) */
  MVS_CPU_LEVELS
} mvs_cpu_level;

/* The level's name, as in options and in the program's tables. */
const char *mvs_cpu_name(mvs_cpu_level level);
/* The level of that name; MVS_CPU_LEVELS when there is none. */
mvs_cpu_level mvs_cpu_of_name(const char *name);
/* All names in order with ", " between them, the last behind "and". */
#define MVS_CPU_NAMES "x86-64-v3, x86-64-v4, x86-64-v4-bf16 and x86-64-v4-amx"
/* NULL when this process may run code of that level, else what is missing, as a clause that
 * stands behind a name: "this processor has no AVX-512". Asks the kernel for the state of AMX's
 * tiles, which it grants to a process once and for all its threads. */
const char *mvs_cpu_lacks(mvs_cpu_level level);
/* The fastest level that this process may run; MVS_CPU_LEVELS when not even the first. */
mvs_cpu_level mvs_cpu_best(void);

#endif
