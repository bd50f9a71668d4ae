/* session_open.c: the functions of a bundle, held to its contract; see session.h. */
#include <string.h>

#include "bundle.h"
#include "session_unit.h"

static edgecap_status not_as_told(const ec_unit *u, const ec_tensor *tensor, edgecap_error *error)
{
    return ec_fail(error, EDGECAP_BUNDLE, "bundle.model",
                   "%.60s of %.60s is not of the type or size that the contract says.",
                   tensor->name, u->of->name);
}

/* Free sizes are the batch: 1. The type must have `width` bytes and the tensor `bytes` in all. */
static edgecap_status settle(const ec_unit *u, ec_tensor *tensor, bool fits, size_t count,
                             edgecap_error *error)
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
    if (!fits || bytes == 0 || product != count) {
        return not_as_told(u, tensor, error);
    }
    tensor->bytes = bytes * count;
    return EDGECAP_OK;
}

static bool is_float(const ec_tensor *tensor)
{
    return tensor->type == EC_F32 || tensor->type == EC_F16;
}

static bool is_whole(const ec_tensor *tensor)
{
    return tensor->type == EC_I32 || tensor->type == EC_I64;
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
    char *path;
    size_t i;
    u->of = ec_manifest_function(s->manifest, name);
    u->inputs = ec_arena_array(&s->arena, u->of->input_count, sizeof *u->inputs);
    u->outputs = ec_arena_array(&s->arena, u->of->output_count, sizeof *u->outputs);
    u->blocks =
        ec_arena_array(&s->arena, u->of->input_count + u->of->output_count, sizeof *u->blocks);
    path = ec_path(&s->arena, s->directory, u->of->file);
    if (u->inputs == NULL || u->outputs == NULL || u->blocks == NULL || path == NULL) {
        return ec_no_memory(error);
    }
    for (i = 0; i < u->of->input_count; i++) {
        u->inputs[i].name = u->of->inputs[i].target;
    }
    for (i = 0; i < u->of->output_count; i++) {
        u->outputs[i].name = u->of->outputs[i].target;
    }
    return s->engine->load(s->engine, path, u->of->entry, u->inputs, u->of->input_count, u->outputs,
                           u->of->output_count, &u->function, error);
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

edgecap_status ec_open_encode(ec_session *s, edgecap_error *error)
{
    const ec_manifest *m = s->manifest;
    size_t S = (size_t)m->image_size, i;
    ec_unit *u = &s->encode;
    ec_tensor *image, *embedding;
    edgecap_status status = load(s, u, "encode_image", error);
    if (status != EDGECAP_OK) {
        return status;
    }
    image = ec_unit_port(u, false, "image");
    embedding = ec_unit_port(u, true, "image_embedding");
    status = settle(u, image, image->type == EC_U8, 3 * S * S, error);
    if (status == EDGECAP_OK) {
        status = settle(u, embedding, is_float(embedding), (size_t)m->embedding, error);
    }
    for (i = 0; i < m->state_count && status == EDGECAP_OK; i++) {
        const ec_entry *e = &m->state[i];
        if (e->from_image != NULL) {
            ec_tensor *rows = ec_unit_port(u, true, e->from_image);
            status = settle(u, rows, ec_type_bytes(rows->type) == m->cache_width,
                            e->groups * e->image_rows * e->row_bytes / m->cache_width, error);
        }
    }
    if (status == EDGECAP_OK) {
        status = allocate(s, u, error);
    }
    return status == EDGECAP_OK ? s->engine->bind(s->engine, u->function, u->inputs, u->outputs,
                                                  &s->encode_call, error)
                                : status;
}

/* State entries get their memory with each slot, everything else here. */
edgecap_status ec_open_decode(ec_session *s, edgecap_error *error)
{
    const ec_manifest *m = s->manifest;
    ec_unit *u = &s->decode;
    size_t i;
    ec_tensor *token, *position, *logits, *attention;
    edgecap_status status = load(s, u, "decode", error);
    if (status != EDGECAP_OK) {
        return status;
    }
    token = ec_unit_port(u, false, "token");
    position = ec_unit_port(u, false, "position");
    logits = ec_unit_port(u, true, "logits");
    attention = ec_unit_port(u, true, "attention");
    status = settle(u, token, is_whole(token), 1, error);
    if (status == EDGECAP_OK) {
        status = settle(u, position, is_whole(position), 1, error);
    }
    if (status == EDGECAP_OK) {
        status = settle(u, logits, is_float(logits), (size_t)m->vocabulary, error);
    }
    if (status == EDGECAP_OK) {
        status = settle(u, attention, is_float(attention), (size_t)m->patches, error);
    }
    for (i = 0; i < m->state_count && status == EDGECAP_OK; i++) {
        const ec_entry *e = &m->state[i];
        if (e->from_step != NULL) {
            ec_tensor *rows = ec_unit_port(u, true, e->from_step);
            size_t bytes = e->role & EC_ROLLING ? ec_entry_bytes(e) : e->groups * e->row_bytes;
            status = settle(u, rows, ec_type_bytes(rows->type) == m->cache_width,
                            bytes / m->cache_width, error);
        }
    }
    if (status == EDGECAP_OK) {
        status = allocate(s, u, error);
    }
    for (i = 0; i < m->state_count && status == EDGECAP_OK; i++) {
        ec_tensor *tensor = ec_unit_port(u, false, m->state[i].input);
        status = settle(u, tensor, ec_type_bytes(tensor->type) == m->cache_width,
                        ec_entry_bytes(&m->state[i]) / m->cache_width, error);
    }
    if (status == EDGECAP_OK && logits->type != EC_F32) {
        s->logits = ec_arena_array(&s->arena, (size_t)m->vocabulary, sizeof *s->logits);
        status = s->logits != NULL ? EDGECAP_OK : ec_no_memory(error);
    }
    if (status == EDGECAP_OK && attention->type != EC_F32) {
        s->attention = ec_arena_array(&s->arena, (size_t)m->patches, sizeof *s->attention);
        status = s->attention != NULL ? EDGECAP_OK : ec_no_memory(error);
    }
    return status;
}

edgecap_status ec_open_text(ec_session *s, edgecap_error *error)
{
    const ec_manifest *m = s->manifest;
    ec_unit *u = &s->text;
    ec_tensor *tokens, *length, *embedding;
    edgecap_status status = load(s, u, "encode_text", error);
    if (status != EDGECAP_OK) {
        return status;
    }
    tokens = ec_unit_port(u, false, "tokens");
    length = ec_unit_port(u, false, "length");
    embedding = ec_unit_port(u, true, "text_embedding");
    status = settle(u, tokens, is_whole(tokens), (size_t)m->text_length, error);
    if (status == EDGECAP_OK) {
        status = settle(u, length, is_whole(length), 1, error);
    }
    if (status == EDGECAP_OK) {
        status = settle(u, embedding, is_float(embedding), (size_t)m->embedding, error);
    }
    if (status == EDGECAP_OK) {
        status = allocate(s, u, error);
    }
    return status == EDGECAP_OK ? s->engine->bind(s->engine, u->function, u->inputs, u->outputs,
                                                  &s->text_call, error)
                                : status;
}
