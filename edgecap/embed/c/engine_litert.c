/* engine_litert.c: LiteRT from 2.1.6 on, through the C interface of libLiteRt.
 *
 * From 2.1.6 on models are made in an environment;
 * LiteRtCreateModelFromFd, new with it, tells the two apart. Host memory at multiples of 64 is used
 * where it lies, so nothing is copied in a step.
 */
#include <stdio.h>
#include <string.h>

#include "litert_abi.h"
#include "platform.h"

enum { CPU = 1, HIDDEN_BELOW_ERROR = 3, TAG_ACCELERATORS = 24, TAG_SEVERITY = 25, ANY_INT = 2 };

typedef struct file { /* a model file, opened once */
    struct file *next;
    char *path;
    void *model, *compiled;
} file;

typedef struct function {
    file *from;
    size_t signature, input_count, output_count;
    size_t *inputs, *outputs; /* place in the signature of each of ours */
} function;

typedef struct call {
    const function *of;
    void **inputs, **outputs; /* tensor buffers, in the signature's order */
} call;

typedef struct litert {
    ec_engine engine;
    ec_arena arena;
    ec_litert lib;
    void *environment;
    file *files;
    char threads[40];
} litert;

static const char NAME[] = "LiteRT";

static void keep(void *payload)
{
    (void)payload; /* lies in the engine itself */
}

static edgecap_status compile(litert *e, file *f, const ec_model_file *m, edgecap_error *error)
{
    void *options = NULL, *opaque = NULL;
    bool done;
    int code = m->data != NULL ? e->lib.create_model_from_buffer(e->environment, m->data, m->size,
                                                                 &f->model)
                               : e->lib.create_model(e->environment, f->path, &f->model);
    if (code != 0) {
        f->model = NULL;
        return ec_engine_refuses(NAME, f->path, error);
    }
    if (e->lib.create_options(&options) != 0) {
        return ec_engine_refuses(NAME, "to make options", error);
    }
    done = e->lib.set_accelerators(options, CPU) == 0 &&
           e->lib.create_opaque("xnnpack", e->threads, keep, &opaque) == 0 &&
           e->lib.add_opaque(options, opaque) == 0 &&
           e->lib.create_compiled(e->environment, f->model, options, &f->compiled) == 0;
    e->lib.destroy_options(options);
    if (!done) {
        f->compiled = NULL;
        return ec_engine_refuses(NAME, f->path, error);
    }
    return EDGECAP_OK;
}

static void drop(litert *e, file *f)
{
    if (f->compiled != NULL) {
        e->lib.destroy_compiled(f->compiled);
    }
    if (f->model != NULL) {
        e->lib.destroy_model(f->model);
    }
}

static edgecap_status open_file(litert *e, const ec_model_file *model, file **found,
                                edgecap_error *error)
{
    const char *path = model->path;
    edgecap_status status;
    file *f = e->files;
    while (f != NULL && strcmp(f->path, path) != 0) {
        f = f->next;
    }
    *found = f;
    if (f != NULL) {
        return EDGECAP_OK;
    }
    f = ec_arena_take(&e->arena, sizeof *f);
    if (f == NULL || (f->path = ec_arena_text(&e->arena, path, strlen(path))) == NULL) {
        return ec_no_memory(error);
    }
    status = compile(e, f, model, error);
    if (status != EDGECAP_OK) {
        drop(e, f);
        return status;
    }
    f->next = e->files;
    e->files = f;
    *found = f;
    return EDGECAP_OK;
}

static bool find_signature(litert *e, const file *f, const char *entry, size_t *index,
                           void **signature)
{
    size_t count = 0;
    const char *key;
    if (e->lib.signature_count(f->model, &count) != 0) {
        return false;
    }
    for (*index = 0; *index < count; ++*index) {
        if (e->lib.signature(f->model, *index, signature) == 0 &&
            e->lib.signature_key(*signature, &key) == 0 && strcmp(key, entry) == 0) {
            return true;
        }
    }
    return false;
}

typedef int name_of(void *signature, size_t index, const char **name);
typedef int tensor_of(void *signature, size_t index, void **tensor);

/* Where each tensor stands in the signature, and its type and shape. */
static bool find_tensors(litert *e, void *signature, size_t there, name_of *name, tensor_of *tensor,
                         ec_tensor *tensors, size_t count, size_t *places)
{
    size_t i, p;
    for (i = 0; i < count; i++) {
        const char *called;
        void *handle;
        ec_litert_ranked_type type;
        int32_t d;
        for (p = 0; p < there; p++) {
            if (name(signature, p, &called) == 0 && strcmp(called, tensors[i].name) == 0) {
                break;
            }
        }
        memset(&type, 0, sizeof type);
        if (p == there || tensor(signature, p, &handle) != 0 ||
            e->lib.tensor_type(handle, &type) != 0 || type.rank > EC_MOST_RANK) {
            return false;
        }
        places[i] = p;
        tensors[i].type = (ec_type)type.element;
        tensors[i].rank = (int32_t)type.rank;
        for (d = 0; d < tensors[i].rank; d++) {
            tensors[i].shape[d] = type.dimensions[d];
        }
    }
    return there == count;
}

static edgecap_status load(ec_engine *engine, const ec_model_file *model, const char *entry,
                           ec_tensor *inputs, size_t input_count, ec_tensor *outputs,
                           size_t output_count, void **found, edgecap_error *error)
{
    litert *e = (litert *)engine;
    function *f = ec_arena_take(&e->arena, sizeof *f);
    size_t there = 0, out_there = 0;
    void *signature;
    edgecap_status status;
    if (f == NULL) {
        return ec_no_memory(error);
    }
    f->input_count = input_count;
    f->output_count = output_count;
    f->inputs = ec_arena_array(&e->arena, input_count, sizeof *f->inputs);
    f->outputs = ec_arena_array(&e->arena, output_count, sizeof *f->outputs);
    if (f->inputs == NULL || f->outputs == NULL) {
        return ec_no_memory(error);
    }
    status = open_file(e, model, &f->from, error);
    if (status != EDGECAP_OK) {
        return status;
    }
    if (!find_signature(e, f->from, entry, &f->signature, &signature)) {
        return ec_fail(error, EDGECAP_BUNDLE, "bundle.model", "%.100s has no signature %.60s.",
                       model->path, entry);
    }
    if (e->lib.input_count(signature, &there) != 0 || e->lib.output_count(signature, &out_there) ||
        !find_tensors(e, signature, there, e->lib.input_name, e->lib.input_tensor, inputs,
                      input_count, f->inputs) ||
        !find_tensors(e, signature, out_there, e->lib.output_name, e->lib.output_tensor, outputs,
                      output_count, f->outputs)) {
        return ec_fail(error, EDGECAP_BUNDLE, "bundle.model",
                       "%.60s of %.100s does not have the tensors in the manifest.", entry,
                       model->path);
    }
    *found = f;
    return EDGECAP_OK;
}

static void release_buffers(litert *e, void **buffers, size_t count)
{
    size_t i;
    for (i = 0; buffers != NULL && i < count; i++) {
        if (buffers[i] != NULL) {
            e->lib.destroy_buffer(buffers[i]);
        }
    }
    ec_release(&e->arena.memory, buffers);
}

static void unbind(ec_engine *engine, void *bound)
{
    litert *e = (litert *)engine;
    call *c = bound;
    if (c != NULL) {
        release_buffers(e, c->inputs, c->of->input_count);
        release_buffers(e, c->outputs, c->of->output_count);
        ec_release(&e->arena.memory, c);
    }
}

static bool make_buffers(litert *e, const ec_tensor *tensors, size_t count, const size_t *places,
                         void **buffers)
{
    size_t i;
    for (i = 0; i < count; i++) {
        ec_litert_ranked_type type;
        int32_t d;
        memset(&type, 0, sizeof type);
        type.element = (int32_t)tensors[i].type;
        type.rank = (unsigned int)tensors[i].rank & 127u;
        for (d = 0; d < tensors[i].rank; d++) {
            type.dimensions[d] = (int32_t)tensors[i].shape[d];
        }
        if (e->lib.create_buffer(&type, tensors[i].data, tensors[i].bytes, NULL,
                                 &buffers[places[i]]) != 0) {
            buffers[places[i]] = NULL;
            return false;
        }
    }
    return true;
}

static edgecap_status bind(ec_engine *engine, void *given, const ec_tensor *inputs,
                           const ec_tensor *outputs, void **bound, edgecap_error *error)
{
    litert *e = (litert *)engine;
    const function *f = given;
    call *c = ec_allocate_array(&e->arena.memory, 1, sizeof *c);
    *bound = NULL;
    if (c == NULL) {
        return ec_no_memory(error);
    }
    c->of = f;
    c->inputs = ec_allocate_array(&e->arena.memory, f->input_count, sizeof *c->inputs);
    c->outputs = ec_allocate_array(&e->arena.memory, f->output_count, sizeof *c->outputs);
    if (c->inputs == NULL || c->outputs == NULL) {
        unbind(engine, c);
        return ec_no_memory(error);
    }
    if (!make_buffers(e, inputs, f->input_count, f->inputs, c->inputs) ||
        !make_buffers(e, outputs, f->output_count, f->outputs, c->outputs)) {
        unbind(engine, c);
        return ec_engine_refuses(NAME, "the memory of a tensor", error);
    }
    *bound = c;
    return EDGECAP_OK;
}

static edgecap_status run(ec_engine *engine, void *bound, edgecap_error *error)
{
    litert *e = (litert *)engine;
    const call *c = bound;
    int code = e->lib.run(c->of->from->compiled, c->of->signature, c->of->input_count, c->inputs,
                          c->of->output_count, c->outputs);
    return code == 0 ? EDGECAP_OK
                     : ec_fail(error, EDGECAP_ENGINE, "engine.failed",
                               "LiteRT failed to run a function: status %d.", code);
}

static void close_engine(ec_engine *engine)
{
    litert *e = (litert *)engine;
    ec_arena arena = e->arena;
    file *f;
    for (f = e->files; f != NULL; f = f->next) {
        drop(e, f);
    }
    if (e->environment != NULL) {
        e->lib.destroy_environment(e->environment);
    }
    ec_library_close(e->lib.handle);
    ec_arena_free(&arena); /* the engine lies in it */
}

edgecap_status ec_litert_open(const edgecap_memory *memory, const char *given, int32_t threads,
                              ec_engine **engine, edgecap_error *error)
{
    static const char *const usual[] = {"libLiteRt.so", "libLiteRt.dylib", "libLiteRt.dll", NULL};
    ec_litert_option options[2];
    ec_arena arena;
    litert *e;
    edgecap_status status;
    ec_arena_init(&arena, memory);
    e = ec_arena_take(&arena, sizeof *e);
    if (e == NULL) {
        return ec_no_memory(error);
    }
    snprintf(e->threads, sizeof e->threads, "num_threads = %ld\n", (long)threads);
    status =
        ec_engine_library(NAME, given, usual, "LiteRtCreateEnvironment", &e->lib.handle, error);
    if (status != EDGECAP_OK) {
        ec_arena_free(&arena);
        return status;
    }
    e->arena = arena;
    e->engine.name = "litert";
    e->engine.load = load;
    e->engine.bind = bind;
    e->engine.run = run;
    e->engine.unbind = unbind;
    e->engine.close = close_engine;
    status = ec_litert_find(&e->lib, error);
    memset(options, 0, sizeof options);
    options[0].tag = TAG_SEVERITY;
    options[0].value = HIDDEN_BELOW_ERROR;
    options[1].tag = TAG_ACCELERATORS; /* or it looks for GPU plugins */
    options[1].value = CPU;
    options[0].type = options[1].type = ANY_INT;
    if (status == EDGECAP_OK && e->lib.create_environment(2, options, &e->environment) != 0) {
        e->environment = NULL;
        status = ec_fail(error, EDGECAP_ENGINE, "engine.failed", "LiteRT does not start.");
    }
    if (status != EDGECAP_OK) {
        close_engine(&e->engine);
        return status;
    }
    *engine = &e->engine;
    return EDGECAP_OK;
}
