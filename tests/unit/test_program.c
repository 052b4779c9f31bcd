/* test_program.c: packing, executables, and hostile bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka needs the four above first. */
#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "codegen/program.h"

enum { HEAD = 24, TAIL = 24 };

/* A small program with one of everything that has an index. */
typedef struct sample {
  mvs_program program;
  Mvs__Settings settings;
  Mvs__Param param, *params[1];
  Mvs__Function function, *functions[1];
  Mvs__Buffer buffer, *buffers[1];
  Mvs__Tensor tensor, *tensors[1];
  Mvs__Step step, *steps[1], inner, *inners[1];
  Mvs__Loop loop, *loops[1];
  Mvs__Alternative alternative, *alternatives[1];
  uint32_t again; /* the step that the alternative runs */
  Mvs__ModelInput input, other_input, *inputs[1], *other_inputs[1];
  Mvs__Specialisation specialisation, *specialisations[1];
  Mvs__Operand operand, *operands[1];
  Mvs__Kernel kernel, *kernels[1];
  Mvs__Attention attention;
  int64_t strides[5];
  Mvs__Traffic traffic, *traffics[1];
  Mvs__Stage stage, *stages[1];
  Mvs__Nest nest, *nests[1];
  Mvs__Extent rows, inner_extent, samples, tokens, *axes[2];
  Mvs__Access access, *accesses[1];
  int64_t steps_of_axes[2];
  int64_t shape[2];
  uint8_t code[64];
} sample;

static void fill_kernel(sample *s) {
  mvs__extent__init(&s->rows);
  mvs__extent__init(&s->inner_extent);
  s->rows = (Mvs__Extent){s->rows.base, 10, true};
  s->inner_extent = (Mvs__Extent){s->inner_extent.base, 64, false};
  mvs__nest__init(&s->nest);
  s->nest.symbol = "k0_n0";
  s->nest.address = 16;
  s->nest.rows = &s->rows;
  s->nest.inner = &s->inner_extent;
  s->nest.row_chunk = 3;
  mvs__extent__init(&s->samples);
  mvs__extent__init(&s->tokens);
  s->samples = (Mvs__Extent){s->samples.base, 2, true};
  s->tokens = (Mvs__Extent){s->tokens.base, 5, false};
  s->axes[0] = &s->samples, s->axes[1] = &s->tokens;
  s->nest.axes = s->axes;
  s->nest.n_axes = 2;
  mvs__access__init(&s->access);
  s->access.strides = s->steps_of_axes;
  s->access.n_strides = 2;
  s->access.high = 4;
  s->accesses[0] = &s->access;
  s->nest.accesses = s->accesses;
  s->nest.n_accesses = 1;
  s->nests[0] = &s->nest;
  mvs__stage__init(&s->stage);
  s->stage.nests = s->nests;
  s->stage.n_nests = 1;
  s->stages[0] = &s->stage;
  mvs__kernel__init(&s->kernel);
  s->kernel.name = "k0_rows";
  s->kernel.stages = s->stages;
  s->kernel.n_stages = 1;
  mvs__attention__init(&s->attention);
  s->attention.strides = s->strides;
  s->attention.n_strides = 5;
  s->kernel.attention = &s->attention;
  mvs__traffic__init(&s->traffic);
  s->traffics[0] = &s->traffic;
  s->kernel.traffic = s->traffics;
  s->kernel.n_traffic = 1;
  s->kernels[0] = &s->kernel;
}

static void fill_function(sample *s) {
  mvs__buffer__init(&s->buffer);
  s->buffer.kind = MVS__BUFFER__KIND__PARAM;
  s->buffer.slots_kept = s->buffer.slots_least = 1;
  s->buffers[0] = &s->buffer;
  mvs__tensor__init(&s->tensor);
  s->tensor.name = "x";
  s->tensor.dtype = "f32";
  s->tensors[0] = &s->tensor;
  mvs__operand__init(&s->operand);
  s->operands[0] = &s->operand;
  mvs__step__init(&s->inner);
  s->inner.operands = s->operands;
  s->inner.n_operands = 1;
  s->inners[0] = &s->inner;
  mvs__loop__init(&s->loop);
  s->loop.label = "blocks";
  s->loop.count = 4;
  s->loop.forward = -1;
  s->loop.steps = s->inners;
  s->loop.n_steps = 1;
  mvs__alternative__init(&s->alternative);
  s->alternative.steps = s->alternative.own_steps = &s->again;
  s->alternative.n_steps = s->alternative.n_own_steps = 1;
  s->alternatives[0] = &s->alternative;
  s->loop.alternatives = s->alternatives;
  s->loop.n_alternatives = 1;
  s->loops[0] = &s->loop;
  mvs__step__init(&s->step);
  s->step.kernel = -1;
  s->steps[0] = &s->step;
  mvs__function__init(&s->function);
  s->function = (Mvs__Function){.base = s->function.base,
                                .name = "forward",
                                .n_inputs = 1,
                                .inputs = s->tensors,
                                .n_buffers = 1,
                                .buffers = s->buffers,
                                .n_steps = 1,
                                .steps = s->steps,
                                .n_loops = 1,
                                .loops = s->loops};
  s->functions[0] = &s->function;
}

static void fill_specialisation(sample *s) {
  mvs__model_input__init(&s->input);
  s->input.name = "z";
  s->input.dtype = "f32";
  s->other_input = s->input;
  s->inputs[0] = &s->input;
  s->other_inputs[0] = &s->other_input;
  mvs__specialisation__init(&s->specialisation);
  s->specialisation.value = "5";
  s->specialisation.settings = &s->settings;
  s->specialisation.inputs = s->other_inputs;
  s->specialisation.n_inputs = 1;
  s->specialisations[0] = &s->specialisation;
}

static void fill(sample *s) {
  *s = (sample){.shape = {8, 4}};
  mvs__settings__init(&s->settings);
  mvs__param__init(&s->param);
  s->param.name = "blocks.{i}.weight";
  s->param.shape = s->shape;
  s->param.n_shape = 2;
  s->param.elements = s->param.stride = 32;
  s->param.layers = 4;
  s->param.trained = true;
  s->params[0] = &s->param;
  fill_function(s);
  fill_kernel(s);
  fill_specialisation(s);
  mvs__program__init(&s->program);
  s->program.inputs = s->inputs;
  s->program.n_inputs = 1;
  s->program.specialised = "tokens";
  s->program.specialisations = s->specialisations;
  s->program.n_specialisations = 1;
  s->program.model = "tiny";
  s->program.settings = &s->settings;
  s->program.params = s->params;
  s->program.n_params = 1;
  s->program.flat_elements = 1024;
  s->program.functions = s->functions;
  s->program.n_functions = 1;
  s->program.kernels = s->kernels;
  s->program.n_kernels = 1;
  s->program.host_code = (ProtobufCBinaryData){sizeof s->code, s->code};
}

static mvs_text pack(mvs_arena *arena, const sample *s) {
  mvs_text packed = mvs_text_new(arena);
  assert_int_equal(mvs_program_pack(&s->program, &packed), MVS_OK);
  return packed;
}

static mvs_status unpack(const char *data, size_t size) {
  mvs_program *program;
  const char *reason = NULL;
  mvs_status status = mvs_program_unpack(data, size, &program, &reason);
  if (status == MVS_OK) {
    mvs_program_free(program);
  } else {
    assert_null(program);
    assert_non_null(reason);
  }
  return status;
}

static void packing_keeps_all(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  sample s;
  fill(&s);
  mvs_text packed = pack(arena, &s);
  mvs_program *program;
  const char *reason;
  assert_int_equal(mvs_program_unpack(packed.data, packed.length, &program, &reason), MVS_OK);
  assert_string_equal(program->model, "tiny");
  assert_string_equal(program->params[0]->name, "blocks.{i}.weight");
  assert_int_equal(program->functions[0]->loops[0]->count, 4);
  assert_int_equal(program->host_code.len, sizeof s.code);
  mvs_program_free(program);
  mvs_arena_free(arena);
}

/* A kernel takes the last of its forms that a level runs, and the others stay its own. */
static void forms_follow_the_level(void **state) {
  (void)state;
  static const struct {
    mvs_cpu_level level;
    int64_t scratch;
  } wanted[] = {{MVS_CPU_V3, 3}, {MVS_CPU_V4, 4}, {MVS_CPU_BF16, 4}, {MVS_CPU_AMX, 6}};
  mvs_arena *arena = mvs_arena_new();
  sample s;
  fill(&s);
  Mvs__HostForm forms[2], *list[2] = {&forms[0], &forms[1]};
  for (int i = 0; i < 2; i++) {
    mvs__host_form__init(&forms[i]);
    forms[i].level = (char *)(i ? "x86-64-v4-amx" : "x86-64-v4");
    forms[i].scratch = i ? 6 : 4;
  }
  s.kernel.scratch = 3;
  s.kernel.forms = list, s.kernel.n_forms = 2;
  mvs_text packed = pack(arena, &s);
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
    mvs_program *program;
    const char *reason;
    assert_int_equal(mvs_program_unpack(packed.data, packed.length, &program, &reason), MVS_OK);
    mvs_program_take_forms(program, wanted[i].level);
    assert_int_equal(program->kernels[0]->scratch, wanted[i].scratch);
    assert_int_equal(program->kernels[0]->n_stages, i ? 0 : 1);
    mvs_program_free(program);
  }
  forms[1].level = (char *)"x86-64-v9";
  packed = pack(arena, &s);
  assert_int_equal(unpack(packed.data, packed.length), MVS_ERR_FORMAT);
  forms[1].level = (char *)"x86-64-v4-amx";
  forms[0].stages = s.stages, forms[0].n_stages = 1;
  s.nest.address = sizeof s.code;
  packed = pack(arena, &s);
  assert_int_equal(unpack(packed.data, packed.length), MVS_ERR_FORMAT);
  mvs_arena_free(arena);
}

static void units_follow_chunks(void **state) {
  (void)state;
  sample s;
  fill(&s);
  assert_int_equal(mvs_nest_units(&s.nest, 1), 4);
  assert_int_equal(mvs_nest_units(&s.nest, 3), 10);
  assert_int_equal(mvs_nest_units(&s.nest, 0), 0);
  s.nest.inner_chunk = 20;
  assert_int_equal(mvs_nest_units(&s.nest, 1), 16);
  s.nest.row_chunk = 0;
  assert_int_equal(mvs_nest_units(&s.nest, 100), 4);
}

/* Every shorter prefix and every flipped bit is refused. */
static void damage_is_refused(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  sample s;
  fill(&s);
  mvs_text packed = pack(arena, &s);
  for (size_t size = 0; size < packed.length; size++) {
    char *copy = malloc(size + 1); /* exact, so that a read past the end is seen */
    memcpy(copy, packed.data, size);
    assert_int_equal(unpack(copy, size), MVS_ERR_FORMAT);
    free(copy);
  }
  for (size_t bit = 0; bit < packed.length * 8; bit++) {
    packed.data[bit / 8] ^= (char)(1 << bit % 8);
    assert_int_equal(unpack(packed.data, packed.length), MVS_ERR_FORMAT);
    packed.data[bit / 8] ^= (char)(1 << bit % 8);
  }
  assert_int_equal(unpack(packed.data, packed.length), MVS_OK);
  mvs_arena_free(arena);
}

/* The bytes are changed and the checksum made right again: nothing may crash. */
static void forged_bytes_are_safe(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  sample s;
  fill(&s);
  mvs_text packed = pack(arena, &s);
  for (size_t at = HEAD; at < packed.length; at++) {
    char old = packed.data[at];
    for (int value = 0; value < 256; value += 5) {
      packed.data[at] = (char)value;
      uint64_t checksum = XXH3_64bits(packed.data + HEAD, packed.length - HEAD);
      memcpy(packed.data + 16, &checksum, sizeof checksum);
      unpack(packed.data, packed.length);
    }
    packed.data[at] = old;
  }
  mvs_arena_free(arena);
}

static void expect_refused(mvs_arena *arena, const sample *s) {
  mvs_text packed = pack(arena, s);
  assert_int_equal(unpack(packed.data, packed.length), MVS_ERR_FORMAT);
}

/* Tables with a right checksum and a wrong index. */
static void wrong_indices_are_refused(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  sample s;
#define BREAK(change)          \
  do {                         \
    fill(&s);                  \
    change;                    \
    expect_refused(arena, &s); \
  } while (0)
  BREAK(s.program.settings = NULL);
  BREAK(s.tensor.buffer = 1);
  BREAK(s.tensor.dtype = "f16");
  BREAK(s.operand.buffer = 1);
  BREAK(s.operand.offset = -4);
  BREAK(s.inner.kernel = 1);
  BREAK(s.inner.kernel = -2);
  BREAK(s.inner.kernel = -1); /* a loop in itself */
  BREAK(s.kernel.n_traffic = 0); /* a step has an operand that the kernel knows nothing of */
  BREAK(s.step.loop = 1);
  BREAK(s.buffer.param = 1);
  BREAK(s.buffer.kind = MVS__BUFFER__KIND__GRAD; s.buffer.rounded = true);
  BREAK(s.buffer.kind = MVS__BUFFER__KIND__PREPARED); /* by no function */
  BREAK(s.buffer.kind = MVS__BUFFER__KIND__PREPARED; s.function.name = "prepare";
        s.buffer.param = 1); /* more values than buffers */
  BREAK(s.buffer.kind = MVS__BUFFER__KIND__PREPARED; s.function.name = "prepare";
        s.buffer.per_batch = 4);
  BREAK(s.buffer.home = 1);
  BREAK(s.buffer.fixed = -1);
  BREAK(s.buffer.slots_least = 2);
  BREAK(s.buffer.zero_slots = 2);
  BREAK(s.loop.forward = 1);
  BREAK(s.loop.count = -1);
  BREAK(s.nest.address = 64);
  BREAK(s.nest.rows = NULL);
  BREAK(s.nest.n_axes = 1; s.access.n_strides = 1); /* fewer than the rows */
  BREAK(s.samples.size = 0; s.rows.size = 0);       /* by which rows are divided */
  BREAK(s.samples.per_batch = false);
  BREAK(s.tokens.per_batch = true);
  BREAK(s.access.n_strides = 1);
  BREAK(s.access.high = -1);
  BREAK(s.access.low = INT64_MIN);
  BREAK(s.access.high_per_batch = INT64_MAX);
  BREAK(s.steps_of_axes[0] = INT64_MIN);
  BREAK(s.steps_of_axes[0] = s.steps_of_axes[1] = (int64_t)1 << 48); /* each alone would do */
  BREAK(s.param.elements = 33);
  BREAK(s.param.offset = 1000);
  BREAK(s.param.layers = INT64_MAX);
  BREAK(s.param.stride = 31); /* layers on top of one another */
  BREAK(s.param.stride = 500);
  BREAK(s.program.flat_elements = -1);
  BREAK(s.attention.n_strides = 4);
  BREAK(s.strides[2] = -8);
  BREAK(s.alternative.buffer = 1);
  BREAK(s.again = 1);
  BREAK(s.alternative.n_own_steps = 0; s.again = 1);
  BREAK(s.alternative.n_steps = 0; s.again = 1);
  BREAK(s.specialisation.settings = NULL);
  BREAK(s.specialisation.n_inputs = 0);
  BREAK(s.other_input.name = "other");
  BREAK(s.other_input.dtype = "f16");
  BREAK(s.function.specialisation = 1);
  BREAK(s.function.specialisation = -2);
#undef BREAK
  mvs_arena_free(arena);
}

/* --- executables --- */

static char *folder_new(mvs_arena *arena) {
  char *folder = mvs_arena_string(arena, "/tmp/mvs-program-XXXXXX");
  assert_non_null(mkdtemp(folder));
  return folder;
}

static void write_file(const char *path, const char *bytes, size_t size) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, size, file), size);
  assert_int_equal(fclose(file), 0);
}

static size_t file_size(const char *path) {
  struct stat facts;
  assert_int_equal(stat(path, &facts), 0);
  return (size_t)facts.st_size;
}

static void executables_hold_the_program(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  char *folder = folder_new(arena);
  const char *trainer = mvs_arena_format(arena, "%s/trainer", folder);
  const char *path = mvs_arena_format(arena, "%s/x", folder);
  const char *again = mvs_arena_format(arena, "%s/y", folder);
  sample s;
  fill(&s);
  write_file(trainer, "not really a trainer", 20);
  assert_int_equal(mvs_program_write_executable(&s.program, trainer, path, diag), MVS_OK);
  assert_int_equal(access(path, X_OK), 0);
  mvs_program *program;
  const char *reason;
  assert_int_equal(mvs_program_read_executable(path, &program, &reason), MVS_OK);
  assert_string_equal(program->model, "tiny");
  mvs_program_free(program);
  /* A compiled program serves as a trainer: its own program is left out. */
  assert_int_equal(mvs_program_write_executable(&s.program, path, again, diag), MVS_OK);
  assert_int_equal(file_size(path), file_size(again));
  assert_int_equal(file_size(path), 20 + pack(arena, &s).length + TAIL);
  unlink(trainer);
  unlink(path);
  unlink(again);
  rmdir(folder);
  mvs_arena_free(arena);
}

static void damaged_executables_are_refused(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  char *folder = folder_new(arena);
  const char *trainer = mvs_arena_format(arena, "%s/trainer", folder);
  const char *path = mvs_arena_format(arena, "%s/x", folder);
  sample s;
  fill(&s);
  write_file(trainer, "not really a trainer", 20);
  assert_int_equal(mvs_program_write_executable(&s.program, trainer, path, diag), MVS_OK);
  size_t size = file_size(path);
  char *bytes = malloc(size);
  int file = open(path, O_RDONLY);
  assert_int_equal(read(file, bytes, size), size);
  close(file);
  mvs_program *program;
  const char *reason;
  for (size_t shorter = 0; shorter < size; shorter++) {
    write_file(path, bytes, shorter);
    assert_int_equal(mvs_program_read_executable(path, &program, &reason), MVS_ERR_FORMAT);
  }
  uint64_t huge = UINT64_MAX - 8;
  memcpy(bytes + size - 16, &huge, sizeof huge);
  write_file(path, bytes, size);
  assert_int_equal(mvs_program_read_executable(path, &program, &reason), MVS_ERR_FORMAT);
  unlink(path);
  assert_int_equal(mvs_program_read_executable(path, &program, &reason), MVS_ERR_IO);
  assert_int_equal(mvs_program_read_executable(folder, &program, &reason), MVS_ERR_FORMAT);
  free(bytes);
  unlink(trainer);
  rmdir(folder);
  mvs_arena_free(arena);
}

/* A failed write leaves what was there, and nothing beside it. */
static void failure_leaves_the_output(void **state) {
  (void)state;
  mvs_arena *arena = mvs_arena_new();
  mvs_diag *diag = mvs_diag_new(arena);
  char *folder = folder_new(arena);
  const char *path = mvs_arena_format(arena, "%s/x", folder);
  sample s;
  fill(&s);
  write_file(path, "old", 3);
  assert_int_equal(mvs_program_write_executable(&s.program, "/nonexistent", path, diag),
                   MVS_ERR_IO);
  assert_int_equal(file_size(path), 3);
  assert_int_equal(mvs_program_write_executable(&s.program, path, folder, diag), MVS_ERR_IO);
  assert_int_equal(mvs_program_write_executable(&s.program, path, "/dev/null", diag), MVS_OK);
  struct stat facts;
  assert_int_equal(stat("/dev/null", &facts), 0);
  assert_true(S_ISCHR(facts.st_mode));
  assert_int_equal(mvs_diag_errors(diag), 2);
  unlink(path);
  assert_int_equal(rmdir(folder), 0);
  mvs_arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(packing_keeps_all),
      cmocka_unit_test(forms_follow_the_level),
      cmocka_unit_test(units_follow_chunks),
      cmocka_unit_test(damage_is_refused),
      cmocka_unit_test(forged_bytes_are_safe),
      cmocka_unit_test(wrong_indices_are_refused),
      cmocka_unit_test(executables_hold_the_program),
      cmocka_unit_test(damaged_executables_are_refused),
      cmocka_unit_test(failure_leaves_the_output),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
