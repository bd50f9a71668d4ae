/* confidence.c: see confidence.h. */
#include "confidence.h"

#include <math.h>
#include <string.h>

static const double LOWEST = -50; /* of a log-probability: one thought impossible stays finite */

/* ---- Reading ---- */

static void bad(ec_fields *f, const char *name, const char *what)
{
    ec_refuse(f, "bundle.confidence", "%.60s %s", name, what);
}

static void read_second(ec_fields *f, const ec_json *item, ec_caption_weights *w)
{
    static const char *const fields[] = {"style", "mean", NULL};
    if (ec_check_fields(f, item, "second", fields, 0)) {
        w->second = ec_string(f, item, "style");
        w->second_mean = ec_number(f, item, "mean");
    }
}

static void read_caption(ec_fields *f, const ec_json *item, ec_caption_weights *w)
{
    static const char *const fields[] = {"bias", "mean", "least", "threshold", "second", NULL};
    w->name = ec_arena_text(f->arena, item->key.data, item->key.length);
    if (w->name == NULL) {
        f->status = ec_no_memory(f->error);
    } else if (ec_check_fields(f, item, w->name, fields, 1)) {
        w->bias = ec_number(f, item, "bias");
        w->mean = ec_number(f, item, "mean");
        w->least = ec_number(f, item, "least");
        w->threshold = ec_number(f, item, "threshold");
        if (!ec_is_null(item, "second")) {
            read_second(f, ec_json_get(item, "second"), w);
        }
        if (w->threshold < 0 || w->threshold > 1) {
            bad(f, w->name, "needs a threshold in 0-1");
        } else if (w->mean < 0 || w->least < 0 || w->second_mean < 0) {
            bad(f, w->name, "would trust an unlikely caption more than a likely one");
        }
    }
}

static void read_box(ec_fields *f, const ec_json *item, ec_box_weights *w)
{
    static const char *const fields[] = {"bias", "box", "mean", NULL};
    w->name = ec_arena_text(f->arena, item->key.data, item->key.length);
    if (w->name == NULL) {
        f->status = ec_no_memory(f->error);
    } else if (ec_check_fields(f, item, w->name, fields, 0)) {
        w->bias = ec_number(f, item, "bias");
        w->box = ec_number(f, item, "box");
        w->mean = ec_number(f, item, "mean");
    }
}

static void read_all(ec_fields *f, const ec_json *root, ec_calibration *c)
{
    static const char *const fields[] = {"schema",   "right",   "fitted_on", "weights",
                                         "captions", "regions", NULL};
    const ec_json *captions, *boxes, *item;
    if (!ec_check_fields(f, root, "the calibration", fields, 0)) {
        return;
    }
    if (ec_whole(f, root, "schema") != 1) {
        ec_refuse(f, "bundle.schema", "it has a schema other than 1, which this edgecap reads");
    }
    ec_string(f, root, "right");
    ec_string(f, root, "fitted_on");
    ec_check_weights(f, root, "bundle.confidence");
    captions = ec_inner(f, root, "captions", EC_JSON_OBJECT);
    boxes = ec_inner(f, root, "regions", EC_JSON_OBJECT);
    if (captions == NULL || boxes == NULL) {
        return;
    }
    if (captions->count == 0) {
        bad(f, "captions", "must not be empty");
    }
    c->captions = ec_field_array(f, captions->count + 1, sizeof *c->captions);
    c->boxes = ec_field_array(f, boxes->count + 1, sizeof *c->boxes);
    for (item = captions->first; item != NULL && f->status == EDGECAP_OK; item = item->next) {
        read_caption(f, item, &c->captions[c->caption_count++]);
    }
    for (item = boxes->first; item != NULL && f->status == EDGECAP_OK; item = item->next) {
        read_box(f, item, &c->boxes[c->box_count++]);
    }
}

edgecap_status ec_calibration_read(ec_arena *arena, const char *data, size_t length,
                                   ec_calibration **calibration, edgecap_error *error)
{
    ec_fields f = ec_fields_of(arena, "confidence.json", error);
    ec_arena scratch;
    const ec_json *root = NULL;
    *calibration = ec_arena_take(arena, sizeof **calibration);
    if (*calibration == NULL) {
        return ec_no_memory(error);
    }
    ec_arena_init(&scratch, &arena->memory);
    f.status = ec_json_parse(&scratch, data, length, f.file, &root, error);
    if (f.status == EDGECAP_OK) {
        read_all(&f, root, *calibration);
    }
    ec_arena_free(&scratch);
    return f.status;
}

/* ---- Using it ---- */

const ec_caption_weights *ec_caption_weights_of(const ec_calibration *c, const char *name)
{
    size_t i;
    for (i = 0; c != NULL && i < c->caption_count; i++) {
        if (strcmp(c->captions[i].name, name) == 0) {
            return &c->captions[i];
        }
    }
    return NULL;
}

const ec_box_weights *ec_box_weights_of(const ec_calibration *c, const char *name)
{
    size_t i;
    for (i = 0; c != NULL && i < c->box_count; i++) {
        if (strcmp(c->boxes[i].name, name) == 0) {
            return &c->boxes[i];
        }
    }
    return NULL;
}

static double at_least(double value)
{
    return value > LOWEST ? value : LOWEST;
}

double ec_mean_score(const edgecap_token *tokens, size_t count)
{
    double sum = 0;
    size_t i;
    for (i = 0; i < count; i++) {
        sum += at_least(tokens[i].score);
    }
    return count > 0 ? sum / (double)count : LOWEST;
}

static double logistic(double x)
{
    return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}

double ec_caption_confidence(const ec_caption_weights *w, const edgecap_token *tokens, size_t count,
                             double second)
{
    double least = at_least(tokens[0].score);
    size_t i;
    for (i = 1; i < count; i++) {
        double score = at_least(tokens[i].score);
        least = score < least ? score : least;
    }
    return logistic(w->bias + w->mean * ec_mean_score(tokens, count) + w->least * least +
                    w->second_mean * second);
}

double ec_box_confidence(const ec_box_weights *w, double score, const edgecap_token *tokens,
                         size_t count)
{
    double box = score > 0 ? at_least(log(score)) : LOWEST;
    return logistic(w->bias + w->box * box + w->mean * ec_mean_score(tokens, count));
}
