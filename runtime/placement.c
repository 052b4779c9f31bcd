/* placement.c: buffers to addresses.
 *
 * Time is a line: every top-level step takes one tick, a loop one tick per step of its body
 * (after those of the block it redoes). Buffers whose stretches of time meet must not
 * overlap; the largest are placed first, each at the lowest free offset. A body's ticks
 * stand for all of its layers, so a value that lives within one layer shares memory with
 * values of the same body that do not meet it, and the plan of a thousand layers is as small
 * as that of two. */
#include "runtime/placement.h"

#include <stdlib.h>

#include "compiler/base/checked.h"
#include "runtime/fail.h"

#define BUFFER_ALIGNMENT 256
/* The part of all temporaries that may be spent on keeping values of a body apart. */
#define PART_FOR_APART 8
/* Bytes of workspace on top of what one launch needs, where several are done together, and how
 * many times that need they are at most. */
#define WORKSPACE_TOGETHER ((int64_t)4 << 20)
#define TIMES_TOGETHER     15

typedef struct stretch {
  int64_t begin, end; /* ticks, both included; begin > end: none */
} stretch;

/* The times at which a buffer holds something. A value of a forward body lives once in the
 * forward loop and, when blocks are redone, once more in the backward loop. */
typedef struct lifetime {
  stretch own, redone;
} lifetime;

typedef struct timeline {
  mvs_placement *placement;
  const Mvs__Function *function;
  int64_t *first_tick; /* of each top-level step; one more at the end */
  int64_t *body_tick;  /* of each loop run at the top: its body's first step; -1 when nested */
  int64_t *redo_tick; /* of each forward loop: its redone body in the backward loop; -1: none */
  int64_t *redo_step; /* of each forward loop: the top-level step that redoes it */
  lifetime *lives;    /* per buffer */
} timeline;

typedef struct candidate {
  uint32_t buffer;
  int64_t bytes;
} candidate;

/* A backward loop knows the forward loop that it belongs to. */
bool mvs_function_can_redo(const Mvs__Function *function) {
  return mvs_redo_most(function) > 0;
}

/* Only what crosses from forward to backward is ever kept for all layers. */
static int64_t slots_of(const Mvs__Buffer *buffer, bool redone) {
  if (!buffer->crossing) return buffer->slots_least;
  return redone ? 1 : buffer->slots_kept;
}

/* A quarter of the range is left, so that sums of a few sizes cannot overflow. */
static mvs_status size_buffers(mvs_placement *placement, mvs_diag *diag) {
  const Mvs__Function *function = placement->function;
  for (size_t at = 0; at < function->n_buffers; at++) {
    const Mvs__Buffer *buffer = function->buffers[at];
    bool whole = buffer->kind == MVS__BUFFER__KIND__PARAM ||
                 buffer->kind == MVS__BUFFER__KIND__GRAD ||
                 buffer->kind == MVS__BUFFER__KIND__PREPARED;
    int64_t bytes, all;
    bool fits = mvs_mul(buffer->per_batch, placement->batch, &bytes) &&
                mvs_add(bytes, buffer->fixed, &bytes);
    placement->slots[at] =
        whole ? buffer->slots_kept : slots_of(buffer, placement->redo->turns[at] > 0);
    placement->slot_bytes[at] = bytes;
    if (!fits || !mvs_mul(bytes, placement->slots[at], &all) || all > INT64_MAX / 4)
      return MVS_FAIL(diag, MVS_ERR_LIMIT, "a batch of %lld is too large for 64-bit sizes",
                      (long long)placement->batch);
  }
  return MVS_OK;
}

/* A loop has one tick more than its body: what lives up to the loop's end outlives its last
 * step. */
static void lay_out_ticks(timeline *line, mvs_arena *arena) {
  const Mvs__Function *function = line->function;
  line->first_tick = MVS_ARRAY(arena, function->n_steps + 1, int64_t);
  line->body_tick = MVS_ARRAY(arena, function->n_loops, int64_t);
  line->redo_tick = MVS_ARRAY(arena, function->n_loops, int64_t);
  line->redo_step = MVS_ARRAY(arena, function->n_loops, int64_t);
  for (size_t at = 0; at < function->n_loops; at++)
    line->body_tick[at] = line->redo_tick[at] = line->redo_step[at] = -1;
  int64_t now = 0;
  for (size_t at = 0; at < function->n_steps; at++) {
    line->first_tick[at] = now;
    const Mvs__Loop *loop = mvs_step_loop(function, function->steps[at]);
    if (loop && loop->forward >= 0 && line->placement->redo->steps[loop->forward]) {
      line->redo_tick[loop->forward] = now;
      line->redo_step[loop->forward] = (int64_t)at;
      now += (int64_t)function->loops[loop->forward]->n_steps;
    }
    if (loop) line->body_tick[function->steps[at]->loop] = now;
    now += loop ? (int64_t)loop->n_steps + 1 : 1;
  }
  line->first_tick[function->n_steps] = now;
}

/* Steps before the first and behind the last mean: from the start, to the end. */
static int64_t clamp(int64_t value, int64_t least, int64_t most) {
  return value < least ? least : value > most ? most : value;
}

/* A value of a body lives within one layer; everything else from its first step to its last. */
static void find_lives(timeline *line) {
  const Mvs__Function *function = line->function;
  int64_t last = (int64_t)function->n_steps - 1;
  for (size_t at = 0; at < function->n_buffers; at++) {
    const Mvs__Buffer *buffer = function->buffers[at];
    lifetime *life = &line->lives[at];
    life->redone = (stretch){.begin = 1, .end = 0};
    int64_t body = buffer->home >= 0 ? line->body_tick[buffer->home] : -1;
    if (body >= 0 && buffer->body_first >= 0) {
      life->own =
          (stretch){.begin = body + buffer->body_first, .end = body + buffer->body_last};
    } else {
      life->own.begin = line->first_tick[clamp(buffer->first_step, 0, last)];
      life->own.end = line->first_tick[clamp(buffer->last_step, 0, last) + 1] - 1;
    }
  }
}

/* What redone steps touch lives again in the backward loop: a body's own value during the
 * redone body, anything else from its first use on. */
static void extend_redone(timeline *line, size_t forward) {
  const Mvs__Function *function = line->function;
  const Mvs__Loop *loop = function->loops[forward];
  const bool *again = line->placement->redo->steps[forward];
  int64_t begin = line->redo_tick[forward];
  if (begin < 0) return;
  for (size_t at = 0; at < loop->n_steps; at++) {
    const Mvs__Step *step = loop->steps[at];
    for (size_t each = 0; again[at] && each < step->n_operands; each++) {
      const Mvs__Buffer *buffer = function->buffers[step->operands[each]->buffer];
      lifetime *life = &line->lives[step->operands[each]->buffer];
      bool local = buffer->home == (int64_t)forward && buffer->body_first >= 0;
      int64_t end = line->first_tick[line->redo_step[forward] + 1] - 1;
      if (local) {
        life->redone.begin = begin + buffer->body_first;
        life->redone.end = begin + buffer->body_last;
      } else if (life->own.end < end) {
        life->own.end = end;
      }
    }
  }
}

/* An empty stretch meets nothing. */
static bool stretches_meet(stretch a, stretch b) {
  return a.begin <= a.end && b.begin <= b.end && a.begin <= b.end && b.begin <= a.end;
}

/* Each of the two stretches of one against each of the other. */
static bool lives_meet(const lifetime *a, const lifetime *b) {
  return stretches_meet(a->own, b->own) || stretches_meet(a->own, b->redone) ||
         stretches_meet(a->redone, b->own) || stretches_meet(a->redone, b->redone);
}

/* By number among equals, so that a placement is the same every time. */
static int larger_first(const void *left, const void *right) {
  const candidate *a = left, *b = right;
  if (a->bytes != b->bytes) return a->bytes < b->bytes ? 1 : -1;
  return a->buffer < b->buffer ? -1 : 1;
}

/* The lowest offset at which `bytes` lie free of all buffers in `placed` that live meanwhile;
 * `placed` is in order of offset. */
static int64_t lowest_gap(const timeline *line, const candidate *placed, size_t count,
                          const candidate *item) {
  int64_t at = 0;
  for (size_t each = 0; each < count; each++) {
    if (!lives_meet(&line->lives[placed[each].buffer], &line->lives[item->buffer])) continue;
    int64_t begin = line->placement->offsets[placed[each].buffer];
    if (at + item->bytes <= begin) break;
    if (begin + placed[each].bytes > at) at = begin + placed[each].bytes;
  }
  return at;
}

/* First fit, largest first: within a few percent of the most that lives at one time. */
static void place_buffers(const timeline *line, mvs_arena *arena) {
  mvs_placement *placement = line->placement;
  const Mvs__Function *function = line->function;
  candidate *items = MVS_ARRAY(arena, function->n_buffers, candidate);
  candidate *placed = MVS_ARRAY(arena, function->n_buffers, candidate);
  size_t count = 0;
  for (size_t at = 0; at < function->n_buffers; at++) {
    if (function->buffers[at]->kind != MVS__BUFFER__KIND__TEMP) continue;
    int64_t bytes = placement->slots[at] * placement->slot_bytes[at];
    bytes = (bytes + BUFFER_ALIGNMENT - 1) / BUFFER_ALIGNMENT * BUFFER_ALIGNMENT;
    items[count++] = (candidate){.buffer = (uint32_t)at, .bytes = bytes};
  }
  if (count) qsort(items, count, sizeof *items, larger_first);
  for (size_t at = 0; at < count; at++) {
    int64_t offset = lowest_gap(line, placed, at, &items[at]);
    placement->offsets[items[at].buffer] = offset;
    if (offset + items[at].bytes > placement->bytes)
      placement->bytes = offset + items[at].bytes;
    size_t to = at;
    for (; to > 0 && placement->offsets[placed[to - 1].buffer] > offset; to--)
      placed[to] = placed[to - 1];
    placed[to] = items[at];
  }
}

/* Lets values of bodies live until the body's end, so that what reads one of them may be put
 * off until then. */
static void lengthen_lives(timeline *line) {
  const Mvs__Function *function = line->function;
  for (size_t at = 0; at < function->n_buffers; at++) {
    const Mvs__Buffer *buffer = function->buffers[at];
    lifetime *life = &line->lives[at];
    if (buffer->home < 0 || buffer->body_first < 0 || line->body_tick[buffer->home] < 0)
      continue;
    int64_t more = (int64_t)function->loops[buffer->home]->n_steps - 1 - buffer->body_last;
    life->own.end += more;
    if (life->redone.begin <= life->redone.end) life->redone.end += more;
  }
}

/* The place that is had for a little more memory, else what stands there. */
static void place_apart(timeline *line, mvs_arena *arena) {
  mvs_placement *placement = line->placement, tight = *placement;
  placement->offsets = MVS_ARRAY(arena, line->function->n_buffers, int64_t);
  placement->bytes = 0;
  lengthen_lives(line);
  place_buffers(line, arena);
  if (placement->bytes - tight.bytes > tight.bytes / PART_FOR_APART) *placement = tight;
}

/* Kernels run one after another and share one workspace. */
static int64_t workspace_of(const mvs_program *program, Mvs__Step *const *steps, size_t count,
                            int64_t batch) {
  int64_t most = 0;
  for (size_t at = 0; at < count; at++) {
    if (steps[at]->kernel < 0) continue;
    const Mvs__Kernel *kernel = program->kernels[steps[at]->kernel];
    int64_t bytes = kernel->workspace_fixed + kernel->workspace_per_batch * batch;
    if (bytes > most) most = bytes;
  }
  return most;
}

/* What launches that are done together take more than one of them. */
static int64_t workspace_together(int64_t bytes) {
  int64_t more = bytes * TIMES_TOGETHER;
  return bytes > WORKSPACE_TOGETHER / TIMES_TOGETHER ? WORKSPACE_TOGETHER : more;
}

/* Scratch for the planning is in the same arena: placements are few. */
mvs_status mvs_placement_new(mvs_arena *arena, mvs_diag *diag, const mvs_program *program,
                             const Mvs__Function *function, int64_t batch,
                             mvs_recompute recompute, bool apart, mvs_placement **out) {
  *out = NULL;
  mvs_placement *placement = MVS_NEW(arena, mvs_placement);
  placement->function = function;
  placement->batch = batch;
  placement->redo = mvs_redo_choose(arena, program, function, batch, recompute);
  placement->slots = MVS_ARRAY(arena, function->n_buffers, int64_t);
  placement->slot_bytes = MVS_ARRAY(arena, function->n_buffers, int64_t);
  placement->offsets = MVS_ARRAY(arena, function->n_buffers, int64_t);
  MVS_TRY(size_buffers(placement, diag));
  timeline line = {.placement = placement, .function = function};
  line.lives = MVS_ARRAY(arena, function->n_buffers, lifetime);
  lay_out_ticks(&line, arena);
  if (function->n_steps) {
    find_lives(&line);
    for (size_t at = 0; at < function->n_loops; at++) extend_redone(&line, at);
    place_buffers(&line, arena);
    if (apart) place_apart(&line, arena);
  }
  placement->workspace_bytes = workspace_of(program, function->steps, function->n_steps, batch);
  for (size_t at = 0; at < function->n_loops; at++) {
    int64_t bytes =
        workspace_of(program, function->loops[at]->steps, function->loops[at]->n_steps, batch);
    if (bytes > placement->workspace_bytes) placement->workspace_bytes = bytes;
  }
  if (apart) placement->workspace_bytes += workspace_together(placement->workspace_bytes);
  *out = placement;
  return MVS_OK;
}
