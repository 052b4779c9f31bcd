/* specialise.c: views of a program, and which of them fits the tensors given.
 *
 * A program may hold several specialisations, one per value of a `let` (text_tokens, say):
 * they share weights, kernels and settings and differ in inputs and functions. A view is the
 * program as it would look with one of them alone, so the rest of the runtime knows nothing
 * of this. Which one is meant follows from the shapes that the user gives: the first that
 * fits them all. */
#include "runtime/specialise.h"

#include "runtime/inputs.h"

/* Programs without any count as one. */
size_t mvs_specialisation_count(const mvs_session *session) {
  const mvs_program *whole = session->whole;
  return whole && whole->n_specialisations ? whole->n_specialisations : 1;
}

/* --- views --- */

/* Tables are shared with the whole program, which must outlive the view. */
const mvs_program *mvs_specialisation_view(mvs_arena *arena, const mvs_program *whole,
                                           size_t index) {
  if (whole->n_specialisations == 0) return whole;
  const Mvs__Specialisation *each = whole->specialisations[index];
  mvs_program *view = MVS_NEW(arena, mvs_program);
  *view = *whole;
  view->inputs = each->inputs;
  view->n_inputs = each->n_inputs;
  view->tokens = each->tokens;
  view->settings = each->settings;
  view->functions = MVS_ARRAY(arena, whole->n_functions, Mvs__Function *);
  view->n_functions = 0;
  for (size_t at = 0; at < whole->n_functions; at++) {
    Mvs__Function *function = whole->functions[at];
    bool here = function->specialisation < 0 || function->specialisation == (int64_t)index;
    if (here) view->functions[view->n_functions++] = function;
  }
  return view;
}

/* Calls made before keep the functions that they were made for. */
void mvs_session_specialise(mvs_session *session, size_t index) {
  if (mvs_specialisation_count(session) == 1) return;
  session->program = mvs_specialisation_view(session->arena, session->whole, index);
  if (session->executor) mvs_executor_set_program(session->executor, session->program);
}

/* --- choosing --- */

/* The shape is copied, since the file will be closed. */
static mvs_given given_of(const char *input, const char *path, const mvs_file_tensor *tensor) {
  mvs_given given = {.input = input, .path = path, .name = tensor->name, .rank = tensor->rank};
  memcpy(given.shape, tensor->shape, (size_t)tensor->rank * sizeof *given.shape);
  return given;
}

/* By name: specialisations have the same inputs in the same order. */
static const Mvs__ModelInput *input_of(const mvs_session *session, size_t index,
                                       const char *name) {
  const Mvs__Specialisation *each = session->whole->specialisations[index];
  for (size_t at = 0; at < each->n_inputs; at++)
    if (strcmp(each->inputs[at]->name, name) == 0) return each->inputs[at];
  return NULL;
}

/* With one axis more in front it is a batch of samples. */
static bool fits(const mvs_session *session, size_t index, const mvs_given *given) {
  const Mvs__ModelInput *input = input_of(session, index, given->input);
  int extra = input ? given->rank - (int)input->n_shape : 0;
  if (!input || extra < 0 || extra > 1) return false;
  for (size_t at = 0; at < input->n_shape; at++)
    if (given->shape[at + (size_t)extra] != input->shape[at]) return false;
  return true;
}

/* An empty list fits everything, and the first specialisation is then taken. */
static bool fits_all(const mvs_session *session, size_t index, const mvs_given_list *list) {
  for (size_t at = 0; at < list->count; at++)
    if (!fits(session, index, &list->items[at])) return false;
  return true;
}

/* To tell a tensor that can never fit from tensors that do not fit together. */
static bool fits_any(const mvs_session *session, const mvs_given *given) {
  for (size_t at = 0; at < mvs_specialisation_count(session); at++)
    if (fits(session, at, given)) return true;
  return false;
}

/* "[5, 48] with text_tokens = 5, [9, 48] with 9" */
static const char *held_shapes(const mvs_session *session, const char *input) {
  const mvs_program *whole = session->whole;
  mvs_text text = mvs_text_new(session->arena);
  for (size_t at = 0; at < whole->n_specialisations; at++) {
    const Mvs__ModelInput *each = input_of(session, at, input);
    mvs_text_addf(&text, at ? ", %s with " : "%s with ",
                  mvs_shape_text(session->arena, (int)each->n_shape, each->shape));
    if (!at) mvs_text_addf(&text, "%s = ", whole->specialised);
    mvs_text_add(&text, whole->specialisations[at]->value);
  }
  return mvs_text_string(&text);
}

/* Blames a tensor that fits nowhere; else all fit somewhere, but not together. */
static mvs_status fits_none(mvs_session *session, const mvs_given_list *list) {
  for (size_t at = 0; at < list->count; at++) {
    const mvs_given *given = &list->items[at];
    if (fits_any(session, given)) continue;
    return MVS_FAIL(session->diag, MVS_ERR_SHAPE,
                    "'%s': tensor '%s' is %s, but the program holds '%s' as samples of %s",
                    given->path, given->name,
                    mvs_shape_text(session->arena, given->rank, given->shape), given->input,
                    held_shapes(session, given->input));
  }
  const mvs_given *first = &list->items[0];
  return MVS_FAIL(session->diag, MVS_ERR_SHAPE,
                  "no value of '%s' in the program fits all tensors given, beginning with '%s' "
                  "of '%s'",
                  session->whole->specialised, first->name, first->path);
}

/* Does nothing when there is nothing to choose. */
mvs_status mvs_given_add(mvs_session *session, mvs_given_list *list, const char *path,
                         const char *name, const char *input) {
  mvs_safetensors *file;
  const mvs_file_tensor *tensor;
  if (mvs_specialisation_count(session) == 1) return MVS_OK;
  MVS_TRY(mvs_safetensors_open(session->arena, session->diag, path, &file));
  mvs_status status = mvs_inputs_find(session, file, "", name, &tensor);
  if (status == MVS_OK) {
    mvs_given given = given_of(input, path, tensor);
    given.name = name; /* the file's own strings go with it */
    MVS_PUSH(session->arena, list, given);
  }
  mvs_safetensors_close(file);
  return status;
}

/* The first that fits, in the order in which the values were given to mvcc. */
mvs_status mvs_specialise_by_given(mvs_session *session, const mvs_given_list *list) {
  size_t count = mvs_specialisation_count(session);
  if (count == 1) return MVS_OK;
  for (size_t at = 0; at < count; at++) {
    if (!fits_all(session, at, list)) continue;
    mvs_session_specialise(session, at);
    return MVS_OK;
  }
  return fits_none(session, list);
}

/* x0 and x1 stand for the state, which has no name of its own in a training file. */
mvs_status mvs_specialise_by_file(mvs_session *session, const mvs_safetensors *file,
                                  const char *prefix) {
  mvs_given_list list = {0};
  if (mvs_specialisation_count(session) == 1) return MVS_OK;
  for (size_t at = 0; at < session->program->n_inputs; at++) {
    const Mvs__ModelInput *input = session->program->inputs[at];
    const char *const names[] = {input->name, input->conditioning ? NULL : "x0",
                                 input->conditioning ? NULL : "x1"};
    for (size_t each = 0; each < sizeof names / sizeof *names && names[each]; each++) {
      const mvs_file_tensor *tensor = mvs_safetensors_find(
          file, mvs_arena_format(session->arena, "%s%s", prefix, names[each]));
      if (!tensor) continue;
      mvs_given given = given_of(input->name, file->path, tensor);
      MVS_PUSH(session->arena, &list, given);
    }
  }
  return mvs_specialise_by_given(session, &list);
}
