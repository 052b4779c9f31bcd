/* alarms.c: alarms as lines. */
#include "runtime/alarms.h"

#include <inttypes.h>

#include "runtime/json_text.h"

void mvs_alarm_line(const mvs_alarm *alarm, mvs_text *out) {
  mvs_text_addf(out, "{\"step\":%" PRId64 ",\"level\":\"%s\",\"rule\":", alarm->step,
                mvs_alarm_level_name(alarm->level));
  mvs_json_string(out, alarm->rule);
  mvs_text_add(out, ",\"text\":");
  mvs_json_string(out, alarm->text);
  mvs_text_add(out, "}");
}
