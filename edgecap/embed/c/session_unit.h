/* session_unit.h: what a session holds, for the two files that open and run it. */
#ifndef EDGECAP_SESSION_UNIT_H
#define EDGECAP_SESSION_UNIT_H

#include "session.h"

typedef struct ec_unit { /* one function of the bundle: its tensors and its calls */
    const ec_function *of;
    void *function;
    ec_tensor *inputs, *outputs;
    void **blocks; /* what to release, inputs first; NULL where memory is another's */
} ec_unit;

struct ec_session {
    edgecap_memory memory;
    ec_arena arena;
    const ec_manifest *manifest;
    const ec_source *source; /* outlives the session */
    ec_engine *engine;
    ec_unit crop, encode, decode, text;
    void *crop_call, *encode_call, *text_call;
    void *decode_calls[EC_MOST_BEAMS];
    void **slots[EC_MOST_BEAMS];       /* per state entry: its tensor's memory */
    void **slot_blocks[EC_MOST_BEAMS]; /* what to release */
    float *logits, *attention;         /* where the engine's are of another type */
};

/* A tensor of a function by its name in the contract; NULL: none. */
ec_tensor *ec_unit_port(const ec_unit *unit, bool output, const char *name);
void ec_unit_release(ec_session *session, ec_unit *unit);

/* Each finds its function, holds its tensors to the contract and gives them memory. */
edgecap_status ec_open_encode(ec_session *session, edgecap_error *error);
edgecap_status ec_open_decode(ec_session *session, edgecap_error *error);
edgecap_status ec_open_text(ec_session *session, edgecap_error *error);

#endif
