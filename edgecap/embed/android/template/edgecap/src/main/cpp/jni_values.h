/* jni_values.h: what crosses between C and the JVM, for the functions that
 * Native.kt declares.
 *
 * Text crosses as UTF-8 bytes: JNI's own strings are another encoding beyond
 * U+FFFF. Handles are pointers in a long, which Captioner.kt locks and closes
 * once. Errors are thrown.
 */
#ifndef EDGECAP_JNI_VALUES_H
#define EDGECAP_JNI_VALUES_H

#include <jni.h>

#include "edgecap.h"

#define NATIVE(type, name) JNIEXPORT type JNICALL Java_dev_edgecap_Native_##name

jbyteArray jni_bytes_of(JNIEnv *env, const char *text, size_t length);
void jni_throw_error(JNIEnv *env, const edgecap_error *error);
void jni_throw_no_memory(JNIEnv *env);
edgecap_captioner *jni_captioner_of(jlong handle);

/* A null-terminated copy, NULL for a null reference; `*good` false: thrown. */
char *jni_text_of(JNIEnv *env, jbyteArray array, int *good);

/* The caller's direct buffer as an image; false: thrown. `layout`: offset,
 * width, height, stride, format, orientation. */
int jni_image_of(JNIEnv *env, jobject buffer, jintArray layout, edgecap_image *image);

#endif
