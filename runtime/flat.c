/* flat.c: in place where that is safe, else through a small bounce buffer.
 *
 * A kernel that is one nest loads each element before it stores it, so its outputs may lie
 * on its inputs. With several nests or steps a later one could read what an earlier one has
 * overwritten: then a few rows at a time are computed into the bounce buffer and copied
 * back. AdamW, the average and the sum of gradients are all such functions; which way was
 * taken changes no bits, since rows do not depend on one another. */
#include "runtime/flat.h"

/* Rows that bounce at a time: 2 MiB a tensor, so that the copy back reads from the cache. */
#define BOUNCE_ROWS  512
#define MOST_TENSORS 16

typedef struct flat_tensor {
  const char *name;
  char *memory, *bounce; /* bounce: NULL for inputs and when in place */
  int64_t row_bytes;
} flat_tensor;

typedef struct flat_scalar {
  const char *name;
  void *memory;
} flat_scalar;

struct mvs_flat_call {
  mvs_session *session;
  mvs_call *part, *rest; /* rest: of the rows that do not fill a part, or NULL */
  int64_t rows, part_rows;
  int tensors, scalars;
  flat_tensor tensor[MOST_TENSORS];
  flat_scalar scalar[MOST_TENSORS];
};

/* The batch of these functions counts rows of the flat buffers. */
static bool is_rows(const Mvs__Tensor *tensor) {
  return tensor->n_dims > 0 && tensor->dims[0]->per_batch;
}

/* Functions that store no rows (a sum) need no care. */
static bool runs_in_place(const mvs_program *program, const Mvs__Function *function) {
  bool stores_rows = false;
  for (size_t at = 0; at < function->n_outputs; at++)
    stores_rows = stores_rows || is_rows(function->outputs[at]);
  if (!stores_rows) return true;
  if (function->n_steps != 1 || function->steps[0]->kernel < 0) return false;
  const Mvs__Kernel *kernel = program->kernels[function->steps[0]->kernel];
  return kernel->n_stages == 1 && kernel->stages[0]->n_nests == 1;
}

static mvs_status bind_scalar(mvs_flat_call *call, const char *name, void *memory) {
  MVS_TRY(mvs_call_bind(call->part, name, memory));
  return call->rest ? mvs_call_bind(call->rest, name, memory) : MVS_OK;
}

/* Scalars get a place of their own for all calls; rows are bound call by call. */
static mvs_status add_tensor(mvs_flat_call *call, const Mvs__Tensor *tensor, bool bounce) {
  mvs_session *session = call->session;
  void *memory = NULL;
  if (call->tensors == MOST_TENSORS || call->scalars == MOST_TENSORS)
    return MVS_FAIL(session->diag, MVS_ERR_INTERNAL,
                    "internal: a flat function has too many tensors");
  if (is_rows(tensor)) {
    int64_t row_bytes = mvs_tensor_elements(tensor, 1) * mvs_dtype_bytes(tensor->dtype);
    if (bounce) MVS_TRY(mvs_session_alloc(session, call->part_rows * row_bytes, &memory));
    for (int at = 0; at < call->tensors; at++) {
      if (strcmp(call->tensor[at].name, tensor->name) != 0) continue;
      call->tensor[at].bounce = memory;
      return MVS_OK;
    }
    call->tensor[call->tensors++] =
        (flat_tensor){.name = tensor->name, .bounce = memory, .row_bytes = row_bytes};
    return MVS_OK;
  }
  MVS_TRY(mvs_session_alloc(session, sizeof(double), &memory));
  call->scalar[call->scalars++] = (flat_scalar){.name = tensor->name, .memory = memory};
  return bind_scalar(call, tensor->name, memory);
}

/* At most two calls: one for whole parts, one for the rows that are left. */
mvs_status mvs_flat_new(mvs_session *session, const char *name, int64_t rows,
                        mvs_flat_call **out) {
  mvs_flat_call *call = MVS_NEW(session->arena, mvs_flat_call);
  call->session = session;
  call->rows = rows;
  MVS_TRY(mvs_call_new(session->executor, name, rows, &call->part));
  const Mvs__Function *function = mvs_call_function(call->part);
  bool in_place = runs_in_place(session->program, function);
  call->part_rows = in_place || rows < BOUNCE_ROWS ? rows : BOUNCE_ROWS;
  if (call->part_rows != rows)
    MVS_TRY(mvs_call_new(session->executor, name, call->part_rows, &call->part));
  if (rows % call->part_rows)
    MVS_TRY(mvs_call_new(session->executor, name, rows % call->part_rows, &call->rest));
  for (size_t at = 0; at < function->n_inputs; at++)
    MVS_TRY(add_tensor(call, function->inputs[at], false));
  for (size_t at = 0; at < function->n_outputs; at++)
    MVS_TRY(add_tensor(call, function->outputs[at], !in_place));
  *out = call;
  return MVS_OK;
}

/* All rows at once: the total is of all of them. */
mvs_status mvs_flat_squares(mvs_session *session, float *flat, mvs_call **out, double **rows,
                            double **total) {
  int64_t count = session->program->flat_elements / MVS_FLAT_ROW_ELEMENTS;
  void *each, *all;
  MVS_TRY(mvs_session_alloc(session, count * (int64_t)sizeof(double), &each));
  MVS_TRY(mvs_session_alloc(session, sizeof(double), &all));
  MVS_TRY(mvs_call_new(session->executor, "sum_squares", count, out));
  MVS_TRY(mvs_call_bind_input(*out, "g", flat));
  MVS_TRY(mvs_call_bind_output(*out, "rows", each));
  MVS_TRY(mvs_call_bind_output(*out, "total", all));
  *rows = each, *total = all;
  return MVS_OK;
}

/* A name that the function does not have is passed over. */
void mvs_flat_rows(mvs_flat_call *call, const char *name, void *memory) {
  for (int at = 0; at < call->tensors; at++)
    if (strcmp(call->tensor[at].name, name) == 0) call->tensor[at].memory = memory;
}

/* NULL when the function has none of that name. */
static flat_scalar *find_scalar(mvs_flat_call *call, const char *name) {
  for (int at = 0; at < call->scalars; at++)
    if (strcmp(call->scalar[at].name, name) == 0) return &call->scalar[at];
  return NULL;
}

/* A function of the program and this file disagree: our own mistake. */
static mvs_status no_scalar(mvs_flat_call *call, const char *name) {
  return MVS_FAIL(call->session->diag, MVS_ERR_INTERNAL,
                  "internal: function '%s' has no scalar '%s'",
                  mvs_call_function(call->part)->name, name);
}

/* Stored as f32, which is what scalar inputs are. */
mvs_status mvs_flat_scalar(mvs_flat_call *call, const char *name, double value) {
  flat_scalar *scalar = find_scalar(call, name);
  mvs_device *device = call->session->device;
  float single = (float)value;
  if (!scalar) return no_scalar(call, name);
  device->copy(device, scalar->memory, &single, sizeof single, MVS_COPY_TO_DEVICE);
  return MVS_OK;
}

/* The place that it had is left alone: a scalar is a few bytes. */
mvs_status mvs_flat_share(mvs_flat_call *call, const char *name, void *memory) {
  flat_scalar *scalar = find_scalar(call, name);
  if (!scalar) return no_scalar(call, name);
  scalar->memory = memory;
  return bind_scalar(call, name, memory);
}

/* Rows first .. first+rows-1; `part` is the call prepared for that many. */
static mvs_status run_part(mvs_flat_call *call, mvs_call *part, int64_t first, int64_t rows) {
  mvs_device *device = call->session->device;
  for (int at = 0; at < call->tensors; at++) {
    const flat_tensor *tensor = &call->tensor[at];
    char *memory = tensor->memory + first * tensor->row_bytes;
    char *output = tensor->bounce ? tensor->bounce : memory;
    if (mvs_call_has_input(part, tensor->name))
      MVS_TRY(mvs_call_bind_input(part, tensor->name, memory));
    if (mvs_call_has_output(part, tensor->name))
      MVS_TRY(mvs_call_bind_output(part, tensor->name, output));
  }
  MVS_TRY(mvs_call_run(part));
  for (int at = 0; at < call->tensors; at++) {
    const flat_tensor *tensor = &call->tensor[at];
    if (!tensor->bounce) continue;
    device->copy(device, tensor->memory + first * tensor->row_bytes, tensor->bounce,
                 rows * tensor->row_bytes, MVS_COPY_WITHIN);
  }
  return MVS_OK;
}

/* Parts in order of rows; each is done before its bounce buffer is used again. */
mvs_status mvs_flat_run(mvs_flat_call *call) {
  int64_t done = 0;
  if (call->rows == 0) return MVS_OK; /* a model with nothing to train */
  for (; done + call->part_rows <= call->rows; done += call->part_rows)
    MVS_TRY(run_part(call, call->part, done, call->part_rows));
  return done < call->rows ? run_part(call, call->rest, done, call->rows - done) : MVS_OK;
}
