/* alarm.h: what is said when a run goes wrong: the levels, and one alarm. */
#ifndef MVS_RUNTIME_ALARM_H
#define MVS_RUNTIME_ALARM_H

#include <stddef.h>
#include <stdint.h>

typedef enum mvs_alarm_level {
  MVS_ALARM_NOTE,
  MVS_ALARM_WARNING,
  MVS_ALARM_COLLAPSE,
  MVS_ALARM_LEVELS
} mvs_alarm_level;

typedef struct mvs_alarm {
  int64_t step;
  mvs_alarm_level level;
  const char *rule; /* a word, the same each time */
  const char *text; /* one sentence of what was seen */
} mvs_alarm;

typedef struct mvs_alarms {
  mvs_alarm *items;
  size_t count, capacity;
} mvs_alarms;

/* "note", "warning", "collapse". */
const char *mvs_alarm_level_name(mvs_alarm_level level);

#endif
