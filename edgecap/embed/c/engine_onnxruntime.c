/* engine_onnxruntime.c: ONNX graphs through the C interface of onnxruntime, 1.16 and later.
 *
 * Its one symbol gives a table of functions that only ever grows at the end: places name them.
 */
#include <stdio.h>
#include <string.h>

#include "engine.h"
#include "platform.h"

enum { API_VERSION = 16, API_MEMORY = 18, SILENT = 4, ARENA = 1, DEFAULT_MEMORY = 0 };

/* Places in the table. */
enum {
    ERROR_MESSAGE = 2,
    CREATE_ENV = 3,
    CREATE_SESSION = 7,
    CREATE_SESSION_IN_MEMORY = 8,
    RUN = 9,
    CREATE_OPTIONS = 10,
    SET_SEVERITY = 22,
    SET_INTRA_THREADS = 24,
    SET_INTER_THREADS = 25,
    INPUT_COUNT = 30,
    OUTPUT_COUNT = 31,
    INPUT_TYPE = 33,
    OUTPUT_TYPE = 34,
    INPUT_NAME = 36,
    OUTPUT_NAME = 37,
    CREATE_TENSOR = 49,
    TENSOR_INFO = 55,
    ELEMENT_TYPE = 60,
    DIMENSION_COUNT = 61,
    DIMENSIONS = 62,
    CREATE_CPU_MEMORY = 69,
    ALLOCATOR_FREE = 76,
    ALLOCATOR = 78,
    RELEASE_ENV = 92,
    RELEASE_STATUS = 93,
    RELEASE_MEMORY = 94,
    RELEASE_SESSION = 95,
    RELEASE_VALUE = 96,
    RELEASE_TYPE = 98,
    RELEASE_OPTIONS = 100,
    ADD_CONFIG = 130,
    ADD_WEIGHTS = 279 /* of 1.18 */
};

typedef void any_function(void);

typedef struct api_base {
    any_function *const *(*get_api)(uint32_t version);
    const char *(*version)(void);
} api_base;

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
    any_function *const *api;
    const api_base *base;
    int32_t threads;
    function *functions;
} onnxruntime;

static const char NAME[] = "onnxruntime";

/* The function at a place, as its own type: `CALL(e, RUN, (void *, ...))(...)`. */
#define CALL(e, place, types) ((void *(*)types)(e)->api[place])
#define RELEASE(e, place, what) ((void (*)(void *))(e)->api[place])(what)

/* True where a call succeeded; a status is told and released otherwise. */
static bool held(onnxruntime *e, void *status, char *message, size_t size)
{
    if (status == NULL) {
        return true;
    }
    if (message != NULL) {
        const char *said = ((const char *(*)(const void *))e->api[ERROR_MESSAGE])(status);
        size_t i;
        snprintf(message, size, "%s", said);
        for (i = 0; message[i] != '\0'; i++) {
            message[i] = message[i] < ' ' ? ' ' : message[i];
        }
    }
    RELEASE(e, RELEASE_STATUS, status);
    return false;
}

static bool ok(onnxruntime *e, void *status)
{
    return held(e, status, NULL, 0);
}

static ec_type type_of(int element)
{
    switch (element) {
    case 1:
        return EC_F32;
    case 2:
        return EC_U8;
    case 6:
        return EC_I32;
    case 7:
        return EC_I64;
    case 10:
        return EC_F16;
    default:
        return (ec_type)0;
    }
}

static int element_of(ec_type type)
{
    return type == EC_F32 ? 1 : type == EC_U8 ? 2 : type == EC_I32 ? 6 : type == EC_I64 ? 7 : 10;
}

static bool read_type(onnxruntime *e, void *session, size_t index, int place, ec_tensor *tensor)
{
    void *info = NULL;
    const void *shape = NULL;
    int element = 0;
    size_t rank = 0;
    bool done;
    if (!ok(e, CALL(e, place, (const void *, size_t, void **))(session, index, &info))) {
        return false;
    }
    done =
        ok(e, CALL(e, TENSOR_INFO, (const void *, const void **))(info, &shape)) && shape != NULL &&
        ok(e, CALL(e, ELEMENT_TYPE, (const void *, int *))(shape, &element)) &&
        ok(e, CALL(e, DIMENSION_COUNT, (const void *, size_t *))(shape, &rank)) &&
        rank <= EC_MOST_RANK &&
        ok(e, CALL(e, DIMENSIONS, (const void *, int64_t *, size_t))(shape, tensor->shape, rank));
    RELEASE(e, RELEASE_TYPE, info);
    tensor->type = type_of(element);
    tensor->rank = (int32_t)rank;
    return done && tensor->type != 0;
}

static bool read_tensors(onnxruntime *e, void *session, bool output, ec_tensor *tensors,
                         size_t count)
{
    size_t there = 0, i, t, found = 0;
    if (!ok(e, CALL(e, output ? OUTPUT_COUNT : INPUT_COUNT, (const void *, size_t *))(session,
                                                                                      &there))) {
        return false;
    }
    for (i = 0; i < there; i++) {
        char *name = NULL;
        bool done = true;
        if (!ok(e,
                CALL(e, output ? OUTPUT_NAME : INPUT_NAME,
                     (const void *, size_t, void *, char **))(session, i, e->allocator, &name))) {
            return false;
        }
        for (t = 0; t < count; t++) {
            if (strcmp(tensors[t].name, name) == 0) {
                done = read_type(e, session, i, output ? OUTPUT_TYPE : INPUT_TYPE, &tensors[t]);
                found++;
            }
        }
        ok(e, CALL(e, ALLOCATOR_FREE, (void *, void *))(e->allocator, name));
        if (!done) {
            return false;
        }
    }
    return found == count && (output || there == count);
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
    return ok(e, CALL(e, CREATE_OPTIONS, (void **))(options)) &&
           ok(e, CALL(e, SET_SEVERITY, (void *, int))(*options, SILENT)) &&
           ok(e, CALL(e, SET_INTRA_THREADS, (void *, int))(*options, (int)e->threads)) &&
           ok(e, CALL(e, SET_INTER_THREADS, (void *, int))(*options, 1)) &&
           (!saturates() || ok(e, CALL(e, ADD_CONFIG, (void *, const char *, const char *))(
                                      *options, "session.x64quantprecision", "1")));
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
        status = CALL(e, ADD_WEIGHTS,
                      (void *, const char *const *, const uint8_t *const *, const size_t *,
                       size_t))(options, names, data, sizes, model->beside_count);
    }
    if (status == NULL) {
        status = CALL(e, CREATE_SESSION_IN_MEMORY,
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
        status = CALL(e, CREATE_SESSION, (const void *, const char *, const void *, void **))(
            e->environment, model->path, e->options, session);
        opened = held(e, status, said, sizeof said);
    } else {
        names = ec_allocate_array(memory, count, sizeof *names);
        data = ec_allocate_array(memory, count, sizeof *data);
        sizes = ec_allocate_array(memory, count, sizeof *sizes);
        opened = false;
        if (names != NULL && data != NULL && sizes != NULL && make_options(e, &options)) {
            status = open_in_memory(e, model, options, names, data, sizes, session);
            opened = held(e, status, said, sizeof said);
        }
        RELEASE(e, RELEASE_OPTIONS, options);
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
    if (!read_tensors(e, f->session, false, inputs, input_count) ||
        !read_tensors(e, f->session, true, outputs, output_count)) {
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
            RELEASE(e, RELEASE_VALUE, values[i]);
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
        if (!ok(e, CALL(e, CREATE_TENSOR,
                        (const void *, void *, size_t, const int64_t *, size_t, int, void **))(
                       e->memory, tensors[i].data, tensors[i].bytes, tensors[i].shape,
                       (size_t)tensors[i].rank, element_of(tensors[i].type), &values[i]))) {
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
    if (held(e,
             CALL(e, RUN,
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
        RELEASE(e, RELEASE_SESSION, f->session);
    }
    if (e->memory != NULL) {
        RELEASE(e, RELEASE_MEMORY, e->memory);
    }
    if (e->options != NULL) {
        RELEASE(e, RELEASE_OPTIONS, e->options);
    }
    if (e->environment != NULL) {
        RELEASE(e, RELEASE_ENV, e->environment);
    }
    ec_library_close(e->library);
    ec_arena_free(&arena); /* the engine lies in it */
}

static bool start(onnxruntime *e)
{
    return ok(e, CALL(e, CREATE_ENV, (int, const char *, void **))(SILENT, "edgecap",
                                                                   &e->environment)) &&
           make_options(e, &e->options) &&
           ok(e,
              CALL(e, CREATE_CPU_MEMORY, (int, int, void **))(ARENA, DEFAULT_MEMORY, &e->memory)) &&
           ok(e, CALL(e, ALLOCATOR, (void **))(&e->allocator));
}

edgecap_status ec_onnxruntime_open(const edgecap_memory *memory, const char *given, int32_t threads,
                                   ec_engine **engine, edgecap_error *error)
{
    static const char *const usual[] = {"libonnxruntime.so", "libonnxruntime.so.1",
                                        "libonnxruntime.dylib", "onnxruntime.dll", NULL};
    const api_base *(*get_base)(void) = NULL;
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
                         "this onnxruntime is %.20s; 1.%d or later is needed.",
                         e->base->version(), API_VERSION);
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
