/* state.h: what a model remembers of an image and of the text so far: a list of named tensors.
 *
 * Letters: P image rows, T text rows, G groups of rows (layers and heads of one tensor).
 * A tensor is G blocks of rows; a row is what one token left there. Role image [1,G,P,Dh] is shared
 * with encode and copied nowhere; text [1,G,T,Dh] gets a row a step; cache [...,P+T,Dh] has the
 * image's rows first, and so is both; rolling is replaced by every step.
 */
#ifndef EDGECAP_STATE_H
#define EDGECAP_STATE_H

#include "core.h"

typedef enum ec_role {
    EC_IMAGE = 1,  /* rows made by encode, constant afterwards */
    EC_TEXT = 2,   /* one row more with every step, at first_text + position */
    EC_CACHE = 3,  /* both */
    EC_ROLLING = 4 /* replaced by every step's output */
} ec_role;

typedef struct ec_entry {
    const char *input;      /* port of decode */
    const char *from_image; /* output of encode that fills it, or NULL: zeros */
    const char *from_step;  /* output of decode that a step leaves, or NULL */
    int role;               /* ec_role */
    size_t groups, rows;    /* G; rows of a block, 1 where it is not made of rows */
    size_t image_rows;      /* P, of those that encode fills */
    size_t first_text;      /* where the text's rows begin */
    size_t row_bytes;
    size_t width; /* bytes of a number */
} ec_entry;

size_t ec_entry_bytes(const ec_entry *entry);

/* Whether encode's output is this tensor as it is, so that one memory serves both. */
bool ec_entry_shared(const ec_entry *entry);

/* encode's output [G,P,row] into a tensor; text rows become zeros, which masked rows need. */
void ec_entry_fill(const ec_entry *entry, const void *from_image, void *tensor);

/* What a step left [G,1,row] into the tensor's row of that text position. */
void ec_entry_step(const ec_entry *entry, const void *from_step, size_t position, void *tensor);

/* Text rows of positions 0 ... count - 1, and rolling tensors, from one tensor to another. */
void ec_entry_copy(const ec_entry *entry, const void *from, size_t count, void *to);

#endif
