/* bundle_files.c: whether what lies in a bundle is what its manifest lists; see bundle.h. */
#include <stdio.h>
#include <string.h>

#include "bundle.h"
#include "platform.h"

enum { MOST_FOLDERS = 4, CHUNK = 1 << 16 };

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

/* What systems, file managers and network storage leave; as core/litter.py. */
static bool is_litter(const char *name)
{
    static const char *const known[] = {
        "Thumbs.db",  "ehthumbs.db",  "desktop.ini",          "Icon\r",
        "__MACOSX",   "@eaDir",       "System Volume Information",
        "lost+found", "#recycle",     "Temporary Items",      "@Recycle",
        "#snapshot",  "$RECYCLE.BIN", "Network Trash Folder", "~snapshot",
        "@Recently-Snapshot"};
    static const char stream[] = ":Zone.Identifier"; /* WSL's; see there */
    size_t i, length = strlen(name), last = sizeof stream - 1;
    for (i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(name, known[i]) == 0) {
            return true;
        }
    }
    return name[0] == '.' || (length >= last && strcmp(name + length - last, stream) == 0);
}

static bool ends_with(const char *text, const char *end) /* in any case of letters */
{
    size_t length = strlen(text), last = strlen(end), i;
    for (i = 0; i < last && last <= length; i++) {
        char c = text[length - last + i];
        if ((c >= 'A' && c <= 'Z' ? (char)(c + 32) : c) != end[i]) {
            return false;
        }
    }
    return last <= length;
}

/* What people read: it may be edited, added or left out (SPEC.md), and is not compared. */
static bool is_document(const char *name)
{
    static const char *const ends[] = {".md",  ".txt",  ".rst", ".pdf", ".html", ".png",
                                       ".jpg", ".jpeg", ".gif", ".svg", ".webp"};
    static const char *const names[] = {"LICENSE", "LICENCE", "COPYING",
                                        "NOTICE",  "AUTHORS", "CITATION"};
    const char *last = strrchr(name, '/');
    size_t i;
    if (strncmp(name, "golden/", 7) == 0 || strstr(name, ".mlpackage") != NULL) {
        return false;
    }
    last = last != NULL ? last + 1 : name;
    for (i = 0; i < sizeof ends / sizeof *ends; i++) {
        if (ends_with(last, ends[i])) {
            return true;
        }
    }
    for (i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcspn(last, ".") == strlen(names[i]) &&
            strncmp(last, names[i], strlen(names[i])) == 0) {
            return true;
        }
    }
    return false;
}

static void extra(found *all, const char *name)
{
    if (is_document(name)) {
        return;
    }
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
        return stop(all, "bundle.path", "%.100s is nested too deeply.", name);
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
    static const char *const tells[] = {"parity.json", "plan.json", "search.json",
                                        "confidence.json"};
    size_t i;
    for (i = 0; i < sizeof tells / sizeof *tells; i++) {
        if (strcmp(name, tells[i]) == 0) {
            return true;
        }
    }
    return is_document(name) || (!golden && strncmp(name, "golden/", 7) == 0);
}

static bool hash_file(ec_sha256 *hash, const char *path, uint8_t *chunk)
{
    FILE *opened = fopen(path, "rb");
    size_t count;
    if (opened == NULL) {
        return false;
    }
    while ((count = fread(chunk, 1, CHUNK, opened)) > 0) {
        ec_sha256_add(hash, chunk, count);
    }
    fclose(opened);
    return true;
}

static edgecap_status check_hash(const ec_source *source, const ec_file *file, ec_arena *arena,
                                 edgecap_error *error)
{
    const ec_packed *packed = ec_container_find(&source->packed, file->name);
    char hex[65];
    ec_sha256 hash;
    ec_sha256_begin(&hash);
    if (packed != NULL) {
        ec_sha256_add(&hash, packed->data, packed->size);
    } else {
        char *path = ec_path(arena, source->directory, file->name);
        uint8_t *chunk = ec_arena_take(arena, CHUNK);
        if (path == NULL || chunk == NULL) {
            return ec_no_memory(error);
        }
        if (!hash_file(&hash, path, chunk)) {
            return ec_fail(error, EDGECAP_BUNDLE, "bundle.missing_file", "%.100s cannot be read.",
                           file->name);
        }
    }
    ec_sha256_end(&hash, hex);
    return strcmp(hex, file->sha256) == 0
               ? EDGECAP_OK
               : ec_fail(error, EDGECAP_BUNDLE, "bundle.altered",
                         "%.100s is not the file the manifest was written for.", file->name);
}

/* Names first, then sizes and hashes: what is told does not hang on the order of a folder. */
static edgecap_status compare(const found *all, const ec_source *source, bool verify)
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
                           "%.100s is listed but missing.", m->files[i].name);
        }
    }
    if (all->extra != NULL) {
        return ec_fail(all->error, EDGECAP_BUNDLE, "bundle.extra_file",
                       "%.100s is not listed in the manifest.", all->extra);
    }
    for (i = 0; i < m->file_count && status == EDGECAP_OK; i++) {
        const ec_file *file = &m->files[i];
        if (is_document(file->name)) {
            continue;
        }
        if (all->sizes[i] >= 0 && all->sizes[i] != file->size) {
            return ec_fail(all->error, EDGECAP_BUNDLE,
                           all->sizes[i] < file->size ? "bundle.truncated" : "bundle.oversized",
                           "%.100s does not have the size in the manifest.", file->name);
        }
        if (all->sizes[i] >= 0 && verify) {
            ec_arena one;
            ec_arena_init(&one, &all->arena->memory);
            status = check_hash(source, file, &one, all->error);
            ec_arena_free(&one);
        }
    }
    return status;
}

static void list_packed(found *all, const ec_container *packed)
{
    size_t i;
    for (i = 1; i < packed->count; i++) { /* the manifest is the first */
        const ec_packed *one = &packed->files[i];
        const ec_file *file = ec_manifest_file(all->manifest, one->name);
        if (file != NULL) {
            all->sizes[file - all->manifest->files] = (int64_t)one->size;
        } else {
            extra(all, one->name);
        }
    }
}

edgecap_status ec_check_bundle_files(ec_arena *arena, const ec_source *source, ec_manifest *m,
                                     bool verify, edgecap_error *error)
{
    found all = {0};
    walker w = {0};
    size_t i;
    all.arena = arena;
    all.root = source->directory;
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
    if (source->packed.count > 0) {
        list_packed(&all, &source->packed);
    } else if (!ec_each_name(all.root, visit, &w)) {
        return ec_fail(error, EDGECAP_BUNDLE, "bundle.missing", "%.150s cannot be read.", all.root);
    }
    for (i = 0; i < m->file_count; i++) {
        m->files[i].present = all.sizes[i] >= 0;
    }
    return all.status == EDGECAP_OK ? compare(&all, source, verify) : all.status;
}
