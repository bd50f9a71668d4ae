/* manifest_check.c: whether a manifest agrees with itself and with what a host can do. */
#include <string.h>

#include "manifest.h"

enum { MOST_FOLDERS = 4, MOST_NAME = 100 };

static const char *const CONTRACT[][3] = {
    /* function, inputs, outputs; spaces around each name */
    {"encode_image", " image ", " k v image_embedding "},
    {"decode", " token position k v ", " logits k_new v_new attention "},
    {"encode_text", " tokens length ", " text_embedding "},
    {"decode_stateful", " token position k_image v_image ", " logits attention "}, /* optional */
    {"decode_attention", " token position k v ", " logits k_new v_new attention "},
    {"extend", " tokens position k v ", " logits k_new v_new "},
};
enum { NEEDED = 3, KNOWN = 6 };

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

void ec_check_files(ec_fields *f, const ec_manifest *m)
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

bool ec_is_listed(const ec_manifest *m, const char *name)
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

/* Whether the ports are exactly the names of a list. */
static bool ports_are(const ec_port *ports, size_t count, const char *names)
{
    size_t wanted = 0, i, j;
    const char *place;
    for (place = names + 1; *place != '\0'; place++) {
        wanted += *place == ' ';
    }
    for (i = 0; i < count; i++) {
        size_t length = strlen(ports[i].name);
        bool found = false;
        for (j = 0; names[j] != '\0' && !found; j++) {
            found = names[j] == ' ' && length > 0 &&
                    strncmp(names + j + 1, ports[i].name, length) == 0 &&
                    names[j + 1 + length] == ' ' && strchr(ports[i].name, ' ') == NULL;
        }
        if (!found) {
            return false;
        }
    }
    return count == wanted; /* no key stands twice in JSON */
}

static void check_functions(ec_fields *f, const ec_manifest *m)
{
    size_t i, j;
    for (i = 0; i < NEEDED; i++) {
        if (ec_manifest_function(m, CONTRACT[i][0]) == NULL) {
            ec_refuse(f, "bundle.manifest", "contract.functions lacks %s", CONTRACT[i][0]);
        }
    }
    for (i = 0; i < m->function_count && f->status == EDGECAP_OK; i++) {
        const ec_function *function = &m->functions[i];
        for (j = 0; j < KNOWN && strcmp(function->name, CONTRACT[j][0]) != 0; j++) {
        }
        if (j == KNOWN) {
            ec_refuse(f, "bundle.manifest", "function '%.60s' is not known", function->name);
        } else if (!ports_are(function->inputs, function->input_count, CONTRACT[j][1]) ||
                   !ports_are(function->outputs, function->output_count, CONTRACT[j][2])) {
            ec_refuse(f, "bundle.manifest", "%s must map exactly%sto%s", function->name,
                      CONTRACT[j][1], CONTRACT[j][2]);
        } else if (!ec_is_listed(m, function->file)) {
            ec_refuse(f, "bundle.missing_file", "%.60s of %s is not listed", function->file,
                      function->name);
        }
    }
}

static void check_sizes(ec_fields *f, const ec_manifest *m)
{
    const double most = 2147483648.0; /* bytes of a cache at 8 a number */
    double cache =
        8.0 * m->layers * m->heads * m->head_width * ((double)m->patches + (double)m->text_length);
    int32_t side = 1;
    while (side < 46340 && side * side < m->patches) {
        side++;
    }
    if (m->layers < 1 || m->heads < 1 || m->head_width < 1 || m->patches < 1 ||
        m->text_length < 1 || m->vocabulary < 1 || m->embedding < 1 ||
        (m->patches < INT32_MAX && side * side != m->patches)) {
        ec_refuse(f, "bundle.manifest",
                  "contract sizes must be positive and patches a square number");
    } else if (cache > most || m->vocabulary > 1 << 22 || m->embedding > 1 << 16) {
        ec_refuse(f, "bundle.oversized", "a cache of %.0f bytes is too large", cache);
    } else if (m->cache_width == 0) {
        ec_refuse(f, "bundle.manifest", "contract.cache must be float32 or float16");
    }
}

edgecap_status ec_manifest_check(ec_fields *f, const ec_manifest *m)
{
    if (f->status == EDGECAP_OK) {
        ec_check_files(f, m);
        check_sizes(f, m);
        check_functions(f, m);
    }
    return f->status;
}
