/* bundle.c: reading a bundle's files; see bundle.h. */
#include "bundle.h"

#include <stdio.h>
#include <string.h>

#include "platform.h"

char *ec_path(ec_arena *arena, const char *directory, const char *name)
{
    size_t first = strlen(directory), second = strlen(name);
    char *path = ec_arena_take(arena, first + second + 2);
    if (path != NULL) {
        memcpy(path, directory, first);
        path[first] = '/';
        memcpy(path + first + 1, name, second);
    }
    return path;
}

static edgecap_status read_packed(const edgecap_memory *memory, const ec_packed *file, size_t most,
                                  char **data, size_t *length, edgecap_error *error)
{
    *length = file->size > most ? most + 1 : file->size;
    *data = ec_allocate(memory, *length + 1);
    if (*data == NULL) {
        return ec_no_memory(error);
    }
    memcpy(*data, file->data, *length);
    return EDGECAP_OK;
}

edgecap_status ec_read_file(const edgecap_memory *memory, const ec_source *source, const char *name,
                            size_t most, char **data, size_t *length, edgecap_error *error)
{
    const ec_packed *packed = ec_container_find(&source->packed, name);
    ec_arena arena;
    edgecap_status status = EDGECAP_OK;
    FILE *file = NULL;
    int64_t size = 0;
    char *path;
    *data = NULL;
    *length = 0;
    if (packed != NULL) {
        return read_packed(memory, packed, most, data, length, error);
    }
    ec_arena_init(&arena, memory);
    path = source->directory != NULL ? ec_path(&arena, source->directory, name) : NULL;
    if (source->directory == NULL) {
        return ec_fail(error, EDGECAP_BUNDLE, "bundle.missing_file", "%.100s is not there.", name);
    }
    if (path == NULL) {
        return ec_no_memory(error);
    }
    if (ec_path_kind(path, &size) == EC_FILE) {
        file = fopen(path, "rb");
    }
    ec_arena_free(&arena);
    if (file == NULL) {
        return ec_fail(error, EDGECAP_BUNDLE, "bundle.missing_file", "%.100s cannot be read.",
                       name);
    }
    size = size > (int64_t)most ? (int64_t)most : size;
    *data = ec_allocate(memory, (size_t)size + 1); /* one more, to see what is beyond */
    if (*data == NULL) {
        status = ec_no_memory(error);
    } else {
        *length = fread(*data, 1, (size_t)size + 1, file);
        if (ferror(file)) {
            status = ec_fail(error, EDGECAP_BUNDLE, "bundle.missing_file", "%.100s cannot be read.",
                             name);
        }
    }
    fclose(file);
    if (status != EDGECAP_OK) {
        ec_release(memory, *data);
        *data = NULL;
    }
    return status;
}

edgecap_status ec_bundle_open(ec_arena *arena, const ec_source *source, bool verify,
                              ec_manifest *manifest, edgecap_error *error)
{
    char *data;
    size_t length;
    ec_arena scratch;
    edgecap_status status = ec_read_file(&arena->memory, source, "manifest.json",
                                         EC_JSON_MOST_BYTES, &data, &length, error);
    if (status != EDGECAP_OK) {
        return status;
    }
    status = ec_manifest_read(arena, data, length, manifest, error);
    ec_release(&arena->memory, data);
    if (status == EDGECAP_OK) {
        ec_arena_init(&scratch, &arena->memory);
        status = ec_check_bundle_files(&scratch, source, manifest, verify, error);
        ec_arena_free(&scratch);
    }
    return status;
}

edgecap_status ec_bundle_model(ec_arena *arena, const ec_source *source, const char *name,
                               bool takes_files, ec_model_file *model, edgecap_error *error)
{
    const ec_packed *packed = ec_container_find(&source->packed, name);
    const char *slash = strrchr(name, '/');
    size_t folder = slash != NULL ? (size_t)(slash - name) + 1 : 0, i;
    memset(model, 0, sizeof *model);
    if (source->packed.count == 0) {
        model->path = ec_path(arena, source->directory, name);
        return model->path != NULL ? EDGECAP_OK : ec_no_memory(error);
    }
    if (takes_files) {
        model->path = name;
        model->files = source->packed.files;
        model->file_count = source->packed.count;
        return EDGECAP_OK;
    }
    if (packed == NULL) { /* a package of Core ML */
        return ec_fail(error, EDGECAP_BUNDLE, "bundle.model",
                       "%.100s is a folder, of which this engine opens none in a packed bundle.",
                       name);
    }
    model->path = packed->name;
    model->data = packed->data;
    model->size = packed->size;
    model->beside = ec_arena_array(arena, source->packed.count, sizeof *model->beside);
    if (model->beside == NULL) {
        return ec_no_memory(error);
    }
    for (i = 1; i < source->packed.count; i++) {
        const ec_packed *one = &source->packed.files[i];
        if (one != packed && strncmp(one->name, name, folder) == 0) {
            ec_packed *blob = &model->beside[model->beside_count++];
            blob->name = one->name + folder;
            blob->data = one->data;
            blob->size = one->size;
        }
    }
    return EDGECAP_OK;
}
