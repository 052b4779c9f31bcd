/* kept.c: what a thread keeps in registers from phase to phase, as a minimum cut.
 *
 * A value that several phases need is a node. What the nest reads from memory, and what is
 * dear, comes from the source; what a later phase reads flows to the sink. A node's capacity is
 * what it takes to keep it, so the cheapest set that separates the two is what to keep, and
 * everything behind it is computed again from there. Of equal cuts the one nearest the sink is
 * taken: it computes least again.
 *
 *   a norm of z = x + m f:  phase 0 sums z z, phase 1 scales z
 *     source -> [x 2] \                         bytes an element, bf16 loads: keep x and f (4)
 *     source -> [f 2] -> [m f 4] -> [z 4] -> sink    and add again, or z (4): equal, so z
 *
 * Ford and Fulkerson's way, a path at a time: a cut is some hundred bytes and a path carries
 * two at least, so paths are few. */
#include "codegen/cuda/spread.h"

typedef struct edge {
  int to, next; /* next: of the same node, -1 at the end */
  int64_t room;
} edge;

/* Node 2 i is instruction i's way in, 2 i + 1 its way out. An edge's reverse has its number
 * ^ 1. */
typedef struct network {
  mvs_arena *arena;
  MVS_LIST(edge) edges;
  int *first; /* per node */
  bool *seen; /* per node, in a walk */
  int source, sink;
} network;

/* More than any cut costs. */
#define ENDLESS ((int64_t)1 << 40)

static void connect(network *net, int from, int to, int64_t room) {
  MVS_PUSH(net->arena, &net->edges, ((edge){to, net->first[from], room}));
  net->first[from] = (int)net->edges.count - 1;
  MVS_PUSH(net->arena, &net->edges, ((edge){from, net->first[to], 0}));
  net->first[to] = (int)net->edges.count - 1;
}

/* Pushes up to `most` from `node` to the sink; returns what went through. */
static int64_t push(network *net, int node, int64_t most) {
  if (node == net->sink) return most;
  net->seen[node] = true;
  for (int at = net->first[node]; at >= 0; at = net->edges.items[at].next) {
    edge *way = &net->edges.items[at];
    if (way->room == 0 || net->seen[way->to]) continue;
    int64_t through = push(net, way->to, way->room < most ? way->room : most);
    if (through == 0) continue;
    net->edges.items[at].room -= through;
    net->edges.items[at ^ 1].room += through;
    return through;
  }
  return 0;
}

/* Marks the nodes from which more could still flow to `node`: those on the sink's side of the
 * cut nearest to it. */
static void mark_behind(network *net, int node) {
  net->seen[node] = true;
  for (int at = net->first[node]; at >= 0; at = net->edges.items[at].next) {
    int before = net->edges.items[at].to;
    if (net->edges.items[at ^ 1].room > 0 && !net->seen[before]) mark_behind(net, before);
  }
}

static bool in_several_phases(mvs_phase_mask mask) { return (mask & (mask - 1)) != 0; }

/* True when `user` reads the value in a later phase than the first that has it. */
static bool reads_later(mvs_phase_mask value, const mvs_instr *instr, mvs_phase_mask user) {
  mvs_phase_mask reads = instr->kind == MVS_INSTR_REDUCE ? MVS_PHASE(instr->phase) : user;
  return reads != 0 && (reads & -reads) > (value & -value);
}

static int64_t price(const mvs_kernel *kernel, const mvs_nest *nest,
                     const mvs_cuda_spread *spread, size_t index) {
  const mvs_instr *instr = &nest->instrs.items[index];
  int64_t bytes = instr->dtype == MVS_F64 ? 8 : 4;
  if (instr->kind == MVS_INSTR_LOAD) {
    int64_t size = mvs_dtype_size(kernel->operands[instr->access.operand]);
    int width = mvs_cuda_access_width(kernel, nest, &instr->access, spread->vector);
    if (size * width >= 4) bytes = size; /* else an element takes a register of its own */
  }
  return bytes * (spread->varies[index] ? spread->rows : 1);
}

/* Never computed again: a load would be a second pass over memory. */
static bool is_dear(const mvs_instr *instr) {
  return instr->kind == MVS_INSTR_LOAD || instr->kind == MVS_INSTR_RANDOM || instr->keep;
}

/* A value read in the phase that has it first is no way to the sink: that phase computes it. */
static void build(network *net, const mvs_kernel *kernel, const mvs_nest *nest,
                  const mvs_cuda_spread *spread) {
  for (size_t i = 0; i < nest->instrs.count; ++i) {
    const mvs_instr *instr = &nest->instrs.items[i];
    mvs_phase_mask needs = spread->needs[i];
    bool node = instr->level == MVS_LEVEL_ELEMENT && in_several_phases(needs);
    if (node) {
      connect(net, (int)(2 * i), (int)(2 * i + 1), price(kernel, nest, spread, i));
      if (is_dear(instr)) connect(net, net->source, (int)(2 * i), ENDLESS);
    }
    for (int k = 0; k < mvs_instr_argument_count(instr); ++k) {
      int argument = instr->arguments[k];
      mvs_phase_mask value = spread->needs[argument];
      if (nest->instrs.items[argument].level == MVS_LEVEL_ROW || !in_several_phases(value)) {
        continue;
      }
      if (node && !reads_later(value, instr, needs)) {
        connect(net, 2 * argument + 1, (int)(2 * i), ENDLESS);
      } else if (reads_later(value, instr, needs)) {
        connect(net, 2 * argument + 1, net->sink, ENDLESS);
      }
    }
  }
}

int64_t mvs_cuda_choose_kept(mvs_arena *arena, const mvs_kernel *kernel, const mvs_nest *nest,
                             const mvs_cuda_spread *spread, bool *kept) {
  int nodes = (int)(2 * nest->instrs.count) + 2;
  network net = {.arena = arena, .source = nodes - 2, .sink = nodes - 1};
  net.first = MVS_ARRAY(arena, (size_t)nodes, int);
  net.seen = MVS_ARRAY(arena, (size_t)nodes, bool);
  for (int i = 0; i < nodes; ++i) net.first[i] = -1;
  build(&net, kernel, nest, spread);
  while (push(&net, net.source, ENDLESS) > 0) {
    memset(net.seen, 0, (size_t)nodes * sizeof *net.seen);
  }
  memset(net.seen, 0, (size_t)nodes * sizeof *net.seen);
  mark_behind(&net, net.sink);
  int64_t bytes = 0;
  for (size_t i = 0; i < nest->instrs.count; ++i) {
    kept[i] = !net.seen[2 * i] && net.seen[2 * i + 1];
    if (kept[i]) bytes += price(kernel, nest, spread, i);
  }
  return bytes;
}
