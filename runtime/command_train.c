/* command_train.c: options to settings, then the loop over steps.
 *
 * Order matters here. Settings are settled first, since a resumed run takes the recorded
 * ones; then data, memory plan, training state and weights are prepared, each of which may
 * fail with a sentence; only then is the folder made, so a run that cannot start leaves
 * nothing behind. In the loop a step is taken whole or not at all: the device itself leaves the
 * weights alone once a loss or norm is not finite, and Ctrl-C is looked at between steps. A
 * device that works on its own is given the next step before the result of the last one is
 * asked for; before anything is saved all results are in. What is saved is therefore always
 * the state after a whole number of good steps. */
#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "compiler/base/output_file.h"
#include "runtime/checkpoint.h"
#include "runtime/checkpoint_files.h"
#include "runtime/commands.h"
#include "runtime/events.h"
#include "runtime/init.h"
#include "runtime/inputs.h"
#include "runtime/interrupt.h"
#include "runtime/memory.h"
#include "runtime/metrics.h"
#include "runtime/output_option.h"
#include "runtime/probes.h"
#include "runtime/progress.h"
#include "runtime/run_folder.h"
#include "runtime/run_page.h"
#include "runtime/run_samples.h"
#include "runtime/specialise.h"
#include "runtime/trace.h"
#include "runtime/train_watch.h"
#include "runtime/training.h"
#include "runtime/weights.h"

#define COUNT(list)        (sizeof(list) / sizeof((list)[0]))
#define DEFAULT_STEPS      1000
#define DEFAULT_SAVE_EVERY 1000
#define DEFAULT_KEEP       3
#define HUGE_COUNT         1e15
/* Random numbers count steps and samples of a step in 32 bits. */
#define MOST_COUNTED INT32_MAX
#define MOST_OPTIONS 32
/* Steps of this process that --profile takes: memory is touched, plans are made and calls are
 * recorded in those before. */
#define PROFILE_FIRST 3
#define PROFILE_LAST  5

static const mvs_option_row train_rows[] = {
    {"out", MVS_OPTION_TEXT, "DIR", 0, 0, "the run's folder: metrics, checkpoints (required)"},
    {"data", MVS_OPTION_TEXT, "DATA", 0, 0,
     "digits, or a folder or file of safetensors shards (default: the model's)"},
    {"fixed-batch", MVS_OPTION_TEXT, "FILE", 0, 0,
     "train on x0, x1, t and conditioning of this file, the same every step"},
    {"inputs-prefix", MVS_OPTION_PREFIX, "PREFIX", 0, 0, "prefix of the fixed batch's tensors"},
    {"steps", MVS_OPTION_INTEGER, "N", 0, MOST_COUNTED,
     "steps of the whole run (default 1000)"},
    {"batch", MVS_OPTION_INTEGER, "N", 1, MOST_COUNTED,
     "samples a step (default: the model's)"},
    {"micro-batch", MVS_OPTION_INTEGER, "N", 1, MOST_COUNTED,
     "samples at a time; gradients add up (default: the batch)"},
    {"lr", MVS_OPTION_NUMBER, "RATE", 0, 1e6, "learning rate (default: the model's)"},
    {"betas", MVS_OPTION_TEXT, "B1,B2", 0, 0, "AdamW's betas (default: the model's)"},
    {"eps", MVS_OPTION_NUMBER, "EPS", 0, 1, "AdamW's eps (default: the model's)"},
    {"weight-decay", MVS_OPTION_NUMBER, "W", 0, 1e6,
     "on parameters of two or more dimensions (default: the model's)"},
    {"clip", MVS_OPTION_NUMBER, "NORM", 0, 1e30,
     "most gradient norm, 0 for none (default: the model's)"},
    {"warmup", MVS_OPTION_INTEGER, "N", 0, HUGE_COUNT, "warm-up steps (default: the model's)"},
    {"ema", MVS_OPTION_NUMBER, "DECAY", 0, 0.9999999,
     "averages the weights; 0: not (default: the model's)"},
    {"seed", MVS_OPTION_INTEGER, "N", 0, INT32_MAX, "of all random numbers (default 0)"},
    {"save-every", MVS_OPTION_INTEGER, "N", 1, HUGE_COUNT,
     "steps between checkpoints (default 1000)"},
    {"keep", MVS_OPTION_INTEGER, "N", 1, HUGE_COUNT, "checkpoints kept (default 3)"},
    {"log-every", MVS_OPTION_INTEGER, "N", 1, HUGE_COUNT,
     "steps between lines of metrics.jsonl (default 1)"},
    {"diagnose", MVS_OPTION_INTEGER, "N", 0, HUGE_COUNT,
     "look into the model every N steps; 0: not (default 0)"},
    {"anchors", MVS_OPTION_TEXT, "L,L,...", 0, 0,
     "layers to look into (default: 0,1,2,4,8,16,32,48, ...)"},
    {"profile", MVS_OPTION_TEXT, "FILE", 0, 0,
     "write a Chrome trace of this run's third to fifth step"},
    {"resume", MVS_OPTION_FLAG, NULL, 0, 0, "go on with the run in DIR, bit for bit"},
};

/* All that one run holds; released by run_command on every path. */
typedef struct run_state {
  mvs_session *session;
  const char *folder;
  mvs_training_settings settings;
  int64_t steps, save_every, keep, log_every;
  mvs_safetensors *fixed;
  mvs_data *data;
  mvs_training *training;
  mvs_run_samples_settings drawing;
  mvs_run_samples *samples; /* NULL: none are drawn */
  mvs_consumers consumers; /* of what each step shows */
  mvs_run_page *page;      /* the last of them; NULL before there is one */
  int64_t memory_bytes;    /* that the plan takes on the device */
  mvs_train_watch watch;
  mvs_turns turns;         /* that the run has taken */
  const char *watch_state; /* of the checkpoint that was loaded last; NULL: none */
  mvs_progress progress;
  const char *checkpoint;   /* that is gone on from, NULL: none */
  int64_t queued;           /* steps given to the device */
  int64_t step, saved;      /* steps done; step of the newest checkpoint, -1: none */
  double began;             /* when the step that is done next began */
  mvs_step_result result;   /* of the step done last */
  const char *profile_path; /* NULL without --profile */
  mvs_profile *profile;     /* while it is taken */
  int64_t first;            /* step at the start of this process */
  int lock;                 /* of the folder */
  bool device_recorded;     /* --device is the recorded one */
  const char *device;       /* that a resumed run was on last; NULL: not known */
} run_state;

/* The options of this command alone; those of every command follow. */
static void rows(mvs_session *session, mvs_option_rows *list) {
  mvs_rows_add(session->arena, list, train_rows, COUNT(train_rows));
  mvs_run_samples_rows(session->arena, list);
  mvs_train_watch_rows(session->arena, list);
  mvs_weights_rows(session->arena, list);
}

/* --- options --- */

/* Leaves both untouched when the option is not given. */
static mvs_status read_betas(mvs_session *session, double *beta1, double *beta2) {
  const char *text = mvs_option_text(session->options, "betas", NULL);
  if (!text) return MVS_OK;
  const char *comma = strchr(text, ',');
  const char *first = comma ? mvs_arena_copy(session->arena, text, (size_t)(comma - text)) : "";
  if (comma && mvs_parse_number(first, beta1) && mvs_parse_number(comma + 1, beta2) &&
      *beta1 >= 0 && *beta1 < 1 && *beta2 >= 0 && *beta2 < 1)
    return MVS_OK;
  return MVS_FAIL(session->diag, MVS_ERR_FORMAT,
                  "--betas needs two numbers from 0 up to below 1, such as 0.9,0.999, not '%s'",
                  text);
}

/* What the command line does not say, the model file does. */
static mvs_status read_settings(run_state *run) {
  mvs_session *session = run->session;
  const mvs_options *options = session->options;
  const Mvs__Settings *model = session->program->settings;
  mvs_optimizer_settings *optimizer = &run->settings.optimizer;
  *optimizer = (mvs_optimizer_settings){
      .lr = mvs_option_number(options, "lr", model->lr),
      .beta1 = model->beta1,
      .beta2 = model->beta2,
      .eps = mvs_option_number(options, "eps", model->adam_eps),
      .weight_decay = mvs_option_number(options, "weight-decay", model->weight_decay),
      .muon = model->muon,
      .momentum = model->momentum,
      .clip = mvs_option_number(options, "clip", model->clip),
      .ema = mvs_option_number(options, "ema", model->ema),
      .warmup = mvs_option_integer(options, "warmup", model->warmup)};
  MVS_TRY(read_betas(session, &optimizer->beta1, &optimizer->beta2));
  run->settings.batch = mvs_option_integer(options, "batch", model->batch);
  run->settings.micro_batch = mvs_option_integer(options, "micro-batch", run->settings.batch);
  run->settings.seed = (int32_t)mvs_option_integer(options, "seed", 0);
  run->steps = mvs_option_integer(options, "steps", DEFAULT_STEPS);
  run->save_every = mvs_option_integer(options, "save-every", DEFAULT_SAVE_EVERY);
  run->keep = mvs_option_integer(options, "keep", DEFAULT_KEEP);
  run->log_every = mvs_option_integer(options, "log-every", 1);
  run->settings.diagnostics.every = mvs_option_integer(options, "diagnose", 0);
  run->drawing = mvs_run_samples_read(options);
  optimizer->turns = &run->turns;
  bool fixed = mvs_option_given(options, "fixed-batch");
  return mvs_train_watch_read(session, run->folder, fixed, &run->watch);
}

/* It gives the double back exactly, so a resumed run computes with the same numbers. */
static const char *number_text(mvs_session *session, double value) {
  mvs_text text = mvs_text_new(session->arena);
  mvs_text_add_number(&text, value);
  return mvs_text_string(&text);
}

/* As run.json holds it: text, like every option's value. */
static const char *integer_text(mvs_session *session, int64_t value) {
  return mvs_arena_format(session->arena, "%" PRId64, value);
}

/* A fixed batch replaces the model's own data source. */
static const char *data_name(mvs_session *session) {
  const char *model = session->program->settings->data;
  const char *fallback = model && *model ? model : NULL;
  if (mvs_option_given(session->options, "fixed-batch")) fallback = NULL;
  return mvs_option_text(session->options, "data", fallback);
}

/* The device in force; before it is open, what was asked for. */
static const char *device_name(const mvs_session *session) {
  if (session->device) return session->device->name;
  return mvs_option_text(session->options, "device", NULL);
}

/* What a run is: the options that decide its bits, and behind `true` those that decide what is
 * seen and kept of it, which a resumed run may be given anew. What concerns the machine at hand
 * and no bit (threads, memory, recompute) is not of the run, nor is a profile. */
static size_t recorded_options(run_state *run, mvs_run_option *out) {
  mvs_session *session = run->session;
  const mvs_optimizer_settings *optimizer = &run->settings.optimizer;
  const mvs_run_option list[] = {
      {"data", data_name(session), false},
      {"fixed-batch", mvs_option_text(session->options, "fixed-batch", NULL), false},
      {"inputs-prefix", mvs_option_text(session->options, "inputs-prefix", NULL), false},
      {"weights", mvs_option_text(session->options, "weights", NULL), false},
      {"weights-prefix", mvs_option_text(session->options, "weights-prefix", NULL), false},
      {"batch", integer_text(session, run->settings.batch), false},
      {"micro-batch", integer_text(session, run->settings.micro_batch), false},
      {"lr", number_text(session, optimizer->lr), false},
      {"betas",
       mvs_arena_format(session->arena, "%s,%s", number_text(session, optimizer->beta1),
                        number_text(session, optimizer->beta2)),
       false},
      {"eps", number_text(session, optimizer->eps), false},
      {"weight-decay", number_text(session, optimizer->weight_decay), false},
      {"clip", number_text(session, optimizer->clip), false},
      {"warmup", integer_text(session, optimizer->warmup), false},
      {"ema", number_text(session, optimizer->ema), false},
      {"seed", integer_text(session, run->settings.seed), false},
      {"steps", integer_text(session, run->steps), true},
      {"save-every", integer_text(session, run->save_every), true},
      {"keep", integer_text(session, run->keep), true},
      {"log-every", integer_text(session, run->log_every), true},
      {"diagnose", integer_text(session, run->settings.diagnostics.every), true},
      {"anchors", mvs_option_text(session->options, "anchors", NULL), true},
      {"sample-every", integer_text(session, run->drawing.every), true},
      {"sample-count", integer_text(session, run->drawing.count), true},
      {"device", device_name(session), true},
      {"watch", mvs_train_watch_action_name(&run->watch), true},
      {"rollback-order", run->watch.reorders ? "new" : "same", true},
      {"rollback-lr", number_text(session, run->watch.rate), true},
      {"rollbacks", integer_text(session, run->watch.most), true},
  };
  static_assert(COUNT(list) <= MOST_OPTIONS, "out has room for MOST_OPTIONS");
  memcpy(out, list, sizeof list);
  return COUNT(list);
}

/* Settles all settings: with --resume the recorded ones come first. */
static mvs_status settle_settings(run_state *run) {
  mvs_session *session = run->session;
  mvs_run_option options[MOST_OPTIONS];
  bool resume = mvs_option_given(session->options, "resume");
  bool chosen = mvs_option_given(session->options, "device");
  MVS_TRY(read_settings(run));
  size_t count = recorded_options(run, options);
  MVS_TRY(
      mvs_run_check(session, run->folder, resume, options, count, &run->turns, &run->device));
  run->device_recorded = !chosen && mvs_option_given(session->options, "device");
  return resume ? read_settings(run) : MVS_OK;
}

/* Another device gives other bits, so a run that is resumed goes to another one only by name;
 * of another level of the same one it is told. What GPUs differ in is told by their
 * checkpoints. */
static mvs_status open_device(run_state *run) {
  mvs_session *session = run->session;
  mvs_status status = mvs_session_open(session);
  if (status != MVS_OK && run->device_recorded)
    mvs_diag_hint(session->diag,
                  "the run in '%s' was on device %s; another --device goes on with other bits",
                  run->folder, mvs_option_text(session->options, "device", ""));
  if (status == MVS_OK && run->device && strcmp(session->device->name, "cpu") == 0 &&
      strcmp(run->device, session->device->what) != 0)
    fprintf(stderr, "%s: note: the run was on '%s', and goes on on '%s'; bits may differ\n",
            session->name, run->device, session->device->what);
  return status;
}

/* --- preparing --- */

/* A fixed batch decides the batch size; --batch may only repeat it. */
static mvs_status open_fixed(run_state *run, const char *path) {
  mvs_session *session = run->session;
  const char *prefix = mvs_option_text(session->options, "inputs-prefix", "");
  int64_t batch;
  MVS_TRY(mvs_safetensors_open(session->arena, session->diag, path, &run->fixed));
  MVS_TRY(mvs_specialise_by_file(session, run->fixed, prefix));
  const Mvs__Function *grad = mvs_program_function(session->program, "grad");
  if (!grad) return MVS_OK; /* told by mvs_training_new */
  MVS_TRY(mvs_inputs_batch(session, grad, run->fixed, prefix, &batch));
  if (mvs_option_given(session->options, "batch") && run->settings.batch != batch)
    return MVS_FAIL(session->diag, MVS_ERR_SHAPE,
                    "'%s' holds a batch of %" PRId64 ", but --batch is %" PRId64, path, batch,
                    run->settings.batch);
  run->settings.batch = batch;
  run->settings.micro_batch = mvs_option_integer(session->options, "micro-batch", batch);
  return MVS_OK;
}

/* Exactly one of a data source and a fixed batch. */
static mvs_status open_data(run_state *run) {
  mvs_session *session = run->session;
  const char *fixed = mvs_option_text(session->options, "fixed-batch", NULL);
  const char *name = data_name(session);
  if (fixed && name)
    return MVS_FAIL(session->diag, MVS_ERR_NAME, "--data and --fixed-batch exclude each other");
  if (fixed) return open_fixed(run, fixed);
  if (!name)
    return MVS_FAIL(session->diag, MVS_ERR_NAME,
                    "--data is missing: digits, or a folder of safetensors shards");
  MVS_TRY(mvs_data_open(session, name, &run->data));
  return mvs_data_specialise(session, run->data);
}

/* Before any memory is taken, so that a plan that does not fit is told with numbers. */
static mvs_status choose_memory(run_state *run) {
  mvs_session *session = run->session;
  const Mvs__Function *grad = mvs_program_function(session->program, "grad");
  mvs_memory_use use = {.functions = mvs_training_functions,
                        .batch = run->settings.micro_batch,
                        .gradient_flats = mvs_training_gradient_flats(&run->settings),
                        .optimizer_flats = 2,
                        .landings = MVS_FEED_SLOTS,
                        .average_flats = run->settings.optimizer.ema > 0};
  if (grad && run->settings.diagnostics.every > 0)
    use.asides = mvs_probes_functions(session->arena, grad);
  mvs_run_samples_plan(&run->drawing, run->settings.micro_batch, &use);
  const char *what = mvs_arena_format(
      session->arena, "training with %" PRId64 " samples at a time", run->settings.micro_batch);
  mvs_recompute recompute;
  mvs_memory planned;
  MVS_TRY(mvs_memory_choose(session, &use, what, "a smaller --micro-batch", &recompute));
  MVS_TRY(mvs_memory_plan(session, &use, recompute, &planned));
  run->memory_bytes = planned.total;
  return MVS_OK;
}

/* Given weights or fresh ones; the average starts at them. */
static mvs_status start_weights(run_state *run) {
  mvs_session *session = run->session;
  mvs_optimizer *optimizer = mvs_training_optimizer(run->training);
  const char *weights = mvs_option_text(session->options, "weights", NULL);
  const char *prefix = mvs_option_text(session->options, "weights-prefix", "");
  if (weights) {
    MVS_TRY(mvs_weights_load(session, weights, prefix, MVS_EMA_OFF, optimizer->params, NULL));
  } else {
    MVS_TRY(mvs_init_params(session, (uint32_t)run->settings.seed, optimizer->params));
  }
  mvs_optimizer_start(optimizer);
  return MVS_OK;
}

/* The checkpoint to go on from, if there is one. What libraries had chosen for it is taken up
 * before they choose anew. */
static mvs_status find_checkpoint(run_state *run) {
  mvs_session *session = run->session;
  const char *note = NULL;
  run->saved = -1;
  if (!mvs_option_given(session->options, "resume")) return MVS_OK;
  MVS_TRY(mvs_checkpoint_newest(session->arena, session->diag, run->folder, &run->checkpoint,
                                &run->saved));
  if (run->checkpoint) MVS_TRY(mvs_checkpoint_adopt(session, run->checkpoint, &note));
  if (note)
    fprintf(stderr, "%s: note: %s; bits may differ from those of the run so far\n",
            session->name, note);
  return MVS_OK;
}

static mvs_status load(run_state *run, const char *path) {
  MVS_TRY(mvs_checkpoint_load(run->session, mvs_training_optimizer(run->training), path,
                              &run->step, &run->watch_state));
  run->saved = run->step;
  return MVS_OK;
}

/* Takes the newest checkpoint when resuming, else the weights of step 0. */
static mvs_status start_state(run_state *run) {
  return run->checkpoint ? load(run, run->checkpoint) : start_weights(run);
}

/* Steps once taken are not taken back: fewer than those can only be a mistake. */
static mvs_status check_steps(const run_state *run) {
  if (run->step <= run->steps) return MVS_OK;
  return MVS_FAIL(run->session->diag, MVS_ERR_LIMIT,
                  "--steps %" PRId64 " is fewer than the %" PRId64
                  " that the run in '%s' has taken",
                  run->steps, run->step, run->folder);
}

/* A file that would never be written is told before the first step. */
static mvs_status check_profile(run_state *run) {
  mvs_session *session = run->session;
  run->profile_path = mvs_option_text(session->options, "profile", NULL);
  if (!run->profile_path) return MVS_OK;
  if (run->steps - run->step < PROFILE_FIRST)
    return MVS_FAIL(
        session->diag, MVS_ERR_LIMIT,
        "--profile takes the third to fifth step of a run, and this one has %" PRId64,
        run->steps - run->step);
  return mvs_output_option_check(session, "profile", run->profile_path);
}

/* A disk that is too small now is told now, not when a thousand steps are done. While a
 * checkpoint is written those before it are still there. */
static mvs_status check_room(const run_state *run) {
  mvs_session *session = run->session;
  int64_t each = mvs_checkpoint_bytes(session->program, run->settings.optimizer.ema > 0);
  int64_t left = mvs_free_bytes(session->arena, run->folder);
  if (left < 0 || run->saved == run->steps) return MVS_OK;
  if (left < each)
    return MVS_FAIL(session->diag, MVS_ERR_IO,
                    "the disk of '%s' has %s left, and a checkpoint takes %s", run->folder,
                    mvs_bytes_text(session->arena, left), mvs_bytes_text(session->arena, each));
  int64_t most = run->steps / run->save_every + 1,
          wanted = run->keep < most ? run->keep + 1 : most;
  if (run->saved < 0 && left / each < wanted)
    fprintf(
        stderr,
        "%s: note: the disk of '%s' has room for %s checkpoints now; this run comes to %s at "
        "a time, by --keep and --save-every\n",
        session->name, run->folder, mvs_count_text(session->arena, left / each),
        mvs_count_text(session->arena, wanted));
  return MVS_OK;
}

/* A resumed run is recorded anew, since --steps may have moved its end: should it be cut short,
 * the next --resume goes that far too. */
static mvs_status record(run_state *run) {
  mvs_run_option options[MOST_OPTIONS];
  size_t count = recorded_options(run, options);
  return mvs_run_begin(run->session, run->folder, options, count, run->memory_bytes,
                       &run->turns, &run->lock);
}

/* The watch takes up what it knew at the step that the run goes on from. */
static mvs_status restore_watch(run_state *run) {
  const char *note;
  MVS_TRY(mvs_watch_run_restore(run->watch.run, run->watch_state, &note));
  if (note) fprintf(stderr, "%s: note: %s\n", run->session->name, note);
  return MVS_OK;
}

/* All who see each step, in the order in which they see it. */
static mvs_status open_consumers(run_state *run) {
  mvs_session *session = run->session;
  mvs_metrics_steps steps = {.after = run->step, .every = run->log_every, .last = run->steps};
  MVS_TRY(
      mvs_metrics_open(session->arena, session->diag, run->folder, &steps, &run->consumers));
  MVS_TRY(mvs_diagnostics_lines_open(session->arena, session->diag, run->folder, &steps,
                                     &run->consumers));
  MVS_TRY(mvs_events_open(session->arena, session->diag, run->folder, &steps, &run->consumers));
  if (run->watch.action != MVS_WATCH_OFF) {
    MVS_TRY(
        mvs_watch_run_open(session, run->folder, run->step, &run->consumers, &run->watch.run));
    MVS_TRY(restore_watch(run));
  }
  return mvs_run_page_open(session->arena, session->diag, run->folder, &run->consumers,
                           &run->page);
}

/* Which checkpoints stay as long as the run is at its present step. */
static mvs_checkpoint_keep what_stays(const run_state *run) {
  return mvs_train_watch_keep(&run->watch, run->keep, run->save_every);
}

/* What a process that was killed would have removed next: files that it was writing, and
 * checkpoints that the one which is gone on from has replaced. */
static void tidy(run_state *run) {
  mvs_checkpoint_keep keep = what_stays(run);
  mvs_output_sweep(run->folder);
  if (run->saved >= 0)
    mvs_checkpoint_remove_old(run->session->arena, run->folder, run->saved, &keep);
}

/* A turn is recorded before it is noted: a process killed between the two is gone on with from
 * the checkpoint that it turned back to. */
static mvs_status note_turn(run_state *run) {
  const mvs_turns *turns = &run->turns;
  const mvs_turn *last = turns->count ? &turns->items[turns->count - 1] : NULL;
  if (!run->watch.run || !last || last->to != run->step || !*last->why) return MVS_OK;
  return mvs_train_watch_turned(&run->watch, last);
}

/* The folder is made last: a run that cannot start leaves nothing behind. */
static mvs_status prepare(run_state *run) {
  mvs_session *session = run->session;
  const char *prefix = mvs_option_text(session->options, "inputs-prefix", "");
  MVS_TRY(open_data(run));
  MVS_TRY(find_checkpoint(run));
  MVS_TRY(mvs_diagnostics_anchors(session, &run->settings.diagnostics));
  MVS_TRY(mvs_run_samples_check(session, &run->drawing));
  MVS_TRY(choose_memory(run));
  MVS_TRY(mvs_training_new(session, &run->settings, &run->training));
  MVS_TRY(mvs_run_samples_new(session, run->folder, &run->drawing, run->training,
                              &run->samples));
  MVS_TRY(run->data ? mvs_training_use_data(run->training, run->data)
                    : mvs_training_use_fixed(run->training, run->fixed, prefix));
  MVS_TRY(start_state(run));
  MVS_TRY(check_steps(run));
  MVS_TRY(check_profile(run));
  if (!run->checkpoint) MVS_TRY(check_room(run)); /* else behind what is tidied away */
  MVS_TRY(record(run));
  MVS_TRY(open_consumers(run));
  tidy(run);
  MVS_TRY(mvs_run_samples_drop(run->samples, run->step));
  if (run->checkpoint) MVS_TRY(check_room(run));
  return note_turn(run);
}

/* --- the loop --- */

/* Once per step at most: the end of a run often falls on --save-every. */
static mvs_status save(run_state *run) {
  if (run->saved == run->step) return MVS_OK;
  MVS_TRY(mvs_consumers_sync(&run->consumers));
  mvs_profile_open_phase(run->profile, "save");
  mvs_arena *arena = mvs_arena_new();
  mvs_checkpoint_facts facts = {
      .step = run->step,
      .keep = what_stays(run),
      .watch = run->watch.run ? mvs_watch_run_state(run->watch.run, arena) : NULL};
  mvs_status status = mvs_checkpoint_save(run->session, mvs_training_optimizer(run->training),
                                          run->folder, &facts);
  mvs_arena_free(arena);
  if (status != MVS_OK) return status;
  mvs_profile_close_phase(run->profile);
  run->saved = run->step;
  return MVS_OK;
}

/* What the step showed goes to all who want it. */
static mvs_status show_step(run_state *run, mvs_observation *seen) {
  seen->loss = run->result.loss, seen->grad_norm = run->result.norm;
  seen->lr = mvs_optimizer_rate(&run->settings.optimizer, run->step - 1);
  MVS_TRY(mvs_consumers_take(&run->consumers, seen));
  mvs_progress_show(&run->progress, run->step, run->result.loss, run->result.norm);
  return MVS_OK;
}

/* Such a step is not taken: the weights stay as they were before it. */
static mvs_status diverged(run_state *run) {
  const char *newest =
      run->saved >= 0 ? mvs_arena_format(run->session->arena,
                                         "the newest checkpoint is step %" PRId64, run->saved)
                      : "there is no checkpoint yet";
  return MVS_FAIL(run->session->diag, MVS_ERR_FORMAT,
                  "training diverged: at step %" PRId64
                  " the loss is %g and the gradient norm %g; %s",
                  run->step, run->result.loss, run->result.norm, newest);
}

/* --- the profile --- */

/* Before its first step. */
static mvs_status start_profile(run_state *run) {
  mvs_session *session = run->session;
  if (!run->profile_path || run->queued - run->first + 1 != PROFILE_FIRST) return MVS_OK;
  run->profile = mvs_profile_new(session->arena, session->device);
  mvs_executor_profile(session->executor, run->profile);
  return mvs_profile_start(run->profile, session->diag);
}

/* Behind its last step, or the run's. */
static mvs_status end_profile(run_state *run) {
  mvs_session *session = run->session;
  mvs_profile *profile = run->profile;
  if (!profile) return MVS_OK;
  run->profile = NULL;
  mvs_executor_profile(session->executor, NULL);
  mvs_status status = mvs_profile_settle(profile, session->diag);
  if (status == MVS_OK) status = mvs_trace_write(session, profile, run->profile_path);
  mvs_profile_end(profile);
  return status;
}

/* Speed and time left are counted from the step where the run stands: it may have gone back
 * behind the one that this process began with. */
static void start_progress(run_state *run) {
  mvs_progress_start(&run->progress, run->step, run->steps, run->settings.batch,
                     run->session->program->tokens);
}

/* The run fell: back to a checkpoint, and on from there another way. One that is killed before
 * the turn is recorded falls again when it is resumed, and turns back then. */
static mvs_status turn_back(run_state *run) {
  const char *path;
  mvs_step_result unused;
  for (int64_t left = run->queued - run->step; left > 0; left--)
    MVS_TRY(mvs_training_collect(run->training, &unused, NULL));
  MVS_TRY(mvs_train_watch_turn(&run->watch, run->step, run->save_every, &run->turns, &path));
  const mvs_turn *turn = &run->turns.items[run->turns.count - 1];
  MVS_TRY(record(run));
  MVS_TRY(load(run, path));
  MVS_TRY(mvs_training_go_back(run->training));
  run->queued = run->step;
  MVS_TRY(mvs_consumers_rewind(&run->consumers, run->step));
  MVS_TRY(mvs_run_samples_drop(run->samples, run->step));
  MVS_TRY(restore_watch(run));
  mvs_progress_clear(&run->progress);
  start_progress(run);
  run->began = mvs_seconds();
  return mvs_train_watch_turned(&run->watch, turn);
}

/* Waits for a step. It counts even when it was not taken: the message and the last line name
 * it. A step lasts from the end of the one before it. */
static mvs_status finish_step(run_state *run) {
  mvs_profile_open_phase(run->profile, "wait");
  mvs_observation seen = mvs_observation_at(run->step + 1);
  MVS_TRY(mvs_training_collect(run->training, &run->result, &seen));
  mvs_profile_close_phase(run->profile);
  double now = mvs_seconds(), seconds = now - run->began;
  run->began = now;
  run->step++;
  seen.seconds = seconds;
  MVS_TRY(show_step(run, &seen));
  MVS_TRY(mvs_train_watch_show(&run->watch, run->training, run->step, &run->progress));
  if (mvs_train_watch_must_act(&run->watch)) return turn_back(run);
  return run->result.taken == 0 ? diverged(run) : MVS_OK;
}

/* Until no more than `left` steps are under way; none are once the run has turned back. */
static mvs_status finish_steps(run_state *run, int64_t left) {
  while (run->queued - run->step > left) MVS_TRY(finish_step(run));
  return MVS_OK;
}

/* Ahead of the checkpoint of that step, so that a death between the two leaves nothing out. */
static mvs_status draw(run_state *run) {
  mvs_progress_clear(&run->progress);
  mvs_profile_open_phase(run->profile, "samples of the run");
  MVS_TRY(mvs_run_samples_draw(run->samples, run->step));
  mvs_profile_close_phase(run->profile);
  return MVS_OK;
}

/* One step more; a checkpoint, or a grid, is of the state after all that were queued. The run
 * may turn back at its last step too. */
static mvs_status one_step(run_state *run) {
  bool ahead = run->session->device->works_alone;
  MVS_TRY(mvs_training_queue(run->training, run->queued));
  int64_t step = ++run->queued;
  bool due = step % run->save_every == 0, last = step == run->steps;
  bool drawn = mvs_run_samples_due(run->samples, step);
  MVS_TRY(finish_steps(run, ahead && !due && !last && !drawn ? MVS_TRAINING_AHEAD - 1 : 0));
  if (drawn && run->step == step) MVS_TRY(draw(run));
  if (due) MVS_TRY(save(run));
  if (due || drawn) run->began = mvs_seconds();
  return MVS_OK;
}

/* The same, with a slice around it where a profile is taken. */
static mvs_status profiled_step(run_state *run) {
  MVS_TRY(start_profile(run));
  const char *name = mvs_arena_format(run->session->arena, "step %" PRId64, run->queued + 1);
  mvs_profile_open_phase(run->profile, name);
  MVS_TRY(one_step(run));
  mvs_profile_close_phase(run->profile);
  return run->queued - run->first == PROFILE_LAST ? end_profile(run) : MVS_OK;
}

/* The one sentence on standard output. */
static void report(const run_state *run, int64_t first, double seconds) {
  printf("%s %" PRId64 " of %" PRId64 " steps in %.1f s",
         run->step < run->steps ? "stopped after" : "trained", run->step, run->steps, seconds);
  if (run->step > first)
    printf(": loss %.6g, gradient norm %.4g", run->result.loss, run->result.norm);
  printf("; saved %s/step-%" PRId64 ".safetensors\n", run->folder, run->step);
  if (run->step < run->steps) printf("--resume goes on from there\n");
}

/* Runs until all steps are done or an end is asked for; both save. A failure does not: what is
 * in memory may be half updated. */
static mvs_status loop(run_state *run) {
  int64_t first = run->first = run->step;
  double begin = mvs_seconds();
  mvs_status status = MVS_OK;
  run->queued = first, run->began = begin;
  start_progress(run);
  mvs_interrupt_catch();
  while (status == MVS_OK && run->queued < run->steps && !mvs_interrupt_asked())
    status = run->profile_path ? profiled_step(run) : one_step(run);
  if (status == MVS_OK) status = finish_steps(run, 0);
  if (status == MVS_OK) status = end_profile(run);
  mvs_progress_end(&run->progress);
  if (status == MVS_OK) status = save(run);
  mvs_interrupt_release();
  if (status == MVS_OK) report(run, first, mvs_seconds() - begin);
  return status;
}

/* The page is written for the last time whatever happened, since it may show why; that it could
 * not be is told only where nothing worse has been. */
static mvs_status end_page(const run_state *run, mvs_status status) {
  mvs_session *session = run->session;
  const char *state = status != MVS_OK ? NULL : run->step < run->steps ? "stopped" : "done";
  mvs_diag *diag = status == MVS_OK ? session->diag : mvs_diag_new(session->arena);
  mvs_status written = mvs_run_page_end(run->page, diag, state);
  return status == MVS_OK ? written : status;
}

/* What a file that could not be written means for the run. Training does not go on without its
 * record: a checkpoint is worth more than steps that none would hold. */
static void tell_where_it_stands(const run_state *run, mvs_status status) {
  mvs_diag *diag = run->session->diag;
  if (status != MVS_ERR_IO || run->began == 0) return;
  if (run->saved >= 0) {
    mvs_diag_hint(diag,
                  "the run stopped at step %" PRId64
                  "; --resume goes on from its newest "
                  "checkpoint, step %" PRId64,
                  run->step, run->saved);
  } else {
    mvs_diag_hint(diag,
                  "the run stopped at step %" PRId64
                  " with no checkpoint yet; --resume begins "
                  "it anew",
                  run->step);
  }
}

/* The device goes with the session; files and the data source are closed here. */
static mvs_status run_command(mvs_session *session) {
  run_state run = {.session = session};
  MVS_TRY(mvs_session_require(session, "out", &run.folder));
  MVS_TRY(mvs_run_lock(session, run.folder, &run.lock));
  mvs_status status = settle_settings(&run);
  if (status == MVS_OK) status = open_device(&run);
  if (status == MVS_OK) status = prepare(&run);
  if (status == MVS_OK) status = loop(&run);
  tell_where_it_stands(&run, status);
  mvs_profile_end(run.profile); /* of a run that failed meanwhile */
  status = end_page(&run, status);
  mvs_consumers_close(&run.consumers);
  mvs_safetensors_close(run.fixed);
  if (run.data) run.data->close(run.data);
  if (run.lock) close(run.lock);
  return status;
}

const mvs_command mvs_command_train = {
    "train", "Trains; Ctrl-C saves and ends, --resume goes on bit for bit.", rows, run_command};
