/* least.c: levels of the steps of one list (a function's top or a loop's body), then what each
 * level reads and writes. Lists have some dozens of steps, so pairs are simply compared. */
#include "runtime/least.h"

typedef struct walk {
  mvs_arena *scratch;
  const mvs_program *program;
  const Mvs__Function *function;
  int64_t batch;
  int *reader; /* per buffer: the list that reads it, NO_LIST or SEVERAL_LISTS */
} walk;

enum { NO_LIST = -2, SEVERAL_LISTS = -3, TOP = -1 }; /* other lists: the loop's number */

/* A list of steps with what was found of each. */
typedef struct step_list {
  int number; /* TOP or the loop's */
  Mvs__Step *const *steps;
  size_t count;
  int *level;
} step_list;

/* What a level reads of one place. */
typedef struct place {
  int level;
  const Mvs__Operand *operand;
  double bytes;
} place;

typedef MVS_LIST(place) place_list;

bool mvs_kernel_is_heavy(const Mvs__Kernel *kernel) {
  return kernel->matmul || kernel->attention;
}

/* A loop is one: its body is a list of its own. */
static bool is_heavy(const walk *w, const Mvs__Step *step) {
  return step->kernel < 0 || mvs_kernel_is_heavy(w->program->kernels[step->kernel]);
}

/* Programs of an older mvcc say nothing of operands; their least is 0. */
static double bytes_of(const walk *w, const Mvs__Step *step, size_t operand, bool written) {
  const Mvs__Kernel *kernel = w->program->kernels[step->kernel];
  if (operand >= kernel->n_traffic) return 0;
  const Mvs__Traffic *traffic = kernel->traffic[operand];
  double batch = (double)w->batch;
  return written ? (double)traffic->write_fixed + (double)traffic->write_per_batch * batch
                 : (double)traffic->read_fixed + (double)traffic->read_per_batch * batch;
}

/* --- who needs what --- */

/* One layer's value, not another layer's or another function's. */
static bool same_value(const Mvs__Operand *a, const Mvs__Operand *b) {
  return a->buffer == b->buffer && a->per_layer == b->per_layer && a->shift == b->shift;
}

/* Any layer's. */
static bool loop_touches(const walk *w, const Mvs__Loop *loop, uint32_t buffer, bool written) {
  for (size_t at = 0; at < loop->n_steps; at++) {
    const Mvs__Step *step = loop->steps[at];
    const Mvs__Loop *inner = mvs_step_loop(w->function, step);
    if (inner && loop_touches(w, inner, buffer, written)) return true;
    for (size_t each = 0; !inner && each < step->n_operands; each++)
      if (step->operands[each]->buffer == buffer && bytes_of(w, step, each, written) > 0)
        return true;
  }
  return false;
}

/* Whether a step reads (writes) the value of an operand of its list; loops go by the buffer. */
static bool touches(const walk *w, const Mvs__Step *step, const Mvs__Operand *value,
                    bool written) {
  const Mvs__Loop *loop = mvs_step_loop(w->function, step);
  if (loop) return loop_touches(w, loop, value->buffer, written);
  for (size_t at = 0; at < step->n_operands; at++)
    if (same_value(step->operands[at], value) && bytes_of(w, step, at, written) > 0)
      return true;
  return false;
}

/* A value that one list makes and another reads is stored, whatever the levels. */
static void note_readers(const walk *w, const step_list *list) {
  for (size_t at = 0; at < list->count; at++)
    for (size_t each = 0; each < list->steps[at]->n_operands; each++) {
      int *reader = &w->reader[list->steps[at]->operands[each]->buffer];
      if (bytes_of(w, list->steps[at], each, false) <= 0) continue;
      *reader = *reader == NO_LIST || *reader == list->number ? list->number : SEVERAL_LISTS;
    }
}

/* --- levels --- */

/* Behind every step that writes what it reads, one more behind a heavy one. A loop stands
 * behind all that went before: it reads what its body reads, which is not looked at one by one.
 */
static int level_of(const walk *w, const step_list *list, size_t at) {
  const Mvs__Step *step = list->steps[at];
  int level = 0;
  for (size_t before = 0; before < at; before++) {
    bool needed = step->kernel < 0;
    for (size_t each = 0; !needed && each < step->n_operands; each++)
      needed = bytes_of(w, step, each, false) > 0 &&
               touches(w, list->steps[before], step->operands[each], true);
    int least = list->level[before] + is_heavy(w, list->steps[before]);
    if (needed && least > level) level = least;
  }
  return level;
}

/* --- bytes --- */

/* Made by a light step of the same level, so it need not come from memory. */
static bool is_at_hand(const walk *w, const step_list *list, size_t at,
                       const Mvs__Operand *value) {
  for (size_t before = 0; before < at; before++)
    if (list->level[before] == list->level[at] && !is_heavy(w, list->steps[before]) &&
        touches(w, list->steps[before], value, true))
      return true;
  return false;
}

/* Read by anything but light steps behind it on its level. */
static bool is_needed_elsewhere(const walk *w, const step_list *list, size_t at,
                                const Mvs__Operand *value) {
  const Mvs__Buffer *buffer = w->function->buffers[value->buffer];
  int reader = w->reader[value->buffer];
  if (buffer->kind != MVS__BUFFER__KIND__TEMP) return true;
  if (reader != NO_LIST && reader != list->number) return true;
  for (size_t other = 0; other < list->count; other++) {
    const Mvs__Step *step = list->steps[other];
    bool beside = other > at && list->level[other] == list->level[at] && !is_heavy(w, step);
    for (size_t each = 0; step->kernel >= 0 && each < step->n_operands; each++) {
      const Mvs__Operand *operand = step->operands[each];
      if (operand->buffer != value->buffer || bytes_of(w, step, each, false) <= 0) continue;
      if (!beside || !same_value(operand, value)) return true;
    }
  }
  return false;
}

/* Several kernels of a level that read one place count as one. */
static void add_place(const walk *w, place_list *places, place next) {
  for (size_t at = 0; at < places->count; at++) {
    place *have = &places->items[at];
    if (have->level != next.level || !same_value(have->operand, next.operand) ||
        have->operand->offset != next.operand->offset)
      continue;
    if (next.bytes > have->bytes) have->bytes = next.bytes;
    return;
  }
  MVS_PUSH(w->scratch, places, next);
}

static double least_of(const walk *w, const step_list *list);

/* Every layer moves the same. */
static double least_of_loop(const walk *w, uint32_t number) {
  const Mvs__Loop *loop = w->function->loops[number];
  step_list body = {.number = (int)number, .steps = loop->steps, .count = loop->n_steps};
  return (double)loop->count * least_of(w, &body);
}

/* Writes are each of one step, reads of a level's first reader. */
static double least_of(const walk *w, const step_list *of) {
  step_list list = *of;
  place_list places = {0};
  double bytes = 0;
  list.level = MVS_ARRAY(w->scratch, list.count + 1, int);
  for (size_t at = 0; at < list.count; at++) list.level[at] = level_of(w, &list, at);
  for (size_t at = 0; at < list.count; at++) {
    const Mvs__Step *step = list.steps[at];
    if (step->kernel < 0) bytes += least_of_loop(w, step->loop);
    if (is_heavy(w, step)) continue;
    for (size_t each = 0; each < step->n_operands; each++) {
      const Mvs__Operand *operand = step->operands[each];
      place read = {list.level[at], operand, bytes_of(w, step, each, false)};
      double written = bytes_of(w, step, each, true);
      if (read.bytes > 0 && !is_at_hand(w, &list, at, operand)) add_place(w, &places, read);
      if (written > 0 && is_needed_elsewhere(w, &list, at, operand)) bytes += written;
    }
  }
  for (size_t at = 0; at < places.count; at++) bytes += places.items[at].bytes;
  return bytes;
}

/* Readers first: a step's writes depend on what lists behind it read. */
double mvs_function_least_bytes(mvs_arena *scratch, const mvs_program *program,
                                const Mvs__Function *function, int64_t batch) {
  walk w = {scratch, program, function, batch, NULL};
  step_list top = {.number = TOP, .steps = function->steps, .count = function->n_steps};
  w.reader = MVS_ARRAY(scratch, function->n_buffers + 1, int);
  for (size_t at = 0; at < function->n_buffers; at++) w.reader[at] = NO_LIST;
  note_readers(&w, &top);
  for (size_t at = 0; at < function->n_loops; at++) {
    const Mvs__Loop *loop = function->loops[at];
    note_readers(&w,
                 &(step_list){.number = (int)at, .steps = loop->steps, .count = loop->n_steps});
  }
  return least_of(&w, &top);
}
