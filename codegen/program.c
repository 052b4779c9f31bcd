/* program.c: programs to bytes and back, and executables that carry one. What is read is
 * hostile until check_program() has passed it: tables come from a file that anybody may have
 * written, and the runtime uses their numbers as indices and sizes without looking again. */
#include "codegen/program.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "compiler/base/checked.h"
#include "compiler/base/output_file.h"

/* Packed program:  MAGIC, length, checksum, then `length` bytes of protobuf.
 * Executable:      the trainer's bytes, the packed program, then TAIL, its length, its
 * checksum: a reader starts at the end of the file and needs no knowledge of the executable's
 * format. */
static const char magic[8] = "MVSPROG2";
static const char tail[8] = "MVSTAIL1";
#define FRAME_BYTES       24
#define MAX_PROGRAM_BYTES ((uint64_t)1 << 30)

/* A frame (head of a packed program, or tail of an executable). Little-endian, as all of x86.
 */
typedef struct frame {
  char magic[8];
  uint64_t length, checksum;
} frame;
_Static_assert(sizeof(frame) == FRAME_BYTES, "a frame has no padding");

static int64_t extent_at(const Mvs__Extent *extent, int64_t batch) {
  return extent ? extent->size * (extent->per_batch ? batch : 1) : 1;
}

/* A chunk of 0 takes all of an extent. */
static int64_t chunks_of(int64_t size, int64_t chunk) {
  if (size <= 0) return 0;
  return chunk > 0 ? size / chunk + (size % chunk != 0) : 1;
}

/* A flat nest has the batch in its inner axis, and no rows. */
static bool is_flat(const Mvs__Nest *nest) {
  return extent_at(nest->rows, 0) == 1 && nest->inner && nest->inner->per_batch;
}

/* What is divided by parts of the batch. */
static const Mvs__Extent *rows_of(const Mvs__Nest *nest) {
  return is_flat(nest) ? nest->inner : nest->rows;
}

int64_t mvs_nest_rows_at(const Mvs__Nest *nest, int64_t batch) {
  return extent_at(rows_of(nest), batch);
}

int64_t mvs_nest_units_of(const Mvs__Nest *nest, int64_t batch, int64_t rows) {
  int64_t inner = extent_at(nest->inner, batch);
  if (is_flat(nest)) return chunks_of(rows, nest->inner_chunk);
  return chunks_of(rows, nest->row_chunk) * chunks_of(inner, nest->inner_chunk);
}

/* Chunks of rows times chunks of inner. */
int64_t mvs_nest_units(const Mvs__Nest *nest, int64_t batch) {
  return mvs_nest_units_of(nest, batch, mvs_nest_rows_at(nest, batch));
}

/* --- forms --- */

/* An exchange, so that each structure still owns what it holds. */
void mvs_kernel_take_form(Mvs__Kernel *kernel, Mvs__HostForm *form) {
  Mvs__HostForm had = *form;
  form->n_stages = kernel->n_stages, form->stages = kernel->stages;
  form->scratch = kernel->scratch;
  form->workspace_fixed = kernel->workspace_fixed;
  form->workspace_per_batch = kernel->workspace_per_batch;
  kernel->n_stages = had.n_stages, kernel->stages = had.stages;
  kernel->scratch = had.scratch;
  kernel->workspace_fixed = had.workspace_fixed;
  kernel->workspace_per_batch = had.workspace_per_batch;
}

void mvs_program_take_forms(mvs_program *program, mvs_cpu_level level) {
  for (size_t i = 0; i < program->n_kernels; i++) {
    Mvs__Kernel *kernel = program->kernels[i];
    Mvs__HostForm *best = NULL;
    for (size_t f = 0; f < kernel->n_forms; f++) {
      if (mvs_cpu_of_name(kernel->forms[f]->level) <= level) best = kernel->forms[f];
    }
    if (best) mvs_kernel_take_form(kernel, best);
  }
}

/* --- packing --- */

/* The limit is checked on writing too, so that whatever is written can be read. */
mvs_status mvs_program_pack(const mvs_program *program, mvs_text *out) {
  size_t length = mvs__program__get_packed_size(program);
  if (length > MAX_PROGRAM_BYTES) return MVS_ERR_LIMIT;
  uint8_t *bytes = mvs_arena_alloc(out->home, length + 1);
  mvs__program__pack(program, bytes);
  frame head = {.length = length, .checksum = XXH3_64bits(bytes, length)};
  memcpy(head.magic, magic, sizeof magic);
  mvs_text_add_bytes(out, (const char *)&head, sizeof head);
  mvs_text_add_bytes(out, (const char *)bytes, length);
  return MVS_OK;
}

/* --- checking: a program read from a file is hostile until its indices are known to be in
 * range. */

/* The runtime tells dtypes by these words, and takes whatever else for four bytes. */
static bool dtype_known(const char *name) {
  return !strcmp(name, "f32") || !strcmp(name, "bf16") || !strcmp(name, "f64") ||
         !strcmp(name, "i32");
}

/* Sizes that later sums and products may use without overflow, for any sane batch: 2^50 bytes
 * is beyond any machine, and leaves 2^13 for counts. */
static bool size_sane(int64_t size) { return size >= 0 && size <= INT64_C(1) << 50; }

static bool extent_ok(const Mvs__Extent *extent) { return extent && size_sane(extent->size); }

/* Inputs and results, whose bytes callers work out from their shapes. */
static bool tensors_ok(Mvs__Tensor *const *tensors, size_t count, size_t buffers) {
  for (size_t i = 0; i < count; i++) {
    if (!dtype_known(tensors[i]->dtype) || tensors[i]->buffer >= buffers) return false;
    for (size_t k = 0; k < tensors[i]->n_dims; k++) {
      if (!extent_ok(tensors[i]->dims[k])) return false;
    }
  }
  return true;
}

/* A step is a kernel or, with kernel -1, a loop of this function. The executor asks what a
 * kernel does with each of its operands. */
static bool steps_ok(Mvs__Step *const *steps, size_t count, const Mvs__Function *function,
                     const mvs_program *program) {
  for (size_t i = 0; i < count; i++) {
    const Mvs__Step *step = steps[i];
    if (step->kernel < -1 || step->kernel >= (int64_t)program->n_kernels) return false;
    if (step->kernel == -1 && step->loop >= function->n_loops) return false;
    if (step->kernel >= 0 && step->n_operands > program->kernels[step->kernel]->n_traffic)
      return false;
    for (size_t k = 0; k < step->n_operands; k++) {
      const Mvs__Operand *operand = step->operands[k];
      if (operand->buffer >= function->n_buffers || !size_sane(operand->offset)) return false;
    }
  }
  return true;
}

/* What the runtime's planner of memory relies on (runtime/memory.c): sums of such sizes fit. */
static bool buffer_ok(const Mvs__Buffer *buffer, const Mvs__Function *function,
                      const mvs_program *program) {
  bool flat =
      buffer->kind == MVS__BUFFER__KIND__PARAM || buffer->kind == MVS__BUFFER__KIND__GRAD;
  if (flat && buffer->param >= program->n_params) return false;
  if (buffer->rounded && buffer->kind != MVS__BUFFER__KIND__PARAM) return false;
  if (buffer->home < -1 || buffer->home >= (int64_t)function->n_loops) return false;
  return size_sane(buffer->fixed) && size_sane(buffer->per_batch) && buffer->slots_kept >= 1 &&
         size_sane(buffer->slots_kept) && buffer->slots_least >= 1 &&
         buffer->slots_least <= buffer->slots_kept && buffer->zero_slots >= 0 &&
         buffer->zero_slots <= buffer->slots_kept;
}

/* Numbers of steps within one body. */
static bool steps_listed(const uint32_t *steps, size_t count, const Mvs__Loop *loop) {
  for (size_t i = 0; i < count; i++) {
    if (steps[i] >= loop->n_steps) return false;
  }
  return true;
}

/* Steps are run by these numbers when a block is redone. */
static bool alternatives_ok(const Mvs__Loop *loop, const Mvs__Function *function) {
  for (size_t i = 0; i < loop->n_alternatives; i++) {
    const Mvs__Alternative *each = loop->alternatives[i];
    if (each->buffer >= function->n_buffers) return false;
    if (!steps_listed(each->steps, each->n_steps, loop)) return false;
    if (!steps_listed(each->own_steps, each->n_own_steps, loop)) return false;
  }
  return true;
}

/* A loop may hold later loops only, so that a malformed program cannot nest without end. */
static bool loop_ok(const Mvs__Function *function, size_t index, const mvs_program *program) {
  const Mvs__Loop *loop = function->loops[index];
  if (!size_sane(loop->count) || loop->forward < -1 ||
      loop->forward >= (int64_t)function->n_loops) {
    return false;
  }
  for (size_t i = 0; i < loop->n_steps; i++) {
    if (loop->steps[i]->kernel == -1 && loop->steps[i]->loop <= index) return false;
  }
  if (!alternatives_ok(loop, function)) return false;
  return steps_ok(loop->steps, loop->n_steps, function, program);
}

/* Callers work out bytes and random numbers by the dtype. */
static bool inputs_ok(Mvs__ModelInput *const *inputs, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (!dtype_known(inputs[i]->dtype)) return false;
  }
  return true;
}

/* Data sources and files are opened once for all specialisations, so inputs agree by place and
 * name; only their shapes differ. */
static bool specialisation_ok(const Mvs__Specialisation *each, const mvs_program *program) {
  if (!each->settings || each->n_inputs != program->n_inputs) return false;
  for (size_t i = 0; i < each->n_inputs; i++) {
    if (strcmp(each->inputs[i]->name, program->inputs[i]->name) != 0) return false;
  }
  return inputs_ok(each->inputs, each->n_inputs);
}

/* The function of that name that another one goes with: of its specialisation, or of all. */
static const Mvs__Function *companion(const char *name, const Mvs__Function *function,
                                      const mvs_program *program) {
  for (size_t i = 0; i < program->n_functions; i++) {
    const Mvs__Function *each = program->functions[i];
    bool with = each->specialisation < 0 || each->specialisation == function->specialisation;
    if (with && strcmp(each->name, name) == 0) return each;
  }
  return NULL;
}

/* Prepared values are laid out once, before a batch is known. -1: they cannot be. */
static int64_t prepared_bytes(const Mvs__Buffer *buffer) {
  int64_t bytes;
  bool fits = mvs_mul(buffer->fixed, buffer->slots_kept, &bytes);
  return fits && size_sane(bytes) && buffer->per_batch == 0 ? bytes : -1;
}

/* What a function finds prepared is a value of "prepare" of the same size. */
static bool prepared_ok(const Mvs__Buffer *buffer, const Mvs__Function *prepare) {
  if (buffer->kind != MVS__BUFFER__KIND__PREPARED) return true;
  for (size_t i = 0; prepare && i < prepare->n_buffers; i++) {
    const Mvs__Buffer *made = prepare->buffers[i];
    if (made->kind != MVS__BUFFER__KIND__PREPARED || made->param != buffer->param) continue;
    return buffer->param < prepare->n_buffers && prepared_bytes(made) >= 0 &&
           prepared_bytes(made) == prepared_bytes(buffer);
  }
  return false;
}

/* The function that looks may not be looked at itself: a probe could call itself else. */
static bool probes_ok(const Mvs__Function *function, const mvs_program *program) {
  for (size_t i = 0; i < function->n_probes; i++) {
    const Mvs__Probe *probe = function->probes[i];
    const Mvs__Function *by = companion(probe->function, function, program);
    if (!by || probe->n_operands != by->n_inputs || by->n_probes > 0) return false;
    if (probe->loop >= function->n_loops) return false;
    if (probe->step >= function->loops[probe->loop]->n_steps) return false;
    for (size_t k = 0; k < probe->n_operands; k++) {
      const Mvs__Operand *operand = probe->operands[k];
      if (operand->buffer >= function->n_buffers || !size_sane(operand->offset)) return false;
    }
  }
  return true;
}

/* Buffers before what names them. */
static bool function_ok(const Mvs__Function *function, const mvs_program *program) {
  int64_t specialisations =
      program->n_specialisations ? (int64_t)program->n_specialisations : 1;
  if (function->specialisation < -1 || function->specialisation >= specialisations) {
    return false;
  }
  for (size_t i = 0; i < function->n_buffers; i++) {
    if (!buffer_ok(function->buffers[i], function, program)) return false;
    if (!prepared_ok(function->buffers[i], companion("prepare", function, program)))
      return false;
  }
  for (size_t i = 0; i < function->n_loops; i++) {
    if (!loop_ok(function, i, program)) return false;
  }
  if (!probes_ok(function, program)) return false;
  return tensors_ok(function->inputs, function->n_inputs, function->n_buffers) &&
         tensors_ok(function->outputs, function->n_outputs, function->n_buffers) &&
         steps_ok(function->steps, function->n_steps, function, program);
}

static bool attention_ok(const Mvs__Attention *attention) {
  if (attention->n_strides != (size_t)mvs_attention_operands(attention->gradient)) return false;
  for (size_t i = 0; i < attention->n_strides; i++) {
    if (!size_sane(attention->strides[i])) return false;
  }
  return true;
}

/* Adds a product of a table's numbers, whatever its sign, to a size; false where that is not
 * sane. */
static bool add_span(int64_t a, int64_t b, int64_t *sum) {
  int64_t span;
  if (!mvs_mul(a, b, &span) || span == INT64_MIN) return false;
  return mvs_add(*sum, span < 0 ? -span : span, sum) && size_sane(*sum);
}

/* The runtime divides by the axes and adds up what they reach (runtime/chain.c). */
static bool access_ok(const Mvs__Access *access, const Mvs__Nest *nest) {
  int64_t sum = 0;
  if (access->n_strides != nest->n_axes || access->high_per_batch < 0) return false;
  for (size_t i = 0; i < nest->n_axes; i++) {
    if (!add_span(access->strides[i], nest->axes[i]->size, &sum)) return false;
  }
  return add_span(access->low, 1, &sum) && add_span(access->high, 1, &sum) &&
         add_span(access->high_per_batch, 1, &sum) &&
         access->high + access->high_per_batch >= access->low;
}

/* Their product is the rows, or the inner elements of a nest without. */
static bool axes_ok(const Mvs__Nest *nest) {
  int64_t rows = 1;
  for (size_t i = 0; i < nest->n_axes; i++) {
    const Mvs__Extent *axis = nest->axes[i];
    if (axis->size < 1 || axis->per_batch != (i == 0 && rows_of(nest)->per_batch)) return false;
    if (!mvs_mul(rows, axis->size, &rows)) return false;
  }
  return nest->n_axes == 0 || rows == rows_of(nest)->size;
}

/* An address within the code is no proof that a function starts there: the checksum is what
 * speaks for code, and only its maker can lie in it. */
static bool stages_ok(Mvs__Stage *const *stages, size_t count, const mvs_program *program) {
  for (size_t i = 0; i < count; i++) {
    for (size_t k = 0; k < stages[i]->n_nests; k++) {
      const Mvs__Nest *nest = stages[i]->nests[k];
      if (nest->address >= program->host_code.len) return false;
      if (!extent_ok(nest->rows) || !extent_ok(nest->inner) || !axes_ok(nest)) return false;
      for (size_t a = 0; a < nest->n_accesses; a++) {
        if (!access_ok(nest->accesses[a], nest)) return false;
      }
    }
  }
  return true;
}

static bool form_ok(const Mvs__HostForm *form, const mvs_program *program) {
  return mvs_cpu_of_name(form->level) < MVS_CPU_LEVELS && size_sane(form->scratch) &&
         size_sane(form->workspace_fixed) && size_sane(form->workspace_per_batch) &&
         stages_ok(form->stages, form->n_stages, program);
}

static bool kernel_ok(const Mvs__Kernel *kernel, const mvs_program *program) {
  if (kernel->attention && !attention_ok(kernel->attention)) return false;
  if (!stages_ok(kernel->stages, kernel->n_stages, program)) return false;
  for (size_t i = 0; i < kernel->n_forms; i++) {
    if (!form_ok(kernel->forms[i], program)) return false;
  }
  for (size_t i = 0; i < kernel->n_grids; i++) {
    const Mvs__Grid *grid = kernel->grids[i];
    if (!extent_ok(grid->work) || grid->per_block < 1 || !size_sane(grid->times)) return false;
  }
  return size_sane(kernel->scratch) && size_sane(kernel->workspace_fixed) &&
         size_sane(kernel->workspace_per_batch);
}

/* The optimizer multiplies with it: not negative, and nothing that is not finite. */
static bool factor_ok(double factor) { return factor >= 0 && isfinite(factor); }

/* The last layer of a parameter must end in the flat buffers. */
static bool param_ok(const Mvs__Param *param, const mvs_program *program) {
  int64_t layers = param->layers ? param->layers : 1, extent, end;
  if (!size_sane(param->elements) || !size_sane(layers) || !size_sane(param->offset) ||
      !size_sane(param->stride) || param->stride < param->elements || !factor_ok(param->rate) ||
      !factor_ok(param->decay)) {
    return false;
  }
  if (!mvs_mul(layers - 1, param->stride, &extent)) return false;
  if (!mvs_add(param->offset + param->elements, extent, &end)) return false;
  int64_t product = 1;
  for (size_t i = 0; i < param->n_shape; i++) {
    if (!size_sane(param->shape[i])) return false;
    if (!mvs_mul(product, param->shape[i], &product)) return false;
  }
  return product == param->elements && (!param->trained || end <= program->flat_elements);
}

static bool index_ok(int32_t index, const mvs_program *program) {
  return index >= -1 && index < (int64_t)program->n_params;
}

static bool site_ok(const Mvs__Site *site, const mvs_program *program) {
  return index_ok(site->weight, program) && index_ok(site->query, program) &&
         index_ok(site->key, program) && (!site->writer || site->weight >= 0);
}

/* NULL when every index and size of the tables is in range, else what is wrong. */
static const char *check_program(const mvs_program *program) {
  if (!program->settings) return "the program has no settings";
  if (!size_sane(program->flat_elements)) return "the program's parameters have no sane size";
  for (size_t i = 0; i < program->n_params; i++) {
    if (!param_ok(program->params[i], program)) return "the program has a malformed parameter";
  }
  if (!inputs_ok(program->inputs, program->n_inputs)) {
    return "the program has a malformed input";
  }
  for (size_t i = 0; i < program->n_specialisations; i++) {
    if (!specialisation_ok(program->specialisations[i], program)) {
      return "the program has a malformed specialisation";
    }
  }
  for (size_t i = 0; i < program->n_kernels; i++) {
    if (!kernel_ok(program->kernels[i], program)) return "the program has a malformed kernel";
  }
  for (size_t i = 0; i < program->n_sites; i++) {
    if (!site_ok(program->sites[i], program)) return "the program has a malformed site";
  }
  for (size_t i = 0; i < program->n_functions; i++) {
    if (!function_ok(program->functions[i], program)) {
      return "the program has a malformed function";
    }
  }
  return NULL;
}

static mvs_status refuse(const char **reason, const char *words) {
  if (reason) *reason = words;
  return MVS_ERR_FORMAT;
}

/* For protobuf-c, which says the same of malformed bytes and of a lack of memory. */
static void *take(void *data, size_t size) {
  (void)data;
  return mvs_malloc(size);
}

static void give(void *data, void *memory) {
  (void)data;
  free(memory);
}

/* In this order: what is no program at all, one of another version (its magic), one cut short,
 * one damaged, and only then the tables. */
mvs_status mvs_program_unpack(const void *data, size_t size, mvs_program **out,
                              const char **reason) {
  *out = NULL;
  frame head;
  if (size < sizeof head) return refuse(reason, "the program is cut short");
  memcpy(&head, data, sizeof head);
  if (memcmp(head.magic, magic, sizeof magic) != 0) {
    return refuse(reason, "this is not a compiled program, or one of another version of mvcc");
  }
  const uint8_t *bytes = (const uint8_t *)data + sizeof head;
  if (head.length > MAX_PROGRAM_BYTES || head.length != size - sizeof head) {
    return refuse(reason, "the program's length does not fit the file");
  }
  if (XXH3_64bits(bytes, head.length) != head.checksum) {
    return refuse(reason, "the program's checksum is wrong: the file is damaged");
  }
  ProtobufCAllocator allocator = {.alloc = take, .free = give};
  mvs_program *program = mvs__program__unpack(&allocator, head.length, bytes);
  if (!program) return refuse(reason, "the program's tables cannot be read");
  const char *wrong = check_program(program);
  if (wrong) {
    mvs_program_free(program);
    return refuse(reason, wrong);
  }
  *out = program;
  return MVS_OK;
}

void mvs_program_free(mvs_program *program) {
  if (program) mvs__program__free_unpacked(program, NULL);
}

/* --- executables --- */

/* Reads exactly `size` bytes at `offset`; false with errno 0 when the file ends before. */
static bool read_at(int file, void *into, size_t size, off_t offset) {
  size_t have = 0;
  while (have < size) {
    ssize_t got = pread(file, (char *)into + have, size - have, offset + (off_t)have);
    if (got < 0 && errno == EINTR) continue;
    if (got == 0) errno = 0;
    if (got <= 0) return false;
    have += (size_t)got;
  }
  return true;
}

/* Reads the tail of an open file of `size` bytes; *there is whether it has one. false: the file
 * cannot be read, and errno says why */
static bool read_tail(int file, off_t size, frame *end, bool *there) {
  *there = false;
  if (size < (off_t)(2 * sizeof *end)) return true;
  if (!read_at(file, end, sizeof *end, size - (off_t)sizeof *end)) return false;
  *there = memcmp(end->magic, tail, sizeof tail) == 0 &&
           end->length <= MAX_PROGRAM_BYTES + sizeof *end &&
           (off_t)end->length <= size - (off_t)sizeof *end;
  return true;
}

/* Copies the trainer without a program that may already be appended to it. */
static bool copy_trainer(int from, int to) {
  struct stat facts;
  if (fstat(from, &facts) != 0) return false;
  off_t left = facts.st_size, at = 0;
  frame end;
  bool appended;
  if (!read_tail(from, facts.st_size, &end, &appended)) return false;
  if (appended) left -= (off_t)(end.length + sizeof end);
  static _Thread_local char block[1 << 16];
  while (left > 0) {
    size_t size = left < (off_t)sizeof block ? (size_t)left : sizeof block;
    if (!read_at(from, block, size, at) || !mvs_write_all(to, block, (int64_t)size))
      return false;
    at += (off_t)size;
    left -= (off_t)size;
  }
  return true;
}

/* The tail stands last, so that a reader finds it without knowing how long the trainer is. */
static bool write_parts(int trainer, int to, const mvs_text *packed) {
  frame end = {.length = packed->length};
  memcpy(end.magic, tail, sizeof tail);
  memcpy(&end.checksum, packed->data + 16, sizeof end.checksum); /* of the packed program */
  return copy_trainer(trainer, to) &&
         mvs_write_all(to, packed->data, (int64_t)packed->length) &&
         mvs_write_all(to, &end, sizeof end);
}

static mvs_status io_error(mvs_diag *diag, const char *what, const char *path) {
  mvs_diag_error(diag, (mvs_span){0}, "cannot %s '%s': %s", what, path,
                 errno ? strerror(errno) : "the file changed meanwhile");
  return MVS_ERR_IO;
}

/* A failure leaves what was there untouched. */
static mvs_status replace_file(int trainer, const mvs_text *packed, const char *path,
                               mvs_diag *diag) {
  mvs_output_file file;
  MVS_TRY(mvs_output_begin(packed->home, diag, path, 0777, &file));
  if (write_parts(trainer, file.descriptor, packed)) return mvs_output_finish(&file);
  int reason = errno;
  mvs_output_abandon(&file);
  errno = reason;
  return io_error(diag, "write", path);
}

/* A device or pipe is written to, never replaced: `-o /dev/null` must not remove it. */
static mvs_status write_special(int trainer, const mvs_text *packed, const char *path,
                                mvs_diag *diag) {
  int to = open(path, O_WRONLY | O_CLOEXEC);
  if (to < 0) return io_error(diag, "write", path);
  bool good = write_parts(trainer, to, packed);
  int reason = errno;
  close(to);
  errno = reason;
  return good ? MVS_OK : io_error(diag, "write", path);
}

static mvs_status write_packed(const mvs_text *packed, const char *trainer, const char *path,
                               mvs_diag *diag) {
  struct stat facts;
  bool special = stat(path, &facts) == 0 && !S_ISREG(facts.st_mode);
  if (special && S_ISDIR(facts.st_mode)) {
    errno = EISDIR;
    return io_error(diag, "write", path);
  }
  int from = open(trainer, O_RDONLY | O_CLOEXEC);
  if (from < 0) return io_error(diag, "read the trainer", trainer);
  mvs_status status = special ? write_special(from, packed, path, diag)
                              : replace_file(from, packed, path, diag);
  close(from);
  return status;
}

/* All in memory before the file is touched: a program that is too large leaves it as it was. */
mvs_status mvs_program_write_executable(const mvs_program *program, const char *trainer,
                                        const char *path, mvs_diag *diag) {
  mvs_arena *scratch = mvs_arena_new();
  mvs_text packed = mvs_text_new(scratch);
  mvs_status status = mvs_program_pack(program, &packed);
  if (status == MVS_OK) {
    status = write_packed(&packed, trainer, path, diag);
  } else {
    mvs_diag_error(diag, (mvs_span){0}, "the compiled program has more than %llu bytes",
                   (unsigned long long)MAX_PROGRAM_BYTES);
  }
  mvs_arena_free(scratch);
  return status;
}

static mvs_status unreadable(const char **reason) {
  if (reason) *reason = "the executable cannot be read";
  return MVS_ERR_IO;
}

static mvs_status read_open(int file, mvs_arena *scratch, mvs_program **out,
                            const char **reason) {
  struct stat facts;
  frame end;
  bool appended;
  if (fstat(file, &facts) != 0 || !S_ISREG(facts.st_mode)) {
    return refuse(reason, "the executable is not a regular file");
  }
  if (!read_tail(file, facts.st_size, &end, &appended)) return unreadable(reason);
  if (!appended) return refuse(reason, "no compiled program is appended to this executable");
  char *packed = mvs_arena_alloc(scratch, end.length);
  if (!read_at(file, packed, end.length, facts.st_size - (off_t)(end.length + sizeof end)))
    return unreadable(reason);
  return mvs_program_unpack(packed, end.length, out, reason);
}

/* O_NONBLOCK: a path that names a pipe must not wait for a writer; read_open refuses it. */
mvs_status mvs_program_read_executable(const char *path, mvs_program **out,
                                       const char **reason) {
  *out = NULL;
  int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return unreadable(reason);
  mvs_arena *scratch = mvs_arena_new();
  mvs_status status = read_open(file, scratch, out, reason);
  mvs_arena_free(scratch);
  close(file);
  return status;
}
