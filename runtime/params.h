/* params.h: parameters by the names they have in checkpoints, one entry per layer.
 * Owner: the arena given. */
#ifndef MVS_RUNTIME_PARAMS_H
#define MVS_RUNTIME_PARAMS_H

#include "codegen/program.h"

typedef struct mvs_param_entry {
  const char *name; /* "blocks.3.ffn.w2.weight" */
  const Mvs__Param *param;
  int64_t offset; /* of its first element in the flat buffers; constants have none */
} mvs_param_entry;

typedef struct mvs_param_list {
  size_t count;
  mvs_param_entry *entries;        /* in the program's order, layer by layer */
  const mvs_param_entry **by_name; /* sorted */
} mvs_param_list;

/* Expands all parameters of the program, constants included. */
mvs_param_list *mvs_params_list(mvs_arena *arena, const mvs_program *program);
/* The entry of that name, or NULL. */
const mvs_param_entry *mvs_params_find(const mvs_param_list *list, const char *name);
/* The family of a parameter, the row of its gradients: "blocks.{i}.operator.q_proj.weight"
 * without the layer and the last word. */
const char *mvs_param_family(mvs_arena *arena, const Mvs__Param *param);
/* Trained elements over all layers: what `info` prints. */
int64_t mvs_params_trained(const mvs_program *program);

#endif
