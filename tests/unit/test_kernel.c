/* test_kernel.c: from graphs to kernels: what the nests compute, where they read and write, how
 * axes merge, split and are cut. Graphs are read from text and fused; every stored value gets a
 * buffer of its own, numbered by its node. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka needs the four above first. */
#include <cmocka.h>
#include <glob.h>

#include "codegen/build.h"
#include "codegen/cuda/printer.h"
#include "compiler/base/source.h"
#include "compiler/ir/dump.h"

typedef struct world {
  mvs_arena *arena;
  mvs_diag *diag;
  mvs_compilation compilation;
  mvs_schedule *schedule;
} world;

static void fail_with(const world *w, const char *what) {
  mvs_text words = mvs_text_new(w->arena);
  mvs_diag_render(w->diag, &words);
  fail_msg("%s: %s", what, mvs_text_string(&words));
}

/* A contiguous place in the buffer of node `buffer`. */
static mvs_place place_of(const mvs_type *type, mvs_id buffer) {
  mvs_place place = {.buffer = buffer};
  int64_t stride = 1;
  for (int i = type->rank - 1; i >= 0; i--) {
    place.strides[i] = stride;
    stride *= type->dims[i].size;
  }
  return place;
}

static void place_parts(mvs_schedule *schedule, mvs_id id) {
  const mvs_node *node = mvs_graph_node(schedule->graph, id);
  int axis = node->attr.concat.axis;
  int64_t offset = schedule->places[id].offset;
  for (int i = 0; i < node->input_count; i++) {
    mvs_place *part = &schedule->places[node->inputs[i]];
    *part = schedule->places[id];
    part->offset = offset;
    offset +=
        mvs_graph_type(schedule->graph, node->inputs[i])->dims[axis].size * part->strides[axis];
  }
}

/* Slices of placed values start inside them. */
static void place_alias(mvs_schedule *schedule, mvs_id id) {
  const mvs_node *node = mvs_graph_node(schedule->graph, id);
  mvs_place input = schedule->places[node->inputs[0]];
  mvs_place place = place_of(&node->type, input.buffer);
  place.offset = input.offset;
  if (node->op == MVS_OP_slice) {
    place.offset += node->attr.slice.start * input.strides[node->attr.slice.axis];
  }
  schedule->places[id] = place;
}

static void place_all(mvs_schedule *schedule) {
  for (mvs_id id = 0; id < mvs_graph_size(schedule->graph); id++) {
    if (schedule->roots[id] == MVS_NONE) continue;
    schedule->places[id] = place_of(mvs_graph_type(schedule->graph, id), id);
    if (schedule->roots[id] != id) place_alias(schedule, id);
  }
  for (mvs_id id = 0; id < mvs_graph_size(schedule->graph); id++) {
    bool placed = schedule->roots[id] == id;
    if (placed && mvs_graph_node(schedule->graph, id)->op == MVS_OP_concat) {
      place_parts(schedule, id);
    }
  }
}

static world start(const char *text) {
  world w = {.arena = mvs_arena_new()};
  w.diag = mvs_diag_new(w.arena);
  mvs_source *source = mvs_source_new(w.arena, "test", text, strlen(text));
  w.compilation = (mvs_compilation){.arena = w.arena, .diag = w.diag};
  if (mvs_module_read(w.arena, w.diag, source, &w.compilation.module) != MVS_OK) {
    fail_with(&w, "reading");
  }
  if (mvs_pass_fuse(&w.compilation) != MVS_OK) fail_with(&w, "fusing");
  w.schedule = w.compilation.plan->functions.items[0].top;
  place_all(w.schedule);
  return w;
}

/* The CUDA C text of a kernel without the prelude, which is the same in all. */
static void print_cuda(const world *w, const mvs_kernel *kernel, mvs_text *out) {
  mvs_text prelude = mvs_text_new(w->arena), text = mvs_text_new(w->arena);
  mvs_cuda_print_prelude(&prelude);
  mvs_cuda_print(kernel, &text);
  const char *whole = mvs_text_string(&text);
  const char *at = strstr(whole, mvs_text_string(&prelude));
  assert_non_null(at);
  mvs_text_add_bytes(out, whole, (size_t)(at - whole));
  mvs_text_add(out, at + prelude.length);
}

/* All kernels of the function: their dump, or their CUDA C texts. */
static const char *kernels_of(const world *w, bool cuda) {
  mvs_text text = mvs_text_new(w->arena);
  for (size_t i = 0; i < w->schedule->groups.count; i++) {
    mvs_kernel *kernel;
    if (mvs_kernel_build(w->arena, w->diag, w->schedule, &w->schedule->groups.items[i],
                         &kernel) != MVS_OK) {
      fail_with(w, "building");
    }
    kernel->name = mvs_arena_format(w->arena, "k%zu", i);
    if (cuda) {
      print_cuda(w, kernel, &text);
    } else {
      mvs_kernel_dump(kernel, &text);
    }
  }
  return mvs_text_string(&text);
}

/* --- golden files --- */

static void bless(const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  assert_true(fputs(text, file) >= 0);
  assert_int_equal(fclose(file), 0);
}

static const char *read_file(mvs_arena *arena, const char *path) {
  mvs_source *source;
  mvs_diag *diag = mvs_diag_new(arena);
  assert_int_equal(mvs_source_read(arena, diag, path, 1 << 20, (mvs_span){0}, &source), MVS_OK);
  return source->text;
}

static void compare(mvs_arena *arena, const char *got, const char *wanted) {
  if (getenv("MVS_BLESS")) bless(wanted, got);
  assert_string_equal(got, read_file(arena, wanted));
}

/* tests/golden/kernels/NAME.ir gives the kernels of NAME.txt and the CUDA C of
 * tests/golden/cuda/NAME.cu; MVS_BLESS=1 rewrites those. */
static void graph_gives_kernels(void **state) {
  const char *path = *state, *name = strrchr(path, '/') + 1;
  int stem = (int)strcspn(name, ".");
  mvs_arena *arena = mvs_arena_new();
  world w = start(read_file(arena, path));
  compare(arena, kernels_of(&w, false),
          mvs_arena_format(arena, MVS_SOURCE_DIR "/tests/golden/kernels/%.*s.txt", stem, name));
  compare(arena, kernels_of(&w, true),
          mvs_arena_format(arena, MVS_SOURCE_DIR "/tests/golden/cuda/%.*s.cu", stem, name));
  mvs_arena_free(w.arena);
  mvs_arena_free(arena);
}

/* What every text starts with. */
static void cuda_starts_with_the_prelude(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_text text = mvs_text_new(arena);
  mvs_cuda_print_prelude(&text);
  compare(arena, mvs_text_string(&text), MVS_SOURCE_DIR "/tests/golden/cuda/prelude.cu");
  mvs_arena_free(arena);
}

/* --- the verifier and the needs --- */

static mvs_kernel *norm_kernel(world *w, mvs_arena *arena) {
  *w = start(read_file(arena, MVS_SOURCE_DIR "/tests/golden/kernels/norm.ir"));
  mvs_kernel *kernel;
  assert_int_equal(
      mvs_kernel_build(w->arena, w->diag, w->schedule, &w->schedule->groups.items[0], &kernel),
      MVS_OK);
  return kernel;
}

static mvs_instr *find(mvs_kernel *kernel, mvs_instr_kind kind) {
  mvs_nest *nest = &kernel->nests.items[0];
  for (size_t i = 0; i < nest->instrs.count; i++) {
    if (nest->instrs.items[i].kind == kind) return &nest->instrs.items[i];
  }
  fail();
  return NULL;
}

static void break_order(mvs_kernel *k) { find(k, MVS_INSTR_REDUCE)->arguments[0] = 20; }
static void break_operand(mvs_kernel *k) { find(k, MVS_INSTR_LOAD)->access.operand = 9; }
static void break_written(mvs_kernel *k) { k->written[2] = false; }
static void break_load(mvs_kernel *k) { find(k, MVS_INSTR_LOAD)->dtype = MVS_F64; }
static void break_bf16(mvs_kernel *k) { find(k, MVS_INSTR_ARITH)->dtype = MVS_BF16; }
static void break_phase(mvs_kernel *k) { find(k, MVS_INSTR_STORE)->phase = 0; }
static void break_phases(mvs_kernel *k) { k->nests.items[0].phases = 1; }
static void break_level(mvs_kernel *k) { find(k, MVS_INSTR_ARITH)->level = MVS_LEVEL_ROW; }
static void break_row(mvs_kernel *k) { find(k, MVS_INSTR_LOAD)->level = MVS_LEVEL_ROW; }
static void break_reduce(mvs_kernel *k) { find(k, MVS_INSTR_REDUCE)->op = MVS_OP_add; }
static void break_op(mvs_kernel *k) { find(k, MVS_INSTR_ARITH)->op = MVS_OP_normalize; }
static void break_batch(mvs_kernel *k) { k->nests.items[0].inner.per_batch = true; }
static void break_inner(mvs_kernel *k) {
  mvs_nest *nest = &k->nests.items[0];
  nest->nest_class = MVS_KERNEL_COLUMNS;
  nest->lanes = 16;
  nest->outer_count = 0;
  nest->inner.per_batch = true;
}
static void break_segments(mvs_kernel *k) { k->nests.items[0].segment_axis = 5; }

static void break_lanes(mvs_kernel *k) { k->nests.items[0].lanes = 16; }

static const struct breakage {
  const char *rule;
  void (*apply)(mvs_kernel *kernel);
} breakages[] = {
    {"arguments stand before their users", break_order},
    {"operands are declared", break_operand},
    {"stored operands are marked written", break_written},
    {"loads widen to the dtype of arithmetic", break_load},
    {"bf16 lives only in memory", break_bf16},
    {"what follows a reduction has a later phase", break_phase},
    {"phases are less than the nest's", break_phases},
    {"row values depend on row values only", break_level},
    {"row values do not move along inner or sequential", break_row},
    {"reductions have the level of their nest", break_reduce},
    {"arithmetic is an elementwise op", break_op},
    {"the batch is the slowest axis", break_batch},
    {"columns have no batch innermost", break_inner},
    {"the segment axis exists", break_segments},
    {"lanes of columns fold by halves", break_lanes},
};

static void verifier_names_the_rule(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof breakages / sizeof *breakages; i++) {
    mvs_arena *arena = mvs_arena_new();
    world w;
    mvs_kernel *kernel = norm_kernel(&w, arena);
    assert_int_equal(mvs_kernel_verify(kernel, w.diag), MVS_OK);
    breakages[i].apply(kernel);
    assert_int_equal(mvs_kernel_verify(kernel, w.diag), MVS_ERR_INTERNAL);
    mvs_text words = mvs_text_new(arena);
    mvs_diag_render(w.diag, &words);
    if (!strstr(mvs_text_string(&words), breakages[i].rule)) {
      fail_msg("wanted '%s', got %s", breakages[i].rule, mvs_text_string(&words));
    }
    mvs_arena_free(w.arena);
    mvs_arena_free(arena);
  }
}

/* The product x * y is needed while its squares are summed and again when it is scaled. */
static void needs_follow_phases(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  world w;
  mvs_kernel *kernel = norm_kernel(&w, arena);
  mvs_phase_mask masks[64];
  mvs_nest_needs(&kernel->nests.items[0], masks);
  const uint32_t wanted[] = {3, 3, 3, 1, 1, 0, 0, 0, 0, 0, 2, 2, 2};
  assert_int_equal(kernel->nests.items[0].instrs.count, sizeof wanted / sizeof *wanted);
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
    assert_int_equal(masks[i], wanted[i]);
  }
  mvs_arena_free(w.arena);
  mvs_arena_free(arena);
}

/* The lanes of a sum over `reduced` of a space: what docs/numerics.md says of them. */
static int lanes_of(const mvs_dim *dims, int rank, uint32_t reduced,
                    const mvs_segments *segments) {
  mvs_nest_plan plan = {.space = mvs_type_make(MVS_F32, rank, dims), .reduced_axes = reduced};
  plan.space.segments = segments;
  plan.by_segment = segments != NULL;
  return mvs_column_lanes(&plan);
}

static void lanes_follow_shapes(void **state) {
  (void)state;
  static const mvs_segments two = {2, {{"image", 5, 0, 0}, {"text", 2, 0, 0}}};
  const mvs_dim tokens[] = {{1, true}, {7, false}, {3, false}};
  assert_int_equal(lanes_of(tokens, 3, 2, NULL), 16); /* the result has a batch */
  assert_int_equal(lanes_of(tokens, 3, 2, &two), 16);
  assert_int_equal(lanes_of(tokens + 1, 2, 1, NULL), 1024);
  static const struct {
    int64_t columns;
    int lanes;
  } wanted[] = {{1, 1024}, {63, 1024}, {64, 16}, {1 << 30, 16}};
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
    const mvs_dim batch[] = {{1, true}, {wanted[i].columns, false}};
    assert_int_equal(lanes_of(batch, 2, 1, NULL), wanted[i].lanes);
  }
}

int main(void) {
  glob_t files;
  if (glob(MVS_SOURCE_DIR "/tests/golden/kernels/*.ir", 0, NULL, &files) != 0) return 1;
  struct CMUnitTest tests[64] = {
      cmocka_unit_test(verifier_names_the_rule), cmocka_unit_test(needs_follow_phases),
      cmocka_unit_test(lanes_follow_shapes), cmocka_unit_test(cuda_starts_with_the_prelude)};
  size_t count = 4;
  for (size_t i = 0; i < files.gl_pathc && count < 64; i++) {
    tests[count++] = (struct CMUnitTest){.name = strrchr(files.gl_pathv[i], '/') + 1,
                                         .test_func = graph_gives_kernels,
                                         .initial_state = files.gl_pathv[i]};
  }
  int failed = _cmocka_run_group_tests("kernels", tests, count, NULL, NULL);
  globfree(&files);
  return failed;
}
