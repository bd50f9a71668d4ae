/* edgecap_engine.h: an engine of your own, for what edgecap does not open itself, such as Core ML.
 *
 * Set edgecap_open_params.custom; bundles of its format are then run by it. Functions get memory
 * that is bound once and written in place; they are called by the thread that called edgecap. Set
 * every field that you do not use to NULL: more may come at the end.
 */
#ifndef EDGECAP_ENGINE_PUBLIC_H
#define EDGECAP_ENGINE_PUBLIC_H

#include "edgecap.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { EDGECAP_MOST_RANK = 8, EDGECAP_MOST_REASON = 120 };

/* The numbers of TensorFlow Lite. */
enum {
    EDGECAP_FLOAT32 = 1,
    EDGECAP_INT32 = 2,
    EDGECAP_UINT8 = 3,
    EDGECAP_INT64 = 4,
    EDGECAP_FLOAT16 = 10
};

typedef struct edgecap_tensor {
    const char *name; /* in the model file */
    int32_t type;
    int32_t rank;
    int64_t shape[EDGECAP_MOST_RANK]; /* -1: any */
    void *data;                       /* rows without gaps, 64-byte aligned, of `bytes` */
    size_t bytes;
} edgecap_tensor;

typedef struct edgecap_model_file { /* of a packed bundle */
    const char *name;               /* in the bundle, such as "model.mlpackage/Manifest.json" */
    const uint8_t *data;
    size_t size;
} edgecap_model_file;

typedef struct edgecap_engine {
    const char *name;   /* given in edgecap_info.engine; lives as long as the captioner */
    const char *format; /* of the bundles that it runs, such as "coreml" */
    void *user;
    /* Finds `entry` in the model at `path` and fills in type, rank and shape of the named tensors.
     * NULL where that fails, with one line in `reason`. */
    void *(*load)(void *user, const char *path, const char *entry, edgecap_tensor *inputs,
                  size_t input_count, edgecap_tensor *outputs, size_t output_count,
                  char reason[EDGECAP_MOST_REASON]);
    /* Reads inputs and fills outputs; 0 where that fails, with one line in `reason`. */
    int (*run)(void *user, void *function, const edgecap_tensor *inputs, size_t input_count,
               const edgecap_tensor *outputs, size_t output_count,
               char reason[EDGECAP_MOST_REASON]);
    void (*release)(void *user, void *function); /* what load returned */
    /* As `load`, from a packed bundle: `model` names a file of it, or a folder such as an
     * .mlpackage. All files of the bundle are given, at multiples of 64 in memory that stays as
     * long as the captioner. NULL: packed bundles are refused. */
    void *(*load_files)(void *user, const char *model, const edgecap_model_file *files,
                        size_t file_count, const char *entry, edgecap_tensor *inputs,
                        size_t input_count, edgecap_tensor *outputs, size_t output_count,
                        char reason[EDGECAP_MOST_REASON]);
} edgecap_engine;

#ifdef __cplusplus
}
#endif
#endif
