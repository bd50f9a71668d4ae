/* engine.h: what an engine must do, as a table of functions; one file each implements it.
 *
 * Libraries are opened at run time and never linked. An engine runs functions of model files on
 * tensors whose memory is the caller's: bound once, written in place, run many times.
 */
#ifndef EDGECAP_ENGINE_H
#define EDGECAP_ENGINE_H

#include "core.h"
#include "edgecap_engine.h"

enum { EC_MOST_RANK = EDGECAP_MOST_RANK };

typedef enum ec_type {
    EC_F32 = EDGECAP_FLOAT32,
    EC_I32 = EDGECAP_INT32,
    EC_U8 = EDGECAP_UINT8,
    EC_I64 = EDGECAP_INT64,
    EC_F16 = EDGECAP_FLOAT16
} ec_type;

typedef edgecap_tensor ec_tensor;

typedef struct ec_model_file {
    const char *path;    /* of the file; of one in memory a name that tells it from others */
    const uint8_t *data; /* 64-byte aligned, stays until the engine closes; NULL: open the path */
    size_t size;
    edgecap_model_file
        *beside; /* the other files in its folder, of which some may be its weights */
    size_t beside_count;
    const edgecap_model_file *files; /* all of a packed bundle, for an engine that takes files */
    size_t file_count;
} ec_model_file;

typedef struct ec_engine ec_engine;
struct ec_engine {
    const char *name;
    bool takes_files; /* of packed bundles, whatever lies in them; the others take one and `beside`
                       */
    /* Finds a function's tensors by name and fills in type, rank and shape; bundle.model where the
     * file cannot be run or its tensors are others. */
    edgecap_status (*load)(ec_engine *engine, const ec_model_file *model, const char *entry,
                           ec_tensor *inputs, size_t input_count, ec_tensor *outputs,
                           size_t output_count, void **function, edgecap_error *error);
    /* Binds memory and concrete shapes: a call that can be run again and again. */
    edgecap_status (*bind)(ec_engine *engine, void *function, const ec_tensor *inputs,
                           const ec_tensor *outputs, void **call, edgecap_error *error);
    edgecap_status (*run)(ec_engine *engine, void *call, edgecap_error *error);
    void (*unbind)(ec_engine *engine, void *call); /* NULL is allowed */
    void (*close)(ec_engine *engine);              /* after all calls were unbound */
};

/* `library` NULL: the usual names, then the program itself. Codes engine.missing, engine.too_old,
 * engine.failed. */
typedef edgecap_status ec_engine_open(const edgecap_memory *memory, const char *library,
                                      int32_t threads, ec_engine **engine, edgecap_error *error);
ec_engine_open ec_litert_open, ec_tflite_open, ec_onnxruntime_open;

edgecap_status ec_custom_open(const edgecap_memory *memory, const edgecap_engine *table,
                              ec_engine **engine, edgecap_error *error);

/* ---- Shared by the engines: engine.c ---- */

/* Opens the first library that has `symbol`. */
edgecap_status ec_engine_library(const char *name, const char *given, const char *const *usual,
                                 const char *symbol, void **library, edgecap_error *error);

typedef struct ec_symbol {
    const char *name;
    void *function; /* address of a function pointer */
} ec_symbol;

edgecap_status ec_engine_symbols(const char *name, void *library, const ec_symbol *symbols,
                                 size_t count, edgecap_error *error);
edgecap_status ec_engine_refuses(const char *name, const char *what, edgecap_error *error);

size_t ec_type_bytes(ec_type type); /* 0: not known */

/* A call of an engine that is told where memory lies in every run: copies of the tensors. */
typedef struct ec_call {
    const void *function;
    ec_tensor *inputs, *outputs;
    size_t input_count, output_count;
} ec_call;

edgecap_status ec_call_bind(const edgecap_memory *memory, const void *function,
                            const ec_tensor *inputs, size_t input_count, const ec_tensor *outputs,
                            size_t output_count, void **call, edgecap_error *error);
void ec_call_unbind(const edgecap_memory *memory, void *call); /* NULL is allowed */

#endif
