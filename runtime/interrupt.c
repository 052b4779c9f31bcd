/* interrupt.c: Ctrl-C. The handler sets a flag, which the training loop looks at between
 * steps; saving then goes on undisturbed. The second signal ends the process where it is: a
 * user who asks twice means it, and files are safe since they appear by renaming only. */
#include "runtime/interrupt.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

/* What shells report for a process ended by SIGINT. */
#define EXIT_INTERRUPTED 130

/* A signal handler can reach nothing but a file-scope flag. */
static volatile sig_atomic_t asked;

/* Nothing else is safe in a signal handler. */
static void handle(int signal_number) {
  (void)signal_number;
  if (asked) _exit(EXIT_INTERRUPTED);
  asked = 1;
}

/* SIGTERM too: that is what batch systems send before they kill. */
void mvs_interrupt_catch(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = handle;
  /* Files being read or written go on: the step in hand is finished first. */
  action.sa_flags = SA_RESTART;
  asked = 0;
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
}

/* After the last save a signal ends the process as usual. */
void mvs_interrupt_release(void) {
  signal(SIGINT, SIG_DFL);
  signal(SIGTERM, SIG_DFL);
}

bool mvs_interrupt_asked(void) { return asked != 0; }
