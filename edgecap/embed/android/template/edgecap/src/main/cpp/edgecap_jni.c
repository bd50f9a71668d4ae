/* edgecap_jni.c: edgecap.h for Kotlin, but for captions; see jni_values.h. The
 * other side is Native.kt. */
#define _POSIX_C_SOURCE 200112L /* setenv */

#include <stdlib.h>
#include <string.h>

#include "jni_values.h"

/* onnxruntime reads once, when it is opened, whether it may report its use: see edgecap_open. */
JNIEXPORT jint JNICALL JNI_OnLoad(JavaVM *machine, void *reserved)
{
    (void)machine, (void)reserved;
    (void)setenv("ORT_DISABLE_TELEMETRY", "1", 0);
    return JNI_VERSION_1_6;
}

NATIVE(jlong, open)
(JNIEnv *env, jobject self, jbyteArray bundle, jbyteArray engine, jbyteArray library, jint threads,
 jboolean verify)
{
    edgecap_open_params params = edgecap_open_default_params();
    edgecap_captioner *captioner = NULL;
    edgecap_error error;
    int good = 1;
    char *path = jni_text_of(env, bundle, &good), *kind = jni_text_of(env, engine, &good);
    char *file = jni_text_of(env, library, &good);
    (void)self;
    if (good) {
        params.engine = kind != NULL ? kind : params.engine;
        params.library = file;
        params.threads = threads;
        params.verify = verify ? 1 : 0;
        captioner = edgecap_open(path, &params, &error);
        if (captioner == NULL) {
            jni_throw_error(env, &error);
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
    edgecap_close(jni_captioner_of(handle));
}

static jobjectArray list_of(JNIEnv *env, const char *const *names, size_t count)
{
    jclass type = (*env)->FindClass(env, "[B");
    jobjectArray list = type ? (*env)->NewObjectArray(env, (jsize)count, type, NULL) : NULL;
    size_t i;
    for (i = 0; list != NULL && i < count; i++) {
        jbyteArray name = jni_bytes_of(env, names[i], strlen(names[i]));
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
    edgecap_info info = edgecap_get_info(jni_captioner_of(handle));
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
    edgecap_info info = edgecap_get_info(jni_captioner_of(handle));
    jint values[7];
    jintArray array = (*env)->NewIntArray(env, 7);
    (void)self;
    values[0] = info.image_size, values[1] = info.patches, values[2] = info.embedding;
    values[3] = info.vocabulary, values[4] = (jint)info.most_tokens, values[5] = info.text_tokens;
    values[6] = info.calibrated;
    if (array != NULL) {
        (*env)->SetIntArrayRegion(env, array, 0, 7, values);
    }
    return array;
}

/* ---- Embeddings ---- */

static jfloatArray give_embedding(JNIEnv *env, edgecap_status status, const float *values,
                                  jsize count, const edgecap_error *error)
{
    jfloatArray array = NULL;
    if (status != EDGECAP_OK) {
        jni_throw_error(env, error);
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
    edgecap_captioner *captioner = jni_captioner_of(handle);
    jsize count = edgecap_get_info(captioner).embedding;
    float *values = calloc((size_t)count + 1, sizeof *values);
    jfloatArray array = NULL;
    edgecap_image image;
    edgecap_error error;
    edgecap_status status;
    int good = 1;
    char *said = jni_text_of(env, text, &good);
    (void)self;
    if (values == NULL && good) {
        jni_throw_no_memory(env);
    } else if (good && (buffer == NULL || jni_image_of(env, buffer, layout, &image))) {
        status = buffer != NULL
                     ? edgecap_embed_image(captioner, &image, values, (size_t)count, &error)
                     : edgecap_embed_text(captioner, said, values, (size_t)count, &error);
        array = give_embedding(env, status, values, count, &error);
    }
    free(values);
    free(said);
    return array;
}
