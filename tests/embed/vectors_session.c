/* vectors_session.c: the searches through a session: image, text
 * and rolling state.
 *
 * The scripted model of conformance/search.py as an engine. Its state: `seen`
 * [1,2,3,2] of role image, which decode must be given where encode left it;
 * `said` [1,1,T,1] of role text; `hash` [1] of role rolling, which must agree
 * with what was said. There is no embedding and no encode_text.
 */
#include <stdlib.h>
#include <string.h>

#include "session.h"
#include "vectors.h"

enum { V = 40, S = 2, SEEN = 12 };

typedef struct fake {
    ec_engine engine;
    const topic *t;
    float *seen; /* where encode left it */
    int loaded, bound, closed;
} fake;

typedef struct call {
    bool decode;
    float *floats[8];
    const int32_t *token, *position;
    const uint8_t *image;
} call;

static const ec_port ENCODE_IN[] = {{"image", "image_in", 3 * S * S}};
static const ec_port ENCODE_OUT[] = {{"seen", "seen_out", SEEN}};
static const ec_port DECODE_IN[] = {{"position", "p", 1},
                                    {"said", "s", 0},
                                    {"token", "t", 1},
                                    {"hash", "h", 1},
                                    {"seen", "e", SEEN}};
static const ec_port DECODE_OUT[] = {
    {"new_hash", "nh", 1}, {"logits", "l", V}, {"attention", "a", 1}, {"new_said", "ns", 1}};

static void shape(ec_tensor *tensor, ec_type type, int32_t rank, int64_t a, int64_t b, int64_t c,
                  int64_t d)
{
    tensor->type = type;
    tensor->rank = rank;
    tensor->shape[0] = a;
    tensor->shape[1] = b;
    tensor->shape[2] = c;
    tensor->shape[3] = d;
}

static edgecap_status load(ec_engine *engine, const ec_model_file *model, const char *entry,
                           ec_tensor *inputs, size_t input_count, ec_tensor *outputs,
                           size_t output_count, void **function, edgecap_error *error)
{
    fake *f = (fake *)engine;
    int64_t T = whole(f->t->root, "text_length");
    static int encode, decode;
    (void)error;
    check(strcmp(model->path, "folder/model") == 0, "the path of a function");
    f->loaded++;
    if (strcmp(entry, "see") == 0) {
        check(input_count == 1 && output_count == 1, "ports of encode");
        shape(&inputs[0], EC_U8, 4, -1, S, S, 3); /* any batch */
        shape(&outputs[0], EC_F32, 4, -1, 2, 3, 2);
        *function = &encode;
        return EDGECAP_OK;
    }
    check(input_count == 5 && output_count == 4, "ports of decode");
    shape(&inputs[0], EC_I32, 1, 1, 0, 0, 0);
    shape(&inputs[1], EC_F32, 4, 1, 1, T, 1);
    shape(&inputs[2], EC_I32, 2, 1, 1, 0, 0);
    shape(&inputs[3], EC_F32, 1, 1, 0, 0, 0);
    shape(&inputs[4], EC_F32, 4, -1, 2, 3, 2);
    shape(&outputs[0], EC_F32, 1, 1, 0, 0, 0);
    shape(&outputs[1], EC_F32, 2, -1, V, 0, 0);
    shape(&outputs[2], EC_F32, 2, 1, 1, 0, 0);
    shape(&outputs[3], EC_F32, 4, 1, 1, 1, 1);
    *function = &decode;
    return EDGECAP_OK;
}

static edgecap_status bind(ec_engine *engine, void *function, const ec_tensor *inputs,
                           const ec_tensor *outputs, void **bound, edgecap_error *error)
{
    fake *f = (fake *)engine;
    call *c = calloc(1, sizeof *c);
    (void)function;
    (void)error;
    f->bound++;
    c->decode = strcmp(inputs[0].name, "image_in") != 0;
    if (c->decode) {
        c->position = inputs[0].data;
        c->floats[0] = inputs[1].data;
        c->token = inputs[2].data;
        c->floats[1] = inputs[3].data;
        c->floats[2] = inputs[4].data;
        c->floats[3] = outputs[0].data;
        c->floats[4] = outputs[1].data;
        c->floats[5] = outputs[2].data;
        c->floats[6] = outputs[3].data;
        check(inputs[4].data == f->seen, "image state lies where encode left it");
    } else {
        c->image = inputs[0].data;
        c->floats[0] = f->seen = outputs[0].data;
    }
    *bound = c;
    return EDGECAP_OK;
}

static edgecap_status run(ec_engine *engine, void *bound, edgecap_error *error)
{
    fake *f = (fake *)engine;
    const call *c = bound;
    const int16_t *table = (const int16_t *)(const void *)f->t->bytes;
    int32_t rows = (int32_t)whole(f->t->root, "rows"), h = 0, i;
    (void)error;
    if (!c->decode) {
        for (i = 0; i < SEEN; i++) {
            c->floats[0][i] = (float)(c->image[i] + 1);
        }
        return EDGECAP_OK;
    }
    for (i = 0; i < *c->position; i++) {
        h = (h * 31 + (int32_t)c->floats[0][i] + 1) % rows;
    }
    check(c->floats[1][0] == (float)h, "rolling state agrees with what was said");
    check(c->floats[2][0] == 8 && c->floats[2][SEEN - 1] == 8, "the image's rows");
    h = (h * 31 + *c->token + 1) % rows;
    c->floats[3][0] = (float)h;
    for (i = 0; i < V; i++) {
        c->floats[4][i] = (float)table[h * V + i] / (float)whole(f->t->root, "scale");
    }
    c->floats[5][0] = (float)h;
    c->floats[6][0] = (float)*c->token;
    return EDGECAP_OK;
}

static void unbind(ec_engine *engine, void *bound)
{
    ((fake *)engine)->bound -= bound != NULL;
    free(bound);
}

static void close_engine(ec_engine *engine)
{
    ((fake *)engine)->closed++;
}

static ec_function function(const char *name, const char *entry, const ec_port *inputs,
                            size_t input_count, const ec_port *outputs, size_t output_count)
{
    ec_function f;
    f.name = name;
    f.file = "model";
    f.entry = entry;
    f.inputs = (ec_port *)inputs;
    f.outputs = (ec_port *)outputs;
    f.input_count = input_count;
    f.output_count = output_count;
    return f;
}

void run_session(const topic *t, const ec_grammar *grammar)
{
    size_t T = (size_t)whole(t->root, "text_length");
    ec_function functions[2];
    ec_entry state[] = {
        /* input, from_image, from_step, role, groups, rows, image_rows,
           first_text, bytes, width */
        {"seen", "seen", NULL, EC_IMAGE, 2, 3, 3, 0, 8, 4},
        {"said", NULL, "new_said", EC_TEXT, 1, 0, 0, 0, 4, 4},
        {"hash", NULL, "new_hash", EC_ROLLING, 1, 1, 0, 0, 4, 4},
    };
    ec_manifest manifest = {0};
    ec_source source = {"folder", {NULL, 0}};
    ec_session *session = NULL;
    ec_model model;
    edgecap_error error = {0};
    float embedding[4];
    int32_t tokens[4] = {0};
    fake f = {{"fake", false, load, bind, run, unbind, close_engine}, NULL, NULL, 0, 0, 0};
    const ec_json *one;
    f.t = t;
    functions[0] = function("encode", "see", ENCODE_IN, 1, ENCODE_OUT, 1);
    functions[1] = function("decode", "say", DECODE_IN, 5, DECODE_OUT, 4);
    state[1].rows = T;
    manifest.functions = functions;
    manifest.function_count = 2;
    manifest.captions = true;
    manifest.state = state;
    manifest.state_count = 3;
    manifest.vocabulary = V;
    manifest.patches = 1;
    manifest.text_rows = (int32_t)T;
    check(ec_session_open(&plain_memory, &manifest, &source, &f.engine, &session, &error) ==
              EDGECAP_OK,
          "session: %s", error.message);
    memset(ec_session_image(session), 7, SEEN);
    for (one = need(t->root, "cases")->first; one != NULL; one = one->next) {
        check(ec_session_encode(session, &error) == EDGECAP_OK &&
                  ec_session_begin(session, (size_t)whole(one, "beams"), &model, &error) ==
                      EDGECAP_OK,
              "session: %s", error.message);
        run_search(grammar, one, &model);
    }
    check(ec_session_attends(session), "it attends");
    check(ec_session_embedding(session, embedding, &error) == EDGECAP_UNSUPPORTED &&
              strcmp(error.code, "embedding.missing") == 0,
          "no image embedding");
    check(ec_session_embed_text(session, tokens, 1, embedding, &error) == EDGECAP_UNSUPPORTED,
          "no text embedding");
    ec_session_close(session);
    check(f.bound == 0 && f.closed == 1 && f.loaded == 2, "everything is given back");
}
