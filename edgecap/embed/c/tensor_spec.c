/* tensor_spec.c: see tensor_spec.h. */
#include "tensor_spec.h"

#include <string.h>

enum { MOST_SHAPE = 16 };

static const double MOST_BYTES = 4 * 2147483648.0;

edgecap_status ec_bad_interface(ec_fields *f, const char *what, const char *name)
{
    return ec_refuse(f, "bundle.interface", "interface: %.60s %s", name, what);
}

static const ec_json *bound(const ec_json *interface, const char *letter)
{
    return ec_json_get(ec_json_get(interface, "dims"), letter);
}

int64_t ec_dim(const ec_json *interface, const char *letter)
{
    const ec_json *found = bound(interface, letter);
    return found != NULL ? found->whole : 0;
}

void ec_check_dims(ec_fields *f, const ec_json *dims)
{
    const ec_json *item;
    for (item = dims->first; item != NULL; item = item->next) {
        if (!ec_is_kind(f, item, EC_JSON_WHOLE, "dims")) {
            return;
        }
    }
    for (item = dims->first; item != NULL; item = item->next) {
        if (ec_text_is(item->key, "B") || item->whole < 1 || item->whole > INT32_MAX) {
            ec_bad_interface(f, "must be positive, and B is left to the caller", "a size of dims");
        }
    }
}

static size_t width_of(const char *dtype)
{
    static const struct {
        const char *name;
        size_t width;
    } types[] = {{"uint8", 1}, {"int32", 4}, {"float32", 4}, {"float16", 2}};
    size_t i;
    for (i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i].name, dtype) == 0) {
            return types[i].width;
        }
    }
    return 0;
}

static bool is_batch(const ec_json *size)
{
    return size->kind == EC_JSON_TEXT && ec_text_is(size->text, "B");
}

static double value_of(const ec_json *interface, const ec_json *size)
{
    if (is_batch(size)) {
        return 1;
    }
    return size->kind == EC_JSON_TEXT ? (double)ec_dim(interface, size->text.data)
                                      : (double)size->whole;
}

/* Whether the batch stands where it must. */
static bool has_batch(const ec_json *shape, ec_batch_axis axis)
{
    const ec_json *item;
    size_t found = 0;
    for (item = shape->first; item != NULL; item = item->next) {
        found += is_batch(item);
    }
    return found == 1 && (axis == EC_BATCH_ANYWHERE || is_batch(shape->first));
}

static void add_size(const ec_json *size, double value, size_t left, ec_tensor_spec *t)
{
    if (t->rank < 4) {
        t->sizes[t->rank] = value < 2147483648.0 ? (size_t)value : 0;
    }
    t->rank++;
    if (left == 1) {
        t->rows =
            (char)(size->kind == EC_JSON_TEXT && size->text.length == 1 ? *size->text.data : 0);
    }
}

bool ec_read_tensor_spec(ec_fields *f, const ec_json *interface, const char *dtype,
                         const ec_json *shape, const char *name, ec_batch_axis batch,
                         ec_tensor_spec *t)
{
    const ec_json *item;
    double product = 1, groups = 1, value = 0;
    size_t left;
    memset(t, 0, sizeof *t);
    if (shape == NULL || f->status != EDGECAP_OK) {
        return false;
    }
    for (item = shape->first; item != NULL; item = item->next) {
        if (item->kind != EC_JSON_TEXT && !ec_is_kind(f, item, EC_JSON_WHOLE, name)) {
            return false;
        }
    }
    t->width = width_of(dtype);
    if (t->width == 0) {
        ec_bad_interface(f, "is of a type that is not allowed", name);
    } else if (shape->count > MOST_SHAPE || !has_batch(shape, batch)) {
        ec_bad_interface(f, "must have the batch B once, and first unless it is a cache", name);
    }
    left = shape->count;
    for (item = shape->first; item != NULL && f->status == EDGECAP_OK; item = item->next) {
        left--;
        value = value_of(interface, item);
        if (value < 1) {
            ec_bad_interface(f, "has a size that is not bound", name);
            return false; /* a negative one is no size_t */
        }
        groups *= left >= 2 ? value : 1;
        product *= value;
        add_size(item, value, left, t);
    }
    if (product * (double)t->width > MOST_BYTES) {
        ec_refuse(f, "bundle.oversized", "%.60s is too large a tensor", name);
    }
    if (f->status == EDGECAP_OK) {
        t->count = (size_t)product;
        t->groups = (size_t)groups;
        t->last = (size_t)value;
    }
    return f->status == EDGECAP_OK;
}
