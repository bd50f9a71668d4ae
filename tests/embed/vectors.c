/* vectors.c: see vectors.h. */
#include "vectors.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int checks, failures;
edgecap_memory plain_memory;

void check(bool held, const char *format, ...)
{
    checks++;
    if (!held) {
        va_list values;
        va_start(values, format);
        vprintf(format, values);
        va_end(values);
        printf("\n");
        failures++;
    }
}

char *read_file(const char *folder, const char *name, size_t *length)
{
    char path[1024];
    FILE *file;
    char *data = NULL;
    long size;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    file = fopen(path, "rb");
    if (file == NULL) {
        return NULL;
    }
    fseek(file, 0, SEEK_END);
    size = ftell(file);
    rewind(file);
    data = malloc((size_t)size + 1);
    *length = fread(data, 1, (size_t)size, file);
    data[*length] = '\0';
    fclose(file);
    return data;
}

topic open_topic(const char *folder, const char *name)
{
    topic t;
    edgecap_error error;
    char file[64];
    size_t length = 0;
    char *data;
    memset(&t, 0, sizeof t);
    ec_arena_init(&t.arena, &plain_memory);
    snprintf(file, sizeof file, "%s.json", name);
    data = read_file(folder, file, &length);
    if (data == NULL ||
        ec_json_parse(&t.arena, data, length, file, &t.root, &error) != EDGECAP_OK) {
        printf("%s/%s cannot be read\n", folder, file);
        exit(2);
    }
    free(data);
    snprintf(file, sizeof file, "%s.bin", name);
    t.bytes = read_file(folder, file, &t.byte_count);
    return t;
}

void close_topic(topic *t)
{
    ec_arena_free(&t->arena);
    free(t->bytes);
}

const ec_json *item(const ec_json *list, size_t index)
{
    const ec_json *one = list->first;
    while (index-- > 0 && one != NULL) {
        one = one->next;
    }
    if (one == NULL) {
        printf("a vector's list is too short\n");
        exit(2);
    }
    return one;
}

const ec_json *need(const ec_json *object, const char *key)
{
    const ec_json *value = ec_json_get(object, key);
    if (value == NULL) {
        printf("a vector lacks %s\n", key);
        exit(2);
    }
    return value;
}

int64_t whole(const ec_json *object, const char *key)
{
    return need(object, key)->whole;
}

const char *text(const ec_json *object, const char *key)
{
    return need(object, key)->text.data;
}

ec_sampling read_sampling(const ec_json *one)
{
    ec_sampling how;
    how.temperature = need(one, "temperature")->number;
    how.top_k = (int32_t)whole(one, "top_k");
    how.top_p = need(one, "top_p")->number;
    return how;
}

void make_noise(uint8_t *values, size_t count, uint32_t seed)
{
    size_t i;
    for (i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        values[i] = (uint8_t)(seed >> 24);
    }
}

void check_bytes(const topic *t, const ec_json *expected, const uint8_t *got, size_t count,
                 const char *what)
{
    const ec_json *at = ec_json_get(expected, "at");
    if (at != NULL) {
        size_t i;
        for (i = 0; i < count && (uint8_t)t->bytes[(size_t)at->whole + i] == got[i]; i++) {
        }
        check(i == count, "%s: byte %lu is %d", what, (unsigned long)i, i < count ? got[i] : 0);
    }
    check(ec_crc32(got, count) == (uint32_t)whole(expected, "crc32"), "%s: the CRC-32", what);
}

int main(int count, char **arguments)
{
    if (count != 2) {
        printf("usage: conformance FOLDER\n");
        return 2;
    }
    run_images(arguments[1]);
    run_texts(arguments[1]);
    run_rules(arguments[1]);
    run_manifests(arguments[1]);
    run_specs(arguments[1]);
    run_regions(arguments[1]);
    run_containers(arguments[1]);
    printf("%d checks, %d failed\n", checks, failures);
    return failures != 0;
}
