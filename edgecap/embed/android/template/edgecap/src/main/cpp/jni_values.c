/* jni_values.c: see jni_values.h. */
#include "jni_values.h"

#include <stdlib.h>
#include <string.h>

jbyteArray jni_bytes_of(JNIEnv *env, const char *text, size_t length)
{
    jbyteArray array = (*env)->NewByteArray(env, (jsize)length);
    if (array != NULL) {
        (*env)->SetByteArrayRegion(env, array, 0, (jsize)length, (const jbyte *)text);
    }
    return array;
}

void jni_throw_error(JNIEnv *env, const edgecap_error *error)
{
    jclass type = (*env)->FindClass(env, "dev/edgecap/EdgecapException");
    jmethodID make = type ? (*env)->GetMethodID(env, type, "<init>", "(I[B[B)V") : NULL;
    jbyteArray code = make ? jni_bytes_of(env, error->code, strlen(error->code)) : NULL;
    jbyteArray said = code ? jni_bytes_of(env, error->message, strlen(error->message)) : NULL;
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
    jni_throw_error(env, &error);
}

void jni_throw_no_memory(JNIEnv *env)
{
    throw_own(env, EDGECAP_MEMORY, "memory.exhausted", "memory ran out.");
}

char *jni_text_of(JNIEnv *env, jbyteArray array, int *good)
{
    jsize length;
    char *text;
    if (array == NULL || !*good) {
        return NULL;
    }
    length = (*env)->GetArrayLength(env, array);
    text = malloc((size_t)length + 1);
    if (text == NULL) {
        jni_throw_no_memory(env);
        *good = 0;
        return NULL;
    }
    (*env)->GetByteArrayRegion(env, array, 0, length, (jbyte *)text);
    text[length] = '\0';
    return text;
}

edgecap_captioner *jni_captioner_of(jlong handle)
{
    return (edgecap_captioner *)(intptr_t)handle;
}

int jni_image_of(JNIEnv *env, jobject buffer, jintArray layout, edgecap_image *image)
{
    static const int64_t channels[] = {1, 2, 3, 3, 4, 4};
    const uint8_t *data = (*env)->GetDirectBufferAddress(env, buffer);
    int64_t capacity = (int64_t)(*env)->GetDirectBufferCapacity(env, buffer), needed;
    jint values[6];
    (*env)->GetIntArrayRegion(env, layout, 0, 6, values);
    image->data = data;
    image->width = values[1];
    image->height = values[2];
    image->stride = values[3];
    image->format = (edgecap_pixels)values[4];
    image->orientation = values[5];
    if (data == NULL || values[0] < 0 || values[3] < 0 || values[4] < 0 || values[4] > 5) {
        throw_own(env, EDGECAP_INPUT, "image.buffer", "pixels come in a direct ByteBuffer.");
        return 0;
    }
    if (values[1] > 0 && values[2] > 0) { /* edgecap.h refuses the others */
        needed = (int64_t)values[3] * (values[2] - 1) + channels[values[4]] * values[1];
        if (needed > capacity - values[0]) {
            throw_own(env, EDGECAP_INPUT, "image.buffer",
                      "the buffer ends before the last row of the image.");
            return 0;
        }
    }
    image->data = data + values[0];
    return 1;
}
