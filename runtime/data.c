/* data.c: opening sources, and the order of samples.
 *
 * The order is epochs of permutations, each a function of (seed, epoch): a resumed run finds
 * its place by dividing, and batches run on from one epoch into the next, so every sample is
 * seen once an epoch whatever the batch. Only one permutation is held; steps go forward, so
 * it is made once an epoch. */
#include "runtime/data.h"

#include <sys/stat.h>

#include "runtime/specialise.h"

/* splitmix64 (Steele, Lea, Flood 2014): a full-period generator whose state is a counter. */
static uint64_t next_random(uint64_t *state) {
  uint64_t mixed = *state += 0x9E3779B97F4A7C15u;
  mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9u;
  mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EBu;
  return mixed ^ mixed >> 31;
}

/* The first call of mvs_order_sample shuffles. */
mvs_order *mvs_order_new(mvs_arena *arena, int64_t count, uint64_t seed) {
  mvs_order *order = MVS_NEW(arena, mvs_order);
  *order = (mvs_order){.count = count, .seed = seed, .epoch = -1};
  order->permutation = MVS_ARRAY(arena, (size_t)count, int64_t);
  return order;
}

/* Fisher and Yates' shuffle. The multiplication takes the upper half of 64 random bits times
 * the range; its bias is below 2^-32 for any data set that fits a disk. */
static void shuffle(mvs_order *order, int64_t epoch) {
  uint64_t state = order->seed * 0xD1342543DE82EF95u + (uint64_t)epoch;
  next_random(&state);
  for (int64_t at = 0; at < order->count; at++) order->permutation[at] = at;
  for (int64_t at = order->count - 1; at > 0; at--) {
    unsigned __int128 wide = (unsigned __int128)next_random(&state) * (uint64_t)(at + 1);
    int64_t other = (int64_t)(wide >> 64), kept = order->permutation[at];
    order->permutation[at] = order->permutation[other];
    order->permutation[other] = kept;
  }
  order->epoch = epoch;
}

/* `at` counts all samples that the run has taken. */
int64_t mvs_order_sample(mvs_order *order, int64_t at) {
  int64_t epoch = at / order->count;
  if (epoch != order->epoch) shuffle(order, epoch);
  return order->permutation[at % order->count];
}

/* "digits" wins over a folder of that name, which can be given as ./digits. */
mvs_status mvs_data_open(mvs_session *session, const char *name, mvs_data **out) {
  struct stat facts;
  *out = NULL;
  if (strcmp(name, "digits") == 0) return mvs_data_open_digits(session, out);
  if (stat(name, &facts) == 0) return mvs_data_open_shards(session, name, out);
  return MVS_FAIL(session->diag, MVS_ERR_IO,
                  "--data '%s' is neither digits nor a folder or file of safetensors shards",
                  name);
}

static mvs_status check_inputs(const mvs_program *program, mvs_data *data, mvs_diag *diag) {
  for (size_t at = 0; at < program->n_inputs; at++) {
    const Mvs__ModelInput *input = program->inputs[at];
    MVS_TRY(data->check(data, diag, input->conditioning ? input->name : "x0", input->dtype,
                        (int)input->n_shape, input->shape));
  }
  return MVS_OK;
}

/* The state is the file's x0: noise and time are drawn, never read. */
mvs_status mvs_data_check(mvs_session *session, mvs_data *data) {
  return check_inputs(session->program, data, session->diag);
}

/* Shapes are tried in silence; the words for none that fits are those for the first. */
mvs_status mvs_data_specialise(mvs_session *session, mvs_data *data) {
  size_t count = mvs_specialisation_count(session);
  if (count == 1) return MVS_OK;
  mvs_text values = mvs_text_new(session->arena);
  for (size_t at = 0; at < count; at++) {
    mvs_session_specialise(session, at);
    mvs_status status = check_inputs(session->program, data, mvs_diag_new(session->arena));
    bool told = mvs_diag_errors(session->diag) > 0; /* that a tensor is missing */
    if (status == MVS_OK || told) return status;
    if (status != MVS_ERR_SHAPE) return mvs_data_check(session, data);
    mvs_text_addf(&values, at ? ", %s" : "%s", session->whole->specialisations[at]->value);
  }
  mvs_session_specialise(session, 0);
  mvs_status status = mvs_data_check(session, data);
  mvs_diag_hint(session->diag, "the program holds the model with %s = %s",
                session->whole->specialised, mvs_text_string(&values));
  return status;
}
