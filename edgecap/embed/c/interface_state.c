/* interface_state.c: the state of a manifest's interface; see manifest.h and state.h.
 *
 * Letters: P image rows, T text rows, C = P + T rows of a cache, G groups of rows, Dh head width.
 */
#include <string.h>

#include "manifest.h"
#include "tensor_spec.h"

static const double MOST_STATE = 2147483648.0; /* bytes */

static bool good_name(const char *name)
{
    size_t length = strlen(name);
    return length >= 1 && length <= 64 && name[0] >= 'a' && name[0] <= 'z' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == length;
}

static int role_of(const char *role)
{
    static const char *const names[] = {"image", "text", "rolling", "cache"};
    static const int roles[] = {EC_IMAGE, EC_TEXT, EC_ROLLING, EC_CACHE};
    size_t i;
    for (i = 0; i < sizeof roles / sizeof *roles; i++) {
        if (strcmp(names[i], role) == 0) {
            return roles[i];
        }
    }
    return 0;
}

/* Blocks of rows: of text [B,G,T,Dh], of a cache [...,C,Dh]; one row of all numbers elsewhere. */
static void place_rows(ec_fields *f, const ec_json *interface, const ec_tensor_spec *t, ec_entry *e)
{
    int64_t P = ec_dim(interface, "P"), T = ec_dim(interface, "T");
    int64_t C = ec_dim(interface, "C");
    e->width = t->width;
    if (e->role == EC_TEXT && (t->rank != 4 || t->rows != 'T')) {
        ec_bad_interface(f, "is text and must have the shape [B,G,T,Dh]", e->input);
    } else if (e->role == EC_CACHE &&
               (t->rank < 2 || t->rows != 'C' || P < 1 || T < 1 || C != P + T)) {
        ec_bad_interface(f, "is a cache and must have the shape [...,C,Dh], C = P + T", e->input);
    } else if (e->role & EC_TEXT) {
        e->groups = t->groups;
        e->rows = (size_t)(e->role & EC_IMAGE ? C : T);
        e->image_rows = e->first_text = (size_t)(e->role & EC_IMAGE ? P : 0);
        e->row_bytes = t->last * t->width;
    } else {
        e->groups = e->rows = e->image_rows = 1;
        e->row_bytes = t->count * t->width;
    }
    e->from_image = e->role != EC_TEXT ? e->input : NULL;
    e->from_step = e->role != EC_IMAGE ? ec_join(f, "new_", e->input, "") : NULL;
}

static void read_entry(ec_fields *f, const ec_json *interface, const ec_json *item, ec_entry *e)
{
    static const char *const fields[] = {"name", "role", "kind", "layer", "shape", "dtype", NULL};
    const char *dtype;
    const ec_json *shape;
    ec_tensor_spec t;
    if (!ec_check_fields(f, item, "state", fields, 0)) {
        return;
    }
    e->input = ec_string(f, item, "name");
    e->role = role_of(ec_string(f, item, "role"));
    ec_string(f, item, "kind");
    ec_whole(f, item, "layer");
    shape = ec_inner(f, item, "shape", EC_JSON_LIST);
    dtype = ec_string(f, item, "dtype");
    if (f->status != EDGECAP_OK) {
        return;
    }
    if (!good_name(e->input)) {
        ec_bad_interface(f, "must be named in a-z, 0-9 and _", e->input);
    } else if (e->role == 0) {
        ec_bad_interface(f, "has a role that is not known", e->input);
    } else if (ec_read_tensor_spec(f, interface, dtype, shape, e->input,
                                   e->role == EC_CACHE ? EC_BATCH_ANYWHERE : EC_BATCH_FIRST, &t)) {
        place_rows(f, interface, &t, e);
    }
}

void ec_read_state(ec_fields *f, const ec_json *interface, ec_manifest *m)
{
    const ec_json *list = ec_inner(f, interface, "state", EC_JSON_LIST), *item;
    double bytes = 0;
    size_t i;
    m->state = list != NULL ? ec_field_array(f, list->count + 1, sizeof *m->state) : NULL;
    for (item = m->state != NULL ? list->first : NULL; item != NULL; item = item->next) {
        ec_entry *e = &m->state[m->state_count];
        read_entry(f, interface, item, e);
        if (f->status != EDGECAP_OK) {
            return;
        }
        bytes += (double)ec_entry_bytes(e);
        for (i = 0; i < m->state_count; i++) {
            if (strcmp(m->state[i].input, e->input) == 0) {
                ec_bad_interface(f, "is the name of two state entries", e->input);
            }
        }
        m->state_count++;
    }
    if (bytes > MOST_STATE) {
        ec_refuse(f, "bundle.oversized", "a state of %.0f bytes is too large", bytes);
    }
}

bool ec_is_cached(const ec_manifest *m, const char *name)
{
    size_t i;
    for (i = 0; i < m->state_count; i++) {
        const ec_entry *e = &m->state[i];
        size_t length = strlen(e->input);
        if (e->role == EC_CACHE &&
            (strcmp(e->input, name) == 0 || strcmp(e->from_step, name) == 0 ||
             (strncmp(e->input, name, length) == 0 && strcmp(name + length, "_image") == 0))) {
            return true;
        }
    }
    return false;
}
