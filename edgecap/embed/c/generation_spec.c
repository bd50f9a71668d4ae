/* generation_spec.c: settings of a prompt, and the frame of a text; see specs.h. */
#include <string.h>

#include "specs.h"

enum { MOST_IDS = 1 << 16, MOST_NEW = 1 << 16, MOST_BEAMS = 32 };

bool ec_ids_have(const ec_ids *ids, int32_t id)
{
    size_t i;
    for (i = 0; i < ids->count; i++) {
        if (ids->ids[i] == id) {
            return true;
        }
    }
    return false;
}

typedef struct limit { /* what ids of one prompt are held to */
    const char *where;
    int64_t vocabulary;
} limit;

static int32_t check_id(ec_fields *f, const limit *l, const char *name, int64_t id)
{
    if (id < 0 || id > INT32_MAX || (l->vocabulary > 0 && id >= l->vocabulary)) {
        ec_refuse(f, "bundle.generation", "%.60s.%s has an id that the vocabulary has not",
                  l->where, name);
    }
    return (int32_t)id;
}

static ec_ids read_ids(ec_fields *f, const ec_json *object, const limit *l, const char *name)
{
    ec_ids read = {NULL, 0};
    const ec_json *list = ec_json_get(object, name) != NULL
                              ? ec_inner(f, object, name, EC_JSON_LIST)
                              : NULL,
                  *item;
    if (list != NULL && list->count > MOST_IDS) {
        ec_refuse(f, "bundle.generation", "%.60s.%s has too many ids", l->where, name);
    }
    read.ids = list != NULL ? ec_field_array(f, list->count + 1, sizeof *read.ids) : NULL;
    for (item = read.ids != NULL ? list->first : NULL; item != NULL; item = item->next) {
        if (!ec_is_kind(f, item, EC_JSON_WHOLE, name)) {
            break;
        }
        read.ids[read.count++] = check_id(f, l, name, item->whole);
    }
    return read;
}

static bool all_suppressed(const ec_generation *spec, const ec_ids *forced)
{
    size_t i;
    for (i = 0; i < forced->count; i++) {
        if (!ec_ids_have(&spec->suppress, forced->ids[i])) {
            return false;
        }
    }
    return forced->count > 0;
}

static void check_generation(ec_fields *f, const char *where, ec_generation *spec)
{
    ec_ids first;
    first.ids = &spec->forced_first;
    first.count = spec->forced_first >= 0;
    if (spec->begin.count == 0) {
        ec_refuse(f, "bundle.generation", "%.60s.begin is empty", where);
    } else if (all_suppressed(spec, &first) || all_suppressed(spec, &spec->forced_last)) {
        ec_refuse(f, "bundle.generation", "%.60s: every forced id is also suppressed", where);
    } else if (spec->max_new_tokens < 1 || spec->max_new_tokens > MOST_NEW) {
        ec_refuse(f, "bundle.generation", "%.60s.max_new_tokens must be 1-%d", where, MOST_NEW);
    } else if (spec->min_new_tokens < 0 || spec->min_new_tokens > spec->max_new_tokens) {
        ec_refuse(f, "bundle.generation", "%.60s.min_new_tokens is beyond max_new_tokens", where);
    } else if (!(spec->length_penalty >= -100 && spec->length_penalty <= 100) ||
               !(spec->repetition_penalty > 0 && spec->repetition_penalty <= 100)) {
        ec_refuse(f, "bundle.generation", "%.60s has a penalty out of range", where);
    } else if (spec->no_repeat_ngram < 0 || spec->no_repeat_ngram > MOST_NEW ||
               spec->suppress_first_at < 0) {
        ec_refuse(f, "bundle.generation",
                  "%.60s: no_repeat_ngram and suppress_first_at must be 0 or more", where);
    }
}

static void read_sampling(ec_fields *f, const ec_json *object)
{
    static const char *const fields[] = {"temperature", "top_k", "top_p", NULL};
    double temperature, top_p;
    int64_t top_k;
    if (!ec_check_fields(f, object, "sampling", fields, 3)) {
        return;
    }
    temperature = ec_number_or(f, object, "temperature", 1);
    top_k = ec_whole_or(f, object, "top_k", 0);
    top_p = ec_number_or(f, object, "top_p", 1);
    if (!(temperature > 0 && temperature <= 100 && top_k >= 0 && top_p > 0 && top_p <= 1)) {
        ec_refuse(f, "bundle.generation", "sampling has a number out of range");
    }
}

void ec_read_generation(ec_fields *f, const ec_json *object, const char *where, int64_t vocabulary,
                        ec_generation *spec)
{
    static const char *const fields[] = {"begin",           "eos",
                                         "max_new_tokens",  "pad",
                                         "prefix",          "min_new_tokens",
                                         "beams",           "length_penalty",
                                         "early_stopping",  "repetition_penalty",
                                         "no_repeat_ngram", "suppress",
                                         "suppress_first",  "suppress_first_at",
                                         "forced_first",    "forced_last",
                                         "sampling",        NULL};
    static const char *const stopping[] = {"heuristic", "first", "never", "ended", NULL};
    limit l, any;
    int64_t beams;
    memset(spec, 0, sizeof *spec);
    spec->forced_first = -1;
    if (!ec_check_fields(f, object, where, fields, 14)) {
        return;
    }
    l.where = any.where = where;
    l.vocabulary = vocabulary;
    any.vocabulary = 0; /* the history may hold ids that the model reads and cannot write */
    spec->begin = read_ids(f, object, &l, "begin");
    spec->eos = read_ids(f, object, &l, "eos");
    spec->max_new_tokens = ec_whole(f, object, "max_new_tokens");
    if (!ec_is_null(object, "pad")) {
        check_id(f, &l, "pad", ec_whole(f, object, "pad"));
    }
    spec->prefix = read_ids(f, object, &any, "prefix");
    spec->min_new_tokens = ec_whole_or(f, object, "min_new_tokens", 0);
    beams = ec_whole_or(f, object, "beams", 1);
    spec->length_penalty = ec_number_or(f, object, "length_penalty", 1);
    if (ec_json_get(object, "early_stopping") != NULL) {
        spec->early_stopping = (ec_early_stopping)ec_choice(f, object, "early_stopping", stopping,
                                                            "bundle.generation");
    }
    spec->repetition_penalty = ec_number_or(f, object, "repetition_penalty", 1);
    spec->no_repeat_ngram = ec_whole_or(f, object, "no_repeat_ngram", 0);
    spec->suppress = read_ids(f, object, &l, "suppress");
    spec->suppress_first = read_ids(f, object, &l, "suppress_first");
    spec->suppress_first_at = ec_whole_or(f, object, "suppress_first_at", 0);
    if (!ec_is_null(object, "forced_first")) {
        spec->forced_first = check_id(f, &l, "forced_first", ec_whole(f, object, "forced_first"));
    }
    spec->forced_last = read_ids(f, object, &l, "forced_last");
    if (!ec_is_null(object, "sampling")) {
        read_sampling(f, ec_json_get(object, "sampling"));
    }
    if (beams < 1 || beams > MOST_BEAMS) {
        ec_refuse(f, "bundle.generation", "%.60s.beams must be 1-%d", where, MOST_BEAMS);
    }
    spec->beams = (int32_t)beams;
    if (f->status == EDGECAP_OK) {
        check_generation(f, where, spec);
    }
}

void ec_read_text_frame(ec_fields *f, const ec_json *object, ec_text_frame *frame)
{
    static const char *const fields[] = {"begin", "end", "pad", NULL};
    limit any = {"texts", 0};
    if (ec_check_fields(f, object, "texts", fields, 0)) {
        frame->begin = read_ids(f, object, &any, "begin");
        frame->end = read_ids(f, object, &any, "end");
        frame->pad = check_id(f, &any, "pad", ec_whole(f, object, "pad"));
    }
}
