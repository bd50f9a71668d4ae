/* regions.c: see regions.h. */
#include "regions.h"

#include <math.h>
#include <string.h>

#include "unicode.h"

typedef struct walk {
    const ec_view *v;
    const edgecap_token *tokens;
    size_t count;
    ec_speller speller; /* of the beginnings of the text */
    ec_text text;       /* of all words, white space around it included */
    ec_found *found;
} walk;

static bool is_place(const walk *w, size_t i)
{
    const ec_regions_spec *s = w->v->spec;
    return w->tokens[i].id >= s->first && w->tokens[i].id < s->first + s->count;
}

static bool is_mark(const walk *w, size_t i)
{
    int m;
    for (m = 0; w->v->spec->codec == EC_CELLS2 && m < EC_MARKS; m++) {
        if (w->v->spec->marks[m] == w->tokens[i].id) {
            return true;
        }
    }
    return false;
}

static bool is(const walk *w, size_t i, int mark)
{
    return i < w->count && w->tokens[i].id == w->v->spec->marks[mark];
}

/* The words among the first n ids, in `speller`. */
static void spell(walk *w, ec_speller *speller, size_t n)
{
    size_t i;
    ec_speller_begin(speller);
    for (i = 0; i < n; i++) {
        if (w->v->spec->codec == EC_NO_REGIONS || (!is_place(w, i) && !is_mark(w, i))) {
            ec_speller_push(speller, w->tokens[i].id);
        }
    }
    ec_speller_finish(speller);
}

/* Bytes of the text that the words among the first n ids make. Characters are counted: half of
 * one, cut in two by a box, is written otherwise at the end of a text. */
static size_t length(walk *w, size_t n)
{
    spell(w, &w->speller, n);
    return ec_utf8_offset(w->text.data, w->text.length,
                          ec_utf8_count(w->speller.out, w->speller.length));
}

static size_t leading(const char *data, size_t length_)
{
    size_t i = 0, step;
    while (i < length_ && ec_is_space(ec_utf8_decode(data + i, &step))) {
        i += step;
    }
    return i;
}

/* Bytes left without the white space at the end. */
static size_t trimmed(const char *data, size_t length_)
{
    size_t step;
    while (length_ > 0) {
        size_t last = length_ - 1;
        while (last > 0 && ((uint8_t)data[last] & 0xC0) == 0x80) {
            last--;
        }
        if (!ec_is_space(ec_utf8_decode(data + last, &step))) {
            break;
        }
        length_ = last;
    }
    return length_;
}

/* ---- Boxes ---- */

/* The unit box between two cells, as Kosmos-2 reads it: from middle to middle, except where both
 * are in one row or column, then from edge to edge. */
static void cells(int32_t first, int32_t last, int32_t n, double unit[4])
{
    int32_t x0 = first % n, y0 = first / n, x1 = last % n, y1 = last / n;
    bool thin = x0 == x1 || y0 == y1;
    double before = thin ? 0 : 0.5, after = thin ? 1 : 0.5;
    unit[0] = (x0 + before) / n;
    unit[1] = (y0 + before) / n;
    unit[2] = (x1 + after) / n;
    unit[3] = (y1 + after) / n;
}

static int32_t root_of(int32_t count)
{
    int32_t side = 1;
    while (side * side < count) {
        side++;
    }
    return side;
}

/* A box in px of the input from its places; false where it is none. */
static bool input_box(const ec_view *v, const int32_t *p, double box[4])
{
    const ec_regions_spec *s = v->spec;
    int i;
    switch (s->codec) {
    case EC_CELLS2:
        cells(p[0], p[1], root_of(s->count), box);
        break;
    case EC_EDGES4:
        for (i = 0; i < 4; i++) {
            box[i] = (double)p[i] * s->bin_px;
        }
        return box[0] < box[2] && box[1] < box[3];
    case EC_LOC1000: /* the middle of a bin, as Florence-2's own post-processor reads it */
        for (i = 0; i < 4; i++) {
            box[i] = (p[i] + 0.5) / s->count;
        }
        break;
    default:
        for (i = 0; i < 4; i++) {
            box[i] = (double)p[i ^ 1] / s->count; /* y before x */
        }
    }
    if (box[0] > box[2] || box[1] > box[3]) {
        return false;
    }
    for (i = 0; i < 4; i++) {
        box[i] *= i % 2 == 0 ? v->width : v->height;
    }
    return true;
}

/* The boxes of a run of places, added to those found; how many. */
static size_t read_boxes(walk *w, size_t start, size_t end)
{
    size_t size = w->v->spec->codec == EC_CELLS2 ? 2 : 4, before = w->found->box_count, i, k;
    for (i = start; i + size <= end; i += size) {
        int32_t places[4] = {0, 0, 0, 0};
        double input[4], image[4], sum = 0;
        edgecap_box *box = &w->found->boxes[w->found->box_count];
        for (k = 0; k < size; k++) {
            places[k] = w->tokens[i + k].id - w->v->spec->first;
            sum += (double)w->tokens[i + k].score;
        }
        if (!input_box(w->v, places, input)) {
            w->found->malformed++;
            continue;
        }
        ec_to_image(&w->v->placement, input, image);
        box->x0 = image[0], box->y0 = image[1], box->x1 = image[2], box->y1 = image[3];
        box->score = exp(sum / (double)size);
        w->found->box_count++;
    }
    w->found->malformed += (end - start) % size > 0;
    return w->found->box_count - before;
}

static void add(walk *w, size_t begin, size_t end, size_t boxes)
{
    edgecap_phrase *phrase = &w->found->phrases[w->found->phrase_count++];
    phrase->begin = begin < end ? begin : end; /* one of spaces alone is empty */
    phrase->end = end;
    phrase->first_box = w->found->box_count - boxes;
    phrase->box_count = boxes;
}

static size_t run_end(const walk *w, size_t start)
{
    while (start < w->count && is_place(w, start)) {
        start++;
    }
    return start;
}

static size_t next_run(const walk *w, size_t from)
{
    while (from < w->count && !is_place(w, from)) {
        from++;
    }
    return from;
}

/* ---- Codecs ---- */

static size_t phrase_start(const ec_view *v, ec_text part)
{
    if (v->language == NULL && v->spec->codec == EC_LOC1000) {
        return leading(part.data, part.length);
    }
    return ec_phrase_start(part, v->language);
}

/* edges4, loc1000: the words since the last region, then the boxes. */
static void after_phrase(walk *w)
{
    size_t previous = 0, start = next_run(w, 0);
    while (start < w->count) {
        size_t end = run_end(w, start), boxes = read_boxes(w, start, end);
        size_t text_end = trimmed(w->text.data, length(w, start));
        if (boxes > 0) {
            ec_text part;
            size_t begin;
            part.data = w->text.data + previous;
            part.length = text_end > previous ? text_end - previous : 0;
            begin = previous + phrase_start(w->v, part);
            add(w, begin < text_end ? begin : text_end, text_end, boxes);
        }
        previous = text_end > previous ? text_end : previous;
        start = next_run(w, end);
    }
}

/* loc1024: the boxes, then the words up to the next ";" or box. */
static void before_phrase(walk *w)
{
    size_t start = next_run(w, 0);
    while (start < w->count) {
        size_t end = run_end(w, start), boxes = read_boxes(w, start, end), next = next_run(w, end);
        if (boxes > 0) {
            size_t begin = length(w, end), last = length(w, next), part;
            const char *data = w->text.data + begin, *cut;
            part = last > begin ? last - begin : 0;
            cut = part > 0 ? memchr(data, ';', part) : NULL;
            part = cut != NULL ? (size_t)(cut - data) : part;
            begin += leading(data, part);
            part -= leading(data, part);
            add(w, begin, begin + trimmed(w->text.data + begin, part), boxes);
        }
        start = next;
    }
}

/* Where the phrase lies that ends just before ids[start]; false where none does. */
static bool marked_phrase(walk *w, size_t start, size_t *begin, size_t *end)
{
    size_t opening = start - 1;
    if (start < 1 || !is(w, start - 1, EC_END_PHRASE)) {
        return false;
    }
    while (opening > 0 && !is_mark(w, opening - 1) && !is_place(w, opening - 1)) {
        opening--;
    }
    if (opening == 0 || !is(w, opening - 1, EC_PHRASE)) {
        return false;
    }
    *begin = length(w, opening);
    *end = length(w, start - 1);
    if (*end <= *begin) {
        return false;
    }
    {
        size_t part = *end - *begin, lead = leading(w->text.data + *begin, part);
        size_t kept = trimmed(w->text.data + *begin, part);
        *end = *begin + kept;
        *begin += lead;
    }
    return true;
}

/* Whether <object> at `start` holds pairs divided by delimiters and is closed; where it ends. */
static bool well_formed(const walk *w, size_t start, size_t *end)
{
    size_t i;
    *end = start + 1;
    while (*end < w->count && (is_place(w, *end) || is(w, *end, EC_DELIMITER))) {
        ++*end;
    }
    if (!is(w, *end, EC_END_OBJECT) || (*end - start) % 3 != 0) {
        return false;
    }
    for (i = start + 1; i < *end; i++) {
        bool divides = (i - start) % 3 == 0;
        if (divides ? !is(w, i, EC_DELIMITER) : !is_place(w, i)) {
            return false;
        }
    }
    return true;
}

/* cells2: [<phrase> words </phrase>] <object> pair (delimiter pair)* </object>. */
static void marked(walk *w)
{
    size_t start, end, i, boxes, before, begin = 0, finish = 0;
    for (start = 0; start < w->count; start++) {
        if (!is(w, start, EC_OBJECT)) {
            continue;
        }
        if (!well_formed(w, start, &end)) {
            w->found->malformed++;
            continue;
        }
        before = w->found->box_count;
        for (i = start + 1; i < end; i += 3) {
            read_boxes(w, i, i + 2);
        }
        boxes = w->found->box_count - before;
        if (boxes == 0) {
            continue;
        }
        if (marked_phrase(w, start, &begin, &finish)) {
            add(w, begin, finish, boxes);
        } else { /* each box is an object of its own */
            begin = length(w, start);
            for (i = 0; i < boxes; i++) {
                add(w, begin, begin, 1);
                w->found->phrases[w->found->phrase_count - 1].first_box = before + i;
            }
        }
    }
}

/* Without white space around the text, phrases moved along. */
static void strip(walk *w)
{
    ec_found *found = w->found;
    size_t lead = leading(w->text.data, w->text.length), i;
    size_t kept = trimmed(w->text.data, w->text.length);
    found->text.data = w->text.data + lead;
    found->text.length = kept > lead ? kept - lead : 0;
    for (i = 0; i < found->phrase_count; i++) {
        edgecap_phrase *p = &found->phrases[i];
        p->begin = p->begin > lead ? p->begin - lead : 0;
        p->end = p->end > lead ? p->end - lead : 0;
        p->begin = p->begin < found->text.length ? p->begin : found->text.length;
        p->end = p->end < found->text.length ? p->end : found->text.length;
    }
}

bool ec_find_regions(const edgecap_memory *memory, const ec_view *view, const edgecap_token *tokens,
                     size_t count, ec_found *found)
{
    ec_speller whole;
    walk w;
    bool enough;
    memset(found, 0, sizeof *found);
    memset(&w, 0, sizeof w);
    w.v = view;
    w.tokens = tokens;
    w.count = count;
    w.found = found;
    enough = ec_speller_open(memory, view->codec, count, true, &whole);
    found->block = whole.block;
    enough = ec_speller_open(memory, view->codec, count, true, &w.speller) && enough;
    found->phrases = ec_allocate_array(memory, count / 2 + 1, sizeof *found->phrases);
    found->boxes = ec_allocate_array(memory, count / 2 + 1, sizeof *found->boxes);
    if (enough && found->phrases != NULL && found->boxes != NULL) {
        spell(&w, &whole, count);
        w.text.data = whole.out;
        w.text.length = whole.length;
        found->text = w.text;
        if (view->spec->codec == EC_CELLS2) {
            marked(&w);
        } else if (view->spec->codec == EC_LOC1024) {
            before_phrase(&w);
        } else if (view->spec->codec != EC_NO_REGIONS) {
            after_phrase(&w);
        }
        if (view->language == NULL) { /* other texts stay as they were generated */
            strip(&w);
        }
    } else {
        enough = false;
    }
    ec_speller_close(memory, &w.speller);
    return enough;
}

void ec_found_close(const edgecap_memory *memory, ec_found *found)
{
    ec_release(memory, found->block);
    ec_release(memory, found->phrases);
    ec_release(memory, found->boxes);
    memset(found, 0, sizeof *found);
}
