/* build_model.c: the model's own tables: inputs, parameters, settings. They know parts and
 * never packs, for they are what files and reports are about; where a part lies says its offset
 * and the stride between its layers. */
#include <inttypes.h>

#include "codegen/build_tables.h"
#include "compiler/ir/steps.h"

/* Strings of the tables are never NULL: protobuf-c packs them as they are. */
static char *text(mvs_arena *arena, const char *string) {
  return mvs_arena_string(arena, string ? string : "");
}

Mvs__Extent *mvs_tables_extent(mvs_arena *arena, mvs_dim dim) {
  Mvs__Extent *extent = MVS_NEW(arena, Mvs__Extent);
  mvs__extent__init(extent);
  extent->size = dim.size;
  extent->per_batch = dim.per_batch;
  return extent;
}

/* --- inputs --- */

/* A grid where the segment is an image, so that samples can be drawn without the model. */
static void add_segments(mvs_arena *arena, const mvs_segments *table, Mvs__ModelInput *out) {
  if (!table) return;
  out->segments = MVS_ARRAY(arena, (size_t)table->count, Mvs__Segment *);
  for (int i = 0; i < table->count; i++) {
    Mvs__Segment *segment = out->segments[out->n_segments++] = MVS_NEW(arena, Mvs__Segment);
    mvs__segment__init(segment);
    segment->name = text(arena, table->items[i].name);
    segment->length = table->items[i].length;
    segment->rows = table->items[i].rows;
    segment->columns = table->items[i].columns;
  }
}

/* Shapes are those of one sample, as data sources and files have them. */
static Mvs__ModelInput *model_input(mvs_arena *arena, const mvs_model_input *input) {
  Mvs__ModelInput *out = MVS_NEW(arena, Mvs__ModelInput);
  mvs__model_input__init(out);
  out->name = text(arena, input->name);
  out->dtype = text(arena, mvs_dtype_name(input->type.dtype));
  out->shape = MVS_ARRAY(arena, MVS_MAX_RANK, int64_t);
  for (int i = 0; i < input->type.rank; i++) {
    mvs_dim dim = input->type.dims[i];
    if (dim.per_batch && dim.size == 1) continue; /* the sample's own axis */
    out->shape[out->n_shape++] = dim.size;
  }
  out->unconditional = input->unconditional;
  out->conditioning = input->conditioning;
  add_segments(arena, input->type.segments, out);
  return out;
}

/* --- parameters --- */

/* By name: the runtime draws the first values, and knows no enumerations of the compiler. */
static char *init_name(mvs_arena *arena, mvs_init_kind kind) {
  static const char *const names[] = {"constant", "normal", "uniform"};
  return text(arena, names[kind]);
}

/* Parts come in the order of their places, and before their pack. */
uint32_t mvs_tables_param(const mvs_module *module, uint32_t index) {
  if (!module->params.items[index].is_pack) return index;
  uint32_t part = 0;
  while (module->params.items[part].pack != index) part++;
  return part;
}

/* Rates and decays are settled here: the runtime knows numbers, no groups and no defaults. */
static Mvs__Param *model_param(mvs_arena *arena, const mvs_module *module,
                               const mvs_param *param) {
  Mvs__Param *out = MVS_NEW(arena, Mvs__Param);
  mvs__param__init(out);
  bool batched;
  out->name = text(arena, param->name);
  out->shape = MVS_ARRAY(arena, MVS_MAX_RANK, int64_t);
  for (int i = 0; i < param->type.rank; i++) {
    out->shape[out->n_shape++] = param->type.dims[i].size;
  }
  out->layers = param->layers;
  out->elements = out->stride = mvs_type_elements(&param->type, &batched);
  out->trained = param->trained;
  out->init = init_name(arena, param->init.kind);
  out->init_value = param->init.value;
  out->rate = mvs_param_rate(param);
  out->decay = mvs_param_decay(param);
  out->orthogonal = mvs_param_orthogonal(module, param);
  out->gain = param->gain;
  return out;
}

/* Layers of a part lie as far apart as those of its pack. */
static mvs_status add_params(mvs_arena *arena, mvs_diag *diag, const mvs_module *module,
                             mvs_program *program) {
  program->params = MVS_ARRAY(arena, module->params.count + 1, Mvs__Param *);
  int64_t *offsets = MVS_ARRAY(arena, module->params.count + 1, int64_t);
  if (!mvs_module_offsets(module, offsets, &program->flat_elements)) {
    mvs_diag_error(diag, (mvs_span){0}, "the parameters have more elements than fit 63 bits");
    return MVS_ERR_LIMIT;
  }
  for (size_t i = 0; i < module->params.count; i++) {
    const mvs_param *from = &module->params.items[i];
    if (from->is_pack) break; /* none but packs behind it */
    Mvs__Param *param = program->params[program->n_params++] = model_param(arena, module, from);
    param->offset = offsets[i];
    if (from->pack)
      param->stride = mvs_type_elements(&module->params.items[from->pack].type, NULL);
  }
  return MVS_OK;
}

/* What a table of diagnostics is named after, and which parameters its gradients are of. */
static void add_sites(mvs_arena *arena, const mvs_module *module, mvs_program *program) {
  program->sites = MVS_ARRAY(arena, module->sites.count + 1, Mvs__Site *);
  for (size_t i = 0; i < module->sites.count; i++) {
    const mvs_site *from = &module->sites.items[i];
    if (from->kind == MVS_SITE_UPDATE) continue; /* told apart by probes alone */
    Mvs__Site *site = program->sites[program->n_sites++] = MVS_NEW(arena, Mvs__Site);
    mvs__site__init(site);
    site->name = text(arena, from->name);
    site->writer = from->kind == MVS_SITE_WRITER;
    site->weight = (int32_t)from->weight;
    site->query = (int32_t)from->query;
    site->key = (int32_t)from->key;
    site->attends = from->attends;
  }
}

/* --- settings --- */

/* What the files' lets came to. */
static void add_lets(mvs_arena *arena, const mvs_module *module, mvs_program *program) {
  program->lets = MVS_ARRAY(arena, module->lets.count + 1, Mvs__Let *);
  for (size_t i = 0; i < module->lets.count; i++) {
    Mvs__Let *let = program->lets[program->n_lets++] = MVS_NEW(arena, Mvs__Let);
    mvs__let__init(let);
    let->name = text(arena, module->lets.items[i].name);
    let->value = text(arena, module->lets.items[i].value);
  }
}

/* What the file's train and sample say, or their defaults: options of the trainer override
 * single ones, so each stands alone. */
static Mvs__Settings *model_settings(mvs_arena *arena, const mvs_settings *settings) {
  Mvs__Settings *out = MVS_NEW(arena, Mvs__Settings);
  mvs__settings__init(out);
  out->lr = settings->lr;
  out->beta1 = settings->beta1;
  out->beta2 = settings->beta2;
  out->adam_eps = settings->adam_eps;
  out->weight_decay = settings->weight_decay;
  out->muon = settings->muon;
  out->momentum = settings->momentum;
  out->clip = settings->clip;
  out->ema = settings->ema;
  out->timestep_shift = settings->timestep_shift;
  out->dropout = settings->dropout;
  out->warmup = settings->warmup;
  out->batch = settings->batch;
  out->precision = text(arena, mvs_dtype_name(settings->precision));
  out->sample_steps = settings->sample_steps;
  out->cfg = settings->cfg;
  out->sample_shift = settings->sample_shift;
  out->data = text(arena, settings->data);
  return out;
}

/* Tokens of the longest segment table: the one of the residual stream, which holds all others.
 */
static int64_t tokens_of(const mvs_module *module) {
  int64_t most = 0;
  for (size_t i = 0; i < module->segment_tables.count; i++) {
    int64_t length = mvs_segments_length(module->segment_tables.items[i]);
    if (length > most) most = length;
  }
  return most;
}

/* Lists the inputs; returns how many there are. */
static size_t model_inputs(mvs_arena *arena, const mvs_module *module, Mvs__ModelInput ***out) {
  *out = MVS_ARRAY(arena, module->inputs.count + 1, Mvs__ModelInput *);
  for (size_t i = 0; i < module->inputs.count; i++) {
    (*out)[i] = model_input(arena, &module->inputs.items[i]);
  }
  return module->inputs.count;
}

/* Settings and inputs may depend on the `let` that differs; parameters may not. */
void mvs_tables_specialisation(mvs_arena *arena, const char *value, const mvs_module *module,
                               mvs_program *program) {
  Mvs__Specialisation *out = MVS_NEW(arena, Mvs__Specialisation);
  mvs__specialisation__init(out);
  out->value = text(arena, value);
  out->tokens = tokens_of(module);
  out->settings = model_settings(arena, &module->settings);
  out->n_inputs = model_inputs(arena, module, &out->inputs);
  program->specialisations[program->n_specialisations++] = out;
}

mvs_status mvs_tables_model(mvs_arena *arena, mvs_diag *diag, const mvs_module *module,
                            mvs_program *program) {
  program->model = text(arena, module->name);
  program->version = text(arena, MVCC_VERSION);
  program->residual = text(arena, module->residual);
  program->output = text(arena, module->output_name);
  program->tokens = tokens_of(module);
  program->settings = model_settings(arena, &module->settings);
  program->n_inputs = model_inputs(arena, module, &program->inputs);
  add_sites(arena, module, program);
  add_lets(arena, module, program);
  return add_params(arena, diag, module, program);
}
