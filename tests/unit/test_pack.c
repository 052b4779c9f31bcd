/* test_pack.c: the pack pass on tests/golden/pack: what it leaves computes the same in float64,
 * and so do its gradients; which parameters go together is compared as text by test_golden.c.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
/* cmocka needs the four first. */
#include <cmocka.h>

#include "compiler/base/source.h"
#include "compiler/ir/dump.h"
#include "compiler/ir/verify.h"
#include "compiler/passes/pass.h"
#include "tests/reference/reference.h"

#define BATCH 2
/* One sum of 16 terms where there were two of 8 rounds otherwise. */
#define TOLERANCE 1e-12

typedef struct model {
  mvs_arena *arena;
  mvs_diag *diag;
  mvs_module *module;
} model;

static void good(const model *m, mvs_status status) {
  if (status == MVS_OK) return;
  mvs_text words = mvs_text_new(m->arena);
  mvs_diag_render(m->diag, &words);
  fail_msg("%s", mvs_text_string(&words));
}

static model read(const char *name) {
  mvs_arena *arena = mvs_arena_new();
  model m = {arena, mvs_diag_new(arena), NULL};
  mvs_source *source;
  mvs_span none = {0};
  const char *path = mvs_arena_format(arena, MVS_SOURCE_DIR "/tests/golden/pack/%s.ir", name);
  good(&m, mvs_source_read(arena, m.diag, path, 1 << 20, none, &source));
  good(&m, mvs_module_read(arena, m.diag, source, &m.module));
  good(&m, mvs_module_verify(m.module, "reading", m.diag));
  return m;
}

/* Runs the pass, and the one that takes gradients when asked to. */
static void pack(model *m, bool gradients) {
  mvs_compilation compilation = {.arena = m->arena, .diag = m->diag, .module = m->module};
  compilation.facts = MVS_FACT_SIMPLE;
  good(m, mvs_pass_pack(&compilation));
  good(m, mvs_module_verify(m->module, "pack", m->diag));
  if (gradients) good(m, mvs_pass_gradients(&compilation));
  good(m, mvs_module_verify(m->module, "gradients", m->diag));
}

static size_t packs_of(const model *m) {
  size_t count = 0;
  for (size_t i = 0; i < m->module->params.count; i++) {
    count += m->module->params.items[i].is_pack;
  }
  return count;
}

static void compare(const model *m, const mvs_graph *before, const mvs_graph *after) {
  mvs_tensor_map given = {0}, wanted = {0}, got = {0};
  mvs_reference_options options = {.diag = m->diag};
  mvs_reference_fill(m->arena, before, BATCH, 1, &given);
  good(m, mvs_reference_run(m->arena, before, BATCH, &given, &options, &wanted));
  good(m, mvs_reference_run(m->arena, after, BATCH, &given, &options, &got));
  assert_int_equal(wanted.count, got.count);
  for (size_t i = 0; i < wanted.count; i++) {
    const mvs_tensor *left = &wanted.items[i].tensor, *right = &got.items[i].tensor;
    assert_true(mvs_type_equal(&left->type, &right->type));
    for (int64_t at = 0; at < mvs_tensor_count(left, BATCH); at++) {
      assert_true(fabs(left->data[at] - right->data[at]) <= TOLERANCE);
    }
  }
}

static void values_stay(void **state) {
  (void)state;
  static const struct {
    const char *name;
    size_t packs;
  } files[] = {{"attention", 1}, {"biases", 2}, {"alone", 0}, {"groups", 1}};
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    model plain = read(files[i].name), packed = read(files[i].name);
    pack(&packed, false);
    assert_int_equal(packs_of(&packed), files[i].packs);
    for (size_t f = 0; f < plain.module->functions.count; f++) {
      compare(&packed, plain.module->functions.items[f].graph,
              packed.module->functions.items[f].graph);
    }
    mvs_arena_free(plain.arena);
    mvs_arena_free(packed.arena);
  }
}

static void gradients_of_parts_agree(void **state) {
  (void)state;
  model plain = read("attention"), packed = read("attention");
  const mvs_graph *loss = mvs_module_function(plain.module, "loss")->graph;
  pack(&packed, true);
  mvs_tensor_map given = {0};
  mvs_reference_fill(plain.arena, loss, BATCH, 1, &given);
  for (size_t i = 0; i < plain.module->params.count; i++) {
    const char *name = plain.module->params.items[i].name;
    if (!mvs_tensor_map_find(&given, name)) continue; /* "other", which nothing uses */
    mvs_gradient_case check = {.function = loss,
                               .value = "loss",
                               .grad = mvs_module_function(packed.module, "grad")->graph,
                               .gradient = mvs_arena_format(plain.arena, "g/%s", name),
                               .variable = name,
                               .batch = BATCH,
                               .given = &given};
    mvs_gradient_report report;
    good(&packed, mvs_reference_check_gradient(plain.arena, &check, packed.diag, &report));
    /* Central differences in float64 are good to about 1e-9. */
    if (!(report.worst < 1e-6)) fail_msg("%s is off by %g", name, report.worst);
  }
  mvs_arena_free(plain.arena);
  mvs_arena_free(packed.arena);
}

/* A pack in a dump is read back as what it was. */
static void packs_are_read_back(void **state) {
  (void)state;
  model m = read("biases");
  pack(&m, false);
  mvs_text text = mvs_text_new(m.arena), again = mvs_text_new(m.arena);
  mvs_module_dump(m.module, &text);
  mvs_source source = {"dump", mvs_text_string(&text), text.length};
  model back = {m.arena, m.diag, NULL};
  good(&m, mvs_module_read(m.arena, m.diag, &source, &back.module));
  good(&back, mvs_module_verify(back.module, "reading back", m.diag));
  mvs_module_dump(back.module, &again);
  assert_string_equal(mvs_text_string(&text), mvs_text_string(&again));
  mvs_arena_free(m.arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values_stay),
      cmocka_unit_test(gradients_of_parts_agree),
      cmocka_unit_test(packs_are_read_back),
  };
  return cmocka_run_group_tests_name("packs", tests, NULL, NULL);
}
