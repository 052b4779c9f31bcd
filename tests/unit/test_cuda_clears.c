/* test_cuda_clears.c: clears of a recorded graph that go into the kernel before them, on a
 * driver that holds one chain of nodes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka needs the above first. */
#include <cmocka.h>

#include "runtime/cuda_clears.h"

#define MOST 8
#define WORD 0x7000

typedef struct node {
  int type; /* -1: gone */
  const char *image;
  mvs_cuda_address cleared; /* what the kernel's last argument is */
  mvs_cuda_clear clear;
  int before, behind; /* -1: none */
} node;

static node nodes[MOST];
static size_t count;
static bool refuses_order;
static mvs_cuda_address arguments[MOST];
static char nest[] = "nest", product[] = "product";

static node *at(void *handle) { return &nodes[(uintptr_t)handle - 1]; }

static void *handle_of(int index) { return (void *)(uintptr_t)(index + 1); }

static int module_load(void **module, const void *image) {
  *module = (void *)(uintptr_t)image;
  return 0;
}

static int module_function(void **function, void *module, const char *name) {
  (void)name;
  *function = module;
  return 0;
}

static int module_free(void *module) { return (void)module, 0; }

static int graph_nodes(void *graph, void **out, size_t *size) {
  (void)graph;
  for (size_t i = 0; out && i < count; i++) out[i] = handle_of((int)i);
  *size = count;
  return 0;
}

static int node_type(void *handle, int *type) {
  *type = at(handle)->type;
  return 0;
}

static int neighbour(int index, void **out, size_t *size) {
  *size = index >= 0;
  if (out && index >= 0) *out = handle_of(index);
  return 0;
}

static int node_before(void *handle, void **out, size_t *size) {
  return neighbour(at(handle)->before, out, size);
}

static int node_behind(void *handle, void **out, size_t *size) {
  return neighbour(at(handle)->behind, out, size);
}

static int node_order(void *graph, void *const *from, void *const *to, size_t size) {
  (void)graph;
  assert_int_equal(size, 1);
  if (refuses_order) return 1;
  at(*from)->behind = (int)((uintptr_t)*to - 1);
  at(*to)->before = (int)((uintptr_t)*from - 1);
  return 0;
}

static int node_free(void *handle) {
  at(handle)->type = -1;
  return 0;
}

static int kernel_node(void *handle, mvs_cuda_kernel_node *out) {
  static void *places[MOST];
  for (int i = 0; i < MOST; i++) places[i] = &arguments[i];
  *out = (mvs_cuda_kernel_node){.function = (void *)(uintptr_t)at(handle)->image,
                                .arguments = places};
  return 0;
}

/* The driver copies arguments when they are set. */
static int kernel_node_set(void *handle, const mvs_cuda_kernel_node *kernel) {
  at(handle)->cleared = *(mvs_cuda_address *)kernel->arguments[1 + MVS_CUDA_NEST_ARGUMENTS - 1];
  return 0;
}

static int clear_node(void *handle, mvs_cuda_clear *out) {
  *out = at(handle)->clear;
  return 0;
}

static const mvs_cuda_driver driver = {.module_load = module_load,
                                       .module_function = module_function,
                                       .module_free = module_free,
                                       .graph_nodes = graph_nodes,
                                       .node_type = node_type,
                                       .node_before = node_before,
                                       .node_behind = node_behind,
                                       .node_order = node_order,
                                       .node_free = node_free,
                                       .kernel_node = kernel_node,
                                       .kernel_node_set = kernel_node_set,
                                       .clear_node = clear_node};

static void add(int type, const char *image) {
  node *added = &nodes[count];
  *added = (node){.type = type, .image = image, .before = (int)count - 1, .behind = -1};
  added->clear = (mvs_cuda_clear){.to = WORD, .element = 1, .width = 4, .height = 1};
  if (count > 0) nodes[count - 1].behind = (int)count;
  count++;
}

/* A chain of `first`, a clear and a library's kernel. */
static void chain(const char *first) {
  count = 0;
  refuses_order = false;
  add(MVS_CUDA_NODE_KERNEL, first);
  add(MVS_CUDA_NODE_CLEAR, NULL);
  add(MVS_CUDA_NODE_KERNEL, "library");
}

/* How many clears are gone. */
static int folded(void) {
  Mvs__Kernel rows = MVS__KERNEL__INIT, heavy = MVS__KERNEL__INIT;
  Mvs__Matmul matmul = MVS__MATMUL__INIT;
  rows.name = "k0", heavy.name = "k1", rows.n_arguments = heavy.n_arguments = 1;
  heavy.matmul = &matmul;
  Mvs__Image a = MVS__IMAGE__INIT, b = MVS__IMAGE__INIT;
  a.architecture = b.architecture = "sm_90a";
  a.kernel = "k0", a.data = (ProtobufCBinaryData){sizeof nest, (uint8_t *)nest};
  b.kernel = "k1", b.data = (ProtobufCBinaryData){sizeof product, (uint8_t *)product};
  Mvs__Kernel *kernels[] = {&rows, &heavy};
  Mvs__Image *images[] = {&a, &b};
  mvs_program program = MVS__PROGRAM__INIT;
  program.kernels = kernels, program.n_kernels = 2;
  program.images = images, program.n_images = 2;
  mvs_arena *arena = mvs_arena_new();
  const mvs_cuda_gpu gpu = {.driver = &driver, .name = "test", .major = 9, .minor = 0};
  mvs_cuda_modules *modules;
  void *function;
  const char *call;
  assert_int_equal(mvs_cuda_modules_open(&gpu, &program, mvs_diag_new(arena), &modules),
                   MVS_OK);
  assert_int_equal(mvs_cuda_modules_function(modules, 1, &function, &call), 0);
  int gone = mvs_cuda_fold_clears(&driver, modules, &program, NULL);
  mvs_cuda_modules_close(modules);
  mvs_arena_free(arena);
  return gone;
}

static void a_clear_goes_into_the_kernel_before(void **state) {
  (void)state;
  chain(nest);
  assert_int_equal(folded(), 1);
  assert_int_equal(nodes[0].cleared, WORD);
  assert_int_equal(nodes[0].behind, 2);
  assert_int_equal(nodes[1].type, -1);
}

static void only_kernels_of_nests_can_clear(void **state) {
  (void)state;
  const char *others[] = {product, "library"};
  for (int i = 0; i < 2; i++) {
    chain(others[i]);
    assert_int_equal(folded(), 0);
    assert_int_equal(nodes[1].type, MVS_CUDA_NODE_CLEAR);
  }
}

static void other_clears_stay(void **state) {
  (void)state;
  const mvs_cuda_clear others[] = {
      {.to = WORD, .element = 4, .width = 2, .height = 1},
      {.to = WORD, .element = 4, .width = 1, .height = 2},
      {.to = WORD, .element = 4, .width = 1, .height = 1, .value = 1},
      {.to = WORD + 2, .element = 4, .width = 1, .height = 1},
  };
  for (int i = 0; i < 4; i++) {
    chain(nest);
    nodes[1].clear = others[i];
    assert_int_equal(folded(), 0);
  }
}

/* A clear at either end has nothing to go into, or nobody to wait for it. */
static void so_do_clears_at_an_end(void **state) {
  (void)state;
  chain(nest);
  nodes[1].behind = -1;
  assert_int_equal(folded(), 0);
  chain(nest);
  nodes[1].before = -1;
  assert_int_equal(folded(), 0);
}

/* The kernel may clear too by then: twice is right, never is not. */
static void what_the_driver_refuses_stays(void **state) {
  (void)state;
  chain(nest);
  refuses_order = true;
  assert_int_equal(folded(), 0);
  assert_int_equal(nodes[1].type, MVS_CUDA_NODE_CLEAR);
  assert_int_equal(nodes[0].behind, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_clear_goes_into_the_kernel_before),
      cmocka_unit_test(only_kernels_of_nests_can_clear),
      cmocka_unit_test(other_clears_stay),
      cmocka_unit_test(so_do_clears_at_an_end),
      cmocka_unit_test(what_the_driver_refuses_stays),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
