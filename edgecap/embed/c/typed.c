/* typed.c: see typed.h. */
#include "typed.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const NAMES[] = {"null",     "true or false", "true or false", "a whole number",
                                    "a number", "a text",        "a list",        "an object"};

ec_fields ec_fields_of(ec_arena *arena, const char *file, edgecap_error *error)
{
    ec_fields f;
    f.arena = arena;
    f.file = file;
    f.error = error;
    f.status = EDGECAP_OK;
    return f;
}

edgecap_status ec_refuse(ec_fields *f, const char *code, const char *format, ...)
{
    if (f->status == EDGECAP_OK) {
        char message[200];
        va_list values;
        va_start(values, format);
        vsnprintf(message, sizeof message, format, values);
        va_end(values);
        f->status = ec_fail(f->error, EDGECAP_BUNDLE, code, "%.60s: %s.", f->file, message);
    }
    return f->status;
}

bool ec_is_kind(ec_fields *f, const ec_json *value, ec_json_kind kind, const char *where)
{
    if (f->status != EDGECAP_OK) {
        return false;
    }
    if (value->kind == EC_JSON_WHOLE && value->beyond && kind < EC_JSON_LIST) {
        ec_refuse(f, "bundle.field_type", "%s is a number of more than 64 bits", where);
    } else if (value->kind != kind) {
        ec_refuse(f, "bundle.field_type", "%s must be %s, got %s", where, NAMES[kind],
                  NAMES[value->kind]);
    }
    return f->status == EDGECAP_OK;
}

bool ec_check_fields(ec_fields *f, const ec_json *object, const char *where,
                     const char *const *names, size_t optional)
{
    const ec_json *item;
    size_t count = 0, i;
    if (!ec_is_kind(f, object, EC_JSON_OBJECT, where)) {
        return false;
    }
    while (names[count] != NULL) {
        count++;
    }
    for (item = object->first; item != NULL; item = item->next) {
        for (i = 0; i < count && !ec_text_is(item->key, names[i]); i++) {
        }
        if (i == count && !(item->key.length >= 2 && memcmp(item->key.data, "x_", 2) == 0)) {
            ec_refuse(f, "bundle.unknown_field", "%s has the unknown field '%.60s'", where,
                      item->key.data);
            return false;
        }
    }
    for (i = 0; i + optional < count; i++) {
        if (ec_json_get(object, names[i]) == NULL) {
            ec_refuse(f, "bundle.missing_field", "%s lacks the field '%s'", where, names[i]);
            return false;
        }
    }
    return true;
}

int64_t ec_whole(ec_fields *f, const ec_json *object, const char *name)
{
    const ec_json *value = f->status == EDGECAP_OK ? ec_json_get(object, name) : NULL;
    return value != NULL && ec_is_kind(f, value, EC_JSON_WHOLE, name) ? value->whole : 0;
}

double ec_number(ec_fields *f, const ec_json *object, const char *name)
{
    const ec_json *value = f->status == EDGECAP_OK ? ec_json_get(object, name) : NULL;
    if (value == NULL ||
        (value->kind != EC_JSON_NUMBER && !ec_is_kind(f, value, EC_JSON_WHOLE, name))) {
        return 0;
    }
    if (!isfinite(value->number)) {
        ec_refuse(f, "bundle.field_type", "%s must be a finite number", name);
        return 0;
    }
    return value->number;
}

int64_t ec_whole_or(ec_fields *f, const ec_json *object, const char *name, int64_t otherwise)
{
    return ec_json_get(object, name) != NULL ? ec_whole(f, object, name) : otherwise;
}

double ec_number_or(ec_fields *f, const ec_json *object, const char *name, double otherwise)
{
    return ec_json_get(object, name) != NULL ? ec_number(f, object, name) : otherwise;
}

bool ec_flag(ec_fields *f, const ec_json *object, const char *name, bool otherwise)
{
    const ec_json *value = f->status == EDGECAP_OK ? ec_json_get(object, name) : NULL;
    if (value == NULL) {
        return otherwise;
    }
    if (value->kind == EC_JSON_TRUE || value->kind == EC_JSON_FALSE) {
        return value->kind == EC_JSON_TRUE;
    }
    ec_refuse(f, "bundle.field_type", "%s must be true or false, got %s", name, NAMES[value->kind]);
    return otherwise;
}

int ec_choice(ec_fields *f, const ec_json *object, const char *name, const char *const *names,
              const char *code)
{
    const char *got = ec_string(f, object, name);
    int i;
    for (i = 0; names[i] != NULL; i++) {
        if (strcmp(names[i], got) == 0) {
            return i;
        }
    }
    ec_refuse(f, code, "%s is '%.40s', which is not one of those allowed", name, got);
    return 0;
}

bool ec_is_null(const ec_json *object, const char *name)
{
    const ec_json *value = ec_json_get(object, name);
    return value == NULL || value->kind == EC_JSON_NULL;
}

const char *ec_string(ec_fields *f, const ec_json *object, const char *name)
{
    const ec_json *value = f->status == EDGECAP_OK ? ec_json_get(object, name) : NULL;
    char *copy = NULL;
    if (value != NULL && ec_is_kind(f, value, EC_JSON_TEXT, name)) {
        copy = ec_arena_text(f->arena, value->text.data, value->text.length);
        if (copy == NULL) {
            f->status = ec_no_memory(f->error);
        }
    }
    return copy != NULL ? copy : "";
}

bool ec_is_hash(const char *text)
{
    return strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

void ec_check_weights(ec_fields *f, const ec_json *object, const char *code)
{
    if (!ec_is_null(object, "weights") && !ec_is_hash(ec_string(f, object, "weights"))) {
        ec_refuse(f, code, "weights must be null or a SHA-256");
    }
}

const ec_json *ec_inner(ec_fields *f, const ec_json *object, const char *name, ec_json_kind kind)
{
    const ec_json *value = f->status == EDGECAP_OK ? ec_json_get(object, name) : NULL;
    return value != NULL && ec_is_kind(f, value, kind, name) ? value : NULL;
}

void *ec_field_array(ec_fields *f, size_t count, size_t size)
{
    void *block = f->status == EDGECAP_OK ? ec_arena_array(f->arena, count, size) : NULL;
    if (block == NULL && f->status == EDGECAP_OK) {
        f->status = ec_no_memory(f->error);
    }
    return block;
}

const char *ec_join(ec_fields *f, const char *a, const char *b, const char *c)
{
    size_t first = strlen(a), second = strlen(b), third = strlen(c);
    char *text = ec_field_array(f, first + second + third + 1, 1);
    if (text == NULL) {
        return "";
    }
    memcpy(text, a, first);
    memcpy(text + first, b, second);
    memcpy(text + first + second, c, third);
    return text;
}

const char *const *ec_strings(ec_fields *f, const ec_json *object, const char *name, size_t *count)
{
    const ec_json *list = ec_inner(f, object, name, EC_JSON_LIST), *item;
    const char **texts = list != NULL ? ec_field_array(f, list->count + 1, sizeof *texts) : NULL;
    *count = 0;
    for (item = texts != NULL ? list->first : NULL; item != NULL; item = item->next) {
        if (!ec_is_kind(f, item, EC_JSON_TEXT, name)) {
            break;
        }
        texts[*count] = ec_arena_text(f->arena, item->text.data, item->text.length);
        if (texts[*count] == NULL) {
            f->status = ec_no_memory(f->error);
            break;
        }
        ++*count;
    }
    return texts;
}
