/* device.h: what a device can do, as a table of functions. The host is one (device_host.c)
 * and so is an NVIDIA GPU (device_cuda.c).
 * Owner: the opener closes it. Memory of a device is its own; `copy` moves bytes in and out.
 * Work given to launch, clear and copy is done in order; synchronize waits for all of it. A
 * copy to the host is done when it returns, one to the device has read its source.
 * What only reads may be given to a lane beside that order (runtime/aside.h).
 * Staging memory is the host's, and copies between it and the device return at once: `send`
 * brings data in beside the work in hand, in an order of its own, `fetch` stands in the order
 * of work. Events tie the two orders and the host together. */
#ifndef MVS_RUNTIME_DEVICE_H
#define MVS_RUNTIME_DEVICE_H

#include <stdbool.h>

#include "codegen/program.h"

struct mvs_pool;
typedef struct mvs_device mvs_device;

/* Room for a sentence that a device gives. */
#define MVS_DEVICE_WORDS 256

/* One launch of a kernel of the program. */
typedef struct mvs_launch {
  uint32_t kernel;       /* index into the program's kernels */
  void *const *operands; /* device addresses; the workspace is last where the kernel has one */
  size_t operand_count;  /* workspace included */
  int64_t batch, layer;
} mvs_launch;

/* The most that a device takes at a time. */
#define MVS_LAUNCHES_TOGETHER 64
/* Operands of one: the kernel form's limit plus the workspace. */
#define MVS_LAUNCH_OPERANDS 128

typedef enum mvs_copy { MVS_COPY_TO_DEVICE, MVS_COPY_TO_HOST, MVS_COPY_WITHIN } mvs_copy;

/* The orders: launches, clears, copies and fetches; sends; launches, clears and copies within
 * the device that are given while the lane is set so. */
typedef enum mvs_lane { MVS_LANE_WORK, MVS_LANE_SENDS, MVS_LANE_ASIDE, MVS_LANES } mvs_lane;

struct mvs_device {
  const char *name; /* "cpu", "cuda" */
  const char *what; /* the hardware and the code in use: "NVIDIA H200, sm_90a" */
  const char *note; /* why it is far slower than it could be, for the user; NULL: it is not */
  struct mvs_pool *pool; /* threads of the host, for work that is not a kernel */
  bool works_alone;      /* calls return before their work is done */
  /* Memory aligned to at least 64 bytes, with undefined contents.
   * errors : MVS_ERR_MEMORY, told in diag */
  mvs_status (*alloc)(mvs_device *device, int64_t bytes, mvs_diag *diag, void **out);
  /* Once no work given so far can still touch it. */
  void (*release)(mvs_device *device, void *memory);
  void (*clear)(mvs_device *device, void *memory, int64_t bytes);
  void (*copy)(mvs_device *device, void *to, const void *from, int64_t bytes, mvs_copy kind);
  /* Host memory that send and fetch copy from and to. errors : as alloc */
  mvs_status (*alloc_staging)(mvs_device *device, int64_t bytes, mvs_diag *diag, void **out);
  void (*release_staging)(mvs_device *device, void *memory);
  void (*send)(mvs_device *device, void *to, const void *staging, int64_t bytes);
  void (*fetch)(mvs_device *device, void *staging, const void *from, int64_t bytes);
  /* An event marks a point of a lane: signal puts it behind all that the lane has been given,
   * await holds back what the lane is given from now on until the event's last point is
   * reached, reach waits for that on the host. One that was never signalled holds nothing back.
   * errors of reach : as synchronize */
  mvs_status (*event_new)(mvs_device *device, mvs_diag *diag, void **out);
  void (*event_free)(mvs_device *device, void *event);
  void (*signal)(mvs_device *device, void *event, mvs_lane lane);
  void (*await)(mvs_device *device, void *event, mvs_lane lane);
  mvs_status (*reach)(mvs_device *device, void *event, mvs_diag *diag);
  void (*launch)(mvs_device *device, const mvs_launch *launch);
  /* Several, as if one after another, each with a workspace of its own; at most
   * MVS_LAUNCHES_TOGETHER. NULL where that is no faster. */
  void (*launch_all)(mvs_device *device, const mvs_launch *launches, size_t count);
  /* Launches, clears and copies within the device go to WORK (at first) or ASIDE from now on.
   * Kernels of both run at once and share no memory of the device's own. NULL where all work is
   * done in one order. */
  void (*set_lane)(mvs_device *device, mvs_lane lane);
  /* errors : MVS_ERR_DEVICE when earlier work failed */
  mvs_status (*synchronize)(mvs_device *device, mvs_diag *diag);
  /* Bytes that an allocation may still take, as far as the system tells. */
  int64_t (*available)(mvs_device *device);
  /* Makes ready what a kernel needs at a batch besides its operands: plans of libraries, and
   * algorithms, which may be measured. Called while there still is memory; a launch does it
   * where nobody has. NULL where a device needs nothing. */
  void (*prepare)(mvs_device *device, uint32_t kernel, int64_t batch);
  /* Bytes that libraries keep for what was prepared; `available` takes those for free that they
   * have already. NULL where a device has no libraries. */
  int64_t (*held)(mvs_device *device);
  /* What libraries chose by measurement and bits depend on, as text that another run of the
   * program can take up: NULL where a device chooses nothing. `adopt` must stand before
   * anything is prepared; false with a sentence in `why` [MVS_DEVICE_WORDS] when the choices
   * are not good for this device. */
  const char *(*choices)(mvs_device *device);
  bool (*adopt)(mvs_device *device, const char *choices, char *why);
  /* What runs a kernel at a batch: "generated", "cuBLASLt 13.1.0, ...", "generated: " and why.
   * The words last until the next call. */
  const char *(*how)(mvs_device *device, uint32_t kernel, int64_t batch);
  /* Recording, NULL where a device has none. Between `record` and `recorded` launches, clears
   * and copies within the device are kept instead of done; a replay does them all, with the
   * same addresses, as one piece of work. All of them must have run once before. `record` is
   * false and `recorded` NULL where it did not work out; nothing has been done then. */
  bool (*record)(mvs_device *device);
  void *(*recorded)(mvs_device *device);
  void (*replay)(mvs_device *device, void *recording);
  void (*forget)(mvs_device *device, void *recording);
  /* Moments between two pieces of work: `mark` notes one behind all work given so far, in a
   * recording anew at each replay; NULL when the device gives none. After a synchronize
   * `between` tells the seconds from one to a later one, good to a microsecond over a few
   * seconds. `unmark` gives a mark back, after the recording that holds it. */
  void *(*mark)(mvs_device *device);
  double (*between)(mvs_device *device, void *from, void *to);
  void (*unmark)(mvs_device *device, void *mark);
  void (*close)(mvs_device *device);
};

/* Opens a device by the name given to --device: "cuda", "cpu" or "auto", which is cuda when the
 * program was compiled for GPUs and one is there.
 * threads : of the host, below 1 for all cores
 * errors  : MVS_ERR_NAME for an unknown device, MVS_ERR_DEVICE when there is no driver or GPU
 * or the program has no code for it or for this processor, MVS_ERR_MEMORY */
mvs_status mvs_device_open(const char *name, const mvs_program *program, int threads,
                           mvs_diag *diag, mvs_device **out);
/* The opener of the host: the code must be for this processor. The same errors. */
mvs_status mvs_device_open_host(const mvs_program *program, int threads, mvs_diag *diag,
                                mvs_device **out);
/* The opener of the first GPU: needs a driver and an image, PTX or text that it can run. */
mvs_status mvs_device_open_cuda(const mvs_program *program, int threads, mvs_diag *diag,
                                mvs_device **out);
/* Whether the program was compiled for GPUs and one is there, usable or not. */
bool mvs_device_cuda_present(const mvs_program *program);
/* The device's pool. */
struct mvs_pool *mvs_device_pool(mvs_device *device);

#endif
