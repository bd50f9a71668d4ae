/* session.h: a bundle's functions on an engine, their memory, and the state between them.
 *
 * Letters: h, w sides of the image or crop in px, n crops of an image at most, F rows of a crop,
 * D their width, N tokens of a text, V vocabulary, E embedding. B is 1.
 */
#ifndef EDGECAP_SESSION_H
#define EDGECAP_SESSION_H

#include "bundle.h"
#include "decode.h"

enum { EC_MOST_BEAMS = 32 };

typedef struct ec_session ec_session;

/* The engine belongs to the session from now on, also where this fails. */
edgecap_status ec_session_open(const edgecap_memory *memory, const ec_manifest *manifest,
                               const ec_source *source, ec_engine *engine, ec_session **session,
                               edgecap_error *error);
void ec_session_close(ec_session *session); /* NULL is allowed */

uint8_t *ec_session_image(ec_session *session); /* uint8 [h,w,3], to be filled before encoding */

/* Of a model with encode_crop, for each crop of an image: what lies in ec_session_image becomes the
 * features [F,D] of the crop at `place`. Then their number and their grid, and the image is ready
 * to be encoded; features behind them become zeros. */
edgecap_status ec_session_encode_crop(ec_session *session, size_t place, edgecap_error *error);
void ec_session_set_grid(ec_session *session, size_t count, int32_t rows, int32_t columns);

edgecap_status ec_session_encode(ec_session *session, edgecap_error *error);
edgecap_status ec_session_embedding(ec_session *session, float *embedding, edgecap_error *error);

bool ec_session_attends(const ec_session *session); /* whether its steps say where they looked */

/* The image that was encoded, in slots 0 ... slots - 1, with no text yet. */
edgecap_status ec_session_begin(ec_session *session, size_t slots, ec_model *model,
                                edgecap_error *error);

/* tokens [N], padded; embedding [E]. */
edgecap_status ec_session_embed_text(ec_session *session, const int32_t *tokens, size_t length,
                                     float *embedding, edgecap_error *error);

#endif
