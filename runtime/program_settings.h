/* program_settings.h: what a program was compiled with, as names and texts: the lets of the
 * model's files and those parts of its recipes that are no options of the trainer. Runs record
 * them, so that a page shows how two programs differ and no run is gone on with by another one.
 * Owner: the session's arena. */
#ifndef MVS_RUNTIME_PROGRAM_SETTINGS_H
#define MVS_RUNTIME_PROGRAM_SETTINGS_H

#include "runtime/session.h"

typedef struct mvs_program_setting {
  const char *name, *value; /* "let width", "64" */
  bool trains;              /* it decides what training does */
} mvs_program_setting;

typedef MVS_LIST(mvs_program_setting) mvs_program_settings;

/* Lets in their order, then the recipes. */
mvs_program_settings mvs_program_settings_of(const mvs_session *session);

#endif
