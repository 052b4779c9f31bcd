/* prepared.c: where prepared values lie, behind one another in one block. */
#include "runtime/prepared.h"

#include "runtime/work.h"

#define VALUE_ALIGNMENT 256

static bool is_prepared(const Mvs__Buffer *buffer) {
  return buffer->kind == MVS__BUFFER__KIND__PREPARED;
}

/* Numbers run from 0, each of one buffer of "prepare"; the program's reader has checked that
 * what functions read is there and that sizes are sane. */
mvs_prepared *mvs_prepared_new(mvs_arena *arena, const mvs_program *program) {
  mvs_prepared *prepared = MVS_NEW(arena, mvs_prepared);
  prepared->program = program;
  prepared->function = mvs_program_function(program, "prepare");
  if (!prepared->function) return prepared;
  prepared->offsets = MVS_ARRAY(arena, prepared->function->n_buffers, int64_t);
  for (size_t at = 0; at < prepared->function->n_buffers; at++) {
    const Mvs__Buffer *buffer = prepared->function->buffers[at];
    prepared->of_weights |= buffer->kind == MVS__BUFFER__KIND__PARAM;
    if (!is_prepared(buffer)) continue;
    int64_t bytes = buffer->fixed * buffer->slots_kept;
    prepared->offsets[buffer->param] = prepared->bytes;
    prepared->bytes += (bytes + VALUE_ALIGNMENT - 1) / VALUE_ALIGNMENT * VALUE_ALIGNMENT;
  }
  return prepared;
}

/* The function "round" is there exactly where others read what it writes. */
int64_t mvs_rounded_bytes(const mvs_program *program) {
  const int64_t element = 2; /* of bf16 */
  return mvs_program_function(program, "round") ? program->flat_elements * element : 0;
}
