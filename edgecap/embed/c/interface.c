/* interface.c: the functions of a manifest and their tensors; see manifest.h.
 *
 * edgecap/bundle/interface.py says what is allowed. B is 1 throughout.
 */
#include <string.h>

#include "manifest.h"
#include "tensor_spec.h"

static const char *const KNOWN[] = {"encode_crop",     "encode", "decode",      "decode_attention",
                                    "decode_stateful", "extend", "encode_text", NULL};

typedef struct reading { /* an interface while it is read */
    ec_fields *f;
    const ec_json *interface;
    ec_manifest *m;
    size_t *input; /* (h, w) of the image that encode takes, or encode_crop */
    bool unmapped; /* functions and interface differ: told after what is wrong with the latter */
} reading;

static void bad(const reading *r, const char *what, const char *name)
{
    ec_bad_interface(r->f, what, name);
}

/* ---- Functions ---- */

/* Declared tensors, each of which the bundle's function must map: their sizes. */
static void read_ports(reading *r, const ec_json *declared, ec_port *ports, size_t count,
                       bool encoder)
{
    static const char *const fields[] = {"dtype", "shape", NULL};
    const ec_json *item;
    for (item = declared != NULL ? declared->first : NULL; item != NULL; item = item->next) {
        const char *name = item->key.data;
        ec_port *port = ec_find_port(ports, count, name);
        ec_batch_axis axis = ec_is_cached(r->m, name) ? EC_BATCH_ANYWHERE : EC_BATCH_FIRST;
        ec_tensor_spec t;
        if (!ec_check_fields(r->f, item, name, fields, 0) ||
            !ec_read_tensor_spec(r->f, r->interface, ec_string(r->f, item, "dtype"),
                                 ec_inner(r->f, item, "shape", EC_JSON_LIST), name, axis, &t)) {
            return;
        }
        if (port == NULL) {
            r->unmapped = true;
            continue;
        }
        port->count = t.count;
        if (encoder && strcmp(name, "image") == 0) {
            r->input[0] = t.sizes[1];
            r->input[1] = t.sizes[2];
        }
    }
    r->unmapped = r->unmapped || (declared != NULL && declared->count != count);
}

static ec_function *function_of(const ec_manifest *m, const char *name)
{
    size_t i, k;
    for (i = 0; i < m->function_count; i++) {
        for (k = 0; KNOWN[k] != NULL && strcmp(KNOWN[k], name) != 0; k++) {
        }
        if (KNOWN[k] != NULL && strcmp(m->functions[i].name, name) == 0) {
            return &m->functions[i];
        }
    }
    return NULL;
}

static void check_names(const reading *r, const ec_json *list)
{
    static const char *const fields[] = {"name", "inputs", "outputs", NULL};
    const ec_json *item, *other;
    for (item = list->first; item != NULL; item = item->next) {
        ec_text name;
        if (!ec_check_fields(r->f, item, "interface.functions", fields, 0) ||
            !ec_is_kind(r->f, ec_json_get(item, "name"), EC_JSON_TEXT, "name")) {
            return;
        }
        name = ec_json_get(item, "name")->text;
        for (other = list->first; other != item; other = other->next) {
            ec_text before = ec_json_get(other, "name")->text;
            if (name.length == before.length && memcmp(name.data, before.data, name.length) == 0) {
                bad(r, "stands there twice", name.data);
            }
        }
    }
}

static void read_declared(reading *r)
{
    const ec_json *list = ec_inner(r->f, r->interface, "functions", EC_JSON_LIST), *item;
    if (list == NULL) {
        return;
    }
    check_names(r, list);
    for (item = list->first; item != NULL && r->f->status == EDGECAP_OK; item = item->next) {
        const char *name = ec_json_get(item, "name")->text.data;
        bool encoder = strcmp(name, "encode") == 0 || strcmp(name, "encode_crop") == 0;
        ec_function none = {0}, *function = function_of(r->m, name);
        if (function == NULL) {
            r->unmapped = true;
            function = &none;
        }
        read_ports(r, ec_inner(r->f, item, "inputs", EC_JSON_OBJECT), function->inputs,
                   function->input_count, encoder);
        read_ports(r, ec_inner(r->f, item, "outputs", EC_JSON_OBJECT), function->outputs,
                   function->output_count, false);
    }
    r->unmapped = r->unmapped || list->count != r->m->function_count;
}

/* How many numbers a tensor has; 0 where a model lacks it. */
static int32_t count_of(const ec_manifest *m, const char *function, bool output, const char *name)
{
    const ec_function *of = ec_manifest_function(m, function);
    const ec_port *port = NULL;
    if (of != NULL) {
        port = output ? ec_find_port(of->outputs, of->output_count, name)
                      : ec_find_port(of->inputs, of->input_count, name);
    }
    return port != NULL && port->count <= INT32_MAX ? (int32_t)port->count : 0;
}

void ec_read_interface(ec_fields *f, const ec_json *interface, const ec_json *functions,
                       ec_manifest *m, size_t input[2])
{
    static const char *const fields[] = {"dims", "functions", "state", "attention", "batch", NULL};
    reading r;
    r.f = f;
    r.interface = interface;
    r.m = m;
    r.input = input;
    r.unmapped = false;
    if (interface == NULL || functions == NULL ||
        !ec_check_fields(f, interface, "interface", fields, 2) ||
        ec_inner(f, interface, "dims", EC_JSON_OBJECT) == NULL) {
        return;
    }
    ec_check_dims(f, ec_json_get(interface, "dims"));
    if (!ec_is_null(interface, "batch") && ec_whole(f, interface, "batch") != 1) {
        bad(&r, "must be null (any) or 1", "batch");
    }
    ec_read_functions(f, functions, m);
    ec_read_state(f, interface, m);
    read_declared(&r);
    if (f->status != EDGECAP_OK) {
        return;
    }
    ec_check_contract(f, interface, m);
    if (r.unmapped) {
        ec_refuse(f, "bundle.manifest", "functions must map exactly those of the interface");
    }
    m->patches = count_of(m, "decode", true, "attention");
    m->embedding = count_of(m, "encode", true, "image_embedding");
    m->embedding =
        m->embedding > 0 ? m->embedding : count_of(m, "encode_text", true, "text_embedding");
    m->text_tokens = count_of(m, "encode_text", false, "tokens");
    m->crops = ec_manifest_function(m, "encode_crop") != NULL ? ec_dim(interface, "n") : 0;
    m->vocabulary = (int32_t)ec_dim(interface, "V");
    m->text_rows = (int32_t)ec_dim(interface, "T");
    if (m->captions && (m->vocabulary < 1 || m->text_rows < 1)) {
        bad(&r, "must bind V and T", "dims");
    }
}
