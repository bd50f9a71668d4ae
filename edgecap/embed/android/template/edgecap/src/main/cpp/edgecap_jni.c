/* edgecap_jni.c: edgecap.h for Kotlin; the other side is Native.kt.
 *
 * Text crosses as UTF-8 bytes: JNI's own strings are another encoding beyond U+FFFF. Handles are
 * pointers in a long, which Captioner.kt locks and closes once. Errors are thrown.
 */
#include <jni.h>
#include <stdlib.h>
#include <string.h>

#include "edgecap.h"

#define NATIVE(type, name) JNIEXPORT type JNICALL Java_dev_edgecap_Native_##name

static jbyteArray bytes_of(JNIEnv *env, const char *text, size_t length)
{
    jbyteArray array = (*env)->NewByteArray(env, (jsize)length);
    if (array != NULL) {
        (*env)->SetByteArrayRegion(env, array, 0, (jsize)length, (const jbyte *)text);
    }
    return array;
}

static void throw_error(JNIEnv *env, const edgecap_error *error)
{
    jclass type = (*env)->FindClass(env, "dev/edgecap/EdgecapException");
    jmethodID make = type ? (*env)->GetMethodID(env, type, "<init>", "(I[B[B)V") : NULL;
    jbyteArray code = make ? bytes_of(env, error->code, strlen(error->code)) : NULL;
    jbyteArray said = code ? bytes_of(env, error->message, strlen(error->message)) : NULL;
    jobject thrown =
        said ? (*env)->NewObject(env, type, make, (jint)error->status, code, said) : NULL;
    if (thrown != NULL) { /* else the exception of what failed above is pending */
        (*env)->Throw(env, (jthrowable)thrown);
    }
}

static void throw_own(JNIEnv *env, edgecap_status status, const char *code, const char *message)
{
    edgecap_error error;
    memset(&error, 0, sizeof error);
    error.status = status;
    strncpy(error.code, code, sizeof error.code - 1);
    strncpy(error.message, message, sizeof error.message - 1);
    throw_error(env, &error);
}

static void throw_no_memory(JNIEnv *env)
{
    throw_own(env, EDGECAP_MEMORY, "memory.exhausted", "memory ran out.");
}

/* A null-terminated copy, NULL for a null reference; `*good` false: thrown. */
static char *text_of(JNIEnv *env, jbyteArray array, int *good)
{
    jsize length;
    char *text;
    if (array == NULL || !*good) {
        return NULL;
    }
    length = (*env)->GetArrayLength(env, array);
    text = malloc((size_t)length + 1);
    if (text == NULL) {
        throw_no_memory(env);
        *good = 0;
        return NULL;
    }
    (*env)->GetByteArrayRegion(env, array, 0, length, (jbyte *)text);
    text[length] = '\0';
    return text;
}

static edgecap_captioner *captioner_of(jlong handle)
{
    return (edgecap_captioner *)(intptr_t)handle;
}

NATIVE(jlong, open)
(JNIEnv *env, jobject self, jbyteArray bundle, jbyteArray engine, jbyteArray library, jint threads,
 jboolean verify)
{
    edgecap_open_params params = edgecap_open_default_params();
    edgecap_captioner *captioner = NULL;
    edgecap_error error;
    int good = 1;
    char *path = text_of(env, bundle, &good), *kind = text_of(env, engine, &good);
    char *file = text_of(env, library, &good);
    (void)self;
    if (good) {
        params.engine = kind != NULL ? kind : params.engine;
        params.library = file;
        params.threads = threads;
        params.verify = verify ? 1 : 0;
        captioner = edgecap_open(path, &params, &error);
        if (captioner == NULL) {
            throw_error(env, &error);
        }
    }
    free(path);
    free(kind);
    free(file);
    return (jlong)(intptr_t)captioner;
}

NATIVE(void, close)(JNIEnv *env, jobject self, jlong handle)
{
    (void)env, (void)self;
    edgecap_close(captioner_of(handle));
}

static jobjectArray list_of(JNIEnv *env, const char *const *names, size_t count)
{
    jclass type = (*env)->FindClass(env, "[B");
    jobjectArray list = type ? (*env)->NewObjectArray(env, (jsize)count, type, NULL) : NULL;
    size_t i;
    for (i = 0; list != NULL && i < count; i++) {
        jbyteArray name = bytes_of(env, names[i], strlen(names[i]));
        if (name == NULL) {
            return NULL;
        }
        (*env)->SetObjectArrayElement(env, list, (jsize)i, name);
        (*env)->DeleteLocalRef(env, name);
    }
    return list;
}

/* Four lists: {name, format, precision, engine}, languages, styles, prompts. */
NATIVE(jobjectArray, texts)(JNIEnv *env, jobject self, jlong handle)
{
    edgecap_info info = edgecap_get_info(captioner_of(handle));
    const char *about[4];
    jclass type = (*env)->FindClass(env, "[[B");
    jobjectArray all = type ? (*env)->NewObjectArray(env, 4, type, NULL) : NULL;
    const char *const *lists[4];
    size_t counts[4], i;
    (void)self;
    about[0] = info.name, about[1] = info.format, about[2] = info.precision, about[3] = info.engine;
    lists[0] = about, lists[1] = info.languages, lists[2] = info.styles, lists[3] = info.prompts;
    counts[0] = 4, counts[1] = info.language_count, counts[2] = info.style_count;
    counts[3] = info.prompt_count;
    for (i = 0; all != NULL && i < 4; i++) {
        jobjectArray list = list_of(env, lists[i], counts[i]);
        if (list == NULL) {
            return NULL;
        }
        (*env)->SetObjectArrayElement(env, all, (jsize)i, list);
    }
    return all;
}

NATIVE(jintArray, numbers)(JNIEnv *env, jobject self, jlong handle)
{
    edgecap_info info = edgecap_get_info(captioner_of(handle));
    jint values[6];
    jintArray array = (*env)->NewIntArray(env, 6);
    (void)self;
    values[0] = info.image_size, values[1] = info.patches, values[2] = info.embedding;
    values[3] = info.vocabulary, values[4] = (jint)info.most_tokens, values[5] = info.text_tokens;
    if (array != NULL) {
        (*env)->SetIntArrayRegion(env, array, 0, 6, values);
    }
    return array;
}

/* ---- Images ---- */

/* The caller's direct buffer as an image; false: thrown. `layout`: offset, width, height, stride,
 * format, orientation. */
static int image_of(JNIEnv *env, jobject buffer, jintArray layout, edgecap_image *image)
{
    static const int64_t channels[] = {1, 2, 3, 3, 4, 4};
    const uint8_t *data = (*env)->GetDirectBufferAddress(env, buffer);
    int64_t capacity = (int64_t)(*env)->GetDirectBufferCapacity(env, buffer), needed;
    jint told[6];
    (*env)->GetIntArrayRegion(env, layout, 0, 6, told);
    image->data = data;
    image->width = told[1];
    image->height = told[2];
    image->stride = told[3];
    image->format = (edgecap_pixels)told[4];
    image->orientation = told[5];
    if (data == NULL || told[0] < 0 || told[3] < 0 || told[4] < 0 || told[4] > 5) {
        throw_own(env, EDGECAP_INPUT, "image.buffer", "pixels come in a direct ByteBuffer.");
        return 0;
    }
    if (told[1] > 0 && told[2] > 0) { /* edgecap.h refuses the others */
        needed = (int64_t)told[3] * (told[2] - 1) + channels[told[4]] * told[1];
        if (needed > capacity - told[0]) {
            throw_own(env, EDGECAP_INPUT, "image.buffer",
                      "the buffer ends before the last row of the image.");
            return 0;
        }
    }
    image->data = data + told[0];
    return 1;
}

/* ---- Captions ---- */

typedef struct listening {
    JNIEnv *env;
    jobject listener;
    jmethodID piece;
} listening;

static int on_piece(void *user, const char *piece, size_t length)
{
    listening *l = user;
    JNIEnv *env = l->env;
    jbyteArray bytes = bytes_of(env, piece, length);
    jboolean go_on =
        bytes != NULL ? (*env)->CallBooleanMethod(env, l->listener, l->piece, bytes) : JNI_FALSE;
    if ((*env)->ExceptionCheck(env)) {
        return 1; /* it is pending and surfaces in Kotlin */
    }
    (*env)->DeleteLocalRef(env, bytes);
    return go_on ? 0 : 1;
}

static int make_buffers(const edgecap_info *info, int attention, edgecap_caption *c)
{
    size_t maps = attention ? info->most_tokens * (size_t)info->patches : 0;
    *c = edgecap_caption_init();
    c->text_capacity = c->raw_capacity = info->most_text_bytes;
    c->phrase_capacity = c->box_capacity = info->most_boxes;
    c->token_capacity = info->most_tokens;
    c->attention_capacity = maps;
    c->text = malloc(info->most_text_bytes + 1);
    c->raw = malloc(info->most_text_bytes + 1);
    c->phrases = calloc(info->most_boxes + 1, sizeof *c->phrases);
    c->boxes = calloc(info->most_boxes + 1, sizeof *c->boxes);
    c->tokens = calloc(info->most_tokens + 1, sizeof *c->tokens);
    c->attention = maps > 0 ? calloc(maps, sizeof *c->attention) : NULL;
    return c->text != NULL && c->raw != NULL && c->phrases != NULL && c->boxes != NULL &&
           c->tokens != NULL && (maps == 0 || c->attention != NULL);
}

static void free_buffers(edgecap_caption *c)
{
    free(c->text);
    free(c->raw);
    free(c->phrases);
    free(c->boxes);
    free(c->tokens);
    free(c->attention);
}

/* text, raw, phrases [n,4], boxes [n,5], token ids, their scores, attention [tokens,P] or null,
 * {score, complete, malformed}. NULL: an exception is pending. */
static jobjectArray give(JNIEnv *env, const edgecap_caption *c, size_t patches)
{
    jclass type = (*env)->FindClass(env, "java/lang/Object");
    jobjectArray all = type ? (*env)->NewObjectArray(env, 8, type, NULL) : NULL;
    jdouble about[3];
    jsize n, tokens = (jsize)c->token_count, maps = c->attention ? tokens * (jsize)patches : 0;
    jintArray phrases, ids;
    jdoubleArray boxes, numbers;
    jfloatArray scores, attention = NULL;
    if (all == NULL) {
        return NULL;
    }
    (*env)->SetObjectArrayElement(env, all, 0, bytes_of(env, c->text, c->text_length));
    (*env)->SetObjectArrayElement(env, all, 1, bytes_of(env, c->raw, c->raw_length));
    phrases = (*env)->NewIntArray(env, 4 * (jsize)c->phrase_count);
    boxes = (*env)->NewDoubleArray(env, 5 * (jsize)c->box_count);
    ids = (*env)->NewIntArray(env, tokens);
    scores = (*env)->NewFloatArray(env, tokens);
    numbers = (*env)->NewDoubleArray(env, 3);
    if (maps > 0) {
        attention = (*env)->NewFloatArray(env, maps);
    }
    if ((*env)->ExceptionCheck(env)) {
        return NULL;
    }
    for (n = 0; n < (jsize)c->phrase_count; n++) {
        jint row[4];
        row[0] = (jint)c->phrases[n].begin, row[1] = (jint)c->phrases[n].end;
        row[2] = (jint)c->phrases[n].first_box, row[3] = (jint)c->phrases[n].box_count;
        (*env)->SetIntArrayRegion(env, phrases, 4 * n, 4, row);
    }
    for (n = 0; n < (jsize)c->box_count; n++) {
        jdouble row[5];
        row[0] = c->boxes[n].x0, row[1] = c->boxes[n].y0, row[2] = c->boxes[n].x1;
        row[3] = c->boxes[n].y1, row[4] = c->boxes[n].score;
        (*env)->SetDoubleArrayRegion(env, boxes, 5 * n, 5, row);
    }
    for (n = 0; n < tokens; n++) {
        jint id = c->tokens[n].id;
        (*env)->SetIntArrayRegion(env, ids, n, 1, &id);
        (*env)->SetFloatArrayRegion(env, scores, n, 1, &c->tokens[n].score);
    }
    about[0] = c->score, about[1] = c->complete, about[2] = c->malformed;
    (*env)->SetDoubleArrayRegion(env, numbers, 0, 3, about);
    if (attention != NULL) {
        (*env)->SetFloatArrayRegion(env, attention, 0, maps, c->attention);
    }
    (*env)->SetObjectArrayElement(env, all, 2, phrases);
    (*env)->SetObjectArrayElement(env, all, 3, boxes);
    (*env)->SetObjectArrayElement(env, all, 4, ids);
    (*env)->SetObjectArrayElement(env, all, 5, scores);
    (*env)->SetObjectArrayElement(env, all, 6, attention);
    (*env)->SetObjectArrayElement(env, all, 7, numbers);
    return all;
}

/* `asked`: boxes, rule, most_tokens, beams, sample, top_k, seed, attention, index. */
NATIVE(jobjectArray, describe)
(JNIEnv *env, jobject self, jlong handle, jobject buffer, jintArray layout, jbyteArray language,
 jbyteArray style, jbyteArray prompt, jintArray asked, jdouble temperature, jdouble top_p,
 jobject listener)
{
    edgecap_caption_params params = edgecap_caption_default_params();
    edgecap_info info = edgecap_get_info(captioner_of(handle));
    edgecap_caption caption = edgecap_caption_init();
    edgecap_image image;
    edgecap_error error;
    edgecap_status status;
    jobjectArray given = NULL;
    listening l;
    jint told[9];
    int good = image_of(env, buffer, layout, &image);
    char *lang = text_of(env, language, &good), *how = text_of(env, style, &good);
    char *what = text_of(env, prompt, &good);
    (void)self;
    if (good) {
        (*env)->GetIntArrayRegion(env, asked, 0, 9, told);
    }
    if (good && listener != NULL) {
        l.env = env;
        l.listener = listener;
        l.piece = (*env)->GetMethodID(env, (*env)->GetObjectClass(env, listener), "piece", "([B)Z");
        params.on_piece = on_piece;
        params.user = &l;
        good = l.piece != NULL;
    }
    if (good && !make_buffers(&info, told[7], &caption)) {
        throw_no_memory(env);
        good = 0;
    }
    if (good) {
        params.language = lang, params.style = how, params.prompt = what;
        params.boxes = told[0], params.rule = told[1], params.most_tokens = told[2];
        params.beams = told[3], params.sample = told[4], params.top_k = told[5];
        params.seed = (uint32_t)told[6], params.index = (uint32_t)told[8];
        params.temperature = temperature, params.top_p = top_p;
        status = edgecap_describe(captioner_of(handle), &image, &params, &caption, &error);
        if ((*env)->ExceptionCheck(env)) {
            given = NULL; /* the listener's own */
        } else if (status != EDGECAP_OK) {
            throw_error(env, &error);
        } else {
            given = give(env, &caption, (size_t)info.patches);
        }
    }
    free_buffers(&caption);
    free(lang);
    free(how);
    free(what);
    return given;
}

/* ---- Embeddings ---- */

static jfloatArray give_embedding(JNIEnv *env, edgecap_status status, const float *values,
                                  jsize count, const edgecap_error *error)
{
    jfloatArray array = NULL;
    if (status != EDGECAP_OK) {
        throw_error(env, error);
    } else {
        array = (*env)->NewFloatArray(env, count);
        if (array != NULL) {
            (*env)->SetFloatArrayRegion(env, array, 0, count, values);
        }
    }
    return array;
}

/* Of an image, or of a text where `buffer` is null. */
NATIVE(jfloatArray, embed)
(JNIEnv *env, jobject self, jlong handle, jobject buffer, jintArray layout, jbyteArray text)
{
    edgecap_captioner *captioner = captioner_of(handle);
    jsize count = edgecap_get_info(captioner).embedding;
    float *values = calloc((size_t)count + 1, sizeof *values);
    jfloatArray array = NULL;
    edgecap_image image;
    edgecap_error error;
    edgecap_status status;
    int good = 1;
    char *said = text_of(env, text, &good);
    (void)self;
    if (values == NULL && good) {
        throw_no_memory(env);
    } else if (good && (buffer == NULL || image_of(env, buffer, layout, &image))) {
        status = buffer != NULL
                     ? edgecap_embed_image(captioner, &image, values, (size_t)count, &error)
                     : edgecap_embed_text(captioner, said, values, (size_t)count, &error);
        array = give_embedding(env, status, values, count, &error);
    }
    free(values);
    free(said);
    return array;
}
