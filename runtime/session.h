/* session.h: what every command works with: the program, its options, the device, memory.
 * Owner: mvs_trainer_main makes it and ends it; device memory taken through it is given back at
 * the end. Commands report failures to `diag`, which the trainer's main prints. */
#ifndef MVS_RUNTIME_SESSION_H
#define MVS_RUNTIME_SESSION_H

#include "runtime/executor.h"
#include "runtime/fail.h"
#include "runtime/options.h"

/* What must go before the device does. */
typedef struct mvs_ending {
  void (*end)(void *of);
  void *of;
} mvs_ending;


typedef struct mvs_session {
  const mvs_program *program; /* one specialisation of it, see specialise.h */
  const mvs_program *whole;   /* with all of them */
  const char *name;           /* how the program was called, for messages */
  mvs_arena *arena;
  mvs_diag *diag;
  mvs_options *options;
  mvs_device *device;     /* NULL until mvs_session_open */
  mvs_executor *executor; /* likewise */
  MVS_LIST(void *) memory, staging, events;
  MVS_LIST(mvs_ending) endings;
} mvs_session;

/* Opens the device that --device and --threads name and makes the executor. */
mvs_status mvs_session_open(mvs_session *session);
/* Gives back device memory and closes the device. */
void mvs_session_close(mvs_session *session);
/* Takes device memory until the session ends. */
mvs_status mvs_session_alloc(mvs_session *session, int64_t bytes, void **out);
/* The same, cleared: a flat buffer for all trained parameters. */
mvs_status mvs_session_flat(mvs_session *session, float **out);
/* Bytes of one flat buffer. */
int64_t mvs_flat_bytes(const mvs_program *program);
/* Takes host memory that the device's send and fetch copy from and to, until the session ends.
 */
mvs_status mvs_session_staging(mvs_session *session, int64_t bytes, void **out);
/* Makes an event of the device that lasts as long. */
mvs_status mvs_session_event(mvs_session *session, void **out);
/* Copies host bytes into fresh device memory. */
mvs_status mvs_session_upload(mvs_session *session, const void *data, int64_t bytes,
                              void **out);
/* The options that every command has. */
void mvs_session_rows(mvs_arena *arena, mvs_option_rows *rows);
/* Appends rows to a table. */
void mvs_rows_add(mvs_arena *arena, mvs_option_rows *rows, const mvs_option_row *more,
                  size_t count);
/* The text of an option that must be given. errors : MVS_ERR_NAME */
mvs_status mvs_session_require(mvs_session *session, const char *name, const char **out);
/* The budget in bytes: --memory where the command has it and it is given, else what is left. */
int64_t mvs_session_budget(const mvs_session *session);
/* "5,454,496,896" */
const char *mvs_count_text(mvs_arena *arena, int64_t value);

#endif
