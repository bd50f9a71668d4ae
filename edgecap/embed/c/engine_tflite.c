/* engine_tflite.c: TensorFlow Lite through its classic C interface, which phones carry.
 *
 * From 2.14 on, where signatures have functions of their own. An interpreter owns its tensors, and
 * reuses the memory of inputs while it runs, so every run copies them in.
 */
#include <string.h>

#include "engine.h"
#include "platform.h"

typedef struct library {
    void *handle;
    void *(*create_model)(const char *path);
    void *(*create_model_in_memory)(const void *data, size_t size);
    void (*delete_model)(void *model);
    void *(*create_options)(void);
    void (*delete_options)(void *options);
    void (*set_threads)(void *options, int32_t threads);
    void *(*create_interpreter)(const void *model, const void *options);
    void (*delete_interpreter)(void *interpreter);
    int32_t (*signature_count)(const void *interpreter);
    const char *(*signature_key)(const void *interpreter, int32_t index);
    void *(*signature)(const void *interpreter, const char *key);
    void (*delete_signature)(void *signature);
    size_t (*input_count)(const void *signature);
    const char *(*input_name)(const void *signature, int32_t index);
    void *(*input)(const void *signature, const char *name);
    int (*allocate)(void *signature);
    int (*invoke)(void *signature);
    const void *(*output)(const void *signature, const char *name);
    int (*type)(const void *tensor);
    int32_t (*rank)(const void *tensor);
    int32_t (*dimension)(const void *tensor, int32_t index);
    size_t (*byte_size)(const void *tensor);
    void *(*data)(const void *tensor);
} library;

typedef struct file { /* a model file, opened once */
    struct file *next;
    char *path;
    void *model, *interpreter;
} file;

typedef struct function {
    struct function *next;
    void *signature;
    size_t input_count, output_count;
    const ec_tensor *inputs, *outputs; /* for their names */
} function;

typedef struct tflite {
    ec_engine engine;
    ec_arena arena;
    library lib;
    void *options;
    file *files;
    function *functions;
} tflite;

static const char NAME[] = "TensorFlow Lite";

static edgecap_status open_file(tflite *e, const ec_model_file *model, file **found,
                                edgecap_error *error)
{
    const char *path = model->path;
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
    f->model = model->data != NULL ? e->lib.create_model_in_memory(model->data, model->size)
                                   : e->lib.create_model(path);
    f->interpreter = f->model != NULL ? e->lib.create_interpreter(f->model, e->options) : NULL;
    if (f->interpreter == NULL) {
        if (f->model != NULL) {
            e->lib.delete_model(f->model);
        }
        return ec_engine_refuses(NAME, path, error);
    }
    f->next = e->files;
    e->files = f;
    *found = f;
    return EDGECAP_OK;
}

static bool has_signature(tflite *e, const file *f, const char *key)
{
    int32_t count = e->lib.signature_count(f->interpreter), i;
    for (i = 0; i < count; i++) {
        if (strcmp(e->lib.signature_key(f->interpreter, i), key) == 0) {
            return true;
        }
    }
    return false;
}

static bool has_input(tflite *e, const function *f, const char *name)
{
    size_t count = e->lib.input_count(f->signature), i;
    for (i = 0; i < count; i++) {
        if (strcmp(e->lib.input_name(f->signature, (int32_t)i), name) == 0) {
            return true;
        }
    }
    return false;
}

static bool read_type(tflite *e, const void *handle, ec_tensor *tensor)
{
    int32_t d;
    if (handle == NULL || e->lib.rank(handle) < 0 || e->lib.rank(handle) > EC_MOST_RANK) {
        return false;
    }
    tensor->type = (ec_type)e->lib.type(handle);
    tensor->rank = e->lib.rank(handle);
    for (d = 0; d < tensor->rank; d++) {
        tensor->shape[d] = e->lib.dimension(handle, d);
    }
    return true;
}

static edgecap_status load(ec_engine *engine, const ec_model_file *model, const char *entry,
                           ec_tensor *inputs, size_t input_count, ec_tensor *outputs,
                           size_t output_count, void **found, edgecap_error *error)
{
    tflite *e = (tflite *)engine;
    function *f = ec_arena_take(&e->arena, sizeof *f);
    bool fits = true;
    file *from;
    size_t i;
    edgecap_status status = f != NULL ? open_file(e, model, &from, error) : ec_no_memory(error);
    if (status != EDGECAP_OK) {
        return status;
    }
    if (!has_signature(e, from, entry)) {
        return ec_fail(error, EDGECAP_BUNDLE, "bundle.model", "%.100s has no signature %.60s.",
                       model->path, entry);
    }
    f->signature = e->lib.signature(from->interpreter, entry);
    if (f->signature == NULL) {
        return ec_engine_refuses(NAME, entry, error);
    }
    f->next = e->functions; /* to be deleted, whatever comes */
    e->functions = f;
    f->input_count = input_count;
    f->output_count = output_count;
    f->inputs = inputs;
    f->outputs = outputs;
    fits = e->lib.allocate(f->signature) == 0 && e->lib.input_count(f->signature) == input_count;
    for (i = 0; i < input_count && fits; i++) {
        fits = has_input(e, f, inputs[i].name) &&
               read_type(e, e->lib.input(f->signature, inputs[i].name), &inputs[i]);
    }
    for (i = 0; i < output_count && fits; i++) {
        fits = read_type(e, e->lib.output(f->signature, outputs[i].name), &outputs[i]);
    }
    *found = f;
    return fits ? EDGECAP_OK
                : ec_fail(error, EDGECAP_BUNDLE, "bundle.model",
                          "%.60s of %.100s does not have the tensors in the manifest.", entry,
                          model->path);
}

static void unbind(ec_engine *engine, void *bound)
{
    ec_call_unbind(&((tflite *)engine)->arena.memory, bound);
}

static edgecap_status bind(ec_engine *engine, void *given, const ec_tensor *inputs,
                           const ec_tensor *outputs, void **bound, edgecap_error *error)
{
    const function *f = given;
    return ec_call_bind(&((tflite *)engine)->arena.memory, f, inputs, f->input_count, outputs,
                        f->output_count, bound, error);
}

static edgecap_status run(ec_engine *engine, void *bound, edgecap_error *error)
{
    tflite *e = (tflite *)engine;
    const ec_call *c = bound;
    const function *f = c->function;
    bool done = true;
    size_t i;
    for (i = 0; i < c->input_count && done; i++) {
        const void *tensor = e->lib.input(f->signature, c->inputs[i].name);
        void *data = tensor != NULL ? e->lib.data(tensor) : NULL;
        done = data != NULL && e->lib.byte_size(tensor) == c->inputs[i].bytes;
        if (done) {
            memcpy(data, c->inputs[i].data, c->inputs[i].bytes);
        }
    }
    done = done && e->lib.invoke(f->signature) == 0;
    for (i = 0; i < c->output_count && done; i++) {
        const void *tensor = e->lib.output(f->signature, c->outputs[i].name);
        const void *data = tensor != NULL ? e->lib.data(tensor) : NULL;
        done = data != NULL && e->lib.byte_size(tensor) == c->outputs[i].bytes;
        if (done) {
            memcpy(c->outputs[i].data, data, c->outputs[i].bytes);
        }
    }
    return done ? EDGECAP_OK
                : ec_fail(error, EDGECAP_ENGINE, "engine.failed",
                          "TensorFlow Lite failed to run a function.");
}

static void close_engine(ec_engine *engine)
{
    tflite *e = (tflite *)engine;
    ec_arena arena = e->arena;
    function *f;
    file *one;
    for (f = e->functions; f != NULL; f = f->next) {
        e->lib.delete_signature(f->signature);
    }
    for (one = e->files; one != NULL; one = one->next) {
        e->lib.delete_interpreter(one->interpreter);
        e->lib.delete_model(one->model);
    }
    if (e->options != NULL) {
        e->lib.delete_options(e->options);
    }
    ec_library_close(e->lib.handle);
    ec_arena_free(&arena); /* the engine lies in it */
}

static edgecap_status find_symbols(library *lib, edgecap_error *error)
{
    ec_symbol symbols[] = {
        {"TfLiteModelCreateFromFile", &lib->create_model},
        {"TfLiteModelCreate", &lib->create_model_in_memory},
        {"TfLiteModelDelete", &lib->delete_model},
        {"TfLiteInterpreterOptionsCreate", &lib->create_options},
        {"TfLiteInterpreterOptionsDelete", &lib->delete_options},
        {"TfLiteInterpreterOptionsSetNumThreads", &lib->set_threads},
        {"TfLiteInterpreterCreate", &lib->create_interpreter},
        {"TfLiteInterpreterDelete", &lib->delete_interpreter},
        {"TfLiteInterpreterGetSignatureCount", &lib->signature_count},
        {"TfLiteInterpreterGetSignatureKey", &lib->signature_key},
        {"TfLiteInterpreterGetSignatureRunner", &lib->signature},
        {"TfLiteSignatureRunnerDelete", &lib->delete_signature},
        {"TfLiteSignatureRunnerGetInputCount", &lib->input_count},
        {"TfLiteSignatureRunnerGetInputName", &lib->input_name},
        {"TfLiteSignatureRunnerGetInputTensor", &lib->input},
        {"TfLiteSignatureRunnerAllocateTensors", &lib->allocate},
        {"TfLiteSignatureRunnerInvoke", &lib->invoke},
        {"TfLiteSignatureRunnerGetOutputTensor", &lib->output},
        {"TfLiteTensorType", &lib->type},
        {"TfLiteTensorNumDims", &lib->rank},
        {"TfLiteTensorDim", &lib->dimension},
        {"TfLiteTensorByteSize", &lib->byte_size},
        {"TfLiteTensorData", &lib->data},
    };
    return ec_engine_symbols(NAME, lib->handle, symbols, sizeof symbols / sizeof *symbols, error);
}

edgecap_status ec_tflite_open(const edgecap_memory *memory, const char *given, int32_t threads,
                              ec_engine **engine, edgecap_error *error)
{
    static const char *const usual[] = {"libtensorflowlite_c.so",
                                        "libtensorflowlite_jni.so",
                                        "libtensorflow-lite.so",
                                        "libLiteRt.so",
                                        "libtensorflowlite_c.dylib",
                                        "tensorflowlite_c.dll",
                                        NULL};
    ec_arena arena;
    tflite *e;
    edgecap_status status;
    ec_arena_init(&arena, memory);
    e = ec_arena_take(&arena, sizeof *e);
    if (e == NULL) {
        return ec_no_memory(error);
    }
    status =
        ec_engine_library(NAME, given, usual, "TfLiteModelCreateFromFile", &e->lib.handle, error);
    if (status != EDGECAP_OK) {
        ec_arena_free(&arena);
        return status;
    }
    e->arena = arena;
    e->engine.name = "tflite";
    e->engine.load = load;
    e->engine.bind = bind;
    e->engine.run = run;
    e->engine.unbind = unbind;
    e->engine.close = close_engine;
    status = find_symbols(&e->lib, error);
    if (status == EDGECAP_OK) {
        e->options = e->lib.create_options();
        if (e->options == NULL) {
            status = ec_no_memory(error);
        } else {
            e->lib.set_threads(e->options, threads);
        }
    }
    if (status != EDGECAP_OK) {
        close_engine(&e->engine);
        return status;
    }
    *engine = &e->engine;
    return EDGECAP_OK;
}
