/* alarms.h: DIR/alarms.jsonl: what the watch said of a run, a line an alarm:
 *   {"step":S,"level":"note|warning|collapse","rule":"NAME","text":"one sentence"}
 * A run that goes back to a checkpoint takes back the lines behind it. */
#ifndef MVS_RUNTIME_ALARMS_H
#define MVS_RUNTIME_ALARMS_H

#include "runtime/step_lines.h"
#include "runtime/watch.h"

/* Appends the line of an alarm, without its end. */
void mvs_alarm_line(const mvs_alarm *alarm, mvs_text *out);

#endif
