/* engine.c: what the engines share. */
#include "engine.h"

#include <string.h>

#include "platform.h"

edgecap_status ec_engine_library(const char *name, const char *given, const char *const *usual,
                                 const char *symbol, void **library, edgecap_error *error)
{
    void *function;
    if (given != NULL) {
        *library = ec_library_open(given);
        if (*library == NULL) {
            /* The system's loader looks for a bare name in its own folders only. */
            bool is_bare = strchr(given, '/') == NULL && strchr(given, '\\') == NULL;
            const char *hint = is_bare ? "; give its path, with the folder" : "";
            return ec_fail(error, EDGECAP_ENGINE, "engine.missing",
                           "%s: the library %.110s cannot be opened%s.", name, given, hint);
        }
        if (ec_library_find(*library, symbol, &function)) {
            return EDGECAP_OK;
        }
        ec_library_close(*library);
        *library = NULL;
        return ec_fail(error, EDGECAP_ENGINE, "engine.missing", "%.150s is not %s: it has no %s.",
                       given, name, symbol);
    }
    for (;; usual++) {
        *library = ec_library_open(*usual); /* the last is NULL: the program, if linked with it */
        if (*library != NULL) {
            if (ec_library_find(*library, symbol, &function)) {
                return EDGECAP_OK;
            }
            ec_library_close(*library);
            *library = NULL;
        }
        if (*usual == NULL) {
            return ec_fail(error, EDGECAP_ENGINE, "engine.missing",
                           "no library of %s was found: name one.", name);
        }
    }
}

edgecap_status ec_engine_symbols(const char *name, void *library, const ec_symbol *symbols,
                                 size_t count, edgecap_error *error)
{
    size_t i;
    for (i = 0; i < count; i++) {
        if (!ec_library_find(library, symbols[i].name, symbols[i].function)) {
            return ec_fail(error, EDGECAP_ENGINE, "engine.too_old", "this %s has no %s.", name,
                           symbols[i].name);
        }
    }
    return EDGECAP_OK;
}

edgecap_status ec_engine_refuses(const char *name, const char *what, edgecap_error *error)
{
    return ec_fail(error, EDGECAP_BUNDLE, "bundle.model", "%s refuses %.160s.", name, what);
}

size_t ec_type_bytes(ec_type type)
{
    switch (type) {
    case EC_F32:
    case EC_I32:
        return 4;
    case EC_U8:
        return 1;
    case EC_I64:
        return 8;
    case EC_F16:
        return 2;
    }
    return 0;
}

void ec_call_unbind(const edgecap_memory *memory, void *bound)
{
    ec_call *c = bound;
    if (c != NULL) {
        ec_release(memory, c->inputs);
        ec_release(memory, c->outputs);
        ec_release(memory, c);
    }
}

edgecap_status ec_call_bind(const edgecap_memory *memory, const void *function,
                            const ec_tensor *inputs, size_t input_count, const ec_tensor *outputs,
                            size_t output_count, void **bound, edgecap_error *error)
{
    ec_call *c = ec_allocate_array(memory, 1, sizeof *c);
    *bound = NULL;
    if (c == NULL) {
        return ec_no_memory(error);
    }
    c->function = function;
    c->input_count = input_count;
    c->output_count = output_count;
    c->inputs = ec_allocate_array(memory, input_count, sizeof *inputs);
    c->outputs = ec_allocate_array(memory, output_count, sizeof *outputs);
    if (c->inputs == NULL || c->outputs == NULL) {
        ec_call_unbind(memory, c);
        return ec_no_memory(error);
    }
    memcpy(c->inputs, inputs, input_count * sizeof *inputs);
    memcpy(c->outputs, outputs, output_count * sizeof *outputs);
    *bound = c;
    return EDGECAP_OK;
}
