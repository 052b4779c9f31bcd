/* gradients.h: reverse-mode differentiation, graph to graph.
 *
 * One mvs_gradient differentiates one graph: at the top level into that same graph, for a
 * region into the body of a new region that runs the other way. Nodes are visited from the last
 * to the first; the rule of each op (gradient_rules.c) reads its node's cotangent and gives
 * cotangents to the inputs. Cotangents are f32 (f64 for f64 values), summed in the order of
 * giving; those of bf16 values are rounded to bf16 where they enter a matmul, an attention or a
 * layer run, and where a norm with a rounded output hands its own on. */
#ifndef MVS_PASSES_GRADIENTS_H
#define MVS_PASSES_GRADIENTS_H

#include "compiler/passes/activity.h"
#include "compiler/passes/crossing.h"
#include "compiler/passes/pass.h"
#include "compiler/passes/region_builder.h"

typedef struct mvs_gradient {
  mvs_compilation *compilation;
  mvs_graph *forward; /* what is differentiated */
  mvs_graph *target;  /* where gradients are built; equal to forward at the top level */
  mvs_id size;        /* nodes of `forward` at the start */
  const mvs_activity *activity;
  const mvs_crossing *crossing;
  mvs_id *cotangents; /* per forward node, in target; MVS_NONE: none so far */
  mvs_id **results;   /* per forward node of several results: their cotangents */
  mvs_id *values;     /* per forward node: its value in target, once asked for */
  bool failed;        /* a limit was passed; the sentence is in the diag */
  /* in a region's body: */
  struct mvs_gradient *outer;  /* NULL at the top level */
  mvs_id region_node;          /* of the forward region, in outer->forward */
  mvs_region_builder *builder; /* of the backward region */
} mvs_gradient;

/* Passes the cotangent of a node on to its inputs. */
typedef void mvs_gradient_rule(mvs_gradient *at, mvs_id node, mvs_id cotangent);
/* One rule per op. */
extern mvs_gradient_rule *const mvs_gradient_rules[MVS_OP_COUNT];

/* Starts the differentiation of `forward` into `target`. */
mvs_gradient *mvs_gradient_new(mvs_compilation *compilation, mvs_graph *forward,
                               mvs_graph *target, const mvs_activity *activity);
/* Visits all nodes, last to first. */
void mvs_gradient_sweep(mvs_gradient *at);
/* True when a gradient flows to that node. */
bool mvs_gradient_wanted(const mvs_gradient *at, mvs_id node);
/* Adds to a node's cotangent. Axes along which the node was stretched are summed over, axes
 * that `cotangent` lacks are stretched, and the dtype is fitted; a node that wants none is
 * skipped. */
void mvs_gradient_give(mvs_gradient *at, mvs_id node, mvs_id cotangent);
/* A forward value for use in a gradient: kept or redone, see crossing.h. */
mvs_id mvs_gradient_value(mvs_gradient *at, mvs_id node);
/* The cotangent as heavy ops read it: bf16 where the value is bf16. */
mvs_id mvs_gradient_round(mvs_gradient *at, const mvs_type *value, mvs_id cotangent);
/* Zeros of a type, in target. */
mvs_id mvs_gradient_zeros(mvs_graph *target, const mvs_type *type);

#endif
