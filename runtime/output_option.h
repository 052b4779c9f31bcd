/* output_option.h: the file that --out or the like names, looked at before any long work. */
#ifndef MVS_RUNTIME_OUTPUT_OPTION_H
#define MVS_RUNTIME_OUTPUT_OPTION_H

#include "runtime/session.h"

/* Checks that a file can be made at `path`, the value of the option, and that no other option
 * says to read the same file, which would be gone afterwards. errors : MVS_ERR_IO, MVS_ERR_NAME
 */
mvs_status mvs_output_option_check(mvs_session *session, const char *option, const char *path);

#endif
