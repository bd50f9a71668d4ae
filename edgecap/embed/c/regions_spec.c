/* regions_spec.c: how boxes are written as tokens; see specs.h. */
#include <string.h>

#include "specs.h"

enum { MOST_BIN = 4096 };

static void bad_regions(ec_fields *f, const char *what)
{
    ec_refuse(f, "bundle.regions", "regions%s", what);
}

static bool is_square(int64_t count)
{
    int64_t side = 1;
    while (side * side < count) {
        side++;
    }
    return side * side == count;
}

static void read_marks(ec_fields *f, const ec_json *marks, const ec_regions_spec *spec,
                       int64_t vocabulary, int32_t *ids)
{
    static const char *const names[EC_MARKS] = {"phrase", "end_phrase", "object", "end_object",
                                                "delimiter"};
    const ec_json *item;
    size_t expected = spec->codec == EC_CELLS2 ? EC_MARKS : 0, i, j;
    for (item = marks->first; item != NULL; item = item->next) {
        if (!ec_is_kind(f, item, EC_JSON_WHOLE, "marks")) {
            return;
        }
    }
    for (i = 0; i < EC_MARKS; i++) {
        ids[i] = -1;
    }
    if (marks->count != expected) {
        bad_regions(f, ".marks must name those of the codec");
    }
    for (i = 0; i < expected && f->status == EDGECAP_OK; i++) {
        item = ec_json_get(marks, names[i]);
        if (item == NULL) {
            bad_regions(f, ".marks must name those of the codec");
        } else if (item->whole < 0 || item->whole > INT32_MAX ||
                   (item->whole >= spec->first &&
                    item->whole < (int64_t)spec->first + spec->count)) {
            bad_regions(f, ".marks must be different ids beside the places");
        } else if (vocabulary > 0 && item->whole >= vocabulary) {
            bad_regions(f, " has an id beyond the vocabulary");
        } else {
            ids[i] = (int32_t)item->whole;
            for (j = 0; j < i; j++) {
                if (ids[j] == ids[i]) {
                    bad_regions(f, ".marks must be different ids beside the places");
                }
            }
        }
    }
}

void ec_read_regions_spec(ec_fields *f, const ec_json *object, int64_t vocabulary,
                          ec_regions_spec *spec)
{
    static const char *const fields[] = {"codec", "first", "count", "marks", "bin_px", NULL};
    static const char *const codecs[] = {"edges4", "cells2", "loc1000", "loc1024", NULL};
    const ec_json *marks;
    int64_t first, count, bin;
    memset(spec, 0, sizeof *spec);
    if (!ec_check_fields(f, object, "regions", fields, 1)) {
        return;
    }
    spec->codec =
        (ec_regions_codec)(EC_EDGES4 + ec_choice(f, object, "codec", codecs, "bundle.regions"));
    first = ec_whole(f, object, "first");
    count = ec_whole(f, object, "count");
    bin = ec_whole_or(f, object, "bin_px", 0);
    marks = ec_inner(f, object, "marks", EC_JSON_OBJECT);
    if (f->status != EDGECAP_OK) {
        return;
    }
    if (first < 0 || first > INT32_MAX - (1 << 16) || count < 2 || count > 1 << 16) {
        bad_regions(f, " must have a first id of 0 or more and 2-65536 places");
    } else if ((spec->codec == EC_EDGES4) != (bin > 0) || bin < 0 || bin > MOST_BIN) {
        bad_regions(f, ".bin_px goes with edges4 and is 1-4096 there");
    } else if (spec->codec == EC_CELLS2 && !is_square(count)) {
        bad_regions(f, ".count is no square grid of cells");
    } else if (vocabulary > 0 && first + count > vocabulary) {
        bad_regions(f, " has an id beyond the vocabulary");
    } else {
        spec->first = (int32_t)first;
        spec->count = (int32_t)count;
        spec->bin_px = (int32_t)bin;
        read_marks(f, marks, spec, vocabulary, spec->marks);
    }
}
