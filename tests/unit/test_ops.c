/* test_ops.c: every op, compositions of ops, regions and whole models through fusion,
 * scheduling, memory layout, kernels, machine code and the executor, against the float64
 * reference. The rows of ops are in ops_elements.c, ops_movement.c and ops_heavy.c. */
#include "tests/unit/ops_rows.h"
#include "tests/unit/ops_tests.h"

static const ops_row *const rows[MVS_OP_COUNT] = {
#define MVS_OP(id, least, most, class, attribute) [MVS_OP_##id] = &ops_row_##id,
#include "compiler/ir/ops.def"
#undef MVS_OP
};

static bool graph_has(const mvs_graph *graph, mvs_op op) {
  for (mvs_id id = 0; id < mvs_graph_size(graph); id++) {
    const mvs_node *node = mvs_graph_node(graph, id);
    if (node->op == op) return true;
    if (node->op == MVS_OP_region && graph_has(node->attr.region.body->body, op)) return true;
  }
  return false;
}

/* A row that tries another op would prove nothing. */
static void has_op(const ops_suite *s, mvs_op op) {
  for (size_t i = 0; i < s->cases.count; i++) {
    if (graph_has(s->cases.items[i].graph, op)) return;
  }
  fail_msg("the row of %s does not try it", mvs_ops[op].name);
}

static void try_row(mvs_op op, const char *level, bool few) {
  const ops_row *row = rows[op];
  ops_suite *s = ops_suite_new();
  s->level = level;
  s->few = few;
  s->low = row->low, s->high = row->high;
  s->tolerance = row->tolerance;
  row->build(s, op);
  has_op(s, op);
  if (row->passes) {
    ops_compile(s);
  } else {
    ops_compile_raw(s);
  }
  if (few) {
    ops_check(s, 3);
  } else {
    ops_check_batches(s);
  }
  ops_suite_end(s);
}

/* All shapes on this machine's best instruction set, some on the other. */
static void row_agrees(void **state) {
  mvs_op op = (mvs_op)(*(const mvs_op_info **)state - mvs_ops);
  try_row(op, NULL, false);
  try_row(op, ops_level_runs("x86-64-v4") ? "x86-64-v3" : "x86-64-v4", true);
}

int main(int argc, char **argv) {
  enum { MOST = MVS_OP_COUNT + 64 };
  static struct CMUnitTest tests[MOST];
  size_t count = 0;
  for (int op = 0; op < MVS_OP_COUNT; op++) {
    tests[count++] =
        (struct CMUnitTest){mvs_ops[op].name, row_agrees, NULL, NULL, (void *)&mvs_ops[op]};
  }
  for (const ops_test *test = ops_tests; test->name; test++) {
    assert_true(count < MOST);
    tests[count++] = (struct CMUnitTest){test->name, test->run, NULL, NULL, NULL};
  }
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  return _cmocka_run_group_tests("ops", tests, count, NULL, NULL);
}
