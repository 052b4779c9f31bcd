/* specialise.h: a program may hold its model for several values of one `let`, such as several
 * lengths of a text. All share weights, kernels and the executor's memory. Everything else in
 * the runtime sees one of them at a time: session->program is a view with that one's inputs,
 * functions and settings. The shapes of the tensors that a command is given choose it; the
 * first stands where nothing tells them apart. Owner: views live in the session's arena. */
#ifndef MVS_RUNTIME_SPECIALISE_H
#define MVS_RUNTIME_SPECIALISE_H

#include "runtime/safetensors.h"
#include "runtime/session.h"

/* A tensor given for an input: of one sample, or of several behind a leading extent. */
typedef struct mvs_given {
  const char *input;       /* its name */
  const char *path, *name; /* file and tensor, for messages */
  int rank;
  int64_t shape[MVS_SAFETENSORS_MAX_RANK];
} mvs_given;
typedef MVS_LIST(mvs_given) mvs_given_list;

/* How many specialisations the session's program holds, at least 1. */
size_t mvs_specialisation_count(const mvs_session *session);
/* The program as specialisation `index` has it; the program itself where there is only one. */
const mvs_program *mvs_specialisation_view(mvs_arena *arena, const mvs_program *whole,
                                           size_t index);
/* Makes one the session's. Calls that exist keep theirs. */
void mvs_session_specialise(mvs_session *session, size_t index);
/* Remembers the tensor of a file that was given for an input. errors : as mvs_inputs_find */
mvs_status mvs_given_add(mvs_session *session, mvs_given_list *list, const char *path,
                         const char *name, const char *input);
/* Takes the first specialisation that fits all tensors given.
 * errors : MVS_ERR_SHAPE, with the shapes that the program holds */
mvs_status mvs_specialise_by_given(mvs_session *session, const mvs_given_list *list);
/* The same for tensors that a file has under the inputs' names (x0 and x1 for the state). */
mvs_status mvs_specialise_by_file(mvs_session *session, const mvs_safetensors *file,
                                  const char *prefix);

#endif
