/* cli_options.c: see cli_options.h. */
#include "cli_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int to_number(const char *text, double *value)
{
    char *end;
    *value = strtod(text, &end);
    return *text != '\0' && *end == '\0';
}

int ec_read_option(ec_options *o, const char *name, const char *const *values, int left)
{
    static const struct {
        const char *name;
        size_t place;
    } whole[] = {
        {"--max-tokens", offsetof(ec_options, caption.most_tokens)},
        {"--beams", offsetof(ec_options, caption.beams)},
        {"--top-k", offsetof(ec_options, caption.top_k)},
        {"--threads", offsetof(ec_options, open.threads)},
    };
    static const struct {
        const char *name;
        size_t place;
    } texts[] = {
        {"--lang", offsetof(ec_options, caption.language)},
        {"--prompt", offsetof(ec_options, caption.prompt)},
        {"--style", offsetof(ec_options, caption.style)},
        {"--engine", offsetof(ec_options, open.engine)},
        {"--library", offsetof(ec_options, open.library)},
        {"--text", offsetof(ec_options, text)},
    };
    double number = 0;
    int is_number = left > 0 && to_number(values[0], &number);
    size_t i;
    for (i = 0; i < sizeof whole / sizeof *whole; i++) {
        if (strcmp(name, whole[i].name) == 0) {
            int32_t value = (int32_t)number;
            if (!is_number || number < -1e9 || number > 1e9 || value != number) {
                return -1;
            }
            memcpy((char *)o + whole[i].place, &value, sizeof value);
            return 2;
        }
    }
    for (i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (strcmp(name, texts[i].name) == 0) {
            if (left < 1) {
                return -1;
            }
            memcpy((char *)o + texts[i].place, &values[0], sizeof values[0]);
            return 2;
        }
    }
    if (strcmp(name, "--temperature") == 0) {
        o->caption.temperature = number;
        return is_number ? 2 : -1;
    }
    if (strcmp(name, "--min-confidence") == 0) {
        int automatic = left > 0 && strcmp(values[0], "auto") == 0;
        o->caption.min_confidence = automatic ? EDGECAP_AUTO_CONFIDENCE : number;
        return automatic || (is_number && number >= 0 && number <= 1) ? 2 : -1;
    }
    if (strcmp(name, "--top-p") == 0) {
        o->caption.top_p = number;
        return is_number ? 2 : -1;
    }
    if (strcmp(name, "--seed") == 0) {
        is_number = is_number && number >= 0 && number <= 4294967295.0;
        o->caption.seed = is_number ? (uint32_t)number : 0;
        return is_number ? 2 : -1;
    }
    if (strcmp(name, "--orientation") == 0 || strcmp(name, "--times") == 0) {
        is_number = is_number && number >= 1 && number <= 1e6;
        *(name[2] == 'o' ? &o->orientation : &o->times) = is_number ? (int)number : 1;
        return is_number ? 2 : -1;
    }
    if (strcmp(name, "--raw") == 0) {
        char rest;
        o->raw_format = left > 0 ? values[0] : NULL;
        return left > 1 && sscanf(values[1], "%ldx%ld%c", &o->width, &o->height, &rest) == 2 ? 3
                                                                                             : -1;
    }
    if (strcmp(name, "--no-boxes") == 0) {
        o->caption.boxes = 0;
    } else if (strcmp(name, "--no-rule") == 0) {
        o->caption.rule = 0;
    } else if (strcmp(name, "--sample") == 0) {
        o->caption.sample = 1;
    } else if (strcmp(name, "--stream") == 0) {
        o->stream = 1;
    } else if (strcmp(name, "--json") == 0) {
        o->json = 1;
    } else if (strcmp(name, "--embed") == 0) {
        o->embed = 1;
    } else if (strcmp(name, "--no-verify") == 0) {
        o->open.verify = 0;
    } else {
        return 0;
    }
    return 1;
}
