/* lowering.h: the inside of lowering, shared by lower*.c. Not for other folders.
 *
 *   lower.c          runs the model once per function and settles what is left at the end
 *   lower_value.c    values, scopes, names, errors
 *   lower_expr.c     expressions
 *   lower_arith.c    operators on numbers and tensors
 *   lower_call.c     calls: matching arguments, layers, branches, functions as values
 *   lower_block.c    statements
 *   lower_builtin.c  the table of primitive functions and the elementwise ones
 *   lower_tokens.c   primitive functions on tokens and segments
 *   lower_views.c    primitive functions that move values, and extents
 *   lower_tensor.c   where a node goes, and the dtypes of the precision
 *   lower_param.c    parameters, constants, initial values
 *   lower_family.c   init and group lines: which parameters they select, and what counts
 *   lower_list.c     lists, `for`, streams
 *   lower_earlier.c  values of earlier blocks
 *   lower_stack.c    the stack as a region
 *   lower_rule.c     residual rules and updates
 *   lower_reads.c    which formals of a rule an update reads
 *   lower_sites.c    what diagnostics are about
 *   lower_settings.c train { } and sample { }
 *   lower_flow.c     the functions around the model: loss and draw
 *
 * Owner: everything lies in the arena given to mvs_lower. Every call that can fail returns a
 * status whose sentence is in the diag, and stops at the first. */
#ifndef MVS_IR_LOWERING_H
#define MVS_IR_LOWERING_H

#include "compiler/base/table.h"
#include "compiler/ir/module.h"
#include "dsl/parse.h"

typedef struct mvs_lowering mvs_lowering;
typedef struct mvs_value mvs_value;
typedef struct mvs_builtin mvs_builtin;
typedef struct mvs_branch mvs_branch;

/* --- values --- */

/* What an expression can be. All but tensors are known while lowering and leave no node. */
typedef enum mvs_value_kind {
  MVS_VALUE_ABSENT, /* an optional argument that was not given; a formal without a value here */
  MVS_VALUE_NONE,   /* `none` */
  MVS_VALUE_NUMBER,
  MVS_VALUE_BOOL,
  MVS_VALUE_STRING,
  MVS_VALUE_TENSOR,
  MVS_VALUE_TUPLE,    /* (a, b) and [a, b] */
  MVS_VALUE_FUNCTION, /* a layer or primitive, perhaps with arguments after the first bound */
  MVS_VALUE_BRANCH,   /* `f` of a rule */
  MVS_VALUE_LAYER,    /* `layer`: becomes a tensor where it is read */
  MVS_VALUE_PAST,     /* `entered` in a rule's exit: at_block knows what blocks held of it */
  MVS_VALUE_INIT      /* normal(0.02), fan_in(1), ... */
} mvs_value_kind;

/* How a parameter starts, before its shape is known. */
typedef struct mvs_init_value {
  mvs_init_kind kind;
  double value; /* the constant, standard deviation or half-width */
  bool fan_in;  /* value is a gain: divided by the root of the inputs of one output */
} mvs_init_value;

/* An argument as given to a call. */
typedef struct mvs_actual {
  const char *name;     /* keyword, or NULL */
  const mvs_expr *expr; /* as written, or NULL */
  const mvs_value *value;
  mvs_span span;
} mvs_actual;

/* A layer or primitive as a value; its first argument comes when it is applied. */
typedef struct mvs_function_value {
  const mvs_definition *definition; /* or NULL */
  const mvs_builtin *builtin;       /* or NULL */
  const mvs_actual *bound;          /* all by keyword */
  size_t bound_count;
} mvs_function_value;

/* A value; `kind` says which fields are set. Copied freely: it owns nothing. */
struct mvs_value {
  mvs_value_kind kind;
  double number;
  bool truth;
  const char *text;
  mvs_graph *graph; /* of the tensor `id` */
  mvs_id id;
  const mvs_value *items; /* TUPLE */
  size_t count;
  const mvs_function_value *function;
  mvs_branch *branch;
  const struct mvs_past *past; /* PAST */
  mvs_init_value init;
  bool is_label; /* STRING: an update's label, `branch` of a rule */
};

/* A number, folded while lowering. */
mvs_value mvs_value_number(double number);
/* true or false. */
mvs_value mvs_value_bool(bool truth);
/* A string or one of the words that stand for themselves (f32). */
mvs_value mvs_value_string(const char *text);
/* A node of the function's graph or of a stack's body. */
mvs_value mvs_value_tensor(mvs_graph *graph, mvs_id id);
/* "a number", "a tensor", ... for messages. */
const char *mvs_value_noun(const mvs_value *value);
/* The type of a TENSOR. */
const mvs_type *mvs_value_type(const mvs_value *value);
/* Elements of the last axis; 1 for rank 0. */
int64_t mvs_value_features(const mvs_value *value);

/* --- scopes --- */

/* A name and what it stands for. */
typedef struct mvs_binding {
  const char *name;
  mvs_value value;
} mvs_binding;

/* Names of a body, in the order first set. A tensor in it may be of the function's graph or of
 * the stack's body: its value says which. */
typedef struct mvs_scope {
  struct mvs_scope *parent;
  MVS_LIST(mvs_binding) names;
  mvs_table *places; /* name to its place + 1 in `names`; NULL while there are few */
} mvs_scope;

/* An empty scope inside `parent` (NULL for the lets). */
mvs_scope *mvs_scope_new(mvs_lowering *lo, mvs_scope *parent);
/* Binds a name in this very scope, replacing an earlier value. */
void mvs_scope_set(mvs_lowering *lo, mvs_scope *scope, const char *name, mvs_value value);
/* Finds a name here or outwards; NULL when there is none. */
const mvs_value *mvs_scope_find(const mvs_scope *scope, const char *name);

/* --- the state of one lowering --- */

/* What a parameter is to `init` and `group` lines: each is of one family. */
typedef enum mvs_family {
  MVS_FAMILY_WRITERS, /* marked `writer` */
  MVS_FAMILY_WEIGHTS, /* all others of two or more dimensions */
  MVS_FAMILY_GAINS,   /* formals of rules */
  MVS_FAMILY_VECTORS  /* the rest: biases, weights of norms */
} mvs_family;

/* An `init` or `group` line of a model or rule, its values known. */
typedef struct mvs_family_line {
  const mvs_stmt *stmt; /* its names are the selectors */
  mvs_init_value init;
  mvs_update_group group;
  const char *origin; /* "model, dit.mvs:12" */
  bool of_rule;       /* its labels may select nothing */
} mvs_family_line;
typedef MVS_LIST(mvs_family_line) mvs_family_lines;

/* The residual rule in force. */
typedef struct mvs_rule {
  const mvs_definition *definition;
  const mvs_expr *call; /* a NAME or a CALL */
  const char *label;
  const char *origin;
} mvs_rule;

/* One outer tensor used inside a body. */
typedef struct mvs_import {
  mvs_id outer, inner;
} mvs_import;

/* A value of one block, or of each, that every later block has. */
typedef struct mvs_held {
  mvs_id source;   /* in the body: what is held */
  int64_t block;   /* of which block, or of each: a row for each */
  mvs_id initial;  /* outside */
  mvs_id next;     /* in the body: what is handed on */
  mvs_value value; /* in the body: zeros before its block */
} mvs_held;
typedef MVS_LIST(mvs_held) mvs_held_list;
#define MVS_EVERY_BLOCK (-1)

/* `entered` of a stack that is lowered, as its exit sees it. */
typedef struct mvs_past {
  mvs_id source; /* in the body */
  mvs_id region; /* outside: its results ... */
  uint32_t first_held; /* ... that from this one on are those held */
  mvs_held_list held;
  int64_t count; /* of blocks */
} mvs_past;

/* The stack being lowered. */
typedef struct mvs_stack_state {
  mvs_region *region;
  MVS_LIST(mvs_import) invariants;
  MVS_LIST(mvs_id) stacked; /* outer ids of the stacked inputs */
  mvs_held_list held;          /* carried after the names that the stack carries */
  MVS_LIST(mvs_id) collected;  /* body values that are stacked outputs */
  mvs_family_lines lines;   /* of the rule */
  int updates;              /* so far, to number the rule's label */
  mvs_scope *scope;         /* where the stack stands, for the rule's arguments */
  mvs_scope *starts;        /* what `<-` updates, as it enters the first block: x0 */
  mvs_scope *entries;       /* and as it enters the block, in the body: entered */
} mvs_stack_state;

/* What is left to settle about a parameter at the end. */
typedef struct mvs_pending_param {
  size_t param;
  mvs_family family;
  const mvs_family_lines *rule; /* of its stack, NULL outside of all */
} mvs_pending_param;

/* What the run stands for. The model is lowered once for each. */
typedef enum mvs_run { MVS_RUN_FORWARD, MVS_RUN_LOSS } mvs_run;

/* Everything that lowering knows, passed to every call. What is set per run, per stack or per
 * call is put back by whoever set it. */
struct mvs_lowering {
  mvs_arena *arena;
  mvs_diag *diag;
  const mvs_unit *unit;
  mvs_module *module;
  mvs_scope *globals;
  mvs_run run;
  mvs_graph *top;              /* the function's graph */
  mvs_stack_state *stack;      /* NULL outside a stack */
  const char *prefix;          /* labels so far: "", "blocks.{i}.operator." */
  int nesting;                 /* calls inside calls */
  int notes;                   /* calls shown around the error */
  mvs_rule rule;               /* definition NULL until a residual line was read */
  int block_updates;           /* of the last stack's block; -1: its own names decide it */
  int64_t evaluations, nodes;  /* of this run: bounded, since a short text can ask for 2^64 */
  mvs_table *params;           /* name to index + 1 in the module */
  mvs_table *seen;             /* parameters declared in this run */
  MVS_LIST(mvs_pending_param) pending;
  mvs_family_lines lines; /* of the model */
  const mvs_family_lines *last_rule_lines;
  mvs_family_lines first_lines;         /* of the model and its rules, in the first run */
  MVS_LIST(const char *) selected;      /* selectors in them that found a parameter */
  mvs_value state;                      /* LOSS: what stands for the state input */
  mvs_value output;                     /* of this run; ABSENT before */
  mvs_span output_span;
  mvs_span objective_span; /* of `objective`, source NULL without one */
};

/* Reports an error and returns `status`. */
mvs_status mvs_lower_error(mvs_lowering *lo, mvs_status status, mvs_span span,
                           const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Counts an expression or a turn of a loop. errors : MVS_ERR_LIMIT past MVS_MAX_EVALUATIONS */
mvs_status mvs_lower_spend(mvs_lowering *lo, mvs_span span);
/* "file.mvs:12" of a span, "" without a place. */
const char *mvs_lower_place(mvs_lowering *lo, mvs_span span);
/* The source text under a span. */
const char *mvs_lower_words(mvs_lowering *lo, mvs_span span);
/* A type as text. */
const char *mvs_lower_type_text(mvs_lowering *lo, const mvs_type *type);

/* --- expressions, calls, statements --- */

/* Evaluates an expression: a value, or nodes added where their inputs are. */
mvs_status mvs_lower_expr(mvs_lowering *lo, mvs_scope *scope, const mvs_expr *expr,
                          mvs_value *out);
/* -a and not a. */
mvs_status mvs_lower_unary(mvs_lowering *lo, const mvs_expr *expr, const mvs_value *a,
                           mvs_value *out);
/* a + b and its like, by expr->op. `and` and `or` are mvs_lower_expr's: they look at one side.
 */
mvs_status mvs_lower_binary(mvs_lowering *lo, const mvs_expr *expr, const mvs_value *a,
                            const mvs_value *b, mvs_value *out);
/* Evaluates what must be a number. */
mvs_status mvs_lower_number(mvs_lowering *lo, mvs_scope *scope, const mvs_expr *expr,
                            double *out);
/* Evaluates what must be true or false. */
mvs_status mvs_lower_truth(mvs_lowering *lo, mvs_scope *scope, const mvs_expr *expr, bool *out);
/* Checks that a value is a whole number in [least, most]. `what` names it in the message. */
mvs_status mvs_lower_whole(mvs_lowering *lo, const mvs_value *value, int64_t least,
                           int64_t most, const char *what, mvs_span span, int64_t *out);
/* Checks that a value is a list of whole numbers from `least` on; at most MVS_MAX_RANK. */
mvs_status mvs_lower_extents(mvs_lowering *lo, const mvs_value *value, int64_t least,
                             mvs_span span, int64_t *extents, int *count);
/* Checks that a value is a tensor. `what` names who needs it. */
mvs_status mvs_lower_need_tensor(mvs_lowering *lo, const mvs_value *value, const char *what,
                                 mvs_span span);

/* Evaluates a call: of a layer, a primitive, a function value or the branch. */
mvs_status mvs_lower_call(mvs_lowering *lo, mvs_scope *scope, const mvs_expr *expr,
                          mvs_value *out);
/* Pairs arguments with formals; matched[i] is NULL where formal i was not given.
 * `kind` and `name` say what is called ("layer", "linear"). */
mvs_status mvs_lower_match(mvs_lowering *lo, const char *kind, const char *name,
                           const char *const *formals, size_t formal_count,
                           const mvs_actual *actuals, size_t count, const mvs_actual **matched);
/* Evaluates the arguments of a call, in order, in the caller's scope. */
mvs_status mvs_lower_actuals(mvs_lowering *lo, mvs_scope *scope, const mvs_expr *expr,
                             mvs_actual **out);
/* A fresh scope for a definition: outside are the lets; `layer` and `depth` are visible. */
mvs_scope *mvs_lower_definition_scope(mvs_lowering *lo);
/* The names of a definition's formals, in order. */
const char *const *mvs_lower_formal_names(mvs_lowering *lo, const mvs_definition *definition);
/* The visible definition of that name and kind, or NULL. */
const mvs_definition *mvs_lower_definition(const mvs_lowering *lo, const char *name,
                                           bool residual);
/* Adds the hint "did you mean". */
void mvs_lower_suggest(mvs_lowering *lo, const char *name, const char *const *candidates,
                       size_t count);

/* What running a block gives: the value of its bare expression, if one was reached. */
typedef struct mvs_outcome {
  bool done;
  mvs_value value;
  mvs_span span;
} mvs_outcome;
/* Runs statements in `scope`. They may set names in it; outcome starts as zeros. */
mvs_status mvs_lower_block(mvs_lowering *lo, mvs_scope *scope, const mvs_block *block,
                           mvs_outcome *outcome);

/* `[E for NAME in LIST]`, `a[i]` and `for NAME in LIST { ... }`. */
mvs_status mvs_lower_each(mvs_lowering *lo, mvs_scope *scope, const mvs_expr *expr,
                          mvs_value *out);
/* See mvs_lower_each. */
mvs_status mvs_lower_index(mvs_lowering *lo, mvs_scope *scope, const mvs_expr *expr,
                           mvs_value *out);
/* See mvs_lower_each. */
mvs_status mvs_lower_for(mvs_lowering *lo, mvs_scope *scope, const mvs_stmt *stmt,
                         mvs_outcome *outcome);

typedef MVS_LIST(const mvs_stmt *) mvs_stmts;
/* Finds the statements of one kind in a body: `init`, `entry` and `exit` are not run where they
 * stand, but asked for. Of an `if` that holds one the chosen side counts; other ifs are not
 * evaluated. */
mvs_status mvs_lower_find(mvs_lowering *lo, mvs_scope *scope, const mvs_block *block,
                          mvs_stmt_kind kind, mvs_stmts *out);

/* --- primitive functions --- */

#define MVS_MAX_FORMALS 4

/* A call of a primitive: values[i] belongs to formal i and is ABSENT when not given. */
typedef struct mvs_builtin_call {
  const mvs_builtin *builtin;
  const mvs_actual *actuals; /* as given; what variadic functions read */
  size_t count;
  mvs_value values[MVS_MAX_FORMALS];
  mvs_span spans[MVS_MAX_FORMALS];
  mvs_span span;
} mvs_builtin_call;

/* Computes one call. */
typedef mvs_status mvs_builtin_run(mvs_lowering *lo, const mvs_builtin_call *call,
                                   mvs_value *out);

/* A row of the table of primitives. */
struct mvs_builtin {
  const char *name;
  const char *formals[MVS_MAX_FORMALS]; /* the first `needed` must be given */
  int needed;                           /* -1: any number of arguments, read from actuals */
  mvs_builtin_run *run;
  mvs_op op; /* for rows that share a run */
};

/* The row of that name, or NULL. */
const mvs_builtin *mvs_builtin_find(const char *name);
/* Names of all rows, for suggestions. */
size_t mvs_builtin_names(const char **names, size_t room);
/* Pairs the arguments with the row's formals and runs it. */
mvs_status mvs_builtin_apply(mvs_lowering *lo, const mvs_builtin *builtin,
                             const mvs_actual *actuals, size_t count, mvs_span span,
                             mvs_value *out);

/* lower_tokens.c and lower_views.c */
mvs_builtin_run mvs_builtin_mean, mvs_builtin_center, mvs_builtin_concat, mvs_builtin_grid,
    mvs_builtin_row_index, mvs_builtin_column_index, mvs_builtin_rows, mvs_builtin_columns,
    mvs_builtin_tokens;
mvs_builtin_run mvs_builtin_reshape, mvs_builtin_transpose, mvs_builtin_slice_features,
    mvs_builtin_concat_features, mvs_builtin_index, mvs_builtin_features, mvs_builtin_extent;
/* lower_list.c and lower_earlier.c */
mvs_builtin_run mvs_builtin_streams, mvs_builtin_sum, mvs_builtin_earlier, mvs_builtin_first,
    mvs_builtin_at_block, mvs_builtin_history;
/* The segment NAME of a token tensor: x.image. */
mvs_status mvs_lower_member(mvs_lowering *lo, const mvs_expr *expr, const mvs_value *of,
                            mvs_value *out);
/* The same tensor with a segment table: a single segment "tokens" when it had none. */
mvs_status mvs_lower_segmented(mvs_lowering *lo, const mvs_value *value, mvs_span span,
                               mvs_value *out);

/* --- tensors --- */

/* Adds a node on values (tensors, numbers as constants). It goes into the outermost graph that
 * holds all its inputs: what depends on nothing of a stack is computed once, outside. */
mvs_status mvs_lower_node(mvs_lowering *lo, mvs_op op, const mvs_value *inputs, int count,
                          const mvs_attr *attr, mvs_span span, mvs_value *out);
/* The same for one or two inputs and an op without attribute. */
mvs_status mvs_lower_node1(mvs_lowering *lo, mvs_op op, mvs_value a, mvs_span span,
                           mvs_value *out);
/* See mvs_lower_node1. */
mvs_status mvs_lower_node2(mvs_lowering *lo, mvs_op op, mvs_value a, mvs_value b, mvs_span span,
                           mvs_value *out);
/* To another dtype; the value itself when it has it. */
mvs_status mvs_lower_cast(mvs_lowering *lo, mvs_value a, mvs_dtype dtype, mvs_span span,
                          mvs_value *out);
/* Widens all to f32 unless they have one dtype already: parts of a concat. */
mvs_status mvs_lower_same_dtype(mvs_lowering *lo, mvs_value *values, size_t count,
                                mvs_span span);
/* To a type of the same count; a reshape of a reshape is one. */
mvs_status mvs_lower_reshape(mvs_lowering *lo, mvs_value a, const mvs_type *type, mvs_span span,
                             mvs_value *out);
/* The same tokens under another table, when both tables are one segment of one length and grid
 * and differ in its name alone; else the value itself. */
mvs_status mvs_lower_renamed(mvs_lowering *lo, mvs_value value, const mvs_segments *table,
                             mvs_span span, mvs_value *out);
/* x w^T (+ bias): operands and result in the storage type of the precision. */
mvs_status mvs_lower_matmul(mvs_lowering *lo, mvs_value x, mvs_value w, const mvs_value *bias,
                            mvs_span span, mvs_value *out);
/* Softmax attention: operands in the storage type; the first result alone. */
mvs_status mvs_lower_attention(mvs_lowering *lo, const mvs_value qkv[3], double scale,
                               mvs_span span, mvs_value *out);
/* The node of `value` in `graph`, brought into the stack's body as an invariant when needed. */
mvs_id mvs_lower_place_in(mvs_lowering *lo, mvs_graph *graph, const mvs_value *value,
                          mvs_span span);

/* --- parameters --- */

/* Declares a trained parameter under the labels in force. */
mvs_status mvs_lower_param(mvs_lowering *lo, const char *name, const mvs_type *type,
                           mvs_family family, const mvs_init_value *init, const char *origin,
                           mvs_span span, mvs_value *out);
/* Runs a `param` statement: its name stands for the tensor. */
mvs_status mvs_lower_param_stmt(mvs_lowering *lo, mvs_scope *scope, const mvs_stmt *stmt);
/* Runs a `constant` statement: its name stands for the number. */
mvs_status mvs_lower_constant_stmt(mvs_lowering *lo, mvs_scope *scope, const mvs_stmt *stmt);
/* Reads DTYPE SHAPE of a statement; `batched` puts the batch in front. */
mvs_status mvs_lower_declared_type(mvs_lowering *lo, mvs_scope *scope, const mvs_stmt *stmt,
                                   bool batched, mvs_type *out);
/* An initial value: a number or normal(...), uniform(...), fan_in(...). */
mvs_status mvs_lower_init_value(mvs_lowering *lo, const mvs_value *value, mvs_span span,
                                mvs_init_value *out);
/* The start of a parameter of that type. */
mvs_init mvs_lower_settled(const mvs_init_value *value, const mvs_type *type,
                           const char *origin);
/* Reads the `init` and `group` lines of a body into a list; `who` is "model" or "rule NAME",
 * for
 * --explain. */
mvs_status mvs_lower_family_lines(mvs_lowering *lo, mvs_scope *scope, const mvs_block *body,
                                  const char *who, mvs_family_lines *list);
/* Lets those lines decide over the parameters' own start and groups. A selector that finds no
 * parameter is an error. */
mvs_status mvs_lower_settle_params(mvs_lowering *lo);

/* --- the stack and its rule --- */

/* Runs a `stack` statement: adds its region and binds the values after it in `scope`. */
mvs_status mvs_lower_stack(mvs_lowering *lo, mvs_scope *scope, const mvs_stmt *stmt);
/* Runs `x <- E`: the rule in force gives the new x. */
mvs_status mvs_lower_update(mvs_lowering *lo, mvs_scope *scope, const mvs_stmt *stmt);
/* Marks what diagnostics ask of an update whose nodes in the body start at `first`. `x` is the
 * stream before it, `f` the branch. */
void mvs_lower_sites(mvs_lowering *lo, const mvs_stmt *stmt, const mvs_value *x,
                     const mvs_value *f, mvs_id first);
/* Puts a residual line in force, or --residual under the line's label. */
mvs_status mvs_lower_residual_stmt(mvs_lowering *lo, mvs_scope *scope, const mvs_stmt *stmt);
/* Puts --residual in force from the start: a model without a residual line can do with it. */
mvs_status mvs_lower_override_rule(mvs_lowering *lo, mvs_scope *scope);
/* Runs entry { } or exit { } of the rule on x. `seen` has the names that it sees besides, or is
 * NULL; formals hide them. */
mvs_status mvs_lower_border(mvs_lowering *lo, mvs_scope *scope, mvs_stmt_kind side,
                            const char *label, int64_t depth, const mvs_scope *seen,
                            mvs_value *x);
/* Runs after { } of the rule on x, the last value of `name` in the block. */
mvs_status mvs_lower_after(mvs_lowering *lo, const char *name, mvs_value *x);
/* Pushes what `first` and `earlier` add to the results of the body. */
void mvs_lower_finish_earlier(mvs_lowering *lo);
/* Reads the rule's `init` and `group` lines. */
mvs_status mvs_lower_rule_lines(mvs_lowering *lo, mvs_scope *scope, int64_t depth,
                                mvs_family_lines *list);
/* Applies `f` to a value, or finds its one application. */
mvs_status mvs_lower_branch(mvs_lowering *lo, mvs_branch *branch, const mvs_value *argument,
                            mvs_span span, mvs_value *out);
/* Which formals of a rule its body reads, one flag each: directly, or through the default of
 * one that is read. Of an `if` whose condition `known` decides only the chosen side counts. */
mvs_status mvs_lower_reads(mvs_lowering *lo, mvs_scope *known, const mvs_definition *rule,
                           const mvs_actual *const *matched, bool *reads);
/* Checks a text that `branch` is compared with: some update of the model has that label. */
mvs_status mvs_lower_check_label(mvs_lowering *lo, const char *label, mvs_span span);
/* `layer` as an f32 tensor of the body. */
mvs_status mvs_lower_layer(mvs_lowering *lo, mvs_span span, mvs_value *out);

/* --- around the model --- */

/* Reads train { } and sample { } into the module, over the defaults. */
mvs_status mvs_lower_settings(mvs_lowering *lo);
/* Runs an `input` statement: a node, or in LOSS the noised state. */
mvs_status mvs_lower_input_stmt(mvs_lowering *lo, mvs_scope *scope, const mvs_stmt *stmt);
/* Runs an `output` statement: remembers the value, as f32. */
mvs_status mvs_lower_output_stmt(mvs_lowering *lo, mvs_scope *scope, const mvs_stmt *stmt);
/* Runs the model's statements into lo->top, from a fresh state. */
mvs_status mvs_lower_model(mvs_lowering *lo);
/* Makes "loss" and "draw" when the output can be a velocity of the state. */
mvs_status mvs_lower_flow(mvs_lowering *lo);
/* The model's state input, or NULL. */
const mvs_model_input *mvs_module_state(const mvs_module *module);

#endif
