/* engine_onnxruntime.c: ONNX graphs through the C interface of onnxruntime, 1.16 and later. */
#include <stdio.h>
#include <string.h>

#include "onnxruntime_abi.h"
#include "platform.h"

enum { API_VERSION = 16, API_MEMORY = 18, SILENT = 4, ARENA = 1, DEFAULT_MEMORY = 0 };

typedef struct function {
    struct function *next;
    void *session;
    const char **inputs, **outputs; /* names in the file */
    size_t input_count, output_count;
} function;

typedef struct call {
    const function *of;
    void **inputs, **outputs; /* OrtValues */
} call;

typedef struct onnxruntime {
    ec_engine engine;
    ec_arena arena;
    void *library, *environment, *options, *memory, *allocator;
    ec_ort_api api;
    const ec_ort_base *base;
    int32_t threads;
    function *functions;
} onnxruntime;

static const char NAME[] = "onnxruntime";

#define CALL(e, place, types) ORT_CALL((e)->api, place, types)
#define RELEASE(e, place, what) ORT_RELEASE((e)->api, place, what)

static bool ok(const onnxruntime *e, void *status)
{
    return ec_ort_held(e->api, status, NULL, 0);
}

static bool copy_names(onnxruntime *e, const ec_tensor *tensors, size_t count, const char ***names)
{
    size_t i;
    *names = ec_arena_array(&e->arena, count, sizeof **names);
    for (i = 0; *names != NULL && i < count; i++) {
        (*names)[i] = tensors[i].name; /* lives as long as the manifest */
    }
    return *names != NULL;
}

/* Whether this processor adds pairs of uint8 by int8 products in 16 bits, which overflow: x86
 * without VNNI does. onnxruntime has exact kernels for it, slower and so only asked for here. */
static bool saturates(void)
{
#if defined(__x86_64__) || defined(__amd64__) || defined(_M_X64)
    static const char wanted[] = "vnni";
    FILE *file = fopen("/proc/cpuinfo", "r");
    size_t matched = 0;
    int c;
    if (file == NULL) {
        return true; /* not Linux: better slow than wrong */
    }
    while (matched < 4 && (c = fgetc(file)) != EOF) {
        matched = c == wanted[matched] ? matched + 1 : c == wanted[0];
    }
    fclose(file);
    return matched < 4;
#else
    return false;
#endif
}

static bool make_options(onnxruntime *e, void **options)
{
    if (!ok(e, CALL(e, ORT_CREATE_OPTIONS, (void **))(options)) ||
        !ok(e, CALL(e, ORT_SET_SEVERITY, (void *, int))(*options, SILENT)) ||
        !ok(e, CALL(e, ORT_SET_INTRA_THREADS, (void *, int))(*options, (int)e->threads)) ||
        !ok(e, CALL(e, ORT_SET_INTER_THREADS, (void *, int))(*options, 1))) {
        return false;
    }
    return !saturates() || ok(e, CALL(e, ORT_ADD_CONFIG, (void *, const char *, const char *))(
                                     *options, "session.x64quantprecision", "1"));
}

/* A session of a graph in memory; all files beside it are at hand, of which it takes its weights by
 * name. The arrays have room for model->beside_count. */
static void *open_in_memory(onnxruntime *e, const ec_model_file *model, void *options,
                            const char **names, const uint8_t **data, size_t *sizes, void **session)
{
    void *status = NULL;
    size_t i;
    for (i = 0; i < model->beside_count; i++) {
        names[i] = model->beside[i].name;
        data[i] = model->beside[i].data;
        sizes[i] = model->beside[i].size;
    }
    if (model->beside_count > 0) {
        status = CALL(e, ORT_ADD_WEIGHTS,
                      (void *, const char *const *, const uint8_t *const *, const size_t *,
                       size_t))(options, names, data, sizes, model->beside_count);
    }
    if (status == NULL) {
        status = CALL(e, ORT_CREATE_SESSION_IN_MEMORY,
                      (const void *, const void *, size_t, const void *, void **))(
            e->environment, model->data, model->size, options, session);
    }
    return status;
}

static edgecap_status open_graph(onnxruntime *e, const ec_model_file *model, void **session,
                                 edgecap_error *error)
{
    const edgecap_memory *memory = &e->arena.memory;
    const char **names;
    const uint8_t **data;
    size_t *sizes, count = model->beside_count + 1;
    char said[120] = "it makes no options";
    void *status, *options = NULL;
    bool opened;
    if (model->data == NULL) {
        status = CALL(e, ORT_CREATE_SESSION, (const void *, const char *, const void *, void **))(
            e->environment, model->path, e->options, session);
        opened = ec_ort_held(e->api, status, said, sizeof said);
    } else {
        names = ec_allocate_array(memory, count, sizeof *names);
        data = ec_allocate_array(memory, count, sizeof *data);
        sizes = ec_allocate_array(memory, count, sizeof *sizes);
        opened = false;
        if (names != NULL && data != NULL && sizes != NULL && make_options(e, &options)) {
            status = open_in_memory(e, model, options, names, data, sizes, session);
            opened = ec_ort_held(e->api, status, said, sizeof said);
        }
        RELEASE(e, ORT_RELEASE_OPTIONS, options);
        count = names != NULL && data != NULL && sizes != NULL;
        ec_release(memory, names);
        ec_release(memory, data);
        ec_release(memory, sizes);
        if (count == 0) {
            return ec_no_memory(error);
        }
    }
    return opened ? EDGECAP_OK
                  : ec_fail(error, EDGECAP_BUNDLE, "bundle.model",
                            "onnxruntime refuses a graph: %s", said);
}

static edgecap_status load(ec_engine *engine, const ec_model_file *model, const char *entry,
                           ec_tensor *inputs, size_t input_count, ec_tensor *outputs,
                           size_t output_count, void **found, edgecap_error *error)
{
    onnxruntime *e = (onnxruntime *)engine;
    function *f = ec_arena_take(&e->arena, sizeof *f);
    edgecap_status status;
    (void)entry; /* a graph is one function */
    if (model->data != NULL && e->base->get_api(API_MEMORY) == NULL) {
        return ec_fail(error, EDGECAP_ENGINE, "engine.too_old",
                       "this onnxruntime is %.20s; packed bundles need 1.%d or later.",
                       e->base->version(), API_MEMORY);
    }
    if (f == NULL || !copy_names(e, inputs, input_count, &f->inputs) ||
        !copy_names(e, outputs, output_count, &f->outputs)) {
        return ec_no_memory(error);
    }
    f->input_count = input_count;
    f->output_count = output_count;
    status = open_graph(e, model, &f->session, error);
    if (status != EDGECAP_OK) {
        return status;
    }
    f->next = e->functions;
    e->functions = f;
    if (!ec_ort_tensors(e->api, e->allocator, f->session, false, inputs, input_count) ||
        !ec_ort_tensors(e->api, e->allocator, f->session, true, outputs, output_count)) {
        return ec_fail(error, EDGECAP_BUNDLE, "bundle.model",
                       "%.120s does not have the tensors in the manifest.", model->path);
    }
    *found = f;
    return EDGECAP_OK;
}

static void release_values(onnxruntime *e, void **values, size_t count)
{
    size_t i;
    for (i = 0; values != NULL && i < count; i++) {
        if (values[i] != NULL) {
            RELEASE(e, ORT_RELEASE_VALUE, values[i]);
        }
    }
    ec_release(&e->arena.memory, values);
}

static void unbind(ec_engine *engine, void *bound)
{
    onnxruntime *e = (onnxruntime *)engine;
    call *c = bound;
    if (c != NULL) {
        release_values(e, c->inputs, c->of->input_count);
        release_values(e, c->outputs, c->of->output_count);
        ec_release(&e->arena.memory, c);
    }
}

static bool make_values(onnxruntime *e, const ec_tensor *tensors, size_t count, void **values)
{
    size_t i;
    for (i = 0; i < count; i++) {
        if (!ok(e, CALL(e, ORT_CREATE_TENSOR,
                        (const void *, void *, size_t, const int64_t *, size_t, int, void **))(
                       e->memory, tensors[i].data, tensors[i].bytes, tensors[i].shape,
                       (size_t)tensors[i].rank, ec_ort_element(tensors[i].type), &values[i]))) {
            values[i] = NULL;
            return false;
        }
    }
    return true;
}

static edgecap_status bind(ec_engine *engine, void *given, const ec_tensor *inputs,
                           const ec_tensor *outputs, void **bound, edgecap_error *error)
{
    onnxruntime *e = (onnxruntime *)engine;
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
    if (!make_values(e, inputs, f->input_count, c->inputs) ||
        !make_values(e, outputs, f->output_count, c->outputs)) {
        unbind(engine, c);
        return ec_engine_refuses(NAME, "the memory of a tensor", error);
    }
    *bound = c;
    return EDGECAP_OK;
}

static edgecap_status run(ec_engine *engine, void *bound, edgecap_error *error)
{
    onnxruntime *e = (onnxruntime *)engine;
    const call *c = bound;
    const function *f = c->of;
    char said[120];
    if (ec_ort_held(e->api,
                    CALL(e, ORT_RUN,
                         (void *, const void *, const char *const *, const void *const *, size_t,
                          const char *const *, size_t,
                          void **))(f->session, NULL, f->inputs, (const void *const *)c->inputs,
                                    f->input_count, f->outputs, f->output_count, c->outputs),
                    said, sizeof said)) {
        return EDGECAP_OK;
    }
    return ec_fail(error, EDGECAP_ENGINE, "engine.failed", "onnxruntime failed to run: %s", said);
}

static void close_engine(ec_engine *engine)
{
    onnxruntime *e = (onnxruntime *)engine;
    ec_arena arena = e->arena;
    function *f;
    for (f = e->functions; f != NULL; f = f->next) {
        RELEASE(e, ORT_RELEASE_SESSION, f->session);
    }
    if (e->memory != NULL) {
        RELEASE(e, ORT_RELEASE_MEMORY, e->memory);
    }
    if (e->options != NULL) {
        RELEASE(e, ORT_RELEASE_OPTIONS, e->options);
    }
    if (e->environment != NULL) {
        RELEASE(e, ORT_RELEASE_ENV, e->environment);
    }
    ec_library_close(e->library);
    ec_arena_free(&arena); /* the engine lies in it */
}

static bool start(onnxruntime *e)
{
    return ok(e, CALL(e, ORT_CREATE_ENV, (int, const char *, void **))(SILENT, "edgecap",
                                                                       &e->environment)) &&
           ok(e, CALL(e, ORT_DISABLE_TELEMETRY, (void *))(e->environment)) &&
           make_options(e, &e->options) &&
           ok(e, CALL(e, ORT_CREATE_CPU_MEMORY, (int, int, void **))(ARENA, DEFAULT_MEMORY,
                                                                     &e->memory)) &&
           ok(e, CALL(e, ORT_ALLOCATOR, (void **))(&e->allocator));
}

edgecap_status ec_onnxruntime_open(const edgecap_memory *memory, const char *given, int32_t threads,
                                   ec_engine **engine, edgecap_error *error)
{
    static const char *const usual[] = {"libonnxruntime.so", "libonnxruntime.so.1",
                                        "libonnxruntime.dylib", "onnxruntime.dll", NULL};
    const ec_ort_base *(*get_base)(void) = NULL;
    ec_arena arena;
    onnxruntime *e;
    edgecap_status status;
    ec_arena_init(&arena, memory);
    e = ec_arena_take(&arena, sizeof *e);
    if (e == NULL) {
        return ec_no_memory(error);
    }
    status = ec_engine_library(NAME, given, usual, "OrtGetApiBase", &e->library, error);
    if (status != EDGECAP_OK) {
        ec_arena_free(&arena);
        return status;
    }
    e->arena = arena;
    e->engine.name = "onnxruntime";
    e->engine.load = load;
    e->engine.bind = bind;
    e->engine.run = run;
    e->engine.unbind = unbind;
    e->engine.close = close_engine;
    ec_library_find(e->library, "OrtGetApiBase", &get_base);
    e->base = get_base();
    e->threads = threads;
    e->api = e->base->get_api(API_VERSION);
    if (e->api == NULL) {
        status = ec_fail(error, EDGECAP_ENGINE, "engine.too_old",
                         "this onnxruntime is %.20s; 1.%d or later is needed.", e->base->version(),
                         API_VERSION);
    } else if (!start(e)) {
        status = ec_fail(error, EDGECAP_ENGINE, "engine.failed", "onnxruntime does not start.");
    }
    if (status != EDGECAP_OK) {
        close_engine(&e->engine);
        return status;
    }
    *engine = &e->engine;
    return EDGECAP_OK;
}
