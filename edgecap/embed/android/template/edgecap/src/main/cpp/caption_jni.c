/* caption_jni.c: edgecap_describe for Kotlin; see jni_values.h. */
#include <stdlib.h>

#include "jni_values.h"

typedef struct listening {
    JNIEnv *env;
    jobject listener;
    jmethodID piece;
} listening;

static int on_piece(void *user, const char *piece, size_t length)
{
    listening *l = user;
    JNIEnv *env = l->env;
    jbyteArray bytes = jni_bytes_of(env, piece, length);
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

/* text, raw, phrases [n,4], boxes [n,6], token ids, their scores, attention
 * [tokens,P] or null, {score, complete, malformed, confidence, declined}. NULL:
 * an exception is pending. */
static jobjectArray give(JNIEnv *env, const edgecap_caption *c, size_t patches)
{
    jclass type = (*env)->FindClass(env, "java/lang/Object");
    jobjectArray all = type ? (*env)->NewObjectArray(env, 8, type, NULL) : NULL;
    jdouble about[5];
    jsize n, tokens = (jsize)c->token_count, maps = c->attention ? tokens * (jsize)patches : 0;
    jintArray phrases, ids;
    jdoubleArray boxes, numbers;
    jfloatArray scores, attention = NULL;
    if (all == NULL) {
        return NULL;
    }
    (*env)->SetObjectArrayElement(env, all, 0, jni_bytes_of(env, c->text, c->text_length));
    (*env)->SetObjectArrayElement(env, all, 1, jni_bytes_of(env, c->raw, c->raw_length));
    phrases = (*env)->NewIntArray(env, 4 * (jsize)c->phrase_count);
    boxes = (*env)->NewDoubleArray(env, 6 * (jsize)c->box_count);
    ids = (*env)->NewIntArray(env, tokens);
    scores = (*env)->NewFloatArray(env, tokens);
    numbers = (*env)->NewDoubleArray(env, 5);
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
        jdouble row[6];
        row[0] = c->boxes[n].x0, row[1] = c->boxes[n].y0, row[2] = c->boxes[n].x1;
        row[3] = c->boxes[n].y1, row[4] = c->boxes[n].score, row[5] = c->boxes[n].confidence;
        (*env)->SetDoubleArrayRegion(env, boxes, 6 * n, 6, row);
    }
    for (n = 0; n < tokens; n++) {
        jint id = c->tokens[n].id;
        (*env)->SetIntArrayRegion(env, ids, n, 1, &id);
        (*env)->SetFloatArrayRegion(env, scores, n, 1, &c->tokens[n].score);
    }
    about[0] = c->score, about[1] = c->complete, about[2] = c->malformed;
    about[3] = c->confidence, about[4] = c->declined;
    (*env)->SetDoubleArrayRegion(env, numbers, 0, 5, about);
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

/* `options`: boxes, rule, most_tokens, beams, sample, top_k, seed, attention,
 * index. */
NATIVE(jobjectArray, describe)
(JNIEnv *env, jobject self, jlong handle, jobject buffer, jintArray layout, jbyteArray language,
 jbyteArray style, jbyteArray prompt, jintArray options, jdouble temperature, jdouble top_p,
 jdouble min_confidence, jobject listener)
{
    edgecap_caption_params params = edgecap_caption_default_params();
    edgecap_info info = edgecap_get_info(jni_captioner_of(handle));
    edgecap_caption caption = edgecap_caption_init();
    edgecap_image image;
    edgecap_error error;
    edgecap_status status;
    jobjectArray given = NULL;
    listening l;
    jint values[9];
    int good = jni_image_of(env, buffer, layout, &image);
    char *lang = jni_text_of(env, language, &good), *how = jni_text_of(env, style, &good);
    char *what = jni_text_of(env, prompt, &good);
    (void)self;
    if (good) {
        (*env)->GetIntArrayRegion(env, options, 0, 9, values);
    }
    if (good && listener != NULL) {
        l.env = env;
        l.listener = listener;
        l.piece = (*env)->GetMethodID(env, (*env)->GetObjectClass(env, listener), "piece", "([B)Z");
        params.on_piece = on_piece;
        params.user = &l;
        good = l.piece != NULL;
    }
    if (good && !make_buffers(&info, values[7], &caption)) {
        jni_throw_no_memory(env);
        good = 0;
    }
    if (good) {
        params.language = lang, params.style = how, params.prompt = what;
        params.boxes = values[0], params.rule = values[1], params.most_tokens = values[2];
        params.beams = values[3], params.sample = values[4], params.top_k = values[5];
        params.seed = (uint32_t)values[6], params.index = (uint32_t)values[8];
        params.temperature = temperature, params.top_p = top_p;
        params.min_confidence = min_confidence;
        status = edgecap_describe(jni_captioner_of(handle), &image, &params, &caption, &error);
        if ((*env)->ExceptionCheck(env)) {
            given = NULL; /* the listener's own */
        } else if (status != EDGECAP_OK) {
            jni_throw_error(env, &error);
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
