/* test_chain.c: what becomes a chain, and what must not, from addresses alone. Kernels are
 * tables made here: a row of 20 samples' tokens has 64 bytes of what it reads and of what it
 * writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
/* cmocka needs the above first. */
#include <cmocka.h>

#include "runtime/chain.h"

enum { MOST = 8, TOKENS = 20, ROW = 64, BATCH = 64, MATRIX = TOKENS * ROW * BATCH };

typedef struct tables {
  mvs_arena *arena;
  mvs_program program;
  mvs_launch launches[MOST];
  size_t count;
  char memory[8 * MATRIX];
} tables;

static void open_tables(tables *t) {
  memset(t, 0, sizeof *t);
  t->arena = mvs_arena_new();
  mvs__program__init(&t->program);
  t->program.kernels = MVS_ARRAY(t->arena, MOST, Mvs__Kernel *);
}

/* A launch of a kernel of its own that reads from and writes to these places; its rows are
 * tokens of samples. Bytes that a launch costs are enough for threads. */
static Mvs__Nest *add_launch(tables *t, int64_t from, int64_t to) {
  Mvs__Kernel *kernel = t->program.kernels[t->program.n_kernels] =
      MVS_NEW(t->arena, Mvs__Kernel);
  mvs__kernel__init(kernel);
  kernel->read_fixed = MATRIX;
  Mvs__Stage *stage = MVS_NEW(t->arena, Mvs__Stage);
  Mvs__Nest *nest = MVS_NEW(t->arena, Mvs__Nest);
  mvs__stage__init(stage), mvs__nest__init(nest);
  kernel->stages = MVS_ARRAY(t->arena, 2, Mvs__Stage *);
  stage->nests = MVS_ARRAY(t->arena, 1, Mvs__Nest *);
  kernel->stages[kernel->n_stages++] = stage;
  stage->nests[stage->n_nests++] = nest;
  nest->rows = MVS_NEW(t->arena, Mvs__Extent);
  mvs__extent__init(nest->rows);
  nest->rows->size = TOKENS, nest->rows->per_batch = true;
  nest->axes = MVS_ARRAY(t->arena, 2, Mvs__Extent *);
  nest->axes[nest->n_axes++] = nest->rows;
  nest->accesses = MVS_ARRAY(t->arena, 4, Mvs__Access *);
  void **operands = MVS_ARRAY(t->arena, 4, void *);
  const int64_t places[2] = {from, to};
  for (uint32_t i = 0; i < 2; i++) {
    Mvs__Access *access = nest->accesses[nest->n_accesses++] = MVS_NEW(t->arena, Mvs__Access);
    mvs__access__init(access);
    access->operand = i, access->written = i == 1;
    access->strides = MVS_ARRAY(t->arena, 2, int64_t);
    access->strides[0] = access->high = ROW;
    access->n_strides = 1;
    operands[i] = t->memory + places[i];
  }
  t->launches[t->count++] = (mvs_launch){.kernel = (uint32_t)t->program.n_kernels++,
                                         .operands = operands,
                                         .operand_count = 2,
                                         .batch = BATCH};
  return nest;
}

/* Makes the nest read all rows for each of its own, as a gradient of weights does, whose own
 * rows are no part of the batch. */
static void read_all(Mvs__Nest *nest, bool batched) {
  nest->accesses[0]->strides[0] = 0;
  nest->accesses[0]->high = 0;
  nest->accesses[0]->high_per_batch = MATRIX / BATCH;
  nest->rows->per_batch = batched;
}

/* Jobs as text: "0.1.2x64 3" is a chain of three launches in 64 blocks, then one more; launches
 * with `&` between stand side by side. Stages behind the first have a prime. */
static void expect(tables *t, int threads, const char *jobs) {
  char text[256] = "";
  mvs_chain_plan plan =
      mvs_chain_plan_new(t->arena, &t->program, t->launches, t->count, threads);
  for (size_t job = 0; job < plan.count; job++) {
    const mvs_chain_job *each = &plan.jobs[job];
    for (size_t part = 0; part < each->count; part++) {
      size_t used = strlen(text);
      snprintf(text + used, sizeof text - used, "%s%d%s",
               part  ? each->blocks ? "." : "&"
               : job ? " "
                     : "",
               each->parts[part].launch, each->parts[part].stage ? "'" : "");
    }
    size_t used = strlen(text);
    if (each->blocks) snprintf(text + used, sizeof text - used, "x%d", (int)each->blocks);
  }
  assert_string_equal(text, jobs);
  mvs_arena_free(t->arena);
}

static void rows_that_follow_rows(void **state) {
  (void)state;
  tables t;
  open_tables(&t);
  add_launch(&t, 0, MATRIX);
  add_launch(&t, MATRIX, 2 * MATRIX);
  add_launch(&t, 2 * MATRIX, MATRIX); /* over what nobody reads any more, block by block */
  expect(&t, 2, "0.1.2x64");
}

static void a_sum_over_all_waits(void **state) {
  (void)state;
  tables t;
  open_tables(&t);
  add_launch(&t, 0, MATRIX);
  read_all(add_launch(&t, MATRIX, 2 * MATRIX), true);
  expect(&t, 2, "0 1");
}

/* Memory is used again a block further: by then another thread may not have read what is there.
 */
static void another_block_s_memory(void **state) {
  (void)state;
  for (int64_t shift = -3; shift <= 3; shift++) {
    tables t;
    open_tables(&t);
    add_launch(&t, 3 * MATRIX, MATRIX);
    add_launch(&t, MATRIX, 3 * MATRIX + shift * ROW * TOKENS);
    expect(&t, 2, shift ? "0 1" : "0.1x64");
  }
  for (int64_t shift = -1; shift <= 1; shift += 2) { /* the edge of a block is enough */
    tables t;
    open_tables(&t);
    add_launch(&t, 3 * MATRIX, MATRIX);
    add_launch(&t, MATRIX, 3 * MATRIX + shift);
    expect(&t, 2, "0 1");
  }
  tables t;
  open_tables(&t);
  add_launch(&t, 3 * MATRIX, MATRIX);
  add_launch(&t, MATRIX, 4 * MATRIX); /* just behind it */
  expect(&t, 2, "0.1x64");
}

/* Two kernels that write halves of the same rows. */
static void halves_of_rows(void **state) {
  (void)state;
  tables t;
  open_tables(&t);
  add_launch(&t, 0, MATRIX)->accesses[1]->high = ROW / 2;
  add_launch(&t, 0, MATRIX + ROW / 2)->accesses[1]->high = ROW / 2;
  add_launch(&t, MATRIX, 2 * MATRIX);
  expect(&t, 2, "0.1.2x64");
}

/* What sums over all rows is put off to the end of the chain, as long as nobody needs it, and
 * nobody writes what it reads. */
static void sums_are_put_off(void **state) {
  (void)state;
  tables t;
  open_tables(&t);
  add_launch(&t, 0, MATRIX);
  read_all(add_launch(&t, MATRIX, 5 * MATRIX), false);
  add_launch(&t, MATRIX, 2 * MATRIX);
  read_all(add_launch(&t, 2 * MATRIX, 6 * MATRIX), false);
  expect(&t, 2, "0.2x64 1&3");
  open_tables(&t);
  add_launch(&t, 0, MATRIX);
  read_all(add_launch(&t, MATRIX, 5 * MATRIX), false);
  add_launch(&t, 0, MATRIX);
  expect(&t, 2, "0 1 2");
  open_tables(&t);
  add_launch(&t, 0, MATRIX);
  read_all(add_launch(&t, MATRIX, 5 * MATRIX), false);
  add_launch(&t, 5 * MATRIX, 2 * MATRIX);
  expect(&t, 2, "0 1 2");
}

/* A product packs its weights first: ahead of the chain that it is in. */
static void first_stages_go_ahead(void **state) {
  (void)state;
  tables t;
  open_tables(&t);
  add_launch(&t, 0, MATRIX);
  Mvs__Nest *pack = add_launch(&t, 6 * MATRIX, 7 * MATRIX);
  pack->n_axes = 0;
  for (size_t i = 0; i < 2; i++) pack->accesses[i]->n_strides = 0;
  add_launch(&t, MATRIX, 2 * MATRIX);
  Mvs__Kernel *product = t.program.kernels[1], *rows = t.program.kernels[2];
  product->stages[product->n_stages++] = rows->stages[0];
  void **operands = MVS_ARRAY(t.arena, 4, void *);
  for (size_t i = 0; i < 2; i++) {
    rows->stages[0]->nests[0]->accesses[i]->operand += 2;
    operands[i] = t.launches[1].operands[i];
    operands[i + 2] = t.launches[2].operands[i];
  }
  t.launches[1].operands = operands, t.launches[1].operand_count = 4;
  t.count--, t.program.n_kernels--;
  expect(&t, 2, "1 0.1'x64");
}

/* With few samples blocks are rows; with few of those there is no chain. */
static void few_samples(void **state) {
  (void)state;
  for (int64_t batch = 1; batch <= 64; batch *= 2) {
    tables t;
    open_tables(&t);
    add_launch(&t, 0, MATRIX);
    add_launch(&t, MATRIX, 2 * MATRIX);
    t.launches[0].batch = t.launches[1].batch = batch;
    expect(&t, 2,
           batch < 8     ? "0 1"
           : batch == 8  ? "0.1x160"
           : batch == 16 ? "0.1x320"
           : batch == 32 ? "0.1x32"
                         : "0.1x64");
  }
}

/* Tokens of samples that lie apart: samples are equally far from one another, tokens are not.
 */
static void samples_apart(void **state) {
  (void)state;
  for (int64_t batch = 16; batch <= 64; batch *= 4) {
    tables t;
    open_tables(&t);
    for (int i = 0; i < 2; i++) {
      Mvs__Nest *nest = add_launch(&t, 2 * i * MATRIX, 2 * (i + 1) * MATRIX);
      Mvs__Extent *tokens = MVS_NEW(t.arena, Mvs__Extent);
      Mvs__Extent *samples = nest->axes[0] = MVS_NEW(t.arena, Mvs__Extent);
      mvs__extent__init(tokens), mvs__extent__init(samples);
      samples->size = 1, samples->per_batch = true;
      tokens->size = TOKENS;
      nest->axes[nest->n_axes++] = tokens;
      for (size_t k = 0; k < 2; k++) {
        nest->accesses[k]->n_strides = 2;
        nest->accesses[k]->strides[0] = (int64_t)2 * TOKENS * ROW;
        nest->accesses[k]->strides[1] = ROW;
      }
      t.launches[i].batch = batch;
    }
    expect(&t, 2, batch == 64 ? "0.1x64" : "0 1");
  }
}

/* Rows that a kernel takes 8 at a time are cut by 4 and 8 and 16 of them, not by 20. */
static void steps_of_rows(void **state) {
  (void)state;
  tables t;
  open_tables(&t);
  add_launch(&t, 0, MATRIX)->row_step = 8;
  add_launch(&t, MATRIX, 2 * MATRIX);
  expect(&t, 2, "0 1");
  open_tables(&t);
  add_launch(&t, 0, MATRIX)->row_step = 4;
  add_launch(&t, MATRIX, 2 * MATRIX);
  expect(&t, 2, "0.1x64");
}

static void products_of_few_rows(void **state) {
  (void)state;
  for (int64_t chunk = TOKENS * BATCH - 1; chunk <= TOKENS * BATCH; chunk++) {
    tables t;
    open_tables(&t);
    add_launch(&t, 0, MATRIX)->row_chunk = chunk;
    add_launch(&t, MATRIX, 2 * MATRIX);
    Mvs__Matmul product;
    mvs__matmul__init(&product);
    t.program.kernels[0]->matmul = &product;
    expect(&t, 2, chunk < TOKENS * BATCH ? "0.1x64" : "0 1");
  }
}

/* A table that lies names an operand that the launch has not: nothing is read behind the end.
 */
static void unknown_operands(void **state) {
  (void)state;
  tables t;
  open_tables(&t);
  add_launch(&t, 0, MATRIX);
  add_launch(&t, MATRIX, 2 * MATRIX)->accesses[0]->operand = 2;
  add_launch(&t, 2 * MATRIX, 3 * MATRIX);
  expect(&t, 2, "0 1 2");
}

/* Plans look at a kernel's last stage, and at that one's first nest. */
static void kernels_without_code(void **state) {
  (void)state;
  for (int lacks = 0; lacks < 3; lacks++) {
    tables t;
    open_tables(&t);
    t.program.cpu_level = (char *)(uintptr_t) "x86-64-v3";
    add_launch(&t, 0, MATRIX)->address = 16; /* as of code loaded by a JIT */
    Mvs__Kernel *kernel = t.program.kernels[0];
    kernel->name = (char *)(uintptr_t) "k0";
    if (lacks == 1) kernel->stages[0]->n_nests = 0;
    if (lacks == 2) kernel->n_stages = 0;
    mvs_diag *diag = mvs_diag_new(t.arena);
    mvs_device *device;
    mvs_status status = mvs_device_open_host(&t.program, 2, diag, &device);
    assert_int_equal(status, lacks ? MVS_ERR_INTERNAL : MVS_OK);
    if (device) device->close(device);
    mvs_arena_free(t.arena);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(rows_that_follow_rows),
                                     cmocka_unit_test(a_sum_over_all_waits),
                                     cmocka_unit_test(another_block_s_memory),
                                     cmocka_unit_test(halves_of_rows),
                                     cmocka_unit_test(sums_are_put_off),
                                     cmocka_unit_test(first_stages_go_ahead),
                                     cmocka_unit_test(few_samples),
                                     cmocka_unit_test(samples_apart),
                                     cmocka_unit_test(steps_of_rows),
                                     cmocka_unit_test(products_of_few_rows),
                                     cmocka_unit_test(unknown_operands),
                                     cmocka_unit_test(kernels_without_code)};
  return cmocka_run_group_tests_name("chain", tests, NULL, NULL);
}
