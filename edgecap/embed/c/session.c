/* session.c: running a bundle's functions; see session.h. */
#include <math.h>
#include <string.h>

#include "session_unit.h"

static void put_whole(ec_tensor *tensor, size_t place, int32_t value)
{
    if (tensor->type == EC_I64) {
        ((int64_t *)tensor->data)[place] = value;
    } else {
        ((int32_t *)tensor->data)[place] = value;
    }
}

static float half(uint16_t bits)
{
    int exponent = bits >> 10 & 31;
    float value = (float)(bits & 1023);
    if (exponent == 31) {
        value = bits & 1023 ? (float)NAN : (float)INFINITY;
    } else {
        value = ldexpf(exponent ? value + 1024 : value, (exponent ? exponent : 1) - 25);
    }
    return bits >> 15 ? -value : value;
}

/* The numbers of a tensor as float: themselves, or in `other`. */
static const float *numbers(const ec_tensor *tensor, float *other)
{
    size_t count = tensor->bytes / ec_type_bytes(tensor->type), i;
    if (tensor->type == EC_F32) {
        return tensor->data;
    }
    for (i = 0; i < count; i++) {
        other[i] = half(((const uint16_t *)tensor->data)[i]);
    }
    return other;
}

/* ---- Opening and closing ---- */

edgecap_status ec_session_open(const edgecap_memory *memory, const ec_manifest *manifest,
                               const ec_source *source, ec_engine *engine, ec_session **session,
                               edgecap_error *error)
{
    ec_session *s = ec_allocate_array(memory, 1, sizeof *s);
    edgecap_status status;
    *session = NULL;
    if (s == NULL) {
        engine->close(engine);
        return ec_no_memory(error);
    }
    s->memory = *memory;
    ec_arena_init(&s->arena, memory);
    s->manifest = manifest;
    s->source = source;
    s->engine = engine;
    status = ec_open_encode(s, error);
    if (status == EDGECAP_OK) {
        status = ec_open_decode(s, error);
    }
    if (status != EDGECAP_OK) {
        ec_session_close(s);
        return status;
    }
    *session = s;
    return EDGECAP_OK;
}

static void close_slot(ec_session *s, size_t slot)
{
    size_t i;
    s->engine->unbind(s->engine, s->decode_calls[slot]);
    s->decode_calls[slot] = NULL;
    for (i = 0; s->slot_blocks[slot] != NULL && i < s->manifest->state_count; i++) {
        ec_release(&s->memory, s->slot_blocks[slot][i]);
    }
    ec_release(&s->memory, s->slot_blocks[slot]);
    ec_release(&s->memory, s->slots[slot]);
    s->slot_blocks[slot] = s->slots[slot] = NULL;
}

void ec_session_close(ec_session *s)
{
    edgecap_memory memory;
    size_t i;
    if (s == NULL) {
        return;
    }
    memory = s->memory;
    for (i = 0; i < EC_MOST_BEAMS; i++) {
        close_slot(s, i);
    }
    s->engine->unbind(s->engine, s->crop_call);
    s->engine->unbind(s->engine, s->encode_call);
    s->engine->unbind(s->engine, s->text_call);
    ec_unit_release(s, &s->crop);
    ec_unit_release(s, &s->encode);
    ec_unit_release(s, &s->decode);
    ec_unit_release(s, &s->text);
    s->engine->close(s->engine);
    ec_arena_free(&s->arena);
    ec_release(&memory, s);
}

/* ---- Running ---- */

bool ec_session_attends(const ec_session *s)
{
    return s->manifest->captions && ec_unit_port(&s->decode, true, "attention") != NULL;
}

uint8_t *ec_session_image(ec_session *s)
{
    return ec_unit_port(s->manifest->crops > 0 ? &s->crop : &s->encode, false, "image")->data;
}

edgecap_status ec_session_encode_crop(ec_session *s, size_t place, edgecap_error *error)
{
    const ec_tensor *made = ec_unit_port(&s->crop, true, "features");
    edgecap_status status = s->engine->run(s->engine, s->crop_call, error);
    if (status == EDGECAP_OK) {
        memcpy((char *)ec_unit_port(&s->encode, false, "features")->data + place * made->bytes,
               made->data, made->bytes);
    }
    return status;
}

void ec_session_set_grid(ec_session *s, size_t count, int32_t rows, int32_t columns)
{
    const ec_tensor *all = ec_unit_port(&s->encode, false, "features");
    size_t filled = count * ec_unit_port(&s->crop, true, "features")->bytes;
    ec_tensor *grid = ec_unit_port(&s->encode, false, "grid");
    memset((char *)all->data + filled, 0, all->bytes - filled);
    put_whole(grid, 0, rows);
    put_whole(grid, 1, columns);
}

edgecap_status ec_session_encode(ec_session *s, edgecap_error *error)
{
    return s->engine->run(s->engine, s->encode_call, error);
}

static edgecap_status no_embedding(edgecap_error *error)
{
    return ec_fail(error, EDGECAP_UNSUPPORTED, "embedding.missing",
                   "this bundle's model makes no such embeddings.");
}

static edgecap_status take_embedding(const ec_session *s, const ec_tensor *tensor, float *embedding,
                                     edgecap_error *error)
{
    size_t E = (size_t)s->manifest->embedding, i;
    const float *values = numbers(tensor, embedding);
    if (values != embedding) {
        memcpy(embedding, values, E * sizeof *embedding);
    }
    for (i = 0; i < E; i++) {
        if (!isfinite(embedding[i])) {
            return ec_not_finite(error);
        }
    }
    return EDGECAP_OK;
}

edgecap_status ec_session_embedding(ec_session *s, float *embedding, edgecap_error *error)
{
    const ec_tensor *tensor = ec_unit_port(&s->encode, true, "image_embedding");
    return tensor != NULL ? take_embedding(s, tensor, embedding, error) : no_embedding(error);
}

edgecap_status ec_session_embed_text(ec_session *s, const int32_t *tokens, size_t length,
                                     float *embedding, edgecap_error *error)
{
    edgecap_status status = EDGECAP_OK;
    int32_t i;
    if (ec_manifest_function(s->manifest, "encode_text") == NULL) {
        return no_embedding(error);
    }
    if (s->text_call == NULL) { /* captions do not need it */
        ec_unit_release(s, &s->text);
        status = ec_open_text(s, error);
    }
    if (status != EDGECAP_OK) {
        return status;
    }
    for (i = 0; i < s->manifest->text_tokens; i++) {
        put_whole(ec_unit_port(&s->text, false, "tokens"), (size_t)i, tokens[i]);
    }
    put_whole(ec_unit_port(&s->text, false, "length"), 0, (int32_t)length);
    status = s->engine->run(s->engine, s->text_call, error);
    return status == EDGECAP_OK
               ? take_embedding(s, ec_unit_port(&s->text, true, "text_embedding"), embedding, error)
               : status;
}

static edgecap_status open_slot(ec_session *s, size_t slot, edgecap_error *error)
{
    const ec_manifest *m = s->manifest;
    edgecap_status status = EDGECAP_OK;
    size_t i;
    s->slots[slot] = ec_allocate_array(&s->memory, m->state_count, sizeof *s->slots[slot]);
    s->slot_blocks[slot] = ec_allocate_array(&s->memory, m->state_count, sizeof *s->slots[slot]);
    if (s->slots[slot] == NULL || s->slot_blocks[slot] == NULL) {
        status = ec_no_memory(error);
    }
    for (i = 0; i < m->state_count && status == EDGECAP_OK; i++) {
        const ec_entry *e = &m->state[i];
        ec_tensor *tensor = ec_unit_port(&s->decode, false, e->input);
        if (ec_entry_shared(e)) { /* the image's rows, where encode_image left them */
            tensor->data = ec_unit_port(&s->encode, true, e->from_image)->data;
        } else {
            tensor->data = ec_allocate_aligned(&s->memory, tensor->bytes, &s->slot_blocks[slot][i]);
            if (tensor->data == NULL) {
                status = ec_no_memory(error);
            }
        }
        s->slots[slot][i] = tensor->data;
    }
    if (status == EDGECAP_OK) {
        status = s->engine->bind(s->engine, s->decode.function, s->decode.inputs, s->decode.outputs,
                                 &s->decode_calls[slot], error);
    }
    if (status != EDGECAP_OK) {
        close_slot(s, slot);
    }
    return status;
}

static edgecap_status step(void *self, size_t slot, int32_t token, size_t position,
                           const float **logits, const float **attention, edgecap_error *error)
{
    ec_session *s = self;
    const ec_manifest *m = s->manifest;
    const ec_tensor *looked;
    edgecap_status status;
    size_t i;
    put_whole(ec_unit_port(&s->decode, false, "token"), 0, token);
    put_whole(ec_unit_port(&s->decode, false, "position"), 0, (int32_t)position);
    status = s->engine->run(s->engine, s->decode_calls[slot], error);
    if (status != EDGECAP_OK) {
        return status;
    }
    for (i = 0; i < m->state_count; i++) {
        const ec_entry *e = &m->state[i];
        if (e->from_step != NULL) {
            ec_entry_step(e, ec_unit_port(&s->decode, true, e->from_step)->data, position,
                          s->slots[slot][i]);
        }
    }
    *logits = numbers(ec_unit_port(&s->decode, true, "logits"), s->logits);
    looked = ec_unit_port(&s->decode, true, "attention");
    *attention = looked != NULL ? numbers(looked, s->attention) : NULL;
    return EDGECAP_OK;
}

static void copy(void *self, size_t from, size_t to, size_t positions)
{
    ec_session *s = self;
    size_t i;
    for (i = 0; i < s->manifest->state_count; i++) {
        ec_entry_copy(&s->manifest->state[i], s->slots[from][i], positions, s->slots[to][i]);
    }
}

edgecap_status ec_session_begin(ec_session *s, size_t slots, ec_model *model, edgecap_error *error)
{
    const ec_manifest *m = s->manifest;
    size_t slot, i;
    for (slot = 0; slot < slots; slot++) {
        edgecap_status status =
            s->decode_calls[slot] == NULL ? open_slot(s, slot, error) : EDGECAP_OK;
        if (status != EDGECAP_OK) {
            return status;
        }
        for (i = 0; i < m->state_count; i++) {
            const ec_entry *e = &m->state[i];
            if (!ec_entry_shared(e)) {
                const ec_tensor *rows =
                    e->from_image != NULL ? ec_unit_port(&s->encode, true, e->from_image) : NULL;
                ec_entry_fill(e, rows != NULL ? rows->data : NULL, s->slots[slot][i]);
            }
        }
    }
    model->self = s;
    model->vocabulary = m->vocabulary;
    model->patches = m->patches;
    model->step = step;
    model->copy = copy;
    return EDGECAP_OK;
}
