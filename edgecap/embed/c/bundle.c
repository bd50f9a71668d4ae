/* bundle.c: see bundle.h. */
#include "bundle.h"

#include <stdio.h>
#include <string.h>

#include "platform.h"

enum { MOST_FOLDERS = 4, CHUNK = 1 << 16 };

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

edgecap_status ec_read_file(const edgecap_memory *memory, const char *directory, const char *name,
                            size_t most, char **data, size_t *length, edgecap_error *error)
{
    ec_arena arena;
    edgecap_status status = EDGECAP_OK;
    FILE *file = NULL;
    int64_t size = 0;
    char *path;
    *data = NULL;
    *length = 0;
    ec_arena_init(&arena, memory);
    path = ec_path(&arena, directory, name);
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

/* ---- What lies in the directory ---- */

typedef struct found { /* of the whole directory */
    ec_arena *arena;
    const char *root;
    const ec_manifest *manifest;
    int64_t *sizes;    /* per file of the manifest, -1: not there */
    const char *extra; /* the first by name that is not listed, or NULL */
    edgecap_status status;
    edgecap_error *error;
} found;

typedef struct walker { /* of one folder */
    found *all;
    const char *prefix;  /* "" or "folder/" */
    size_t depth, names; /* names seen in the folder */
} walker;

static bool stop(found *all, const char *code, const char *format, const char *name)
{
    all->status = ec_fail(all->error, EDGECAP_BUNDLE, code, format, name);
    return false;
}

static bool no_memory(found *all)
{
    all->status = ec_no_memory(all->error);
    return false;
}

static bool is_litter(const char *name)
{
    return name[0] == '.' || strcmp(name, "Thumbs.db") == 0 ||
           strcmp(name, "desktop.ini") == 0;
}

static void extra(found *all, const char *name)
{
    if (all->extra == NULL || strcmp(name, all->extra) < 0) {
        all->extra = name;
    }
}

static bool visit(void *user, const char *entry);

static bool visit_folder(walker *w, const char *name, const char *path)
{
    walker inner = {0};
    found *all = w->all;
    if (w->depth >= MOST_FOLDERS) {
        return stop(all, "bundle.path", "%.100s is a folder too deep.", name);
    }
    inner.all = all;
    inner.depth = w->depth + 1;
    inner.prefix = ec_path(all->arena, name, "");
    if (inner.prefix == NULL) {
        return no_memory(all);
    }
    if (!ec_each_name(path, visit, &inner)) {
        return stop(all, "bundle.missing_file", "%.100s cannot be read.", name);
    }
    if (all->status == EDGECAP_OK && inner.names == 0) {
        extra(all, inner.prefix); /* an empty folder */
    }
    return all->status == EDGECAP_OK;
}

static bool visit(void *user, const char *entry)
{
    walker *w = user;
    found *all = w->all;
    size_t length = strlen(w->prefix);
    char *name, *path;
    const ec_file *file;
    int64_t size = 0;
    ec_kind kind;
    if (is_litter(entry)) {
        return true;
    }
    w->names++;
    name = ec_arena_take(all->arena, length + strlen(entry) + 1);
    if (name != NULL) {
        memcpy(name, w->prefix, length);
        memcpy(name + length, entry, strlen(entry));
    }
    path = name != NULL ? ec_path(all->arena, all->root, name) : NULL;
    if (path == NULL) {
        return no_memory(all);
    }
    kind = ec_path_kind(path, &size);
    if (kind == EC_FOLDER) {
        return visit_folder(w, name, path);
    }
    if (kind != EC_FILE) {
        return stop(all, "bundle.not_a_file", "%.100s is a link or a device, not a file.", name);
    }
    file = ec_manifest_file(all->manifest, name);
    if (file != NULL) {
        all->sizes[file - all->manifest->files] = size;
    } else if (strcmp(name, "manifest.json") != 0) {
        extra(all, name);
    }
    return true;
}

/* What only checks and tells may be missing; golden/ whole or not at all. */
static bool may_lack(const char *name, bool golden)
{
    static const char *const tells[] = {"README.md", "parity.json", "plan.json", "search.json",
                                        "pareto.png", "confidence.json"};
    size_t i;
    for (i = 0; i < sizeof tells / sizeof *tells; i++) {
        if (strcmp(name, tells[i]) == 0) {
            return true;
        }
    }
    return !golden && strncmp(name, "golden/", 7) == 0;
}

static edgecap_status check_hash(const char *root, const ec_file *file, ec_arena *arena,
                                 edgecap_error *error)
{
    char *path = ec_path(arena, root, file->name);
    uint8_t *chunk = ec_arena_take(arena, CHUNK);
    char hex[65];
    ec_sha256 hash;
    size_t count;
    FILE *opened;
    if (path == NULL || chunk == NULL) {
        return ec_no_memory(error);
    }
    opened = fopen(path, "rb");
    if (opened == NULL) {
        return ec_fail(error, EDGECAP_BUNDLE, "bundle.missing_file", "%.100s cannot be read.",
                       file->name);
    }
    ec_sha256_begin(&hash);
    while ((count = fread(chunk, 1, CHUNK, opened)) > 0) {
        ec_sha256_add(&hash, chunk, count);
    }
    fclose(opened);
    ec_sha256_end(&hash, hex);
    return strcmp(hex, file->sha256) == 0
               ? EDGECAP_OK
               : ec_fail(error, EDGECAP_BUNDLE, "bundle.altered",
                         "%.100s is not the file the manifest was written for.", file->name);
}

/* Names first, then sizes and hashes: what is told does not hang on the order of a folder. */
static edgecap_status compare(const found *all, bool verify)
{
    const ec_manifest *m = all->manifest;
    edgecap_status status = EDGECAP_OK;
    bool golden = false;
    size_t i;
    for (i = 0; i < m->file_count; i++) {
        golden = golden || (all->sizes[i] >= 0 && strncmp(m->files[i].name, "golden/", 7) == 0);
    }
    for (i = 0; i < m->file_count; i++) {
        if (all->sizes[i] < 0 && !may_lack(m->files[i].name, golden)) {
            return ec_fail(all->error, EDGECAP_BUNDLE, "bundle.missing_file",
                           "%.100s is listed and not there.", m->files[i].name);
        }
    }
    if (all->extra != NULL) {
        return ec_fail(all->error, EDGECAP_BUNDLE, "bundle.extra_file",
                       "%.100s is there and not listed.", all->extra);
    }
    for (i = 0; i < m->file_count && status == EDGECAP_OK; i++) {
        const ec_file *file = &m->files[i];
        if (all->sizes[i] >= 0 && all->sizes[i] != file->size) {
            return ec_fail(all->error, EDGECAP_BUNDLE,
                           all->sizes[i] < file->size ? "bundle.truncated" : "bundle.oversized",
                           "%.100s has not the size that the manifest says.", file->name);
        }
        if (all->sizes[i] >= 0 && verify) {
            ec_arena one;
            ec_arena_init(&one, &all->arena->memory);
            status = check_hash(all->root, file, &one, all->error);
            ec_arena_free(&one);
        }
    }
    return status;
}

static edgecap_status check_files(const char *root, const ec_manifest *m, bool verify,
                                  ec_arena *arena, edgecap_error *error)
{
    found all = {0};
    walker w = {0};
    size_t i;
    all.arena = arena;
    all.root = root;
    all.manifest = m;
    all.sizes = ec_arena_array(arena, m->file_count, sizeof *all.sizes);
    all.error = error;
    w.all = &all;
    w.prefix = "";
    if (all.sizes == NULL) {
        return ec_no_memory(error);
    }
    for (i = 0; i < m->file_count; i++) {
        all.sizes[i] = -1;
    }
    if (!ec_each_name(root, visit, &w)) {
        return ec_fail(error, EDGECAP_BUNDLE, "bundle.missing", "%.150s cannot be read.", root);
    }
    return all.status == EDGECAP_OK ? compare(&all, verify) : all.status;
}

edgecap_status ec_bundle_open(ec_arena *arena, const char *directory, bool verify,
                              ec_manifest *manifest, edgecap_error *error)
{
    int64_t size = 0;
    char *data;
    size_t length;
    ec_arena scratch;
    edgecap_status status;
    ec_kind kind = ec_path_kind(directory, &size);
    if (kind == EC_NOTHING || kind == EC_FILE) {
        return ec_fail(error, EDGECAP_BUNDLE, "bundle.missing", "%.150s %s.", directory,
                       kind == EC_FILE ? "is a file, not a bundle directory" : "does not exist");
    }
    status = ec_read_file(&arena->memory, directory, "manifest.json", EC_JSON_MOST_BYTES, &data,
                          &length, error);
    if (status != EDGECAP_OK) {
        return status;
    }
    status = ec_manifest_read(arena, data, length, manifest, error);
    ec_release(&arena->memory, data);
    if (status == EDGECAP_OK) {
        ec_arena_init(&scratch, &arena->memory);
        status = check_files(directory, manifest, verify, &scratch, error);
        ec_arena_free(&scratch);
    }
    return status;
}
