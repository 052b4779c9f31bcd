/* ops_tests.h: the tests of test_ops that are not rows of ops. */
#ifndef MVS_TESTS_OPS_TESTS_H
#define MVS_TESTS_OPS_TESTS_H

typedef struct ops_test {
  const char *name;
  void (*run)(void **state);
} ops_test;

/* ops_regions.c */
void ops_regions_agree(void **state);
void ops_regions_agree_after_passes(void **state);
void ops_regions_agree_on_the_other_level(void **state);
void ops_region_gradients_agree(void **state);
void ops_batched_stacks_stay_whole(void **state);
/* ops_rules.c */
void ops_user_rules_agree(void **state);
void ops_library_rules_agree(void **state);
void ops_muon_agrees(void **state);
void ops_variants_of_attention_agree(void **state);
void ops_user_rules_agree_on_the_other_level(void **state);

/* Ended by a NULL name. */
extern const ops_test ops_tests[];

#endif
