/* engine_custom.c: an app's own engine, edgecap_engine.h, as one of ours. */
#include "engine.h"

typedef struct function {
    struct function *next;
    void *loaded;
    size_t input_count, output_count;
} function;

typedef struct custom {
    ec_engine engine;
    ec_arena arena;
    edgecap_engine table;
    function *functions;
} custom;

static edgecap_status load(ec_engine *engine, const ec_model_file *model, const char *entry,
                           ec_tensor *inputs, size_t input_count, ec_tensor *outputs,
                           size_t output_count, void **found, edgecap_error *error)
{
    custom *e = (custom *)engine;
    function *f = ec_arena_take(&e->arena, sizeof *f);
    char reason[EDGECAP_MOST_REASON] = "";
    if (f == NULL) {
        return ec_no_memory(error);
    }
    if (model->data != NULL) {
        return ec_fail(error, EDGECAP_UNSUPPORTED, "backend.format",
                       "%.40s needs a bundle directory, and this one is packed.", e->table.name);
    }
    f->input_count = input_count;
    f->output_count = output_count;
    f->loaded =
        model->files != NULL
            ? e->table.load_files(e->table.user, model->path, model->files, model->file_count,
                                  entry, inputs, input_count, outputs, output_count, reason)
            : e->table.load(e->table.user, model->path, entry, inputs, input_count, outputs,
                            output_count, reason);
    if (f->loaded == NULL) {
        reason[sizeof reason - 1] = '\0';
        return ec_engine_refuses(e->table.name, reason, error);
    }
    f->next = e->functions;
    e->functions = f;
    *found = f;
    return EDGECAP_OK;
}

static void unbind(ec_engine *engine, void *bound)
{
    ec_call_unbind(&((custom *)engine)->arena.memory, bound);
}

static edgecap_status bind(ec_engine *engine, void *given, const ec_tensor *inputs,
                           const ec_tensor *outputs, void **bound, edgecap_error *error)
{
    const function *f = given;
    return ec_call_bind(&((custom *)engine)->arena.memory, f, inputs, f->input_count, outputs,
                        f->output_count, bound, error);
}

static edgecap_status run(ec_engine *engine, void *bound, edgecap_error *error)
{
    custom *e = (custom *)engine;
    const ec_call *c = bound;
    const function *f = c->function;
    char reason[EDGECAP_MOST_REASON] = "";
    if (e->table.run(e->table.user, f->loaded, c->inputs, c->input_count, c->outputs,
                     c->output_count, reason)) {
        return EDGECAP_OK;
    }
    reason[sizeof reason - 1] = '\0';
    return ec_fail(error, EDGECAP_ENGINE, "engine.failed", "%.40s failed to run: %s", e->table.name,
                   reason);
}

static void close_engine(ec_engine *engine)
{
    custom *e = (custom *)engine;
    ec_arena arena = e->arena;
    function *f;
    for (f = e->functions; f != NULL; f = f->next) {
        e->table.release(e->table.user, f->loaded);
    }
    ec_arena_free(&arena); /* the engine lies in it */
}

edgecap_status ec_custom_open(const edgecap_memory *memory, const edgecap_engine *table,
                              ec_engine **engine, edgecap_error *error)
{
    ec_arena arena;
    custom *e;
    ec_arena_init(&arena, memory);
    e = ec_arena_take(&arena, sizeof *e);
    if (e == NULL) {
        return ec_no_memory(error);
    }
    e->arena = arena;
    e->table = *table;
    e->engine.name = table->name;
    e->engine.takes_files = table->load_files != NULL;
    e->engine.load = load;
    e->engine.bind = bind;
    e->engine.run = run;
    e->engine.unbind = unbind;
    e->engine.close = close_engine;
    *engine = &e->engine;
    return EDGECAP_OK;
}
