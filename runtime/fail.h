/* fail.h: the short form in which the runtime reports a failure that has no place in a source.
 */
#ifndef MVS_RUNTIME_FAIL_H
#define MVS_RUNTIME_FAIL_H

#include "compiler/base/diag.h"

/* Adds the sentence to `diag` and is the status, so that it can be returned at once:
 *   return MVS_FAIL(diag, MVS_ERR_IO, "cannot open '%s': %s", path, strerror(errno)); */
#define MVS_FAIL(diag, status, ...) \
  (mvs_diag_error((diag), (mvs_span){0}, __VA_ARGS__), (mvs_status)(status))

#endif
