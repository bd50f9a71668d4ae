/* session.c: see session.h. */
#include "session.h"

#include <math.h>
#include <string.h>

#include "bundle.h"

typedef struct unit { /* one function of the bundle: its tensors and its calls */
    const ec_function *of;
    void *function;
    ec_tensor *inputs, *outputs;
    void **blocks; /* what to release, inputs first; NULL where memory is another's */
} unit;

struct ec_session {
    edgecap_memory memory;
    ec_arena arena;
    const ec_manifest *manifest;
    const char *directory;
    ec_engine *engine;
    unit encode, decode, text;
    void *encode_call, *text_call;
    void *decode_calls[EC_MOST_BEAMS];
    void **slots[EC_MOST_BEAMS];       /* per state entry: its tensor's memory */
    void **slot_blocks[EC_MOST_BEAMS]; /* what to release */
    float *logits, *attention;         /* where the engine's are of another type */
};

/* ---- Tensors ---- */

static edgecap_status not_as_told(const unit *u, const ec_tensor *tensor, edgecap_error *error)
{
    return ec_fail(error, EDGECAP_BUNDLE, "bundle.model",
                   "%.60s of %.60s is not of the type or size that the contract says.",
                   tensor->name, u->of->name);
}

/* Free sizes are the batch: 1. The type must have `width` bytes and the tensor `bytes` in all. */
static edgecap_status settle(const unit *u, ec_tensor *tensor, bool fits, size_t count,
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

static ec_tensor *port(const unit *u, bool output, const char *name)
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

static bool is_float(const ec_tensor *tensor)
{
    return tensor->type == EC_F32 || tensor->type == EC_F16;
}

static bool is_whole(const ec_tensor *tensor)
{
    return tensor->type == EC_I32 || tensor->type == EC_I64;
}

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

/* ---- Opening ---- */

static edgecap_status load(ec_session *s, unit *u, const char *name, edgecap_error *error)
{
    char *path;
    size_t i;
    u->of = ec_manifest_function(s->manifest, name);
    u->inputs = ec_arena_array(&s->arena, u->of->input_count, sizeof *u->inputs);
    u->outputs = ec_arena_array(&s->arena, u->of->output_count, sizeof *u->outputs);
    u->blocks = ec_arena_array(&s->arena, u->of->input_count + u->of->output_count,
                               sizeof *u->blocks);
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
    return s->engine->load(s->engine, path, u->of->entry, u->inputs, u->of->input_count,
                           u->outputs, u->of->output_count, &u->function, error);
}

/* Memory for every tensor that was settled and has none. */
static edgecap_status allocate(ec_session *s, unit *u, edgecap_error *error)
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

static void release(ec_session *s, unit *u)
{
    size_t i;
    for (i = 0; u->blocks != NULL && i < u->of->input_count + u->of->output_count; i++) {
        ec_release(&s->memory, u->blocks[i]);
    }
    memset(u, 0, sizeof *u);
}

static edgecap_status open_encode(ec_session *s, edgecap_error *error)
{
    const ec_manifest *m = s->manifest;
    size_t S = (size_t)m->image_size, i;
    unit *u = &s->encode;
    ec_tensor *image, *embedding;
    edgecap_status status = load(s, u, "encode_image", error);
    if (status != EDGECAP_OK) {
        return status;
    }
    image = port(u, false, "image");
    embedding = port(u, true, "image_embedding");
    status = settle(u, image, image->type == EC_U8, 3 * S * S, error);
    if (status == EDGECAP_OK) {
        status = settle(u, embedding, is_float(embedding), (size_t)m->embedding, error);
    }
    for (i = 0; i < m->state_count && status == EDGECAP_OK; i++) {
        const ec_entry *e = &m->state[i];
        if (e->from_image != NULL) {
            ec_tensor *rows = port(u, true, e->from_image);
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
static edgecap_status open_decode(ec_session *s, edgecap_error *error)
{
    const ec_manifest *m = s->manifest;
    unit *u = &s->decode;
    size_t i;
    ec_tensor *token, *position, *logits, *attention;
    edgecap_status status = load(s, u, "decode", error);
    if (status != EDGECAP_OK) {
        return status;
    }
    token = port(u, false, "token");
    position = port(u, false, "position");
    logits = port(u, true, "logits");
    attention = port(u, true, "attention");
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
            ec_tensor *rows = port(u, true, e->from_step);
            size_t bytes = e->role & EC_ROLLING ? ec_entry_bytes(e) : e->groups * e->row_bytes;
            status = settle(u, rows, ec_type_bytes(rows->type) == m->cache_width,
                            bytes / m->cache_width, error);
        }
    }
    if (status == EDGECAP_OK) {
        status = allocate(s, u, error);
    }
    for (i = 0; i < m->state_count && status == EDGECAP_OK; i++) {
        ec_tensor *tensor = port(u, false, m->state[i].input);
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

static edgecap_status open_text(ec_session *s, edgecap_error *error)
{
    const ec_manifest *m = s->manifest;
    unit *u = &s->text;
    ec_tensor *tokens, *length, *embedding;
    edgecap_status status = load(s, u, "encode_text", error);
    if (status != EDGECAP_OK) {
        return status;
    }
    tokens = port(u, false, "tokens");
    length = port(u, false, "length");
    embedding = port(u, true, "text_embedding");
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

edgecap_status ec_session_open(const edgecap_memory *memory, const ec_manifest *manifest,
                               const char *directory, ec_engine *engine, ec_session **session,
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
    s->directory = directory;
    s->engine = engine;
    status = open_encode(s, error);
    if (status == EDGECAP_OK) {
        status = open_decode(s, error);
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
    s->engine->unbind(s->engine, s->encode_call);
    s->engine->unbind(s->engine, s->text_call);
    release(s, &s->encode);
    release(s, &s->decode);
    release(s, &s->text);
    s->engine->close(s->engine);
    ec_arena_free(&s->arena);
    ec_release(&memory, s);
}

/* ---- Running ---- */

uint8_t *ec_session_image(ec_session *s)
{
    return port(&s->encode, false, "image")->data;
}

edgecap_status ec_session_encode(ec_session *s, edgecap_error *error)
{
    return s->engine->run(s->engine, s->encode_call, error);
}

static edgecap_status take_embedding(const ec_session *s, const ec_tensor *tensor,
                                     float *embedding, edgecap_error *error)
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
    return take_embedding(s, port(&s->encode, true, "image_embedding"), embedding, error);
}

edgecap_status ec_session_embed_text(ec_session *s, const int32_t *tokens, size_t length,
                                     float *embedding, edgecap_error *error)
{
    edgecap_status status = EDGECAP_OK;
    int32_t i;
    if (s->text_call == NULL) { /* captions do not need it */
        release(s, &s->text);
        status = open_text(s, error);
    }
    if (status != EDGECAP_OK) {
        return status;
    }
    for (i = 0; i < s->manifest->text_length; i++) {
        put_whole(port(&s->text, false, "tokens"), (size_t)i, tokens[i]);
    }
    put_whole(port(&s->text, false, "length"), 0, (int32_t)length);
    status = s->engine->run(s->engine, s->text_call, error);
    return status == EDGECAP_OK ? take_embedding(s, port(&s->text, true, "text_embedding"),
                                                 embedding, error)
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
        ec_tensor *tensor = port(&s->decode, false, e->input);
        if (ec_entry_shared(e)) { /* the image's rows, where encode_image left them */
            tensor->data = port(&s->encode, true, e->from_image)->data;
        } else {
            tensor->data = ec_allocate_aligned(&s->memory, tensor->bytes,
                                               &s->slot_blocks[slot][i]);
            if (tensor->data == NULL) {
                status = ec_no_memory(error);
            }
        }
        s->slots[slot][i] = tensor->data;
    }
    if (status == EDGECAP_OK) {
        status = s->engine->bind(s->engine, s->decode.function, s->decode.inputs,
                                 s->decode.outputs, &s->decode_calls[slot], error);
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
    edgecap_status status;
    size_t i;
    put_whole(port(&s->decode, false, "token"), 0, token);
    put_whole(port(&s->decode, false, "position"), 0, (int32_t)position);
    status = s->engine->run(s->engine, s->decode_calls[slot], error);
    if (status != EDGECAP_OK) {
        return status;
    }
    for (i = 0; i < m->state_count; i++) {
        const ec_entry *e = &m->state[i];
        if (e->from_step != NULL) {
            ec_entry_step(e, port(&s->decode, true, e->from_step)->data, position,
                          s->slots[slot][i]);
        }
    }
    *logits = numbers(port(&s->decode, true, "logits"), s->logits);
    *attention = numbers(port(&s->decode, true, "attention"), s->attention);
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
                    e->from_image != NULL ? port(&s->encode, true, e->from_image) : NULL;
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
