/* test_strides.c: strides of values with gaps through reshapes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
/* cmocka needs the four first. */
#include <cmocka.h>

#include "compiler/passes/strides.h"

#define FEW 5

/* Extents end with 0; the first is one of the batch when negative. */
typedef struct reshape_case {
  int64_t from[FEW], strides[FEW], to[FEW], wanted[FEW];
  bool fits;
} reshape_case;

static mvs_type type_of(const int64_t *extents) {
  mvs_dim dims[FEW];
  int rank = 0;
  for (; extents[rank]; rank++) {
    bool batch = extents[rank] < 0;
    dims[rank] = (mvs_dim){batch ? -extents[rank] : extents[rank], batch};
  }
  return mvs_type_make(MVS_F32, rank, dims);
}

static void reshapes(void **state) {
  (void)state;
  static const reshape_case cases[] = {
      /* a slice of 8 of 24 features: split into heads and back */
      {{-1, 5, 8}, {120, 24, 1}, {-1, 5, 2, 4}, {120, 24, 4, 1}, true},
      {{-1, 5, 2, 4}, {120, 24, 4, 1}, {-1, 5, 8}, {120, 24, 1}, true},
      /* batch and tokens as one axis: the gap is the same everywhere */
      {{-1, 5, 8}, {120, 24, 1}, {-5, 8}, {24, 1}, true},
      {{-5, 8}, {24, 1}, {-1, 5, 2, 4}, {120, 24, 4, 1}, true},
      /* some of the tokens: samples lie further apart than tokens reach */
      {{-1, 5, 8}, {240, 24, 1}, {-5, 8}, {0}, false},
      /* features and tokens as one axis: gaps inside */
      {{-1, 5, 8}, {120, 24, 1}, {-1, 40}, {0}, false},
      {{-1, 4, 6}, {48, 12, 1}, {-1, 3, 8}, {0}, false},
      /* axes of one element lie anywhere */
      {{-1, 1, 6}, {12, 77, 1}, {-1, 2, 1, 3}, {12, 3, 3, 1}, true},
      /* nothing missing: any shape */
      {{-1, 4, 6}, {24, 6, 1}, {-1, 3, 8}, {24, 8, 1}, true},
      /* layers before the batch have no stride of their own */
      {{2, -1, 6}, {6, 12, 1}, {-2, 6}, {0}, false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    int64_t out[MVS_MAX_RANK];
    mvs_type from = type_of(cases[i].from), to = type_of(cases[i].to);
    bool fits = mvs_strides_reshape(&from, cases[i].strides, &to, out);
    if (fits != cases[i].fits) fail_msg("case %zu", i);
    for (int k = 0; fits && k < to.rank; k++) {
      if (to.dims[k].size == 1 && !to.dims[k].per_batch) continue;
      if (out[k] != cases[i].wanted[k]) fail_msg("case %zu, axis %d: %ld", i, k, (long)out[k]);
    }
  }
}

static void heads_lie_side_by_side(void **state) {
  (void)state;
  static const struct {
    int64_t extents[FEW], strides[FEW];
    bool fits;
  } cases[] = {
      {{-1, 5, 2, 4}, {40, 8, 4, 1}, true},    /* whole */
      {{-1, 5, 2, 4}, {120, 24, 4, 1}, true},  /* in a row of 24 */
      {{-1, 5, 2, 4}, {120, 24, 8, 1}, false}, /* halves of heads */
      {{-1, 5, 2, 4}, {120, 24, 1, 2}, false}, /* turned around */
      {{-1, 5, 2, 4}, {240, 24, 4, 1}, false}, /* some tokens of a sample */
      {{-1, 1, 2, 4}, {24, 1, 4, 1}, true},    {{-1, 5, 8}, {40, 8, 1}, false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    mvs_type type = type_of(cases[i].extents);
    if (mvs_strides_fit_heads(&type, cases[i].strides) != cases[i].fits) {
      fail_msg("case %zu", i);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reshapes),
      cmocka_unit_test(heads_lie_side_by_side),
  };
  return cmocka_run_group_tests_name("strides", tests, NULL, NULL);
}
