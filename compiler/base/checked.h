/* checked.h: arithmetic that says when it overflows, and the named limits of the compiler. */
#ifndef MVS_BASE_CHECKED_H
#define MVS_BASE_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

#define MVS_MAX_DIAGNOSTICS  20                 /* printed per run */
#define MVS_MAX_SOURCE_BYTES (1 << 20)          /* one .mvs file */
#define MVS_MAX_NESTING      64                 /* of expressions, calls and `use` */
#define MVS_MAX_EXTENT       (INT64_C(1) << 40) /* elements of one tensor for one sample */
#define MVS_MAX_REPEATS      256                /* turns of one `for`, items of one list */
#define MVS_MAX_EVALUATIONS  (1 << 18)          /* expressions and turns as lowered */
#define MVS_MAX_NODES        (1 << 15)          /* operations of one function as lowered */
#define MVS_MAX_VALUES       64                 /* of one `let`: each is a model of its own */
#define MVS_MAX_PARAMS       4096               /* of a model; those of all layers count once */
#define MVS_MAX_MODEL_INPUTS 64                 /* of a model */
#define MVS_MAX_DEPTH        100000             /* blocks of one stack */

/* a * b into *out; false when the product leaves int64_t. */
static inline bool mvs_mul(int64_t a, int64_t b, int64_t *out) {
  return !__builtin_mul_overflow(a, b, out);
}
/* a + b into *out; false when the sum leaves int64_t. */
static inline bool mvs_add(int64_t a, int64_t b, int64_t *out) {
  return !__builtin_add_overflow(a, b, out);
}
/* The greatest common divisor; that of 0 and b is b. */
static inline int64_t mvs_common_divisor(int64_t a, int64_t b) {
  while (b != 0) {
    int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

#endif
