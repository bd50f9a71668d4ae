/* threads.c: one captioner for each of several threads, at once; for the thread
 * sanitizer.
 *
 *   threads BUNDLE LIBRARY: prints each thread's text, the same for all.
 */
#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "edgecap.h"

enum { THREADS = 3, ROUNDS = 3 };

typedef struct job {
    char **arguments;
    char text[4096];
    edgecap_error error;
} job;

static void *work(void *given)
{
    job *j = given;
    static const uint8_t pixels[40 * 30 * 3];
    edgecap_open_params params = edgecap_open_default_params();
    edgecap_image image = {pixels, 40, 30, 120, EDGECAP_RGB, 1};
    int round;
    params.library = j->arguments[2];
    for (round = 0; round < ROUNDS; round++) {
        edgecap_caption caption = edgecap_caption_init();
        float embedding[1024];
        edgecap_captioner *captioner = edgecap_open(j->arguments[1], &params, &j->error);
        caption.text = j->text;
        caption.text_capacity = sizeof j->text;
        if (captioner == NULL ||
            edgecap_describe(captioner, &image, NULL, &caption, &j->error) != EDGECAP_OK ||
            edgecap_embed_text(captioner, "e\xCC\x81l", embedding, 1024, &j->error) != EDGECAP_OK) {
            return NULL;
        }
        edgecap_close(captioner);
    }
    return NULL;
}

int main(int count, char **arguments)
{
    static job jobs[THREADS];
    pthread_t threads[THREADS];
    int i, failed = 0;
    if (count != 3) {
        return 2;
    }
    for (i = 0; i < THREADS; i++) {
        jobs[i].arguments = arguments;
        pthread_create(&threads[i], NULL, work, &jobs[i]);
    }
    for (i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        failed |= jobs[i].error.status != EDGECAP_OK || strcmp(jobs[i].text, jobs[0].text) != 0;
        printf("%s%s\n", jobs[i].error.message, jobs[i].text);
    }
    return failed;
}
