/* session_open.c: the functions of a bundle, held to its contract; see session.h. */
#include <string.h>

#include "session_unit.h"

static edgecap_status not_as_told(const ec_unit *u, const ec_tensor *tensor, edgecap_error *error)
{
    return ec_fail(error, EDGECAP_BUNDLE, "bundle.model",
                   "%.60s of %.60s does not have the type and size in the contract.", tensor->name,
                   u->of->name);
}

/* What a tensor's numbers may be. */
typedef enum kind { BYTES, WHOLE, FLOATS, AS_STATE } kind;

static bool fits(ec_type type, kind wanted, size_t width)
{
    switch (wanted) {
    case BYTES:
        return type == EC_U8;
    case WHOLE:
        return type == EC_I32 || type == EC_I64;
    case FLOATS:
        return type == EC_F32 || type == EC_F16;
    case AS_STATE:
        return ec_type_bytes(type) == width;
    }
    return false;
}

/* Free sizes are the batch: 1. `count` numbers in all, of `width` bytes where they are state. */
static edgecap_status settle(const ec_unit *u, ec_tensor *tensor, kind wanted, size_t width,
                             size_t count, edgecap_error *error)
{
    size_t bytes = ec_type_bytes(tensor->type), product = 1;
    int32_t d;
    for (d = 0; d < tensor->rank; d++) {
        tensor->shape[d] = tensor->shape[d] < 0 ? 1 : tensor->shape[d];
        if (tensor->shape[d] == 0 || product > count / (size_t)tensor->shape[d]) {
            return not_as_told(u, tensor, error);
        }
        product *= (size_t)tensor->shape[d];
    }
    if (!fits(tensor->type, wanted, width) || bytes == 0 || product != count) {
        return not_as_told(u, tensor, error);
    }
    tensor->bytes = bytes * count;
    return EDGECAP_OK;
}

ec_tensor *ec_unit_port(const ec_unit *u, bool output, const char *name)
{
    const ec_port *ports = output ? u->of->outputs : u->of->inputs;
    size_t count = output ? u->of->output_count : u->of->input_count, i;
    for (i = 0; i < count; i++) {
        if (strcmp(ports[i].name, name) == 0) {
            return &(output ? u->outputs : u->inputs)[i];
        }
    }
    return NULL;
}

static edgecap_status load(ec_session *s, ec_unit *u, const char *name, edgecap_error *error)
{
    ec_model_file model;
    edgecap_status status;
    size_t i;
    u->of = ec_manifest_function(s->manifest, name);
    u->inputs = ec_arena_array(&s->arena, u->of->input_count, sizeof *u->inputs);
    u->outputs = ec_arena_array(&s->arena, u->of->output_count, sizeof *u->outputs);
    u->blocks =
        ec_arena_array(&s->arena, u->of->input_count + u->of->output_count, sizeof *u->blocks);
    if (u->inputs == NULL || u->outputs == NULL || u->blocks == NULL) {
        return ec_no_memory(error);
    }
    status =
        ec_bundle_model(&s->arena, s->source, u->of->file, s->engine->takes_files, &model, error);
    if (status != EDGECAP_OK) {
        return status;
    }
    for (i = 0; i < u->of->input_count; i++) {
        u->inputs[i].name = u->of->inputs[i].target;
    }
    for (i = 0; i < u->of->output_count; i++) {
        u->outputs[i].name = u->of->outputs[i].target;
    }
    return s->engine->load(s->engine, &model, u->of->entry, u->inputs, u->of->input_count,
                           u->outputs, u->of->output_count, &u->function, error);
}

/* Memory for every tensor that was settled and has none. */
static edgecap_status allocate(ec_session *s, ec_unit *u, edgecap_error *error)
{
    size_t i;
    for (i = 0; i < u->of->input_count + u->of->output_count; i++) {
        bool input = i < u->of->input_count;
        ec_tensor *tensor = input ? &u->inputs[i] : &u->outputs[i - u->of->input_count];
        if (tensor->data == NULL && tensor->bytes > 0) {
            tensor->data = ec_allocate_aligned(&s->memory, tensor->bytes, &u->blocks[i]);
            if (tensor->data == NULL) {
                return ec_no_memory(error);
            }
        }
    }
    return EDGECAP_OK;
}

void ec_unit_release(ec_session *s, ec_unit *u)
{
    size_t i;
    for (i = 0; u->blocks != NULL && i < u->of->input_count + u->of->output_count; i++) {
        ec_release(&s->memory, u->blocks[i]);
    }
    memset(u, 0, sizeof *u);
}

/* ---- Each function, held to the contract ---- */

typedef struct opening { /* of one function; the first error stays */
    ec_session *s;
    ec_unit *u;
    edgecap_status status;
    edgecap_error *error;
} opening;

static opening begin(ec_session *s, ec_unit *u, const char *name, edgecap_error *error)
{
    opening o;
    o.s = s;
    o.u = u;
    o.error = error;
    o.status = load(s, u, name, error);
    return o;
}

/* A port, where there is one: the manifest was held to the contract already. */
static void hold(opening *o, bool output, const char *name, kind wanted)
{
    ec_tensor *tensor = o->status == EDGECAP_OK ? ec_unit_port(o->u, output, name) : NULL;
    if (tensor != NULL) {
        const ec_port *told = output ? &o->u->of->outputs[tensor - o->u->outputs]
                                     : &o->u->of->inputs[tensor - o->u->inputs];
        o->status = settle(o->u, tensor, wanted, 0, told->count, o->error);
    }
}

static void hold_state(opening *o, bool output, const char *name, const ec_entry *e, size_t bytes)
{
    ec_tensor *tensor =
        o->status == EDGECAP_OK && name != NULL ? ec_unit_port(o->u, output, name) : NULL;
    if (tensor != NULL) {
        o->status = settle(o->u, tensor, AS_STATE, e->width, bytes / e->width, o->error);
    }
}

static void give_memory(opening *o)
{
    if (o->status == EDGECAP_OK) {
        o->status = allocate(o->s, o->u, o->error);
    }
}

static edgecap_status bind(opening *o, void **call)
{
    give_memory(o);
    return o->status == EDGECAP_OK ? o->s->engine->bind(o->s->engine, o->u->function, o->u->inputs,
                                                        o->u->outputs, call, o->error)
                                   : o->status;
}

static edgecap_status open_crop(ec_session *s, edgecap_error *error)
{
    opening o = begin(s, &s->crop, "encode_crop", error);
    hold(&o, false, "image", BYTES);
    hold(&o, true, "features", FLOATS);
    return bind(&o, &s->crop_call);
}

edgecap_status ec_open_encode(ec_session *s, edgecap_error *error)
{
    const ec_manifest *m = s->manifest;
    opening o = begin(s, &s->encode, "encode", error);
    size_t i;
    hold(&o, false, "image", BYTES);
    hold(&o, false, "features", FLOATS);
    hold(&o, false, "grid", WHOLE);
    hold(&o, true, "image_embedding", FLOATS);
    for (i = 0; i < m->state_count; i++) {
        const ec_entry *e = &m->state[i];
        hold_state(&o, true, e->from_image, e, e->groups * e->image_rows * e->row_bytes);
    }
    o.status = bind(&o, &s->encode_call);
    if (o.status == EDGECAP_OK && m->crops > 0) {
        o.status = open_crop(s, error);
        if (o.status == EDGECAP_OK && ec_unit_port(&s->crop, true, "features")->type !=
                                          ec_unit_port(&s->encode, false, "features")->type) {
            o.status = not_as_told(&s->crop, ec_unit_port(&s->crop, true, "features"), error);
        }
    }
    return o.status;
}

/* A place for floats, where the engine's are of another type. */
static float *other_floats(opening *o, const char *name)
{
    ec_tensor *tensor = o->status == EDGECAP_OK ? ec_unit_port(o->u, true, name) : NULL;
    float *other = NULL;
    if (tensor != NULL && tensor->type != EC_F32) {
        other = ec_arena_array(&o->s->arena, tensor->bytes / ec_type_bytes(tensor->type),
                               sizeof *other);
        o->status = other != NULL ? EDGECAP_OK : ec_no_memory(o->error);
    }
    return other;
}

/* State inputs get their memory with each slot, everything else here. */
edgecap_status ec_open_decode(ec_session *s, edgecap_error *error)
{
    const ec_manifest *m = s->manifest;
    opening o;
    size_t i;
    if (!m->captions) {
        return EDGECAP_OK;
    }
    o = begin(s, &s->decode, "decode", error);
    hold(&o, false, "token", WHOLE);
    hold(&o, false, "position", WHOLE);
    hold(&o, true, "logits", FLOATS);
    hold(&o, true, "attention", FLOATS);
    for (i = 0; i < m->state_count; i++) {
        const ec_entry *e = &m->state[i];
        hold_state(&o, true, e->from_step, e,
                   e->role & EC_ROLLING ? ec_entry_bytes(e) : e->groups * e->row_bytes);
    }
    give_memory(&o);
    for (i = 0; i < m->state_count; i++) {
        hold_state(&o, false, m->state[i].input, &m->state[i], ec_entry_bytes(&m->state[i]));
    }
    s->logits = other_floats(&o, "logits");
    s->attention = other_floats(&o, "attention");
    return o.status;
}

edgecap_status ec_open_text(ec_session *s, edgecap_error *error)
{
    opening o = begin(s, &s->text, "encode_text", error);
    hold(&o, false, "tokens", WHOLE);
    hold(&o, false, "length", WHOLE);
    hold(&o, true, "text_embedding", FLOATS);
    return bind(&o, &s->text_call);
}
