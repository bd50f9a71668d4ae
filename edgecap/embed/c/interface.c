/* interface.c: the functions of a manifest, held to the contract; see manifest.h.
 *
 * edgecap/bundle/interface.py says what is allowed. B is 1 throughout.
 */
#include <string.h>

#include "manifest.h"
#include "tensor_spec.h"

static const char *const KNOWN[] = {
    "encode", "decode", "decode_attention", "decode_stateful", "extend", "encode_text", NULL};

typedef struct reading { /* an interface while it is read */
    ec_fields *f;
    const ec_json *interface;
    ec_manifest *m;
    size_t *input; /* (h, w) of encode's image */
    bool unmapped; /* functions and interface differ: told after what is wrong with the latter */
} reading;

static void bad(const reading *r, const char *what, const char *name)
{
    ec_bad_interface(r->f, what, name);
}

/* ---- Functions ---- */

/* Declared tensors, each of which the bundle's function must map: their sizes. */
static void read_ports(reading *r, const ec_json *declared, ec_port *ports, size_t count,
                       const char *function)
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
        if (strcmp(name, "image") == 0 && strcmp(function, "encode") == 0) {
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
        ec_function none = {0}, *function = function_of(r->m, name);
        if (function == NULL) {
            r->unmapped = true;
            function = &none;
        }
        read_ports(r, ec_inner(r->f, item, "inputs", EC_JSON_OBJECT), function->inputs,
                   function->input_count, name);
        read_ports(r, ec_inner(r->f, item, "outputs", EC_JSON_OBJECT), function->outputs,
                   function->output_count, name);
    }
    r->unmapped = r->unmapped || list->count != r->m->function_count;
}

/* ---- What the host feeds and expects ---- */

typedef struct contract { /* counts the names that were found of those a function declares */
    const reading *r;
    const char *name;
    const ec_json *declared;
    size_t found;
} contract;

static bool has(contract *c, const char *name)
{
    bool there = ec_json_get(c->declared, name) != NULL;
    c->found += there;
    return there;
}

static void must(contract *c, const char *name)
{
    if (!has(c, name)) {
        bad(c->r, "lacks a tensor that the host feeds or expects", c->name);
    }
}

static void closed(const contract *c)
{
    if (c->found != c->declared->count) {
        bad(c->r, "has a tensor that the host does not know", c->name);
    }
}

static contract begin(const reading *r, const ec_json *function, const char *side)
{
    contract c;
    c.r = r;
    c.name = ec_json_get(function, "name")->text.data;
    c.declared = ec_json_get(function, side);
    c.found = 0;
    return c;
}

static const ec_json *declared(const reading *r, const char *name)
{
    const ec_json *item = ec_json_get(r->interface, "functions")->first;
    while (item != NULL && !ec_text_is(ec_json_get(item, "name")->text, name)) {
        item = item->next;
    }
    return item;
}

static void check_encode(const reading *r, const ec_json *encode)
{
    contract c = begin(r, encode, "inputs");
    size_t i;
    must(&c, "image");
    closed(&c);
    c = begin(r, encode, "outputs");
    for (i = 0; i < r->m->state_count; i++) {
        if (r->m->state[i].from_image != NULL) {
            must(&c, r->m->state[i].from_image);
        }
    }
    if (!has(&c, "image_embedding") && !r->m->captions) {
        bad(r, "without decode must give an image embedding", "a model");
    }
    closed(&c);
}

/* decode, or decode_attention. */
static void check_step(const reading *r, const ec_json *step, bool grid)
{
    contract c = begin(r, step, "inputs");
    size_t i;
    must(&c, "token");
    must(&c, "position");
    for (i = 0; i < r->m->state_count; i++) {
        must(&c, r->m->state[i].input);
    }
    closed(&c);
    c = begin(r, step, "outputs");
    must(&c, "logits");
    for (i = 0; i < r->m->state_count; i++) {
        if (r->m->state[i].from_step != NULL) {
            must(&c, r->m->state[i].from_step);
        }
    }
    if (has(&c, "attention") != grid) {
        bad(r, "must give attention where its grid is, and only there", c.name);
    }
    closed(&c);
}

/* The new rows of one entry are its shape with n rows. */
static bool has_rows(const ec_json *entry, const ec_json *rows, const ec_json *n)
{
    const ec_json *one = ec_json_get(entry, "shape")->first, *other = rows->first;
    for (; one != NULL && other != NULL; one = one->next, other = other->next) {
        bool row = one->next != NULL && one->next->next == NULL;
        if (!ec_json_same(row ? n : one, other)) {
            return false;
        }
    }
    return one == NULL && other == NULL;
}

/* Several steps in one, which this host passes over. */
static void check_extend(const reading *r, const ec_json *extend)
{
    contract c = begin(r, extend, "inputs");
    const ec_json *entry = ec_json_get(r->interface, "state")->first, *tokens, *n;
    size_t i;
    must(&c, "tokens");
    must(&c, "position");
    for (i = 0; i < r->m->state_count; i++) {
        must(&c, r->m->state[i].input);
    }
    closed(&c);
    tokens = ec_json_get(c.declared, "tokens");
    n = tokens != NULL ? ec_json_get(tokens, "shape")->first->next : NULL;
    if (n == NULL || n->kind != EC_JSON_WHOLE || n->next != NULL) {
        bad(r, "must take tokens [B,n], where n is a number", c.name);
        return;
    }
    c = begin(r, extend, "outputs");
    must(&c, "logits");
    for (i = 0; i < r->m->state_count; i++, entry = entry->next) {
        const ec_entry *e = &r->m->state[i];
        const ec_json *rows = e->role & EC_TEXT ? ec_json_get(c.declared, e->from_step) : NULL;
        if (e->role & EC_TEXT) {
            must(&c, e->from_step);
        }
        if (e->role == EC_ROLLING ||
            (rows != NULL && !has_rows(entry, ec_json_get(rows, "shape"), n))) {
            bad(r, "must return n rows of each entry, of which none is rolling", c.name);
        }
    }
    closed(&c);
}

/* A step that keeps its text rows itself, which this host passes over. */
static void check_stateful(const reading *r, const ec_json *step, bool grid)
{
    contract c = begin(r, step, "inputs");
    size_t i;
    must(&c, "token");
    must(&c, "position");
    for (i = 0; i < r->m->state_count; i++) {
        const ec_entry *e = &r->m->state[i];
        if (e->role != EC_CACHE) {
            bad(r, "needs a state of caches alone", c.name);
        }
        must(&c, ec_join(r->f, e->input, "_image", ""));
    }
    closed(&c);
    c = begin(r, step, "outputs");
    must(&c, "logits");
    if (r->m->state_count == 0 || has(&c, "attention") != grid) {
        bad(r, "must give what decode gives, without the new rows", c.name);
    }
    closed(&c);
}

static void check_text(const reading *r, const ec_json *text)
{
    contract c = begin(r, text, "inputs");
    must(&c, "tokens");
    must(&c, "length");
    closed(&c);
    c = begin(r, text, "outputs");
    must(&c, "text_embedding");
    closed(&c);
}

static bool has_grid(const reading *r)
{
    static const char *const fields[] = {"rows", "columns", "first", NULL};
    const ec_json *grid = ec_json_get(r->interface, "attention");
    size_t i;
    if (ec_is_null(r->interface, "attention")) {
        return false;
    }
    if (ec_check_fields(r->f, grid, "attention", fields, 0)) {
        for (i = 0; i < 3; i++) {
            ec_whole(r->f, grid, fields[i]);
        }
    }
    return true;
}

static void check_contract(const reading *r)
{
    const ec_json *encode = declared(r, "encode"), *decode = declared(r, "decode");
    const ec_json *by_head = declared(r, "decode_attention"), *extend = declared(r, "extend");
    const ec_json *alone = declared(r, "decode_stateful"), *text = declared(r, "encode_text");
    bool grid = has_grid(r);
    if (encode == NULL) {
        bad(r, "is needed", "encode");
        return;
    }
    r->m->captions = decode != NULL;
    check_encode(r, encode);
    if (decode != NULL) {
        check_step(r, decode, grid);
    } else if (r->m->state_count > 0) {
        bad(r, "without decode keeps no state", "a model");
    }
    if (decode == NULL && (by_head != NULL || extend != NULL || alone != NULL)) {
        bad(r, "needs decode", "another kind of step");
        return;
    }
    if (by_head != NULL) {
        if (!grid || !ec_json_same(ec_json_get(by_head, "inputs"), ec_json_get(decode, "inputs"))) {
            bad(r, "needs the inputs of decode, and the grid of attention", "decode_attention");
        }
        check_step(r, by_head, true);
    }
    if (extend != NULL) {
        check_extend(r, extend);
    }
    if (alone != NULL) {
        check_stateful(r, alone, grid);
    }
    if (text != NULL) {
        check_text(r, text);
    }
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
    if (f->status == EDGECAP_OK && declared(&r, "encode_crop") != NULL) {
        f->status = ec_fail(f->error, EDGECAP_UNSUPPORTED, "image.crops",
                            "this model reads an image as several crops, and C as one.");
    }
    if (f->status != EDGECAP_OK) {
        return;
    }
    check_contract(&r);
    if (r.unmapped) {
        ec_refuse(f, "bundle.manifest", "functions must map exactly those of the interface");
    }
    m->patches = count_of(m, "decode", true, "attention");
    m->embedding = count_of(m, "encode", true, "image_embedding");
    m->embedding =
        m->embedding > 0 ? m->embedding : count_of(m, "encode_text", true, "text_embedding");
    m->text_tokens = count_of(m, "encode_text", false, "tokens");
    m->vocabulary = (int32_t)ec_dim(interface, "V");
    m->text_rows = (int32_t)ec_dim(interface, "T");
    if (m->captions && (m->vocabulary < 1 || m->text_rows < 1)) {
        bad(&r, "must bind V and T", "dims");
    }
}
