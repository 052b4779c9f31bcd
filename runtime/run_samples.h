/* run_samples.h: grids of samples that a run draws as it goes: FOLDER/samples-N.png behind step
 * N, for its page. A grid is what `sample --weights FOLDER/step-N.safetensors --count COUNT
 * --seed SEED` draws, seed of the run: the same noise and conditions each time, of the average
 * of the weights where one is kept. No bit of the training changes. Owner: the session. */
#ifndef MVS_RUNTIME_RUN_SAMPLES_H
#define MVS_RUNTIME_RUN_SAMPLES_H

#include "runtime/memory.h"
#include "runtime/training.h"

typedef struct mvs_run_samples mvs_run_samples;

typedef struct mvs_run_samples_settings {
  int64_t every; /* steps; 0: none are drawn */
  int64_t count; /* samples in a grid */
} mvs_run_samples_settings;

/* Their options. */
void mvs_run_samples_rows(mvs_arena *arena, mvs_option_rows *list);
mvs_run_samples_settings mvs_run_samples_read(const mvs_options *options);
/* Before anything is taken: whether the model's samples are pictures.
 * errors : MVS_ERR_NAME, MVS_ERR_SHAPE, MVS_ERR_LIMIT */
mvs_status mvs_run_samples_check(mvs_session *session,
                                 const mvs_run_samples_settings *settings);
/* Adds what drawing takes to the plan of a training. */
void mvs_run_samples_plan(const mvs_run_samples_settings *settings, int64_t micro_batch,
                          mvs_memory_use *use);
/* Prepares drawing; *out is NULL where nothing is to be drawn. errors : MVS_ERR_MEMORY */
mvs_status mvs_run_samples_new(mvs_session *session, const char *folder,
                               const mvs_run_samples_settings *settings, mvs_training *training,
                               mvs_run_samples **out);
/* Whether a grid is drawn behind so many steps. */
bool mvs_run_samples_due(const mvs_run_samples *samples, int64_t steps);
/* Draws it. All steps that were queued must have been collected. errors : MVS_ERR_IO */
mvs_status mvs_run_samples_draw(mvs_run_samples *samples, int64_t steps);
/* Removes grids of steps behind `steps`: the run goes on from there, perhaps another way.
 * errors : MVS_ERR_IO */
mvs_status mvs_run_samples_drop(const mvs_run_samples *samples, int64_t steps);

#endif
