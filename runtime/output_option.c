/* output_option.c: an output is renamed into its place, so a file that stands there is gone.
 * That is what a user wants of an older result, and never of the weights or inputs of this very
 * command. */
#include "runtime/output_option.h"

#include "compiler/base/output_file.h"

mvs_status mvs_output_option_check(mvs_session *session, const char *option, const char *path) {
  const char *read = mvs_options_naming(session->options, path, option);
  if (read)
    return MVS_FAIL(session->diag, MVS_ERR_NAME,
                    "--%s '%s' is the file that --%s reads; choose another --%s", option, path,
                    read, option);
  return mvs_output_check(session->arena, session->diag, path);
}
