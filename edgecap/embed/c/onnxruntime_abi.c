/* onnxruntime_abi.c: see onnxruntime_abi.h. */
#include "onnxruntime_abi.h"

#include <stdio.h>
#include <string.h>

bool ec_ort_held(ec_ort_api api, void *status, char *message, size_t size)
{
    if (status == NULL) {
        return true;
    }
    if (message != NULL) {
        const char *said = ((const char *(*)(const void *))api[ORT_ERROR_MESSAGE])(status);
        size_t i;
        snprintf(message, size, "%s", said);
        for (i = 0; message[i] != '\0'; i++) {
            message[i] = message[i] < ' ' ? ' ' : message[i];
        }
    }
    ORT_RELEASE(api, ORT_RELEASE_STATUS, status);
    return false;
}

static bool ok(ec_ort_api api, void *status)
{
    return ec_ort_held(api, status, NULL, 0);
}

static ec_type type_of(int element)
{
    switch (element) {
    case 1:
        return EC_F32;
    case 2:
        return EC_U8;
    case 6:
        return EC_I32;
    case 7:
        return EC_I64;
    case 10:
        return EC_F16;
    default:
        return (ec_type)0;
    }
}

int ec_ort_element(ec_type type)
{
    return type == EC_F32 ? 1 : type == EC_U8 ? 2 : type == EC_I32 ? 6 : type == EC_I64 ? 7 : 10;
}

static bool read_type(ec_ort_api api, void *session, size_t index, int place, ec_tensor *tensor)
{
    void *info = NULL;
    const void *shape = NULL;
    int element = 0;
    size_t rank = 0;
    bool done;
    if (!ok(api, ORT_CALL(api, place, (const void *, size_t, void **))(session, index, &info))) {
        return false;
    }
    done = ok(api, ORT_CALL(api, ORT_TENSOR_INFO, (const void *, const void **))(info, &shape)) &&
           shape != NULL &&
           ok(api, ORT_CALL(api, ORT_ELEMENT_TYPE, (const void *, int *))(shape, &element)) &&
           ok(api, ORT_CALL(api, ORT_DIMENSION_COUNT, (const void *, size_t *))(shape, &rank)) &&
           rank <= EC_MOST_RANK &&
           ok(api, ORT_CALL(api, ORT_DIMENSIONS,
                            (const void *, int64_t *, size_t))(shape, tensor->shape, rank));
    ORT_RELEASE(api, ORT_RELEASE_TYPE, info);
    tensor->type = type_of(element);
    tensor->rank = (int32_t)rank;
    return done && tensor->type != 0;
}

bool ec_ort_tensors(ec_ort_api api, void *allocator, void *session, bool output, ec_tensor *tensors,
                    size_t count)
{
    int counts = output ? ORT_OUTPUT_COUNT : ORT_INPUT_COUNT;
    int names = output ? ORT_OUTPUT_NAME : ORT_INPUT_NAME;
    int types = output ? ORT_OUTPUT_TYPE : ORT_INPUT_TYPE;
    size_t there = 0, i, t, found = 0;
    if (!ok(api, ORT_CALL(api, counts, (const void *, size_t *))(session, &there))) {
        return false;
    }
    for (i = 0; i < there; i++) {
        char *name = NULL;
        bool done = true;
        if (!ok(api, ORT_CALL(api, names, (const void *, size_t, void *, char **))(
                         session, i, allocator, &name))) {
            return false;
        }
        for (t = 0; t < count; t++) {
            if (strcmp(tensors[t].name, name) == 0) {
                done = read_type(api, session, i, types, &tensors[t]);
                found++;
            }
        }
        ok(api, ORT_CALL(api, ORT_ALLOCATOR_FREE, (void *, void *))(allocator, name));
        if (!done) {
            return false;
        }
    }
    return found == count && (output || there == count);
}
