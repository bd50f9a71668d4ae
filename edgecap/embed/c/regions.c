/* regions.c: boxes and the phrases before them; see regions.h. */
#include "regions.h"

#include <math.h>
#include <string.h>

#include "unicode.h"

bool ec_is_location(const ec_locations *locations, int32_t id)
{
    return id >= locations->first && id < locations->first + locations->bins;
}

void ec_words(const ec_tokenizer *tokenizer, const ec_locations *locations,
              const edgecap_token *tokens, size_t count, size_t words, uint8_t *pending,
              ec_writer *writer)
{
    ec_decoder decoder;
    size_t i, said = 0;
    ec_decoder_init(&decoder, tokenizer, writer, true, pending);
    for (i = 0; i < count && said < words; i++) {
        if (!ec_is_location(locations, tokens[i].id)) {
            ec_decoder_add(&decoder, tokens[i].id);
            said++;
        }
    }
    ec_decoder_end(&decoder);
    ec_write_end(writer);
}

/* The boxes of one run of location tokens; how many. */
static size_t read_boxes(ec_reading *r, size_t begin, size_t end)
{
    const ec_locations *at = r->locations;
    size_t found = 0, i;
    r->malformed += (end - begin) % 4 > 0;
    for (i = begin; i + 4 <= end; i += 4) {
        const edgecap_token *t = r->tokens + i;
        edgecap_box box;
        box.x0 = (double)(t[0].id - at->first) * at->bin_px;
        box.y0 = (double)(t[1].id - at->first) * at->bin_px;
        box.x1 = (double)(t[2].id - at->first) * at->bin_px;
        box.y1 = (double)(t[3].id - at->first) * at->bin_px;
        if (box.x1 <= box.x0 || box.y1 <= box.y0) {
            r->malformed++;
            continue;
        }
        box.score = exp(((double)t[0].score + t[1].score + t[2].score + t[3].score) / 4);
        if (r->box_count < r->box_capacity) {
            r->boxes[r->box_count] = box;
        }
        r->box_count++;
        found++;
    }
    return found;
}

/* Where the text of the first `words` words ends, white space left out, in bytes of all text. */
static size_t text_end(const ec_reading *r, size_t words, char *scratch, size_t capacity,
                       uint8_t *pending)
{
    ec_writer writer = {0};
    ec_text so_far;
    size_t step;
    writer.data = scratch;
    writer.capacity = capacity;
    ec_words(r->tokenizer, r->locations, r->tokens, r->count, words, pending, &writer);
    so_far.data = scratch;
    so_far.length = writer.length;
    while (so_far.length > 0) { /* only at the end: the front counts */
        size_t last = so_far.length - 1;
        while (last > 0 && ((uint8_t)scratch[last] & 0xC0) == 0x80) {
            last--;
        }
        if (!ec_is_space(ec_utf8_decode(scratch + last, &step))) {
            break;
        }
        so_far.length = last;
    }
    /* Half a character that a box cut in two is written otherwise: characters are counted. */
    return ec_utf8_offset(r->text, r->text_length, ec_utf8_count(scratch, so_far.length));
}

bool ec_read_regions(const edgecap_memory *memory, ec_reading *r)
{
    size_t capacity = r->count * (ec_tokenizer_longest(r->tokenizer) + 3) + 1;
    char *scratch = ec_allocate_array(memory, capacity, 1);
    uint8_t *pending = ec_allocate_array(memory, r->count, 1);
    bool enough = scratch != NULL && pending != NULL;
    size_t place = 0, said = 0, before = 0;
    while (enough && place < r->count) {
        size_t end = place, found, finish;
        if (!ec_is_location(r->locations, r->tokens[place].id)) {
            place++;
            said++;
            continue;
        }
        while (end < r->count && ec_is_location(r->locations, r->tokens[end].id)) {
            end++;
        }
        found = read_boxes(r, place, end);
        finish = text_end(r, said, scratch, capacity, pending);
        if (found > 0) {
            if (r->phrase_count < r->phrase_capacity) {
                edgecap_phrase *phrase = &r->phrases[r->phrase_count];
                ec_text part;
                part.data = r->text + before;
                part.length = finish > before ? finish - before : 0;
                phrase->begin = before + ec_phrase_start(part, r->language);
                phrase->end = finish;
                phrase->first_box = r->box_count - found;
                phrase->box_count = found;
            }
            r->phrase_count++;
        }
        place = end;
        before = finish;
    }
    ec_release(memory, scratch);
    ec_release(memory, pending);
    return enough;
}
