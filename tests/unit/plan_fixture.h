/* plan_fixture.h: what tests of the plan passes share: graphs as text to plans. Include after
 * cmocka. Failures of the compiler fail the test with its own words. */
#ifndef MVS_TESTS_PLAN_FIXTURE_H
#define MVS_TESTS_PLAN_FIXTURE_H

#include "compiler/base/source.h"
#include "compiler/ir/dump.h"
#include "compiler/ir/verify.h"
#include "compiler/passes/plan.h"

typedef struct planned {
  mvs_arena *arena;
  mvs_diag *diag;
  mvs_compilation compilation;
} planned;

static inline planned *plan_new(void) {
  mvs_arena *arena = mvs_arena_new();
  planned *p = MVS_NEW(arena, planned);
  p->arena = arena;
  p->diag = mvs_diag_new(arena);
  p->compilation = (mvs_compilation){.arena = arena, .diag = p->diag};
  return p;
}

static inline void plan_free(planned *p) { mvs_arena_free(p->arena); }

static inline void plan_good(planned *p, mvs_status status) {
  if (status == MVS_OK) return;
  mvs_text words = mvs_text_new(p->arena);
  mvs_diag_render(p->diag, &words);
  fail_msg("%s", mvs_text_string(&words));
}

/* Reads a module from text and plans it as it stands. */
static inline mvs_status plan_try(planned *p, const char *name, const char *text) {
  mvs_source *source = mvs_source_new(p->arena, name, text, strlen(text));
  MVS_TRY(mvs_module_read(p->arena, p->diag, source, &p->compilation.module));
  MVS_TRY(mvs_module_verify(p->compilation.module, "reading", p->diag));
  MVS_TRY(mvs_pass_fuse(&p->compilation));
  MVS_TRY(mvs_pass_schedule(&p->compilation));
  return mvs_pass_memory(&p->compilation);
}

static inline void plan_text(planned *p, const char *name, const char *text) {
  plan_good(p, plan_try(p, name, text));
}

static inline const mvs_function_plan *plan_function(const planned *p, const char *name) {
  const mvs_plan *plan = p->compilation.plan;
  for (size_t i = 0; i < plan->functions.count; i++) {
    if (strcmp(plan->functions.items[i].name, name) == 0) return &plan->functions.items[i];
  }
  fail_msg("no function %s", name);
  return NULL;
}

static inline const mvs_schedule *plan_body(const mvs_function_plan *function, size_t index) {
  assert_true(index < function->top->bodies.count);
  return function->top->bodies.items[index];
}

#endif
