/* run_page.h: FOLDER/report.html of a run that goes on, as a consumer of observations: the page
 * is written again now and then, from the run's own files. Owner: the list it is added to. */
#ifndef MVS_RUNTIME_RUN_PAGE_H
#define MVS_RUNTIME_RUN_PAGE_H

#include "runtime/consumers.h"

typedef struct mvs_run_page mvs_run_page;

/* Adds the page; it must stand behind those that write the files which it reads.
 * errors : as mvs_run_record_open */
mvs_status mvs_run_page_open(mvs_arena *arena, mvs_diag *diag, const char *folder,
                             mvs_consumers *list, mvs_run_page **out);
/* Writes it for the last time, with what became of the run ("done", "stopped", NULL: what its
 * files tell); failures go to `diag`. A page of NULL is allowed. */
mvs_status mvs_run_page_end(mvs_run_page *page, mvs_diag *diag, const char *state);

#endif
