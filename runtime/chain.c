/* chain.c: plans chains greedily, in the order of the launches.
 *
 * A launch whose rows can be cut into the chain's blocks joins the chain when no two different
 * blocks conflict. Its earlier stages (a product's packing of weights) go ahead of the chain.
 * Any other launch is put behind it, if nothing that is there already and nothing that joins
 * the chain later conflicts with it; so gradients of weights, which sum over all rows, are done
 * at once when the chain of their layer has ended. What fits neither closes the chain and
 * begins anew. Planning takes a few microseconds a launch; the host keeps plans
 * (device_host.c). */
#include "runtime/chain.h"

#include "compiler/base/checked.h"
#include "runtime/work.h"

/* Blocks a thread, so that all get nearly the same: whole samples are taken for blocks where
 * there are so many. */
#define LEAST_SHARE 16
/* Turns a thread. Products leave the fewest rests of tiles in a long turn, and the next kernel
 * finds no more in the cache behind a short one; two let a thread that is late be helped. */
#define TURNS 2
/* Rows of a product in a turn, at least. */
#define LEAST_ROWS 160
/* Bytes that a kernel may touch of a sample: of larger ones rows are taken, where that can be.
 */
#define MOST_BYTES ((int64_t)1 << 20)
/* All products of a chain pass through their weights once for each turn, so these must stay in
 * a core's second cache. Larger ones are better divided along their columns too. */
#define MOST_WEIGHTS ((int64_t)1 << 20)
/* Rough speeds of a core (bytes and operations a nanosecond), and what is worth a second
 * thread. Handing work over and waiting for it costs about 2 us, and far more when another
 * process holds the core. */
#define BYTES_NS         10
#define OPERATIONS_NS    20
#define WORTH_THREADS_NS 6000

/* Memory that blocks touch: [at + block * stride, + length), and all of them [at, + span). */
typedef struct touch {
  const char *at;
  int64_t stride, length, span;
  bool written;
} touch;

typedef MVS_LIST(touch) touch_list;
typedef MVS_LIST(mvs_chain_part) part_list;

typedef struct planner {
  mvs_arena *arena;   /* of what is given back */
  mvs_arena *scratch; /* of all else: plans are kept, and a deep model has thousands */
  const mvs_program *program;
  const mvs_launch *launches;
  int threads;
  MVS_LIST(mvs_chain_job) jobs;
  /* What is open: launches of the chain, with their last stages, and those behind it. */
  MVS_LIST(uint16_t) chain, later;
  touch_list touched, ahead, behind; /* by the chain, by its earlier stages, by `later` */
  int64_t per_sample;                /* blocks, 0: not chosen yet */
  int64_t weights;
} planner;

/* --- what a launch touches --- */

static int64_t extent_at(const Mvs__Extent *extent, int64_t batch) {
  return extent->size * (extent->per_batch ? batch : 1);
}

/* Blocks are equal runs of rows that begin where the kernel allows it. */
int64_t mvs_chain_rows(const Mvs__Nest *nest, int64_t batch, int64_t blocks) {
  int64_t rows = mvs_nest_rows_at(nest, batch), step = nest->row_step > 0 ? nest->row_step : 1;
  bool cuts = nest->n_axes > 0 && nest->axes[0]->per_batch && blocks > 0 && rows > 0;
  if (!cuts || rows % blocks || (rows / blocks) % step) return 0;
  return rows / blocks;
}

/* All that the nest touches by an access. */
static touch whole_touch(const Mvs__Nest *nest, const Mvs__Access *access, const char *operand,
                         int64_t batch) {
  int64_t low = access->low, high = access->high + access->high_per_batch * batch;
  for (size_t axis = 0; axis < access->n_strides; axis++) {
    int64_t reach = (extent_at(nest->axes[axis], batch) - 1) * access->strides[axis];
    *(reach < 0 ? &low : &high) += reach;
  }
  return (touch){operand + low, 0, high - low, high - low, access->written};
}

/* Cuts a touch by blocks of `rows`: where the axes that count blocks go on as if they were one,
 * blocks are equally far from one another. Else each may touch all. */
static void cut(touch *all, const Mvs__Nest *nest, const Mvs__Access *access, int64_t batch,
                int64_t rows) {
  int64_t length = access->high - access->low, inside = 1;
  int axis = (int)access->n_strides - 1;
  for (; axis >= 0; axis--) {
    int64_t extent = extent_at(nest->axes[axis], batch);
    if (rows % (inside * extent)) break;
    if (access->strides[axis] < 0) return;
    length += (extent - 1) * access->strides[axis];
    inside *= extent;
  }
  if (axis < 0 || access->high_per_batch) return;
  int64_t run = rows / inside, stride = access->strides[axis];
  if (stride <= 0 || extent_at(nest->axes[axis], batch) % run) return;
  for (int outer = axis; outer > 0; outer--) {
    int64_t extent = extent_at(nest->axes[outer], batch);
    if (access->strides[outer - 1] != access->strides[outer] * extent) return;
  }
  all->length = length + (run - 1) * stride;
  all->stride = run * stride;
}

/* What a stage touches, by blocks (0: as a whole). False where it cannot be cut so, or where
 * its accesses name operands that there are not. */
static bool add_touches(const planner *p, const mvs_launch *launch, size_t stage,
                        int64_t blocks, touch_list *out) {
  const Mvs__Stage *of = p->program->kernels[launch->kernel]->stages[stage];
  for (size_t n = 0; n < of->n_nests; n++) {
    const Mvs__Nest *nest = of->nests[n];
    int64_t rows = blocks ? mvs_chain_rows(nest, launch->batch, blocks) : 0;
    if (blocks && !rows) return false;
    for (size_t a = 0; a < nest->n_accesses; a++) {
      const Mvs__Access *access = nest->accesses[a];
      if (access->operand >= launch->operand_count || access->n_strides > nest->n_axes)
        return false;
      touch each = whole_touch(nest, access, launch->operands[access->operand], launch->batch);
      if (blocks) cut(&each, nest, access, launch->batch, rows);
      MVS_PUSH(p->scratch, out, each);
    }
  }
  return true;
}

/* --- conflicts --- */

static int64_t floor_div(int64_t a, int64_t b) {
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

/* Whether a block of one touches what another block of the other does: block r of a and block
 * r + k of b overlap for the k with -length_b < distance + k * stride < length_a. Touches that
 * are not cut are those of every block. Where all of both overlap, one such k is less than the
 * number of blocks, so that need not be looked at. */
static bool blocks_meet(const touch *a, const touch *b) {
  int64_t distance = b->at - a->at;
  if (distance >= a->span || -distance >= b->span) return false;
  if (a->stride != b->stride || a->stride == 0) return true;
  int64_t first = floor_div(-b->length - distance, a->stride) + 1;
  int64_t last = floor_div(a->length - distance - 1, a->stride);
  return first <= last && (first != 0 || last != 0);
}

/* Reads may meet. With no blocks, touches conflict wherever they overlap. */
static bool conflict(const touch_list *some, size_t from, const touch_list *others, size_t end,
                     int64_t blocks) {
  for (size_t i = from; i < some->count; i++) {
    for (size_t k = 0; k < end; k++) {
      const touch *a = &some->items[i], *b = &others->items[k];
      if (!a->written && !b->written) continue;
      touch first = *a;
      if (!blocks) first.stride = 0;
      if (blocks_meet(&first, b)) return true;
    }
  }
  return false;
}

/* --- joining --- */

static size_t last_stage(const planner *p, const mvs_launch *launch) {
  return p->program->kernels[launch->kernel]->n_stages - 1;
}

/* Bytes of a block, and of operands that all blocks read. */
static int64_t bytes_of(const touch_list *list, size_t from, bool cuts) {
  int64_t bytes = 0;
  for (size_t i = from; i < list->count; i++)
    if ((list->items[i].stride != 0) == cuts) bytes += list->items[i].length;
  return bytes;
}

/* Blocks a sample that all nests of the launch can be cut into, and `most` too; 0 when it has
 * no batch. */
static int64_t blocks_per_sample(const planner *p, const mvs_launch *launch, int64_t most) {
  const Mvs__Stage *of = p->program->kernels[launch->kernel]->stages[last_stage(p, launch)];
  for (size_t n = 0; n < of->n_nests; n++) {
    const Mvs__Nest *nest = of->nests[n];
    int64_t rows = mvs_chain_rows(nest, launch->batch, launch->batch);
    int64_t step = nest->row_step > 0 ? nest->row_step : 1;
    if (rows == 0) return 0;
    most = mvs_common_divisor(rows / step, most);
  }
  return most;
}

/* Products of few rows are divided along their columns. */
static bool is_low(const planner *p, const mvs_launch *launch) {
  const Mvs__Kernel *kernel = p->program->kernels[launch->kernel];
  if (!kernel->matmul) return false;
  const Mvs__Nest *nest = kernel->stages[kernel->n_stages - 1]->nests[0];
  int64_t rows = mvs_nest_rows_at(nest, launch->batch);
  return rows <= nest->row_chunk || rows < (int64_t)LEAST_ROWS * TURNS * p->threads;
}

/* Blocks a sample for a chain of which the launch is one, 0 when it can be in none: whole
 * samples where there are many small ones, else as small as all kernels allow. */
static int64_t choose_blocks(planner *p, const mvs_launch *launch, int64_t before) {
  if (is_low(p, launch)) return 0;
  int64_t least = (int64_t)LEAST_SHARE * p->threads;
  touch_list sample = {NULL, 0, 0};
  if (launch->batch >= least &&
      add_touches(p, launch, last_stage(p, launch), launch->batch, &sample) &&
      bytes_of(&sample, 0, true) <= MOST_BYTES)
    return before <= 1 ? 1 : 0;
  if (before == 1) return 0;
  int64_t blocks = blocks_per_sample(p, launch, before);
  return blocks * launch->batch >= 4 * least ? blocks : 0;
}

/* The touches of all of the chain, for another number of blocks; false when they conflict. */
static bool recut(planner *p, int64_t blocks, touch_list *out) {
  for (size_t i = 0; i < p->chain.count; i++) {
    const mvs_launch *launch = &p->launches[p->chain.items[i]];
    size_t end = out->count;
    if (!add_touches(p, launch, last_stage(p, launch), blocks, out) ||
        conflict(out, end, out, end, blocks))
      return false;
  }
  return true;
}

/* What a launch would bring to the chain. */
typedef struct candidate {
  const mvs_launch *launch;
  touch_list all; /* the chain's touches, then its own from `own` on */
  size_t own;
  touch_list ahead; /* of its earlier stages */
  int64_t per_sample, weights;
} candidate;

static bool find_touches(planner *p, candidate *c) {
  int64_t blocks = c->per_sample * c->launch->batch;
  size_t last = last_stage(p, c->launch);
  if (c->per_sample == p->per_sample) {
    c->all = p->touched; /* which keeps its own count until the launch joins */
  } else if (!recut(p, blocks, &c->all)) {
    return false;
  }
  c->own = c->all.count;
  for (size_t stage = 0; stage < last; stage++)
    if (!add_touches(p, c->launch, stage, 0, &c->ahead)) return false;
  if (!add_touches(p, c->launch, last, blocks, &c->all)) return false;
  bool product = p->program->kernels[c->launch->kernel]->matmul != NULL;
  c->weights = product ? bytes_of(&c->all, c->own, false) : 0;
  return true;
}

/* Its blocks stand against those of the chain, all of it against what is put off, and what goes
 * ahead against everything. */
static bool conflicts(const planner *p, const candidate *c) {
  int64_t blocks = c->per_sample * c->launch->batch;
  return conflict(&c->all, c->own, &c->all, c->own, blocks) ||
         conflict(&c->all, c->own, &p->behind, p->behind.count, 0) ||
         conflict(&c->ahead, 0, &p->behind, p->behind.count, 0) ||
         conflict(&c->ahead, 0, &p->touched, p->touched.count, 0) ||
         conflict(&c->ahead, 0, &p->ahead, p->ahead.count, 0);
}

/* Adds the launch to the chain, whose first it may be; false when it cannot be. */
static bool join(planner *p, uint16_t number) {
  candidate c = {.launch = &p->launches[number]};
  c.per_sample = choose_blocks(p, c.launch, p->per_sample);
  bool first = p->chain.count == 0;
  if (!c.per_sample || (!first && p->launches[p->chain.items[0]].batch != c.launch->batch))
    return false;
  if (!find_touches(p, &c)) return false;
  if (c.weights && p->weights + c.weights > MOST_WEIGHTS) return false;
  if (conflicts(p, &c)) return false;
  for (size_t i = 0; i < c.ahead.count; i++) MVS_PUSH(p->scratch, &p->ahead, c.ahead.items[i]);
  p->touched = c.all;
  p->per_sample = c.per_sample;
  p->weights += c.weights;
  MVS_PUSH(p->scratch, &p->chain, number);
  return true;
}

/* Puts the launch behind the chain, beside what is there already. */
static bool put_off(planner *p, uint16_t number) {
  const mvs_launch *launch = &p->launches[number];
  touch_list all = {NULL, 0, 0};
  for (size_t stage = 0; stage <= last_stage(p, launch); stage++)
    if (!add_touches(p, launch, stage, 0, &all)) return false;
  if (conflict(&all, 0, &p->behind, p->behind.count, 0)) return false;
  for (size_t i = 0; i < all.count; i++) MVS_PUSH(p->scratch, &p->behind, all.items[i]);
  MVS_PUSH(p->scratch, &p->later, number);
  return true;
}

/* --- jobs --- */

static double nanoseconds(const mvs_program *program, const mvs_launch *launch) {
  const Mvs__Kernel *kernel = program->kernels[launch->kernel];
  return mvs_kernel_bytes(kernel, launch->batch) / BYTES_NS +
         mvs_kernel_flops(kernel, launch->batch) / OPERATIONS_NS;
}

bool mvs_chain_worth_threads(const mvs_program *program, const mvs_launch *launch) {
  return nanoseconds(program, launch) > WORTH_THREADS_NS;
}

static void add_job(planner *p, const part_list *parts, int64_t blocks, int64_t turns) {
  if (parts->count == 0) return;
  mvs_chain_job job = {parts->items, parts->count, blocks, turns, false};
  double time = 0;
  for (size_t i = 0; i < parts->count; i++)
    time += nanoseconds(p->program, &p->launches[parts->items[i].launch]);
  job.worth_threads = time > WORTH_THREADS_NS;
  MVS_PUSH(p->arena, &p->jobs, job);
}

/* The stage of that number of all launches that have it; of those in the chain not the last. */
static bool add_stage(planner *p, const uint16_t *launches, size_t count, size_t stage,
                      bool last) {
  part_list parts = {NULL, 0, 0};
  bool more = false;
  for (size_t i = 0; i < count; i++) {
    size_t end = last_stage(p, &p->launches[launches[i]]) + last;
    if (stage >= end) continue;
    more |= stage + 1 < end;
    mvs_chain_part part = {launches[i], (uint16_t)stage};
    MVS_PUSH(p->arena, &parts, part);
  }
  add_job(p, &parts, 0, 0);
  return more;
}

/* The chain's last stages: one alone is divided as it likes. */
static void add_chain(planner *p) {
  part_list parts = {NULL, 0, 0};
  for (size_t i = 0; i < p->chain.count; i++) {
    uint16_t number = p->chain.items[i];
    mvs_chain_part part = {number, (uint16_t)last_stage(p, &p->launches[number])};
    MVS_PUSH(p->arena, &parts, part);
  }
  if (parts.count < 2) {
    add_job(p, &parts, 0, 0);
  } else {
    int64_t batch = p->launches[p->chain.items[0]].batch;
    add_job(p, &parts, p->per_sample * batch, (int64_t)TURNS * p->threads);
  }
}

/* Jobs of what is open, which is then empty. */
static void close_chain(planner *p) {
  for (size_t stage = 0; add_stage(p, p->chain.items, p->chain.count, stage, false);) stage++;
  if (p->chain.count) add_chain(p);
  for (size_t stage = 0; add_stage(p, p->later.items, p->later.count, stage, true);) stage++;
  p->chain.count = p->later.count = 0;
  p->touched.count = p->ahead.count = p->behind.count = 0;
  p->per_sample = p->weights = 0;
}

/* Whether the launch could begin a chain: then it does rather than wait for another one. */
static bool could_begin(planner *p, uint16_t number) {
  return choose_blocks(p, &p->launches[number], 0) > 0;
}

mvs_chain_plan mvs_chain_plan_new(mvs_arena *arena, const mvs_program *program,
                                  const mvs_launch *launches, size_t count, int threads) {
  planner p = {.arena = arena,
               .scratch = mvs_arena_new(),
               .program = program,
               .launches = launches,
               .threads = threads};
  for (size_t i = 0; i < count; i++) {
    uint16_t at = (uint16_t)i;
    if (join(&p, at) || (!could_begin(&p, at) && put_off(&p, at))) continue;
    close_chain(&p);
    if (join(&p, at) || put_off(&p, at)) continue;
    /* Of what it touches too little is known: alone. */
    MVS_PUSH(p.scratch, &p.later, at);
    close_chain(&p);
  }
  close_chain(&p);
  mvs_arena_free(p.scratch);
  return (mvs_chain_plan){p.jobs.items, p.jobs.count};
}
