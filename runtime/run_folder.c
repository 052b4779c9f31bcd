/* run_folder.c: run.json and the rules of --resume.
 *
 * The record holds the model, its size and every option that decides bits, as text. A
 * resumed run takes options from it, as if they had been given, so that it computes the very
 * numbers of the run it continues; an option given with another value is refused, --steps
 * excepted. A folder with anything in it is never taken for a new run: nobody's files are
 * mixed with ours or overwritten. */
#include "runtime/run_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "compiler/base/output_file.h"
#include "runtime/json_text.h"
#include "runtime/params.h"
#include "runtime/program_settings.h"

#define RUN_FILE     "run.json"
#define TURNS_KEY    "rollbacks"
#define SETTINGS_KEY "settings"
/* Of 10 ms each, for a lock. */
#define LOCK_ATTEMPTS 300

/* In the arena, since messages use it too. */
static const char *file_of(mvs_session *session, const char *folder) {
  return mvs_arena_format(session->arena, "%s/" RUN_FILE, folder);
}

static mvs_status cannot_use(mvs_session *session, const char *folder, int reason) {
  return MVS_FAIL(session->diag, MVS_ERR_IO, "cannot use '%s' for --out: %s", folder,
                  strerror(reason));
}

/* Whether the folder has entries; a missing one has none. What a start that was killed left of
 * its run.json is none either: it goes with the next write. errors : MVS_ERR_IO */
static mvs_status has_entries(mvs_session *session, const char *folder, bool *out) {
  *out = false;
  DIR *open = opendir(folder);
  if (!open && errno == ENOENT) return MVS_OK;
  if (!open) return cannot_use(session, folder, errno);
  errno = 0;
  for (struct dirent *entry = readdir(open); entry; entry = readdir(open)) {
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
        !mvs_output_is_temporary(entry->d_name))
      *out = true;
    errno = 0;
  }
  int reason = errno;
  closedir(open);
  if (reason) return cannot_use(session, folder, reason);
  return MVS_OK;
}

/* Reads run.json into *out; NULL when there is none. errors : MVS_ERR_FORMAT for a file that is
 * not what mvs_run_begin writes */
static mvs_status read_record(mvs_session *session, const char *folder, json_t **out) {
  const char *path = file_of(session, folder);
  json_t *record;
  *out = NULL;
  if (access(path, F_OK) != 0) return MVS_OK;
  MVS_TRY(mvs_json_read(session->diag, path, &record));
  if (json_is_object(record) && json_is_object(json_object_get(record, "options"))) {
    *out = record;
    return MVS_OK;
  }
  json_decref(record);
  return MVS_FAIL(session->diag, MVS_ERR_FORMAT, "'%s' is damaged: it does not describe a run",
                  path);
}

bool mvs_run_same_value(const char *a, const char *b) {
  double left, right;
  if (mvs_parse_number(a, &left) && mvs_parse_number(b, &right)) return left == right;
  return strcmp(a, b) == 0;
}

/* A record that someone edited may hold anything: what the command line would refuse is refused
 * here too, and the hint says where it came from. */
static mvs_status take_recorded(mvs_session *session, const char *folder, const char *name,
                                const json_t *recorded) {
  const char *value = json_string_value(recorded);
  if (!recorded) return MVS_OK;
  mvs_status status =
      value ? mvs_option_set(session->options, name, value)
            : MVS_FAIL(session->diag, MVS_ERR_FORMAT, "the recorded --%s is no string", name);
  if (status != MVS_OK)
    mvs_diag_hint(session->diag, "it is recorded so in '%s'", file_of(session, folder));
  return status;
}

/* Recorded values count; a given one must agree, unless it may change. */
static mvs_status take_option(mvs_session *session, const char *folder,
                              const mvs_run_option *option, const json_t *recorded) {
  const char *was = json_string_value(recorded);
  bool given = mvs_option_given(session->options, option->name);
  if (!given) return take_recorded(session, folder, option->name, recorded);
  if (option->may_change || (was && mvs_run_same_value(was, option->value))) return MVS_OK;
  return MVS_FAIL(
      session->diag, MVS_ERR_NAME,
      "--%s %s differs from what the run in '%s' was started with (%s); leave it out "
      "to resume, or choose another --out",
      option->name, option->value, folder, was ? was : "not given");
}

/* Same name and rule. */
static mvs_status check_model(mvs_session *session, const char *folder, const json_t *record) {
  const char *model = json_string_value(json_object_get(record, "model"));
  const char *residual = json_string_value(json_object_get(record, "residual"));
  const mvs_program *program = session->program;
  if (model && residual && strcmp(model, program->model) == 0 &&
      strcmp(residual, program->residual) == 0)
    return MVS_OK;
  return MVS_FAIL(
      session->diag, MVS_ERR_NAME,
      "'%s' holds a run of another model: '%s' with residual %s, this program is '%s' "
      "with residual %s",
      folder, model ? model : "?", residual ? residual : "?", program->model,
      program->residual);
}

/* Another file of weights could be loaded and be wrong. */
static mvs_status check_size(mvs_session *session, const char *folder, const json_t *record) {
  int64_t was = json_integer_value(json_object_get(record, "flat_elements"));
  int64_t now = session->program->flat_elements;
  if (was == now) return MVS_OK;
  return MVS_FAIL(session->diag, MVS_ERR_NAME,
                  "'%s' holds a run of another '%s': its weights have %" PRId64
                  " elements, this program's %" PRId64,
                  folder, session->program->model, was, now);
}

/* A width would show in the size, the number of heads would not. Records of older versions hold
 * no settings. */
static mvs_status check_settings(mvs_session *session, const char *folder,
                                 const json_t *record) {
  const json_t *recorded = json_object_get(record, SETTINGS_KEY);
  mvs_program_settings now = mvs_program_settings_of(session);
  for (size_t at = 0; at < now.count; at++) {
    const mvs_program_setting *setting = &now.items[at];
    const char *was = json_string_value(json_object_get(recorded, setting->name));
    if (!setting->trains || !was || strcmp(was, setting->value) == 0) continue;
    return MVS_FAIL(session->diag, MVS_ERR_NAME,
                    "'%s' holds a run with %s = %s, and this program was compiled with %s; "
                    "compile it as it was to resume, or choose another folder",
                    folder, setting->name, was, setting->value);
  }
  return MVS_OK;
}

/* What says most comes first. */
static mvs_status check_program(mvs_session *session, const char *folder,
                                const json_t *record) {
  MVS_TRY(check_model(session, folder, record));
  MVS_TRY(check_settings(session, folder, record));
  return check_size(session, folder, record);
}

mvs_status mvs_run_check_program(mvs_session *session, const char *folder) {
  json_t *record;
  MVS_TRY(read_record(session, folder, &record));
  mvs_status status = record ? check_program(session, folder, record) : MVS_OK;
  json_decref(record);
  return status;
}

static json_t *settings_object(const mvs_session *session) {
  mvs_program_settings now = mvs_program_settings_of(session);
  json_t *out = json_object();
  for (size_t at = 0; at < now.count; at++)
    json_object_set_new(out, now.items[at].name, json_string(now.items[at].value));
  return out;
}

/* The first option that disagrees is told; the others would only follow from it. */
static mvs_status check_resumed(mvs_session *session, const char *folder, json_t *record,
                                const mvs_run_option *options, size_t count) {
  MVS_TRY(check_program(session, folder, record));
  const json_t *recorded = json_object_get(record, "options");
  for (size_t at = 0; at < count; at++)
    MVS_TRY(take_option(session, folder, &options[at],
                        json_object_get(recorded, options[at].name)));
  return MVS_OK;
}

/* --- turns --- */

/* Checked as whatever else a file says: a turn decides where samples come from. */
static bool read_turn(mvs_arena *arena, const json_t *object, mvs_turn *out) {
  const json_t *from = json_object_get(object, "from"), *to = json_object_get(object, "to");
  const json_t *reorders = json_object_get(object, "reorders");
  const json_t *rate = json_object_get(object, "rate");
  const char *why = json_string_value(json_object_get(object, "why"));
  if (!json_is_integer(from) || !json_is_integer(to) || !json_is_boolean(reorders) ||
      !json_is_number(rate))
    return false;
  *out = (mvs_turn){.from = json_integer_value(from),
                    .to = json_integer_value(to),
                    .reorders = json_is_true(reorders),
                    .rate = json_number_value(rate),
                    .why = why ? mvs_arena_string(arena, why) : ""};
  return out->to >= 0 && out->to <= out->from && out->rate > 0 && out->rate <= 1;
}

/* A run that never turned back has none recorded. */
static mvs_status read_turns(mvs_session *session, const char *folder, const json_t *record,
                             mvs_turns *out) {
  const json_t *list = json_object_get(record, TURNS_KEY);
  bool good = !list || (json_is_array(list) && json_array_size(list) <= MVS_MOST_TURNS);
  out->count = 0;
  for (size_t at = 0; good && at < json_array_size(list); at++)
    good = read_turn(session->arena, json_array_get(list, at), &out->items[out->count++]);
  if (good) return MVS_OK;
  return MVS_FAIL(session->diag, MVS_ERR_FORMAT, "'%s' is damaged: \"" TURNS_KEY "\"",
                  file_of(session, folder));
}

static json_t *turns_list(const mvs_turns *turns) {
  json_t *list = json_array();
  for (size_t at = 0; at < turns->count; at++) {
    const mvs_turn *turn = &turns->items[at];
    json_array_append_new(
        list, json_pack("{s:I, s:I, s:b, s:f, s:s}", "from", (json_int_t)turn->from, "to",
                        (json_int_t)turn->to, "reorders", turn->reorders, "rate", turn->rate,
                        "why", turn->why));
  }
  return list;
}

/* --- checking and beginning --- */

/* A process that was just told to end may still be saving. */
static bool try_lock(int descriptor) {
  struct timespec pause = {0, 10 * 1000000};
  for (int attempt = 0; flock(descriptor, LOCK_EX | LOCK_NB) != 0; attempt++) {
    if (attempt == LOCK_ATTEMPTS || (errno != EWOULDBLOCK && errno != EINTR)) return false;
    nanosleep(&pause, NULL);
  }
  return true;
}

/* The folder itself is locked: every file in it may be renamed over. */
mvs_status mvs_run_lock(mvs_session *session, const char *folder, int *lock) {
  if (*lock > 0) return MVS_OK;
  int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0 && errno == ENOENT) return MVS_OK;
  if (descriptor < 0) return cannot_use(session, folder, errno);
  bool locked = try_lock(descriptor);
  if (!locked && errno == EWOULDBLOCK) {
    close(descriptor);
    return MVS_FAIL(session->diag, MVS_ERR_IO,
                    "another process is training in '%s'; wait for its end, or choose another "
                    "--out",
                    folder);
  }
  if (!locked)
    fprintf(stderr,
            "%s: note: '%s' cannot be locked (%s): see that no other process trains there\n",
            session->name, folder, strerror(errno));
  *lock = descriptor;
  return MVS_OK;
}

/* Before the folder is made or the device opened: all it does is read. */
mvs_status mvs_run_check(mvs_session *session, const char *folder, bool resume,
                         const mvs_run_option *options, size_t count, mvs_turns *turns,
                         const char **device) {
  bool used;
  json_t *record = NULL;
  MVS_TRY(has_entries(session, folder, &used));
  if (used) MVS_TRY(read_record(session, folder, &record));
  mvs_status status = MVS_OK;
  if (resume && !record) {
    status = MVS_FAIL(session->diag, MVS_ERR_IO,
                      "there is no run to resume in '%s' (no " RUN_FILE ")", folder);
  } else if (resume) {
    status = check_resumed(session, folder, record, options, count);
    if (status == MVS_OK) status = read_turns(session, folder, record, turns);
    const char *what = json_string_value(json_object_get(record, "device"));
    *device = what ? mvs_arena_string(session->arena, what) : NULL;
  } else if (record) {
    status = MVS_FAIL(
        session->diag, MVS_ERR_IO,
        "'%s' already holds a run; --resume continues it, or choose another --out", folder);
  } else if (used) {
    status = MVS_FAIL(session->diag, MVS_ERR_IO,
                      "'%s' is not empty and holds no run; choose another --out", folder);
  }
  json_decref(record);
  return status;
}

/* The last step of preparing, so the folder exists only for runs that can start. */
mvs_status mvs_run_begin(mvs_session *session, const char *folder,
                         const mvs_run_option *options, size_t count, int64_t memory_bytes,
                         const mvs_turns *turns, int *lock) {
  MVS_TRY(mvs_make_folders(session->arena, session->diag, folder));
  MVS_TRY(mvs_run_lock(session, folder, lock));
  json_t *recorded = json_object();
  for (size_t at = 0; at < count; at++)
    if (options[at].value)
      json_object_set_new(recorded, options[at].name, json_string(options[at].value));
  const mvs_program *program = session->program;
  json_t *record = json_pack(
      "{s:s, s:s, s:s, s:I, s:I, s:s, s:I, s:o, s:o}", "model", program->model, "residual",
      program->residual, "version", program->version, "flat_elements",
      (json_int_t)program->flat_elements, "parameters", (json_int_t)mvs_params_trained(program),
      "device", session->device->what, "memory_bytes", (json_int_t)memory_bytes, SETTINGS_KEY,
      settings_object(session), "options", recorded);
  if (turns->count > 0) json_object_set_new(record, TURNS_KEY, turns_list(turns));
  char *text = record ? json_dumps(record, JSON_INDENT(2)) : NULL;
  mvs_status status =
      text ? mvs_output_write(session->arena, session->diag, file_of(session, folder), text,
                              (int64_t)strlen(text))
           : MVS_FAIL(session->diag, MVS_ERR_MEMORY, "out of memory writing " RUN_FILE);
  free(text);
  json_decref(record);
  return status;
}
