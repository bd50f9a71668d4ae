/* edgecap.c: opening and closing; see edgecap.h. */
#include <stdio.h>
#include <string.h>

#include "bundle.h"
#include "captioner.h"
#include "platform.h"

enum { MOST_THREADS = 64 };

static const struct {
    const char *name, *format;
    ec_engine_open *open;
} ENGINES[] = {
    /* of one format, in order of preference */
    {"litert", "tflite", ec_litert_open},
    {"tflite", "tflite", ec_tflite_open},
    {"onnxruntime", "onnx", ec_onnxruntime_open},
};
enum { ENGINE_COUNT = sizeof ENGINES / sizeof *ENGINES };

edgecap_open_params edgecap_open_default_params(void)
{
    edgecap_open_params params;
    memset(&params, 0, sizeof params);
    params.engine = "auto";
    params.threads = 1;
    params.verify = 1;
    return params;
}

size_t ec_longest_caption(const edgecap_captioner *c)
{
    size_t longest = 0, i;
    for (i = 0; i < c->manifest.prompt_count; i++) {
        size_t most = (size_t)c->manifest.prompts[i].how.max_new_tokens;
        longest = most > longest ? most : longest;
    }
    return longest;
}

static edgecap_status check_params(const edgecap_open_params *p, edgecap_error *error)
{
    size_t i;
    if (p->threads < 1 || p->threads > MOST_THREADS) {
        return ec_fail(error, EDGECAP_INPUT, "threads.number", "threads must be 1-%d, got %ld.",
                       MOST_THREADS, (long)p->threads);
    }
    if ((p->memory.allocate == NULL) != (p->memory.release == NULL)) {
        return ec_fail(error, EDGECAP_INPUT, "memory.functions",
                       "give both functions for memory, or none.");
    }
    if (p->engine == NULL || strcmp(p->engine, "auto") == 0) {
        return EDGECAP_OK;
    }
    for (i = 0; i < ENGINE_COUNT; i++) {
        if (strcmp(ENGINES[i].name, p->engine) == 0) {
            return EDGECAP_OK;
        }
    }
    return ec_fail(error, EDGECAP_INPUT, "backend.unknown",
                   "unknown engine '%.40s'; allowed: auto, litert, tflite, onnxruntime.",
                   p->engine);
}

static edgecap_status open_engine(edgecap_captioner *c, const edgecap_open_params *p,
                                  ec_engine **engine, edgecap_error *error)
{
    bool any = p->engine == NULL || strcmp(p->engine, "auto") == 0;
    edgecap_status status = EDGECAP_OK;
    bool tried = false;
    size_t i;
    if (any && p->custom != NULL && strcmp(p->custom->format, c->manifest.format) == 0) {
        return ec_custom_open(&c->memory, p->custom, engine, error);
    }
    for (i = 0; i < ENGINE_COUNT; i++) {
        if (strcmp(ENGINES[i].format, c->manifest.format) == 0 &&
            (any || strcmp(ENGINES[i].name, p->engine) == 0)) {
            edgecap_error other;
            edgecap_status opened =
                ENGINES[i].open(&c->memory, p->library, p->threads, engine, tried ? &other : error);
            if (opened == EDGECAP_OK) {
                ec_clear(error);
                return EDGECAP_OK;
            }
            if (opened == EDGECAP_MEMORY) {
                return ec_no_memory(error);
            }
            status = tried ? status : opened; /* the preferred one's reason is told */
            tried = true;
        }
    }
    return tried ? status
                 : ec_fail(error, EDGECAP_UNSUPPORTED, "backend.format",
                           "%.40s cannot run a bundle in %.40s.", any ? "this edgecap" : p->engine,
                           c->manifest.format);
}

/* ---- Where the files lie ---- */

/* A packed bundle in memory; bytes that are not at a multiple of 64 are copied to one. */
static edgecap_status take_bytes(edgecap_captioner *c, const void *data, size_t size,
                                 edgecap_error *error)
{
    const void *aligned = data;
    if ((uintptr_t)data % 64 != 0) {
        void *block = ec_allocate_aligned(&c->memory, size, &c->copy);
        if (block == NULL) {
            return ec_no_memory(error);
        }
        memcpy(block, data, size);
        aligned = block;
    }
    return ec_container_read(&c->arena, aligned, size, &c->source.packed, error);
}

static bool is_packed(const char *path, const char *data, size_t size)
{
    size_t length = strlen(path);
    return (size >= 4 && memcmp(data, "PK\3\4", 4) == 0) ||
           (length > 8 && strcmp(path + length - 8, ".edgecap") == 0);
}

static edgecap_status take_file(edgecap_captioner *c, const char *path, int64_t size,
                                edgecap_error *error)
{
    FILE *file;
    void *block;
    if (ec_map_file(path, &c->mapped, &c->mapped_size)) {
        if (!is_packed(path, c->mapped, c->mapped_size)) {
            return ec_fail(error, EDGECAP_BUNDLE, "bundle.missing",
                           "%.150s is a file, and neither a bundle directory nor packed.", path);
        }
        return take_bytes(c, c->mapped, c->mapped_size, error);
    }
    if (size < 0 || size > (int64_t)0xFFFFFFFF) { /* a system that maps no files reads them */
        return ec_fail(error, EDGECAP_BUNDLE, "bundle.container", "%.150s is too large.", path);
    }
    block = ec_allocate_aligned(&c->memory, (size_t)size + 1, &c->copy);
    file = block != NULL ? fopen(path, "rb") : NULL;
    if (block == NULL) {
        return ec_no_memory(error);
    }
    if (file == NULL) {
        return ec_fail(error, EDGECAP_BUNDLE, "bundle.missing", "%.150s cannot be read.", path);
    }
    size = (int64_t)fread(block, 1, (size_t)size, file);
    fclose(file);
    return ec_container_read(&c->arena, block, (size_t)size, &c->source.packed, error);
}

static edgecap_status take_path(edgecap_captioner *c, const char *path, edgecap_error *error)
{
    int64_t size = 0;
    ec_kind kind = ec_path_kind(path, &size);
    if (kind == EC_NOTHING) {
        return ec_fail(error, EDGECAP_BUNDLE, "bundle.missing", "%.150s does not exist.", path);
    }
    if (kind == EC_FILE) {
        return take_file(c, path, size, error);
    }
    c->source.directory = ec_arena_text(&c->arena, path, strlen(path));
    return c->source.directory != NULL ? EDGECAP_OK : ec_no_memory(error);
}

static edgecap_status read_calibration(edgecap_captioner *c, edgecap_error *error)
{
    static const char name[] = "confidence.json";
    char *data;
    size_t length;
    const ec_file *file = ec_manifest_file(&c->manifest, name);
    edgecap_status status;
    if (file == NULL || !file->present || !c->manifest.captions) {
        return EDGECAP_OK;
    }
    status = ec_read_file(&c->memory, &c->source, name, EC_JSON_MOST_BYTES, &data, &length, error);
    if (status == EDGECAP_OK) {
        status = ec_calibration_read(&c->arena, data, length, &c->calibration, error);
        ec_release(&c->memory, data);
    }
    return status;
}

static edgecap_status open_all(edgecap_captioner *c, const edgecap_open_params *p,
                               edgecap_error *error)
{
    ec_engine *engine = NULL;
    edgecap_status status =
        ec_bundle_open(&c->arena, &c->source, p->verify != 0, &c->manifest, error);
    if (status == EDGECAP_OK) {
        status = ec_open_vocabulary(c, error);
    }
    if (status == EDGECAP_OK) {
        status = read_calibration(c, error);
    }
    if (status == EDGECAP_OK) {
        status = open_engine(c, p, &engine, error);
    }
    if (status != EDGECAP_OK) {
        return status;
    }
    c->engine = engine->name;
    return ec_session_open(&c->memory, &c->manifest, &c->source, engine, &c->session, error);
}

/* `path`, or else `data`. */
static edgecap_captioner *open_any(const char *path, const void *data, size_t size,
                                   const edgecap_open_params *params, edgecap_error *error)
{
    edgecap_open_params defaults = edgecap_open_default_params();
    const edgecap_open_params *p = params != NULL ? params : &defaults;
    edgecap_captioner *c;
    edgecap_status status;
    if (check_params(p, error) != EDGECAP_OK) {
        return NULL;
    }
    c = ec_allocate_array(&p->memory, 1, sizeof *c);
    if (c == NULL) {
        ec_no_memory(error);
        return NULL;
    }
    c->memory = p->memory;
    ec_arena_init(&c->arena, &c->memory);
    status = path != NULL ? take_path(c, path, error) : take_bytes(c, data, size, error);
    if (status == EDGECAP_OK) {
        status = open_all(c, p, error);
    }
    if (status != EDGECAP_OK) {
        edgecap_close(c);
        return NULL;
    }
    return c;
}

edgecap_captioner *edgecap_open(const char *bundle, const edgecap_open_params *params,
                                edgecap_error *error)
{
    ec_clear(error);
    if (bundle == NULL || *bundle == '\0') {
        ec_fail(error, EDGECAP_INPUT, "bundle.missing", "no bundle was named.");
        return NULL;
    }
    return open_any(bundle, NULL, 0, params, error);
}

edgecap_captioner *edgecap_open_bytes(const void *data, size_t size,
                                      const edgecap_open_params *params, edgecap_error *error)
{
    ec_clear(error);
    if (data == NULL || size == 0) {
        ec_fail(error, EDGECAP_INPUT, "bundle.missing", "no bytes of a packed bundle were given.");
        return NULL;
    }
    return open_any(NULL, data, size, params, error);
}

void edgecap_close(edgecap_captioner *captioner)
{
    edgecap_memory memory;
    if (captioner != NULL) {
        memory = captioner->memory;
        ec_session_close(captioner->session);
        ec_arena_free(&captioner->arena);
        ec_release(&memory, captioner->copy);
        ec_unmap_file(captioner->mapped, captioner->mapped_size);
        ec_release(&memory, captioner);
    }
}

edgecap_info edgecap_get_info(const edgecap_captioner *c)
{
    edgecap_info info;
    memset(&info, 0, sizeof info);
    if (c != NULL) {
        info.name = c->manifest.name;
        info.format = c->manifest.format;
        info.precision = c->manifest.precision;
        info.engine = c->engine;
        info.language_count = c->manifest.language_count;
        info.style_count = c->manifest.style_count;
        info.languages = c->manifest.languages;
        info.styles = c->manifest.styles;
        info.image_size = ec_input_width(&c->manifest.image);
        info.patches = c->manifest.patches;
        info.embedding = c->manifest.embedding;
        info.vocabulary = c->manifest.vocabulary;
        info.most_tokens = ec_longest_caption(c);
        info.most_text_bytes = c->codec != NULL ? ec_codec_bound(c->codec, info.most_tokens) : 1;
        info.most_boxes = info.most_tokens / (c->manifest.regions.codec == EC_CELLS2 ? 2 : 4);
        info.prompt_count = c->prompts != NULL ? c->manifest.prompt_count : 0;
        info.prompts = c->prompts;
        info.text_tokens = c->manifest.text_tokens;
        info.calibrated = c->calibration != NULL;
    }
    return info;
}

void edgecap_set_clock(edgecap_captioner *captioner, double (*seconds)(void))
{
    if (captioner != NULL) {
        captioner->clock = seconds;
    }
}
