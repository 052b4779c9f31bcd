/* weights.h: parameters from and to tensor files, under the released names.
 * A file must hold every trained parameter in its shape and nothing else; constants are
 * optional and must have their value. Checkpoints hold more (ema/, adam_m/, adam_v/), which is
 * known. */
#ifndef MVS_RUNTIME_WEIGHTS_H
#define MVS_RUNTIME_WEIGHTS_H

#include "runtime/params.h"
#include "runtime/safetensors.h"
#include "runtime/session.h"

/* Which of a checkpoint's two sets of weights. */
typedef enum mvs_ema { MVS_EMA_AUTO, MVS_EMA_ON, MVS_EMA_OFF } mvs_ema;

/* Reads all weights into `flat` (device memory).
 * path    : a file, a run's folder, or RUN/latest
 * prefix  : only tensors whose names start with it, without it ("" for all)
 * used_ema: set to whether the averaged weights were taken; may be NULL
 * errors  : MVS_ERR_IO, MVS_ERR_FORMAT, MVS_ERR_NAME, MVS_ERR_SHAPE, each naming file and
 * tensor */
mvs_status mvs_weights_load(mvs_session *session, const char *path, const char *prefix,
                            mvs_ema ema, float *flat, bool *used_ema);
/* Reads the tensors `group`NAME of an open file for every trained NAME, e.g. group "adam_m/".
 */
mvs_status mvs_weights_read(mvs_session *session, const mvs_safetensors *file,
                            const mvs_param_list *params, const char *group, float *flat);
/* Declares `group`NAME for every trained parameter; constants too when `constants`. */
void mvs_weights_declare(mvs_safetensors_writer *writer, mvs_arena *arena,
                         const mvs_param_list *params, const char *group, bool constants);
/* Appends their values, in the same order. */
mvs_status mvs_weights_append(mvs_session *session, mvs_safetensors_writer *writer,
                              const mvs_param_list *params, const float *flat, bool constants);
/* The rows --weights and --weights-prefix. */
void mvs_weights_rows(mvs_arena *arena, mvs_option_rows *rows);
/* The row --ema on|off, for commands that use weights without training them. */
void mvs_weights_ema_row(mvs_arena *arena, mvs_option_rows *rows);
/* Loads what all three rows say; --weights must be given. Without --ema, `fallback` decides. */
mvs_status mvs_weights_load_options(mvs_session *session, mvs_ema fallback, float *flat);

#endif
