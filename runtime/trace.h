/* trace.h: a profile as a Chrome trace (Trace Event Format), for chrome://tracing or Perfetto:
 * a track of the device with a slice for every launch, and one of the host with its phases and
 * the calls within them.
 * source : "Trace Event Format", complete events; times in microseconds since the profile's
 * start */
#ifndef MVS_RUNTIME_TRACE_H
#define MVS_RUNTIME_TRACE_H

#include "runtime/session.h"

/* Writes a settled profile. errors : MVS_ERR_IO */
mvs_status mvs_trace_write(mvs_session *session, const mvs_profile *profile, const char *path);

#endif
