/* session.c: what every command works with: the common options, the device, memory that
 * lasts as long as the command. Device memory is listed as it is taken and given back in one
 * place, so commands have nothing to release on any path; a failure anywhere is a status
 * that they hand up. */
#include "runtime/session.h"

#include <inttypes.h>
#include <stdio.h>


#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

/* Every command has these, info and --help too. */
static const mvs_option_row common_rows[] = {
    {"device", MVS_OPTION_CHOICE, "auto|cpu|cuda", 0, 0,
     "where to run (default auto: cuda where there is a GPU and the program has code for "
     "GPUs)"},
    {"threads", MVS_OPTION_INTEGER, "N", 1, 1024, "threads (default: all cores)"},
    {"memory", MVS_OPTION_BYTES, "BYTES", 0, 0,
     "most memory to use, e.g. 8GiB (default: what is free)"},
    {"recompute", MVS_OPTION_CHOICE, "none|block|auto", 0, 0,
     "keep values for the backward pass or redo each block (default auto: redo what does not "
     "fit)"},
};

/* Rows are copied: tables made at run time (a label's option) need not stay. */
void mvs_rows_add(mvs_arena *arena, mvs_option_rows *rows, const mvs_option_row *more,
                  size_t count) {
  for (size_t at = 0; at < count; at++) MVS_PUSH(arena, rows, more[at]);
}

/* At the end of each command's own. */
void mvs_session_rows(mvs_arena *arena, mvs_option_rows *rows) {
  mvs_rows_add(arena, rows, common_rows, COUNT(common_rows));
}

/* Anything but this is done before: a wrong file should not have to wait for a GPU. */
mvs_status mvs_session_open(mvs_session *session) {
  const char *name = mvs_option_text(session->options, "device", "auto");
  int threads = (int)mvs_option_integer(session->options, "threads", 0);
  MVS_TRY(mvs_device_open(name, session->program, threads, session->diag, &session->device));
  if (session->device->note)
    fprintf(stderr, "%s: note: %s\n", session->name, session->device->note);
  session->executor =
      mvs_executor_new(session->arena, session->diag, session->program, session->device);
  return MVS_OK;
}

/* Also of a session whose device was never opened. */
void mvs_session_close(mvs_session *session) {
  mvs_device *device = session->device;
  if (!device) return;
  for (size_t at = 0; at < session->endings.count; at++)
    session->endings.items[at].end(session->endings.items[at].of);
  mvs_executor_free(session->executor);
  for (size_t at = 0; at < session->staging.count; at++)
    device->release_staging(device, session->staging.items[at]);
  for (size_t at = 0; at < session->events.count; at++)
    device->event_free(device, session->events.items[at]);
  for (size_t at = 0; at < session->memory.count; at++)
    device->release(device, session->memory.items[at]);
  session->memory.count = session->staging.count = session->events.count = 0;
  session->endings.count = 0;
  device->close(device);
  session->device = NULL;
  session->executor = NULL;
}

/* Contents are undefined. */
mvs_status mvs_session_alloc(mvs_session *session, int64_t bytes, void **out) {
  MVS_TRY(session->device->alloc(session->device, bytes, session->diag, out));
  MVS_PUSH(session->arena, &session->memory, *out);
  return MVS_OK;
}

/* Contents are undefined. */
mvs_status mvs_session_staging(mvs_session *session, int64_t bytes, void **out) {
  MVS_TRY(session->device->alloc_staging(session->device, bytes, session->diag, out));
  MVS_PUSH(session->arena, &session->staging, *out);
  return MVS_OK;
}

/* Not signalled yet. */
mvs_status mvs_session_event(mvs_session *session, void **out) {
  MVS_TRY(session->device->event_new(session->device, session->diag, out));
  MVS_PUSH(session->arena, &session->events, *out);
  return MVS_OK;
}

/* Every flat buffer has the same layout, padding included. */
int64_t mvs_flat_bytes(const mvs_program *program) {
  return program->flat_elements * (int64_t)sizeof(float);
}

/* Cleared, so that padding is zero and adds nothing to norms and sums. */
mvs_status mvs_session_flat(mvs_session *session, float **out) {
  void *memory;
  int64_t bytes = mvs_flat_bytes(session->program);
  MVS_TRY(mvs_session_alloc(session, bytes, &memory));
  session->device->clear(session->device, memory, bytes);
  *out = memory;
  return MVS_OK;
}

/* The source may go as soon as this returns. */
mvs_status mvs_session_upload(mvs_session *session, const void *data, int64_t bytes,
                              void **out) {
  MVS_TRY(mvs_session_alloc(session, bytes, out));
  session->device->copy(session->device, *out, data, bytes, MVS_COPY_TO_DEVICE);
  return MVS_OK;
}

/* One sentence for all options that a command cannot do without. */
mvs_status mvs_session_require(mvs_session *session, const char *name, const char **out) {
  *out = mvs_option_text(session->options, name, NULL);
  if (*out) return MVS_OK;
  return MVS_FAIL(session->diag, MVS_ERR_NAME, "--%s is missing (see --help)", name);
}

/* Asked anew each time, since what is free changes as memory is taken. */
int64_t mvs_session_budget(const mvs_session *session) {
  int64_t left = session->device->available(session->device);
  return mvs_option_integer(session->options, "memory", left);
}

/* Commas between groups of three digits. */
const char *mvs_count_text(mvs_arena *arena, int64_t value) {
  const char *digits = mvs_arena_format(arena, "%" PRId64, value);
  size_t length = strlen(digits);
  mvs_text text = mvs_text_new(arena);
  for (size_t at = 0; at < length; at++) {
    if (at && (length - at) % 3 == 0 && digits[at - 1] != '-') mvs_text_add(&text, ",");
    mvs_text_add_bytes(&text, digits + at, 1);
  }
  return mvs_text_string(&text);
}
