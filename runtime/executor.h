/* executor.h: runs functions of the program: walks their steps and loops and launches kernels.
 * Owner: the executor owns one block of temporaries, shared by all its calls, so only one call
 * runs at a time and nothing survives in it, and what the weights alone decide, which does
 * until they change. Inputs, outputs and the flat buffers are the caller's. */
#ifndef MVS_RUNTIME_EXECUTOR_H
#define MVS_RUNTIME_EXECUTOR_H

#include "runtime/device.h"
#include "runtime/placement.h"
#include "runtime/prepared.h"
#include "runtime/profile.h"
#include "runtime/work.h"

typedef struct mvs_executor mvs_executor;
typedef struct mvs_call mvs_call;

/* Makes an executor; free it before the device is closed. */
mvs_executor *mvs_executor_new(mvs_arena *arena, mvs_diag *diag, const mvs_program *program,
                               mvs_device *device);
/* Gives its memory back. */
void mvs_executor_free(mvs_executor *executor);
/* Takes functions from another view of the program from now on; see specialise.h. */
void mvs_executor_set_program(mvs_executor *executor, const mvs_program *program);
/* Sets the flat buffers (f32, flat_elements each) that PARAM and GRAD buffers lie in. What was
 * prepared of other weights counts no more. */
void mvs_executor_set_flats(mvs_executor *executor, float *params, float *grads);
/* To be told of every change of the weights: before the next call what depends on them alone,
 * their copy in bf16 and the results of "prepare", is made anew. `rounded`: the copy has been
 * written with them. */
void mvs_executor_weights_changed(mvs_executor *executor, bool rounded);
/* The copy of the flat weights in bf16, of the same layout; NULL where no function reads it.
 * errors : MVS_ERR_MEMORY */
mvs_status mvs_executor_rounded(mvs_executor *executor, void **out);
/* From now on calls and launches are noted in the profile; NULL ends it. Recordings made before
 * are not used meanwhile. */
void mvs_executor_profile(mvs_executor *executor, mvs_profile *profile);
/* The profile that is being taken, or NULL: for phases of the host. */
mvs_profile *mvs_executor_profiled(const mvs_executor *executor);
/* A number that changes when flat buffers or temporaries move: work recorded before is then of
 * addresses that no longer stand. */
int64_t mvs_executor_layout(const mvs_executor *executor);
/* Sets how blocks are redone in calls made from now on. */
void mvs_executor_set_recompute(mvs_executor *executor, mvs_recompute recompute);
/* Whether calls made from now on take some memory more (placement.h), so that launches may be
 * done together; from the start where the device does that, and never elsewhere. */
void mvs_executor_set_apart(mvs_executor *executor, bool apart);
bool mvs_executor_apart(const mvs_executor *executor);

/* Prepares a function for a batch.
 * errors : MVS_ERR_INTERNAL when the program has no such function, MVS_ERR_LIMIT */
mvs_status mvs_call_new(mvs_executor *executor, const char *function, int64_t batch,
                        mvs_call **out);
/* The function that it calls. */
const Mvs__Function *mvs_call_function(const mvs_call *call);
/* Its batch and where its values live. */
const mvs_placement *mvs_call_placement(const mvs_call *call);
/* Told of every step of a loop that is behind it, in the order of running; of blocks that are
 * redone, nothing. */
typedef mvs_status mvs_step_watch(void *user, uint32_t loop, uint32_t step, int64_t layer);
/* Tells `watch` of the steps of all runs from now on but those that are profiled; NULL: nobody.
 * It may run calls that were set aside. */
void mvs_call_watch(mvs_call *call, mvs_step_watch *watch, void *user);
/* Gives a call's temporaries a block of their own, which all calls set aside share: such a call
 * may run while another one does. */
void mvs_call_set_aside(mvs_call *call);
/* Where an operand of the call's steps lies in a layer; to be asked while the call runs. */
void *mvs_call_operand(const mvs_call *call, const Mvs__Operand *operand, int64_t layer);
/* True when the function has an input (an output) of that name. */
bool mvs_call_has_input(const mvs_call *call, const char *name);
/* The same for outputs. */
bool mvs_call_has_output(const mvs_call *call, const char *name);
/* Gives the place of an input or output, by name: device memory in the function's dtype.
 * Binding again replaces the place. A name that is not there is an internal error. */
mvs_status mvs_call_bind(mvs_call *call, const char *name, void *memory);
/* The same for one side only, where an input and an output share their name. */
mvs_status mvs_call_bind_input(mvs_call *call, const char *name, void *memory);
/* And for the output alone. */
mvs_status mvs_call_bind_output(mvs_call *call, const char *name, void *memory);
/* Runs it. errors : MVS_ERR_INTERNAL when an input or output is not bound; MVS_ERR_MEMORY */
mvs_status mvs_call_run(mvs_call *call);
/* For recorded work that changes the weights and their copy in bf16 (see recording.h), which
 * must do the same each time: makes what the call takes from the weights alone, needed or not.
 */
mvs_status mvs_call_prepare(mvs_call *call);
/* Behind a change of the weights that no recorded work made: brings what the call takes from
 * them up to date, so that work recorded before finds it. errors : MVS_ERR_MEMORY */
mvs_status mvs_call_refresh(mvs_call *call);
/* To be told behind each run of such work: what the call takes from the weights is up to date,
 * what others take is not. */
void mvs_call_prepared(mvs_call *call);

/* True when a list of a function's tensors has one of that name. */
bool mvs_has_tensor(Mvs__Tensor *const *tensors, size_t count, const char *name);
/* Elements of a tensor of a function's interface at a batch. */
int64_t mvs_tensor_elements(const Mvs__Tensor *tensor, int64_t batch);
/* Bytes of one element of a program's dtype. */
int64_t mvs_dtype_bytes(const char *dtype);

#endif
