/* commands.h: the commands of a trainer, one row each. Their files are command_NAME.c. */
#ifndef MVS_RUNTIME_COMMANDS_H
#define MVS_RUNTIME_COMMANDS_H

#include "runtime/session.h"

typedef struct mvs_command {
  const char *name, *summary;
  /* Adds the command's own options; the common ones follow. */
  void (*rows)(mvs_session *session, mvs_option_rows *rows);
  mvs_status (*run)(mvs_session *session);
} mvs_command;

extern const mvs_command mvs_command_info;
extern const mvs_command mvs_command_train;
extern const mvs_command mvs_command_sample;
extern const mvs_command mvs_command_eval;
extern const mvs_command mvs_command_grad;
extern const mvs_command mvs_command_bench;
extern const mvs_command mvs_command_report;
extern const mvs_command mvs_command_watch;

#endif
