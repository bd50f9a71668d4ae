/* read.c: generated tokens into the caller's arrays: text, phrases, boxes in px of the image. */
#include <string.h>

#include "captioner.h"

typedef struct scratch {
    char *text, *raw;
    uint8_t *pending;
    edgecap_phrase *phrases;
    edgecap_box *boxes;
} scratch;

static bool open_scratch(const edgecap_captioner *c, size_t boxes, scratch *s)
{
    memset(s, 0, sizeof *s);
    s->text = ec_allocate_array(&c->memory, ec_text_bound(c), 1);
    s->raw = ec_allocate_array(&c->memory, ec_text_bound(c), 1);
    s->pending = ec_allocate_array(&c->memory, ec_longest_caption(c), 1);
    s->phrases = ec_allocate_array(&c->memory, boxes, sizeof *s->phrases);
    s->boxes = ec_allocate_array(&c->memory, boxes, sizeof *s->boxes);
    return s->text != NULL && s->raw != NULL && s->pending != NULL && s->phrases != NULL &&
           s->boxes != NULL;
}

static void close_scratch(const edgecap_captioner *c, scratch *s)
{
    ec_release(&c->memory, s->text);
    ec_release(&c->memory, s->raw);
    ec_release(&c->memory, s->pending);
    ec_release(&c->memory, s->phrases);
    ec_release(&c->memory, s->boxes);
}

static size_t write_raw(const edgecap_captioner *c, const ec_generated *g, scratch *s)
{
    ec_writer writer = {0};
    ec_decoder decoder;
    size_t i;
    writer.data = s->raw;
    writer.capacity = ec_text_bound(c);
    ec_decoder_init(&decoder, c->tokenizer, &writer, false, s->pending);
    for (i = 0; i < g->count; i++) {
        ec_decoder_add(&decoder, g->tokens[i].id);
    }
    ec_decoder_end(&decoder);
    ec_write_end(&writer);
    return writer.length;
}

/* Copies what fits, where something is wanted; false where not all fits. */
static bool give(const void *from, size_t count, size_t size, void *to, size_t capacity)
{
    size_t part = count < capacity ? count : capacity;
    if (to != NULL && part > 0) {
        memcpy(to, from, part * size);
    }
    return to == NULL || count <= capacity;
}

static bool give_text(const char *from, size_t length, char *to, size_t capacity)
{
    bool fits = give(from, length, 1, to, capacity) && (to == NULL || length < capacity);
    if (to != NULL && fits) {
        to[length] = '\0'; /* `from` may go on: it is a part of a text */
    }
    if (to != NULL && capacity > 0 && !fits) {
        to[capacity - 1] = '\0';
    }
    return fits;
}

bool ec_give_caption(edgecap_caption *c, const char *text, const char *raw,
                     const edgecap_phrase *phrases, const edgecap_box *boxes, const ec_generated *g,
                     size_t patches)
{
    size_t looked = g->attention != NULL ? g->count * patches : 0;
    bool fits = give_text(text, c->text_length, c->text, c->text_capacity);
    fits = give_text(raw, c->raw_length, c->raw, c->raw_capacity) && fits;
    fits = give(phrases, c->phrase_count, sizeof *phrases, c->phrases, c->phrase_capacity) && fits;
    fits = give(boxes, c->box_count, sizeof *boxes, c->boxes, c->box_capacity) && fits;
    fits = give(g->tokens, g->count, sizeof *g->tokens, c->tokens, c->token_capacity) && fits;
    return give(g->attention, looked, sizeof *g->attention, c->attention, c->attention_capacity) &&
           fits;
}

edgecap_status ec_fill_caption(const edgecap_captioner *c, const char *language,
                               const ec_placement *placement, const ec_generated *g,
                               edgecap_caption *caption, edgecap_error *error)
{
    size_t boxes = g->count / 4, P = (size_t)c->manifest.patches, b;
    ec_writer words = {0};
    ec_reading r = {0};
    scratch s;
    bool fits;
    if (!open_scratch(c, boxes, &s)) {
        close_scratch(c, &s);
        return ec_no_memory(error);
    }
    words.data = s.text;
    words.capacity = ec_text_bound(c);
    ec_words(c->tokenizer, &c->locations, g->tokens, g->count, SIZE_MAX, s.pending, &words);
    r.tokenizer = c->tokenizer;
    r.locations = &c->locations;
    r.language = language;
    r.tokens = g->tokens;
    r.count = g->count;
    r.text = s.text;
    r.text_length = words.length;
    r.phrases = s.phrases;
    r.boxes = s.boxes;
    r.phrase_capacity = r.box_capacity = boxes;
    if (!ec_read_regions(&c->memory, &r)) {
        close_scratch(c, &s);
        return ec_no_memory(error);
    }
    for (b = 0; b < r.box_count; b++) {
        double input[4], image[4];
        input[0] = s.boxes[b].x0, input[1] = s.boxes[b].y0;
        input[2] = s.boxes[b].x1, input[3] = s.boxes[b].y1;
        ec_to_image(placement, input, image);
        s.boxes[b].x0 = image[0], s.boxes[b].y0 = image[1];
        s.boxes[b].x1 = image[2], s.boxes[b].y1 = image[3];
    }
    caption->text_length = words.length;
    caption->raw_length = write_raw(c, g, &s);
    caption->phrase_count = r.phrase_count;
    caption->box_count = r.box_count;
    caption->token_count = g->count;
    caption->score = g->score;
    caption->complete = g->complete;
    caption->malformed = r.malformed;
    fits = ec_give_caption(caption, s.text, s.raw, s.phrases, s.boxes, g, P);
    close_scratch(c, &s);
    return fits ? EDGECAP_OK
                : ec_fail(error, EDGECAP_BUFFER, "caption.buffer",
                          "a buffer is too small: the counts say what is needed.");
}
