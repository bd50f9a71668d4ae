/* interface.c: functions and state of schema 2, held to contract 2; see manifest.h.
 *
 * edgecap/bundle/interface.py says what is allowed. B is 1 throughout.
 */
#include <string.h>

#include "manifest.h"

enum { MOST_SHAPE = 16 };

static const double MOST_STATE = 2147483648.0; /* bytes */

typedef struct tensor {
    size_t width, count, last,
        groups;            /* bytes a number; numbers; last size; all but the last two */
    size_t rank, sizes[4]; /* the first four */
    bool rows;             /* its last size but one is the letter T */
} tensor;

static const ec_json *dims_of(const ec_json *interface)
{
    return ec_json_get(interface, "dims");
}

static void bad(ec_fields *f, const char *what, const char *name)
{
    ec_refuse(f, "bundle.interface", "interface: %.60s %s", name, what);
}

static int64_t dim(const ec_json *interface, const char *letter)
{
    const ec_json *found = ec_json_get(dims_of(interface), letter);
    return found != NULL ? found->whole : 0;
}

static void check_dims(ec_fields *f, const ec_json *dims)
{
    const ec_json *item;
    for (item = dims->first; item != NULL; item = item->next) {
        if (!ec_is_kind(f, item, EC_JSON_WHOLE, "dims")) {
            return;
        }
    }
    for (item = dims->first; item != NULL; item = item->next) {
        if (ec_text_is(item->key, "B") || item->whole < 1 || item->whole > INT32_MAX) {
            bad(f, "must be positive, and B is left to the caller", "a size of dims");
        }
    }
}

/* Sizes of a shape; true where the place is one that dims binds. */
static bool size_of(const ec_json *interface, const ec_json *size, size_t place, double *value)
{
    if (place == 0) {
        *value = 1;
        return size->kind == EC_JSON_TEXT && ec_text_is(size->text, "B");
    }
    if (size->kind == EC_JSON_TEXT) {
        const ec_json *bound = ec_json_get(dims_of(interface), size->text.data);
        *value = bound != NULL ? (double)bound->whole : 0;
    } else {
        *value = (double)size->whole;
    }
    return *value >= 1;
}

static bool read_tensor(ec_fields *f, const ec_json *interface, const char *dtype,
                        const ec_json *shape, const char *name, tensor *t)
{
    static const struct {
        const char *name;
        size_t width;
    } types[] = {{"uint8", 1}, {"int32", 4}, {"float32", 4}, {"float16", 2}};
    const ec_json *item;
    double product = 1, value = 0, groups = 1;
    size_t i;
    memset(t, 0, sizeof *t);
    if (shape == NULL || f->status != EDGECAP_OK) {
        return false;
    }
    for (item = shape->first; item != NULL; item = item->next) {
        if (item->kind != EC_JSON_TEXT && !ec_is_kind(f, item, EC_JSON_WHOLE, name)) {
            return false;
        }
    }
    for (i = 0; i < 4; i++) {
        t->width = strcmp(types[i].name, dtype) == 0 ? types[i].width : t->width;
    }
    if (t->width == 0) {
        bad(f, "is of a type that is not allowed", name);
    }
    if (shape->count == 0 || shape->count > MOST_SHAPE) {
        bad(f, "must have the batch B first", name);
    }
    for (item = shape->first; item != NULL && f->status == EDGECAP_OK; item = item->next) {
        if (!size_of(interface, item, t->rank, &value)) {
            bad(f, t->rank == 0 ? "must have the batch B first" : "has a size that is not bound",
                name);
        }
        groups *= t->rank + 2 < shape->count ? value : 1;
        t->rows =
            t->rank + 2 == shape->count && item->kind == EC_JSON_TEXT && ec_text_is(item->text, "T")
                ? true
                : t->rows;
        product *= value;
        t->sizes[t->rank < 4 ? t->rank : 3] = value < 2147483648.0 ? (size_t)value : 0;
        t->rank++;
    }
    if (product * (double)t->width > 4 * MOST_STATE) {
        ec_refuse(f, "bundle.oversized", "%.60s is too large a tensor", name);
    }
    t->count = f->status == EDGECAP_OK ? (size_t)product : 0;
    t->groups = f->status == EDGECAP_OK ? (size_t)groups : 0;
    t->last = f->status == EDGECAP_OK ? (size_t)value : 0;
    return f->status == EDGECAP_OK;
}

/* ---- State ---- */

static bool good_name(const char *name)
{
    size_t length = strlen(name);
    return length >= 1 && length <= 64 && name[0] >= 'a' && name[0] <= 'z' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == length;
}

static const char *new_name(ec_fields *f, const char *name)
{
    size_t length = strlen(name);
    char *made = ec_field_array(f, length + 5, 1);
    if (made != NULL) {
        memcpy(made, "new_", 4);
        memcpy(made + 4, name, length);
    }
    return made;
}

static void read_entry(ec_fields *f, const ec_json *interface, const ec_json *item, ec_entry *e)
{
    static const char *const fields[] = {"name", "role", "kind", "layer", "shape", "dtype", NULL};
    const char *role, *dtype;
    const ec_json *shape;
    tensor t;
    if (!ec_check_fields(f, item, "state", fields, 0)) {
        return;
    }
    e->input = ec_string(f, item, "name");
    role = ec_string(f, item, "role");
    ec_string(f, item, "kind");
    ec_whole(f, item, "layer");
    shape = ec_inner(f, item, "shape", EC_JSON_LIST);
    dtype = ec_string(f, item, "dtype");
    e->role = strcmp(role, "image") == 0     ? EC_IMAGE
              : strcmp(role, "text") == 0    ? EC_TEXT
              : strcmp(role, "rolling") == 0 ? EC_ROLLING
                                             : 0;
    if (f->status != EDGECAP_OK) {
        return;
    }
    if (!good_name(e->input)) {
        bad(f, "must be named in a-z, 0-9 and _", e->input);
    }
    if (e->role == 0) {
        bad(f, "has a role that is not known", e->input);
    }
    if (!read_tensor(f, interface, dtype, shape, e->input, &t)) {
        return;
    }
    e->width = t.width;
    if (e->role == EC_TEXT) {
        if (t.rank != 4 || !t.rows) {
            bad(f, "is text and must have the shape [B,G,T,Dh]", e->input);
        }
        e->groups = t.groups;
        e->rows = (size_t)dim(interface, "T");
        e->row_bytes = t.last * t.width;
    } else {
        e->groups = e->rows = e->image_rows = 1;
        e->row_bytes = t.count * t.width;
        e->from_image = e->input;
    }
    e->from_step = e->role != EC_IMAGE ? new_name(f, e->input) : NULL;
}

static void read_state(ec_fields *f, const ec_json *interface, ec_manifest *m)
{
    const ec_json *list = ec_inner(f, interface, "state", EC_JSON_LIST), *item;
    double bytes = 0;
    size_t i;
    m->state = list != NULL ? ec_field_array(f, list->count + 1, sizeof *m->state) : NULL;
    for (item = m->state != NULL ? list->first : NULL; item != NULL && f->status == EDGECAP_OK;
         item = item->next) {
        read_entry(f, interface, item, &m->state[m->state_count]);
        if (f->status != EDGECAP_OK) {
            return;
        }
        bytes += (double)ec_entry_bytes(&m->state[m->state_count]);
        for (i = 0; i < m->state_count; i++) {
            if (strcmp(m->state[i].input, m->state[m->state_count].input) == 0) {
                bad(f, "is the name of two state entries", m->state[i].input);
            }
        }
        m->state_count++;
    }
    if (bytes > MOST_STATE) {
        ec_refuse(f, "bundle.oversized", "a state of %.0f bytes is too large", bytes);
    }
}

/* ---- Functions ---- */

static ec_port *find(ec_port *ports, size_t count, const char *name)
{
    size_t i;
    for (i = 0; i < count; i++) {
        if (strcmp(ports[i].name, name) == 0) {
            return &ports[i];
        }
    }
    return NULL;
}

/* Declared tensors, each of which the bundle's function must map: their sizes. */
static void read_ports(ec_fields *f, const ec_json *interface, const ec_json *declared,
                       ec_port *ports, size_t count, const char *name, ec_manifest *m)
{
    static const char *const fields[] = {"dtype", "shape", NULL};
    const ec_json *item;
    for (item = declared != NULL ? declared->first : NULL; item != NULL; item = item->next) {
        tensor t;
        ec_port *port = find(ports, count, item->key.data);
        if (!ec_check_fields(f, item, name, fields, 0) ||
            !read_tensor(f, interface, ec_string(f, item, "dtype"),
                         ec_inner(f, item, "shape", EC_JSON_LIST), name, &t)) {
            return;
        }
        if (port != NULL) {
            port->count = t.count;
            if (strcmp(port->name, "image") == 0 && strcmp(name, "encode") == 0) {
                m->input_height = t.sizes[1];
                m->input_width = t.sizes[2];
            }
        } else {
            m->unmapped = true; /* told after what is wrong with the interface itself */
        }
    }
    m->unmapped = m->unmapped || (declared != NULL && declared->count != count);
}

static ec_function *function_of(ec_manifest *m, const ec_json *name)
{
    size_t i;
    for (i = 0; i < m->function_count; i++) {
        if (name != NULL && name->kind == EC_JSON_TEXT &&
            ec_text_is(name->text, m->functions[i].name)) {
            return &m->functions[i];
        }
    }
    return NULL;
}

static void read_declared(ec_fields *f, const ec_json *interface, ec_manifest *m)
{
    static const char *const fields[] = {"name", "inputs", "outputs", NULL};
    static const char *const known[] = {"encode", "decode", "encode_text"};
    const ec_json *list = ec_inner(f, interface, "functions", EC_JSON_LIST), *item, *other;
    for (item = list != NULL ? list->first : NULL; item != NULL; item = item->next) {
        if (!ec_check_fields(f, item, "interface.functions", fields, 0)) {
            return;
        }
        ec_string(f, item, "name");
        for (other = list->first; other != item && f->status == EDGECAP_OK; other = other->next) {
            ec_text name = ec_json_get(item, "name")->text;
            if (name.length == ec_json_get(other, "name")->text.length &&
                ec_text_is(name, ec_json_get(other, "name")->text.data)) {
                bad(f, "stands there twice", name.data);
            }
        }
    }
    for (item = list != NULL ? list->first : NULL; item != NULL && f->status == EDGECAP_OK;
         item = item->next) {
        ec_function none = {0}, *function = function_of(m, ec_json_get(item, "name"));
        const char *name = ec_json_get(item, "name")->text.data;
        if (function == NULL || (strcmp(name, known[0]) != 0 && strcmp(name, known[1]) != 0 &&
                                 strcmp(name, known[2]) != 0)) {
            m->unmapped = true;
            function = &none;
        }
        read_ports(f, interface, ec_inner(f, item, "inputs", EC_JSON_OBJECT), function->inputs,
                   function->input_count, name, m);
        read_ports(f, interface, ec_inner(f, item, "outputs", EC_JSON_OBJECT), function->outputs,
                   function->output_count, name, m);
    }
    m->unmapped = m->unmapped || (list != NULL && list->count != m->function_count);
}

/* ---- What the host feeds and expects ---- */

typedef struct contract { /* counts the names that were found of those a function declares */
    ec_fields *f;
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
        bad(c->f, "lacks a tensor that the host feeds or expects", c->name);
    }
}

static void closed(contract *c)
{
    if (c->found != c->declared->count) {
        bad(c->f, "has a tensor that the host does not know", c->name);
    }
}

static contract begin(ec_fields *f, const ec_json *function, const char *side)
{
    contract c;
    c.f = f;
    c.name = ec_json_get(function, "name")->text.data;
    c.declared = ec_json_get(function, side);
    c.found = 0;
    return c;
}

static void check_encode(ec_fields *f, const ec_manifest *m, const ec_json *encode)
{
    contract c = begin(f, encode, "inputs");
    size_t i;
    must(&c, "image");
    closed(&c);
    c = begin(f, encode, "outputs");
    for (i = 0; i < m->state_count; i++) {
        if (m->state[i].from_image != NULL) {
            must(&c, m->state[i].from_image);
        }
    }
    if (!has(&c, "image_embedding") && !m->captions) {
        bad(f, "without decode must give an image embedding", "a model");
    }
    closed(&c);
}

static void check_decode(ec_fields *f, const ec_manifest *m, const ec_json *decode, bool grid)
{
    contract c = begin(f, decode, "inputs");
    size_t i;
    must(&c, "token");
    must(&c, "position");
    for (i = 0; i < m->state_count; i++) {
        must(&c, m->state[i].input);
    }
    closed(&c);
    c = begin(f, decode, "outputs");
    must(&c, "logits");
    for (i = 0; i < m->state_count; i++) {
        if (m->state[i].from_step != NULL) {
            must(&c, m->state[i].from_step);
        }
    }
    if (has(&c, "attention") != grid) {
        bad(f, "must give attention where its grid is, and only there", "decode");
    }
    closed(&c);
}

static void check_text(ec_fields *f, const ec_json *text)
{
    contract c = begin(f, text, "inputs");
    must(&c, "tokens");
    must(&c, "length");
    closed(&c);
    c = begin(f, text, "outputs");
    must(&c, "text_embedding");
    closed(&c);
}

static const ec_json *declared(const ec_json *interface, const char *name)
{
    const ec_json *item = ec_json_get(interface, "functions")->first;
    while (item != NULL && !ec_text_is(ec_json_get(item, "name")->text, name)) {
        item = item->next;
    }
    return item;
}

static void check_contract(ec_fields *f, const ec_json *interface, ec_manifest *m)
{
    static const char *const fields[] = {"rows", "columns", "first", NULL};
    const ec_json *encode = declared(interface, "encode"), *decode = declared(interface, "decode");
    const ec_json *text = declared(interface, "encode_text");
    bool grid = !ec_is_null(interface, "attention");
    size_t i;
    if (grid && ec_check_fields(f, ec_json_get(interface, "attention"), "attention", fields, 0)) {
        for (i = 0; i < 3; i++) {
            ec_whole(f, ec_json_get(interface, "attention"), fields[i]);
        }
    }
    if (encode == NULL) {
        bad(f, "is needed", "encode");
        return;
    }
    m->captions = decode != NULL;
    check_encode(f, m, encode);
    if (decode != NULL) {
        check_decode(f, m, decode, grid);
    } else if (m->state_count > 0) {
        bad(f, "without decode keeps no state", "a model");
    }
    if (text != NULL) {
        check_text(f, text);
    }
}

/* How many numbers a tensor has; 0 where a model lacks it. */
static int32_t count_of(const ec_manifest *m, const char *function, bool output, const char *name)
{
    const ec_function *of = ec_manifest_function(m, function);
    const ec_port *port = NULL;
    if (of != NULL) {
        port = output ? find(of->outputs, of->output_count, name)
                      : find(of->inputs, of->input_count, name);
    }
    return port != NULL && port->count <= INT32_MAX ? (int32_t)port->count : 0;
}

void ec_read_interface(ec_fields *f, const ec_json *interface, const ec_json *functions,
                       ec_manifest *m)
{
    static const char *const fields[] = {"dims", "functions", "state", "attention", "batch", NULL};
    if (interface == NULL || functions == NULL ||
        !ec_check_fields(f, interface, "interface", fields, 2) ||
        ec_inner(f, interface, "dims", EC_JSON_OBJECT) == NULL) {
        return;
    }
    check_dims(f, dims_of(interface));
    if (!ec_is_null(interface, "batch") && ec_whole(f, interface, "batch") != 1) {
        bad(f, "must be null (any) or 1", "batch");
    }
    ec_read_functions(f, functions, m);
    read_state(f, interface, m);
    read_declared(f, interface, m);
    if (f->status != EDGECAP_OK) {
        return;
    }
    m->encode = "encode";
    check_contract(f, interface, m);
    if (m->unmapped) {
        ec_refuse(f, "bundle.manifest", "functions must map exactly those of the interface");
    }
    m->patches = count_of(m, "decode", true, "attention");
    m->embedding = count_of(m, "encode", true, "image_embedding");
    m->embedding =
        m->embedding > 0 ? m->embedding : count_of(m, "encode_text", true, "text_embedding");
    m->text_length = count_of(m, "encode_text", false, "tokens");
    m->vocabulary = (int32_t)dim(interface, "V");
    m->text_rows = (int32_t)dim(interface, "T");
    if (m->captions && (m->vocabulary < 1 || m->text_rows < 1)) {
        bad(f, "must bind V and T", "dims");
    }
}
