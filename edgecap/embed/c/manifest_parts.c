/* manifest_parts.c: files, functions and other parts of both schemas; see manifest.h. */
#include <string.h>

#include "manifest.h"

enum { MOST_FOLDERS = 4, MOST_NAME = 100 };

void ec_read_tools(ec_fields *f, const ec_json *tools)
{
    const ec_json *item;
    for (item = tools != NULL ? tools->first : NULL; item != NULL; item = item->next) {
        if (!ec_is_kind(f, item, EC_JSON_TEXT, "tools")) {
            return;
        }
    }
}

/* ---- Files ---- */

static bool plain_part(const char *part, size_t length)
{
    size_t i;
    for (i = 0; i < length; i++) {
        char c = part[i];
        bool first =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
        if (!first && (i == 0 || (c != '.' && c != '-'))) {
            return false;
        }
    }
    return length >= 1 && length <= MOST_NAME;
}

bool ec_is_plain_path(const char *name)
{
    const char *part = name;
    size_t folders = 0;
    for (;;) {
        size_t length = strcspn(part, "/");
        if (!plain_part(part, length) || folders > MOST_FOLDERS) {
            return false;
        }
        if (part[length] == '\0') {
            return true;
        }
        part += length + 1;
        folders++;
    }
}

static void check_name(ec_fields *f, const char *name)
{
    if (!ec_is_plain_path(name)) {
        ec_refuse(f, "bundle.path", "'%.60s' is not a plain path inside the bundle", name);
        return;
    }
    if (strcmp(name, "manifest.json") == 0) {
        ec_refuse(f, "bundle.path", "it must not list itself");
    }
}

static bool same_folded(const char *a, const char *b)
{
    for (; *a != '\0' && *b != '\0'; a++, b++) {
        char x = *a >= 'A' && *a <= 'Z' ? (char)(*a + 32) : *a;
        char y = *b >= 'A' && *b <= 'Z' ? (char)(*b + 32) : *b;
        if (x != y) {
            return false;
        }
    }
    return *a == *b;
}

static void check_files(ec_fields *f, const ec_manifest *m)
{
    size_t i, j;
    for (i = 0; i < m->file_count && f->status == EDGECAP_OK; i++) {
        const ec_file *file = &m->files[i];
        check_name(f, file->name);
        if (!ec_is_hash(file->sha256) || file->size < 0) {
            ec_refuse(f, "bundle.manifest", "files.%.60s has no valid SHA-256 and size",
                      file->name);
        }
    }
    if (m->file_count > 4096) { /* what follows is quadratic */
        ec_refuse(f, "bundle.oversized", "there are more than 4096 files");
    }
    for (i = 0; i < m->file_count && f->status == EDGECAP_OK; i++) {
        for (j = 0; j < i; j++) {
            if (same_folded(m->files[i].name, m->files[j].name)) {
                ec_refuse(f, "bundle.manifest", "two files differ in upper and lower case only");
            }
        }
    }
}

void ec_read_files(ec_fields *f, const ec_json *object, ec_manifest *m)
{
    static const char *const fields[] = {"sha256", "size", NULL};
    const ec_json *item;
    m->files = object != NULL ? ec_field_array(f, object->count, sizeof *m->files) : NULL;
    for (item = m->files != NULL ? object->first : NULL; item != NULL && f->status == EDGECAP_OK;
         item = item->next) {
        ec_file *file = &m->files[m->file_count++];
        file->name = ec_arena_text(f->arena, item->key.data, item->key.length);
        if (file->name == NULL) {
            f->status = ec_no_memory(f->error);
        } else if (strlen(file->name) != item->key.length) {
            ec_refuse(f, "bundle.path", "a name of a file holds a null byte");
        } else if (ec_check_fields(f, item, file->name, fields, 0)) {
            file->sha256 = ec_string(f, item, "sha256");
            file->size = ec_whole(f, item, "size");
        }
    }
    if (f->status == EDGECAP_OK) {
        check_files(f, m);
    }
}

/* ---- Functions ---- */

ec_port *ec_find_port(ec_port *ports, size_t count, const char *name)
{
    size_t i;
    for (i = 0; i < count; i++) {
        if (strcmp(ports[i].name, name) == 0) {
            return &ports[i];
        }
    }
    return NULL;
}

static ec_port *read_ports(ec_fields *f, const ec_json *object, const char *name, size_t *count)
{
    const ec_json *ports = ec_inner(f, object, name, EC_JSON_OBJECT), *item;
    ec_port *read = ports != NULL ? ec_field_array(f, ports->count, sizeof *read) : NULL;
    *count = 0;
    for (item = read != NULL ? ports->first : NULL; item != NULL; item = item->next) {
        if (!ec_is_kind(f, item, EC_JSON_TEXT, name)) {
            break;
        }
        read[*count].name = ec_arena_text(f->arena, item->key.data, item->key.length);
        read[*count].target = ec_arena_text(f->arena, item->text.data, item->text.length);
        if (read[*count].name == NULL || read[*count].target == NULL) {
            f->status = ec_no_memory(f->error);
            break;
        }
        ++*count;
    }
    return read;
}

void ec_read_functions(ec_fields *f, const ec_json *list, ec_manifest *m)
{
    static const char *const fields[] = {"file", "entry", "inputs", "outputs", NULL};
    const ec_json *item;
    m->functions = ec_field_array(f, list->count, sizeof *m->functions);
    for (item = list->first; item != NULL && f->status == EDGECAP_OK; item = item->next) {
        ec_function *function = &m->functions[m->function_count++];
        function->name = ec_arena_text(f->arena, item->key.data, item->key.length);
        if (function->name == NULL) {
            f->status = ec_no_memory(f->error);
            return;
        }
        if (ec_check_fields(f, item, function->name, fields, 0)) {
            function->file = ec_string(f, item, "file");
            function->entry = ec_string(f, item, "entry");
            function->inputs = read_ports(f, item, "inputs", &function->input_count);
            function->outputs = read_ports(f, item, "outputs", &function->output_count);
        }
    }
}

static bool is_listed(const ec_manifest *m, const char *name)
{
    static const char package[] = ".mlpackage";
    size_t length = strlen(name), i;
    bool folder =
        length >= sizeof package - 1 && strcmp(name + length - (sizeof package - 1), package) == 0;
    for (i = 0; i < m->file_count; i++) {
        const char *file = m->files[i].name;
        if (strcmp(file, name) == 0 ||
            (folder && strncmp(file, name, length) == 0 && file[length] == '/')) {
            return true;
        }
    }
    return false;
}

void ec_check_listed(ec_fields *f, const ec_manifest *m)
{
    size_t i;
    for (i = 0; i < m->function_count && f->status == EDGECAP_OK; i++) {
        if (!is_listed(m, m->functions[i].file)) {
            ec_refuse(f, "bundle.missing_file", "%.60s of %s is not listed", m->functions[i].file,
                      m->functions[i].name);
        }
    }
}
