/* trace.c: one line an event, so that a trace can be read and cut by line tools too. It is made
 * in memory and appears whole: some megabytes for three steps of a deep model. */
#include "runtime/trace.h"

#include <inttypes.h>

#include "compiler/base/output_file.h"
#include "runtime/json_text.h"

enum { DEVICE_TRACK = 1, HOST_TRACK = 2 };

/* Every event but the first has a comma before it. */
static void begin_event(mvs_text *out, const char *phase, int track, const char *name) {
  mvs_text_addf(out, "%s{\"ph\": \"%s\", \"pid\": 1, \"tid\": %d, \"name\": ",
                out->data[out->length - 1] == '[' ? "\n" : ",\n", phase, track);
  mvs_json_string(out, name);
}

/* Metadata: viewers show the name beside the track. */
static void name_track(mvs_text *out, int track, const char *name) {
  begin_event(out, "M", track, "thread_name");
  mvs_text_add(out, ", \"args\": {\"name\": ");
  mvs_json_string(out, name);
  mvs_text_add(out, "}}");
}

/* Nanoseconds are kept. */
static void put_times(mvs_text *out, double begin, double end) {
  mvs_text_addf(out, ", \"ts\": %.3f, \"dur\": %.3f", 1e6 * begin, 1e6 * (end - begin));
}

/* Viewers show args when a slice is clicked. */
static void put_launch(mvs_session *session, mvs_text *out, const mvs_profile_call *call,
                       const mvs_profile_launch *launch) {
  const Mvs__Kernel *kernel = session->program->kernels[launch->kernel];
  begin_event(out, "X", DEVICE_TRACK, kernel->name);
  put_times(out, launch->begin, launch->end);
  mvs_text_add(out, ", \"cat\": ");
  mvs_json_string(out, kernel->kind);
  mvs_text_add(out, ", \"args\": {\"what\": ");
  mvs_json_string(out, *kernel->why ? kernel->why : kernel->name);
  mvs_text_add(out, ", \"how\": ");
  mvs_json_string(out, session->device->how(session->device, launch->kernel, launch->batch));
  mvs_text_add(out, ", \"function\": ");
  mvs_json_string(out, call->function->name);
  mvs_text_addf(out,
                ", \"layer\": %" PRId64 ", \"batch\": %" PRId64
                ", \"bytes\": %.17g, \"flops\": %.17g}}",
                launch->layer, launch->batch, mvs_kernel_bytes(kernel, launch->batch),
                mvs_kernel_flops(kernel, launch->batch));
}

/* When the host gave the work, which the device may do later. */
static void put_call(mvs_session *session, mvs_text *out, const mvs_profile *profile,
                     const mvs_profile_call *call) {
  begin_event(out, "X", HOST_TRACK, call->function->name);
  put_times(out, call->begin, call->end);
  mvs_text_addf(out, ", \"cat\": \"call\", \"args\": {\"batch\": %" PRId64 "}}", call->batch);
  for (size_t at = 0; at < call->launches; at++)
    put_launch(session, out, call, &profile->launches.items[call->first_launch + at]);
}

/* Only those that ended: a failed step's are left out. */
static void put_phase(mvs_text *out, const mvs_profile_phase *phase) {
  begin_event(out, "X", HOST_TRACK, phase->name);
  put_times(out, phase->begin, phase->end);
  mvs_text_add(out, ", \"cat\": \"phase\"}");
}

/* Events need no order; phases come first since they hold the calls. */
mvs_status mvs_trace_write(mvs_session *session, const mvs_profile *profile, const char *path) {
  const mvs_device *device = session->device;
  mvs_text out = mvs_text_new(session->arena);
  mvs_text_add(&out, "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [");
  name_track(&out, DEVICE_TRACK,
             mvs_arena_format(session->arena, "%s (%s)", device->name, device->what));
  name_track(&out, HOST_TRACK, "host");
  for (size_t at = 0; at < profile->phases.count; at++)
    if (profile->phases.items[at].end > 0) put_phase(&out, &profile->phases.items[at]);
  for (size_t at = 0; at < profile->settled_calls; at++)
    put_call(session, &out, profile, &profile->calls.items[at]);
  mvs_text_add(&out, "\n]}\n");
  return mvs_output_write(session->arena, session->diag, path, out.data, (int64_t)out.length);
}
