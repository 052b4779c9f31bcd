/* test_memory.c: places and slots. Regions are run on paper: every slot of every buffer
 * remembers which value of which layer was stored there last, so that a wrong shift, too few
 * slots or a place that is overwritten too early shows as the wrong value being read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
/* cmocka needs the four first. */
#include <cmocka.h>

#include "tests/unit/plan_fixture.h"

/* --- regions on paper --- */

#define MOST_SLOTS   32
#define MOST_BUFFERS 64

/* What a slot holds: a value of a region's body, by its node, as stored at a layer. INITIAL is
 * what a carried value started from, CLEARED zeros, NOTHING was never written. */
enum { NOTHING = -3, CLEARED = -2, INITIAL = -1 };

typedef struct content {
  int64_t value;
  int64_t layer;
  const mvs_region *region;
} content;

typedef struct paper {
  const mvs_function_plan *function;
  bool least; /* buffers have their fewest slots */
  content slots[MOST_BUFFERS][MOST_SLOTS];
} paper;

static int64_t slot_count(const paper *p, uint32_t buffer) {
  const mvs_buffer *b = &p->function->buffers.items[buffer];
  return p->least ? b->slots_least : b->slots_kept;
}

static content *slot_at(paper *p, const mvs_place *place, int64_t layer) {
  assert_true(place->buffer < MOST_BUFFERS);
  int64_t slots = slot_count(p, place->buffer);
  int64_t slot = place->per_layer ? (layer + place->shift) % slots : 0;
  assert_true(slot >= 0 && slot < MOST_SLOTS);
  return &p->slots[place->buffer][slot];
}

static void paper_start(paper *p, const mvs_function_plan *function, bool least) {
  p->function = function;
  p->least = least;
  for (uint32_t b = 0; b < function->buffers.count; b++) {
    const mvs_buffer *buffer = &function->buffers.items[b];
    int64_t slots = slot_count(p, b);
    for (int64_t s = 0; s < MOST_SLOTS; s++) p->slots[b][s].value = NOTHING;
    for (int64_t s = 0; s < buffer->zero_slots; s++) {
      p->slots[b][buffer->zero_at_end ? slots - 1 - s : s].value = CLEARED;
    }
  }
}

static mvs_id argument_of(const mvs_schedule *body, mvs_argument_kind kind, uint32_t index) {
  for (mvs_id id = 0; id < mvs_graph_size(body->graph); id++) {
    const mvs_node *node = mvs_graph_node(body->graph, id);
    if (node->op != MVS_OP_argument || node->attr.argument.kind != kind) continue;
    if (node->attr.argument.index == index) return id;
  }
  return MVS_NONE;
}

/* The node whose bytes result `index` of a body names. */
static int64_t result_root(const mvs_schedule *body, size_t index) {
  return body->roots[mvs_graph_results((mvs_graph *)body->graph)->items[index].id];
}

static void expect(const content *got, int64_t value, int64_t layer, const mvs_region *region) {
  assert_int_equal(got->value, value);
  if (value < 0) return;
  assert_int_equal(got->layer, layer);
  assert_ptr_equal(got->region, region);
}

static void read_carried(paper *p, const mvs_schedule *body, int64_t layer, int64_t before) {
  const mvs_region *region = body->region;
  for (uint32_t i = 0; i < region->carried_count; i++) {
    mvs_id id = argument_of(body, MVS_ARG_CARRIED, i);
    if (id == MVS_NONE || body->places[id].buffer == UINT32_MAX) continue;
    bool first = before < 0 || before >= region->count;
    int64_t value = first ? INITIAL : result_root(body, i);
    expect(slot_at(p, &body->places[id], layer), value, before, region);
  }
}

static void read_reads(paper *p, const mvs_schedule *body, int64_t layer) {
  const mvs_region *region = body->region;
  for (uint32_t i = 0; i < region->read_count; i++) {
    mvs_id id = argument_of(body, MVS_ARG_READ, i);
    int64_t distance = region->reads[i].distance;
    int64_t from = region->reverse ? layer + distance : layer - distance;
    if (id == MVS_NONE || body->places[id].buffer == UINT32_MAX) continue;
    bool there = from >= 0 && from < region->count;
    int64_t value = result_root(body, region->carried_count + region->reads[i].output);
    expect(slot_at(p, &body->places[id], layer), there ? value : CLEARED, from, region);
  }
}

/* Stores all that the nests of a body store. */
static void write_values(paper *p, const mvs_schedule *body, int64_t layer) {
  for (size_t g = 0; g < body->groups.count; g++) {
    const mvs_group *group = &body->groups.items[g];
    for (size_t n = 0; n < group->nests.count; n++) {
      const mvs_nest_plan *nest = &group->nests.items[n];
      for (size_t i = 0; i < nest->outputs.count; i++) {
        int64_t root = body->roots[nest->outputs.items[i]];
        *slot_at(p, &nest->store_places.items[i], layer) = (content){root, layer, body->region};
      }
    }
  }
}

static void run_region(paper *p, const mvs_schedule *body) {
  const mvs_region *region = body->region;
  for (int64_t step = 0; step < region->count; step++) {
    int64_t layer = region->reverse ? region->count - 1 - step : step;
    int64_t before = region->reverse ? layer + 1 : layer - 1;
    read_carried(p, body, layer, before);
    read_reads(p, body, layer);
    write_values(p, body, layer);
  }
}

/* Marks the first slot of each carried value as the outer graph's stores leave it. */
static void write_initial(paper *p, const mvs_function_plan *function, size_t index) {
  const mvs_schedule *top = function->top;
  const mvs_region *region = top->bodies.items[index]->region;
  for (size_t g = 0; g < top->groups.count; g++) {
    const mvs_group *group = &top->groups.items[g];
    if (group->region == region) break;
    for (size_t n = 0; n < group->nests.count; n++) {
      const mvs_nest_plan *nest = &group->nests.items[n];
      for (size_t i = 0; i < nest->outputs.count; i++) {
        if (nest->store_places.items[i].per_layer) {
          slot_at(p, &nest->store_places.items[i], 0)->value = INITIAL;
        }
      }
    }
  }
}

static const mvs_place *result_place(const mvs_schedule *top, mvs_id tuple, uint32_t index) {
  for (mvs_id id = tuple + 1; id < mvs_graph_size(top->graph); id++) {
    const mvs_node *node = mvs_graph_node(top->graph, id);
    if (node->op != MVS_OP_get || node->inputs[0] != tuple) continue;
    if (node->attr.index.value == index) return &top->places[id];
  }
  return NULL;
}

static mvs_id region_node(const mvs_schedule *top, const mvs_region *region) {
  for (size_t i = 0; i < top->groups.count; i++) {
    if (top->groups.items[i].region == region) return top->groups.items[i].heavy;
  }
  return MVS_NONE;
}

static void final_value_is_there(paper *p, size_t index, uint32_t carried) {
  const mvs_schedule *top = p->function->top;
  const mvs_region *region = top->bodies.items[index]->region;
  const mvs_place *place = result_place(top, region_node(top, region), carried);
  assert_non_null(place);
  int64_t last = region->reverse ? 0 : region->count - 1;
  expect(slot_at(p, place, 0), result_root(top->bodies.items[index], carried), last, region);
}

/* Two carried values that change places, a stacked output read at two distances. */
static const char *reads_text(planned *p, int64_t count, bool reverse, int64_t near,
                              int64_t far) {
  return mvs_arena_format(
      p->arena,
      "module m\nfunction f\n%%0 = input x : f32[B, 8]\n%%1 = input y : f32[B, 8]\n"
      "%%2 = region r count=%d%s carried(%%0, %%1) reads(0@%d, 0@%d) {\n"
      "  %%0 = argument carried 0 : f32[B, 8]\n  %%1 = argument carried 1 : f32[B, 8]\n"
      "  %%2 = argument read 0 : f32[B, 8]\n  %%3 = argument read 1 : f32[B, 8]\n"
      "  %%4 = sub %%2, %%3 : f32[B, 8]\n  %%5 = add %%4, %%0 : f32[B, 8]\n"
      "  %%6 = tanh %%5 : f32[B, 8]\n  %%7 = add %%1, %%6 : f32[B, 8]\n"
      "  results carried(%%7, %%6) stacked(%%5)\n} : (f32[B, 8], f32[B, 8], f32[%d, B, 8])\n"
      "%%3 = get 0 %%2 : f32[B, 8]\n%%4 = get 1 %%2 : f32[B, 8]\nresults a=%%3, b=%%4\n",
      (int)count, reverse ? " reverse" : "", (int)near, (int)far, (int)count);
}

static void reads_find_their_layers(void **state) {
  (void)state;
  for (int64_t count = 1; count <= 5; count++) {
    for (int variant = 0; variant < 16; variant++) {
      bool reverse = variant & 1, least = variant & 2;
      int64_t near = 1 + (variant >> 2), far = 3;
      planned *p = plan_new();
      plan_text(p, "reads", reads_text(p, count, reverse, near, far));
      const mvs_function_plan *f = plan_function(p, "f");
      paper *on = MVS_NEW(p->arena, paper);
      paper_start(on, f, least);
      write_initial(on, f, 0);
      run_region(on, plan_body(f, 0));
      final_value_is_there(on, 0, 0);
      final_value_is_there(on, 0, 1);
      plan_free(p);
    }
  }
}

/* A forward and a backward region: what crosses, seen from both sides. */
static const char *crossing_text(planned *p, int64_t count, bool reverse) {
  const char *way = reverse ? " reverse" : "", *back = reverse ? "" : " reverse";
  return mvs_arena_format(
      p->arena,
      "module m\nfunction f\n%%0 = input x : f32[B, 8]\n%%1 = tanh %%0 : f32[B, 8]\n"
      "%%2 = region r count=%d%s carried(%%1) {\n  %%0 = argument carried 0 : f32[B, 8]\n"
      "  %%1 = tanh %%0 : f32[B, 8]\n  %%2 = sum axes(1) %%1 : f32[B, 1]\n"
      "  %%3 = mul %%1, %%2 : f32[B, 8]\n"
      "  results carried(%%3) stacked(%%0, %%3, %%2)\n"
      "} : (f32[B, 8], f32[%d, B, 8], f32[%d, B, 8], f32[%d, B, 1])\n"
      "%%3 = get 0 %%2 : f32[B, 8]\n%%4 = get 1 %%2 : f32[%d, B, 8]\n"
      "%%5 = get 2 %%2 : f32[%d, B, 8]\n%%6 = get 3 %%2 : f32[%d, B, 1]\n"
      "%%7 = region r count=%d%s carried(%%3) stacked(%%4, %%5, %%6) forward=%%2 {\n"
      "  %%0 = argument carried 0 : f32[B, 8]\n  %%1 = argument stacked 0 : f32[B, 8]\n"
      "  %%2 = argument stacked 1 : f32[B, 8]\n  %%3 = argument stacked 2 : f32[B, 1]\n"
      "  %%4 = mul %%1, %%2 : f32[B, 8]\n  %%5 = add %%0, %%4 : f32[B, 8]\n"
      "  %%6 = mul %%5, %%3 : f32[B, 8]\n  results carried(%%6)\n} : (f32[B, 8])\n"
      "%%8 = get 0 %%7 : f32[B, 8]\nresults y=%%3, dx=%%8\n",
      (int)count, way, (int)count, (int)count, (int)count, (int)count, (int)count, (int)count,
      (int)count, back);
}

/* What the backward region reads at a layer: the block's input (the result of the layer run
 * before, or the initial value), its result, and the value stacked on its own. */
static void crossing_values_are_found(void **state) {
  (void)state;
  for (int variant = 0; variant < 10; variant++) {
    int64_t count = 1 + variant / 2;
    bool reverse = variant & 1;
    planned *p = plan_new();
    plan_text(p, "crossing", crossing_text(p, count, reverse));
    const mvs_function_plan *f = plan_function(p, "f");
    const mvs_schedule *forward = plan_body(f, 0), *backward = plan_body(f, 1);
    paper *on = MVS_NEW(p->arena, paper);
    paper_start(on, f, false);
    write_initial(on, f, 0);
    run_region(on, forward);
    for (int64_t layer = 0; layer < count; layer++) {
      int64_t before = reverse ? layer + 1 : layer - 1;
      bool first = before < 0 || before >= count;
      const mvs_place *places[3];
      for (uint32_t i = 0; i < 3; i++) {
        places[i] = &backward->places[argument_of(backward, MVS_ARG_STACKED, i)];
      }
      int64_t result = result_root(forward, 0), own = result_root(forward, 3);
      expect(slot_at(on, places[0], layer), first ? INITIAL : result, before, forward->region);
      expect(slot_at(on, places[1], layer), result, layer, forward->region);
      expect(slot_at(on, places[2], layer), own, layer, forward->region);
    }
    plan_free(p);
  }
}

/* --- buffers --- */

static const mvs_buffer *buffer_of(const mvs_function_plan *f, const mvs_place *place) {
  assert_true(place->buffer < f->buffers.count);
  return &f->buffers.items[place->buffer];
}

/* The carried value keeps all slots for the backward pass; what is stacked on its own can be
 * redone, the block's input cannot. */
static void slots_say_what_may_be_redone(void **state) {
  (void)state;
  planned *p = plan_new();
  plan_text(p, "crossing", crossing_text(p, 4, false));
  const mvs_function_plan *f = plan_function(p, "f");
  const mvs_schedule *backward = plan_body(f, 1);
  const mvs_place *input = &backward->places[argument_of(backward, MVS_ARG_STACKED, 0)];
  const mvs_place *own = &backward->places[argument_of(backward, MVS_ARG_STACKED, 2)];
  const mvs_buffer *carried = buffer_of(f, input), *stacked = buffer_of(f, own);
  assert_true(carried->crossing && stacked->crossing);
  assert_int_equal(carried->slots_kept, 5);
  assert_int_equal(carried->slots_least, 2);
  assert_int_equal(stacked->slots_kept, 4);
  assert_int_equal(stacked->slots_least, 1);
  assert_true(plan_body(f, 0)->groups.items[0].redo);
  assert_false(backward->groups.items[0].redo);
  plan_free(p);
}

/* A group that only leads to the block's result is not run again. */
static void only_what_crosses_is_redone(void **state) {
  (void)state;
  planned *p = plan_new();
  plan_text(p, "redo",
            "module m\nfunction f\n%0 = input x : f32[B, 8]\n%1 = input w : f32[8, 8]\n"
            "%2 = region r count=3 carried(%0) invariant(%1) {\n"
            "  %0 = argument carried 0 : f32[B, 8]\n  %1 = argument invariant 0 : f32[8, 8]\n"
            "  %2 = matmul NT %0, %1 : f32[B, 8]\n  %3 = tanh %2 : f32[B, 8]\n"
            "  %4 = matmul NT %3, %1 : f32[B, 8]\n  %5 = add %4, %0 : f32[B, 8]\n"
            "  results carried(%5) stacked(%3)\n} : (f32[B, 8], f32[3, B, 8])\n"
            "%3 = get 0 %2 : f32[B, 8]\n%4 = get 1 %2 : f32[3, B, 8]\n"
            "%5 = region r count=3 reverse carried(%3) stacked(%4) forward=%2 {\n"
            "  %0 = argument carried 0 : f32[B, 8]\n  %1 = argument stacked 0 : f32[B, 8]\n"
            "  %2 = mul %0, %1 : f32[B, 8]\n  results carried(%2)\n} : (f32[B, 8])\n"
            "%6 = get 0 %5 : f32[B, 8]\nresults y=%3, dx=%6\n");
  const mvs_schedule *body = plan_body(plan_function(p, "f"), 0);
  static const bool wanted[] = {true, true, false, false};
  assert_int_equal(body->groups.count, 4);
  for (size_t i = 0; i < 4; i++) assert_int_equal(body->groups.items[i].redo, wanted[i]);
  plan_free(p);
}

/* A value computed into the first slot of a carried value must not be read there any more once
 * the region has gone over it. */
static void initial_values_survive(void **state) {
  (void)state;
  planned *p = plan_new();
  plan_text(p, "initial",
            "module m\nfunction f\n%0 = input x : f32[B, 8]\n%1 = tanh %0 : f32[B, 8]\n"
            "%2 = region r count=4 carried(%1) {\n  %0 = argument carried 0 : f32[B, 8]\n"
            "  %1 = tanh %0 : f32[B, 8]\n  results carried(%1)\n} : (f32[B, 8])\n"
            "%3 = get 0 %2 : f32[B, 8]\n%4 = sum axes(1) %1 : f32[B, 1]\n"
            "%5 = mul %3, %4 : f32[B, 8]\n%6 = mul %5, %1 : f32[B, 8]\nresults y=%6\n");
  const mvs_function_plan *f = plan_function(p, "f");
  const mvs_schedule *top = f->top;
  for (size_t g = 0; g < top->groups.count; g++) {
    const mvs_group *group = &top->groups.items[g];
    bool after = g > 1;
    for (size_t n = 0; after && n < group->nests.count; n++) {
      for (size_t i = 0; i < group->nests.items[n].leaves.count; i++) {
        mvs_id leaf = group->nests.items[n].leaves.items[i];
        assert_true(mvs_graph_node(top->graph, leaf)->op == MVS_OP_get ||
                    !top->places[leaf].per_layer);
      }
    }
  }
  plan_free(p);
}

/* Values of a body that live at the same time have buffers of their own, and every buffer
 * covers the groups that touch it. */
static void live_ranges_cover_their_uses(void **state) {
  (void)state;
  planned *p = plan_new();
  plan_text(p, "lives",
            "module m\nfunction f\n%0 = input x : f32[B, 8]\n%1 = input w : f32[8, 8]\n"
            "%2 = region r count=3 carried(%0) invariant(%1) {\n"
            "  %0 = argument carried 0 : f32[B, 8]\n  %1 = argument invariant 0 : f32[8, 8]\n"
            "  %2 = matmul NT %0, %1 : f32[B, 8]\n  %3 = tanh %2 : f32[B, 8]\n"
            "  %4 = matmul NT %3, %1 : f32[B, 8]\n  %5 = tanh %4 : f32[B, 8]\n"
            "  %6 = matmul NT %5, %1 : f32[B, 8]\n  %7 = add %6, %3 : f32[B, 8]\n"
            "  results carried(%7)\n} : (f32[B, 8])\n%3 = get 0 %2 : f32[B, 8]\n"
            "results y=%3\n");
  const mvs_function_plan *f = plan_function(p, "f");
  const mvs_schedule *body = plan_body(f, 0);
  for (size_t g = 0; g < body->groups.count; g++) {
    const mvs_group *group = &body->groups.items[g];
    const mvs_node *node =
        group->heavy == MVS_NONE ? NULL : mvs_graph_node(body->graph, group->heavy);
    for (int i = 0; node && i < node->input_count; i++) {
      const mvs_buffer *buffer = buffer_of(f, &body->places[node->inputs[i]]);
      if (buffer->home == UINT32_MAX) continue;
      assert_int_equal(buffer->home, 0);
      assert_true(buffer->body_first <= (int)g && (int)g <= buffer->body_last);
    }
  }
  const mvs_buffer *kept = buffer_of(f, &body->places[3]);
  assert_int_equal(kept->body_first, 1);
  assert_int_equal(kept->body_last, 5);
  plan_free(p);
}

/* Parameters lie in the flat buffer layer behind layer; gradients alike. */
static void stacked_parameters_have_slots(void **state) {
  (void)state;
  planned *p = plan_new();
  plan_text(p, "params",
            "module m\nparam 0 \"b.{i}.w\" : f32[8] layers=3 trained init=constant(1)\n"
            "function f\n%0 = input x : f32[B, 8]\n%1 = param 0 : f32[3, 8]\n"
            "%2 = region r count=3 carried(%0) stacked(%1) {\n"
            "  %0 = argument carried 0 : f32[B, 8]\n  %1 = argument stacked 0 : f32[8]\n"
            "  %2 = mul %0, %1 : f32[B, 8]\n  %3 = sum axes(0) %2 : f32[1, 8]\n"
            "  %4 = reshape %3 : f32[8]\n  results carried(%2) stacked(%4)\n"
            "} : (f32[B, 8], f32[3, 8])\n%3 = get 0 %2 : f32[B, 8]\n"
            "%4 = get 1 %2 : f32[3, 8]\nresults y=%3, \"g/b.{i}.w\"=%4\n");
  const mvs_function_plan *f = plan_function(p, "f");
  const mvs_schedule *body = plan_body(f, 0);
  const mvs_place *weight = &body->places[argument_of(body, MVS_ARG_STACKED, 0)];
  const mvs_place *gradient =
      &body->places[mvs_graph_results((mvs_graph *)body->graph)->items[1].id];
  assert_int_equal(buffer_of(f, weight)->kind, MVS_BUFFER_PARAM);
  assert_int_equal(buffer_of(f, weight)->slots_kept, 3);
  assert_int_equal(buffer_of(f, weight)->fixed, 32);
  assert_int_equal(buffer_of(f, gradient)->kind, MVS_BUFFER_GRAD);
  assert_int_equal(buffer_of(f, gradient)->slots_kept, 3);
  assert_true(weight->per_layer && weight->shift == 0);
  assert_true(gradient->per_layer && gradient->shift == 0);
  plan_free(p);
}

/* The bf16 copy of a parameter has its layers in the same order; prepared values are stored by
 * "prepare" and read by others, in buffers of one number and size. */
static void weights_are_read_as_prepared(void **state) {
  (void)state;
  planned *p = plan_new();
  plan_text(p, "prepared",
            "module m\nparam 0 \"b.{i}.w\" : f32[8] layers=3 trained init=constant(1)\n"
            "function f\n%0 = input x : f32[B, 8]\n%1 = param 0 : bf16[3, 8]\n"
            "%2 = input \"prepared/4\" : f32[8]\n"
            "%3 = region r count=3 carried(%0) invariant(%2) stacked(%1) {\n"
            "  %0 = argument carried 0 : f32[B, 8]\n  %1 = argument invariant 0 : f32[8]\n"
            "  %2 = argument stacked 0 : bf16[8]\n  %3 = mul %0, %1 : f32[B, 8]\n"
            "  %4 = mul %3, %2 : f32[B, 8]\n  results carried(%4)\n"
            "} : (f32[B, 8])\n%4 = get 0 %3 : f32[B, 8]\nresults y=%4\n"
            "function prepare\n%0 = iota axis=0 : f32[8]\n%1 = cos %0 : f32[8]\n"
            "results \"prepared/4\"=%1\n");
  const mvs_function_plan *f = plan_function(p, "f"), *made = plan_function(p, "prepare");
  const mvs_schedule *body = plan_body(f, 0);
  const mvs_place *weight = &body->places[argument_of(body, MVS_ARG_STACKED, 0)];
  const mvs_place *table = &body->places[argument_of(body, MVS_ARG_INVARIANT, 0)];
  const mvs_buffer *read = buffer_of(f, table), *written = &made->buffers.items[0];
  assert_int_equal(buffer_of(f, weight)->kind, MVS_BUFFER_PARAM);
  assert_int_equal(buffer_of(f, weight)->dtype, MVS_BF16);
  assert_int_equal(buffer_of(f, weight)->slots_kept, 3);
  assert_int_equal(buffer_of(f, weight)->fixed, 16);
  assert_int_equal(made->buffers.count, 1);
  assert_int_equal(read->kind, MVS_BUFFER_PREPARED);
  assert_int_equal(written->kind, MVS_BUFFER_PREPARED);
  assert_int_equal(read->param, 4);
  assert_int_equal(written->param, 4);
  assert_int_equal(read->fixed, written->fixed);
  plan_free(p);
}

/* Only "prepare" writes what is kept between calls. */
static void others_do_not_write_what_is_prepared(void **state) {
  (void)state;
  planned *p = plan_new();
  mvs_status status = plan_try(p, "prepared",
                               "module m\nfunction f\n%0 = input x : f32[8]\n"
                               "%1 = cos %0 : f32[8]\nresults \"prepared/0\"=%1\n");
  mvs_text words = mvs_text_new(p->arena);
  mvs_diag_render(p->diag, &words);
  assert_int_equal(status, MVS_ERR_INTERNAL);
  assert_non_null(strstr(mvs_text_string(&words), "stores stay off what is given"));
  plan_free(p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reads_find_their_layers),
      cmocka_unit_test(crossing_values_are_found),
      cmocka_unit_test(slots_say_what_may_be_redone),
      cmocka_unit_test(only_what_crosses_is_redone),
      cmocka_unit_test(initial_values_survive),
      cmocka_unit_test(live_ranges_cover_their_uses),
      cmocka_unit_test(stacked_parameters_have_slots),
      cmocka_unit_test(weights_are_read_as_prepared),
      cmocka_unit_test(others_do_not_write_what_is_prepared),
  };
  return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
