/* cuda_clears.c: the recorded graph is looked at node by node, through the driver alone: what a
 * library recorded is known by nothing but its type, its place and its arguments. */
#include "runtime/cuda_clears.h"

#include <stdlib.h>

#define WORD           4
#define MOST_ARGUMENTS 160 /* more than a device launches with */

/* The node before and the one behind, where there is one of each. */
static bool find_neighbours(const mvs_cuda_driver *driver, void *node, void **before,
                            void **behind) {
  size_t count = 0;
  if (driver->node_before(node, NULL, &count) != 0 || count != 1) return false;
  if (driver->node_before(node, before, &count) != 0) return false;
  if (driver->node_behind(node, NULL, &count) != 0 || count != 1) return false;
  return driver->node_behind(node, behind, &count) == 0;
}

/* What the driver does not answer is not of the type: the node is then left alone. */
static bool is_type(const mvs_cuda_driver *driver, void *node, int type) {
  int found = -1;
  return driver->node_type(node, &found) == 0 && found == type;
}

/* Larger clears are worth a node of their own, and other values than zero are no counters. */
static bool clears_a_word(const mvs_cuda_driver *driver, void *node, mvs_cuda_address *word) {
  mvs_cuda_clear clear = {0};
  if (!is_type(driver, node, MVS_CUDA_NODE_CLEAR)) return false;
  if (driver->clear_node(node, &clear) != 0) return false;
  *word = clear.to;
  return clear.value == 0 && clear.height == 1 && clear.width * clear.element == WORD &&
         clear.to % WORD == 0;
}

/* The last argument of the kernel becomes the word. */
static bool give_word(const mvs_cuda_driver *driver, const mvs_cuda_modules *modules,
                      const mvs_program *program, void *node, const mvs_cuda_address *word) {
  mvs_cuda_kernel_node kernel = {0};
  void *arguments[MOST_ARGUMENTS];
  if (!is_type(driver, node, MVS_CUDA_NODE_KERNEL)) return false;
  if (driver->kernel_node(node, &kernel) != 0) return false;
  int number = mvs_cuda_modules_number(modules, kernel.function);
  if (number < 0 || program->kernels[number]->matmul || program->kernels[number]->attention)
    return false;
  size_t count = program->kernels[number]->n_arguments + MVS_CUDA_NEST_ARGUMENTS;
  if (count > MOST_ARGUMENTS) return false;
  memcpy(arguments, kernel.arguments, count * sizeof *arguments);
  arguments[count - 1] = (void *)word;
  kernel.arguments = arguments;
  return driver->kernel_node_set(node, &kernel) == 0;
}

/* In an order in which a refusal leaves work that is done twice, never work left out. */
static bool fold(const mvs_cuda_driver *driver, const mvs_cuda_modules *modules,
                 const mvs_program *program, void *graph, void *node) {
  void *before, *behind;
  mvs_cuda_address word;
  if (!clears_a_word(driver, node, &word)) return false;
  if (!find_neighbours(driver, node, &before, &behind)) return false;
  if (!give_word(driver, modules, program, before, &word)) return false;
  if (driver->node_order(graph, &before, &behind, 1) != 0) return false;
  return driver->node_free(node) == 0;
}

/* Nothing here is an error: a recording whose nodes cannot be changed works as it was recorded.
 */
int mvs_cuda_fold_clears(const mvs_cuda_driver *driver, const mvs_cuda_modules *modules,
                         const mvs_program *program, void *graph) {
  size_t count = 0;
  int folded = 0;
  if (driver->graph_nodes(graph, NULL, &count) != 0) return 0;
  void **nodes = calloc(count + 1, sizeof *nodes);
  if (nodes && driver->graph_nodes(graph, nodes, &count) == 0)
    for (size_t at = 0; at < count; at++)
      folded += fold(driver, modules, program, graph, nodes[at]);
  free(nodes);
  return folded;
}
