/* build_emit.c: from a draft to a nest of the kernel form.
 *
 * Axes that every access walks as one become one: y[b, t, c] = f(x[b, t, c]) of contiguous
 * values is a flat loop over B T C elements; a row scalar r[b, t] beside them keeps rows (B T)
 * and the inner axis C; a weight [T, 1] in it keeps B and T apart. Fewer axes mean fewer
 * divisions when a thread finds its place, and a longer inner axis. */
#include <inttypes.h>

#include "codegen/build_draft.h"

/* An inner axis shorter than a vector leaves most lanes idle. */
#define SHORT_INNER 16

typedef struct emitter {
  mvs_draft *draft;
  const char **reason; /* of a failure */
  mvs_nest *nest;
  bool reduces;
  int sequential;              /* the slot that runs in sequence, -1: none */
  int outer[MVS_SLOTS];        /* the nest's parallel axis of a slot, -1: none */
  uint16_t *numbers;           /* draft instruction -> nest instruction */
  uint16_t indices[MVS_SLOTS]; /* INDEX instructions made so far */
} emitter;

static mvs_slot *slot_at(const emitter *e, int slot) { return &e->draft->axes.slots[slot]; }

static bool moves(const mvs_slot *slot) { return slot->dim.size > 1 || slot->dim.per_batch; }

static mvs_status fail(const emitter *e, const char *reason) {
  *e->reason = reason;
  return MVS_ERR_INTERNAL;
}

/* --- merging --- */

/* True when every address and index steps over `slow` as over `fast` run to its end. Of a
 * stacked value the layers come before the batch: their stride, counted without the batch as
 * all strides are, is then that of the batch. */
static bool walked_as_one(const emitter *e, int slow, int fast) {
  int64_t extent = slot_at(e, fast)->dim.size;
  for (size_t i = 0; i < e->draft->instrs.count; i++) {
    const mvs_affine *affine = &e->draft->instrs.items[i].affine;
    if (affine->slot[slow] != affine->slot[fast] * extent) return false;
  }
  return true;
}

/* Rows keep their inner axis where a reduction runs along it, and the batch stays outside of
 * COLUMNS: their inner axis is what a thread holds accumulators for. Token numbers are asked
 * for where segments are, so that axis stays alone. */
static bool may_merge(const emitter *e, int slow, int fast) {
  const mvs_draft *draft = e->draft;
  if (slow == draft->segment_slot || fast == draft->segment_slot) return false;
  bool both_sequential = slot_at(e, slow)->role == MVS_ROLE_SEQUENTIAL;
  if (both_sequential && slot_at(e, fast)->dim.per_batch) return false;
  if (both_sequential != (slot_at(e, fast)->role == MVS_ROLE_SEQUENTIAL)) return false;
  if (fast == draft->axes.inner) {
    if (draft->nest_class == MVS_KERNEL_ROWS && e->reduces) return false;
    if (draft->nest_class == MVS_KERNEL_COLUMNS && slot_at(e, slow)->dim.per_batch)
      return false;
  }
  return walked_as_one(e, slow, fast);
}

/* The faster slot takes over: its strides are those of the joined axis, by walked_as_one. */
static void merge(const emitter *e, int slow, int fast) {
  mvs_slot *gone = slot_at(e, slow), *stays = slot_at(e, fast);
  stays->dim.size *= gone->dim.size;
  stays->dim.per_batch |= gone->dim.per_batch;
  *gone = (mvs_slot){.dim = {1, false}, .axis = -1};
  for (size_t i = 0; i < e->draft->instrs.count; i++) {
    e->draft->instrs.items[i].affine.slot[slow] = 0;
  }
}

/* Merges neighbours of the same kind, fastest first; sequential axes may have parallel ones
 * between them, and the reverse. */
static void merge_axes(const emitter *e) {
  for (int fast = e->draft->axes.count - 1; fast > 0; fast--) {
    if (!moves(slot_at(e, fast)) || slot_at(e, fast)->role == MVS_ROLE_NONE) continue;
    bool sequential = slot_at(e, fast)->role == MVS_ROLE_SEQUENTIAL;
    for (int slow = fast - 1; slow >= 0; slow--) {
      const mvs_slot *slot = slot_at(e, slow);
      if (!moves(slot) || sequential != (slot->role == MVS_ROLE_SEQUENTIAL)) continue;
      if (!may_merge(e, slow, fast)) break;
      merge(e, slow, fast);
    }
  }
}

/* True when some address would need a stride that grows with the batch: an axis before it that
 * did not merge with it. */
static bool strides_grow(const emitter *e) {
  for (size_t i = 0; i < e->draft->instrs.count; i++) {
    for (int k = 0; k < e->draft->axes.count; k++) {
      const mvs_slot *slot = slot_at(e, k);
      bool before = e->draft->instrs.items[i].before_batch >> k & 1;
      if (before && moves(slot) && !slot->dim.per_batch) return true;
    }
  }
  return false;
}

/* --- the inner axis --- */

/* Accesses that are contiguous along a slot. Stores count twice: one that is not wastes most of
 * each line that it writes, while a load's line may be found in cache by the next row. */
static int contiguous_accesses(const emitter *e, int slot) {
  int score = 0;
  for (size_t i = 0; i < e->draft->instrs.count; i++) {
    const mvs_draft_instr *instr = &e->draft->instrs.items[i];
    if (mvs_instr_uses_memory(&instr->instr) && instr->affine.slot[slot] == 1) {
      score += instr->instr.kind == MVS_INSTR_STORE ? 2 : 1;
    }
  }
  return score;
}

/* The parallel slot that would serve best as inner axis, or -1; the last of equals, since
 * addresses grow slowest along it. Not the batch (its extent is no constant) and not the tokens
 * of segments (a row has one segment number). */
static int better_inner(const emitter *e) {
  int best = -1, best_score = -1;
  for (int i = 0; i < e->draft->axes.count; i++) {
    const mvs_slot *slot = slot_at(e, i);
    bool usable = slot->role == MVS_ROLE_PARALLEL && !slot->dim.per_batch &&
                  slot->dim.size > slot_at(e, e->draft->axes.inner)->dim.size &&
                  i != e->draft->segment_slot;
    int score = usable ? contiguous_accesses(e, i) : -1;
    if (score >= best_score && usable) {
      best = i;
      best_score = score;
    }
  }
  return best;
}

/* Lets another axis run innermost where the last one is too short and no row is reduced: of
 *   y[b, t, c, h] = x[b, t, h, c], 16 c and 4 h      loops over h write 4 neighbours a row
 * the axis c runs innermost instead, with stride 1 in x and 4 in y. */
static void choose_inner(const emitter *e) {
  mvs_axes *axes = &e->draft->axes;
  bool fixed = e->reduces && e->draft->nest_class == MVS_KERNEL_ROWS;
  if (fixed || slot_at(e, axes->inner)->dim.per_batch ||
      slot_at(e, axes->inner)->dim.size >= SHORT_INNER) {
    return;
  }
  int chosen = better_inner(e);
  if (chosen < 0) return;
  slot_at(e, axes->inner)->role = MVS_ROLE_PARALLEL;
  slot_at(e, chosen)->role = MVS_ROLE_INNER;
  axes->inner = chosen;
}

/* A lone batch axis runs innermost, as flat nests do: all else has merged into it, and a nest
 * of rows of one element would leave a thread with one element each. */
static void flatten_batch(const emitter *e) {
  mvs_axes *axes = &e->draft->axes;
  if (e->reduces || slot_at(e, axes->inner)->dim.size > 1 ||
      slot_at(e, axes->inner)->dim.per_batch) {
    return;
  }
  int only = -1;
  for (int i = 0; i < axes->count; i++) {
    if (i == axes->inner || !moves(slot_at(e, i))) continue;
    if (only >= 0) return;
    only = i;
  }
  if (only < 0 || only == e->draft->segment_slot) return;
  slot_at(e, axes->inner)->role = MVS_ROLE_NONE;
  slot_at(e, only)->role = MVS_ROLE_INNER;
  axes->inner = only;
}

/* --- axes of the nest --- */

/* One loop: the order of its steps is the order of the sum. Several reduced axes must have
 * merged (may_merge), the batch with what is behind it. */
static mvs_status place_sequential(emitter *e, int slot) {
  if (e->sequential >= 0) return fail(e, "the reduced axes are not walked as one");
  e->sequential = slot;
  mvs_dim dim = slot_at(e, slot)->dim;
  e->nest->sequential_batch = dim.per_batch;
  e->nest->sequential = dim.per_batch && dim.size == 1 ? 0 : dim.size;
  return MVS_OK;
}

/* place_slots comes with the batch first, so it is the slowest if there is one; two slots of
 * the batch that did not merge are no nest. */
static mvs_status place_outer(emitter *e, int slot) {
  if (e->nest->outer_count == MVS_MAX_AXES) return fail(e, "it has too many axes");
  if (slot_at(e, slot)->dim.per_batch && e->nest->outer_count > 0) {
    return fail(e, "the batch is not its slowest axis");
  }
  e->outer[slot] = e->nest->outer_count;
  e->nest->outer[e->nest->outer_count++] = slot_at(e, slot)->dim;
  return MVS_OK;
}

/* Places the slots that hold the batch, or those that do not: the batch comes first, since a
 * per_batch axis stands only as the slowest (kernel.h) and launches take a range of it. */
static mvs_status place_slots(emitter *e, bool batch) {
  const mvs_draft *draft = e->draft;
  for (int i = 0; i < MVS_SLOTS; i++) {
    bool axis = i < draft->axes.count || i == MVS_SLOT_TOKEN;
    if (!axis || i == draft->axes.inner || slot_at(e, i)->dim.per_batch != batch) continue;
    if (!moves(slot_at(e, i)) && i != draft->segment_slot) continue;
    if (slot_at(e, i)->role == MVS_ROLE_SEQUENTIAL) MVS_TRY(place_sequential(e, i));
    if (slot_at(e, i)->role == MVS_ROLE_PARALLEL) MVS_TRY(place_outer(e, i));
  }
  return MVS_OK;
}

/* What has extent 1 has no axis. A reduction of which nothing moves is a sum of one element. */
static mvs_status place_axes(emitter *e) {
  const mvs_draft *draft = e->draft;
  e->nest->inner = slot_at(e, draft->axes.inner)->dim;
  for (int i = 0; i < MVS_SLOTS; i++) e->outer[i] = -1;
  MVS_TRY(place_slots(e, true));
  MVS_TRY(place_slots(e, false));
  bool columns = draft->nest_class == MVS_KERNEL_COLUMNS;
  if (columns && e->sequential < 0) e->nest->sequential = 1;
  e->nest->segment_axis = -1;
  if (draft->segments) {
    e->nest->segments = draft->segments;
    e->nest->segment_axis = e->outer[draft->segment_slot];
    if (columns) e->nest->sequential = 0;
  }
  return MVS_OK;
}

/* --- instructions --- */

static mvs_level level_of(const emitter *e, uint32_t deps) {
  uint32_t elements = 1u << e->draft->axes.inner;
  if (e->sequential >= 0) elements |= 1u << e->sequential;
  return deps & elements ? MVS_LEVEL_ELEMENT : MVS_LEVEL_ROW;
}

/* The level and the phase that an instruction has from its arguments and from `deps`, the slots
 * that its own address or index moves with: ELEMENT when one of them is inner or sequential,
 * and one phase behind the REDUCE that it reads. COLUMNS have two phases: what is summed, and
 * what is done with sums; all stores are in the second. */
static void settle(const emitter *e, mvs_instr *instr, uint32_t deps) {
  bool columns = e->draft->nest_class == MVS_KERNEL_COLUMNS;
  instr->level = level_of(e, deps);
  for (int i = 0; i < mvs_instr_argument_count(instr); i++) {
    const mvs_instr *from = &e->nest->instrs.items[instr->arguments[i]];
    int ready = from->phase + (from->kind == MVS_INSTR_REDUCE);
    if (ready > instr->phase) instr->phase = (uint8_t)ready;
    if (from->level == MVS_LEVEL_ELEMENT) instr->level = MVS_LEVEL_ELEMENT;
  }
  if (instr->kind == MVS_INSTR_REDUCE) {
    instr->level = columns ? MVS_LEVEL_ELEMENT : MVS_LEVEL_ROW;
  }
  if (instr->kind == MVS_INSTR_STORE && columns) {
    instr->level = MVS_LEVEL_ELEMENT;
    instr->phase = 1;
  }
  int last = instr->phase + (instr->kind == MVS_INSTR_REDUCE && columns);
  if (last >= e->nest->phases) e->nest->phases = last + 1;
}

static uint16_t append(emitter *e, mvs_instr instr, uint32_t deps) {
  settle(e, &instr, deps);
  MVS_PUSH(e->draft->arena, &e->nest->instrs, instr);
  return (uint16_t)(e->nest->instrs.count - 1);
}

static uint16_t append_number(emitter *e, int64_t value) {
  mvs_instr instr = {.kind = MVS_INSTR_CONSTANT, .dtype = MVS_I32, .value = (double)value};
  return append(e, instr, 0);
}

static uint16_t append_arith(emitter *e, mvs_op op, uint16_t a, uint16_t b, uint32_t deps) {
  mvs_instr instr = {
      .kind = MVS_INSTR_ARITH, .op = op, .dtype = MVS_I32, .to = MVS_I32, .arguments = {a, b}};
  return append(e, instr, deps);
}

/* Once for each axis, whoever asks. */
static uint16_t index_of(emitter *e, int slot) {
  if (e->indices[slot] != UINT16_MAX) return e->indices[slot];
  int axis = e->outer[slot];
  if (slot == e->draft->axes.inner) axis = MVS_INNER;
  if (slot == e->sequential) axis = MVS_SEQUENTIAL;
  mvs_instr instr = {.kind = MVS_INSTR_INDEX, .dtype = MVS_I32, .axis = axis};
  return e->indices[slot] = append(e, instr, 1u << slot);
}

/* The i32 value of an affine: terms of the row first, so that they are computed once per row.
 */
static uint16_t append_affine(emitter *e, const mvs_affine *affine) {
  uint16_t sum = UINT16_MAX;
  uint32_t deps = 0;
  for (int pass = 0; pass < 2; pass++) {
    for (int i = 0; i < MVS_SLOTS; i++) {
      bool element = level_of(e, 1u << i) == MVS_LEVEL_ELEMENT;
      if (affine->slot[i] == 0 || element != (pass == 1)) continue;
      uint16_t term = index_of(e, i);
      deps |= 1u << i;
      if (affine->slot[i] != 1) {
        uint16_t stride = append_number(e, affine->slot[i]);
        term = append_arith(e, MVS_OP_mul, term, stride, 1u << i);
      }
      sum = sum == UINT16_MAX ? term : append_arith(e, MVS_OP_add, sum, term, deps);
    }
  }
  if (sum == UINT16_MAX) return append_number(e, affine->constant);
  if (affine->constant == 0) return sum;
  return append_arith(e, MVS_OP_add, sum, append_number(e, affine->constant), deps);
}

/* From strides by slot to strides by axis of the nest. */
static void set_access(const emitter *e, const mvs_affine *affine, mvs_access *access) {
  for (int i = 0; i < MVS_SLOTS; i++) {
    if (e->outer[i] >= 0) access->outer[e->outer[i]] = affine->slot[i];
  }
  access->inner = affine->slot[e->draft->axes.inner];
  access->segment = affine->slot[MVS_SLOT_SEGMENT];
  access->constant = affine->constant;
  if (e->sequential >= 0) access->sequential = affine->slot[e->sequential];
}

/* An affine value becomes instructions, an address becomes the strides of an access: levels and
 * phases follow from what both move with. */
static void append_draft(emitter *e, size_t index) {
  const mvs_draft_instr *from = &e->draft->instrs.items[index];
  if (from->is_affine) {
    e->numbers[index] = append_affine(e, &from->affine);
    return;
  }
  mvs_instr instr = from->instr;
  for (int i = 0; i < mvs_instr_argument_count(&instr); i++) {
    instr.arguments[i] = e->numbers[instr.arguments[i]];
  }
  uint32_t own = 0;
  if (mvs_instr_uses_memory(&instr)) {
    set_access(e, &from->affine, &instr.access);
    for (int i = 0; i < MVS_SLOTS; i++) own |= from->affine.slot[i] ? 1u << i : 0;
  }
  e->numbers[index] = append(e, instr, own);
}

static bool is_dear(const mvs_instr *instr) {
  if (instr->kind == MVS_INSTR_RANDOM) return true;
  return instr->kind == MVS_INSTR_ARITH && mvs_op_is_dear(instr->op);
}

/* Marks dear elements that several phases need, for printers that can hold a row. */
static void mark_kept(const emitter *e) {
  mvs_nest *nest = e->nest;
  mvs_phase_mask *masks = MVS_ARRAY(e->draft->arena, nest->instrs.count + 1, mvs_phase_mask);
  mvs_nest_needs(nest, masks);
  for (size_t i = 0; i < nest->instrs.count; i++) {
    mvs_instr *instr = &nest->instrs.items[i];
    bool often = (masks[i] & (masks[i] - 1)) != 0;
    instr->keep = often && instr->level == MVS_LEVEL_ELEMENT && is_dear(instr) &&
                  nest->nest_class == MVS_KERNEL_ROWS && !nest->inner.per_batch;
  }
}

/* --- phases --- */

/* The last phase in which each instruction may stand: what it is read by stands there or later,
 * a reduction is read one phase after its own. Stores stay where they are: they end the need.
 */
static void find_latest(const mvs_nest *nest, uint8_t *latest) {
  for (size_t i = 0; i < nest->instrs.count; i++) latest[i] = (uint8_t)(nest->phases - 1);
  for (size_t i = nest->instrs.count; i-- > 0;) {
    const mvs_instr *user = &nest->instrs.items[i];
    if (user->kind == MVS_INSTR_STORE) latest[i] = user->phase;
    for (int k = 0; k < mvs_instr_argument_count(user); k++) {
      uint16_t from = user->arguments[k];
      bool reduce = nest->instrs.items[from].kind == MVS_INSTR_REDUCE;
      if (latest[i] - reduce < latest[from]) latest[from] = (uint8_t)(latest[i] - reduce);
    }
  }
}

/* A chain of reductions as late as it may be. What the backward pass redoes from values that
 * were kept could all be done at the start; a thread would hold it till its turn comes. Longer
 * rows are not held, and there it is better to do all that one walk over them can. Loads wait
 * as well, and what is made of both does not: sums over many turns take each term when it is
 * there.
 */
static void wait_for_users(const emitter *e) {
  mvs_nest *nest = e->nest;
  if (!mvs_nest_is_chain(nest)) return;
  uint8_t *latest = MVS_ARRAY(e->draft->arena, nest->instrs.count + 1, uint8_t);
  find_latest(nest, latest);
  for (size_t i = 0; i < nest->instrs.count; i++) {
    mvs_instr *instr = &nest->instrs.items[i];
    if (instr->kind == MVS_INSTR_STORE) continue;
    bool held = instr->kind == MVS_INSTR_REDUCE ||
                (instr->kind == MVS_INSTR_LOAD && instr->level == MVS_LEVEL_ROW);
    instr->phase = 0;
    settle(e, instr, instr->level == MVS_LEVEL_ELEMENT ? UINT32_MAX : 0);
    if (held) instr->phase = latest[i];
  }
}

/* Axes are settled before instructions are written, since levels depend on which is inner; what
 * is kept is marked last, since needs depend on phases. */
mvs_status mvs_draft_emit(mvs_draft *draft, mvs_nest *out, const char **reason) {
  emitter e = {.draft = draft, .reason = reason, .nest = out, .sequential = -1};
  *out = (mvs_nest){.nest_class = draft->nest_class, .phases = 1, .segment_axis = -1};
  size_t count = draft->instrs.count;
  e.numbers = MVS_ARRAY(draft->arena, count + 1, uint16_t);
  for (size_t i = 0; i < count; i++) {
    e.reduces = e.reduces || draft->instrs.items[i].instr.kind == MVS_INSTR_REDUCE;
  }
  for (int i = 0; i < MVS_SLOTS; i++) e.indices[i] = UINT16_MAX;
  merge_axes(&e);
  if (strides_grow(&e)) return fail(&e, "the batch is not the slowest axis of a value");
  choose_inner(&e);
  flatten_batch(&e);
  MVS_TRY(place_axes(&e));
  for (size_t i = 0; i < count; i++) append_draft(&e, i);
  if (out->instrs.count >= UINT16_MAX) return fail(&e, "it has too many instructions");
  wait_for_users(&e);
  mark_kept(&e);
  return MVS_OK;
}
