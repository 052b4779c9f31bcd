/* interrupt.h: Ctrl-C. The first asks for a clean end, the second ends the process at once. */
#ifndef MVS_RUNTIME_INTERRUPT_H
#define MVS_RUNTIME_INTERRUPT_H

#include <stdbool.h>

/* Takes over SIGINT and SIGTERM. */
void mvs_interrupt_catch(void);
/* Gives them back. */
void mvs_interrupt_release(void);
/* Whether a clean end was asked for. */
bool mvs_interrupt_asked(void);

#endif
