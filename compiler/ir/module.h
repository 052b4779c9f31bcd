/* module.h: everything compiled from one model: functions, parameters, settings.
 * Owner: the arena given to mvs_module_new (graph lifetime). */
#ifndef MVS_IR_MODULE_H
#define MVS_IR_MODULE_H

#include "compiler/ir/region.h"

/* Elements of a row of the flat buffers; see steps.h. */
#define MVS_FLAT_ROW 1024

/* How a parameter starts. NORMAL draws N(0, (value)^2); CONSTANT fills. */
typedef enum mvs_init_kind {
  MVS_INIT_CONSTANT,
  MVS_INIT_NORMAL,
  MVS_INIT_UNIFORM
} mvs_init_kind;

/* The start of one parameter, settled by lowering. */
typedef struct mvs_init {
  mvs_init_kind kind;
  double value;       /* the constant, the standard deviation, or the half-width */
  const char *origin; /* which line decided, for --explain: "model, FILE:LINE", "constant" */
} mvs_init;

/* How the optimizer treats a parameter, as factors of its learning rate and weight decay. What
 * no `group` of the model says is as mvs_param_rate and mvs_param_decay have it. */
typedef struct mvs_update_group {
  bool has_rate, has_decay;
  double rate, decay;
} mvs_update_group;

/* A parameter. Stacked ones belong to `stack` and have `layers` > 0; their checkpoint names are
 * STACK.{i}.NAME ("blocks.{i}.operator.q_proj.weight"); NAME alone otherwise.
 *
 * A pack is several parameters in one: its parts lie behind one another along the first axis,
 * in every layer. Graphs name the pack and never its parts; files, initial values and reports
 * know the parts and never the pack. Packs come behind all other parameters. */
typedef struct mvs_param {
  const char *name; /* with "{i}" where the layer's number goes */
  mvs_type type;    /* as stored in checkpoints, for one layer */
  int64_t layers;   /* 0 when not stacked */
  bool trained;     /* false: a `constant`, all elements init.value */
  bool writer;      /* writes into the residual stream */
  bool gain;        /* `NAME: gain` or `scalar` of a residual rule */
  mvs_init init;
  mvs_update_group group;
  mvs_span span;
  bool is_pack;
  uint32_t pack;      /* of a part: index of its pack; 0, where no pack can be: it is in none */
  int64_t pack_place; /* of a part: elements before it, in each layer */
} mvs_param;

/* A place in the model that diagnostics are about. */
typedef enum mvs_site_kind {
  MVS_SITE_UPDATE,    /* one `x <- E`: "blocks.operator" */
  MVS_SITE_ATTENTION, /* an attention in its branch, under the same name */
  MVS_SITE_WRITER     /* a writer in its branch, by its weights: "blocks.operator.proj" */
} mvs_site_kind;

/* Parameters by index into the module's; UINT32_MAX where there is none of its own. */
typedef struct mvs_site {
  mvs_site_kind kind;
  const char *name;
  uint32_t weight;     /* WRITER */
  uint32_t query, key; /* ATTENTION: what q and k are projected by */
  bool attends;        /* WRITER: there is an attention in its branch */
} mvs_site;

/* An input of the model, with the value that stands for "no condition". */
typedef struct mvs_model_input {
  const char *name;
  mvs_type type;
  double unconditional;
  bool conditioning; /* false: the noised state (the model's first f32 input) */
} mvs_model_input;

/* The most values that one diagnostic reads. */
#define MVS_PROBE_VALUES 8

/* A function to be called on values of "grad", in the body of a region: value i is its input of
 * the name i. */
typedef struct mvs_probe {
  const char *function;
  uint32_t site;
  const mvs_region *region;
  int count;
  mvs_id values[MVS_PROBE_VALUES];
} mvs_probe;

/* Labels in an `init` or `group` line of a rule that no parameter has: the model may lack the
 * layer, or the label is misspelt. */
typedef struct mvs_idle_line {
  const char *labels; /* "w13, w1" */
  const char *origin; /* "rule deepnorm, std/residuals.mvs:39" */
  bool whole;         /* nothing else in the line selects any */
  const char *near;   /* what the first label may be meant for, or NULL */
} mvs_idle_line;

/* One graph that can be called. Results are named in the graph's result list. */
typedef struct mvs_function {
  const char *name; /* "forward", "grad", "draw", "adamw", "average", "sampler_step", ... */
  mvs_graph *graph;
} mvs_function;

/* What `train { }` and `sample { }` say; the command line may override. */
typedef struct mvs_settings {
  double lr, beta1, beta2, adam_eps, weight_decay, clip, ema, timestep_shift, dropout;
  bool muon;       /* for the matrices of stacks; all others have AdamW */
  double momentum; /* Muon's */
  int64_t warmup, batch;
  mvs_dtype precision; /* MVS_F32 or MVS_BF16 */
  int64_t sample_steps;
  double cfg, sample_shift;
  const char *data; /* default data source ("digits") or NULL */
} mvs_settings;

/* A `let` of the files and what it came to, as text: for reports. */
typedef struct mvs_let {
  const char *name, *value;
} mvs_let;

/* A module: what lowering makes, every pass takes and gives, and the reader of dumps rebuilds.
 */
typedef struct mvs_module {
  mvs_arena *arena;
  const char *name; /* the model's */
  MVS_LIST(mvs_param) params;
  MVS_LIST(mvs_model_input) inputs;
  MVS_LIST(mvs_function) functions;
  mvs_settings settings;
  const char *output_name; /* "velocity" */
  const char *residual;    /* the rule in force, as text, and where it was chosen */
  const char *residual_origin;
  MVS_LIST(mvs_idle_line) idle_lines;      /* of its rules */
  MVS_LIST(mvs_segments *) segment_tables; /* interned */
  MVS_LIST(mvs_site) sites;                /* that marks of graphs name */
  MVS_LIST(mvs_probe) probes;              /* made by the pass "diagnose" */
  MVS_LIST(mvs_let) lets;                  /* in their order; dumps leave them out */
  uint32_t next_stream;                    /* of random draws */
} mvs_module;

/* An empty module. */
mvs_module *mvs_module_new(mvs_arena *arena, const char *name);
/* The function of that name, or NULL. */
mvs_function *mvs_module_function(mvs_module *module, const char *name);
/* Adds a function with an empty graph. The pointer (not its graph) lasts until the next one is
 * added. */
mvs_function *mvs_module_add_function(mvs_module *module, const char *name);
/* Interns a segment table. */
const mvs_segments *mvs_module_segments(mvs_module *module, const mvs_segments *table);
/* The type that a parameter has in a function's graph: its layers in front. */
mvs_type mvs_param_node_type(const mvs_param *param);
/* The factor of the learning rate: 1 unless a group says another. 0 is a parameter that stays
 * as it is and has no gradient. */
double mvs_param_rate(const mvs_param *param);
/* The factor of the weight decay: 1 with two or more dimensions, else 0, unless a group says
 * another. */
double mvs_param_decay(const mvs_param *param);
/* Whether training changes it: trained, and with a rate above 0. */
bool mvs_param_learns(const mvs_param *param);
/* Whether Muon updates it: a matrix in a stack that learns, where the recipe says so. */
bool mvs_param_orthogonal(const mvs_module *module, const mvs_param *param);
/* Where each parameter starts in the flat buffers, in elements, and how many those hold:
 * trained parameters and packs one behind the other, each from a multiple of MVS_FLAT_ROW on.
 * False when they are more than fit 63 bits. */
bool mvs_module_offsets(const mvs_module *module, int64_t *offsets, int64_t *flat);
/* Trained elements over all layers: what `info` prints. Constants do not count. */
int64_t mvs_module_trained_elements(const mvs_module *module);

#endif
