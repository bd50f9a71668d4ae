/* interface_contract.c: what the host feeds each function and expects of it; see manifest.h.
 *
 * Letters as in edgecap/bundle/interface.py, which says what is allowed.
 */
#include <string.h>

#include "manifest.h"
#include "tensor_spec.h"

typedef struct reading { /* an interface whose functions and state were read */
    ec_fields *f;
    const ec_json *interface;
    ec_manifest *m;
} reading;

static void bad(const reading *r, const char *what, const char *name)
{
    ec_bad_interface(r->f, what, name);
}

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

/* Whether a tensor is of this type and these sizes: a letter each, or a number of one digit. */
static bool is_tensor(const ec_json *tensor, const char *dtype, const char *sizes)
{
    const ec_json *size = tensor != NULL ? ec_json_get(tensor, "shape")->first : NULL;
    if (tensor == NULL || !ec_text_is(ec_json_get(tensor, "dtype")->text, dtype)) {
        return false;
    }
    for (; *sizes != '\0' && size != NULL; sizes++, size = size->next) {
        bool letter = size->kind == EC_JSON_TEXT && size->text.length == 1;
        if (letter ? *size->text.data != *sizes : size->whole != *sizes - '0') {
            return false;
        }
    }
    return *sizes == '\0' && size == NULL;
}

/* An image in crops: encode_crop makes features of each, and encode takes those of all. */
static void check_crops(const reading *r, const ec_json *crop, const ec_json *encode)
{
    contract c = begin(r, crop, "inputs");
    const ec_json *given;
    size_t i;
    bool length = false;
    must(&c, "image");
    closed(&c);
    if (!is_tensor(ec_json_get(c.declared, "image"), "uint8", "Bhw3")) {
        bad(r, "must take image [B,h,w,3]", c.name);
    }
    c = begin(r, crop, "outputs");
    must(&c, "features");
    closed(&c);
    if (!is_tensor(ec_json_get(c.declared, "features"), "float32", "BFD")) {
        bad(r, "must give features [B,F,D]", c.name);
    }
    given = ec_json_get(encode, "inputs");
    for (i = 0; i < r->m->state_count; i++) {
        length = length || (r->m->state[i].from_image != NULL &&
                            strcmp(r->m->state[i].input, "image_length") == 0);
    }
    if (!length || !is_tensor(ec_json_get(given, "features"), "float32", "BnFD") ||
        !is_tensor(ec_json_get(given, "grid"), "int32", "B2")) {
        bad(r, "must map features [B,n,F,D] and grid [B,2] to image_length too", "encode");
    }
}

static void check_encode(const reading *r, const ec_json *encode, bool crops)
{
    contract c = begin(r, encode, "inputs");
    size_t i;
    if (crops) {
        must(&c, "features");
        must(&c, "grid");
    } else {
        must(&c, "image");
    }
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

static void check_all(const reading *r)
{
    const ec_json *encode = declared(r, "encode"), *decode = declared(r, "decode");
    const ec_json *by_head = declared(r, "decode_attention"), *extend = declared(r, "extend");
    const ec_json *alone = declared(r, "decode_stateful"), *text = declared(r, "encode_text");
    const ec_json *crop = declared(r, "encode_crop");
    bool grid = has_grid(r);
    if (encode == NULL) {
        bad(r, "is needed", "encode");
        return;
    }
    r->m->captions = decode != NULL;
    if (crop != NULL) {
        check_crops(r, crop, encode);
    }
    check_encode(r, encode, crop != NULL);
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

void ec_check_contract(ec_fields *f, const ec_json *interface, ec_manifest *m)
{
    reading r;
    r.f = f;
    r.interface = interface;
    r.m = m;
    check_all(&r);
}
