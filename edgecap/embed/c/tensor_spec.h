/* tensor_spec.h: sizes of a manifest's tensors, in numbers and letters of `dims`. */
#ifndef EDGECAP_TENSOR_SPEC_H
#define EDGECAP_TENSOR_SPEC_H

#include "typed.h"

typedef struct ec_tensor_spec { /* at batch 1 */
    size_t width;               /* bytes of a number */
    size_t count, rank;
    size_t sizes[4]; /* the first four */
    size_t groups;   /* product of all sizes but the last two */
    size_t last;
    char rows; /* the letter that is the last size but one; 0: a number */
} ec_tensor_spec;

/* A letter of interface.dims; 0: it is not bound. */
int64_t ec_dim(const ec_json *interface, const char *letter);
void ec_check_dims(ec_fields *f, const ec_json *dims);

/* Where the batch B may stand, exactly once. */
typedef enum ec_batch_axis { EC_BATCH_FIRST, EC_BATCH_ANYWHERE } ec_batch_axis;

/* bundle.interface, bundle.oversized; false where it is refused. */
bool ec_read_tensor_spec(ec_fields *f, const ec_json *interface, const char *dtype,
                         const ec_json *shape, const char *name, ec_batch_axis batch,
                         ec_tensor_spec *spec);

edgecap_status ec_bad_interface(ec_fields *f, const char *what, const char *name);

#endif
