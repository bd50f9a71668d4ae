/* cli_options.h: the options of edgecap-caption. */
#ifndef EDGECAP_CLI_OPTIONS_H
#define EDGECAP_CLI_OPTIONS_H

#include "edgecap.h"

typedef struct ec_options {
    edgecap_open_params open;
    edgecap_caption_params caption;
    const char *bundle, *text, *raw_format;
    int json, stream, embed, times, orientation;
    long width, height;
} ec_options;

/* How many arguments an option took, 0: not known, -1: its value does not fit. */
int ec_read_option(ec_options *options, const char *name, const char *const *values, int left);

#endif
